#!/bin/sh
# The program grep-count on a drive, with the csdrive command:
#
#     sh grep.sh DEV grep-count.bpf.o
#
# The text is on the drive's blocks, and gets to device memory by a copy within the drive: it OVERWRITES the last blocks.
. "$(dirname "$0")/common.sh"
COUNT=2000 PATTERN=GET

perl -e 'srand 1; my @words = qw(GET PUT a b);
    print join(" ", map { $words[rand @words] } 1 .. 5), "\n" for 1 .. $ARGV[0]' $COUNT > text
geometry=$("$CSDRIVE" blocks info --json "$DEV")
number() { echo "$geometry" | sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p"; }
block=$(number block_bytes)
count=$((($(size text) + block - 1) / block))
first=$(($(number blocks) - count))
"$CSDRIVE" blocks write --block "$first" --file text "$DEV" > /dev/null
"$CSDRIVE" memory copy --block "$first" --count "$count" --start $INPUT "$DEV" > /dev/null

# The range ends where the text does. The program writes nothing: its output has no bytes.
printf %s $PATTERN > pattern
found=$(execute --range $OUTPUT:0 --range "$INPUT:$(size text)" --data pattern)
expected=$(grep -c $PATTERN text)
[ "$found" = "$expected" ] || fail "the drive found $found lines, the host $expected"
echo "grep: $found of $COUNT lines have $PATTERN in them, as on the host"

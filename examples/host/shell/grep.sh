#!/bin/sh
# The program grep-count on a drive, with the csdrive command:
#
#     sh grep.sh DEV grep-count.bpf.o
#
# With a device such as /dev/nvme0, the text is on the drive's blocks, and gets to device memory by a copy within the
# drive: it OVERWRITES the last blocks. A socket has no block device: there the text is written to device memory.
. "$(dirname "$0")/common.sh"
COUNT=2000 PATTERN=GET

perl -e 'srand 1; my @words = qw(GET PUT a b);
    print join(" ", map { $words[rand @words] } 1 .. 5), "\n" for 1 .. $ARGV[0]' $COUNT > text
if [ -b "${DEV}n1" ]; then
    block=$(blockdev --getss "${DEV}n1")
    count=$((($(size text) + block - 1) / block))
    first=$(($(blockdev --getsize64 "${DEV}n1") / block - count))
    # Past the kernel's cache: the drive copies what it has itself.
    dd if=text of="${DEV}n1" bs="$block" seek="$first" conv=sync oflag=direct status=none
    "$CSDRIVE" memory copy --block "$first" --count "$count" --start $INPUT "$DEV" > /dev/null
else
    memory_write $INPUT text
fi

# The range ends where the text does. The program writes nothing: its output has no bytes.
printf %s $PATTERN > pattern
found=$(execute --range $OUTPUT:0 --range "$INPUT:$(size text)" --data pattern)
expected=$(grep -c $PATTERN text)
[ "$found" = "$expected" ] || fail "the drive found $found lines, the host $expected"
echo "grep: $found of $COUNT lines have $PATTERN in them, as on the host"

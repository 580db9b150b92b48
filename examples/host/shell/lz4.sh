#!/bin/sh
# The program lz4 on a drive, with the csdrive command; the lz4 tool decodes what the drive compressed:
#
#     sh lz4.sh DEV lz4.bpf.o
if ! command -v lz4 > /dev/null; then
    echo "no lz4 here to decode with: apt-get install lz4" >&2
    exit 1
fi
. "$(dirname "$0")/common.sh"

perl -e 'srand 1; my @words = qw(drive program range block memory queue host job);
    print join(" ", map { $words[rand @words] } 1 .. 15), "\n" for 1 .. 1000' > text
head -c 3 text > short
perl -e 'srand 1; print pack "C*", map { int rand 256 } 1 .. 50000' > noise
for file in text short noise; do
    size=$(size $file)
    # Always enough.
    room=$((size + size / 255 + 16))
    memory_write $INPUT $file
    length=$(execute --range "$OUTPUT:$room" --range "$INPUT:$size")
    memory_read $OUTPUT "$length" block
    # The tool reads frames: a legacy one is a magic number, and blocks with their lengths.
    { printf '\002\041\114\030'; perl -e 'print pack "V", $ARGV[0]' "$length"; cat block; } > frame
    lz4 -dc < frame > decoded || fail "$file: lz4 cannot decode what the drive wrote"
    same $file decoded $file
    echo "lz4: $file, $size bytes to $length, decoded to the same"
done

# The noise is in device memory still.
result=$(execute --range "$OUTPUT:40000" --range "$INPUT:50000")
[ "$result" = -1 ] || fail "noise in less room than it needs: the result is $result, not -1"

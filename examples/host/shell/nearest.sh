#!/bin/sh
# The program nearest on a drive, with the csdrive command:
#
#     sh nearest.sh DEV nearest.bpf.o
. "$(dirname "$0")/common.sh"
COUNT=3000 DIMENSIONS=16 K=10
VECTOR=$((4 * DIMENSIONS)) BYTES=$((16 * K))

vectors() {
    perl -e 'srand $ARGV[1]; print pack "l<*", map { int(rand 1000) - 500 } 1 .. $ARGV[0]' $(($1 * DIMENSIONS)) "$2"
}
vectors $COUNT 1 > vectors
vectors 1 2 > query
memory_write $INPUT vectors
memory_write $SECOND_INPUT query
result=$(execute --range $OUTPUT:$BYTES --range "$INPUT:$((COUNT * VECTOR))" --range $SECOND_INPUT:$VECTOR \
    --param1 $DIMENSIONS --param2 $K)
[ "$result" = $K ] || fail "the result is $result, not $K"
memory_read $OUTPUT $BYTES hits

# Distance and index, one pair a line, the nearest first.
od -An -v -tu8 -w16 hits | awk '{ print $1, $2 }' > drive
od -An -v -td4 -w$VECTOR query vectors | awk '
    NR == 1 { split($0, query); next }
    { sum = 0; for (d = 1; d <= NF; d++) sum += ($d - query[d]) ^ 2; printf "%d %d\n", sum, NR - 2 }
' | sort -k1,1n -k2,2n | head -n $K > host
same "the nearest" drive host
echo "nearest: the $K nearest of $COUNT vectors, all as on the host"

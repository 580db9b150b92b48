#!/bin/sh
# The program vadd on a drive, with the csdrive command:
#
#     sh vadd.sh DEV vadd.bpf.o
. "$(dirname "$0")/common.sh"
COUNT=5000 BYTES=20000

for list in a b; do
    perl -e 'srand ord $ARGV[1]; print pack "l<*", map { int(rand 2000) - 1000 } 1 .. $ARGV[0]' $COUNT $list > $list
done
memory_write $INPUT a
memory_write $SECOND_INPUT b
result=$(execute --range $OUTPUT:$BYTES --range $INPUT:$BYTES --range $SECOND_INPUT:$BYTES)
[ "$result" = $COUNT ] || fail "the result is $result, not $COUNT"
memory_read $OUTPUT $BYTES sums

# Numbers as text, one a line.
for list in a b sums; do
    od -An -v -td4 -w4 $list | awk '{ print $1 }' > $list.txt
done
paste a.txt b.txt | awk '{ print $1 + $2 }' > host
same sums sums.txt host
echo "vadd: $COUNT sums, all as on the host"

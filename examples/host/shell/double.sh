#!/bin/sh
# The program double on a drive, with the csdrive command:
#
#     sh double.sh DEV double.bpf.o
. "$(dirname "$0")/common.sh"
COUNT=1024 BYTES=4096

perl -e 'print pack "l<*", 0 .. $ARGV[0] - 1' $COUNT > numbers
memory_write $INPUT numbers
result=$(execute --range $OUTPUT:$BYTES --range $INPUT:$BYTES)
[ "$result" = $COUNT ] || fail "the result is $result, not $COUNT"
memory_read $OUTPUT $BYTES doubled

# Numbers as text, one a line.
od -An -v -td4 -w4 doubled | awk '{ print $1 }' > drive
od -An -v -td4 -w4 numbers | awk '{ print 2 * $1 }' > host
same "doubled numbers" drive host
echo "double: $COUNT numbers, all as on the host"

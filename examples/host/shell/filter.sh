#!/bin/sh
# The program filter on a drive, with the csdrive command:
#
#     sh filter.sh DEV filter.bpf.o
. "$(dirname "$0")/common.sh"
COUNT=2000 BYTES=64000 LOW=-100 HIGH=100

# Records of four 64-bit numbers; the first is the key.
perl -e 'srand 1; print pack "q<4", int(rand 2000) - 1000, $_, 2 * $_, 3 * $_ for 1 .. $ARGV[0]' $COUNT > table
memory_write $INPUT table
# Room for all: nobody knows how many will be kept.
kept=$(execute --range $OUTPUT:$BYTES --range $INPUT:$BYTES --param1 $LOW --param2 $HIGH)
memory_read $OUTPUT "$kept" drive

# Records as text, one a line.
od -An -v -td8 -w32 drive > drive.txt
od -An -v -td8 -w32 table | awk -v low=$LOW -v high=$HIGH '$1 >= low && $1 <= high' > host.txt
same records drive.txt host.txt
echo "filter: $((kept / 32)) of $COUNT records kept, all as on the host"

#!/bin/sh
# A drive with stock nvme-cli alone, whatever csdrive program, memory, ranges, exec and group do with it: load, list,
# activate, unload; write, read, fill and copy device memory; range sets; executions; job groups; and wrong uses. Run it
# where the drive is, as root:
#
#     csdrive vm run --file examples/programs/double.bpf.o --file examples/guest/passthru.sh -- sh passthru.sh
#
# Commands and fields: docs/conformance.md. Numbers are little-endian.
set -eu
PROGRAM=${1:-double.bpf.o}
CTRL=/dev/nvme0
# The n in ngXnN is not the namespace identifier.
namespace() {
    for device in /dev/ng0n*; do
        if [ "$(nvme get-ns-id "$device" | sed 's/.*://')" = "$1" ]; then echo "$device"; return; fi
    done
    echo "no namespace $1" >&2; exit 1
}
BLOCKS=$(namespace 1) MEMORY=$(namespace 2) COMPUTE=$(namespace 3)
le32() { printf "\\$(printf %o $(($1 & 255)))\\$(printf %o $(($1 >> 8 & 255)))\\$(printf %o $(($1 >> 16 & 255)))\\$(printf %o $(($1 >> 24 & 255)))"; }
le64() { le32 $(($1 & 0xFFFFFFFF)); le32 $(($1 >> 32)); }
DIR=$(mktemp -d)
trap 'rm -rf "$DIR"' EXIT

# Load Program (85h): index 1, type 1 (eBPF); total size, length of this piece, its offset.
SIZE=$(stat -c %s "$PROGRAM")
nvme admin-passthru $CTRL --opcode=0x85 --namespace-id=3 --cdw10=$((1 | 1 << 16)) --cdw11="$SIZE" \
    --cdw14="$SIZE" --cdw15=0 --data-len="$SIZE" --input-file="$PROGRAM" --write
# Program Activation Management (88h): index 1, activate.
nvme admin-passthru $CTRL --opcode=0x88 --namespace-id=3 --cdw10=$((1 | 1 << 16))

# Memory Write (05h): 64 numbers at byte 4096 of device memory.
i=0; while [ $i -lt 64 ]; do le32 $i; i=$((i + 1)); done > "$DIR/numbers"
nvme io-passthru "$MEMORY" --opcode=0x05 --namespace-id=2 --cdw10=4096 --cdw12=256 --data-len=256 \
    --input-file="$DIR/numbers" --write

# Execute Program (01h): index 1 with two memory ranges, given with the command: output, input. Each is
# namespace, length, start, 16 bytes of nothing.
range() { le32 2; le32 "$2"; le64 "$1"; le64 0; le64 0; }
{ range 8192 256; range 4096 256; } > "$DIR/ranges"
nvme io-passthru "$COMPUTE" --opcode=0x01 --namespace-id=3 --cdw2=1 --cdw3=2 --cdw14=64 --data-len=64 \
    --input-file="$DIR/ranges" --write

# Memory Read (02h).
nvme io-passthru "$MEMORY" --opcode=0x02 --namespace-id=2 --cdw10=8192 --cdw12=256 --data-len=256 --read \
    --raw-binary > "$DIR/doubled"
i=0; while [ $i -lt 64 ]; do le32 $((2 * i)); i=$((i + 1)); done > "$DIR/expected"
cmp "$DIR/doubled" "$DIR/expected"
echo "doubled 64 numbers"

# Memory Copy (01h): block 7 to byte 16384; one source entry of format 2h (namespace, block, blocks - 1).
head -c 4096 /dev/urandom > "$DIR/block"
nvme write "$BLOCKS" --namespace-id=1 --start-block=7 --block-count=0 --data-size=4096 --data="$DIR/block"
{ le32 1; le32 0; le64 7; le64 0; le64 0; } > "$DIR/source"
nvme io-passthru "$MEMORY" --opcode=0x01 --namespace-id=2 --cdw2=4096 --cdw10=16384 --cdw12=$((2 << 8)) \
    --data-len=32 --input-file="$DIR/source" --write
nvme io-passthru "$MEMORY" --opcode=0x02 --namespace-id=2 --cdw10=16384 --cdw12=4096 --data-len=4096 --read \
    --raw-binary > "$DIR/copied"
cmp "$DIR/block" "$DIR/copied"
echo "copied a block"

# Memory Fill (04h), with zeroes.
nvme io-passthru "$MEMORY" --opcode=0x04 --namespace-id=2 --cdw10=8192 --cdw12=256
nvme io-passthru "$MEMORY" --opcode=0x02 --namespace-id=2 --cdw10=8192 --cdw12=256 --data-len=256 --read \
    --raw-binary | tr -d '\0' > "$DIR/rest"
test ! -s "$DIR/rest"
echo "filled 256 bytes"

# Memory Range Set Management (89h): create a set of two ranges; its identifier is dword 0 of the completion.
result() { sed -n 's/.*[Rr]esult[: ]*\(0x\)\{0,1\}\([0-9a-fA-F]*\).*/0x\2/p' "$DIR/said" | head -n 1; }
nvme admin-passthru $CTRL --opcode=0x89 --namespace-id=3 --cdw10=0 --cdw11=2 --data-len=64 \
    --input-file="$DIR/ranges" --write > "$DIR/said" 2>&1
SET=$(($(result)))
# Job Group Management (C0h, of csdrive): create a group of weight 300.
nvme admin-passthru $CTRL --opcode=0xc0 --namespace-id=3 --cdw10=0 --cdw11=300 > "$DIR/said" 2>&1
GROUP=$(($(result)))
# Execute Program with that set, in that group: nothing is sent along.
nvme io-passthru "$COMPUTE" --opcode=0x01 --namespace-id=3 --cdw2=$((1 | SET << 16)) --cdw14=$((GROUP << 24))
nvme io-passthru "$MEMORY" --opcode=0x02 --namespace-id=2 --cdw10=8192 --cdw12=256 --data-len=256 --read \
    --raw-binary > "$DIR/doubled"
cmp "$DIR/doubled" "$DIR/expected"
echo "executed with range set $SET in group $GROUP"
# Program list (log page 82h), memory range sets (84h) and job groups (C2h): what is there now.
log() { nvme get-log "$CTRL" --log-id="$1" --log-len="$2" --namespace-id=3 --raw-binary | od -An -v -tu1 -w1 -j "$3" -N 1 | tr -d ' '; }
test "$(log 0x82 192 128)" = 5                     # of program 1: downloaded, active
test "$(log 0x84 16 0)" = 1                        # one set
test "$(log 0xc2 160 0)" = 2                       # jobs of no group, and this one
test "$(log 0xc2 160 96)" = 1                      # one of its jobs has finished
# Delete group and set; deactivate and unload the program.
nvme admin-passthru $CTRL --opcode=0xc0 --namespace-id=3 --cdw10=$((1 | GROUP << 16))
nvme admin-passthru $CTRL --opcode=0x89 --namespace-id=3 --cdw10=$((1 | SET << 16))
nvme admin-passthru $CTRL --opcode=0x88 --namespace-id=3 --cdw10=1
nvme admin-passthru $CTRL --opcode=0x85 --namespace-id=3 --cdw10=$((1 | 1 << 24))
test "$(log 0x82 192 128)" = 0
echo "everything is gone again"

# Wrong uses say what they are.
refused() {
    echo "expected: $1"; shift
    if "$@" 2> "$DIR/error"; then echo "not refused" >&2; exit 1; fi
    cat "$DIR/error"
}
refused "a program that is not there" nvme io-passthru "$COMPUTE" --opcode=0x01 --namespace-id=3 --cdw2=9
refused "memory beyond the end" nvme io-passthru "$MEMORY" --opcode=0x02 --namespace-id=2 --cdw10=0xFFFFF000 \
    --cdw11=0xFF --cdw12=4096 --data-len=4096 --read
refused "no such command" nvme io-passthru "$MEMORY" --opcode=0x77 --namespace-id=2
echo "all done"

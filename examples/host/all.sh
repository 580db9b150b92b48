#!/bin/sh
# Every example on a drive, one after the other: a served drive has one client at a time.
#
#     sh all.sh DEV PROGRAMS_DIR [C_DIR] [RUST_DIR]
#
# PROGRAMS_DIR has the *.bpf.o, C_DIR the examples in C, RUST_DIR those in Rust; '' = none. Ends at the first that fails.
# The examples grep OVERWRITE the last blocks of the drive.
set -eu

if [ $# -lt 2 ] || [ $# -gt 4 ]; then
    echo "use: sh $0 DEV PROGRAMS_DIR [C_DIR] [RUST_DIR]" >&2
    exit 2
fi
DEV=$1 PROGRAMS=$2 C=${3:-} RUST=${4:-}
HERE=$(dirname "$0")
passed=0

# run WAY NAME COMMAND...
run() {
    way=$1 name=$2
    shift 2
    case $name in
    grep) program=grep-count ;;
    *) program=$name ;;
    esac
    if ! output=$("$@" "$DEV" "$PROGRAMS/$program.bpf.o" 2>&1); then
        echo "FAILED $way/$name"
        echo "$output"
        exit 1
    fi
    echo "ok $way/$name"
    passed=$((passed + 1))
}

# run_built WAY FOLDER NAME
run_built() {
    [ "$2" ] || return 0
    if [ -x "$2/$3" ]; then
        run "$1" "$3" "$2/$3"
    else
        echo "-- $1/$3: not built in $2"
    fi
}

for name in double vadd grep filter nearest lz4; do
    run shell $name sh "$HERE/shell/$name.sh"
    run_built c "$C" $name
    run_built rust "$RUST" $name
done
echo "$passed examples passed"

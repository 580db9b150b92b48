# What the examples have in common; they read it in first. It loads the program that the command line names, and takes
# it from the drive again at the end, whatever that is.
set -eu

if [ $# -ne 2 ]; then
    echo "use: sh $0 DEV PROGRAM.bpf.o" >&2
    exit 2
fi
CSDRIVE=${CSDRIVE:-csdrive}
command -v "$CSDRIVE" > /dev/null || {
    echo "no $CSDRIVE here: put it into PATH, or its path into CSDRIVE" >&2
    exit 1
}
# The examples work in a folder of their own.
CSDRIVE=$(realpath "$(command -v "$CSDRIVE")")
DEV=$(realpath "$1")
# Where in device memory the ranges begin.
OUTPUT=0 INPUT=$((1 << 20)) SECOND_INPUT=$((2 << 20))

fail() {
    echo "$*" >&2
    exit 1
}

# same WHAT A B: that two files are the same.
same() {
    cmp "$2" "$3" >&2 || fail "$1: what the drive gave ($2) is not what the host has ($3)"
}

size() {
    wc -c < "$1" | tr -d ' '
}

memory_write() {
    "$CSDRIVE" memory write --start "$1" --file "$2" "$DEV" > /dev/null
}

# memory_read START LENGTH FILE
memory_read() {
    "$CSDRIVE" memory read --start "$1" --length "$2" --file "$3" "$DEV"
}

# execute ARGUMENT...: executes the program; prints its result.
execute() {
    "$CSDRIVE" exec --program 1 "$@" "$DEV"
}

LOADED=
cleanup() {
    status=$?
    if [ "$LOADED" ]; then
        "$CSDRIVE" program unload --index 1 "$DEV" > /dev/null || status=1
    fi
    rm -rf "$DIR"
    exit $status
}
DIR=$(mktemp -d)
trap cleanup EXIT
trap 'exit 1' HUP INT TERM
"$CSDRIVE" program load --index 1 "$2" "$DEV" > /dev/null
LOADED=yes
cd "$DIR"

# The same programs with the same inputs, in this process (csdrive run) and on the drive by io_uring passthrough: the
# same results, and the same bytes.
set -e
DEV=/dev/nvme0 PROGRAMS=/share/programs
cd "$(mktemp -d)"
python3 -c '
import random, struct
rnd = random.Random(5)
words = lambda n: struct.pack(f"<{n}i", *(rnd.randrange(-9999, 9999) for _ in range(n)))
open("a", "wb").write(words(5000))
open("b", "wb").write(words(5000))
open("text", "w").write("\n".join(" ".join(rnd.choice(["GET", "PUT", "x"]) for _ in range(4)) for _ in range(3000)))
open("records", "wb").write(b"".join(struct.pack("<4q", rnd.randrange(-300, 300), 1, 2, 3) for _ in range(3000)))
open("query", "wb").write(words(16))
'
number() { sed -n "s/.*\"$1\": \(-\{0,1\}[0-9]*\).*/\1/p" | head -n 1; }

# same PROGRAM OUTPUT_BYTES "INPUT..." ARGUMENT...
same() {
    program=$1 size=$2 inputs=$3
    shift 3
    given="" ranges="--range 0:$size" at=$((4 << 20))
    csdrive memory fill --start 0 --length $(((size + 3) / 4 * 4 + 4)) $DEV > /dev/null
    for input in $inputs; do
        given="$given --input $input"
        csdrive memory write --start $at --file "$input" $DEV > /dev/null
        ranges="$ranges --range $at:$(stat -c %s "$input")"
        at=$((at + (4 << 20)))
    done
    csdrive run "$PROGRAMS/$program.bpf.o" $given --output here --output-size "$size" "$@" --json > said
    csdrive program load --index 7 "$PROGRAMS/$program.bpf.o" $DEV > /dev/null
    here=$(number result < said) there=$(csdrive exec --program 7 $ranges "$@" --json $DEV | number result)
    csdrive program unload --index 7 $DEV > /dev/null
    test "$here" = "$there" || { echo "$program: $here here, $there on the drive" >&2; exit 1; }
    if [ "$size" -gt 0 ]; then
        csdrive memory read --start 0 --length "$size" --file there $DEV
        cmp here there
    fi
    echo "same $program: $here"
}

same double 20000 a
same vadd 20000 "a b"
same grep-count 0 text --data hex:474554
same filter 96000 records --param1 -100 --param2 100
same nearest 160 "a query" --param1 16 --param2 10
same lz4 100000 text
same lz4 100 a
same histogram 2048 text

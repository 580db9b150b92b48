# Looks at a ledger after a crash: every record that it counts is there, and so is every record that was acknowledged.
line() {
    dd if="$CSDRIVE_IMAGE" bs=4096 skip="$1" count=1 2> /dev/null | tr -d '\0' | head -n 1
}
count=$(line 0)
told=$(tail -n 1 "$CSDRIVE_MARKS")
if [ "${count:-0}" -lt "${told:-0}" ]; then
    echo "record $told was acknowledged, and the ledger has ${count:-0}"
    exit 1
fi
for n in $(seq "${count:-0}"); do
    if [ "$(line "$n")" != "record $n" ]; then
        echo "the ledger counts $count records, and record $n is not there"
        exit 1
    fi
done

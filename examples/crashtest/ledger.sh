# A ledger on a drive: block 0 says how many records there are, block n is record n. Each record is acknowledged with a mark.
# Usage: sh ledger.sh DEV [careful]
set -e
put() {
    printf '%s\n' "$3" | csdrive blocks write --block "$2" --file - "$1" > /dev/null
}
for n in 1 2 3 4; do
    put "$1" $n "record $n"
    # Without this the count may be in flash before the record is.
    [ "$2" != careful ] || csdrive blocks flush "$1" > /dev/null
    put "$1" 0 $n
    csdrive blocks flush "$1" > /dev/null
    csdrive mark "$1" $n > /dev/null
done

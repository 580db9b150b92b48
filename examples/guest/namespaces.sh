#!/bin/sh
# Namespaces with stock nvme-cli: those of namespaces.toml, and one that comes and goes while fio runs on another.
#
#     csdrive vm run --drive examples/guest/namespaces.toml --file examples/guest/namespaces.sh -- sh namespaces.sh
set -eu

wait_for() {
    for _ in $(seq 100); do
        if eval "$1"; then return 0; fi
        sleep 0.1
    done
    echo "in vain: $1" >&2
    dmesg | tail -n 20 >&2
    exit 1
}

echo "attached: $(nvme list-ns /dev/nvme0 | grep -c ']:')"
for namespace in 1 4; do
    nvme id-ns /dev/nvme0 -n $namespace -o json | python3 -c 'import json, sys; n = json.load(sys.stdin)
print("blocks:", n["nsze"], "of", 1 << n["lbafs"][n["flbas"] & 15]["ds"])'
done
for namespace in 2 5; do
    # The first eight bytes of Identify Namespace (CSI 3h) are the size of a memory namespace.
    nvme admin-passthru /dev/nvme0 --opcode=0x06 --namespace-id=$namespace --cdw10=5 --cdw11=0x03000000 \
        --data-len=4096 --read --raw-binary |
        python3 -c 'import struct, sys; print("memory:", struct.unpack("<Q", sys.stdin.buffer.read(8))[0])'
done
printf 'second memory' | csdrive memory write /dev/nvme0 --nsid 5 --start 0 --file -
echo "memory 5 holds: $(csdrive memory read /dev/nvme0 --nsid 5 --start 0 --length 13)"

echo "fio on the first namespace goes on meanwhile"
fio --name=meanwhile --filename=/dev/nvme0n1 --size=64M --rw=randwrite --bs=4k --ioengine=io_uring --iodepth=16 \
    --direct=1 --verify=crc32c --time_based --runtime=20 > fio.txt 2>&1 &
fio=$!

for round in 1 2 3; do
    nvme create-ns /dev/nvme0 --nsze=262144 --ncap=262144 --flbas=1 > created.txt
    new=$(grep -o 'nsid:[0-9]*' created.txt | cut -d: -f2)
    echo "created namespace $new; allocated: $(nvme list-ns /dev/nvme0 -a | grep -c ']:'), attached: $(nvme list-ns /dev/nvme0 | grep -c ']:')"
    nvme attach-ns /dev/nvme0 -n "$new" -c 0 > /dev/null
    wait_for '[ -b /dev/nvme0n6 ]'
    [ "$(blockdev --getsize64 /dev/nvme0n6)" = 1073741824 ]
    # Nothing is left of the namespace before.
    [ "$(head -c 1M /dev/nvme0n6 | tr -d '\0' | wc -c)" = 0 ]
    nvme format /dev/nvme0n6 --lbaf=0 --force > /dev/null
    wait_for '[ "$(blockdev --getss /dev/nvme0n6)" = 512 ]'
    mkfs.ext4 -q /dev/nvme0n6
    mkdir -p /mnt/new
    mount /dev/nvme0n6 /mnt/new
    cp /usr/bin/python3 /mnt/new/copy
    sync
    cmp /usr/bin/python3 /mnt/new/copy
    umount /mnt/new
    nvme detach-ns /dev/nvme0 -n "$new" -c 0 > /dev/null
    wait_for '[ ! -e /dev/nvme0n6 ]'
    nvme delete-ns /dev/nvme0 -n "$new" > /dev/null
    echo "round $round: namespace $new came and went"
done
wait "$fio" || { cat fio.txt; exit 1; }
echo "fio found no error"
[ "$(nvme list-ns /dev/nvme0 -a | grep -c ']:')" = 5 ]
echo "all done"

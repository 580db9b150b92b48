# A drive whose flash and memory are in persistent memory: an NVDIMM of this guest, on which ext4 maps files (DAX).
# Usage: csdrive vm run --nvdimm pmem.img --file examples/guest/pmem.sh -- sh pmem.sh [wait]
# The second time it finds what the first wrote. With wait, it says in /share that all is flushed, and waits to be killed.
set -e
modprobe nfit
modprobe nd_pmem
n=0; while [ ! -b /dev/pmem0 ] && [ $n -lt 300 ]; do sleep 0.1; n=$((n + 1)); done
# A namespace for file systems (fsdax), as "ndctl create-namespace -f -e namespace0.0 -m fsdax" makes it; the kernel finds it the next time.
if [ "$(cat /sys/block/pmem0/queue/dax)" = 0 ]; then
    cd /sys/bus/nd
    echo namespace0.0 > drivers/nd_pmem/unbind
    echo ram > devices/pfn0.0/mode
    cat /proc/sys/kernel/random/uuid > devices/pfn0.0/uuid
    echo namespace0.0 > devices/pfn0.0/namespace
    echo pfn0.0 > drivers/nd_pmem/bind
    cd /root
    mkfs.ext4 -q -b 4096 /dev/pmem0
fi
mount -o dax /dev/pmem0 /mnt
drive=/run/csdrive/own

# The drive of the guest's own: csdrive serves it here, in the guest.
start() {
    csdrive serve --socket $drive --set drive.capacity=64MiB --set storage.file=/mnt/drive.csd --set storage.dax="$1" \
        --set memory.folder=/mnt --set memory.size=16MiB > /run/csdrive/log 2>&1 &
    server=$!
    n=0
    while [ ! -S $drive ] && kill -0 $server && [ $n -lt 300 ]; do sleep 0.1; n=$((n + 1)); done
}
stop() {
    kill "$1" $server
    wait $server || true
    rm -f $drive
}
check() {
    csdrive blocks read --block 5 --count $((512 * 1024 / 4096)) --file back $drive > /dev/null
    cmp numbers back
}

if [ -e /mnt/numbers ]; then
    cp /mnt/numbers numbers
    start always
    check
    echo "it is there after the end of the machine"
    stop -TERM
    csdrive storage check /mnt/drive.csd
    umount /mnt
    exit
fi

head -c 512K /dev/urandom > numbers
start always
csdrive stat $drive | grep "bytes are in"
csdrive blocks write --block 5 --file numbers $drive > /dev/null
csdrive blocks flush $drive > /dev/null
csdrive memory write --start 4096 --file numbers $drive > /dev/null
csdrive memory read --start 4096 --length 524288 --file back $drive > /dev/null
cmp numbers back
grep -q "/mnt/#" /proc/$server/maps && echo "device memory is there, too"
stop -KILL
start always
check
echo "it is there after kill -9"
stop -TERM

# The same file without the mapping, and back.
start never
csdrive stat $drive | grep "bytes are in"
check
stop -TERM

# Where there is no room, writes fail and nothing else.
cp numbers /mnt/numbers
start always
sync
fill=$(df --output=avail -k /mnt | tail -1)
fallocate -l "$((fill - 64))K" /mnt/fill
head -c 1M /dev/urandom > more
csdrive blocks write --block 2000 --file more $drive && csdrive blocks flush $drive && echo "where is it?"
check
rm /mnt/fill
csdrive blocks write --block 2000 --file more $drive > /dev/null
csdrive blocks flush $drive > /dev/null
csdrive blocks read --block 2000 --count 256 --file back $drive > /dev/null
cmp more back
echo "it writes again when there is room"
if [ "$1" = wait ]; then
    echo flushed > /share/flushed
    sleep 600
fi
stop -TERM
umount /mnt

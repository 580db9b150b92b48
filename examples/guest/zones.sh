# Zones with stock tools: what Linux sees, nvme-cli's zns commands, blkzone, fio with zonemode=zbd, and a program on what a zone holds.
# Usage: sh zones.sh (in a guest whose drive is that of zones.toml)
set -e
of_zones() {
    cat /sys/block/nvme0n1/queue/$1
}
echo "namespace 1: $(of_zones zoned), $(of_zones nr_zones) zones, at most $(of_zones max_open_zones) open and $(of_zones max_active_zones) active"
echo "namespace 2: $(cat /sys/block/nvme0n2/queue/zoned)"

# A write that is not where the write pointer is fails; one that is, and an append, do not.
nvme zns open-zone /dev/nvme0n1 --start-lba=0
nvme write /dev/nvme0n1 --start-block=8 --block-count=0 --data-size=4096 --data=/dev/zero 2>&1 | head -1 || true
printf 'needle in a zone' > data
nvme zns zone-append /dev/nvme0n1 --zslba=0 --data-size=4096 --data=data
csdrive zones append --zone 0 --file data /dev/nvme0n1 | sed 's/^/appended to block /'
nvme zns report-zones /dev/nvme0n1 --descs=1
csdrive zones report /dev/nvme0n1 | head -3

# A program on the drive counts what the zone holds.
csdrive program load grep-count.bpf.o /dev/nvme0
printf needle > word
csdrive exec --nsid 1 --stream 0:2 --data word /dev/nvme0n1 | sed 's/^/found: /'

blkzone finish --offset 0 --length 32768 /dev/nvme0n1
blkzone report --offset 0 --length 32768 /dev/nvme0n1
blkzone reset /dev/nvme0n1
fio --name=zones --filename=/dev/nvme0n1 --zonemode=zbd --direct=1 --rw=randwrite --bs=64k --size=48M --ioengine=io_uring --iodepth=4 \
    --max_open_zones=4 --verify=crc32c --minimal > /dev/null
fio --name=again --filename=/dev/nvme0n1 --zonemode=zbd --direct=1 --rw=randrw --rwmixread=30 --bs=16k --size=48M --io_size=96M \
    --ioengine=libaio --iodepth=8 --max_open_zones=3 --minimal > /dev/null
echo "fio found no error"
csdrive stat /dev/nvme0 | grep -i amplification | tr -s " "

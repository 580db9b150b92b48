# The drive as a file system, in a guest.
set -ex
refused() { if "$@"; then exit 1; fi; }
mkfs.ext4 -q /dev/nvme0n1
mkdir -p /mnt/s /mnt/f
mount /dev/nvme0n1 /mnt/s
head -c 64M /dev/urandom > /mnt/s/big
csdrive fs mount /dev/nvme0 /mnt/f --storage /mnt/s
cd /mnt/f
grep '"storage_on_drive": true' statistics

# Copies are made within the drive; also of fragmented and sparse files, and of one that is appended to.
cp storage/big memory/big
grep '"copied_in_drive_bytes": 67108864, "copied_through_host_bytes": 0}' statistics
cmp /mnt/s/big memory/big
rm memory/big
truncate -s 10M /mnt/s/sparse
for i in 1 3 5 7; do
    dd if=/dev/urandom of=/mnt/s/sparse bs=1000 count=333 seek=$((i * 1000)) conv=notrunc,fsync status=none
done
cp --sparse=never storage/sparse memory/sparse
cmp /mnt/s/sparse memory/sparse
cp memory/sparse storage/back
cmp /mnt/s/sparse /mnt/s/back
cp memory/sparse memory/two
cmp /mnt/s/sparse memory/two
(set +x; for i in $(seq 50); do head -c 100000 /dev/urandom >> /mnt/s/log; done) &
sleep 0.3
cp storage/log memory/log
wait
cmp -n "$(stat -c %s memory/log)" /mnt/s/log memory/log
rm memory/*

# A program: copied in, run by a line of text.
cp /share/programs/double.bpf.o programs/double
grep active programs/double
python3 -c 'import sys, struct; sys.stdout.buffer.write(struct.pack("<1000I", *range(1000)))' > memory/in
truncate -s 4000 memory/out
echo "double out in" > run
grep 'result 1000' run
python3 -c 'import struct; d = open("memory/out", "rb").read(); assert struct.unpack("<1000I", d) == tuple(range(0, 2000, 2))'
# Job groups: made, changed, used and deleted by text.
ID=$(python3 -c '
import os
groups = os.open("groups", os.O_RDWR)
os.write(groups, b"create weight=300 bandwidth_kbps=100000")
print(os.pread(groups, 100, 0).decode().strip())')
echo "change $ID priority=7 units_max=2" > groups
echo "double out in group=$ID" > run
grep "^$ID weight=300 priority=7 .* bandwidth_kbps=100000 units_max=2 .* finished=1 " groups
refused sh -c 'echo "change 99 weight=1" > groups'
refused sh -c 'echo "create colour=red" > groups'
echo "delete $ID" > groups
refused grep "^$ID " groups
refused sh -c 'echo "double out nothing" > run'
grep 'no memory/nothing' run
refused cp /etc/passwd programs/bad
grep 'not an ELF file' programs/bad
# A file that does not fit into device memory, chunk by chunk; lines cross chunks, and the file has holes of others between its own.
python3 -c 'import random
random.seed(1)
with open("/mnt/s/text", "w") as f, open("/mnt/s/between", "w") as g:
    for n in range(150000):
        f.write("%d " % (n * 7919) + "x" * random.randrange(2000) + "\n")
        if n % 30000 == 0: f.flush(); g.write("y" * 100000); g.flush()'
test "$(stat -c %s /mnt/s/text)" -gt 140000000
cp /share/programs/grep-lines.bpf.o programs/grep
echo "grep storage/text data=999 chunk_kib=512 overlap_kib=4" > run
grep "^result $(grep -c 999 /mnt/s/text)$" run
echo "grep storage/text data=999 chunk_kib=256 in_flight=8 overlap_kib=4 early=1" > run
grep "^result $(grep -c 999 /mnt/s/text)$" run
grep -E '"memory_bytes": 134217728, "memory_free_bytes": [0-9]+' statistics
refused sh -c 'echo "grep storage/sparse data=9 overlap_kib=4" > run'
grep 'holes' run
refused sh -c 'echo "grep storage/nothing data=9 overlap_kib=4" > run'
grep 'No such file' run
refused sh -c 'echo "grep storage/../../etc/passwd data=9 overlap_kib=4" > run'
refused sh -c 'echo "grep storage/text chunk_kib=3" > run'
grep 'multiple of a block' run
refused sh -c 'echo "grep storage/text chunk_kib=65536" > run'
rm /mnt/s/text /mnt/s/between
rm programs/double programs/bad programs/grep
python3 /share/host/examples.py /mnt/f /share/programs
rm memory/*

# What others do with files.
python3 /root/fsx.py memory/fsx 20000
cp memory/fsx memory/in
python3 -c '
import mmap
f = open("memory/in", "r+b"); m = mmap.mmap(f.fileno(), 0); m[0:4] = b"WXYZ"; m.close()
assert open("memory/in", "rb").read(4) == b"WXYZ"'
fio --name=v --directory=memory --size=8M --rw=randwrite --bs=4k --ioengine=psync --verify=crc32c --minimal > /dev/null
refused dd if=/dev/zero of=memory/too_big bs=1M count=200 2> /root/error
grep 'No space left' /root/error
rm memory/*
cd /

# Other users: what the file system under it allows them, by name or through an open file, and nothing else.
umount /mnt/f
csdrive fs mount --allow-other /dev/nvme0 /mnt/f --storage /mnt/s
mkdir -m 777 /mnt/s/all
mkdir -m 700 /mnt/s/root
cp /etc/passwd /mnt/s/root/inside
install -m 600 /etc/passwd /mnt/s/all/secret
setpriv --reuid 1000 --regid 1000 --clear-groups bash -ex - << 'USER'
refused() { if "$@"; then exit 1; fi; }
cd /mnt/f/storage/all
echo mine > file
chmod 200 file
chmod 640 file
touch -d 2001-02-03 file
test "$(stat -c '%u %g %a %Y' file)" = "1000 1000 640 $(date -d 2001-02-03 +%s)"
mkdir folder
ln -s file link
mv file folder
rm link
test "$(stat -c '%u' folder)" = 1000
refused cat secret
refused sh -c 'echo "double storage/all/secret" > /mnt/f/run'
refused cat ../root/inside
refused sh -c 'echo x > secret'
refused ls ../root
refused chmod 777 secret
refused touch ../file
refused mv ../root mine
cp folder/file copy
rm -r folder copy
USER
cmp /etc/passwd /mnt/f/storage/all/secret

# A server that is killed, a drive that vanishes: errors, and the next command works.
kill -9 "$(pidof csdrive)"
refused ls /mnt/f/memory
csdrive fs mount /dev/nvme0 /mnt/f
echo hello > /mnt/f/memory/hello
umount /mnt/s
D=$(basename "$(readlink /sys/class/nvme/nvme0/device)")
echo "$D" > /sys/bus/pci/drivers/nvme/unbind
refused timeout 30 cat /mnt/f/memory/hello
csdrive fs unmount /mnt/f
# As long as somebody has the old one open, Linux gives the new one another number.
echo "$D" > /sys/bus/pci/drivers/nvme/bind
set +x
n=0; while ! ls /dev/ng*n3 > /dev/null 2>&1 && [ $n -lt 300 ]; do sleep 0.1; n=$((n + 1)); done
set -x
csdrive check /dev/nvme?

"""Copies between files on the drive and its memory, in a guest: within the drive, and right."""
import fcntl
import json
import mmap
import os
import random
import re
import struct
import subprocess

FILES, DRIVE = "/mnt/s", "/mnt/f"
rnd = random.Random(7)


def sh(command):
    return subprocess.run(command, shell=True, check=True, stdout=subprocess.PIPE, text=True).stdout


def mounted(make, device="/dev/nvme0n1", options="defaults"):
    sh(f"{make} {device}; mkdir -p {FILES} {DRIVE}; mount -o {options} {device} {FILES}")
    sh(f"csdrive fs mount /dev/nvme0 {DRIVE} --storage {FILES}")


def unmounted():
    sh(f"csdrive fs unmount {DRIVE}; umount {FILES}")


def host_bytes():
    """What the drive itself says went to and from the host, in whole thousands of 512 bytes."""
    smart = json.loads(sh("nvme smart-log /dev/nvme0 -o json"))
    return 512_000 * (smart["data_units_read"] + smart["data_units_written"])


def copied():
    with open(f"{DRIVE}/statistics") as file:
        counts = json.load(file)
    return counts["copied_in_drive_bytes"], counts["copied_through_host_bytes"]


def copy(source, target, offset=0, target_offset=0, length=None):
    """copy_file_range alone; gives bytes copied within the drive and through the host."""
    before = copied()
    left = os.path.getsize(source) - offset if length is None else length
    at = os.open(source, os.O_RDONLY), os.open(target, os.O_RDWR | os.O_CREAT, 0o644)
    while left > 0:
        done = os.copy_file_range(*at, left, offset, target_offset)
        assert done > 0
        offset, target_offset, left = offset + done, target_offset + done, left - done
    for file in at:
        os.close(file)
    return tuple(now - then for now, then in zip(copied(), before))


def same(one, other):
    sh(f"cmp {one} {other}")


def fresh(path):
    """As it is on the drive, whatever is in the page cache."""
    sh("sync; echo 3 > /proc/sys/vm/drop_caches")
    return path


def a_large_file():
    size = 256 << 20
    sh(f"head -c {size} /dev/urandom > {FILES}/large; sync")
    before = host_bytes()
    sh(f"cp {DRIVE}/storage/large {DRIVE}/memory/large")
    moved = host_bytes() - before
    assert copied() == (size, 0), copied()
    assert moved < size / 100, f"{moved} bytes over the host link"
    same(f"{FILES}/large", f"{DRIVE}/memory/large")


def a_fragmented_file():
    piece = 24 << 10
    sh(f"head -c {piece} /dev/urandom > {FILES}/fragments; sync")
    # Room is made in its midst again and again, and written: its parts are wherever there was room.
    for n in range(1, 200):
        at = rnd.randrange(n) * piece
        sh(f"fallocate --insert-range --offset {at} --length {piece} {FILES}/fragments")
        with open(f"{FILES}/fragments", "r+b", buffering=0) as file:
            os.pwrite(file.fileno(), rnd.randbytes(piece), at)
            os.fsync(file.fileno())
    extents = int(re.search(r"(\d+) extents? found", sh(f"filefrag {FILES}/fragments"))[1])
    assert extents > 100, f"{extents} extents: not a fragmented file"
    counts = copy(f"{DRIVE}/storage/fragments", f"{DRIVE}/memory/fragments")
    assert counts == (200 * piece, 0), counts
    same(f"{FILES}/fragments", f"{DRIVE}/memory/fragments")
    sh(f"head -c {200 * piece} /dev/urandom > {DRIVE}/memory/fragments")
    counts = copy(f"{DRIVE}/memory/fragments", f"{DRIVE}/storage/fragments")
    assert counts == (200 * piece, 0), counts
    same(fresh(f"{FILES}/fragments"), f"{DRIVE}/memory/fragments")


def back_to_a_file_that_is_there():
    size = (8 << 20) + 1234
    sh(f"head -c {size} /dev/zero > {FILES}/there; sync")
    os.utime(f"{FILES}/there", (0, 0))
    counts = copy(f"{DRIVE}/memory/large", f"{DRIVE}/storage/there", length=size)
    assert counts == (8 << 20, 1234), counts
    assert os.path.getmtime(f"{FILES}/there") > 1e9, "it was written now"
    sh(f"head -c {size} {FILES}/large > /root/expected")
    same("/root/expected", f"{FILES}/there")
    same("/root/expected", fresh(f"{FILES}/there"))
    # Odd places, and what is beyond its end.
    counts = copy(f"{DRIVE}/memory/large", f"{DRIVE}/storage/there", 4096, 5000, size)
    assert 0 < counts[0] < size and counts[1] > 0, counts
    sh(f"(head -c 5000 /root/expected; tail -c +4097 {FILES}/large | head -c {size}) > /root/expected2")
    same("/root/expected2", fresh(f"{FILES}/there"))
    # Somebody reads it, or has it mapped: then the host writes, and all see the same.
    for is_mapped in (False, True):
        with open(f"{FILES}/there", "rb") as other:
            seen = mmap.mmap(other.fileno(), size, prot=mmap.PROT_READ) if is_mapped else other
            assert len(seen.read(100_000)) == 100_000
            counts = copy(f"{DRIVE}/memory/large", f"{DRIVE}/storage/there", length=size)
            assert counts == (0, size), counts
            seen.seek(0)
            with open("/root/expected", "rb") as expected:
                assert seen.read(size) == expected.read()


def others_that_share_its_blocks():
    sh(f"head -c 4M /dev/urandom > {FILES}/one; cp --reflink=always {FILES}/one {FILES}/two; sync")
    sh(f"cp {FILES}/one /root/one; head -c 4M /dev/urandom > {DRIVE}/memory/new")
    counts = copy(f"{DRIVE}/memory/new", f"{DRIVE}/storage/two")
    assert counts == (0, 4 << 20), counts
    same(f"{DRIVE}/memory/new", fresh(f"{FILES}/two"))
    same("/root/one", f"{FILES}/one")
    # Now its blocks are its own.
    assert copy(f"{DRIVE}/memory/new", f"{DRIVE}/storage/two") == (4 << 20, 0)
    assert copy(f"{DRIVE}/storage/one", f"{DRIVE}/memory/new") == (4 << 20, 0)
    same("/root/one", f"{DRIVE}/memory/new")


def both_ways(expected_in_drive, name="file"):
    sh(f"head -c 3000000 /dev/urandom > {FILES}/{name}; sync")
    counts = copy(f"{DRIVE}/storage/{name}", f"{DRIVE}/memory/file")
    assert (counts[0] > 2_900_000) == expected_in_drive and sum(counts) == 3_000_000, counts
    same(f"{FILES}/{name}", f"{DRIVE}/memory/file")
    sh(f"head -c 3000000 /dev/urandom > {DRIVE}/memory/file")
    counts = copy(f"{DRIVE}/memory/file", f"{DRIVE}/storage/{name}")
    assert (counts[0] > 2_900_000) == expected_in_drive and sum(counts) == 3_000_000, counts
    same(f"{DRIVE}/memory/file", fresh(f"{FILES}/{name}"))


def encrypt(folder):
    """Encrypts an empty folder's files to come (linux/fscrypt.h)."""
    os.mkdir(folder)
    at = os.open(folder, os.O_RDONLY)
    # A key, known by the identifier that the kernel gives it.
    key = bytearray(struct.pack("II32xII32x", 2, 0, 64, 0) + bytes(range(64)))
    fcntl.ioctl(at, 0xC0506617, key)
    identifier = bytes(key[8:24])
    fcntl.ioctl(at, 0x800C6613, struct.pack("BBBBB3x16s", 2, 1, 4, 0, 0, identifier))
    os.close(at)


def done(name):
    print("ok", name, flush=True)


mounted("mkfs.ext4 -q")
for case in (a_large_file, a_fragmented_file, back_to_a_file_that_is_there):
    case()
    done(case.__name__)
unmounted()
sh("e2fsck -fn /dev/nvme0n1")

mounted("mkfs.xfs -q -f")
others_that_share_its_blocks()
unmounted()
done("others_that_share_its_blocks")

# A partition that begins anywhere, with blocks smaller than a page.
sh("nvme format /dev/nvme0n1 --lbaf=0 --force; echo start=3001,size=600000 | sfdisk -q /dev/nvme0n1")
assert os.path.exists("/sys/block/nvme0n1/nvme0n1p1")
mounted("mkfs.ext4 -q -b 1024", "/dev/nvme0n1p1")
both_ways(expected_in_drive=True)
unmounted()
sh("wipefs -qa /dev/nvme0n1; blockdev --rereadpt /dev/nvme0n1")
done("a_partition")

# Files whose bytes are in the journal first.
mounted("mkfs.ext4 -q -F", options="data=journal")
both_ways(expected_in_drive=False)
unmounted()
mounted("mkfs.ext4 -q -F")
sh(f"chattr +j {FILES}")
both_ways(expected_in_drive=False)
unmounted()
done("journalled data")

# Files whose bytes on the drive are not what programs read.
mounted("mkfs.ext4 -q -F -O encrypt")
encrypt(f"{FILES}/secret")
both_ways(expected_in_drive=False, name="secret/file")
unmounted()
done("encrypted_files")

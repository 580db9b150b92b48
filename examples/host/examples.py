#!/usr/bin/env python3
"""Every example program on a drive that is mounted as a file system, each against the same in Python.

    csdrive fs mount /dev/nvme0 /mnt/f
    python3 examples.py /mnt/f PROGRAMS          (the folder with the *.bpf.o)

Shows all there is to it: files in memory/ are a program's ranges, a line of text in run executes it.
"""
import random
import shutil
import struct
import sys
from pathlib import Path

drive, programs = Path(sys.argv[1]), Path(sys.argv[2])
rnd = random.Random(1)


def load(name):
    shutil.copyfile(programs / f"{name}.bpf.o", drive / "programs" / name)


def put(name, data):
    (drive / "memory" / name).write_bytes(data)


def get(name):
    return (drive / "memory" / name).read_bytes()


def run(request):
    """Executes a program; its result."""
    with open(drive / "run", "w") as file:
        file.write(request)
    word, number = (drive / "run").read_text().split()
    assert word == "result"
    return int(number)


def numbers(data):
    return list(struct.unpack(f"<{len(data) // 4}i", data))


def words(values):
    return struct.pack(f"<{len(values)}i", *values)


def double():
    values = [rnd.randrange(-1000, 1000) for _ in range(5000)]
    put("in", words(values))
    put("out", bytes(20000))
    assert run("double out in") == 5000
    assert numbers(get("out")) == [2 * value for value in values]


def vadd():
    a, b = ([rnd.randrange(-1000, 1000) for _ in range(5000)] for _ in range(2))
    put("a", words(a))
    put("b", words(b))
    put("out", bytes(20000))
    assert run("vadd out a b") == 5000
    assert numbers(get("out")) == [x + y for x, y in zip(a, b)]


def grep():
    lines = [" ".join(rnd.choice(("GET", "PUT", "a", "b")) for _ in range(5)) for _ in range(2000)]
    put("log", "\n".join(lines).encode())
    put("out", b"")
    assert run("grep-count out log data=GET") == sum("GET" in line for line in lines)


def sql_filter():
    records = [struct.pack("<4q", rnd.randrange(-1000, 1000), 1, 2, 3) for _ in range(2000)]
    put("table", b"".join(records))
    put("out", bytes(64000))
    kept = b"".join(r for r in records if -100 <= struct.unpack_from("<q", r)[0] <= 100)
    assert run("filter out table param1=-100 param2=100") == len(kept)
    assert get("out")[:len(kept)] == kept


def nearest():
    dimensions, k = 16, 10
    vectors = [[rnd.randrange(-500, 500) for _ in range(dimensions)] for _ in range(3000)]
    query = [rnd.randrange(-500, 500) for _ in range(dimensions)]
    put("vectors", b"".join(map(words, vectors)))
    put("query", words(query))
    put("out", bytes(16 * k))
    assert run(f"nearest out vectors query param1={dimensions} param2={k}") == k
    far = [(sum((a - b) ** 2 for a, b in zip(v, query)), n) for n, v in enumerate(vectors)]
    found = struct.unpack(f"<{2 * k}Q", get("out"))
    assert list(zip(found[::2], found[1::2])) == sorted(far)[:k]


def unpack_lz4(block):
    """A decoder of the LZ4 block format."""
    out, at = bytearray(), 0

    def length(start):
        nonlocal at
        total = start
        while start == 15:
            total += block[at]
            at += 1
            if block[at - 1] != 255:
                break
        return total

    while True:
        token = block[at]
        at += 1
        literals = length(token >> 4)
        out += block[at:at + literals]
        at += literals
        if at == len(block):
            return bytes(out)
        offset = block[at] | block[at + 1] << 8
        at += 2
        for _ in range(length(token & 15) + 4):
            out.append(out[-offset])


def lz4():
    words_ = [rnd.randbytes(rnd.randrange(3, 12)) for _ in range(200)]
    for data in (b"".join(rnd.choice(words_) for _ in range(20_000)), rnd.randbytes(50_000), b"a" * 70_000, b"abc"):
        put("in", data)
        put("out", bytes(len(data) + len(data) // 255 + 16))
        size = run("lz4 out in")
        assert unpack_lz4(get("out")[:size]) == data
        print(f"  {len(data)} bytes to {size}")
    put("in", rnd.randbytes(5000))
    put("out", bytes(4000))
    assert run("lz4 out in") == -1


for name, example in [
    ("double", double),
    ("vadd", vadd),
    ("grep-count", grep),
    ("filter", sql_filter),
    ("nearest", nearest),
    ("lz4", lz4),
]:
    load(name)
    example()
    (drive / "programs" / name).unlink()
    print("ok", name)

"""Random operations on a file against a model, as fsx does: python3 fsx.py FILE OPERATIONS [SEED]"""
import ctypes
import os
import random
import sys

path, operations = sys.argv[1], int(sys.argv[2])
seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.randrange(1 << 30)
print("seed", seed)
rnd = random.Random(seed)
libc = ctypes.CDLL(None, use_errno=True)
MOST = 200_000
model = bytearray()
file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)


def offset():
    return rnd.randrange(min(len(model) + 5000, MOST - 70_000) + 1)


def length():
    return rnd.randrange(1, rnd.choice((9, 5000, 70_000)))


def put(at, data):
    if at > len(model):
        model.extend(bytes(at - len(model)))
    model[at:at + len(data)] = data


def fallocate(mode, at, n):
    if libc.fallocate(file, mode, ctypes.c_long(at), ctypes.c_long(n)):
        raise OSError(ctypes.get_errno(), "fallocate")


for n in range(operations):
    what, at, count = rnd.randrange(12), offset(), length()
    if what < 4:
        data = rnd.randbytes(count)
        assert os.pwrite(file, data, at) == count
        put(at, data)
    elif what < 7:
        assert os.pread(file, count, at) == model[at:at + count], (n, "read", at, count)
    elif what == 7:
        os.ftruncate(file, at)
        model = model[:at] + bytes(max(0, at - len(model)))
    elif what == 8:
        fallocate(0, at, count)
        put(len(model), bytes(max(0, at + count - len(model))))
    elif what == 9:
        fallocate(3, at, count)
        end = min(at + count, len(model))
        if at < end:
            model[at:end] = bytes(end - at)
    elif what == 10:
        to = offset()
        count = min(count, abs(to - at), max(0, len(model) - at))
        if count:
            data = bytes(model[at:at + count])
            done = os.copy_file_range(file, file, count, at, to)
            put(to, data[:done])
    else:
        assert os.fstat(file).st_size == len(model), (n, "size")
        if rnd.randrange(20) == 0:
            os.close(file)
            os.rename(path, path + "2")
            os.rename(path + "2", path)
            file = os.open(path, os.O_RDWR)
assert os.pread(file, MOST * 2, 0) == model
print(operations, "operations")

# FEMU's dialect, through the stock kernel: what FEMU's own test tool does, with commands of its layout.
import ctypes, fcntl, os, struct, sys

IO, ADMIN = 0xC0484E43, 0xC0484E41  # NVME_IOCTL_IO_CMD, NVME_IOCTL_ADMIN_CMD
namespace, controller = open("/dev/nvme0n1", "r+b", buffering=0), open("/dev/nvme0", "r+b", buffering=0)


def send(device, request, opcode, data=b"", cdw2=0, cdw3=0, dwords=(0,) * 6):
    """Sends a command (struct nvme_passthru_cmd of linux/nvme_ioctl.h); gives its result and its data."""
    buffer = ctypes.create_string_buffer(bytes(data), max(len(data), 1))
    address = ctypes.addressof(buffer) if data else 0
    command = bytearray(struct.pack("<BBHIIIQQII6III", opcode, 0, 0, 1, cdw2, cdw3, 0, address, 0, len(data), *dwords, 0, 0))
    status = fcntl.ioctl(device, request, command)
    if status:
        raise OSError(f"opcode {opcode:#x}: status {status:#x}")
    return struct.unpack_from("<I", command, 68)[0], buffer.raw[: len(data)]


def io(opcode, **rest):
    return send(namespace, IO, opcode, **rest)


def admin(opcode, **rest):
    return send(controller, ADMIN, opcode, **rest)


def refused(act):
    try:
        act()
    except OSError:
        return
    raise AssertionError("it was not refused")


def load(index, kind, names=b"", ns=0, cdw=0):
    opcode = 0x25 if names else 0x22
    admin(opcode, data=names, cdw3=ns, dwords=(index | kind << 16 | cdw, len(names), 0, 0, len(names), 0))


def activate(index, on):
    admin(0x23, dwords=(index | on << 16, 0, 0, 0, 0, 0))


def execute(index, ranges, ns=0):
    data = b"".join(struct.pack("<IIQQQ", 0, 0, id, 0, 0) for id in ranges)
    return io(0xE1, data=data, cdw2=index, cdw3=len(ranges), dwords=(0, 0, 0, 0, 0, ns))[0]


output, _ = io(0xB0, dwords=(4096, 0, 0, 0, 0, 0))
source, _ = io(0xB0, dwords=(4096, 0, 0, 0, 0, 0))
numbers = struct.pack("<1024I", *range(1024))
io(0xF5, data=numbers, dwords=(0, 0, 4096, 0, source, 0))
assert io(0xF2, data=bytes(4096), dwords=(0, 0, 4096, 0, source, 0)) == (4096, numbers)

# A phantom: it takes a time, and copies.
load(1, 0, ns=1000)
activate(1, 1)
assert execute(1, [output, source]) == 4096
assert io(0xF2, data=bytes(4096), dwords=(0, 0, 4096, 0, output, 0))[1] == numbers

# Blocks, and a program that is named by its path on the host.
namespace.seek(0)
namespace.write(numbers)
os.fsync(namespace)
assert io(0xD0, dwords=(0, 0, 4096 // 512 - 1, source, 0, 0))[0] == 4096
load(2, 1, names=sys.argv[1].encode() + b"\0double_values\0")
activate(2, 1)
assert execute(2, [output, source]) == 1024
doubled = io(0xF2, data=bytes(4096), dwords=(0, 0, 4096, 0, output, 0))[1]
assert struct.unpack("<1024I", doubled) == tuple(range(0, 2048, 2))

# A range set, and a group.
ranges = b"".join(struct.pack("<IIQQQ", 0, 0, id, 0, 0) for id in [output, source])
range_set, _ = admin(0x21, data=ranges, dwords=(0, 2, 0, 0, 0, 0))
group, _ = io(0xF6, dwords=(7, 0, 0, 0, 0, 0))
assert io(0xE1, cdw2=2 | range_set << 16, dwords=(0, 0, 0, 0, group, 0))[0] == 1024
admin(0x21, dwords=(1 | range_set << 16, 0, 0, 0, 0, 0))
io(0xF8, dwords=(group, 0, 0, 0, 0, 0))

refused(lambda: load(3, 1, names=b"/etc/passwd\0f\0"))
refused(lambda: execute(5, [output, source]))
for index in [1, 2]:
    activate(index, 0)
    load(index, 0, cdw=1 << 24)
for id in [output, source]:
    io(0xC0, dwords=(id, 0, 0, 0, 0, 0))
refused(lambda: io(0xC0, dwords=(output, 0, 0, 0, 0, 0)))
print("all of it")

"""A vfio-user client that means harm, for `hostile.rs`: peer.py SOCKET PID SCRIPT. Each script ends with an assertion
about the server; then the server must still serve an honest client."""
import array, ctypes, fcntl, json, mmap, os, random, select, socket, struct, sys, threading, time

SOCKET, PID, SCRIPT = sys.argv[1], int(sys.argv[2]), sys.argv[3]
(VERSION, DMA_MAP, DMA_UNMAP, INFO, REGION_INFO, IO_FDS, IRQ_INFO, SET_IRQS, READ, WRITE, DMA_READ, DMA_WRITE,
 RESET) = range(1, 14)
EBUSY = 16


class Peer:
    """A connection."""
    def __init__(self, negotiate=True, timeout=10):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(SOCKET)
        self.id = 0
        if negotiate:
            error, _, _ = self.version()
            assert error == 0, f"VERSION is refused with errno {error}"

    def send(self, command, payload=b"", fds=(), flags=0, size=None):
        self.id = (self.id + 1) & 0xFFFF
        size = 16 + len(payload) if size is None else size
        header = struct.pack("<HHIII", self.id, command, size, flags, 0)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.socket.sendmsg([header + payload], rights)

    def receive(self):
        def exactly(n):
            data = b""
            while len(data) < n:
                piece = self.socket.recv(n - len(data))
                if not piece:
                    raise EOFError("the server has closed the connection")
                data += piece
            return data
        _, _, size, _, error = struct.unpack("<HHIII", exactly(16))
        return error, exactly(size - 16), []

    def call(self, command, payload=b"", fds=(), size=None):
        self.send(command, payload, fds, 0, size)
        return self.receive()

    def version(self, text=b'{"capabilities":{"max_msg_fds":16}}\0'):
        return self.call(VERSION, struct.pack("<HH", 0, 0) + text)

    def map(self, address, size, fd=None, offset=0):
        return self.call(DMA_MAP, struct.pack("<IIQQQ", 32, 3, offset, address, size), [fd] if fd is not None else [])[0]

    def read(self, region, offset, size):
        error, payload, _ = self.call(READ, struct.pack("<QII", offset, region, size))
        assert error == 0, f"read of {size} at {offset:#x}: errno {error}"
        return int.from_bytes(payload[16:], "little")

    def write(self, offset, value, size=4):
        error, _, _ = self.call(WRITE, struct.pack("<QII", offset, 0, size) + value.to_bytes(size, "little"))
        assert error == 0, f"write of {size} at {offset:#x}: errno {error}"

    def close(self):
        self.socket.close()


class Controller:
    """A controller brought up through a peer: admin queues of 32 entries at 1000h and 2000h."""
    def __init__(self, peer, size=4 << 20, fd=None):
        if fd is None:
            fd = os.memfd_create("memory", os.MFD_ALLOW_SEALING)
            os.ftruncate(fd, size)
        self.peer, self.fd = peer, fd
        self.memory = mmap.mmap(fd, size)
        error = peer.map(0, size, fd)
        assert error == 0, f"the memory is refused with errno {error}"
        peer.write(0x14, 0)
        peer.write(0x24, 31 | 31 << 16)
        peer.write(0x28, 0x1000, 8)
        peer.write(0x30, 0x2000, 8)
        self.memory[0x1000:0x3000] = bytes(0x2000)
        peer.write(0x14, 0x460061)
        self.tail = self.head = self.cid = 0
        self.phase = 1
        deadline = time.time() + 10
        while not peer.read(0, 0x1C, 4) & 1:
            assert time.time() < deadline, "the controller is not ready"

    def put(self, opcode, nsid=0, prp1=0, cdw10=0):
        self.cid += 1
        entry = struct.pack("<BBHIQQQQ6I", opcode, 0, self.cid, nsid, 0, 0, prp1, 0, cdw10, 0, 0, 0, 0, 0)
        self.memory[0x1000 + 64 * self.tail:0x1040 + 64 * self.tail] = entry
        self.tail = (self.tail + 1) % 32

    def ring(self):
        self.peer.write(0x1000, self.tail)

    def identify(self):
        """Status of an Identify Controller; None if it does not complete."""
        self.put(6, prp1=0x10000, cdw10=1)
        self.ring()
        deadline = time.time() + 10
        while time.time() < deadline:
            entry = struct.unpack("<IIHHHH", self.memory[0x2000 + 16 * self.head:0x2010 + 16 * self.head])
            if entry[5] & 1 == self.phase:
                self.head = (self.head + 1) % 32
                self.phase ^= self.head == 0
                self.peer.write(0x1004, self.head)
                return entry[5] >> 1
            time.sleep(.0005)


def closed(peer, within):
    """True if the server closes the connection within some seconds."""
    peer.socket.settimeout(within)
    try:
        while peer.socket.recv(65536):
            pass
        return True
    except (ConnectionError, BrokenPipeError):
        return True
    except socket.timeout:
        return False


# --- the two cases that were found from outside

def eventfd_that_blocks():
    peer = Peer()
    controller = Controller(peer)
    eventfd = os.eventfd(0)
    assert peer.call(SET_IRQS, struct.pack("<IIIII", 20, 0x24, 2, 0, 1), [eventfd])[0] == 0
    assert controller.identify() == 0
    assert select.select([eventfd], [], [], 5)[0], "no interrupt"
    os.read(eventfd, 8)
    fcntl.fcntl(eventfd, fcntl.F_SETFL, fcntl.fcntl(eventfd, fcntl.F_GETFL) & ~os.O_NONBLOCK)
    os.write(eventfd, struct.pack("<Q", 0xFFFFFFFFFFFFFFFE))
    # The drive goes on without that interrupt.
    assert controller.identify() == 0
    assert controller.identify() == 0


def huge_pages_that_vanish():
    pages = "/proc/sys/vm/nr_hugepages"
    before = open(pages).read()
    open(pages, "w").write("4")
    try:
        assert int(open(pages).read()) >= 4, "this machine has no room for four huge pages"
        size = 4 << 20
        fd = os.memfd_create("huge", os.MFD_HUGETLB | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, size)
        peer = Peer()
        controller = Controller(peer, size, fd)
        assert controller.identify() == 0, "huge pages do not work as memory"
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.fallocate(fd, 3, ctypes.c_long(0), ctypes.c_long(size)) == 0
        # Others take the pages that became free.
        other = os.memfd_create("other", os.MFD_HUGETLB)
        os.ftruncate(other, 4 << 21)
        for count in (4, 3, 2, 1):
            try:
                taken = mmap.mmap(other, count << 21)
                for page in range(count):
                    taken[page << 21] = 1
                break
            except OSError:
                pass
        peer.write(0x1000, 3)
        time.sleep(.3)
        # The controller cannot read its queue: that is its fatal status, if anything, and no end of the server.
        peer.read(0, 0x1C, 4)
    finally:
        open(pages, "w").write(before)


# --- what else a client may do to a server

def half_a_message():
    peer = Peer()
    peer.socket.send(struct.pack("<HHIII", 1, READ, 32, 0, 0) + b"half")
    assert closed(peer, 8), "a client that sends half a message keeps the drive"


def silence():
    peer = Peer(negotiate=False)
    assert closed(peer, 8), "a client that says nothing keeps the drive"


def byte_by_byte():
    peer = Peer()
    message = struct.pack("<HHIII", 9, READ, 32, 0, 0) + struct.pack("<QII", 8, 0, 4)
    for byte in message:
        peer.socket.send(bytes([byte]))
        time.sleep(.005)
    error, payload, _ = peer.receive()
    assert error == 0 and payload[16:20] == struct.pack("<I", 0x20100)


def second_client():
    first = Peer()
    began = time.time()
    second = Peer(negotiate=False)
    error, _, _ = second.version()
    assert error == EBUSY, f"errno {error} instead of EBUSY"
    assert time.time() - began < 5
    assert closed(second, 2)
    assert first.read(0, 8, 4) == 0x20100, "the first client lost the drive"
    # One that comes while the first leaves gets the drive.
    third = Peer(negotiate=False)
    first.close()
    assert third.version()[0] == 0


def crowd():
    first = Peer()
    others = []
    for _ in range(64):
        other = socket.socket(socket.AF_UNIX)
        other.settimeout(5)
        try:
            other.connect(SOCKET)
            others.append(other)
        except OSError:
            break
    assert first.read(0, 8, 4) == 0x20100
    for other in others:
        other.close()
    assert first.read(0, 8, 4) == 0x20100


def refused_client_that_does_not_read():
    first = Peer()
    second = Peer(negotiate=False)
    for _ in range(100):
        try:
            second.send(VERSION, struct.pack("<HH", 0, 0) + b'{"capabilities":{}}\0')
        except OSError:
            break
    time.sleep(1)
    assert first.read(0, 8, 4) == 0x20100


def registers_read_back():
    """Windows and others read the admin queue's registers while the controller is enabled, in any width."""
    peer = Peer()
    Controller(peer)
    for offset, size, value in [
            (0x24, 4, 31 | 31 << 16), (0x24, 2, 31), (0x26, 2, 31), (0x28, 8, 0x1000), (0x28, 4, 0x1000),
            (0x2C, 4, 0), (0x29, 1, 0x10), (0x30, 8, 0x2000), (0x30, 4, 0x2000), (0x34, 4, 0)]:
        assert peer.read(0, offset, size) == value, f"{size} bytes at {offset:#x}"
    # The drive does not move its queue while it is enabled.
    peer.write(0x28, 0x9000, 8)
    assert peer.read(0, 0x28, 8) == 0x1000


def queue_in_memory_that_goes():
    peer = Peer()
    controller = Controller(peer)
    for _ in range(20):
        controller.put(6, prp1=0x10000, cdw10=1)
    controller.ring()
    assert peer.call(DMA_UNMAP, struct.pack("<IIQQ", 24, 0, 0, 4 << 20))[0] == 0
    controller.ring()
    time.sleep(.1)
    peer.read(0, 0x1C, 4)
    assert peer.map(0, 4 << 20, controller.fd) == 0


def file_that_shrinks():
    peer = Peer()
    path = f"/dev/shm/csdrive-hostile-{os.getpid()}"
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.unlink(path)
    os.ftruncate(fd, 4 << 20)
    controller = Controller(peer, 4 << 20, fd)
    assert controller.identify() == 0
    os.ftruncate(fd, 0)
    peer.write(0x1000, 9)
    time.sleep(.1)
    peer.read(0, 0x1C, 4)


def descriptors_of_all_kinds():
    peer = Peer()
    read_end, write_end = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    folder = os.open("/", os.O_RDONLY)
    left, right = socket.socketpair()
    for fd in (read_end, write_end, null, folder, left.fileno()):
        assert peer.map(0x1000000, 4096, fd) != 0, "something that is no memory is taken for it"
        peer.call(SET_IRQS, struct.pack("<IIIII", 20, 0x24, 2, 0, 1), [fd])
    Controller(peer).identify()


def storm_of_resets():
    peer = Peer()
    controller = Controller(peer)
    for _ in range(300):
        controller.put(6, prp1=0x10000, cdw10=1)
        controller.ring()
        peer.write(0x14, 0)
        peer.write(0x14, 0x460061)
        controller.tail = 0
        peer.call(RESET)
    assert peer.read(0, 8, 4) == 0x20100


def noise():
    generator = random.Random(14)
    for _ in range(150):
        peer = Peer(negotiate=generator.random() < .7)
        try:
            for _ in range(generator.randrange(1, 12)):
                command = generator.choice(list(range(0, 20)) + [255, 65535])
                payload = generator.randbytes(generator.randrange(0, 96))
                size = generator.choice([None, None, None, 0, 15, 16, 1 << 30])
                peer.send(command, payload, (), generator.choice([0, 0, 0x10, 1, 0x20]), size)
            peer.socket.settimeout(.02)
            peer.socket.recv(4096)
        except OSError:
            pass
        peer.close()


def replies_that_nobody_reads():
    peer = Peer(timeout=2)
    try:
        for _ in range(200_000):
            peer.send(READ, struct.pack("<QII", 0, 7, 4096))
    except OSError:
        pass
    peer.close()


scripts = {name: value for name, value in list(globals().items())
           if callable(value) and value.__module__ == __name__ and name not in ("Peer", "Controller", "closed")}
if SCRIPT == "list":
    print("\n".join(scripts))
    sys.exit()
scripts[SCRIPT]()
# Whatever it did: the server is there and serves the next client, and has not kept what it got.
deadline = time.time() + 15
while True:
    try:
        honest = Peer(timeout=15)
        break
    except (AssertionError, OSError, EOFError):
        assert time.time() < deadline, "no other client is served"
        time.sleep(.1)
assert Controller(honest).identify() == 0
honest.close()
time.sleep(.3)
kept = len(os.listdir(f"/proc/{PID}/fd"))
assert kept < 64, f"the server keeps {kept} descriptors"

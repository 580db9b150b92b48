//! Every message as a client may send it, good and bad: what the server answers, and that it lives on.

use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use vfio_user::wire::{
    DATA_MAX, DESCRIPTORS_MAX, DmaMap, DmaUnmap, Header, IrqInfo, MESSAGE_MAX, RegionAccess,
    RegionInfo, SetIrqs, Version, command, flag, pci,
};
use vfio_user::{Closed, Connection, Device, Errno, Map, Mappable};
use zerocopy::{FromBytes, IntoBytes};

/// A device that notes what is done to it.
#[derive(Default)]
struct Noted {
    registers: Vec<u8>,
    maps: Vec<(u64, u64, bool)>,
    eventfds: Vec<Option<OwnedFd>>,
    resets: u32,
    mappable: Option<OwnedFd>,
}

impl Device for Noted {
    fn region_size(&self, region: u32) -> u64 {
        if region == pci::BAR0 { self.registers.len() as u64 } else { 0 }
    }

    fn mappable(&self, region: u32) -> Option<Mappable> {
        let file = self.mappable.as_ref().filter(|_| region == pci::BAR0)?.try_clone().unwrap();
        Some(Mappable { offset: 0x1000, size: 0x1000, file })
    }

    fn region_read(&mut self, _: u32, offset: u64, into: &mut [u8]) {
        into.copy_from_slice(&self.registers[offset as usize..][..into.len()]);
    }

    fn region_write(&mut self, _: u32, offset: u64, from: &[u8]) {
        self.registers[offset as usize..][..from.len()].copy_from_slice(from);
    }

    fn interrupts(&self, kind: u32) -> u32 {
        if kind == pci::MSIX { self.eventfds.len() as u32 } else { 0 }
    }

    fn set_interrupt(&mut self, _: u32, number: u32, eventfd: Option<OwnedFd>) {
        self.eventfds[number as usize] = eventfd;
    }

    fn map(&mut self, map: Map) -> Result<(), Errno> {
        if self.maps.iter().any(|(address, size, _)| {
            map.address < address + size && *address < map.address + map.size
        }) {
            return Err(Errno::EXIST);
        }
        self.maps.push((map.address, map.size, map.file.is_some()));
        Ok(())
    }

    fn unmap(&mut self, address: u64, size: u64) -> Result<(), Errno> {
        let found = self.maps.iter().position(|map| (map.0, map.1) == (address, size));
        self.maps.remove(found.ok_or(Errno::NOENT)?);
        Ok(())
    }

    fn unmap_all(&mut self) {
        self.maps.clear();
    }

    fn reset(&mut self) {
        self.resets += 1;
    }
}

struct Peer {
    socket: UnixStream,
    connection: Connection,
    device: Noted,
    next: u16,
}

/// errno and payload of a reply.
type Answer = (u32, Vec<u8>);

impl Peer {
    /// Connected, nothing said yet.
    fn silent() -> Self {
        let (socket, theirs) = UnixStream::pair().unwrap();
        socket.set_nonblocking(true).unwrap();
        let device = Noted {
            registers: vec![0; 0x4000],
            eventfds: (0..8).map(|_| None).collect(),
            ..Default::default()
        };
        Self { socket, connection: Connection::new(theirs).unwrap(), device, next: 0 }
    }

    fn new() -> Self {
        let mut peer = Self::silent();
        let (errno, payload) = peer.ask(command::VERSION, &version(0, 0, "{}\0"), &[]).unwrap();
        assert_eq!(errno, 0);
        let text = std::str::from_utf8(&payload[4..payload.len() - 1]).unwrap();
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(value["capabilities"]["max_msg_fds"], DESCRIPTORS_MAX);
        peer
    }

    fn serve(&mut self) -> Result<bool, Closed> {
        self.connection.serve(&mut self.device, 1000)
    }

    fn send(&mut self, bytes: &[u8], files: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() {
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(files)));
        }
        let sent = rustix::net::sendmsg(
            &self.socket,
            &[IoSlice::new(bytes)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        );
        assert_eq!(sent.unwrap(), bytes.len());
    }

    fn message(&mut self, command: u16, flags: u32, payload: &[u8]) -> Vec<u8> {
        self.next += 1;
        let header = Header {
            message_id: self.next.into(),
            command: command.into(),
            message_size: ((16 + payload.len()) as u32).into(),
            flags: flags.into(),
            error: 0.into(),
        };
        [header.as_bytes(), payload].concat()
    }

    /// What was answered, if anything was.
    fn answer(&mut self) -> Option<Answer> {
        let mut bytes = vec![0; MESSAGE_MAX];
        let n = self.socket.read(&mut bytes).ok()?;
        let (header, payload) = Header::read_from_prefix(&bytes[..n]).unwrap();
        assert_eq!(header.message_size.get() as usize, n, "one reply");
        assert_eq!(header.message_id.get(), self.next);
        let flags = header.flags.get();
        assert_eq!(flags & flag::TYPE, flag::REPLY);
        assert_eq!(flags & flag::ERROR != 0, header.error.get() != 0);
        Some((header.error.get(), payload.to_vec()))
    }

    fn ask(
        &mut self,
        command: u16,
        payload: &[u8],
        files: &[BorrowedFd<'_>],
    ) -> Result<Answer, Closed> {
        let message = self.message(command, 0, payload);
        self.send(&message, files);
        self.serve()?;
        Ok(self.answer().expect("a reply"))
    }

    /// errno of the answer to a command.
    fn errno(&mut self, command: u16, payload: &[u8], files: &[BorrowedFd<'_>]) -> i32 {
        let (errno, payload) = self.ask(command, payload, files).unwrap();
        assert!(errno == 0 || payload.is_empty());
        errno as i32
    }
}

const FINE: i32 = 0;
const INVAL: i32 = Errno::INVAL.raw_os_error();
const EXIST: i32 = Errno::EXIST.raw_os_error();
const NOENT: i32 = Errno::NOENT.raw_os_error();
const NOTSUP: i32 = Errno::NOTSUP.raw_os_error();

fn version(major: u16, minor: u16, text: &str) -> Vec<u8> {
    let version = Version { major: major.into(), minor: minor.into() };
    [version.as_bytes(), text.as_bytes()].concat()
}

fn map(address: u64, size: u64, offset: u64, flags: u32) -> DmaMap {
    DmaMap {
        argsz: 32.into(),
        flags: flags.into(),
        offset: offset.into(),
        address: address.into(),
        size: size.into(),
    }
}

fn access(region: u32, offset: u64, count: u32, data: &[u8]) -> Vec<u8> {
    let access = RegionAccess { offset: offset.into(), region: region.into(), count: count.into() };
    [access.as_bytes(), data].concat()
}

fn irqs(flags: u32, index: u32, start: u32, count: u32) -> Vec<u8> {
    SetIrqs {
        argsz: 20.into(),
        flags: flags.into(),
        index: index.into(),
        start: start.into(),
        count: count.into(),
    }
    .as_bytes()
    .to_vec()
}

fn file() -> File {
    File::open("/dev/null").unwrap()
}

#[test]
fn versions_are_negotiated_or_refused() {
    for good in ["", "{}\0", "{\"capabilities\":{\"max_msg_fds\":16,\"unknown\":[1]}}\0"] {
        let mut peer = Peer::silent();
        assert_eq!(peer.ask(command::VERSION, &version(0, 9, good), &[]).unwrap().0, 0, "{good}");
    }
    for (major, bad) in [(1, ""), (0, "{}"), (0, "nonsense\0"), (0, "[]\0"), (0, "{\"a\":\0")] {
        let mut peer = Peer::silent();
        let message = peer.message(command::VERSION, 0, &version(major, 0, bad));
        peer.send(&message, &[]);
        assert!(matches!(peer.serve(), Err(Closed::Version(_))), "{bad}");
        assert_eq!(peer.answer().unwrap().0, INVAL as u32);
    }
    for bytes in [&[][..], &[0; 3]] {
        let mut peer = Peer::silent();
        let message = peer.message(command::VERSION, 0, bytes);
        peer.send(&message, &[]);
        assert!(matches!(peer.serve(), Err(Closed::Version(_))));
    }
    let mut peer = Peer::silent();
    let message = peer.message(command::DEVICE_RESET, 0, &[]);
    peer.send(&message, &[]);
    assert!(matches!(peer.serve(), Err(Closed::NotNegotiated(13))));
    let long = version(0, 0, &format!("{{\"a\":\"{}\"}}\0", "x".repeat(5000)));
    let mut peer = Peer::silent();
    let message = peer.message(command::VERSION, 0, &long);
    peer.send(&message, &[]);
    assert!(matches!(peer.serve(), Err(Closed::Version(_))));
}

#[test]
fn memory_is_mapped_and_unmapped() {
    let mut peer = Peer::new();
    let file = file();
    let fd = &[file.as_fd()][..];
    let good = map(0x10_0000, 0x2000, 0, 3);
    assert_eq!(peer.errno(command::DMA_MAP, good.as_bytes(), fd), FINE);
    assert_eq!(peer.errno(command::DMA_MAP, map(0, 0x1000, 0, 1).as_bytes(), &[]), FINE);
    assert_eq!(peer.device.maps, [(0x10_0000, 0x2000, true), (0, 0x1000, false)]);
    for (bad, files) in [
        (map(0x20_0000, 0, 0, 3), fd),
        (map(0x20_0001, 0x1000, 0, 3), fd),
        (map(0x20_0000, 0x1001, 0, 3), fd),
        (map(0x20_0000, 0x1000, 1, 3), fd),
        (map(0x20_0000, 0x1000, 0, 4), fd),
        (map(u64::MAX - 0xFFF, 0x1000, 0, 3), fd),
        (map(0x1000, u64::MAX - 0xFFF, 0, 3), fd),
        (map(0x20_0000, 0x1000, 0, 3), &[file.as_fd(), file.as_fd()]),
    ] {
        assert_eq!(peer.errno(command::DMA_MAP, bad.as_bytes(), files), INVAL, "{bad:?}");
    }
    assert_eq!(peer.errno(command::DMA_MAP, map(0x10_1000, 0x1000, 0, 3).as_bytes(), fd), EXIST);
    for len in 0..32 {
        assert_eq!(peer.errno(command::DMA_MAP, &good.as_bytes()[..len], fd), INVAL);
    }
    let unmap = |address: u64, size: u64, flags: u32| DmaUnmap {
        argsz: 24.into(),
        flags: flags.into(),
        address: address.into(),
        size: size.into(),
    };
    let whole = unmap(0x10_0000, 0x2000, 0);
    for len in 0..24 {
        assert_eq!(peer.errno(command::DMA_UNMAP, &whole.as_bytes()[..len], &[]), INVAL);
    }
    for (bad, errno) in [
        (unmap(0x10_0000, 0x1000, 0), NOENT),
        (unmap(0x10_0000, 0x2000, 1), INVAL),
        (unmap(0x10_0000, 0x2000, 2), INVAL),
    ] {
        assert_eq!(peer.errno(command::DMA_UNMAP, bad.as_bytes(), &[]), errno);
    }
    let (errno, reply) = peer.ask(command::DMA_UNMAP, whole.as_bytes(), &[]).unwrap();
    assert_eq!((errno, &reply[..]), (0, whole.as_bytes()));
    assert_eq!(peer.errno(command::DMA_UNMAP, unmap(0, 0, DmaUnmap::ALL).as_bytes(), &[]), FINE);
    assert!(peer.device.maps.is_empty());
}

#[test]
fn the_device_describes_itself() {
    let mut peer = Peer::new();
    let (_, info) = peer.ask(command::DEVICE_GET_INFO, &[0; 16], &[]).unwrap();
    assert_eq!(info, [16u32, 3, 9, 5].map(u32::to_le_bytes).concat());
    assert_eq!(peer.errno(command::DEVICE_GET_INFO, &[0; 15], &[]), INVAL);
    let ask = |index: u32, argsz: u32| RegionInfo {
        argsz: argsz.into(),
        flags: 0.into(),
        index: index.into(),
        capabilities: 0.into(),
        size: 0.into(),
        offset: 0.into(),
    };
    let info = |peer: &mut Peer, index, argsz| {
        let (errno, bytes) =
            peer.ask(command::DEVICE_GET_REGION_INFO, ask(index, argsz).as_bytes(), &[]).unwrap();
        assert_eq!(errno, 0);
        let (info, rest) = RegionInfo::read_from_prefix(&bytes).unwrap();
        (info.size.get(), info.flags.get(), info.argsz.get(), rest.len())
    };
    assert_eq!(info(&mut peer, 0, 32), (0x4000, 3, 32, 0));
    assert_eq!(info(&mut peer, 1, 32), (0, 0, 32, 0));
    peer.device.mappable = Some(file().into());
    assert_eq!(info(&mut peer, 0, 32), (0x4000, 15, 64, 0));
    assert_eq!(info(&mut peer, 0, 64), (0x4000, 15, 64, 32));
    for index in [9, u32::MAX] {
        let bytes = ask(index, 64);
        assert_eq!(peer.errno(command::DEVICE_GET_REGION_INFO, bytes.as_bytes(), &[]), INVAL);
    }
    let irq = |index: u32| IrqInfo {
        argsz: 16.into(),
        flags: 0.into(),
        index: index.into(),
        count: 0.into(),
    };
    let (_, bytes) = peer.ask(command::DEVICE_GET_IRQ_INFO, irq(2).as_bytes(), &[]).unwrap();
    assert_eq!(IrqInfo::read_from_bytes(&bytes).unwrap().count.get(), 8);
    assert_eq!(peer.errno(command::DEVICE_GET_IRQ_INFO, irq(5).as_bytes(), &[]), INVAL);
    assert_eq!(peer.errno(command::DEVICE_GET_IRQ_INFO, &[0; 15], &[]), INVAL);
}

#[test]
fn interrupts_are_set_and_taken_away() {
    let mut peer = Peer::new();
    let file = file();
    let three = [file.as_fd(), file.as_fd(), file.as_fd()];
    let set = |peer: &mut Peer, payload: &[u8], files: &[BorrowedFd<'_>]| {
        peer.errno(command::DEVICE_SET_IRQS, payload, files)
    };
    let are = |peer: &Peer| -> Vec<usize> {
        (0..8).filter(|n| peer.device.eventfds[*n].is_some()).collect()
    };
    assert_eq!(set(&mut peer, &irqs(0x24, 2, 5, 3), &three), FINE);
    assert_eq!(are(&peer), [5, 6, 7]);
    assert_eq!(set(&mut peer, &irqs(0x24, 2, 6, 1), &[]), FINE);
    assert_eq!(are(&peer), [5, 7]);
    for (bad, files) in [
        (irqs(0x24, 2, 6, 3), &three[..]),
        (irqs(0x24, 2, u32::MAX, 2), &three[..2]),
        (irqs(0x24, 2, 0, 2), &three[..]),
        (irqs(0x24, 1, 0, 1), &three[..1]),
        (irqs(0x24, 9, 0, 0), &[]),
        (irqs(0x22, 2, 0, 1), &[]),
        (irqs(0x21, 2, 0, 1), &[]),
        (irqs(0x21, 2, 0, 0), &three[..1]),
        (irqs(u32::MAX, 2, 0, 1), &[]),
    ] {
        assert_eq!(set(&mut peer, &bad, files), INVAL, "{bad:?}");
    }
    assert_eq!(set(&mut peer, &irqs(0x24, 2, 0, 1)[..19], &three[..1]), INVAL);
    assert_eq!(are(&peer), [5, 7]);
    assert_eq!(set(&mut peer, &irqs(0x21, 2, 0, 0), &[]), FINE);
    assert!(are(&peer).is_empty());
}

#[test]
fn regions_are_read_and_written_inside_only() {
    let mut peer = Peer::new();
    let (errno, reply) =
        peer.ask(command::REGION_WRITE, &access(0, 0x3FFC, 4, &[1, 2, 3, 4]), &[]).unwrap();
    assert_eq!((errno, &reply[..]), (0, &access(0, 0x3FFC, 4, &[])[..]));
    let (_, reply) = peer.ask(command::REGION_READ, &access(0, 0x3FFA, 6, &[]), &[]).unwrap();
    assert_eq!(reply, access(0, 0x3FFA, 6, &[0, 0, 1, 2, 3, 4]));
    for (command, bad) in [
        (command::REGION_READ, access(0, 0x3FFD, 4, &[])),
        (command::REGION_READ, access(0, 0, 0, &[])),
        (command::REGION_READ, access(0, u64::MAX, 4, &[])),
        (command::REGION_READ, access(1, 0, 4, &[])),
        (command::REGION_READ, access(u32::MAX, 0, 4, &[])),
        (command::REGION_READ, access(0, 0, u32::MAX, &[])),
        (command::REGION_READ, access(0, 0, DATA_MAX as u32 + 1, &[])),
        (command::REGION_READ, vec![0; 15]),
        (command::REGION_WRITE, access(0, 0, 4, &[1, 2, 3])),
        (command::REGION_WRITE, access(0, 0, 4, &[0; 5])),
        (command::REGION_WRITE, access(0, 0x4000, 1, &[0])),
        (command::REGION_WRITE, vec![]),
    ] {
        assert_eq!(peer.errno(command, &bad, &[]), INVAL, "{bad:?}");
    }
    // No reply is sent where none is wanted, not even of an error.
    for payload in [access(0, 8, 4, &[9; 4]), access(0, 8, 4, &[])] {
        let message = peer.message(command::REGION_WRITE, flag::NO_REPLY, &payload);
        peer.send(&message, &[]);
        peer.serve().unwrap();
        assert_eq!(peer.answer(), None);
    }
    assert_eq!(peer.device.registers[8..12], [9; 4]);
}

#[test]
fn what_is_not_known_is_refused_and_what_follows_is_understood() {
    let mut peer = Peer::new();
    let unknown = [
        0,
        command::DEVICE_GET_REGION_IO_FDS,
        command::DMA_READ,
        command::DMA_WRITE,
        14,
        15,
        16,
        u16::MAX,
    ];
    for command in unknown {
        assert_eq!(peer.errno(command, &[7; 100], &[]), NOTSUP, "{command}");
    }
    // Descriptors that nobody asked for are closed.
    let file = file();
    assert_eq!(peer.errno(command::DEVICE_RESET, &[], &[file.as_fd()]), INVAL);
    // A reply to nothing.
    let message = peer.message(command::DMA_READ, flag::REPLY, &[1; 20]);
    peer.send(&message, &[]);
    peer.serve().unwrap();
    assert_eq!(peer.answer(), None);
    assert_eq!(peer.errno(command::DEVICE_RESET, &[], &[]), FINE);
    assert_eq!(peer.device.resets, 1);
}

#[test]
fn a_broken_stream_ends_the_connection() {
    for size in [0u32, 15, MESSAGE_MAX as u32 + 1, u32::MAX] {
        let mut peer = Peer::new();
        let header = Header { message_size: size.into(), ..Default::default() };
        peer.send(header.as_bytes(), &[]);
        assert!(matches!(peer.serve(), Err(Closed::Size(n)) if n == size));
    }
    let mut peer = Peer::new();
    let file = file();
    let many = [file.as_fd(); DESCRIPTORS_MAX + 1];
    let message = peer.message(command::DEVICE_RESET, 0, &[]);
    peer.send(&message, &many);
    assert!(matches!(peer.serve(), Err(Closed::Descriptors)));
}

#[test]
fn messages_come_in_pieces_and_ends_at_every_byte_are_noticed() {
    let mut peer = Peer::new();
    let whole = peer.message(command::REGION_WRITE, 0, &access(0, 0, 8, &[5; 8]));
    for byte in &whole[..whole.len() - 1] {
        peer.socket.write_all(&[*byte]).unwrap();
        assert!(!peer.serve().unwrap());
        assert_eq!(peer.answer(), None);
    }
    peer.socket.write_all(&whole[whole.len() - 1..]).unwrap();
    peer.serve().unwrap();
    assert_eq!(peer.answer().unwrap().0, 0);
    assert_eq!(peer.device.registers[..8], [5; 8]);
    for end in 0..whole.len() {
        let mut peer = Peer::new();
        peer.socket.write_all(&whole[..end]).unwrap();
        peer.socket.shutdown(std::net::Shutdown::Write).unwrap();
        match peer.serve() {
            Err(Closed::ByPeer) if end == 0 => {}
            Err(Closed::Half) if end > 0 => {}
            other => panic!("after {end} bytes: {other:?}"),
        }
    }
}

/// A client that asks and never reads is dropped; it does not make the server wait or grow.
#[test]
fn a_client_that_does_not_read_is_dropped() {
    let mut peer = Peer::new();
    peer.device.registers = vec![0; DATA_MAX];
    let message = peer.message(command::REGION_READ, 0, &access(0, 0, DATA_MAX as u32, &[]));
    for _ in 0..20 {
        peer.send(&message, &[]);
        if let Err(closed) = peer.serve() {
            assert!(matches!(closed, Closed::Stalled(_)), "{closed}");
            return;
        }
    }
    panic!("twenty megabytes wait");
}

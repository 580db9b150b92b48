//! The device's side of a connection: every message checked, then handed to a [`Device`].

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::channel::{Channel, Closed, MESSAGE_PATIENCE, Message};
use crate::wire::{
    DATA_MAX, DESCRIPTORS_MAX, DeviceInfo, DmaMap, DmaUnmap, Header, IrqInfo, MAPS, RegionAccess,
    RegionInfo, SetIrqs, SparseMap, VERSION, Version, command, flag, pci,
};

/// Longest text of capabilities in VERSION.
const CAPABILITIES_MAX: usize = 4096;

/// Bytes of memory that DMA_MAP may name: addresses do not wrap.
const ADDRESSES: u64 = 1 << 52;

/// A part of a region that the client may map.
#[derive(Debug)]
pub struct Mappable {
    /// Where it begins in the region.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// The file whose pages they are, at the same offset.
    pub file: OwnedFd,
}

/// Memory of the client that the device may access.
#[derive(Debug)]
pub struct Map {
    /// Where it begins for the device.
    pub address: u64,
    /// Bytes.
    pub size: u64,
    /// Where it begins in the file.
    pub offset: u64,
    /// The device may read it.
    pub readable: bool,
    /// The device may write it.
    pub writable: bool,
    /// The file; memory without one can only be reached by messages.
    pub file: Option<OwnedFd>,
}

/// What a client does to a device. Offsets and lengths are inside the region, always.
pub trait Device {
    /// Bytes of a region; 0 if there is none.
    fn region_size(&self, region: u32) -> u64;

    /// The part of a region that can be mapped.
    fn mappable(&self, region: u32) -> Option<Mappable>;

    /// Reads from a region.
    fn region_read(&mut self, region: u32, offset: u64, into: &mut [u8]);

    /// Writes to a region.
    fn region_write(&mut self, region: u32, offset: u64, from: &[u8]);

    /// How many interrupts of a kind there are.
    fn interrupts(&self, kind: u32) -> u32;

    /// Says where an interrupt is to be signalled; `None`: nowhere.
    fn set_interrupt(&mut self, kind: u32, number: u32, eventfd: Option<OwnedFd>);

    /// Gives it memory.
    ///
    /// # Errors
    /// If it cannot use it.
    fn map(&mut self, map: Map) -> Result<(), Errno>;

    /// Takes memory away: exactly what was given as one piece.
    ///
    /// # Errors
    /// If it was not given.
    fn unmap(&mut self, address: u64, size: u64) -> Result<(), Errno>;

    /// Takes all memory away.
    fn unmap_all(&mut self);

    /// Resets it.
    fn reset(&mut self);
}

/// A client's connection.
#[derive(Debug)]
pub struct Connection {
    channel: Channel,
    is_negotiated: bool,
    since: Instant,
}

/// What is sent back.
#[derive(Default)]
struct Reply {
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl From<Vec<u8>> for Reply {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, descriptors: Vec::new() }
    }
}

impl Connection {
    /// A client has connected.
    ///
    /// # Errors
    /// If the socket cannot be used.
    pub fn new(socket: UnixStream) -> std::io::Result<Self> {
        Ok(Self { channel: Channel::new(socket)?, is_negotiated: false, since: Instant::now() })
    }

    /// Tells a client that another one has the device, and closes its connection. What it has sent so far is answered;
    /// nothing is waited for.
    pub fn refuse_in_use(mut self) {
        if let Ok(Some(Message { header, .. })) = self.channel.receive()
            && header.flags.get() & flag::TYPE == 0
        {
            // Whether it reads that is its affair.
            let _ = self.reply(header, Err(Errno::BUSY));
        }
    }

    /// When the client must have sent something, if it must: [`Self::serve`] ends the connection then.
    pub fn deadline(&self) -> Option<Instant> {
        let negotiation = (!self.is_negotiated).then(|| self.since + MESSAGE_PATIENCE);
        negotiation.into_iter().chain(self.channel.deadline()).min()
    }

    /// True if replies wait for the client to read.
    pub fn wants_to_send(&self) -> bool {
        self.channel.wants_to_send()
    }

    /// Answers up to `limit` messages that are here; true if there may be more.
    ///
    /// # Errors
    /// If the connection is over.
    pub fn serve(&mut self, device: &mut impl Device, limit: usize) -> Result<bool, Closed> {
        self.channel.flush()?;
        for _ in 0..limit {
            let Some(message) = self.channel.receive()? else {
                let is_silent = !self.is_negotiated && self.since.elapsed() > MESSAGE_PATIENCE;
                return if is_silent { Err(Closed::Silent) } else { Ok(false) };
            };
            self.answer(message, device)?;
        }
        Ok(true)
    }

    fn answer(&mut self, message: Message, device: &mut impl Device) -> Result<(), Closed> {
        let Message { header, payload, descriptors } = message;
        if header.flags.get() & flag::TYPE != 0 {
            // A reply, though nothing was asked.
            return Ok(());
        }
        let command = header.command.get();
        if command == command::VERSION {
            let reply = version(&payload);
            self.is_negotiated |= reply.is_ok();
            let refused = reply.as_ref().err().cloned();
            self.reply(header, reply.map_err(|_| Errno::INVAL))?;
            return refused.map_or(Ok(()), |why| Err(Closed::Version(why)));
        }
        if !self.is_negotiated {
            self.reply(header, Err(Errno::INVAL))?;
            return Err(Closed::NotNegotiated(command));
        }
        let reply = handle(command, &payload, descriptors, device);
        self.reply(header, reply)
    }

    fn reply(&mut self, to: Header, reply: Result<Reply, Errno>) -> Result<(), Closed> {
        if to.flags.get() & flag::NO_REPLY != 0 {
            return Ok(());
        }
        let (flags, error, reply) = match reply {
            Ok(reply) => (flag::REPLY, 0, reply),
            Err(errno) => {
                (flag::REPLY | flag::ERROR, errno.raw_os_error() as u32, Reply::default())
            }
        };
        let header = Header { flags: flags.into(), error: error.into(), ..to };
        self.channel.send(header, &[&reply.bytes], reply.descriptors)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// The fixed part of a payload, and the rest.
fn split<T: FromBytes + KnownLayout + Immutable>(payload: &[u8]) -> Result<(T, &[u8]), Errno> {
    T::read_from_prefix(payload).map_err(|_| Errno::INVAL)
}

fn version(payload: &[u8]) -> Result<Reply, String> {
    let (asked, rest) = split::<Version>(payload).map_err(|_| "too short".to_owned())?;
    let (major, minor) = (asked.major.get(), asked.minor.get());
    if major != VERSION.0 {
        return Err(format!("{major}.{minor}; {}.{} is spoken here", VERSION.0, VERSION.1));
    }
    if rest.len() > CAPABILITIES_MAX {
        return Err(format!("{} bytes of capabilities", rest.len()));
    }
    // Nothing in it changes what this side does; but it must be what it has to be.
    if !rest.is_empty() {
        let text = rest.strip_suffix(&[0]).ok_or("capabilities do not end with a zero byte")?;
        let value: serde_json::Value =
            serde_json::from_slice(text).map_err(|e| format!("capabilities: {e}"))?;
        if !value.is_object() {
            return Err("capabilities are no JSON object".to_owned());
        }
    }
    let capabilities = serde_json::json!({ "capabilities": {
        "max_msg_fds": DESCRIPTORS_MAX,
        "max_data_xfer_size": DATA_MAX,
        "max_dma_maps": MAPS,
        "pgsizes": 4096,
    }});
    let answer = Version { major: VERSION.0.into(), minor: VERSION.1.min(minor).into() };
    let mut bytes = answer.as_bytes().to_vec();
    bytes.extend(capabilities.to_string().as_bytes());
    bytes.push(0);
    Ok(bytes.into())
}

fn handle(
    command: u16,
    payload: &[u8],
    descriptors: Vec<OwnedFd>,
    device: &mut impl Device,
) -> Result<Reply, Errno> {
    // Only these two bring any; what comes with others is closed.
    let takes_descriptors = matches!(command, command::DMA_MAP | command::DEVICE_SET_IRQS);
    if !takes_descriptors && !descriptors.is_empty() {
        return Err(Errno::INVAL);
    }
    match command {
        command::DMA_MAP => map(payload, descriptors, device),
        command::DMA_UNMAP => unmap(payload, device),
        command::DEVICE_GET_INFO => {
            let (_, _) = split::<DeviceInfo>(payload)?;
            let info = DeviceInfo {
                argsz: (size_of::<DeviceInfo>() as u32).into(),
                flags: 0b11.into(),
                regions: pci::REGIONS.into(),
                interrupts: pci::INTERRUPTS.into(),
            };
            Ok(info.as_bytes().to_vec().into())
        }
        command::DEVICE_GET_REGION_INFO => region_info(payload, device),
        command::DEVICE_GET_IRQ_INFO => {
            let (info, _) = split::<IrqInfo>(payload)?;
            if info.index.get() >= pci::INTERRUPTS {
                return Err(Errno::INVAL);
            }
            let count = device.interrupts(info.index.get());
            let flags = if count > 0 { 0b1001 } else { 0 };
            let argsz = (size_of::<IrqInfo>() as u32).into();
            let info = IrqInfo { argsz, flags: flags.into(), count: count.into(), ..info };
            Ok(info.as_bytes().to_vec().into())
        }
        command::DEVICE_SET_IRQS => set_interrupts(payload, descriptors, device),
        command::REGION_READ => {
            let (access, _) = split::<RegionAccess>(payload)?;
            let count = inside(&access, device)?;
            let mut bytes = access.as_bytes().to_vec();
            bytes.resize(bytes.len() + count, 0);
            let into = &mut bytes[size_of::<RegionAccess>()..];
            device.region_read(access.region.get(), access.offset.get(), into);
            Ok(bytes.into())
        }
        command::REGION_WRITE => {
            let (access, data) = split::<RegionAccess>(payload)?;
            let count = inside(&access, device)?;
            if data.len() != count {
                return Err(Errno::INVAL);
            }
            device.region_write(access.region.get(), access.offset.get(), data);
            Ok(access.as_bytes().to_vec().into())
        }
        command::DEVICE_RESET => {
            device.reset();
            Ok(Reply::default())
        }
        // DEVICE_GET_REGION_IO_FDS, DMA_READ and DMA_WRITE (a server sends those), migration.
        _ => Err(Errno::NOTSUP),
    }
}

/// The length of a region access that is inside its region.
fn inside(access: &RegionAccess, device: &impl Device) -> Result<usize, Errno> {
    let count = access.count.get() as usize;
    let size = device.region_size(access.region.get());
    let end = access.offset.get().checked_add(count as u64).ok_or(Errno::INVAL)?;
    if count > 0 && count <= DATA_MAX && end <= size { Ok(count) } else { Err(Errno::INVAL) }
}

fn map(
    payload: &[u8],
    mut descriptors: Vec<OwnedFd>,
    device: &mut impl Device,
) -> Result<Reply, Errno> {
    let (asked, _) = split::<DmaMap>(payload)?;
    let (address, size) = (asked.address.get(), asked.size.get());
    let is_page = |n: u64| n.is_multiple_of(4096);
    let is_valid = size > 0
        && is_page(address)
        && is_page(size)
        && is_page(asked.offset.get())
        && address.checked_add(size).is_some_and(|end| end <= ADDRESSES)
        && asked.flags.get() & !0b11 == 0
        && descriptors.len() <= 1;
    if !is_valid {
        return Err(Errno::INVAL);
    }
    device.map(Map {
        address,
        size,
        offset: asked.offset.get(),
        readable: asked.flags.get() & 1 != 0,
        writable: asked.flags.get() & 2 != 0,
        file: descriptors.pop(),
    })?;
    Ok(Reply::default())
}

fn unmap(payload: &[u8], device: &mut impl Device) -> Result<Reply, Errno> {
    let (asked, _) = split::<DmaUnmap>(payload)?;
    let (address, size) = (asked.address.get(), asked.size.get());
    match asked.flags.get() {
        0 => device.unmap(address, size)?,
        DmaUnmap::ALL if address == 0 && size == 0 => device.unmap_all(),
        // Dirty pages are not tracked.
        _ => return Err(Errno::INVAL),
    }
    Ok(asked.as_bytes().to_vec().into())
}

fn region_info(payload: &[u8], device: &impl Device) -> Result<Reply, Errno> {
    let (asked, _) = split::<RegionInfo>(payload)?;
    let index = asked.index.get();
    if index >= pci::REGIONS {
        return Err(Errno::INVAL);
    }
    let size = device.region_size(index);
    let mut info = RegionInfo {
        argsz: (size_of::<RegionInfo>() as u32).into(),
        flags: if size > 0 { RegionInfo::READ | RegionInfo::WRITE } else { 0 }.into(),
        index: index.into(),
        capabilities: 0.into(),
        size: size.into(),
        offset: 0.into(),
    };
    let Some(part) = device.mappable(index) else {
        return Ok(info.as_bytes().to_vec().into());
    };
    let whole = size_of::<RegionInfo>() + size_of::<SparseMap>();
    info.argsz = (whole as u32).into();
    info.flags = (info.flags.get() | RegionInfo::MAP | RegionInfo::CAPABILITIES).into();
    if (asked.argsz.get() as usize) < whole {
        // The client asks again, with room.
        return Ok(info.as_bytes().to_vec().into());
    }
    info.capabilities = (size_of::<RegionInfo>() as u32).into();
    let area = SparseMap {
        id: SparseMap::ID.into(),
        version: 1.into(),
        next: 0.into(),
        areas: 1.into(),
        reserved: 0.into(),
        offset: part.offset.into(),
        size: part.size.into(),
    };
    let mut bytes = info.as_bytes().to_vec();
    bytes.extend(area.as_bytes());
    Ok(Reply { bytes, descriptors: vec![part.file] })
}

fn set_interrupts(
    payload: &[u8],
    descriptors: Vec<OwnedFd>,
    device: &mut impl Device,
) -> Result<Reply, Errno> {
    let (asked, _) = split::<SetIrqs>(payload)?;
    let (kind, start, count) = (asked.index.get(), asked.start.get(), asked.count.get());
    if kind >= pci::INTERRUPTS {
        return Err(Errno::INVAL);
    }
    let there = device.interrupts(kind);
    let end = start.checked_add(count).filter(|end| *end <= there).ok_or(Errno::INVAL)?;
    const NONE: u32 = SetIrqs::DATA_NONE | SetIrqs::ACTION_TRIGGER;
    const EVENTFD: u32 = SetIrqs::DATA_EVENTFD | SetIrqs::ACTION_TRIGGER;
    match asked.flags.get() {
        // None at all: switch every one off.
        NONE if count == 0 && descriptors.is_empty() => {
            (0..there).for_each(|number| device.set_interrupt(kind, number, None));
        }
        EVENTFD if descriptors.is_empty() => {
            (start..end).for_each(|number| device.set_interrupt(kind, number, None));
        }
        EVENTFD if descriptors.len() == count as usize => {
            for (number, eventfd) in (start..end).zip(descriptors) {
                device.set_interrupt(kind, number, Some(eventfd));
            }
        }
        // Masking is the client's affair, and it can signal its own eventfds itself.
        _ => return Err(Errno::INVAL),
    }
    Ok(Reply::default())
}

//! The user's side of a connection: asks, and waits for the answer.

use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::time::Timespec;
use zerocopy::{FromBytes, IntoBytes};

use crate::channel::{Channel, Closed};
use crate::wire::{
    DmaMap, DmaUnmap, Header, IrqInfo, RegionAccess, RegionInfo, SetIrqs, SparseMap, VERSION,
    Version, command, flag,
};

/// Most descriptors sent with one message: what every server accepts.
const DESCRIPTORS: usize = 8;

/// Why a request was not answered as it should be.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum Error {
    #[error("{path}: {cause}; is `csdrive serve` running?")]
    Connect { path: String, cause: std::io::Error },
    #[error(transparent)]
    Closed(#[from] Closed),
    #[error(
        "{path}: another client has this drive; it serves one at a time (disconnect that one, or serve another drive)"
    )]
    InUse { path: String },
    #[error("the server refuses {request}: {error}")]
    Refused { request: &'static str, error: std::io::Error },
    #[error("the server did not answer {request} within {seconds} s")]
    Silent { request: &'static str, seconds: u64 },
    #[error("the server's answer to {0} is not what the protocol says")]
    Answer(&'static str),
    #[error("memory to share: {0}")]
    Memory(std::io::Error),
}

/// The part of a region that may be mapped.
#[derive(Debug)]
pub struct Area {
    /// Where it begins in the region.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// Where the region begins in the file.
    pub file_offset: u64,
    /// The file.
    pub file: OwnedFd,
}

/// A connection to a device.
#[derive(Debug)]
pub struct Client {
    channel: Channel,
    next_id: u16,
    patience: Duration,
}

impl Client {
    /// Connects to a server's socket and negotiates the version.
    ///
    /// # Errors
    /// If nobody listens, or speaks otherwise.
    pub fn connect(path: &Path, patience: Duration) -> Result<Self, Error> {
        let socket = UnixStream::connect(path)
            .map_err(|cause| Error::Connect { path: path.display().to_string(), cause })?;
        let channel = Channel::new(socket).map_err(Closed::from)?;
        let mut client = Self { channel, next_id: 0, patience };
        let mut hello =
            Version { major: VERSION.0.into(), minor: VERSION.1.into() }.as_bytes().to_vec();
        hello.extend(b"{\"capabilities\":{\"max_msg_fds\":8}}\0");
        match client.ask("VERSION", command::VERSION, &[&hello], &[]) {
            Ok(_) => Ok(client),
            Err(Error::Refused { error, .. }) if error.kind() == ErrorKind::ResourceBusy => {
                Err(Error::InUse { path: path.display().to_string() })
            }
            Err(error) => Err(error),
        }
    }

    /// Gives the device memory.
    ///
    /// # Errors
    /// If the server refuses or is gone, as in all of these.
    pub fn map(&mut self, address: u64, size: u64, file: BorrowedFd<'_>) -> Result<(), Error> {
        let map = DmaMap {
            argsz: (size_of::<DmaMap>() as u32).into(),
            flags: 0b11.into(),
            offset: 0.into(),
            address: address.into(),
            size: size.into(),
        };
        self.ask("DMA_MAP", command::DMA_MAP, &[map.as_bytes()], &[file]).map(drop)
    }

    /// Takes memory away.
    ///
    /// # Errors
    /// As [`Self::map`].
    pub fn unmap(&mut self, address: u64, size: u64) -> Result<(), Error> {
        let argsz = (size_of::<DmaUnmap>() as u32).into();
        let unmap = DmaUnmap { argsz, flags: 0.into(), address: address.into(), size: size.into() };
        self.ask("DMA_UNMAP", command::DMA_UNMAP, &[unmap.as_bytes()], &[]).map(drop)
    }

    /// Size of a region, and the part of it that may be mapped.
    ///
    /// # Errors
    /// As [`Self::map`].
    pub fn region(&mut self, index: u32) -> Result<(u64, Option<Area>), Error> {
        const WHAT: &str = "DEVICE_GET_REGION_INFO";
        let room = size_of::<RegionInfo>() + size_of::<SparseMap>();
        let ask = RegionInfo {
            argsz: (room as u32).into(),
            flags: 0.into(),
            index: index.into(),
            capabilities: 0.into(),
            size: 0.into(),
            offset: 0.into(),
        };
        let (bytes, mut files) =
            self.ask(WHAT, command::DEVICE_GET_REGION_INFO, &[ask.as_bytes()], &[])?;
        let (info, rest) = RegionInfo::read_from_prefix(&bytes).map_err(|_| Error::Answer(WHAT))?;
        let area = match (files.pop(), SparseMap::read_from_prefix(rest)) {
            (Some(file), Ok((area, _))) if area.id.get() == SparseMap::ID => Some(Area {
                offset: area.offset.get(),
                size: area.size.get(),
                file_offset: info.offset.get(),
                file,
            }),
            _ => None,
        };
        Ok((info.size.get(), area))
    }

    /// How many interrupts of a kind there are.
    ///
    /// # Errors
    /// As [`Self::map`].
    pub fn interrupts(&mut self, kind: u32) -> Result<u32, Error> {
        const WHAT: &str = "DEVICE_GET_IRQ_INFO";
        let argsz = (size_of::<IrqInfo>() as u32).into();
        let ask = IrqInfo { argsz, flags: 0.into(), index: kind.into(), count: 0.into() };
        let (bytes, _) = self.ask(WHAT, command::DEVICE_GET_IRQ_INFO, &[ask.as_bytes()], &[])?;
        let info = IrqInfo::read_from_bytes(&bytes).map_err(|_| Error::Answer(WHAT))?;
        Ok(info.count.get())
    }

    /// Has interrupts from the first on signalled by eventfds.
    ///
    /// # Errors
    /// As [`Self::map`].
    pub fn set_interrupts(&mut self, kind: u32, eventfds: &[BorrowedFd<'_>]) -> Result<(), Error> {
        for (n, part) in eventfds.chunks(DESCRIPTORS).enumerate() {
            let ask = SetIrqs {
                argsz: (size_of::<SetIrqs>() as u32).into(),
                flags: (SetIrqs::DATA_EVENTFD | SetIrqs::ACTION_TRIGGER).into(),
                index: kind.into(),
                start: ((n * DESCRIPTORS) as u32).into(),
                count: (part.len() as u32).into(),
            };
            self.ask("DEVICE_SET_IRQS", command::DEVICE_SET_IRQS, &[ask.as_bytes()], part)?;
        }
        Ok(())
    }

    /// Has no interrupt of a kind signalled any more.
    ///
    /// # Errors
    /// As [`Self::map`].
    pub fn clear_interrupts(&mut self, kind: u32) -> Result<(), Error> {
        let ask = SetIrqs {
            argsz: (size_of::<SetIrqs>() as u32).into(),
            flags: (SetIrqs::DATA_NONE | SetIrqs::ACTION_TRIGGER).into(),
            index: kind.into(),
            start: 0.into(),
            count: 0.into(),
        };
        self.ask("DEVICE_SET_IRQS", command::DEVICE_SET_IRQS, &[ask.as_bytes()], &[]).map(drop)
    }

    /// Reads from a region.
    ///
    /// # Errors
    /// As [`Self::map`].
    pub fn region_read(&mut self, region: u32, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        const WHAT: &str = "REGION_READ";
        let ask = access(region, offset, into.len());
        let (bytes, _) = self.ask(WHAT, command::REGION_READ, &[ask.as_bytes()], &[])?;
        let data = bytes.get(size_of::<RegionAccess>()..).filter(|data| data.len() == into.len());
        into.copy_from_slice(data.ok_or(Error::Answer(WHAT))?);
        Ok(())
    }

    /// Writes to a region, and waits until that is done.
    ///
    /// # Errors
    /// As [`Self::map`].
    pub fn region_write(&mut self, region: u32, offset: u64, from: &[u8]) -> Result<(), Error> {
        let ask = access(region, offset, from.len());
        self.ask("REGION_WRITE", command::REGION_WRITE, &[ask.as_bytes(), from], &[]).map(drop)
    }

    /// Writes to a region without waiting: for doorbells.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn region_post(&mut self, region: u32, offset: u64, from: &[u8]) -> Result<(), Error> {
        let header = self.header(command::REGION_WRITE, flag::NO_REPLY);
        let ask = access(region, offset, from.len());
        Ok(self.channel.send(header, &[ask.as_bytes(), from], Vec::new())?)
    }

    /// Resets the device.
    ///
    /// # Errors
    /// As [`Self::map`].
    pub fn reset(&mut self) -> Result<(), Error> {
        self.ask("DEVICE_RESET", command::DEVICE_RESET, &[], &[]).map(drop)
    }

    /// True as long as the server is there. Sends what the socket did not take before.
    pub fn is_connected(&mut self) -> bool {
        // Nothing was asked, so nothing comes; what does is of no use.
        self.channel.flush().is_ok() && self.channel.receive().is_ok()
    }

    /// True if something waits to be sent: the socket was full.
    pub fn wants_to_send(&self) -> bool {
        self.channel.wants_to_send()
    }

    fn header(&mut self, command: u16, flags: u32) -> Header {
        self.next_id = self.next_id.wrapping_add(1);
        Header {
            message_id: self.next_id.into(),
            command: command.into(),
            flags: flags.into(),
            ..Header::default()
        }
    }

    fn ask(
        &mut self,
        request: &'static str,
        command: u16,
        parts: &[&[u8]],
        files: &[BorrowedFd<'_>],
    ) -> Result<(Vec<u8>, Vec<OwnedFd>), Error> {
        let files: Result<Vec<OwnedFd>, _> =
            files.iter().map(|file| file.try_clone_to_owned()).collect();
        let files = files.map_err(Closed::from)?;
        let header = self.header(command, 0);
        let until = Instant::now() + self.patience;
        // Descriptors go with the bytes of their own message, so everything before it is sent first.
        if !files.is_empty() {
            self.channel.flush()?;
            while self.channel.wants_to_send() {
                self.wait(request, until)?;
                self.channel.flush()?;
            }
        }
        self.channel.send(header, parts, files)?;
        loop {
            if let Some(message) = self.channel.receive()? {
                let reply = message.header;
                if reply.message_id.get() != header.message_id.get()
                    || reply.flags.get() & flag::TYPE != flag::REPLY
                {
                    // The server asks something of us, which it need not; or a reply came too late.
                    continue;
                }
                if reply.flags.get() & flag::ERROR != 0 {
                    let error = std::io::Error::from_raw_os_error(reply.error.get() as i32);
                    return Err(Error::Refused { request, error });
                }
                return Ok((message.payload, message.descriptors));
            }
            self.channel.flush()?;
            self.wait(request, until)?;
        }
    }

    /// Waits until the socket can be read, or written if something waits to be sent.
    fn wait(&self, request: &'static str, until: Instant) -> Result<(), Error> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::Silent { request, seconds: self.patience.as_secs() });
        }
        let out = if self.channel.wants_to_send() { PollFlags::OUT } else { PollFlags::empty() };
        // Longer than a lifetime: for ever.
        let timeout = Timespec::try_from(left).ok();
        let mut fds = [PollFd::new(&self.channel, PollFlags::IN | out)];
        // Whatever it says, the next look at the socket shows.
        let _ = rustix::event::poll(&mut fds, timeout.as_ref());
        Ok(())
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

fn access(region: u32, offset: u64, count: usize) -> RegionAccess {
    RegionAccess { offset: offset.into(), region: region.into(), count: (count as u32).into() }
}

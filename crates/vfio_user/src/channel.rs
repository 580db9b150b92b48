//! Messages over a socket, whole, with the file descriptors that come with them.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use zerocopy::{FromBytes, IntoBytes};

use crate::wire::{DESCRIPTORS_MAX, Header, MESSAGE_MAX};

/// Bytes that may wait to be sent before a peer that does not read is dropped.
const OUTPUT_MAX: usize = 4 * MESSAGE_MAX;

/// Most bytes that are read at once: a peer that sends little by little costs little.
const PIECE: usize = 64 << 10;

/// How long a peer may take to send the rest of a message that it has begun.
pub(crate) const MESSAGE_PATIENCE: Duration = Duration::from_secs(5);

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum Closed {
    #[error("the peer has closed the connection")]
    ByPeer,
    #[error("the peer has closed the connection in the middle of a message")]
    Half,
    #[error(
        "the peer began a message and did not send the rest within {} s",
        MESSAGE_PATIENCE.as_secs()
    )]
    Slow,
    #[error("the client has not sent its first message, VERSION, within {} s", MESSAGE_PATIENCE.as_secs())]
    Silent,
    #[error("a message of {0} bytes; messages have {min} to {MESSAGE_MAX}", min = Header::SIZE)]
    Size(u32),
    #[error("a message with more than {DESCRIPTORS_MAX} file descriptors")]
    Descriptors,
    #[error("the peer does not read its replies: {0} bytes wait")]
    Stalled(usize),
    #[error("the first message was command {0}, not VERSION")]
    NotNegotiated(u16),
    #[error("the version was not accepted: {0}")]
    Version(String),
    #[error(transparent)]
    Socket(#[from] io::Error),
}

impl Header {
    /// Its bytes.
    pub const SIZE: usize = size_of::<Self>();
}

/// A whole message.
#[derive(Debug)]
pub struct Message {
    /// How it begins.
    pub header: Header,
    /// What follows the header.
    pub payload: Vec<u8>,
    /// What came with it.
    pub descriptors: Vec<OwnedFd>,
}

/// A socket between two peers. It never blocks; what cannot be sent at once is kept.
#[derive(Debug)]
pub struct Channel {
    socket: UnixStream,
    /// The part of the message under way that is here, and its descriptors.
    input: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    /// When the message under way began.
    began: Option<Instant>,
    output: Vec<u8>,
    /// Sent with the first byte that is sent next.
    output_descriptors: Vec<OwnedFd>,
}

impl Channel {
    /// Takes a connected socket.
    ///
    /// # Errors
    /// If the socket cannot be used without blocking.
    pub fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            input: Vec::new(),
            descriptors: Vec::new(),
            began: None,
            output: Vec::new(),
            output_descriptors: Vec::new(),
        })
    }

    /// True if something waits to be sent.
    pub fn wants_to_send(&self) -> bool {
        !self.output.is_empty()
    }

    /// When the peer must have sent the rest of a message, if it has begun one: [`Self::receive`] then fails.
    pub fn deadline(&self) -> Option<Instant> {
        self.began.map(|began| began + MESSAGE_PATIENCE)
    }

    /// The next message, if all of it is here.
    ///
    /// # Errors
    /// If there will be none.
    pub fn receive(&mut self) -> Result<Option<Message>, Closed> {
        loop {
            let target = self.target()?;
            if self.input.len() == target {
                let (header, payload) =
                    Header::read_from_prefix(&self.input).expect("longer than a header");
                let payload = payload.to_vec();
                self.input.clear();
                self.began = None;
                let descriptors = std::mem::take(&mut self.descriptors);
                return Ok(Some(Message { header, payload, descriptors }));
            }
            if self.fill(target)? {
                self.began.get_or_insert_with(Instant::now);
            } else if self.began.is_some_and(|began| began.elapsed() > MESSAGE_PATIENCE) {
                return Err(Closed::Slow);
            } else {
                return Ok(None);
            }
        }
    }

    /// Bytes of the message under way; its header must be here.
    fn size(&self) -> usize {
        let (header, _) = Header::ref_from_prefix(&self.input).expect("longer than a header");
        header.message_size.get() as usize
    }

    /// Bytes to have next: a header, or the whole message that it begins.
    fn target(&self) -> Result<usize, Closed> {
        if self.input.len() < Header::SIZE {
            return Ok(Header::SIZE);
        }
        let size = self.size();
        if (Header::SIZE..=MESSAGE_MAX).contains(&size) {
            Ok(size)
        } else {
            Err(Closed::Size(size as u32))
        }
    }

    /// Reads up to `target` bytes of the message under way; false if there are none now. Never more: then
    /// descriptors belong to the message that they came with.
    fn fill(&mut self, target: usize) -> Result<bool, Closed> {
        let have = self.input.len();
        let target = target.min(have + PIECE);
        self.input.resize(target, 0);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::net::recvmsg(
            &self.socket,
            &mut [IoSliceMut::new(&mut self.input[have..])],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
        );
        let received = match received {
            Ok(received) => received,
            Err(error) => {
                self.input.truncate(have);
                return match error {
                    Errno::AGAIN | Errno::INTR => Ok(false),
                    // The peer is gone with what it had sent before.
                    Errno::CONNRESET => Err(Closed::ByPeer),
                    error => Err(Closed::Socket(error.into())),
                };
            }
        };
        self.input.truncate(have + received.bytes);
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        if received.flags.contains(ReturnFlags::CTRUNC) || self.descriptors.len() > DESCRIPTORS_MAX
        {
            return Err(Closed::Descriptors);
        }
        match received.bytes {
            0 if self.input.is_empty() => Err(Closed::ByPeer),
            0 => Err(Closed::Half),
            _ => Ok(true),
        }
    }

    /// Sends a message, or keeps it until the peer reads.
    ///
    /// # Errors
    /// If the peer is gone, or has not read for long.
    pub fn send(
        &mut self,
        header: Header,
        parts: &[&[u8]],
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), Closed> {
        if self.output.len() > OUTPUT_MAX {
            return Err(Closed::Stalled(self.output.len()));
        }
        if !descriptors.is_empty() {
            // They must go with this message's bytes, not with those of one before.
            self.flush_before_descriptors()?;
            self.output_descriptors = descriptors;
        }
        let size = Header::SIZE + parts.iter().map(|part| part.len()).sum::<usize>();
        let header = Header { message_size: (size as u32).into(), ..header };
        self.output.extend_from_slice(header.as_bytes());
        parts.iter().for_each(|part| self.output.extend_from_slice(part));
        self.flush()
    }

    fn flush_before_descriptors(&mut self) -> Result<(), Closed> {
        self.flush()?;
        if self.output.is_empty() { Ok(()) } else { Err(Closed::Stalled(self.output.len())) }
    }

    /// Sends what waits, as far as the socket takes it.
    ///
    /// # Errors
    /// If the peer is gone.
    pub fn flush(&mut self) -> Result<(), Closed> {
        while !self.output.is_empty() {
            let borrowed: Vec<BorrowedFd<'_>> =
                self.output_descriptors.iter().map(AsFd::as_fd).collect();
            let mut space =
                [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !borrowed.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&borrowed)) {
                return Err(Closed::Descriptors);
            }
            let sent = rustix::net::sendmsg(
                &self.socket,
                &[IoSlice::new(&self.output)],
                &mut ancillary,
                SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
            );
            match sent {
                Ok(bytes) => {
                    self.output.drain(..bytes);
                    self.output_descriptors.clear();
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(Closed::ByPeer),
                Err(error) => return Err(Closed::Socket(error.into())),
            }
        }
        Ok(())
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

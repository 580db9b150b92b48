//! Whole messages over a socket: with a deadline, authenticated, in order.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::wire::{HEADER, Kind, MAC, MAGIC, Nonce, VERSION};

/// Bytes per second at which a message must come, beyond the deadline of its first byte.
const SLOWEST: u64 = 1 << 20;

/// How long the answer to somebody who is turned away may take: it fits into a socket's buffer.
const REFUSAL: Duration = Duration::from_millis(50);

/// Bytes of a secret at least.
const SECRET_LEAST: usize = 16;

/// Bytes of a secret file at most.
const SECRET_MOST: u64 = 64 << 10;

/// What both sides know. Without one anybody may speak.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Why a file is no secret.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum SecretError {
    #[error("{}: {cause}", .path.display())]
    Read { path: PathBuf, cause: io::Error },
    #[error(
        "{}: {bytes} bytes; a secret has 16 to 65536: make one with `head -c 32 /dev/urandom | base64 > FILE`", .path.display()
    )]
    Length { path: PathBuf, bytes: u64 },
}

impl Secret {
    /// No secret.
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// True if anybody may speak.
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// What is in a file, without a line end.
    ///
    /// # Errors
    /// If it cannot be read, or is too short or too long.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let failed = |cause| SecretError::Read { path: path.to_owned(), cause };
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(SECRET_MOST + 1).read_to_end(&mut bytes).map_err(failed)?;
        while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            bytes.pop();
        }
        if bytes.len() < SECRET_LEAST || bytes.len() as u64 > SECRET_MOST {
            return Err(SecretError::Length { path: path.to_owned(), bytes: bytes.len() as u64 });
        }
        Ok(Self(bytes))
    }

    fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        mac_of(&self.0, parts)
    }
}

fn mac_of(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
    parts.iter().for_each(|part| mac.update(part));
    mac
}

/// Which side one is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Client,
    Server,
}

impl Side {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Client => b"client",
            Self::Server => b"server",
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// Why a peer cannot be spoken with any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelError {
    #[error("the peer closed the connection")]
    Closed,
    #[error("the server refuses: {0}")]
    Refused(String),
    #[error("the peer did not send or take a whole message in time")]
    Slow,
    #[error("what came is no message of a runtime server")]
    Magic,
    #[error(
        "the peer speaks version {0}, this csdrive version {VERSION}: use the same csdrive on both machines"
    )]
    Version(u16),
    #[error("a message of kind {0}, which was not expected")]
    Kind(u16),
    #[error("a message of kind {kind} with {bytes} bytes; at most {most} are possible")]
    TooLong { kind: u16, bytes: u32, most: usize },
    #[error("a message that cannot be read")]
    Malformed,
    #[error("the peer does not know the secret: give both sides the same secret file")]
    Secret,
    #[error("a message that was changed or replayed on its way")]
    Changed,
    #[error("no random numbers: {0}")]
    Random(getrandom::Error),
    #[error(transparent)]
    Socket(#[from] io::Error),
}

/// A connection whose sides know each other.
#[derive(Debug)]
pub(crate) struct Channel {
    stream: TcpStream,
    side: Side,
    key: [u8; MAC],
    sent: u64,
    received: u64,
    /// What is sent must be gone by then.
    deadline: Instant,
}

impl Channel {
    /// The first three messages: each side proves that it knows the secret.
    pub(crate) fn open(
        stream: TcpStream,
        side: Side,
        secret: &Secret,
        patience: Duration,
    ) -> Result<Self, ChannelError> {
        stream.set_nodelay(true)?;
        let deadline = Instant::now() + patience;
        let mut channel = Self { stream, side, key: [0; MAC], sent: 0, received: 0, deadline };
        let mut own: Nonce = [0; 32];
        getrandom::fill(&mut own).map_err(ChannelError::Random)?;
        let proof = |by: Side, client: &Nonce, server: &Nonce| {
            secret.mac(&[by.name(), &VERSION.to_le_bytes(), client, server])
        };
        let (client, server) = match side {
            Side::Server => {
                channel.put(Kind::Hello, &own, None)?;
                let auth = channel.take(&[Kind::Auth], deadline, false)?.1;
                let (client, theirs) =
                    auth.split_first_chunk::<32>().ok_or(ChannelError::Malformed)?;
                let expected = proof(Side::Client, client, &own);
                if expected.verify_slice(theirs).is_err() {
                    let why = ChannelError::Secret.to_string();
                    // It may be gone already.
                    let _ = channel.put(Kind::Refused, why.as_bytes(), None);
                    return Err(ChannelError::Secret);
                }
                let mine = proof(Side::Server, client, &own).finalize().into_bytes();
                channel.put(Kind::Welcome, &mine, None)?;
                (*client, own)
            }
            Side::Client => {
                let (kind, hello) = channel.take(&[Kind::Hello, Kind::Refused], deadline, false)?;
                if kind == Kind::Refused {
                    let why = String::from_utf8_lossy(&hello).into_owned();
                    return Err(ChannelError::Refused(why));
                }
                let server = Nonce::try_from(&*hello).map_err(|_| ChannelError::Malformed)?;
                let mine = proof(Side::Client, &own, &server).finalize().into_bytes();
                channel.put(Kind::Auth, &[&own[..], &mine].concat(), None)?;
                let (kind, theirs) =
                    channel.take(&[Kind::Welcome, Kind::Refused], deadline, false)?;
                let expected = proof(Side::Server, &own, &server);
                if kind == Kind::Refused || expected.verify_slice(&theirs).is_err() {
                    return Err(ChannelError::Secret);
                }
                (own, server)
            }
        };
        channel.key = secret.mac(&[b"session", &client, &server]).finalize().into_bytes().into();
        Ok(channel)
    }

    /// Sends a message.
    pub(crate) fn send(&mut self, kind: Kind, bytes: &[u8]) -> Result<(), ChannelError> {
        let count = self.sent;
        self.sent += 1;
        self.put(kind, bytes, Some(count))
    }

    /// Receives a message of one of these kinds; its first byte must come before the deadline.
    pub(crate) fn receive(
        &mut self,
        kinds: &[Kind],
        deadline: Instant,
    ) -> Result<(Kind, Vec<u8>), ChannelError> {
        self.take(kinds, deadline, true)
    }

    /// What is sent from now on must be gone by then.
    pub(crate) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// Turns a peer away that has not greeted yet, and says why.
    pub(crate) fn refuse(stream: TcpStream, why: &str) {
        let deadline = Instant::now() + REFUSAL;
        let side = Side::Server;
        let mut channel = Self { stream, side, key: [0; MAC], sent: 0, received: 0, deadline };
        // It may be gone already.
        let _ = channel.put(Kind::Refused, why.as_bytes(), None);
    }

    fn tag(&self, by: Side, count: u64, header: &[u8], bytes: &[u8]) -> Hmac<Sha256> {
        mac_of(&self.key, &[by.name(), &count.to_le_bytes(), header, bytes])
    }

    fn put(&mut self, kind: Kind, bytes: &[u8], count: Option<u64>) -> Result<(), ChannelError> {
        debug_assert!(bytes.len() <= kind.bytes_max());
        let mut message = Vec::with_capacity(HEADER + bytes.len() + MAC);
        message.extend(MAGIC);
        message.extend(VERSION.to_le_bytes());
        message.extend((kind as u16).to_le_bytes());
        message.extend((bytes.len() as u32).to_le_bytes());
        let header = message.clone();
        message.extend(bytes);
        if let Some(count) = count {
            message.extend(self.tag(self.side, count, &header, bytes).finalize().into_bytes());
        }
        let mut rest = &message[..];
        while !rest.is_empty() {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ChannelError::Slow);
            }
            self.stream.set_write_timeout(Some(left))?;
            match self.stream.write(rest) {
                Ok(0) => return Err(ChannelError::Closed),
                Ok(count) => rest = &rest[count..],
                Err(error) if is_timeout(&error) => return Err(ChannelError::Slow),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        kinds: &[Kind],
        deadline: Instant,
        has_tag: bool,
    ) -> Result<(Kind, Vec<u8>), ChannelError> {
        let mut header = [0; HEADER];
        self.fill(&mut header, deadline)?;
        let [m0, m1, m2, m3, v0, v1, k0, k1, l0, l1, l2, l3] = header;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(ChannelError::Magic);
        }
        let version = u16::from_le_bytes([v0, v1]);
        if version != VERSION {
            return Err(ChannelError::Version(version));
        }
        let number = u16::from_le_bytes([k0, k1]);
        let kind = Kind::of(number).filter(|kind| kinds.contains(kind));
        let kind = kind.ok_or(ChannelError::Kind(number))?;
        let bytes = u32::from_le_bytes([l0, l1, l2, l3]);
        let most = kind.bytes_max();
        if bytes as usize > most {
            return Err(ChannelError::TooLong { kind: number, bytes, most });
        }
        let deadline = deadline + Duration::from_secs(u64::from(bytes) / SLOWEST);
        let mut payload = vec![0; bytes as usize];
        self.fill(&mut payload, deadline)?;
        if has_tag {
            let mut tag = [0; MAC];
            self.fill(&mut tag, deadline)?;
            let expected = self.tag(self.side.other(), self.received, &header, &payload);
            self.received += 1;
            expected.verify_slice(&tag).map_err(|_| ChannelError::Changed)?;
        }
        Ok((kind, payload))
    }

    /// Reads so many bytes before a deadline, however slowly they drip.
    fn fill(&mut self, mut into: &mut [u8], deadline: Instant) -> Result<(), ChannelError> {
        while !into.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ChannelError::Slow);
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(into) {
                Ok(0) => return Err(ChannelError::Closed),
                Ok(count) => into = &mut into[count..],
                Err(error) if is_timeout(&error) => return Err(ChannelError::Slow),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

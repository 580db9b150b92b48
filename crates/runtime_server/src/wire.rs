//! Messages. Each is a header (magic, version, kind, length), that many bytes, and an HMAC.

use serde::{Deserialize, Serialize};

/// Version of everything here.
pub const VERSION: u16 = 1;

/// Bytes of a message, header and HMAC included, at most.
pub const MESSAGE_BYTES_MAX: usize = HEADER + MOST + MAC;

/// First bytes of every message.
pub(crate) const MAGIC: [u8; 4] = *b"CSRT";

/// Bytes of a header.
pub(crate) const HEADER: usize = 12;

/// Bytes of an HMAC.
pub(crate) const MAC: usize = 32;

/// What is sent is cut into chunks of so many bytes.
pub(crate) const CHUNK: usize = 1 << 20;

/// The longest of the limits below.
const MOST: usize = 8 << 20;

/// Chunks that one run may have: 64 GiB.
pub(crate) const CHUNKS_MAX: usize = 65_536;

/// SHA-256 of a chunk.
pub(crate) type Hash = [u8; 32];

/// A random number that is used once.
pub(crate) type Nonce = [u8; 32];

/// What a message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub(crate) enum Kind {
    /// Server: its nonce.
    Hello = 1,
    /// Client: its nonce, and proof that it knows the secret.
    Auth = 2,
    /// Server: proof that it knows the secret.
    Welcome = 3,
    /// Client: hashes of chunks that a run needs.
    Need = 4,
    /// Server: a bit for each that it lacks.
    Lack = 5,
    /// Client: a chunk.
    Chunk = 6,
    /// Client: what to run.
    Run = 7,
    /// Server: what came of it.
    Ran = 8,
    /// Server: it will not, and why.
    Refused = 9,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Hello,
        Self::Auth,
        Self::Welcome,
        Self::Need,
        Self::Lack,
        Self::Chunk,
        Self::Run,
        Self::Ran,
        Self::Refused,
    ];

    pub(crate) fn of(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u16 == number)
    }

    /// Most bytes of such a message: nothing is allocated for more.
    pub(crate) const fn bytes_max(self) -> usize {
        match self {
            Self::Hello => size_of::<Nonce>(),
            Self::Auth => size_of::<Nonce>() + MAC,
            Self::Welcome => MAC,
            Self::Need => CHUNKS_MAX * size_of::<Hash>(),
            Self::Lack => CHUNKS_MAX / 8,
            Self::Chunk => CHUNK,
            Self::Run => MOST,
            Self::Ran => 64 << 10,
            Self::Refused => 4096,
        }
    }
}

/// A range of memory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WireRange {
    /// Where in its first page it begins.
    pub(crate) page_offset: u16,
    pub(crate) len: u64,
    pub(crate) is_writable: bool,
}

/// What to run. The chunks of program, data and ranges come in this order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) chunks: Vec<Hash>,
    pub(crate) program_bytes: u64,
    pub(crate) data_bytes: u64,
    pub(crate) ranges: Vec<WireRange>,
    pub(crate) param1: i64,
    pub(crate) param2: i64,
    pub(crate) budget: u64,
    pub(crate) samples: u32,
}

/// What came of a run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Ran {
    /// r0, or why the program was stopped.
    pub(crate) result: Result<u64, String>,
    pub(crate) instructions: Vec<u64>,
    pub(crate) bytes_loaded: u64,
    pub(crate) bytes_stored: u64,
    /// SHA-256 of all ranges, one after the other, as they are then.
    pub(crate) memory: Hash,
    pub(crate) samples: u32,
    pub(crate) median_ns: u64,
    pub(crate) least_ns: u64,
    pub(crate) most_ns: u64,
}

/// Pieces of something that long.
pub(crate) fn chunks_of(bytes: u64) -> usize {
    usize::try_from(bytes.div_ceil(CHUNK as u64)).unwrap_or(usize::MAX)
}

//! What hosts wrote to a drive, and what they were told of it, in order.
//!
//! A drive makes the events ([`Event`]), a shell keeps them in a file ([`Writer`], [`read`]), and `crashtest` finds every state of the
//! drive's blocks that a loss of power could have left.

mod file;

pub use file::{HistoryError, MAGIC, Read, Writer, is_history, read};

/// Something that happened, and when: nanoseconds of the drive's time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// When.
    pub at_ns: u64,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// There is a namespace of blocks, from now on or from the beginning. All of it reads as zeroes but for the content that follows.
    Namespace {
        /// Its identifier.
        nsid: u32,
        /// Its capacity.
        bytes: u64,
        /// Bytes of a logical block.
        block_bytes: u32,
        /// Bytes that a loss of power never tears: aligned ones.
        atomic_bytes: u32,
    },
    /// The namespace is no more, with what it held.
    Gone {
        /// Its identifier.
        nsid: u32,
    },
    /// What was in flash at the beginning.
    Content {
        /// The namespace.
        nsid: u32,
        /// Its first byte.
        start: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// A command begins to change blocks, or to make changes durable. One command may begin several changes.
    Begin {
        /// The command.
        id: u64,
        /// What it does.
        change: Change,
    },
    /// A command ended: the host knows.
    End {
        /// The command.
        id: u64,
        /// It did all that it was to do.
        is_success: bool,
    },
    /// The host says how far it has come (`csdrive mark`).
    Mark(String),
    /// Power was lost: what came of it is not told here.
    PowerLost,
}

/// How a command changes what the drive keeps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Blocks get a content.
    Write {
        /// The namespace.
        nsid: u32,
        /// Byte ranges, in the order of the bytes.
        ranges: Vec<Range>,
        /// Bytes of all ranges, one after the other; `None` = zeroes.
        bytes: Option<Vec<u8>>,
        /// The command ends only when they are in flash (FUA, or a drive without a write cache).
        is_durable: bool,
    },
    /// Blocks are given up, and read as zeroes.
    Deallocate {
        /// The namespace.
        nsid: u32,
        /// Byte ranges.
        ranges: Vec<Range>,
        /// As of a write.
        is_durable: bool,
    },
    /// What ended before is durable when this ends.
    Flush {
        /// Of this namespace, or of all ([`ALL`]).
        nsid: u32,
    },
}

/// All namespaces.
pub const ALL: u32 = u32::MAX;

/// Bytes of a namespace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Range {
    /// The first.
    pub start: u64,
    /// How many.
    pub len: u64,
}

impl Range {
    /// The byte after the last.
    pub fn end(self) -> u64 {
        self.start + self.len
    }
}

//! The header of a ring.

use records::{CommandRecord, DieRecord, JobRecord, Layout, Record, UnitRecord};

/// `CSDRRING`, little-endian.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"CSDRRING");
/// Of this layout; that of the records has a version of its own.
pub(crate) const VERSION: u32 = 1;
/// Bytes of the header.
pub(crate) const HEADER_BYTES: u64 = 4096;

// Places of 64-bit words in the header.
pub(crate) const WORD_MAGIC: usize = 0;
/// The ring's version; the records' version in the upper half.
pub(crate) const WORD_VERSIONS: usize = 1;
/// A number that no other ring has, whatever its name.
pub(crate) const WORD_GENERATION: usize = 2;
/// The writer's process.
pub(crate) const WORD_PROCESS: usize = 3;
/// 1 = nothing more will come.
pub(crate) const WORD_CLOSED: usize = 4;
/// Where the kinds begin, and how many words each has.
pub(crate) const WORD_KINDS: usize = 8;
pub(crate) const KIND_WORDS: usize = 8;
/// Words of a kind: the kind's number with the bytes of a record in the upper half; places, 0 = none; where they begin, in bytes; records
/// that were written; records that are written or about to be.
pub(crate) const KIND_AND_BYTES: usize = 0;
pub(crate) const PLACES: usize = 1;
pub(crate) const OFFSET: usize = 2;
pub(crate) const WRITTEN: usize = 3;
pub(crate) const RESERVED: usize = 4;

/// Kinds of records.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Finished commands.
    Commands,
    /// Finished jobs.
    Jobs,
    /// Stays of jobs on units.
    Units,
    /// Operations of flash dies.
    Dies,
}

impl Kind {
    /// All kinds, with their names.
    pub const ALL: [(&str, Self); 4] = [
        ("commands", Self::Commands),
        ("jobs", Self::Jobs),
        ("units", Self::Units),
        ("dies", Self::Dies),
    ];

    /// The layout of its records.
    pub fn layout(self) -> Layout {
        match self {
            Self::Commands => CommandRecord::DESCRIPTION,
            Self::Jobs => JobRecord::DESCRIPTION,
            Self::Units => UnitRecord::DESCRIPTION,
            Self::Dies => DieRecord::DESCRIPTION,
        }
    }

    /// Places of a ring, a power of two: some 30 MB in all.
    pub(crate) fn places(self) -> u64 {
        match self {
            Self::Commands => 1 << 17,
            Self::Jobs => 1 << 15,
            Self::Units => 1 << 16,
            Self::Dies => 1 << 18,
        }
    }

    /// The word of the header where it begins.
    pub(crate) fn words(self) -> usize {
        WORD_KINDS + KIND_WORDS * self as usize
    }
}

// Records are copied word by word.
const _: () = assert!(
    size_of::<CommandRecord>().is_multiple_of(8)
        && size_of::<JobRecord>().is_multiple_of(8)
        && size_of::<UnitRecord>().is_multiple_of(8)
        && size_of::<DieRecord>().is_multiple_of(8)
);

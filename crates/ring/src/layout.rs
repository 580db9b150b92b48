//! The header of a ring.

use records::Kind;

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

/// Places of a ring, a power of two: some 50 MB in all.
pub(crate) const fn places(kind: Kind) -> u64 {
    match kind {
        Kind::Commands => 1 << 17,
        Kind::Jobs => 1 << 15,
        Kind::Units => 1 << 16,
        Kind::Dies | Kind::Links => 1 << 18,
        Kind::Counters => 1 << 10,
    }
}

/// The word of the header where a kind begins.
pub(crate) const fn words(kind: Kind) -> usize {
    WORD_KINDS + KIND_WORDS * kind as usize
}

// Records are copied word by word, and the header has room for every kind.
const _: () = {
    let mut n = 0;
    while n < Kind::COUNT {
        assert!(Kind::ALL[n].layout().bytes.is_multiple_of(8));
        assert!((words(Kind::ALL[n]) + KIND_WORDS) as u64 * 8 <= HEADER_BYTES);
        n += 1;
    }
};

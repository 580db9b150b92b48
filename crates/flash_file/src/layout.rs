//! What lies where in the file, and in which form.
//!
//! ```text
//! 0        header, twice              what the flash is made of
//! 8 KiB    state, in two places       which programs are durable; where the drive's own state is. Written in turn
//! 16 KiB   the drive's own state      two places of 256 KiB, written in turn
//! 1 MiB    block table                16 bytes a block: is it used, how often was it erased
//! then     blocks                     of each: its page records (32 bytes a page), then the bytes of its pages
//! ```
//!
//! Numbers are little-endian. Whatever is written in place, and is not a page, lies within a sector of 512 bytes and has a checksum
//! (CRC-32C): on a disk it is written whole or not at all. Persistent memory has no sectors: there the last word of 8 bytes may be
//! missing of it ([`PageRecord::is_unfinished`], [`BlockEntry::finished`]). Holes read as zeroes: a header apart, zeroes mean that there is nothing.

use ssd::{Geometry, Lpn, Oob};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(crate) const MAGIC: [u8; 8] = *b"CSDFLASH";
/// Forms that this module describes: the second has [`Header::indirection_bytes`] and what follows, and is only used where these say
/// something.
pub(crate) const VERSIONS: [u32; 2] = [1, 2];

pub(crate) const HEADER_PLACES: [u64; 2] = [0, 4096];
pub(crate) const STATE_PLACES: [u64; 2] = [8192, 12_288];
pub(crate) const OWN_BYTES_MAX: usize = 256 << 10;
const OWN_PLACES: [u64; 2] = [16_384, 16_384 + OWN_BYTES_MAX as u64];
const TABLE: u64 = 1 << 20;
/// Blocks begin at a multiple of this.
const ALIGNMENT: u64 = 1 << 20;
/// Records of a block fill whole ones of these, so that the bytes of its pages can be a hole by themselves.
const HOLE_BYTES: u64 = 4096;

/// What the flash is made of.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub(crate) struct Header {
    pub(crate) magic: [u8; 8],
    pub(crate) version: U32,
    pub(crate) channels: U32,
    pub(crate) dies_per_channel: U32,
    pub(crate) planes_per_die: U32,
    pub(crate) blocks_per_plane: U32,
    pub(crate) pages_per_block: U32,
    pub(crate) page_bytes: U32,
    pub(crate) capacity_bytes: U64,
    /// Of everything before it.
    checksum: U32,
    /// Bytes that the map has one entry for: what this module calls a page. 0 = a page of flash.
    pub(crate) indirection_bytes: U32,
    /// 0 = 1.
    pub(crate) pages_per_program: U32,
    extension_checksum: U32,
}

/// Bytes of a header of the first form.
const HEADER_BYTES: usize = std::mem::offset_of!(Header, indirection_bytes);

/// What changes while the drive is used.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub(crate) struct State {
    /// The higher one is the newer one.
    pub(crate) number: U64,
    /// Programs up to this one were made durable.
    pub(crate) durable: U64,
    /// The drive's own state: in which place it is, and how long; its checksum.
    pub(crate) own_place: U32,
    pub(crate) own_bytes: U32,
    pub(crate) own_checksum: U32,
    pub(crate) checksum: U32,
}

/// A block of the table.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub(crate) struct BlockEntry {
    /// [`BlockEntry::ERASED`] or [`BlockEntry::USED`]; 0 = never used, and then all is 0.
    pub(crate) state: U32,
    pub(crate) erases: U32,
    pub(crate) reserved: U32,
    pub(crate) checksum: U32,
}

/// What is written beside a page.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub(crate) struct PageRecord {
    lpn: [u8; 6],
    /// [`PageRecord::DEAD`] if the page is not wanted any more. It changes alone and is no part of the checksum.
    /// [`PageRecord::UNREADABLE`] if it was known to be so when it was written.
    dead: U16,
    pub(crate) version: U64,
    /// Its place among all programs.
    pub(crate) sequence: U64,
    bytes_checksum: U32,
    checksum: U32,
}

const _: () = assert!(size_of::<BlockEntry>() == 16 && size_of::<PageRecord>() == 32);

/// The checksum of a structure that ends with it.
fn checksum_of<T: IntoBytes + Immutable>(value: &T) -> u32 {
    let bytes = value.as_bytes();
    crc32c::crc32c(&bytes[..bytes.len() - size_of::<u32>()])
}

impl Header {
    pub(crate) fn new(geometry: &Geometry) -> Self {
        let flash_page = geometry.page_bytes * geometry.pages_per_read;
        let indirection = if geometry.pages_per_read > 1 { geometry.page_bytes } else { 0 };
        let together = geometry.pages_per_program / geometry.pages_per_read;
        let pages_per_program = if together > 1 { together } else { 0 };
        let version = VERSIONS[usize::from(indirection > 0 || pages_per_program > 0)];
        let mut header = Self {
            magic: MAGIC,
            version: version.into(),
            channels: geometry.channels.into(),
            dies_per_channel: (geometry.dies / geometry.channels).into(),
            planes_per_die: geometry.planes_per_die.into(),
            blocks_per_plane: geometry.blocks_per_plane.into(),
            pages_per_block: (geometry.pages_per_block / geometry.pages_per_read).into(),
            page_bytes: flash_page.into(),
            capacity_bytes: (geometry.logical_pages * u64::from(geometry.page_bytes)).into(),
            checksum: 0.into(),
            indirection_bytes: indirection.into(),
            pages_per_program: pages_per_program.into(),
            extension_checksum: 0.into(),
        };
        header.checksum = header.first_checksum().into();
        if version > 1 {
            header.extension_checksum = checksum_of(&header).into();
        }
        header
    }

    fn first_checksum(&self) -> u32 {
        crc32c::crc32c(&self.as_bytes()[..HEADER_BYTES - size_of::<u32>()])
    }

    pub(crate) fn is_sound(&self) -> bool {
        let is_extended = self.version.get() != VERSIONS[0];
        self.checksum.get() == self.first_checksum()
            && (!is_extended || self.extension_checksum.get() == checksum_of(self))
    }

    /// What it describes, by the keys of a configuration; what follows from others comes last.
    pub(crate) fn fields(&self) -> [(&'static str, u64); 9] {
        let config = self.config();
        [
            ("drive.capacity", config.capacity_bytes),
            ("flash.channels", config.channels.into()),
            ("flash.dies_per_channel", config.dies_per_channel.into()),
            ("flash.planes_per_die", config.planes_per_die.into()),
            ("flash.pages_per_block", config.pages_per_block.into()),
            ("flash.page_size", config.page_bytes.into()),
            ("flash.indirection_unit", config.mapped_bytes().into()),
            ("flash.pages_per_program", config.pages_per_program.into()),
            ("flash.blocks_per_plane", config.blocks_per_plane.into()),
        ]
    }

    /// The configuration of the flash that it describes.
    pub(crate) fn config(&self) -> ssd::Config {
        let is_extended = self.version.get() != VERSIONS[0];
        let (indirection_bytes, pages_per_program) = if is_extended {
            (self.indirection_bytes.get(), self.pages_per_program.get().max(1))
        } else {
            (0, 1)
        };
        ssd::Config {
            capacity_bytes: self.capacity_bytes.get(),
            channels: self.channels.get(),
            dies_per_channel: self.dies_per_channel.get(),
            planes_per_die: self.planes_per_die.get(),
            blocks_per_plane: self.blocks_per_plane.get(),
            pages_per_block: self.pages_per_block.get(),
            page_bytes: self.page_bytes.get(),
            indirection_bytes,
            pages_per_program,
            ..ssd::Config::default()
        }
    }
}

impl State {
    pub(crate) fn seal(mut self) -> Self {
        self.checksum = checksum_of(&self).into();
        self
    }

    pub(crate) fn is_sound(&self) -> bool {
        let has_place = (self.own_place.get() as usize) < OWN_PLACES.len()
            && self.own_bytes.get() as usize <= OWN_BYTES_MAX;
        has_place
            && (1..1 << 63).contains(&self.number.get())
            && self.durable.get() < 1 << 63
            && self.checksum.get() == checksum_of(self)
    }
}

impl BlockEntry {
    pub(crate) const ERASED: u32 = 1;
    pub(crate) const USED: u32 = 2;

    pub(crate) fn new(state: u32, erases: u32) -> Self {
        let mut entry = Self { state: state.into(), erases: erases.into(), ..Self::new_zeroed() };
        entry.checksum = checksum_of(&entry).into();
        entry
    }

    pub(crate) fn is_sound(&self) -> bool {
        let is_known = matches!(self.state.get(), Self::ERASED | Self::USED);
        self.is_unused() || is_known && self.checksum.get() == checksum_of(self)
    }

    /// The entry that this one is but for its last word, which is still that of the entry before it.
    pub(crate) fn finished(&self) -> Option<Self> {
        let (state, erases) = (self.state.get(), self.erases.get());
        let fewer = erases.saturating_sub(1);
        let before = match state {
            Self::USED => [Self::new_zeroed(), Self::new(Self::ERASED, erases)],
            Self::ERASED => [Self::new(Self::ERASED, fewer), Self::new(Self::USED, fewer)],
            _ => return None,
        };
        let has_old_checksum = |old: &Self| old.checksum == self.checksum;
        // Erased without ever having been used.
        let is_first = state == Self::ERASED && erases == 1 && self.checksum.get() == 0;
        let is_known = before.iter().any(has_old_checksum) || is_first;
        (is_known && self.reserved.get() == 0).then(|| Self::new(state, erases))
    }

    pub(crate) fn is_unused(&self) -> bool {
        self.as_bytes().iter().all(|byte| *byte == 0)
    }
}

impl PageRecord {
    /// What a page that is not wanted is marked with.
    pub(crate) const DEAD: u16 = 0xDEAD;
    /// What a page is marked with whose bytes were lost before.
    const UNREADABLE: u16 = 0xBAD0;
    /// Where the mark is.
    pub(crate) const DEAD_AT: u64 = 6;

    /// The record of a page at this place, a number that no other page has.
    pub(crate) fn new(oob: Oob, sequence: u64, place: u64, is_readable: bool) -> Self {
        let mut lpn = [0; 6];
        lpn.copy_from_slice(&oob.lpn.0.to_le_bytes()[..6]);
        let mut record = Self {
            lpn,
            dead: if is_readable { 0 } else { Self::UNREADABLE }.into(),
            version: oob.version.into(),
            sequence: sequence.into(),
            bytes_checksum: oob.checksum.into(),
            checksum: 0.into(),
        };
        record.checksum = record.own_checksum(place).into();
        record
    }

    fn own_checksum(&self, place: u64) -> u32 {
        let alive = Self { dead: 0.into(), ..*self };
        crc32c::crc32c_append(checksum_of(&alive), &place.to_le_bytes())
    }

    /// True if no page was written, or only marked.
    pub(crate) fn is_empty(&self) -> bool {
        Self { dead: 0.into(), ..*self }.as_bytes().iter().all(|byte| *byte == 0)
    }

    pub(crate) fn is_sound(&self, place: u64) -> bool {
        let is_mark = matches!(self.dead.get(), 0 | Self::DEAD | Self::UNREADABLE);
        // Numbers that no drive counts to are as good as damage.
        let is_counted = self.version.get() < 1 << 63 && self.sequence.get() < 1 << 63;
        is_mark && is_counted && self.checksum.get() == self.own_checksum(place)
    }

    /// True if the last word is missing of a record that was written after all programs that are durable, or of which that is missing,
    /// too: it was being written when the machine ended.
    pub(crate) fn is_unfinished(&self, durable: u64) -> bool {
        let is_last_word_missing = self.bytes_checksum.get() == 0 && self.checksum.get() == 0;
        is_last_word_missing && (self.sequence.get() == 0 || self.sequence.get() > durable)
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.get() == Self::DEAD
    }

    pub(crate) fn is_readable(&self) -> bool {
        self.dead.get() != Self::UNREADABLE
    }

    pub(crate) fn oob(&self) -> Oob {
        let mut lpn = [0; 8];
        lpn[..6].copy_from_slice(&self.lpn);
        Oob {
            lpn: Lpn(u64::from_le_bytes(lpn)),
            version: self.version.get(),
            checksum: self.bytes_checksum.get(),
        }
    }
}

/// Where things are in a file for this geometry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) blocks: u64,
    pages_per_block: u64,
    page_bytes: u64,
    blocks_at: u64,
}

impl Layout {
    pub(crate) fn new(geometry: &Geometry) -> Self {
        let blocks = u64::from(geometry.planes) * u64::from(geometry.blocks_per_plane);
        let table_end = TABLE + blocks * size_of::<BlockEntry>() as u64;
        Self {
            blocks,
            pages_per_block: geometry.pages_per_block.into(),
            page_bytes: geometry.page_bytes.into(),
            blocks_at: table_end.next_multiple_of(ALIGNMENT),
        }
    }

    pub(crate) fn file_bytes(&self) -> u64 {
        self.blocks_at + self.blocks * self.block_bytes()
    }

    /// Bytes of a block: records and pages.
    pub(crate) fn block_bytes(&self) -> u64 {
        self.records_bytes() + self.pages_per_block * self.page_bytes
    }

    pub(crate) fn records_bytes(&self) -> u64 {
        (self.pages_per_block * size_of::<PageRecord>() as u64).next_multiple_of(HOLE_BYTES)
    }

    pub(crate) fn own(place: u32) -> u64 {
        OWN_PLACES[place as usize]
    }

    pub(crate) fn entry(&self, block: u64) -> u64 {
        TABLE + block * size_of::<BlockEntry>() as u64
    }

    /// Where a block begins, with its records.
    pub(crate) fn block(&self, block: u64) -> u64 {
        self.blocks_at + block * self.block_bytes()
    }

    pub(crate) fn record(&self, block: u64, page: u64) -> u64 {
        self.block(block) + page * size_of::<PageRecord>() as u64
    }

    pub(crate) fn page(&self, block: u64, page: u64) -> u64 {
        self.block(block) + self.records_bytes() + page * self.page_bytes
    }

    /// A number that no other page has.
    pub(crate) fn place(&self, block: u64, page: u64) -> u64 {
        block * self.pages_per_block + page
    }
}

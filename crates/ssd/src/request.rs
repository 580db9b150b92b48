//! What the drive is asked for, and what comes back.

use simtime::{Duration, Instant};

use crate::address::Lpn;
use crate::config::SECTOR_BYTES;
use crate::store::MediaError;

/// The caller's name for a request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(pub u64);

/// Bytes of one page. What is read and written is whole sectors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// The page.
    pub lpn: Lpn,
    /// First byte in the page.
    pub offset: u32,
    /// Bytes; not 0.
    pub len: u32,
}

impl Span {
    /// One bit for each sector that the span touches.
    #[inline]
    pub(crate) fn sectors(self) -> u128 {
        let first = self.offset / SECTOR_BYTES;
        let count = (self.offset + self.len).div_ceil(SECTOR_BYTES) - first;
        (u128::MAX >> (u128::BITS - count)) << first
    }
}

/// What the host says of a page that it writes, besides its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Hint {
    /// Pages of a stream share blocks, as far as [`crate::Config::hint_streams`] and [`crate::Config::placement`] have it so. From
    /// [`crate::Config::first_zone_stream`] on, streams are those of zones: what is written there is not undone when nobody waits for it any
    /// more, because what follows it in the zone is written all the same.
    pub stream: u8,
    /// What the stream's blocks have room for is given up: this page is the first of others.
    pub begins_unit: bool,
}

impl Hint {
    /// Of a stream.
    pub fn of(stream: u8) -> Self {
        Self { stream, begins_unit: false }
    }
}

/// A finished request. Each request yields exactly one, unless it is forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Done {
    /// The request.
    pub id: RequestId,
    /// When it finished.
    pub at: Instant,
    /// What came of it.
    pub result: Result<Medium, MediaError>,
    /// The page, of a read.
    pub page: Option<Lpn>,
    /// How long it waited until the store was durable; the modelled time is earlier by this.
    pub late: Duration,
}

/// What served a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Medium {
    /// The drive's memory.
    Memory,
    /// A flash operation was waited for.
    Flash,
}

/// Counters since the model began.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Pages the host asked to read.
    pub host_page_reads: u64,
    /// Pages the host asked to write.
    pub host_page_writes: u64,
    /// Bytes the host asked to write.
    pub host_bytes_written: u64,
    /// Page writes that found their page waiting in the write buffer, and needed no program of their own.
    pub coalesced_writes: u64,
    /// Reads of pages never written.
    pub unwritten_reads: u64,
    /// Reads served from pages in the write buffer, or on their way from there to flash.
    pub buffer_reads: u64,
    /// Flash page reads for the host.
    pub flash_reads: u64,
    /// Flash page reads to complete partial page writes.
    pub modify_reads: u64,
    /// Flash page programs for the host.
    pub flash_programs: u64,
    /// Of all pages programmed, those that there was nothing for: a program operation was not full.
    pub padding_programs: u64,
    /// Flash page reads by garbage collection.
    pub gc_reads: u64,
    /// Flash page programs by garbage collection.
    pub gc_programs: u64,
    /// Reads that were tried again, for whomever: bits were wrong, and too many to be corrected.
    pub read_retries: u64,
    /// Block erases.
    pub erases: u64,
    /// Pages deallocated.
    pub deallocated_pages: u64,
    /// Times that no plane had a page left and host writes waited for garbage collection.
    pub stalls: u64,
    /// Blocks that became bad: they are not used any more.
    pub bad_blocks: u64,
    /// Flash operations that failed.
    pub media_errors: u64,
    /// Bytes of a flash page.
    pub page_bytes: u64,
    /// The time until now in which dies read, programmed or erased, all dies together.
    pub dies_busy: Duration,
    /// The time until now in which channels moved pages, all channels together.
    pub channels_busy: Duration,
}

/// How often blocks were erased, over the life of the flash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wear {
    /// Blocks.
    pub blocks: u64,
    /// Erases, all blocks together.
    pub erases: u64,
    /// Erases of the block that was erased most.
    pub erases_max: u32,
}

/// Blocks of a plane that can become bad: no plane does the work of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spare {
    /// When the drive was new.
    pub blocks: u32,
    /// Now, of the plane that has fewest.
    pub left: u32,
    /// A block became bad that there was no other for: the drive takes no more writes.
    pub is_worn_out: bool,
}

impl Spare {
    /// What is left, in per cent. A drive that has no spare blocks, and needed none, has all of it.
    pub fn percent(&self) -> u8 {
        match (self.left * 100).checked_div(self.blocks) {
            Some(percent) => percent as u8,
            None => {
                if self.is_worn_out {
                    0
                } else {
                    100
                }
            }
        }
    }
}

impl Statistics {
    /// Bytes programmed, for the host and by collection.
    pub fn programmed_bytes(&self) -> u64 {
        (self.flash_programs + self.gc_programs) * self.page_bytes
    }

    /// Bytes programmed per byte that the host wrote; 1 for a drive that was not written.
    pub fn write_amplification(&self) -> f64 {
        self.write_amplification_since(&Self::default())
    }

    /// The same of what came after an earlier reading.
    pub fn write_amplification_since(&self, before: &Self) -> f64 {
        let host = self.host_bytes_written - before.host_bytes_written;
        if host == 0 {
            return 1.0;
        }
        (self.programmed_bytes() - before.programmed_bytes()) as f64 / host as f64
    }
}

//! What commands of the NVM command set wait for.

use nvme_spec::Nsid;
use simtime::Instant;

use crate::command::CopyBlocks;
use crate::data_pointer::Segments;
use crate::event::Tag;
use crate::extent::Extent;
use crate::inflight::Reserved;
use crate::limits::NVM_COPY_BYTES_MAX;

/// Bytes of a namespace to copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    pub(crate) nsid: Nsid,
    pub(crate) extent: Extent,
}

/// Blocks to write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) extent: Extent,
    /// They are in flash before the command completes.
    pub(crate) fua: bool,
    /// The stream of the flash that they go to; in a zoned namespace the zone has its own.
    pub(crate) stream: u8,
    /// The zone that begins with them takes them where its write pointer is.
    pub(crate) is_append: bool,
}

/// The write of a fused pair, as its compare knows it.
#[derive(Debug)]
pub(crate) struct FusedWrite {
    pub(crate) tag: Tag,
    pub(crate) segments: Segments,
    pub(crate) fua: bool,
    pub(crate) stream: u8,
}

/// Blocks being read to be compared with the host's data, or only verified.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) extent: Extent,
    pub(crate) pages_left: u32,
    /// What the host says the blocks hold; `None` = it says nothing.
    pub(crate) compare: Option<Segments>,
    pub(crate) write: Option<FusedWrite>,
}

/// Flash pages, or the other half of a pair.
#[derive(Debug)]
pub(crate) enum NvmWait {
    /// Pages on their way from flash to the host.
    Reading { start: u64, len: u64, segments: Segments, pages_left: u32, link_end: Instant },
    /// Pages on their way to the write buffer or to flash, after which the host is told a result; or a flush. The command does not end
    /// before a time.
    Writing { pages_left: u32, result: u64, earliest: Instant },
    /// Pages on their way from flash to the controller.
    Checking(Box<Check>),
    /// Pages on their way from flash to other blocks.
    Copying { target: Target, sources: Vec<Source>, pages_left: u32 },
    /// A flush, after which placement identifiers go on in other reclaim units: each with its stream.
    Updating { identifiers: Vec<(u16, u8)> },
    /// The compare of the same fused pair.
    AwaitingCompare,
}

impl NvmWait {
    /// So many pages, or a flush.
    pub(crate) fn writing(pages_left: u32) -> Self {
        Self::Writing { pages_left, result: 0, earliest: Instant::ZERO }
    }
}

/// What a command does when the data it waits for has arrived.
#[derive(Debug)]
pub(crate) enum NvmArrival {
    Write(Target),
    Compare {
        extent: Extent,
        write: Option<FusedWrite>,
    },
    Dataset {
        range_count: usize,
    },
    /// Placement identifiers that go on in other reclaim units.
    Placement {
        count: usize,
    },
    /// The list of sources.
    Copy(CopyBlocks),
    /// Device memory that a Copy brought to the flash.
    Memory {
        sources: Vec<Source>,
        target: Target,
    },
}

impl NvmArrival {
    /// What the command will ask of flash pages of this size.
    pub(crate) fn reserved(&self, page_bits: u32) -> Reserved {
        let pages = |len: u64| pages_at_most(page_bits, len);
        match self {
            Self::Write(target) | Self::Memory { target, .. } => {
                Reserved { requests: pages(target.extent.len), bytes: target.extent.len }
            }
            Self::Compare { extent, write } => {
                let written = if write.is_some() { extent.len } else { 0 };
                Reserved { requests: pages(extent.len) + pages(written), bytes: written }
            }
            // What it copies is known when the list of sources is here.
            Self::Copy(copy) => {
                let requests = 2 * (pages(NVM_COPY_BYTES_MAX) + copy.source_count as u64 * 2);
                Reserved { requests, bytes: NVM_COPY_BYTES_MAX }
            }
            Self::Dataset { .. } | Self::Placement { .. } => Reserved::default(),
        }
    }

    /// True if blocks are read before they are written: what is noted stays until then.
    pub(crate) fn reads_first(&self) -> bool {
        matches!(self, Self::Compare { .. } | Self::Copy(_))
    }
}

/// Pages that so many bytes touch at most: a range that does not begin with a page touches one more.
pub(crate) fn pages_at_most(page_bits: u32, len: u64) -> u64 {
    (len >> page_bits) + 2
}

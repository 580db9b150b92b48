//! What commands of the Subsystem Local Memory command set wait for.

use nvme_spec::command::copy_format;
use simtime::Instant;

use crate::extent::Extent;
use crate::inflight::Reserved;
use crate::namespace::nvm::waiting::{Source, pages_at_most};
use crate::namespace::programs::early::PageOrder;

/// Flash pages.
#[derive(Debug)]
pub(crate) enum MemoryWait {
    /// Pages on their way from flash to device memory.
    Copying {
        target: u64,
        sources: Vec<Source>,
        pages_left: u32,
        link_end: Instant,
        /// A run waits for each of them.
        early: Option<Box<PageOrder>>,
    },
}

/// What a command does when the data it waits for has arrived.
#[derive(Debug)]
pub(crate) enum MemoryArrival {
    Write(Extent),
    /// The list of sources.
    Copy {
        target: Extent,
        source_count: usize,
        format: u8,
    },
}

impl MemoryArrival {
    /// What the command will ask of flash pages of this size.
    pub(crate) fn reserved(&self, page_bits: u32) -> Reserved {
        match self {
            Self::Copy { target, source_count, format }
                if !matches!(*format, copy_format::MEMORY | copy_format::PEER_MEMORY) =>
            {
                let requests = pages_at_most(page_bits, target.len) + *source_count as u64 * 2;
                Reserved { requests, bytes: 0 }
            }
            _ => Reserved::default(),
        }
    }
}

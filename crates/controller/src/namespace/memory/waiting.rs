//! What commands of the Subsystem Local Memory command set wait for.

use std::sync::Arc;

use ebpf::SharedMemory;
use nvme_spec::command::copy_format;
use simtime::Instant;

use crate::extent::Extent;
use crate::inflight::Reserved;
use crate::namespace::nvm::waiting::{Source, pages_at_most};
use crate::namespace::programs::early::PageOrder;
use crate::own_memory::Allocation;
use crate::turn::Turn;

/// Flash pages.
#[derive(Debug)]
pub(crate) enum MemoryWait {
    /// Pages on their way from flash to device memory.
    Copying {
        to: Destination,
        sources: Vec<Source>,
        pages_left: u32,
        link_end: Instant,
        /// A run waits for each of them.
        early: Option<Box<PageOrder>>,
    },
}

/// Device memory that blocks are copied to.
#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) memory: Arc<SharedMemory>,
    pub(crate) offset: u64,
    /// Kept until then, if it is the drive's own.
    #[expect(dead_code, reason = "counted, not read")]
    pub(crate) own: Option<Arc<Allocation>>,
    /// Dwords 0 and 1 of the completion.
    pub(crate) result: u64,
}

impl Destination {
    /// Memory of a namespace.
    pub(crate) fn new(memory: &Arc<SharedMemory>, offset: u64) -> Self {
        Self { memory: Arc::clone(memory), offset, own: None, result: 0 }
    }
}

impl MemoryWait {
    /// What a copy of blocks waits for, before it has read any.
    pub(crate) fn copying(
        turn: &Turn<'_>,
        to: Destination,
        sources: &[Source],
        early: Option<Box<PageOrder>>,
    ) -> Self {
        let (pages_left, link_end) = (turn.source_pages(sources), turn.now);
        Self::Copying { to, sources: sources.to_vec(), pages_left, link_end, early }
    }
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

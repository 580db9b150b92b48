//! Device memory that the drive gives out by itself: no host sees it as a memory namespace.
//!
//! Whoever has an [`Allocation`] keeps it. It is free again when the last one is gone, also if that is a worker that still runs a
//! program for a command that nobody waits for any more.

use std::sync::Arc;

use ebpf::SharedMemory;
use nvme_spec::Status;

use crate::extent::Extent;
use crate::limits::ALLOCATIONS_MAX;
use crate::namespace::space::PageSpace;

/// Allocations begin at multiples of this, and take as many whole pages.
const PAGE: u64 = 4096;

/// A part of the memory, which is zero at first.
#[derive(Debug)]
pub(crate) struct Allocation {
    pub(crate) memory: Arc<SharedMemory>,
    /// Where it is, and its bytes.
    pub(crate) extent: Extent,
}

/// The memory, and what of it is given out.
#[derive(Debug)]
pub(crate) struct OwnMemory {
    bytes: u64,
    /// Made when it is needed for the first time.
    memory: Option<Arc<SharedMemory>>,
    free: PageSpace,
    given: Vec<Arc<Allocation>>,
}

fn pages(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE)
}

impl OwnMemory {
    pub(crate) fn new(bytes: u64) -> Self {
        Self { bytes, memory: None, free: PageSpace::new(bytes / PAGE), given: Vec::new() }
    }

    /// Gives out so many bytes, in one piece.
    pub(crate) fn allocate(&mut self, bytes: u64) -> Result<Arc<Allocation>, Status> {
        if bytes == 0 {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        self.take_back();
        if bytes > self.bytes || self.given.len() >= ALLOCATIONS_MAX {
            return Err(Status::CAPACITY_EXCEEDED.with_dnr());
        }
        let memory = match &self.memory {
            Some(memory) => Arc::clone(memory),
            None => {
                let memory = SharedMemory::new(self.bytes).map_err(|_| Status::INTERNAL_ERROR)?;
                Arc::clone(self.memory.insert(Arc::new(memory)))
            }
        };
        let first = self.free.allocate_run(pages(bytes)).ok_or(Status::CAPACITY_EXCEEDED)?;
        let extent = Extent { start: first * PAGE, len: bytes };
        let allocation = Arc::new(Allocation { memory, extent });
        self.given.push(Arc::clone(&allocation));
        Ok(allocation)
    }

    /// What nobody has any more is free, and zero.
    fn take_back(&mut self) {
        for allocation in self.given.extract_if(.., |given| Arc::strong_count(given) == 1) {
            let Extent { start, len } = allocation.extent;
            let whole = pages(len) * PAGE;
            assert!(allocation.memory.clear_range(start, whole), "it was given out");
            self.free.release_run(start / PAGE, pages(len));
        }
    }

    /// Empties all of it; what is given out stays so.
    pub(crate) fn clear(&self) {
        if let Some(memory) = &self.memory {
            memory.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_free_and_zero_and_what_is_kept_is_not() {
        let mut own = OwnMemory::new(64 << 10);
        let all = own.allocate(64 << 10).unwrap();
        assert_eq!(own.allocate(1).unwrap_err(), Status::CAPACITY_EXCEEDED);
        assert!(all.memory.fill(0, 64 << 10, 7));
        // A worker has it still.
        let worker = Arc::clone(&all);
        drop(all);
        assert_eq!(own.allocate(1).unwrap_err(), Status::CAPACITY_EXCEEDED);
        drop(worker);
        let small: Vec<_> = (0..16).map(|_| own.allocate(100).unwrap()).collect();
        let mut byte = [9];
        assert!(small[3].memory.read(small[3].extent.start, &mut byte) && byte == [0]);
        assert_eq!(own.allocate(1).unwrap_err(), Status::CAPACITY_EXCEEDED);
        // Neighbours join.
        drop(small);
        assert_eq!(own.allocate(64 << 10).unwrap().extent, Extent { start: 0, len: 64 << 10 });
        assert_eq!(own.allocate((64 << 10) + 1).unwrap_err(), Status::CAPACITY_EXCEEDED.with_dnr());
        assert_eq!(own.allocate(0).unwrap_err(), Status::INVALID_FIELD.with_dnr());
    }
}

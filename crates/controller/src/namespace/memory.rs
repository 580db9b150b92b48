//! A memory namespace: device memory.

pub(crate) mod commands;
pub(crate) mod waiting;

use std::sync::Arc;

use ebpf::SharedMemory;
use nvme_spec::{Nsid, Status};

use crate::extent::Extent;

/// A memory namespace. Copies of it share the memory.
#[derive(Clone, Debug)]
pub(crate) struct MemoryNamespace {
    pub(crate) nsid: Nsid,
    pub(crate) memory: Arc<SharedMemory>,
}

impl MemoryNamespace {
    /// Memory that is all zeroes.
    ///
    /// # Errors
    /// If this machine cannot reserve that much.
    pub(crate) fn new(nsid: Nsid, bytes: u64) -> std::io::Result<Self> {
        Ok(Self { nsid, memory: Arc::new(SharedMemory::new(bytes)?) })
    }

    /// A range of it, checked.
    pub(crate) fn extent(&self, start: u64, len: u64) -> Result<Extent, Status> {
        let end = start.checked_add(len);
        if end.is_none_or(|end| end > self.memory.len()) {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        Ok(Extent { start, len })
    }
}

//! A memory namespace: device memory.

pub(crate) mod commands;
pub(crate) mod waiting;

use std::io;
use std::path::Path;
use std::sync::Arc;

use ebpf::SharedMemory;
use nvme_spec::{Nsid, Status};

use crate::config::MemoryBacking;
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
    /// If this machine cannot reserve that much, or not where it is to be.
    pub(crate) fn new(nsid: Nsid, bytes: u64, backing: &MemoryBacking) -> io::Result<Self> {
        let mut memory = match backing.folder.as_str() {
            "" => SharedMemory::new(bytes)?,
            folder => SharedMemory::in_folder(bytes, Path::new(folder)).map_err(|cause| {
                io::Error::new(cause.kind(), format!("in the folder {folder}: {cause}"))
            })?,
        };
        if backing.has_huge_pages {
            memory = memory.with_huge_pages()?;
        }
        Ok(Self { nsid, memory: Arc::new(memory) })
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

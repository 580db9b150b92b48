//! Executable memory: written once, then read and executed only.

use memmap2::{Mmap, MmapMut};

/// Machine code at a fixed place.
#[derive(Debug)]
pub(crate) struct CodeMemory {
    map: Mmap,
}

impl CodeMemory {
    /// Copies code into pages of its own, which are never writable and executable at once.
    pub(crate) fn new(code: &[u8]) -> std::io::Result<Self> {
        let mut map = MmapMut::map_anon(code.len().max(1))?;
        map[..code.len()].copy_from_slice(code);
        // On machines whose instruction cache does not see data writes, the kernel cleans it when
        // pages become executable for the first time.
        Ok(Self { map: map.make_exec()? })
    }

    /// Host addresses of the code.
    pub(crate) fn extent(&self) -> std::ops::Range<u64> {
        let start = self.map.as_ptr() as u64;
        start..start + self.map.len() as u64
    }

    /// The code's bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }
}

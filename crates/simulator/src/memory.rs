//! Host memory of the simulation: one flat piece that grows, with a page allocator.

use client::{DmaMemory, PageAllocator};
use controller::{HostMemory, HostMemoryError};

/// First address of host memory: address 0 is never valid.
const BASE: u64 = 0x10_0000;

/// Host memory.
#[derive(Debug, Default)]
pub struct HostRam {
    bytes: Vec<u8>,
    pages: PageAllocator,
}

impl HostRam {
    /// Host memory that is known to exist.
    ///
    /// # Panics
    /// If it does not: the host script made an address up.
    pub fn view(&self, address: u64, len: u64) -> &[u8] {
        let at = (address - BASE) as usize;
        &self.bytes[at..at + len as usize]
    }
}

impl DmaMemory for HostRam {
    fn take_pages(&mut self, pages: u64) -> u64 {
        let offset = self.pages.take(pages);
        self.bytes.resize(self.pages.used() as usize, 0);
        BASE + offset
    }

    fn give_pages(&mut self, address: u64, pages: u64) {
        self.pages.give(address - BASE, pages);
    }

    #[inline]
    fn put(&mut self, address: u64, bytes: &[u8]) {
        self.write(address, bytes).expect("host scripts write memory they allocated");
    }

    #[inline]
    fn get(&self, address: u64, into: &mut [u8]) {
        self.read(address, into).expect("host scripts read memory they allocated");
    }
}

impl HostMemory for HostRam {
    #[inline]
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), HostMemoryError> {
        let at = address.wrapping_sub(BASE) as usize;
        let from = self.bytes.get(at..).and_then(|b| b.get(..into.len()));
        let error = HostMemoryError { address, len: into.len() as u64 };
        into.copy_from_slice(from.ok_or(error)?);
        Ok(())
    }

    #[inline]
    fn write(&mut self, address: u64, from: &[u8]) -> Result<(), HostMemoryError> {
        let at = address.wrapping_sub(BASE) as usize;
        let into = self.bytes.get_mut(at..).and_then(|b| b.get_mut(..from.len()));
        let error = HostMemoryError { address, len: from.len() as u64 };
        into.ok_or(error)?.copy_from_slice(from);
        Ok(())
    }
}

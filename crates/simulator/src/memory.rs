//! Host memory of the simulation: one flat piece that grows, with a page allocator.

use std::collections::BTreeMap;

use controller::{HostMemory, HostMemoryError};
use nvme_spec::PAGE_SIZE;

/// First address of host memory: address 0 is never valid.
const BASE: u64 = 0x10_0000;

/// Page-aligned host memory for a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Buffer {
    /// First byte.
    pub address: u64,
    /// Bytes.
    pub len: u64,
    /// Where its PRP list is kept.
    list: u64,
}

/// Host memory.
#[derive(Debug, Default)]
pub struct HostRam {
    bytes: Vec<u8>,
    /// Freed pieces by number of pages.
    free: BTreeMap<u64, Vec<u64>>,
}

impl HostRam {
    /// Takes zeroed or reused pages.
    fn take_pages(&mut self, pages: u64) -> u64 {
        if let Some(address) = self.free.get_mut(&pages).and_then(Vec::pop) {
            return address;
        }
        let address = BASE + self.bytes.len() as u64;
        self.bytes.resize(self.bytes.len() + (pages * PAGE_SIZE) as usize, 0);
        address
    }

    /// Allocates a buffer of at least one page; its contents are whatever was there.
    pub fn allocate(&mut self, len: u64) -> Buffer {
        let pages = len.div_ceil(PAGE_SIZE).max(1);
        let list = if pages > 2 { self.take_pages(list_pages(pages)) } else { 0 };
        Buffer { address: self.take_pages(pages), len, list }
    }

    /// Gives a buffer back.
    pub fn release(&mut self, buffer: Buffer) {
        let pages = buffer.len.div_ceil(PAGE_SIZE).max(1);
        self.free.entry(pages).or_default().push(buffer.address);
        if buffer.list != 0 {
            self.free.entry(list_pages(pages)).or_default().push(buffer.list);
        }
    }

    /// PRP entries for the first `len` bytes of a buffer, the list written if one is needed.
    pub fn prps(&mut self, buffer: &Buffer, len: u64) -> (u64, u64) {
        let pages = len.div_ceil(PAGE_SIZE);
        let page = |n: u64| buffer.address + n * PAGE_SIZE;
        match pages {
            0 | 1 => (buffer.address, 0),
            2 => (buffer.address, page(1)),
            _ => {
                self.write_list(buffer.list, buffer.address + PAGE_SIZE, pages - 1);
                (buffer.address, buffer.list)
            }
        }
    }

    /// Writes a PRP list of `count` pages from `first` on, over consecutive list pages; the last
    /// entry of a full list page leads to the next.
    fn write_list(&mut self, list: u64, first: u64, count: u64) {
        let (mut at, mut done) = (list, 0);
        while done < count {
            let last_of_page = (at + 8).is_multiple_of(PAGE_SIZE);
            if last_of_page && count - done > 1 {
                self.put(at, &(at + 8).to_le_bytes());
            } else {
                self.put(at, &(first + done * PAGE_SIZE).to_le_bytes());
                done += 1;
            }
            at += 8;
        }
    }

    /// Writes host memory that is known to exist.
    ///
    /// # Panics
    /// If it does not: the host script made an address up.
    pub fn put(&mut self, address: u64, bytes: &[u8]) {
        self.write(address, bytes).expect("host scripts write memory they allocated");
    }

    /// Reads host memory that is known to exist.
    ///
    /// # Panics
    /// If it does not: the host script made an address up.
    pub fn get(&self, address: u64, len: u64) -> &[u8] {
        let at = (address - BASE) as usize;
        &self.bytes[at..at + len as usize]
    }
}

/// List pages that the largest transfer of a buffer can need.
fn list_pages(pages: u64) -> u64 {
    (pages - 1).div_ceil(PAGE_SIZE / 8 - 1).max(1)
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

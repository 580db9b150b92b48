//! Host memory for transfers: buffers, and the lists that describe them to a controller.

use std::collections::BTreeMap;

use nvme_spec::{PAGE_SIZE, SglDescriptor, sgl_type};
use zerocopy::IntoBytes;

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

/// List pages that the largest transfer of a buffer can need.
fn list_pages(pages: u64) -> u64 {
    (pages - 1).div_ceil(PAGE_SIZE / 8 - 1).max(1)
}

/// Hands out pages of memory that has an end or grows: freed pieces first, then what was never used.
#[derive(Debug, Default)]
pub struct PageAllocator {
    /// Bytes that were ever handed out, from the memory's beginning.
    used: u64,
    /// Freed pieces by number of pages.
    free: BTreeMap<u64, Vec<u64>>,
}

impl PageAllocator {
    /// Takes pages; where they begin, from the memory's beginning.
    pub fn take(&mut self, pages: u64) -> u64 {
        if let Some(offset) = self.free.get_mut(&pages).and_then(Vec::pop) {
            return offset;
        }
        let offset = self.used;
        self.used += pages * PAGE_SIZE;
        offset
    }

    /// Gives pages back.
    pub fn give(&mut self, offset: u64, pages: u64) {
        self.free.entry(pages).or_default().push(offset);
    }

    /// Bytes that were ever handed out: the memory must have as many.
    pub fn used(&self) -> u64 {
        self.used
    }
}

/// Memory that host and controller share.
pub trait DmaMemory {
    /// Takes page-aligned pages, zeroed or used before.
    fn take_pages(&mut self, pages: u64) -> u64;

    /// Gives pages back.
    fn give_pages(&mut self, address: u64, pages: u64);

    /// Writes bytes that were taken.
    fn put(&mut self, address: u64, bytes: &[u8]);

    /// Reads bytes that were taken.
    fn get(&self, address: u64, into: &mut [u8]);

    /// Allocates a buffer of at least one page; its contents are whatever was there.
    fn allocate(&mut self, len: u64) -> Buffer {
        let pages = len.div_ceil(PAGE_SIZE).max(1);
        let list = if pages > 2 { self.take_pages(list_pages(pages)) } else { 0 };
        Buffer { address: self.take_pages(pages), len, list }
    }

    /// Gives a buffer back.
    fn release(&mut self, buffer: Buffer) {
        let pages = buffer.len.div_ceil(PAGE_SIZE).max(1);
        self.give_pages(buffer.address, pages);
        if buffer.list != 0 {
            self.give_pages(buffer.list, list_pages(pages));
        }
    }

    /// PRP entries for the first `len` bytes of a buffer, the list written if one is needed.
    fn prps(&mut self, buffer: &Buffer, len: u64) -> (u64, u64) {
        let pages = len.div_ceil(PAGE_SIZE);
        let page = |n: u64| buffer.address + n * PAGE_SIZE;
        match pages {
            0 | 1 => (buffer.address, 0),
            2 => (buffer.address, page(1)),
            _ => {
                let entries: Vec<u64> = (1..pages).map(page).collect();
                self.put_prp_list(buffer.list, &entries);
                (buffer.address, buffer.list)
            }
        }
    }

    /// Writes a PRP list over consecutive list pages; the last entry of a full list page leads to
    /// the next.
    fn put_prp_list(&mut self, list: u64, entries: &[u64]) {
        let (mut at, mut done) = (list, 0);
        while done < entries.len() {
            let is_page_end = (at + 8).is_multiple_of(PAGE_SIZE);
            if is_page_end && entries.len() - done > 1 {
                self.put(at, &(at + 8).to_le_bytes());
            } else {
                self.put(at, &entries[done].to_le_bytes());
                done += 1;
            }
            at += 8;
        }
    }

    /// Writes an SGL from `list` on, in segments as long as `segment_lens` says, the last taking the
    /// rest; returns the descriptor that leads to it.
    fn put_sgl(
        &mut self,
        list: u64,
        descriptors: &[SglDescriptor],
        segment_lens: &[usize],
    ) -> SglDescriptor {
        let (mut rest, mut at) = (descriptors, list);
        let mut parts: Vec<&[SglDescriptor]> = Vec::new();
        for len in segment_lens.iter().copied().filter(|len| *len > 0) {
            if rest.len() <= len {
                break;
            }
            let (part, tail) = rest.split_at(len);
            parts.push(part);
            rest = tail;
        }
        parts.push(rest);
        let lead = |n: usize, parts: &[&[SglDescriptor]], at: u64| {
            let is_last = n + 1 == parts.len();
            let count = parts[n].len() + usize::from(!is_last);
            let kind = if is_last { sgl_type::LAST_SEGMENT } else { sgl_type::SEGMENT };
            SglDescriptor::new(kind, at, (count * SglDescriptor::SIZE) as u32)
        };
        let first = lead(0, &parts, at);
        for n in 0..parts.len() {
            self.put(at, parts[n].as_bytes());
            at += (parts[n].len() * SglDescriptor::SIZE) as u64;
            if n + 1 < parts.len() {
                let next = at + SglDescriptor::SIZE as u64;
                self.put(at, lead(n + 1, &parts, next).as_bytes());
                at = next;
            }
        }
        first
    }
}

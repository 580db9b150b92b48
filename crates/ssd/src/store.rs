//! Page data. Contents are kept by logical page: garbage collection moves pages in the model of
//! the flash without moving bytes, and a mapping fault is caught by the reverse map instead.

use crate::mapping::{Lpn, SparseTable};

/// Pages allocated at once.
const SLAB_PAGES: u32 = 64;

/// Contents of every page that was ever written, in host memory.
#[derive(Debug)]
pub struct PageStore {
    slots: SparseTable,
    slabs: Vec<Box<[u8]>>,
    /// Slots handed out so far, and those given back.
    used: u32,
    free: Vec<u32>,
    page_bytes: usize,
}

impl PageStore {
    /// An empty store.
    pub fn new(logical_pages: u32, page_bytes: u32) -> Self {
        let page_bytes = page_bytes as usize;
        Self {
            slots: SparseTable::new(logical_pages),
            slabs: Vec::new(),
            used: 0,
            free: Vec::new(),
            page_bytes,
        }
    }

    /// A page's contents; `None` if it was never written (it reads as zeroes).
    #[inline]
    pub fn page(&self, lpn: Lpn) -> Option<&[u8]> {
        let slot = self.slots.get(lpn.0)?;
        let at = (slot % SLAB_PAGES) as usize * self.page_bytes;
        Some(&self.slabs[(slot / SLAB_PAGES) as usize][at..at + self.page_bytes])
    }

    /// A page's contents for writing; zeroes if it was never written.
    #[inline]
    pub fn page_mut(&mut self, lpn: Lpn) -> &mut [u8] {
        let slot = self.slots.get(lpn.0).unwrap_or_else(|| self.allocate(lpn));
        let at = (slot % SLAB_PAGES) as usize * self.page_bytes;
        &mut self.slabs[(slot / SLAB_PAGES) as usize][at..at + self.page_bytes]
    }

    /// Forgets the contents of `count` pages from `first` on: they read as zeroes.
    pub fn remove(&mut self, first: Lpn, count: u32) {
        let free = &mut self.free;
        self.slots.remove(first.0, count, |slot| free.push(slot));
        if self.free.len() == self.used as usize {
            (self.slabs, self.free, self.used) = (Vec::new(), Vec::new(), 0);
        }
    }

    #[cold]
    fn allocate(&mut self, lpn: Lpn) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.slots.set(lpn.0, slot);
            let at = (slot % SLAB_PAGES) as usize * self.page_bytes;
            self.slabs[(slot / SLAB_PAGES) as usize][at..at + self.page_bytes].fill(0);
            return slot;
        }
        let slot = self.used;
        self.used += 1;
        if slot.is_multiple_of(SLAB_PAGES) {
            let bytes = SLAB_PAGES as usize * self.page_bytes;
            self.slabs.push(vec![0; bytes].into_boxed_slice());
        }
        self.slots.set(lpn.0, slot);
        slot
    }

    /// Bytes of page data held.
    pub fn used_bytes(&self) -> u64 {
        (u64::from(self.used) - self.free.len() as u64) * self.page_bytes as u64
    }
}

//! Logical to physical page map, and the sparse table under it and under the page store.

/// A logical page number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Lpn(pub u32);

/// A physical page address: (plane x blocks per plane + block) x pages per block + page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ppa(pub u32);

const CHUNK_BITS: u32 = 10;
const CHUNK: usize = 1 << CHUNK_BITS;
const NONE: u32 = u32::MAX;

/// A table of `u32` that takes memory only where something was set, 4 KiB at a time.
#[derive(Debug)]
pub(crate) struct SparseTable {
    chunks: Vec<Option<Box<[u32; CHUNK]>>>,
}

impl SparseTable {
    pub(crate) fn new(len: u32) -> Self {
        let chunks = (len as usize).div_ceil(CHUNK);
        Self { chunks: vec![None; chunks] }
    }

    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<u32> {
        let chunk = self.chunks[(index >> CHUNK_BITS) as usize].as_deref()?;
        let value = chunk[index as usize % CHUNK];
        (value != NONE).then_some(value)
    }

    /// Sets an entry and returns what it held.
    #[inline]
    pub(crate) fn set(&mut self, index: u32, value: u32) -> Option<u32> {
        assert!(value != NONE, "{NONE:#x} marks an empty entry");
        let chunk = &mut self.chunks[(index >> CHUNK_BITS) as usize];
        let chunk = chunk.get_or_insert_with(|| Box::new([NONE; CHUNK]));
        let old = std::mem::replace(&mut chunk[index as usize % CHUNK], value);
        (old != NONE).then_some(old)
    }

    /// Empties `count` entries from `first` on and shows each that held something to `visit`. Costs
    /// time for chunks that exist, not for the length of the range.
    pub(crate) fn remove(&mut self, first: u32, count: u32, mut visit: impl FnMut(u32)) {
        let (mut at, end) = (first as usize, first as usize + count as usize);
        while at < end {
            let chunk_end = (at / CHUNK + 1) * CHUNK;
            if let Some(chunk) = self.chunks[at / CHUNK].as_deref_mut() {
                for entry in &mut chunk[at % CHUNK..at % CHUNK + chunk_end.min(end) - at] {
                    let old = std::mem::replace(entry, NONE);
                    if old != NONE {
                        visit(old);
                    }
                }
            }
            at = chunk_end;
        }
    }
}

/// The logical to physical page map.
#[derive(Debug)]
pub struct PageMap {
    table: SparseTable,
    mapped: u64,
}

impl PageMap {
    /// A map of `pages` logical pages, all unmapped.
    pub fn new(pages: u32) -> Self {
        Self { table: SparseTable::new(pages), mapped: 0 }
    }

    /// Where a logical page is.
    #[inline]
    pub fn get(&self, lpn: Lpn) -> Option<Ppa> {
        self.table.get(lpn.0).map(Ppa)
    }

    /// Maps a logical page; returns where it was.
    #[inline]
    pub fn set(&mut self, lpn: Lpn, ppa: Ppa) -> Option<Ppa> {
        let old = self.table.set(lpn.0, ppa.0).map(Ppa);
        self.mapped += u64::from(old.is_none());
        old
    }

    /// Unmaps `count` pages from `first` on; `visit` is told where each mapped one was.
    pub fn remove(&mut self, first: Lpn, count: u32, mut visit: impl FnMut(Ppa)) {
        let mapped = &mut self.mapped;
        self.table.remove(first.0, count, |ppa| {
            *mapped -= 1;
            visit(Ppa(ppa));
        });
    }

    /// Number of mapped pages.
    pub fn mapped(&self) -> u64 {
        self.mapped
    }
}

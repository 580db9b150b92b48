//! Pages that one operation programs: they are gathered before it begins.

use simtime::Instant;

use crate::address::Ppa;

/// Batches on their way to flash, by number. Their memory is used again.
#[derive(Clone, Debug)]
pub(crate) struct Batches<T> {
    all: Vec<Vec<T>>,
    free: Vec<u32>,
}

impl<T> Default for Batches<T> {
    fn default() -> Self {
        Self { all: Vec::new(), free: Vec::new() }
    }
}

impl<T> Batches<T> {
    /// An empty batch.
    pub(crate) fn open(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.all.push(Vec::new());
            self.all.len() as u32 - 1
        })
    }

    /// Adds a page; returns how many there are.
    #[inline]
    pub(crate) fn push(&mut self, batch: u32, page: T) -> u32 {
        let pages = &mut self.all[batch as usize];
        pages.push(page);
        pages.len() as u32
    }

    #[inline]
    pub(crate) fn pages(&self, batch: u32) -> &[T] {
        &self.all[batch as usize]
    }

    /// The pages of a batch. [`Self::close`] or [`Self::put_back`] follows.
    #[inline]
    pub(crate) fn take(&mut self, batch: u32) -> Vec<T> {
        std::mem::take(&mut self.all[batch as usize])
    }

    /// A batch that was taken goes on with these pages.
    pub(crate) fn put_back(&mut self, batch: u32, pages: Vec<T>) {
        self.all[batch as usize] = pages;
    }

    /// A batch that was taken is over: its memory is used again.
    #[inline]
    pub(crate) fn close(&mut self, batch: u32, mut pages: Vec<T>) {
        pages.clear();
        self.all[batch as usize] = pages;
        self.free.push(batch);
    }
}

/// A batch that pages are added to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gathering {
    pub(crate) batch: u32,
    /// Where its first page goes.
    pub(crate) ppa: Ppa,
    /// When it goes to flash though it is not full.
    pub(crate) due: Instant,
    /// Somebody waits for one of its pages.
    pub(crate) is_urgent: bool,
}

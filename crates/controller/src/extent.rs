//! Byte ranges of a namespace.

/// Bytes of a namespace, or of device memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Extent {
    pub(crate) start: u64,
    pub(crate) len: u64,
}

impl Extent {
    /// The first byte after it. It was checked against the namespace's size before.
    #[inline]
    pub(crate) fn end(&self) -> u64 {
        self.start + self.len
    }

    /// True if they share a byte.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end() && other.start < self.end()
    }
}

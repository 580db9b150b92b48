//! Pages that were read lately and are still in the drive's memory: reads of them take no flash.
//!
//! It knows times alone: bytes come from where they always come from. Whatever is written or deallocated leaves it, so that it never
//! says of new data that it was read.

use std::collections::BTreeMap;

use crate::address::Lpn;

/// The pages, the one that was read longest ago first (least recently used).
#[derive(Clone, Debug)]
pub(crate) struct ReadCache {
    pages_max: u64,
    /// When each was read, in reads; and the other way round.
    read_at: BTreeMap<u64, u64>,
    by_time: BTreeMap<u64, u64>,
    reads: u64,
}

impl ReadCache {
    pub(crate) fn new(pages_max: u64) -> Self {
        Self { pages_max, read_at: BTreeMap::new(), by_time: BTreeMap::new(), reads: 0 }
    }

    /// True if a page is there: it was read now.
    #[inline]
    pub(crate) fn has(&mut self, lpn: Lpn) -> bool {
        if self.pages_max == 0 || !self.read_at.contains_key(&lpn.0) {
            return false;
        }
        self.was_read(lpn);
        true
    }

    /// A page came from flash; another gives way to it.
    #[inline]
    pub(crate) fn was_read(&mut self, lpn: Lpn) {
        if self.pages_max == 0 {
            return;
        }
        self.reads += 1;
        if let Some(before) = self.read_at.insert(lpn.0, self.reads) {
            self.by_time.remove(&before);
        }
        self.by_time.insert(self.reads, lpn.0);
        if self.read_at.len() as u64 > self.pages_max
            && let Some((_, oldest)) = self.by_time.pop_first()
        {
            self.read_at.remove(&oldest);
        }
    }

    /// Pages have other contents from now on.
    #[inline]
    pub(crate) fn changed(&mut self, first: Lpn, count: u64) {
        if self.read_at.is_empty() {
            return;
        }
        while let Some((lpn, read_at)) =
            self.read_at.range(first.0..first.0 + count).next().map(|(lpn, at)| (*lpn, *at))
        {
            self.read_at.remove(&lpn);
            self.by_time.remove(&read_at);
        }
    }

    /// The drive lost its memory.
    pub(crate) fn clear(&mut self) {
        self.read_at.clear();
        self.by_time.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_longest_ago_gives_way() {
        let mut cache = ReadCache::new(2);
        [1, 2].into_iter().for_each(|lpn| cache.was_read(Lpn(lpn)));
        assert!(cache.has(Lpn(1)));
        cache.was_read(Lpn(3));
        assert!(cache.has(Lpn(1)) && !cache.has(Lpn(2)) && cache.has(Lpn(3)));
        cache.changed(Lpn(0), 2);
        assert!(!cache.has(Lpn(1)) && cache.has(Lpn(3)));
        cache.clear();
        assert!(!cache.has(Lpn(3)));
        let mut none = ReadCache::new(0);
        none.was_read(Lpn(1));
        assert!(!none.has(Lpn(1)));
    }
}

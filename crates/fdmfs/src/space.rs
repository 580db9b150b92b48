//! Which parts of device memory are free.

use std::collections::BTreeMap;

/// Files begin and end at multiples of this: whole blocks are copied into them, and page protection guards them
/// in programs.
pub(crate) const PAGE: u64 = 4096;

/// Free parts: length by start. Neighbours are one part.
#[derive(Debug)]
pub(crate) struct Space {
    free: BTreeMap<u64, u64>,
    total: u64,
}

impl Space {
    /// All of a memory of so many bytes, as far as it is whole pages.
    pub(crate) fn new(bytes: u64) -> Self {
        let total = bytes / PAGE * PAGE;
        let free = if total > 0 { BTreeMap::from([(0, total)]) } else { BTreeMap::new() };
        Self { free, total }
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn free(&self) -> u64 {
        self.free.values().sum()
    }

    /// Takes a part, the first that is long enough.
    pub(crate) fn take(&mut self, len: u64) -> Option<u64> {
        let (&start, &free) = self.free.iter().find(|(_, free)| **free >= len)?;
        self.free.remove(&start);
        if free > len {
            self.free.insert(start + len, free - len);
        }
        Some(start)
    }

    /// Makes a part that was taken longer, if what follows it is free.
    pub(crate) fn extend(&mut self, start: u64, len: u64, new_len: u64) -> bool {
        let (end, more) = (start + len, new_len - len);
        match self.free.get(&end).copied() {
            Some(free) if free >= more => {
                self.free.remove(&end);
                if free > more {
                    self.free.insert(end + more, free - more);
                }
                true
            }
            _ => false,
        }
    }

    /// Gives a part back.
    pub(crate) fn give(&mut self, start: u64, len: u64) {
        if len == 0 {
            return;
        }
        let (mut start, mut len) = (start, len);
        if let Some(following) = self.free.remove(&(start + len)) {
            len += following;
        }
        if let Some((&before, &free)) = self.free.range(..start).next_back()
            && before + free == start
        {
            self.free.remove(&before);
            start = before;
            len += free;
        }
        self.free.insert(start, len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_taken_extended_and_joined_again() {
        let mut space = Space::new(10 * PAGE + 7);
        assert_eq!((space.total(), space.free()), (10 * PAGE, 10 * PAGE));
        let [a, b, c] = [2, 3, 4].map(|pages| space.take(pages * PAGE).unwrap());
        assert_eq!((a, b, c), (0, 2 * PAGE, 5 * PAGE));
        assert_eq!(space.take(2 * PAGE), None);
        assert!(!space.extend(b, 3 * PAGE, 4 * PAGE) && space.extend(c, 4 * PAGE, 5 * PAGE));
        assert_eq!(space.free(), 0);
        space.give(a, 2 * PAGE);
        space.give(c, 5 * PAGE);
        assert_eq!(space.take(6 * PAGE), None);
        space.give(b, 3 * PAGE);
        assert_eq!(space.take(10 * PAGE), Some(0));
    }
}

//! Logical to physical page map.
//!
//! Pages that were never written take no memory. Written ones take six to sixteen bytes wherever they lie: a part of the
//! map that is thinly written is a sorted list, one that is densely written an array.

use crate::address::{Lpn, Ppa};
use crate::config::Geometry;

/// Where the current data of a page is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Location {
    /// In flash.
    Flash(Ppa),
    /// In this slot of the cache, where newer bytes than those in flash wait.
    Cache(u32),
}

const LEAF_BITS: u32 = 12;
const LEAF_PAGES: usize = 1 << LEAF_BITS;
/// Leaves that are counted together.
const GROUP_LEAVES: u64 = 512;
const GROUP_PAGES: u64 = GROUP_LEAVES << LEAF_BITS;
/// A leaf with more entries becomes an array.
const LIST_MAX: usize = LEAF_PAGES / 4;
/// Places that a growing list gains at once.
const LIST_STEP: usize = 4;

/// A location in as many bits as the geometry needs.
trait Word: Copy + PartialEq + core::fmt::Debug {
    const NONE: Self;
    fn encode(location: Location) -> Self;
    fn decode(self) -> Location;
}

macro_rules! word {
    ($type:ty) => {
        impl Word for $type {
            const NONE: Self = Self::MAX;

            #[inline]
            fn encode(location: Location) -> Self {
                const CACHE: $type = 1 << (<$type>::BITS - 1);
                match location {
                    Location::Flash(ppa) => ppa.0 as Self,
                    Location::Cache(slot) => CACHE | slot as Self,
                }
            }

            #[inline]
            fn decode(self) -> Location {
                const CACHE: $type = 1 << (<$type>::BITS - 1);
                if self & CACHE == 0 {
                    Location::Flash(Ppa(self.into()))
                } else {
                    Location::Cache((self ^ CACHE) as u32)
                }
            }
        }
    };
}

word!(u32);
word!(u64);

#[derive(Clone, Copy, Debug)]
#[repr(C, packed)]
struct Entry<W: Copy> {
    index: u16,
    word: W,
}

/// The map of neighbouring pages.
#[derive(Clone, Debug)]
enum Leaf<W: Copy> {
    /// In ascending order.
    List(Vec<Entry<W>>),
    /// Every page, and how many of them are mapped.
    Array(Box<[W]>, u32),
}

impl<W: Word> Leaf<W> {
    #[inline]
    fn get(&self, index: usize) -> W {
        match self {
            Self::Array(words, _) => words[index],
            Self::List(list) => match list.binary_search_by_key(&(index as u16), |e| e.index) {
                Ok(at) => list[at].word,
                Err(_) => W::NONE,
            },
        }
    }

    /// Sets an entry and returns what it held.
    #[inline]
    fn set(&mut self, index: usize, word: W) -> W {
        match self {
            Self::Array(words, mapped) => {
                let old = core::mem::replace(&mut words[index], word);
                *mapped += u32::from(old == W::NONE);
                old
            }
            Self::List(_) => self.set_in_list(index, word),
        }
    }

    fn set_in_list(&mut self, index: usize, word: W) -> W {
        let Self::List(list) = self else { unreachable!("an array has a way of its own") };
        match list.binary_search_by_key(&(index as u16), |e| e.index) {
            Ok(at) => {
                return core::mem::replace(&mut list[at], Entry { index: index as u16, word }).word;
            }
            Err(at) if list.len() < LIST_MAX => {
                if list.len() == list.capacity() {
                    list.reserve_exact(LIST_STEP.max(list.len() / 8));
                }
                list.insert(at, Entry { index: index as u16, word });
            }
            Err(_) => {
                let mut words = vec![W::NONE; LEAF_PAGES].into_boxed_slice();
                for entry in list.iter() {
                    words[usize::from(entry.index)] = entry.word;
                }
                words[index] = word;
                let mapped = list.len() as u32 + 1;
                *self = Self::Array(words, mapped);
            }
        }
        W::NONE
    }

    /// Empties entries and shows each that held something.
    fn remove(&mut self, range: core::ops::Range<usize>, mut visit: impl FnMut(usize, W)) {
        match self {
            Self::List(list) => {
                let at = |index: usize| list.partition_point(|e| usize::from(e.index) < index);
                for entry in list.drain(at(range.start)..at(range.end)) {
                    visit(entry.index.into(), entry.word);
                }
            }
            Self::Array(words, mapped) => {
                for index in range {
                    let old = core::mem::replace(&mut words[index], W::NONE);
                    if old != W::NONE {
                        *mapped -= 1;
                        visit(index, old);
                    }
                }
            }
        }
    }

    /// Entries of a range that hold something.
    fn mapped_among(&self, range: core::ops::Range<usize>) -> u64 {
        match self {
            Self::List(list) => {
                let at = |index: usize| list.partition_point(|e| usize::from(e.index) < index);
                (at(range.end) - at(range.start)) as u64
            }
            Self::Array(_, mapped) if range.len() == LEAF_PAGES => u64::from(*mapped),
            Self::Array(words, _) => words[range].iter().filter(|w| **w != W::NONE).count() as u64,
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::List(list) => list.is_empty(),
            Self::Array(_, mapped) => *mapped == 0,
        }
    }
}

/// Leaves that exist, found by page number.
#[derive(Clone, Debug)]
struct Tree<W: Copy> {
    /// Number of the leaf plus one; 0 = none. Memory that was never touched costs nothing.
    directory: Vec<u32>,
    /// Mapped pages of as many neighbouring leaves as [`GROUP_LEAVES`].
    groups: Vec<u32>,
    leaves: Vec<Leaf<W>>,
    free: Vec<u32>,
}

impl<W: Word> Tree<W> {
    fn new(pages: u64) -> Self {
        let directory = vec![0; pages.div_ceil(LEAF_PAGES as u64) as usize];
        let groups = vec![0; pages.div_ceil(GROUP_PAGES) as usize];
        Self { directory, groups, leaves: Vec::new(), free: Vec::new() }
    }

    #[inline]
    fn get(&self, page: u64) -> Option<Location> {
        let leaf = self.directory.get((page >> LEAF_BITS) as usize)?.checked_sub(1)?;
        let word = self.leaves[leaf as usize].get(page as usize % LEAF_PAGES);
        (word != W::NONE).then(|| word.decode())
    }

    #[inline]
    fn set(&mut self, page: u64, location: Location) -> Option<Location> {
        let leaf = match self.directory[(page >> LEAF_BITS) as usize].checked_sub(1) {
            Some(leaf) => leaf,
            None => self.add_leaf(page),
        };
        let old = self.leaves[leaf as usize].set(page as usize % LEAF_PAGES, W::encode(location));
        if old == W::NONE {
            self.groups[(page / GROUP_PAGES) as usize] += 1;
            return None;
        }
        Some(old.decode())
    }

    #[cold]
    fn add_leaf(&mut self, page: u64) -> u32 {
        let leaf = self.free.pop().unwrap_or_else(|| {
            self.leaves.push(Leaf::List(Vec::new()));
            self.leaves.len() as u32 - 1
        });
        self.directory[(page >> LEAF_BITS) as usize] = leaf + 1;
        leaf
    }

    fn mapped_among(&self, first: u64, count: u64) -> u64 {
        let (mut page, end, mut mapped) = (first, first + count, 0);
        while page < end {
            if page.is_multiple_of(GROUP_PAGES) && end - page >= GROUP_PAGES {
                mapped += u64::from(self.groups[(page / GROUP_PAGES) as usize]);
                page += GROUP_PAGES;
                continue;
            }
            let leaf_start = page >> LEAF_BITS << LEAF_BITS;
            let leaf_end = (leaf_start + LEAF_PAGES as u64).min(end);
            if let Some(leaf) = self.directory[(page >> LEAF_BITS) as usize].checked_sub(1) {
                let range = (page - leaf_start) as usize..(leaf_end - leaf_start) as usize;
                mapped += self.leaves[leaf as usize].mapped_among(range);
            }
            page = leaf_end;
        }
        mapped
    }

    fn remove(&mut self, first: u64, count: u64, mut visit: impl FnMut(Lpn, Location)) {
        let (mut page, end) = (first, first + count);
        while page < end {
            let leaf_start = page >> LEAF_BITS << LEAF_BITS;
            let leaf_end = (leaf_start + LEAF_PAGES as u64).min(end);
            if let Some(leaf) = self.directory[(page >> LEAF_BITS) as usize].checked_sub(1) {
                let range = (page - leaf_start) as usize..(leaf_end - leaf_start) as usize;
                let tree = &mut self.leaves[leaf as usize];
                let group = &mut self.groups[(page / GROUP_PAGES) as usize];
                tree.remove(range, |index, word| {
                    *group -= 1;
                    visit(Lpn(leaf_start + index as u64), word.decode());
                });
                if tree.is_empty() {
                    *tree = Leaf::List(Vec::new());
                    self.directory[(page >> LEAF_BITS) as usize] = 0;
                    self.free.push(leaf);
                }
            }
            page = leaf_end;
        }
    }
}

#[derive(Clone, Debug)]
enum Words {
    Narrow(Tree<u32>),
    Wide(Tree<u64>),
}

/// The logical to physical page map.
#[derive(Clone, Debug)]
pub struct PageMap {
    words: Words,
    mapped: u64,
}

impl PageMap {
    /// The map of an empty drive.
    pub fn new(geometry: &Geometry) -> Self {
        let pages = geometry.logical_pages;
        // One bit says whether a page is in the cache, and one value that it is nowhere.
        let is_narrow = geometry.layout.bits < u32::BITS;
        let words =
            if is_narrow { Words::Narrow(Tree::new(pages)) } else { Words::Wide(Tree::new(pages)) };
        Self { words, mapped: 0 }
    }

    /// Where a page is; `None` if it was never written, or deallocated since, or there is no such page.
    #[inline]
    pub fn get(&self, lpn: Lpn) -> Option<Location> {
        match &self.words {
            Words::Narrow(tree) => tree.get(lpn.0),
            Words::Wide(tree) => tree.get(lpn.0),
        }
    }

    /// Says where a page is; returns where it was.
    #[inline]
    pub fn set(&mut self, lpn: Lpn, location: Location) -> Option<Location> {
        let old = match &mut self.words {
            Words::Narrow(tree) => tree.set(lpn.0, location),
            Words::Wide(tree) => tree.set(lpn.0, location),
        };
        self.mapped += u64::from(old.is_none());
        old
    }

    /// Unmaps `count` pages from `first` on; `visit` is told where each mapped one was. Costs time for what is mapped, not
    /// for the length of the range.
    pub fn remove(&mut self, first: Lpn, count: u64, mut visit: impl FnMut(Lpn, Location)) {
        let mapped = &mut self.mapped;
        let visit = |lpn, location| {
            *mapped -= 1;
            visit(lpn, location);
        };
        match &mut self.words {
            Words::Narrow(tree) => tree.remove(first.0, count, visit),
            Words::Wide(tree) => tree.remove(first.0, count, visit),
        }
    }

    /// Number of mapped pages among `count` pages from `first` on.
    pub fn mapped_among(&self, first: Lpn, count: u64) -> u64 {
        match &self.words {
            Words::Narrow(tree) => tree.mapped_among(first.0, count),
            Words::Wide(tree) => tree.mapped_among(first.0, count),
        }
    }

    /// Number of mapped pages.
    pub fn mapped(&self) -> u64 {
        self.mapped
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use simtime::Prng;

    use super::*;
    use crate::config::Config;

    #[test]
    fn map_holds_what_was_set_thin_and_dense_narrow_and_wide() {
        for capacity_bytes in [64 << 20, 1 << 40, 32 << 40] {
            let geometry = Geometry::new(&Config { capacity_bytes, ..Config::default() }).unwrap();
            let (mut map, mut expected) = (PageMap::new(&geometry), BTreeMap::new());
            let mut prng = Prng::new(capacity_bytes);
            // A few thousand pages near one place, so that leaves change their form, and some everywhere.
            let centre = geometry.logical_pages / 2;
            for n in 0..40_000u64 {
                let near =
                    (centre + prng.below(3 * LEAF_PAGES as u64)).min(geometry.logical_pages - 1);
                let lpn = if n % 10 == 0 { prng.below(geometry.logical_pages) } else { near };
                let location = if n % 3 == 0 {
                    Location::Cache(n as u32)
                } else {
                    Location::Flash(Ppa(n * 77))
                };
                if prng.below(200) == 0 {
                    let count = prng.below(2000).min(geometry.logical_pages - lpn);
                    let mut removed = BTreeMap::new();
                    map.remove(Lpn(lpn), count, |lpn, location| {
                        removed.insert(lpn.0, location);
                    });
                    let gone: Vec<u64> =
                        expected.range(lpn..lpn + count).map(|(&lpn, _)| lpn).collect();
                    let gone: BTreeMap<u64, Location> =
                        gone.into_iter().map(|lpn| (lpn, expected.remove(&lpn).unwrap())).collect();
                    assert_eq!(removed, gone);
                }
                assert_eq!(map.set(Lpn(lpn), location), expected.insert(lpn, location));
                assert_eq!(map.mapped(), expected.len() as u64);
                if n % 1000 == 0 {
                    let count = prng.below(geometry.logical_pages - lpn);
                    let among = expected.range(lpn..lpn + count).count() as u64;
                    assert_eq!(map.mapped_among(Lpn(lpn), count), among);
                }
            }
            for (&lpn, &location) in &expected {
                assert_eq!(map.get(Lpn(lpn)), Some(location));
            }
            map.remove(Lpn(0), geometry.logical_pages, |_, _| {});
            assert_eq!((map.mapped(), map.get(Lpn(centre))), (0, None));
        }
    }
}

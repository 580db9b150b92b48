//! Pages of the flash, or of memory: which are free, and where those of a namespace lie.
//!
//! A namespace has as many pages as its size needs, in one run if there is one, else in several, the longest first.

use std::collections::BTreeMap;
use std::sync::Arc;

use ssd::Lpn;

use crate::limits::NAMESPACE_RUNS_MAX;

/// Pages of a namespace that are neighbours in flash too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    /// The first one's number in the namespace.
    pub(crate) page: u64,
    /// The first one's number in flash.
    pub(crate) lpn: u64,
    pub(crate) count: u64,
}

impl Run {
    pub(crate) fn new(page: u64, lpn: u64, count: u64) -> Self {
        Self { page, lpn, count }
    }
}

/// Where the pages of a namespace lie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Placement {
    /// From here on, one after the other.
    One(Run),
    /// In runs, ascending by page.
    Several(Arc<[Run]>),
}

impl Placement {
    /// The logical page of the flash for a page of the namespace.
    #[inline]
    pub(crate) fn lpn(&self, page: u64) -> Lpn {
        match self {
            Self::One(run) => Lpn(run.lpn + page),
            Self::Several(runs) => {
                let run = &runs[runs.partition_point(|run| run.page <= page) - 1];
                Lpn(run.lpn + (page - run.page))
            }
        }
    }

    /// Where pages lie, in runs ascending by page.
    pub(crate) fn new(runs: &[Run]) -> Self {
        match runs {
            [run] => Self::One(*run),
            runs => Self::Several(runs.into()),
        }
    }

    pub(crate) fn runs(&self) -> &[Run] {
        match self {
            Self::One(run) => std::slice::from_ref(run),
            Self::Several(runs) => runs,
        }
    }

    /// The logical pages of the flash for `count` pages from `first` on: where neighbours begin, and how many they are.
    pub(crate) fn pieces(&self, first: u64, count: u64) -> impl Iterator<Item = (Lpn, u64)> + '_ {
        let end = first + count;
        let runs = self.runs();
        let begin = runs.partition_point(|run| run.page + run.count <= first);
        runs[begin..].iter().take_while(move |run| run.page < end).map(move |run| {
            let (from, to) = (first.max(run.page), end.min(run.page + run.count));
            (Lpn(run.lpn + (from - run.page)), to - from)
        })
    }
}

/// Free pages.
#[derive(Debug)]
pub(crate) struct PageSpace {
    /// Length of each free run by its first page.
    free: BTreeMap<u64, u64>,
}

impl PageSpace {
    /// All pages are free.
    pub(crate) fn new(pages: u64) -> Self {
        Self { free: BTreeMap::from([(0, pages)]) }
    }

    pub(crate) fn free_pages(&self) -> u64 {
        self.free.values().sum()
    }

    /// Free runs: where each begins, and how many pages it has.
    pub(crate) fn free_runs(&self) -> impl Iterator<Item = (Lpn, u64)> + '_ {
        self.free.iter().map(|(&lpn, &count)| (Lpn(lpn), count))
    }

    /// Takes pages; `None` if fewer are free, or they lie in too many pieces.
    pub(crate) fn allocate(&mut self, pages: u64) -> Option<Placement> {
        if let Some((&lpn, _)) = self.free.iter().find(|(_, count)| **count >= pages) {
            self.take(lpn, pages);
            return Some(Placement::One(Run { page: 0, lpn, count: pages }));
        }
        let mut longest: Vec<(u64, u64)> = self.free.iter().map(|(&lpn, &n)| (n, lpn)).collect();
        longest.sort_unstable_by(|a, b| b.cmp(a));
        longest.truncate(NAMESPACE_RUNS_MAX);
        if longest.iter().map(|(count, _)| count).sum::<u64>() < pages {
            return None;
        }
        let (mut runs, mut page) = (Vec::new(), 0);
        for (count, lpn) in longest {
            let count = count.min(pages - page);
            if count == 0 {
                break;
            }
            self.take(lpn, count);
            runs.push(Run { page, lpn, count });
            page += count;
        }
        Some(Placement::Several(runs.into()))
    }

    /// Takes pages in one run: the first one's number; `None` if there is none so long.
    pub(crate) fn allocate_run(&mut self, pages: u64) -> Option<u64> {
        let (&first, _) = self.free.iter().find(|(_, count)| **count >= pages)?;
        self.take(first, pages);
        Some(first)
    }

    /// Takes these pages; false if some of them are not free.
    pub(crate) fn take_at(&mut self, lpn: u64, count: u64) -> bool {
        let Some((&first, &len)) = self.free.range(..=lpn).next_back() else { return false };
        let end = first + len;
        if lpn + count > end {
            return false;
        }
        self.free.remove(&first);
        for (first, end) in [(first, lpn), (lpn + count, end)] {
            if end > first {
                self.free.insert(first, end - first);
            }
        }
        true
    }

    /// Takes the first pages of a free run.
    fn take(&mut self, lpn: u64, count: u64) {
        let free = self.free.remove(&lpn).expect("the run was found");
        if free > count {
            self.free.insert(lpn + count, free - count);
        }
    }

    /// Gives a namespace's pages back.
    pub(crate) fn release(&mut self, placement: &Placement) {
        placement.runs().iter().for_each(|run| self.release_run(run.lpn, run.count));
    }

    /// Gives a run of pages back.
    pub(crate) fn release_run(&mut self, mut first: u64, mut count: u64) {
        if let Some((&before, &len)) = self.free.range(..first).next_back()
            && before + len == first
        {
            self.free.remove(&before);
            (first, count) = (before, len + count);
        }
        if let Some(len) = self.free.remove(&(first + count)) {
            count += len;
        }
        self.free.insert(first, count);
    }
}

#[cfg(test)]
mod tests {
    use simtime::Prng;

    use super::*;

    #[test]
    fn every_page_has_one_owner_however_namespaces_come_and_go() {
        const PAGES: u64 = 1000;
        let mut prng = Prng::new(15);
        let (mut space, mut placed) = (PageSpace::new(PAGES), Vec::<(Placement, u64)>::new());
        for _ in 0..5000 {
            if prng.below(2) == 0 && !placed.is_empty() {
                let (placement, _) = placed.swap_remove(prng.below(placed.len() as u64) as usize);
                space.release(&placement);
            } else {
                let pages = 1 + prng.below(300);
                let is_enough = space.free_pages() >= pages;
                let placement = space.allocate(pages);
                assert_eq!(
                    placement.is_some(),
                    is_enough,
                    "free pages are enough, wherever they lie"
                );
                placed.extend(placement.map(|placement| (placement, pages)));
            }
            let mut owned = vec![false; PAGES as usize];
            for (placement, pages) in &placed {
                let (first, count) = (pages / 3, pages - pages / 3);
                let pieces: Vec<u64> = placement
                    .pieces(first, count)
                    .flat_map(|(lpn, count)| lpn.0..lpn.0 + count)
                    .collect();
                let single: Vec<u64> = (first..*pages).map(|page| placement.lpn(page).0).collect();
                assert_eq!(pieces, single);
                for page in 0..*pages {
                    let lpn = placement.lpn(page).0 as usize;
                    assert!(!std::mem::replace(&mut owned[lpn], true), "page {lpn} has two owners");
                }
            }
            let used = owned.iter().filter(|owned| **owned).count() as u64;
            assert_eq!(used + space.free_pages(), PAGES);
        }
        placed.iter().for_each(|(placement, _)| space.release(placement));
        assert_eq!(space.free, BTreeMap::from([(0, PAGES)]), "free runs that touch are one");
    }
}

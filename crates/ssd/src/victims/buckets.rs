//! Blocks by their number of valid pages: a doubly linked list for each number, so that every operation takes constant
//! time.

use simtime::Instant;

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Link {
    previous: u32,
    next: u32,
    valid: u32,
    since: Instant,
}

#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

/// Closed blocks of a plane. Within a list they stand in the order in which they came to have that number of valid pages.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    pages_per_block: u32,
    /// By block.
    links: Vec<Link>,
    /// By valid pages; empty until a block is closed.
    lists: Vec<List>,
    /// A bit for each list that is not empty.
    occupied: Vec<u64>,
}

impl Buckets {
    pub(super) fn new(pages_per_block: u32) -> Self {
        Self { pages_per_block, links: Vec::new(), lists: Vec::new(), occupied: Vec::new() }
    }

    pub(super) fn insert(&mut self, block: u32, valid: u32, now: Instant) {
        if self.lists.is_empty() {
            let count = self.pages_per_block as usize + 1;
            self.lists = vec![List { first: NONE, last: NONE }; count];
            self.occupied = vec![0; count.div_ceil(64)];
        }
        if self.links.len() <= block as usize {
            let link = Link { previous: NONE, next: NONE, valid: 0, since: now };
            self.links.resize(block as usize + 1, link);
        }
        let list = &mut self.lists[valid as usize];
        let previous = std::mem::replace(&mut list.last, block);
        if previous == NONE {
            list.first = block;
            self.occupied[valid as usize / 64] |= 1 << (valid % 64);
        } else {
            self.links[previous as usize].next = block;
        }
        self.links[block as usize] = Link { previous, next: NONE, valid, since: now };
    }

    pub(super) fn remove(&mut self, block: u32) {
        let Link { previous, next, valid, .. } = self.links[block as usize];
        let list = &mut self.lists[valid as usize];
        match previous {
            NONE => list.first = next,
            previous => self.links[previous as usize].next = next,
        }
        match next {
            NONE => list.last = previous,
            next => self.links[next as usize].previous = previous,
        }
        if self.lists[valid as usize].first == NONE {
            self.occupied[valid as usize / 64] &= !(1 << (valid % 64));
        }
    }

    /// Numbers of valid pages that some block has, ascending, up to `valid_max`; for each the block that has had it longest,
    /// and since when.
    pub(super) fn oldest(&self, valid_max: u32) -> impl Iterator<Item = (u32, u32, Instant)> + '_ {
        let words = self.occupied.iter().enumerate();
        let bits = words.flat_map(|(n, &word)| {
            std::iter::successors(Some(word), |rest| Some(rest & rest.wrapping_sub(1)))
                .take_while(|rest| *rest != 0)
                .map(move |rest| n as u32 * 64 + rest.trailing_zeros())
        });
        bits.take_while(move |valid| *valid <= valid_max).map(|valid| {
            let block = self.lists[valid as usize].first;
            (valid, block, self.links[block as usize].since)
        })
    }
}

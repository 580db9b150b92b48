//! Blocks: which are free, open or full; what each page holds; how many pages are valid.

use std::collections::VecDeque;

use crate::config::Geometry;
use crate::mapping::{Lpn, Ppa};

const NO_LPN: u32 = u32::MAX;

/// Who a page is written for: each has a write frontier of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Frontier {
    User,
    Gc,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Free,
    Open,
    Full,
    /// Being collected or erased.
    Victim,
}

#[derive(Debug)]
struct Block {
    state: State,
    /// Pages handed out, from 0.
    written: u32,
    /// Pages whose program operation is done, from 0; the rest are still in the write buffer.
    programmed: u32,
    erases: u32,
    /// Reverse map: the logical page each page was written with. Allocated at first use.
    lpns: Option<Box<[u32]>>,
    /// One bit for each page that holds current data: collection scans it instead of asking the
    /// map about every page. Allocated with `lpns`.
    valid: Box<[u64]>,
}

#[derive(Debug, Default)]
struct Plane {
    open: [Option<u32>; 2],
    /// Blocks at and above this were never used.
    fresh_from: u32,
    erased: VecDeque<u32>,
}

/// Every block of the drive.
#[derive(Debug)]
pub(crate) struct Blocks {
    geometry: Geometry,
    planes: Vec<Plane>,
    blocks: Vec<Block>,
    /// Valid pages by block, apart from [`Block`] because victim selection scans it.
    valid: Vec<u32>,
}

impl Blocks {
    pub(crate) fn new(geometry: Geometry) -> Self {
        let count = geometry.planes as usize * geometry.blocks_per_plane as usize;
        let new = || Block {
            state: State::Free,
            written: 0,
            programmed: 0,
            erases: 0,
            lpns: None,
            valid: Box::default(),
        };
        Self {
            geometry,
            planes: (0..geometry.planes).map(|_| Plane::default()).collect(),
            blocks: (0..count).map(|_| new()).collect(),
            valid: vec![0; count],
        }
    }

    /// Block number over the whole drive, and page in it.
    #[inline]
    fn split(&self, ppa: Ppa) -> (usize, u32) {
        let block = ppa.0 / self.geometry.pages_per_block;
        (block as usize, ppa.0 % self.geometry.pages_per_block)
    }

    #[inline]
    pub(crate) fn plane_of(&self, ppa: Ppa) -> u32 {
        ppa.0 / (self.geometry.pages_per_block * self.geometry.blocks_per_plane)
    }

    pub(crate) fn block_of(&self, ppa: Ppa) -> u32 {
        ppa.0 / self.geometry.pages_per_block
    }

    /// True for the first page of a block.
    pub(crate) fn is_first_page(&self, ppa: Ppa) -> bool {
        ppa.0.is_multiple_of(self.geometry.pages_per_block)
    }

    /// Free blocks of a plane.
    pub(crate) fn free(&self, plane: u32) -> u32 {
        let plane = &self.planes[plane as usize];
        plane.erased.len() as u32 + self.geometry.blocks_per_plane - plane.fresh_from
    }

    /// The next page of a plane's frontier, already holding `lpn`; `None` if the plane has no
    /// block that this frontier may open.
    pub(crate) fn allocate(&mut self, plane: u32, frontier: Frontier, lpn: Lpn) -> Option<Ppa> {
        let block = match self.planes[plane as usize].open[frontier as usize] {
            Some(block) => block,
            None => self.open_block(plane, frontier)?,
        };
        let per_block = self.geometry.pages_per_block;
        let state = &mut self.blocks[block as usize];
        let page = state.written;
        let lpns = state.lpns.get_or_insert_with(|| {
            state.valid = vec![0; (per_block as usize).div_ceil(64)].into();
            vec![NO_LPN; per_block as usize].into()
        });
        lpns[page as usize] = lpn.0;
        state.valid[page as usize / 64] |= 1 << (page % 64);
        state.written += 1;
        self.valid[block as usize] += 1;
        if state.written == per_block {
            state.state = State::Full;
            self.planes[plane as usize].open[frontier as usize] = None;
        }
        Some(Ppa(block * per_block + page))
    }

    fn open_block(&mut self, plane: u32, frontier: Frontier) -> Option<u32> {
        let reserve = if frontier == Frontier::User { self.geometry.gc_reserve_blocks } else { 0 };
        if self.free(plane) <= reserve {
            return None;
        }
        let state = &mut self.planes[plane as usize];
        let block = state.erased.pop_front().unwrap_or_else(|| {
            state.fresh_from += 1;
            plane * self.geometry.blocks_per_plane + state.fresh_from - 1
        });
        state.open[frontier as usize] = Some(block);
        assert_eq!(self.blocks[block as usize].state, State::Free, "opened a block in use");
        self.blocks[block as usize].state = State::Open;
        Some(block)
    }

    /// The logical page that a physical page was written with.
    #[inline]
    pub(crate) fn lpn(&self, ppa: Ppa) -> Option<Lpn> {
        self.inspect(ppa).0
    }

    /// The logical page that a physical page was written with, and whether it is in the array.
    #[inline]
    pub(crate) fn inspect(&self, ppa: Ppa) -> (Option<Lpn>, bool) {
        let (block, page) = self.split(ppa);
        let block = &self.blocks[block];
        let lpn = block.lpns.as_ref().map_or(NO_LPN, |lpns| lpns[page as usize]);
        ((lpn != NO_LPN).then_some(Lpn(lpn)), page < block.programmed)
    }

    /// Forgets a page whose data was written elsewhere.
    #[inline]
    pub(crate) fn invalidate(&mut self, ppa: Ppa) {
        let (block, page) = self.split(ppa);
        let (word, bit) = (page as usize / 64, 1 << (page % 64));
        let bits = &mut self.blocks[block].valid[word];
        assert!(*bits & bit != 0, "invalidated a page that held no current data");
        *bits ^= bit;
        self.valid[block] -= 1;
    }

    /// True while a page holds its logical page's current data.
    #[inline]
    pub(crate) fn is_valid(&self, ppa: Ppa) -> bool {
        let (block, page) = self.split(ppa);
        let bits = self.blocks[block].valid.get(page as usize / 64);
        bits.is_some_and(|bits| bits >> (page % 64) & 1 != 0)
    }

    /// True once the page is in the flash array; before, it is in the write buffer.
    #[inline]
    pub(crate) fn is_programmed(&self, ppa: Ppa) -> bool {
        self.inspect(ppa).1
    }

    /// Records a finished program operation. A plane programs its blocks in order.
    pub(crate) fn set_programmed(&mut self, ppa: Ppa) {
        let (block, page) = self.split(ppa);
        let programmed = &mut self.blocks[block].programmed;
        assert_eq!(*programmed, page, "pages of a block are programmed in order");
        *programmed += 1;
    }

    /// Takes the full block with the fewest valid pages for collection, if it has at least
    /// `invalid_min` pages to gain.
    pub(crate) fn take_victim(&mut self, plane: u32, invalid_min: u32) -> Option<u32> {
        let first = (plane * self.geometry.blocks_per_plane) as usize;
        let used = first..first + self.planes[plane as usize].fresh_from as usize;
        let most = self.geometry.pages_per_block - invalid_min.max(1);
        let mut best = None;
        let mut best_valid = most + 1;
        for block in used {
            let valid = self.valid[block];
            if valid < best_valid && self.blocks[block].state == State::Full {
                (best, best_valid) = (Some(block as u32), valid);
            }
        }
        let victim = best?;
        self.blocks[victim as usize].state = State::Victim;
        Some(victim)
    }

    /// The physical page of a block.
    pub(crate) fn page(&self, block: u32, page: u32) -> Ppa {
        Ppa(block * self.geometry.pages_per_block + page)
    }

    /// Returns an erased block to its plane.
    pub(crate) fn erased(&mut self, block: u32) {
        assert_eq!(self.valid[block as usize], 0, "erased a block with valid pages");
        let state = &mut self.blocks[block as usize];
        assert_eq!(state.state, State::Victim, "erased a block that was not being collected");
        state.state = State::Free;
        (state.written, state.programmed) = (0, 0);
        state.erases += 1;
        if let Some(lpns) = state.lpns.as_deref_mut() {
            lpns.fill(NO_LPN);
        }
        let plane = block / self.geometry.blocks_per_plane;
        self.planes[plane as usize].erased.push_back(block);
    }

    /// Valid pages of the whole drive.
    pub(crate) fn valid_pages(&self) -> u64 {
        self.valid.iter().map(|&v| u64::from(v)).sum()
    }
}

//! Garbage collection, plane by plane: valid pages of a victim move, then it is erased.

use records::DieOperation;
use simtime::Instant;

use crate::address::{BlockId, Lpn, Ppa};
use crate::array::Origin;
use crate::blocks::Stream;
use crate::drive::Ssd;
use crate::mapping::Location;

/// Collection of one plane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Collection {
    victim: BlockId,
    next_page: u32,
    moves_in_flight: u32,
    is_erasing: bool,
    /// A page could not be written elsewhere: once no move is under way, the victim is a block like others again.
    is_given_up: bool,
}

/// Pages collection moves at a time on one plane: gently, or while host writes wait.
const MOVES_GENTLE: u32 = 1;
const MOVES_URGENT: u32 = 8;
/// Gentle collection leaves blocks alone that would free less than this part of their pages.
const GENTLE_GAIN_MIN_DIVISOR: u32 = 16;

impl Ssd {
    /// Begins collecting a plane that runs low on free blocks.
    pub(crate) fn start_collection(&mut self, now: Instant, plane: u32) {
        let free = self.blocks.free(plane);
        if self.collections[plane as usize].is_some() || free > self.geometry.gc_start_blocks {
            return;
        }
        let urgent = free <= self.geometry.gc_reserve_blocks;
        let gain = self.geometry.pages_per_block / GENTLE_GAIN_MIN_DIVISOR;
        let Some(victim) = self.blocks.take_victim(now, plane, if urgent { 1 } else { gain })
        else {
            return;
        };
        self.collections[plane as usize] = Some(Collection {
            victim,
            next_page: 0,
            moves_in_flight: 0,
            is_erasing: false,
            is_given_up: false,
        });
        self.collect(now, plane);
    }

    /// Starts as many page moves as allowed; erases the victim when it holds nothing any more.
    fn collect(&mut self, now: Instant, plane: u32) {
        let urgent = self.blocks.free(plane) <= self.geometry.gc_reserve_blocks;
        let moves_max = if urgent { MOVES_URGENT } else { MOVES_GENTLE };
        while let Some(state) = &mut self.collections[plane as usize] {
            if state.is_erasing || state.moves_in_flight >= moves_max {
                return;
            }
            if state.is_given_up {
                if state.moves_in_flight == 0 {
                    let victim = state.victim;
                    self.collections[plane as usize] = None;
                    // What the host does next begins again.
                    self.blocks.give_back(now, victim);
                }
                return;
            }
            let Some(page) = self.blocks.next_valid(state.victim, state.next_page) else {
                // Pages whose move is under way are valid until it is over.
                if state.moves_in_flight == 0 {
                    state.is_erasing = true;
                    let ppa = self.geometry.page(state.victim, 0);
                    self.enqueue(now, DieOperation::Erase, Origin::Erase, ppa, Lpn(0));
                }
                return;
            };
            state.next_page = page + 1;
            state.moves_in_flight += 1;
            let ppa = self.geometry.page(state.victim, page);
            let lpn = self.blocks.owner(ppa);
            self.statistics.gc_reads += 1;
            self.enqueue(now, DieOperation::Read, Origin::Move(ppa), ppa, lpn);
        }
    }

    /// A victim's page was read: it is written elsewhere unless it is stale by now.
    pub(crate) fn move_page(&mut self, now: Instant, from: Ppa, lpn: Lpn) {
        if !self.blocks.is_valid(from) {
            return self.move_ended(now, from);
        }
        // A page that cannot be read moves with its record as it is: whoever reads it is told.
        let own = self.blocks.plane_of(from);
        let to = self.blocks.allocate(own, Stream::Collection).or_else(|| {
            // Host writes leave a block for collection in every plane; only losses of power can use it up.
            let mut others = (0..self.geometry.planes).filter(|plane| *plane != own);
            others.find_map(|plane| self.blocks.allocate(plane, Stream::Collection))
        });
        let Some(to) = to else { return self.stuck_moves.push_back(from) };
        self.statistics.gc_programs += 1;
        self.enqueue(now, DieOperation::Program, Origin::Move(from), to, lpn);
    }

    /// A page of a victim has been written elsewhere.
    pub(crate) fn moved(&mut self, now: Instant, from: Ppa, to: Ppa, lpn: Lpn) {
        let mut is_current = self.blocks.is_valid(from);
        if is_current
            && let Some(store) = &mut self.store
            && store.relocate(from, to).is_err()
        {
            is_current = false;
            self.statistics.media_errors += 1;
            let plane = self.blocks.plane_of(from);
            let state = self.collections[plane as usize].as_mut();
            state.expect("a page moved on a plane that is not collected").is_given_up = true;
        }
        let has_closed = self.blocks.programmed(now, to, lpn, is_current);
        if is_current {
            match self.map.get(lpn) {
                Some(Location::Flash(_)) => {
                    self.map.set(lpn, Location::Flash(to));
                }
                Some(Location::Cache(slot)) => self.cache.slot_mut(slot).flash = Some(to),
                None => unreachable!("a valid page is mapped"),
            }
            self.blocks.invalidate(now, from);
        }
        self.move_ended(now, from);
        if has_closed {
            self.block_closed(now, to);
        }
    }

    /// A block is fully programmed: if its plane stands still for want of a victim, this may be one.
    pub(crate) fn block_closed(&mut self, now: Instant, ppa: Ppa) {
        let plane = self.blocks.plane_of(ppa);
        if !self.available.contains(plane) {
            self.start_collection(now, plane);
        }
    }

    /// Pages that found no place to move to may not be wanted any more, or find one now.
    pub(crate) fn retry_moves(&mut self, now: Instant) {
        for from in std::mem::take(&mut self.stuck_moves) {
            let lpn = self.blocks.owner(from);
            self.move_page(now, from, lpn);
        }
    }

    fn move_ended(&mut self, now: Instant, from: Ppa) {
        let plane = self.blocks.plane_of(from);
        let state = self.collections[plane as usize].as_mut();
        state.expect("a page moved on a plane that is not collected").moves_in_flight -= 1;
        self.collect(now, plane);
    }

    /// A victim is erased: its plane has a free block more.
    pub(crate) fn erased(&mut self, now: Instant, plane: u32, ppa: Ppa) {
        let block = self.geometry.block_of(ppa);
        self.statistics.erases += 1;
        self.blocks.erased(block);
        if let Some(store) = &mut self.store {
            store.erase(block);
        }
        self.collections[plane as usize] = None;
        self.retry_moves(now);
        if self.blocks.free(plane) > self.geometry.gc_reserve_blocks {
            self.available.insert(plane);
        }
        self.start_collection(now, plane);
        self.place_waiting(now);
        self.sync_if_wanted(now);
    }
}

//! Garbage collection, plane by plane: valid pages of a victim move, then it is erased.

use records::DieOperation;
use simtime::Instant;

use crate::address::{BlockId, Lpn, Ppa};
use crate::array::Origin;
use crate::blocks::Stream;
use crate::drive::Ssd;
use crate::frontier::HOT;
use crate::mapping::Location;

/// A page that moves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move {
    pub(crate) from: Ppa,
    pub(crate) lpn: Lpn,
}

/// Collection of one plane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Collection {
    victim: BlockId,
    next_page: u32,
    /// Pages that are being read to be moved.
    reads_in_flight: u32,
    /// Pages that are read and not yet elsewhere.
    moves_in_flight: u32,
    /// Of these, the ones that are gathered until a program operation is full: their batch.
    gathering: Option<u32>,
    is_erasing: bool,
    /// It was taken because it was erased so little, not for what there is to gain.
    is_laggard: bool,
    /// A page could not be written elsewhere: once no move is under way, the victim is a block like others again.
    is_given_up: bool,
}

/// Program operations that collection fills at a time on one plane: gently, or while host writes wait.
const BATCHES_GENTLE: u32 = 1;
const BATCHES_URGENT: u32 = 2;
/// Pages that it moves at a time while host writes wait, at least.
const MOVES_URGENT: u32 = 8;
/// Gentle collection leaves blocks alone that would free less than this part of their pages.
const GENTLE_GAIN_MIN_DIVISOR: u32 = 16;

impl Ssd {
    /// Begins collecting a plane that runs low on free blocks, or where blocks of zones hold nothing any more.
    pub(crate) fn start_collection(&mut self, now: Instant, plane: u32) {
        let free = self.blocks.free(plane);
        let is_low = free <= self.geometry.gc_start_blocks;
        let has_other = self.blocks.has_emptied(plane) || self.blocks.has_refresh(plane);
        if self.collections[plane as usize].is_some() || !is_low && !has_other {
            return;
        }
        // What is written anew needs room elsewhere.
        let other = self.blocks.take_emptied(plane).or_else(|| match is_low {
            true => None,
            false => self.blocks.take_refresh(plane),
        });
        if !is_low && other.is_none() {
            return;
        }
        let urgent = free <= self.geometry.gc_reserve_blocks;
        // The pages of a victim go to whole programs: less than one of them is no gain.
        let least = self.geometry.pages_per_program;
        let gain = (self.geometry.pages_per_block / GENTLE_GAIN_MIN_DIVISOR).max(least);
        // With no free block there may be no place to move to: a block that holds nothing comes before all others.
        let empty = if other.is_some() {
            other
        } else if free == 0 {
            self.blocks.take_victim(now, plane, self.geometry.pages_per_block)
        } else {
            None
        };
        // Moving a full block gains nothing: it waits until there is room for it.
        let laggard =
            if urgent || empty.is_some() { None } else { self.blocks.take_laggard(plane) };
        let is_laggard = empty.is_none() && laggard.is_some();
        let victim = empty
            .or(laggard)
            .or_else(|| self.blocks.take_victim(now, plane, if urgent { least } else { gain }));
        let Some(victim) = victim else { return };
        self.collections[plane as usize] = Some(Collection {
            victim,
            next_page: 0,
            reads_in_flight: 0,
            moves_in_flight: 0,
            gathering: None,
            is_erasing: false,
            is_laggard,
            is_given_up: false,
        });
        self.collect(now, plane);
    }

    /// Pages wait and nothing is collected: what failed before may work now.
    pub(crate) fn collect_again(&mut self, now: Instant) {
        if self.collections.iter().all(Option::is_none) {
            (0..self.geometry.planes).for_each(|plane| self.start_collection(now, plane));
        }
    }

    /// Starts as many page moves as allowed; erases the victim when it holds nothing any more.
    fn collect(&mut self, now: Instant, plane: u32) {
        let urgent = self.blocks.free(plane) <= self.geometry.gc_reserve_blocks;
        let together = self.geometry.pages_per_program;
        let moves_max = if urgent {
            MOVES_URGENT.max(BATCHES_URGENT * together)
        } else {
            BATCHES_GENTLE * together
        };
        while let Some(state) = &mut self.collections[plane as usize] {
            let under_way = state.reads_in_flight + state.moves_in_flight;
            if state.is_erasing || under_way >= moves_max && !state.is_given_up {
                return;
            }
            let next = self.blocks.next_valid(state.victim, state.next_page);
            let Some(page) = next.filter(|_| !state.is_given_up) else {
                // Nothing comes any more to fill the last program with.
                if state.reads_in_flight == 0
                    && let Some(batch) = state.gathering.take()
                {
                    self.program_moves(now, batch);
                    return;
                }
                // Pages whose move is under way are valid until it is over.
                if under_way == 0 && state.is_given_up {
                    let victim = state.victim;
                    self.collections[plane as usize] = None;
                    // What the host does next begins again.
                    self.blocks.give_back(now, victim);
                } else if under_way == 0 {
                    state.is_erasing = true;
                    let ppa = self.geometry.page(state.victim, 0);
                    self.enqueue(now, DieOperation::Erase, Origin::Erase, ppa, Lpn(0));
                }
                return;
            };
            state.next_page = page + 1;
            state.reads_in_flight += 1;
            let ppa = self.geometry.page(state.victim, page);
            let lpn = self.blocks.owner(ppa);
            self.statistics.gc_reads += 1;
            self.enqueue(now, DieOperation::Read, Origin::Move(ppa), ppa, lpn);
        }
    }

    fn collection_of(&mut self, from: Ppa) -> &mut Collection {
        let plane = self.blocks.plane_of(from);
        let state = self.collections[plane as usize].as_mut();
        state.expect("a page moves on a plane that is collected")
    }

    /// A victim's page was read: it is written elsewhere, unless it is stale by now.
    pub(crate) fn page_read(&mut self, now: Instant, from: Ppa, lpn: Lpn) {
        let plane = self.blocks.plane_of(from);
        let is_valid = self.blocks.is_valid(from);
        let gathering = self.collection_of(from).gathering;
        let state = self.collection_of(from);
        state.reads_in_flight -= 1;
        if !is_valid {
            return self.collect(now, plane);
        }
        state.moves_in_flight += 1;
        // A page that cannot be read moves with its record as it is: whoever reads it is told.
        let batch = gathering.unwrap_or_else(|| self.moves.open());
        if self.moves.push(batch, Move { from, lpn }) == self.geometry.pages_per_program {
            self.collection_of(from).gathering = None;
            self.program_moves(now, batch);
        } else {
            self.collection_of(from).gathering = Some(batch);
            self.collect(now, plane);
        }
    }

    /// What has been gathered of a victim goes to flash, full or not.
    fn program_moves(&mut self, now: Instant, batch: u32) {
        let moves = self.moves.pages(batch);
        let (Move { from, lpn }, count) = (moves[0], moves.len() as u32);
        let own = self.blocks.plane_of(from);
        let is_laggard = self.collection_of(from).is_laggard;
        let blocks = &mut self.blocks;
        let stream = blocks.moved_from(from, is_laggard);
        let mut allocate = |plane| blocks.allocate(plane, stream, self.versions);
        let to = allocate(own).or_else(|| {
            // Host writes leave a block for collection in every plane; only losses of power can use it up.
            let mut others = (0..self.geometry.planes).filter(|plane| *plane != own);
            others.find_map(allocate)
        });
        let Some(to) = to else { return self.stuck_moves.push_back(batch) };
        // It may be the host's block, which collection goes on with: what has a place there comes first.
        let block = self.geometry.block_of(to);
        for stream in 0..self.frontiers.len() {
            let gathering = self.frontiers[stream].gathering;
            if gathering.is_some_and(|other| self.geometry.block_of(other.ppa) == block) {
                self.program(now, stream);
            }
        }
        let pages = self.geometry.pages_per_program;
        self.statistics.gc_programs += u64::from(pages);
        self.statistics.padding_programs += u64::from(pages - count);
        self.enqueue(now, DieOperation::Program, Origin::Moves(batch), to, lpn);
    }

    /// Pages of a victim have been written elsewhere.
    pub(crate) fn batch_moved(&mut self, now: Instant, batch: u32, first: Ppa) {
        let moves = self.moves.take(batch);
        let mut has_closed = false;
        for page in 0..self.geometry.pages_per_program {
            let to = self.geometry.page_after(first, page);
            has_closed |= match moves.get(page as usize) {
                Some(&Move { from, lpn }) => self.moved(now, from, to, lpn),
                None => self.blocks.programmed(now, to, Lpn(0), false),
            };
        }
        let from = moves[0].from;
        self.collection_of(from).moves_in_flight -= moves.len() as u32;
        self.moves.close(batch, moves);
        self.collect(now, self.blocks.plane_of(from));
        if has_closed {
            self.block_closed(now, first);
        }
    }

    /// A page of a victim has been written elsewhere; true if that closed the block that it is in now.
    fn moved(&mut self, now: Instant, from: Ppa, to: Ppa, lpn: Lpn) -> bool {
        let mut is_current = self.blocks.is_valid(from);
        if is_current
            && let Some(store) = &mut self.store
            && store.relocate(from, to).is_err()
        {
            is_current = false;
            self.statistics.media_errors += 1;
            self.collection_of(from).is_given_up = true;
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
        has_closed
    }

    /// A block is fully programmed: if its plane stands still for want of a victim, this may be one.
    pub(crate) fn block_closed(&mut self, now: Instant, ppa: Ppa) {
        let plane = self.blocks.plane_of(ppa);
        if self.is_short_of_room(plane) || self.blocks.has_refresh(plane) {
            self.start_collection(now, plane);
        }
    }

    /// Pages that found no place to move to may not be wanted any more, or find one now.
    pub(crate) fn retry_moves(&mut self, now: Instant) {
        for batch in std::mem::take(&mut self.stuck_moves) {
            let mut moves = self.moves.take(batch);
            let (from, before) = (moves[0].from, moves.len());
            moves.retain(|page| self.blocks.is_valid(page.from));
            self.collection_of(from).moves_in_flight -= (before - moves.len()) as u32;
            if moves.is_empty() {
                self.moves.close(batch, moves);
                self.collect(now, self.blocks.plane_of(from));
            } else {
                self.moves.put_back(batch, moves);
                self.program_moves(now, batch);
            }
        }
    }

    /// A victim is erased: its plane has a free block more.
    pub(crate) fn erased(&mut self, now: Instant, plane: u32, ppa: Ppa) {
        let block = self.geometry.block_of(ppa);
        self.statistics.erases += 1;
        if let Some(opened_at) = self.blocks.opened_for(block, Stream::host(HOT)) {
            self.lifetimes.collected(self.versions - opened_at);
        }
        self.free_or_bad(block);
        if let Some(store) = &mut self.store {
            store.erase(block);
        }
        self.collections[plane as usize] = None;
        self.retry_moves(now);
        if self.blocks.free(plane) > self.geometry.gc_reserve_blocks {
            self.has_room_again(plane);
        }
        self.start_collection(now, plane);
        self.place_waiting(now);
        self.sync_if_wanted(now);
    }
}

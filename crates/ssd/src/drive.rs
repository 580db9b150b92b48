//! The drive: requests in, transactions to the flash, completions out; garbage collection.

use std::collections::{BTreeMap, VecDeque};

use simtime::Instant;

use crate::blocks::{Blocks, Frontier};
use crate::config::{Config, ConfigError, Geometry};
use crate::mapping::{Lpn, PageMap, Ppa};
use crate::nand::{DieRecord, Nand, Operation, Origin, Transaction};
use crate::plane_set::PlaneSet;
use crate::store::PageStore;

/// What a request asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestKind {
    /// Read a page.
    Read,
    /// Write a page; `partial` if only some of its bytes are new, so that a page in flash must be
    /// read first.
    Write {
        /// Some bytes of the page stay as they are.
        partial: bool,
    },
    /// Finish when every buffered write submitted before is in flash. Without a write buffer
    /// there is nothing to flush: a write is done when it is in flash.
    Flush,
}

/// A request to the model. Each request yields exactly one [`Done`] with its tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// What to do.
    pub kind: RequestKind,
    /// The page; ignored by a flush.
    pub lpn: Lpn,
    /// The caller's name for the request.
    pub tag: u64,
}

/// A finished request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Done {
    /// The request's tag.
    pub tag: u64,
    /// When it finished.
    pub at: Instant,
    /// True if flash was read for it.
    pub from_flash: bool,
}

/// Counters since the model began.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Pages the host asked to read.
    pub host_page_reads: u64,
    /// Pages the host asked to write.
    pub host_page_writes: u64,
    /// Reads of pages never written.
    pub unwritten_reads: u64,
    /// Reads of pages whose program operation is not over: served from the drive's memory, also
    /// without a write buffer.
    pub buffer_reads: u64,
    /// Flash page reads for the host.
    pub flash_reads: u64,
    /// Flash page reads to complete partial page writes.
    pub modify_reads: u64,
    /// Flash page programs for the host.
    pub flash_programs: u64,
    /// Flash page reads by garbage collection.
    pub gc_reads: u64,
    /// Flash page programs by garbage collection.
    pub gc_programs: u64,
    /// Block erases.
    pub erases: u64,
    /// Pages deallocated.
    pub deallocated_pages: u64,
    /// Times that no plane had a page left and host writes waited for garbage collection.
    pub stalls: u64,
}

impl Statistics {
    /// Flash page programs per host page write; 1 for a drive that was not written.
    pub fn write_amplification(&self) -> f64 {
        if self.flash_programs == 0 {
            return 1.0;
        }
        (self.flash_programs + self.gc_programs) as f64 / self.flash_programs as f64
    }
}

#[derive(Clone, Copy, Debug)]
struct PendingWrite {
    lpn: Lpn,
    tag: u64,
    epoch: u64,
}

/// Collection of one plane.
#[derive(Debug)]
struct Collection {
    victim: u32,
    next_page: u32,
    moves_in_flight: u32,
}

/// Pages collection moves at a time on one plane: gently, or while host writes wait.
const MOVES_GENTLE: u32 = 1;
const MOVES_URGENT: u32 = 8;
/// Gentle collection leaves blocks alone that would free less than this part of their pages.
const GENTLE_GAIN_MIN_DIVISOR: u32 = 16;

/// Writes between two flushes.
#[derive(Clone, Copy, Debug, Default)]
struct Epoch {
    outstanding: u64,
    flush: Option<u64>,
}

/// The flash drive.
#[derive(Debug)]
pub struct Ssd {
    geometry: Geometry,
    map: PageMap,
    blocks: Blocks,
    nand: Nand,
    store: Option<PageStore>,
    /// Free pages of the write buffer; `None` = write through.
    buffer_free: Option<u64>,
    pending: VecDeque<PendingWrite>,
    /// Partial page writes whose page is being read.
    modifying: BTreeMap<u64, PendingWrite>,
    modified: u64,
    /// Planes that may have a page for a host write. A plane leaves when it turns out to have
    /// none, and comes back when one of its blocks was erased.
    available: PlaneSet,
    next_plane: u32,
    collections: Vec<Option<Collection>>,
    epochs: VecDeque<Epoch>,
    first_epoch: u64,
    /// Requests submitted and not finished.
    backlog: u64,
    /// Completions that need no flash, waiting for the next `advance`.
    ready: Vec<Done>,
    finished: Vec<Transaction>,
    statistics: Statistics,
}

impl Ssd {
    /// An empty drive.
    ///
    /// # Errors
    /// If the configuration contradicts itself.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let geometry = Geometry::new(config)?;
        let buffer = config.write_buffer_bytes / u64::from(geometry.page_bytes);
        Ok(Self {
            geometry,
            map: PageMap::new(geometry.logical_pages),
            blocks: Blocks::new(geometry),
            nand: Nand::new(config, geometry),
            store: config
                .keep_data
                .then(|| PageStore::new(geometry.logical_pages, geometry.page_bytes)),
            buffer_free: (buffer > 0).then_some(buffer),
            pending: VecDeque::new(),
            modifying: BTreeMap::new(),
            modified: 0,
            available: PlaneSet::full(geometry.planes),
            next_plane: 0,
            collections: (0..geometry.planes).map(|_| None).collect(),
            epochs: VecDeque::from([Epoch::default()]),
            first_epoch: 0,
            backlog: 0,
            ready: Vec::new(),
            finished: Vec::new(),
            statistics: Statistics::default(),
        })
    }

    /// Starts a request. Never blocks; a write that finds no room waits inside.
    ///
    /// # Panics
    /// If the page is beyond the capacity: whoever decoded the command checks that.
    pub fn submit(&mut self, now: Instant, request: Request) {
        let Request { kind, lpn, tag } = request;
        assert!(
            kind == RequestKind::Flush || lpn.0 < self.geometry.logical_pages,
            "page {} is beyond the capacity",
            lpn.0
        );
        self.backlog += 1;
        match kind {
            RequestKind::Read => self.read(now, lpn, tag),
            RequestKind::Write { partial } => self.write(now, lpn, tag, partial),
            RequestKind::Flush => self.flush(now, tag),
        }
    }

    /// Forgets `count` pages from `first` on: they read as zeroes, cost no flash time to read, and
    /// collection no longer moves them. An update of the map alone: it takes no flash time. Writes
    /// submitted before and not finished may come after it.
    ///
    /// # Panics
    /// If a page is beyond the capacity.
    pub fn deallocate(&mut self, now: Instant, first: Lpn, count: u32) {
        let end = u64::from(first.0) + u64::from(count);
        assert!(end <= u64::from(self.geometry.logical_pages), "page {end} is beyond the capacity");
        let mut freed = Vec::new();
        self.map.remove(first, count, |ppa| freed.push(ppa));
        self.statistics.deallocated_pages += freed.len() as u64;
        for ppa in freed {
            self.invalidate(now, ppa);
        }
        if let Some(store) = &mut self.store {
            store.remove(first, count);
        }
        self.place_pending(now);
    }

    /// Requests submitted and not finished: what the model holds on behalf of its caller.
    pub fn backlog(&self) -> u64 {
        self.backlog
    }

    /// Forgets requests that nobody waits for any more: those whose tag `keep` does not want and
    /// that have not reached the flash or the write buffer. They never finish. What the store holds
    /// stays, for it may have been read: a page whose only write is forgotten has contents, but
    /// counts as unwritten.
    pub fn forget(&mut self, now: Instant, keep: impl Fn(u64) -> bool) {
        let mut dropped = Vec::new();
        self.pending.retain(|write| {
            let is_wanted = keep(write.tag);
            if !is_wanted {
                dropped.push(*write);
            }
            is_wanted
        });
        self.modifying.retain(|_, write| {
            let is_wanted = keep(write.tag);
            if !is_wanted {
                dropped.push(*write);
            }
            is_wanted
        });
        let modifying = &self.modifying;
        let reads = self.nand.forget_reads(|origin| match origin {
            Origin::User(tag) => keep(tag),
            Origin::Modify(id) => modifying.contains_key(&id),
            Origin::Gc => true,
        });
        self.backlog -= dropped.len() as u64 + reads;
        // Without a buffer epochs end at once.
        for PendingWrite { epoch, .. } in dropped.iter().filter(|_| self.buffer_free.is_some()) {
            let epoch = (epoch - self.first_epoch) as usize;
            self.epochs[epoch].outstanding -= 1;
        }
        self.retire_epochs(now);
        self.place_pending(now);
    }

    /// True if a page was written and not deallocated since.
    pub fn is_mapped(&self, lpn: Lpn) -> bool {
        self.map.get(lpn).is_some()
    }

    /// Number of pages that were written and not deallocated since.
    pub fn mapped_pages(&self) -> u64 {
        self.map.mapped()
    }

    /// Runs every event due at or before `now`, appending finished requests.
    pub fn advance(&mut self, now: Instant, done: &mut Vec<Done>) {
        let mut finished = std::mem::take(&mut self.finished);
        while let Some(at) = self.nand.step(now, &mut finished) {
            for transaction in &finished {
                self.finish(at, *transaction);
            }
            finished.clear();
        }
        self.finished = finished;
        done.extend_from_slice(&self.ready);
        self.ready.clear();
    }

    /// When to call [`Self::advance`] again; `Instant::ZERO` if something is ready already.
    pub fn next_event(&self) -> Option<Instant> {
        self.next_or_never().unless_never()
    }

    /// As [`Self::next_event`]; `Instant::NEVER` if nothing is under way.
    #[inline]
    pub fn next_or_never(&self) -> Instant {
        if self.ready.is_empty() { self.nand.next_or_never() } else { Instant::ZERO }
    }

    /// Page contents; `None` if the drive models times alone.
    #[inline]
    pub fn store(&self) -> Option<&PageStore> {
        self.store.as_ref()
    }

    /// Page contents, for writing. The caller submits the writes that account for it.
    #[inline]
    pub fn store_mut(&mut self) -> Option<&mut PageStore> {
        self.store.as_mut()
    }

    /// The checked geometry.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Counters.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Starts or stops recording what dies do.
    pub fn set_recording(&mut self, on: bool) {
        self.nand.records = on.then(Vec::new);
    }

    /// Takes the records so far.
    pub fn take_records(&mut self) -> Vec<DieRecord> {
        self.nand.records.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Checks what must always hold between map, reverse map and counters; for tests.
    ///
    /// # Panics
    /// If it does not hold.
    pub fn check(&self) {
        let mut mapped = 0;
        for lpn in (0..self.geometry.logical_pages).map(Lpn) {
            if let Some(ppa) = self.map.get(lpn) {
                mapped += 1;
                assert_eq!(self.blocks.lpn(ppa), Some(lpn), "map and reverse map disagree");
                assert!(self.blocks.is_valid(ppa), "the map leads to a page that is not valid");
            }
        }
        assert_eq!(mapped, self.blocks.valid_pages(), "valid counts do not add up");
        assert_eq!(mapped, self.map.mapped(), "the map miscounts its pages");
        if self.nand.is_idle() {
            assert!(self.pending.is_empty(), "writes wait but nothing will free a block");
        }
    }

    fn complete(&mut self, at: Instant, tag: u64, from_flash: bool) {
        self.backlog -= 1;
        self.ready.push(Done { tag, at, from_flash });
    }

    fn read(&mut self, now: Instant, lpn: Lpn, tag: u64) {
        self.statistics.host_page_reads += 1;
        let Some(ppa) = self.map.get(lpn) else {
            self.statistics.unwritten_reads += 1;
            return self.complete(now, tag, false);
        };
        let (owner, programmed) = self.blocks.inspect(ppa);
        assert_eq!(owner, Some(lpn), "the map leads to another page's data");
        if !programmed {
            self.statistics.buffer_reads += 1;
            return self.complete(now, tag, false);
        }
        self.statistics.flash_reads += 1;
        self.enqueue(now, Operation::Read, Origin::User(tag), ppa, lpn);
    }

    /// Closes the open epoch: `tag` is done once all writes submitted so far are.
    fn flush(&mut self, now: Instant, tag: u64) {
        self.epochs.back_mut().expect("there is always an open epoch").flush = Some(tag);
        self.epochs.push_back(Epoch::default());
        self.retire_epochs(now);
    }

    fn write(&mut self, now: Instant, lpn: Lpn, tag: u64, partial: bool) {
        self.statistics.host_page_writes += 1;
        let epoch = self.first_epoch + self.epochs.len() as u64 - 1;
        self.epoch(epoch).outstanding += 1;
        let in_flash = self.map.get(lpn).filter(|&ppa| self.blocks.is_programmed(ppa));
        if let (true, Some(ppa)) = (partial, in_flash) {
            self.statistics.modify_reads += 1;
            let id = self.modified;
            self.modified += 1;
            self.modifying.insert(id, PendingWrite { lpn, tag, epoch });
            self.enqueue(now, Operation::Read, Origin::Modify(id), ppa, lpn);
        } else {
            self.pending.push_back(PendingWrite { lpn, tag, epoch });
            self.place_pending(now);
        }
    }

    fn epoch(&mut self, number: u64) -> &mut Epoch {
        &mut self.epochs[(number - self.first_epoch) as usize]
    }

    /// Gives waiting writes a page each, as long as buffer and blocks allow.
    fn place_pending(&mut self, now: Instant) {
        while let Some(&write) = self.pending.front() {
            if self.buffer_free == Some(0) {
                return;
            }
            let Some((plane, ppa)) = self.allocate_user(now, write.lpn) else { return };
            self.pending.pop_front();
            self.remap(now, write.lpn, ppa);
            self.statistics.flash_programs += 1;
            if let Some(free) = &mut self.buffer_free {
                *free -= 1;
                self.complete(now, write.tag, false);
            }
            let tag = if self.buffer_free.is_some() { write.epoch } else { write.tag };
            let origin = Origin::User(tag);
            self.nand.enqueue(
                now,
                Transaction { operation: Operation::Program, origin, plane, ppa, lpn: write.lpn },
            );
        }
    }

    /// A page of the next plane that has one.
    fn allocate_user(&mut self, now: Instant, lpn: Lpn) -> Option<(u32, Ppa)> {
        while let Some(plane) = self.available.next_from(self.next_plane) {
            self.next_plane = (plane + 1) % self.geometry.planes;
            let ppa = self.blocks.allocate(plane, Frontier::User, lpn);
            match ppa {
                // A plane's free blocks change when one is opened.
                Some(ppa) if self.blocks.is_first_page(ppa) => self.start_collection(now, plane),
                Some(_) => {}
                None => {
                    self.available.remove(plane);
                    self.start_collection(now, plane);
                    if self.available.is_empty() {
                        self.statistics.stalls += 1;
                    }
                    continue;
                }
            }
            return ppa.map(|ppa| (plane, ppa));
        }
        None
    }

    fn remap(&mut self, now: Instant, lpn: Lpn, ppa: Ppa) {
        if let Some(old) = self.map.set(lpn, ppa) {
            self.invalidate(now, old);
        }
    }

    /// A physical page holds nothing current any more.
    fn invalidate(&mut self, now: Instant, old: Ppa) {
        self.blocks.invalidate(old);
        // A plane without a free block that had nothing to collect has something now.
        if !self.available.is_full() {
            let plane = self.blocks.plane_of(old);
            if !self.available.contains(plane) && self.collections[plane as usize].is_none() {
                self.start_collection(now, plane);
            }
        }
    }

    fn enqueue(&mut self, now: Instant, operation: Operation, origin: Origin, ppa: Ppa, lpn: Lpn) {
        let plane = self.blocks.plane_of(ppa);
        self.nand.enqueue(now, Transaction { operation, origin, plane, ppa, lpn });
    }

    /// A transaction left the flash.
    fn finish(&mut self, now: Instant, transaction: Transaction) {
        let Transaction { operation, origin, plane, ppa, lpn } = transaction;
        match (operation, origin) {
            (Operation::Read, Origin::User(tag)) => self.complete(now, tag, true),
            (Operation::Read, Origin::Modify(id)) => {
                self.pending.extend(self.modifying.remove(&id));
                self.place_pending(now);
            }
            (Operation::Read, Origin::Gc) => self.move_page(now, plane, ppa, lpn),
            (Operation::Program, Origin::Gc) => {
                self.blocks.set_programmed(ppa);
                self.move_ended(now, plane);
            }
            (Operation::Program, Origin::User(tag)) => {
                self.blocks.set_programmed(ppa);
                self.program_ended(now, tag);
            }
            (Operation::Program, Origin::Modify(_)) => {
                unreachable!("a modified page is programmed as a page of its request")
            }
            (Operation::Erase, _) => {
                self.statistics.erases += 1;
                self.blocks.erased(self.blocks.block_of(ppa));
                self.collections[plane as usize] = None;
                if self.blocks.free(plane) > self.geometry.gc_reserve_blocks {
                    self.available.insert(plane);
                }
                self.start_collection(now, plane);
                self.place_pending(now);
            }
        }
    }

    /// A host page is in flash: frees its buffer page (the tag is then its epoch), or completes
    /// the write (write through).
    fn program_ended(&mut self, now: Instant, tag: u64) {
        if let Some(free) = &mut self.buffer_free {
            *free += 1;
            self.epoch(tag).outstanding -= 1;
            self.retire_epochs(now);
            self.place_pending(now);
        } else {
            // Write through: a host that waits for its writes has nothing left to flush, and one
            // that does not wait is told only what was complete when it asked.
            self.complete(now, tag, false);
        }
    }

    /// Completes flushes whose writes are all in flash.
    fn retire_epochs(&mut self, now: Instant) {
        let buffered = self.buffer_free.is_some();
        while self.epochs.len() > 1
            && let Some(&Epoch { outstanding, flush }) = self.epochs.front()
        {
            if buffered && outstanding > 0 {
                return;
            }
            self.epochs.pop_front();
            self.first_epoch += 1;
            if let Some(tag) = flush {
                self.complete(now, tag, false);
            }
        }
    }

    /// Begins collecting a plane that runs low on free blocks.
    fn start_collection(&mut self, now: Instant, plane: u32) {
        let free = self.blocks.free(plane);
        if self.collections[plane as usize].is_some() || free > self.geometry.gc_start_blocks {
            return;
        }
        let urgent = free <= self.geometry.gc_reserve_blocks;
        let gain = self.geometry.pages_per_block / GENTLE_GAIN_MIN_DIVISOR;
        let Some(victim) = self.blocks.take_victim(plane, if urgent { 1 } else { gain }) else {
            return;
        };
        self.collections[plane as usize] =
            Some(Collection { victim, next_page: 0, moves_in_flight: 0 });
        self.collect(now, plane);
    }

    /// Starts as many page moves as allowed; erases the victim when it holds nothing any more.
    fn collect(&mut self, now: Instant, plane: u32) {
        let urgent = self.blocks.free(plane) <= self.geometry.gc_reserve_blocks;
        let moves_max = if urgent { MOVES_URGENT } else { MOVES_GENTLE };
        loop {
            let Some(state) = &mut self.collections[plane as usize] else { return };
            let page = state.next_page;
            if page == self.geometry.pages_per_block {
                if state.moves_in_flight == 0 {
                    let ppa = self.blocks.page(state.victim, 0);
                    state.moves_in_flight = u32::MAX; // erasing: no more moves
                    self.enqueue(now, Operation::Erase, Origin::Gc, ppa, Lpn(0));
                }
                return;
            }
            if state.moves_in_flight >= moves_max {
                return;
            }
            state.next_page += 1;
            let ppa = self.blocks.page(state.victim, page);
            let Some(lpn) = self.blocks.lpn(ppa).filter(|_| self.blocks.is_valid(ppa)) else {
                continue;
            };
            state.moves_in_flight += 1;
            self.statistics.gc_reads += 1;
            self.enqueue(now, Operation::Read, Origin::Gc, ppa, lpn);
        }
    }

    /// A victim's page was read: write it to the collection frontier unless it is stale by now.
    fn move_page(&mut self, now: Instant, plane: u32, from: Ppa, lpn: Lpn) {
        if !self.blocks.is_valid(from) {
            return self.move_ended(now, plane);
        }
        let to = self.blocks.allocate(plane, Frontier::Gc, lpn);
        let to = to.expect("host writes leave a block for collection");
        self.remap(now, lpn, to);
        self.statistics.gc_programs += 1;
        self.enqueue(now, Operation::Program, Origin::Gc, to, lpn);
    }

    fn move_ended(&mut self, now: Instant, plane: u32) {
        let state = self.collections[plane as usize].as_mut();
        state.expect("a page moved on a plane that is not collected").moves_in_flight -= 1;
        self.collect(now, plane);
    }
}

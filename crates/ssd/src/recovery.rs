//! Loss of power, and what is found afterwards.

use records::DieOperation;
use simtime::{Duration, Instant};

use crate::address::{Lpn, Ppa};
use crate::array::{FlashArray, Origin};
use crate::batch::Batches;
use crate::cache::Cache;
use crate::collection::Move;
use crate::drive::Ssd;
use crate::epochs::Epochs;
use crate::frontier::Lifetimes;
use crate::mapping::{Location, PageMap};
use crate::request::RequestId;
use crate::store::{Discarded, Oob, UsedBlock};

/// What a loss of power did, and what was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Recovery {
    /// Versions of pages that were only in the drive's memory.
    pub lost: u64,
    /// Program operations that were under way.
    pub torn: u64,
    /// Pages that were found.
    pub found: u64,
    /// Programmed pages whose bytes or records are not what was written, as far as it was looked at.
    pub unreadable: u64,
}

impl Ssd {
    /// The power goes at `now`, and comes back: the drive's memory is lost, operations under way are torn, and the map is built
    /// again from what is written beside the pages. Requests under way never finish. Every page whose write or flush was
    /// done is as it was; others are as they were before or after it.
    ///
    /// A drive that keeps no bytes finds the pages that its map knows to be in flash.
    pub fn power_cut(&mut self, now: Instant) -> Recovery {
        self.catch_up(now);
        let busy = self.busy(now);
        if self.config.power_loss_protection {
            self.save_buffer(now);
        }
        let mut recovery = Recovery { lost: self.cache.len(), ..Recovery::default() };
        let mut torn = Vec::new();
        for transaction in self.array.power_cut() {
            let ppa = transaction.ppa;
            match (transaction.operation, transaction.origin) {
                (DieOperation::Program, origin) => {
                    recovery.torn += 1;
                    let pages = 0..self.geometry.pages_per_program;
                    torn.extend(pages.map(|page| self.geometry.page_after(ppa, page)));
                    self.tear(ppa, origin);
                }
                // Of a block that was being erased nothing is wanted.
                (DieOperation::Erase, _) => {
                    if let Some(store) = &mut self.store {
                        store.erase(self.geometry.block_of(ppa));
                    }
                }
                (DieOperation::Read, _) => {}
            }
        }
        let mut known = Vec::new();
        if self.store.is_none() {
            self.blocks.for_each_valid(|ppa, lpn| known.push((ppa, lpn)));
        }
        self.blocks.power_lost(&self.config, &torn);
        self.forget_memory(&busy);
        if let Some(store) = &mut self.store {
            // A page that was being written when the power went is not looked at again. (Its record may look sound.)
            for ppa in torn {
                store.discard(ppa, Discarded::Deallocated);
            }
            store.power_lost();
        }
        let used: Vec<UsedBlock> = self.blocks.used().collect();
        self.find_pages(now, &used, &known, &mut recovery);
        recovery
    }

    /// The power of the capacitors lasts until everything under way is over, and the buffer is in flash. For everyone else no time
    /// passes.
    fn save_buffer(&mut self, now: Instant) {
        self.backlog += 1;
        // Nobody sees what it does then.
        let recorded = self.array.records.as_ref().map_or(0, Vec::len);
        self.flush_all(now, RequestId(u64::MAX));
        self.run(Instant::NEVER, false);
        self.now = now;
        if let Some(records) = &mut self.array.records {
            records.truncate(recorded);
        }
    }

    /// The drive is switched on with a store that holds something.
    pub(crate) fn switch_on(&mut self, used: &[UsedBlock]) {
        for block in used {
            self.blocks.was_used(*block);
        }
        let mut recovery = Recovery::default();
        self.find_pages(self.now, used, &[], &mut recovery);
        self.found = recovery;
    }

    /// What was found when the drive was switched on.
    pub fn found(&self) -> Recovery {
        self.found
    }

    /// Builds the map again from the records in the store; of a drive that keeps no bytes, from pages that are `known`.
    fn find_pages(
        &mut self,
        now: Instant,
        used: &[UsedBlock],
        known: &[(Ppa, Lpn)],
        recovery: &mut Recovery,
    ) {
        let (map, blocks) = (&mut self.map, &mut self.blocks);
        let mut older = Vec::new();
        for &(ppa, lpn) in known {
            blocks.found(ppa, lpn);
            map.set(lpn, Location::Flash(ppa));
        }
        if let Some(store) = &self.store {
            self.versions = self.versions.max(store.newest_version());
            for block in used {
                store.scan(&self.geometry, *block, &mut |ppa, oob, is_sound| {
                    if oob.lpn.0 >= self.geometry.logical_pages {
                        recovery.unreadable += 1;
                        return;
                    }
                    // It is the page all the same: whoever reads it is told.
                    recovery.unreadable += u64::from(!is_sound);
                    self.versions = self.versions.max(oob.version);
                    if let Some(Location::Flash(other)) = map.get(oob.lpn) {
                        if !store.is_newer(ppa, other) {
                            return older.push(ppa);
                        }
                        blocks.outdated(other);
                        older.push(other);
                    }
                    blocks.found(ppa, oob.lpn);
                    map.set(oob.lpn, Location::Flash(ppa));
                });
            }
        }
        // They must not be found when the newest is not wanted any more. So they are marked before anything else is: what marks the
        // newest waits for a sync that makes these marks durable.
        if let Some(store) = self.store.as_mut().filter(|_| !older.is_empty()) {
            older.into_iter().for_each(|ppa| drop(store.discard(ppa, Discarded::Superseded)));
            // What the store cannot do it tells the drive's user.
            let _ = store.sync_now();
        }
        recovery.found = self.map.mapped();
        self.blocks.recovered(now);
        for plane in 0..self.geometry.planes {
            self.start_collection(now, plane);
        }
    }

    /// A batch was being programmed.
    fn tear(&mut self, first: Ppa, origin: Origin) {
        let pages = match origin {
            Origin::Destage(batch) => self.batches.pages(batch).len(),
            Origin::Moves(batch) => self.moves.pages(batch).len(),
            Origin::Host(_) | Origin::Fill(_) | Origin::Move(_) | Origin::Erase => {
                unreachable!("{origin:?} programs nothing")
            }
        };
        for page in 0..pages {
            let to = self.geometry.page_after(first, page as u32);
            let Some(store) = &mut self.store else { return };
            let bytes = match origin {
                Origin::Destage(batch) => {
                    let slot = self.cache.slot(self.batches.pages(batch)[page]);
                    let flight = slot.flight.as_ref();
                    let flight = flight.expect("what is being programmed is on its way");
                    let bytes = flight.page.as_ref().filter(|_| !slot.is_dead);
                    bytes.map(|bytes| (bytes.to_vec(), flight.version.number, slot.lpn))
                }
                Origin::Moves(batch) => {
                    let Move { from, lpn } = self.moves.pages(batch)[page];
                    let mut moved = None;
                    let _ = store.read(from, &mut |page| {
                        moved = Some((page.bytes.to_vec(), page.oob.version, lpn));
                    });
                    moved
                }
                _ => None,
            };
            if let Some((bytes, version, lpn)) = bytes {
                store.tear(to, &bytes, Oob::new(lpn, version, &bytes));
            }
        }
    }

    /// Everything that is in the drive's memory.
    fn forget_memory(&mut self, busy: &(Vec<Duration>, Vec<Duration>)) {
        let geometry = self.geometry;
        let buffer = self.config.write_buffer_pages();
        let records = self.array.records.take();
        self.map = PageMap::new(&geometry);
        self.array = FlashArray::new(&self.config, geometry);
        self.array.records = records;
        self.array.was_busy(busy);
        self.cache = Cache::new(&geometry);
        self.read_cache.clear();
        self.room = (buffer > 0).then_some(buffer);
        self.claims.clear();
        self.failed.clear();
        (self.batches, self.batches_in_flight) = (Batches::default(), 0);
        self.moves = Batches::default();
        self.epochs = Epochs::default();
        self.forget_syncs();
        self.frontiers = Self::frontiers(&self.config, &geometry);
        self.lifetimes = Lifetimes::default();
        self.collections.fill(None);
        self.stuck_moves.clear();
        self.backlog = 0;
        self.ready.clear();
    }

    /// Checks what must always hold between map, reverse map, store and counters; for tests.
    ///
    /// # Panics
    /// If it does not hold.
    pub fn check(&self) {
        let mut valid = 0;
        self.blocks.for_each_valid(|ppa, lpn| {
            valid += 1;
            let current = match self.map.get(lpn) {
                Some(Location::Flash(current)) => Some(current),
                Some(Location::Cache(slot)) => self.cache.slot(slot).flash,
                None => None,
            };
            assert_eq!(current, Some(ppa), "a valid page of {lpn:?} is not where the map leads");
            if let Some(oob) = self.store.as_ref().and_then(|store| store.record(ppa)) {
                assert_eq!(oob.lpn, lpn, "reverse map and store disagree");
            }
        });
        assert_eq!(valid, self.blocks.valid_pages(), "valid counts do not add up");
        let only_in_memory = self.map.mapped() - valid.min(self.map.mapped());
        assert!(
            only_in_memory <= self.cache.len(),
            "mapped pages are neither in flash nor in memory"
        );
        if self.array.is_idle() {
            let is_waiting = self.frontiers.iter().any(|frontier| !frontier.placing.is_empty());
            assert!(!is_waiting, "pages wait but nothing will free a block");
        }
    }
}

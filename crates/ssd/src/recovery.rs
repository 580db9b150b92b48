//! Loss of power, and what is found afterwards.

use std::collections::BTreeMap;

use records::DieOperation;
use simtime::Instant;

use crate::address::{Lpn, Ppa};
use crate::array::{FlashArray, Origin};
use crate::blocks::Blocks;
use crate::cache::Cache;
use crate::drive::Ssd;
use crate::epochs::Epochs;
use crate::mapping::{Location, PageMap};
use crate::plane_set::PlaneSet;
use crate::store::{Oob, Store, StoredPage};

/// What a loss of power did, and what was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Recovery {
    /// Versions of pages that were only in the drive's memory.
    pub lost: u64,
    /// Program operations that were under way.
    pub torn: u64,
    /// Pages that were found.
    pub found: u64,
    /// Programmed pages whose bytes or records are not what was written.
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
        let mut recovery = Recovery { lost: self.cache.len(), ..Recovery::default() };
        let mut torn = Vec::new();
        for transaction in self.array.power_cut() {
            let ppa = transaction.ppa;
            match (transaction.operation, transaction.origin) {
                (DieOperation::Program, origin) => {
                    recovery.torn += 1;
                    torn.push(ppa);
                    self.tear(ppa, transaction.lpn, origin);
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
        let mut found = BTreeMap::new();
        if self.store.is_none() {
            self.blocks.for_each_valid(|ppa, lpn| {
                found.insert(lpn, (0, ppa));
            });
        }
        self.blocks.power_lost(&self.config, &torn);
        self.forget_memory();
        if let Some(store) = &mut self.store {
            // A page that was being written when the power went is not looked at again. (Its record may look sound.)
            for ppa in torn {
                store.discard(ppa);
            }
            let newest = scan(store.as_ref(), &self.blocks, &self.geometry, &mut recovery);
            self.versions =
                newest.values().map(|(version, _)| *version).max().unwrap_or(0).max(self.versions);
            found = newest;
        }
        for (&lpn, &(_, ppa)) in &found {
            self.blocks.found(ppa, lpn);
            self.map.set(lpn, Location::Flash(ppa));
        }
        recovery.found = found.len() as u64;
        self.blocks.recovered(now);
        for plane in 0..self.geometry.planes {
            self.start_collection(now, plane);
        }
        recovery
    }

    /// A page was being programmed.
    fn tear(&mut self, ppa: Ppa, lpn: Lpn, origin: Origin) {
        let Some(store) = &mut self.store else { return };
        let (page, version) = match origin {
            Origin::Destage(slot) => {
                let slot = self.cache.slot(slot);
                let flight = slot.flight.as_ref().expect("what is being programmed is on its way");
                let Some(page) = flight.page.as_ref().filter(|_| !slot.is_dead) else { return };
                (page.to_vec(), flight.version.number)
            }
            Origin::Move(from) => {
                let Ok(page) = store.read(from) else { return };
                (page.bytes.to_vec(), page.oob.version)
            }
            Origin::Host(_) | Origin::Fill(_) | Origin::Erase => {
                unreachable!("{origin:?} programs nothing")
            }
        };
        store.tear(ppa, &page, Oob::new(lpn, version, &page));
    }

    /// Everything that is in the drive's memory.
    fn forget_memory(&mut self) {
        let geometry = self.geometry;
        let buffer = self.config.write_buffer_pages();
        let records = self.array.records.take();
        self.map = PageMap::new(&geometry);
        self.array = FlashArray::new(&self.config, geometry);
        self.array.records = records;
        self.cache = Cache::new(&geometry);
        self.room = (buffer > 0).then_some(buffer);
        self.claims.clear();
        self.placing.clear();
        self.failed.clear();
        self.epochs = Epochs::default();
        self.available = PlaneSet::full(geometry.planes);
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
            if let Some(Ok(page)) = self.store.as_ref().map(|store| store.read(ppa)) {
                assert_eq!(page.oob.lpn, lpn, "reverse map and store disagree");
            }
        });
        assert_eq!(valid, self.blocks.valid_pages(), "valid counts do not add up");
        let only_in_memory = self.map.mapped() - valid.min(self.map.mapped());
        assert!(
            only_in_memory <= self.cache.len(),
            "mapped pages are neither in flash nor in memory"
        );
        if self.array.is_idle() {
            assert!(self.placing.is_empty(), "pages wait but nothing will free a block");
        }
    }
}

/// The newest version of every page in a store: its number and place.
fn scan(
    store: &dyn Store,
    blocks: &Blocks,
    geometry: &crate::Geometry,
    recovery: &mut Recovery,
) -> BTreeMap<Lpn, (u64, Ppa)> {
    let mut newest: BTreeMap<Lpn, (u64, Ppa)> = BTreeMap::new();
    for (block, programmed) in blocks.used() {
        for page in 0..programmed {
            let ppa = geometry.page(block, page);
            let Ok(StoredPage { bytes, oob, .. }) = store.read(ppa) else { continue };
            if oob.lpn.0 >= geometry.logical_pages {
                recovery.unreadable += 1;
                continue;
            }
            // It is the page all the same: whoever reads it is told.
            recovery.unreadable += u64::from(crc32c::crc32c(bytes) != oob.checksum);
            let entry = newest.entry(oob.lpn).or_insert((oob.version, ppa));
            if entry.0 < oob.version {
                *entry = (oob.version, ppa);
            }
        }
    }
    newest
}

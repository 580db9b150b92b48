//! The drive: requests in, transactions to the flash, completions out.

use std::collections::VecDeque;

use records::{DieOperation, DieRecord};
use simtime::{Duration, Instant, Prng};

use crate::address::{Lpn, Ppa};
use crate::array::{FlashArray, Origin, Transaction};
use crate::batch::Batches;
use crate::blocks::Blocks;
use crate::cache::Cache;
use crate::collection::{Collection, Move};
use crate::config::{
    Config, ConfigError, Geometry, MAP_PAGE_ENTRIES, SECTOR_BYTES, UnwrittenReads,
};
use crate::durability::Durability;
use crate::epochs::Epochs;
use crate::frontier::{Frontier, Lifetimes};
use crate::mapping::{Location, PageMap};
use crate::read_cache::ReadCache;
use crate::recovery::Recovery;
use crate::request::{Done, Hint, Medium, RequestId, Span, Statistics, Wear};
use crate::store::{Discarded, MediaError, MemoryStore, Store};

/// Of the operations that fail by chance.
const FAILURES_SEED: u64 = 0x0052_4541_4445_5252;

/// A write that waits for room in the buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    /// `None` if nobody waits for it any more.
    pub(crate) id: Option<RequestId>,
    pub(crate) slot: u32,
    pub(crate) claim: u64,
}

/// The flash drive.
#[derive(Debug)]
pub struct Ssd {
    pub(crate) config: Config,
    pub(crate) geometry: Geometry,
    pub(crate) map: PageMap,
    pub(crate) blocks: Blocks,
    pub(crate) array: FlashArray,
    /// `None` if the drive models times alone.
    pub(crate) store: Option<Box<dyn Store>>,
    pub(crate) cache: Cache,
    pub(crate) read_cache: ReadCache,
    /// Pages of the write buffer that are free; `None` = write through.
    pub(crate) room: Option<u64>,
    /// Writes that wait for room.
    pub(crate) claims: VecDeque<Claim>,
    /// Slots on their way to flash, by program operation.
    pub(crate) batches: Batches<u32>,
    /// How many of them wait for their die or are being programmed.
    pub(crate) batches_in_flight: u32,
    /// Slots whose version could not be programmed, again and again.
    pub(crate) failed: Vec<u32>,
    /// Held pages up to which nothing is programmed for want of room.
    pub(crate) held_max: u64,
    /// Versions of pages so far, and claims to room.
    pub(crate) versions: u64,
    pub(crate) epochs: Epochs,
    pub(crate) durability: Durability,
    /// Where host writes go, by stream.
    pub(crate) frontiers: Vec<Frontier>,
    /// How long pages live that are written again soon.
    pub(crate) lifetimes: Lifetimes,
    pub(crate) collections: Vec<Option<Collection>>,
    /// Pages of collection on their way to where they move.
    pub(crate) moves: Batches<Move>,
    /// Those of them that found no place.
    pub(crate) stuck_moves: VecDeque<u32>,
    /// Requests submitted and not finished.
    pub(crate) backlog: u64,
    /// Completions that need no flash, waiting for the next `advance`.
    pub(crate) ready: Vec<Done>,
    finished: Vec<Transaction>,
    /// What was found when it was switched on.
    pub(crate) found: Recovery,
    /// Which operations fail.
    pub(crate) chance: Prng,
    /// A block became bad that there was no other for.
    pub(crate) is_worn_out: bool,
    pub(crate) now: Instant,
    pub(crate) statistics: Statistics,
}

impl Ssd {
    /// An empty drive that keeps its pages in host memory.
    ///
    /// # Errors
    /// If the configuration contradicts itself.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let geometry = Geometry::new(config)?;
        let store =
            config.keep_data.then(|| Box::new(MemoryStore::new(&geometry)) as Box<dyn Store>);
        let mut ssd = Self::assemble(config, geometry, store);
        ssd.fill();
        Ok(ssd)
    }

    /// A drive that keeps its pages in a store. What the store holds already is what the drive holds: it is switched on again.
    ///
    /// # Errors
    /// If the configuration contradicts itself.
    pub fn with_store(config: &Config, store: Box<dyn Store>) -> Result<Self, ConfigError> {
        let used = store.used_blocks();
        let is_new = used.is_empty() && store.saved().is_none();
        let mut ssd = Self::assemble(config, Geometry::new(config)?, Some(store));
        if is_new {
            ssd.fill();
        } else {
            ssd.switch_on(&used);
        }
        Ok(ssd)
    }

    fn assemble(config: &Config, geometry: Geometry, store: Option<Box<dyn Store>>) -> Self {
        let buffer = config.write_buffer_pages();
        let page_bytes = geometry.page_bytes.into();
        Self {
            config: config.clone(),
            geometry,
            map: PageMap::new(&geometry),
            blocks: Blocks::new(config, geometry),
            array: FlashArray::new(config, geometry),
            store,
            cache: Cache::new(&geometry),
            read_cache: ReadCache::new(config.read_cache_bytes / page_bytes),
            room: (buffer > 0).then_some(buffer),
            claims: VecDeque::new(),
            batches: Batches::default(),
            batches_in_flight: 0,
            failed: Vec::new(),
            held_max: buffer / 2,
            versions: 0,
            epochs: Epochs::default(),
            durability: Durability::default(),
            frontiers: Self::frontiers(config, &geometry),
            lifetimes: Lifetimes::default(),
            collections: (0..geometry.planes).map(|_| None).collect(),
            moves: Batches::default(),
            stuck_moves: VecDeque::new(),
            backlog: 0,
            ready: Vec::new(),
            finished: Vec::new(),
            found: Recovery::default(),
            chance: Prng::new(FAILURES_SEED),
            is_worn_out: false,
            now: Instant::ZERO,
            statistics: Statistics { page_bytes, ..Statistics::default() },
        }
    }

    pub(crate) fn frontiers(config: &Config, geometry: &Geometry) -> Vec<Frontier> {
        (0..config.streams()).map(|_| Frontier::new(geometry.planes)).collect()
    }

    /// Another drive in the same state, to see another future of it; `None` if its store cannot be shared. Bytes of pages
    /// are shared until one of the two writes them.
    pub fn fork(&self) -> Option<Self> {
        let store = match &self.store {
            Some(store) => Some(store.fork()?),
            None => None,
        };
        Some(Self {
            config: self.config.clone(),
            geometry: self.geometry,
            map: self.map.clone(),
            blocks: self.blocks.clone(),
            array: self.array.clone(),
            store,
            cache: self.cache.clone(),
            read_cache: self.read_cache.clone(),
            room: self.room,
            claims: self.claims.clone(),
            batches: self.batches.clone(),
            batches_in_flight: self.batches_in_flight,
            failed: self.failed.clone(),
            held_max: self.held_max,
            versions: self.versions,
            epochs: self.epochs.clone(),
            // A store that can be shared needs none.
            durability: Durability::default(),
            frontiers: self.frontiers.clone(),
            lifetimes: self.lifetimes.clone(),
            collections: self.collections.clone(),
            moves: self.moves.clone(),
            stuck_moves: self.stuck_moves.clone(),
            backlog: self.backlog,
            ready: self.ready.clone(),
            finished: Vec::new(),
            found: self.found,
            chance: self.chance.clone(),
            is_worn_out: self.is_worn_out,
            now: self.now,
            statistics: self.statistics,
        })
    }

    /// What is due before `now` happens before what comes at `now`.
    #[inline]
    pub(crate) fn catch_up(&mut self, now: Instant) {
        assert!(now >= self.now, "time went back from {} to {} ns", self.now.as_ns(), now.as_ns());
        if self.next_due() < now {
            self.run(now, false);
        }
        self.now = now;
    }

    fn check_span(&self, span: Span) {
        let Span { lpn, offset, len } = span;
        let is_page = lpn.0 < self.geometry.logical_pages || lpn == Lpn::NOTHING;
        let is_inside = is_page && offset + len <= self.geometry.page_bytes;
        assert!(is_inside, "{span:?} is beyond the drive");
        let is_whole = offset.is_multiple_of(SECTOR_BYTES) && len.is_multiple_of(SECTOR_BYTES);
        assert!(is_whole && len > 0, "{span:?} is not in whole sectors");
    }

    /// Starts reading bytes of a page, or of [`Lpn::NOTHING`]. They are there when the request is done: [`Self::visit`] shows them.
    ///
    /// # Panics
    /// If the page is beyond the capacity: whoever decoded the command checks that.
    pub fn read(&mut self, now: Instant, id: RequestId, span: Span) {
        self.check_span(span);
        self.catch_up(now);
        self.backlog += 1;
        self.statistics.host_page_reads += 1;
        let ppa = match self.map.get(span.lpn) {
            None => {
                self.statistics.unwritten_reads += 1;
                let is_free = self.config.unwritten_reads == UnwrittenReads::Free;
                if is_free || span.lpn == Lpn::NOTHING {
                    return self.complete_read(now, id, span.lpn, Ok(Medium::Memory));
                }
                self.filled_place(span.lpn)
            }
            Some(Location::Flash(ppa)) => ppa,
            Some(Location::Cache(slot)) => {
                let slot = self.cache.slot(slot);
                let lacks = span.sectors() & !slot.sectors;
                match slot.flash.filter(|_| lacks != 0) {
                    Some(ppa) => ppa,
                    None => {
                        self.statistics.buffer_reads += 1;
                        return self.complete_read(now, id, span.lpn, Ok(Medium::Memory));
                    }
                }
            }
        };
        if self.read_cache.has(span.lpn) {
            self.statistics.buffer_reads += 1;
            return self.complete_read(now, id, span.lpn, Ok(Medium::Memory));
        }
        self.statistics.flash_reads += 1;
        self.enqueue(now, DieOperation::Read, Origin::Host(id), ppa, span.lpn);
    }

    /// Starts writing bytes of a page; zeroes if there are none. They can be read at once. The request is done when the write
    /// buffer has room for them, or, if it is to be `durable` or there is no buffer, when they are in flash.
    ///
    /// # Panics
    /// If the page is beyond the capacity, or there are not as many bytes as the span says.
    pub fn write(
        &mut self,
        now: Instant,
        id: RequestId,
        span: Span,
        durable: bool,
        bytes: Option<&[u8]>,
    ) {
        self.write_hinted(now, id, span, durable, bytes, Hint::default());
    }

    /// As [`Self::write`], with a hint of the host's.
    pub fn write_hinted(
        &mut self,
        now: Instant,
        id: RequestId,
        span: Span,
        durable: bool,
        bytes: Option<&[u8]>,
        hint: Hint,
    ) {
        self.check_span(span);
        assert!(span.lpn != Lpn::NOTHING, "wrote to no page");
        self.catch_up(now);
        self.backlog += 1;
        self.statistics.host_page_writes += 1;
        self.statistics.host_bytes_written += u64::from(span.len);
        self.read_cache.changed(span.lpn, 1);
        let is_known = u32::from(hint.stream) < self.config.streams();
        let hint = if is_known { hint } else { Hint::default() };
        self.buffer(now, id, span, durable, bytes, hint);
    }

    /// Starts a flush: it is done when every write submitted before is in flash.
    pub fn flush(&mut self, now: Instant, id: RequestId) {
        self.catch_up(now);
        self.backlog += 1;
        self.flush_buffer(now, id);
    }

    /// Starts to make durable what the store was told so far, also of what was deallocated. What is in the write buffer stays there.
    pub fn sync(&mut self, now: Instant, id: RequestId) {
        self.catch_up(now);
        self.backlog += 1;
        self.complete_durable(now, id, Medium::Memory);
    }

    /// Forgets `count` pages from `first` on: they read as zeroes, cost no flash time to read, and collection no longer moves
    /// them; after a loss of power too. It takes no flash time. Writes of them that are under way are done.
    ///
    /// # Panics
    /// If a page is beyond the capacity.
    pub fn deallocate(&mut self, now: Instant, first: Lpn, count: u64) {
        let end = first.0 + count;
        assert!(end <= self.geometry.logical_pages, "page {end} is beyond the capacity");
        self.catch_up(now);
        let mut gone = Vec::new();
        self.map.remove(first, count, |_, location| gone.push(location));
        self.read_cache.changed(first, count);
        self.statistics.deallocated_pages += gone.len() as u64;
        for location in gone {
            match location {
                Location::Flash(ppa) => self.invalidate(now, ppa, Discarded::Deallocated),
                Location::Cache(slot) => self.drop_slot(now, slot),
            }
        }
        let planes = if self.config.zone_streams > 0 { self.geometry.planes } else { 0 };
        for plane in 0..planes {
            if self.blocks.has_emptied(plane) {
                self.start_collection(now, plane);
            }
        }
        self.retry_moves(now);
        self.relieve(now);
        self.sync_if_wanted(now);
    }

    /// The pages of the map in which a deallocation changes something, if that takes time.
    pub fn changed_map_pages(&self, first: Lpn, count: u64) -> Vec<u64> {
        if self.config.deallocate_time.is_zero() || count == 0 {
            return Vec::new();
        }
        let (first, end) = (first.0, first.0 + count);
        let parts = first / MAP_PAGE_ENTRIES..=(end - 1) / MAP_PAGE_ENTRIES;
        let changed = parts.filter(|part| {
            let from = first.max(part * MAP_PAGE_ENTRIES);
            let to = end.min((part + 1) * MAP_PAGE_ENTRIES);
            self.map.mapped_among(Lpn(from), to - from) > 0
        });
        changed.collect()
    }

    /// Requests submitted and not finished.
    pub fn backlog(&self) -> u64 {
        self.backlog
    }

    /// Pages whose bytes the drive's memory holds, in the write buffer and on their way into it.
    pub fn buffered_pages(&self) -> u64 {
        self.cache.len()
    }

    /// Forgets requests that nobody waits for any more: those that `keep` does not want never finish. Reads that have not
    /// begun are not done, and writes that have no room in the buffer yet are undone, unless others wait for the same page.
    /// Flushes are done all the same.
    pub fn forget(&mut self, now: Instant, keep: impl Fn(RequestId) -> bool) {
        self.catch_up(now);
        self.backlog -= self.array.forget_reads(&keep);
        self.forget_writes(now, keep);
    }

    /// True if a page was written and not deallocated since.
    pub fn is_mapped(&self, lpn: Lpn) -> bool {
        self.map.get(lpn).is_some()
    }

    /// Number of pages among `count` from `first` on that hold something.
    pub fn mapped_among(&self, first: Lpn, count: u64) -> u64 {
        self.map.mapped_among(first, count)
    }

    /// Number of pages from `first` on, of `count`, before the first that holds nothing.
    pub fn mapped_from(&self, first: Lpn, count: u64) -> u64 {
        let (mut whole, mut rest) = (0, count);
        while rest > 0 {
            let half = rest.div_ceil(2);
            if self.mapped_among(Lpn(first.0 + whole), half) == half {
                whole += half;
                rest -= half;
            } else {
                rest = half - 1;
            }
        }
        whole
    }

    /// Number of pages that were written and not deallocated since.
    pub fn mapped_pages(&self) -> u64 {
        self.map.mapped()
    }

    /// Runs every event due at or before `now`, appending finished requests.
    pub fn advance(&mut self, now: Instant, done: &mut Vec<Done>) {
        assert!(now >= self.now, "time went back from {} to {} ns", self.now.as_ns(), now.as_ns());
        self.run(now, true);
        self.now = now;
        done.extend_from_slice(&self.ready);
        self.ready.clear();
    }

    pub(crate) fn run(&mut self, until: Instant, is_inclusive: bool) {
        let mut finished = std::mem::take(&mut self.finished);
        loop {
            let (array, cache) = (self.array.next_or_never(), self.destage_due());
            let at = array.min(cache);
            if at > until || at == until && !is_inclusive || at == Instant::NEVER {
                break;
            }
            self.now = at;
            if array <= cache {
                self.array.step(at, &mut finished);
                for transaction in &finished {
                    self.finish(at, *transaction);
                }
                finished.clear();
            } else {
                self.destage_due_at(at);
            }
        }
        self.finished = finished;
    }

    /// When to call [`Self::advance`] again: at once if something is ready.
    pub fn next_event(&self) -> Option<Instant> {
        self.next_or_never().unless_never()
    }

    /// As [`Self::next_event`]; `Instant::NEVER` if nothing is under way.
    #[inline]
    pub fn next_or_never(&self) -> Instant {
        if self.ready.is_empty() { self.next_due() } else { self.now }
    }

    #[inline]
    fn next_due(&self) -> Instant {
        self.array.next_or_never().min(self.destage_due())
    }

    /// When the next page of the write buffer is programmed that has waited long enough.
    #[inline]
    fn destage_due(&self) -> Instant {
        self.gathered_due().min(self.cache.oldest_write() + self.config.write_buffer_delay)
    }

    fn destage_due_at(&mut self, now: Instant) {
        // What is to be programmed now may fill up what was gathered.
        if self.cache.oldest_write() + self.config.write_buffer_delay <= now {
            self.destage_oldest(now);
        } else {
            self.program_due(now);
        }
    }

    /// True if the drive keeps the bytes of its pages.
    #[inline]
    pub fn keeps_data(&self) -> bool {
        self.store.is_some()
    }

    /// Shows the current bytes of a page, piece by piece; nothing if the drive models times alone.
    #[inline]
    pub fn visit(&self, span: Span, mut visitor: impl FnMut(&[u8])) {
        /// What was never written reads as; as long as the largest page.
        static ZEROES: [u8; 65_536] = [0; 65_536];
        let Some(store) = &self.store else { return };
        let Span { lpn, offset, len } = span;
        let range = offset as usize..(offset + len) as usize;
        // What cannot be read was reported when the request was done.
        let show_stored = |ppa, show: &mut dyn FnMut(&[u8])| {
            if store.read(ppa, &mut |page| show(page.bytes)).is_err() {
                show(&ZEROES);
            }
        };
        let slot = match self.map.get(lpn) {
            None => return visitor(&ZEROES[range]),
            Some(Location::Flash(ppa)) => {
                return show_stored(ppa, &mut |page| visitor(&page[range.clone()]));
            }
            Some(Location::Cache(slot)) => self.cache.slot(slot),
        };
        let newest = slot.newest().unwrap_or(&ZEROES);
        if span.sectors() & !slot.sectors == 0 {
            return visitor(&newest[range]);
        }
        let mut mix = |older: &[u8]| {
            let sector = SECTOR_BYTES as usize;
            let mut at = range.start;
            while at < range.end {
                let end = ((at / sector + 1) * sector).min(range.end);
                let is_new = slot.sectors >> (at / sector) & 1 != 0;
                visitor(&if is_new { newest } else { older }[at..end]);
                at = end;
            }
        };
        match slot.flash {
            Some(ppa) => show_stored(ppa, &mut mix),
            None => mix(&ZEROES),
        }
    }

    /// The checked geometry.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The configuration that it was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The time until which everything has happened.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Counters.
    pub fn statistics(&self) -> Statistics {
        self.statistics_at(self.now)
    }

    /// Counters at a time until which nothing more happens.
    pub fn statistics_at(&self, now: Instant) -> Statistics {
        Statistics {
            dies_busy: self.array.dies_busy(now),
            channels_busy: self.array.channels_busy(now),
            ..self.statistics
        }
    }

    /// How worn the flash is.
    pub fn wear(&self) -> Wear {
        let (erases, erases_max) = self.blocks.erases();
        let geometry = &self.geometry;
        let blocks = u64::from(geometry.planes) * u64::from(geometry.good_blocks_per_plane());
        Wear { blocks, erases, erases_max }
    }

    /// The time until now of transfers over each channel, and of operations of each die.
    pub fn busy(&self, now: Instant) -> (Vec<Duration>, Vec<Duration>) {
        (self.array.busy_of_channels(now), self.array.busy_of_dies(now))
    }

    /// Starts or stops recording what dies do.
    pub fn set_recording(&mut self, on: bool) {
        self.array.records = on.then(Vec::new);
    }

    /// The records since they were taken last; `None` while none are made.
    pub fn records(&mut self) -> Option<&mut Vec<DieRecord>> {
        self.array.records.as_mut()
    }

    #[inline]
    pub(crate) fn complete(
        &mut self,
        at: Instant,
        id: RequestId,
        result: Result<Medium, MediaError>,
    ) {
        self.backlog -= 1;
        self.ready.push(Done::new(id, at, result));
    }

    /// As [`Self::complete`], for a read.
    #[inline]
    fn complete_read(
        &mut self,
        at: Instant,
        id: RequestId,
        lpn: Lpn,
        result: Result<Medium, MediaError>,
    ) {
        self.backlog -= 1;
        self.ready.push(Done { page: Some(lpn), ..Done::new(id, at, result) });
    }

    #[inline]
    pub(crate) fn enqueue(
        &mut self,
        now: Instant,
        operation: DieOperation,
        origin: Origin,
        ppa: Ppa,
        lpn: Lpn,
    ) {
        let plane = self.blocks.plane_of(ppa);
        self.array.enqueue(now, Transaction { operation, plane, origin, ppa, lpn, tries: 0 });
    }

    /// A physical page holds nothing current any more.
    pub(crate) fn invalidate(&mut self, now: Instant, old: Ppa, why: Discarded) {
        self.blocks.invalidate(now, old);
        if let Some(store) = &mut self.store {
            let page = store.discard(old, why);
            self.cache.recycle(page);
        }
        // A plane without a free block that had nothing to collect has something now.
        if self.frontiers.iter().any(|frontier| !frontier.available.is_full()) {
            let plane = self.blocks.plane_of(old);
            if self.is_short_of_room(plane) && self.collections[plane as usize].is_none() {
                self.start_collection(now, plane);
            }
        }
    }

    /// Checks what a read of a page hands out against its record. Since the read began collection may have moved the page,
    /// or the host written or deallocated it: what counts is where its bytes come from now.
    pub(crate) fn check_read(&mut self, lpn: Lpn) -> Result<(), MediaError> {
        let Some(store) = &mut self.store else { return Ok(()) };
        let ppa = match self.map.get(lpn) {
            Some(Location::Flash(ppa)) => Some(ppa),
            Some(Location::Cache(slot)) => {
                let slot = self.cache.slot(slot);
                slot.flash.filter(|_| slot.sectors != self.cache.whole)
            }
            None => None,
        };
        let Some(ppa) = ppa else { return Ok(()) };
        let (mut checked, mut is_news) = (Ok(()), false);
        let shown = store.read(ppa, &mut |page| {
            if page.oob.lpn != lpn {
                checked = Err(MediaError::Misplaced { found: page.oob.lpn });
            } else if !page.is_checked {
                is_news = crc32c::crc32c(page.bytes) == page.oob.checksum;
                checked = if is_news { Ok(()) } else { Err(MediaError::Uncorrectable) };
            }
        });
        if is_news {
            store.checked(ppa);
        }
        let checked = shown.and(checked);
        self.statistics.media_errors += u64::from(checked.is_err());
        checked
    }

    /// Some reads fail, if the configuration has it so.
    #[inline]
    fn read_by_chance(&mut self) -> Result<(), MediaError> {
        let ppm = u64::from(self.config.read_errors_ppm);
        if ppm == 0 || self.chance.below(1_000_000) >= ppm {
            return Ok(());
        }
        self.statistics.media_errors += 1;
        Err(MediaError::Uncorrectable)
    }

    /// A transaction left the flash.
    fn finish(&mut self, now: Instant, transaction: Transaction) {
        let Transaction { operation, origin, plane, ppa, lpn, .. } = transaction;
        if operation == DieOperation::Read && self.reads_again(now, &transaction) {
            return;
        }
        match origin {
            Origin::Host(id) => {
                let result = self.check_read(lpn).and_then(|()| self.correct(now, ppa));
                let result = result.and_then(|()| self.read_by_chance());
                // What was written meanwhile is something else.
                if result.is_ok() && self.map.get(lpn) == Some(Location::Flash(ppa)) {
                    self.read_cache.was_read(lpn);
                }
                self.complete_read(now, id, lpn, result.map(|()| Medium::Flash));
            }
            Origin::Fill(slot) => self.filled(now, slot),
            Origin::Destage(batch) => self.batch_destaged(now, batch, ppa),
            Origin::Move(from) => self.page_read(now, from, lpn),
            Origin::Moves(batch) => self.batch_moved(now, batch, ppa),
            Origin::Erase => self.erased(now, plane, ppa),
        }
    }
}

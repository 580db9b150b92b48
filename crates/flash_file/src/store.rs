//! The store: pages, records, blocks and the drive's own state in a file.
//!
//! Two ends must be survived. The process may end at any moment: what was written to the file is there, in order. The machine
//! may: then of what was written since the last sync any part may be missing. So nothing that something older depends on is written
//! before what it stands for is durable: a page is marked as dead, and a block erased, only after a sync
//! that came after its end ([`Pending`]).

use std::cell::RefCell;
use std::io;

use ssd::{
    Backend, BlockId, Discarded, Geometry, MediaError, NotProgrammed, Oob, Page, Ppa, Store,
    StoredPage, SyncPolicy, SyncWork, UsedBlock,
};
use zerocopy::{FromZeros, IntoBytes};

use crate::disk::Disk;
use crate::layout::{BlockEntry, Layout, OWN_BYTES_MAX, PageRecord, STATE_PLACES, State};
use crate::open::live_records;

/// So much that waits for a sync makes the store ask for one by itself.
const PENDING_ERASES: usize = 8;
const PENDING_DEAD: usize = 1 << 14;
/// What is said after a sync that failed: what the operating system did with what was written then is not known.
const BROKEN: &str =
    "an earlier attempt failed, and what was written then may be lost: start the drive again";
/// Neighbouring pages that nobody wants are made a hole from this number on.
const PUNCH_PAGES: u64 = 4;

/// What is known of a block.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Block {
    pub(crate) erases: u32,
    /// The table says that it is used.
    pub(crate) is_used: bool,
    /// What was not written of it reads as zeroes. What is in a block that a file calls unused is unknown: the machine may have
    /// ended before the table was written.
    pub(crate) is_hole: bool,
    /// It is erased once what came before is durable.
    pub(crate) is_erase_pending: bool,
}

/// What is written once all that was programmed before is durable.
#[derive(Debug, Default)]
struct Pending {
    dead: Vec<(Ppa, Discarded)>,
    erases: Vec<BlockId>,
    /// Deallocated pages whose marks were written before: their bytes are given up once these are durable.
    holes: Vec<Ppa>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.dead.is_empty() && self.erases.is_empty() && self.holes.is_empty()
    }

    fn deallocates(&self) -> bool {
        self.dead.iter().any(|(_, why)| *why == Discarded::Deallocated)
    }

    fn append(&mut self, mut later: Self) {
        self.dead.append(&mut later.dead);
        self.erases.append(&mut later.erases);
        self.holes.append(&mut later.holes);
    }
}

/// A sync that is under way.
#[derive(Debug)]
struct Syncing {
    /// The last program that it makes durable, and the last state.
    sequence: u64,
    state: u64,
    /// What may be written then.
    pending: Pending,
    /// Marks of deallocated pages were written since it began: they are durable after another one.
    needs_another: bool,
}

/// The page that was read last: a drive reads it to check it, and then to hand it out.
#[derive(Debug, Default)]
struct LastRead {
    ppa: Option<Ppa>,
    record: Option<PageRecord>,
    bytes: Vec<u8>,
}

/// The flash of a drive in a file.
#[derive(Debug)]
pub struct FileStore {
    pub(crate) disk: Box<dyn Disk>,
    pub(crate) geometry: Geometry,
    pub(crate) layout: Layout,
    pub(crate) sync: SyncPolicy,
    /// By number in the file.
    pub(crate) blocks: Vec<Block>,
    pub(crate) state: State,
    /// In which of the two places the state is.
    pub(crate) state_place: usize,
    pub(crate) used: Vec<UsedBlock>,
    pub(crate) newest_version: u64,
    /// Programs so far.
    pub(crate) sequence: u64,
    /// Something was written that a sync must make durable.
    is_dirty: bool,
    /// Programs up to this one are durable. The file is told with the next state.
    durable: u64,
    /// The number of the last state that is durable. The next is written only then: of the two places one is always whole, and so
    /// is the drive's own state that it leads to.
    durable_state: u64,
    /// A sync failed: nothing that was written before it can be relied upon.
    is_broken: bool,
    pending: Pending,
    syncing: Option<Syncing>,
    last: RefCell<LastRead>,
    pub(crate) notes: RefCell<Vec<String>>,
    backend: Backend,
    /// How the user knows the file.
    pub(crate) name: String,
}

impl FileStore {
    /// A store over a disk that holds nothing that the rest does not say.
    pub(crate) fn assemble(
        disk: Box<dyn Disk>,
        geometry: Geometry,
        sync: SyncPolicy,
        name: String,
        state: (State, usize),
    ) -> Self {
        let layout = Layout::new(&geometry);
        let backend = disk.backend();
        // What is durable already needs no sync: the end of the machine is then no worse than that of the process.
        let sync = if backend == Backend::DaxSync { SyncPolicy::Never } else { sync };
        Self {
            disk,
            geometry,
            layout,
            sync,
            blocks: vec![Block::default(); layout.blocks as usize],
            state: state.0,
            state_place: state.1,
            used: Vec::new(),
            newest_version: 0,
            sequence: state.0.durable.get(),
            is_dirty: false,
            durable: state.0.durable.get(),
            durable_state: state.0.number.get(),
            is_broken: false,
            pending: Pending::default(),
            syncing: None,
            last: RefCell::default(),
            notes: RefCell::default(),
            backend,
            name,
        }
    }

    fn number(&self, block: BlockId) -> u64 {
        number(&self.geometry, block)
    }

    fn note(&self, what: &str, error: &io::Error) {
        let mut notes = self.notes.borrow_mut();
        // The same happens to every page of a full disk.
        let remedy = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "; writes fail until there is room"
            }
            _ => "",
        };
        let note = format!("{}: {what}: {error}{remedy}", self.name);
        if notes.last() != Some(&note) && notes.len() < 64 {
            notes.push(note);
        }
    }

    /// The record of a page, if there is a sound one that is not dead.
    fn read_record(&self, ppa: Ppa) -> Result<Option<PageRecord>, MediaError> {
        let (block, page) = self.place_of(ppa);
        let mut record = PageRecord::new_zeroed();
        self.disk.read(self.layout.record(block, page), record.as_mut_bytes()).map_err(
            |error| {
                self.note("cannot be read", &error);
                MediaError::Uncorrectable
            },
        )?;
        if record.is_empty() {
            return Ok(None);
        }
        if !record.is_sound(self.layout.place(block, page)) {
            return Err(MediaError::Uncorrectable);
        }
        Ok(Some(record))
    }

    pub(crate) fn place_of(&self, ppa: Ppa) -> (u64, u64) {
        (self.number(self.geometry.block_of(ppa)), self.geometry.page_of(ppa).into())
    }

    /// Fills [`Self::last`] with a page.
    fn load(&self, ppa: Ppa) -> Result<(), MediaError> {
        let mut last = self.last.borrow_mut();
        if last.ppa == Some(ppa) {
            return Ok(());
        }
        last.ppa = None;
        let record = self.read_record(ppa)?.ok_or(MediaError::Uncorrectable)?;
        let (block, page) = self.place_of(ppa);
        last.bytes.resize(self.geometry.page_bytes as usize, 0);
        let read = self.disk.read(self.layout.page(block, page), &mut last.bytes);
        if let Err(error) = read {
            self.note("cannot be read", &error);
            return Err(MediaError::Uncorrectable);
        }
        (last.ppa, last.record) = (Some(ppa), Some(record));
        Ok(())
    }

    fn forget_last(&mut self) {
        self.last.get_mut().ppa = None;
    }

    /// Writes a page and its record, the record last. A page that is known to be unreadable is marked so: after the end of the machine
    /// it must not be taken for one that was never flushed.
    fn write_page(&mut self, ppa: Ppa, bytes: &[u8], oob: Oob) -> io::Result<()> {
        let (block, page) = self.place_of(ppa);
        self.use_block(self.geometry.block_of(ppa))?;
        let is_hole = self.blocks[block as usize].is_hole;
        if !is_hole || bytes.iter().any(|byte| *byte != 0) {
            self.disk.write(self.layout.page(block, page), bytes)?;
        }
        self.sequence += 1;
        let place = self.layout.place(block, page);
        let is_readable = crc32c::crc32c(bytes) == oob.checksum;
        let record = PageRecord::new(oob, self.sequence, place, is_readable);
        self.is_dirty = true;
        self.disk.write(self.layout.record(block, page), record.as_bytes())
    }

    /// Takes a block into use: its records read as zeroes, and the table says that it has pages.
    fn use_block(&mut self, id: BlockId) -> io::Result<()> {
        let block = self.number(id);
        // The model uses it again before a sync came by. If pages of it were deallocated, it is erased after the second.
        for _ in 0..2 {
            if self.blocks[block as usize].is_erase_pending {
                self.sync_here()?;
            }
        }
        if self.blocks[block as usize].is_erase_pending {
            return Err(io::Error::other("a block cannot be erased"));
        }
        let Block { is_used, mut is_hole, erases, .. } = self.blocks[block as usize];
        if is_used {
            return Ok(());
        }
        let at = self.layout.block(block);
        if !is_hole {
            is_hole = self.disk.punch(at, self.layout.block_bytes()).is_ok();
            self.blocks[block as usize].is_hole = is_hole;
        }
        // Where there can be no holes it is written over.
        if !is_hole {
            self.disk.write(at, &vec![0; self.layout.records_bytes() as usize])?;
        }
        self.write_entry(block, BlockEntry::USED, erases)?;
        self.blocks[block as usize].is_used = true;
        Ok(())
    }

    fn write_entry(&mut self, block: u64, state: u32, erases: u32) -> io::Result<()> {
        let entry = BlockEntry::new(state, erases);
        self.disk.write(self.layout.entry(block), entry.as_bytes())
    }

    /// Makes everything durable at once, in this thread.
    fn sync_here(&mut self) -> io::Result<()> {
        if self.is_broken {
            return Err(io::Error::other(BROKEN));
        }
        if self.sync == SyncPolicy::Flush
            && let Err(why) = self.disk.sync().run()
        {
            self.is_broken = true;
            return Err(io::Error::other(why));
        }
        (self.durable, self.durable_state) = (self.sequence, self.state.number.get());
        let mut pending = Pending::default();
        if let Some(syncing) = &mut self.syncing {
            pending.append(std::mem::take(&mut syncing.pending));
        }
        pending.append(std::mem::take(&mut self.pending));
        // These marks are durable only with the next sync.
        if pending.deallocates()
            && let Some(syncing) = &mut self.syncing
        {
            syncing.needs_another = true;
        }
        let mut later = self.apply(pending)?;
        if self.sync == SyncPolicy::Never {
            // What was written is there, in order.
            later = self.apply(later)?;
        }
        self.is_dirty |= !later.is_empty();
        self.put_back(later);
        Ok(())
    }

    /// What could not be done waits for the next sync, before what came later.
    fn put_back(&mut self, mut pending: Pending) {
        pending.append(std::mem::take(&mut self.pending));
        self.pending = pending;
    }

    /// The file is told what is durable, unless the last state is not yet.
    fn tell_durable(&mut self) -> io::Result<()> {
        if self.durable > self.state.durable.get() && self.is_state_durable() {
            self.write_state(self.state)?;
        }
        Ok(())
    }

    fn is_state_durable(&self) -> bool {
        self.sync == SyncPolicy::Never || self.durable_state == self.state.number.get()
    }

    pub(crate) fn write_state(&mut self, state: State) -> io::Result<()> {
        let number = self.state.number.get() + 1;
        let state = State { number: number.into(), durable: self.durable.into(), ..state }.seal();
        let place = 1 - self.state_place;
        self.disk.write(STATE_PLACES[place], state.as_bytes())?;
        (self.state, self.state_place) = (state, place);
        Ok(())
    }

    /// Everything up to this program was found to be there, and was synced.
    pub(crate) fn found_durable(&mut self, sequence: u64) -> io::Result<()> {
        (self.sequence, self.durable) = (sequence, sequence);
        self.durable_state = self.state.number.get();
        self.tell_durable()
    }

    /// Marks pages as dead and erases blocks; returns what is to be done after another sync. What could not be done waits for the next.
    ///
    /// A page that was flushed and is deallocated is there, or is not, whenever the machine ends: nothing of it is given up before its
    /// mark is durable.
    fn apply(&mut self, mut pending: Pending) -> io::Result<Pending> {
        let deallocated =
            |(ppa, why): &(Ppa, Discarded)| (*why == Discarded::Deallocated).then_some(*ppa);
        let holes: Vec<Ppa> = pending.dead.iter().filter_map(deallocated).collect();
        let later = if holes.is_empty() {
            Pending::default()
        } else {
            Pending { erases: std::mem::take(&mut pending.erases), holes, ..Pending::default() }
        };
        if let Err(error) = self.apply_some(&mut pending) {
            self.is_dirty = true;
            pending.erases.extend(later.erases);
            self.put_back(pending);
            return Err(error);
        }
        Ok(later)
    }

    fn apply_some(&mut self, pending: &mut Pending) -> io::Result<()> {
        self.forget_last();
        self.punch_dead(std::mem::take(&mut pending.holes));
        pending.dead.sort_unstable_by_key(|(ppa, _)| *ppa);
        for n in 0..pending.dead.len() {
            if let Err(error) = self.mark_dead(pending.dead[n].0) {
                pending.dead.drain(..n);
                return Err(error);
            }
        }
        pending.dead.clear();
        while let Some(&id) = pending.erases.first() {
            let block = self.number(id);
            let erases = self.blocks[block as usize].erases.saturating_add(1);
            self.write_entry(block, BlockEntry::ERASED, erases)?;
            let at = self.layout.block(block);
            let is_hole = self.disk.punch(at, self.layout.block_bytes()).is_ok();
            self.blocks[block as usize] = Block { erases, is_hole, ..Block::default() };
            pending.erases.remove(0);
        }
        Ok(())
    }

    pub(crate) fn mark_dead(&mut self, ppa: Ppa) -> io::Result<()> {
        let (block, page) = self.place_of(ppa);
        let at = self.layout.record(block, page) + PageRecord::DEAD_AT;
        self.disk.write(at, &PageRecord::DEAD.to_le_bytes())
    }

    /// Gives back the room of neighbouring pages that hold nothing any more.
    fn punch_dead(&mut self, mut dead: Vec<Ppa>) {
        dead.sort_unstable();
        let places: Vec<(u64, u64)> = dead.into_iter().map(|ppa| self.place_of(ppa)).collect();
        let follows = |a: &(u64, u64), b: &(u64, u64)| a.0 == b.0 && a.1 + 1 == b.1;
        for run in places.chunk_by(follows) {
            let (block, page) = run[0];
            // A block that is to be erased goes as a whole.
            if run.len() as u64 >= PUNCH_PAGES && !self.blocks[block as usize].is_erase_pending {
                let len = run.len() as u64 * u64::from(self.geometry.page_bytes);
                // Without holes they stay where they are, and nobody finds them.
                let _ = self.disk.punch(self.layout.page(block, page), len);
            }
        }
    }
}

/// A block's number in the file: blocks that are filled together lie together.
pub(crate) fn number(geometry: &Geometry, block: BlockId) -> u64 {
    u64::from(geometry.index_of(block)) * u64::from(geometry.planes)
        + u64::from(geometry.plane_of(block))
}

impl Store for FileStore {
    fn read(&self, ppa: Ppa, show: &mut dyn FnMut(StoredPage<'_>)) -> Result<(), MediaError> {
        self.load(ppa)?;
        let last = self.last.borrow();
        let record = last.record.filter(PageRecord::is_readable);
        let oob = record.ok_or(MediaError::Uncorrectable)?.oob();
        show(StoredPage { bytes: &last.bytes, oob, is_checked: false });
        Ok(())
    }

    fn record(&self, ppa: Ppa) -> Option<Oob> {
        self.read_record(ppa).ok()?.map(|record| record.oob())
    }

    /// Of two copies of one version the later one: the earlier may have been given up in part when the machine ended.
    fn is_newer(&self, ppa: Ppa, other: Ppa) -> bool {
        let order = |ppa| {
            let record = self.read_record(ppa).ok().flatten();
            record.map(|record| (record.version.get(), record.sequence.get()))
        };
        order(ppa) > order(other)
    }

    fn program(&mut self, ppa: Ppa, page: Page, oob: Oob) -> Result<(), NotProgrammed> {
        self.newest_version = self.newest_version.max(oob.version);
        self.forget_last();
        self.write_page(ppa, &page, oob).map_err(|error| {
            self.note("cannot be written", &error);
            NotProgrammed { error: MediaError::ProgramFailed, page }
        })
    }

    fn relocate(&mut self, from: Ppa, to: Ppa) -> Result<(), MediaError> {
        let (bytes, oob) = match self.load(from) {
            Ok(()) => {
                let last = self.last.get_mut();
                let record = last.record.ok_or(MediaError::Uncorrectable)?;
                let bytes = std::mem::take(&mut last.bytes);
                // It must not become readable by chance.
                let checksum = if record.is_readable() {
                    record.oob().checksum
                } else {
                    !crc32c::crc32c(&bytes)
                };
                (bytes, Oob { checksum, ..record.oob() })
            }
            // What can be read of it moves; the rest stays unreadable.
            Err(_) => match self.read_record(from) {
                Ok(Some(record)) => {
                    let oob = record.oob();
                    let bytes = vec![0; self.geometry.page_bytes as usize];
                    let checksum = !crc32c::crc32c(&bytes);
                    (bytes, Oob { checksum, ..oob })
                }
                _ => return Ok(()),
            },
        };
        let written = self.write_page(to, &bytes, oob);
        self.forget_last();
        self.last.get_mut().bytes = bytes;
        written.map_err(|error| {
            self.note("cannot be written", &error);
            MediaError::ProgramFailed
        })?;
        self.pending.dead.push((from, Discarded::Superseded));
        Ok(())
    }

    fn tear(&mut self, ppa: Ppa, page: &[u8], _oob: Oob) {
        // The record of a page comes after its bytes: there is none yet.
        let (block, number) = self.place_of(ppa);
        let half = &page[..page.len() / 2];
        if self.use_block(self.geometry.block_of(ppa)).is_ok() {
            // A failure leaves less of it.
            let _ = self.disk.write(self.layout.page(block, number), half);
        }
    }

    fn power_lost(&mut self) {
        // The drive is another one now: nothing waits any more, and what it may not find is marked, for good. (What cannot be made
        // durable its user is told.)
        let _ = self.sync_now();
        self.syncing = None;
        self.forget_last();
    }

    fn discard(&mut self, ppa: Ppa, why: Discarded) -> Option<Page> {
        self.is_dirty |= why == Discarded::Deallocated;
        self.pending.dead.push((ppa, why));
        None
    }

    fn erase(&mut self, block: BlockId) {
        let number = self.number(block);
        self.blocks[number as usize].is_erase_pending = true;
        self.pending.erases.push(block);
        self.forget_last();
    }

    fn scan(&self, geometry: &Geometry, used: UsedBlock, visit: &mut dyn FnMut(Ppa, Oob, bool)) {
        match live_records(&*self.disk, geometry, &self.layout, used) {
            Ok(records) => records.into_iter().for_each(|(page, record)| {
                visit(geometry.page(used.block, page as u32), record.oob(), true);
            }),
            Err(error) => self.note("cannot be read", &error),
        }
    }

    fn used_blocks(&self) -> Vec<UsedBlock> {
        self.used.clone()
    }

    fn newest_version(&self) -> u64 {
        self.newest_version
    }

    fn begin_sync(&mut self) -> Option<SyncWork> {
        if self.is_broken {
            return Some(SyncWork::new(|| Err(BROKEN.to_owned())));
        }
        if self.sync == SyncPolicy::Never {
            if let Err(error) = self.sync_here().and_then(|()| self.tell_durable()) {
                self.note("cannot be written", &error);
            }
            return None;
        }
        if !self.is_dirty && self.pending.is_empty() {
            return None;
        }
        self.note_durable();
        self.is_dirty = false;
        let pending = std::mem::take(&mut self.pending);
        self.syncing = Some(Syncing {
            sequence: self.sequence,
            state: self.state.number.get(),
            pending,
            needs_another: false,
        });
        Some(self.disk.sync())
    }

    fn end_sync(&mut self, result: Result<(), String>) -> Result<Option<SyncWork>, MediaError> {
        let Some(Syncing { sequence, state, pending, needs_another }) = self.syncing.take() else {
            return match result {
                Ok(()) => Ok(None),
                Err(why) => {
                    self.note("cannot be made durable", &io::Error::other(why));
                    Err(MediaError::NotDurable)
                }
            };
        };
        let needs_another = needs_another || pending.deallocates();
        let written = match result {
            Ok(()) if self.is_broken => Err(io::Error::other(BROKEN)),
            Ok(()) => {
                self.durable = self.durable.max(sequence);
                self.durable_state = self.durable_state.max(state);
                self.apply(pending)
            }
            Err(why) => {
                self.is_broken = true;
                Err(io::Error::other(why))
            }
        };
        let later = match written {
            Ok(later) => later,
            Err(error) => {
                self.is_dirty = true;
                self.note("cannot be made durable", &error);
                return Err(MediaError::NotDurable);
            }
        };
        if !needs_another {
            return Ok(None);
        }
        // That pages are dead is durable only after another one.
        self.syncing = Some(Syncing {
            sequence,
            state: self.state.number.get(),
            pending: later,
            needs_another: false,
        });
        Ok(Some(self.disk.sync()))
    }

    fn note_durable(&mut self) {
        if let Err(error) = self.tell_durable() {
            self.note("cannot be written", &error);
        }
    }

    fn wants_sync(&self) -> bool {
        let Pending { dead, erases, .. } = &self.pending;
        !self.is_broken && (erases.len() >= PENDING_ERASES || dead.len() >= PENDING_DEAD)
    }

    fn sync_now(&mut self) -> Result<(), MediaError> {
        // That pages are dead is durable only after the second.
        let running = self.syncing.as_ref().is_some_and(|syncing| syncing.pending.deallocates());
        let times = 1 + usize::from(running || self.pending.deallocates());
        let synced = (0..times).try_for_each(|_| self.sync_here());
        synced.map_err(|error| {
            self.note("cannot be made durable", &error);
            MediaError::NotDurable
        })
    }

    fn scrub(&mut self) {
        // Of a block in use its records stay. Neighbours that are not in use go at once.
        let mut block = 0;
        while block < self.layout.blocks {
            let is_used = self.blocks[block as usize].is_used;
            let mut end = block + 1;
            while !is_used && end < self.layout.blocks && !self.blocks[end as usize].is_used {
                end += 1;
            }
            let at = if is_used { self.layout.page(block, 0) } else { self.layout.block(block) };
            if let Err(error) = self.disk.punch(at, self.layout.block(end) - at) {
                return self.note("old bytes stay in it: they cannot be made a hole", &error);
            }
            block = end;
        }
        self.is_dirty = true;
    }

    fn backend(&self) -> Backend {
        self.backend
    }

    fn save(&mut self, own: &[u8]) -> Result<(), MediaError> {
        let saved = (|| {
            if own.len() > OWN_BYTES_MAX {
                return Err(io::Error::other("the drive's own state is longer than its place"));
            }
            if self.is_broken {
                return Err(io::Error::other(BROKEN));
            }
            // What the last state leads to is durable before the other one is written over.
            if !self.is_state_durable() {
                self.sync_here()?;
            }
            let place = 1 - self.state.own_place.get();
            self.disk.write(Layout::own(place), own)?;
            self.is_dirty = true;
            self.write_state(State {
                own_place: place.into(),
                own_bytes: (own.len() as u32).into(),
                own_checksum: crc32c::crc32c(own).into(),
                ..self.state
            })
        })();
        saved.map_err(|error| {
            self.note("cannot be written", &error);
            MediaError::ProgramFailed
        })
    }

    fn saved(&self) -> Option<Vec<u8>> {
        let mut own = vec![0; self.state.own_bytes.get() as usize];
        self.disk.read(Layout::own(self.state.own_place.get()), &mut own).ok()?;
        let is_sound = crc32c::crc32c(&own) == self.state.own_checksum.get();
        (!own.is_empty() && is_sound).then_some(own)
    }

    fn take_note(&mut self) -> Option<String> {
        let notes = self.notes.get_mut();
        (!notes.is_empty()).then(|| notes.remove(0))
    }

    fn fork(&self) -> Option<Box<dyn Store>> {
        None
    }
}

impl Drop for FileStore {
    /// Writes what waits for a sync, so that the next start has little to do. It may fail: nothing depends on it.
    fn drop(&mut self) {
        let has_more = self.is_dirty || !self.pending.is_empty() || self.syncing.is_some();
        if !self.is_broken && !std::thread::panicking() && has_more {
            let _ = self.sync_here().and_then(|()| self.tell_durable());
        }
    }
}

//! The drive as a PCI device in real time: registers, doorbells, memory, interrupts, programs.

use std::fs::File;
use std::io::BufWriter;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use controller::{Config, ConfigError, Controller, Lateness, NewRemoteRuntime, Parts};
use nvme_spec::{Cc, Csts, SUBSYSTEM_RESET, offset, shutdown};
use records::{CounterRecord, Records};
use simtime::{Duration, Instant};
use vfio_user::{Device, Errno, Map, Mappable, Mapping, wire::pci as vfio};

use crate::clock::Clock;
use crate::freezer::{Freezer, Hold};
use crate::guest_memory::GuestMemory;
use crate::history_file::HistoryFile;
use crate::interrupt_lines::InterruptLines;
use crate::journal;
use crate::pci::{CONFIG_BYTES, ConfigSpace, DOORBELLS, Effect, bar_bytes};
use crate::syncs::Syncs;
use crate::workers::{Waker, Workers};

/// Counters are recorded as often as this by a drive that is busy.
const COUNT_EVERY: Duration = Duration::from_us(10_000);

/// A doorbell of the mapped page that nobody has rung since it was looked at: no queue has that many
/// entries.
const NOT_RUNG: u32 = u32::MAX;

/// How clients ring doorbells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Doorbells {
    /// By messages; clients that share doorbells in memory (shadow doorbells, as Linux does) send none while the
    /// drive is awake.
    #[default]
    Messages,
    /// In a page that clients map: no messages, but the drive has to look at it again and again.
    Mapped,
}

/// Counters of a drive since its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RealTimeStatistics {
    /// Completions, and how many of them left after their modelled time.
    pub lateness: Lateness,
    /// Interrupts signalled.
    pub interrupts: u64,
    /// Times the drive's thread slept.
    pub sleeps: u64,
    /// Most programs that ran on this machine at a time.
    pub programs_max: usize,
}

/// Why a drive cannot be started.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("this machine has no room for the drive: {0}")]
    Machine(#[from] std::io::Error),
    #[error(transparent)]
    History(#[from] controller::NoHistory),
}

/// A drive with its place in the world.
#[derive(Debug)]
pub(crate) struct Drive {
    controller: Controller,
    memory: GuestMemory,
    config_space: ConfigSpace,
    clock: Clock,
    /// Stops the guest while a program takes longer here than it may.
    freezing: Option<Hold>,
    workers: Workers,
    syncs: Syncs,
    waker: Arc<Waker>,
    doorbells: Option<(Mapping, OwnedFd)>,
    /// Where interrupts are signalled, by vector.
    lines: InterruptLines,
    /// Vectors to signal, each once.
    raised: Vec<u16>,
    /// What the user should know, once.
    complaint: Option<String>,
    /// Commands are told of.
    has_journal: bool,
    /// Where records go, and those that are on their way.
    ring: Option<ring::Writer>,
    history: Option<HistoryFile>,
    /// When counters are to be recorded again, and the commands of the last ones.
    count_at: Instant,
    counted: u64,
    records: Records,
    pub(crate) statistics: RealTimeStatistics,
}

impl Drive {
    pub(crate) fn new(
        config: Config,
        parts: Parts,
        clock: Clock,
        doorbells: Doorbells,
        remote: Option<&NewRemoteRuntime>,
        freezer: Option<&Freezer>,
    ) -> Result<Self, StartError> {
        let vectors = config.queue_pairs_max + 1;
        let engine = config.engine;
        let workers = if config.workers == 0 { config.compute.units } else { config.workers };
        let waker = Arc::new(Waker::new()?);
        let doorbells = match doorbells {
            Doorbells::Messages => None,
            Doorbells::Mapped => Some(doorbell_page()?),
        };
        let mut controller = Controller::with_parts(config, parts)?;
        Ok(Self {
            has_journal: journal::open(&mut controller),
            controller,
            memory: GuestMemory::default(),
            config_space: ConfigSpace::new(vectors),
            clock,
            freezing: freezer.map(|freezer| freezer.join(&waker)),
            workers: Workers::start(workers as usize, engine, remote, &waker)?,
            syncs: Syncs::new(&waker),
            waker,
            doorbells,
            lines: InterruptLines::new(vectors)?,
            raised: Vec::new(),
            complaint: None,
            ring: None,
            history: None,
            count_at: Instant::ZERO,
            counted: 0,
            records: Records::default(),
            statistics: RealTimeStatistics::default(),
        })
    }

    /// From now on records go there.
    pub(crate) fn keep_records(&mut self, ring: ring::Writer) {
        self.controller.set_recording(true);
        self.ring = Some(ring);
        self.count(self.now());
    }

    /// From now on the history of what hosts write goes there.
    pub(crate) fn keep_history(
        &mut self,
        writer: history::Writer<BufWriter<File>>,
    ) -> Result<(), StartError> {
        self.controller.keep_history()?;
        let mut file = HistoryFile::start(writer)?;
        file.put(self.controller.take_history());
        self.history = Some(file);
        Ok(())
    }

    /// Puts what the drive has counted among its records.
    fn count(&mut self, now: Instant) {
        if let Some(ring) = &mut self.ring {
            let counters = CounterRecord::from(&self.controller.counters());
            self.counted = counters.commands;
            self.count_at = now + COUNT_EVERY;
            ring.put(&Records { counters: vec![counters], ..Records::default() });
        }
    }

    /// Hands out what was recorded since the last time.
    fn report(&mut self) {
        self.controller.take_records_into(&mut self.records);
        if self.has_journal {
            journal::write(&self.records);
        }
        if let Some(ring) = &mut self.ring {
            ring.put(&self.records);
        }
        self.records.clear();
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// A time of the models as this machine's clock has it.
    #[inline]
    pub(crate) fn wall(&self, now: Instant) -> std::time::Instant {
        self.clock.wall(now)
    }

    pub(crate) fn waker(&self) -> &Arc<Waker> {
        &self.waker
    }

    /// True if clients may ring doorbells without a message, so that they must be looked at.
    pub(crate) fn must_look(&self) -> bool {
        self.doorbells.is_some() && self.is_enabled()
    }

    /// Programs that run, on threads that may need this one's processor, or wait for such a thread.
    pub(crate) fn programs_under_way(&self) -> usize {
        self.workers.under_way()
    }

    /// Counters since the start.
    pub(crate) fn statistics(&self) -> RealTimeStatistics {
        RealTimeStatistics {
            lateness: self.controller.lateness(),
            programs_max: self.workers.running_max(),
            ..self.statistics
        }
    }

    /// True if the client has enabled the controller.
    fn is_enabled(&self) -> bool {
        self.status().rdy()
    }

    fn status(&self) -> Csts {
        Csts::from_bits(self.controller.register_read(offset::CSTS, 4) as u32)
    }

    /// What is wrong with the client's memory, once.
    pub(crate) fn complaint(&mut self) -> Option<String> {
        self.complaint.take().or_else(|| self.memory.complaint.take())
    }

    /// Does what is due: true if there was something.
    #[inline]
    pub(crate) fn turn(&mut self) -> bool {
        let now = self.now();
        let mut is_busy = self.look_at_doorbells();
        while let Some(done) = self.workers.done() {
            self.controller.work_done(done);
            is_busy = true;
        }
        if let Some(result) = self.syncs.done() {
            self.controller.sync_done(result);
            is_busy = true;
        }
        self.freeze(now);
        let due = self.controller.next_event();
        self.controller.advance(now, &mut self.memory);
        let posted = self.controller.outbox().interrupts.len() as u64;
        if posted > 0 {
            self.signal();
        }
        for item in std::mem::take(&mut self.controller.outbox().work) {
            self.workers.run(item);
            is_busy = true;
        }
        if let Some(work) = self.controller.outbox().syncs.pop()
            && let Some(result) = self.syncs.run(work)
        {
            self.controller.sync_done(result);
            is_busy = true;
        }
        if let Some(history) = &mut self.history {
            let events = self.controller.take_history();
            if !events.is_empty() {
                self.complaint = history.put(events).map(str::to_owned).or(self.complaint.take());
            }
        }
        for note in self.controller.outbox().notes.drain(..) {
            tracing::warn!("{note}");
        }
        let did_something = is_busy || posted > 0 || due.is_some_and(|due| due <= now);
        if did_something && (self.has_journal || self.ring.is_some()) {
            self.report();
        }
        if now >= self.count_at && self.ring.is_some() {
            self.count(now);
        }
        did_something
    }

    /// Sees to it that the guest's clock stands still while a job is due whose program still runs here.
    #[inline]
    fn freeze(&mut self, now: Instant) {
        let Some(freezing) = &mut self.freezing else { return };
        freezing.set(self.controller.result_needed_at().is_some_and(|needed| needed <= now));
        self.clock.set_frozen(freezing.is_stopped());
    }

    /// When something will be due.
    #[inline]
    pub(crate) fn next_event(&self) -> Option<Instant> {
        // Nothing comes nearer; whatever lets the clock go on wakes the thread.
        if self.clock.is_frozen() {
            return None;
        }
        let freeze = self.freezing.as_ref().filter(|freezing| !freezing.is_held());
        let needed = freeze.and_then(|_| self.controller.result_needed_at());
        self.controller.next_event().into_iter().chain(needed).min()
    }

    /// When a thread that sleeps has to wake: what it did last is to be counted, too.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        let has_uncounted = || self.controller.counters().commands.get() != self.counted;
        let count_at = self.ring.as_ref().filter(|_| has_uncounted()).map(|_| self.count_at);
        self.next_event().into_iter().chain(count_at).min()
    }

    /// A client has come.
    pub(crate) fn connected(&self) {
        if let Some(freezing) = &self.freezing {
            freezing.prepare();
        }
    }

    /// Promises to sleep; false if there is something to do instead.
    pub(crate) fn may_sleep(&mut self) -> bool {
        self.waker.falls_asleep();
        let armed = !self.controller.arm_doorbells(&mut self.memory);
        armed && !self.turn()
    }

    fn look_at_doorbells(&mut self) -> bool {
        let Some((page, _)) = &self.doorbells else { return false };
        let mut rung = false;
        let slots = 2 * self.lines.len() as u64;
        for slot in 0..slots.min((DOORBELLS.end - DOORBELLS.start) / 4) {
            let Some(word) = page.word(DOORBELLS.start + 4 * slot) else { continue };
            if word.load(Ordering::Relaxed) != NOT_RUNG {
                let value = word.swap(NOT_RUNG, Ordering::AcqRel);
                self.controller.register_write(offset::DOORBELLS + 4 * slot, 4, value.into());
                rung = true;
            }
        }
        rung
    }

    /// Signals the interrupts that the controller wants, each vector once.
    fn signal(&mut self) {
        self.raised.clear();
        std::mem::swap(&mut self.raised, &mut self.controller.outbox().interrupts);
        self.raised.sort_unstable();
        self.raised.dedup();
        for &vector in &self.raised {
            self.statistics.interrupts += u64::from(self.lines.signal(vector));
            // At once: it is the last one that was stuck.
            if let Some(vector) = self.lines.take_stuck() {
                self.complaint = Some(format!(
                    "the client made the eventfd of interrupt {vector} block and filled it; the drive no longer signals it"
                ));
            }
        }
    }

    /// Back to the state after power on, but for what is stored.
    fn reset_function(&mut self) {
        tracing::debug!("reset");
        self.controller.advance(self.now(), &mut self.memory);
        // It resets everything whether the controller is enabled or not, and then says that it did, which is
        // no news to whoever resets the function.
        self.controller.register_write(offset::NSSR, 4, SUBSYSTEM_RESET.into());
        let occurred = Csts::new().with_nssro(true).into_bits();
        self.controller.register_write(offset::CSTS, 4, occurred.into());
        self.forget_doorbells();
    }

    fn forget_doorbells(&mut self) {
        if let Some((page, _)) = &self.doorbells {
            let words = DOORBELLS.step_by(4).filter_map(|at| page.word(at));
            words.for_each(|word| word.store(NOT_RUNG, Ordering::Release));
        }
    }

    /// The client is gone, and its memory with it.
    pub(crate) fn disconnected(&mut self) {
        if let Some(freezing) = &mut self.freezing {
            freezing.set(false);
        }
        self.reset_function();
        self.config_space.reset();
        self.memory.clear();
        self.lines.clear();
        // The client may still have the page: the next one gets another. Without one it rings by message.
        if self.doorbells.is_some() {
            self.doorbells = doorbell_page().ok();
        }
    }

    /// Lets what is under way in the flash end, as a normal shutdown does; gives up after a while.
    pub(crate) fn shut_down(&mut self, patience: Duration) {
        // Its end is waited for on a clock that goes.
        self.freezing = None;
        self.clock.set_frozen(false);
        self.turn();
        let cc = Cc::from_bits(self.controller.register_read(offset::CC, 4) as u32);
        let cc = cc.with_shn(shutdown::NORMAL);
        self.controller.register_write(offset::CC, 4, cc.into_bits().into());
        let until = self.now() + patience;
        while self.status().shst() != shutdown::COMPLETE && self.now() < until {
            self.turn();
            std::thread::yield_now();
        }
    }
}

/// A page of doorbells, none of them rung, at its place in a file as long as the registers before it.
fn doorbell_page() -> std::io::Result<(Mapping, OwnedFd)> {
    let (page, file) = Mapping::new("csdrive-doorbells", DOORBELLS.end as usize)?;
    for at in DOORBELLS.step_by(4) {
        page.word(at).expect("it was made just now").store(NOT_RUNG, Ordering::Release);
    }
    Ok((page, file))
}

/// Little-endian bytes of a register as a number.
fn value_of(bytes: &[u8]) -> Option<u64> {
    match *bytes {
        [a, b, c, d] => Some(u32::from_le_bytes([a, b, c, d]).into()),
        [a, b, c, d, e, f, g, h] => Some(u64::from_le_bytes([a, b, c, d, e, f, g, h])),
        _ => None,
    }
}

impl Device for Drive {
    fn region_size(&self, region: u32) -> u64 {
        match region {
            vfio::BAR0 => bar_bytes(self.lines.len() as u16),
            vfio::CONFIG => CONFIG_BYTES as u64,
            _ => 0,
        }
    }

    fn mappable(&self, region: u32) -> Option<Mappable> {
        let (_, file) = self.doorbells.as_ref().filter(|_| region == vfio::BAR0)?;
        // Without another descriptor it goes on by messages.
        let file = file.try_clone().ok()?;
        Some(Mappable { offset: DOORBELLS.start, size: DOORBELLS.end - DOORBELLS.start, file })
    }

    fn region_read(&mut self, region: u32, offset: u64, into: &mut [u8]) {
        if region == vfio::CONFIG {
            return self.config_space.read(offset, into);
        }
        // Registers as they are now: a controller that was enabled is ready.
        self.turn();
        for (at, byte) in (offset..).zip(into) {
            *byte = self.controller.register_read(at, 1) as u8;
        }
    }

    fn region_write(&mut self, region: u32, at: u64, from: &[u8]) {
        if region == vfio::CONFIG {
            if self.config_space.write(at, from) == Effect::Reset {
                self.reset_function();
                self.config_space.reset();
            }
            return;
        }
        let last = offset::DOORBELLS + 8 * self.lines.len() as u64;
        let Some(value) = value_of(from).filter(|_| at + from.len() as u64 <= last) else {
            // The MSI-X table is the client's affair.
            return;
        };
        let now = self.now();
        self.controller.advance(now, &mut self.memory);
        let was_enabled = self.is_enabled();
        self.controller.register_write(at, from.len(), value);
        // What was rung before is nobody's.
        if was_enabled != self.is_enabled() {
            self.forget_doorbells();
        }
        if at < offset::DOORBELLS {
            tracing::debug!("register {at:#x} = {value:#x}");
        }
    }

    fn interrupts(&self, kind: u32) -> u32 {
        if kind == vfio::MSIX { self.lines.len() as u32 } else { 0 }
    }

    fn set_interrupt(&mut self, _kind: u32, number: u32, eventfd: Option<OwnedFd>) {
        tracing::trace!(number, is_set = eventfd.is_some(), "interrupt");
        self.lines.set(number as usize, eventfd);
    }

    fn map(&mut self, map: Map) -> Result<(), Errno> {
        let (address, size, is_shared) = (map.address, map.size, map.file.is_some());
        let mapped = self.memory.map(map);
        match mapped {
            Ok(()) => tracing::debug!(is_shared, "memory {address:#x} of {size:#x} bytes"),
            Err(error) => tracing::debug!(?error, "memory {address:#x} of {size:#x} bytes refused"),
        }
        mapped
    }

    fn unmap(&mut self, address: u64, size: u64) -> Result<(), Errno> {
        tracing::debug!("memory {address:#x} of {size:#x} bytes is taken back");
        self.memory.unmap(address, size)
    }

    fn unmap_all(&mut self) {
        self.memory.clear();
    }

    fn reset(&mut self) {
        self.reset_function();
        self.config_space.reset();
    }
}

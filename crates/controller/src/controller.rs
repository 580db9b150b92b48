//! The controller: what the drive consists of, and its event loop.

use nvme_spec::{DriveCounters, Nsid, Status};
use records::Records;
use simtime::Instant;
use ssd::Ssd;

use crate::admin::{log_pages, operations};
use crate::async_event::Notice;
use crate::config::{Config, ConfigError, NamespaceConfig};
use crate::doorbell::Ring;
use crate::event::{Event, Tag};
use crate::extent::Extent;
use crate::host_memory::HostMemory;
use crate::logs::SPARE_THRESHOLD;
use crate::namespace::programs::{early, execute};
use crate::parts::Parts;
use crate::peers::Place;
use crate::queues::Queues;
use crate::session::Session;
use crate::statistics::{Lateness, Statistics, TraceHash};
use crate::subsystem::Subsystem;
use crate::turn::Turn;
use crate::work::{Outbox, WorkDone};

/// The drive: an NVMe controller, and the NVM subsystem behind it.
#[derive(Debug)]
pub struct Controller {
    pub(crate) queues: Queues,
    pub(crate) session: Session,
    pub(crate) subsystem: Subsystem,
    /// A queue is blocked because too many commands are in flight, or too much is asked of the
    /// flash.
    pub(crate) is_saturated: bool,
    /// When the next command of a host can be taken, and whether an event looks then.
    pub(crate) front_end_free_at: Instant,
    pub(crate) is_front_end_awaited: bool,
    /// Normal shutdowns so far.
    pub(crate) shutdowns: u32,
    /// Results of programs that came since the last advance.
    ran: Vec<WorkDone>,
    /// The time that the shell says it is.
    pub(crate) now: Instant,
    /// The time of what is being done: that of an event that is due, or `now`.
    /// What the last sync of the store came to.
    synced: Option<Result<(), String>>,
    pub(crate) at: Instant,
    pub(crate) hash: TraceHash,
    pub(crate) is_recording: bool,
    pages_done: Vec<ssd::Done>,
    jobs_done: Vec<compute::Finished>,
}

impl Controller {
    /// A drive fresh from the factory, not enabled.
    ///
    /// # Errors
    /// If the configuration contradicts itself or the host cannot provide what it asks for.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Self::with_parts(config, Parts::default())
    }

    /// A drive fresh from the factory, not enabled, with parts of the caller's.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_parts(config: Config, parts: Parts) -> Result<Self, ConfigError> {
        let ssd = match (parts.flash, parts.store) {
            (Some(ssd), _) if *ssd.config() != config.flash => {
                let (field, value) = ("flash", "that of another drive".to_owned());
                let reason = "the drives' configurations of flash differ: they must be the same";
                return Err(ConfigError::Value { field, value, reason });
            }
            (Some(ssd), _) => ssd,
            (None, Some(store)) => Ssd::with_store(&config.flash, store)?,
            (None, None) => Ssd::new(&config.flash)?,
        };
        config.check()?;
        let now = ssd.now();
        let (mut subsystem, attached) = Subsystem::new(config, ssd, parts.policy, parts.programs)?;
        let Config { serial, host_link, .. } = &subsystem.config;
        let place = Place::take(parts.peers, serial, *host_link, &subsystem.namespaces);
        subsystem.peers = place.among;
        let config = &subsystem.config;
        Ok(Self {
            queues: Queues::new(config.queue_pairs_max),
            session: Session::new(config, attached, place.port),
            subsystem,
            is_saturated: false,
            front_end_free_at: Instant::ZERO,
            is_front_end_awaited: false,
            shutdowns: 0,
            ran: Vec::new(),
            synced: None,
            now,
            at: now,
            hash: TraceHash::default(),
            is_recording: false,
            pages_done: Vec::new(),
            jobs_done: Vec::new(),
        })
    }

    /// What is lent to those who deal with something at this moment.
    #[inline]
    pub(crate) fn turn<'a>(&'a mut self, host: &'a mut dyn HostMemory) -> Turn<'a> {
        Turn { now: self.at, host, session: &mut self.session, subsystem: &mut self.subsystem }
    }

    /// Runs every event due at or before `now`, in order, then takes commands whose doorbells were rung, at `now`: a shell that
    /// looks late lets no command begin in the past. Returns when to call again. The shell must run the work it finds in the
    /// outbox, report it with [`Self::work_done`], and call again.
    ///
    /// # Panics
    /// If time goes back.
    pub fn advance(&mut self, now: Instant, host: &mut dyn HostMemory) -> Option<Instant> {
        assert!(now >= self.now, "time went back from {} to {} ns", self.now.as_ns(), now.as_ns());
        self.now = now;
        let was_due = std::mem::take(&mut self.session.fetch_due);
        if self.next_due() <= now {
            self.run_until(now, host);
        }
        self.at = now;
        self.apply_doorbells();
        for done in std::mem::take(&mut self.ran) {
            execute::job_ran(&mut self.turn(host), done);
        }
        if let Some(result) = self.synced.take() {
            self.subsystem.ssd.synced(now, result);
            self.subsystem.save_if_old(now, &self.session.attached);
            self.subsystem.ssd.note_durable();
        }
        self.session.fetch_due |= was_due;
        if self.session.fetch_due || self.queues.doorbell_buffers.is_some() {
            self.queues.poll_shadow_doorbells(host);
            self.fetch(host);
        }
        if self.next_due() <= now {
            self.run_until(now, host);
        }
        self.at = now;
        self.ask_for_sync();
        self.next_event()
    }

    /// What the flash wants of the shell goes to the outbox.
    #[inline]
    fn ask_for_sync(&mut self) {
        if let Some(work) = self.subsystem.ssd.take_sync() {
            self.subsystem.outbox.syncs.push(work);
        }
    }

    /// True if something waits for the next [`Self::advance`], whenever that is.
    #[inline]
    fn has_input(&self) -> bool {
        self.session.fetch_due
            || !self.queues.rung.is_empty()
            || !self.ran.is_empty()
            || self.synced.is_some()
    }

    /// When the next event of the models or of the controller itself is due.
    #[inline]
    fn next_due(&self) -> Instant {
        let subsystem = &self.subsystem;
        let models = subsystem.ssd.next_or_never().min(subsystem.engine.next_or_never());
        models.min(subsystem.events.next_or_never())
    }

    fn run_until(&mut self, now: Instant, host: &mut dyn HostMemory) {
        loop {
            let at = self.next_due();
            if at > now {
                return;
            }
            self.run_at(at, host);
        }
    }

    /// Runs what is due at the time of the next event.
    #[inline]
    fn run_at(&mut self, at: Instant, host: &mut dyn HostMemory) {
        self.at = at;
        if self.subsystem.ssd.next_or_never() <= at {
            self.advance_flash(host);
        }
        if self.subsystem.engine.next_or_never() <= at {
            self.advance_compute(host);
        }
        while let Some((at, event)) = self.subsystem.events.pop_due(at) {
            self.at = at;
            self.happen(host, event);
        }
        if self.session.fetch_due {
            self.at = at;
            self.fetch(host);
        }
    }

    /// For virtual time: jumps to the next event, and on from event to event until there is something in the outbox; when that is.
    /// `None` if the drive goes idle before. It does what as many calls of [`Self::advance`] would do, at a lower cost.
    pub fn advance_to_output(&mut self, host: &mut dyn HostMemory) -> Option<Instant> {
        loop {
            if self.has_input() || self.queues.doorbell_buffers.is_some() {
                let at = self.next_event()?;
                self.advance(at, host);
            } else {
                let at = self.next_due();
                if at == Instant::NEVER {
                    return None;
                }
                self.now = self.now.max(at);
                self.run_at(at, host);
                self.ask_for_sync();
            }
            if !self.subsystem.outbox.is_empty() {
                return Some(self.now);
            }
        }
    }

    /// When to call [`Self::advance`] again: at once if a doorbell was rung since.
    pub fn next_event(&self) -> Option<Instant> {
        if self.has_input() {
            return Some(self.now);
        }
        self.next_due().unless_never()
    }

    /// The time that the drive has reached.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Takes the result of a work item: the job's run time is known at the next [`Self::advance`], once the drive has caught up.
    pub fn work_done(&mut self, done: WorkDone) {
        self.ran.push(done);
    }

    /// Takes what [`ssd::SyncWork::run`] of the outbox came to: it counts at the next [`Self::advance`].
    pub fn sync_done(&mut self, result: Result<(), String>) {
        self.synced = Some(result);
    }

    /// True while something waits until the drive's store is durable.
    pub fn is_syncing(&self) -> bool {
        self.subsystem.ssd.is_syncing()
    }

    /// What was found when the drive was switched on.
    pub fn found(&self) -> ssd::Recovery {
        self.subsystem.ssd.found()
    }

    /// What the drive wants of its shell: interrupts to raise, programs to run.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.subsystem.outbox
    }

    /// The configuration the drive was made with. The block size in use is the namespace's format.
    pub fn config(&self) -> &Config {
        &self.subsystem.config
    }

    /// The namespaces that there are, by identifier: those of the configuration, but for what hosts made of them.
    pub fn namespaces(&self) -> Vec<NamespaceConfig> {
        self.subsystem.namespaces.list()
    }

    /// True if something was written to bytes of an NVM namespace and not deallocated since; false if there is no such namespace, or it
    /// ends before.
    pub fn is_written(&self, nsid: u32, at: u64, len: u64) -> bool {
        let Some(namespace) = self.subsystem.namespaces.nvm(Nsid(nsid)) else { return false };
        let is_inside = at.checked_add(len).is_some_and(|end| end <= namespace.bytes() && len > 0);
        is_inside && self.subsystem.is_written(namespace, Extent { start: at, len })
    }

    /// Counters since the drive was made.
    pub fn statistics(&self) -> Statistics {
        let Subsystem { ssd, engine, logs, internal, page_bits, .. } = &self.subsystem;
        Statistics {
            flash: ssd.statistics(),
            units_busy: engine.busy(self.now()),
            page_bytes: ssd.geometry().page_bytes.into(),
            bytes_to_host: self.session.port.bytes_to_host(),
            bytes_from_host: self.session.port.bytes_from_host(),
            bytes_internal: internal.bytes(),
            commands: logs.commands,
            commands_in_flight: self.session.inflight.len() as u64,
            flash_backlog: ssd.backlog(),
            buffered_bytes: ssd.buffered_pages() << page_bits,
            trace_hash: self.hash.value(),
        }
    }

    /// The same and more as hosts read it: log page C3h.
    pub fn counters(&self) -> DriveCounters {
        log_pages::counters(self.now(), &self.session, &self.subsystem)
    }

    /// The flash as it is now, for another drive with the same configuration of flash ([`Parts`]), to see what else could be done with it:
    /// bytes are shared until one of the two writes. `None` if its store cannot be shared, or if it has something to do: what that ends
    /// would be of commands that the other drive does not know.
    pub fn fork_flash(&self) -> Option<Ssd> {
        let is_at_rest = self.subsystem.ssd.next_event().is_none();
        let mut flash = self.subsystem.ssd.fork().filter(|_| is_at_rest)?;
        flash.set_recording(false);
        Some(flash)
    }

    /// The job groups, and what their jobs did: those of no group first.
    pub fn groups(&self) -> impl Iterator<Item = compute::GroupRecord> + '_ {
        self.subsystem.engine.groups()
    }

    /// How late completions were, with the time that the shell gave for the real one. None is late in virtual time.
    pub fn lateness(&self) -> Lateness {
        self.session.lateness
    }

    /// Checks what must always hold inside the drive; for tests.
    ///
    /// # Panics
    /// If it does not hold.
    pub fn check(&self) {
        self.subsystem.ssd.check();
    }

    /// Starts or stops recording finished commands, jobs, stays on units, die operations and what crosses links. A command that was
    /// fetched before has no record. What is counted is recorded by the shell, by [`Self::counters`], as often as it likes.
    pub fn set_recording(&mut self, on: bool) {
        self.is_recording = on;
        self.subsystem.ssd.set_recording(on);
        self.subsystem.engine.set_recording(on);
    }

    /// When the first job may be due whose program has not run to its end here: later than that it is late, unless the shell
    /// lets time stand still.
    pub fn result_needed_at(&self) -> Option<Instant> {
        self.subsystem.engine.cost_needed_at()
    }

    /// Takes what was recorded since the last time.
    pub fn take_records(&mut self) -> Records {
        let mut records = Records::default();
        self.take_records_into(&mut records);
        records
    }

    /// Appends what was recorded since the last time.
    pub fn take_records_into(&mut self, records: &mut Records) {
        records.append(&mut self.subsystem.records);
        let (units, dies) = (records.units.len(), records.dies.len());
        if let Some(made) = self.subsystem.engine.records() {
            records.units.append(made);
        }
        if let Some(made) = self.subsystem.ssd.records() {
            records.dies.append(made);
        }
        // The models know a step by its own tag; for everybody else it is of the command that the host sent.
        let parents = self.session.inflight.take_recorded_steps();
        if parents.is_empty() {
            return;
        }
        let of = |id: &mut u64| *id = parents.get(id).copied().unwrap_or(*id);
        records.units[units..].iter_mut().for_each(|record| of(&mut record.job));
        records.dies[dies..].iter_mut().for_each(|record| of(&mut record.command));
    }

    #[inline]
    fn happen(&mut self, host: &mut dyn HostMemory, event: Event) {
        match event {
            Event::Arrived(tag) => self.turn(host).data_arrived(tag),
            Event::Complete(tag) => return self.post(host, tag),
            Event::InputArrived { copy, page } => {
                early::page_arrived(&mut self.turn(host), copy, page);
            }
            Event::Interrupt(vector) => return self.interrupt_expired(vector),
            Event::Formatted => operations::formatted(&mut self.turn(host)),
            Event::Sanitized => operations::sanitized(&mut self.turn(host)),
            Event::SelfTested => operations::self_tested(&mut self.turn(host)),
            Event::FrontEndFree => {
                self.is_front_end_awaited = false;
                self.relieve();
            }
            Event::KeepAlive => {
                let (session, events) = (&mut self.session, &mut self.subsystem.events);
                if session.keep_alive.expired(self.at, events) {
                    self.subsystem.logs.log_fatal(Status::KEEP_ALIVE_EXPIRED);
                    session.registers.csts.set_cfs(true);
                }
            }
        }
        self.post_ready(host);
    }

    fn advance_flash(&mut self, host: &mut dyn HostMemory) {
        while let Some(note) = self.subsystem.ssd.take_note() {
            self.subsystem.outbox.notes.push(note);
        }
        let mut pages = std::mem::take(&mut self.pages_done);
        self.subsystem.ssd.advance(self.at, &mut pages);
        for page in &pages {
            self.page_done(host, page);
        }
        self.relieve();
        pages.clear();
        self.pages_done = pages;
        if self.subsystem.ssd.block_failures() != self.subsystem.failures_seen {
            self.look_at_spare();
        }
    }

    /// Blocks became bad: few may be left, or none.
    #[cold]
    fn look_at_spare(&mut self) {
        let (session, subsystem) = (&mut self.session, &mut self.subsystem);
        subsystem.failures_seen = subsystem.ssd.block_failures();
        let spare = subsystem.ssd.spare();
        if spare.percent() < SPARE_THRESHOLD && !subsystem.is_spare_low {
            subsystem.is_spare_low = true;
            session.notify(Notice::SpareThreshold);
        }
        if spare.is_worn_out && !subsystem.namespaces.is_worn_out {
            subsystem.namespaces.wear_out();
            for namespace in subsystem.namespaces.nvm_all() {
                session.namespace_changed(namespace.nsid);
            }
            session.notify(Notice::Reliability);
            let note = "no spare blocks are left: the drive takes no more writes";
            subsystem.outbox.notes.push(note.to_owned());
        }
    }

    /// The flash model finished a page, or a flush, of a command.
    #[inline]
    fn page_done(&mut self, host: &mut dyn HostMemory, page: &ssd::Done) {
        let tag = Tag(page.id.0);
        if self.turn(host).page_done(tag, page) {
            self.post_ready(host);
        } else {
            self.flash_is_done(tag, page.result.is_ok());
        }
    }

    fn advance_compute(&mut self, host: &mut dyn HostMemory) {
        let mut jobs = std::mem::take(&mut self.jobs_done);
        self.subsystem.engine.advance(self.at, &mut jobs);
        for job in jobs.drain(..) {
            execute::job_finished(&mut self.turn(host), job);
        }
        self.jobs_done = jobs;
    }

    /// What doorbells said counts from now on.
    #[inline]
    pub(crate) fn apply_doorbells(&mut self) {
        let mut rung = std::mem::take(&mut self.queues.rung);
        for (at, value) in rung.drain(..) {
            match self.queues.apply(at, value) {
                Ring::Heard => {}
                Ring::InvalidValue(id) => {
                    self.subsystem.logs.log_doorbell(id, Status::INVALID_FIELD);
                    self.session.notify(Notice::InvalidDoorbellValue);
                }
                Ring::InvalidRegister(id) => {
                    self.subsystem.logs.log_doorbell(id, Status::INVALID_QUEUE_IDENTIFIER);
                    self.session.notify(Notice::InvalidDoorbellRegister);
                }
            }
        }
        self.queues.rung = rung;
        let may_deliver = std::mem::take(&mut self.queues.may_complete)
            && self.session.async_events.has_notices();
        self.session.fetch_due |= std::mem::take(&mut self.queues.may_fetch) | may_deliver;
    }

    /// Promises to sleep: tells the host, through the event indices, to write the register for its
    /// next command. True if commands came in the meantime, so that the drive must not sleep yet.
    /// Without shadow buffers there is nothing to do.
    pub fn arm_doorbells(&mut self, host: &mut dyn HostMemory) -> bool {
        self.queues.arm(host);
        self.session.fetch_due |= std::mem::take(&mut self.queues.may_fetch);
        self.has_input()
    }
}

//! The controller: what the drive consists of, its event loop, and how commands end.

use std::sync::Arc;

use ebpf::SharedMemory;
use nvme_spec::{CompletionEntry, Status};
use simtime::{EventQueue, Instant};
use ssd::Ssd;

use crate::admin::background::Background;
use crate::admin::keep_alive::KeepAlive;
use crate::admin::log_pages::Logs;
use crate::arbiter::Arbiter;
use crate::async_event::AsyncEvents;
use crate::config::{Config, ConfigError};
use crate::doorbell::DoorbellBuffers;
use crate::features::Features;
use crate::host_memory::HostMemory;
use crate::inflight::{
    Activity, Arrival, CommandRecord, Ending, HostData, InFlightTable, Reserved, Tag,
};
use crate::interrupt::{Interrupts, Raise};
use crate::link::Link;
use crate::namespace::compute::ComputeNamespace;
use crate::queue::{CompletionQueue, SubmissionQueue};
use crate::registers::Registers;
use crate::statistics::{Lateness, Statistics, TraceHash};
use crate::work::{Outbox, WorkDone};

/// What happens at a point in time, besides the events of the models.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// The data a command waits for has arrived.
    Arrived(Tag),
    /// A command's completion is due.
    Complete(Tag),
    // Of each of the following few are under way, whatever a host does: what is due later by the
    // time it happens is pushed again then, not when the host moves it.
    /// A coalesced interrupt waited long enough.
    Interrupt(u16),
    /// A namespace has been formatted.
    Formatted,
    /// A sanitize operation is over.
    Sanitized,
    /// A self-test is over.
    SelfTested,
    /// The host was silent for the keep alive time-out.
    KeepAlive,
}

/// The drive: an NVMe controller with its three namespaces.
#[derive(Debug)]
pub struct Controller {
    pub(crate) config: Config,
    pub(crate) registers: Registers,
    pub(crate) submission: Vec<Option<SubmissionQueue>>,
    pub(crate) completion: Vec<Option<CompletionQueue>>,
    /// Highest identifier of an I/O submission queue since the last reset.
    pub(crate) queue_last: u16,
    pub(crate) arbiter: Arbiter,
    pub(crate) interrupts: Interrupts,
    pub(crate) doorbell_buffers: Option<DoorbellBuffers>,
    pub(crate) features: Features,
    pub(crate) async_events: AsyncEvents,
    pub(crate) keep_alive: KeepAlive,
    pub(crate) background: Background,
    pub(crate) inflight: InFlightTable,
    /// A queue is blocked because too many commands are in flight, or too much is asked of the
    /// flash.
    pub(crate) is_saturated: bool,
    /// A command ended early: what it asked of the flash may still wait there.
    pub(crate) has_abandoned: bool,
    /// Normal shutdowns so far.
    pub(crate) shutdowns: u32,
    /// The temperature was beyond a threshold when it was last looked at.
    pub(crate) was_temperature_told: bool,
    pub(crate) ssd: Ssd,
    /// Bytes of a logical block of the NVM namespace, by its format.
    pub(crate) block_bytes: u32,
    pub(crate) memory: Arc<SharedMemory>,
    pub(crate) engine: compute::Engine,
    pub(crate) compute: ComputeNamespace,
    pub(crate) to_host: Link,
    pub(crate) from_host: Link,
    pub(crate) internal: Link,
    pub(crate) logs: Logs,
    pub(crate) scratch: Vec<u8>,
    pub(crate) outbox: Outbox,
    pub(crate) page_bits: u32,
    pub(crate) events: EventQueue<Event>,
    /// Doorbells written since the last advance: what they say counts from the next one.
    pub(crate) rung: Vec<(u64, u32)>,
    /// Results of programs that came since the last advance.
    ran: Vec<WorkDone>,
    /// Doorbells, freed places or notices may let commands be taken or ended.
    pub(crate) fetch_due: bool,
    pub(crate) now: Instant,
    pub(crate) hash: TraceHash,
    lateness: Lateness,
    records: Option<Vec<CommandRecord>>,
    pages_done: Vec<ssd::Done>,
    jobs_done: Vec<compute::Finished>,
}

impl Controller {
    /// A drive fresh from the factory, not enabled.
    ///
    /// # Errors
    /// If the configuration contradicts itself or the host cannot provide what it asks for.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        let ssd = Ssd::new(&config.flash)?;
        Self::assemble(config, ssd)
    }

    /// A drive fresh from the factory, not enabled, that keeps its pages in an empty store.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_store(config: Config, store: Box<dyn ssd::Store>) -> Result<Self, ConfigError> {
        let ssd = Ssd::with_store(&config.flash, store)?;
        Self::assemble(config, ssd)
    }

    fn assemble(config: Config, ssd: Ssd) -> Result<Self, ConfigError> {
        config.check()?;
        let memory = SharedMemory::new(config.memory_bytes)
            .map_err(|cause| ConfigError::Memory { bytes: config.memory_bytes, cause })?;
        let queues = usize::from(config.queue_pairs_max) + 1;
        Ok(Self {
            registers: Registers::default(),
            submission: (0..queues).map(|_| None).collect(),
            completion: (0..queues).map(|_| None).collect(),
            queue_last: 0,
            arbiter: Arbiter::default(),
            // One vector for each possible queue pair, and one for the admin queue.
            interrupts: Interrupts::new(queues),
            doorbell_buffers: None,
            features: Features::default(),
            async_events: AsyncEvents::default(),
            keep_alive: KeepAlive::default(),
            background: Background::default(),
            inflight: InFlightTable::default(),
            is_saturated: false,
            has_abandoned: false,
            shutdowns: 0,
            was_temperature_told: false,
            page_bits: ssd.geometry().page_bytes.trailing_zeros(),
            ssd,
            block_bytes: config.block_bytes,
            memory: Arc::new(memory),
            engine: compute::Engine::new(&config.compute),
            compute: ComputeNamespace::default(),
            to_host: Link::new(config.host_link),
            from_host: Link::new(config.host_link),
            internal: Link::new(config.internal_link),
            logs: Logs::default(),
            scratch: Vec::new(),
            outbox: Outbox::default(),
            events: EventQueue::new(),
            rung: Vec::new(),
            ran: Vec::new(),
            fetch_due: false,
            now: Instant::ZERO,
            hash: TraceHash::default(),
            lateness: Lateness::default(),
            records: None,
            pages_done: Vec::new(),
            jobs_done: Vec::new(),
            config,
        })
    }

    /// Runs every event due at or before `now`, in order, then takes commands whose doorbells were rung, at `now`: a shell that
    /// looks late lets no command begin in the past. Returns when to call again. The shell must run the work it finds in the
    /// outbox, report it with [`Self::work_done`], and call again.
    ///
    /// # Panics
    /// If time goes back.
    pub fn advance(&mut self, now: Instant, host: &mut impl HostMemory) -> Option<Instant> {
        assert!(now >= self.now, "time went back from {} to {} ns", self.now.as_ns(), now.as_ns());
        self.now = now;
        let was_due = std::mem::take(&mut self.fetch_due);
        if self.next_due() <= now {
            self.run_until(now, host);
        }
        self.apply_doorbells();
        for done in std::mem::take(&mut self.ran) {
            self.job_ran(now, done);
        }
        self.fetch_due |= was_due;
        if self.fetch_due || self.doorbell_buffers.is_some() {
            self.poll_shadow_doorbells(host);
            self.fetch(now, host);
        }
        if self.next_due() <= now {
            self.run_until(now, host);
        }
        self.next_event()
    }

    /// True if something waits for the next [`Self::advance`], whenever that is.
    #[inline]
    fn has_input(&self) -> bool {
        self.fetch_due || !self.rung.is_empty() || !self.ran.is_empty()
    }

    /// When the next event of the models or of the controller itself is due.
    #[inline]
    fn next_due(&self) -> Instant {
        let models = self.ssd.next_or_never().min(self.engine.next_or_never());
        models.min(self.events.next_or_never())
    }

    fn run_until(&mut self, now: Instant, host: &mut impl HostMemory) {
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
    fn run_at(&mut self, at: Instant, host: &mut impl HostMemory) {
        if self.ssd.next_or_never() <= at {
            self.advance_flash(at, host);
        }
        if self.engine.next_or_never() <= at {
            self.advance_compute(at);
        }
        while let Some((at, event)) = self.events.pop_due(at) {
            self.happen(at, host, event);
        }
        if self.fetch_due {
            self.fetch(at, host);
        }
    }

    /// For virtual time: jumps to the next event, and on from event to event until there is something in the outbox; when that is.
    /// `None` if the drive goes idle before. It does what as many calls of [`Self::advance`] would do, at a lower cost.
    pub fn advance_to_output(&mut self, host: &mut impl HostMemory) -> Option<Instant> {
        loop {
            if self.has_input() || self.doorbell_buffers.is_some() {
                let at = self.next_event()?;
                self.advance(at, host);
            } else {
                let at = self.next_due();
                if at == Instant::NEVER {
                    return None;
                }
                self.now = self.now.max(at);
                self.run_at(at, host);
            }
            if !self.outbox.is_empty() {
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

    /// What the drive wants of its shell: interrupts to raise, programs to run.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// The configuration the drive was made with. The block size in use is the namespace's format.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Counters since the drive was made.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            flash: *self.ssd.statistics(),
            page_bytes: self.ssd.geometry().page_bytes.into(),
            bytes_to_host: self.to_host.bytes(),
            bytes_from_host: self.from_host.bytes(),
            bytes_internal: self.internal.bytes(),
            commands: self.logs.commands,
            commands_in_flight: self.inflight.len() as u64,
            flash_backlog: self.ssd.backlog(),
            buffered_bytes: self.ssd.buffered_pages() << self.page_bits,
            trace_hash: self.hash.value(),
        }
    }

    /// How late completions were, with the time that the shell gave for the real one. None is late in virtual time.
    pub fn lateness(&self) -> Lateness {
        self.lateness
    }

    /// Checks what must always hold inside the drive; for tests.
    ///
    /// # Panics
    /// If it does not hold.
    pub fn check(&self) {
        self.ssd.check();
    }

    /// Starts or stops recording finished commands, die operations and jobs.
    pub fn set_recording(&mut self, on: bool) {
        self.records = on.then(Vec::new);
        self.ssd.set_recording(on);
        self.engine.set_recording(on);
    }

    pub(crate) fn is_recording(&self) -> bool {
        self.records.is_some()
    }

    /// Takes the recorded commands.
    pub fn take_command_records(&mut self) -> Vec<CommandRecord> {
        self.records.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Takes the recorded die operations.
    pub fn take_die_records(&mut self) -> Vec<ssd::DieRecord> {
        self.ssd.take_records()
    }

    /// Takes the recorded stays of jobs on compute units.
    pub fn take_unit_records(&mut self) -> Vec<compute::UnitRecord> {
        self.engine.take_records()
    }

    #[inline]
    fn happen(&mut self, at: Instant, host: &mut impl HostMemory, event: Event) {
        match event {
            Event::Arrived(tag) => self.data_arrived(at, host, tag),
            Event::Complete(tag) => self.post(at, host, tag),
            Event::Interrupt(vector) => match self.interrupts.expired(at, vector) {
                Some(Raise::Now) => self.outbox.interrupts.push(vector),
                Some(Raise::At(at)) => self.events.push(at, Event::Interrupt(vector)),
                _ => {}
            },
            Event::Formatted => self.formatted(at),
            Event::Sanitized => self.sanitized(at),
            Event::SelfTested => self.self_tested(at),
            Event::KeepAlive => self.keep_alive_expired(at),
        }
    }

    /// Lets a command's host data travel; [`Self::data_arrived`] goes on when it is here.
    pub(crate) fn expect_data(&mut self, now: Instant, tag: Tag, len: u64, activity: Activity) {
        let at = self.from_host.send(now, len);
        self.expect_at(at, tag, activity);
    }

    /// The data a command waits for arrives at `at`.
    pub(crate) fn expect_at(&mut self, at: Instant, tag: Tag, activity: Activity) {
        if let Activity::Arriving { arrival, .. } = &activity {
            self.inflight.reserve(tag, arrival.reserved(self.page_bits));
        }
        self.set_activity(tag, activity);
        self.events.push(at, Event::Arrived(tag));
    }

    #[inline]
    pub(crate) fn set_activity(&mut self, tag: Tag, activity: Activity) {
        if let Some(command) = self.inflight.get_mut(tag) {
            command.activity = activity;
        }
    }

    /// Notes what the SMART log counts if a command succeeds.
    #[inline]
    pub(crate) fn will_count(&mut self, tag: Tag, counts: HostData) {
        if let Some(command) = self.inflight.get_mut(tag) {
            command.counts = counts;
        }
    }

    fn data_arrived(&mut self, now: Instant, host: &mut impl HostMemory, tag: Tag) {
        let Some(command) = self.inflight.get_mut(tag) else { return };
        command.end_stage(now, |s| &mut s.transfer);
        let activity = std::mem::replace(&mut command.activity, Activity::Completing);
        let Activity::Arriving { segments, arrival } = activity else {
            unreachable!("data arrived for a command that expected none")
        };
        // Blocks that are read before they are written are asked for later.
        if !matches!(*arrival, Arrival::NvmCompare { .. } | Arrival::NvmCopy(_)) {
            self.inflight.reserve(tag, Reserved::default());
        }
        if let Err(status) = self.act_on_data(now, host, tag, segments, *arrival) {
            self.complete(now, tag, status, 0);
        }
    }

    /// Schedules a command's completion: all that is left is the firmware's time.
    #[inline]
    pub(crate) fn complete(&mut self, now: Instant, tag: Tag, status: Status, result: u64) {
        let time = self.config.command_time;
        let Some(command) = self.inflight.get_mut(tag) else { return };
        command.status = status;
        command.result = result;
        command.activity = Activity::Completing;
        command.end_stage(now + time, |s| &mut s.command);
        self.events.push(now + time, Event::Complete(tag));
    }

    /// As [`Self::complete`], for whoever has the host at hand: on a drive without firmware time, a
    /// command whose data is there already needs no event to end.
    #[inline]
    pub(crate) fn complete_at(
        &mut self,
        (now, at): (Instant, Instant),
        host: &mut impl HostMemory,
        tag: Tag,
        status: Status,
    ) {
        if at > now || !self.config.command_time.is_zero() {
            return self.complete(at, tag, status, 0);
        }
        if let Some(command) = self.inflight.get_mut(tag) {
            (command.status, command.result) = (status, 0);
            self.post(now, host, tag);
        }
    }

    /// Completes a command with data for the host, already written there, after its transfer.
    pub(crate) fn complete_with_data(&mut self, now: Instant, tag: Tag, len: u64) {
        let at = self.to_host.send(now, len);
        if let Some(command) = self.inflight.get_mut(tag) {
            command.end_stage(at, |s| &mut s.transfer);
        }
        self.complete(at, tag, Status::SUCCESS, 0);
    }

    /// Ends a command whose time has come.
    #[inline]
    fn post(&mut self, now: Instant, host: &mut impl HostMemory, tag: Tag) {
        let Some(ending) = self.inflight.remove(tag) else { return };
        self.end(now, host, ending);
    }

    /// Stops a command's work in the models and takes it out of the table. What it holds a lease
    /// on is free when no worker uses it any more.
    pub(crate) fn abandon(&mut self, now: Instant, tag: Tag) -> Option<Ending> {
        let command = self.inflight.get_mut(tag)?;
        match &command.activity {
            Activity::Running(_) => {
                self.engine.cancel(now, compute::JobId(tag.0));
            }
            Activity::Formatting => self.background.format_abandoned(),
            _ => {}
        }
        self.inflight.remove(tag)
    }

    /// Ends a command early with a status; its completion goes to the place it has. The write of a
    /// fused pair fails with its compare.
    pub(crate) fn end_early(
        &mut self,
        now: Instant,
        host: &mut impl HostMemory,
        tag: Tag,
        status: Status,
    ) {
        let partner = self.inflight.get_mut(tag).and_then(|command| command.fused_write());
        let Some(ending) = self.abandon(now, tag) else { return };
        self.has_abandoned = true;
        self.end(now, host, Ending { status, result: 0, ..ending });
        if let Some(write) = partner {
            self.end_early(now, host, write, Status::ABORTED_FAILED_FUSED);
        }
    }

    /// Ends a command: its completion goes to the place that was promised.
    #[inline]
    pub(crate) fn end(&mut self, now: Instant, host: &mut impl HostMemory, ending: Ending) {
        let Ending { token, opcode, nsid, status, result, counts, late, timeline } = ending;
        self.lateness.count(self.now.since(now) + late);
        self.hash.completed(now, token.sqid, token.cid, status, result);
        self.logs.count(&token, (opcode, nsid), status, counts);
        self.logs.ended(now, token.sqid);
        let head = self.submission[usize::from(token.sqid)].as_mut().map_or(0, |queue| {
            if token.owns_cid {
                queue.finish(token.cid);
            }
            queue.head()
        });
        let entry = CompletionEntry {
            result: result.into(),
            sqhd: head.into(),
            sqid: token.sqid.into(),
            cid: token.cid.into(),
            status_phase: (status.bits() << 1).into(),
        };
        if let Some(queue) = &mut self.completion[usize::from(token.cqid)] {
            if queue.post(host, entry).is_err() {
                self.registers.csts.set_cfs(true);
            }
            if let Some(vector) = queue.vector {
                self.raise(now, vector, token.cqid != 0);
            }
        }
        if let (Some(records), Some(timeline)) = (&mut self.records, timeline) {
            records.push(CommandRecord {
                sqid: token.sqid,
                cid: token.cid,
                opcode,
                nsid,
                status,
                fetched: timeline.fetched,
                completed: now,
                stages: timeline.stages,
                run: timeline.run,
            });
        }
        self.relieve();
        token.end();
    }

    /// Something was finished: queues that were blocked by a limit may go on.
    #[inline]
    fn relieve(&mut self) {
        if self.is_saturated {
            self.is_saturated = false;
            self.fetch_due |= self.arbiter.unblock();
        }
    }

    #[inline]
    fn raise(&mut self, now: Instant, vector: u16, coalesce: bool) {
        let setting = self.features.current.coalescing;
        match self.interrupts.posted(now, vector, coalesce, setting) {
            Raise::Now => self.outbox.interrupts.push(vector),
            Raise::At(at) => self.events.push(at, Event::Interrupt(vector)),
            Raise::Pending => {}
        }
    }

    fn advance_flash(&mut self, now: Instant, host: &mut impl HostMemory) {
        let mut pages = std::mem::take(&mut self.pages_done);
        self.ssd.advance(now, &mut pages);
        for page in &pages {
            self.page_done(host, *page);
        }
        self.relieve();
        pages.clear();
        self.pages_done = pages;
    }

    fn advance_compute(&mut self, now: Instant) {
        let mut jobs = std::mem::take(&mut self.jobs_done);
        self.engine.advance(now, &mut jobs);
        for job in jobs.drain(..) {
            self.job_finished(job);
        }
        self.jobs_done = jobs;
    }
}

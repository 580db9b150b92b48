//! The controller: queues, doorbells, the event loop, and how commands begin and end.

use std::sync::Arc;

use ebpf::SharedMemory;
use nvme_spec::{Cc, CompletionEntry, PAGE_SIZE, Status, SubmissionEntry, offset};
use simtime::{EventQueue, Instant};
use ssd::Ssd;

use crate::admin::log_pages::Logs;
use crate::command::check_flags;
use crate::config::{Config, ConfigError};
use crate::host_memory::HostMemory;
use crate::inflight::{Activity, CommandRecord, InFlight, InFlightTable, Tag, Timeline, Token};
use crate::limits::{ARBITRATION_BURST, COMMANDS_IN_FLIGHT_MAX};
use crate::link::Link;
use crate::namespace::{COMPUTE_NSID, MEMORY_NSID, NVM_NSID, compute::ComputeNamespace};
use crate::queue::{CompletionQueue, SubmissionQueue};
use crate::registers::{CSS_ADMIN, CSS_ALL, Registers};
use crate::statistics::{Statistics, TraceHash};
use crate::work::{Outbox, WorkDone};

/// What happens at a point in time, besides the events of the models.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A command's host data has arrived.
    Arrived(Tag),
    /// A command's completion is due.
    Complete(Tag),
}

/// The drive: an NVMe controller with its three namespaces.
#[derive(Debug)]
pub struct Controller {
    pub(crate) config: Config,
    pub(crate) registers: Registers,
    pub(crate) submission: Vec<Option<SubmissionQueue>>,
    pub(crate) completion: Vec<Option<CompletionQueue>>,
    pub(crate) inflight: InFlightTable,
    pub(crate) ssd: Ssd,
    pub(crate) memory: Arc<SharedMemory>,
    pub(crate) engine: compute::Engine,
    pub(crate) compute: ComputeNamespace,
    pub(crate) to_host: Link,
    pub(crate) from_host: Link,
    pub(crate) internal: Link,
    pub(crate) logs: Logs,
    pub(crate) queues_granted: bool,
    pub(crate) scratch: Vec<u8>,
    pub(crate) outbox: Outbox,
    pub(crate) page_bits: u32,
    events: EventQueue<Event>,
    /// Submission queues that may hold commands, in the order of their doorbells.
    waiting: Vec<u16>,
    /// A doorbell or a freed place may let commands be taken from these queues.
    fetch_due: bool,
    now: Instant,
    hash: TraceHash,
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
        config.check()?;
        let memory = SharedMemory::new(config.memory_bytes)
            .map_err(|cause| ConfigError::Memory { bytes: config.memory_bytes, cause })?;
        let queues = usize::from(config.queue_pairs_max) + 1;
        let ssd = Ssd::new(&config.flash)?;
        Ok(Self {
            registers: Registers::default(),
            submission: (0..queues).map(|_| None).collect(),
            completion: (0..queues).map(|_| None).collect(),
            inflight: InFlightTable::default(),
            page_bits: ssd.geometry().page_bytes.trailing_zeros(),
            ssd,
            memory: Arc::new(memory),
            engine: compute::Engine::new(&config.compute),
            compute: ComputeNamespace::default(),
            to_host: Link::new(config.host_link),
            from_host: Link::new(config.host_link),
            internal: Link::new(config.internal_link),
            logs: Logs::default(),
            queues_granted: false,
            scratch: Vec::new(),
            outbox: Outbox::default(),
            events: EventQueue::new(),
            waiting: Vec::new(),
            fetch_due: false,
            now: Instant::ZERO,
            hash: TraceHash::default(),
            records: None,
            pages_done: Vec::new(),
            jobs_done: Vec::new(),
            config,
        })
    }

    /// Reads 1, 2, 4 or 8 bytes of BAR0. What does not exist reads as zero.
    pub fn register_read(&self, at: u64, size: usize) -> u64 {
        if at < offset::DOORBELLS { self.registers.read(at, size) } else { 0 }
    }

    /// Writes 4 or 8 bytes of BAR0. Effects on queues happen at the next [`Self::advance`].
    pub fn register_write(&mut self, at: u64, size: usize, value: u64) {
        match at {
            offset::DOORBELLS.. => self.ring_doorbell(at - offset::DOORBELLS, value as u32),
            offset::CC => self.configure(Cc::from_bits(value as u32)),
            _ => self.registers.write(at, size, value),
        }
    }

    /// Takes commands whose doorbells were rung and runs every event due at or before `now`;
    /// returns when to call again. The shell must run the work it finds in the outbox, report it
    /// with [`Self::work_done`], and call again.
    pub fn advance(&mut self, now: Instant, host: &mut impl HostMemory) -> Option<Instant> {
        self.now = self.now.max(now);
        if self.fetch_due {
            self.fetch(now, host);
        }
        loop {
            let flash = self.ssd.next_or_never();
            let compute = self.engine.next_or_never();
            let due = flash.min(compute).min(self.events.next_or_never());
            if due > now {
                return due.unless_never();
            }
            // Something ready at once has no time of its own: it happens now.
            let at = if due == Instant::ZERO { now } else { due };
            if flash <= at {
                self.advance_flash(at, host);
            }
            if compute <= at {
                self.advance_compute(at);
            }
            while let Some((at, event)) = self.events.pop_due(at) {
                match event {
                    Event::Arrived(tag) => self.data_arrived(at, host, tag),
                    Event::Complete(tag) => self.post(at, host, tag),
                }
            }
            if self.fetch_due {
                self.fetch(at, host);
            }
        }
    }

    /// When to call [`Self::advance`] again.
    pub fn next_event(&self) -> Option<Instant> {
        let models = self.ssd.next_or_never().min(self.engine.next_or_never());
        models.min(self.events.next_or_never()).unless_never()
    }

    /// Takes the result of a work item: the job's run time is known now.
    pub fn work_done(&mut self, now: Instant, done: WorkDone) {
        self.job_ran(now, done);
    }

    /// What the drive wants of its shell: interrupts to raise, programs to run.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// The configuration.
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
            trace_hash: self.hash.value(),
        }
    }

    /// Starts or stops recording finished commands, die operations and jobs.
    pub fn set_recording(&mut self, on: bool) {
        self.records = on.then(Vec::new);
        self.ssd.set_recording(on);
        self.engine.set_recording(on);
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

    /// Doorbells (Base 2.1, section 3.1.5): even = submission tail, odd = completion head. A write
    /// to a queue that does not exist, or of a value beyond it, has no effect.
    fn ring_doorbell(&mut self, at: u64, value: u32) {
        if !self.registers.csts.rdy() || !at.is_multiple_of(4) {
            return;
        }
        let (queue, is_completion) = ((at / 8) as usize, at % 8 == 4);
        let valid = if is_completion {
            let queue = self.completion.get_mut(queue).and_then(Option::as_mut);
            queue.is_some_and(|q| q.set_head(value))
        } else {
            let number = queue as u16;
            let queue = self.submission.get_mut(queue).and_then(Option::as_mut);
            let valid = queue.is_some_and(|q| q.set_tail(value));
            if valid && !self.waiting.contains(&number) {
                self.waiting.push(number);
            }
            valid
        };
        self.fetch_due |= valid;
    }

    /// A write of CC (Base 2.1, section 3.5): enable, reset, shutdown.
    fn configure(&mut self, new: Cc) {
        let old = std::mem::replace(&mut self.registers.cc, new);
        if new.en() && !old.en() {
            self.enable();
        } else if !new.en() && old.en() {
            self.reset();
        }
        // Nothing the drive acknowledged is lost when its process ends: shutdown is immediate.
        let shutdown = if new.shn() == 0 { 0 } else { 2 };
        self.registers.csts.set_shst(shutdown);
    }

    fn enable(&mut self) {
        let Registers { cc, aqa, asq, acq, .. } = self.registers;
        let valid = matches!(cc.css(), 0 | CSS_ALL | CSS_ADMIN)
            && cc.mps() == 0
            && cc.ams() == 0
            && aqa.asqs_z() > 0
            && aqa.acqs_z() > 0
            && asq.is_multiple_of(PAGE_SIZE)
            && acq.is_multiple_of(PAGE_SIZE);
        if !valid {
            self.registers.csts.set_cfs(true);
            return;
        }
        self.submission[0] = Some(SubmissionQueue::new(asq, u32::from(aqa.asqs_z()) + 1, 0));
        let mut queue = CompletionQueue::new(acq, u32::from(aqa.acqs_z()) + 1, Some(0));
        queue.users = 1;
        self.completion[0] = Some(queue);
        self.registers.csts.set_rdy(true);
    }

    /// Controller reset: queues vanish, commands in flight are abandoned, namespaces stay.
    fn reset(&mut self) {
        for tag in self.inflight.tags(|_| true) {
            if let Some(command) = self.abandon(tag) {
                command.token.end();
            }
        }
        self.submission.fill_with(|| None);
        self.completion.fill_with(|| None);
        self.queues_granted = false;
        self.waiting.clear();
        self.fetch_due = false;
        self.registers.csts.set_rdy(false);
        self.registers.csts.set_cfs(false);
    }

    /// Stops a command's work in the models and takes it out of the table.
    pub(crate) fn abandon(&mut self, tag: Tag) -> Option<InFlight> {
        let command = self.inflight.remove(tag)?;
        if matches!(command.activity, Activity::Running(_)) {
            self.engine.cancel(self.now, compute::JobId(tag.0));
        }
        Some(command)
    }

    fn fetch(&mut self, now: Instant, host: &mut impl HostMemory) {
        self.fetch_due = false;
        // Round robin over the queues that may hold commands, a burst from each in turn.
        let mut progress = true;
        while progress {
            progress = false;
            let mut n = 0;
            while n < self.waiting.len() {
                let sqid = usize::from(self.waiting[n]);
                for _ in 0..ARBITRATION_BURST {
                    if !self.fetch_one(now, host, sqid) {
                        break;
                    }
                    progress = true;
                }
                // A queue that is not empty stays: its commands wait for a place.
                if self.submission[sqid].as_ref().is_none_or(SubmissionQueue::is_empty) {
                    self.waiting.remove(n);
                } else {
                    n += 1;
                }
            }
        }
    }

    /// Takes one command from a queue if there is one and it has a place in its completion queue.
    fn fetch_one(&mut self, now: Instant, host: &mut impl HostMemory, sqid: usize) -> bool {
        let Some(queue) = self.submission[sqid].as_mut().filter(|q| !q.is_empty()) else {
            return false;
        };
        let cqid = queue.cqid;
        if self.registers.csts.cfs() {
            return false;
        }
        if self.inflight.len() >= COMMANDS_IN_FLIGHT_MAX {
            self.fetch_due = true;
            return false;
        }
        // Without a place for the completion the command stays; the host's next head update of
        // the completion queue tries again.
        let reserved =
            self.completion[usize::from(cqid)].as_mut().is_some_and(CompletionQueue::reserve);
        if !reserved {
            return false;
        }
        let Ok(entry) = queue.pop(host) else {
            // The queue itself cannot be read: a fatal error, as Base 2.1, section 9.5 has it.
            if let Some(completion) = &mut self.completion[usize::from(cqid)] {
                completion.release();
            }
            self.registers.csts.set_cfs(true);
            return false;
        };
        self.start(now, host, sqid as u16, cqid, &entry);
        true
    }

    /// Begins a command: decode, validate, resolve, act.
    fn start(
        &mut self,
        now: Instant,
        host: &mut impl HostMemory,
        sqid: u16,
        cqid: u16,
        entry: &SubmissionEntry,
    ) {
        self.hash.fetched(now, sqid, entry);
        let timeline = self.records.is_some().then(|| Box::new(Timeline::new(now)));
        let tag = self.inflight.insert(InFlight {
            token: Token::new(sqid, cqid, entry.cid.get()),
            opcode: entry.opcode,
            nsid: entry.nsid.get(),
            activity: Activity::Completing,
            status: Status::SUCCESS,
            result: 0,
            timeline,
        });
        let started = check_flags(entry).and_then(|()| {
            if sqid == 0 {
                self.admin(now, host, tag, entry)
            } else {
                self.io(now, host, tag, entry)
            }
        });
        if let Err(status) = started {
            self.complete(now, tag, status, 0);
        }
    }

    #[inline]
    fn io(
        &mut self,
        now: Instant,
        host: &mut impl HostMemory,
        tag: Tag,
        entry: &SubmissionEntry,
    ) -> Result<(), Status> {
        let all_sets = self.registers.cc.css() == CSS_ALL;
        match entry.nsid.get() {
            NVM_NSID => self.nvm(now, host, tag, entry),
            // Flush of all namespaces (Base 2.1, section 7.2).
            u32::MAX if entry.opcode == 0 => self.nvm(now, host, tag, entry),
            MEMORY_NSID if all_sets => self.memory(now, host, tag, entry),
            COMPUTE_NSID if all_sets => self.programs(now, host, tag, entry),
            _ => Err(Status::INVALID_NAMESPACE.with_dnr()),
        }
    }

    /// Lets a command's host data travel; [`Self::data_arrived`] goes on when it is here.
    pub(crate) fn expect_data(&mut self, now: Instant, tag: Tag, len: u64, activity: Activity) {
        let at = self.from_host.send(now, len);
        if let Some(command) = self.inflight.get_mut(tag) {
            command.activity = activity;
        }
        self.events.push(at, Event::Arrived(tag));
    }

    fn data_arrived(&mut self, now: Instant, host: &mut impl HostMemory, tag: Tag) {
        let Some(command) = self.inflight.get_mut(tag) else { return };
        command.end_stage(now, |s| &mut s.transfer);
        let activity = std::mem::replace(&mut command.activity, Activity::Completing);
        let Activity::Arriving { segments, arrival } = activity else {
            unreachable!("data arrived for a command that expected none")
        };
        if let Err(status) = self.act_on_data(now, host, tag, &segments, *arrival) {
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

    /// Completes a command with data for the host, already written there, after its transfer.
    pub(crate) fn complete_with_data(&mut self, now: Instant, tag: Tag, len: u64) {
        let at = self.to_host.send(now, len);
        if let Some(command) = self.inflight.get_mut(tag) {
            command.end_stage(at, |s| &mut s.transfer);
        }
        self.complete(at, tag, Status::SUCCESS, 0);
    }

    /// Ends a command: its completion goes to the place that was reserved for it.
    fn post(&mut self, now: Instant, host: &mut impl HostMemory, tag: Tag) {
        let Some(command) = self.inflight.remove(tag) else { return };
        self.end(now, host, command);
    }

    pub(crate) fn end(&mut self, now: Instant, host: &mut impl HostMemory, command: InFlight) {
        let InFlight { token, opcode, nsid, status, result, timeline, .. } = command;
        self.hash.completed(now, token.sqid, token.cid, status, result);
        self.logs.count(&token, opcode, nsid, status);
        let head =
            self.submission[usize::from(token.sqid)].as_ref().map_or(0, SubmissionQueue::head);
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
            self.outbox.interrupts.extend(queue.vector);
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
        token.end();
    }

    fn advance_flash(&mut self, now: Instant, host: &mut impl HostMemory) {
        let mut pages = std::mem::take(&mut self.pages_done);
        self.ssd.advance(now, &mut pages);
        for page in &pages {
            self.page_done(page.at.max(now), host, Tag(page.tag));
        }
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

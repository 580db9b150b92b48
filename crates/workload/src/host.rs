//! The host: lets operations arrive, sends their commands, counts what completes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::ops::ControlFlow;

use client::{CommandFailed, Done, Ticket};
use nvme_spec::{DriveCounters, Status};
use simtime::{Duration, Instant, Prng};

use crate::Error;
use crate::access::{Place, exponential};
use crate::file::RateProcess;
use crate::host_memory::HostMemory;
use crate::instance::{Instance, Pending};
use crate::measure::Counts;
use crate::operation::{Operation, Step, commands, steps};
use crate::plan::{Arrival, Job, Limit, Plan, Work};
use crate::prepare::{Prepared, Slot};
use crate::rig::{GroupCounts, Rig};

/// What a run tells while it lasts.
#[derive(Clone, PartialEq, Debug)]
pub enum Progress {
    /// Something is prepared.
    Preparing(String),
    /// So much of it is done, from 0 to 1, if that is known.
    Running(Option<f64>),
}

/// Operations of an instance that have arrived and cannot begin.
const BACKLOG_MAX: usize = 1 << 22;

/// How often a run tells how far it is, in completions.
const TELL_EVERY: u64 = 4096;

/// What happens at a time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Timer {
    /// The time that is measured begins.
    Measure,
    /// The time of an instance is over.
    End(usize),
    /// An instance's next operation arrives.
    Arrival(usize),
    /// The host's software has prepared the commands of an operation's step.
    Prepared(usize),
    /// A processor of the host has processed an operation.
    Computed(usize),
}

/// A host in the midst of its work.
pub(crate) struct Host<'a, R> {
    plan: &'a Plan,
    rig: &'a mut R,
    pub(crate) prepared: Vec<Prepared>,
    instances: Vec<Instance>,
    /// Of each job.
    pub(crate) counts: Vec<Counts>,
    /// The steps of each job's operations.
    steps: Vec<Vec<Step>>,
    operations: Vec<Option<Operation>>,
    free_operations: Vec<usize>,
    timers: BinaryHeap<Reverse<(Instant, u64, Timer)>>,
    /// Timers so far: of those at the same time, the first comes first.
    timer_count: u64,
    sent: HashMap<(usize, Ticket), usize>,
    /// Operations of each drive with commands for which its queue had no room.
    drives: Vec<VecDeque<usize>>,
    /// What it has read for its processors.
    memory: HostMemory,
    /// When each processor of the host is free.
    cores: BinaryHeap<Reverse<Instant>>,
    /// Operations that have begun, of all instances.
    in_flight: usize,
    /// Instances with a limit of their own that have not ended.
    limited: usize,
    measured_from: Instant,
    pub(crate) before: Vec<Option<DriveCounters>>,
    pub(crate) after: Vec<Option<DriveCounters>>,
    /// What groups had counted when measuring began, and what since.
    groups_before: Vec<Vec<GroupCounts>>,
    pub(crate) groups: Vec<GroupCounts>,
    start: Instant,
    /// When the last job with an end had ended.
    stopped: Instant,
    /// The first instance that a program of a drive belongs to.
    programs: BTreeMap<(usize, u32), usize>,
}

impl<'a, R: Rig> Host<'a, R> {
    pub(crate) fn new(plan: &'a Plan, rig: &'a mut R, prepared: Vec<Prepared>) -> Self {
        let start = rig.now();
        let measured_from = start + plan.ramp;
        let mut instances = Vec::new();
        let mut programs = BTreeMap::new();
        for (number, one) in prepared.iter().enumerate() {
            let job = &plan.jobs[one.job];
            if let Some(program) = one.program {
                programs.insert((one.drive, u32::from(program)), instances.len());
            }
            for clone in 0..one.places.len() {
                let begins = start + job.start;
                let from = measured_from.max(begins);
                let ends = match job.limit {
                    Limit::Time(time) if job.has_own_time => from + time,
                    Limit::Time(time) => measured_from + time,
                    _ => Instant::NEVER,
                };
                // Every clone on every drive has numbers of its own.
                let own = [one.job as u64, one.drive as u64, clone as u64];
                let seed =
                    own.iter().fold(plan.seed, |seed, n| Prng::new(seed ^ (n << 17)).next_u64());
                instances.push(Instance {
                    job: one.job,
                    drive: one.drive,
                    prepared: number,
                    clone,
                    random: Prng::new(seed),
                    backlog: VecDeque::new(),
                    free: job.depth.map(|depth| (0..depth as usize).rev().collect()),
                    in_flight: 0,
                    arrived: (0, 0),
                    start: begins,
                    measured_from: from,
                    ends,
                    is_over: false,
                    next_output: 0,
                });
            }
        }
        let limited =
            instances.iter().filter(|one| plan.jobs[one.job].limit != Limit::Others).count();
        let drives = rig.count();
        Self {
            plan,
            rig,
            prepared,
            counts: plan.jobs.iter().map(|_| Counts::default()).collect(),
            instances,
            steps: plan.jobs.iter().map(|job| steps(&job.work)).collect(),
            operations: Vec::new(),
            free_operations: Vec::new(),
            timers: BinaryHeap::new(),
            timer_count: 0,
            sent: HashMap::new(),
            drives: vec![VecDeque::new(); drives],
            memory: HostMemory::new(plan.host.memory),
            cores: (0..plan.host.cores).map(|_| Reverse(start)).collect(),
            in_flight: 0,
            limited,
            measured_from,
            before: vec![None; drives],
            after: vec![None; drives],
            groups_before: vec![Vec::new(); drives],
            groups: Vec::new(),
            start,
            stopped: start,
            programs,
        }
    }

    fn set_timer(&mut self, at: Instant, timer: Timer) {
        self.timers.push(Reverse((at, self.timer_count, timer)));
        self.timer_count += 1;
    }

    fn job(&self, instance: usize) -> &'a Job {
        &self.plan.jobs[self.instances[instance].job]
    }

    /// Runs everything.
    pub(crate) fn work(
        &mut self,
        tell: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.set_timer(self.measured_from, Timer::Measure);
        for number in 0..self.instances.len() {
            let (start, ends) = (self.instances[number].start, self.instances[number].ends);
            if ends != Instant::NEVER {
                self.set_timer(ends, Timer::End(number));
            }
            let arrivals = match (&self.job(number).arrival, self.job(number).depth) {
                (Arrival::Closed { .. }, depth) => depth.unwrap_or(1),
                (Arrival::Open { .. } | Arrival::Trace(_), _) => 1,
            };
            (0..arrivals).for_each(|_| self.set_timer(start, Timer::Arrival(number)));
        }
        let (mut completions, mut is_ending) = (0u64, false);
        loop {
            if self.limited == 0 && !is_ending {
                is_ending = true;
                self.stop_all();
                self.stopped = self.rig.now();
                self.after = self.snapshot()?;
                self.groups = self.count_groups()?;
            }
            if is_ending && self.in_flight == 0 {
                return Ok(());
            }
            let now = self.rig.now();
            match self.timers.peek() {
                Some(Reverse((at, ..))) if *at <= now => {
                    let Reverse((at, _, timer)) = self.timers.pop().expect("it was there");
                    self.happen(at, timer)?;
                    continue;
                }
                _ => {}
            }
            let until = self.timers.peek().map_or(Instant::NEVER, |Reverse((at, ..))| *at);
            match self.rig.next(until)? {
                Some((drive, done)) => {
                    self.completed(drive, done)?;
                    completions += 1;
                    if completions.is_multiple_of(TELL_EVERY)
                        && tell(Progress::Running(self.share_done())).is_break()
                    {
                        return Err(Error::Stopped);
                    }
                }
                None if until == Instant::NEVER => return Err(Error::Stalled(self.sent.len())),
                None => {}
            }
        }
    }

    /// How much is done of the instance that has most to do.
    fn share_done(&self) -> Option<f64> {
        let now = self.rig.now();
        let of = |one: &Instance| -> Option<f64> {
            let share = |done: u64, all: u64| Some(done as f64 / all.max(1) as f64);
            match self.plan.jobs[one.job].limit {
                Limit::Time(_) => {
                    share(now.since(self.start).as_ns(), one.ends.since(self.start).as_ns())
                }
                Limit::Operations(count) => share(one.arrived.0, count),
                Limit::Bytes(bytes) => share(one.arrived.1, bytes),
                Limit::Trace | Limit::Others => None,
            }
        };
        self.instances.iter().filter_map(of).reduce(f64::min).map(|share| share.min(1.0))
    }

    fn snapshot(&mut self) -> Result<Vec<Option<DriveCounters>>, Error> {
        let count = self.rig.count();
        Ok((0..count).map(|number| self.rig.counters(number)).collect::<Result<_, _>>()?)
    }

    /// What the group of each that is prepared counted since measuring began.
    fn count_groups(&mut self) -> Result<Vec<GroupCounts>, Error> {
        let mut after = vec![Vec::new(); self.rig.count()];
        let mut counts = Vec::new();
        for one in &self.prepared {
            let mut count = GroupCounts::default();
            if one.group > 0 {
                if after[one.drive].is_empty() {
                    after[one.drive] = self.rig.groups(one.drive)?;
                }
                let of = |all: &[GroupCounts]| {
                    let found = all.iter().find(|count| count.id == one.group);
                    found.copied().unwrap_or_default()
                };
                count = of(&after[one.drive]).since(of(&self.groups_before[one.drive]));
            }
            counts.push(count);
        }
        Ok(counts)
    }

    /// When each job was measured.
    pub(crate) fn windows(&self) -> Vec<(Instant, Instant)> {
        let of = |(number, job): (usize, &Job)| {
            let mut all = self.instances.iter().filter(|one| one.job == number);
            let first = all.next();
            let from = first.map_or(self.start, |one| one.measured_from);
            let end = match job.limit {
                Limit::Time(_) => first.map_or(from, |one| one.ends),
                Limit::Others => self.stopped,
                Limit::Operations(_) | Limit::Bytes(_) | Limit::Trace => {
                    self.counts[number].ended.unwrap_or(from)
                }
            };
            (from, end.max(from))
        };
        self.plan.jobs.iter().enumerate().map(of).collect()
    }

    fn happen(&mut self, at: Instant, timer: Timer) -> Result<(), Error> {
        match timer {
            Timer::Measure => {
                self.before = self.snapshot()?;
                for drive in 0..self.rig.count() {
                    if self.prepared.iter().any(|one| one.drive == drive && one.group > 0) {
                        self.groups_before[drive] = self.rig.groups(drive)?;
                    }
                }
            }
            Timer::End(number) => self.end_instance(number),
            Timer::Arrival(number) => {
                // In real time a timer may be late; what it is about is not.
                self.arrive(number, at)?;
                self.begin_operations(number)?;
            }
            Timer::Prepared(operation) => self.send_step(operation)?,
            Timer::Computed(operation) => self.step_done(operation)?,
        }
        Ok(())
    }

    fn stop_all(&mut self) {
        for instance in &mut self.instances {
            instance.is_over = true;
            instance.backlog.clear();
        }
    }

    /// Nothing of an instance begins any more.
    fn end_instance(&mut self, number: usize) {
        let instance = &mut self.instances[number];
        instance.backlog.clear();
        if !std::mem::replace(&mut instance.is_over, true) {
            self.limited -= 1;
        }
    }

    /// The next operation of an instance arrives.
    fn arrive(&mut self, number: usize, at: Instant) -> Result<(), Error> {
        let job = self.job(number);
        let instance = &mut self.instances[number];
        let (count, bytes) = instance.arrived;
        if instance.is_over || instance.has_arrived(job) {
            return Ok(());
        }
        let fit = self.prepared[instance.prepared].fit;
        let places = &mut self.prepared[instance.prepared].places[instance.clone];
        let (place, next) = match &job.arrival {
            Arrival::Closed { .. } => (places.next(&mut instance.random), None),
            Arrival::Open { per_second, process } => {
                let place = places.next(&mut instance.random);
                let next = match process {
                    // Not added up: many roundings would be a different rate.
                    RateProcess::Linear => {
                        let ns = (count + 1) as f64 / per_second * 1e9;
                        instance.start + Duration::from_ns(ns as u64)
                    }
                    RateProcess::Poisson => at + exponential(&mut instance.random, *per_second),
                };
                (place, Some(next))
            }
            Arrival::Trace(entries) => {
                let entry = entries[count as usize];
                let next = entries.get(count as usize + 1).map(|next| instance.start + next.at);
                let (offset, bytes) =
                    fit.map_or((entry.offset, entry.bytes), |fit| fit.place(&entry));
                let place = Place { is_read: entry.is_read, offset, bytes };
                (place, next)
            }
        };
        instance.arrived = (count + 1, bytes + place.bytes);
        if instance.backlog.len() >= BACKLOG_MAX {
            let reason = format!(
                "{BACKLOG_MAX} operations wait: they arrive faster than the drive ends them; choose a lower rate or a shorter time"
            );
            return Err(self.failed(self.instances[number].job, reason));
        }
        instance.backlog.push_back(Pending { at, place });
        if let Some(next) = next {
            self.set_timer(next, Timer::Arrival(number));
        }
        Ok(())
    }

    /// Begins operations that have arrived, as many as may be in flight.
    fn begin_operations(&mut self, number: usize) -> Result<(), Error> {
        loop {
            let instance = &mut self.instances[number];
            let has_place = instance.free.as_ref().is_none_or(|free| !free.is_empty());
            if !has_place {
                return Ok(());
            }
            let Some(Pending { at, place }) = instance.backlog.pop_front() else { return Ok(()) };
            let slot = instance.free.as_mut().and_then(Vec::pop);
            instance.in_flight += 1;
            self.in_flight += 1;
            let (first, all, each) = self.prepared[instance.prepared].outputs;
            let output_at = first + instance.next_output;
            if let Some(rest) = all.checked_sub(each).filter(|_| each > 0) {
                let next = instance.next_output + each;
                instance.next_output = if next > rest { 0 } else { next };
            }
            let operation = Operation {
                instance: number,
                slot,
                place,
                arrived: at,
                begun: None,
                step: 0,
                step_began: self.rig.now(),
                unsent: Vec::new(),
                left: 0,
                output_at,
            };
            let id = match self.free_operations.pop() {
                Some(id) => id,
                None => {
                    self.operations.push(None);
                    self.operations.len() - 1
                }
            };
            self.operations[id] = Some(operation);
            self.begin_step(id)?;
        }
    }

    fn operation(&mut self, id: usize) -> &mut Operation {
        self.operations[id].as_mut().expect("an operation that is under way")
    }

    fn begin_step(&mut self, id: usize) -> Result<(), Error> {
        let now = self.rig.now();
        let operation = self.operation(id);
        operation.step_began = now;
        let (number, step) = (operation.instance, operation.step);
        let Place { offset, bytes, .. } = operation.place;
        let Instance { job, drive, .. } = self.instances[number];
        match (self.steps[job][step], &self.plan.jobs[job].work) {
            (Step::Compute, Work::OnHost { bytes_per_s }) => {
                let Reverse(free) = self.cores.pop().expect("the host has a processor");
                let ns = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(*bytes_per_s));
                let end = free.max(now) + Duration::from_ns(ns.min(1 << 62) as u64);
                self.cores.push(Reverse(end));
                self.set_timer(end, Timer::Computed(id));
                Ok(())
            }
            (Step::Blocks, Work::OnHost { .. }) if self.memory.uses((drive, offset, bytes)) => {
                self.step_done(id)
            }
            _ if self.plan.host.command_time == Duration::ZERO => self.send_step(id),
            _ => {
                self.set_timer(now + self.plan.host.command_time, Timer::Prepared(id));
                Ok(())
            }
        }
    }

    /// Sends the commands of the current step.
    fn send_step(&mut self, id: usize) -> Result<(), Error> {
        let operation = self.operations[id].as_ref().expect("an operation that is under way");
        let instance = &self.instances[operation.instance];
        let (job, drive) = (instance.job, instance.drive);
        let prepared = &self.prepared[instance.prepared];
        let slot: Slot = operation
            .slot
            .and_then(|slot| prepared.slots[instance.clone].get(slot))
            .copied()
            .unwrap_or_default();
        let step = self.steps[job][operation.step];
        let work = &self.plan.jobs[job].work;
        let built = self
            .rig
            .look_at(drive, |drive| commands(drive, step, operation, work, prepared, slot))
            .map_err(|error| self.failed(job, error.to_string()))?;
        let operation = self.operation(id);
        operation.left = built.len();
        operation.unsent = built;
        operation.unsent.reverse();
        if operation.left == 0 {
            return self.step_done(id);
        }
        self.drives[drive].push_back(id);
        self.send(drive)
    }

    /// Sends commands while a drive's queue has room.
    fn send(&mut self, drive: usize) -> Result<(), Error> {
        while let Some(&id) = self.drives[drive].front()
            && self.rig.room(drive) > 0
        {
            let now = self.rig.now();
            let operation = self.operation(id);
            operation.begun.get_or_insert(now);
            let command = operation.unsent.pop();
            // Afterwards it may end at any time.
            if operation.unsent.is_empty() {
                self.drives[drive].pop_front();
            }
            if let Some(command) = command {
                let ticket = self.rig.submit(drive, command)?;
                self.sent.insert((drive, ticket), id);
            }
        }
        Ok(())
    }

    fn failed(&self, job: usize, reason: String) -> Error {
        self.plan.failed(job, reason)
    }

    fn completed(&mut self, drive: usize, done: Done) -> Result<(), Error> {
        let Some(id) = self.sent.remove(&(drive, done.ticket)) else { return Ok(()) };
        let operation = self.operation(id);
        let (number, step, place) = (operation.instance, operation.step, operation.place);
        let job = self.instances[number].job;
        let step = self.steps[job][step];
        if !done.status.is_success() || done.kernel_error.is_some() {
            let what = match step {
                Step::Blocks if place.is_read => "Read",
                Step::Blocks => "Write",
                Step::Input => "the copy of the input",
                Step::Output => "the copy of the output",
                Step::Program | Step::Compute => "Execute Program",
            };
            let why = match done.kernel_error {
                Some(number) => std::io::Error::from_raw_os_error(number).to_string(),
                None => {
                    let command = what;
                    let is_full = done.status.same_code(Status::CAPACITY_EXCEEDED);
                    let is_compound = matches!(&self.plan.jobs[job].work, Work::OnDrive(of) if of.compound.is_some());
                    let detail = (is_full && is_compound).then(|| {
                        "the drive's own memory is given out to the executions in flight: [drive.set] memory.own_size, or a smaller iodepth or bs".to_owned()
                    });
                    CommandFailed { command, status: done.status, detail }.to_string()
                }
            };
            let Place { offset, bytes, .. } = place;
            let text = format!("{why} (drive {drive}, {bytes} bytes at {offset})");
            return Err(self.failed(job, text));
        }
        if step == Step::Program {
            self.count_jobs(drive);
            let now = self.rig.now();
            if self.instances[number].is_measured(now) {
                self.counts[job].add_result(done.result as i64);
            }
        }
        let operation = self.operation(id);
        operation.left -= 1;
        if operation.left == 0 {
            self.step_done(id)?;
        }
        self.send(drive)
    }

    /// Adds what the drive tells of its jobs.
    fn count_jobs(&mut self, drive: usize) {
        for record in self.rig.take_jobs(drive) {
            let Some(&number) = self.programs.get(&(drive, record.program)) else { continue };
            let instance = &self.instances[number];
            if instance.is_measured(Instant::from_ns(record.ended_ns)) {
                let counts = &mut self.counts[instance.job];
                counts.waited.add(Duration::from_ns(record.waited_ns));
                counts.ran.add(Duration::from_ns(record.ran_ns));
            }
        }
    }

    fn step_done(&mut self, id: usize) -> Result<(), Error> {
        let now = self.rig.now();
        let operation = self.operation(id);
        let (number, began, step) = (operation.instance, operation.step_began, operation.step);
        let Place { offset, bytes, .. } = operation.place;
        operation.step += 1;
        let instance = &self.instances[number];
        let (job, drive, is_measured) = (instance.job, instance.drive, instance.is_measured(now));
        let kind = self.steps[job][step];
        if kind == Step::Blocks && matches!(self.plan.jobs[job].work, Work::OnHost { .. }) {
            self.memory.keep((drive, offset, bytes));
        }
        if is_measured {
            let time = now.since(began);
            let steps = &mut self.counts[job].steps;
            match kind {
                Step::Input => steps[0].add(time),
                Step::Program | Step::Compute => steps[1].add(time),
                Step::Output => steps[2].add(time),
                Step::Blocks => {}
            }
        }
        let is_last = step + 1 == self.steps[job].len();
        if is_last { self.operation_done(id, now) } else { self.begin_step(id) }
    }

    fn operation_done(&mut self, id: usize, now: Instant) -> Result<(), Error> {
        let operation = self.operations[id].take().expect("an operation that is under way");
        self.free_operations.push(id);
        let number = operation.instance;
        let job = self.job(number);
        let instance = &mut self.instances[number];
        instance.in_flight -= 1;
        self.in_flight -= 1;
        if let (Some(free), Some(slot)) = (&mut instance.free, operation.slot) {
            free.push(slot);
        }
        if instance.is_measured(now) {
            instance.count(&mut self.counts[instance.job], &operation, &job.work, now);
        }
        let is_done = instance.in_flight == 0 && instance.backlog.is_empty();
        if is_done && instance.has_arrived(job) {
            self.end_instance(number);
            return Ok(());
        }
        if let Arrival::Closed { think } = job.arrival {
            if think == Duration::ZERO {
                self.arrive(number, now)?;
            } else {
                self.set_timer(now + think, Timer::Arrival(number));
            }
        }
        self.begin_operations(number)
    }
}

//! The units and the jobs on them.

use std::collections::BTreeSet;

use records::UnitRecord;
use simtime::{Duration, Instant};

use crate::config::Config;
use crate::groups::{GroupError, GroupRecord, Groups};
use crate::policy::{GroupId, GroupSettings, JobId, JobInfo, Policy, Rank, UnitId};
use crate::queues::{QueueId, Queues};
use crate::sharing::{MemoryShares, Progress, Speed, demand};
use crate::table::JobTable;
use crate::units::{UnitSet, UnitTimes};

/// What a job costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cost {
    /// Unit time that it needs, at full speed.
    pub time: Duration,
    /// Bytes that it loads and stores: they count for its group's bandwidth.
    pub bytes: u64,
    /// They also take their part of [`Config::memory_bandwidth`] while it runs.
    pub shares_memory: bool,
}

impl From<Duration> for Cost {
    /// Of a job that touches no memory.
    fn from(time: Duration) -> Self {
        Self { time, ..Self::default() }
    }
}

/// A finished job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Finished {
    /// The job.
    pub job: JobId,
    /// When it finished.
    pub at: Instant,
    /// Time it held a unit, context switches not counted.
    pub ran: Duration,
    /// Time it waited for a unit, before its start and between slices, context switches counted.
    pub waited: Duration,
    /// How long after its modelled end that was, because its cost, or that of a job before it on the same unit,
    /// became known too late. Never in virtual time. With time slices it is at least that: what a job held its unit too
    /// long in slices before its last delays others, and is not counted for them.
    pub late: Duration,
}

/// Where a job is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// Kept from the scheduler by its group's limits.
    Held(u64),
    Waiting(QueueId),
    On(UnitId, QueueId),
}

#[derive(Debug)]
struct Job {
    info: JobInfo,
    /// Unknown until the functional run says.
    cost: Option<Cost>,
    /// It costs at least that. `None` = its cost cannot be known yet.
    least: Option<Duration>,
    place: Place,
    /// What is done of it.
    done: Progress,
    /// It began so long after its modelled time.
    behind: Duration,
}

#[derive(Debug)]
struct Unit {
    job: Option<JobId>,
    /// The time that it ran jobs before the current one.
    ran: Duration,
    /// When the current stay began (after the context switch).
    since: Instant,
    /// Until when the progress of its job is counted, and how fast it goes from there.
    counted: Instant,
    speed: Speed,
    /// End of the current time slice.
    slice_end: Option<Instant>,
    /// Its last job, if that was interrupted: another one pays the context switch.
    interrupted: Option<JobId>,
    /// Its last job left so long after its modelled time.
    behind: Duration,
    /// How urgent its job is, if the policy preempts.
    rank: Option<Rank>,
}

impl Unit {
    /// The time until now in which it ran jobs.
    fn busy(&self, now: Instant) -> Duration {
        let running = if self.job.is_some() { now.since(self.since) } else { Duration::ZERO };
        self.ran + running
    }
}

/// What is due.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Due {
    /// A job finishes or used up its slice.
    Unit(UnitId),
    /// A group's bandwidth lets a job pass.
    Gate(GroupId),
}

/// Compute units with a scheduler: a pure state machine over virtual time. What happens to a job costs time that grows with
/// the logarithm of the units and jobs there are, and, while jobs need more than [`Config::memory_bandwidth`], with the jobs
/// on units.
#[derive(Debug)]
pub struct Engine {
    units: Vec<Unit>,
    jobs: JobTable<Job>,
    queues: Queues,
    /// How often a job joined a queue.
    enqueued: u64,
    groups: Groups,
    /// The jobs of some group may not use every unit.
    has_affinity: bool,
    context_switch_time: Duration,
    /// Units without a job.
    idle: UnitSet,
    /// When the jobs on units finish, as far as it is known.
    ends: UnitTimes,
    /// When the others may.
    may_end: UnitTimes,
    /// When the time slices of jobs on units end. They matter only while other jobs wait: with a queue for each unit
    /// only those are here.
    slices: UnitTimes,
    /// How urgent the jobs on units are, if the policy preempts.
    ranks: BTreeSet<(Rank, UnitId)>,
    memory: MemoryShares,
    context_switches: u64,
    now: Instant,
    /// The earliest of what is due.
    next: Instant,
    records: Option<Vec<UnitRecord>>,
}

impl Engine {
    /// An idle engine.
    pub fn new(config: &Config) -> Self {
        Self::with_policy(config, &|| config.policy.build(config))
    }

    /// An idle engine with a policy of the caller's, made for each queue.
    pub fn with_policy(config: &Config, new: &dyn Fn() -> Box<dyn Policy>) -> Self {
        let unit = || Unit {
            job: None,
            since: Instant::ZERO,
            counted: Instant::ZERO,
            speed: Speed::FULL,
            slice_end: None,
            interrupted: None,
            behind: Duration::ZERO,
            rank: None,
            ran: Duration::ZERO,
        };
        Self {
            units: (0..config.units).map(|_| unit()).collect(),
            jobs: JobTable::default(),
            queues: Queues::new(config.queues, config.units, new),
            enqueued: 0,
            groups: Groups::default(),
            has_affinity: false,
            context_switch_time: config.context_switch_time,
            idle: UnitSet::all(config.units),
            ends: UnitTimes::new(config.units),
            may_end: UnitTimes::new(config.units),
            slices: UnitTimes::new(config.units),
            ranks: BTreeSet::new(),
            memory: MemoryShares::new(config.memory_bandwidth),
            context_switches: 0,
            now: Instant::ZERO,
            next: Instant::NEVER,
            records: None,
        }
    }

    /// Adds a job. Its cost may come later, with [`Self::set_cost`].
    ///
    /// # Panics
    /// If the engine already has a job of that name, or has no such group; if time goes back.
    pub fn submit(&mut self, now: Instant, job: JobId, group: GroupId, cost: Option<Cost>) {
        self.pass(now);
        let settings = self.groups.job_came(group);
        let GroupSettings { priority, deadline, affinity, .. } = settings;
        let deadline = deadline.map(|after| now + after);
        let consumed = Duration::ZERO;
        let (submitted, order) = (now, 0);
        let info = JobInfo { job, group, priority, submitted, affinity, deadline, consumed, order };
        let is_held = settings.is_limited();
        let place = match is_held {
            true => Place::Held(self.groups.hold(now, group, job, cost.map(|cost| cost.bytes))),
            false => Place::Waiting(self.queues.choose(affinity)),
        };
        let (done, least, behind) = (Progress::default(), Some(Duration::ZERO), Duration::ZERO);
        let state = Job { info, cost, least, place, done, behind };
        assert!(self.jobs.insert(job, state).is_none(), "job {job:?} submitted twice");
        match is_held {
            true => self.open(now, group),
            false => self.enqueue_new(now, job),
        }
        self.refresh(now);
    }

    /// Jobs of a group that its limits let pass go to the scheduler.
    fn open(&mut self, now: Instant, group: GroupId) {
        while let Some((job, late)) = self.groups.pass(now, group) {
            let state = self.jobs.get_mut(job).expect("gates hold jobs the engine knows");
            state.place = Place::Waiting(self.queues.choose(state.info.affinity));
            state.behind = late;
            self.groups.job_passed(group, now.since(state.info.submitted) - late);
            self.enqueue_new(now, job);
        }
    }

    /// A job that has its queue joins it, and may take the unit of a less urgent one.
    fn enqueue_new(&mut self, now: Instant, job: JobId) {
        let (queue, info) = self.enqueue(now, job);
        let only = self.queues.unit_of(queue);
        let may_have = |unit: UnitId| match only {
            Some(only) => only == unit,
            None => info.affinity.allows(unit),
        };
        let has_room = match only {
            Some(only) => self.idle.contains(only),
            None if !self.has_affinity => !self.idle.is_empty(),
            None => self.idle.iter().any(may_have),
        };
        if !has_room
            && let Some(rank) = self.queues.policy(queue).rank(&info)
            && let Some(&(least, unit)) = self.ranks.iter().rev().find(|(_, unit)| may_have(*unit))
            && rank.urgency < least.urgency
        {
            self.interrupt(now, unit);
        }
        self.dispatch(now, queue);
    }

    /// A job joins its queue.
    fn enqueue(&mut self, now: Instant, job: JobId) -> (QueueId, JobInfo) {
        let state = self.jobs.get_mut(job).expect("a job that waits is known");
        let Place::Waiting(queue) = state.place else { unreachable!("a job that waits") };
        self.enqueued += 1;
        state.info.order = self.enqueued;
        let info = state.info;
        self.queues.policy_mut(queue).enqueue(now, &info);
        // From now on the slice of the queue's unit matters.
        if let Some(unit) = self.queues.unit_of(queue)
            && let Some(slice_end) = self.units[unit.0 as usize].slice_end
        {
            self.slices.set(unit, Some(slice_end));
        }
        (queue, info)
    }

    fn refresh(&mut self, now: Instant) {
        self.share_memory(now);
        self.next = self.next_due().map_or(Instant::NEVER, |(at, _)| at);
    }

    fn pass(&mut self, now: Instant) {
        assert!(now >= self.now, "time went back from {} to {} ns", self.now.as_ns(), now.as_ns());
        self.now = now;
    }

    /// Says what a job costs in all. If it already had that much, it finishes now.
    pub fn set_cost(&mut self, now: Instant, job: JobId, cost: impl Into<Cost>) {
        let cost = cost.into();
        self.pass(now);
        let Some(state) = self.jobs.get_mut(job) else { return };
        state.cost = Some(cost);
        let group = state.info.group;
        match state.place {
            Place::Held(place) => {
                self.groups.set_bytes(now, group, place, cost.bytes);
                self.open(now, group);
            }
            Place::Waiting(_) => {}
            Place::On(unit, _) => {
                self.memory.set(unit, demand_of(&cost));
                self.plan(now, unit);
            }
        }
        self.refresh(now);
    }

    /// Says what a job costs at least, while its cost is not known. `None` = nobody can know it yet: something that the job
    /// needs is not there. It holds its unit meanwhile.
    pub fn set_least_cost(&mut self, now: Instant, job: JobId, least: Option<Duration>) {
        self.pass(now);
        let Some(state) = self.jobs.get_mut(job) else { return };
        state.least = least;
        if let Place::On(unit, _) = state.place {
            self.plan(now, unit);
        }
    }

    /// The unit time that a job had until now, at full speed.
    pub fn had(&self, now: Instant, job: JobId) -> Duration {
        let Some(state) = self.jobs.get(job) else { return Duration::ZERO };
        let mut done = state.done;
        if let Place::On(unit, _) = state.place {
            let unit = &self.units[unit.0 as usize];
            if unit.counted < now {
                done.advance(unit.speed.work_in(now.since(unit.counted)));
            }
        }
        done.time()
    }

    /// When the first job may finish whose cost is not known: from then on it is late, unless time stands still.
    pub fn cost_needed_at(&self) -> Option<Instant> {
        let may_end = self.may_end.first().map(|(at, _)| at);
        may_end.into_iter().chain(self.groups.needed_at()).min()
    }

    /// Takes a job away; its unit is free at once. False if there is no such job.
    pub fn cancel(&mut self, now: Instant, job: JobId) -> bool {
        self.pass(now);
        let Some(state) = self.jobs.remove(job) else { return false };
        let group = state.info.group;
        match state.place {
            Place::Held(place) => self.groups.cancel_held(group, place),
            Place::Waiting(queue) => {
                let was = self.queues.policy_mut(queue).remove(&state.info);
                assert!(was, "a job neither runs nor waits");
                self.queues.job_gone(queue);
                self.forget_slice(queue);
            }
            Place::On(unit, queue) => {
                self.leave(now, unit, group);
                self.queues.job_gone(queue);
                self.dispatch(now, queue);
            }
        }
        self.groups.job_canceled(group);
        self.open(now, group);
        self.refresh(now);
        true
    }

    fn check_settings(&self, settings: &GroupSettings) -> Result<(), GroupError> {
        let exists =
            (0..self.units.len() as u32).any(|unit| settings.affinity.allows(UnitId(unit)));
        if exists { Ok(()) } else { Err(GroupError::NoUnit) }
    }

    /// Makes a group.
    ///
    /// # Errors
    /// If there are as many as there can be, or its jobs could use no unit.
    pub fn create_group(&mut self, settings: GroupSettings) -> Result<GroupId, GroupError> {
        self.check_settings(&settings)?;
        let group = self.groups.create(settings).ok_or(GroupError::Full)?;
        self.queues.set_group(group, &settings);
        self.has_affinity |= self.groups.have_affinity();
        Ok(group)
    }

    /// Gives a group, also the one of jobs of no group, other settings. What its jobs may claim, and the units that they may
    /// use, count for jobs that are submitted from now on, the other limits also for those that are held back.
    ///
    /// # Errors
    /// If there is no such group, or its jobs could use no unit.
    pub fn set_group(
        &mut self,
        now: Instant,
        group: GroupId,
        to: GroupSettings,
    ) -> Result<(), GroupError> {
        self.pass(now);
        self.check_settings(&to)?;
        self.groups.set(group, to)?;
        self.queues.set_group(group, &to);
        // Jobs that were submitted before keep what they had.
        self.has_affinity |= self.groups.have_affinity();
        self.open(now, group);
        self.refresh(now);
        Ok(())
    }

    /// Removes a group.
    ///
    /// # Errors
    /// If there is no such group, or it has jobs.
    pub fn delete_group(&mut self, group: GroupId) -> Result<(), GroupError> {
        self.groups.delete(group)?;
        self.queues.remove_group(group);
        Ok(())
    }

    /// True if jobs of a group are held back before the scheduler sees them: what they need must be known then.
    pub fn holds_jobs(&self, group: GroupId) -> bool {
        self.groups.settings(group).is_some_and(|settings| settings.is_limited())
    }

    /// True if there is such a group.
    pub fn has_group(&self, group: GroupId) -> bool {
        self.groups.contains(group)
    }

    /// The groups, and what their jobs did.
    pub fn groups(&self) -> impl Iterator<Item = GroupRecord> + '_ {
        self.groups.records()
    }

    /// Runs every event due at or before `now`, appending finished jobs.
    pub fn advance(&mut self, now: Instant, finished: &mut Vec<Finished>) {
        while let Some((at, due)) = self.next_due().filter(|(at, _)| *at <= now) {
            self.pass(at);
            match due {
                Due::Unit(unit) => self.check(at, unit, finished),
                Due::Gate(group) => self.open(at, group),
            }
            self.share_memory(at);
        }
        self.pass(now);
        self.refresh(now);
    }

    /// What is due next, and when: at one time units by their number, then groups.
    #[inline]
    fn next_due(&self) -> Option<(Instant, Due)> {
        let opening = self.groups.next_opening().map(|(at, group)| (at, Due::Gate(group)));
        let end = self.ends.first().map(|(at, unit)| (at, Due::Unit(unit)));
        let first = end.into_iter().chain(opening).min();
        let Some((slice_end, unit)) = self.slices.first() else { return first };
        let queue = self.queues.of_unit(UnitId(0));
        if self.queues.is_shared() && self.queues.policy(queue).waiting() == 0 {
            return first;
        }
        // A slice may have ended while nothing waited.
        let slice = (self.now.max(slice_end), Due::Unit(unit));
        first.into_iter().chain([slice]).min()
    }

    /// When to call [`Self::advance`] again.
    pub fn next_event(&self) -> Option<Instant> {
        self.next_or_never().unless_never()
    }

    /// As [`Self::next_event`]; `Instant::NEVER` if nothing is under way.
    #[inline]
    pub fn next_or_never(&self) -> Instant {
        self.next
    }

    /// Number of jobs that run or wait.
    pub fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// How often a unit took up a job after it interrupted another.
    pub fn context_switches(&self) -> u64 {
        self.context_switches
    }

    /// The time that units ran jobs until `now`, all units together, without context switches.
    pub fn busy(&self, now: Instant) -> Duration {
        self.units.iter().fold(Duration::ZERO, |sum, unit| sum + unit.busy(now))
    }

    /// The same of each unit.
    pub fn busy_of_units(&self, now: Instant) -> Vec<Duration> {
        self.units.iter().map(|unit| unit.busy(now)).collect()
    }

    /// Starts or stops recording what units do.
    pub fn set_recording(&mut self, on: bool) {
        self.records = on.then(Vec::new);
    }

    /// The records since they were taken last; `None` while none are made.
    pub fn records(&mut self) -> Option<&mut Vec<UnitRecord>> {
        self.records.as_mut()
    }

    /// Idle units take waiting jobs of a queue, lowest unit first.
    fn dispatch(&mut self, now: Instant, queue: QueueId) {
        if let Some(unit) = self.queues.unit_of(queue) {
            if self.idle.contains(unit)
                && let Some(job) = self.queues.policy_mut(queue).pick(now, unit)
            {
                self.start(now, unit, job);
                self.forget_slice(queue);
            }
            return;
        }
        let mut from = UnitId(0);
        while let Some(unit) = self.idle.first_from(from) {
            match self.queues.policy_mut(queue).pick(now, unit) {
                Some(job) => self.start(now, unit, job),
                // What waits may be for other units.
                None if self.has_affinity => from = UnitId(unit.0 + 1),
                None => return,
            }
        }
    }

    /// With a queue for each unit: a slice does not matter while nothing waits.
    fn forget_slice(&mut self, queue: QueueId) {
        if let Some(unit) = self.queues.unit_of(queue)
            && self.queues.policy(queue).waiting() == 0
        {
            self.slices.set(unit, None);
        }
    }

    fn start(&mut self, now: Instant, id: UnitId, job: JobId) {
        let queue = self.queues.of_unit(id);
        let state = self.jobs.get_mut(job).expect("policies return jobs they were given");
        self.idle.remove(id);
        let unit = &mut self.units[id.0 as usize];
        // A job that goes on where it was interrupted needs no switch.
        let is_switch = unit.interrupted.take().is_some_and(|before| before != job);
        self.context_switches += u64::from(is_switch);
        let switch = if is_switch { self.context_switch_time } else { Duration::ZERO };
        unit.job = Some(job);
        unit.since = now + switch;
        (unit.counted, unit.speed) = (unit.since, Speed::FULL);
        let policy = self.queues.policy(queue);
        unit.slice_end = policy.time_slice(&state.info).map(|slice| unit.since + slice);
        if let Some(slice_end) = unit.slice_end {
            self.slices.set(id, Some(slice_end));
        }
        unit.rank = policy.rank(&state.info);
        if let Some(rank) = unit.rank {
            self.ranks.insert((rank, id));
        }
        state.place = Place::On(id, queue);
        // Only a job that already waited would have begun earlier.
        state.behind = state.behind.max(unit.behind.min(now.since(state.info.submitted)));
        unit.behind = Duration::ZERO;
        if let Some(cost) = &state.cost {
            self.memory.set(id, demand_of(cost));
        }
        self.plan(now, id);
    }

    /// Notes when a unit's job finishes, once its cost is known.
    fn plan(&mut self, now: Instant, id: UnitId) {
        let unit = &self.units[id.0 as usize];
        let Some(job) = unit.job else { return };
        let state = self.jobs.get(job).expect("a unit runs a job the engine knows");
        let ends = state.cost.map(|cost| {
            let left = state.done.until(Progress::of(cost.time));
            (unit.counted + unit.speed.time_for(left)).max(now)
        });
        let may_end = state.least.filter(|_| state.cost.is_none()).map(|least| {
            let left = state.done.until(Progress::of(least));
            unit.counted + unit.speed.time_for(left)
        });
        self.ends.set(id, ends);
        self.may_end.set(id, may_end);
    }

    /// Counts what the unit's job has done until now.
    fn count(&mut self, now: Instant, id: UnitId) {
        let unit = &mut self.units[id.0 as usize];
        if let Some(job) = unit.job.filter(|_| unit.counted < now) {
            let done = unit.speed.work_in(now.since(unit.counted));
            self.jobs.get_mut(job).expect("a unit runs a job the engine knows").done.advance(done);
            unit.counted = now;
        }
    }

    /// Finds how fast each job goes, if jobs came to units or left them.
    fn share_memory(&mut self, now: Instant) {
        for (id, speed) in self.memory.new_speeds() {
            if self.units[id.0 as usize].speed != speed {
                self.count(now, id);
                self.units[id.0 as usize].speed = speed;
                self.plan(now, id);
            }
        }
    }

    /// Looks at a unit whose job finished or used up its slice.
    fn check(&mut self, now: Instant, id: UnitId, finished: &mut Vec<Finished>) {
        let queue = self.queues.of_unit(id);
        let unit = &self.units[id.0 as usize];
        let Some(job) = unit.job else { return };
        if self.ends.get(id).is_some_and(|ends| ends <= now) {
            let stay = now.since(unit.since);
            self.count(now, id);
            let state = self.jobs.remove(job).expect("a unit runs a job the engine knows");
            let JobInfo { group, deadline, submitted, consumed, .. } = state.info;
            // What it had beyond its cost, because that became known too late.
            let cost = state.cost.map_or(state.done, |cost| Progress::of(cost.time));
            let over = cost.until(state.done).time();
            let ran = consumed + stay - over;
            let waited = now.since(submitted) - ran;
            let late = state.behind + over;
            finished.push(Finished { job, at: now, ran, waited, late });
            self.leave(now, id, group);
            self.units[id.0 as usize].behind = late;
            self.queues.job_gone(queue);
            self.groups.job_finished(group, deadline.map(|deadline| deadline < now));
            self.dispatch(now, queue);
            self.open(now, group);
        } else {
            // Its slice ended, and others wait.
            self.interrupt(now, id);
            self.dispatch(now, queue);
        }
    }

    /// A job gives its unit to another, and waits again.
    fn interrupt(&mut self, now: Instant, id: UnitId) {
        self.count(now, id);
        let queue = self.queues.of_unit(id);
        let unit = &self.units[id.0 as usize];
        let job = unit.job.expect("only a job that runs is interrupted");
        let state = self.jobs.get_mut(job).expect("a unit runs a job the engine knows");
        state.info.consumed += now.since(unit.since);
        state.place = Place::Waiting(queue);
        let (_, info) = self.enqueue(now, job);
        self.leave(now, id, info.group);
        self.units[id.0 as usize].interrupted = Some(job);
    }

    fn leave(&mut self, now: Instant, id: UnitId, group: GroupId) {
        let queue = self.queues.of_unit(id);
        let unit = &mut self.units[id.0 as usize];
        let job = unit.job.take().expect("only a job that runs can leave");
        let ran = now.since(unit.since);
        self.queues.policy_mut(queue).left(group, ran);
        self.groups.job_ran(group, ran);
        unit.ran += ran;
        self.memory.set(id, 0);
        // A job that leaves during the context switch has not run.
        if let Some(records) = self.records.as_mut().filter(|_| unit.since <= now) {
            records.push(UnitRecord {
                job: job.0,
                start_ns: unit.since.as_ns(),
                end_ns: now.as_ns(),
                unit: id.0,
                reserved: 0,
            });
        }
        self.ends.set(id, None);
        self.may_end.set(id, None);
        if let Some(rank) = unit.rank.take() {
            self.ranks.remove(&(rank, id));
        }
        unit.slice_end = None;
        self.slices.set(id, None);
        self.idle.insert(id);
    }
}

/// Bytes per second that a job needs of the shared memory bandwidth.
fn demand_of(cost: &Cost) -> u64 {
    if cost.shares_memory { demand(cost.bytes, cost.time) } else { 0 }
}

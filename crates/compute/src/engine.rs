//! The units and the jobs on them.

use std::collections::{BTreeMap, BTreeSet};

use records::UnitRecord;
use simtime::{Duration, Instant};

use crate::groups::{GroupError, GroupRecord, Groups};
use crate::policy::{GroupId, GroupSettings, JobId, JobInfo, Policy, Rank, UnitId};
use crate::ranked::Ranked;
use crate::shares::Shares;
use crate::turns::Turns;

/// Scheduling policies by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PolicyKind {
    /// First in, first out, to completion; groups share the units by weight.
    Fifo,
    /// Round robin with a time slice; groups share the units by weight.
    RoundRobin,
    /// Groups in turn, one job each; first in, first out within a group.
    GroupedFifo,
    /// Groups in turn, and the jobs of each in turn, with a time slice.
    GroupedRoundRobin,
    /// The highest priority first, with ageing; preempts.
    Priority,
    /// Earliest deadline first; preempts.
    EarliestDeadline,
}

impl PolicyKind {
    /// All of them, with their names in configurations and documents.
    pub const NAMES: [(&str, Self); 6] = [
        ("fifo", Self::Fifo),
        ("round-robin", Self::RoundRobin),
        ("grouped-fifo", Self::GroupedFifo),
        ("grouped-round-robin", Self::GroupedRoundRobin),
        ("priority", Self::Priority),
        ("earliest-deadline", Self::EarliestDeadline),
    ];

    /// A policy of this kind.
    fn build(self, config: &Config) -> Box<dyn Policy> {
        let (slice, by_priority) = (config.time_slice, config.slice_by_priority);
        match self {
            Self::Fifo => Box::new(Shares::fifo()),
            Self::RoundRobin => Box::new(Shares::round_robin(slice)),
            Self::GroupedFifo => Box::new(Turns::fifo(by_priority.then_some(slice))),
            Self::GroupedRoundRobin => Box::new(Turns::round_robin(slice, by_priority)),
            Self::Priority => Box::new(Ranked::priority(config.ageing)),
            Self::EarliestDeadline => Box::new(Ranked::earliest_deadline()),
        }
    }
}

/// What the engine consists of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Number of compute units.
    pub units: u32,
    /// Scheduling policy.
    pub policy: PolicyKind,
    /// Time slice of the policies that have one.
    pub time_slice: Duration,
    /// For the grouped policies: a slice is multiplied by the priority of the group; grouped FIFO has slices only then.
    pub slice_by_priority: bool,
    /// For the priority policy: a job that has waited so long counts as one priority higher. Zero: never.
    pub ageing: Duration,
    /// Time a unit needs to take up a job after it interrupted another.
    pub context_switch_time: Duration,
}

impl Default for Config {
    /// Four units, first in first out; slice and switch are CEMU's defaults.
    fn default() -> Self {
        Self {
            units: 4,
            policy: PolicyKind::Fifo,
            time_slice: Duration::from_us(200),
            slice_by_priority: false,
            ageing: Duration::from_us(10_000),
            context_switch_time: Duration::from_ns(200),
        }
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

#[derive(Debug)]
struct Job {
    info: JobInfo,
    /// Total unit time needed; unknown until the functional run says.
    cost: Option<Duration>,
    unit: Option<UnitId>,
    /// It began so long after its modelled time.
    behind: Duration,
}

#[derive(Debug, Default)]
struct Unit {
    job: Option<JobId>,
    /// When the current stay began (after the context switch).
    since: Instant,
    /// End of the current time slice.
    slice_end: Option<Instant>,
    /// The unit's last job was interrupted: the next one pays the context switch.
    switch_due: bool,
    /// Its last job left so long after its modelled time.
    behind: Duration,
    /// When its job finishes, if that is known.
    ends: Option<Instant>,
    /// How urgent its job is, if the policy preempts.
    rank: Option<Rank>,
}

/// Compute units with a scheduler: a pure state machine over virtual time. What happens to a job costs time that grows with
/// the logarithm of the units and jobs there are.
#[derive(Debug)]
pub struct Engine {
    units: Vec<Unit>,
    jobs: BTreeMap<JobId, Job>,
    policy: Box<dyn Policy>,
    groups: Groups,
    context_switch_time: Duration,
    /// Units without a job.
    idle: BTreeSet<UnitId>,
    /// When the jobs on units finish, as far as it is known.
    ends: BTreeSet<(Instant, UnitId)>,
    /// When the time slices of jobs on units end. They matter only while other jobs wait.
    slices: BTreeSet<(Instant, UnitId)>,
    /// How urgent the jobs on units are, if the policy preempts.
    ranks: BTreeSet<(Rank, UnitId)>,
    context_switches: u64,
    now: Instant,
    /// The earliest of both.
    next: Instant,
    records: Option<Vec<UnitRecord>>,
}

impl Engine {
    /// An idle engine.
    pub fn new(config: &Config) -> Self {
        Self::with_policy(config, config.policy.build(config))
    }

    /// An idle engine with a policy of the caller's.
    pub fn with_policy(config: &Config, mut policy: Box<dyn Policy>) -> Self {
        policy.set_group(GroupId::NONE, &GroupSettings::default());
        Self {
            units: (0..config.units).map(|_| Unit::default()).collect(),
            jobs: BTreeMap::new(),
            policy,
            groups: Groups::default(),
            context_switch_time: config.context_switch_time,
            idle: (0..config.units).map(UnitId).collect(),
            ends: BTreeSet::new(),
            slices: BTreeSet::new(),
            ranks: BTreeSet::new(),
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
    pub fn submit(&mut self, now: Instant, job: JobId, group: GroupId, cost: Option<Duration>) {
        self.pass(now);
        let GroupSettings { priority, deadline, .. } = self.groups.job_came(group);
        let deadline = deadline.map(|after| now + after);
        let consumed = Duration::ZERO;
        let info = JobInfo { job, group, priority, submitted: now, deadline, consumed };
        let state = Job { info, cost, unit: None, behind: Duration::ZERO };
        assert!(self.jobs.insert(job, state).is_none(), "job {job:?} submitted twice");
        self.policy.enqueue(now, &info);
        if self.idle.is_empty()
            && let Some(rank) = self.policy.rank(&info)
            && let Some(&(least, unit)) = self.ranks.last()
            && rank.urgency < least.urgency
        {
            self.interrupt(now, unit);
        }
        self.dispatch(now);
        self.refresh();
    }

    fn refresh(&mut self) {
        self.next = self.next_look().map_or(Instant::NEVER, |(at, _)| at);
    }

    fn pass(&mut self, now: Instant) {
        assert!(now >= self.now, "time went back from {} to {} ns", self.now.as_ns(), now.as_ns());
        self.now = now;
    }

    /// Says how much unit time a job needs in all. If it already had that much, it finishes now.
    pub fn set_cost(&mut self, now: Instant, job: JobId, cost: Duration) {
        self.pass(now);
        let Some(state) = self.jobs.get_mut(&job) else { return };
        state.cost = Some(cost);
        if let Some(unit) = state.unit {
            self.plan(now, unit);
            self.refresh();
        }
    }

    /// Takes a job away; its unit is free at once. False if there is no such job.
    pub fn cancel(&mut self, now: Instant, job: JobId) -> bool {
        self.pass(now);
        let Some(state) = self.jobs.remove(&job) else { return false };
        match state.unit {
            Some(unit) => {
                self.leave(now, unit, state.info.group);
                self.dispatch(now);
            }
            None => {
                assert!(self.policy.remove(job, state.info.group), "a job neither runs nor waits");
            }
        }
        self.groups.job_canceled(state.info.group);
        self.refresh();
        true
    }

    /// Makes a group; `None` if there are as many as there can be.
    pub fn create_group(&mut self, settings: GroupSettings) -> Option<GroupId> {
        let group = self.groups.create(settings)?;
        self.policy.set_group(group, &settings);
        Some(group)
    }

    /// Gives a group, also the one of jobs of no group, other settings. Priority and deadline count for jobs that are submitted
    /// from now on.
    ///
    /// # Errors
    /// If there is no such group.
    pub fn set_group(&mut self, group: GroupId, to: GroupSettings) -> Result<(), GroupError> {
        self.groups.set(group, to)?;
        self.policy.set_group(group, &to);
        Ok(())
    }

    /// Removes a group.
    ///
    /// # Errors
    /// If there is no such group, or it has jobs.
    pub fn delete_group(&mut self, group: GroupId) -> Result<(), GroupError> {
        self.groups.delete(group)?;
        self.policy.remove_group(group);
        Ok(())
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
        while let Some((at, unit)) = self.next_look().filter(|(at, _)| *at <= now) {
            self.pass(at);
            self.check(at, unit, finished);
        }
        self.pass(now);
        self.refresh();
    }

    /// The unit whose job is the next to finish or to use up its slice, and when: of several the lowest.
    #[inline]
    fn next_look(&self) -> Option<(Instant, UnitId)> {
        let end = self.ends.first().copied();
        if self.slices.is_empty() || self.policy.waiting() == 0 {
            return end;
        }
        // A slice may have ended while nothing waited.
        let slice = self.slices.first().map(|(at, unit)| (self.now.max(*at), *unit));
        end.into_iter().chain(slice).min()
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

    /// Starts or stops recording what units do.
    pub fn set_recording(&mut self, on: bool) {
        self.records = on.then(Vec::new);
    }

    /// The records since they were taken last; `None` while none are made.
    pub fn records(&mut self) -> Option<&mut Vec<UnitRecord>> {
        self.records.as_mut()
    }

    /// Idle units take waiting jobs, lowest unit first.
    fn dispatch(&mut self, now: Instant) {
        while let Some(&id) = self.idle.first() {
            let Some(job) = self.policy.pick(now, id) else { return };
            let state = self.jobs.get_mut(&job).expect("policies return jobs they were given");
            self.idle.remove(&id);
            let unit = &mut self.units[id.0 as usize];
            let is_switch = core::mem::take(&mut unit.switch_due);
            self.context_switches += u64::from(is_switch);
            let switch = if is_switch { self.context_switch_time } else { Duration::ZERO };
            unit.job = Some(job);
            unit.since = now + switch;
            unit.slice_end = self.policy.time_slice(&state.info).map(|slice| unit.since + slice);
            if let Some(slice_end) = unit.slice_end {
                self.slices.insert((slice_end, id));
            }
            unit.rank = self.policy.rank(&state.info);
            if let Some(rank) = unit.rank {
                self.ranks.insert((rank, id));
            }
            state.unit = Some(id);
            // Only a job that already waited would have begun earlier.
            state.behind = state.behind.max(unit.behind.min(now.since(state.info.submitted)));
            unit.behind = Duration::ZERO;
            self.plan(now, id);
        }
    }

    /// Notes when a unit's job finishes, once its cost is known.
    fn plan(&mut self, now: Instant, id: UnitId) {
        let unit = &mut self.units[id.0 as usize];
        let Some(job) = unit.job else { return };
        let state = &self.jobs[&job];
        let ends = state.cost.map(|cost| (unit.since + (cost - state.info.consumed)).max(now));
        if let Some(before) = core::mem::replace(&mut unit.ends, ends) {
            self.ends.remove(&(before, id));
        }
        if let Some(ends) = ends {
            self.ends.insert((ends, id));
        }
    }

    /// Looks at a unit whose job finished or used up its slice.
    fn check(&mut self, now: Instant, id: UnitId, finished: &mut Vec<Finished>) {
        let unit = &self.units[id.0 as usize];
        let Some(job) = unit.job else { return };
        let state = &self.jobs[&job];
        let stay = now.since(unit.since);
        let consumed = state.info.consumed + stay;
        if unit.ends.is_some_and(|ends| ends <= now) {
            let ran = state.cost.unwrap_or(consumed);
            let waited = now.since(state.info.submitted) - ran;
            let late = state.behind + (consumed - ran);
            finished.push(Finished { job, at: now, ran, waited, late });
            let JobInfo { group, deadline, .. } = state.info;
            self.jobs.remove(&job);
            self.leave(now, id, group);
            self.units[id.0 as usize].behind = late;
            self.groups.job_finished(group, deadline.is_some_and(|deadline| deadline < now));
        } else {
            // Its slice ended, and others wait.
            self.interrupt(now, id);
        }
        self.dispatch(now);
    }

    /// A job gives its unit to another, and waits again.
    fn interrupt(&mut self, now: Instant, id: UnitId) {
        let unit = &self.units[id.0 as usize];
        let job = unit.job.expect("only a job that runs is interrupted");
        let state = self.jobs.get_mut(&job).expect("a unit runs a job the engine knows");
        state.info.consumed += now.since(unit.since);
        state.unit = None;
        let info = state.info;
        self.policy.enqueue(now, &info);
        self.leave(now, id, info.group);
        self.units[id.0 as usize].switch_due = true;
    }

    fn leave(&mut self, now: Instant, id: UnitId, group: GroupId) {
        let unit = &mut self.units[id.0 as usize];
        let job = unit.job.take().expect("only a job that runs can leave");
        let ran = now.since(unit.since);
        self.policy.left(group, ran);
        self.groups.job_ran(group, ran);
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
        if let Some(ends) = unit.ends.take() {
            self.ends.remove(&(ends, id));
        }
        if let Some(rank) = unit.rank.take() {
            self.ranks.remove(&(rank, id));
        }
        if let Some(slice_end) = unit.slice_end.take() {
            self.slices.remove(&(slice_end, id));
        }
        self.idle.insert(id);
    }
}

//! Scheduling policies: which waiting job a unit takes, how long it may keep the unit, and who may interrupt it.

use core::num::NonZeroU16;

use simtime::{Bandwidth, Duration, Instant};

/// A job known to the engine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct JobId(pub u64);

/// A compute unit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UnitId(pub u32);

/// A group of jobs. What its jobs may claim are its [`GroupSettings`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GroupId(pub u8);

impl GroupId {
    /// The jobs that are in no group: they are one, too, which is always there.
    pub const NONE: Self = Self(0);
}

/// Weight of a group unless one is given.
pub const DEFAULT_WEIGHT: u16 = 100;

/// The highest priority of a group; the lowest is 1 (CEMU's range).
pub const PRIORITY_MAX: u8 = 9;

/// Priority of a group unless one is given.
pub const DEFAULT_PRIORITY: u8 = 5;

/// The units that a job may use: all, or those of the first 64 whose bit is set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Affinity(u64);

impl Affinity {
    /// Any unit.
    pub const ANY: Self = Self(0);

    /// The units whose bits are set; no bit means any unit (CEMU's form).
    pub const fn of_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// As [`Self::of_bits`] takes it.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// True if a job may use the unit.
    pub const fn allows(self, unit: UnitId) -> bool {
        self.0 == 0 || unit.0 < 64 && self.0 >> unit.0 & 1 == 1
    }
}

/// What the jobs of a group may claim, and what limits them. Each policy looks at some of what they may claim; limits hold
/// under every policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupSettings {
    /// Its share of unit time is in proportion to this; not 0.
    pub weight: u16,
    /// 1 to [`PRIORITY_MAX`], the most urgent.
    pub priority: u8,
    /// Its jobs are to be finished so long after they were submitted.
    pub deadline: Option<Duration>,
    /// Limit: what its jobs load and store; 0 = no limit.
    pub bandwidth: Bandwidth,
    /// Limit: the most of its jobs that are with the scheduler, and so on units, at a time.
    pub units_max: Option<NonZeroU16>,
    /// Limit: the units that its jobs may use.
    pub affinity: Affinity,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            weight: DEFAULT_WEIGHT,
            priority: DEFAULT_PRIORITY,
            deadline: None,
            bandwidth: Bandwidth::from_bytes_per_s(0),
            units_max: None,
            affinity: Affinity::ANY,
        }
    }
}

impl GroupSettings {
    pub(crate) fn has_bandwidth(&self) -> bool {
        self.bandwidth.bytes_per_s() > 0
    }

    /// True if jobs may be held back from the scheduler.
    pub(crate) fn is_limited(&self) -> bool {
        self.has_bandwidth() || self.units_max.is_some()
    }
}

/// A job, as a policy sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JobInfo {
    /// The job.
    pub job: JobId,
    /// Its group.
    pub group: GroupId,
    /// The priority that its group had when the job was submitted.
    pub priority: u8,
    /// When it was submitted.
    pub submitted: Instant,
    /// The units that it may use: those that its group had when the job was submitted.
    pub affinity: Affinity,
    /// When it is to be finished, if its group has a deadline.
    pub deadline: Option<Instant>,
    /// Unit time that it has had; its cost is not known to policies.
    pub consumed: Duration,
    /// Counts what was given to `enqueue`: no two jobs that wait have the same, and what came later has more.
    pub order: u64,
}

/// How urgent a job is: the lesser the more, among equals the one that came first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rank {
    /// A job interrupts one with a greater value.
    pub urgency: u64,
    /// When the job came, in nanoseconds.
    pub came: u64,
}

/// Decides the order of jobs. The engine calls it.
///
/// Contract: every job given to `enqueue` comes out of `pick` exactly once per `enqueue`, unless
/// `remove` took it back; `pick` returns a job whenever one waits whose [`Affinity`] allows the unit, and no other. For every `pick` there is one
/// `left`, when the job leaves its unit; a job that is to go on later is enqueued before that.
/// Groups, that of [`GroupId::NONE`] too, are made known by `set_group`. `crate::conformance` checks it.
pub trait Policy: core::fmt::Debug + Send {
    /// A job became runnable: it is new, its time slice ended, or a more urgent one took its unit.
    fn enqueue(&mut self, now: Instant, job: &JobInfo);

    /// The next job for an idle unit.
    fn pick(&mut self, now: Instant, unit: UnitId) -> Option<JobId>;

    /// A job of this group left its unit, which it had for so long.
    fn left(&mut self, group: GroupId, ran: Duration);

    /// Forgets a waiting job, which is as it was when it was given to `enqueue`; false if it does not wait here.
    fn remove(&mut self, job: &JobInfo) -> bool;

    /// Number of waiting jobs.
    fn waiting(&self) -> usize;

    /// Longest time this job keeps its unit while others wait; `None` = until it finishes.
    fn time_slice(&self, job: &JobInfo) -> Option<Duration>;

    /// For policies that preempt: a job that arrives while all units are busy takes the unit of the job with the greatest
    /// rank, if that job is less urgent than itself. A job's rank does not change.
    fn rank(&self, job: &JobInfo) -> Option<Rank> {
        let _ = job;
        None
    }

    /// A group has these settings from now on; it may be new.
    fn set_group(&mut self, group: GroupId, settings: &GroupSettings);

    /// There is no such group any more. It has no jobs.
    fn remove_group(&mut self, group: GroupId);
}

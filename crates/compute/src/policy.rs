//! Scheduling policies: which waiting job a unit takes, how long it may keep the unit, and who may interrupt it.

use simtime::{Duration, Instant};

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

/// What the jobs of a group may claim. Each policy looks at some of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupSettings {
    /// Its share of unit time is in proportion to this; not 0.
    pub weight: u16,
    /// 1 to [`PRIORITY_MAX`], the most urgent.
    pub priority: u8,
    /// Its jobs are to be finished so long after they were submitted.
    pub deadline: Option<Duration>,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self { weight: DEFAULT_WEIGHT, priority: DEFAULT_PRIORITY, deadline: None }
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
    /// When it is to be finished, if its group has a deadline.
    pub deadline: Option<Instant>,
    /// Unit time that it has had; its cost is not known to policies.
    pub consumed: Duration,
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
/// `remove` took it back; `pick` returns a job whenever one waits. For every `pick` there is one
/// `left`, when the job leaves its unit; a job that is to go on later is enqueued before that.
/// Groups, that of [`GroupId::NONE`] too, are made known by `set_group`. `crate::conformance` checks it.
pub trait Policy: core::fmt::Debug + Send {
    /// A job became runnable: it is new, its time slice ended, or a more urgent one took its unit.
    fn enqueue(&mut self, now: Instant, job: &JobInfo);

    /// The next job for an idle unit.
    fn pick(&mut self, now: Instant, unit: UnitId) -> Option<JobId>;

    /// A job of this group left its unit, which it had for so long.
    fn left(&mut self, group: GroupId, ran: Duration);

    /// Forgets a waiting job; false if it does not wait here.
    fn remove(&mut self, job: JobId, group: GroupId) -> bool;

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

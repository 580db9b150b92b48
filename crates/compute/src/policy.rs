//! Scheduling policies: which waiting job a unit takes, and how long it may keep the unit.

use simtime::Duration;

/// A job known to the engine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct JobId(pub u64);

/// A compute unit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UnitId(pub u32);

/// A group of jobs. Groups share the units' time by their weights.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GroupId(pub u8);

impl GroupId {
    /// The jobs that are in no group: they are one, too, which is always there.
    pub const NONE: Self = Self(0);
}

/// Decides the order of jobs. The engine calls it; it knows neither the time nor what jobs cost.
///
/// Contract: every job given to `enqueue` comes out of `pick` exactly once per `enqueue`, unless
/// `remove` took it back; `pick` returns a job whenever one waits. For every `pick` there is one
/// `left`, when the job leaves its unit; a job that is to go on later is enqueued before that.
/// Groups, that of [`GroupId::NONE`] too, are made known by `set_weight`. `crate::conformance` checks it.
pub trait Policy: core::fmt::Debug + Send {
    /// A job became runnable: it is new, or its time slice ended.
    fn enqueue(&mut self, job: JobId, group: GroupId);

    /// The next job for an idle unit.
    fn pick(&mut self, unit: UnitId) -> Option<JobId>;

    /// A job of this group left its unit, which it had for so long.
    fn left(&mut self, group: GroupId, ran: Duration);

    /// Forgets a waiting job; false if it does not wait here.
    fn remove(&mut self, job: JobId, group: GroupId) -> bool;

    /// Number of waiting jobs.
    fn waiting(&self) -> usize;

    /// Longest time a job keeps its unit while others wait; `None` = until it finishes.
    fn time_slice(&self) -> Option<Duration>;

    /// A group has this weight from now on; it may be new. Weights are not 0.
    fn set_weight(&mut self, group: GroupId, weight: u16);

    /// There is no such group any more. It has no jobs.
    fn remove_group(&mut self, group: GroupId);
}

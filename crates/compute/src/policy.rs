//! Scheduling policies: which waiting job a unit takes, and how long it may keep the unit.

use std::collections::VecDeque;

use simtime::Duration;

/// A job known to the engine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct JobId(pub u64);

/// A compute unit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UnitId(pub u32);

/// Decides the order of jobs. The engine calls it; it knows no time and no costs.
///
/// Contract: every job given to `enqueue` comes out of `pick` exactly once per `enqueue`, unless
/// `remove` took it back; `pick` returns a job whenever one waits. `crate::conformance` checks it.
pub trait Policy: core::fmt::Debug + Send {
    /// A job became runnable: it is new, or its time slice ended.
    fn enqueue(&mut self, job: JobId);

    /// The next job for an idle unit.
    fn pick(&mut self, unit: UnitId) -> Option<JobId>;

    /// Forgets a waiting job; false if it does not wait here.
    fn remove(&mut self, job: JobId) -> bool;

    /// Number of waiting jobs.
    fn waiting(&self) -> usize;

    /// Longest time a job keeps its unit while others wait; `None` = until it finishes.
    fn time_slice(&self) -> Option<Duration>;
}

/// First in, first out; a job keeps its unit until it finishes.
#[derive(Debug, Default)]
pub struct Fifo {
    queue: VecDeque<JobId>,
}

impl Policy for Fifo {
    fn enqueue(&mut self, job: JobId) {
        self.queue.push_back(job);
    }

    fn pick(&mut self, _unit: UnitId) -> Option<JobId> {
        self.queue.pop_front()
    }

    fn remove(&mut self, job: JobId) -> bool {
        let position = self.queue.iter().position(|&j| j == job);
        position.is_some_and(|p| self.queue.remove(p).is_some())
    }

    fn waiting(&self) -> usize {
        self.queue.len()
    }

    fn time_slice(&self) -> Option<Duration> {
        None
    }
}

/// Round robin: as [`Fifo`], but a job whose slice ended while others wait goes to the end.
#[derive(Debug)]
pub struct RoundRobin {
    order: Fifo,
    slice: Duration,
}

impl RoundRobin {
    /// Round robin with the given time slice.
    pub fn new(slice: Duration) -> Self {
        Self { order: Fifo::default(), slice }
    }
}

impl Policy for RoundRobin {
    fn enqueue(&mut self, job: JobId) {
        self.order.enqueue(job);
    }

    fn pick(&mut self, unit: UnitId) -> Option<JobId> {
        self.order.pick(unit)
    }

    fn remove(&mut self, job: JobId) -> bool {
        self.order.remove(job)
    }

    fn waiting(&self) -> usize {
        self.order.waiting()
    }

    fn time_slice(&self) -> Option<Duration> {
        Some(self.slice)
    }
}

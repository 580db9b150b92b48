//! The most urgent job first: by priority with ageing, or by deadline. A job that arrives interrupts a less urgent one.

use simtime::{Duration, Instant};

use crate::policy::{GroupId, GroupSettings, JobId, JobInfo, PRIORITY_MAX, Policy, Rank, UnitId};
use crate::queue::JobQueue;

/// What makes a job urgent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    Priority { ageing: Duration },
    Deadline,
}

/// Jobs in the order of their [`Rank`], which does not change while they wait: every step costs the logarithm of their
/// number.
#[derive(Debug)]
pub struct Ranked {
    order: Order,
    /// By rank, then by the order in which they were enqueued.
    waiting: JobQueue<(Rank, u64)>,
    count: usize,
}

impl Ranked {
    /// Priority with ageing: a job counts as one priority higher for every `ageing` that has passed since it was submitted.
    /// So a job of priority p waits at most for jobs that are submitted up to (9 - p) times `ageing` later.
    /// ([`Duration::ZERO`]: strict priorities.)
    pub fn priority(ageing: Duration) -> Self {
        Self::new(Order::Priority { ageing })
    }

    /// Earliest deadline first (Liu and Layland, JACM 1973): on one unit, without context switches, it meets every deadline
    /// that any order can meet. Jobs without a deadline come after all others, in the order in which they were submitted.
    pub fn earliest_deadline() -> Self {
        Self::new(Order::Deadline)
    }

    fn new(order: Order) -> Self {
        Self { order, waiting: JobQueue::default(), count: 0 }
    }

    fn rank_of(&self, job: &JobInfo) -> Rank {
        let came = job.submitted.as_ns();
        let urgency = match self.order {
            // The time at which a job of the highest priority would have to come to be as urgent.
            Order::Priority { ageing } => {
                let levels = u64::from(PRIORITY_MAX.saturating_sub(job.priority));
                let behind = ageing.as_ns().saturating_mul(levels);
                if ageing == Duration::ZERO { levels } else { came.saturating_add(behind) }
            }
            Order::Deadline => job.deadline.map_or(u64::MAX, Instant::as_ns),
        };
        Rank { urgency, came }
    }
}

impl Policy for Ranked {
    fn enqueue(&mut self, _now: Instant, job: &JobInfo) {
        self.count += 1;
        self.waiting.insert((self.rank_of(job), job.order), job.job, job.affinity);
    }

    fn pick(&mut self, _now: Instant, unit: UnitId) -> Option<JobId> {
        let job = self.waiting.pop_first(unit)?;
        self.count -= 1;
        Some(job)
    }

    fn left(&mut self, _group: GroupId, _ran: Duration) {}

    fn remove(&mut self, job: &JobInfo) -> bool {
        let was = self.waiting.remove((self.rank_of(job), job.order), job.affinity).is_some();
        self.count -= usize::from(was);
        was
    }

    fn waiting(&self) -> usize {
        self.count
    }

    fn time_slice(&self, _job: &JobInfo) -> Option<Duration> {
        None
    }

    fn rank(&self, job: &JobInfo) -> Option<Rank> {
        Some(self.rank_of(job))
    }

    fn set_group(&mut self, _group: GroupId, _settings: &GroupSettings) {}

    fn remove_group(&mut self, _group: GroupId) {}
}

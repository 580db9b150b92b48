//! First in, first out, or round robin: of all jobs, or of the jobs of each group, with groups that share time by weight.

use std::collections::BTreeMap;

use simtime::{Duration, Instant};

use crate::policy::{GroupId, GroupSettings, JobId, JobInfo, Policy, UnitId};
use crate::queue::{Arrivals, JobQueue};

/// Virtual nanoseconds of a nanosecond at weight 1: used time divided by the weight keeps its precision.
const SCALE: u128 = 1 << 16;

/// Start-time fair queueing over groups (Goyal, Vin, Cheng, SIGCOMM '96), charged with what jobs used, for their
/// cost is not known before: the group that has used the least for its weight is next. With one group, or if all jobs count as
/// of one, it is the order within the group alone.
#[derive(Debug)]
pub struct Shares {
    /// Groups count; otherwise all jobs are as if of [`GroupId::NONE`].
    by_weight: bool,
    slice: Option<Duration>,
    groups: BTreeMap<GroupId, Group>,
    /// Jobs that wait.
    waiting: usize,
    /// What the group that was picked last had used.
    used: u128,
}

#[derive(Debug)]
struct Group {
    weight: u128,
    /// In the order in which they came.
    waiting: JobQueue<u64, Arrivals>,
    running: u128,
    /// Unit time used, divided by the weight.
    used: u128,
}

impl Group {
    /// Who is first; between equals who has fewer jobs on units for its weight.
    fn rank(&self) -> (u128, u128) {
        (self.used, self.running * SCALE / self.weight)
    }
}

impl Shares {
    /// First in, first out, whatever groups there are; a job keeps its unit until it finishes.
    pub fn fifo() -> Self {
        Self::new(false, None)
    }

    /// Round robin, whatever groups there are: a job whose slice ended while others wait goes to the end.
    pub fn round_robin(slice: Duration) -> Self {
        Self::new(false, Some(slice))
    }

    /// Groups by weight; first in, first out within each.
    pub fn weighted_fair() -> Self {
        Self::new(true, None)
    }

    /// Groups by weight; round robin within each.
    pub fn weighted_round_robin(slice: Duration) -> Self {
        Self::new(true, Some(slice))
    }

    fn new(by_weight: bool, slice: Option<Duration>) -> Self {
        Self { by_weight, slice, groups: BTreeMap::new(), waiting: 0, used: 0 }
    }

    fn group(&mut self, group: GroupId) -> &mut Group {
        let group = if self.by_weight { group } else { GroupId::NONE };
        self.groups.get_mut(&group).expect("the engine names groups that it made known")
    }
}

impl Policy for Shares {
    fn enqueue(&mut self, _now: Instant, info: &JobInfo) {
        let JobInfo { job, group, affinity, order, .. } = *info;
        self.waiting += 1;
        let used = self.used;
        let group = self.group(group);
        if group.waiting.is_empty() && group.running == 0 {
            // A group that had no jobs for a while does not keep the time that it did not use.
            group.used = group.used.max(used);
        }
        group.waiting.insert(order, job, affinity);
    }

    fn pick(&mut self, _now: Instant, unit: UnitId) -> Option<JobId> {
        let waiting = self.groups.values_mut().filter(|group| group.waiting.has_job_for(unit));
        let group = waiting.min_by_key(|group| group.rank())?;
        let job = group.waiting.pop_first(unit)?;
        group.running += 1;
        self.used = group.used;
        self.waiting -= 1;
        Some(job)
    }

    fn left(&mut self, group: GroupId, ran: Duration) {
        let group = self.group(group);
        group.running -= 1;
        group.used += u128::from(ran.as_ns()) * SCALE / group.weight;
    }

    fn remove(&mut self, job: &JobInfo) -> bool {
        let was = self.group(job.group).waiting.remove(job.order, job.affinity).is_some();
        self.waiting -= usize::from(was);
        was
    }

    fn waiting(&self) -> usize {
        self.waiting
    }

    fn time_slice(&self, _job: &JobInfo) -> Option<Duration> {
        self.slice
    }

    fn set_group(&mut self, group: GroupId, settings: &GroupSettings) {
        let new = Group { weight: 1, waiting: JobQueue::default(), running: 0, used: self.used };
        self.groups.entry(group).or_insert(new).weight = settings.weight.into();
    }

    fn remove_group(&mut self, group: GroupId) {
        self.groups.remove(&group);
    }
}

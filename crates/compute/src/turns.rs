//! Groups in turn, by ascending identifier, one job each (CEMU's "grouped" schedulers).

use std::collections::{BTreeMap, BTreeSet};

use simtime::{Duration, Instant};

use crate::policy::{GroupId, GroupSettings, JobId, JobInfo, Policy, UnitId};
use crate::queue::JobQueue;

/// Where a job whose slice ended goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Back {
    /// To the front of its group: the group finishes its jobs in the order in which they came.
    Front,
    /// To the end of its group: its jobs take turns, too.
    End,
}

/// Every group that has jobs waiting is served in turn.
#[derive(Debug)]
pub struct Turns {
    slice: Option<Duration>,
    /// A slice is as many times longer as the group's priority says.
    by_priority: bool,
    back: Back,
    groups: BTreeMap<GroupId, Group>,
    /// Groups that have jobs waiting.
    ready: BTreeSet<GroupId>,
    /// Jobs that wait.
    waiting: usize,
    /// The group whose turn was last.
    last: GroupId,
}

#[derive(Debug)]
struct Group {
    priority: u8,
    waiting: JobQueue<i64>,
}

impl Turns {
    /// Within a group, first in, first out. Jobs run to their end, or, with `slice`, for the slice times the priority of
    /// their group.
    pub fn fifo(slice: Option<Duration>) -> Self {
        Self::new(slice, slice.is_some(), Back::Front)
    }

    /// Within a group, round robin; with `by_priority` a slice is multiplied by the priority of the group.
    pub fn round_robin(slice: Duration, by_priority: bool) -> Self {
        Self::new(Some(slice), by_priority, Back::End)
    }

    fn new(slice: Option<Duration>, by_priority: bool, back: Back) -> Self {
        Self {
            slice,
            by_priority,
            back,
            groups: BTreeMap::new(),
            ready: BTreeSet::new(),
            waiting: 0,
            last: GroupId(u8::MAX),
        }
    }
}

impl Turns {
    /// Where a job is in its group.
    fn place(&self, job: &JobInfo) -> i64 {
        let order = i64::try_from(job.order).unwrap_or(i64::MAX);
        let is_back = self.back == Back::Front && job.consumed > Duration::ZERO;
        if is_back { -order } else { order }
    }
}

impl Policy for Turns {
    fn enqueue(&mut self, _now: Instant, info: &JobInfo) {
        let JobInfo { job, group, affinity, .. } = *info;
        let place = self.place(info);
        self.waiting += 1;
        self.ready.insert(group);
        let group = self.groups.get_mut(&group);
        let group = group.expect("the engine names groups that it made known");
        group.waiting.insert(place, job, affinity);
    }

    fn pick(&mut self, _now: Instant, unit: UnitId) -> Option<JobId> {
        let after = (core::ops::Bound::Excluded(self.last), core::ops::Bound::Unbounded);
        let mut in_turn = self.ready.range(after).chain(self.ready.range(..=self.last));
        let groups = &self.groups;
        let &id = in_turn.find(|id| groups[id].waiting.has_job_for(unit))?;
        let group = self.groups.get_mut(&id).expect("a group that has jobs stays");
        let job = group.waiting.pop_first(unit)?;
        if group.waiting.is_empty() {
            self.ready.remove(&id);
        }
        self.last = id;
        self.waiting -= 1;
        Some(job)
    }

    fn left(&mut self, _group: GroupId, _ran: Duration) {}

    fn remove(&mut self, job: &JobInfo) -> bool {
        let place = self.place(job);
        let Some(group) = self.groups.get_mut(&job.group) else { return false };
        let was = group.waiting.remove(place, job.affinity).is_some();
        if group.waiting.is_empty() {
            self.ready.remove(&job.group);
        }
        self.waiting -= usize::from(was);
        was
    }

    fn waiting(&self) -> usize {
        self.waiting
    }

    fn time_slice(&self, job: &JobInfo) -> Option<Duration> {
        let times = match self.groups.get(&job.group) {
            Some(group) if self.by_priority => group.priority.into(),
            _ => 1,
        };
        self.slice.map(|slice| Duration::from_ns(slice.as_ns().saturating_mul(times)))
    }

    fn set_group(&mut self, group: GroupId, settings: &GroupSettings) {
        let new = Group { priority: 1, waiting: JobQueue::default() };
        self.groups.entry(group).or_insert(new).priority = settings.priority;
    }

    fn remove_group(&mut self, group: GroupId) {
        self.groups.remove(&group);
    }
}

//! The queues in which jobs wait: one for all units, or one for each.

use std::collections::BTreeSet;

use crate::config::QueueKind;
use crate::policy::{Affinity, GroupId, GroupSettings, Policy, UnitId};

/// A queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct QueueId(u32);

/// All of them, each with its policy.
#[derive(Debug)]
pub(crate) struct Queues {
    kind: QueueKind,
    policies: Vec<Box<dyn Policy>>,
    /// With a queue for each unit: the jobs that each has, on the unit and waiting.
    jobs: Vec<u32>,
    /// The same, the fewest first.
    fewest: BTreeSet<(u32, UnitId)>,
}

impl Queues {
    pub(crate) fn new(kind: QueueKind, units: u32, new: &dyn Fn() -> Box<dyn Policy>) -> Self {
        let count = match kind {
            QueueKind::Shared => 1,
            QueueKind::PerUnit => units,
        };
        let mut queues = Self {
            kind,
            policies: (0..count).map(|_| new()).collect(),
            jobs: vec![0; count as usize],
            fewest: (0..count).map(|unit| (0, UnitId(unit))).collect(),
        };
        queues.set_group(GroupId::NONE, &GroupSettings::default());
        queues
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.kind == QueueKind::Shared
    }

    /// The queue from which a unit takes jobs.
    pub(crate) fn of_unit(&self, unit: UnitId) -> QueueId {
        match self.kind {
            QueueKind::Shared => QueueId(0),
            QueueKind::PerUnit => QueueId(unit.0),
        }
    }

    /// The only unit that takes jobs from a queue, if there is only one.
    pub(crate) fn unit_of(&self, queue: QueueId) -> Option<UnitId> {
        (self.kind == QueueKind::PerUnit).then_some(UnitId(queue.0))
    }

    /// The queue for a new job.
    pub(crate) fn choose(&mut self, affinity: Affinity) -> QueueId {
        if self.is_shared() {
            return QueueId(0);
        }
        let allowed = self.fewest.iter().find(|(_, unit)| affinity.allows(*unit));
        let &(jobs, unit) = allowed.expect("a group's jobs may use some unit");
        self.set_jobs(unit, jobs + 1);
        QueueId(unit.0)
    }

    /// A job is gone.
    pub(crate) fn job_gone(&mut self, queue: QueueId) {
        if let Some(unit) = self.unit_of(queue) {
            self.set_jobs(unit, self.jobs[unit.0 as usize] - 1);
        }
    }

    fn set_jobs(&mut self, unit: UnitId, jobs: u32) {
        let place = &mut self.jobs[unit.0 as usize];
        self.fewest.remove(&(*place, unit));
        self.fewest.insert((jobs, unit));
        *place = jobs;
    }

    pub(crate) fn policy(&self, queue: QueueId) -> &dyn Policy {
        &*self.policies[queue.0 as usize]
    }

    pub(crate) fn policy_mut(&mut self, queue: QueueId) -> &mut dyn Policy {
        &mut *self.policies[queue.0 as usize]
    }

    pub(crate) fn set_group(&mut self, group: GroupId, settings: &GroupSettings) {
        self.policies.iter_mut().for_each(|policy| policy.set_group(group, settings));
    }

    pub(crate) fn remove_group(&mut self, group: GroupId) {
        self.policies.iter_mut().for_each(|policy| policy.remove_group(group));
    }
}

//! Which groups there are, and what their jobs did.

use std::collections::BTreeMap;

use simtime::Duration;

use crate::policy::GroupId;
use crate::shares::DEFAULT_WEIGHT;

/// A group, and what its jobs did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupRecord {
    /// Its name.
    pub group: GroupId,
    /// Its share of unit time is its weight, divided by those of all groups whose jobs want any.
    pub weight: u16,
    /// Jobs that run or wait.
    pub jobs: u32,
    /// Jobs that finished.
    pub finished: u64,
    /// Unit time that its jobs had, context switches not counted.
    pub ran: Duration,
}

/// Why a group could not be changed or deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupError {
    /// There is none of that name, or it is always there.
    Unknown,
    /// It has jobs that run or wait.
    InUse,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Groups {
    groups: BTreeMap<GroupId, GroupRecord>,
}

impl Default for Groups {
    fn default() -> Self {
        let mut groups = Self { groups: BTreeMap::new() };
        groups.insert(GroupId::NONE, DEFAULT_WEIGHT);
        groups
    }
}

impl Groups {
    fn insert(&mut self, group: GroupId, weight: u16) {
        let record = GroupRecord { group, weight, jobs: 0, finished: 0, ran: Duration::ZERO };
        self.groups.insert(group, record);
    }

    /// Makes a group with the lowest free name.
    pub(crate) fn create(&mut self, weight: u16) -> Option<GroupId> {
        let group = (0..=u8::MAX).map(GroupId).find(|group| !self.contains(*group))?;
        self.insert(group, weight);
        Some(group)
    }

    pub(crate) fn set_weight(&mut self, group: GroupId, weight: u16) -> Result<(), GroupError> {
        self.groups.get_mut(&group).ok_or(GroupError::Unknown)?.weight = weight;
        Ok(())
    }

    pub(crate) fn delete(&mut self, group: GroupId) -> Result<(), GroupError> {
        let record = self.groups.get(&group).filter(|_| group != GroupId::NONE);
        if record.ok_or(GroupError::Unknown)?.jobs > 0 {
            return Err(GroupError::InUse);
        }
        self.groups.remove(&group);
        Ok(())
    }

    pub(crate) fn contains(&self, group: GroupId) -> bool {
        self.groups.contains_key(&group)
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = GroupRecord> + '_ {
        self.groups.values().copied()
    }

    fn of_job(&mut self, group: GroupId) -> &mut GroupRecord {
        self.groups.get_mut(&group).expect("jobs are of groups that exist, which then stay")
    }

    pub(crate) fn job_came(&mut self, group: GroupId) {
        self.of_job(group).jobs += 1;
    }

    pub(crate) fn job_ran(&mut self, group: GroupId, ran: Duration) {
        self.of_job(group).ran += ran;
    }

    pub(crate) fn job_went(&mut self, group: GroupId, is_finished: bool) {
        let record = self.of_job(group);
        record.jobs -= 1;
        record.finished += u64::from(is_finished);
    }
}

//! Which groups there are, and what their jobs did.

use std::collections::BTreeMap;

use simtime::Duration;

use crate::policy::{GroupId, GroupSettings};

/// A group, and what its jobs did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupRecord {
    /// Its name.
    pub group: GroupId,
    /// What its jobs may claim.
    pub settings: GroupSettings,
    /// Jobs that run or wait.
    pub jobs: u32,
    /// Jobs that finished.
    pub finished: u64,
    /// Unit time that its jobs had, context switches not counted.
    pub ran: Duration,
    /// Jobs that finished after their deadline.
    pub missed: u64,
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
        groups.insert(GroupId::NONE, GroupSettings::default());
        groups
    }
}

impl Groups {
    fn insert(&mut self, group: GroupId, settings: GroupSettings) {
        let (finished, missed, ran) = (0, 0, Duration::ZERO);
        let record = GroupRecord { group, settings, jobs: 0, finished, ran, missed };
        self.groups.insert(group, record);
    }

    /// Makes a group with the lowest free name.
    pub(crate) fn create(&mut self, settings: GroupSettings) -> Option<GroupId> {
        let group = (0..=u8::MAX).map(GroupId).find(|group| !self.contains(*group))?;
        self.insert(group, settings);
        Some(group)
    }

    pub(crate) fn set(&mut self, group: GroupId, to: GroupSettings) -> Result<(), GroupError> {
        self.groups.get_mut(&group).ok_or(GroupError::Unknown)?.settings = to;
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

    /// Counts a new job; what it may claim.
    pub(crate) fn job_came(&mut self, group: GroupId) -> GroupSettings {
        let record = self.of_job(group);
        record.jobs += 1;
        record.settings
    }

    pub(crate) fn job_ran(&mut self, group: GroupId, ran: Duration) {
        self.of_job(group).ran += ran;
    }

    pub(crate) fn job_canceled(&mut self, group: GroupId) {
        self.of_job(group).jobs -= 1;
    }

    pub(crate) fn job_finished(&mut self, group: GroupId, has_missed: bool) {
        let record = self.of_job(group);
        record.jobs -= 1;
        record.finished += 1;
        record.missed += u64::from(has_missed);
    }
}

//! Which groups there are, and what their jobs did.

use std::collections::{BTreeMap, BTreeSet};

use simtime::{Duration, Instant};

use crate::gate::{Gate, Look};
use crate::policy::{Affinity, GroupId, GroupSettings, JobId};

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
    /// Jobs that finished within their deadline.
    pub met: u64,
    /// Time that its jobs were kept from the scheduler by the group's bandwidth or its most units, of all jobs together.
    pub throttled: Duration,
}

/// Why a group could not be changed or deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupError {
    /// There is none of that name, or it is always there.
    Unknown,
    /// It has jobs that run or wait.
    InUse,
    /// There are as many as there can be.
    Full,
    /// None of the units that its jobs may use exists.
    NoUnit,
}

/// A group and what keeps its jobs back.
#[derive(Debug)]
struct Group {
    record: GroupRecord,
    gate: Gate,
    /// When it opens, as it is noted.
    noted: Option<Instant>,
    /// Since when it needs the bytes of its first job, as it is noted.
    needs: Option<Instant>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Groups {
    groups: BTreeMap<GroupId, Group>,
    /// When gates open.
    opening: BTreeSet<(Instant, GroupId)>,
    /// Since when gates need to know the bytes of a job.
    needed: BTreeSet<(Instant, GroupId)>,
}

impl Default for Groups {
    fn default() -> Self {
        let mut groups =
            Self { groups: BTreeMap::new(), opening: BTreeSet::new(), needed: BTreeSet::new() };
        groups.insert(GroupId::NONE, GroupSettings::default());
        groups
    }
}

impl Groups {
    fn insert(&mut self, group: GroupId, settings: GroupSettings) {
        let (finished, missed, met) = (0, 0, 0);
        let (ran, throttled) = (Duration::ZERO, Duration::ZERO);
        let record =
            GroupRecord { group, settings, jobs: 0, finished, ran, missed, met, throttled };
        self.groups
            .insert(group, Group { record, gate: Gate::default(), noted: None, needs: None });
    }

    /// Makes a group with the lowest free name.
    pub(crate) fn create(&mut self, settings: GroupSettings) -> Option<GroupId> {
        let group = (0..=u8::MAX).map(GroupId).find(|group| !self.contains(*group))?;
        self.insert(group, settings);
        Some(group)
    }

    pub(crate) fn set(&mut self, group: GroupId, to: GroupSettings) -> Result<(), GroupError> {
        let group = self.groups.get_mut(&group).ok_or(GroupError::Unknown)?;
        group.record.settings = to;
        Ok(())
    }

    pub(crate) fn delete(&mut self, group: GroupId) -> Result<(), GroupError> {
        let found = self.groups.get(&group).filter(|_| group != GroupId::NONE);
        if found.ok_or(GroupError::Unknown)?.record.jobs > 0 {
            return Err(GroupError::InUse);
        }
        self.groups.remove(&group);
        Ok(())
    }

    pub(crate) fn settings(&self, group: GroupId) -> Option<&GroupSettings> {
        self.groups.get(&group).map(|group| &group.record.settings)
    }

    pub(crate) fn contains(&self, group: GroupId) -> bool {
        self.groups.contains_key(&group)
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = GroupRecord> + '_ {
        self.groups.values().map(|group| group.record)
    }

    /// True if the jobs of some group may not use every unit.
    pub(crate) fn have_affinity(&self) -> bool {
        self.groups.values().any(|group| group.record.settings.affinity != Affinity::ANY)
    }

    fn of_job(&mut self, group: GroupId) -> &mut Group {
        self.groups.get_mut(&group).expect("jobs are of groups that exist, which then stay")
    }

    /// Counts a new job; what it may claim.
    pub(crate) fn job_came(&mut self, group: GroupId) -> GroupSettings {
        let record = &mut self.of_job(group).record;
        record.jobs += 1;
        record.settings
    }

    pub(crate) fn job_ran(&mut self, group: GroupId, ran: Duration) {
        self.of_job(group).record.ran += ran;
    }

    pub(crate) fn job_canceled(&mut self, group: GroupId) {
        self.of_job(group).record.jobs -= 1;
    }

    pub(crate) fn job_finished(&mut self, group: GroupId, has_missed: Option<bool>) {
        let record = &mut self.of_job(group).record;
        record.jobs -= 1;
        record.finished += 1;
        record.missed += u64::from(has_missed == Some(true));
        record.met += u64::from(has_missed == Some(false));
    }
}

/// Gates.
impl Groups {
    /// Holds a job back; returns its place.
    pub(crate) fn hold(
        &mut self,
        now: Instant,
        group: GroupId,
        job: JobId,
        bytes: Option<u64>,
    ) -> u64 {
        self.of_job(group).gate.hold(now, job, bytes)
    }

    /// What a job that is held loads and stores.
    pub(crate) fn set_bytes(&mut self, now: Instant, group: GroupId, place: u64, bytes: u64) {
        self.of_job(group).gate.set_bytes(now, place, bytes);
    }

    /// Forgets a job that is held.
    pub(crate) fn cancel_held(&mut self, group: GroupId, place: u64) {
        self.of_job(group).gate.cancel(place);
    }

    /// A job of the group that goes to the scheduler now, if one may, and how late it is because its bytes became known late.
    pub(crate) fn pass(&mut self, now: Instant, id: GroupId) -> Option<(JobId, Duration)> {
        let group = self.groups.get_mut(&id)?;
        if let Some(at) = group.noted.take() {
            self.opening.remove(&(at, id));
        }
        if let Some(at) = group.needs.take() {
            self.needed.remove(&(at, id));
        }
        let active = group.record.jobs - group.gate.len();
        match group.gate.look(now, &group.record.settings, active) {
            Look::Passed(job, late) => Some((job, late)),
            Look::Needs(at) => {
                self.needed.insert((at, id));
                group.needs = Some(at);
                None
            }
            Look::Opens(at) => {
                self.opening.insert((at, id));
                group.noted = Some(at);
                None
            }
            Look::Closed => None,
        }
    }

    /// Counts the time that a job was held back.
    pub(crate) fn job_passed(&mut self, group: GroupId, held: Duration) {
        self.of_job(group).record.throttled += held;
    }

    /// Since when the first gate needs to know the bytes of a job.
    pub(crate) fn needed_at(&self) -> Option<Instant> {
        self.needed.first().map(|(at, _)| *at)
    }

    /// When the next gate opens, and whose it is.
    pub(crate) fn next_opening(&self) -> Option<(Instant, GroupId)> {
        self.opening.first().copied()
    }
}

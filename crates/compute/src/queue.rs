//! Waiting jobs in an order, some of which may use only some of the units.

use std::collections::BTreeMap;

use crate::policy::{Affinity, JobId, UnitId};

/// Jobs by a key, the least first. A step costs the logarithm of the jobs, times the number of different [`Affinity`]s.
#[derive(Debug)]
pub(crate) struct JobQueue<K>(BTreeMap<Affinity, BTreeMap<K, JobId>>);

impl<K> Default for JobQueue<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Copy> JobQueue<K> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn insert(&mut self, key: K, job: JobId, affinity: Affinity) {
        self.0.entry(affinity).or_default().insert(key, job);
    }

    /// True if a job waits that may use the unit.
    pub(crate) fn has_job_for(&self, unit: UnitId) -> bool {
        self.0.keys().any(|affinity| affinity.allows(unit))
    }

    /// Takes the first job that may use the unit.
    pub(crate) fn pop_first(&mut self, unit: UnitId) -> Option<JobId> {
        let allowed = self.0.iter().filter(|(affinity, _)| affinity.allows(unit));
        let firsts =
            allowed.filter_map(|(affinity, jobs)| Some((*jobs.first_key_value()?.0, *affinity)));
        let (key, affinity) = firsts.min_by_key(|(key, _)| *key)?;
        self.remove(key, affinity)
    }

    pub(crate) fn remove(&mut self, key: K, affinity: Affinity) -> Option<JobId> {
        let jobs = self.0.get_mut(&affinity)?;
        let job = jobs.remove(&key);
        if jobs.is_empty() {
            self.0.remove(&affinity);
        }
        job
    }
}

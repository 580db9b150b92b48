//! Waiting jobs in an order, some of which may use only some of the units.

use core::marker::PhantomData;
use std::collections::{BTreeMap, VecDeque};

use crate::policy::{Affinity, JobId, UnitId};

/// Jobs by a key, the least first.
pub(crate) trait Line<K>: Default {
    fn insert(&mut self, key: K, job: JobId);
    fn first(&self) -> Option<K>;
    fn remove(&mut self, key: K) -> Option<JobId>;
}

/// Any keys: a step costs the logarithm of the jobs.
impl<K: Ord + Copy> Line<K> for BTreeMap<K, JobId> {
    fn insert(&mut self, key: K, job: JobId) {
        self.insert(key, job);
    }

    fn first(&self) -> Option<K> {
        self.first_key_value().map(|(key, _)| *key)
    }

    fn remove(&mut self, key: K) -> Option<JobId> {
        self.remove(&key)
    }
}

/// Keys that ascend: joining the line, and leaving it as the first, cost the same however many wait.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    /// `None` = left before it was its turn. The first is never that.
    jobs: VecDeque<(u64, Option<JobId>)>,
    /// How many have left so.
    gone: usize,
}

impl Line<u64> for Arrivals {
    fn insert(&mut self, key: u64, job: JobId) {
        assert!(self.jobs.back().is_none_or(|(last, _)| *last < key), "keys ascend");
        self.jobs.push_back((key, Some(job)));
    }

    fn first(&self) -> Option<u64> {
        self.jobs.front().map(|(key, _)| *key)
    }

    fn remove(&mut self, key: u64) -> Option<JobId> {
        let place = match self.first()? == key {
            true => 0,
            false => self.jobs.binary_search_by_key(&key, |(key, _)| *key).ok()?,
        };
        let job = self.jobs[place].1.take()?;
        self.gone += 1;
        while let Some((_, None)) = self.jobs.front() {
            self.jobs.pop_front();
            self.gone -= 1;
        }
        if self.gone > 64 && self.gone > self.jobs.len() / 2 {
            self.jobs.retain(|(_, job)| job.is_some());
            self.gone = 0;
        }
        Some(job)
    }
}

/// Lines of jobs by the units that they may use. A step costs what one of a line costs, times the number of different
/// [`Affinity`]s.
#[derive(Debug)]
pub(crate) struct JobQueue<K, L = BTreeMap<K, JobId>>(BTreeMap<Affinity, L>, PhantomData<K>);

impl<K, L> Default for JobQueue<K, L> {
    fn default() -> Self {
        Self(BTreeMap::new(), PhantomData)
    }
}

impl<K: Ord + Copy, L: Line<K>> JobQueue<K, L> {
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
        let firsts = allowed.filter_map(|(affinity, jobs)| Some((jobs.first()?, *affinity)));
        let (key, affinity) = firsts.min_by_key(|(key, _)| *key)?;
        self.remove(key, affinity)
    }

    pub(crate) fn remove(&mut self, key: K, affinity: Affinity) -> Option<JobId> {
        let jobs = self.0.get_mut(&affinity)?;
        let job = jobs.remove(key);
        if jobs.first().is_none() {
            self.0.remove(&affinity);
        }
        job
    }
}

#[cfg(test)]
mod tests {
    use simtime::Prng;

    use super::*;

    #[test]
    fn arrivals_leave_as_from_a_map() {
        let mut random = Prng::new(3);
        let (mut line, mut map) = (Arrivals::default(), BTreeMap::new());
        let mut key = 0;
        for _ in 0..100_000 {
            key += 1 + random.below(3);
            match random.below(4) {
                0 | 1 => {
                    line.insert(key, JobId(key));
                    Line::insert(&mut map, key, JobId(key));
                }
                2 => {
                    let first = Line::first(&map).unwrap_or(0);
                    assert_eq!(line.remove(first), Line::remove(&mut map, first));
                }
                _ => {
                    let some = random.below(key);
                    assert_eq!(line.remove(some), Line::remove(&mut map, some));
                }
            }
            assert_eq!(line.first(), Line::first(&map));
            assert_eq!(line.jobs.len() - line.gone, map.len());
        }
        assert!(line.gone <= line.jobs.len() / 2 + 64);
    }
}

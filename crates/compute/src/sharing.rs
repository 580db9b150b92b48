//! Memory bandwidth that all units share: how fast each job goes.
//!
//! A job that touches B bytes and would take T at full speed needs B / T of bandwidth while it runs. As long as all running jobs
//! together need no more than there is, all run at full speed. Beyond that the bandwidth is divided max-min fairly (Bertsekas
//! and Gallager, Data Networks, 6.5.2): a job that needs less than its share goes at full speed, the others have equal shares,
//! and a job that has half of what it needs takes twice as long.

use std::collections::BTreeMap;

use simtime::{Bandwidth, Duration};

use crate::policy::UnitId;

/// Binary digits behind the point of a nanosecond of work.
const FRACTION: u32 = 20;

/// Nanoseconds at full speed, as a fixed-point number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Progress(u128);

impl Progress {
    pub(crate) fn of(time: Duration) -> Self {
        Self(u128::from(time.as_ns()) << FRACTION)
    }

    pub(crate) fn advance(&mut self, by: Self) {
        self.0 += by.0;
    }

    pub(crate) fn until(self, end: Self) -> Self {
        Self(end.0.saturating_sub(self.0))
    }

    /// To whole nanoseconds, rounded to the nearest.
    pub(crate) fn time(self) -> Duration {
        let half = 1 << (FRACTION - 1);
        Duration::from_ns(u64::try_from((self.0 + half) >> FRACTION).unwrap_or(u64::MAX))
    }
}

/// A part of full speed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Speed {
    part: u128,
    of: u128,
}

impl Speed {
    pub(crate) const FULL: Self = Self { part: 1, of: 1 };

    /// What is done in a time.
    pub(crate) fn work_in(self, time: Duration) -> Progress {
        let Progress(full) = Progress::of(time);
        Progress(full.saturating_mul(self.part) / self.of)
    }

    /// The time that work takes.
    pub(crate) fn time_for(self, Progress(work): Progress) -> Duration {
        Progress(work.saturating_mul(self.of) / self.part).time()
    }
}

/// Bytes per second that a job needs to go at full speed.
pub(crate) fn demand(bytes: u64, time: Duration) -> u64 {
    let per_second = u128::from(bytes) * 1_000_000_000;
    let time = u128::from(time.as_ns());
    if time == 0 {
        return 0;
    }
    u64::try_from((per_second + time / 2) / time).unwrap_or(u64::MAX)
}

/// What each job gets of a bandwidth, if they need more than there is.
pub(crate) struct Level {
    /// Bandwidth left for those that need more than an equal share, and how many those are.
    left: u128,
    jobs: u128,
}

impl Level {
    pub(crate) fn of(bandwidth: u64, demands: impl Iterator<Item = u64>) -> Self {
        let mut demands: Vec<u64> = demands.collect();
        demands.sort_unstable();
        let mut level = Self { left: bandwidth.into(), jobs: demands.len() as u128 };
        for demand in demands {
            if u128::from(demand) * level.jobs > level.left {
                break;
            }
            level.left -= u128::from(demand);
            level.jobs -= 1;
        }
        level
    }

    pub(crate) fn speed(&self, demand: u64) -> Speed {
        let needed = u128::from(demand) * self.jobs;
        if needed <= self.left {
            return Speed::FULL;
        }
        // Something is left: a job that needs more than that exists, and none took all.
        Speed { part: self.left.max(1), of: needed }
    }
}

/// What the jobs on units need of the memory bandwidth.
#[derive(Debug)]
pub(crate) struct MemoryShares {
    /// 0 = there is enough.
    bandwidth: u64,
    /// Bytes per second.
    demands: BTreeMap<UnitId, u64>,
    sum: u128,
    /// They changed since the speeds were found.
    has_changed: bool,
    /// Some do not go at full speed.
    is_short: bool,
}

impl MemoryShares {
    pub(crate) fn new(bandwidth: Bandwidth) -> Self {
        Self {
            bandwidth: bandwidth.bytes_per_s(),
            demands: BTreeMap::new(),
            sum: 0,
            has_changed: false,
            is_short: false,
        }
    }

    /// What the job on a unit needs from now on.
    pub(crate) fn set(&mut self, unit: UnitId, demand: u64) {
        if self.bandwidth == 0 {
            return;
        }
        let before = match demand {
            0 => self.demands.remove(&unit),
            _ => self.demands.insert(unit, demand),
        };
        self.sum = self.sum + u128::from(demand) - u128::from(before.unwrap_or(0));
        self.has_changed |= before.unwrap_or(0) != demand;
    }

    /// How fast the job of each unit goes, if that may have changed since it was asked for.
    pub(crate) fn new_speeds(&mut self) -> Vec<(UnitId, Speed)> {
        if !core::mem::take(&mut self.has_changed) {
            return Vec::new();
        }
        let was_short = core::mem::replace(&mut self.is_short, self.sum > self.bandwidth.into());
        if !was_short && !self.is_short {
            return Vec::new();
        }
        let level = Level::of(self.bandwidth, self.demands.values().copied());
        self.demands.iter().map(|(unit, demand)| (*unit, level.speed(*demand))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_demands_are_met_and_the_rest_is_equal() {
        let level = Level::of(100, [10, 50, 80].into_iter());
        // 10 is met; 50 and 80 have 45 each.
        assert_eq!(level.speed(10), Speed::FULL);
        assert_eq!(level.speed(50), Speed { part: 90, of: 100 });
        assert_eq!(level.speed(80), Speed { part: 90, of: 160 });
    }

    #[test]
    fn three_jobs_of_a_third_each_take_three_times_as_long() {
        let speed = Level::of(8_000_000_000, [8_000_000_000; 3].into_iter()).speed(8_000_000_000);
        let time = Duration::from_us(100);
        assert_eq!(speed.time_for(Progress::of(time)), Duration::from_us(300));
        assert_eq!(speed.work_in(Duration::from_us(300)).time(), time);
    }
}

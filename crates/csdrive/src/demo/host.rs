//! The host's computing: cores with a cost table, as the drive's units have one.

use compute::{Core, CostTable, Work};
use simtime::{Duration, Instant};

/// Cores of the host, and when each is free.
#[derive(Clone, Debug)]
pub(super) struct HostCores {
    free_at: Vec<Instant>,
    /// What so many rows cost, of one core.
    rows: u64,
    time: Duration,
    busy: Duration,
}

impl HostCores {
    /// So many cores of a kind; what the program does for so many rows is known.
    pub(super) fn new(core: Core, count: u32, rows: u64, work: &Work) -> Self {
        let time = core.cost_table().time_for(work);
        let free_at = vec![Instant::ZERO; count as usize];
        Self { free_at, rows, time, busy: Duration::ZERO }
    }

    /// Some rows are there: the core that is free first looks at them.
    pub(super) fn look_at(&mut self, now: Instant, rows: u64) {
        let time = share(self.time, rows, self.rows);
        self.busy += time;
        if let Some(first) = self.free_at.iter_mut().min() {
            *first = now.max(*first) + time;
        }
    }

    /// When all have done what there was.
    pub(super) fn free_at(&self) -> Instant {
        self.free_at.iter().copied().max().unwrap_or(Instant::ZERO)
    }

    /// The time of all cores together.
    pub(super) fn busy(&self) -> Duration {
        self.busy
    }
}

/// The time of a part of some rows.
pub(super) fn share(time: Duration, part: u64, rows: u64) -> Duration {
    let ns = u128::from(time.as_ns()) * u128::from(part) / u128::from(rows.max(1));
    Duration::from_ns(ns as u64)
}

/// A unit's cost table at another clock. Its memory is as fast as before.
pub(super) fn at_clock(table: &CostTable, factor: f64) -> CostTable {
    let hz = (table.clock.hz() as f64 * factor).round().max(1.0) as u64;
    let clock = simtime::Frequency::from_hz(hz).unwrap_or(table.clock);
    CostTable { clock, ..table.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_go_to_the_core_that_is_free_first() {
        let work = Work { instructions: [3_000_000, 0, 0, 0, 0, 0, 0, 0, 0], bytes: 0 };
        // 3 million additions at a quarter of a cycle and 3 GHz: 250 us for 1000 rows.
        let mut cores = HostCores::new(Core::Host, 2, 1000, &work);
        let us = |us: u64| Instant::from_ns(us * 1000);
        cores.look_at(us(0), 1000);
        cores.look_at(us(10), 1000);
        cores.look_at(us(20), 500);
        assert_eq!(cores.free_at(), us(375));
        assert_eq!(cores.busy().as_ns(), 625_000);
    }
}

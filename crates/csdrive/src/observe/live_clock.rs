//! The time for which a live drive was looked at, by the drive's clock.

use std::time::Instant;

use records::{CounterRecord, Records};
use ring::Reader;

/// A drive tells its time only when it does something. What it had counted before is as it was then, however long ago that is: it counts from
/// when somebody began to look.
#[derive(Debug)]
pub(super) struct LiveClock {
    began: Instant,
    /// What it had counted before anybody looked, and at last.
    before: Option<CounterRecord>,
    last: Option<CounterRecord>,
    /// When looking began.
    start_ns: Option<u64>,
}

impl LiveClock {
    /// Begins to look.
    pub(super) fn new(reader: &Reader) -> Self {
        let before = reader.last_counters();
        Self { began: Instant::now(), before, last: before, start_ns: None }
    }

    /// Records came. With the first there are counters of when looking began, to be put before them.
    pub(super) fn saw(&mut self, records: &Records) -> Option<Records> {
        self.last = records.counters.last().copied().or(self.last);
        let latest = [
            records.commands.iter().map(|r| r.completed_ns).max(),
            records.units.iter().map(|r| r.end_ns).max(),
            records.dies.iter().map(|r| r.end_ns).max(),
            records.counters.iter().map(|r| r.now_ns).max(),
        ];
        let now_ns = latest.into_iter().flatten().max().filter(|_| self.start_ns.is_none())?;
        let start_ns = now_ns.saturating_sub(self.began.elapsed().as_nanos() as u64);
        self.start_ns = Some(start_ns);
        let before = self.before?;
        let now_ns = before.now_ns.max(start_ns);
        Some(Records { counters: vec![CounterRecord { now_ns, ..before }], ..Records::default() })
    }

    /// From when to when it was looked at, if the drive told its time.
    pub(super) fn window(&self) -> Option<(u64, u64)> {
        let start_ns = self.start_ns?;
        Some((start_ns, start_ns + self.began.elapsed().as_nanos() as u64))
    }

    /// Ends: counters of when looking ended.
    pub(super) fn end(&self) -> Records {
        let counters = self
            .window()
            .zip(self.last)
            .map(|((_, end_ns), last)| CounterRecord { now_ns: last.now_ns.max(end_ns), ..last });
        Records { counters: counters.into_iter().collect(), ..Records::default() }
    }
}

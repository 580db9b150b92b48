//! What a drive did over time, in pieces of equal length.

use records::{CounterRecord, Records};

use crate::drive::DriveReport;
use crate::latency::LatencyReport;

/// Over time.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Series {
    start_ns: u64,
    width_ns: u64,
    pieces: Vec<Piece>,
    counters: Vec<CounterRecord>,
}

#[derive(Clone, PartialEq, Debug, Default)]
struct Piece {
    bytes: u64,
    latencies: Vec<u64>,
}

/// A piece of time.
#[derive(Clone, PartialEq, Debug)]
pub struct SeriesPoint {
    /// Its middle, since the beginning.
    pub at_ns: u64,
    /// Commands that completed, per second.
    pub iops: f64,
    /// Bytes of NVM namespaces, per second.
    pub bytes_per_s: f64,
    /// Of the commands that completed in it: the median latency, and the 99th percentile. None if there are none.
    pub p50_ns: Option<u64>,
    /// The 99th percentile.
    pub p99_ns: Option<u64>,
}

impl Series {
    /// So many pieces from one time to another.
    pub fn new(start_ns: u64, end_ns: u64, pieces: usize) -> Self {
        let width_ns = end_ns.saturating_sub(start_ns).div_ceil(pieces.max(1) as u64).max(1);
        let pieces = vec![Piece::default(); pieces.max(1)];
        Self { start_ns, width_ns, pieces, counters: Vec::new() }
    }

    /// Adds records. Those before or after do not count.
    pub fn add(&mut self, records: &Records) {
        for record in records.commands.iter().filter(|record| record.sqid > 0) {
            let Some(since) = record.completed_ns.checked_sub(self.start_ns) else { continue };
            // What ends at the end is of the last piece.
            let number = (since.saturating_sub(1) / self.width_ns) as usize;
            let Some(piece) = self.pieces.get_mut(number) else { continue };
            piece.bytes += u64::from(record.bytes);
            piece.latencies.push(record.completed_ns.saturating_sub(record.fetched_ns));
        }
        self.counters.extend_from_slice(&records.counters);
    }

    /// Commands over time.
    pub fn points(&self) -> Vec<SeriesPoint> {
        let seconds = self.width_ns as f64 / 1e9;
        let point = |(n, piece): (usize, &Piece)| {
            let latency = LatencyReport::of(piece.latencies.clone());
            let at = |percent| (latency.count > 0).then(|| latency.at(percent));
            SeriesPoint {
                at_ns: n as u64 * self.width_ns + self.width_ns / 2,
                iops: latency.count as f64 / seconds,
                bytes_per_s: piece.bytes as f64 / seconds,
                p50_ns: at(50.0),
                p99_ns: at(99.0),
            }
        };
        self.pieces.iter().enumerate().map(point).collect()
    }

    /// What was counted over time: the middle of each piece since the beginning, and what the drive did in it. Pieces are as long as the
    /// times between counters, or longer.
    pub fn drive(&self) -> Vec<(u64, DriveReport)> {
        let mut all = Vec::new();
        let mut counters = self.counters.iter();
        let Some(mut before) = counters.next() else { return all };
        let mut counters = counters.peekable();
        while let Some(after) = counters.next() {
            let is_long = after.now_ns.saturating_sub(before.now_ns) >= self.width_ns;
            if after.now_ns > before.now_ns && (is_long || counters.peek().is_none()) {
                let middle = before.now_ns + (after.now_ns - before.now_ns) / 2;
                let report = DriveReport::between(String::new(), before, after);
                all.push((middle.saturating_sub(self.start_ns), report));
                before = after;
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use records::CommandRecord;

    use super::*;

    #[test]
    fn what_ends_in_a_piece_counts_there() {
        let mut series = Series::new(1000, 2000, 10);
        let record = |completed_ns| CommandRecord {
            sqid: 1,
            fetched_ns: completed_ns - 50,
            completed_ns,
            bytes: 4096,
            ..Default::default()
        };
        let commands =
            vec![record(900), record(1001), record(1100), record(1101), record(2000), record(2001)];
        series.add(&Records { commands, ..Default::default() });
        let counts: Vec<f64> = series.points().iter().map(|point| point.iops * 100e-9).collect();
        let rounded: Vec<i64> = counts.iter().map(|count| count.round() as i64).collect();
        assert_eq!(rounded, [2, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(series.points()[0].p99_ns, Some(50));
        assert_eq!(series.points()[2].p99_ns, None);
    }

    #[test]
    fn counters_are_put_together_to_pieces() {
        let mut series = Series::new(0, 1000, 10);
        let counters = (0..=40).map(|n| CounterRecord {
            now_ns: n * 25,
            units: 1,
            // Busy in the first half.
            units_busy_ns: (n * 25).min(500),
            ..Default::default()
        });
        series.add(&Records { counters: counters.collect(), ..Default::default() });
        let drive = series.drive();
        let busy: Vec<(u64, f64)> =
            drive.iter().map(|(at, report)| (*at, report.units_busy)).collect();
        assert_eq!(busy.len(), 10);
        assert_eq!((busy[0], busy[9]), ((50, 1.0), (950, 0.0)));
    }
}

//! What is counted while a workload runs.

use hdrhistogram::Histogram;
use simtime::{Duration, Instant};

/// Latencies: three digits for percentiles, exact for the rest.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    histogram: Histogram<u64>,
    sum: u128,
    squares: f64,
    min: u64,
    max: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        // It grows with what comes; three is a number of digits that it knows.
        let histogram = Histogram::new(3).expect("three digits");
        Self { histogram, sum: 0, squares: 0.0, min: u64::MAX, max: 0 }
    }
}

impl Latencies {
    pub(crate) fn add(&mut self, time: Duration) {
        let ns = time.as_ns();
        // It grows as it must; these are 146 years.
        self.histogram.record(ns.min(1 << 62)).expect("a histogram that grows");
        self.sum += u128::from(ns);
        self.squares += ns as f64 * ns as f64;
        (self.min, self.max) = (self.min.min(ns), self.max.max(ns));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("both grow");
        self.sum += other.sum;
        self.squares += other.squares;
        (self.min, self.max) = (self.min.min(other.min), self.max.max(other.max));
    }

    pub(crate) fn count(&self) -> u64 {
        self.histogram.len()
    }

    pub(crate) fn min(&self) -> u64 {
        if self.count() == 0 { 0 } else { self.min }
    }

    pub(crate) fn max(&self) -> u64 {
        self.max
    }

    pub(crate) fn mean(&self) -> f64 {
        if self.count() == 0 { 0.0 } else { self.sum as f64 / self.count() as f64 }
    }

    pub(crate) fn deviation(&self) -> f64 {
        if self.count() == 0 {
            return 0.0;
        }
        (self.squares / self.count() as f64 - self.mean() * self.mean()).max(0.0).sqrt()
    }

    /// How many are no longer than this; three digits of it count.
    pub(crate) fn up_to(&self, ns: u64) -> u64 {
        match ns {
            ns if ns >= self.max => self.count(),
            ns => self.histogram.count_between(0, ns),
        }
    }

    /// The least latency that so many percent do not exceed; three digits, rounded up, and never above the largest.
    pub(crate) fn percentile(&self, percent: f64) -> u64 {
        if self.count() == 0 {
            return 0;
        }
        self.histogram.value_at_quantile(percent / 100.0).clamp(self.min, self.max)
    }
}

/// Operations of one kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Operations {
    pub(crate) bytes: u64,
    /// From its arrival to its end.
    pub(crate) total: Latencies,
    /// From its arrival to its first command.
    pub(crate) submission: Latencies,
    /// From its first command to its end.
    pub(crate) completion: Latencies,
}

impl Operations {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.total.merge(&other.total);
        self.submission.merge(&other.submission);
        self.completion.merge(&other.completion);
    }
}

/// Bytes and operations over time, in pieces of equal length that double when there are too many.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) width: Duration,
    pub(crate) pieces: Vec<(u64, u64)>,
}

const PIECES_MAX: usize = 256;

impl Default for Series {
    fn default() -> Self {
        Self { width: Duration::from_us(1), pieces: Vec::new() }
    }
}

impl Series {
    pub(crate) fn add(&mut self, since: Duration, bytes: u64) {
        while (since.as_ns() / self.width.as_ns()) as usize >= PIECES_MAX {
            self.widen();
        }
        let at = (since.as_ns() / self.width.as_ns()) as usize;
        if self.pieces.len() <= at {
            self.pieces.resize(at + 1, (0, 0));
        }
        self.pieces[at].0 += 1;
        self.pieces[at].1 += bytes;
    }

    fn widen(&mut self) {
        let sum = |pair: &[(u64, u64)]| pair.iter().fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        self.pieces = self.pieces.chunks(2).map(sum).collect();
        self.width = self.width + self.width;
    }
}

/// What a job counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) read: Operations,
    pub(crate) write: Operations,
    pub(crate) execute: Operations,
    /// Times of the steps of executions: input, program, output.
    pub(crate) steps: [Latencies; 3],
    /// Of the jobs of its executions: waiting for a unit, holding one.
    pub(crate) waited: Latencies,
    pub(crate) ran: Latencies,
    pub(crate) series: Series,
    /// Sum of what its programs returned.
    pub(crate) results: i64,
    /// The least that one returned.
    pub(crate) result_min: Option<i64>,
    /// When its last operation ended.
    pub(crate) ended: Option<Instant>,
}

impl Counts {
    pub(crate) fn add_result(&mut self, result: i64) {
        self.results = self.results.wrapping_add(result);
        self.result_min = Some(self.result_min.map_or(result, |least| least.min(result)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_have_their_moments() {
        let mut times = Latencies::default();
        assert_eq!((times.min(), times.max(), times.percentile(99.0)), (0, 0, 0));
        (1..=1000).for_each(|n| times.add(Duration::from_us(n)));
        assert_eq!((times.count(), times.min(), times.max()), (1000, 1000, 1_000_000));
        assert!((times.mean() - 500_500.0).abs() < 1e-6);
        assert!((times.deviation() - 288_675.0).abs() < 1.0);
        for (percent, us) in [(50.0, 500), (99.0, 990), (100.0, 1000)] {
            let is = times.percentile(percent) as f64;
            assert!((is / (us as f64 * 1000.0) - 1.0).abs() < 0.001, "{percent}: {is}");
        }
    }

    #[test]
    fn series_keep_their_sums() {
        let mut series = Series::default();
        (0..10_000u64).for_each(|n| series.add(Duration::from_us(n), 10));
        assert!(series.pieces.len() <= PIECES_MAX);
        let sum = series.pieces.iter().fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        assert_eq!(sum, (10_000, 100_000));
    }
}

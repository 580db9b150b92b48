//! Latencies, with the names that fio's documents have.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

/// Percentiles of a document, as fio lists them.
pub const PERCENTILES: [f64; 11] =
    [1.0, 5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99];

/// The percentiles of a document, by percent, written with six digits; `at` gives each.
pub fn percentiles(at: impl Fn(f64) -> u64) -> Vec<(String, u64)> {
    PERCENTILES.iter().map(|percent| (format!("{percent:.6}"), at(*percent))).collect()
}

/// Latencies of which every one is known: percentiles are exact.
#[derive(Clone, PartialEq, Debug, Default, Serialize, JsonSchema)]
pub struct LatencyReport {
    /// The shortest.
    pub min: u64,
    /// The longest.
    pub max: u64,
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub stddev: f64,
    /// How many.
    #[serde(rename = "N")]
    pub count: u64,
    /// By percent, written with six digits: the least latency that so many of them do not exceed (nearest rank).
    #[serde(serialize_with = "percentiles_as_map")]
    #[schemars(with = "BTreeMap<String, u64>")]
    pub percentile: Vec<(String, u64)>,
    /// All, from the shortest to the longest.
    #[serde(skip)]
    sorted: Vec<u64>,
}

/// Serializes percentiles as a map, in their order.
pub fn percentiles_as_map<S: Serializer>(
    pairs: &[(String, u64)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, value)| (name, value)))
}

impl LatencyReport {
    /// Of some latencies, in any order.
    pub fn of(mut all: Vec<u64>) -> Self {
        all.sort_unstable();
        let count = all.len() as u64;
        let sum: u128 = all.iter().map(|ns| u128::from(*ns)).sum();
        let mean = if count == 0 { 0.0 } else { sum as f64 / count as f64 };
        let squares: f64 = all.iter().map(|ns| (*ns as f64 - mean).powi(2)).sum();
        let mut report = Self {
            min: all.first().copied().unwrap_or_default(),
            max: all.last().copied().unwrap_or_default(),
            mean,
            stddev: if count == 0 { 0.0 } else { (squares / count as f64).sqrt() },
            count,
            percentile: Vec::new(),
            sorted: all,
        };
        report.percentile = percentiles(|percent| report.at(percent));
        report
    }

    /// Any percentile; 0 if there are no latencies.
    pub fn at(&self, percent: f64) -> u64 {
        // The rank is a whole number where the share of the count is one, whatever its last binary digit.
        let exact = self.sorted.len() as f64 * percent / 100.0;
        let rank = (exact - 1e-9).ceil().max(1.0) as usize;
        self.sorted.get(rank.min(self.sorted.len()).wrapping_sub(1)).copied().unwrap_or_default()
    }

    /// How many are no longer than each of some bounds.
    pub fn up_to<'a>(&'a self, bounds: &'a [u64]) -> impl Iterator<Item = usize> + 'a {
        bounds.iter().map(|bound| self.sorted.partition_point(|ns| ns <= bound))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let report = LatencyReport::of((1..=1000).rev().collect());
        for (percent, ns) in
            [(0.0, 1), (0.1, 1), (0.11, 2), (50.0, 500), (99.0, 990), (99.9, 999), (100.0, 1000)]
        {
            assert_eq!(report.at(percent), ns, "{percent}");
        }
        assert_eq!((report.min, report.max, report.mean), (1, 1000, 500.5));
        assert!((report.stddev - 288.675).abs() < 0.001);
        assert_eq!(report.up_to(&[0, 1, 500, 9999]).collect::<Vec<_>>(), [0, 1, 500, 1000]);
        let one = LatencyReport::of(vec![7]);
        assert_eq!((one.at(0.0), one.at(100.0)), (7, 7));
        let none = LatencyReport::of(Vec::new());
        assert_eq!((none.at(50.0), none.max, none.mean, none.stddev), (0, 0, 0.0, 0.0));
    }
}

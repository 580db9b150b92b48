//! What came of a workload, as its document has it. Names that fio's documents have mean what they mean there.

use std::collections::BTreeMap;

use analysis::{DriveReport, percentiles};
use schemars::JsonSchema;
use serde::Serialize;

use crate::measure::{Latencies, Operations};

/// Version of the document.
pub const FORMAT_VERSION: u32 = 1;

/// Everything.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Report {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The file.
    pub workload: String,
    /// Of all random numbers.
    pub seed: u64,
    /// "virtual" or "real".
    pub clock: &'static str,
    /// Time that was measured, the longest of all jobs.
    pub elapsed_ns: u64,
    /// Each job, all drives and clones together.
    pub jobs: Vec<JobReport>,
    /// Each tenant, its jobs together.
    pub tenants: Vec<TenantReport>,
    /// What each drive that tells did in the time that is measured.
    pub drives: Vec<DriveReport>,
    /// What had to hold.
    pub assertions: Vec<Judged>,
}

impl Report {
    /// True if everything that was asserted holds.
    pub fn holds(&self) -> bool {
        self.assertions.iter().all(|assertion| assertion.holds)
    }
}

/// A job.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct JobReport {
    /// Its name.
    pub jobname: String,
    /// Whose it is.
    pub tenant: Option<String>,
    /// Numbers of its drives.
    pub drives: Vec<usize>,
    /// Time in which it was measured.
    pub elapsed_ns: u64,
    /// Reads.
    pub read: Measured,
    /// Writes.
    pub write: Measured,
    /// Executions, and chunks processed by the host.
    pub execute: Measured,
    /// Executions by step.
    pub steps: Steps,
    /// Sum of what its programs returned, in executions that are measured.
    pub result_sum: i64,
    /// The least that one returned.
    pub result_min: Option<i64>,
    /// Executions whose deadline was missed.
    pub missed: u64,
    /// Time that executions were kept from the scheduler by their group's bandwidth.
    pub throttled_ns: u64,
    /// Over time.
    pub series: SeriesReport,
}

/// Operations of one kind.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Measured {
    /// Operations that ended in the time that is measured.
    pub total_ios: u64,
    /// Their bytes.
    pub io_bytes: u64,
    /// Operations per second.
    pub iops: f64,
    /// Bytes per second.
    pub bw_bytes: u64,
    /// From an operation's arrival to its first command.
    pub slat_ns: Latency,
    /// From its first command to its end.
    pub clat_ns: Latency,
    /// From its arrival to its end.
    pub lat_ns: Latency,
}

/// Latencies.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Latency {
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
    /// By percent, written with six digits. Three digits of each are exact.
    #[serde(serialize_with = "analysis::percentiles_as_map")]
    #[schemars(with = "BTreeMap<String, u64>")]
    pub percentile: Vec<(String, u64)>,
    #[serde(skip)]
    all: Latencies,
}

impl Latency {
    pub(crate) fn of(latencies: &Latencies) -> Self {
        Self {
            min: latencies.min(),
            max: latencies.max(),
            mean: latencies.mean(),
            stddev: latencies.deviation(),
            count: latencies.count(),
            percentile: percentiles(|percent| latencies.percentile(percent)),
            all: latencies.clone(),
        }
    }

    pub(crate) fn all(&self) -> &Latencies {
        &self.all
    }

    /// Any percentile.
    pub fn at(&self, percent: f64) -> f64 {
        self.all.percentile(percent) as f64
    }
}

impl Measured {
    pub(crate) fn of(operations: &Operations, elapsed_ns: u64) -> Self {
        let seconds = elapsed_ns.max(1) as f64 / 1e9;
        let total_ios = operations.total.count();
        Self {
            total_ios,
            io_bytes: operations.bytes,
            iops: total_ios as f64 / seconds,
            bw_bytes: (operations.bytes as f64 / seconds).round() as u64,
            slat_ns: Latency::of(&operations.submission),
            clat_ns: Latency::of(&operations.completion),
            lat_ns: Latency::of(&operations.total),
        }
    }
}

/// Where the time of executions went.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Steps {
    /// The input comes to device memory.
    pub input_ns: Latency,
    /// The Execute command.
    pub program_ns: Latency,
    /// The output goes to the host or the flash.
    pub output_ns: Latency,
    /// Of the Execute command: waiting for a unit (virtual time only).
    pub waited_ns: Latency,
    /// Of the Execute command: holding a unit (virtual time only).
    pub ran_ns: Latency,
}

/// Over time, in pieces of equal length.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct SeriesReport {
    /// Length of a piece.
    pub width_ns: u64,
    /// Operations that ended in each.
    pub ios: Vec<u64>,
    /// Their bytes.
    pub bytes: Vec<u64>,
}

/// The jobs of a tenant together.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TenantReport {
    /// Its name.
    pub tenant: String,
    /// Operations of all kinds.
    pub total_ios: u64,
    /// Their bytes.
    pub io_bytes: u64,
    /// Bytes per second.
    pub bw_bytes: u64,
    /// Of all operations.
    pub lat_ns: Latency,
}

/// An assertion, and what it was about.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Judged {
    /// As it was written.
    pub text: String,
    /// The job; none = the drives.
    pub job: Option<String>,
    /// In the report; none = the workload has no such number.
    pub value: Option<f64>,
    /// Whether it holds.
    pub holds: bool,
}

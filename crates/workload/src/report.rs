//! What came of a workload, as its document has it. Names that fio's documents have mean what they mean there.

use nvme_spec::DriveCounters;
use serde::{Serialize, Serializer};
use zerocopy::little_endian::{U32, U64};

use crate::measure::{Latencies, Operations};

/// Version of the document.
pub const FORMAT_VERSION: u32 = 1;

/// Percentiles of a document, as fio lists them.
const PERCENTILES: [f64; 11] = [1.0, 5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99];

/// The percentiles of a document, by percent, written with six digits; `at` gives each.
pub fn percentiles(at: impl Fn(f64) -> u64) -> Vec<(String, u64)> {
    PERCENTILES.iter().map(|percent| (format!("{percent:.6}"), at(*percent))).collect()
}

/// Everything.
#[derive(Clone, Debug, Serialize)]
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
    /// Each drive that tells what it did.
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
#[derive(Clone, Debug, Serialize)]
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
#[derive(Clone, Debug, Default, Serialize)]
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
#[derive(Clone, Debug, Default, Serialize)]
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
    #[serde(serialize_with = "as_map")]
    pub percentile: Vec<(String, u64)>,
    #[serde(skip)]
    all: Latencies,
}

/// Pairs as a map, in their order.
fn as_map<S: Serializer>(pairs: &[(String, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, value)| (name, value)))
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
#[derive(Clone, Debug, Default, Serialize)]
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
#[derive(Clone, Debug, Default, Serialize)]
pub struct SeriesReport {
    /// Length of a piece.
    pub width_ns: u64,
    /// Operations that ended in each.
    pub ios: Vec<u64>,
    /// Their bytes.
    pub bytes: Vec<u64>,
}

/// The jobs of a tenant together.
#[derive(Clone, Debug, Serialize)]
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

/// What a drive did in the time that is measured.
#[derive(Clone, Debug, Serialize)]
pub struct DriveReport {
    /// Its serial number.
    pub serial: String,
    /// Share of the time of all units in which they ran programs.
    pub units_busy: f64,
    /// Share of the time of all channels in which they moved pages.
    pub channels_busy: f64,
    /// Share of the time of all dies in which they read, programmed or erased.
    pub dies_busy: f64,
    /// Share of the time in which data left the drive, for the host or other drives.
    pub link_out_busy: f64,
    /// Share of the time in which data came to the drive.
    pub link_in_busy: f64,
    /// Bytes by where they went.
    pub bytes: Bytes,
    /// Bytes programmed per byte that the host wrote.
    pub write_amplification: f64,
    /// Blocks of flash that were erased.
    pub erases: u64,
    /// Commands completed.
    pub commands: u64,
    /// Completions that were later than the model says; none in virtual time.
    pub late: Late,
}

impl DriveReport {
    /// What a drive did between two readings of its counters; the earlier of a drive that is new has zeroes only.
    pub fn between(serial: String, before: &DriveCounters, after: &DriveCounters) -> Self {
        let since = |of: fn(&DriveCounters) -> U64| of(after).get() - of(before).get();
        let ns = since(|c| c.now_ns).max(1) as f64;
        let share = |busy: u64, of: U32| busy as f64 / ns / f64::from(of.get().max(1));
        let page_bytes = u64::from(after.page_bytes.get());
        let reads = since(|c| c.flash_reads) + since(|c| c.modify_reads) + since(|c| c.gc_reads);
        let programs = since(|c| c.flash_programs) + since(|c| c.gc_programs);
        let bytes = Bytes {
            to_host: since(|c| c.bytes_to_host),
            from_host: since(|c| c.bytes_from_host),
            internal: since(|c| c.bytes_internal),
            from_peers: since(|c| c.bytes_from_peers),
            to_peers: since(|c| c.bytes_to_peers),
            flash_read: reads * page_bytes,
            flash_programmed: programs * page_bytes,
        };
        let late = since(|c| c.late);
        Self {
            serial,
            units_busy: share(since(|c| c.units_busy_ns), after.units),
            channels_busy: share(since(|c| c.channels_busy_ns), after.channels),
            dies_busy: share(since(|c| c.dies_busy_ns), after.dies),
            link_out_busy: since(|c| c.link_out_busy_ns) as f64 / ns,
            link_in_busy: since(|c| c.link_in_busy_ns) as f64 / ns,
            bytes,
            write_amplification: match since(|c| c.host_bytes_written) {
                0 => 1.0,
                written => bytes.flash_programmed as f64 / written as f64,
            },
            erases: since(|c| c.erases),
            commands: since(|c| c.commands),
            late: Late {
                commands: late,
                tolerance_ns: after.late_tolerance_ns.get(),
                mean_ns: since(|c| c.late_sum_ns) as f64 / late.max(1) as f64,
                max_ns: after.late_max_ns.get(),
            },
        }
    }
}

/// Completions that a drive in real time could not make at their times.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Late {
    /// How many.
    pub commands: u64,
    /// Those that were no later than this are not counted.
    pub tolerance_ns: u64,
    /// The mean of their delays.
    pub mean_ns: f64,
    /// The longest delay since the drive was made.
    pub max_ns: u64,
}

/// Bytes by where they went.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Bytes {
    /// Over the link to the host.
    pub to_host: u64,
    /// Over the link from the host.
    pub from_host: u64,
    /// Into and within device memory.
    pub internal: u64,
    /// From the device memory of other drives, not over the link of the host.
    pub from_peers: u64,
    /// From this drive's device memory to others.
    pub to_peers: u64,
    /// Read from flash, garbage collection included.
    pub flash_read: u64,
    /// Programmed to flash, garbage collection included.
    pub flash_programmed: u64,
}

/// An assertion, and what it was about.
#[derive(Clone, Debug, Serialize)]
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

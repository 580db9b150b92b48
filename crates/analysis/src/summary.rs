//! What a drive did, as a document and for tables.

use std::collections::BTreeMap;

use nvme_spec::CommandSet;
use records::Stage;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::drive::DriveReport;
use crate::latency::LatencyReport;

/// What one drive did in the time of its records.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct DriveSummary {
    /// Its serial number.
    pub serial: String,
    /// The time of its records.
    pub elapsed_ns: u64,
    /// Commands by their names, those with most of the time first.
    pub commands: Vec<CommandSummary>,
    /// Submission queues by number.
    pub queues: Vec<QueueSummary>,
    /// Jobs by the group whose they are.
    pub groups: Vec<GroupSummary>,
    /// Share of the time in which each compute unit ran jobs.
    pub units_busy: Vec<f64>,
    /// Share of the time in which each channel moved pages.
    pub channels_busy: Vec<f64>,
    /// Share of the time in which each die was taken.
    pub dies_busy: Vec<f64>,
    /// What crossed links.
    pub links: Vec<LinkSummary>,
    /// What the drive counted; none if there are no counters.
    pub drive: Option<DriveReport>,
    /// Records that are missing, because they were overwritten before they were read.
    pub lost: u64,
}

impl DriveSummary {
    /// All commands of I/O queues in which a direction is meant, as fio's documents have them.
    pub fn fio(&self) -> FioJob {
        let of = |name: &str| {
            let found = self.commands.iter().find(|c| !c.is_admin && c.name == name);
            found.map_or_else(FioDirection::default, FioDirection::of)
        };
        FioJob {
            jobname: self.serial.clone(),
            elapsed: self.elapsed_ns / 1_000_000_000,
            read: of("Read"),
            write: of("Write"),
        }
    }
}

/// Commands of one name.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CommandSummary {
    /// As the specification calls it.
    pub name: String,
    /// Of the admin queue.
    pub is_admin: bool,
    /// Command set (CSI).
    #[serde(serialize_with = "as_number")]
    #[schemars(with = "u8")]
    pub csi: CommandSet,
    /// Opcode.
    pub opcode: u8,
    /// How many.
    pub count: u64,
    /// How many ended with an error.
    pub failed: u64,
    /// Their bytes of NVM namespaces.
    pub bytes: u64,
    /// Commands per second.
    pub iops: f64,
    /// Bytes per second.
    pub bw_bytes: u64,
    /// From when the controller took it to its completion.
    pub lat_ns: LatencyReport,
    /// Where the time went: the mean of each stage.
    #[serde(serialize_with = "as_stages")]
    #[schemars(with = "BTreeMap<String, f64>")]
    pub stages_ns: [f64; Stage::ALL.len()],
    /// Where the time of the slowest went: the mean of each stage, of those from p99 on.
    #[serde(serialize_with = "as_stages")]
    #[schemars(with = "BTreeMap<String, f64>")]
    pub slowest_stages_ns: [f64; Stage::ALL.len()],
    /// Completions that the machine made later than modelled, by more than the tolerance.
    pub late: u64,
}

fn as_number<S: Serializer>(set: &CommandSet, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(set.0)
}

/// Times of stages, by the names of the stages.
pub(crate) fn as_stages<S: Serializer>(
    times: &[f64; Stage::ALL.len()],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(Stage::ALL.iter().map(|stage| (stage.name(), times[*stage as usize])))
}

/// A submission queue.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct QueueSummary {
    /// Its number; 0 is the admin queue.
    pub sqid: u16,
    /// Commands that completed.
    pub commands: u64,
    /// Commands in flight, on average over the time.
    pub depth_mean: f64,
    /// The most in flight at a time.
    pub depth_max: u64,
}

/// Jobs of a group; group 0 is that of jobs that have none.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct GroupSummary {
    /// Its number.
    pub group: u32,
    /// Jobs that ended.
    pub jobs: u64,
    /// Share of the time that all groups together held units.
    pub service: f64,
    /// How long jobs waited for units.
    pub waited_ns: LatencyReport,
    /// How long they held one.
    pub ran_ns: LatencyReport,
    /// Executed instructions.
    pub instructions: u64,
}

/// What crossed a link.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct LinkSummary {
    /// Which, and in which direction.
    pub path: &'static str,
    /// How often something was sent.
    pub transfers: u64,
    /// Bytes.
    pub bytes: u64,
    /// From when bytes were ready to when the last arrived.
    pub lat_ns: LatencyReport,
}

/// One element of `jobs` of a fio document, so that what reads those can read this.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FioJob {
    /// The drive.
    pub jobname: String,
    /// Seconds.
    pub elapsed: u64,
    /// Reads.
    pub read: FioDirection,
    /// Writes.
    pub write: FioDirection,
}

/// Reads or writes of a fio document.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct FioDirection {
    /// Bytes.
    pub io_bytes: u64,
    /// KiB.
    pub io_kbytes: u64,
    /// Bytes per second.
    pub bw_bytes: u64,
    /// KiB per second.
    pub bw: u64,
    /// Operations per second.
    pub iops: f64,
    /// Milliseconds.
    pub runtime: u64,
    /// Operations.
    pub total_ios: u64,
    /// Time before the drive took a command: the drive does not see it.
    pub slat_ns: LatencyReport,
    /// From when the drive took a command to its completion.
    pub clat_ns: LatencyReport,
    /// The same: see `slat_ns`.
    pub lat_ns: LatencyReport,
}

impl FioDirection {
    fn of(commands: &CommandSummary) -> Self {
        let seconds = if commands.iops > 0.0 { commands.count as f64 / commands.iops } else { 0.0 };
        Self {
            io_bytes: commands.bytes,
            io_kbytes: commands.bytes / 1024,
            bw_bytes: commands.bw_bytes,
            bw: commands.bw_bytes / 1024,
            iops: commands.iops,
            runtime: (seconds * 1e3) as u64,
            total_ios: commands.count,
            slat_ns: LatencyReport::default(),
            clat_ns: commands.lat_ns.clone(),
            lat_ns: commands.lat_ns.clone(),
        }
    }
}

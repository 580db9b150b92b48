//! What a drive reports: one record for each finished command, job, stay on a compute unit and flash operation.
//!
//! Every record has a fixed layout, little-endian and without padding, so that it can lie in shared memory or a file as it
//! is. One definition makes the Rust structures, [`LAYOUTS`], the C header [`c_header`] and the Python module
//! [`python_module`]. [`VERSION`] changes with any of them.
//!
//! Records name each other: [`JobRecord::command`], [`UnitRecord::job`], [`DieRecord::command`] and [`LinkRecord::command`] are the
//! [`CommandRecord::id`] of a command, or [`NO_COMMAND`]. Times are those of the drive, in nanoseconds.
//!
//! ```
//! use records::{CommandRecord, Record, Stage};
//! use zerocopy::IntoBytes;
//!
//! let mut record = CommandRecord { id: 7, fetched_ns: 100, completed_ns: 350, ..Default::default() };
//! record.stages_ns[Stage::Command as usize] = 250;
//! assert_eq!(record.as_bytes().len(), CommandRecord::DESCRIPTION.bytes);
//! assert_eq!(CommandRecord::DESCRIPTION.fields[0].name, "id");
//! ```

mod counters;
mod definition;
mod kind;
mod stage;
mod views;

use simtime::Duration;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use definition::{Column, Field, Layout, Record};
use definition::{Scalar, records};
pub use kind::{Kind, Records};
pub use stage::{Stage, Stages};
pub use views::{c_header, python_module};

/// Version of all layouts together.
pub const VERSION: u16 = 3;

/// Instead of a command's identifier: what is recorded is done for none, or for one that has no record.
pub const NO_COMMAND: u64 = u64::MAX;

/// Parts of [`CommandRecord::stages_ns`].
pub const STAGES: usize = Stage::ALL.len();

/// Parts of [`JobRecord::instructions`], in the order of `compute::WorkClass`.
pub const INSTRUCTION_CLASSES: usize = 9;

records! {
    /// A finished command.
    CommandRecord = 1 {
        /// Names the command: no other command of the drive has it at the same time.
        id: u64,
        /// When the controller took it from its queue.
        fetched_ns: u64,
        /// When its completion was posted.
        completed_ns: u64,
        /// How long after its modelled time the machine posted it; 0 in virtual time.
        late_ns: u64,
        /// Where the time went, by stage.
        stages_ns: [u64; STAGES],
        /// Bytes of an NVM namespace read or written for the host.
        bytes: u32,
        /// Namespace identifier.
        nsid: u32,
        /// Submission queue identifier; 0 is the admin queue.
        sqid: u16,
        /// Command identifier.
        cid: u16,
        /// Status code type and status code, as in a completion, without the phase bit.
        status: u16,
        /// Opcode.
        opcode: u8,
        /// Command set of the namespace (CSI).
        csi: u8,
    }

    /// A finished job: one execution of a program.
    JobRecord = 2 {
        /// The Execute command.
        command: u64,
        /// When it was submitted to the scheduler.
        submitted_ns: u64,
        /// When it left its unit for the last time.
        ended_ns: u64,
        /// Time that it waited for a unit, context switches included.
        waited_ns: u64,
        /// Time that it held a unit.
        ran_ns: u64,
        /// Executed instructions by class; zeroes if the program was not run.
        instructions: [u64; INSTRUCTION_CLASSES],
        /// Bytes loaded and stored.
        bytes: u64,
        /// Processor time of this machine or the runtime server, the median of the samples; 0 unless it was measured.
        cpu_ns: u64,
        /// The shortest sample.
        cpu_least_ns: u64,
        /// The longest sample.
        cpu_most_ns: u64,
        /// Group.
        group: u32,
        /// Program index.
        program: u32,
        /// Where the run time comes from: 0 instructions, 1 declared, 2 measured, 3 remote.
        model: u32,
        /// Runs that were measured.
        samples: u32,
        /// When the program's result came to the drive; 0 if none was run. In virtual time it comes at once.
        result_ns: u64,
        /// Real time that the program took on its worker thread; 0 in virtual time.
        worker_ns: u64,
        /// The worker thread that ran the program.
        worker: u32,
        /// 0.
        reserved: u32,
    }

    /// A stay of a job on a compute unit.
    UnitRecord = 3 {
        /// The Execute command.
        job: u64,
        /// When the job began to run, after the context switch.
        start_ns: u64,
        /// When it left the unit.
        end_ns: u64,
        /// The unit.
        unit: u32,
        /// 0.
        reserved: u32,
    }

    /// An operation of a flash die.
    DieRecord = 4 {
        /// When the die was taken.
        start_ns: u64,
        /// When it was free again.
        end_ns: u64,
        /// When its pages began to cross the channel.
        transfer_start_ns: u64,
        /// When they had crossed it; with nothing to cross, as the start.
        transfer_end_ns: u64,
        /// The command whose read its first page is; NO_COMMAND for all other operations: what is written belongs to no command
        /// when it goes to flash.
        command: u64,
        /// The die.
        die: u32,
        /// Its channel.
        channel: u32,
        /// [`DieOperation`].
        operation: u8,
        /// Pages or blocks at once.
        planes: u8,
        /// 1 for garbage collection.
        is_collection: u8,
        /// 1 for a part of an operation that was suspended, after the first.
        is_resumed: u8,
        /// 0.
        reserved: [u8; 4],
    }

    /// Bytes that crossed a link.
    LinkRecord = 5 {
        /// When they were ready to be sent.
        asked_ns: u64,
        /// When the last of them arrived: after all that was sent before, the time that the bytes take, and the link's latency.
        arrived_ns: u64,
        /// The command whose bytes they are.
        command: u64,
        /// Bytes.
        bytes: u64,
        /// [`LinkPath`].
        path: u8,
        /// 0.
        reserved: [u8; 7],
    }

    /// What a drive had counted at a time since it was made.
    CounterRecord = 6 {
        /// The time.
        now_ns: u64,
        /// Bytes per second of the host link, each direction; 0 = no limit.
        link_bytes_per_s: u64,
        /// Time that units ran jobs, all together.
        units_busy_ns: u64,
        /// Time that channels moved pages, all together.
        channels_busy_ns: u64,
        /// Time that dies read, programmed or erased, all together.
        dies_busy_ns: u64,
        /// Time in which data went over the host link to the host or to other drives.
        link_out_busy_ns: u64,
        /// Time in which data came over it from the host or from other drives.
        link_in_busy_ns: u64,
        /// Data bytes over the host link to the host.
        bytes_to_host: u64,
        /// Data bytes over the host link from the host.
        bytes_from_host: u64,
        /// Bytes into and within device memory.
        bytes_internal: u64,
        /// Bytes of device memory that other drives copied from this one, not over the link of the host.
        bytes_to_peers: u64,
        /// Bytes that this drive copied from the device memory of others.
        bytes_from_peers: u64,
        /// Bytes that hosts wrote to blocks.
        host_bytes_written: u64,
        /// Flash pages read for hosts.
        flash_reads: u64,
        /// Flash pages read to complete parts of pages.
        modify_reads: u64,
        /// Flash pages read by garbage collection.
        gc_reads: u64,
        /// Flash pages programmed for hosts.
        flash_programs: u64,
        /// Flash pages programmed by garbage collection.
        gc_programs: u64,
        /// Blocks of flash that were erased.
        erases: u64,
        /// Commands completed.
        commands: u64,
        /// Completions that left later than their modelled time plus the tolerance; none in virtual time.
        late: u64,
        /// The tolerance.
        late_tolerance_ns: u64,
        /// Sum of the delays of the late ones.
        late_sum_ns: u64,
        /// The longest delay.
        late_max_ns: u64,
        /// Compute units.
        units: u32,
        /// Channels of the flash.
        channels: u32,
        /// Dies of the flash.
        dies: u32,
        /// Bytes of a flash page.
        page_bytes: u32,
    }
}

impl CommandRecord {
    /// The time of one stage.
    pub fn stage(&self, stage: Stage) -> Duration {
        Duration::from_ns(self.stages_ns[stage as usize])
    }

    /// The time of all stages.
    pub fn stages(&self) -> Stages {
        let mut stages = Stages::default();
        for stage in Stage::ALL {
            stages[stage] = self.stage(stage);
        }
        stages
    }
}

/// Values of [`DieRecord::operation`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum DieOperation {
    /// Pages are read.
    Read,
    /// Pages are programmed.
    Program,
    /// Blocks are erased.
    Erase,
}

impl DieOperation {
    /// All of them, by value.
    pub const ALL: [Self; 3] = [Self::Read, Self::Program, Self::Erase];

    /// Its name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Program => "program",
            Self::Erase => "erase",
        }
    }

    /// The operation that a record's field means; `None` if it means none.
    pub fn from_value(value: u8) -> Option<Self> {
        Self::ALL.get(usize::from(value)).copied()
    }
}

/// Values of [`LinkRecord::path`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum LinkPath {
    /// Over the host link, to the host.
    ToHost,
    /// Over the host link, from the host.
    FromHost,
    /// Over the link between flash and device memory, or within device memory.
    Internal,
    /// From the device memory of another drive.
    FromPeer,
}

impl LinkPath {
    /// All of them, by value.
    pub const ALL: [Self; 4] = [Self::ToHost, Self::FromHost, Self::Internal, Self::FromPeer];

    /// Its name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ToHost => "to_host",
            Self::FromHost => "from_host",
            Self::Internal => "internal",
            Self::FromPeer => "from_peer",
        }
    }

    /// The path that a record's field means; `None` if it means none.
    pub fn from_value(value: u8) -> Option<Self> {
        Self::ALL.get(usize::from(value)).copied()
    }
}

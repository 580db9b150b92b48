//! What a drive reports: one record for each finished command, job, stay on a compute unit and flash operation.
//!
//! Every record has a fixed layout, little-endian and without padding, so that it can lie in shared memory or a file as it
//! is. One definition makes the Rust structures, [`LAYOUTS`], the C header [`c_header`] and the Python module
//! [`python_module`]. [`VERSION`] changes with any of them.
//!
//! Records name each other: [`JobRecord::command`] and [`UnitRecord::job`] are the [`CommandRecord::id`] of the Execute
//! command. Times are virtual, in nanoseconds.
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

mod definition;
mod stage;
mod views;

use simtime::Duration;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use definition::{Field, Layout, Record};
use definition::{Scalar, records};
pub use stage::{Stage, Stages};
pub use views::{c_header, python_module};

/// Version of all layouts together.
pub const VERSION: u16 = 2;

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
        /// The die.
        die: u32,
        /// [`DieOperation`].
        operation: u8,
        /// Pages or blocks at once.
        planes: u8,
        /// 1 for garbage collection.
        is_collection: u8,
        /// 0.
        reserved: u8,
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

/// Records that a shell has not taken yet, in the order in which they were made.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Records {
    /// Finished commands.
    pub commands: Vec<CommandRecord>,
    /// Finished jobs.
    pub jobs: Vec<JobRecord>,
    /// Stays of jobs on compute units.
    pub units: Vec<UnitRecord>,
    /// Operations of flash dies.
    pub dies: Vec<DieRecord>,
}

impl Records {
    /// Forgets all of them; the memory stays.
    pub fn clear(&mut self) {
        self.commands.clear();
        self.jobs.clear();
        self.units.clear();
        self.dies.clear();
    }

    /// Moves all records of another to the end of these; the other keeps its memory.
    pub fn append(&mut self, other: &mut Self) {
        self.commands.append(&mut other.commands);
        self.jobs.append(&mut other.jobs);
        self.units.append(&mut other.units);
        self.dies.append(&mut other.dies);
    }
}

//! A workload that has been checked: what each job does, when, where, and for how long.

use std::path::PathBuf;

use client::GroupOptions;
use simtime::Duration;

use crate::assertion::Assertion;
use crate::file::{DriveEntry, Input, Output, RateProcess, Text};
use crate::{Error, trace};

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The file, as errors name it.
    pub file: String,
    /// Its text, to say where in it a mistake is.
    pub(crate) text: String,
    /// Of all random numbers.
    pub seed: u64,
    /// The drives, in groups of equal ones; one of the default configuration if the file has none.
    pub drives: Vec<DriveEntry>,
    /// Time before anything is measured.
    pub(crate) ramp: Duration,
    pub(crate) host: Host,
    /// The switch that all drives share, if it has a limit: bytes per second, nanoseconds.
    pub switch: Option<(u64, u64)>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) assertions: Vec<Assertion>,
    /// Files that it names, but for its own: drives' configurations, programs, contents, recorded operations.
    pub inputs: Vec<PathBuf>,
}

/// The host that all jobs share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Host {
    pub(crate) command_time: Duration,
    pub(crate) cores: u32,
    /// Bytes that it keeps of what was read for its processors.
    pub(crate) memory: u64,
}

/// One thing that is done again and again.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// Where it begins in the file.
    pub(crate) line: usize,
    pub(crate) name: String,
    pub(crate) tenant: Option<String>,
    /// So many at a time on each drive.
    pub(crate) clones: u32,
    /// Numbers of the drives.
    pub(crate) drives: Vec<usize>,
    pub(crate) start: Duration,
    pub(crate) limit: Limit,
    /// Its time counts from its own start.
    pub(crate) has_own_time: bool,
    pub(crate) arrival: Arrival,
    /// Operations in flight, if there is a limit.
    pub(crate) depth: Option<u32>,
    pub(crate) region: Region,
    pub(crate) work: Work,
}

/// When a job has done enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Limit {
    /// So long after the ramp time.
    Time(Duration),
    Operations(u64),
    Bytes(u64),
    /// When its trace is over.
    Trace,
    /// When all jobs with another limit have ended.
    Others,
}

/// When operations begin.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Arrival {
    /// Each place for one has its next this long after its last has ended.
    Closed {
        think: Duration,
    },
    /// So many a second, whatever became of those before.
    Open {
        per_second: f64,
        process: RateProcess,
    },
    Trace(Vec<trace::Entry>),
}

/// Which bytes of the blocks are used.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Region {
    pub(crate) offset: u64,
    /// `None` = as far as the namespace goes.
    pub(crate) bytes: Option<u64>,
    pub(crate) order: Order,
    /// Of a hundred operations, so many read.
    pub(crate) read_percent: u32,
    /// Sizes of operations, and how many of a hundred have each.
    pub(crate) sizes: Vec<(u64, u32)>,
    /// Every block of it is written before.
    pub(crate) is_filled: bool,
    /// Operations of a trace come into it, wherever they were.
    pub(crate) wraps: bool,
    /// What it is filled with.
    pub(crate) content: Option<PathBuf>,
}

/// In which order.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Order {
    Sequential,
    Random,
    /// The n-th most popular place is used 1 / n^theta as often as the first.
    Zipf(f64),
    /// Shares of the operations, with shares of the region, in percent.
    Zoned(Vec<(u32, u32)>),
}

/// What an operation is.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// A Read or a Write.
    Blocks,
    /// A chunk is read by the host and processed there, at so many bytes a second of one of its processors.
    OnHost { bytes_per_s: u64 },
    /// A program processes a chunk on the drive.
    OnDrive(Box<Execution>),
}

/// A chunk processed by a program.
#[derive(Clone, Debug)]
pub(crate) struct Execution {
    pub(crate) program: Program,
    pub(crate) input: Input,
    /// The drive whose device memory has the input, under [`Input::Peer`].
    pub(crate) from_drive: usize,
    pub(crate) output: Output,
    pub(crate) output_bytes: u64,
    pub(crate) params: (i64, i64),
    pub(crate) data: Vec<u8>,
    /// Files that are further ranges.
    pub(crate) ranges: Vec<PathBuf>,
    pub(crate) group: Option<GroupOptions>,
    pub(crate) stream: Option<Stream>,
    pub(crate) compound: Option<Compound>,
}

/// Which program.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Program {
    /// No code, but a run time.
    Declared(Duration),
    File(PathBuf),
}

/// One command copies the input, runs, and returns the output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Compound {
    pub(crate) early: bool,
}

/// Chunks of a streaming execution.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stream {
    pub(crate) chunk: u64,
    pub(crate) in_flight: u32,
    pub(crate) early: bool,
    /// Bytes that a run sees behind its chunk.
    pub(crate) overlap: Option<u64>,
}

impl Stream {
    /// Bytes that a run sees.
    pub(crate) fn seen(&self) -> u64 {
        self.chunk + self.overlap.unwrap_or(0)
    }
}

impl Execution {
    /// Bytes of flash that the output of an operation with so many bytes of input needs.
    pub(crate) fn flash_bytes(&self, input: u64, block: u64) -> u64 {
        let each = self.output_bytes.next_multiple_of(block);
        self.stream.map_or(each, |stream| each * (input / stream.chunk))
    }

    pub(crate) fn has_input_step(&self) -> bool {
        self.stream.is_none() && self.compound.is_none() && self.input != Input::Memory
    }

    pub(crate) fn has_output_step(&self) -> bool {
        self.compound.is_none() && self.output != Output::None && self.output_bytes > 0
    }
}

impl Plan {
    /// Drives, all groups together.
    pub fn drive_count(&self) -> usize {
        self.drives.iter().map(|drive| drive.count as usize).sum()
    }

    /// The line of a key of a drive's configuration, if the file sets it.
    pub fn line_of(&self, key: &str) -> Option<usize> {
        let text = Text { name: &self.file, text: &self.text };
        // In a table, its name is the last part.
        text.find(key).or_else(|| text.find(key.rsplit('.').next()?))
    }

    /// An error of a job that is not what its file says, but what becomes of it.
    pub(crate) fn failed(&self, job: usize, reason: impl Into<String>) -> Error {
        let Job { line, name, .. } = &self.jobs[job];
        let (file, job) = (self.file.clone(), name.clone());
        Error::Job { file, line: *line, job, reason: reason.into() }
    }

    /// True if some input comes from another drive.
    pub(crate) fn uses_peers(&self) -> bool {
        let uses = |job: &Job| matches!(&job.work, Work::OnDrive(e) if e.input == Input::Peer);
        self.jobs.iter().any(uses)
    }

    /// True if some program works on what is in the blocks or in device memory: otherwise data matters to nothing.
    pub fn needs_data(&self) -> bool {
        self.jobs.iter().any(|job| match &job.work {
            Work::OnDrive(execution) => matches!(execution.program, Program::File(_)),
            Work::Blocks | Work::OnHost { .. } => false,
        })
    }
}

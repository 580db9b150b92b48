//! Programs that the drive's shell runs, not the drive's own engine: native ones and those of WebAssembly.

use std::fmt;

use ebpf::{Counts, CpuTime, Invocation};
use nvme_spec::Status;

/// A program that is loaded.
pub trait ShellProgram: fmt::Debug + Send + Sync {
    /// Runs it `samples` times: all but the last time on copies of the ranges.
    fn run(&self, invocation: &Invocation, samples: u32) -> ShellOutcome;
}

/// What a run did.
#[derive(Clone, Debug)]
pub struct ShellOutcome {
    /// What the function returned, or why it did not.
    pub result: Result<u64, ShellFault>,
    /// Work done, also when stopped; zeroes of a native program, whose instructions nobody counts.
    pub counts: Counts,
    /// What it printed.
    pub output: Vec<u8>,
    /// Processor time of the calls of the function.
    pub cpu_time: CpuTime,
}

/// Why a program did not return.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShellFault {
    /// What happened.
    pub kind: ShellFaultKind,
    /// The same for the drive's user.
    pub text: String,
}

/// What happened to a program that did not return.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShellFaultKind {
    /// It touched memory that it does not have.
    Memory,
    /// It used up its time, or its budget of instructions.
    Budget,
    /// Its calls went deeper than its stack.
    CallDepth,
    /// A function of the drive refused what it was given.
    Helper,
    /// It ended otherwise: by a signal, a trap or `exit`, or because it could not be loaded.
    Crash,
    /// It made a system call that it may not make.
    SystemCall,
    /// Nobody waits for its result any more.
    Stopped,
    /// The host machine could not run it.
    Host,
}

impl ShellFaultKind {
    /// The status of its Execute Program command.
    pub(crate) fn status(self) -> Status {
        match self {
            Self::Memory => Status::PROGRAM_MEMORY_FAULT,
            Self::Budget => Status::PROGRAM_BUDGET_EXCEEDED,
            Self::CallDepth => Status::PROGRAM_CALL_DEPTH_EXCEEDED,
            Self::Helper => Status::PROGRAM_HELPER_FAULT,
            Self::Crash => Status::PROGRAM_CRASHED,
            Self::SystemCall => Status::PROGRAM_SYSTEM_CALL_REFUSED,
            Self::Stopped | Self::Host => Status::INTERNAL_ERROR,
        }
    }
}

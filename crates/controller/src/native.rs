//! Native programs, as the drive sees them. A shell loads and runs them (crate `native_programs`): they are code of the host
//! machine, and the drive neither holds nor starts a process.

use std::fmt;
use std::sync::Arc;

use ebpf::{CpuTime, Invocation};
use nvme_spec::Status;
use simtime::Duration;

/// Which native programs a drive takes, and how far each may go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NativeConfig {
    /// Shared objects that hosts send.
    pub upload: bool,
    /// Folder of shared objects that hosts may name; none if empty.
    pub directory: String,
    /// A run that takes longer here is stopped.
    pub time_limit: Duration,
    /// Runs may have threads; their processor times count together.
    pub threads: bool,
    /// Memory of a run besides that of its ranges.
    pub memory_bytes: u64,
}

impl Default for NativeConfig {
    fn default() -> Self {
        Self {
            upload: false,
            directory: String::new(),
            time_limit: Duration::from_us(10_000_000),
            threads: false,
            memory_bytes: 256 << 20,
        }
    }
}

/// Where the code of a native program is.
#[derive(Clone, Copy, Debug)]
pub enum NativeSource<'a> {
    /// The host sent the shared object.
    Uploaded(&'a [u8]),
    /// The host named a file.
    Named(&'a str),
}

/// Why a native program is not loaded; the text is for the drive's user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NativeLoadError {
    /// It is no such program.
    Refused(String),
    /// The host machine could not do its part.
    Host(String),
}

/// Loads native programs.
pub trait NativePrograms: fmt::Debug + Send + Sync {
    /// A program that calls this function of a shared object; without a name, the only one that it exports.
    ///
    /// # Errors
    /// Why it is not loaded.
    fn load(
        &self,
        source: NativeSource<'_>,
        function: Option<&str>,
    ) -> Result<Arc<dyn NativeProgram>, NativeLoadError>;

    /// The bytes of a file in the folder of [`NativeConfig::directory`], by its name, or by a path that leads there.
    ///
    /// # Errors
    /// Why there are none.
    fn read(&self, path: &str) -> Result<Vec<u8>, NativeLoadError>;
}

/// A native program that is loaded.
pub trait NativeProgram: fmt::Debug + Send + Sync {
    /// Runs it `samples` times: all but the last time on copies of the ranges.
    fn run(&self, invocation: &Invocation, samples: u32) -> NativeOutcome;
}

/// What a run of a native program did.
#[derive(Clone, Debug)]
pub struct NativeOutcome {
    /// What the function returned, or why it did not.
    pub result: Result<u64, NativeFault>,
    /// What it printed.
    pub output: Vec<u8>,
    /// Processor time of the calls of the function.
    pub cpu_time: CpuTime,
}

/// Why a native program did not return.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NativeFault {
    /// What happened.
    pub kind: NativeFaultKind,
    /// The same for the drive's user.
    pub text: String,
}

/// What happened to a native program that did not return.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NativeFaultKind {
    /// It touched memory that it does not have.
    Memory,
    /// It used up its time.
    Time,
    /// It ended otherwise: by a signal, by `exit`, or because it could not be loaded.
    Crash,
    /// It made a system call that it may not make.
    SystemCall,
    /// Nobody waits for its result any more.
    Stopped,
    /// The host machine could not run it.
    Host,
}

impl NativeFaultKind {
    /// The status of its Execute Program command.
    pub(crate) fn status(self) -> Status {
        match self {
            Self::Memory => Status::PROGRAM_MEMORY_FAULT,
            Self::Time => Status::PROGRAM_BUDGET_EXCEEDED,
            Self::Crash => Status::PROGRAM_CRASHED,
            Self::SystemCall => Status::PROGRAM_SYSTEM_CALL_REFUSED,
            Self::Stopped | Self::Host => Status::INTERNAL_ERROR,
        }
    }
}

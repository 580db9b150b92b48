//! What the controller asks of its shell: interrupts to raise and programs to run.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ebpf::{Counts, CpuTime, FaultKind, Invocation, Outcome, Program, Worker};
use nvme_spec::Status;
use ssd::SyncWork;

use crate::namespace::programs::ProgramLease;
use crate::shell_program::{ShellFault, ShellOutcome, ShellProgram};

/// Requests to the shell, in the order they were made.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Interrupt vectors to raise, one entry for each completion posted.
    pub interrupts: Vec<u16>,
    /// Programs to run.
    pub work: Vec<WorkItem>,
    /// What is to be done to make the drive's store durable, and reported with [`Controller::sync_done`](crate::Controller::sync_done);
    /// there is one at a time.
    pub syncs: Vec<SyncWork>,
    /// What the drive's user should know.
    pub notes: Vec<String>,
}

impl Outbox {
    /// True if the shell has nothing to do.
    pub fn is_empty(&self) -> bool {
        self.interrupts.is_empty() && self.work.is_empty() && self.syncs.is_empty()
    }
}

/// A program to run with everything it needs; independent of the controller, so that any thread
/// may run it. Program and range set stay in use until the item and its [`WorkDone`] are gone.
#[derive(Debug)]
pub struct WorkItem {
    pub(crate) job: u64,
    pub(crate) task: Task,
    pub(crate) invocation: Invocation,
    pub(crate) lease: ProgramLease,
}

/// What is to be run.
#[derive(Debug)]
pub(crate) enum Task {
    /// A program, by the shell's engine.
    Ebpf { program: Program, timing: Timing },
    /// Another kind of program.
    Shell { program: Arc<dyn ShellProgram>, samples: u32, is_measured: bool },
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The program's result, or with which status the execution ends and why.
    pub(crate) result: Result<u64, (Status, String)>,
    /// Executed instructions and touched bytes; none are known of a native program.
    pub(crate) counts: Counts,
    /// What it printed.
    pub(crate) output: Vec<u8>,
}

impl From<Outcome> for Ran {
    fn from(outcome: Outcome) -> Self {
        let result = outcome.result.map_err(|fault| {
            let status = match fault.kind {
                FaultKind::Memory(_) => Status::PROGRAM_MEMORY_FAULT,
                FaultKind::Budget(_) => Status::PROGRAM_BUDGET_EXCEEDED,
                FaultKind::CallDepth(_) => Status::PROGRAM_CALL_DEPTH_EXCEEDED,
                FaultKind::Helper { .. } => Status::PROGRAM_HELPER_FAULT,
                // Nobody stops runs whose result is still wanted.
                FaultKind::Host(_) | FaultKind::Stopped | FaultKind::Exited(_) => {
                    Status::INTERNAL_ERROR
                }
            };
            (status.with_dnr(), fault.to_string())
        });
        Self { result, counts: outcome.counts, output: outcome.trace }
    }
}

impl From<ShellOutcome> for Ran {
    fn from(outcome: ShellOutcome) -> Self {
        let result =
            outcome.result.map_err(|ShellFault { kind, text }| (kind.status().with_dnr(), text));
        Self { result, counts: outcome.counts, output: outcome.output }
    }
}

/// What is to be found out of a run besides what it does.
#[derive(Clone, Debug)]
pub(crate) enum Timing {
    /// Nothing.
    None,
    /// The processor time of so many runs here.
    Here { samples: u32 },
    /// The processor time of so many runs on a runtime server, and, if that says nothing, here.
    There { samples: u32, object: Arc<[u8]>, or_here: bool },
}

/// A machine that says how long programs take there. A worker has its own.
pub trait RemoteRuntime: fmt::Debug + Send {
    /// Begins a run there, with ranges as they are now.
    ///
    /// # Errors
    /// Why there is none, for the drive's user.
    fn begin(&mut self, object: &[u8], invocation: &Invocation, samples: u32)
    -> Result<(), String>;

    /// The processor time of that run, if it came to the same as the run here.
    ///
    /// # Errors
    /// Why it is not known, for the drive's user.
    fn end(&mut self, here: &Outcome, invocation: &Invocation) -> Result<CpuTime, String>;
}

/// Makes the connection of a worker.
#[derive(Clone)]
pub struct NewRemoteRuntime(Arc<dyn Fn() -> Box<dyn RemoteRuntime> + Send + Sync>);

impl NewRemoteRuntime {
    /// Connections are made by this.
    pub fn new(new: impl Fn() -> Box<dyn RemoteRuntime> + Send + Sync + 'static) -> Self {
        Self(Arc::new(new))
    }

    /// A connection.
    pub fn make(&self) -> Box<dyn RemoteRuntime> {
        (self.0)()
    }
}

impl fmt::Debug for NewRemoteRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewRemoteRuntime(..)")
    }
}

/// The result of a [`WorkItem`].
#[derive(Debug)]
pub struct WorkDone {
    pub(crate) job: u64,
    pub(crate) ran: Ran,
    /// What was to be found out, or why it was not.
    pub(crate) cpu_time: Result<CpuTime, NoAnswer>,
    /// Which of the shell's threads ran it, and how long it took there; zeroes in virtual time.
    pub(crate) worker: u32,
    pub(crate) took: Duration,
    #[expect(dead_code, reason = "keeps the program in use until the controller has the result")]
    pub(crate) lease: ProgramLease,
}

/// A runtime server said nothing.
#[derive(Debug)]
pub(crate) struct NoAnswer {
    pub(crate) why: String,
    /// What the run took here, if that was to be found out then.
    pub(crate) here: CpuTime,
}

impl WorkDone {
    /// Notes which thread ran the program, and for how long, for whoever looks at the records.
    #[must_use]
    pub fn ran_by(self, worker: u32, took: Duration) -> Self {
        Self { worker, took, ..self }
    }
}

impl WorkItem {
    /// Runs the program to its end, or to the end of its instruction budget, where there is no runtime server.
    pub fn run(self, worker: &mut Worker) -> WorkDone {
        self.run_with(worker, None)
    }

    /// As [`Self::run`]; a runtime server may be asked how long the program takes.
    pub fn run_with(self, worker: &mut Worker, remote: Option<&mut dyn RemoteRuntime>) -> WorkDone {
        let Self { job, task, invocation, lease } = self;
        let (ran, cpu_time) = match task {
            Task::Ebpf { program, timing } => {
                let (outcome, cpu_time) = run_timed(&program, &timing, &invocation, worker, remote);
                (outcome.into(), cpu_time)
            }
            Task::Shell { program, samples, is_measured } => {
                let outcome = program.run(&invocation, samples);
                let cpu_time = if is_measured { outcome.cpu_time } else { CpuTime::default() };
                (outcome.into(), Ok(cpu_time))
            }
        };
        WorkDone { job, ran, cpu_time, worker: 0, took: Duration::ZERO, lease }
    }
}

/// Runs a program, and finds out how long it takes.
fn run_timed(
    program: &Program,
    timing: &Timing,
    invocation: &Invocation,
    worker: &mut Worker,
    remote: Option<&mut dyn RemoteRuntime>,
) -> (Outcome, Result<CpuTime, NoAnswer>) {
    match timing {
        Timing::None => (program.execute(worker, invocation), Ok(CpuTime::default())),
        Timing::Here { samples } => {
            let (outcome, time) = program.measure(worker, invocation, *samples);
            (outcome, Ok(time))
        }
        Timing::There { samples, object, or_here } => {
            let begun = match remote {
                    Some(remote) => remote.begin(object, invocation, *samples).map(|()| remote),
                    None => Err("this drive has no runtime server: give compute.runtime_server, as tcp://HOST:4231".to_owned()),
                };
            // It runs there meanwhile.
            let (outcome, here) = match or_here {
                true => program.measure(worker, invocation, *samples),
                false => (program.execute(worker, invocation), CpuTime::default()),
            };
            let answer = begun.and_then(|remote| remote.end(&outcome, invocation));
            (outcome, answer.map_err(|why| NoAnswer { why, here }))
        }
    }
}

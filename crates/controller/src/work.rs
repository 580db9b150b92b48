//! What the controller asks of its shell: interrupts to raise and programs to run.

use ebpf::{CpuTime, Invocation, Outcome, Program, Worker};

use crate::namespace::programs::ProgramLease;

/// Requests to the shell, in the order they were made.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Interrupt vectors to raise, one entry for each completion posted.
    pub interrupts: Vec<u16>,
    /// Programs to run.
    pub work: Vec<WorkItem>,
}

impl Outbox {
    /// True if the shell has nothing to do.
    pub fn is_empty(&self) -> bool {
        self.interrupts.is_empty() && self.work.is_empty()
    }
}

/// A program to run with everything it needs; independent of the controller, so that any thread
/// may run it. Program and range set stay in use until the item and its [`WorkDone`] are gone.
#[derive(Debug)]
pub struct WorkItem {
    pub(crate) job: u64,
    pub(crate) program: Program,
    pub(crate) invocation: Invocation,
    /// Runs that are measured, 0 = none.
    pub(crate) samples: u32,
    pub(crate) lease: ProgramLease,
}

/// The result of a [`WorkItem`].
#[derive(Debug)]
pub struct WorkDone {
    pub(crate) job: u64,
    pub(crate) outcome: Outcome,
    pub(crate) cpu_time: CpuTime,
    #[expect(dead_code, reason = "keeps the program in use until the controller has the result")]
    pub(crate) lease: ProgramLease,
}

impl WorkItem {
    /// Runs the program to its end, or to the end of its instruction budget.
    pub fn run(self, worker: &mut Worker) -> WorkDone {
        let Self { program, invocation, .. } = &self;
        let (outcome, cpu_time) = match self.samples {
            0 => (program.execute(worker, invocation), CpuTime::default()),
            samples => program.measure(worker, invocation, samples),
        };
        WorkDone { job: self.job, outcome, cpu_time, lease: self.lease }
    }
}

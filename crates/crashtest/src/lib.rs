//! Every state of a drive's blocks that a loss of power may leave, and a search for those that software cannot stand.
//!
//! ```text
//! history -> Workload (writes, flushes, marks) -> cuts -> states of each cut -> a checker -> the shortest failure
//! ```
//!
//! What may be left is what NVMe promises, not what one drive happens to do. When the power goes,
//! - what a Flush waited for, or was written with FUA, is there, once the host was told;
//! - of everything else any part may be there: every piece that the drive never tears is there as a whole or not at all;
//! - a write never hides one that began after it ended.
//!
//! NVM Express Base 2.1, section 5.1.25.1.4 (volatile write cache); NVM Command Set 1.2, sections 2.1.4 (atomic units) and 3.2.1 (Flush).
//!
//! Two writes that were under way at the same time and overlap count in the order in which they began: what the other order
//! would leave of blocks that only one of them has is not tried.
#![forbid(unsafe_code)]

mod command;
mod content;
mod legal;
mod search;
mod state;
mod subsets;
mod workload;

pub use command::{CheckerError, CommandChecker};
pub use legal::Illegal;
pub use search::{
    Crash, Failure, Options, Pending, Progress, Report, SearchError, search, with_state,
};
pub use state::{State, Verdict};
pub use workload::{Kind, Workload, WorkloadError, WriteInfo};

/// Looks at states.
pub trait Checker {
    /// What becomes of software that finds these states: one verdict for each.
    ///
    /// # Errors
    /// If this machine cannot find out.
    fn check(&mut self, states: &[State<'_>]) -> Result<Vec<Verdict>, CheckerError>;

    /// How many states it likes to be given at a time.
    fn batch(&self) -> usize {
        1
    }
}

/// A function is a checker: `Err` says what is wrong with a state.
impl<F: FnMut(&State<'_>) -> Result<(), String>> Checker for F {
    fn check(&mut self, states: &[State<'_>]) -> Result<Vec<Verdict>, CheckerError> {
        let verdict = |state: &State<'_>| match self(state) {
            Ok(()) => Verdict::Holds,
            Err(why) => Verdict::Fails(why),
        };
        Ok(states.iter().map(verdict).collect())
    }
}

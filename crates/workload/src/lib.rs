//! Workload files: what fio's job files are for block I/O, for a whole computational storage drive.
//!
//! A [`Plan`] is a file that was read and checked: jobs of block I/O and of executions, with their arrivals, places and lengths.
//! [`run`] runs it on a [`Rig`]: simulated drives in virtual time ([`Simulated`]), where it is a function of file, seed and
//! configuration, or drives that are there ([`Real`]). What came of it is a [`Report`].
//!
//! ```
//! use std::path::Path;
//! use workload::{Plan, Simulated, run};
//!
//! let text = r#"
//!     [[job]]
//!     name = "reader"
//!     rw = "randread"
//!     iodepth = 4
//!     number_ios = 100
//!     assert = ["max < 10ms"]
//! "#;
//! let plan = Plan::parse("example", text, Path::new("."), &[])?;
//! let drive = simulator::open(controller::Config::default(), 0, 64)?;
//! let report = run(&plan, &mut Simulated::new(vec![drive]), &mut |_| {})?;
//! assert_eq!(report.jobs[0].read.total_ios, 100);
//! assert!(report.holds());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod access;
mod assertion;
mod check;
mod drives;
mod file;
mod fio;
mod host;
mod host_memory;
mod instance;
mod measure;
mod operation;
mod plan;
mod prepare;
mod recorded;
mod report;
mod rig;
mod run;
mod summary;
mod trace;

use std::path::PathBuf;

pub use drives::{Drives, Shell, ShellError, simulated_drives};
pub use file::DriveEntry;
pub use host::Progress;
pub use plan::Plan;
pub use recorded::{Ran, RunRecorder, recorded_drive};
pub use report::{
    FORMAT_VERSION, JobReport, Judged, Latency, Measured, Report, SeriesReport, Steps, TenantReport,
};
pub use rig::{Real, RecordSink, Rig, Simulated};
pub use run::{check, run, run_until};

/// A workload cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{}: {cause}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        cause: std::io::Error,
    },
    /// Something in the file is wrong.
    #[error("{file}{}: {reason}", .line.map_or_else(String::new, |line| format!(": line {line}")))]
    Mistake {
        /// The file.
        file: String,
        /// From 1 on.
        line: Option<usize>,
        /// The key, what is wrong with it, and the remedy.
        reason: String,
    },
    /// An assignment is wrong.
    #[error("--set {assignment}: {reason}")]
    Set {
        /// As it was given.
        assignment: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A job does not fit its drive, or its command failed.
    #[error("{file}: line {line}: job {job}: {reason}")]
    Job {
        /// The file.
        file: String,
        /// Where the job begins in it.
        line: usize,
        /// Its name.
        job: String,
        /// What happened.
        reason: String,
    },
    /// The drive failed.
    #[error(transparent)]
    Drive(#[from] client::DriveError),
    /// Not as many drives as the file has.
    #[error("the workload is for {wanted} drives, and there are {there}: give one for each")]
    Drives {
        /// As the file says.
        wanted: usize,
        /// As there are.
        there: usize,
    },
    /// Whoever was told of its progress wanted no more.
    #[error("stopped")]
    Stopped,
    /// Nothing goes on, and not everything is done.
    #[error("the drive is idle and {0} commands are under way: this is a bug of csdrive")]
    Stalled(usize),
}

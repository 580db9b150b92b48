//! What records say.
//!
//! [`Tally`] takes the records of a drive, piece by piece, and makes a [`DriveSummary`] of them: counts, latencies by kind of command,
//! where their time went, how busy everything was. [`Timeline`] writes what Perfetto shows, [`Comparison`] says what became slower from
//! one run to another and why, [`Page`] draws one run or several as a page for a browser.
//!
//! ```
//! use analysis::Tally;
//! use records::{CommandRecord, Records};
//!
//! let commands = (1..=100).map(|us| CommandRecord { completed_ns: 1000 * us, sqid: 1, opcode: 2, ..Default::default() });
//! let mut tally = Tally::default();
//! tally.add(&Records { commands: commands.collect(), ..Default::default() });
//! let summary = tally.summary("CSDRIVE0001");
//! assert_eq!(summary.commands[0].name, "Read");
//! assert_eq!(summary.commands[0].lat_ns.at(99.0), 99_000);
//! ```
#![forbid(unsafe_code)]

mod chart;
mod command_kind;
mod compare;
mod drive;
mod latency;
mod page;
mod series;
mod summary;
mod tally;
mod timeline;

pub use chart::{Chart, Line, svg};
pub use command_kind::CommandKind;
pub use compare::{Change, Comparison};
pub use drive::{Busy, Bytes, DriveReport, Late};
pub use latency::{LatencyReport, PERCENTILES, percentiles, percentiles_as_map};
pub use page::{Page, RunOnPage};
pub use series::{Series, SeriesPoint};
pub use summary::{
    CommandSummary, DriveSummary, FioDirection, FioJob, GroupSummary, LinkSummary, QueueSummary,
};
pub use tally::Tally;
pub use timeline::Timeline;

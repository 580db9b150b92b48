//! A recorded run: a folder that says what was run, and what the drives did.
//!
//! ```text
//! FOLDER/record.json          what was run: command, configuration, seed, versions, hashes of inputs and of what happened (Provenance)
//!        commands.parquet     a row for each finished command, with the number of its drive
//!        jobs.parquet         ... and so on, a file for each kind of record: see the crate `records`
//! ```
//!
//! A [`Recorder`] writes one, a [`Recording`] reads it. The columns of a table are the fields of the record; an array has a column for
//! each element (`flash_read_ns`, `instructions_0`). Times are those of the drive, in nanoseconds. pandas, polars, DuckDB and Arrow read
//! the files as they are. `record.json` comes last: a folder without it is a run that was not finished.
//!
//! ```
//! use records::{CommandRecord, Records};
//! use recording::{Drive, Provenance, Recorder, Recording};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("run");
//! let mut recorder = Recorder::create(&path)?;
//! let commands = vec![CommandRecord { id: 7, fetched_ns: 100, completed_ns: 350, ..Default::default() }];
//! recorder.put(0, &Records { commands, ..Default::default() })?;
//! let drive = Drive { serial: "CSDRIVE0001".to_owned(), ..Default::default() };
//! recorder.finish(Provenance { drives: vec![drive], ..Default::default() })?;
//!
//! let recording = Recording::open(&path)?;
//! let mut ids = Vec::new();
//! recording.read(&mut |drive, records| {
//!     assert_eq!(drive, 0);
//!     ids.extend(records.commands.iter().map(|record| record.id));
//! })?;
//! assert_eq!(ids, [7]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod checksum;
mod file;
mod host;
mod provenance;
mod reader;
mod table;
mod writer;

use std::path::PathBuf;

pub use host::HostFacts;
pub use provenance::{Drive, FORMAT_VERSION, Input, Provenance};
pub use reader::Recording;
pub use writer::Recorder;

/// A recording that cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum Error {
    #[error("{}: {cause}", .path.display())]
    File { path: PathBuf, cause: std::io::Error },
    #[error("{}: {reason}", .path.display())]
    NotSound { path: PathBuf, reason: String },
}

/// What is in a folder says of itself what it is by this name.
pub(crate) const RECORD: &str = "record.json";

//! A drive's records in shared memory, for whoever wants to look at it live.
//!
//! ```text
//! /dev/shm/csdrive-SERIAL     page 0      header: magic, versions, the writer's process, a number of this ring
//!                                         for each kind of record: its bytes, places, where they are; written, reserved
//!                             then        places of command records, of job records, ...
//! ```
//!
//! One [`Writer`] puts records into places that go round, and never waits for anybody. Any number of [`Reader`]s take what is there:
//! each has its own position, and counts what was overwritten before it came. The protocol: the writer says how far it is going to
//! write (`reserved`), writes, says how far it has written (`written`). A reader copies up to `written`, and then looks at
//! `reserved`: what was older than that by all places may have been changed meanwhile, and does not count.
//!
//! The layout of a record is that of the crate `records`; `python/csdrive/live.py` reads the same ring in Python.

mod layout;
mod map;
mod reader;
mod writer;

use std::path::{Path, PathBuf};

pub use reader::{Batch, Reader};
pub use records::Kind;
pub use writer::{Wanted, Writer};

/// A ring that cannot be made or read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum Error {
    #[error("{}: {cause}", .path.display())]
    File { path: PathBuf, cause: std::io::Error },
    #[error("{}: {reason}", .path.display())]
    NotSound { path: PathBuf, reason: String },
    #[error(
        "{}: process {process} writes the records of a drive of this name: give the drives different names, by drive.serial",
        .path.display()
    )]
    InUse { path: PathBuf, process: u32 },
}

/// Where rings are.
pub const FOLDER: &str = "/dev/shm";

/// The ring of the drive of this serial number.
pub fn path_of(serial: &str) -> PathBuf {
    let mut name = String::from("csdrive-");
    for byte in serial.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' => name.push(byte.into()),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    Path::new(FOLDER).join(name)
}

//! What was run, so that it can be run again, and what it was run on.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::file::open_regular;
use crate::{Error, HostFacts};

/// Version of `record.json`.
pub const FORMAT_VERSION: u32 = 1;

/// `record.json`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, JsonSchema, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Version of csdrive.
    pub csdrive: String,
    /// Version of the records.
    pub records_version: u16,
    /// The command line, without options that name files to write.
    pub command: Vec<String>,
    /// The folder in which it was given.
    pub folder: PathBuf,
    /// Seconds since 1970 when it began.
    pub began_s: u64,
    /// Real time that it took.
    pub took_ns: u64,
    /// "virtual" or "real".
    pub clock: String,
    /// Of all random numbers.
    pub seed: u64,
    /// The drives, by number.
    pub drives: Vec<Drive>,
    /// Files that were read.
    pub inputs: Vec<Input>,
    /// The machine.
    pub host: HostFacts,
    /// Records of each kind.
    pub records: serde_json::Map<String, serde_json::Value>,
    /// CRC-32C of the file of each kind.
    pub checksums: BTreeMap<String, String>,
    /// Records of a live drive that were overwritten before they were read.
    pub lost: u64,
    /// What the command printed with `--json`.
    pub result: serde_json::Value,
}

/// A drive of a run.
#[derive(Clone, PartialEq, Debug, Default, Serialize, JsonSchema, Deserialize)]
#[serde(default)]
pub struct Drive {
    /// Its serial number.
    pub serial: String,
    /// Its configuration, key by key; nothing of a live drive, which does not tell.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// Hash of everything that happened, in virtual time: equal runs have equal ones.
    pub trace_hash: Option<String>,
}

/// A file that a run read.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, JsonSchema, Deserialize)]
#[serde(default)]
pub struct Input {
    /// As it was named, from the folder of the run.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of what was in it, in hexadecimal digits; empty if it was no file that can be read again (standard input, a pipe).
    pub sha256: String,
}

impl Input {
    /// A file as it is now.
    ///
    /// # Errors
    /// If it is no regular file, or cannot be read.
    pub fn of(path: &Path) -> Result<Self, Error> {
        let failed = |cause: io::Error| Error::File { path: path.to_owned(), cause };
        let mut file = open_regular(path)?;
        let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 16]);
        loop {
            let count = file.read(&mut buffer).map_err(failed)?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
            bytes += count as u64;
        }
        let digits = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { path: path.to_owned(), bytes, sha256: digits })
    }
}

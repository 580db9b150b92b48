//! Commands for a drive that is there: a device of this machine, or a socket of `csdrive serve`.

pub(crate) mod blocks;
pub(crate) mod check;
pub(crate) mod exec;
pub(crate) mod fs;
pub(crate) mod group;
pub(crate) mod mark;
pub(crate) mod memory;
pub(crate) mod program;
pub(crate) mod ranges;
mod transfer;
pub(crate) mod zones;

use std::path::{Path, PathBuf};

use anyhow::Result;
use client::{Drive, DriveError, DriveResult};
use client_linux::OpenOptions;
use serde_json::{Value, json};

use crate::report::{say, tell};
use crate::{Outcome, Usage};

/// Which drive, and how to print.
#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    /// The drive: /dev/nvme0, one of its namespaces, or the socket of csdrive serve
    #[arg(value_name = "DEV")]
    device: PathBuf,
    /// Look for completions again and again instead of waiting for interrupts (a device: nvme.poll_queues=1)
    #[arg(long)]
    polled: bool,
    /// The namespace to work with (NSID), of blocks, memory or programs; repeatable. Default: the first of each, or the one
    /// that DEV names
    #[arg(long, value_name = "NSID")]
    nsid: Vec<u32>,
    /// How results are printed
    #[arg(short, long, value_name = "FORMAT", default_value = "normal", value_parser = ["normal", "json"])]
    output_format: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Instead of a device, where a command says so: a drive in this process.
pub(crate) const SIMULATED: &str = "simulated";

impl Target {
    /// True if this is the device.
    pub(crate) fn is(&self, device: &Path) -> bool {
        self.device == device
    }

    pub(crate) fn open(&self) -> Result<Drive> {
        let options = OpenOptions { is_polled: self.polled, ..OpenOptions::default() };
        let open = || {
            let mut drive = client_linux::open_with(&self.device, options)?;
            for nsid in &self.nsid {
                drive.use_namespace(*nsid)?;
            }
            Ok(drive)
        };
        open().map_err(|error: DriveError| Usage(error.into()).into())
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json || self.output_format == "json"
    }

    /// Opens the drive, does something with it, and prints what it gives.
    fn perform<T>(
        &self,
        act: impl FnOnce(&mut Drive) -> DriveResult<T>,
        document: impl FnOnce(&T) -> Value,
        print: impl FnOnce(&T),
    ) -> Result<Outcome> {
        let mut drive = self.open()?;
        let given = match act(&mut drive) {
            Ok(given) => given,
            Err(error) => return self.refused(error),
        };
        self.present(|| document(&given), || print(&given));
        Ok(Outcome::Success)
    }

    /// Prints a result in the form that is asked for.
    fn present(&self, document: impl FnOnce() -> Value, print: impl FnOnce()) {
        if self.is_json() {
            let mut all = document();
            all["format_version"] = 1.into();
            say!("{all:#}");
        } else {
            print();
        }
    }

    /// An error status is a result, too.
    fn refused(&self, error: DriveError) -> Result<Outcome> {
        let DriveError::Failed(failed) = &error else { return Err(error.into()) };
        if self.is_json() {
            let status = json!({
                "name": failed.status.name(), "sct": failed.status.sct(), "sc": failed.status.sc(),
            });
            let document = json!({
                "format_version": 1, "command": failed.command, "status": status, "detail": failed.detail,
            });
            say!("{document:#}");
        }
        tell!("csdrive: {error}");
        Ok(Outcome::ErrorStatus)
    }
}

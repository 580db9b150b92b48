//! `csdrive zones`: the zones of a zoned namespace.

use std::path::PathBuf;

use anyhow::{Context, Result};
use client::{Drive, Zone};
use nvme_spec::ZoneAction;
use serde_json::{Value, json};

use super::Target;
use crate::input::parse_number;
use crate::report::{bytes, say};
use crate::{Outcome, Usage};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Which zones there are, their states, and how far each is written
    Report {
        #[command(flatten)]
        target: Target,
    },
    /// Open a zone: it stays open until it is full, or closed
    Open(Change),
    /// Close an open zone: another may be open in its place
    Close(Change),
    /// End a zone before it is full: it takes no more writes
    Finish(Change),
    /// Empty a zone: what it holds is gone
    Reset(Change),
    /// Write a file's bytes to where a zone takes writes, with one command, and print the block; the last block is filled up with zeroes
    Append {
        /// The zone, by number from 0
        #[arg(short, long, value_name = "N", value_parser = parse_number)]
        zone: u64,
        /// Where from
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        target: Target,
    },
}

/// A change of a zone, or of all.
#[derive(Debug, clap::Args)]
pub(crate) struct Change {
    /// The zone, by number from 0
    #[arg(short, long, value_name = "N", value_parser = parse_number, required_unless_present = "all")]
    zone: Option<u64>,
    /// All zones for which it means something
    #[arg(long, conflicts_with = "zone")]
    all: bool,
    #[command(flatten)]
    target: Target,
}

fn document(zones: &[Zone], block_bytes: u64) -> Value {
    let listed = zones.iter().enumerate().map(|(number, zone)| {
        json!({
            "zone": number, "start": zone.start, "capacity": zone.capacity,
            "write_pointer": zone.write_pointer, "state": zone.state.name(),
            "finished_by_drive": zone.is_finished_by_drive,
        })
    });
    json!({ "block_bytes": block_bytes, "zones": listed.collect::<Vec<_>>() })
}

fn print(zones: &[Zone], block_bytes: u64) {
    say!("{:>6}  {:>12}  {:>10}  {:>10}  state", "zone", "first block", "capacity", "written");
    for (number, zone) in zones.iter().enumerate() {
        let written = match zone.write_pointer {
            Some(pointer) => bytes(pointer.saturating_sub(zone.start).saturating_mul(block_bytes)),
            None => "-".into(),
        };
        let capacity = bytes(zone.capacity.saturating_mul(block_bytes));
        let by = if zone.is_finished_by_drive { " (by the drive)" } else { "" };
        let (start, state) = (zone.start, zone.state.name());
        say!("{number:>6}  {start:>12}  {capacity:>10}  {written:>10}  {state}{by}");
    }
}

/// The first block of a zone.
fn start_of(drive: &mut Drive, zone: u64) -> Result<u64> {
    let zones = drive.zones()?;
    let found = usize::try_from(zone).ok().and_then(|zone| zones.get(zone));
    let found = found.with_context(|| format!("--zone {zone}: there are {} zones", zones.len()));
    Ok(found?.start)
}

/// Opens a drive, for its zones: those of the namespace that is named, or of the first that has some.
fn open(target: &Target) -> Result<Drive> {
    let mut drive = target.open()?;
    drive.use_zones().map_err(|error| Usage(error.into()))?;
    Ok(drive)
}

fn change(Change { zone, target, .. }: &Change, action: ZoneAction) -> Result<Outcome> {
    let mut drive = open(target)?;
    let start = match zone {
        Some(zone) => Some(start_of(&mut drive, *zone)?),
        None => None,
    };
    if let Err(error) = drive.manage_zone(start, action) {
        return target.refused(error);
    }
    target.present(|| json!({ "zone": zone, "first_block": start }), || say!("done"));
    Ok(Outcome::Success)
}

pub(crate) fn run(command: &Command) -> Result<Outcome> {
    match command {
        Command::Report { target } => {
            let mut drive = open(target)?;
            let block_bytes = drive.block_bytes();
            match drive.zones() {
                Ok(zones) => {
                    target.present(|| document(&zones, block_bytes), || print(&zones, block_bytes));
                    Ok(Outcome::Success)
                }
                Err(error) => target.refused(error),
            }
        }
        Command::Open(of) => change(of, ZoneAction::OPEN),
        Command::Close(of) => change(of, ZoneAction::CLOSE),
        Command::Finish(of) => change(of, ZoneAction::FINISH),
        Command::Reset(of) => change(of, ZoneAction::RESET),
        Command::Append { zone, file, target } => {
            let mut data = std::fs::read(file).with_context(|| file.display().to_string())?;
            let mut drive = open(target)?;
            let start = start_of(&mut drive, *zone)?;
            let most = drive.geometry().transfer_bytes_max;
            data.resize(data.len().next_multiple_of(drive.block_bytes() as usize), 0);
            anyhow::ensure!(!data.is_empty(), "{}: there is nothing to append", file.display());
            anyhow::ensure!(
                data.len() as u64 <= most,
                "{}: one command takes at most {} ({most} bytes); append a part at a time",
                file.display(),
                bytes(most)
            );
            match drive.append(start, data) {
                Ok(block) => {
                    target.present(|| json!({ "zone": zone, "block": block }), || say!("{block}"));
                    Ok(Outcome::Success)
                }
                Err(error) => target.refused(error),
            }
        }
    }
}

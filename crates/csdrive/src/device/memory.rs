//! `csdrive memory`: the device memory of a drive.

use std::path::PathBuf;

use anyhow::Result;
use client::Drive;
use serde_json::json;

use super::{Target, transfer};
use crate::Outcome;
use crate::input::parse_number;
use crate::report::{bytes, say};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Read bytes: to a file, or as a hex dump
    Read {
        /// First byte
        #[arg(short, long, value_name = "N", value_parser = parse_number)]
        start: u64,
        /// Bytes
        #[arg(short, long, value_name = "N", value_parser = parse_number)]
        length: u64,
        /// Where to; - = standard output
        #[arg(short, long, value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        target: Target,
    },
    /// Write a file's bytes
    Write {
        /// First byte
        #[arg(short, long, value_name = "N", value_parser = parse_number)]
        start: u64,
        /// Where from; - = standard input
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        target: Target,
    },
    /// Write zeroes
    Fill {
        /// First byte; a multiple of four
        #[arg(short, long, value_name = "N", value_parser = parse_number)]
        start: u64,
        /// Bytes; a multiple of four
        #[arg(short, long, value_name = "N", value_parser = parse_number)]
        length: u64,
        #[command(flatten)]
        target: Target,
    },
    /// Copy within the drive: blocks to device memory, or the other way, or device memory to device memory
    Copy {
        /// First block
        #[arg(short, long, value_name = "N", value_parser = parse_number, requires = "count", required_unless_present = "from")]
        block: Option<u64>,
        /// Blocks
        #[arg(short, long, value_name = "N", value_parser = parse_number, requires = "block")]
        count: Option<u64>,
        /// First byte of device memory to copy from, instead of blocks; a multiple of four
        #[arg(short, long, value_name = "N", value_parser = parse_number, requires = "length", conflicts_with_all = ["block", "to_blocks"])]
        from: Option<u64>,
        /// Bytes; a multiple of four
        #[arg(short, long, value_name = "N", value_parser = parse_number, requires = "from")]
        length: Option<u64>,
        /// First byte of device memory; a multiple of four
        #[arg(short, long, value_name = "N", value_parser = parse_number)]
        start: u64,
        /// The other way: device memory to the blocks
        #[arg(long)]
        to_blocks: bool,
        #[command(flatten)]
        target: Target,
    },
}

pub(crate) fn run(command: &Command) -> Result<Outcome> {
    match command {
        Command::Read { start, length, file, target } => {
            let read = |drive: &mut Drive, at, n| drive.read_memory(start.saturating_add(at), n);
            let told = json!({ "start": start, "length": length });
            transfer::read((target, target.open()?), file.as_deref(), (*start, *length), read, told)
        }
        Command::Write { start, file, target } => {
            let room = |drive: &Drive| drive.geometry().memory_bytes.saturating_sub(*start);
            let write = |drive: &mut Drive, at: u64, piece: &[u8]| {
                drive.write_memory(start.saturating_add(at), piece)
            };
            let told = |written: u64| json!({ "start": start, "length": written });
            transfer::write(target, file, room, write, told)
        }
        Command::Fill { start, length, target } => target.perform(
            |drive| drive.fill_memory(*start, *length),
            |()| json!({ "start": start, "length": length }),
            |()| say!("{} zeroed", bytes(*length)),
        ),
        Command::Copy { from: Some(from), length: Some(length), start, target, .. } => target
            .perform(
                |drive| drive.copy_memory(*from, *length, *start),
                |()| json!({ "from": from, "start": start, "bytes": length }),
                |()| say!("{} copied", bytes(*length)),
            ),
        Command::Copy { block, count, start, to_blocks, target, .. } => {
            let (block, count) = (block.unwrap_or_default(), count.unwrap_or_default());
            target.perform(
                |drive| {
                    if *to_blocks {
                        drive.copy_memory_to_blocks(*start, block, count)?;
                    } else {
                        drive.copy_blocks(block, count, *start)?;
                    }
                    Ok(count * drive.block_bytes())
                },
                |copied| json!({ "block": block, "blocks": count, "start": start, "bytes": copied }),
                |copied| say!("{} copied", bytes(*copied)),
            )
        }
    }
}

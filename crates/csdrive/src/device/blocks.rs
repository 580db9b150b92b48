//! `csdrive blocks`: the blocks of a drive, past any file system and cache.

use std::path::PathBuf;

use anyhow::Result;
use client::{Drive, Geometry};
use serde_json::json;

use super::{Target, transfer};
use crate::Outcome;
use crate::input::parse_number;
use crate::report::{bytes, say};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// How many there are, how long they are, and how much device memory there is
    Info {
        #[command(flatten)]
        target: Target,
    },
    /// Read blocks: to a file, or as a hex dump
    Read {
        /// First block
        #[arg(short, long, value_name = "N", value_parser = parse_number)]
        block: u64,
        /// Blocks
        #[arg(short, long, value_name = "N", value_parser = parse_number)]
        count: u64,
        /// Where to; - = standard output
        #[arg(short, long, value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        target: Target,
    },
    /// Write a file's bytes to blocks; the last block is filled up with zeroes
    ///
    /// Whatever file system is on the drive does not know of it.
    Write {
        /// First block
        #[arg(short, long, value_name = "N", value_parser = parse_number)]
        block: u64,
        /// Where from; - = standard input
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        target: Target,
    },
    /// Have all that was written be in flash, so that it is there after a loss of power
    Flush {
        #[command(flatten)]
        target: Target,
    },
}

pub(crate) fn run(command: &Command) -> Result<Outcome> {
    match command {
        Command::Info { target } => target.perform(
            |drive| Ok(drive.geometry()),
            |geometry| {
                let Geometry { block_bytes, blocks, memory_bytes, transfer_bytes_max, .. } =
                    geometry;
                json!({
                    "block_bytes": block_bytes, "blocks": blocks,
                    "memory_bytes": memory_bytes, "transfer_bytes_max": transfer_bytes_max,
                })
            },
            |geometry| {
                let Geometry { block_bytes, blocks, memory_bytes, transfer_bytes_max, .. } =
                    *geometry;
                let capacity = bytes(block_bytes.saturating_mul(blocks));
                say!("{blocks} blocks of {block_bytes} bytes ({capacity})");
                say!("{memory_bytes} bytes of device memory ({})", bytes(memory_bytes));
                say!("{transfer_bytes_max} bytes of data a command at most");
            },
        ),
        Command::Read { block, count, file, target } => {
            // How long a block is, the drive says when it is open.
            let drive = target.open()?;
            let block_bytes = drive.block_bytes();
            let Some(length) = count.checked_mul(block_bytes) else {
                anyhow::bail!("{count} blocks are more than any drive has");
            };
            let read = |drive: &mut Drive, at: u64, n: u64| {
                drive.read_blocks(block.saturating_add(at / block_bytes), n / block_bytes)
            };
            let told = json!({ "block": block, "blocks": count, "block_bytes": block_bytes });
            let start = block.saturating_mul(block_bytes);
            transfer::read((target, drive), file.as_deref(), (start, length), read, told)
        }
        Command::Flush { target } => {
            target.perform(Drive::flush, |()| json!({ "flushed": true }), |()| say!("flushed"))
        }
        Command::Write { block, file, target } => {
            let room = |drive: &Drive| {
                let Geometry { block_bytes, blocks, .. } = drive.geometry();
                blocks.saturating_sub(*block).saturating_mul(block_bytes)
            };
            let write = |drive: &mut Drive, at: u64, piece: &[u8]| {
                drive.write_blocks(block.saturating_add(at / drive.block_bytes()), piece).map(drop)
            };
            let told = |written: u64| json!({ "block": block, "bytes": written });
            transfer::write(target, file, room, write, told)
        }
    }
}

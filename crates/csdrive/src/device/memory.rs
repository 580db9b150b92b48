//! `csdrive memory`: the device memory of a drive.

use std::path::PathBuf;

use anyhow::Result;
use client::{Drive, PeerMemory};
use serde_json::json;

use super::{Target, transfer};
use crate::Outcome;
use crate::input::parse_number;
use crate::report::{bytes, say, table};

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
        /// Copy --from the device memory of another drive of the same server, whose number `csdrive memory peers` tells
        #[arg(long, value_name = "N", requires = "from")]
        from_drive: Option<u32>,
        /// The other way: device memory to the blocks
        #[arg(long)]
        to_blocks: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Drives whose device memory the drive reaches without its host: those of the same server
    Peers {
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
        Command::Peers { target } => {
            let entry = |peer: &PeerMemory| {
                json!({
                    "drive": peer.drive, "serial": peer.serial, "nsid": peer.nsid,
                    "bytes": peer.bytes, "own": peer.is_own,
                })
            };
            target.perform(
                |drive| drive.peers(),
                |peers| json!({ "peers": peers.iter().map(entry).collect::<Vec<_>>() }),
                |peers| {
                    let heads = ["drive", "serial", "namespace", "memory", ""];
                    let mut rows = vec![heads.map(str::to_owned).to_vec()];
                    for peer in peers {
                        rows.push(vec![
                            peer.drive.to_string(),
                            peer.serial.clone(),
                            peer.nsid.to_string(),
                            bytes(peer.bytes),
                            if peer.is_own { "this drive" } else { "" }.to_owned(),
                        ]);
                    }
                    table(&rows, 0);
                },
            )
        }
        Command::Copy {
            from: Some(from), length: Some(length), start, from_drive, target, ..
        } => target.perform(
            |drive| match from_drive {
                None => drive.copy_memory(*from, *length, *start),
                Some(number) => {
                    let peers = drive.peers()?;
                    // Without a list the drive says itself that there is none.
                    let first = peers.iter().find(|peer| peer.drive == *number);
                    let nsid = first.map_or(0, |peer| peer.nsid);
                    drive.copy_from_peer((*number, nsid), *from, *length, *start)
                }
            },
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

//! `csdrive memory`: the device memory of a drive.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use client::{Drive, DriveError};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::Target;
use crate::input::parse_number;
use crate::report::{bytes, say};
use crate::{Outcome, usage};

/// Bytes moved at a time: what a progress bar counts.
const STEP: u64 = 1 << 20;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Read bytes: to a file, or as a hex dump
    Read {
        /// First byte; a multiple of four
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
        /// First byte; a multiple of four
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
    /// Copy blocks of the NVM namespace to device memory, or the other way, within the drive
    Copy {
        /// First block
        #[arg(short, long, value_name = "N", value_parser = parse_number)]
        block: u64,
        /// Blocks
        #[arg(short, long, value_name = "N", value_parser = parse_number)]
        count: u64,
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
            read(*start, *length, file.as_ref(), target)
        }
        Command::Write { start, file, target } => write(*start, file, target),
        Command::Fill { start, length, target } => target.perform(
            |drive| drive.fill_memory(*start, *length),
            |()| json!({ "start": start, "length": length }),
            |()| say!("{} zeroed", bytes(*length)),
        ),
        Command::Copy { block, count, start, to_blocks, target } => target.perform(
            |drive| {
                if *to_blocks {
                    drive.copy_memory_to_blocks(*start, *block, *count)?;
                } else {
                    drive.copy_blocks(*block, *count, *start)?;
                }
                Ok(count * drive.block_bytes())
            },
            |copied| json!({ "block": block, "blocks": count, "start": start, "bytes": copied }),
            |copied| say!("{} copied", bytes(*copied)),
        ),
    }
}

fn progress(length: u64, what: &'static str) -> Result<ProgressBar> {
    let style =
        ProgressStyle::with_template("{msg:>8} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}")?;
    Ok(ProgressBar::new(length).with_style(style).with_message(what))
}

fn read(start: u64, length: u64, file: Option<&PathBuf>, target: &Target) -> Result<Outcome> {
    let Some(path) = file else {
        return target.perform(
            |drive| drive.read_memory(start, length),
            |data| {
                let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
                json!({ "start": start, "length": length, "hex": hex })
            },
            |data| dump(start, data),
        );
    };
    let mut drive = target.open()?;
    let mut out: Box<dyn Write> = match path.to_str() {
        Some("-") => Box::new(std::io::stdout()),
        _ => Box::new(usage(File::create(path).with_context(|| path.display().to_string()))?),
    };
    let bar = progress(length, "read")?;
    for at in (0..length).step_by(STEP as usize) {
        match drive.read_memory(start + at, STEP.min(length - at)) {
            Ok(data) => out.write_all(&data).with_context(|| path.display().to_string())?,
            Err(error) => return target.refused(error),
        }
        bar.inc(STEP.min(length - at));
    }
    bar.finish_and_clear();
    Ok(Outcome::Success)
}

/// As hexdump -C prints it.
fn dump(start: u64, data: &[u8]) {
    for (n, line) in data.chunks(16).enumerate() {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown =
            |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { *byte as char } else { '.' };
        let text: String = line.iter().map(shown).collect();
        say!("{:08x}  {:<47}  |{text}|", start + 16 * n as u64, hex.join(" "));
    }
}

fn write(start: u64, path: &PathBuf, target: &Target) -> Result<Outcome> {
    let mut drive = target.open()?;
    let room = drive.geometry().memory_bytes;
    let mut source: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(std::io::stdin()),
        _ => Box::new(usage(File::open(path).with_context(|| path.display().to_string()))?),
    };
    let length = fs::metadata(path).map_or(0, |m| m.len());
    let bar = progress(length, "write")?;
    let mut written = 0;
    loop {
        let mut piece = Vec::new();
        source
            .by_ref()
            .take(STEP)
            .read_to_end(&mut piece)
            .with_context(|| path.display().to_string())?;
        if piece.is_empty() {
            break;
        }
        let at = start.saturating_add(written);
        if at.saturating_add(piece.len() as u64) > room {
            bail!("{}: it does not fit: the drive has {room} bytes of memory", path.display());
        }
        if let Err(error) = write_all(&mut drive, at, &piece) {
            return target.refused(error);
        }
        written += piece.len() as u64;
        bar.inc(piece.len() as u64);
    }
    bar.finish_and_clear();
    if target.is_json() {
        say!("{:#}", json!({ "format_version": 1, "start": start, "length": written }));
    } else {
        say!("{} written", bytes(written));
    }
    Ok(Outcome::Success)
}

/// Writes any number of bytes: hosts address device memory in dwords.
fn write_all(drive: &mut Drive, start: u64, data: &[u8]) -> Result<(), DriveError> {
    let whole = data.len() / 4 * 4;
    drive.write_memory(start, &data[..whole])?;
    if whole < data.len() {
        let mut last = drive.read_memory(start + whole as u64, 4)?;
        last[..data.len() - whole].copy_from_slice(&data[whole..]);
        drive.write_memory(start + whole as u64, &last)?;
    }
    Ok(())
}

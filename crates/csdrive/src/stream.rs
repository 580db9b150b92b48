//! `csdrive run --stream` and `csdrive exec --stream`: an input that goes through device memory chunk by chunk.

use anyhow::{Context, Result, bail, ensure};
use client::{Invocation, Streaming};
use config::parse_size;
use controller::limits::MEMORY_COMMAND_BYTES_MAX;

use crate::report;

/// How an input is divided.
#[derive(Debug, clap::Args)]
pub(crate) struct Chunks {
    /// With --stream: bytes of a chunk [default: 8MiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    chunk: Option<u64>,
    /// With --stream: chunks in flight [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=64))]
    in_flight: Option<u64>,
    /// With --stream: programs also see so many bytes behind their chunk, for records that cross chunks, and get a struct csdrive_chunk in
    /// front of their data
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    overlap: Option<u64>,
    /// With --stream: programs begin on the first pages of their chunk, while later ones are being copied
    #[arg(long)]
    pub(crate) early: bool,
}

/// Bytes of a chunk, and chunks in flight, unless it is said.
const CHUNK: u64 = 8 << 20;
const IN_FLIGHT: u64 = 4;

/// Device memory, from a place on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Chunks {
    /// True if something of how the input is divided is said.
    pub(crate) fn is_given(&self) -> bool {
        self.chunk.is_some() || self.in_flight.is_some() || self.overlap.is_some()
    }

    fn chunk(&self) -> u64 {
        self.chunk.unwrap_or(CHUNK)
    }

    fn in_flight(&self) -> u64 {
        self.in_flight.unwrap_or(IN_FLIGHT)
    }

    /// Start and length of each slot's output and chunk in device memory; tells what to change if they do not fit.
    pub(crate) fn ranges(
        &self,
        output_size: Option<u64>,
        block: u64,
        room: Room,
    ) -> Result<Vec<(u64, u32)>> {
        ensure!(
            self.chunk() > 0 && self.chunk().is_multiple_of(block),
            "--chunk {}: choose a multiple of a block ({block} bytes)",
            self.chunk()
        );
        let overlap = self.overlap.unwrap_or(0);
        ensure!(
            overlap.is_multiple_of(block),
            "--overlap {overlap}: choose a multiple of a block ({block} bytes)"
        );
        let most = MEMORY_COMMAND_BYTES_MAX;
        let seen = self.chunk().saturating_add(overlap);
        ensure!(
            seen.saturating_mul(self.in_flight()) <= most,
            "{} chunks of {} in flight: one command has at most {} in flight; use a smaller --chunk or --in-flight",
            self.in_flight(),
            report::bytes(seen),
            report::bytes(most)
        );
        let output = output_size.unwrap_or(self.chunk());
        let short = |len: u64| u32::try_from(len).context("a range has at most 4294967295 bytes");
        let (output, chunk) = (short(output)?, short(seen)?);
        let (ranges, next) = Streaming::ranges(room.start, self.in_flight(), output, chunk);
        if next > room.end {
            let need = report::bytes(next - room.start);
            let have = report::bytes(room.end.saturating_sub(room.start));
            bail!(
                "{} chunks in flight, with their outputs, need {need} of device memory, there are {have}; use a smaller --chunk, --in-flight or --output-size",
                self.in_flight()
            );
        }
        Ok(ranges)
    }

    /// The execution for bytes from a first block on; each chunk in flight has a part of them.
    pub(crate) fn streaming(
        &self,
        invocation: &Invocation,
        (first, bytes): (u64, u64),
        block: u64,
    ) -> Streaming {
        let chunk_blocks = (self.chunk() / block) as u32;
        let blocks = (first, bytes.div_ceil(block));
        Streaming {
            early: self.early,
            overlap: self.overlap.map(|overlap| (overlap / block) as u32),
            cut: (blocks.1.saturating_mul(block) - bytes) as u32,
            ..Streaming::divided(invocation.clone(), blocks, chunk_blocks, self.in_flight())
        }
    }
}

//! Streaming executions.

use std::collections::VecDeque;

use nvme_spec::command::{CopySourceBlocks, stream_flags};
use zerocopy::IntoBytes;

use super::programs::{EXECUTE, Invocation};
use super::{Drive, DriveError, DriveResult, succeeded};
use crate::commands;
use crate::transport::{Command, Submit, Ticket};

/// Ranges that are laid out here begin at multiples of it.
const RANGE_ALIGNMENT: u64 = 4096;

/// An execution that processes long extents of blocks, chunk by chunk, through device memory (vendor specific).
///
/// Each chunk in flight, a slot, walks extents of its own, and has as many ranges of the range set as there are for each of them:
/// the first receives the output of a chunk, the second has the chunk.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Streaming {
    /// The program, with a range set of `slots` x `ranges of a slot` ranges, and no ranges of its own.
    pub invocation: Invocation,
    /// Blocks of a chunk; the last of a slot may be shorter.
    pub chunk_blocks: u32,
    /// For each slot, first block and number of blocks of its extents.
    pub inputs: Vec<Vec<(u64, u64)>>,
    /// The same for what the program returns as a number of blocks; `None` = the output stays in device memory, and what the
    /// program returns is added up.
    pub outputs: Option<Vec<Vec<(u64, u64)>>>,
    /// Runs begin on the first pages of their chunks, while later ones are on their way to device memory.
    pub early: bool,
    /// For records that cross chunks. The inputs, slot after slot, are one input; a run also sees so many blocks of it behind its
    /// chunk, in the same range, and the program's data begins with a [`ChunkHeader`](nvme_spec::command::ChunkHeader).
    pub overlap: Option<u32>,
    /// Bytes of the last block of the inputs that do not belong to the input: programs do not see them.
    pub cut: u32,
}

impl Streaming {
    /// So many blocks from a first one on, divided among so many chunks in flight: each has whole chunks, but for the last. What the
    /// program returns is added up.
    pub fn divided(
        invocation: Invocation,
        blocks: (u64, u64),
        chunk_blocks: u32,
        in_flight: u64,
    ) -> Self {
        Self::divided_extents(invocation, &[blocks], chunk_blocks, in_flight)
    }

    /// As [`Self::divided`], for an input in several extents: first block and number of blocks of each.
    pub fn divided_extents(
        invocation: Invocation,
        extents: &[(u64, u64)],
        chunk_blocks: u32,
        in_flight: u64,
    ) -> Self {
        let blocks = extents.iter().fold(0u64, |sum, (_, count)| sum.saturating_add(*count));
        let chunk = u64::from(chunk_blocks.max(1));
        let each = blocks.div_ceil(chunk).div_ceil(in_flight.max(1)).saturating_mul(chunk);
        let mut left: VecDeque<_> =
            extents.iter().copied().filter(|(_, count)| *count > 0).collect();
        let mut part = || {
            let taken = first_blocks(left.iter().copied(), each);
            for (start, count) in &taken {
                let end = start.saturating_add(*count);
                if let Some((_, of)) = left.pop_front()
                    && *count < of
                {
                    left.push_front((end, of - count));
                }
            }
            taken
        };
        let inputs = (0..in_flight).map(|_| part()).collect();
        Self { invocation, chunk_blocks, inputs, ..Self::default() }
    }

    /// Ranges for so many chunks in flight, an output and a chunk for each, one behind the other in device memory; and where what
    /// comes next may begin.
    pub fn ranges(start: u64, in_flight: u64, output: u32, chunk: u32) -> (Vec<(u64, u32)>, u64) {
        let mut next = start;
        let mut ranges = Vec::new();
        for len in (0..in_flight).flat_map(|_| [output, chunk]) {
            ranges.push((next, len));
            next = (next + u64::from(len)).next_multiple_of(RANGE_ALIGNMENT);
        }
        (ranges, next)
    }

    /// Which part of the whole input each slot has; `see` gets the blocks that a slot sees behind its own.
    fn parts(&self, mut see: impl FnMut(usize, &[(u64, u64)])) -> Vec<u32> {
        let overlap = self.overlap.unwrap_or(0);
        let count = |extents: &[(u64, u64)]| {
            extents.iter().fold(0u64, |sum, (_, count)| sum.wrapping_add(*count))
        };
        let mut words = vec![overlap];
        let mut before = 0u64;
        for (n, slot) in self.inputs.iter().enumerate() {
            let later = &self.inputs[n + 1..];
            let behind = first_blocks(later.iter().flatten().copied(), overlap.into());
            let trailing = count(&behind);
            let all_later = later.iter().fold(0u64, |sum, slot| sum.wrapping_add(count(slot)));
            let cut = if trailing == all_later { self.cut } else { 0 };
            words.extend([trailing as u32, before as u32, (before >> 32) as u32, cut]);
            before = before.wrapping_add(count(slot));
            see(n, &behind);
        }
        words
    }

    /// Numbers, then extents, as CEMU lays them out.
    fn layout(&self, nsid: u32) -> Vec<u8> {
        let entries = |slots: &[Vec<(u64, u64)>]| -> Vec<Vec<CopySourceBlocks>> {
            slots.iter().map(|extents| pieces(nsid, extents)).collect()
        };
        let mut how = usize::from(self.outputs.is_some());
        if self.early {
            how |= stream_flags::EARLY;
        }
        let mut inputs = entries(&self.inputs);
        let mut parts = Vec::new();
        if self.overlap.is_some() || self.cut > 0 {
            how |= stream_flags::PARTS;
            parts = self.parts(|n, behind| inputs[n].extend(pieces(nsid, behind)));
        }
        if self.overlap.is_some() {
            how |= stream_flags::HEADER;
        }
        let outputs = self.outputs.as_deref().map(entries);
        let sum = |slots: &[Vec<CopySourceBlocks>]| slots.iter().map(Vec::len).sum::<usize>();
        let mut words = vec![inputs.len(), how, sum(&inputs)];
        words.push(outputs.as_deref().map_or(0, sum));
        let all = || inputs.iter().chain(outputs.iter().flatten());
        words.extend(all().map(Vec::len));
        let words = words.iter().map(|word| *word as u32).chain(parts);
        let words = words.flat_map(u32::to_le_bytes);
        words.chain(all().flatten().flat_map(|entry| entry.as_bytes().to_vec())).collect()
    }
}

/// The first blocks of some extents, so many or what there is.
fn first_blocks(extents: impl Iterator<Item = (u64, u64)>, mut blocks: u64) -> Vec<(u64, u64)> {
    let mut first = Vec::new();
    for (start, count) in extents {
        let count = count.min(blocks);
        if count > 0 {
            first.push((start, count));
        }
        blocks -= count;
    }
    first
}

/// Source entries of extents.
fn pieces(nsid: u32, extents: &[(u64, u64)]) -> Vec<CopySourceBlocks> {
    let pieces = extents.iter().flat_map(|(first, count)| commands::copy_sources(*first, *count));
    pieces.map(|piece| CopySourceBlocks { snsid: nsid.into(), ..piece }).collect()
}

impl<T: Submit> Drive<T> {
    /// Processes extents of blocks chunk by chunk; returns the sum of what the program returned.
    ///
    /// # Errors
    /// If the drive refuses, or a step of a chunk fails; the detail says which, and where.
    pub fn execute_stream(&mut self, streaming: &Streaming) -> DriveResult<u64> {
        let ticket = self.start_stream(streaming)?;
        let done = self.wait_for(ticket)?;
        let done =
            self.with_detail(succeeded(EXECUTE, done), |drive, _| drive.step_diagnostics())?;
        Ok(done.result)
    }

    /// Starts a streaming execution; [`Self::wait`] gives its completion, whose result is the sum of what the program returned.
    ///
    /// # Errors
    /// If the invocation has ranges, if no drive has these blocks or no command can name them all, or if the drive is gone.
    pub fn start_stream(&mut self, streaming: &Streaming) -> DriveResult<Ticket> {
        let command = self.stream_command(streaming)?;
        self.start(command)
    }

    /// A streaming execution, not yet sent; [`Self::start`] sends it.
    ///
    /// # Errors
    /// If the invocation has ranges, or if no drive has these blocks or no command can name them all.
    pub fn stream_command(&self, streaming: &Streaming) -> DriveResult<Command> {
        if !streaming.invocation.ranges.is_empty() {
            return Err(DriveError::RangesOfStream(streaming.invocation.ranges.len()));
        }
        // Before there is a list of them: extents may be as long as numbers go.
        let mut entries = 0u64;
        for &(first, count) in
            streaming.inputs.iter().chain(streaming.outputs.iter().flatten()).flatten()
        {
            self.check_blocks(first, count)?;
            entries = entries.saturating_add(commands::copy_sources_len(count));
        }
        self.check_execution_data(entries.saturating_mul(size_of::<CopySourceBlocks>() as u64))?;
        let mut data = streaming.layout(self.geometry.namespaces.nvm);
        data.extend(&streaming.invocation.data);
        let chunk = streaming.chunk_blocks;
        self.execution(&streaming.invocation, data, |entry| commands::streaming(entry, chunk))
    }
}

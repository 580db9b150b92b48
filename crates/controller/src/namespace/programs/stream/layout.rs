//! The data buffer of a streaming execution.

use std::collections::VecDeque;

use nvme_spec::Status;
use nvme_spec::command::{CopySourceBlocks, stream_flags};
use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use super::{Slot, bytes_of};
use crate::limits::{STREAM_EXTENTS_MAX, STREAM_SLOTS_MAX};
use crate::namespace::nvm::waiting::Source;
use crate::namespace::nvm::{resolve_blocks, resolve_extent};
use crate::turn::Turn;

/// Words that say for a slot which part of the whole input it has: blocks at its end that are only seen behind its last chunk; its
/// first block, counted in the whole input, in two words; bytes at its end that do not belong to the input.
const PART_WORDS: usize = 4;

/// The data buffer of the command, as CEMU lays it out: numbers, then extents.
pub(super) struct Layout {
    /// Bytes that it takes.
    pub(super) bytes: usize,
    pub(super) slots: Vec<Slot>,
    pub(super) is_early: bool,
    pub(super) overlap: u64,
    pub(super) has_header: bool,
    pub(super) input_block: u64,
    pub(super) output_block: Option<u64>,
}

impl Layout {
    pub(super) fn read(turn: &Turn<'_>, data: &[u8]) -> Result<Self, Status> {
        const EXTENT: usize = size_of::<CopySourceBlocks>();
        let invalid = Status::INVALID_FIELD.with_dnr();
        let word = |n: usize| {
            let (word, _) = U32::read_from_prefix(data.get(4 * n..)?).ok()?;
            Some(word.get() as usize)
        };
        let word = |n| word(n).ok_or(invalid);
        let (slots, how, inputs, outputs) = (word(0)?, word(1)?, word(2)?, word(3)?);
        let to_flash = how & stream_flags::DESTINATION;
        let is_early = how & stream_flags::EARLY != 0;
        let has_parts = how & stream_flags::PARTS != 0;
        let has_header = how & stream_flags::HEADER != 0;
        if how & !stream_flags::ALL != 0 {
            return Err(invalid);
        }
        if !(1..=STREAM_SLOTS_MAX).contains(&slots) || to_flash > 1 {
            return Err(invalid);
        }
        if inputs > STREAM_EXTENTS_MAX || outputs > STREAM_EXTENTS_MAX {
            return Err(Status::COMMAND_SIZE_LIMIT_EXCEEDED.with_dnr());
        }
        let counts = |from: usize, sum: usize| {
            let counts = (from..from + slots).map(word).collect::<Result<Vec<_>, Status>>()?;
            let is_sum = counts.iter().try_fold(0usize, |all, n| all.checked_add(*n)) == Some(sum);
            if is_sum { Ok(counts) } else { Err(invalid) }
        };
        let input_counts = counts(4, inputs)?;
        let output_counts = match to_flash {
            0 if outputs > 0 => return Err(invalid),
            0 => vec![0; slots],
            _ => counts(4 + slots, outputs)?,
        };
        let mut start = 4 + slots * (1 + to_flash);
        let parts = start;
        if has_parts {
            start += 1 + PART_WORDS * slots;
        }
        let start = 4 * start;
        let bytes = start + EXTENT * (inputs + outputs);
        let list = data.get(start..bytes).ok_or(invalid)?;
        let mut extents =
            list.chunks_exact(EXTENT).enumerate().map(|(n, entry)| match n < inputs {
                true => resolve_blocks(turn, entry, None),
                false => resolve_extent(turn, entry, None),
            });
        let mut read = |counts: &[usize]| {
            counts
                .iter()
                .map(|count| extents.by_ref().take(*count).collect())
                .collect::<Result<Vec<VecDeque<Source>>, Status>>()
        };
        let (read_inputs, read_outputs) = (read(&input_counts)?, read(&output_counts)?);
        check_distinct(&read_inputs, &read_outputs)?;
        let input_block = block_of(turn, &read_inputs)?.ok_or(invalid)?;
        let output_block = match to_flash {
            0 => None,
            _ => Some(block_of(turn, &read_outputs)?.ok_or(invalid)?),
        };
        for output in read_outputs.iter().flatten() {
            let namespace = turn.subsystem.namespaces.nvm(output.nsid);
            namespace.expect("it was resolved").check_writable()?;
        }
        let overlap = if has_parts { word(parts)? as u64 * input_block } else { 0 };
        let slot = |(n, (inputs, outputs)): (usize, (VecDeque<Source>, _))| {
            let (mut trailing, mut position, mut cut) = (0, 0, 0);
            if has_parts {
                let of_slot = parts + 1 + PART_WORDS * n;
                trailing = word(of_slot)? as u64 * input_block;
                let blocks = word(of_slot + 1)? as u64 | (word(of_slot + 2)? as u64) << 32;
                position = blocks.checked_mul(input_block).ok_or(invalid)?;
                cut = word(of_slot + 3)? as u64;
            }
            let input = bytes_of(&inputs);
            if trailing > input || cut >= input_block || position.checked_add(input).is_none() {
                return Err(invalid);
            }
            Ok(Slot { trailing, position, cut, ..Slot::new(inputs, outputs, input - trailing) })
        };
        let slots = read_inputs.into_iter().zip(read_outputs).enumerate().map(slot);
        let slots = slots.collect::<Result<_, Status>>()?;
        Ok(Self { bytes, slots, is_early, overlap, has_header, input_block, output_block })
    }
}

/// Nothing is written twice, or read and written: which came first would depend on the time that steps take.
fn check_distinct(inputs: &[VecDeque<Source>], outputs: &[VecDeque<Source>]) -> Result<(), Status> {
    let all = |lists: &[VecDeque<Source>], is_written: bool| {
        let entry =
            |source: &Source| (source.nsid, source.extent.start, source.extent.end(), is_written);
        lists.iter().flatten().map(entry).collect::<Vec<_>>()
    };
    let mut extents = all(inputs, false);
    extents.extend(all(outputs, true));
    extents.sort_unstable();
    // Where the blocks end that were read, and those that were written, of the namespace so far.
    let (mut of, mut read, mut written) = (None, 0, 0);
    for (nsid, start, end, is_written) in extents {
        if of != Some(nsid) {
            (of, read, written) = (Some(nsid), 0, 0);
        }
        if start < written || is_written && start < read {
            return Err(Status::OVERLAPPING_IO_RANGE.with_dnr());
        }
        let last = if is_written { &mut written } else { &mut read };
        *last = end.max(*last);
    }
    Ok(())
}

/// Bytes of a block of some extents, which must be the same everywhere; `None` without extents.
fn block_of(turn: &Turn<'_>, extents: &[VecDeque<Source>]) -> Result<Option<u64>, Status> {
    let mut block = None;
    for source in extents.iter().flatten() {
        let namespace = turn.subsystem.namespaces.nvm(source.nsid).expect("it was resolved");
        let own = u64::from(namespace.block_bytes);
        if *block.get_or_insert(own) != own {
            return Err(Status::INCOMPATIBLE_NAMESPACE.with_dnr());
        }
    }
    Ok(block)
}

//! An operation: its steps, and the commands of each.

use client::{
    Command, Drive, DriveResult, Invocation, MEMORY_COMMAND_BYTES_MAX, Streaming, Submit,
};
use simtime::Instant;

use crate::access::Place;
use crate::file::{Input, Output};
use crate::plan::{Compound, Execution, Work};
use crate::prepare::{Prepared, Slot};

/// What writes consist of.
pub(crate) const FILLER: u8 = 0x5A;

/// What an operation does before it goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Blocks between flash and host.
    Blocks,
    /// A processor of the host works.
    Compute,
    /// The input comes to device memory.
    Input,
    /// The program runs.
    Program,
    /// The output leaves device memory.
    Output,
}

/// The steps of every operation of a job.
pub(crate) fn steps(work: &Work) -> Vec<Step> {
    match work {
        Work::Blocks => vec![Step::Blocks],
        Work::OnHost { .. } => vec![Step::Blocks, Step::Compute],
        Work::OnDrive(execution) => {
            let mut steps = vec![Step::Program];
            if execution.has_input_step() {
                steps.insert(0, Step::Input);
            }
            // A streaming execution writes its output itself.
            if execution.stream.is_none() && execution.has_output_step() {
                steps.push(Step::Output);
            }
            steps
        }
    }
}

/// An operation under way.
#[derive(Debug)]
pub(crate) struct Operation {
    /// Of which clone of which job on which drive.
    pub(crate) instance: usize,
    /// Its number among those in flight of the instance.
    pub(crate) slot: Option<usize>,
    pub(crate) place: Place,
    pub(crate) arrived: Instant,
    /// When its first command was sent.
    pub(crate) begun: Option<Instant>,
    /// Number of the step.
    pub(crate) step: usize,
    pub(crate) step_began: Instant,
    /// Commands of the step that are not sent, the last first; and how many have not completed.
    pub(crate) unsent: Vec<Command>,
    pub(crate) left: usize,
    /// Where its output goes on the flash.
    pub(crate) output_at: u64,
}

/// The commands of a step.
pub(crate) fn commands<T: Submit>(
    drive: &Drive<T>,
    step: Step,
    operation: &Operation,
    work: &Work,
    prepared: &Prepared,
    slot: Slot,
) -> DriveResult<Vec<Command>> {
    let block = drive.block_bytes();
    let Place { is_read, offset, bytes } = operation.place;
    // Data that a command can carry, in whole blocks.
    let most = drive.geometry().transfer_bytes_max.min(drive.transport.data_bytes_max());
    let most = (most / block * block).max(block);
    let pieces = |bytes: u64, most: u64| {
        (0..bytes).step_by(most as usize).map(move |at| (at, most.min(bytes - at)))
    };
    let execution: &Execution = match (step, work) {
        (Step::Compute, _) => return Ok(Vec::new()),
        (Step::Blocks, _) => {
            return Ok(pieces(bytes, most)
                .map(|(at, len)| {
                    let first = (offset + at) / block;
                    match is_read {
                        true => drive.read_command(first, (len / block) as u32),
                        false => drive.write_command(first, vec![FILLER; len as usize]),
                    }
                })
                .collect());
        }
        (_, Work::OnDrive(execution)) => execution,
        _ => return Ok(Vec::new()),
    };
    let output = execution.output_bytes;
    match step {
        Step::Input if execution.input == Input::Flash => {
            Ok(pieces(bytes, MEMORY_COMMAND_BYTES_MAX)
                .map(|(at, len)| {
                    drive.copy_blocks_command((offset + at) / block, len / block, slot.input + at)
                })
                .collect())
        }
        Step::Input if execution.input == Input::Peer => {
            let Some(peer) = &prepared.peer else { return Ok(Vec::new()) };
            // Wherever the place would be on the flash, it is in the other's memory.
            let room = (peer.bytes - bytes.min(peer.bytes)) / 4096 * 4096 + 4096;
            let from = offset % room / 4096 * 4096;
            let piece = |(at, len): (u64, u64)| {
                let source = (peer.drive, peer.nsid);
                drive.copy_peer_command(source, from + at, len as u32, slot.input + at)
            };
            Ok(pieces(bytes.next_multiple_of(4), MEMORY_COMMAND_BYTES_MAX).map(piece).collect())
        }
        Step::Input => Ok(pieces(bytes.next_multiple_of(4), most)
            .map(|(at, len)| {
                drive.write_memory_command(
                    slot.input + at,
                    sent(&prepared.content, offset + at, len),
                )
            })
            .collect()),
        Step::Program => {
            let program = prepared.program.unwrap_or_default();
            let (param1, param2) = execution.params;
            let invocation = Invocation {
                program,
                range_set: slot.range_set,
                param1,
                param2,
                data: execution.data.clone(),
                group: prepared.group,
                ..Invocation::default()
            };
            if let Some(Compound { early }) = execution.compound {
                let is_wanted = execution.output == Output::Host;
                let compound = client::Compound {
                    program,
                    first: offset / block,
                    count: (bytes / block) as u32,
                    output: if is_wanted { output as u32 } else { 0 },
                    param1,
                    range_set: 0,
                    group: prepared.group,
                    early,
                };
                return Ok(vec![drive.compound_command(&compound)?]);
            }
            let Some(stream) = execution.stream else {
                let mut ranges = vec![(slot.output, output as u32), (slot.input, bytes as u32)];
                ranges.extend(&prepared.ranges);
                return Ok(vec![drive.execute_command(&Invocation { ranges, ..invocation })?]);
            };
            let (chunk, in_flight) = ((stream.chunk / block) as u32, u64::from(stream.in_flight));
            let blocks = (offset / block, bytes / block);
            let mut streaming = Streaming {
                early: stream.early,
                overlap: stream.overlap.map(|overlap| (overlap / block) as u32),
                ..Streaming::divided(invocation, blocks, chunk, in_flight)
            };
            if execution.output == Output::Flash {
                let each = output.div_ceil(block);
                let first = operation.output_at / block;
                let chunks = |extents: &Vec<(u64, u64)>| {
                    let blocks: u64 = extents.iter().map(|(_, count)| count).sum();
                    blocks.div_ceil(u64::from(chunk))
                };
                let mut next = first;
                let of = |extents| {
                    let blocks = chunks(extents) * each;
                    let at = next;
                    next += blocks;
                    vec![(at, blocks)]
                };
                streaming.outputs = Some(streaming.inputs.iter().map(of).collect());
            }
            Ok(vec![drive.stream_command(&streaming)?])
        }
        Step::Output if execution.output == Output::Host => {
            Ok(pieces(output.next_multiple_of(4), most)
                .map(|(at, len)| drive.read_memory_command(slot.output + at, len as u32))
                .collect())
        }
        _ => {
            let most = drive.geometry().copy_blocks_max.max(1) * block;
            Ok(pieces(output.next_multiple_of(block), most)
                .map(|(at, len)| {
                    let first = (operation.output_at + at) / block;
                    drive.copy_memory_to_blocks_command(slot.output + at, first, len / block)
                })
                .collect())
        }
    }
}

/// A part of what the host sends, which is repeated.
fn sent(content: &[u8], at: u64, len: u64) -> Vec<u8> {
    if content.is_empty() {
        return vec![FILLER; len as usize];
    }
    let first = (at % content.len() as u64) as usize;
    content.iter().copied().cycle().skip(first).take(len as usize).collect()
}

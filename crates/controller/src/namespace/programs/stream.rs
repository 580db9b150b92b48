//! Streaming execution (vendor specific): one command processes long extents of NVM namespaces, chunk by chunk, through device
//! memory.
//!
//! ```text
//! slot 0   copy in | run | write back | copy in | run | ...
//! slot 1           copy in | run | write back | ...
//! ```
//!
//! Each slot walks its own extents, and has its own group of the range set's ranges: range 0 of the group is the output, range 1
//! the input. Slots do not wait for each other, but for units, dies and links. A step of a slot is a command of the drive's own,
//! in flight like one of the host's: the same code copies, runs and writes.

use std::collections::VecDeque;
use std::sync::Arc;

use compute::GroupId;
use ebpf::Range;
use nvme_spec::command::CopySourceBlocks;
use nvme_spec::{MemoryOpcode, Nsid, NvmOpcode, ProgramOpcode, Status};
use simtime::Duration;
use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use super::execute::{Start, start_job};
use super::{ProgramLease, RangeSet};
use crate::command::{ExecuteProgram, StreamProgram};
use crate::data_pointer::Segments;
use crate::event::Tag;
use crate::extent::Extent;
use crate::inflight::{Ending, InFlight, Kind, Step};
use crate::limits::{
    MEMORY_COMMAND_BYTES_MAX, STREAM_EXTENTS_MAX, STREAM_SLOTS_MAX, STREAM_WRITE_BYTES_MAX,
    STREAMS_MAX,
};
use crate::namespace::memory::waiting::MemoryWait;
use crate::namespace::nvm::waiting::{NvmArrival, Source, Target};
use crate::namespace::nvm::{resolve_blocks, resolve_extent};
use crate::turn::{Turn, abandon};
use crate::waiting::{Arrival, Waiting};

/// A streaming execution under way.
#[derive(Debug)]
pub(crate) struct Stream {
    command: ExecuteProgram,
    lease: ProgramLease,
    set: Arc<RangeSet>,
    /// What the program gets besides its ranges.
    data: Vec<u8>,
    chunk_bytes: u64,
    /// Bytes of a block of the output; `None` = what programs produce stays in device memory.
    output_block: Option<u64>,
    slots: Vec<Slot>,
    /// The sum of what the program returned.
    result: u64,
    /// How late the latest of its steps was.
    late: Duration,
}

/// A chunk in flight, and the extents that it walks.
#[derive(Debug)]
struct Slot {
    inputs: VecDeque<Source>,
    outputs: VecDeque<Source>,
    /// The blocks of the chunk.
    chunk: Vec<Source>,
    /// Bytes of its output that are to be written, and where they begin.
    unwritten: Extent,
    step: Option<(Stage, Tag)>,
}

/// What is done with a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    CopyIn,
    Run,
    WriteBack,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::CopyIn => "copying it to device memory",
            Self::Run => "running the program on it",
            Self::WriteBack => "writing back what the program produced",
        }
    }
}

impl Stream {
    /// The steps that are under way.
    pub(crate) fn steps(&self) -> impl Iterator<Item = Tag> + '_ {
        self.slots.iter().filter_map(|slot| slot.step.map(|(_, tag)| tag))
    }

    /// True if it reads or writes blocks of one of these namespaces.
    pub(crate) fn uses(&self, nsids: &[Nsid]) -> bool {
        let of_slot = |slot: &Slot| {
            let blocks = slot.inputs.iter().chain(&slot.outputs).chain(&slot.chunk);
            blocks.into_iter().any(|source| nsids.contains(&source.nsid))
        };
        self.slots.iter().any(of_slot)
    }
}

/// The command's data has arrived: begins the first chunk of each slot.
pub(super) fn begin(
    turn: &mut Turn<'_>,
    tag: Tag,
    segments: &Segments,
    StreamProgram { execute, chunk_blocks }: StreamProgram,
    lease: ProgramLease,
    set: Arc<RangeSet>,
) -> Result<(), Status> {
    let is_stream = |command: &InFlight<Waiting>| matches!(command.waiting, Waiting::Stream(_));
    if turn.session.inflight.tags(is_stream).len() >= STREAMS_MAX {
        return Err(Status::INSUFFICIENT_PROGRAM_RESOURCES);
    }
    let mut data = vec![0; execute.data_len as usize];
    segments.read(&*turn.host, &mut data)?;
    let layout = Layout::read(turn, &data)?;
    let mut stream = Stream {
        command: execute,
        lease,
        data: data.split_off(layout.bytes),
        chunk_bytes: u64::from(chunk_blocks) * layout.input_block,
        output_block: layout.output_block,
        slots: layout.slots,
        result: 0,
        late: Duration::ZERO,
        set,
    };
    stream.check()?;
    for n in 0..stream.slots.len() {
        next_chunk(turn, tag, &mut stream, n);
    }
    go_on(turn, tag, stream);
    Ok(())
}

impl Stream {
    /// The ranges of each slot are there, and can hold a chunk.
    fn check(&self) -> Result<(), Status> {
        let (slots, ranges) = (self.slots.len(), self.set.ranges.len());
        let of_slot = ranges / slots;
        if of_slot < 2 || ranges % slots != 0 {
            return Err(Status::INVALID_MEMORY_RANGE_SET.with_dnr());
        }
        if self.chunk_bytes == 0 || self.chunk_bytes * slots as u64 > MEMORY_COMMAND_BYTES_MAX {
            return Err(Status::COMMAND_SIZE_LIMIT_EXCEEDED.with_dnr());
        }
        let is_short = |ranges: &[Range]| ranges[1].len < self.chunk_bytes;
        if self.set.ranges.chunks(of_slot).any(is_short) {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        Ok(())
    }

    /// The ranges of a slot, by their places in the set: its output, its chunk, and whatever else there is.
    fn ranges_of(&self, n: usize) -> core::ops::Range<usize> {
        let of_slot = self.set.ranges.len() / self.slots.len();
        n * of_slot..(n + 1) * of_slot
    }
}

/// The command waits for the steps that are under way, or is over.
fn go_on(turn: &mut Turn<'_>, tag: Tag, stream: Stream) {
    if stream.steps().next().is_some() {
        return turn.wait(tag, Waiting::Stream(Box::new(stream)));
    }
    end(turn, tag, stream.late, (Status::SUCCESS, stream.result));
}

/// The command is over. Its stages overlap: all of its time counts as computing.
fn end(turn: &mut Turn<'_>, tag: Tag, late: Duration, (status, result): (Status, u64)) {
    let now = turn.now;
    if let Some(command) = turn.command(tag) {
        command.late = late;
        command.end_stage(now, records::Stage::Compute);
    }
    turn.complete(tag, status, result);
}

/// Puts a step of a slot into flight.
fn begin_step(
    turn: &mut Turn<'_>,
    parent: Tag,
    stream: &mut Stream,
    n: usize,
    (stage, kind): (Stage, Kind),
) -> Tag {
    let tag = turn.session.inflight.insert_step(Step { parent, slot: n as u32 }, kind);
    stream.slots[n].step = Some((stage, tag));
    tag
}

/// Copies the next chunk of a slot to device memory, if there is one.
fn next_chunk(turn: &mut Turn<'_>, parent: Tag, stream: &mut Stream, n: usize) {
    let input = stream.ranges_of(n).start + 1;
    let slot = &mut stream.slots[n];
    slot.chunk = take(&mut slot.inputs, stream.chunk_bytes);
    if slot.chunk.is_empty() {
        return;
    }
    let sources = slot.chunk.clone();
    let (target, nsid) = (stream.set.ranges[input].offset, stream.set.nsids[input]);
    let kind = Kind { opcode: MemoryOpcode::COPY.0, nsid };
    let tag = begin_step(turn, parent, stream, n, (Stage::CopyIn, kind));
    let (pages_left, link_end) = (turn.source_pages(&sources), turn.now);
    let waiting = MemoryWait::Copying { target, sources: sources.clone(), pages_left, link_end };
    turn.wait(tag, Waiting::Memory(waiting));
    turn.read_sources(tag, &sources);
}

/// Takes so many bytes from the front of some extents, or what there is.
fn take(extents: &mut VecDeque<Source>, mut bytes: u64) -> Vec<Source> {
    let mut taken = Vec::new();
    while bytes > 0
        && let Some(first) = extents.front_mut()
    {
        let len = first.extent.len.min(bytes);
        let start = first.extent.start;
        taken.push(Source { nsid: first.nsid, extent: Extent { start, len } });
        first.extent = Extent { start: start + len, len: first.extent.len - len };
        bytes -= len;
        if first.extent.len == 0 {
            extents.pop_front();
        }
    }
    taken
}

/// A chunk is in device memory: the program runs on it.
fn run(
    turn: &mut Turn<'_>,
    parent: Tag,
    nsid: Nsid,
    stream: &mut Stream,
    n: usize,
) -> Result<(), Status> {
    let mut ranges = stream.set.ranges[stream.ranges_of(n)].to_vec();
    // The last chunk may be shorter.
    ranges[1].len = stream.slots[n].chunk.iter().map(|source| source.extent.len).sum();
    let start = Start {
        program_index: stream.command.program_index,
        param1: stream.command.param1,
        param2: stream.command.param2,
        group: GroupId(stream.command.group),
        run_time: stream.command.run_time,
        ranges,
        data: stream.data.clone(),
        lease: stream.lease.clone(),
        set: Some(Arc::clone(&stream.set)),
    };
    let kind = Kind { opcode: ProgramOpcode::EXECUTE.0, nsid };
    let tag = begin_step(turn, parent, stream, n, (Stage::Run, kind));
    start_job(turn, tag, nsid, start)
}

/// The program returned: what it produced is written back, if it is to be.
fn ran(
    turn: &mut Turn<'_>,
    parent: Tag,
    stream: &mut Stream,
    n: usize,
    result: u64,
) -> Result<(), Status> {
    stream.result = stream.result.wrapping_add(result);
    let Some(block) = stream.output_block else {
        next_chunk(turn, parent, stream, n);
        return Ok(());
    };
    let range = &stream.set.ranges[stream.ranges_of(n).start];
    let slot = &mut stream.slots[n];
    let room: u64 = slot.outputs.iter().map(|output| output.extent.len).sum();
    let bytes = result.checked_mul(block).filter(|bytes| *bytes <= range.len.min(room));
    let bytes = bytes.ok_or(Status::CAPACITY_EXCEEDED.with_dnr())?;
    slot.unwritten = Extent { start: range.offset, len: bytes };
    after_output(turn, parent, stream, n)
}

/// Writes more of a chunk's output, or goes on with the next chunk.
fn after_output(
    turn: &mut Turn<'_>,
    parent: Tag,
    stream: &mut Stream,
    n: usize,
) -> Result<(), Status> {
    let output = stream.ranges_of(n).start;
    let slot = &mut stream.slots[n];
    let Extent { start, len } = slot.unwritten;
    let first = slot.outputs.front().map_or(0, |output| output.extent.len);
    let written = take(&mut slot.outputs, len.min(first).min(STREAM_WRITE_BYTES_MAX));
    let Some(target) = written.first() else {
        next_chunk(turn, parent, stream, n);
        return Ok(());
    };
    let namespace = turn.subsystem.namespaces.nvm(target.nsid);
    namespace.ok_or(Status::INVALID_NAMESPACE.with_dnr())?.check_writable()?;
    let part = target.extent.len;
    slot.unwritten = Extent { start: start + part, len: len - part };
    let from = Extent { start, len: part };
    let sources = vec![Source { nsid: stream.set.nsids[output], extent: from }];
    let kind = Kind { opcode: NvmOpcode::COPY.0, nsid: target.nsid };
    let target = Target { extent: target.extent, fua: false };
    let tag = begin_step(turn, parent, stream, n, (Stage::WriteBack, kind));
    turn.expect_internal(tag, part, Arrival::Nvm(NvmArrival::Memory { sources, target }));
    Ok(())
}

/// A step has ended: the slot goes on, or the whole command ends with the step's error.
pub(crate) fn step_ended(turn: &mut Turn<'_>, Step { parent, slot }: Step, ending: &Ending) {
    let Some(command) = turn.command(parent) else { return };
    if !matches!(command.waiting, Waiting::Stream(_)) {
        return;
    }
    let nsid = command.kind.nsid;
    let Waiting::Stream(mut stream) = command.take_waiting() else { return };
    let n = slot as usize;
    let Some((stage, _)) = stream.slots[n].step.take() else { return };
    stream.late = stream.late.max(ending.late);
    let (at, done) = match stage {
        _ if !ending.status.is_success() => (stage, Err(ending.status)),
        Stage::CopyIn => (Stage::Run, run(turn, parent, nsid, &mut stream, n)),
        Stage::Run => (Stage::Run, ran(turn, parent, &mut stream, n, ending.result)),
        Stage::WriteBack => (Stage::WriteBack, after_output(turn, parent, &mut stream, n)),
    };
    match done {
        Ok(()) => go_on(turn, parent, *stream),
        Err(status) => fail(turn, parent, nsid, stream, (n, at), status),
    }
}

/// Ends the command with the error of a step, and forgets the others.
fn fail(
    turn: &mut Turn<'_>,
    parent: Tag,
    nsid: Nsid,
    stream: Box<Stream>,
    (n, stage): (usize, Stage),
    status: Status,
) {
    let blocks = stream.slots[n].chunk.first();
    let place = blocks.map_or_else(String::new, |Source { nsid, extent }| {
        let namespace = turn.subsystem.namespaces.nvm(*nsid);
        let block = namespace.map_or(1, |namespace| u64::from(namespace.block_bytes));
        format!(" (from block {} of namespace {})", extent.start / block, nsid.0)
    });
    if let Some(namespace) = turn.subsystem.namespaces.programs_mut(nsid) {
        // What stopped a program is in the log already.
        let why = Some(namespace.text.diagnostics_text());
        let why = why.filter(|text| stage == Stage::Run && !text.is_empty());
        let why = why.unwrap_or_else(|| status.name().to_owned());
        let what = stage.name();
        let text = format!("the chunk of slot {n}{place}: {what}: {why}");
        namespace.text.set_diagnostics(u16::MAX, &text);
    }
    let late = stream.late;
    turn.wait(parent, Waiting::Stream(stream));
    abandon(turn.now, turn.session, turn.subsystem, parent);
    turn.session.has_abandoned = true;
    turn.forget_abandoned();
    end(turn, parent, late, (status, 0));
}

/// The data buffer of the command, as CEMU lays it out: numbers, then extents.
struct Layout {
    /// Bytes that it takes.
    bytes: usize,
    slots: Vec<Slot>,
    input_block: u64,
    output_block: Option<u64>,
}

impl Layout {
    fn read(turn: &Turn<'_>, data: &[u8]) -> Result<Self, Status> {
        const EXTENT: usize = size_of::<CopySourceBlocks>();
        let invalid = Status::INVALID_FIELD.with_dnr();
        let word = |n: usize| {
            let (word, _) = U32::read_from_prefix(data.get(4 * n..)?).ok()?;
            Some(word.get() as usize)
        };
        let word = |n| word(n).ok_or(invalid);
        let (slots, to_flash, inputs, outputs) = (word(0)?, word(1)?, word(2)?, word(3)?);
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
        let start = 4 * (4 + slots * (1 + to_flash));
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
        let slot = |(inputs, outputs)| Slot {
            inputs,
            outputs,
            chunk: Vec::new(),
            unwritten: Extent { start: 0, len: 0 },
            step: None,
        };
        let slots = read_inputs.into_iter().zip(read_outputs).map(slot).collect();
        Ok(Self { bytes, slots, input_block, output_block })
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

//! Streaming execution (vendor specific): one command processes long extents of NVM namespaces, chunk by chunk, through device
//! memory.
//!
//! ```text
//! slot 0   copy in | run | write back | copy in | run | ...
//! slot 1           copy in | run | write back | ...
//! ```
//!
//! A run may begin on the first pages of its chunk, and a chunk may be followed by the first blocks of the next one, so that
//! records that begin in it are whole (`nvme_spec::command::stream_flags`). Each slot walks its own extents, and has its own
//! group of the range set's ranges: range 0 of the group is the output, range 1 the input. Slots do not wait for each other, but
//! for units, dies and links. A step of a slot is a command of the drive's own, in flight like one of the host's: the same code
//! copies, runs and writes.

pub(super) mod compound;
mod layout;

use std::collections::VecDeque;
use std::sync::Arc;

use compute::GroupId;
use ebpf::Range;
use layout::Layout;
use nvme_spec::command::ChunkHeader;
use nvme_spec::{MemoryOpcode, Nsid, NvmOpcode, ProgramOpcode, Status};
use simtime::Duration;
use zerocopy::IntoBytes;

use super::early::PageOrder;
use super::execute::{Start, start_job};
use super::{ProgramLease, RangeSet};
use crate::command::{ExecuteProgram, StreamProgram};
use crate::data_pointer::Segments;
use crate::event::Tag;
use crate::extent::Extent;
use crate::inflight::{Ending, InFlight, Kind, Step};
use crate::limits::{MEMORY_COMMAND_BYTES_MAX, STREAM_WRITE_BYTES_MAX, STREAMS_MAX};
use crate::namespace::memory::waiting::{Destination, MemoryWait};
use crate::namespace::nvm::waiting::{NvmArrival, Source, Target};
use crate::turn::{Turn, abandon};
use crate::waiting::{Arrival, Waiting};

/// A streaming execution under way.
#[derive(Debug)]
pub(crate) struct Stream {
    command: ExecuteProgram,
    lease: ProgramLease,
    set: Arc<RangeSet>,
    /// The host's range set of a compound execution: it is in use.
    #[expect(dead_code, reason = "counted, not read")]
    more: Option<Arc<RangeSet>>,
    /// What the program gets besides its ranges.
    data: Vec<u8>,
    chunk_bytes: u64,
    /// Runs may begin on the first pages of their chunks.
    is_early: bool,
    /// Bytes behind each chunk that its run sees besides.
    overlap: u64,
    /// Runs are told of it.
    has_header: bool,
    /// The output of a compound execution goes to the host: where, and how many bytes.
    to_host: Option<(Segments, u64)>,
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
    /// Bytes of its input that are still to be chunks; what follows them is only seen behind its last chunk.
    left: u64,
    /// How many bytes that is.
    trailing: u64,
    /// Where in the whole input the next chunk begins.
    position: u64,
    /// Bytes at the end of what it sees that do not belong to the input: it ends within a block.
    cut: u64,
    /// The run of the chunk begins on its first pages.
    is_early: bool,
    /// The blocks of the chunk, and what is seen behind it.
    chunk: Vec<Source>,
    /// Where in the whole input the chunk begins, and its bytes.
    own: Extent,
    /// Bytes of its output that are to be written, and where they begin.
    unwritten: Extent,
    /// The step that copies it.
    copying: Option<Tag>,
    /// The step that runs or writes back.
    step: Option<(Stage, Tag)>,
}

impl Slot {
    /// With so many bytes to be chunks, of extents that it reads.
    fn new(inputs: VecDeque<Source>, outputs: VecDeque<Source>, left: u64) -> Self {
        let none = Extent { start: 0, len: 0 };
        Self {
            inputs,
            outputs,
            left,
            trailing: 0,
            position: 0,
            cut: 0,
            is_early: false,
            chunk: Vec::new(),
            own: none,
            unwritten: none,
            copying: None,
            step: None,
        }
    }
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
        let of_slot = |slot: &Slot| [slot.copying, slot.step.map(|(_, tag)| tag)];
        self.slots.iter().flat_map(of_slot).flatten()
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
    let is_stream = |command: &InFlight<Waiting>| match &command.waiting {
        Waiting::Stream(stream) => stream.to_host.is_none(),
        _ => false,
    };
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
        is_early: layout.is_early,
        overlap: layout.overlap,
        has_header: layout.has_header,
        to_host: None,
        output_block: layout.output_block,
        slots: layout.slots,
        result: 0,
        late: Duration::ZERO,
        more: None,
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
        let bytes = self.chunk_bytes + self.overlap;
        if self.chunk_bytes == 0 || bytes * slots as u64 > MEMORY_COMMAND_BYTES_MAX {
            return Err(Status::COMMAND_SIZE_LIMIT_EXCEEDED.with_dnr());
        }
        let is_short = |ranges: &[Range]| ranges[1].len < bytes;
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
    let Stream { late, result, to_host, set, .. } = stream;
    match to_host {
        Some((segments, len)) if len > 0 => {
            compound::send_output(turn, tag, &set.ranges[0], &segments, late, result);
        }
        _ => end(turn, tag, late, (Status::SUCCESS, result)),
    }
}

/// The command is over. Its stages overlap: all of its time counts as computing.
fn end(turn: &mut Turn<'_>, tag: Tag, late: Duration, (status, result): (Status, u64)) {
    computed(turn, tag, late);
    turn.complete(tag, status, result);
}

/// All of a command's steps are over.
fn computed(turn: &mut Turn<'_>, tag: Tag, late: Duration) {
    let now = turn.now;
    if let Some(command) = turn.command(tag) {
        command.late = late;
        command.end_stage(now, records::Stage::Compute);
    }
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
    match stage {
        Stage::CopyIn => stream.slots[n].copying = Some(tag),
        Stage::Run | Stage::WriteBack => stream.slots[n].step = Some((stage, tag)),
    }
    tag
}

/// Copies the next chunk of a slot to device memory, if there is one.
fn next_chunk(turn: &mut Turn<'_>, parent: Tag, stream: &mut Stream, n: usize) {
    let input = stream.ranges_of(n).start + 1;
    let slot = &mut stream.slots[n];
    slot.chunk = take(&mut slot.inputs, stream.chunk_bytes.min(slot.left));
    if slot.chunk.is_empty() {
        return;
    }
    slot.own = Extent { start: slot.position, len: bytes_of(&slot.chunk) };
    slot.position += slot.own.len;
    slot.left -= slot.own.len;
    slot.chunk.extend(peek(&slot.inputs, stream.overlap));
    let sources = slot.chunk.clone();
    let (target, nsid) = (&stream.set.ranges[input], stream.set.nsids[input]);
    let to = Destination::new(&target.memory, target.offset);
    let kind = Kind { opcode: MemoryOpcode::COPY.0, nsid };
    let tag = begin_step(turn, parent, stream, n, (Stage::CopyIn, kind));
    // A group's limits look at jobs as a whole.
    let is_early =
        stream.is_early && !turn.subsystem.engine.holds_jobs(GroupId(stream.command.group));
    stream.slots[n].is_early = is_early;
    let early = is_early.then(|| Box::new(PageOrder::of(turn, &sources)));
    let waiting = MemoryWait::copying(turn, to, &sources, early);
    turn.wait(tag, Waiting::Memory(waiting));
    turn.read_sources(tag, &sources);
}

fn bytes_of<'a>(extents: impl IntoIterator<Item = &'a Source>) -> u64 {
    extents.into_iter().map(|source| source.extent.len).sum()
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

/// The same, but they stay.
fn peek(extents: &VecDeque<Source>, mut bytes: u64) -> Vec<Source> {
    let mut seen = Vec::new();
    for Source { nsid, extent } in extents {
        if bytes == 0 {
            break;
        }
        let len = extent.len.min(bytes);
        seen.push(Source { nsid: *nsid, extent: Extent { start: extent.start, len } });
        bytes -= len;
    }
    seen
}

/// A chunk is in device memory, or will be soon: the program runs on it.
fn run(
    turn: &mut Turn<'_>,
    parent: Tag,
    nsid: Nsid,
    stream: &mut Stream,
    n: usize,
) -> Result<(), Status> {
    let mut ranges = stream.set.ranges[stream.ranges_of(n)].to_vec();
    // The last chunk may be shorter.
    let slot = &stream.slots[n];
    let seen = bytes_of(&slot.chunk);
    let is_end = seen - slot.own.len == slot.left + slot.trailing;
    ranges[1].len = if is_end { seen - slot.cut } else { seen };
    let own = slot.own.len.min(ranges[1].len);
    let early_pages = slot.is_early.then(|| turn.source_pages(&slot.chunk) as usize);
    let mut data = Vec::new();
    if stream.has_header {
        let position = slot.own.start.into();
        data.extend(ChunkHeader { position, bytes: own.into() }.as_bytes());
    }
    data.extend(&stream.data);
    let start = Start {
        set: Some(Arc::clone(&stream.set)),
        early_pages,
        ..Start::new(&stream.command, ranges, data, stream.lease.clone())
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
    let room = bytes_of(&slot.outputs);
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
    let namespace = namespace.ok_or(Status::INVALID_NAMESPACE.with_dnr())?;
    namespace.check_writable()?;
    let to = namespace.handles.default_stream();
    let part = target.extent.len;
    slot.unwritten = Extent { start: start + part, len: len - part };
    let from = Extent { start, len: part };
    let sources = vec![Source { nsid: stream.set.nsids[output], extent: from }];
    let kind = Kind { opcode: NvmOpcode::COPY.0, nsid: target.nsid };
    let target = Target { extent: target.extent, fua: false, stream: to, is_append: false };
    let tag = begin_step(turn, parent, stream, n, (Stage::WriteBack, kind));
    turn.expect_internal(tag, part, Arrival::Nvm(NvmArrival::Memory { sources, target }));
    Ok(())
}

/// A step has ended: the slot goes on, or the whole command ends with the step's error.
pub(crate) fn step_ended(turn: &mut Turn<'_>, tag: Tag, of: Step, ending: &Ending) {
    let Some((nsid, mut stream)) = take_stream(turn, of.parent) else { return };
    let (parent, n) = (of.parent, of.slot as usize);
    let slot = &mut stream.slots[n];
    let copied = slot.copying.take_if(|copying| *copying == tag).map(|_| Stage::CopyIn);
    let ended = || Some(slot.step.take_if(|(_, step)| *step == tag)?.0);
    let stage = copied.or_else(ended).expect("a step is of a slot");
    stream.late = stream.late.max(ending.late);
    let (at, done) = match stage {
        _ if !ending.status.is_success() => (stage, Err(ending.status)),
        // Its last page began or continued the run.
        Stage::CopyIn if stream.slots[n].is_early => (stage, Ok(())),
        Stage::CopyIn => (Stage::Run, run(turn, parent, nsid, &mut stream, n)),
        Stage::Run => (Stage::Run, ran(turn, parent, &mut stream, n, ending.result)),
        Stage::WriteBack => (Stage::WriteBack, after_output(turn, parent, &mut stream, n)),
    };
    match done {
        Ok(()) => go_on(turn, parent, *stream),
        Err(status) => fail(turn, parent, nsid, stream, (n, at), status),
    }
}

/// The stream that a command waits for, and the namespace that the command is for.
fn take_stream(turn: &mut Turn<'_>, parent: Tag) -> Option<(Nsid, Box<Stream>)> {
    let command = turn.command(parent)?;
    if !matches!(command.waiting, Waiting::Stream(_)) {
        return None;
    }
    let nsid = command.kind.nsid;
    let Waiting::Stream(stream) = command.take_waiting() else { return None };
    Some((nsid, stream))
}

/// The run of a chunk that a step copies, which begins with the first page of it.
pub(super) fn run_of(turn: &mut Turn<'_>, copy: Tag) -> Option<Tag> {
    let Step { parent, slot } = turn.command(copy)?.step?;
    let n = slot as usize;
    let (nsid, mut stream) = take_stream(turn, parent)?;
    if stream.slots[n].step.is_none()
        && let Err(status) = run(turn, parent, nsid, &mut stream, n)
    {
        fail(turn, parent, nsid, stream, (n, Stage::Run), status);
        return None;
    }
    let run = stream.slots[n].step.map(|(_, tag)| tag);
    turn.wait(parent, Waiting::Stream(stream));
    run
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

//! A compound execution (vendor specific): what a host would do with four commands - allocate, copy, execute, read back - is one. It is a
//! stream of one chunk, on memory of the drive's own, whose output goes to the host.

use std::collections::VecDeque;
use std::sync::Arc;

use ebpf::Range;
use nvme_spec::Status;
use simtime::Duration;

use super::{Slot, Stream, computed, go_on, next_chunk};
use crate::command::CompoundProgram;
use crate::data_pointer::{DataPointer, Direction, Segments};
use crate::event::Tag;
use crate::limits::{COMPOUND_BYTES_MAX, RANGES_PER_SET_MAX};
use crate::namespace::nvm::waiting::Source;
use crate::namespace::programs::{ProgramLease, RangeSet};
use crate::turn::Turn;

/// Begins a compound execution: one slot with one chunk, on memory of the drive's own.
pub(in crate::namespace::programs) fn begin(
    turn: &mut Turn<'_>,
    tag: Tag,
    command: CompoundProgram,
    mut lease: ProgramLease,
    more: Option<Arc<RangeSet>>,
    pointer: DataPointer,
) -> Result<(), Status> {
    let CompoundProgram { execute, nsid, first, count, output, early } = command;
    let is_attached = turn.session.attached.contains(nsid);
    let source = turn.subsystem.namespaces.nvm(nsid).filter(|_| is_attached);
    let source = source.ok_or(Status::INVALID_NAMESPACE.with_dnr())?;
    turn.check_open(source)?;
    let extent = source.extent(first, count)?;
    source.check_written(&turn.subsystem.ssd, extent)?;
    if extent.len > COMPOUND_BYTES_MAX {
        return Err(Status::COMMAND_SIZE_LIMIT_EXCEEDED.with_dnr());
    }
    if output > turn.subsystem.config.transfer_bytes_max {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    let segments = turn.resolve(pointer, output, Direction::ToHost)?;
    let mut set = RangeSet::default();
    for len in [output, extent.len] {
        // One that has no bytes has a place all the same.
        let allocation = turn.subsystem.own_memory.allocate(len.max(1))?;
        let memory = Arc::clone(&allocation.memory);
        set.ranges.push(Range { memory, offset: allocation.extent.start, len, writable: true });
        set.nsids.push(nsid);
        lease.memory.push(allocation);
    }
    if let Some(more) = &more {
        if more.ranges.len() + set.ranges.len() > usize::from(RANGES_PER_SET_MAX) {
            return Err(Status::MAXIMUM_MEMORY_RANGES_EXCEEDED.with_dnr());
        }
        set.ranges.extend(more.ranges.iter().cloned());
        set.nsids.extend(&more.nsids);
    }
    let inputs = VecDeque::from([Source { nsid, extent }]);
    let slot = Slot::new(inputs, VecDeque::new(), extent.len);
    let mut stream = Stream {
        command: execute,
        lease,
        data: Vec::new(),
        chunk_bytes: extent.len,
        is_early: early,
        overlap: 0,
        has_header: false,
        to_host: Some((segments, output)),
        output_block: None,
        slots: vec![slot],
        result: 0,
        late: Duration::ZERO,
        more,
        set: Arc::new(set),
    };
    next_chunk(turn, tag, &mut stream, 0);
    go_on(turn, tag, stream);
    Ok(())
}

/// A compound execution has run: its output goes to the host.
pub(super) fn send_output(
    turn: &mut Turn<'_>,
    tag: Tag,
    output: &Range,
    segments: &Segments,
    late: Duration,
    result: u64,
) {
    let mut buffer = std::mem::take(&mut turn.subsystem.scratch);
    buffer.resize(output.len as usize, 0);
    assert!(output.memory.read(output.offset, &mut buffer), "it was allocated");
    let written = segments.write(turn.host, &buffer);
    turn.subsystem.scratch = buffer;
    computed(turn, tag, late);
    match written {
        Ok(()) => turn.complete_with_data_and(tag, output.len, result),
        Err(status) => turn.complete(tag, status, 0),
    }
}

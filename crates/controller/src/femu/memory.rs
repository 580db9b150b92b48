//! Device memory by identifier: allocation, transfers, copies from blocks.

use std::sync::Arc;

use nvme_spec::Status;

use super::{FemuArrival, state};
use crate::command::Part;
use crate::data_pointer::{DataPointer, Direction, Segments};
use crate::event::Tag;
use crate::extent::Extent;
use crate::namespace::memory::waiting::{Destination, MemoryWait};
use crate::namespace::nvm::NvmNamespace;
use crate::namespace::nvm::waiting::Source;
use crate::own_memory::Allocation;
use crate::turn::Turn;
use crate::waiting::{Arrival, Waiting};

/// Allocates memory; the result is its identifier.
pub(super) fn allocate(turn: &mut Turn<'_>, bytes: u64) -> Result<u64, Status> {
    let allocation = turn.subsystem.own_memory.allocate(bytes)?;
    let state = state(turn);
    let used = |id: &u32| *id != 0 && !state.allocations.contains_key(id);
    let mut ids = (state.next_allocation..=u32::MAX).chain(1..state.next_allocation);
    let id = ids.find(used).ok_or(Status::CAPACITY_EXCEEDED)?;
    state.next_allocation = id.wrapping_add(1);
    state.allocations.insert(id, allocation);
    Ok(id.into())
}

/// A part of an allocation, checked: where it is in the drive's own memory.
fn extent_of(allocation: &Allocation, offset: u64, len: u64) -> Result<Extent, Status> {
    let end = offset.checked_add(len);
    if len == 0 || end.is_none_or(|end| end > allocation.extent.len) {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    Ok(Extent { start: allocation.extent.start + offset, len })
}

/// What a host transfers at once.
fn transfer(turn: &mut Turn<'_>, part: Part) -> Result<(Arc<Allocation>, Extent), Status> {
    let Part { id, offset, len } = part;
    let bytes_max = turn.subsystem.config.transfer_bytes_max;
    let allocation = Arc::clone(state(turn).allocation(id)?);
    let extent = extent_of(&allocation, offset, len)?;
    if len > bytes_max {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    Ok((allocation, extent))
}

/// Read: the result is the number of bytes.
pub(super) fn read(
    turn: &mut Turn<'_>,
    tag: Tag,
    part: Part,
    pointer: DataPointer,
) -> Result<(), Status> {
    let (allocation, extent) = transfer(turn, part)?;
    let segments = turn.resolve(pointer, extent.len, Direction::ToHost)?;
    let mut buffer = std::mem::take(&mut turn.subsystem.scratch);
    buffer.resize(extent.len as usize, 0);
    assert!(allocation.memory.read(extent.start, &mut buffer), "the range was checked");
    let written = segments.write(turn.host, &buffer);
    turn.subsystem.scratch = buffer;
    written?;
    turn.complete_with_data_and(tag, extent.len, extent.len);
    Ok(())
}

/// Write.
pub(super) fn write(
    turn: &mut Turn<'_>,
    tag: Tag,
    part: Part,
    pointer: DataPointer,
) -> Result<(), Status> {
    let (to, extent) = transfer(turn, part)?;
    let arrival = Arrival::Femu(FemuArrival::Write { to, extent });
    turn.fetch_data(tag, pointer, extent.len, arrival)
}

/// What is to be written has arrived: the result is the number of bytes.
pub(super) fn written(
    turn: &mut Turn<'_>,
    tag: Tag,
    segments: &Segments,
    to: &Allocation,
    extent: Extent,
) -> Result<(), Status> {
    turn.keep_data(segments, extent.len, |_, data| {
        assert!(to.memory.write(extent.start, data), "the range was checked");
    })?;
    turn.complete(tag, Status::SUCCESS, extent.len);
    Ok(())
}

/// Copies blocks into an allocation: the result is the number of bytes.
pub(super) fn copy(
    turn: &mut Turn<'_>,
    tag: Tag,
    namespace: &NvmNamespace,
    (first, count): (u64, u32),
    (id, offset): (u32, u64),
) -> Result<(), Status> {
    let blocks = namespace.extent(first, count.into())?;
    namespace.check_written(&turn.subsystem.ssd, blocks)?;
    let allocation = Arc::clone(state(turn).allocation(id)?);
    let target = extent_of(&allocation, offset, blocks.len)?;
    let sources = vec![Source { nsid: namespace.nsid, extent: blocks }];
    let destination = Destination {
        result: blocks.len,
        own: Some(Arc::clone(&allocation)),
        ..Destination::new(&allocation.memory, target.start)
    };
    let waiting = MemoryWait::copying(turn, destination, &sources, None);
    turn.wait(tag, Waiting::Memory(waiting));
    turn.read_sources(tag, &sources);
    Ok(())
}

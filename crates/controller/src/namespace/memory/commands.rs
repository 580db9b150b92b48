//! Commands of the Subsystem Local Memory command set.

use std::sync::Arc;

use ebpf::SharedMemory;
use fabric::Port;
use nvme_spec::command::{CopySourcePeer, copy_format};
use nvme_spec::{Nsid, Status, SubmissionEntry};
use records::{LinkPath, Stage};
use ssd::Done;
use zerocopy::FromBytes;

use super::MemoryNamespace;
use super::waiting::{Destination, MemoryArrival, MemoryWait};
use crate::command::{GRANULARITY, MemoryCommand};
use crate::data_pointer::{DataPointer, Direction, Segments};
use crate::event::Tag;
use crate::extent::Extent;
use crate::limits::{COPY_SOURCES_MAX, MEMORY_COMMAND_BYTES_MAX};
use crate::namespace::nvm::{SourceList, resolve_sources, total};
use crate::namespace::programs::early::page_read;
use crate::turn::Turn;
use crate::waiting::{Arrival, Waiting};

impl MemoryNamespace {
    /// Begins a command.
    pub(crate) fn begin(
        &self,
        turn: &mut Turn<'_>,
        tag: Tag,
        entry: &SubmissionEntry,
    ) -> Result<(), Status> {
        let pointer = DataPointer::of(entry);
        match MemoryCommand::decode(entry)? {
            MemoryCommand::Read { start, len } => {
                let extent = self.transfer(turn, start, len)?;
                let segments = turn.resolve(pointer, len, Direction::ToHost)?;
                let mut buffer = std::mem::take(&mut turn.subsystem.scratch);
                buffer.resize(len as usize, 0);
                assert!(self.memory.read(extent.start, &mut buffer), "the range was checked");
                let written = segments.write(turn.host, &buffer);
                turn.subsystem.scratch = buffer;
                written?;
                turn.complete_with_data(tag, len);
                Ok(())
            }
            MemoryCommand::Write { start, len } => {
                let extent = self.transfer(turn, start, len)?;
                turn.fetch_data(tag, pointer, len, Arrival::Memory(MemoryArrival::Write(extent)))
            }
            MemoryCommand::Fill { start, len } => {
                let extent = self.extent(start, len)?;
                if len > MEMORY_COMMAND_BYTES_MAX {
                    return Err(Status::COMMAND_SIZE_LIMIT_EXCEEDED.with_dnr());
                }
                assert!(self.memory.fill(extent.start, extent.len, 0), "the range was checked");
                turn.complete_internal(tag, len);
                Ok(())
            }
            MemoryCommand::Copy { target, len, source_count, format } => {
                let target = self.extent(target, len)?;
                // Formats 0h and 1h name no namespace, and this one has no blocks.
                let entry_bytes = match format {
                    copy_format::BLOCKS | copy_format::BLOCKS_WIDE | copy_format::MEMORY => {
                        copy_format::entry_bytes(format)
                    }
                    copy_format::PEER_MEMORY if turn.subsystem.peers.is_some() => {
                        copy_format::entry_bytes(format)
                    }
                    _ => None,
                };
                let entry_bytes = entry_bytes.ok_or(Status::INVALID_FIELD.with_dnr())?;
                if source_count > COPY_SOURCES_MAX || len > MEMORY_COMMAND_BYTES_MAX {
                    return Err(Status::COMMAND_SIZE_LIMIT_EXCEEDED.with_dnr());
                }
                let arrival = MemoryArrival::Copy { target, source_count, format };
                let list = (source_count * entry_bytes) as u64;
                turn.fetch_data(tag, pointer, list, Arrival::Memory(arrival))
            }
        }
    }

    fn transfer(&self, turn: &Turn<'_>, start: u64, len: u64) -> Result<Extent, Status> {
        if len > turn.subsystem.config.transfer_bytes_max {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        self.extent(start, len)
    }

    /// Goes on with a command whose data has arrived.
    pub(crate) fn arrived(
        &self,
        turn: &mut Turn<'_>,
        tag: Tag,
        segments: &Segments,
        arrival: MemoryArrival,
    ) -> Result<(), Status> {
        match arrival {
            MemoryArrival::Write(extent) => {
                turn.keep_data(segments, extent.len, |_, data| {
                    assert!(self.memory.write(extent.start, data), "the range was checked");
                })?;
                turn.complete(tag, Status::SUCCESS, 0);
                Ok(())
            }
            MemoryArrival::Copy { target, source_count: count, format } => {
                self.copy(turn, tag, target, SourceList { segments, count, format })
            }
        }
    }

    /// A Memory Copy's source entries have arrived.
    fn copy(
        &self,
        turn: &mut Turn<'_>,
        tag: Tag,
        target: Extent,
        list: SourceList<'_>,
    ) -> Result<(), Status> {
        if list.format == copy_format::PEER_MEMORY {
            return self.copy_from_peers(turn, tag, target, list);
        }
        let sources = resolve_sources(turn, list, self.nsid)?;
        if total(&sources) != target.len {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        if list.format != copy_format::MEMORY {
            let to = self.destination(target.start);
            let waiting = MemoryWait::copying(turn, to, &sources, None);
            turn.wait(tag, Waiting::Memory(waiting));
            turn.read_sources(tag, &sources);
            return Ok(());
        }
        if sources.iter().any(|s| s.nsid == self.nsid && s.extent.overlaps(&target)) {
            return Err(Status::OVERLAPPING_IO_RANGE.with_dnr());
        }
        let mut to = target.start;
        for source in sources {
            let Extent { start, len } = source.extent;
            let from = turn.subsystem.namespaces.memory(source.nsid);
            let from = &from.expect("the source was checked").memory;
            let copied = self.memory.copy_from(from, start, to, len);
            assert!(copied, "both ranges were checked");
            to += len;
        }
        turn.complete_internal(tag, target.len);
        Ok(())
    }

    /// A Memory Copy's source entries have arrived, which name device memory of other drives.
    fn copy_from_peers(
        &self,
        turn: &mut Turn<'_>,
        tag: Tag,
        target: Extent,
        list: SourceList<'_>,
    ) -> Result<(), Status> {
        let sources = resolve_peers(turn, list)?;
        if sources.iter().map(|source| source.extent.len).sum::<u64>() != target.len {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        let (mut to, mut arrived) = (target.start, turn.now);
        for PeerSource { port, memory, extent } in sources {
            let copied = self.memory.copy_from(&memory, extent.start, to, extent.len);
            assert!(copied, "both ranges were checked");
            to += extent.len;
            let crossed = turn.session.port.from_peer(&port, turn.now, extent.len);
            turn.record_crossing(tag, LinkPath::FromPeer, extent.len, crossed);
            arrived = crossed.max(arrived);
        }
        turn.complete_copy(tag, target.len, arrived);
        Ok(())
    }

    /// A place in it that blocks are copied to.
    pub(crate) fn destination(&self, offset: u64) -> Destination {
        Destination::new(&self.memory, offset)
    }
}

/// The last page of a copy has been read: device memory holds the data when it has crossed the internal link.
fn copied(turn: &mut Turn<'_>, tag: Tag) {
    let now = turn.now;
    let Some(command) = turn.command(tag) else { return };
    let Waiting::Memory(MemoryWait::Copying { to, sources, link_end, .. }) = command.take_waiting()
    else {
        unreachable!("only a copy waits for pages to copy")
    };
    command.end_stage(now, Stage::FlashRead);
    let status = command.status;
    if !status.is_success() {
        return turn.complete(tag, status, 0);
    }
    command.end_stage(link_end, Stage::Copy);
    turn.visit_sources(&sources, |at, bytes| {
        assert!(to.memory.write(to.offset + at, bytes), "the target was checked");
    });
    turn.complete_at(link_end, tag, Status::SUCCESS, to.result);
}

/// Bytes of device memory of another drive, which are there.
struct PeerSource {
    port: Arc<Port>,
    memory: Arc<SharedMemory>,
    extent: Extent,
}

/// Reads and resolves source entries that name other drives.
fn resolve_peers(turn: &Turn<'_>, list: SourceList<'_>) -> Result<Vec<PeerSource>, Status> {
    let mut bytes = vec![0; list.count * size_of::<CopySourcePeer>()];
    list.segments.read(&*turn.host, &mut bytes)?;
    let (peers, own) = turn.subsystem.peers.as_ref().ok_or(Status::INVALID_FIELD.with_dnr())?;
    let entries = bytes.chunks_exact(size_of::<CopySourcePeer>());
    let resolve = |entry: &[u8]| {
        let entry = CopySourcePeer::read_from_bytes(entry).expect("entries are 32 bytes");
        let (drive, nsid) = (entry.drive.get(), Nsid(entry.snsid.get()));
        // Its own memory is for format 4h, which knows what overlaps.
        let peer = peers.get(drive).filter(|_| drive != *own);
        let peer = peer.ok_or(Status::INVALID_FIELD.with_dnr())?;
        let memory = peer.memories.iter().find(|(other, _)| *other == nsid);
        let (_, memory) = memory.ok_or(Status::INVALID_NAMESPACE.with_dnr())?;
        let (start, len) = (entry.saddr.get(), u64::from(entry.nbyte.get()));
        let is_inside = start.checked_add(len).is_some_and(|end| end <= memory.len());
        let is_whole = start.is_multiple_of(GRANULARITY) && len.is_multiple_of(GRANULARITY);
        if !is_inside || !is_whole {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        let memory = Arc::clone(memory);
        Ok(PeerSource { port: peer.port, memory, extent: Extent { start, len } })
    };
    entries.map(resolve).collect()
}

/// The flash model finished a page of a command that waits for a memory namespace.
pub(crate) fn page_done(turn: &mut Turn<'_>, tag: Tag, done: &Done) {
    let Some(command) = turn.session.inflight.get_mut(tag) else { return };
    let Waiting::Memory(MemoryWait::Copying { pages_left, link_end, early, .. }) =
        &mut command.waiting
    else {
        unreachable!("flash finished a page for a command that waits for something else")
    };
    *pages_left -= 1;
    let page_bytes = 1 << turn.subsystem.page_bits;
    let arrives = turn.subsystem.internal.send(done.at, page_bytes);
    *link_end = arrives.max(*link_end);
    let is_last = *pages_left == 0;
    if let (Some(order), Some(page), Ok(_)) = (early, done.page, done.result)
        && let Some(page) = order.arrived(page)
    {
        page_read(turn, tag, page, arrives);
    }
    turn.record_crossing(tag, LinkPath::Internal, page_bytes, arrives);
    if is_last {
        copied(turn, tag);
    }
}

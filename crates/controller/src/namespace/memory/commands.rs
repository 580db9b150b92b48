//! Commands of the Subsystem Local Memory command set.

use nvme_spec::command::copy_format;
use nvme_spec::{Status, SubmissionEntry};
use records::Stage;
use ssd::Done;

use super::MemoryNamespace;
use super::waiting::{MemoryArrival, MemoryWait};
use crate::command::MemoryCommand;
use crate::data_pointer::{DataPointer, Direction, Segments};
use crate::event::Tag;
use crate::extent::Extent;
use crate::limits::{COPY_SOURCES_MAX, MEMORY_COMMAND_BYTES_MAX};
use crate::namespace::nvm::{SourceList, resolve_sources, total};
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
        let sources = resolve_sources(turn, list, self.nsid)?;
        if total(&sources) != target.len {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        if list.format != copy_format::MEMORY {
            let (pages_left, link_end) = (turn.source_pages(&sources), turn.now);
            let copying = sources.clone();
            let waiting = MemoryWait::Copying {
                target: target.start,
                sources: copying,
                pages_left,
                link_end,
            };
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

    /// The last page of a copy has been read: device memory holds the data when it has crossed the internal link.
    fn copied(&self, turn: &mut Turn<'_>, tag: Tag) {
        let now = turn.now;
        let Some(command) = turn.command(tag) else { return };
        let Waiting::Memory(MemoryWait::Copying { target, sources, link_end, .. }) =
            command.take_waiting()
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
            assert!(self.memory.write(target + at, bytes), "the target was checked");
        });
        turn.complete_at(link_end, tag, Status::SUCCESS, 0);
    }
}

/// The flash model finished a page of a command that waits for a memory namespace.
pub(crate) fn page_done(turn: &mut Turn<'_>, tag: Tag, done: &Done) {
    let Some(command) = turn.session.inflight.get_mut(tag) else { return };
    let nsid = command.kind.nsid;
    let Waiting::Memory(MemoryWait::Copying { pages_left, link_end, .. }) = &mut command.waiting
    else {
        unreachable!("flash finished a page for a command that waits for something else")
    };
    *pages_left -= 1;
    let page_bytes = 1 << turn.subsystem.page_bits;
    *link_end = turn.subsystem.internal.send(done.at, page_bytes).max(*link_end);
    if *pages_left == 0 {
        let namespace = turn.subsystem.namespaces.memory(nsid);
        let namespace = namespace.expect("a namespace outlives its commands").clone();
        namespace.copied(turn, tag);
    }
}

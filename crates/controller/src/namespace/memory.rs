//! The memory namespace: device memory, and copies into it.

use nvme_spec::command::copy_format;
use nvme_spec::{Status, SubmissionEntry};
use simtime::Instant;

use crate::command::MemoryCommand;
use crate::controller::Controller;
use crate::data_pointer::{DataPointer, Direction, Segments};
use crate::host_memory::HostMemory;
use crate::inflight::{Activity, Arrival, CopyTarget, SourceBytes, Tag};
use crate::limits::{COPY_SOURCES_MAX, MEMORY_COMMAND_BYTES_MAX};
use crate::namespace::nvm::total;

impl Controller {
    /// Executes a command of the Subsystem Local Memory command set.
    pub(crate) fn memory(
        &mut self,
        now: Instant,
        host: &mut impl HostMemory,
        tag: Tag,
        entry: &SubmissionEntry,
    ) -> Result<(), Status> {
        let pointer = DataPointer::of(entry);
        match MemoryCommand::decode(entry)? {
            MemoryCommand::Read { start, len } => {
                self.check_transfer(start, len)?;
                let segments = Segments::resolve(host, pointer, len, Direction::ToHost)?;
                let mut buffer = std::mem::take(&mut self.scratch);
                buffer.resize(len as usize, 0);
                assert!(self.memory.read(start, &mut buffer), "the range was checked");
                let written = segments.write(host, &buffer);
                self.scratch = buffer;
                written?;
                self.complete_with_data(now, tag, len);
            }
            MemoryCommand::Write { start, len } => {
                self.check_transfer(start, len)?;
                let segments = Segments::resolve(host, pointer, len, Direction::FromHost)?;
                let arrival = Box::new(Arrival::MemoryWrite { start, len });
                self.expect_data(now, tag, len, Activity::Arriving { segments, arrival });
            }
            MemoryCommand::Fill { start, len } => {
                self.check_memory(start, len)?;
                if len > MEMORY_COMMAND_BYTES_MAX {
                    return Err(Status::COMMAND_SIZE_LIMIT_EXCEEDED.with_dnr());
                }
                assert!(self.memory.fill(start, len, 0), "the range was checked");
                self.complete_internal(now, tag, len);
            }
            MemoryCommand::Copy { target, len, source_count, format } => {
                self.check_memory(target, len)?;
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
                let list = (source_count * entry_bytes) as u64;
                let segments = Segments::resolve(host, pointer, list, Direction::FromHost)?;
                let arrival = Arrival::MemoryCopy { target, len, count: source_count, format };
                let arrival = Box::new(arrival);
                self.expect_data(now, tag, list, Activity::Arriving { segments, arrival });
            }
        }
        Ok(())
    }

    /// Checks a range of device memory.
    pub(crate) fn check_memory(&self, start: u64, len: u64) -> Result<(), Status> {
        let end = start.checked_add(len);
        if end.is_none_or(|end| end > self.memory.len()) {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        Ok(())
    }

    fn check_transfer(&self, start: u64, len: u64) -> Result<(), Status> {
        if len > self.config.transfer_bytes_max {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        self.check_memory(start, len)
    }

    /// Completes a command after moving bytes inside the drive.
    fn complete_internal(&mut self, now: Instant, tag: Tag, len: u64) {
        let at = self.internal.send(now, len);
        if let Some(command) = self.inflight.get_mut(tag) {
            command.end_stage(at, |s| &mut s.copy);
        }
        self.complete(at, tag, Status::SUCCESS, 0);
    }

    /// A Memory Write's data has arrived.
    pub(crate) fn memory_write(
        &mut self,
        now: Instant,
        host: &impl HostMemory,
        tag: Tag,
        segments: &Segments,
        (start, len): (u64, u64),
    ) -> Result<(), Status> {
        self.keep_data(host, segments, len, |drive, data| {
            assert!(drive.memory.write(start, data), "the range was checked");
        })?;
        self.complete(now, tag, Status::SUCCESS, 0);
        Ok(())
    }

    /// A Memory Copy's source entries have arrived.
    pub(crate) fn memory_copy(
        &mut self,
        now: Instant,
        host: &impl HostMemory,
        tag: Tag,
        segments: &Segments,
        (target, len, count, format): (u64, u64, usize, u8),
    ) -> Result<(), Status> {
        let is_memory = format == copy_format::MEMORY;
        let sources = self.copy_sources(host, segments, count, format)?;
        if total(&sources) != len {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        if !is_memory {
            self.read_sources(now, tag, CopyTarget::Memory(target), sources);
            return Ok(());
        }
        let overlaps = |s: &SourceBytes| s.start < target + len && target < s.start + s.len;
        if sources.iter().any(overlaps) {
            return Err(Status::OVERLAPPING_IO_RANGE.with_dnr());
        }
        let mut to = target;
        for SourceBytes { start, len } in sources {
            assert!(self.memory.copy_within(start, to, len), "both ranges were checked");
            to += len;
        }
        self.complete_internal(now, tag, len);
        Ok(())
    }
}

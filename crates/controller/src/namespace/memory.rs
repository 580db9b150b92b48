//! The memory namespace: device memory, and copies into it.

use nvme_spec::command::{CopySourceBlocks, CopySourceMemory};
use nvme_spec::{Status, SubmissionEntry};
use simtime::Instant;
use zerocopy::FromBytes;

use crate::command::{GRANULARITY, MemoryCommand};
use crate::controller::Controller;
use crate::host_memory::HostMemory;
use crate::inflight::{Activity, Arrival, SourceBytes, Tag};
use crate::limits::COPY_SOURCES_MAX;
use crate::namespace::nvm::visit_store;
use crate::namespace::{COMPUTE_NSID, MEMORY_NSID, NVM_NSID};
use crate::prp::Segments;

/// Descriptor format of copy sources: blocks of an NVM namespace.
const FORMAT_BLOCKS: u8 = 2;
/// Descriptor format of copy sources: bytes of a memory namespace.
const FORMAT_MEMORY: u8 = 4;
/// Bytes of a source entry in either format.
const SOURCE_ENTRY: usize = 32;

impl Controller {
    /// Executes a command of the Subsystem Local Memory command set.
    pub(crate) fn memory(
        &mut self,
        now: Instant,
        host: &mut impl HostMemory,
        tag: Tag,
        entry: &SubmissionEntry,
    ) -> Result<(), Status> {
        let (prp1, prp2) = (entry.prp1.get(), entry.prp2.get());
        match MemoryCommand::decode(entry)? {
            MemoryCommand::Read { start, len } => {
                self.check_transfer(start, len)?;
                let segments = Segments::from_prp(host, prp1, prp2, len)?;
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
                let segments = Segments::from_prp(host, prp1, prp2, len)?;
                let arrival = Box::new(Arrival::MemoryWrite { start, len });
                self.expect_data(now, tag, len, Activity::Arriving { segments, arrival });
            }
            MemoryCommand::Fill { start, len } => {
                self.check_memory(start, len)?;
                assert!(self.memory.fill(start, len, 0), "the range was checked");
                self.complete_internal(now, tag, len);
            }
            MemoryCommand::Copy { target, len, source_count, format } => {
                self.check_memory(target, len)?;
                if !matches!(format, FORMAT_BLOCKS | FORMAT_MEMORY) {
                    return Err(Status::INVALID_FIELD.with_dnr());
                }
                if source_count > COPY_SOURCES_MAX {
                    return Err(Status::COMMAND_SIZE_LIMIT_EXCEEDED.with_dnr());
                }
                let list = (source_count * SOURCE_ENTRY) as u64;
                let segments = Segments::from_prp(host, prp1, prp2, list)?;
                let arrival = Arrival::MemoryCopy { target, len, count: source_count, format };
                let arrival = Box::new(arrival);
                self.expect_data(now, tag, list, Activity::Arriving { segments, arrival });
            }
        }
        Ok(())
    }

    /// Checks a range of device memory.
    fn check_memory(&self, start: u64, len: u64) -> Result<(), Status> {
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
        let mut buffer = std::mem::take(&mut self.scratch);
        buffer.resize(len as usize, 0);
        let read = segments.read(host, &mut buffer);
        if read.is_ok() {
            assert!(self.memory.write(start, &buffer), "the range was checked");
        }
        self.scratch = buffer;
        read?;
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
        let mut list = vec![0; count * SOURCE_ENTRY];
        segments.read(host, &mut list)?;
        if format == FORMAT_MEMORY {
            return self.copy_memory(now, tag, &list, target, len);
        }
        let sources = self.resolve_blocks(&list)?;
        if sources.iter().map(|s| s.len).sum::<u64>() != len {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        let pages_left = sources.iter().map(|s| self.page_count(s.start, s.len)).sum();
        let pages: Vec<SourceBytes> = sources.clone();
        let activity = Activity::Copying { target, sources, pages_left, link_end: now };
        self.set_activity(tag, activity);
        for SourceBytes { start, len } in pages {
            self.read_pages(now, tag, start, len);
        }
        Ok(())
    }

    fn resolve_blocks(&self, list: &[u8]) -> Result<Vec<SourceBytes>, Status> {
        let resolve = |entry: &[u8]| {
            let source = CopySourceBlocks::read_from_bytes(entry).expect("entries are 32 bytes");
            match source.snsid.get() {
                NVM_NSID => {}
                MEMORY_NSID | COMPUTE_NSID => return Err(Status::INCOMPATIBLE_NAMESPACE.with_dnr()),
                _ => return Err(Status::INVALID_NAMESPACE.with_dnr()),
            }
            let count = u64::from(source.nlb_z.get()) + 1;
            let (start, len) = self.byte_extent(source.slba.get(), count)?;
            Ok(SourceBytes { start, len })
        };
        list.chunks_exact(SOURCE_ENTRY).map(resolve).collect()
    }

    /// The last page of a copy has been read: when it has crossed the internal link, device
    /// memory holds the data.
    pub(crate) fn copy_arrived(&mut self, now: Instant, tag: Tag) {
        let Some(command) = self.inflight.get_mut(tag) else { return };
        let Activity::Copying { target, sources, link_end, .. } = &mut command.activity else {
            unreachable!("only a copy waits for pages to copy")
        };
        let (target, end, sources) = (*target, *link_end, std::mem::take(sources));
        command.end_stage(now, |s| &mut s.flash_read);
        command.end_stage(end, |s| &mut s.copy);
        let mut to = target;
        for SourceBytes { start, len } in sources {
            visit_store(&self.ssd, start, len, |offset, bytes| {
                assert!(self.memory.write(to + offset, bytes), "the target was checked");
            });
            to += len;
        }
        self.complete(end, tag, Status::SUCCESS, 0);
    }

    /// Copies within device memory.
    fn copy_memory(
        &mut self,
        now: Instant,
        tag: Tag,
        list: &[u8],
        target: u64,
        len: u64,
    ) -> Result<(), Status> {
        let mut sources = Vec::with_capacity(list.len() / SOURCE_ENTRY);
        for entry in list.chunks_exact(SOURCE_ENTRY) {
            let source = CopySourceMemory::read_from_bytes(entry).expect("entries are 32 bytes");
            match source.snsid.get() {
                MEMORY_NSID => {}
                NVM_NSID | COMPUTE_NSID => return Err(Status::INCOMPATIBLE_NAMESPACE.with_dnr()),
                _ => return Err(Status::INVALID_NAMESPACE.with_dnr()),
            }
            let (start, bytes) = (source.saddr.get(), u64::from(source.nbyte.get()));
            self.check_memory(start, bytes)?;
            if !start.is_multiple_of(GRANULARITY) || !bytes.is_multiple_of(GRANULARITY) {
                return Err(Status::INVALID_FIELD.with_dnr());
            }
            if start < target + len && target < start + bytes {
                return Err(Status::OVERLAPPING_IO_RANGE.with_dnr());
            }
            sources.push(SourceBytes { start, len: bytes });
        }
        if sources.iter().map(|s| s.len).sum::<u64>() != len {
            return Err(Status::INVALID_FIELD.with_dnr());
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

//! Copy into the NVM namespace, from its own blocks or from device memory (NVM Command Set 1.2,
//! section 3.2.2), and the source entries that Copy and Memory Copy share.

use nvme_spec::Status;
use nvme_spec::command::{CopySourceBlocks, CopySourceMemory, copy_format};
use simtime::Instant;
use zerocopy::FromBytes;

use super::data::visit_data;
use crate::command::{CopyBlocks, GRANULARITY};
use crate::controller::Controller;
use crate::data_pointer::{DataPointer, Direction, Segments};
use crate::host_memory::HostMemory;
use crate::inflight::{Activity, Arrival, CopyTarget, HostData, SourceBytes, Tag};
use crate::limits::{NVM_COPY_BYTES_MAX, NVM_COPY_SOURCES_MAX};
use crate::namespace::{COMPUTE_NSID, MEMORY_NSID, NVM_NSID};

/// Bytes of all sources together.
pub(crate) fn total(sources: &[SourceBytes]) -> u64 {
    sources.iter().map(|s| s.len).sum()
}

/// Checks that a source entry names a namespace of the right kind.
fn check_source(nsid: u32, expected: u32) -> Result<(), Status> {
    match nsid {
        nsid if nsid == expected => Ok(()),
        NVM_NSID | MEMORY_NSID | COMPUTE_NSID => Err(Status::INCOMPATIBLE_NAMESPACE.with_dnr()),
        _ => Err(Status::INVALID_NAMESPACE.with_dnr()),
    }
}

impl Controller {
    /// Reads and resolves the source entries of a copy, whose format was checked.
    pub(crate) fn copy_sources(
        &self,
        host: &impl HostMemory,
        segments: &Segments,
        count: usize,
        format: u8,
    ) -> Result<Vec<SourceBytes>, Status> {
        let size = copy_format::entry_bytes(format).expect("the format was checked");
        let mut list = vec![0; count * size];
        segments.read(host, &mut list)?;
        if format == copy_format::MEMORY {
            self.resolve_memory(&list)
        } else {
            self.open_to(NVM_NSID)?;
            self.resolve_blocks(&list, format, size)
        }
    }

    /// Resolves source entries that are blocks (formats 0h to 3h).
    fn resolve_blocks(
        &self,
        list: &[u8],
        format: u8,
        size: usize,
    ) -> Result<Vec<SourceBytes>, Status> {
        let resolve = |entry: &[u8]| {
            let (source, _) = CopySourceBlocks::read_from_prefix(entry).expect("at least 32 bytes");
            if matches!(format, copy_format::BLOCKS | copy_format::BLOCKS_WIDE) {
                check_source(source.snsid.get(), NVM_NSID)?;
            }
            let count = u64::from(source.nlb_z.get()) + 1;
            let (start, len) = self.byte_extent(source.slba.get(), count)?;
            self.check_written(start, len)?;
            Ok(SourceBytes { start, len })
        };
        list.chunks_exact(size).map(resolve).collect()
    }

    /// Resolves source entries that are bytes of device memory (format 4h).
    fn resolve_memory(&self, list: &[u8]) -> Result<Vec<SourceBytes>, Status> {
        let resolve = |entry: &[u8]| {
            let source = CopySourceMemory::read_from_bytes(entry).expect("entries are 32 bytes");
            check_source(source.snsid.get(), MEMORY_NSID)?;
            let (start, len) = (source.saddr.get(), u64::from(source.nbyte.get()));
            self.check_memory(start, len)?;
            if !start.is_multiple_of(GRANULARITY) || !len.is_multiple_of(GRANULARITY) {
                return Err(Status::INVALID_FIELD.with_dnr());
            }
            Ok(SourceBytes { start, len })
        };
        list.chunks_exact(size_of::<CopySourceMemory>()).map(resolve).collect()
    }

    /// Copy: fetches the source entries.
    pub(super) fn nvm_copy(
        &mut self,
        now: Instant,
        host: &impl HostMemory,
        tag: Tag,
        (copy, pointer): (CopyBlocks, DataPointer),
    ) -> Result<(), Status> {
        let size = copy_format::entry_bytes(copy.format);
        // Formats of other namespaces are for hosts that say they know them (feature 16h, CDFE;
        // or ours, C0h).
        let is_own = copy.format <= copy_format::OWN_BLOCKS_WIDE;
        let Some(size) = size.filter(|_| is_own || self.features.has_copy_format(copy.format))
        else {
            return Err(Status::INVALID_FIELD.with_dnr());
        };
        if copy.source_count > NVM_COPY_SOURCES_MAX {
            return Err(Status::COMMAND_SIZE_LIMIT_EXCEEDED.with_dnr());
        }
        self.check_writable()?;
        let len = (copy.source_count * size) as u64;
        let segments = Segments::resolve(host, pointer, len, Direction::FromHost)?;
        let arrival = Box::new(Arrival::NvmCopy(copy));
        self.expect_data(now, tag, len, Activity::Arriving { segments, arrival });
        Ok(())
    }

    /// A Copy's source entries have arrived.
    pub(crate) fn copy_sources_arrived(
        &mut self,
        now: Instant,
        host: &impl HostMemory,
        tag: Tag,
        segments: &Segments,
        CopyBlocks { target, source_count, format, fua }: CopyBlocks,
    ) -> Result<(), Status> {
        let is_memory = format == copy_format::MEMORY;
        let sources = self.copy_sources(host, segments, source_count, format)?;
        let len = total(&sources);
        if len > NVM_COPY_BYTES_MAX {
            return Err(Status::COMMAND_SIZE_LIMIT_EXCEEDED.with_dnr());
        }
        let block = u64::from(self.block_bytes);
        if len == 0 || !len.is_multiple_of(block) {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        let (start, len) = self.byte_extent(target, len / block)?;
        if is_memory {
            let at = self.internal.send(now, len);
            if let Some(command) = self.inflight.get_mut(tag) {
                command.end_stage(at, |s| &mut s.copy);
            }
            let arrival = Box::new(Arrival::MemoryToNvm { sources, start, len, fua });
            let segments = Segments::default();
            self.expect_at(at, tag, Activity::Arriving { segments, arrival });
            return Ok(());
        }
        let overlaps = |s: &SourceBytes| s.start < start + len && start < s.start + s.len;
        if sources.iter().any(overlaps) {
            return Err(Status::OVERLAPPING_IO_RANGE.with_dnr());
        }
        self.will_count(tag, HostData::Written(len as u32));
        self.read_sources(now, tag, CopyTarget::Blocks { start, len, fua }, sources);
        Ok(())
    }

    /// Starts reading the blocks that are copied.
    pub(crate) fn read_sources(
        &mut self,
        now: Instant,
        tag: Tag,
        target: CopyTarget,
        sources: Vec<SourceBytes>,
    ) {
        let pages_left = sources.iter().map(|s| self.page_count(s.start, s.len)).sum();
        let pages = sources.clone();
        let activity = Activity::Copying { target, sources, pages_left, link_end: now };
        self.set_activity(tag, activity);
        for SourceBytes { start, len } in pages {
            self.read_pages(now, tag, start, len);
        }
    }

    /// The last page of a copy has been read. Blocks of the NVM namespace are written; device
    /// memory holds the data when it has crossed the internal link.
    pub(crate) fn copy_arrived(&mut self, now: Instant, tag: Tag) {
        let Some(command) = self.inflight.get_mut(tag) else { return };
        let Activity::Copying { target, link_end, sources, .. } = &mut command.activity else {
            unreachable!("only a copy waits for pages to copy")
        };
        let (target, end, sources) = (*target, *link_end, std::mem::take(sources));
        command.end_stage(now, |s| &mut s.flash_read);
        let status = command.status;
        if !status.is_success() {
            return self.complete(now, tag, status, 0);
        }
        match target {
            CopyTarget::Memory(target) => {
                command.end_stage(end, |s| &mut s.copy);
                let mut to = target;
                for SourceBytes { start, len } in sources {
                    visit_data(&self.ssd, start, len, |offset, bytes| {
                        assert!(self.memory.write(to + offset, bytes), "the target was checked");
                    });
                    to += len;
                }
                self.complete(end, tag, Status::SUCCESS, 0);
            }
            CopyTarget::Blocks { start, len, fua } => {
                let mut bytes = std::mem::take(&mut self.scratch);
                bytes.clear();
                for source in sources {
                    visit_data(&self.ssd, source.start, source.len, |_, piece| {
                        bytes.extend(piece);
                    });
                }
                let kept = self.ssd.keeps_data().then_some(&bytes[..]);
                self.write_pages(now, tag, &[(start, len)], kept, fua);
                self.scratch = bytes;
            }
        }
    }

    /// Device memory on its way to flash has crossed the internal link.
    pub(crate) fn memory_to_nvm(
        &mut self,
        now: Instant,
        tag: Tag,
        sources: &[SourceBytes],
        (start, len, fua): (u64, u64, bool),
    ) {
        self.will_count(tag, HostData::Written(len as u32));
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.resize(len as usize, 0);
        let mut at = 0;
        for source in sources {
            let end = at + source.len as usize;
            assert!(self.memory.read(source.start, &mut bytes[at..end]), "the source was checked");
            at = end;
        }
        self.write_pages(now, tag, &[(start, len)], Some(&bytes), fua);
        self.scratch = bytes;
    }
}

//! Copy into an NVM namespace, from blocks or from device memory (NVM Command Set 1.2, section 3.2.2), and the source
//! entries that Copy and Memory Copy share.

use nvme_spec::command::{CopySourceBlocks, CopySourceMemory, copy_format};
use nvme_spec::{Nsid, Status};
use records::Stage;
use zerocopy::FromBytes;

use super::NvmNamespace;
use super::data::visit_data;
use super::waiting::{NvmArrival, NvmWait, Source, Target};
use crate::command::{CopyBlocks, GRANULARITY};
use crate::data_pointer::{DataPointer, Segments};
use crate::event::Tag;
use crate::inflight::HostData;
use crate::limits::{NVM_COPY_BYTES_MAX, NVM_COPY_SOURCES_MAX};
use crate::namespace::Namespace;
use crate::turn::Turn;
use crate::waiting::{Arrival, Waiting};

/// Bytes of all sources together.
pub(crate) fn total(sources: &[Source]) -> u64 {
    sources.iter().map(|source| source.extent.len).sum()
}

/// The list of sources of a copy, whose format was checked.
#[derive(Clone, Copy)]
pub(crate) struct SourceList<'a> {
    pub(crate) segments: &'a Segments,
    pub(crate) count: usize,
    pub(crate) format: u8,
}

/// Reads and resolves the source entries of a copy. Formats that name no namespace mean `own`.
pub(crate) fn resolve_sources(
    turn: &Turn<'_>,
    SourceList { segments, count, format }: SourceList<'_>,
    own: Nsid,
) -> Result<Vec<Source>, Status> {
    let size = copy_format::entry_bytes(format).expect("the format was checked");
    let mut list = vec![0; count * size];
    segments.read(&*turn.host, &mut list)?;
    let entries = list.chunks_exact(size);
    if format == copy_format::MEMORY {
        return entries.map(|entry| resolve_memory(turn, entry)).collect();
    }
    let names_namespace = matches!(format, copy_format::BLOCKS | copy_format::BLOCKS_WIDE);
    entries.map(|entry| resolve_blocks(turn, entry, (!names_namespace).then_some(own))).collect()
}

/// Resolves a source entry that is blocks (formats 0h to 3h), of a given namespace or of the one it names, which are to be read.
pub(crate) fn resolve_blocks(
    turn: &Turn<'_>,
    entry: &[u8],
    given: Option<Nsid>,
) -> Result<Source, Status> {
    let source = resolve_extent(turn, entry, given)?;
    let namespace = turn.blocks(&source);
    namespace.check_written(&turn.subsystem.ssd, source.extent)?;
    Ok(source)
}

/// The same for blocks that may be written or read.
pub(crate) fn resolve_extent(
    turn: &Turn<'_>,
    entry: &[u8],
    given: Option<Nsid>,
) -> Result<Source, Status> {
    let (source, _) = CopySourceBlocks::read_from_prefix(entry).expect("at least 32 bytes");
    let nsid = given.unwrap_or(Nsid(source.snsid.get()));
    let Namespace::Nvm(namespace) = turn.source(nsid)? else {
        return Err(Status::INCOMPATIBLE_NAMESPACE.with_dnr());
    };
    turn.check_open(namespace)?;
    let count = u64::from(source.nlb_z.get()) + 1;
    let extent = namespace.extent(source.slba.get(), count)?;
    Ok(Source { nsid, extent })
}

/// Resolves a source entry that is bytes of device memory (format 4h).
fn resolve_memory(turn: &Turn<'_>, entry: &[u8]) -> Result<Source, Status> {
    let source = CopySourceMemory::read_from_bytes(entry).expect("entries are 32 bytes");
    let nsid = Nsid(source.snsid.get());
    let Namespace::Memory(namespace) = turn.source(nsid)? else {
        return Err(Status::INCOMPATIBLE_NAMESPACE.with_dnr());
    };
    let extent = namespace.extent(source.saddr.get(), source.nbyte.get().into())?;
    if !extent.start.is_multiple_of(GRANULARITY) || !extent.len.is_multiple_of(GRANULARITY) {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    Ok(Source { nsid, extent })
}

impl NvmNamespace {
    /// Copy: fetches the source entries.
    pub(super) fn copy(
        &self,
        turn: &mut Turn<'_>,
        tag: Tag,
        copy: CopyBlocks,
        pointer: DataPointer,
    ) -> Result<(), Status> {
        let size = copy_format::entry_bytes(copy.format);
        // Formats of other namespaces are for hosts that say they know them (feature 16h, CDFE;
        // or ours, C0h).
        let is_own = copy.format <= copy_format::OWN_BLOCKS_WIDE;
        let is_enabled = is_own || turn.session.features.has_copy_format(copy.format);
        let size = size.filter(|_| is_enabled).ok_or(Status::INVALID_FIELD.with_dnr())?;
        if copy.source_count > NVM_COPY_SOURCES_MAX {
            return Err(Status::COMMAND_SIZE_LIMIT_EXCEEDED.with_dnr());
        }
        self.check_writable()?;
        let len = (copy.source_count * size) as u64;
        turn.fetch_data(tag, pointer, len, Arrival::Nvm(NvmArrival::Copy(copy)))
    }

    /// A Copy's source entries have arrived.
    pub(super) fn copy_sources_arrived(
        &self,
        turn: &mut Turn<'_>,
        tag: Tag,
        segments: &Segments,
        CopyBlocks { target, source_count: count, format, fua }: CopyBlocks,
    ) -> Result<(), Status> {
        let list = SourceList { segments, count, format };
        let sources = resolve_sources(turn, list, self.nsid)?;
        let len = total(&sources);
        if len > NVM_COPY_BYTES_MAX {
            return Err(Status::COMMAND_SIZE_LIMIT_EXCEEDED.with_dnr());
        }
        let block = u64::from(self.block_bytes);
        if len == 0 || !len.is_multiple_of(block) {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        let stream = self.handles.default_stream();
        let extent = self.extent(target, len / block)?;
        let target = Target { extent, fua, stream, is_append: false };
        if format == copy_format::MEMORY {
            turn.expect_internal(tag, len, Arrival::Nvm(NvmArrival::Memory { sources, target }));
            return Ok(());
        }
        for source in &sources {
            if source.nsid == self.nsid && source.extent.overlaps(&target.extent) {
                return Err(Status::OVERLAPPING_IO_RANGE.with_dnr());
            }
            let blocks_of = turn.subsystem.namespaces.nvm(source.nsid);
            if blocks_of.is_none_or(|namespace| namespace.block_bytes != self.block_bytes) {
                return Err(Status::INCOMPATIBLE_NAMESPACE.with_dnr());
            }
        }
        turn.will_count(tag, HostData::Written(len as u32));
        let pages_left = turn.source_pages(&sources);
        turn.wait(tag, NvmWait::Copying { target, sources: sources.clone(), pages_left });
        turn.read_sources(tag, &sources);
        Ok(())
    }

    /// The last page of a copy has been read: it is written.
    pub(super) fn blocks_copied(&self, turn: &mut Turn<'_>, tag: Tag) {
        let now = turn.now;
        let Some(command) = turn.command(tag) else { return };
        let Waiting::Nvm(NvmWait::Copying { target, sources, .. }) = command.take_waiting() else {
            unreachable!("only a copy waits for pages to copy")
        };
        command.end_stage(now, Stage::FlashRead);
        let status = command.status;
        if !status.is_success() {
            return turn.complete(tag, status, 0);
        }
        let mut bytes = std::mem::take(&mut turn.subsystem.scratch);
        bytes.clear();
        turn.visit_sources(&sources, |_, piece| bytes.extend(piece));
        let kept = turn.subsystem.ssd.keeps_data().then_some(&bytes[..]);
        let written = self.write(turn, tag, target, kept);
        turn.subsystem.scratch = bytes;
        if let Err(status) = written {
            turn.complete(tag, status, 0);
        }
    }

    /// Device memory on its way to flash has crossed the internal link.
    pub(super) fn memory_arrived(
        &self,
        turn: &mut Turn<'_>,
        tag: Tag,
        sources: &[Source],
        target: Target,
    ) -> Result<(), Status> {
        turn.will_count(tag, HostData::Written(target.extent.len as u32));
        let mut bytes = std::mem::take(&mut turn.subsystem.scratch);
        bytes.resize(target.extent.len as usize, 0);
        let mut at = 0;
        for Source { nsid, extent } in sources {
            let end = at + extent.len as usize;
            let namespace = turn.subsystem.namespaces.memory(*nsid);
            let memory = &namespace.expect("the source was checked").memory;
            assert!(memory.read(extent.start, &mut bytes[at..end]), "the source was checked");
            at = end;
        }
        let written = self.write(turn, tag, target, Some(&bytes));
        turn.subsystem.scratch = bytes;
        written
    }
}

impl Turn<'_> {
    /// The namespace that a source entry names.
    fn source(&self, nsid: Nsid) -> Result<&Namespace, Status> {
        self.active(nsid).map_err(|_| Status::INVALID_NAMESPACE.with_dnr())
    }

    /// Flash pages of sources that are blocks.
    pub(crate) fn source_pages(&self, sources: &[Source]) -> u32 {
        sources.iter().map(|source| self.blocks(source).pages_of(source.extent)).sum()
    }

    /// Starts reading the blocks that are copied.
    pub(crate) fn read_sources(&mut self, tag: Tag, sources: &[Source]) {
        for source in sources {
            self.blocks(source).clone().read_pages(self, tag, source.extent);
        }
    }

    /// Shows the blocks that are copied, piece by piece, with the place of each among all of them.
    pub(crate) fn visit_sources(&self, sources: &[Source], mut visitor: impl FnMut(u64, &[u8])) {
        let mut before = 0;
        for source in sources {
            visit_data(self.blocks(source), &self.subsystem.ssd, source.extent, |at, piece| {
                visitor(before + at, piece);
            });
            before += source.extent.len;
        }
    }

    fn blocks(&self, source: &Source) -> &NvmNamespace {
        let namespace = self.subsystem.namespaces.nvm(source.nsid);
        namespace.expect("a namespace outlives the copies from it")
    }
}

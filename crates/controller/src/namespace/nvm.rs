//! An NVM namespace: blocks on the flash model.
//!
//! A command takes a copy of what the namespace is and works with that: I/O changes nothing of it.

pub(crate) mod commands;
mod copy;
mod data;
mod erase;
mod pages;
pub(crate) mod waiting;
mod zoned;
pub(crate) mod zones;

pub(crate) use copy::{SourceList, resolve_blocks, resolve_extent, resolve_sources, total};
pub(crate) use data::visit_data;
pub(crate) use pages::{media_status, page_done};

use nvme_spec::{ErrorRecovery, Nsid, Status};
use ssd::{Lpn, Span, Ssd};

use crate::command::Blocks;
use crate::extent::Extent;
use crate::features::Saved;
use crate::namespace::nvm::zones::ZoneLayout;
use crate::namespace::space::Placement;
use crate::placement::Handles;

/// Bytes of a block by LBA format index.
pub(crate) const LBA_FORMATS: [u32; 2] = [512, 4096];

/// An NVM namespace.
#[derive(Clone, Debug)]
pub(crate) struct NvmNamespace {
    pub(crate) nsid: Nsid,
    /// Tells namespaces apart for ever: identifiers of deleted ones come again, this number does not.
    pub(crate) identity: u32,
    /// Bytes of flash that it has: whole pages.
    pub(crate) capacity: u64,
    pub(crate) block_count: u64,
    pub(crate) block_bytes: u32,
    /// Bytes of a flash page, as a power of two.
    pub(crate) page_bits: u32,
    pub(crate) placement: Placement,
    /// Where its zones lie, if it is zoned.
    pub(crate) layout: Option<ZoneLayout>,
    /// Which of the flash's streams its blocks are written to.
    pub(crate) handles: Handles,
    /// Those that it has when the drive has data placement: kept while it has not.
    pub(crate) remembered_handles: Option<Handles>,
    pub(crate) error_recovery: Saved<ErrorRecovery>,
    /// Kept over resets.
    pub(crate) is_protected: bool,
    /// The flash takes no more writes.
    pub(crate) is_worn_out: bool,
    pub(crate) is_formatting: bool,
}

impl NvmNamespace {
    /// A format is done: the namespace has as many blocks as its capacity holds. True if that changed something.
    pub(crate) fn set_format(&mut self, block_bytes: u32) -> bool {
        let block_count = self.bytes() / u64::from(block_bytes);
        let before = (self.block_bytes, self.block_count);
        (self.block_bytes, self.block_count) = (block_bytes, block_count);
        before != (block_bytes, block_count)
    }

    /// Bytes that its blocks name, also those that can not be written.
    pub(crate) fn bytes(&self) -> u64 {
        self.layout.map_or(self.capacity, |layout| layout.bytes())
    }

    /// The logical page of the flash for a page of the namespace; none for what can not be written.
    #[inline]
    fn lpn(&self, page: u64) -> Lpn {
        match &self.layout {
            None => self.placement.lpn(page),
            Some(layout) => layout
                .page(page, self.page_bits)
                .map_or(Lpn::NOTHING, |page| self.placement.lpn(page)),
        }
    }

    /// Flash pages that it has.
    pub(crate) fn page_count(&self) -> u64 {
        self.capacity >> self.page_bits
    }

    /// True if the host protected the namespace, or its flash is worn out.
    #[inline]
    pub(crate) fn is_read_only(&self) -> bool {
        self.is_protected || self.is_worn_out
    }

    /// Refuses to change a namespace that is read only.
    #[inline]
    pub(crate) fn check_writable(&self) -> Result<(), Status> {
        if self.is_read_only() {
            return Err(Status::WRITE_PROTECTED.with_dnr());
        }
        Ok(())
    }

    /// With DULBE, refuses blocks that are deallocated or were never written. Flash pages are the
    /// unit: a page of which one block was written counts as written.
    pub(crate) fn check_written(&self, ssd: &Ssd, extent: Extent) -> Result<(), Status> {
        if !self.error_recovery.current.dulbe() {
            return Ok(());
        }
        if self.spans(extent).all(|span| ssd.is_mapped(span.lpn)) {
            return Ok(());
        }
        Err(Status::UNWRITTEN_BLOCK.with_dnr())
    }

    /// The bytes of a block range, checked against size and transfer limit.
    #[inline]
    pub(crate) fn transfer(&self, blocks: Blocks, bytes_max: u64) -> Result<Extent, Status> {
        if u64::from(blocks.count) * u64::from(self.block_bytes) > bytes_max {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        self.extent(blocks.first, u64::from(blocks.count))
    }

    /// The bytes of a block range, checked against the size.
    #[inline]
    pub(crate) fn extent(&self, first_block: u64, count: u64) -> Result<Extent, Status> {
        let end = first_block.checked_add(count);
        if end.is_none_or(|end| end > self.block_count) {
            return Err(Status::LBA_OUT_OF_RANGE.with_dnr());
        }
        let block = u64::from(self.block_bytes);
        Ok(Extent { start: first_block * block, len: count * block })
    }

    /// Flash pages that a byte range touches.
    #[inline]
    pub(crate) fn pages_of(&self, extent: Extent) -> u32 {
        let last = (extent.end() - 1) >> self.page_bits;
        (last - (extent.start >> self.page_bits) + 1) as u32
    }

    /// The flash pages of a byte range.
    #[inline]
    pub(crate) fn spans(&self, extent: Extent) -> impl Iterator<Item = Span> + '_ {
        let (mut byte, end, page_bits) = (extent.start, extent.end(), self.page_bits);
        core::iter::from_fn(move || {
            if byte >= end {
                return None;
            }
            let page = byte >> page_bits;
            let until = end.min((page + 1) << page_bits);
            let offset = (byte & ((1 << page_bits) - 1)) as u32;
            let span = Span { lpn: self.lpn(page), offset, len: (until - byte) as u32 };
            byte = until;
            Some(span)
        })
    }

    /// The flash pages of a byte range that can be written, numbered as the namespace has them in flash: runs of them.
    pub(crate) fn written_parts(&self, extent: Extent) -> impl Iterator<Item = (u64, u64)> + '_ {
        let (mut byte, end) = (extent.start, extent.end());
        core::iter::from_fn(move || {
            while byte < end {
                let start = byte;
                let (first, len) = match &self.layout {
                    None => {
                        byte = end;
                        (start, end - start)
                    }
                    Some(layout) => {
                        let (zone, place) = layout.find(start);
                        byte = end.min(layout.start(zone + 1));
                        let room = layout.capacity.saturating_sub(place);
                        (u64::from(zone) * layout.capacity + place, room.min(byte - start))
                    }
                };
                if len > 0 {
                    let page = first >> self.page_bits;
                    return Some((page, ((first + len - 1) >> self.page_bits) - page + 1));
                }
            }
            None
        })
    }

    /// All its flash pages: where neighbours begin, and how many they are.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = (Lpn, u64)> + '_ {
        self.placement.pieces(0, self.page_count())
    }
}

//! The NVM namespace: blocks on the flash model.

use nvme_spec::{Status, SubmissionEntry};
use simtime::Instant;
use ssd::{Lpn, Request, RequestKind, Ssd};

use crate::command::NvmCommand;
use crate::controller::Controller;
use crate::host_memory::HostMemory;
use crate::inflight::{Activity, Arrival, Tag};
use crate::prp::Segments;

/// What a page never written reads as. As long as the largest flash page.
static ZEROES: [u8; 65_536] = [0; 65_536];

impl Controller {
    /// Executes a command of the NVM command set.
    #[inline]
    pub(crate) fn nvm(
        &mut self,
        now: Instant,
        host: &mut impl HostMemory,
        tag: Tag,
        entry: &SubmissionEntry,
    ) -> Result<(), Status> {
        let (prp1, prp2) = (entry.prp1.get(), entry.prp2.get());
        match NvmCommand::decode(entry)? {
            NvmCommand::Flush => {
                self.set_activity(tag, Activity::Writing { pages_left: 1 });
                self.ssd.submit(now, Request { kind: RequestKind::Flush, lpn: Lpn(0), tag: tag.0 });
            }
            NvmCommand::Read { first_block, block_count } => {
                let (start, len) = self.extent(first_block, block_count)?;
                let segments = Segments::from_prp(host, prp1, prp2, len)?;
                self.logs.count_read(len);
                let pages_left = self.page_count(start, len);
                let activity =
                    Activity::Reading { start, len, segments, pages_left, link_end: now };
                self.set_activity(tag, activity);
                self.read_pages(now, tag, start, len);
            }
            NvmCommand::Write { first_block, block_count, fua } => {
                let (start, len) = self.extent(first_block, block_count)?;
                let segments = Segments::from_prp(host, prp1, prp2, len)?;
                self.logs.count_write(len);
                let arrival = Box::new(Arrival::NvmWrite { start, len, fua });
                self.expect_data(now, tag, len, Activity::Arriving { segments, arrival });
            }
        }
        Ok(())
    }

    pub(crate) fn set_activity(&mut self, tag: Tag, activity: Activity) {
        if let Some(command) = self.inflight.get_mut(tag) {
            command.activity = activity;
        }
    }

    /// Blocks of the namespace.
    pub(crate) fn block_count(&self) -> u64 {
        self.config.flash.capacity_bytes / u64::from(self.config.block_bytes)
    }

    /// First byte and length of a block range, checked against size and transfer limit.
    #[inline]
    fn extent(&self, first_block: u64, block_count: u32) -> Result<(u64, u64), Status> {
        let len = u64::from(block_count) * u64::from(self.config.block_bytes);
        if len > self.config.transfer_bytes_max {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        self.byte_extent(first_block, u64::from(block_count))
    }

    /// First byte and length of a block range, checked against the size.
    #[inline]
    pub(crate) fn byte_extent(&self, first_block: u64, count: u64) -> Result<(u64, u64), Status> {
        let end = first_block.checked_add(count);
        if end.is_none_or(|end| end > self.block_count()) {
            return Err(Status::LBA_OUT_OF_RANGE.with_dnr());
        }
        let block = u64::from(self.config.block_bytes);
        Ok((first_block * block, count * block))
    }

    /// Flash pages that a byte range touches.
    #[inline]
    pub(crate) fn page_count(&self, start: u64, len: u64) -> u32 {
        let last = (start + len - 1) >> self.page_bits;
        (last - (start >> self.page_bits) + 1) as u32
    }

    /// Starts reading the pages of a byte range.
    #[inline]
    pub(crate) fn read_pages(&mut self, now: Instant, tag: Tag, start: u64, len: u64) {
        let first = (start >> self.page_bits) as u32;
        for lpn in first..first + self.page_count(start, len) {
            self.ssd.submit(now, Request { kind: RequestKind::Read, lpn: Lpn(lpn), tag: tag.0 });
        }
    }

    /// A write's data has arrived: keep it, and start writing its pages.
    pub(crate) fn nvm_write(
        &mut self,
        now: Instant,
        host: &impl HostMemory,
        tag: Tag,
        segments: &Segments,
        (start, len, fua): (u64, u64, bool),
    ) -> Result<(), Status> {
        write_store(&mut self.ssd, host, start, segments)?;
        let pages = self.page_count(start, len);
        self.set_activity(tag, Activity::Writing { pages_left: pages + u32::from(fua) });
        let page_bytes = 1u64 << self.page_bits;
        let first = start >> self.page_bits;
        for lpn in first..first + u64::from(pages) {
            let (page_start, page_end) = (lpn * page_bytes, (lpn + 1) * page_bytes);
            let partial = page_start < start || page_end > start + len;
            let kind = RequestKind::Write { partial };
            self.ssd.submit(now, Request { kind, lpn: Lpn(lpn as u32), tag: tag.0 });
        }
        if fua {
            let kind = RequestKind::Flush;
            self.ssd.submit(now, Request { kind, lpn: Lpn(0), tag: tag.0 });
        }
        Ok(())
    }

    /// The flash model finished a page (or a flush) of a command.
    #[inline]
    pub(crate) fn page_done(&mut self, now: Instant, host: &mut impl HostMemory, tag: Tag) {
        let page_bytes = 1u64 << self.page_bits;
        // A command that was abandoned meanwhile waits for nothing.
        let Some(command) = self.inflight.get_mut(tag) else { return };
        match &mut command.activity {
            Activity::Reading { start, len, segments, pages_left, link_end } => {
                *pages_left -= 1;
                // Every page crosses the link as soon as it is read; the last may be short.
                let sent = *len - (*len).saturating_sub(page_bytes);
                *len -= sent;
                *link_end = self.to_host.send(now, sent).max(*link_end);
                if *pages_left > 0 {
                    return;
                }
                let (start, end) = (*start, *link_end);
                let segments = std::mem::take(segments);
                command.end_stage(now, |s| &mut s.flash_read);
                command.end_stage(end, |s| &mut s.transfer);
                let status = match read_store(&self.ssd, host, start, &segments) {
                    Ok(()) => Status::SUCCESS,
                    Err(status) => status,
                };
                self.complete(end, tag, status, 0);
            }
            Activity::Writing { pages_left } => {
                *pages_left -= 1;
                if *pages_left == 0 {
                    command.end_stage(now, |s| &mut s.flash_write);
                    self.complete(now, tag, Status::SUCCESS, 0);
                }
            }
            Activity::Copying { pages_left, link_end, .. } => {
                *pages_left -= 1;
                *link_end = self.internal.send(now, page_bytes).max(*link_end);
                if *pages_left == 0 {
                    self.copy_arrived(now, tag);
                }
            }
            other => unreachable!("flash finished a page for a command that is {other:?}"),
        }
    }
}

/// Copies from the page store to host memory; nothing if the drive models times alone.
#[inline]
fn read_store(
    ssd: &Ssd,
    host: &mut impl HostMemory,
    start: u64,
    segments: &Segments,
) -> Result<(), Status> {
    let Some(store) = ssd.store() else { return Ok(()) };
    let page_bytes = u64::from(ssd.geometry().page_bytes);
    let mut byte = start;
    for segment in segments.iter() {
        let (mut address, mut left) = (segment.address, segment.len);
        while left > 0 {
            let at = (byte & (page_bytes - 1)) as usize;
            let n = left.min(page_bytes - at as u64);
            let page = store.page(Lpn((byte / page_bytes) as u32)).unwrap_or(&ZEROES);
            host.write(address, &page[at..at + n as usize])
                .map_err(|_| Status::DATA_TRANSFER_ERROR)?;
            (address, byte, left) = (address + n, byte + n, left - n);
        }
    }
    Ok(())
}

/// Copies from host memory to the page store.
fn write_store(
    ssd: &mut Ssd,
    host: &impl HostMemory,
    start: u64,
    segments: &Segments,
) -> Result<(), Status> {
    let page_bytes = u64::from(ssd.geometry().page_bytes);
    let Some(store) = ssd.store_mut() else { return Ok(()) };
    let mut byte = start;
    for segment in segments.iter() {
        let (mut address, mut left) = (segment.address, segment.len);
        while left > 0 {
            let at = (byte & (page_bytes - 1)) as usize;
            let n = left.min(page_bytes - at as u64);
            let page = store.page_mut(Lpn((byte / page_bytes) as u32));
            host.read(address, &mut page[at..at + n as usize])
                .map_err(|_| Status::DATA_TRANSFER_ERROR)?;
            (address, byte, left) = (address + n, byte + n, left - n);
        }
    }
    Ok(())
}

/// Copies a byte range from the page store, page by page.
pub(crate) fn visit_store(ssd: &Ssd, start: u64, len: u64, mut visitor: impl FnMut(u64, &[u8])) {
    let Some(store) = ssd.store() else { return };
    let page_bytes = u64::from(ssd.geometry().page_bytes);
    let mut offset = 0;
    while offset < len {
        let byte = start + offset;
        let at = (byte & (page_bytes - 1)) as usize;
        let n = (len - offset).min(page_bytes - at as u64);
        let page = store.page(Lpn((byte / page_bytes) as u32)).unwrap_or(&ZEROES);
        visitor(offset, &page[at..at + n as usize]);
        offset += n;
    }
}

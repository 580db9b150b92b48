//! The NVM namespace: blocks on the flash model.

mod copy;
mod data;
mod erase;

use nvme_spec::{Status, SubmissionEntry};
use simtime::Instant;
use ssd::{Done, RequestId};

use crate::command::{Blocks, NvmCommand};
use crate::controller::Controller;
use crate::data_pointer::{DataPointer, Direction, Segments};
use crate::host_memory::HostMemory;
use crate::inflight::{Activity, Arrival, Check, CopyTarget, FusedWrite, HostData, Reserved, Tag};

pub(crate) use copy::total;
use data::{compare_data, media_status, send_data, spans};

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
        let pointer = DataPointer::of(entry);
        match NvmCommand::decode(entry)? {
            NvmCommand::Read { blocks } => {
                let (start, len) = self.extent(blocks)?;
                let segments = Segments::resolve(host, pointer, len, Direction::ToHost)?;
                self.check_written(start, len)?;
                self.will_count(tag, HostData::Read(len as u32));
                let pages_left = self.page_count(start, len);
                let activity =
                    Activity::Reading { start, len, segments, pages_left, link_end: now };
                self.set_activity(tag, activity);
                self.read_pages(now, tag, start, len);
                Ok(())
            }
            NvmCommand::Write { blocks, fua } => {
                let (start, len) = self.extent(blocks)?;
                self.check_writable()?;
                let segments = Segments::resolve(host, pointer, len, Direction::FromHost)?;
                self.will_count(tag, HostData::Written(len as u32));
                let arrival = Box::new(Arrival::NvmWrite { start, len, fua });
                self.expect_data(now, tag, len, Activity::Arriving { segments, arrival });
                Ok(())
            }
            other => self.nvm_uncommon(now, host, tag, (other, pointer)),
        }
    }

    /// The commands that are not on the hot path.
    fn nvm_uncommon(
        &mut self,
        now: Instant,
        host: &mut impl HostMemory,
        tag: Tag,
        (command, pointer): (NvmCommand, DataPointer),
    ) -> Result<(), Status> {
        match command {
            NvmCommand::Flush => {
                self.set_activity(tag, Activity::Writing { pages_left: 1 });
                self.ssd.flush(now, RequestId(tag.0));
            }
            NvmCommand::Compare { blocks } => {
                let (start, len) = self.extent(blocks)?;
                let segments = Segments::resolve(host, pointer, len, Direction::FromHost)?;
                self.check_written(start, len)?;
                self.will_count(tag, HostData::Read(len as u32));
                let arrival = Box::new(Arrival::NvmCompare { start, len, write: None });
                self.expect_data(now, tag, len, Activity::Arriving { segments, arrival });
            }
            NvmCommand::Verify { blocks } => {
                let (start, len) = self.byte_extent(blocks.first, blocks.count.into())?;
                self.check_written(start, len)?;
                self.will_count(tag, HostData::Verified(len as u32));
                self.check_blocks(now, tag, (start, len), None, None);
            }
            NvmCommand::WriteZeroes(zero) => self.write_zeroes(now, tag, zero)?,
            NvmCommand::Dataset { range_count, deallocate } => {
                self.dataset(now, host, tag, (range_count, deallocate, pointer))?;
            }
            NvmCommand::Copy(copy) => self.nvm_copy(now, host, tag, (copy, pointer))?,
            NvmCommand::Read { .. } | NvmCommand::Write { .. } => {
                unreachable!("the common commands have arms of their own")
            }
        }
        Ok(())
    }

    /// Starts a fused pair: the blocks are compared and written at one moment, so nothing comes
    /// between (NVM Command Set 1.2, section 2.1.2). An error is the compare's; nothing was started
    /// then.
    pub(crate) fn compare_and_write(
        &mut self,
        now: Instant,
        host: &impl HostMemory,
        (compare, write): (Tag, Tag),
        (first, second): (&SubmissionEntry, &SubmissionEntry),
    ) -> Result<(), Status> {
        let NvmCommand::Compare { blocks } = NvmCommand::decode(first)? else {
            unreachable!("whoever took the pair checked its opcodes")
        };
        let NvmCommand::Write { fua, .. } = NvmCommand::decode(second)? else {
            unreachable!("whoever took the pair checked its opcodes")
        };
        let (start, len) = self.extent(blocks)?;
        self.check_writable()?;
        self.check_written(start, len)?;
        let resolve =
            |entry| Segments::resolve(host, DataPointer::of(entry), len, Direction::FromHost);
        let (expected, new) = (resolve(first)?, resolve(second)?);
        self.will_count(compare, HostData::Read(len as u32));
        self.will_count(write, HostData::Written(len as u32));
        let fused = FusedWrite { tag: write, segments: new, fua };
        let arrival = Box::new(Arrival::NvmCompare { start, len, write: Some(fused) });
        self.set_activity(write, Activity::AwaitingCompare);
        let arriving = Activity::Arriving { segments: expected, arrival };
        self.expect_data(now, compare, 2 * len, arriving);
        Ok(())
    }

    /// True if the drive acknowledges writes before they are in flash.
    pub(crate) fn has_write_cache(&self) -> bool {
        self.config.flash.write_buffer_bytes > 0
    }

    /// Refuses to change a protected namespace.
    pub(crate) fn check_writable(&self) -> Result<(), Status> {
        if self.features.write_protected {
            return Err(Status::WRITE_PROTECTED.with_dnr());
        }
        Ok(())
    }

    /// With DULBE, refuses blocks that are deallocated or were never written. Flash pages are the
    /// unit: a page of which one block was written counts as written.
    pub(crate) fn check_written(&self, start: u64, len: u64) -> Result<(), Status> {
        if !self.features.current.error_recovery.dulbe() {
            return Ok(());
        }
        if spans(self.page_bits, start, len).all(|span| self.ssd.is_mapped(span.lpn)) {
            return Ok(());
        }
        Err(Status::UNWRITTEN_BLOCK.with_dnr())
    }

    /// Blocks of the namespace.
    pub(crate) fn block_count(&self) -> u64 {
        self.config.flash.capacity_bytes / u64::from(self.block_bytes)
    }

    /// First byte and length of a block range, checked against size and transfer limit.
    #[inline]
    fn extent(&self, Blocks { first, count }: Blocks) -> Result<(u64, u64), Status> {
        let len = u64::from(count) * u64::from(self.block_bytes);
        if len > self.config.transfer_bytes_max {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        self.byte_extent(first, u64::from(count))
    }

    /// First byte and length of a block range, checked against the size.
    #[inline]
    pub(crate) fn byte_extent(&self, first_block: u64, count: u64) -> Result<(u64, u64), Status> {
        let end = first_block.checked_add(count);
        if end.is_none_or(|end| end > self.block_count()) {
            return Err(Status::LBA_OUT_OF_RANGE.with_dnr());
        }
        let block = u64::from(self.block_bytes);
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
        for span in spans(self.page_bits, start, len) {
            self.ssd.read(now, RequestId(tag.0), span);
        }
    }

    /// A write's data has arrived: its pages are written.
    pub(crate) fn nvm_write(
        &mut self,
        now: Instant,
        host: &impl HostMemory,
        tag: Tag,
        segments: &Segments,
        (start, len, fua): (u64, u64, bool),
    ) -> Result<(), Status> {
        self.keep_data(host, segments, len, |drive, data| {
            drive.write_pages(now, tag, &[(start, len)], Some(data), fua);
        })
    }

    /// Starts writing byte ranges, with one after the other of the bytes, or with zeroes. Without a write cache in force every
    /// write is in flash before it is acknowledged, as with FUA.
    fn write_pages(
        &mut self,
        now: Instant,
        tag: Tag,
        extents: &[(u64, u64)],
        bytes: Option<&[u8]>,
        fua: bool,
    ) {
        let durable = fua || !self.features.current.write_cache;
        let pages_left = extents.iter().map(|&(start, len)| self.page_count(start, len)).sum();
        self.inflight.reserve(tag, Reserved::default());
        self.set_activity(tag, Activity::Writing { pages_left });
        let mut rest = bytes;
        for &(start, len) in extents {
            for span in spans(self.page_bits, start, len) {
                let piece = rest.map(|bytes| {
                    let (piece, tail) = bytes.split_at(span.len as usize);
                    rest = Some(tail);
                    piece
                });
                self.ssd.write(now, RequestId(tag.0), span, durable, piece);
            }
        }
    }

    /// Starts reading blocks to compare them with the host's data, or only to verify that they can
    /// be read.
    pub(crate) fn check_blocks(
        &mut self,
        now: Instant,
        tag: Tag,
        (start, len): (u64, u64),
        compare: Option<Segments>,
        write: Option<FusedWrite>,
    ) {
        let pages_left = self.page_count(start, len);
        let check = Check { start, len, pages_left, compare, write };
        self.set_activity(tag, Activity::Checking(Box::new(check)));
        self.read_pages(now, tag, start, len);
    }

    /// The blocks to check have been read.
    fn blocks_checked(&mut self, now: Instant, host: &impl HostMemory, tag: Tag) {
        let Some(command) = self.inflight.get_mut(tag) else { return };
        let activity = std::mem::replace(&mut command.activity, Activity::Completing);
        let Activity::Checking(check) = activity else {
            unreachable!("only a check waits for pages to check")
        };
        command.end_stage(now, |s| &mut s.flash_read);
        let Check { start, len, compare, write, .. } = *check;
        let status = match compare {
            _ if !command.status.is_success() => command.status,
            None => Status::SUCCESS,
            Some(with) => match compare_data(&self.ssd, host, start, &with) {
                Ok(true) => Status::SUCCESS,
                Ok(false) => Status::COMPARE_FAILURE.with_dnr(),
                Err(status) => status,
            },
        };
        self.complete(now, tag, status, 0);
        let Some(FusedWrite { tag: write, segments, fua }) = write else { return };
        if self.inflight.get_mut(write).is_none() {
            return; // aborted meanwhile
        }
        let written = match status {
            Status::SUCCESS => self.nvm_write(now, host, write, &segments, (start, len, fua)),
            _ => Err(Status::ABORTED_FAILED_FUSED),
        };
        if let Err(status) = written {
            self.complete(now, write, status, 0);
        }
    }

    /// The flash model finished a page (or a flush) of a command.
    #[inline]
    pub(crate) fn page_done(&mut self, host: &mut impl HostMemory, done: Done) {
        let (now, tag) = (done.at, Tag(done.id.0));
        let page_bytes = 1u64 << self.page_bits;
        let Some(command) = self.inflight.get_mut(tag) else {
            return self.nobody_waits(tag);
        };
        // The first error is the command's; none of its data is handed out.
        if let Err(error) = done.result
            && command.status.is_success()
        {
            command.status = media_status(error);
        }
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
                let end = *link_end;
                let mut status = command.status;
                if status.is_success() {
                    status = send_data(&self.ssd, host, *start, segments).err().unwrap_or(status);
                }
                command.end_stage(now, |s| &mut s.flash_read);
                command.end_stage(end, |s| &mut s.transfer);
                self.complete_at((now, end), host, tag, status);
            }
            Activity::Writing { pages_left } => {
                *pages_left -= 1;
                if *pages_left == 0 {
                    command.end_stage(now, |s| &mut s.flash_write);
                    let status = command.status;
                    self.complete_at((now, now), host, tag, status);
                }
            }
            Activity::Checking(check) => {
                check.pages_left -= 1;
                if check.pages_left == 0 {
                    self.blocks_checked(now, host, tag);
                }
            }
            Activity::Copying { target, pages_left, link_end, .. } => {
                *pages_left -= 1;
                // From flash to flash a page stays in the controller.
                if let CopyTarget::Memory(_) = target {
                    *link_end = self.internal.send(now, page_bytes).max(*link_end);
                }
                if *pages_left == 0 {
                    self.copy_arrived(now, tag);
                }
            }
            other => unreachable!("flash finished a page for a command that is {other:?}"),
        }
    }
}

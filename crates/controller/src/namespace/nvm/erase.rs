//! Write Zeroes and Dataset Management: blocks that hold nothing (NVM Command Set 1.2, sections
//! 3.2.8 and 3.2.3).
//!
//! Deallocation is by whole flash pages (NPDG, NPDA); it changes the map alone and takes no flash
//! time. Deallocated blocks read as zeroes (DLFEAT).

use nvme_spec::Status;
use nvme_spec::command::DatasetRange;
use simtime::Instant;
use ssd::Lpn;
use zerocopy::IntoBytes;

use crate::command::ZeroBlocks;
use crate::controller::Controller;
use crate::data_pointer::{DataPointer, Direction, Segments};
use crate::host_memory::HostMemory;
use crate::inflight::{Activity, Arrival, Tag};

impl Controller {
    /// Write Zeroes. With DEAC whole pages are deallocated, and only pages in part of the range are
    /// written.
    pub(super) fn write_zeroes(
        &mut self,
        now: Instant,
        tag: Tag,
        ZeroBlocks { blocks, deallocate, fua }: ZeroBlocks,
    ) -> Result<(), Status> {
        let (start, len) = self.byte_extent(blocks.first, blocks.count.into())?;
        self.check_writable()?;
        if !deallocate {
            self.write_pages(now, tag, &[(start, len)], None, fua);
            return Ok(());
        }
        let end = start + len;
        let (first, last) = self.whole_pages(start, len);
        self.deallocate_pages(now, first, last);
        // What is left at either side of the whole pages, or all of it if there is none.
        let edges =
            if first < last { vec![(start, first), (last, end)] } else { vec![(start, end)] };
        let extents: Vec<_> = edges
            .into_iter()
            .filter(|(from, to)| from < to)
            .map(|(from, to)| (from, to - from))
            .collect();
        if extents.is_empty() {
            self.complete(now, tag, Status::SUCCESS, 0);
        } else {
            self.write_pages(now, tag, &extents, None, fua);
        }
        Ok(())
    }

    /// The whole pages of a byte range: where they begin and end; there are none if that is no range.
    fn whole_pages(&self, start: u64, len: u64) -> (u64, u64) {
        let page_bytes = 1u64 << self.page_bits;
        (start.next_multiple_of(page_bytes), (start + len) & !(page_bytes - 1))
    }

    /// Deallocates pages, from a byte to another.
    fn deallocate_pages(&mut self, now: Instant, first: u64, last: u64) {
        if first < last {
            let (lpn, count) = (first >> self.page_bits, (last - first) >> self.page_bits);
            self.ssd.deallocate(now, Lpn(lpn), count);
        }
    }

    /// Dataset Management: hints are taken for what they are, deallocation is done.
    pub(super) fn dataset(
        &mut self,
        now: Instant,
        host: &impl HostMemory,
        tag: Tag,
        (range_count, deallocate, pointer): (usize, bool, DataPointer),
    ) -> Result<(), Status> {
        if !deallocate {
            self.complete(now, tag, Status::SUCCESS, 0);
            return Ok(());
        }
        self.check_writable()?;
        let len = (range_count * size_of::<DatasetRange>()) as u64;
        let segments = Segments::resolve(host, pointer, len, Direction::FromHost)?;
        let arrival = Box::new(Arrival::Dataset { range_count });
        self.expect_data(now, tag, len, Activity::Arriving { segments, arrival });
        Ok(())
    }

    /// The ranges have arrived: all are checked before any is deallocated.
    pub(crate) fn dataset_arrived(
        &mut self,
        now: Instant,
        host: &impl HostMemory,
        tag: Tag,
        segments: &Segments,
        range_count: usize,
    ) -> Result<(), Status> {
        let mut list = vec![DatasetRange::default(); range_count];
        segments.read(host, list.as_mut_bytes())?;
        let whole_pages = |range: &DatasetRange| {
            let (start, len) = self.byte_extent(range.slba.get(), range.nlb.get().into())?;
            Ok(self.whole_pages(start, len))
        };
        let mut extents: Vec<_> = list.iter().map(whole_pages).collect::<Result<_, Status>>()?;
        // Ranges that overlap are done once: the work is bounded by the drive, not by the list.
        extents.sort_unstable();
        let mut done = 0;
        for (first, last) in extents {
            self.deallocate_pages(now, first.max(done), last);
            done = done.max(last);
        }
        self.complete(now, tag, Status::SUCCESS, 0);
        Ok(())
    }
}

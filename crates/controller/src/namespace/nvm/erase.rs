//! Write Zeroes and Dataset Management: blocks that hold nothing (NVM Command Set 1.2, sections
//! 3.2.8 and 3.2.3).
//!
//! Deallocation is by whole flash pages (NPDG, NPDA); it changes the map alone and takes no flash
//! time, but that of the map (`flash.deallocate_time`). Deallocated blocks read as zeroes (DLFEAT).

use std::collections::BTreeSet;

use history::{Change, Range};
use nvme_spec::Status;
use nvme_spec::command::DatasetRange;
use simtime::Instant;
use ssd::{Hint, RequestId};
use zerocopy::IntoBytes;

use super::NvmNamespace;
use super::waiting::{NvmArrival, NvmWait, Target};
use crate::command::ZeroBlocks;
use crate::data_pointer::{DataPointer, Segments};
use crate::event::Tag;
use crate::extent::Extent;
use crate::turn::Turn;
use crate::waiting::{Arrival, Waiting};

/// Whole pages, from a byte to another; none if that is no range.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct WholePages {
    first: u64,
    last: u64,
}

impl NvmNamespace {
    /// Write Zeroes. With DEAC whole pages are deallocated, and only pages in part of the range are
    /// written; but zones are only ever written.
    pub(super) fn write_zeroes(
        &self,
        turn: &mut Turn<'_>,
        tag: Tag,
        ZeroBlocks { blocks, deallocate, fua }: ZeroBlocks,
    ) -> Result<(), Status> {
        let extent = self.extent(blocks.first, blocks.count.into())?;
        self.check_writable()?;
        if !deallocate || self.layout.is_some() {
            let stream = self.handles.default_stream();
            return self.write(turn, tag, Target { extent, fua, stream, is_append: false }, None);
        }
        let whole = self.whole_pages(extent);
        let durable = turn.must_be_durable(fua);
        let mut changed = BTreeSet::new();
        self.deallocate_pages(turn, tag, whole, durable, &mut changed);
        let ends = ends(turn, &changed);
        let between =
            |start: u64, end: u64| (start < end).then(|| Extent { start, len: end - start });
        // What is left at either side of the whole pages, or all of it if there is none.
        let edges: Vec<_> = if whole.first < whole.last {
            let edges = [between(extent.start, whole.first), between(whole.last, extent.end())];
            edges.into_iter().flatten().collect()
        } else {
            vec![extent]
        };
        if !edges.is_empty() {
            let hint = Hint::of(self.handles.default_stream());
            self.write_pages(turn, tag, &edges, None, (fua, hint));
        }
        let is_deallocated = whole.first < whole.last;
        finish_deallocation(turn, tag, edges.is_empty(), durable && is_deallocated, ends);
        Ok(())
    }

    fn whole_pages(&self, extent: Extent) -> WholePages {
        let page_bytes = 1u64 << self.page_bits;
        WholePages {
            first: extent.start.next_multiple_of(page_bytes),
            last: extent.end() & !(page_bytes - 1),
        }
    }

    fn deallocate_pages(
        &self,
        turn: &mut Turn<'_>,
        tag: Tag,
        WholePages { first, last }: WholePages,
        is_durable: bool,
        changed: &mut BTreeSet<u64>,
    ) {
        if first < last {
            if let Some(history) = &mut turn.subsystem.history {
                let ranges = vec![Range { start: first, len: last - first }];
                let change = Change::Deallocate { nsid: self.nsid.0, ranges, is_durable };
                history.begun(turn.now, tag, change);
            }
            let (page, count) = (first >> self.page_bits, (last - first) >> self.page_bits);
            for (lpn, count) in self.placement.pieces(page, count) {
                changed.extend(turn.subsystem.ssd.changed_map_pages(lpn, count));
                turn.subsystem.ssd.deallocate(turn.now, lpn, count);
            }
        }
    }

    /// Dataset Management: hints are taken for what they are, deallocation is done.
    pub(super) fn dataset(
        &self,
        turn: &mut Turn<'_>,
        tag: Tag,
        range_count: usize,
        deallocate: bool,
        pointer: DataPointer,
    ) -> Result<(), Status> {
        // What is deallocated in a zone would be a gap before its write pointer; a host resets zones.
        if !deallocate || self.layout.is_some() {
            turn.complete(tag, Status::SUCCESS, 0);
            return Ok(());
        }
        self.check_writable()?;
        let len = (range_count * size_of::<DatasetRange>()) as u64;
        turn.fetch_data(tag, pointer, len, Arrival::Nvm(NvmArrival::Dataset { range_count }))
    }

    /// The ranges have arrived: all are checked before any is deallocated.
    pub(super) fn dataset_arrived(
        &self,
        turn: &mut Turn<'_>,
        tag: Tag,
        segments: &Segments,
        range_count: usize,
    ) -> Result<(), Status> {
        let mut list = vec![DatasetRange::default(); range_count];
        segments.read(&*turn.host, list.as_mut_bytes())?;
        let whole_pages = |range: &DatasetRange| {
            let extent = self.extent(range.slba.get(), range.nlb.get().into())?;
            Ok(self.whole_pages(extent))
        };
        let mut ranges: Vec<_> = list.iter().map(whole_pages).collect::<Result<_, Status>>()?;
        // Ranges that overlap are done once: the work is bounded by the drive, not by the list.
        ranges.sort_unstable();
        let durable = turn.must_be_durable(false);
        let (mut done, mut changed) = (0, BTreeSet::new());
        for WholePages { first, last } in ranges {
            let pages = WholePages { first: first.max(done), last };
            self.deallocate_pages(turn, tag, pages, durable, &mut changed);
            done = done.max(last);
        }
        let ends = ends(turn, &changed);
        finish_deallocation(turn, tag, true, durable && done > 0, ends);
        Ok(())
    }
}

/// When the map has changed in these pages of it.
fn ends(turn: &Turn<'_>, changed: &BTreeSet<u64>) -> Instant {
    turn.now + turn.subsystem.config.flash.deallocate_time * changed.len() as u64
}

/// Ends a command that deallocated, unless it has pages to write: at once, or when what it did stays so whatever happens.
fn finish_deallocation(
    turn: &mut Turn<'_>,
    tag: Tag,
    is_all: bool,
    is_durable: bool,
    ends: Instant,
) {
    if is_all && !is_durable {
        return turn.complete_at(ends, tag, Status::SUCCESS, 0);
    }
    if is_all {
        turn.wait(tag, NvmWait::writing(0));
    }
    if let Some(command) = turn.command(tag)
        && let Waiting::Nvm(NvmWait::Writing { pages_left, earliest, .. }) = &mut command.waiting
    {
        *pages_left += u32::from(is_durable);
        *earliest = ends;
    }
    if !is_durable {
        return;
    }
    turn.subsystem.ssd.flush(turn.now, RequestId(tag.0));
}

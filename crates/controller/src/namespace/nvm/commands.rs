//! Commands of the NVM command set (NVM Command Set 1.2, section 3): how they begin, and how they go on when their data
//! has arrived.

use history::Change;
use nvme_spec::{Nsid, Status, SubmissionEntry, fdp_event};
use ssd::{Hint, RequestId};

use super::NvmNamespace;
use super::waiting::{Check, FusedWrite, NvmArrival, NvmWait, Target};
use crate::command::{NvmCommand, ZonedCommand};
use crate::data_pointer::{DataPointer, Direction, Segments};
use crate::event::Tag;
use crate::extent::Extent;
use crate::inflight::{HostData, Reserved};
use crate::kept_history;
use crate::placement;
use crate::turn::Turn;
use crate::waiting::{Arrival, Waiting};

/// The two commands of a fused pair.
#[derive(Clone, Copy)]
pub(crate) struct Pair<'a> {
    pub(crate) compare: (Tag, &'a SubmissionEntry),
    pub(crate) write: (Tag, &'a SubmissionEntry),
}

impl NvmNamespace {
    /// Begins a command.
    #[inline]
    pub(crate) fn begin(
        &self,
        turn: &mut Turn<'_>,
        tag: Tag,
        entry: &SubmissionEntry,
    ) -> Result<(), Status> {
        let pointer = DataPointer::of(entry);
        let bytes_max = turn.subsystem.config.transfer_bytes_max;
        if self.layout.is_some()
            && let Some(command) = ZonedCommand::decode(entry)
        {
            return self.begin_zoned(turn, tag, command?, pointer);
        }
        match NvmCommand::decode(entry)? {
            NvmCommand::Read { blocks } => {
                let extent = self.transfer(blocks, bytes_max)?;
                let segments = turn.resolve(pointer, extent.len, Direction::ToHost)?;
                self.check_written(&turn.subsystem.ssd, extent)?;
                let Some(command) = turn.session.inflight.get_mut(tag) else { return Ok(()) };
                command.counts = HostData::Read(extent.len as u32);
                command.waiting = Waiting::Nvm(NvmWait::Reading {
                    start: extent.start,
                    len: extent.len,
                    segments,
                    pages_left: self.pages_of(extent),
                    link_end: turn.now,
                });
                self.read_pages(turn, tag, extent);
                Ok(())
            }
            NvmCommand::Write { blocks, fua, placement } => {
                let extent = self.transfer(blocks, bytes_max)?;
                self.check_writable()?;
                let segments = turn.resolve(pointer, extent.len, Direction::FromHost)?;
                let stream = self.stream(turn, placement)?;
                turn.will_count(tag, HostData::Written(extent.len as u32));
                let arrival = Arrival::Nvm(NvmArrival::Write(Target {
                    extent,
                    fua,
                    stream,
                    is_append: false,
                }));
                turn.expect_data(tag, extent.len, segments, arrival);
                Ok(())
            }
            other => self.begin_uncommon(turn, tag, other, pointer),
        }
    }

    /// The commands that are not on the hot path.
    fn begin_uncommon(
        &self,
        turn: &mut Turn<'_>,
        tag: Tag,
        command: NvmCommand,
        pointer: DataPointer,
    ) -> Result<(), Status> {
        match command {
            NvmCommand::Flush => flush(turn, tag, self.nsid),
            NvmCommand::Compare { blocks } => {
                let extent = self.transfer(blocks, turn.subsystem.config.transfer_bytes_max)?;
                let segments = turn.resolve(pointer, extent.len, Direction::FromHost)?;
                self.check_written(&turn.subsystem.ssd, extent)?;
                turn.will_count(tag, HostData::Read(extent.len as u32));
                let arrival = Arrival::Nvm(NvmArrival::Compare { extent, write: None });
                turn.expect_data(tag, extent.len, segments, arrival);
            }
            NvmCommand::Verify { blocks } => {
                let extent = self.extent(blocks.first, blocks.count.into())?;
                self.check_written(&turn.subsystem.ssd, extent)?;
                turn.will_count(tag, HostData::Verified(extent.len as u32));
                self.check_blocks(turn, tag, extent, None, None);
            }
            NvmCommand::WriteZeroes(zero) => self.write_zeroes(turn, tag, zero)?,
            NvmCommand::Dataset { range_count, deallocate } => {
                self.dataset(turn, tag, range_count, deallocate, pointer)?;
            }
            NvmCommand::Copy(copy) => self.copy(turn, tag, copy, pointer)?,
            NvmCommand::Receive { operation, len } => {
                placement::receive(turn, tag, self, (operation, len), pointer)?;
            }
            NvmCommand::Send { operation, count } => {
                placement::send(turn, tag, (operation, count), pointer)?;
            }
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
        &self,
        turn: &mut Turn<'_>,
        Pair { compare: (compare, first), write: (write, second) }: Pair<'_>,
    ) -> Result<(), Status> {
        let NvmCommand::Compare { blocks } = NvmCommand::decode(first)? else {
            unreachable!("whoever took the pair checked its opcodes")
        };
        let NvmCommand::Write { fua, placement, .. } = NvmCommand::decode(second)? else {
            unreachable!("whoever took the pair checked its opcodes")
        };
        let extent = self.transfer(blocks, turn.subsystem.config.transfer_bytes_max)?;
        self.check_writable()?;
        self.check_written(&turn.subsystem.ssd, extent)?;
        let resolve = |entry| turn.resolve(DataPointer::of(entry), extent.len, Direction::FromHost);
        let (expected, new) = (resolve(first)?, resolve(second)?);
        let stream = self.stream(turn, placement)?;
        turn.will_count(compare, HostData::Read(extent.len as u32));
        turn.will_count(write, HostData::Written(extent.len as u32));
        let fused = FusedWrite { tag: write, segments: new, fua, stream };
        turn.wait(write, NvmWait::AwaitingCompare);
        let arrival = Arrival::Nvm(NvmArrival::Compare { extent, write: Some(fused) });
        turn.expect_data(compare, 2 * extent.len, expected, arrival);
        Ok(())
    }

    /// Goes on with a command whose data has arrived.
    #[inline]
    pub(crate) fn arrived(
        &self,
        turn: &mut Turn<'_>,
        tag: Tag,
        segments: Segments,
        arrival: NvmArrival,
    ) -> Result<(), Status> {
        match arrival {
            NvmArrival::Write(target) => self.write_data(turn, tag, &segments, target),
            NvmArrival::Compare { extent, write } => {
                self.check_blocks(turn, tag, extent, Some(segments), write);
                Ok(())
            }
            NvmArrival::Dataset { range_count } => {
                self.dataset_arrived(turn, tag, &segments, range_count)
            }
            NvmArrival::Placement { count } => {
                placement::list_arrived(turn, tag, self, &segments, count)
            }
            NvmArrival::Copy(copy) => self.copy_sources_arrived(turn, tag, &segments, copy),
            NvmArrival::Memory { sources, target } => {
                self.memory_arrived(turn, tag, &sources, target)
            }
        }
    }

    /// Starts reading the pages of a byte range.
    #[inline]
    pub(crate) fn read_pages(&self, turn: &mut Turn<'_>, tag: Tag, extent: Extent) {
        for span in self.spans(extent) {
            turn.subsystem.ssd.read(turn.now, RequestId(tag.0), span);
        }
    }

    /// A write's data has arrived: its pages are written.
    pub(super) fn write_data(
        &self,
        turn: &mut Turn<'_>,
        tag: Tag,
        segments: &Segments,
        target: Target,
    ) -> Result<(), Status> {
        let mut written = Ok(());
        turn.keep_data(segments, target.extent.len, |turn, data| {
            written = self.write(turn, tag, target, Some(data));
        })?;
        written
    }

    /// The stream of a write: that of its placement identifier. One that the namespace does not have is as none; the host may have
    /// asked to be told.
    #[inline]
    fn stream(&self, turn: &mut Turn<'_>, placement: Option<u16>) -> Result<u8, Status> {
        match placement {
            None => Ok(self.handles.default_stream()),
            Some(_) if !turn.subsystem.config.placement => Err(Status::INVALID_FIELD.with_dnr()),
            Some(identifier) => Ok(self.handles.stream(identifier).unwrap_or_else(|| {
                let stream = self.handles.default_stream();
                let timestamp = turn.session.features.timestamp(turn.now);
                let events = &mut turn.subsystem.placement_events;
                let place = (self.nsid, identifier);
                events.happened(place, stream, fdp_event::INVALID_IDENTIFIER, &timestamp);
                stream
            })),
        }
    }

    /// Starts writing byte ranges, with one after the other of the bytes, or with zeroes. Without a write cache in force every
    /// write is in flash before it is acknowledged, as with FUA.
    pub(super) fn write_pages(
        &self,
        turn: &mut Turn<'_>,
        tag: Tag,
        extents: &[Extent],
        bytes: Option<&[u8]>,
        (fua, hint): (bool, Hint),
    ) {
        let durable = turn.must_be_durable(fua);
        if let Some(history) = &mut turn.subsystem.history {
            let (nsid, ranges) = (self.nsid.0, kept_history::ranges(extents));
            let bytes = bytes.map(<[u8]>::to_vec);
            let change = Change::Write { nsid, ranges, bytes, is_durable: durable };
            history.begun(turn.now, tag, change);
        }
        let pages_left = extents.iter().map(|&extent| self.pages_of(extent)).sum();
        turn.session.inflight.reserve(tag, Reserved::default());
        turn.wait(tag, NvmWait::writing(pages_left));
        let (mut rest, mut hint) = (bytes, hint);
        for &extent in extents {
            for span in self.spans(extent) {
                let piece = rest.map(|bytes| {
                    let (piece, tail) = bytes.split_at(span.len as usize);
                    rest = Some(tail);
                    piece
                });
                let id = RequestId(tag.0);
                turn.subsystem.ssd.write_hinted(turn.now, id, span, durable, piece, hint);
                hint.begins_unit = false;
            }
        }
    }

    /// Starts reading blocks to compare them with the host's data, or only to verify that they can
    /// be read.
    fn check_blocks(
        &self,
        turn: &mut Turn<'_>,
        tag: Tag,
        extent: Extent,
        compare: Option<Segments>,
        write: Option<FusedWrite>,
    ) {
        let check = Check { extent, pages_left: self.pages_of(extent), compare, write };
        turn.wait(tag, NvmWait::Checking(Box::new(check)));
        self.read_pages(turn, tag, extent);
    }
}

/// Flush, of one namespace or of all: they share the write buffer, and all of it goes to flash.
pub(crate) fn flush(turn: &mut Turn<'_>, tag: Tag, nsid: Nsid) {
    turn.wait(tag, NvmWait::writing(1));
    if let Some(history) = &mut turn.subsystem.history {
        history.begun(turn.now, tag, Change::Flush { nsid: nsid.0 });
    }
    turn.subsystem.ssd.flush(turn.now, RequestId(tag.0));
}

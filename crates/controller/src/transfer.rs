//! Data on its way: from the data pointer over a link to its arrival, and to the host.

use nvme_spec::Status;
use records::{LinkPath, LinkRecord, Records, Stage};
use simtime::Instant;

use crate::data_pointer::{DataPointer, Direction, Segments};
use crate::event::{Event, Tag};
use crate::inflight::Reserved;
use crate::turn::Turn;
use crate::waiting::{Arrival, Waiting};

impl Turn<'_> {
    /// Resolves a data pointer for data of the host.
    #[inline]
    pub(crate) fn resolve(
        &self,
        pointer: DataPointer,
        len: u64,
        direction: Direction,
    ) -> Result<Segments, Status> {
        Segments::resolve(&*self.host, pointer, len, direction)
    }

    /// Fetches data of the host for a command, which goes on when it has arrived.
    pub(crate) fn fetch_data(
        &mut self,
        tag: Tag,
        pointer: DataPointer,
        len: u64,
        arrival: Arrival,
    ) -> Result<(), Status> {
        let segments = self.resolve(pointer, len, Direction::FromHost)?;
        self.expect_data(tag, len, segments, arrival);
        Ok(())
    }

    /// Lets a command's host data travel.
    pub(crate) fn expect_data(&mut self, tag: Tag, len: u64, segments: Segments, arrival: Arrival) {
        let at = self.session.port.from_host(self.now, len);
        self.record_crossing(tag, LinkPath::FromHost, len, at);
        self.expect_at(at, tag, segments, arrival);
    }

    /// Moves bytes over the internal link; the command goes on when they have crossed it.
    pub(crate) fn expect_internal(&mut self, tag: Tag, len: u64, arrival: Arrival) {
        let at = self.cross_internal(tag, len, self.now);
        self.expect_at(at, tag, Segments::default(), arrival);
    }

    fn expect_at(&mut self, at: Instant, tag: Tag, segments: Segments, arrival: Arrival) {
        let reserved = arrival.reserved(self.subsystem.page_bits);
        self.session.inflight.reserve(tag, reserved);
        self.wait(tag, Waiting::Data { segments, arrival: Box::new(arrival) });
        self.subsystem.events.push(at, Event::Arrived(tag));
    }

    /// The data of a command has arrived: what it is, and what is to be done with it. `None` if the command ended.
    pub(crate) fn take_arrived(&mut self, tag: Tag) -> Option<(Segments, Arrival)> {
        let now = self.now;
        let command = self.command(tag)?;
        command.end_stage(now, Stage::Transfer);
        let Waiting::Data { segments, arrival } = command.take_waiting() else {
            unreachable!("data arrived for a command that expected none")
        };
        if !arrival.reads_first() {
            self.session.inflight.reserve(tag, Reserved::default());
        }
        Some((segments, *arrival))
    }

    /// Completes a command with data for the host, already written there, after its transfer.
    pub(crate) fn complete_with_data(&mut self, tag: Tag, len: u64) {
        self.complete_with_data_and(tag, len, 0);
    }

    /// The same, with a result.
    pub(crate) fn complete_with_data_and(&mut self, tag: Tag, len: u64, result: u64) {
        let at = self.session.port.to_host(self.now, len);
        self.record_crossing(tag, LinkPath::ToHost, len, at);
        if let Some(command) = self.command(tag) {
            command.end_stage(at, Stage::Transfer);
        }
        self.complete_at(at, tag, Status::SUCCESS, result);
    }

    /// Completes a command after moving bytes inside the drive.
    pub(crate) fn complete_internal(&mut self, tag: Tag, len: u64) {
        self.complete_copy(tag, len, self.now);
    }

    /// The same, not before the bytes have arrived in the drive.
    pub(crate) fn complete_copy(&mut self, tag: Tag, len: u64, arrived: Instant) {
        let at = self.cross_internal(tag, len, arrived);
        self.complete_at(at, tag, Status::SUCCESS, 0);
    }

    /// Sends a command's bytes over the internal link; when they have crossed it, at the earliest when they have arrived.
    fn cross_internal(&mut self, tag: Tag, len: u64, arrived: Instant) -> Instant {
        let crossed = self.subsystem.internal.send(self.now, len);
        self.record_crossing(tag, LinkPath::Internal, len, crossed);
        let at = crossed.max(arrived);
        if let Some(command) = self.command(tag) {
            command.end_stage(at, Stage::Copy);
        }
        at
    }

    /// Records that bytes of a command crossed a link, asked for now.
    #[inline]
    pub(crate) fn record_crossing(
        &mut self,
        tag: Tag,
        path: LinkPath,
        bytes: u64,
        arrived: Instant,
    ) {
        let crossed = Crossed { asked: self.now, arrived };
        let recorded_as = self.command(tag).and_then(|command| command.recorded_as(tag));
        record_crossing(&mut self.subsystem.records, recorded_as, path, bytes, crossed);
    }

    /// Sends a data structure to the host.
    pub(crate) fn return_page(
        &mut self,
        tag: Tag,
        page: &[u8],
        pointer: DataPointer,
    ) -> Result<(), Status> {
        self.write_page(page, pointer)?;
        self.complete_with_data(tag, page.len() as u64);
        Ok(())
    }

    /// The same, with a result.
    pub(crate) fn return_page_and(
        &mut self,
        tag: Tag,
        page: &[u8],
        pointer: DataPointer,
        result: u64,
    ) -> Result<(), Status> {
        self.write_page(page, pointer)?;
        self.complete_with_data_and(tag, page.len() as u64, result);
        Ok(())
    }

    /// The same for a data structure that the firmware has only at a later time. Its transfer does not keep those of other
    /// commands waiting until then.
    pub(crate) fn return_page_at(
        &mut self,
        later: Instant,
        tag: Tag,
        page: &[u8],
        pointer: DataPointer,
    ) -> Result<(), Status> {
        self.write_page(page, pointer)?;
        self.complete_at(later, tag, Status::SUCCESS, 0);
        Ok(())
    }

    fn write_page(&mut self, page: &[u8], pointer: DataPointer) -> Result<(), Status> {
        let segments = self.resolve(pointer, page.len() as u64, Direction::ToHost)?;
        segments.write(self.host, page)
    }

    /// Reads all of a command's data before any of it is kept: a command that fails leaves nothing.
    #[inline]
    pub(crate) fn keep_data(
        &mut self,
        segments: &Segments,
        len: u64,
        keep: impl FnOnce(&mut Self, &[u8]),
    ) -> Result<(), Status> {
        let mut data = std::mem::take(&mut self.subsystem.scratch);
        data.resize(len as usize, 0);
        let read = segments.read(&*self.host, &mut data);
        if read.is_ok() {
            keep(self, &data);
        }
        self.subsystem.scratch = data;
        read
    }
}

/// Records that bytes of a command crossed a link, if it is recorded.
#[inline]
pub(crate) fn record_crossing(
    records: &mut Records,
    recorded_as: Option<Tag>,
    path: LinkPath,
    bytes: u64,
    crossed: Crossed,
) {
    let Some(of) = recorded_as.filter(|_| bytes > 0) else { return };
    records.links.push(LinkRecord {
        asked_ns: crossed.asked.as_ns(),
        arrived_ns: crossed.arrived.as_ns(),
        command: of.0,
        bytes,
        path: path as u8,
        reserved: [0; 7],
    });
}

/// From when to when bytes crossed a link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crossed {
    pub(crate) asked: Instant,
    pub(crate) arrived: Instant,
}

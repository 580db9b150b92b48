//! Commands of zoned namespaces (Zoned Namespace Command Set 1.2, section 3): what is written, where; zones that change; reports.
//!
//! A write is checked against its zone, and moves the write pointer, when its data is here: what fails before leaves no trace. What a
//! command makes durable makes all durable that was written before in the zone, so that a loss of power leaves no holes before its data.

use nvme_spec::{Nsid, Status, ZoneAction, ZoneDescriptor, ZoneReportHeader};
use simtime::Instant;
use ssd::{Hint, RequestId};
use zerocopy::IntoBytes;

use super::NvmNamespace;
use super::waiting::{NvmArrival, NvmWait, Target};
use super::zones::{Claim, Managed, ZoneWrite, Zones};
use crate::command::{Blocks, ZoneReport, ZonedCommand};
use crate::data_pointer::{DataPointer, Direction};
use crate::event::Tag;
use crate::inflight::HostData;
use crate::subsystem::Subsystem;
use crate::turn::Turn;
use crate::waiting::{Arrival, Waiting};

impl NvmNamespace {
    /// Begins a command that only zoned namespaces have.
    pub(super) fn begin_zoned(
        &self,
        turn: &mut Turn<'_>,
        tag: Tag,
        command: ZonedCommand,
        pointer: DataPointer,
    ) -> Result<(), Status> {
        match command {
            ZonedCommand::Append { zone, count, fua } => {
                let bytes_max = turn.subsystem.config.transfer_bytes_max;
                let extent = self.transfer(Blocks { first: zone, count }, bytes_max)?;
                self.check_writable()?;
                let segments = turn.resolve(pointer, extent.len, Direction::FromHost)?;
                turn.will_count(tag, HostData::Written(extent.len as u32));
                let target = Target { extent, fua, stream: 0, is_append: true };
                turn.expect_data(
                    tag,
                    extent.len,
                    segments,
                    Arrival::Nvm(NvmArrival::Write(target)),
                );
                Ok(())
            }
            ZonedCommand::Send { zone, action, is_all } => {
                self.check_writable()?;
                let zones = turn.subsystem.namespaces.zones(self.nsid);
                let numbers = if is_all {
                    zones.selected(action)?
                } else {
                    let extent = self.extent(zone, 1)?;
                    let number = zones.beginning_with(extent.start);
                    vec![number.ok_or(Status::INVALID_FIELD.with_dnr())?]
                };
                self.manage(turn, tag, &numbers, action)
            }
            ZonedCommand::Receive(report) => self.report(turn, tag, report, pointer),
        }
    }

    /// Does what a host asks for with zones, and ends the command.
    fn manage(
        &self,
        turn: &mut Turn<'_>,
        tag: Tag,
        numbers: &[u32],
        action: ZoneAction,
    ) -> Result<(), Status> {
        let mut all_stays = false;
        for &number in numbers {
            let zones = turn.subsystem.namespaces.zones_mut(self.nsid);
            let Managed { is_emptied, stays } = zones.manage(number, action)?;
            if is_emptied {
                turn.subsystem.empty_zone(turn.now, self, (number, 0));
            }
            if stays {
                turn.subsystem.namespaces.zones_mut(self.nsid).keep(number);
                all_stays = true;
            }
        }
        if !all_stays {
            turn.complete(tag, Status::SUCCESS, 0);
            return Ok(());
        }
        turn.subsystem.try_save(turn.now, &turn.session.attached)?;
        turn.wait(tag, NvmWait::writing(1));
        turn.subsystem.ssd.sync(turn.now, RequestId(tag.0));
        Ok(())
    }

    /// Zone Management Receive: as many zones as the host has room for.
    fn report(
        &self,
        turn: &mut Turn<'_>,
        tag: Tag,
        ZoneReport { first, len, only, is_partial }: ZoneReport,
        pointer: DataPointer,
    ) -> Result<(), Status> {
        let header = size_of::<ZoneReportHeader>() as u64;
        if len < header || len > turn.subsystem.config.transfer_bytes_max {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        let extent = self.extent(first, 1)?;
        let zones = turn.subsystem.namespaces.zones(self.nsid);
        let (from, _) = zones.layout.find(extent.start);
        let room = ((len - header) / size_of::<ZoneDescriptor>() as u64) as usize;
        let block = u64::from(self.block_bytes);
        let mut page = ZoneReportHeader::default().as_bytes().to_vec();
        let mut count = 0;
        for zone in zones.reported(from).filter(|zone| only.is_none_or(|state| zone.state == state))
        {
            if count >= room {
                if is_partial {
                    break;
                }
                count += 1;
                continue;
            }
            count += 1;
            let start = zones.layout.start(zone.zone) / block;
            let pointer = zone.written.map_or(ZoneDescriptor::NO_POINTER, |n| start + n / block);
            let finished = ZoneDescriptor::FINISHED_BY_CONTROLLER;
            let descriptor = ZoneDescriptor {
                kind: ZoneDescriptor::SEQUENTIAL,
                state: zone.state.0 << 4,
                attributes: if zone.is_finished_by_drive { finished } else { 0 },
                capacity: (zones.layout.capacity / block).into(),
                start: start.into(),
                write_pointer: pointer.into(),
                ..ZoneDescriptor::default()
            };
            page.extend(descriptor.as_bytes());
        }
        page[..8].copy_from_slice(&(count as u64).to_le_bytes());
        page.resize(len as usize, 0);
        turn.return_page(tag, &page, pointer)
    }

    /// Writes to its place, with the bytes or with zeroes. In a zoned namespace that is where the zone takes writes.
    pub(super) fn write(
        &self,
        turn: &mut Turn<'_>,
        tag: Tag,
        target: Target,
        bytes: Option<&[u8]>,
    ) -> Result<(), Status> {
        let Target { mut extent, fua, stream, is_append } = target;
        if self.layout.is_none() {
            self.write_pages(turn, tag, &[extent], bytes, (fua, Hint::of(stream)));
            return Ok(());
        }
        let write = ZoneWrite { start: extent.start, len: extent.len, is_append };
        let claimed = turn.subsystem.namespaces.zones_mut(self.nsid).claim(write)?;
        let Claim { start, stream, begins_unit } = claimed;
        extent.start = start;
        self.write_pages(turn, tag, &[extent], bytes, (fua, Hint { stream, begins_unit }));
        let is_durable = turn.must_be_durable(fua);
        if let Some(command) = turn.command(tag)
            && let Waiting::Nvm(NvmWait::Writing { pages_left, result, .. }) = &mut command.waiting
        {
            *result = if is_append { start / u64::from(self.block_bytes) } else { 0 };
            *pages_left += u32::from(is_durable);
        }
        if is_durable {
            turn.subsystem.ssd.flush(turn.now, RequestId(tag.0));
        }
        Ok(())
    }
}

impl Subsystem {
    /// What a zone has from a byte on goes.
    fn empty_zone(&mut self, now: Instant, namespace: &NvmNamespace, zone: (u32, u64)) {
        let Some(layout) = namespace.layout else { return };
        let (number, from) = zone;
        let first = (u64::from(number) * layout.capacity + from) >> namespace.page_bits;
        let count = (layout.capacity - from) >> namespace.page_bits;
        for (lpn, count) in namespace.placement.pieces(first, count) {
            self.ssd.deallocate(now, lpn, count);
        }
    }

    /// The power was lost, or the drive is switched on: zones are as far written as their pages have no gap.
    pub(crate) fn recover_zones(&mut self) {
        let now = self.ssd.now();
        let zoned = self.namespaces.nvm_all().filter(|namespace| namespace.layout.is_some());
        for namespace in zoned.cloned().collect::<Vec<_>>() {
            let zones: &mut Zones = self.namespaces.zones_mut(namespace.nsid);
            let (layout, page_bits) = (zones.layout, namespace.page_bits);
            let ssd = &self.ssd;
            let cut = zones.recover(|number| {
                let first = (u64::from(number) * layout.capacity) >> page_bits;
                let pages = layout.capacity >> page_bits;
                let mut found = 0;
                for (lpn, count) in namespace.placement.pieces(first, pages) {
                    let here = ssd.mapped_from(lpn, count);
                    found += here;
                    if here < count {
                        break;
                    }
                }
                found << page_bits
            });
            let before = self.ssd.mapped_pages();
            for zone in cut {
                self.empty_zone(now, &namespace, zone);
            }
            // What was cut off does not come back.
            if self.ssd.mapped_pages() != before {
                let _ = self.make_durable();
            }
        }
        // Whose blocks are partly full is not known any more.
        let flash = &self.config.flash;
        for stream in flash.first_zone_stream()..flash.streams() {
            self.ssd.begin_unit(now, stream as u8);
        }
    }

    /// All zones of a namespace are empty; its pages are.
    pub(crate) fn clear_zones(&mut self, nsid: Nsid) {
        if let Some(zones) = self.namespaces.zones_of(nsid) {
            zones.clear();
        }
    }
}

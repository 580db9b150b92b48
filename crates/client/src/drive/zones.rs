//! Zones of a zoned namespace (Zoned Namespace Command Set 1.2): what they are like, what is done with them, and appending to them.

use nvme_spec::{CommandSet, ZoneAction, ZoneDescriptor, ZoneReportHeader, ZoneState, zone_filter};
use zerocopy::FromBytes;

use super::{Drive, DriveError, DriveResult};
use crate::commands;
use crate::transport::{Command, Data, Lane, Submit};

/// A zone, in blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Zone {
    /// Its first block.
    pub start: u64,
    /// Blocks of it that can be written.
    pub capacity: u64,
    /// The block that is written next; `None` if it takes no writes.
    pub write_pointer: Option<u64>,
    /// Its state.
    pub state: ZoneState,
    /// The drive made it full, because it could not keep it active.
    pub is_finished_by_drive: bool,
}

/// Zones that are asked for at a time.
const ZONES_AT_A_TIME: usize = 1023;

impl<T: Submit> Drive<T> {
    /// From now on works with the first zoned namespace, unless the one in use is zoned.
    ///
    /// # Errors
    /// If the drive has none, or is gone.
    pub fn use_zones(&mut self) -> DriveResult<()> {
        let nsid = self.geometry.namespaces.nvm;
        if self.namespace_after(nsid.saturating_sub(1), CommandSet::ZONED)? == Some(nsid) {
            return Ok(());
        }
        match self.namespace_after(0, CommandSet::ZONED)? {
            Some(nsid) => self.use_namespace(nsid),
            None => Err(DriveError::NoZones),
        }
    }

    /// All zones of the namespace in use.
    ///
    /// # Errors
    /// If it is not zoned, or the drive is gone.
    pub fn zones(&mut self) -> DriveResult<Vec<Zone>> {
        const HEADER: usize = size_of::<ZoneReportHeader>();
        const DESCRIPTOR: usize = size_of::<ZoneDescriptor>();
        let most = (self.geometry.transfer_bytes_max as usize - HEADER) / DESCRIPTOR;
        let len = HEADER + DESCRIPTOR * most.min(ZONES_AT_A_TIME);
        let mut zones: Vec<Zone> = Vec::new();
        let mut next = 0;
        while next < self.geometry.blocks {
            let entry = commands::zone_report(next, len as u32, zone_filter::ALL, true);
            let entry = self.of_blocks(entry);
            let page = self.receive("Zone Management Receive", Lane::Io, entry, len as u64)?;
            let (header, _) = ZoneReportHeader::read_from_prefix(&page).expect("it is longer");
            let count = usize::try_from(header.count.get()).unwrap_or(usize::MAX);
            let listed = page[HEADER..].chunks_exact(DESCRIPTOR).take(count);
            let before = zones.len();
            zones.extend(listed.map(|bytes| {
                let zone = ZoneDescriptor::read_from_bytes(bytes).expect("chunks are as long");
                let pointer = zone.write_pointer.get();
                Zone {
                    start: zone.start.get(),
                    capacity: zone.capacity.get(),
                    write_pointer: (pointer != ZoneDescriptor::NO_POINTER).then_some(pointer),
                    state: zone.zone_state(),
                    is_finished_by_drive: zone.attributes & ZoneDescriptor::FINISHED_BY_CONTROLLER
                        != 0,
                }
            }));
            // The next zone begins where this one, which is as long as the others, ends.
            let size = match zones.as_slice() {
                [first, second, ..] => second.start - first.start,
                _ => break,
            };
            if zones.len() == before {
                break;
            }
            next = zones[zones.len() - 1].start.saturating_add(size);
        }
        Ok(zones)
    }

    /// Changes the zone that begins with a block, or all.
    ///
    /// # Errors
    /// If the drive refuses, or is gone.
    pub fn manage_zone(&mut self, zone: Option<u64>, action: ZoneAction) -> DriveResult<()> {
        let entry = commands::zone_send(zone.unwrap_or(0), action, zone.is_none());
        let entry = self.of_blocks(entry);
        self.run("Zone Management Send", Lane::Io, entry, Data::None).map(drop)
    }

    /// Zone Append: whole blocks to the zone that begins with a block. The first block that they were written to is the result.
    pub fn append_command(&self, zone: u64, data: Vec<u8>) -> Command {
        let count = (data.len() as u64 / self.geometry.block_bytes) as u32;
        let entry = self.of_blocks(commands::zone_append(zone, count));
        let data = Data::ToDrive(data);
        Command { name: "Zone Append", lane: Lane::Io, entry, data, is_execution: false }
    }

    /// Appends bytes to a zone, as much as one command takes: the first block that they were written to. The last block is filled up with
    /// zeroes.
    ///
    /// # Errors
    /// If there are none, the zone does not take them, or the drive is gone.
    pub fn append(&mut self, zone: u64, mut data: Vec<u8>) -> DriveResult<u64> {
        if data.is_empty() {
            return Err(DriveError::Empty("an append"));
        }
        data.resize(data.len().next_multiple_of(self.geometry.block_bytes as usize), 0);
        let command = self.append_command(zone, data);
        Ok(self.perform(command)?.result)
    }
}

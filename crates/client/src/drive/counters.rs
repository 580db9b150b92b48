//! What a drive counted, and how busy and worn its parts are.

use nvme_spec::{DriveCounters, DriveParts, Status, lid};
use zerocopy::FromBytes;

use super::{Drive, DriveError, DriveResult};
use crate::transport::Submit;

/// Parts of a drive: how long each was busy since the drive was made, in nanoseconds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BusyParts {
    /// What the page says of all of them.
    pub header: DriveParts,
    /// Channels of the flash.
    pub channels_ns: Vec<u64>,
    /// Dies of the flash.
    pub dies_ns: Vec<u64>,
    /// Compute units.
    pub units_ns: Vec<u64>,
}

impl<T: Submit> Drive<T> {
    /// What the drive counted since it was made (vendor log page C3h); `None` for a drive that has no such page.
    ///
    /// # Errors
    /// If the drive is gone.
    pub fn counters(&mut self) -> DriveResult<Option<DriveCounters>> {
        let page = self.log_if_there(lid::DRIVE_COUNTERS, size_of::<DriveCounters>() as u64)?;
        Ok(page.and_then(|page| DriveCounters::read_from_bytes(&page).ok()))
    }

    /// How busy and how worn its parts are (vendor log page C5h); `None` for a drive that has no such page.
    ///
    /// # Errors
    /// If the drive is gone.
    pub fn parts(&mut self) -> DriveResult<Option<BusyParts>> {
        const HEADER: usize = size_of::<DriveParts>();
        let Some(page) = self.log_if_there(lid::DRIVE_PARTS, HEADER as u64)? else {
            return Ok(None);
        };
        let Ok(header) = DriveParts::read_from_bytes(&page) else { return Ok(None) };
        let counts = [header.channels.get(), header.dies.get(), header.units.get()];
        let counts = counts.map(|count| count as usize);
        // No drive has more: what says otherwise is none.
        if counts.iter().any(|count| *count > 1 << 20) {
            return Ok(None);
        }
        let len = HEADER + 8 * counts.iter().sum::<usize>();
        let Some(page) = self.log_if_there(lid::DRIVE_PARTS, len as u64)? else { return Ok(None) };
        let (all, _) = page[HEADER..].as_chunks::<8>();
        let mut all = all.iter().map(|busy| u64::from_le_bytes(*busy));
        let mut next = |count| all.by_ref().take(count).collect();
        let [channels_ns, dies_ns, units_ns] = counts.map(&mut next);
        Ok(Some(BusyParts { header, channels_ns, dies_ns, units_ns }))
    }

    fn log_if_there(&mut self, id: u8, len: u64) -> DriveResult<Option<Vec<u8>>> {
        match self.log(id, 0, len) {
            Ok(page) => Ok(Some(page)),
            Err(DriveError::Failed(failed))
                if failed.status.same_code(Status::INVALID_LOG_PAGE) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

//! What a drive counted.

use nvme_spec::{DriveCounters, Status, lid};
use zerocopy::FromBytes;

use super::{Drive, DriveError, DriveResult};
use crate::transport::Submit;

impl<T: Submit> Drive<T> {
    /// What the drive counted since it was made (vendor log page C3h); `None` for a drive that has no such page.
    ///
    /// # Errors
    /// If the drive is gone.
    pub fn counters(&mut self) -> DriveResult<Option<DriveCounters>> {
        match self.log(lid::DRIVE_COUNTERS, 0, size_of::<DriveCounters>() as u64) {
            Ok(page) => Ok(DriveCounters::read_from_bytes(&page).ok()),
            Err(DriveError::Failed(failed))
                if failed.status.same_code(Status::INVALID_LOG_PAGE) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

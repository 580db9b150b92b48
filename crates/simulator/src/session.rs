//! A user of a simulated drive.

use client::{Direct, Drive, Geometry};
use controller::limits::NVM_COPY_BYTES_MAX;
use controller::{Config, Controller};

use crate::{HostError, Simulation};

/// Whole jobs on a simulated drive; its host is `transport.driver`.
pub type Session = Drive<Direct<Simulation>>;

/// Builds and enables a drive, with an I/O queue pair of so many entries for its user and as many more as asked
/// for. It is not asked what it is like: virtual time begins with the first job.
///
/// # Errors
/// If it cannot be built.
pub fn open(config: Config, extra_queues: u16, entries: u32) -> Result<Session, HostError> {
    open_drive(Controller::new(config)?, extra_queues, entries)
}

/// As [`open`], for a drive that was built before.
///
/// # Errors
/// If it refuses.
pub fn open_drive(
    drive: Controller,
    extra_queues: u16,
    entries: u32,
) -> Result<Session, HostError> {
    let config = drive.config();
    let block_bytes = u64::from(config.block_bytes);
    let geometry = Geometry {
        block_bytes,
        blocks: config.flash.capacity_bytes / block_bytes,
        memory_bytes: config.memory_bytes,
        transfer_bytes_max: config.transfer_bytes_max,
        copy_blocks_max: NVM_COPY_BYTES_MAX / block_bytes,
    };
    let host = crate::host_of(drive, 1 + extra_queues, entries)?;
    Ok(Drive::new(Direct::new(host), geometry))
}

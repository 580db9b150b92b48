//! The virtual-time shell: a simulated host around the drive.
//!
//! [`Simulation`] owns a drive, host memory and the clock. Its clock jumps from event to event, so
//! a run takes as long as the computation, not as long as the modelled time, and is a function of
//! (configuration, seed, host script): two runs give the same trace hash.
//!
//! [`Host`] is the host's side: the driver of the `client` crate on this drive. It enables the
//! controller, owns queues, and drives everything through queues in memory and doorbells.
//! A [`Session`] strings commands together to whole jobs. A [`Fleet`] is several drives on one clock.
#![forbid(unsafe_code)]

pub mod hostile;

mod fleet;
mod memory;
mod session;
mod simulation;

use client::{Driver, DriverError};
use controller::{Config, ConfigError, Controller};

pub use fleet::{AsHost, DriveNumber, Fleet};
pub use memory::HostRam;
pub use session::{Session, geometry, open, open_drive, open_namespace};
pub use simulation::Simulation;

/// A host of a simulated drive.
pub type Host = Driver<Simulation>;

/// The simulation cannot begin.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message is the documentation")]
pub enum HostError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Driver(#[from] DriverError),
}

/// Builds a drive and a host with an admin queue and `queues` I/O queue pairs of `entries` entries.
///
/// # Errors
/// If the drive cannot be built or refuses.
pub fn host(config: Config, queues: u16, entries: u32) -> Result<Host, HostError> {
    Ok(Driver::new(Simulation::new(config)?, queues, entries)?)
}

/// As [`host`], of a drive that was built before.
///
/// # Errors
/// If the drive refuses.
pub fn host_of(drive: Controller, queues: u16, entries: u32) -> Result<Host, HostError> {
    Ok(Driver::new(Simulation::of(drive), queues, entries)?)
}

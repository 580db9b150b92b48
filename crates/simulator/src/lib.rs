//! The virtual-time shell: a simulated host around the drive.
//!
//! [`Simulation`] owns a drive, host memory and the clock. Its clock jumps from event to event, so
//! a run takes as long as the computation, not as long as the modelled time, and is a function of
//! (configuration, seed, host script): two runs give the same trace hash.
//!
//! [`Host`] is the host's side: it enables the controller, owns queue pairs, builds commands, and
//! drives everything through queues in memory and doorbells, as a real driver does. [`commands`]
//! builds submission queue entries; [`Session`] strings them together to whole jobs.
#![forbid(unsafe_code)]

pub mod commands;

mod host;
mod memory;
mod session;
mod simulation;

pub use host::{Completion, Host, HostError, QueueId};
pub use memory::{Buffer, HostRam};
pub use session::{CommandFailed, Session, SessionError, copy_source, memory_range};
pub use simulation::Simulation;

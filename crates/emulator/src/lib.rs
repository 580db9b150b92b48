//! The drive in real time: a PCI device behind a vfio-user socket.
//!
//! ```text
//! socket -> vfio_user::Connection -> Drive (registers, configuration space, memory, eventfds)
//! doorbells in memory -------------> Drive::turn -> Controller::advance -> completions, interrupts
//!                                                        | WorkItem         ^ WorkDone
//!                                                        +---> Workers -----+
//! ```
//!
//! One thread owns a drive: it answers messages, looks at doorbells, gives the controller the time of
//! day, signals interrupts. With nothing to do it spins a little, then sleeps until a message, an event or a
//! program that has run. Programs run on threads of their own; there are no locks.
//!
//! Completions leave at their modelled time or, if this machine was slower, at once; how many were late is
//! counted ([`RealTimeStatistics`]).
//!
//! Not here: several clients at a time, migration, hot unplug.
#![forbid(unsafe_code)]

mod clock;
mod drive;
mod freezer;
mod guest_memory;
mod history_file;
mod interrupt_lines;
mod journal;
mod pci;
mod server;
mod syncs;
mod workers;

pub use drive::{Doorbells, RealTimeStatistics, StartError};
pub use freezer::{FreezeStatistics, Freezer};
pub use pci::{DEVICE, VENDOR};
pub use server::{Event, Neighbours, Options, ServeError, Server, Stopper};

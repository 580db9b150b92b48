//! The host side of the drive: builds commands, owns queues, talks to a controller.
//!
//! ```text
//! commands (any submission queue entry) -> Driver (queues, doorbells, completions) -> Port
//!                                             | DmaMemory: buffers, PRP lists, SGLs
//! ```
//!
//! [`Port`] is the way to a controller: its registers, memory both sides reach, its interrupts. The
//! simulator's drive in the same process is one, [`VfioUser`] with a socket to `csdrive serve` another. [`Driver`]
//! does what an NVMe driver does on any of them, and what no driver should: it sends whatever entry
//! it is given, so that tests can be hosts of every kind.
//!
//! Specification: NVM Express Base 2.1, sections 3.3 and 3.5.
//!
//! Not here yet: io_uring passthrough, programs and memory as objects.
#![forbid(unsafe_code)]

pub mod commands;

mod driver;
mod memory;
mod port;
mod queue;
mod vfio_user;

pub use self::vfio_user::{SharedRam, VfioUser, VfioUserOptions, Waiting};
pub use driver::{Completion, Driver, DriverError, QueueId};
pub use memory::{Buffer, DmaMemory, PageAllocator};
pub use port::Port;
pub use queue::{CompletionQueueOptions, SubmissionQueueOptions};

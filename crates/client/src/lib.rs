//! The host side of the drive: programs, device memory and blocks, by whatever way leads to it. Nothing here depends on the
//! operating system.
//!
//! ```text
//! Drive (programs, memory, blocks) -> Submit (commands with their data)
//!                                       | client_linux: io_uring on /dev/nvme0 and /dev/ng0n1, ...
//!                                       | Direct: a Driver of one's own
//! commands (any submission queue entry) -> Driver (queues, doorbells, completions) -> Port
//!                                             | DmaMemory: buffers, PRP lists, SGLs
//! ```
//!
//! [`Drive`] is what most want; `client_linux::open` opens one, `simulator::open` makes one:
//!
//! ```no_run
//! use client::{Drive, DriveResult, Invocation};
//!
//! # fn f(drive: &mut Drive) -> DriveResult<()> {
//! drive.load_program_file(1, "double.bpf.c".as_ref())?;
//! drive.write_memory(4096, &[1, 0, 0, 0, 2, 0, 0, 0])?;
//! let ranges = vec![(8192, 8), (4096, 8)];
//! let result = drive.execute(&Invocation { program: 1, ranges, ..Default::default() })?;
//! let doubled = drive.read_memory(8192, 8)?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Port`] is the way to a controller: its registers, memory both sides reach, its interrupts. The
//! simulator's drive in the same process is one, `client_linux::VfioUser` with a socket to `csdrive serve` another. [`Driver`]
//! does what an NVMe driver does on any of them, and what no driver should: it sends whatever entry
//! it is given, so that tests can be hosts of every kind.
//!
//! Specification: NVM Express Base 2.1, sections 3.3 and 3.5.
#![deny(unsafe_code)]

pub mod commands;

mod direct;
mod drive;
mod driver;
mod memory;
mod namespaces;
mod port;
mod queue;
mod transport;

pub use commands::LoadOptions;
pub use direct::Direct;
pub use drive::{
    BusyParts, CommandFailed, Compound, Drive, DriveError, DriveResult, Geometry, GroupInfo,
    GroupOptions, Invocation, MEMORY_COMMAND_BYTES_MAX, PeerMemory, ProgramImage, ProgramInfo,
    ProgramState, RangeSetInfo, Streaming, Zone,
};
pub use driver::{Completion, Driver, DriverError, QueueId};
pub use memory::{Buffer, DmaMemory, PageAllocator};
pub use namespaces::NamespaceIds;
pub use nvme_spec::command::RunTime;
pub use port::Port;
pub use queue::{CompletionQueueOptions, SubmissionQueueOptions};
pub use transport::{Command, Data, Done, EXECUTE_PATIENCE, Lane, Submit, Ticket, TransportError};

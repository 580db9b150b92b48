//! vfio-user: a PCI device in one process, its user (a virtual machine, or a driver) in another, and a Unix
//! socket between them.
//!
//! ```text
//! server: Connection (checks every message) -> Device (a trait)
//! client: Client (asks, and waits for the answer)
//! both:   Channel (whole messages with their descriptors), wire (their bytes), Mapping (shared memory)
//! ```
//!
//! The peer of a server is hostile: nothing it sends makes the server panic, block, or keep more than a
//! few megabytes. Errors are answered as the protocol has it, if an answer is wanted; where the stream of messages
//! itself is broken, the connection ends.
//!
//! Specification: QEMU's docs/interop/vfio-user.rst, version 0.0; structures of linux/vfio.h.
//!
//! Not here: migration, dirty page tracking, DMA by messages (memory must be shared), I/O eventfds.

pub mod wire;

mod channel;
mod client;
mod mapping;
mod server;

pub use channel::{Channel, Closed, Message};
pub use client::{Area, Client, Error};
pub use mapping::Mapping;
pub use rustix::io::Errno;
pub use server::{Connection, Device, Map, Mappable};

//! Files in persistent memory, mapped: bytes go there by stores of this process, without the operating system.
//!
//! A file system that is mounted with DAX (direct access) maps the memory itself, not copies of it. What is stored is durable
//! once it has left the processor's caches. [`Mapping`] writes past them, in words of 8 bytes, each of which is there or is not
//! when the machine ends, and waits until they have arrived.
//!
//! What the file system itself has to note, where a new piece of the file lies, it notes before the first store to it if it knows
//! `MAP_SYNC` (ext4 and XFS on an NVDIMM do); if not (virtio-pmem), the file must be synced as any other.
//!
//! Memory that is a file can be gone: made shorter by somebody, on a device that is full, or worn. An access then fails as that of
//! a file does, and does not end the process.
//!
//! For Linux on x86-64; elsewhere no file is mapped.
#![deny(unsafe_code)]

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod copy;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod mapping;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub use mapping::{Durable, Mapping};

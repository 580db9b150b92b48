//! Single commands, not yet sent: for a host that has several in flight and waits for them itself ([`Drive::start`],
//! [`Drive::wait`]). Whole transfers of any length are in `transfer.rs`.
//!
//! What a command carries is the caller's to bound: [`Geometry::transfer_bytes_max`](super::Geometry) for data,
//! [`MEMORY_COMMAND_BYTES_MAX`] and [`Geometry::copy_blocks_max`](super::Geometry) for what the drive moves itself.

use nvme_spec::command::{CopySourceBlocks, CopySourceMemory, copy_format};
use nvme_spec::{MemoryOpcode, NvmOpcode, SubmissionEntry};
use zerocopy::IntoBytes;

use super::Drive;
use crate::commands;
use crate::transport::{Command, Data, Lane, Submit};

/// Bytes of one Memory Copy or Memory Fill command.
pub const MEMORY_COMMAND_BYTES_MAX: u64 = 256 << 20;

/// A command for an I/O queue.
fn io(name: &'static str, entry: SubmissionEntry, data: Data) -> Command {
    Command { name, lane: Lane::Io, entry, data, is_execution: false }
}

impl<T: Submit> Drive<T> {
    /// Read: so many blocks from a first one on.
    pub fn read_command(&self, first_block: u64, count: u32) -> Command {
        let entry = self.of_blocks(commands::read_write(NvmOpcode::READ, first_block, count));
        let bytes = u64::from(count) * self.geometry.block_bytes;
        io("Read", entry, Data::FromDrive(bytes as usize))
    }

    /// Write: whole blocks from a first one on.
    pub fn write_command(&self, first_block: u64, data: Vec<u8>) -> Command {
        let count = (data.len() as u64 / self.geometry.block_bytes) as u32;
        let entry = self.of_blocks(commands::read_write(NvmOpcode::WRITE, first_block, count));
        io("Write", entry, Data::ToDrive(data))
    }

    /// Memory Read: so many bytes, a multiple of four as their place.
    pub fn read_memory_command(&self, start: u64, len: u32) -> Command {
        let entry = self.of_memory(commands::memory(MemoryOpcode::READ, start, len));
        io("Memory Read", entry, Data::FromDrive(len as usize))
    }

    /// Memory Write: bytes, a multiple of four as their place.
    pub fn write_memory_command(&self, start: u64, data: Vec<u8>) -> Command {
        let entry = self.of_memory(commands::memory(MemoryOpcode::WRITE, start, data.len() as u32));
        io("Memory Write", entry, Data::ToDrive(data))
    }

    /// Memory Copy: so many blocks from a first one on, to a place in device memory.
    pub fn copy_blocks_command(&self, first_block: u64, count: u64, target: u64) -> Command {
        let snsid = self.geometry.namespaces.nvm.into();
        let sources = commands::copy_sources(first_block, count);
        let list: Vec<_> = sources.map(|source| CopySourceBlocks { snsid, ..source }).collect();
        let len = count * self.geometry.block_bytes;
        let copy = commands::memory_copy(target, len, list.len(), copy_format::BLOCKS);
        io("Memory Copy", self.of_memory(copy), Data::ToDrive(list.as_bytes().to_vec()))
    }

    /// Memory Copy: so many bytes of device memory to another place in it.
    pub fn copy_memory_command(&self, from: u64, len: u32, to: u64) -> Command {
        let source = self.memory_source(from, len);
        let copy = commands::memory_copy(to, len.into(), 1, copy_format::MEMORY);
        io("Memory Copy", self.of_memory(copy), Data::ToDrive(source.as_bytes().to_vec()))
    }

    /// Copy: device memory to so many blocks from a first one on. The drive takes it after
    /// [`Self::enable_copies_from_memory`].
    pub fn copy_memory_to_blocks_command(
        &self,
        from: u64,
        first_block: u64,
        count: u64,
    ) -> Command {
        let source = self.memory_source(from, (count * self.geometry.block_bytes) as u32);
        let copy = commands::copy(first_block, 1, copy_format::MEMORY);
        io("Copy", self.of_blocks(copy), Data::ToDrive(source.as_bytes().to_vec()))
    }

    /// A source entry of the memory namespace in use.
    fn memory_source(&self, start: u64, len: u32) -> CopySourceMemory {
        let snsid = self.geometry.namespaces.memory.into();
        CopySourceMemory { snsid, ..commands::copy_source_memory(start, len) }
    }
}

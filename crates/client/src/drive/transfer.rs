//! Blocks and device memory: whole transfers of any length, in as many commands as it takes.

use nvme_spec::command::copy_format;
use nvme_spec::{MemoryOpcode, Status, fid, select};

use super::single::MEMORY_COMMAND_BYTES_MAX;
use super::{Drive, DriveError, DriveResult};
use crate::commands;
use crate::transport::{Data, Lane, Submit};

/// Source entries of one Memory Copy command.
const COPY_ENTRIES_MAX: usize = 128;

/// Hosts address device memory in dwords.
const DWORD: u64 = 4;

/// Refuses what is not a multiple.
fn aligned(what: &'static str, value: u64, multiple: u64) -> DriveResult<()> {
    if value.is_multiple_of(multiple) {
        return Ok(());
    }
    Err(DriveError::Unaligned { what, value, multiple })
}

impl<T: Submit> Drive<T> {
    /// Refuses what is not in device memory before any of it is done.
    fn check_memory(&self, start: u64, len: u64) -> DriveResult<()> {
        let memory_bytes = self.geometry.memory_bytes;
        let end = start.saturating_add(len);
        if end <= memory_bytes {
            return Ok(());
        }
        Err(DriveError::BeyondMemory { start, end, memory_bytes })
    }

    /// Refuses numbers of blocks that no drive has; what this one has, it knows itself.
    pub(super) fn check_blocks(&self, first: u64, count: u64) -> DriveResult<()> {
        if first.checked_add(count).is_some() {
            return Ok(());
        }
        Err(DriveError::BeyondBlocks { first, count, blocks: self.geometry.blocks })
    }

    /// Writes bytes to the NVM namespace from a block on; the last block is padded with zeroes.
    /// Returns the number of blocks.
    ///
    /// # Errors
    /// If the drive refuses, for example beyond its capacity.
    pub fn write_blocks(&mut self, first_block: u64, data: &[u8]) -> DriveResult<u64> {
        let block_bytes = self.geometry.block_bytes;
        let count = (data.len() as u64).div_ceil(block_bytes);
        self.check_blocks(first_block, count)?;
        let mut block = first_block;
        for piece in data.chunks(self.geometry.transfer_bytes_max as usize) {
            let mut piece = piece.to_vec();
            piece.resize(piece.len().next_multiple_of(block_bytes as usize), 0);
            let count = piece.len() as u64 / block_bytes;
            self.perform(self.write_command(block, piece))?;
            block += count;
        }
        Ok(block - first_block)
    }

    /// Reads blocks of the NVM namespace.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn read_blocks(&mut self, first_block: u64, count: u64) -> DriveResult<Vec<u8>> {
        let block_bytes = self.geometry.block_bytes;
        self.check_blocks(first_block, count)?;
        let mut data = Vec::new();
        let step = self.geometry.transfer_bytes_max / block_bytes;
        for at in (0..count).step_by(step as usize) {
            let n = step.min(count - at);
            data.extend(self.perform(self.read_command(first_block + at, n as u32))?.data);
        }
        Ok(data)
    }

    /// Flushes the NVM namespace.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn flush(&mut self) -> DriveResult<()> {
        self.run("Flush", Lane::Io, self.of_blocks(commands::flush()), Data::None).map(drop)
    }

    /// Copies blocks into device memory, within the drive.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn copy_blocks(&mut self, first_block: u64, count: u64, target: u64) -> DriveResult<()> {
        let block_bytes = self.geometry.block_bytes;
        self.check_blocks(first_block, count)?;
        self.check_memory(target, count.saturating_mul(block_bytes))?;
        let (mut block, mut target) = (first_block, target);
        let end = first_block + count;
        while block < end {
            let most = (MEMORY_COMMAND_BYTES_MAX / block_bytes)
                .min(COPY_ENTRIES_MAX as u64 * commands::COPY_ENTRY_BLOCKS_MAX);
            let blocks = most.min(end - block);
            self.perform(self.copy_blocks_command(block, blocks, target))?;
            block += blocks;
            target += blocks * block_bytes;
        }
        Ok(())
    }

    /// Copies device memory to blocks, within the drive; the place is a multiple of four.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn copy_memory_to_blocks(
        &mut self,
        from: u64,
        first_block: u64,
        count: u64,
    ) -> DriveResult<()> {
        let block_bytes = self.geometry.block_bytes;
        aligned("source", from, DWORD)?;
        self.check_blocks(first_block, count)?;
        self.check_memory(from, count.saturating_mul(block_bytes))?;
        let mut done = 0;
        while done < count {
            let n = self.geometry.copy_blocks_max.min(count - done);
            let command = self.copy_memory_to_blocks_command(
                from + done * block_bytes,
                first_block + done,
                n,
            );
            match self.perform(command.clone()) {
                Err(DriveError::Failed(failed))
                    if failed.status.same_code(Status::INVALID_FIELD) =>
                {
                    self.enable_copies_from_memory()?;
                    self.perform(command)?;
                }
                other => drop(other?),
            }
            done += n;
        }
        Ok(())
    }

    /// Says that this host knows copies from other namespaces: by a feature of the drive's own, for Linux lets no
    /// program say it in the standard one (Host Behavior Support). A reset of the controller forgets it.
    ///
    /// # Errors
    /// If the drive has no such feature.
    pub fn enable_copies_from_memory(&mut self) -> DriveResult<()> {
        let entry = commands::get_feature(fid::COPY_FORMATS, 0, select::CURRENT, 0);
        let enabled = self.run("Get Features", Lane::Admin, entry, Data::None)?.result as u32;
        let enabled = enabled | 1 << copy_format::MEMORY;
        let entry = commands::set_feature(fid::COPY_FORMATS, 0, enabled, false);
        self.run("Set Features", Lane::Admin, entry, Data::None).map(drop)
    }

    /// Refuses places and lengths of a copy that are no multiples of four, and targets that are not in device memory.
    pub(super) fn check_copy(&self, from: u64, len: u64, to: u64) -> DriveResult<()> {
        for (what, value) in [("source", from), ("length of a copy", len), ("target", to)] {
            aligned(what, value, DWORD)?;
        }
        self.check_memory(to, len)
    }

    /// Copies device memory within the drive, to where it does not overlap; places and length are multiples of four.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn copy_memory(&mut self, from: u64, len: u64, to: u64) -> DriveResult<()> {
        self.check_copy(from, len, to)?;
        self.check_memory(from, len)?;
        for at in (0..len).step_by(MEMORY_COMMAND_BYTES_MAX as usize) {
            let n = MEMORY_COMMAND_BYTES_MAX.min(len - at);
            self.perform(self.copy_memory_command(from + at, n as u32, to + at))?;
        }
        Ok(())
    }

    /// Reads device memory, at any place.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn read_memory(&mut self, start: u64, len: u64) -> DriveResult<Vec<u8>> {
        self.check_memory(start, len)?;
        let first = start / DWORD * DWORD;
        let end = start + len;
        let mut data = Vec::new();
        for at in (first..end).step_by(self.geometry.transfer_bytes_max as usize) {
            let n = self.geometry.transfer_bytes_max.min(end - at).next_multiple_of(DWORD);
            data.extend(self.perform(self.read_memory_command(at, n as u32))?.data);
        }
        data.drain(..((start - first) as usize).min(data.len()));
        data.truncate(len as usize);
        Ok(data)
    }

    /// Writes device memory, at any place. Hosts write it by dwords: if start or end are not multiples of four, what is
    /// around them in their dwords is read and written, too.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn write_memory(&mut self, start: u64, data: &[u8]) -> DriveResult<()> {
        self.check_memory(start, data.len() as u64)?;
        let end = start + data.len() as u64;
        let (first, last) = (start.next_multiple_of(DWORD), end / DWORD * DWORD);
        if first > last {
            return self.write_in_dword(start, data);
        }
        let (head, rest) = data.split_at((first - start) as usize);
        let (whole, tail) = rest.split_at((last - first) as usize);
        self.write_in_dword(start, head)?;
        let mut at = first;
        for piece in whole.chunks(self.geometry.transfer_bytes_max as usize) {
            self.write_dwords(at, piece)?;
            at += piece.len() as u64;
        }
        self.write_in_dword(last, tail)
    }

    fn write_dwords(&mut self, at: u64, data: &[u8]) -> DriveResult<()> {
        self.perform(self.write_memory_command(at, data.to_vec())).map(drop)
    }

    /// Writes a part of a dword.
    fn write_in_dword(&mut self, start: u64, data: &[u8]) -> DriveResult<()> {
        if data.is_empty() {
            return Ok(());
        }
        let first = start / DWORD * DWORD;
        let skipped = (start - first) as usize;
        let mut dword = self.read_memory(first, DWORD)?;
        dword[skipped..skipped + data.len()].copy_from_slice(data);
        self.write_dwords(first, &dword)
    }

    /// Zeroes device memory; start and length are multiples of four.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn fill_memory(&mut self, start: u64, len: u64) -> DriveResult<()> {
        aligned("start of a fill", start, DWORD)?;
        aligned("length of a fill", len, DWORD)?;
        self.check_memory(start, len)?;
        for at in (0..len).step_by(MEMORY_COMMAND_BYTES_MAX as usize) {
            let n = MEMORY_COMMAND_BYTES_MAX.min(len - at);
            let entry = self.of_memory(commands::memory(MemoryOpcode::FILL, start + at, n as u32));
            self.run("Memory Fill", Lane::Io, entry, Data::None)?;
        }
        Ok(())
    }
}

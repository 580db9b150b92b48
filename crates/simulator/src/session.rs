//! Whole jobs on a drive: data in and out, programs, executions.

use client::commands::{self, Execute};
use client::{Buffer, Completion, DmaMemory, DriverError, QueueId};
use controller::{COMPUTE_NSID, CommandRecord, Config};
use nvme_spec::command::program_type;
use nvme_spec::{CommandSet, IDENTIFY_SIZE, MemoryOpcode, NvmOpcode, Status, SubmissionEntry, lid};
use zerocopy::IntoBytes;

use crate::{Host, HostError};

/// The queue pair that blocking calls use.
const IO: QueueId = QueueId(1);
const ADMIN: QueueId = QueueId(0);

/// Blocks of one copy source entry (its NLB field has 16 bits).
const COPY_ENTRY_BLOCKS_MAX: u64 = 65_536;
/// Source entries of one Memory Copy command.
const COPY_ENTRIES_MAX: usize = controller::limits::COPY_SOURCES_MAX;
/// Bytes of one Memory Copy command.
const COPY_BYTES_MAX: u64 = controller::limits::MEMORY_COMMAND_BYTES_MAX;

/// A command the drive completed with an error status.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{command}: {status}{}", .detail.as_ref().map_or(String::new(), |d| format!(": {d}")))]
pub struct CommandFailed {
    /// The command's name.
    pub command: &'static str,
    /// Its status.
    pub status: Status,
    /// What the drive's diagnostics log says, for program commands.
    pub detail: Option<String>,
}

/// A job that did not work out.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum SessionError {
    #[error(transparent)]
    Host(#[from] HostError),
    #[error(transparent)]
    Driver(#[from] DriverError),
    #[error(transparent)]
    Failed(#[from] CommandFailed),
}

type Result<T> = core::result::Result<T, SessionError>;

/// A host with one I/O queue pair for blocking calls and as many more as asked for.
#[derive(Debug)]
pub struct Session {
    /// The host, for anything not wrapped here.
    pub host: Host,
    transfer_max: u64,
    block_bytes: u64,
    staging: Buffer,
}

impl Session {
    /// Builds and enables a drive.
    ///
    /// # Errors
    /// If it cannot be built.
    pub fn new(config: Config, extra_queues: u16, entries: u32) -> Result<Self> {
        let (transfer_max, block_bytes) = (config.transfer_bytes_max, config.block_bytes.into());
        let mut host = crate::host(config, 1 + extra_queues, entries)?;
        let staging = host.port.ram.allocate(transfer_max);
        Ok(Self { host, transfer_max, block_bytes, staging })
    }

    /// Runs a command and makes an error of an error status.
    fn run(
        &mut self,
        command: &'static str,
        queue: QueueId,
        entry: SubmissionEntry,
    ) -> Result<Completion> {
        let done = self.host.execute(queue, entry)?;
        if done.status.is_success() {
            return Ok(done);
        }
        Err(CommandFailed { command, status: done.status, detail: None }.into())
    }

    /// Runs a command with data for the drive.
    fn send(
        &mut self,
        command: &'static str,
        queue: QueueId,
        entry: SubmissionEntry,
        data: &[u8],
    ) -> Result<Completion> {
        let ram = &mut self.host.port.ram;
        ram.put(self.staging.address, data);
        let prps = ram.prps(&self.staging, data.len() as u64);
        self.run(command, queue, commands::with_data(entry, prps))
    }

    /// Runs a command with data from the drive.
    fn receive(
        &mut self,
        command: &'static str,
        queue: QueueId,
        entry: SubmissionEntry,
        len: u64,
    ) -> Result<Vec<u8>> {
        let prps = self.host.port.ram.prps(&self.staging, len);
        self.run(command, queue, commands::with_data(entry, prps))?;
        Ok(self.host.port.ram.view(self.staging.address, len).to_vec())
    }

    /// Writes bytes to the NVM namespace from a block on; the last block is padded with zeroes.
    /// Returns the number of blocks.
    ///
    /// # Errors
    /// If the drive refuses, for example beyond its capacity.
    pub fn write_blocks(&mut self, first_block: u64, data: &[u8]) -> Result<u64> {
        let mut block = first_block;
        for piece in data.chunks(self.transfer_max as usize) {
            let mut piece = piece.to_vec();
            piece.resize(piece.len().next_multiple_of(self.block_bytes as usize), 0);
            let count = piece.len() as u64 / self.block_bytes;
            let entry = commands::read_write(NvmOpcode::WRITE, block, count as u32);
            self.send("Write", IO, entry, &piece)?;
            block += count;
        }
        Ok(block - first_block)
    }

    /// Reads blocks of the NVM namespace.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn read_blocks(&mut self, first_block: u64, count: u64) -> Result<Vec<u8>> {
        let mut data = Vec::new();
        let step = self.transfer_max / self.block_bytes;
        for at in (0..count).step_by(step as usize) {
            let n = step.min(count - at);
            let entry = commands::read_write(NvmOpcode::READ, first_block + at, n as u32);
            data.extend(self.receive("Read", IO, entry, n * self.block_bytes)?);
        }
        Ok(data)
    }

    /// Flushes the NVM namespace.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn flush(&mut self) -> Result<()> {
        self.run("Flush", IO, commands::flush()).map(drop)
    }

    /// Copies blocks into device memory.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn copy_blocks(&mut self, first_block: u64, count: u64, target: u64) -> Result<()> {
        let (mut block, mut target) = (first_block, target);
        let end = first_block + count;
        while block < end {
            let mut list = Vec::new();
            let from = block;
            let stop = end.min(from + COPY_BYTES_MAX / self.block_bytes);
            while block < stop && list.len() < COPY_ENTRIES_MAX {
                let n = (stop - block).min(COPY_ENTRY_BLOCKS_MAX);
                list.push(commands::copy_source(block, n));
                block += n;
            }
            let len = (block - from) * self.block_bytes;
            let entry = commands::memory_copy(target, len, list.len(), 2);
            self.send("Memory Copy", IO, entry, list.as_bytes())?;
            target += len;
        }
        Ok(())
    }

    /// Reads device memory.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn read_memory(&mut self, start: u64, len: u64) -> Result<Vec<u8>> {
        let mut data = Vec::new();
        for at in (0..len).step_by(self.transfer_max as usize) {
            let n = self.transfer_max.min(len - at);
            // Hosts address device memory in dwords.
            let rounded = n.next_multiple_of(4);
            let entry = commands::memory(MemoryOpcode::READ, start + at, rounded as u32);
            let bytes = self.receive("Memory Read", IO, entry, rounded)?;
            data.extend(&bytes[..n as usize]);
        }
        Ok(data)
    }

    /// Writes device memory; the length is a multiple of four.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn write_memory(&mut self, start: u64, data: &[u8]) -> Result<()> {
        let mut at = start;
        for piece in data.chunks(self.transfer_max as usize) {
            let entry = commands::memory(MemoryOpcode::WRITE, at, piece.len() as u32);
            self.send("Memory Write", IO, entry, piece)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// Zeroes device memory; start and length are multiples of four.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn fill_memory(&mut self, start: u64, len: u64) -> Result<()> {
        const STEP: u64 = controller::limits::MEMORY_COMMAND_BYTES_MAX;
        for at in (0..len).step_by(STEP as usize) {
            let n = STEP.min(len - at);
            let entry = commands::memory(MemoryOpcode::FILL, start + at, n as u32);
            self.run("Memory Fill", IO, entry)?;
        }
        Ok(())
    }

    /// Downloads a program in pieces and activates it.
    ///
    /// # Errors
    /// If the drive refuses it; the detail says why.
    pub fn load_program(&mut self, index: u16, object: &[u8]) -> Result<()> {
        let total = object.len() as u32;
        let mut offset = 0;
        for piece in object.chunks(self.transfer_max as usize) {
            let kind = program_type::EBPF;
            let entry = commands::load_program(index, kind, total, offset, piece.len() as u32);
            let sent = self.send("Load Program", ADMIN, entry, piece);
            self.with_detail(sent)?;
            offset += piece.len() as u32;
        }
        self.run("Program Activation Management", ADMIN, commands::activate_program(index, true))?;
        Ok(())
    }

    /// Creates a memory range set of (start, length) pairs.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn create_range_set(&mut self, ranges: &[(u64, u32)]) -> Result<u16> {
        let list: Vec<_> =
            ranges.iter().map(|&(start, len)| commands::memory_range(start, len)).collect();
        let entry = commands::create_range_set(list.len() as u8);
        let done = self.send("Memory Range Set Management", ADMIN, entry, list.as_bytes())?;
        Ok(done.result as u16)
    }

    /// Executes a program on a range set with a data buffer; returns its result.
    ///
    /// # Errors
    /// If the drive refuses or stops the program; the detail says why.
    pub fn execute(&mut self, mut command: Execute, data: &[u8]) -> Result<u64> {
        command.data_len = data.len() as u32;
        let done = self.send("Execute Program", IO, command.entry(), data);
        self.with_detail(done).map(|done| done.result)
    }

    /// Adds the drive's diagnostics to the failure of a program command.
    fn with_detail<T>(&mut self, result: Result<T>) -> Result<T> {
        match result {
            Err(SessionError::Failed(mut failed)) => {
                failed.detail = self.diagnostics(&failed)?;
                Err(failed.into())
            }
            other => other,
        }
    }

    fn diagnostics(&mut self, failed: &CommandFailed) -> Result<Option<String>> {
        let status = failed.status;
        let stopped = status.sct() == 1 && status.sc() >= 0xC0;
        if !stopped && !status.same_code(Status::INVALID_PROGRAM_DATA) {
            return Ok(None);
        }
        let page = self.log(lid::PROGRAM_DIAGNOSTICS, COMPUTE_NSID, 4096)?;
        let len = u32::from_le_bytes([page[4], page[5], page[6], page[7]]) as usize;
        let text = &page[8..page.len().min(8 + len)];
        Ok(Some(String::from_utf8_lossy(text).into_owned()))
    }

    /// Text that programs printed with the trace helper.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn program_trace(&mut self) -> Result<Vec<u8>> {
        let head = self.log(lid::PROGRAM_TRACE, COMPUTE_NSID, 4)?;
        let len = u64::from(u32::from_le_bytes([head[0], head[1], head[2], head[3]]));
        let mut text = Vec::new();
        while (text.len() as u64) < len {
            let offset = 4 + text.len() as u64;
            let part = (len - text.len() as u64).next_multiple_of(4).min(self.transfer_max);
            let id = lid::PROGRAM_TRACE;
            let entry = commands::get_log(id, COMPUTE_NSID, CommandSet::NVM, offset, part);
            text.extend(self.receive("Get Log Page", ADMIN, entry, part)?);
        }
        text.truncate(len as usize);
        Ok(text)
    }

    /// Reads the beginning of a log page.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn log(&mut self, id: u8, nsid: u32, len: u64) -> Result<Vec<u8>> {
        let entry = commands::get_log(id, nsid, CommandSet::NVM, 0, len);
        self.receive("Get Log Page", ADMIN, entry, len)
    }

    /// Reads an Identify data structure.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn identify(&mut self, cns: u8, nsid: u32, csi: CommandSet) -> Result<Vec<u8>> {
        self.receive("Identify", ADMIN, commands::identify(cns, nsid, csi), IDENTIFY_SIZE as u64)
    }

    /// Takes the records of the commands that finished since the last call.
    pub fn take_records(&mut self) -> Vec<CommandRecord> {
        self.host.port.drive.take_command_records()
    }

    /// Bytes of a logical block.
    pub fn block_bytes(&self) -> u64 {
        self.block_bytes
    }
}

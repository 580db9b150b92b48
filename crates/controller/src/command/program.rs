//! Computational Programs I/O commands.

use nvme_spec::command::{
    CompoundCdw13, ExecuteCdw2, ExecuteCdw14, MemoryRangeDescriptor, RunTime,
};
use nvme_spec::{Nsid, ProgramOpcode, Status, SubmissionEntry};

use crate::limits::RANGES_PER_SET_MAX;

/// Execute Program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExecuteProgram {
    pub(crate) program_index: u16,
    /// Range set, 0 = none.
    pub(crate) rsid: u16,
    /// Range descriptors at the beginning of the data buffer.
    pub(crate) inline_ranges: usize,
    /// Bytes of the data buffer, range descriptors included.
    pub(crate) data_len: u64,
    pub(crate) param1: u64,
    pub(crate) param2: u64,
    /// Vendor: job group, from dword 14; 0 = none.
    pub(crate) group: u8,
    /// Vendor: how its run time is found, from dword 15.
    pub(crate) run_time: RunTime,
}

/// A command of the Computational Programs command set.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ProgramCommand {
    Execute(ExecuteProgram),
    Stream(StreamProgram),
    Compound(CompoundProgram),
}

/// Execute Program, compound (vendor specific): blocks are copied to memory that the drive allocates, a program runs on them, and
/// its output goes to the host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CompoundProgram {
    /// Its range set has the ranges behind the output and the input; it has no data.
    pub(crate) execute: ExecuteProgram,
    pub(crate) nsid: Nsid,
    pub(crate) first: u64,
    pub(crate) count: u64,
    /// Bytes of the output.
    pub(crate) output: u64,
    pub(crate) early: bool,
}

/// Execute Program, streaming (vendor specific).
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamProgram {
    /// It names a range set, and has no range descriptors.
    pub(crate) execute: ExecuteProgram,
    /// Blocks of a chunk, from dword 3.
    pub(crate) chunk_blocks: u32,
}

impl ProgramCommand {
    pub(crate) fn decode(entry: &SubmissionEntry) -> Result<Self, Status> {
        match ProgramOpcode(entry.opcode) {
            ProgramOpcode::EXECUTE => {
                let execute = ExecuteProgram::decode(entry, entry.cdw3.get() as usize)?;
                Ok(Self::Execute(execute))
            }
            ProgramOpcode::EXECUTE_STREAM => {
                let execute = ExecuteProgram::decode(entry, 0)?;
                Ok(Self::Stream(StreamProgram { execute, chunk_blocks: entry.cdw3.get() }))
            }
            ProgramOpcode::EXECUTE_COMPOUND => {
                let cdw2 = ExecuteCdw2::from_bits(entry.cdw2.get());
                let cdw13 = CompoundCdw13::from_bits(entry.cdw13.get());
                let execute = ExecuteProgram {
                    program_index: cdw2.pind(),
                    rsid: cdw2.rsid(),
                    inline_ranges: 0,
                    data_len: 0,
                    param1: entry.cdw14_15(),
                    param2: 0,
                    group: cdw13.group(),
                    run_time: RunTime::Unsaid,
                };
                Ok(Self::Compound(CompoundProgram {
                    execute,
                    nsid: Nsid(cdw13.nsid().into()),
                    first: entry.cdw10_11(),
                    count: u64::from(entry.cdw12.get()) + 1,
                    output: entry.cdw3.get().into(),
                    early: cdw13.early(),
                }))
            }
            _ => Err(Status::INVALID_OPCODE.with_dnr()),
        }
    }
}

impl ExecuteProgram {
    fn decode(entry: &SubmissionEntry, inline_ranges: usize) -> Result<Self, Status> {
        let cdw2 = ExecuteCdw2::from_bits(entry.cdw2.get());
        if inline_ranges > 0 && cdw2.rsid() != 0 {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        if inline_ranges > usize::from(RANGES_PER_SET_MAX) {
            return Err(Status::MAXIMUM_MEMORY_RANGES_EXCEEDED.with_dnr());
        }
        let descriptors = (inline_ranges * size_of::<MemoryRangeDescriptor>()) as u64;
        let cdw14 = ExecuteCdw14::from_bits(entry.cdw14.get());
        // Stock Linux passthrough cannot carry DLEN (dword 4): it arrives as 0 and dword 14 holds
        // the length; if that is 0 too, the buffer is the range descriptors alone.
        let data_len = match (entry.cdw4.get(), cdw14.dlen()) {
            (0, 0) => descriptors,
            (0, len) | (len, _) => u64::from(len),
        };
        if data_len < descriptors {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        Ok(Self {
            program_index: cdw2.pind(),
            rsid: cdw2.rsid(),
            inline_ranges,
            data_len,
            param1: entry.cdw10_11(),
            param2: entry.cdw12_13(),
            group: cdw14.group(),
            run_time: RunTime::of_execute(entry.cdw15.get())
                .ok_or(Status::INVALID_FIELD.with_dnr())?,
        })
    }
}

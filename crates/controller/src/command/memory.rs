//! Subsystem Local Memory commands; layouts as listed in `docs/conformance.md`.

use nvme_spec::command::MemoryCopyCdw12;
use nvme_spec::{MemoryOpcode, Status, SubmissionEntry};

/// Bytes of the unit in which hosts address device memory.
pub(crate) const GRANULARITY: u64 = 4;

/// A command of the Subsystem Local Memory command set.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MemoryCommand {
    Read { start: u64, len: u64 },
    Write { start: u64, len: u64 },
    Fill { start: u64, len: u64 },
    Copy { target: u64, len: u64, source_count: usize, format: u8 },
}

impl MemoryCommand {
    pub(crate) fn decode(entry: &SubmissionEntry) -> Result<Self, Status> {
        let start = entry.cdw10_11();
        let opcode = MemoryOpcode(entry.opcode);
        let len = match opcode {
            MemoryOpcode::COPY => entry.cdw2_3(),
            _ => entry.cdw12.get().into(),
        };
        let command = match opcode {
            MemoryOpcode::READ => Self::Read { start, len },
            MemoryOpcode::WRITE => Self::Write { start, len },
            MemoryOpcode::FILL => Self::Fill { start, len },
            MemoryOpcode::COPY => {
                let cdw12 = MemoryCopyCdw12::from_bits(entry.cdw12.get());
                let source_count = usize::from(cdw12.nr_z()) + 1;
                Self::Copy { target: start, len, source_count, format: cdw12.desfmt() }
            }
            _ => return Err(Status::INVALID_OPCODE.with_dnr()),
        };
        if !start.is_multiple_of(GRANULARITY) || !len.is_multiple_of(GRANULARITY) {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        Ok(command)
    }
}

//! NVM commands (NVM Command Set 1.2, section 3).

use nvme_spec::command::ReadWriteCdw12;
use nvme_spec::{NvmOpcode, Status, SubmissionEntry};

/// A command of the NVM command set.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NvmCommand {
    Flush,
    Read { first_block: u64, block_count: u32 },
    Write { first_block: u64, block_count: u32, fua: bool },
}

impl NvmCommand {
    #[inline]
    pub(crate) fn decode(entry: &SubmissionEntry) -> Result<Self, Status> {
        let first_block = entry.cdw10_11();
        let cdw12 = ReadWriteCdw12::from_bits(entry.cdw12.get());
        let block_count = u32::from(cdw12.nlb_z()) + 1;
        match NvmOpcode(entry.opcode) {
            NvmOpcode::FLUSH => Ok(Self::Flush),
            NvmOpcode::READ => Ok(Self::Read { first_block, block_count }),
            NvmOpcode::WRITE => Ok(Self::Write { first_block, block_count, fua: cdw12.fua() }),
            _ => Err(Status::INVALID_OPCODE.with_dnr()),
        }
    }
}

//! NVM commands (NVM Command Set 1.2, section 3).

use nvme_spec::command::{CopyCdw12, DatasetCdw11, ReadWriteCdw12, WriteZeroesCdw12};
use nvme_spec::{NvmOpcode, Status, SubmissionEntry};

/// A range of blocks with a true count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Blocks {
    pub(crate) first: u64,
    pub(crate) count: u32,
}

/// Write Zeroes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ZeroBlocks {
    pub(crate) blocks: Blocks,
    pub(crate) deallocate: bool,
    pub(crate) fua: bool,
}

/// Copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CopyBlocks {
    pub(crate) target: u64,
    pub(crate) source_count: usize,
    pub(crate) format: u8,
    pub(crate) fua: bool,
}

/// A command of the NVM command set.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NvmCommand {
    Flush,
    Read { blocks: Blocks },
    Write { blocks: Blocks, fua: bool },
    Compare { blocks: Blocks },
    Verify { blocks: Blocks },
    WriteZeroes(ZeroBlocks),
    Dataset { range_count: usize, deallocate: bool },
    Copy(CopyBlocks),
}

impl NvmCommand {
    #[inline]
    pub(crate) fn decode(entry: &SubmissionEntry) -> Result<Self, Status> {
        let cdw12 = ReadWriteCdw12::from_bits(entry.cdw12.get());
        let first = entry.cdw10_11();
        let blocks = Blocks { first, count: u32::from(cdw12.nlb_z()) + 1 };
        let no_directive = |dtype: u8| match dtype {
            0 => Ok(()),
            // No directives (OACS bit 5).
            _ => Err(Status::INVALID_FIELD.with_dnr()),
        };
        match NvmOpcode(entry.opcode) {
            NvmOpcode::FLUSH => Ok(Self::Flush),
            NvmOpcode::READ => Ok(Self::Read { blocks }),
            NvmOpcode::WRITE => {
                no_directive(cdw12.dtype())?;
                Ok(Self::Write { blocks, fua: cdw12.fua() })
            }
            NvmOpcode::COMPARE => Ok(Self::Compare { blocks }),
            NvmOpcode::VERIFY => Ok(Self::Verify { blocks }),
            NvmOpcode::WRITE_ZEROES => {
                let cdw12 = WriteZeroesCdw12::from_bits(entry.cdw12.get());
                let (deallocate, fua) = (cdw12.deac(), cdw12.fua());
                Ok(Self::WriteZeroes(ZeroBlocks { blocks, deallocate, fua }))
            }
            NvmOpcode::DATASET_MANAGEMENT => {
                let range_count = (entry.cdw10.get() & 0xFF) as usize + 1;
                let deallocate = DatasetCdw11::from_bits(entry.cdw11.get()).ad();
                Ok(Self::Dataset { range_count, deallocate })
            }
            NvmOpcode::COPY => {
                let cdw12 = CopyCdw12::from_bits(entry.cdw12.get());
                no_directive(cdw12.dtype())?;
                let source_count = usize::from(cdw12.nr_z()) + 1;
                let (format, fua) = (cdw12.desfmt(), cdw12.fua());
                Ok(Self::Copy(CopyBlocks { target: first, source_count, format, fua }))
            }
            _ => Err(Status::INVALID_OPCODE.with_dnr()),
        }
    }
}

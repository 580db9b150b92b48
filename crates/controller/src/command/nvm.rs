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
    Read {
        blocks: Blocks,
    },
    /// The placement identifier is what the directive says (DTYPE 2h).
    Write {
        blocks: Blocks,
        fua: bool,
        placement: Option<u16>,
    },
    Compare {
        blocks: Blocks,
    },
    Verify {
        blocks: Blocks,
    },
    WriteZeroes(ZeroBlocks),
    Dataset {
        range_count: usize,
        deallocate: bool,
    },
    Copy(CopyBlocks),
    /// I/O Management Receive: a management operation, and so many bytes.
    Receive {
        operation: u8,
        len: u64,
    },
    /// I/O Management Send: a management operation, and so many placement identifiers.
    Send {
        operation: u8,
        count: usize,
    },
}

/// Directive type of data placement (Base 2.1, section 8.1.8.4).
const DATA_PLACEMENT: u8 = 2;

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
                let placement = match cdw12.dtype() {
                    DATA_PLACEMENT => Some((entry.cdw13.get() >> 16) as u16),
                    other => no_directive(other).map(|()| None)?,
                };
                Ok(Self::Write { blocks, fua: cdw12.fua(), placement })
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
            NvmOpcode::IO_MANAGEMENT_RECEIVE => {
                let operation = entry.cdw10.get() as u8;
                Ok(Self::Receive { operation, len: (u64::from(entry.cdw11.get()) + 1) * 4 })
            }
            NvmOpcode::IO_MANAGEMENT_SEND => {
                let (operation, specific) = (entry.cdw10.get() as u8, entry.cdw10.get() >> 16);
                Ok(Self::Send { operation, count: specific as usize + 1 })
            }
            _ => Err(Status::INVALID_OPCODE.with_dnr()),
        }
    }
}

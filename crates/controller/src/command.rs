//! Decoding: from a submission queue entry to a typed command with true counts.
//!
//! Each decoder looks only at the entry: reserved values and impossible lengths are refused here,
//! what depends on the state of the drive is validated by the namespace that executes it.

mod admin;
mod memory;
mod nvm;
mod program;

use nvme_spec::{Status, SubmissionEntry};

pub(crate) use admin::{AdminCommand, GetLog, Identify, LoadProgram};
pub(crate) use memory::{GRANULARITY, MemoryCommand};
pub(crate) use nvm::NvmCommand;
pub(crate) use program::{ExecuteProgram, ProgramCommand};

/// Checks what is the same for every command: no fused operations, data pointers are PRPs.
pub(crate) fn check_flags(entry: &SubmissionEntry) -> Result<(), Status> {
    // Neither fused commands (FUSES = 0) nor SGLs (SGLS = 0) are advertised.
    if entry.fuse() != 0 || entry.psdt() != 0 {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    Ok(())
}

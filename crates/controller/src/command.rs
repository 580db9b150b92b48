//! Decoding: from a submission queue entry to a typed command with true counts.
//!
//! Each decoder looks only at the entry: reserved values and impossible lengths are refused here,
//! what depends on the state of the drive is validated by the namespace that executes it.

mod admin;
mod memory;
mod nvm;
mod program;

use nvme_spec::{CommandSet, Status, SubmissionEntry};

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

/// What decoding alone says of an entry: `set` is the command set of its namespace, or `None` for
/// the admin queue. The drive itself goes on to validate what depends on its state.
///
/// # Errors
/// The status that the drive would complete the command with.
pub fn check_entry(set: Option<CommandSet>, entry: &SubmissionEntry) -> Result<(), Status> {
    check_flags(entry)?;
    match set {
        None => AdminCommand::decode(entry).map(drop),
        Some(CommandSet::NVM) => NvmCommand::decode(entry).map(drop),
        Some(CommandSet::MEMORY) => MemoryCommand::decode(entry).map(drop),
        Some(CommandSet::PROGRAMS) => ProgramCommand::decode(entry).map(drop),
        Some(_) => Err(Status::INVALID_NAMESPACE.with_dnr()),
    }
}

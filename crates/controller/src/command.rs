//! Decoding: from a submission queue entry to a typed command with true counts.
//!
//! Each decoder looks only at the entry: reserved values and impossible lengths are refused here,
//! what depends on the state of the drive is validated by the namespace that executes it.

mod admin;
mod femu;
mod memory;
mod nvm;
mod program;
mod zoned;

use nvme_spec::{CommandSet, Status, SubmissionEntry};

pub(crate) use admin::{
    AdminCommand, CreateCq, CreateSq, Erase, Format, GetFeatures, GetLog, GroupAction, GroupFields,
    Identify, LoadProgram, NamespaceAction, ProgramAction, SanitizeAction, SelfTest, SetFeatures,
};
pub(crate) use femu::{FemuAdminCommand, FemuCommand, FemuLoad, Part};
pub(crate) use memory::{GRANULARITY, MemoryCommand};
pub(crate) use nvm::{Blocks, CopyBlocks, NvmCommand, ZeroBlocks};
pub(crate) use program::{CompoundProgram, ExecuteProgram, ProgramCommand, StreamProgram};
pub(crate) use zoned::{ZoneReport, ZonedCommand};

/// Checks what is the same for every command of a queue: how it points to its data. A pair of
/// fused commands is the business of whoever takes them from the queue.
#[inline]
pub(crate) fn check_flags(entry: &SubmissionEntry, is_admin: bool) -> Result<(), Status> {
    match entry.psdt() {
        0 => Ok(()),
        // SGLs are for I/O commands (Base 2.1, section 4.3.2); no metadata comes by SGL (SGLS).
        1 if !is_admin => Ok(()),
        _ => Err(Status::INVALID_FIELD.with_dnr()),
    }
}

/// What decoding alone says of an entry: `set` is the command set of its namespace, or `None` for
/// the admin queue. The drive itself goes on to validate what depends on its state.
///
/// # Errors
/// The status that the drive would complete the command with.
pub fn check_entry(set: Option<CommandSet>, entry: &SubmissionEntry) -> Result<(), Status> {
    check_flags(entry, set.is_none())?;
    match set {
        None => AdminCommand::decode(entry).map(drop),
        Some(CommandSet::NVM) => NvmCommand::decode(entry).map(drop),
        Some(CommandSet::ZONED) => match ZonedCommand::decode(entry) {
            Some(zoned) => zoned.map(drop),
            None => NvmCommand::decode(entry).map(drop),
        },
        Some(CommandSet::MEMORY) => MemoryCommand::decode(entry).map(drop),
        Some(CommandSet::PROGRAMS) => ProgramCommand::decode(entry).map(drop),
        Some(_) => Err(Status::INVALID_NAMESPACE.with_dnr()),
    }
}

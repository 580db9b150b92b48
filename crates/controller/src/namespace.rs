//! The three namespaces: what their commands do.

use nvme_spec::CommandSet;

pub(crate) mod compute;
pub(crate) mod memory;
pub(crate) mod nvm;

/// Blocks.
pub const NVM_NSID: u32 = 1;
/// Device memory.
pub const MEMORY_NSID: u32 = 2;
/// Programs.
pub const COMPUTE_NSID: u32 = 3;

/// Every namespace with its command set, ascending.
pub(crate) const NAMESPACES: [(u32, CommandSet); 3] = [
    (NVM_NSID, CommandSet::NVM),
    (MEMORY_NSID, CommandSet::MEMORY),
    (COMPUTE_NSID, CommandSet::PROGRAMS),
];

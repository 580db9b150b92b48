//! The three namespaces: what their commands do.

use nvme_spec::CommandSet;

pub(crate) mod compute;
pub(crate) mod memory;
pub(crate) mod nvm;

pub use nvme_spec::namespace::{COMPUTE_NSID, MEMORY_NSID, NVM_NSID};

/// Every namespace with its command set, ascending.
pub(crate) const NAMESPACES: [(u32, CommandSet); 3] = [
    (NVM_NSID, CommandSet::NVM),
    (MEMORY_NSID, CommandSet::MEMORY),
    (COMPUTE_NSID, CommandSet::PROGRAMS),
];

//! The namespaces of a drive that a client works with.

use nvme_spec::SubmissionEntry;
use nvme_spec::namespace::{COMPUTE_NSID, MEMORY_NSID, NVM_NSID};

/// One namespace of each kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NamespaceIds {
    /// Blocks.
    pub nvm: u32,
    /// Device memory.
    pub memory: u32,
    /// Programs.
    pub programs: u32,
}

impl NamespaceIds {
    /// Those of a drive that lists none in its configuration.
    pub(crate) const UNLISTED: Self =
        Self { nvm: NVM_NSID, memory: MEMORY_NSID, programs: COMPUTE_NSID };
}

/// The same command for another namespace.
pub(crate) fn addressed(entry: SubmissionEntry, nsid: u32) -> SubmissionEntry {
    SubmissionEntry { nsid: nsid.into(), ..entry }
}

//! Parts of a drive that a caller brings.

use std::sync::Arc;

use crate::native::NativePrograms;
use crate::peers::Peers;

/// Parts of a drive that are not chosen by name in its [`Config`](crate::Config).
#[derive(Debug, Default)]
pub struct Parts {
    /// Keeps the pages of the flash; it is empty. Otherwise they are in memory.
    pub store: Option<Box<dyn ssd::Store>>,
    /// The flash in the state of another drive, [`Controller::fork_flash`](crate::Controller::fork_flash), in place of an empty one.
    /// The drive begins at its time.
    pub flash: Option<ssd::Ssd>,
    /// Makes the scheduler of a queue of jobs, in place of the one that the configuration names.
    pub policy: Option<NewPolicy>,
    /// Loads and runs native programs; without it none can be loaded, whatever the configuration says.
    pub native: Option<Arc<dyn NativePrograms>>,
    /// Drives whose device memory it reaches, and that reach its own.
    pub peers: Option<Peers>,
}

/// Makes a scheduler.
pub type NewPolicy = fn(&compute::Config) -> Box<dyn compute::Policy>;

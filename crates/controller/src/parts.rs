//! Parts of a drive that a caller brings.

use std::sync::Arc;

use crate::native::NativePrograms;
use crate::peers::Peers;
use crate::wasm::WasmPrograms;

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
    /// Loads programs that the shell runs.
    pub programs: ProgramLoaders,
    /// Drives whose device memory it reaches, and that reach its own.
    pub peers: Option<Peers>,
}

/// What loads and runs programs other than the drive's engine.
#[derive(Clone, Debug, Default)]
pub struct ProgramLoaders {
    /// Native programs; without it none can be loaded, whatever the configuration says.
    pub native: Option<Arc<dyn NativePrograms>>,
    /// WebAssembly programs; without it none can be loaded.
    pub wasm: Option<Arc<dyn WasmPrograms>>,
}

/// Makes a scheduler.
pub type NewPolicy = fn(&compute::Config) -> Box<dyn compute::Policy>;

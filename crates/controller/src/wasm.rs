//! WebAssembly programs, as the drive sees them. A shell compiles and runs them (crate `wasm_programs`).

use std::fmt;
use std::sync::Arc;

use crate::shell_program::ShellProgram;

/// How far a run of a WebAssembly program may go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WasmConfig {
    /// Memory of a run besides that of its ranges.
    pub memory_bytes: u64,
}

impl Default for WasmConfig {
    fn default() -> Self {
        Self { memory_bytes: 256 << 20 }
    }
}

/// Loads WebAssembly programs.
pub trait WasmPrograms: fmt::Debug + Send + Sync {
    /// A program that calls this exported function of a module; without a name, the one that is meant.
    ///
    /// # Errors
    /// Why it is not loaded, for the drive's user.
    fn load(
        &self,
        module: &[u8],
        function: Option<&str>,
        config: &WasmConfig,
    ) -> Result<Arc<dyn ShellProgram>, String>;
}

//! Native programs, as the drive sees them. A shell loads and runs them (crate `native_programs`): they are code of the host
//! machine, and the drive neither holds nor starts a process.

use std::fmt;
use std::sync::Arc;

use simtime::Duration;

use crate::shell_program::ShellProgram;

/// Which native programs a drive takes, and how far each may go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NativeConfig {
    /// Shared objects that hosts send.
    pub upload: bool,
    /// Folder of shared objects that hosts may name; none if empty.
    pub directory: String,
    /// A run that takes longer here is stopped.
    pub time_limit: Duration,
    /// Runs may have threads; their processor times count together.
    pub threads: bool,
    /// Memory of a run besides that of its ranges.
    pub memory_bytes: u64,
}

impl Default for NativeConfig {
    fn default() -> Self {
        Self {
            upload: false,
            directory: String::new(),
            time_limit: Duration::from_us(10_000_000),
            threads: false,
            memory_bytes: 256 << 20,
        }
    }
}

/// Where the code of a native program is.
#[derive(Clone, Copy, Debug)]
pub enum NativeSource<'a> {
    /// The host sent the shared object.
    Uploaded(&'a [u8]),
    /// The host named a file.
    Named(&'a str),
}

/// Why a native program is not loaded; the text is for the drive's user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NativeLoadError {
    /// It is no such program.
    Refused(String),
    /// The host machine could not do its part.
    Host(String),
}

/// Loads native programs.
pub trait NativePrograms: fmt::Debug + Send + Sync {
    /// A program that calls this function of a shared object; without a name, the only one that it exports.
    ///
    /// # Errors
    /// Why it is not loaded.
    fn load(
        &self,
        source: NativeSource<'_>,
        function: Option<&str>,
    ) -> Result<Arc<dyn ShellProgram>, NativeLoadError>;

    /// The bytes of a file in the folder of [`NativeConfig::directory`], by its name, or by a path that leads there.
    ///
    /// # Errors
    /// Why there are none.
    fn read(&self, path: &str) -> Result<Vec<u8>, NativeLoadError>;
}

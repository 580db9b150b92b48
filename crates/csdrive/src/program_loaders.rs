//! Programs of a drive that this process runs other than by the drive's own engine: native ones, WebAssembly.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use controller::{Config, NativePrograms, ProgramLoaders};

/// What loads and runs the programs that the configuration lets hosts load.
pub(crate) fn program_loaders(config: &Config) -> Result<ProgramLoaders> {
    let wasm = Arc::new(wasm_programs::Programs);
    Ok(ProgramLoaders { native: native(config)?, wasm: Some(wasm) })
}

fn native(config: &Config) -> Result<Option<Arc<dyn NativePrograms>>> {
    let native = &config.native;
    if !native.upload && native.directory.is_empty() {
        return Ok(None);
    }
    if !native.directory.is_empty() {
        fs::read_dir(&native.directory)
            .with_context(|| format!("compute.native_directory = {:?}", native.directory))?;
    }
    // This very executable, also after another one has taken its place.
    let programs = native_programs::Programs::new(Path::new("/proc/self/exe"), native);
    Ok(Some(Arc::new(programs)))
}

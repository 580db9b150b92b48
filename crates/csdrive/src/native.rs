//! Native programs of a drive that this process runs.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use controller::{Config, NativePrograms};
use native_programs::Programs;

/// What loads and runs native programs, if the configuration lets hosts load any.
pub(crate) fn programs(config: &Config) -> Result<Option<Arc<dyn NativePrograms>>> {
    let native = &config.native;
    if !native.upload && native.directory.is_empty() {
        return Ok(None);
    }
    if !native.directory.is_empty() {
        fs::read_dir(&native.directory)
            .with_context(|| format!("compute.native_directory = {:?}", native.directory))?;
    }
    // This very executable, also after another one has taken its place.
    Ok(Some(Arc::new(Programs::new(Path::new("/proc/self/exe"), native))))
}

//! Programs from files, with their entry functions chosen.

use std::path::Path;

use anyhow::Context;
use ebpf::LoadError;

/// A program for the drive: an object, or C source, with its entry function named.
///
/// # Errors
/// If it is no program, or it has several functions that could be meant.
pub(crate) fn program(path: &Path, function: Option<&str>) -> anyhow::Result<Vec<u8>> {
    let object = bpf_clang::program_bytes(path)?;
    select_function(object, function, path).with_context(|| path.display().to_string())
}

/// Refuses what is no program, and names the entry function in the object if one was chosen: by
/// name, or, among several, by the name of the file. What only the drive can judge is left to it.
fn select_function(
    object: Vec<u8>,
    function: Option<&str>,
    file: &Path,
) -> Result<Vec<u8>, LoadError> {
    use LoadError::{AmbiguousFunction, Malformed, NoFunction, NotElf, WrongMachine};
    if let Some(name) = function {
        return ebpf::select_entry(&object, name);
    }
    match ebpf::Program::load(&object, None) {
        Err(ambiguous @ AmbiguousFunction { .. }) => {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let stem = name.split('.').next().unwrap_or_default();
            ebpf::select_entry(&object, stem).map_err(|_| ambiguous)
        }
        Err(e @ (NotElf | WrongMachine(_) | Malformed(_) | NoFunction)) => Err(e),
        _ => Ok(object),
    }
}

//! Programs from files, with their entry functions chosen.

use std::path::Path;

use anyhow::Context;
use client::ProgramImage;
use controller::{WasmConfig, WasmPrograms};
use ebpf::LoadError;

/// A program for the drive.
pub(crate) enum Program {
    /// A BPF object.
    Bpf(Vec<u8>),
    /// A WebAssembly module, and the function that is to be called; empty = the one that is meant.
    Wasm(Vec<u8>, String),
    /// A shared object, and the function that is to be called.
    Native(Vec<u8>, String),
    /// The name of a file that the drive has, and the function.
    InDrive(String, String),
}

impl Program {
    /// As the drive's client has it.
    pub(crate) fn image(&self) -> ProgramImage<'_> {
        match self {
            Self::Bpf(object) => ProgramImage::Bpf(object),
            Self::Wasm(module, function) => ProgramImage::Wasm { module, function },
            Self::Native(object, function) => ProgramImage::Native { object, function },
            Self::InDrive(name, function) => ProgramImage::NativeFile { name, function },
        }
    }

    /// True if its instructions are counted.
    pub(crate) fn is_counted(&self) -> bool {
        matches!(self, Self::Bpf(_) | Self::Wasm(..))
    }

    /// Bytes of the object; none of one that the drive has.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bpf(object) | Self::Wasm(object, _) | Self::Native(object, _) => object.len(),
            Self::InDrive(..) => 0,
        }
    }
}

/// A program for the drive: an object, or C source, with its entry function named.
///
/// # Errors
/// If it is no program, or it has several functions that could be meant.
pub(crate) fn program(path: &Path, function: Option<&str>) -> anyhow::Result<Program> {
    let object = bpf_clang::program_bytes(path)?;
    match ProgramImage::of(&object) {
        ProgramImage::Native { .. } => {
            return Ok(Program::Native(object, function.unwrap_or_default().to_owned()));
        }
        ProgramImage::Wasm { .. } => {
            let function = function.map(str::to_owned).or_else(|| named_like(path, &object));
            // What depends on the drive is left to it.
            let config = WasmConfig { memory_bytes: u64::MAX };
            wasm_programs::Programs
                .load(&object, function.as_deref(), &config)
                .map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
            return Ok(Program::Wasm(object, function.unwrap_or_default()));
        }
        _ => {}
    }
    let object = select_function(object, function, path);
    Ok(Program::Bpf(object.with_context(|| path.display().to_string())?))
}

/// The function that has the name of the file, of several that could be meant.
fn named_like(path: &Path, module: &[u8]) -> Option<String> {
    let all = wasm_programs::functions(module).ok()?;
    let name = path.file_name()?.to_string_lossy();
    let stem = name.split('.').next()?;
    all.into_iter().find(|function| function == stem)
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

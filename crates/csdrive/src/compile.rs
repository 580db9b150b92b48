//! Programs from files, with their entry functions chosen.

use std::path::Path;

use anyhow::Context;
use client::ProgramImage;
use ebpf::LoadError;

/// A program for the drive.
pub(crate) enum Program {
    /// A BPF object.
    Bpf(Vec<u8>),
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
            Self::Native(object, function) => ProgramImage::Native { object, function },
            Self::InDrive(name, function) => ProgramImage::NativeFile { name, function },
        }
    }

    /// True if nothing counts its instructions.
    pub(crate) fn is_native(&self) -> bool {
        !matches!(self, Self::Bpf(_))
    }

    /// Bytes of the object; none of one that the drive has.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bpf(object) | Self::Native(object, _) => object.len(),
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
    if let ProgramImage::Native { .. } = ProgramImage::of(&object) {
        return Ok(Program::Native(object, function.unwrap_or_default().to_owned()));
    }
    let object = select_function(object, function, path);
    Ok(Program::Bpf(object.with_context(|| path.display().to_string())?))
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

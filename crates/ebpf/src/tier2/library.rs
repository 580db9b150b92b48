//! A shared library with one function.
#![expect(unsafe_code, reason = "loads code; see the SAFETY comments")]

use std::path::Path;

/// The name of the function in the library.
pub(super) const ENTRY: &str = "csdrive_entry";

/// A loaded library; it is unloaded when this is dropped.
#[derive(Debug)]
pub(crate) struct Library {
    entry: u64,
    _library: libloading::Library,
}

impl Library {
    /// Loads a library that was compiled from code of `emit.rs`.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        // SAFETY: the library has neither initialisers nor dependencies.
        let library = unsafe { libloading::Library::new(path) }.map_err(|e| e.to_string())?;
        // SAFETY: only its address is taken here.
        let entry = unsafe { library.get::<extern "C" fn(*mut u8)>(ENTRY.as_bytes()) };
        let entry = *entry.map_err(|e| e.to_string())? as *const () as u64;
        Ok(Self { entry, _library: library })
    }

    /// Host address of the entry function.
    pub(crate) fn entry(&self) -> u64 {
        self.entry
    }
}

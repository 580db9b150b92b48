//! A shared library with a function for each program.
#![expect(unsafe_code, reason = "loads code; see the SAFETY comments")]

use std::path::Path;
use std::sync::Arc;

/// The names of its functions, without the number.
pub(super) const ENTRY: &str = "csdrive_entry";

/// A loaded library, entered at one of its functions. It is unloaded with the last of its entries.
#[derive(Debug)]
pub(crate) struct Library {
    entry: u64,
    _library: Arc<libloading::Library>,
}

impl Library {
    /// Loads a library that was compiled from code of `emit.rs`; gives its first `count` entries.
    pub(super) fn open(path: &Path, count: usize) -> Result<Vec<Self>, String> {
        // SAFETY: the library has neither initialisers nor dependencies.
        let library = unsafe { libloading::Library::new(path) }.map_err(|e| e.to_string())?;
        let library = Arc::new(library);
        let entry = |number| {
            let name = format!("{ENTRY}{number}");
            // SAFETY: only its address is taken here.
            let entry = unsafe { library.get::<extern "C" fn(*mut u8)>(name.as_bytes()) };
            let entry = *entry.map_err(|e| e.to_string())? as *const () as u64;
            Ok(Self { entry, _library: Arc::clone(&library) })
        };
        (0..count).map(entry).collect()
    }

    /// Host address of the entry function.
    pub(crate) fn entry(&self) -> u64 {
        self.entry
    }
}

//! WebAssembly programs of a drive.
//!
//! A module is checked, and code that counts is put into it (`metering.rs`); then Wasmtime compiles it, once. A run has an instance of
//! its own: a linear memory of which no other run sees anything, with the ranges of its job mapped into it or, for a program with a
//! `main` (`wasi.rs`), as its standard input and output.
//!
//! Results, counts and printed text are the same on every machine: no NaN differs, no clock runs, nothing is random, and a budget ends a
//! run at the same instruction. What is not: how deep calls go before their stack is used up, which is a mebibyte of the
//! machine's.

mod counting;
mod engine;
mod helpers;
mod memory;
mod metering;
mod module;
mod operators;
mod run;
mod wasi;

use std::sync::Arc;

use controller::{ShellProgram, WasmConfig, WasmPrograms};

pub use module::{Refused, functions};

/// Loads WebAssembly programs of a drive.
#[derive(Clone, Copy, Debug, Default)]
pub struct Programs;

impl WasmPrograms for Programs {
    fn load(
        &self,
        module: &[u8],
        function: Option<&str>,
        config: &WasmConfig,
    ) -> Result<Arc<dyn ShellProgram>, String> {
        let checked = module::check(module, function, config).map_err(|error| error.to_string())?;
        Ok(Arc::new(run::Program::new(checked)))
    }
}

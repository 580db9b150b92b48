//! `csdrive._csdrive`: what the Python package has in Rust. The package itself, with what people call, is in `python/csdrive`.

mod drive;
mod records;
mod runs;

use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

create_exception!(
    _csdrive,
    CsdriveError,
    PyException,
    "What csdrive refuses, or a drive's error status."
);

/// Python's error of something that is not possible.
fn error(cause: impl std::fmt::Display) -> PyErr {
    CsdriveError::new_err(format!("{cause:#}"))
}

/// The module.
#[pymodule]
fn _csdrive(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("CsdriveError", module.py().get_type::<CsdriveError>())?;
    module.add_class::<drive::Drive>()?;
    module.add_function(wrap_pyfunction!(runs::run_workload, module)?)?;
    module.add_function(wrap_pyfunction!(runs::to_toml, module)?)?;
    module.add_function(wrap_pyfunction!(runs::to_json, module)?)?;
    module.add_function(wrap_pyfunction!(runs::config_keys, module)?)?;
    module.add_function(wrap_pyfunction!(records::recorded_run, module)?)?;
    module.add_function(wrap_pyfunction!(records::recorded, module)?)
}

//! Workloads, and what is said of configurations.

use std::path::PathBuf;

use controller::Config;
use pyo3::prelude::*;
use workload::{Plan, Progress, Shell, ShellError, Simulated};

use crate::error;

/// Runs a workload in virtual time; the document as JSON. `progress` is called with a share from 0 to 1.
#[pyfunction]
#[pyo3(signature = (name, text, folder, set_workload, set_drive, progress=None))]
pub(crate) fn run_workload(
    py: Python<'_>,
    name: &str,
    text: &str,
    folder: PathBuf,
    set_workload: Vec<String>,
    set_drive: Vec<String>,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    let mut tell = |told: Progress| {
        if let (Progress::Running(Some(share)), Some(progress)) = (told, &progress) {
            // A display that fails is no reason to lose a run.
            let _ = Python::attach(|py| progress.call1(py, (share,)));
        }
    };
    py.detach(|| {
        let plan = Plan::parse(name, text, &folder, &set_workload)?;
        let made = workload::simulated_drives(&plan, &set_drive, &mut shell)?;
        workload::run(&plan, &mut Simulated::new(made.drives), &mut tell)
    })
    .map_err(error)
    .and_then(|report| serde_json::to_string(&report).map_err(error))
}

/// Drives in this process have no processes beside them.
fn shell(config: &Config) -> Result<Shell, ShellError> {
    let native = &config.native;
    if native.upload || !native.directory.is_empty() {
        return Err("compute.native_...: native programs run in processes of the csdrive command: use csdrive workload".into());
    }
    if !config.runtime_server.address.is_empty() {
        return Err("compute.runtime_server: use csdrive workload, which speaks with one".into());
    }
    Ok(Shell::default())
}

/// A workload file, of a JSON document of the same form.
#[pyfunction]
pub(crate) fn to_toml(document: &str) -> PyResult<String> {
    let value: serde_json::Value = serde_json::from_str(document).map_err(error)?;
    toml::to_string(&value).map_err(|cause| {
        error(format!("{cause}: a workload has texts, numbers, lists and tables, and no None"))
    })
}

/// Name, default, values and meaning of every key of a drive's configuration.
#[pyfunction]
pub(crate) fn config_keys() -> Vec<(String, String, String, String)> {
    let config = Config::default();
    let row = |key: &config::Key| {
        let default = key.get(&config).to_string();
        (key.name.to_owned(), default, key.values.to_owned(), key.doc.to_owned())
    };
    config::KEYS.iter().map(row).collect()
}

//! Workloads, and what is said of configurations.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use controller::{Config, StorageConfig};
use flash_file::{FlashFile, OpenError};
use pyo3::prelude::*;
use workload::{Plan, Progress, Ran, RunRecorder, Shell, ShellError, Simulated, recorded_drive};

use crate::error;

/// Runs a workload in virtual time; the document as JSON. `progress` is called with a share from 0 to 1.
#[pyfunction]
#[pyo3(signature = (name, text, folder, set_workload, set_drive, progress=None, record=None))]
#[expect(clippy::too_many_arguments, reason = "the Python side names them")]
pub(crate) fn run_workload(
    py: Python<'_>,
    name: &str,
    text: &str,
    folder: PathBuf,
    set_workload: Vec<String>,
    set_drive: Vec<String>,
    progress: Option<Py<PyAny>>,
    record: Option<PathBuf>,
) -> PyResult<String> {
    // Ctrl-C, or what the display of the progress raised.
    let mut raised = None;
    let mut tell = |told: Progress| {
        let told = Python::attach(|py| {
            py.check_signals()?;
            match (told, &progress) {
                (Progress::Running(Some(share)), Some(progress)) => {
                    progress.call1(py, (share,)).map(drop)
                }
                _ => Ok(()),
            }
        });
        match told {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                raised = Some(error);
                ControlFlow::Break(())
            }
        }
    };
    let done = py.detach(|| -> Result<_, ShellError> {
        let plan = Plan::parse(name, text, &folder, &set_workload)?;
        let made = workload::simulated_drives(&plan, &set_drive, &mut shell)?;
        let mut drives = Simulated::new(made.drives);
        let Some(folder) = record else {
            return Ok(workload::run_until(&plan, &mut drives, &mut tell)?);
        };
        let recorder = RunRecorder::start(&folder)?;
        drives = drives.record_to(recorder.sink());
        let report = workload::run_until(&plan, &mut drives, &mut tell)?;
        let hashes = drives.trace_hashes();
        let of = drives.configs().zip(hashes).map(|(config, hash)| recorded_drive(config, hash));
        // What Python ran is told by Python: csdrive replay repeats commands only.
        let command = vec!["python".to_owned(), name.to_owned()];
        recorder.finish(Ran {
            command,
            clock: "virtual",
            seed: plan.seed,
            drives: of.collect(),
            inputs: plan.inputs.clone(),
            result: serde_json::to_value(&report)?,
            ..Ran::default()
        })?;
        Ok(report)
    });
    match raised {
        Some(raised) => Err(raised),
        None => serde_json::to_string(&done.map_err(error)?).map_err(error),
    }
}

/// Refuses what drives in this process cannot have: other processes beside them. `command` has such drives.
pub(crate) fn check_no_processes(config: &Config, command: &str) -> Result<(), String> {
    let native = &config.native;
    if native.upload || !native.directory.is_empty() {
        return Err(format!(
            "compute.native_...: native programs run in processes of the csdrive command: use {command}"
        ));
    }
    if !config.runtime_server.address.is_empty() {
        return Err(format!("compute.runtime_server: use {command}, which speaks with one"));
    }
    Ok(())
}

fn shell(config: &Config) -> Result<Shell, ShellError> {
    check_no_processes(config, "csdrive workload")?;
    Ok(Shell { store: store(config)?, ..Shell::default() })
}

/// What keeps the pages of a drive's flash, if they are not in memory.
pub(crate) fn store(config: &Config) -> Result<Option<Box<dyn ssd::Store>>, OpenError> {
    let StorageConfig { file, sync, dax } = &config.storage;
    if file.is_empty() {
        return Ok(None);
    }
    let store = FlashFile::open_store(Path::new(file), &config.flash, *sync, *dax)?;
    Ok(Some(Box::new(store)))
}

/// A workload file, of a JSON document of the same form.
#[pyfunction]
pub(crate) fn to_toml(document: &str) -> PyResult<String> {
    let value: serde_json::Value = serde_json::from_str(document).map_err(error)?;
    toml::to_string(&value).map_err(|cause| {
        error(format!("{cause}: a workload has texts, numbers, lists and tables, and no None"))
    })
}

/// A workload file as a JSON document of the same form.
#[pyfunction]
pub(crate) fn to_json(text: &str) -> PyResult<String> {
    let table: toml::Table = toml::from_str(text).map_err(error)?;
    serde_json::to_string(&table).map_err(error)
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

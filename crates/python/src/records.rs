//! Records as bytes, which NumPy reads as they are.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use recording::Recording;
use records::{Kind, Records};

use crate::error;

/// Names of the kinds and, by kind, the bytes of the records.
pub(crate) type AsBytes<'py> = Vec<(&'static str, Bound<'py, PyBytes>)>;

/// Records, kind by kind.
pub(crate) fn as_bytes<'py>(py: Python<'py>, records: &Records) -> AsBytes<'py> {
    let of = |kind: Kind| (kind.name(), PyBytes::new(py, records.bytes(kind)));
    Kind::ALL.map(of).to_vec()
}

/// What was run, as JSON: the `record.json` of a recorded run that is sound.
#[pyfunction]
pub(crate) fn recorded_run(path: PathBuf) -> PyResult<String> {
    let recording = Recording::open(&path).map_err(error)?;
    serde_json::to_string(recording.provenance()).map_err(error)
}

/// The records of one kind of one drive of a recorded run.
#[pyfunction]
pub(crate) fn recorded<'py>(
    py: Python<'py>,
    path: PathBuf,
    kind: &str,
    drive: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    let known = Kind::ALL.into_iter().find(|known| known.name() == kind);
    let kind = known.ok_or_else(|| {
        error(format!("{kind:?}: choose one of {}", Kind::ALL.map(Kind::name).join(", ")))
    })?;
    let records = py.detach(|| {
        let recording = Recording::open(&path)?;
        let mut all = Records::default();
        recording.read_kind(kind, &mut |number, records| {
            if number == drive {
                all.extend_from_bytes(kind, records.bytes(kind));
            }
        })?;
        Ok::<_, recording::Error>(all)
    });
    Ok(PyBytes::new(py, records.map_err(error)?.bytes(kind)))
}

//! A simulated drive.

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

use analysis::DriveReport;
use client::{Compound, Invocation, LoadOptions, ProgramImage, RunTime, Streaming};
use config::Sources;
use controller::{Controller, Parts};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use records::CounterRecord;
use simtime::Duration;
use simulator::Session;

use crate::error;
use crate::records::{AsBytes, as_bytes};
use crate::runs::{check_no_processes, store};

/// Commands that the drive's queue has room for.
const ENTRIES: u32 = 256;

/// A drive in this process, in virtual time.
#[pyclass(unsendable, module = "csdrive._csdrive")]
pub(crate) struct Drive {
    session: Session,
    warnings: Vec<String>,
    began: CounterRecord,
    /// Where the history of what is written goes.
    history: Option<history::Writer<BufWriter<File>>>,
}

impl Drive {
    /// Writes what has happened into the file of the history.
    fn keep(&mut self) -> std::io::Result<()> {
        let Some(writer) = &mut self.history else { return Ok(()) };
        for event in self.session.transport.driver.port.drive.take_history() {
            writer.put(&event)?;
        }
        writer.flush()
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        // What was flushed or marked is there.
        let _ = self.keep();
    }
}

/// How a run time is found, as `csdrive exec --run-time` has it.
fn run_time(ns: Option<u64>) -> PyResult<RunTime> {
    match ns {
        None => Ok(RunTime::Unsaid),
        Some(ns) => u32::try_from(ns)
            .map(RunTime::Declared)
            .map_err(|_| error(format!("run_time_ns = {ns}: at most {}", u32::MAX))),
    }
}

#[pymethods]
impl Drive {
    #[new]
    #[pyo3(signature = (config=None, set=Vec::new(), femu=Vec::new()))]
    fn new(config: Option<PathBuf>, set: Vec<String>, femu: Vec<String>) -> PyResult<Self> {
        let loaded = Sources { config, set, femu }.load().map_err(error)?;
        check_no_processes(&loaded.config, "csdrive serve").map_err(error)?;
        let store = store(&loaded.config).map_err(error)?;
        let parts = Parts { store, ..Parts::default() };
        let drive = Controller::with_parts(loaded.config, parts).map_err(error)?;
        let session = simulator::open_drive(drive, 0, ENTRIES).map_err(error)?;
        let began = CounterRecord::from(&session.transport.driver.port.drive.counters());
        Ok(Self { session, warnings: loaded.warnings, began, history: None })
    }

    /// What of the configuration has no effect.
    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    /// Bytes of a block.
    #[getter]
    fn block_size(&self) -> u64 {
        self.session.geometry().block_bytes
    }

    /// Number of blocks.
    #[getter]
    fn blocks(&self) -> u64 {
        self.session.geometry().blocks
    }

    /// Bytes of device memory.
    #[getter]
    fn memory_size(&self) -> u64 {
        self.session.geometry().memory_bytes
    }

    /// The virtual time, in nanoseconds.
    #[getter]
    fn now_ns(&self) -> u64 {
        self.session.transport.driver.port.now().as_ns()
    }

    /// From now on, or no longer, there are records of what the drive does.
    fn record(&mut self, on: bool) {
        self.session.transport.driver.port.drive.set_recording(on);
    }

    /// The records since the last time, by kind, as bytes; and what is counted now.
    fn take_records<'py>(&mut self, py: Python<'py>) -> AsBytes<'py> {
        let drive = &mut self.session.transport.driver.port.drive;
        let mut records = drive.take_records();
        records.counters.push((&drive.counters()).into());
        as_bytes(py, &records)
    }

    /// Lets virtual time pass.
    fn idle(&mut self, ns: u64) {
        let port = &mut self.session.transport.driver.port;
        let then = port.now() + Duration::from_ns(ns);
        port.idle_until(then);
    }

    fn write_blocks(&mut self, first: u64, data: &[u8]) -> PyResult<()> {
        self.session.write_blocks(first, data).map(drop).map_err(error)
    }

    fn read_blocks<'py>(
        &mut self,
        py: Python<'py>,
        first: u64,
        count: u64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = self.session.read_blocks(first, count).map_err(error)?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn flush(&mut self) -> PyResult<()> {
        self.session.flush().map_err(error)?;
        self.keep().map_err(error)
    }

    /// From now on a history of what is written goes to a new file.
    fn keep_history(&mut self, path: PathBuf) -> PyResult<()> {
        self.session.flush().map_err(error)?;
        let named = |cause: std::io::Error| error(format!("{}: {cause}", path.display()));
        if path.exists() {
            return Err(named(std::io::ErrorKind::AlreadyExists.into()));
        }
        self.session.transport.driver.port.drive.keep_history().map_err(error)?;
        self.history = Some(history::Writer::create(&path).map_err(named)?);
        self.keep().map_err(error)
    }

    fn mark(&mut self, text: &str) -> PyResult<()> {
        self.session.mark(text).map_err(error)?;
        self.keep().map_err(error)
    }

    fn write_memory(&mut self, start: u64, data: &[u8]) -> PyResult<()> {
        self.session.write_memory(start, data).map_err(error)
    }

    fn read_memory<'py>(
        &mut self,
        py: Python<'py>,
        start: u64,
        size: u64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = self.session.read_memory(start, size).map_err(error)?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn copy_blocks(&mut self, first: u64, count: u64, to: u64) -> PyResult<()> {
        self.session.copy_blocks(first, count, to).map_err(error)
    }

    fn copy_memory(&mut self, start: u64, size: u64, to: u64) -> PyResult<()> {
        self.session.copy_memory(start, size, to).map_err(error)
    }

    /// A file: C source, or an object.
    fn load_file(&mut self, index: u16, path: PathBuf) -> PyResult<()> {
        self.session.load_program_file(index, &path).map_err(error)
    }

    fn load_object(&mut self, index: u16, object: &[u8]) -> PyResult<()> {
        self.session.load_program(index, object).map_err(error)
    }

    /// A program without code, which takes a time.
    fn load_declared(&mut self, index: u16, ns: u64) -> PyResult<()> {
        let image = ProgramImage::Declared(ns.to_le_bytes());
        self.session
            .download_program_with(index, image, LoadOptions::default())
            .and_then(|()| self.session.activate_program(index, true))
            .map_err(error)
    }

    fn unload(&mut self, index: u16) -> PyResult<()> {
        self.session.remove_program(index).map_err(error)
    }

    #[pyo3(signature = (program, ranges, param1=0, param2=0, data=Vec::new(), group=0, run_time_ns=None))]
    #[expect(clippy::too_many_arguments, reason = "Python's keywords")]
    fn execute(
        &mut self,
        program: u16,
        ranges: Vec<(u64, u32)>,
        param1: i64,
        param2: i64,
        data: Vec<u8>,
        group: u8,
        run_time_ns: Option<u64>,
    ) -> PyResult<i64> {
        let run_time = run_time(run_time_ns)?;
        let invocation =
            Invocation { program, range_set: 0, ranges, param1, param2, data, group, run_time };
        self.session.execute(&invocation).map(|result| result as i64).map_err(error)
    }

    #[pyo3(signature = (program, first, size, memory, chunk, in_flight, output, overlap=None, early=false, param1=0, param2=0, data=Vec::new(), group=0, run_time_ns=None))]
    #[expect(clippy::too_many_arguments, reason = "Python's keywords")]
    fn stream(
        &mut self,
        program: u16,
        first: u64,
        size: u64,
        memory: u64,
        chunk: u64,
        in_flight: u64,
        output: u32,
        overlap: Option<u64>,
        early: bool,
        param1: i64,
        param2: i64,
        data: Vec<u8>,
        group: u8,
        run_time_ns: Option<u64>,
    ) -> PyResult<i64> {
        let block = self.session.block_bytes();
        let blocks = |name: &str, bytes: u64| {
            let whole = bytes.is_multiple_of(block).then_some(bytes / block);
            whole.and_then(|blocks| u32::try_from(blocks).ok()).ok_or_else(|| {
                error(format!("{name} = {bytes}: choose a multiple of a block ({block} bytes)"))
            })
        };
        let chunk_blocks = blocks("chunk", chunk)?;
        let overlap_blocks = overlap.map(|overlap| blocks("overlap", overlap)).transpose()?;
        let seen = u32::try_from(chunk + overlap.unwrap_or(0))
            .map_err(|_| error("chunk: a range has at most 4294967295 bytes"))?;
        if !(1..=64).contains(&in_flight) {
            return Err(error(format!("in_flight = {in_flight}: choose 1 to 64")));
        }
        let run_time = run_time(run_time_ns)?;
        let (ranges, _) = Streaming::ranges(memory, in_flight, output, seen);
        let range_set = self.session.create_range_set(&ranges).map_err(error)?;
        let invocation = Invocation {
            program,
            range_set,
            ranges: Vec::new(),
            param1,
            param2,
            data,
            group,
            run_time,
        };
        let count = size.div_ceil(block);
        let streaming = Streaming {
            early,
            overlap: overlap_blocks,
            cut: (count * block - size) as u32,
            ..Streaming::divided(invocation, (first, count), chunk_blocks, in_flight)
        };
        let done = self.session.execute_stream(&streaming);
        let deleted = self.session.delete_range_set(range_set);
        let result = done.map_err(error)?;
        deleted.map_err(error)?;
        Ok(result as i64)
    }

    #[pyo3(signature = (program, first, count, output, param1=0, group=0, early=false))]
    #[expect(clippy::too_many_arguments, reason = "Python's keywords")]
    fn compound<'py>(
        &mut self,
        py: Python<'py>,
        program: u16,
        first: u64,
        count: u32,
        output: u32,
        param1: i64,
        group: u8,
        early: bool,
    ) -> PyResult<(i64, Bound<'py, PyBytes>)> {
        let compound =
            Compound { program, first, count, output, param1, range_set: 0, group, early };
        let (result, output) = self.session.execute_compound(&compound).map_err(error)?;
        Ok((result as i64, PyBytes::new(py, &output)))
    }

    /// What programs printed since it was asked for last.
    fn printed(&mut self) -> PyResult<String> {
        let text = self.session.program_trace().map_err(error)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// What the drive did since it was made, as JSON: `drives` of a workload's document.
    fn statistics(&self) -> PyResult<String> {
        let drive = &self.session.transport.driver.port.drive;
        let serial = drive.config().serial.clone();
        let report = DriveReport::between(serial, &self.began, &(&drive.counters()).into());
        serde_json::to_string(&report).map_err(error)
    }

    /// Equal for equal runs.
    #[getter]
    fn trace_hash(&self) -> u64 {
        self.session.transport.driver.port.drive.statistics().trace_hash
    }
}

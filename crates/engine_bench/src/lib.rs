//! Measures the program engines: the same kernels, compiled from one source, run by each engine, by
//! the host's processor (with and without clang's vectoriser), and by rbpf's unchecked compiler.
//!
//! All run in turns within one process, and the fastest of many rounds counts: other work on the
//! machine only ever slows a round down.

pub mod calibrate;

mod host;
mod kernels;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ebpf::{Engine, Invocation, Program, Range, SharedMemory, Worker};
use serde_json::{Map, Value, json};

use host::{HostRanges, Native, Rbpf};
use kernels::Kernel;

/// The kernels, compiled with `cargo xtask examples`.
const OBJECT: &[u8] = include_bytes!("kernels.bpf.o");

/// Rounds until a kernel's time is up, at least.
const ROUNDS_MIN: usize = 5;
/// The interpreter is slow and steady: it runs in this many rounds only.
const INTERPRETED_ROUNDS: usize = 2;

/// What is measured, in the order of the columns.
const ENGINES: [&str; 6] = ["interpreter", "tier1", "tier2", "native", "native_scalar", "rbpf_jit"];

/// Number of kernels.
pub const KERNELS: usize = 12;

/// How long to measure, and with what.
#[derive(Clone, Debug)]
pub struct Options {
    /// Time for each kernel.
    pub time_per_kernel: Duration,
    /// The clang for native code.
    pub clang: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { time_per_kernel: Duration::from_secs(4), clang: "clang".to_owned() }
    }
}

/// Runs every kernel on every engine; `progress` is told what is measured next.
///
/// # Errors
/// If an engine gives another result than the interpreter, or the host has no memory left.
pub fn run(options: &Options, mut progress: impl FnMut(&str)) -> Result<Value> {
    let directory = tempfile::tempdir()?;
    let native = Native::new(&options.clang, &[], directory.path());
    let scalar_flags = ["-fno-vectorize", "-fno-slp-vectorize"];
    let scalar = Native::new(&options.clang, &scalar_flags, directory.path());
    let mut kernels = Map::new();
    let mut compile = Map::new();
    for kernel in kernels::all() {
        progress(kernel.name);
        let natives = [native.as_ref().ok(), scalar.as_ref().ok()];
        let (times, compile_ns) = measure(&kernel, natives, options)
            .with_context(|| format!("kernel {}", kernel.name))?;
        let mut row = Map::new();
        row.insert("unit".into(), kernel.unit.into());
        for (name, time) in ENGINES.iter().zip(times) {
            let per_element = time.map(|t| t.as_nanos() as f64 / kernel.elements as f64);
            row.insert(format!("{name}_ns"), json!(per_element));
        }
        kernels.insert(kernel.name.into(), row.into());
        compile.insert(kernel.name.into(), compile_ns);
    }
    let ratio = |a: &str, b: &str| geometric_mean(&kernels, a, b);
    Ok(json!({
        "format_version": 1,
        "kernels": kernels,
        "compile_ns": compile,
        "per_run": per_run()?,
        "geomean": {
            "tier1_over_scalar": ratio("tier1", "native_scalar"),
            "tier1_over_rbpf": ratio("tier1", "rbpf_jit"),
            "tier2_over_native": ratio("tier2", "native"),
            "interpreter_over_scalar": ratio("interpreter", "native_scalar"),
        },
        "without": {
            "native": native.err().map(|e| format!("{e:#}")),
        },
    }))
}

/// Runs of which the fastest counts, for what one run costs.
const SHORT_RUNS: usize = 2000;

/// What a run costs that does nothing, and one that ends with a fault at its first access.
fn per_run() -> Result<Value> {
    // r0 = 0; exit. And: r0 = *(r0 + 64).
    let empty =
        Program::from_instructions(&[0xB7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0])?;
    let fault =
        Program::from_instructions(&[0x79, 0, 64, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0])?;
    let invocation = Invocation { budget: 100, ..Default::default() };
    let mut results = Map::new();
    for engine in [Engine::Interpreter, Engine::Tier1, Engine::Tier2] {
        if empty.compile(engine).is_err() || fault.compile(engine).is_err() {
            continue;
        }
        let mut worker = Worker::new(engine);
        let mut fastest = |program: &Program| {
            let time = |_| {
                let begun = Instant::now();
                std::hint::black_box(program.execute(&mut worker, &invocation));
                begun.elapsed()
            };
            (0..SHORT_RUNS).map(time).min().unwrap_or_default().as_nanos() as u64
        };
        let (empty_ns, fault_ns) = (fastest(&empty), fastest(&fault));
        let cost = fault_ns.saturating_sub(empty_ns);
        let row = json!({ "empty_ns": empty_ns, "fault_ns": cost });
        results.insert(engine.to_string(), row);
    }
    Ok(results.into())
}

/// The geometric mean of a ratio over the kernels for which both are known.
fn geometric_mean(kernels: &Map<String, Value>, a: &str, b: &str) -> Option<f64> {
    let ratio = |row: &Value| {
        let (a, b) = (row[format!("{a}_ns")].as_f64()?, row[format!("{b}_ns")].as_f64()?);
        Some((a / b).ln())
    };
    let logs: Vec<f64> = kernels.values().filter_map(ratio).collect();
    (!logs.is_empty()).then(|| (logs.iter().sum::<f64>() / logs.len() as f64).exp())
}

/// The fastest time of each of [`ENGINES`], and what compiling took.
fn measure(
    kernel: &Kernel,
    natives: [Option<&Native>; 2],
    options: &Options,
) -> Result<([Option<Duration>; 6], Value)> {
    let program = Program::load(OBJECT, Some(kernel.function))?;
    let total: u64 = kernel.ranges.iter().map(|r| r.len() as u64).sum();
    let memory = Arc::new(SharedMemory::new(total)?);
    let mut places = Vec::new();
    let mut next = 0;
    for range in &kernel.ranges {
        ensure!(memory.write(next, range), "the memory was made for all ranges");
        places.push((next, range.len() as u64));
        next += range.len() as u64;
    }
    let range = |&(offset, len): &(u64, u64)| {
        let memory = Arc::clone(&memory);
        Range { memory, offset, len, writable: offset == 0 }
    };
    let invocation = Invocation {
        ranges: places.iter().map(range).collect(),
        param1: kernel.params[0],
        param2: kernel.params[1],
        budget: u64::MAX / 2,
        ..Default::default()
    };
    let on_host = HostRanges::new(&memory, &places, kernel.params);
    let code = program.entry_code().context("kernels call no functions")?;
    let rbpf = Rbpf::new(&code).ok();
    let engines = [Engine::Interpreter, Engine::Tier1, Engine::Tier2];
    let mut compile_ns = Map::new();
    let mut workers: Vec<Option<Worker>> = Vec::new();
    for engine in engines {
        let report = program.compile(engine).ok().map(|r| (engine, r));
        if let Some((engine, report)) = report.filter(|(e, _)| *e != Engine::Interpreter) {
            let ns = report.compile_time.as_nanos() as u64;
            compile_ns.insert(engine.to_string(), ns.into());
        }
        workers.push(report.map(|(engine, _)| Worker::new(engine)));
    }
    let mut fastest = [None::<Duration>; 6];
    let mut expected = None;
    let started = Instant::now();
    let mut round = 0;
    while round < ROUNDS_MIN || started.elapsed() < options.time_per_kernel {
        for (n, fastest) in fastest.iter_mut().enumerate() {
            if n == 0 && round >= INTERPRETED_ROUNDS {
                continue;
            }
            let begun = Instant::now();
            let result = match n {
                0..=2 => {
                    let Some(worker) = &mut workers[n] else { continue };
                    let outcome = program.execute(worker, &invocation);
                    Some(outcome.result.map_err(|e| anyhow::anyhow!("{}: {e}", ENGINES[n]))?)
                }
                3 | 4 => {
                    let Some(native) = natives[n - 3] else { continue };
                    Some(native.call(kernel.function, &on_host)?)
                }
                _ => rbpf.as_ref().map(|rbpf| rbpf.call(&on_host)).transpose()?,
            };
            let took = begun.elapsed();
            let Some(result) = result else { continue };
            let expected = *expected.get_or_insert(result);
            ensure!(result == expected, "{} returned {result}, not {expected}", ENGINES[n]);
            *fastest = Some(fastest.map_or(took, |f| f.min(took)));
        }
        round += 1;
    }
    Ok((fastest, compile_ns.into()))
}

//! `csdrive calibrate`: a cost table for the machine that it runs on.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use compute::WorkClass;
use engine_bench::calibrate::{Calibration, STEPS, calibrate};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::input::write_all;
use crate::report::{self, say, tell};
use crate::{Outcome, usage};

/// Fit a cost table to this machine: what its processor takes for programs, by instruction and byte
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Write the table as a configuration file; - = standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// The clock of the table: a cycle is a nanosecond.
const CLOCK_HZ: u64 = 1_000_000_000;

/// Names of the keys of the classes.
const KEYS: [&str; WorkClass::ALL.len()] =
    ["alu", "multiply", "divide", "load", "store", "atomic", "branch", "call", "helper"];

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let bar = ProgressBar::new(STEPS as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {elapsed}")?);
    let calibration = calibrate(|what| {
        bar.set_message(what.to_owned());
        bar.inc(1);
    })?;
    bar.finish_and_clear();
    let toml = to_toml(&calibration);
    if let Some(path) = &arguments.output {
        usage(
            write_all(path, toml.as_bytes())
                .with_context(|| format!("--output {}", path.display())),
        )?;
    }
    if arguments.json {
        say!("{:#}", to_json(&calibration));
    } else if arguments.output.as_deref().is_none_or(|path| !crate::input::is_standard(path)) {
        say!("{}", render(&calibration));
        if arguments.output.is_none() {
            tell!("csdrive: --output FILE writes the table as a configuration file");
        }
    }
    Ok(Outcome::Success)
}

/// Thousandths, as keys have them.
fn cycles(ns: f64) -> f64 {
    (ns * 1000.0).round() / 1000.0
}

/// Bytes per second; 0 = bytes cost nothing.
fn bandwidth(calibration: &Calibration) -> u64 {
    if calibration.byte_ns > 1e-6 { (1e9 / calibration.byte_ns) as u64 } else { 0 }
}

fn worst(calibration: &Calibration) -> f64 {
    calibration.predictions.iter().map(|p| p.error().abs()).fold(0.0, f64::max)
}

fn to_toml(calibration: &Calibration) -> String {
    let mut text = format!(
        "# Fitted by csdrive calibrate: programs that were left out were predicted within {:.0} %.\n[compute]\n\
         run_time = \"instructions\"\nclock = \"{}MHz\"\n",
        100.0 * worst(calibration),
        CLOCK_HZ / 1_000_000
    );
    match bandwidth(calibration) {
        0 => text.push_str("memory_bandwidth = \"unlimited\"\n"),
        rate => {
            let _ = writeln!(text, "memory_bandwidth = \"{rate}B/s\"");
        }
    }
    for (key, ns) in KEYS.iter().zip(calibration.instruction_ns) {
        let _ = writeln!(text, "cycles_{key} = {}", cycles(ns));
    }
    text
}

fn to_json(calibration: &Calibration) -> Value {
    let cycles: serde_json::Map<String, Value> = KEYS
        .iter()
        .zip(calibration.instruction_ns)
        .map(|(key, ns)| ((*key).to_owned(), cycles(ns).into()))
        .collect();
    let predictions: Vec<Value> = calibration
        .predictions
        .iter()
        .map(|prediction| {
            json!({
                "program": prediction.kernel,
                "measured_ns": prediction.measured_ns.round() as u64,
                "predicted_ns": prediction.predicted_ns.round() as u64,
                "error": (prediction.error() * 1000.0).round() / 1000.0,
            })
        })
        .collect();
    json!({
        "format_version": 1,
        "clock": CLOCK_HZ,
        "cycles": cycles,
        "memory_bandwidth": bandwidth(calibration),
        "left_out": predictions,
        "worst_error": (worst(calibration) * 1000.0).round() / 1000.0,
    })
}

fn render(calibration: &Calibration) -> String {
    let mut text = "a cycle is a nanosecond here\n".to_owned();
    for (key, ns) in KEYS.iter().zip(calibration.instruction_ns) {
        let _ = writeln!(text, "  cycles_{key:<18} {:>8.3}", cycles(ns));
    }
    let rate = match bandwidth(calibration) {
        0 => "unlimited".to_owned(),
        rate => format!("{:.1} GB/s", rate as f64 / 1e9),
    };
    let _ = writeln!(text, "  {:<25} {rate:>8}\n", "memory_bandwidth");
    let _ = writeln!(
        text,
        "programs, predicted by tables that were fitted without them\n  {:<12} {:>12} {:>12} {:>8}",
        "program", "measured", "predicted", "error"
    );
    for prediction in &calibration.predictions {
        let _ = writeln!(
            text,
            "  {:<12} {:>12} {:>12} {:>+7.1} %",
            prediction.kernel,
            report::time(prediction.measured_ns as u64),
            report::time(prediction.predicted_ns as u64),
            100.0 * prediction.error()
        );
    }
    text.trim_end().to_owned()
}

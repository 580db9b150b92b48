//! `csdrive bench engine`: what `engine_bench` measures, as a table or as JSON.

use std::time::Duration;

use anyhow::Result;
use engine_bench::Options;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::Outcome;
use crate::report::{say, tell};

/// Engines in the order of the table's columns, with the keys of their results.
const COLUMNS: [(&str, &str); 6] = [
    ("interpreter", "interpreter_ns"),
    ("tier 1", "tier1_ns"),
    ("tier 2", "tier2_ns"),
    ("native", "native_ns"),
    ("scalar", "native_scalar_ns"),
    ("rbpf JIT", "rbpf_jit_ns"),
];

/// Arguments of the benchmark.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Seconds to spend on each of the twelve kernels
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// The clang that compiles the kernels for the host's processor
    #[arg(long, value_name = "COMMAND", default_value = "clang")]
    clang: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let options = Options {
        time_per_kernel: Duration::from_secs(arguments.seconds),
        clang: arguments.clang.clone(),
    };
    let bar = ProgressBar::new(engine_bench::KERNELS as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {elapsed}")?);
    let mut begun = 0;
    let results = engine_bench::run(&options, |kernel| {
        bar.set_position(begun);
        bar.set_message(kernel.to_owned());
        begun += 1;
    })?;
    bar.finish_and_clear();
    if arguments.json {
        say!("{results:#}");
    } else {
        print(&results);
    }
    Ok(Outcome::Success)
}

fn print(results: &Value) {
    let header: String = COLUMNS.iter().map(|(name, _)| format!("{name:>12}")).collect();
    say!("  ns per        {header}");
    for (name, row) in results["kernels"].as_object().into_iter().flatten() {
        let cell = |(_, key): &(&str, &str)| match row[key].as_f64() {
            Some(ns) => format!("{ns:>12.3}"),
            None => format!("{:>12}", "-"),
        };
        let cells: String = COLUMNS.iter().map(cell).collect();
        say!("  {name:<14}{cells}  per {}", row["unit"].as_str().unwrap_or_default());
    }
    for (name, run) in results["per_run"].as_object().into_iter().flatten() {
        say!("  {name}: an empty run {} ns, a fault {} ns more", run["empty_ns"], run["fault_ns"]);
    }
    for (name, ratio) in results["geomean"].as_object().into_iter().flatten() {
        if let Some(ratio) = ratio.as_f64() {
            say!("  {:<28} {ratio:.2}", name.replace('_', " "));
        }
    }
    if let Some(reason) = results["without"]["native"].as_str() {
        tell!(
            "csdrive: no native code to compare with: {reason} (apt-get install clang, or --clang)"
        );
    }
}

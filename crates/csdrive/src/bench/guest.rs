//! `csdrive bench guest`: the drive and QEMU's own NVMe device in one guest.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, json};

use super::crowd::BusyLoops;
use super::device::IMMEDIATE;
use crate::Outcome;
use crate::report::{grouped, say};

const DEPTHS: [u32; 2] = [1, 32];

/// Names in results: the drive, and what it is compared with.
const MODELS: [&str; 2] = ["csdrive", "qemu_nvme"];

/// Arguments of the benchmark.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Times that each is measured; what is reported are medians
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    rounds: u64,
    /// Seconds of each measurement
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Processors of the guest
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    cpus: u16,
    /// Busy loops on this machine meanwhile
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=64))]
    busy_loops: u16,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let script = format!(
        "ROUNDS={} SECONDS_EACH={}\n{}",
        arguments.rounds,
        arguments.seconds,
        include_str!("guest.sh")
    );
    let mut command = Command::new(std::env::current_exe().context("where csdrive is")?);
    command.args(["vm", "run", "--timeout", "7200", "--cpus", &arguments.cpus.to_string()]);
    for key in IMMEDIATE {
        command.arg("--set").arg(key);
    }
    for argument in [
        "-blockdev",
        "driver=null-co,node-name=null,size=1073741824,read-zeroes=off",
        "-device",
        "nvme,drive=null,serial=null",
    ] {
        command.arg("--qemu").arg(argument);
    }
    command.args(["--", "sh", "-c", &script]);
    let mut guest = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let output = guest.stdout.take().context("the guest says nothing")?;
    let _loops = BusyLoops::anywhere(arguments.busy_loops.into())?;
    let measurements = arguments.rounds * (DEPTHS.len() * MODELS.len()) as u64;
    let bar = ProgressBar::new(measurements)
        .with_style(ProgressStyle::with_template("{msg:>24} {bar:30} {pos}/{len} {elapsed}")?);
    bar.set_message("the guest starts");
    let mut measured: Vec<(String, u32, f64)> = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line.context("the guest's output")?;
        let mut words = line.split_whitespace();
        if let Some("result") = words.next()
            && let [Some(model), Some(depth), Some(iops)] = [(); 3].map(|()| words.next())
        {
            bar.set_message(format!("{model} at depth {depth}"));
            bar.inc(1);
            measured.push((model.to_owned(), depth.parse()?, iops.parse()?));
        }
    }
    bar.finish_and_clear();
    let status = guest.wait()?;
    ensure!(
        status.success() && measured.len() as u64 == measurements,
        "the guest failed: {status}"
    );
    let mut results = Map::new();
    for depth in DEPTHS {
        let [own, other] = MODELS.map(|model| {
            let those = measured.iter().filter(|(m, d, _)| m == model && *d == depth);
            median(those.map(|(_, _, iops)| *iops).collect())
        });
        let of = json!({ "csdrive_iops": own, "qemu_nvme_iops": other, "ratio": own / other });
        results.insert(format!("qd{depth}"), of);
    }
    if arguments.json {
        say!(
            "{}",
            json!({
                "format_version": 1,
                "cpus": arguments.cpus,
                "busy_loops": arguments.busy_loops,
                "random_read_4k": results,
            })
        );
        return Ok(Outcome::Success);
    }
    say!("{:<10} {:>12} {:>12} {:>8}", "random 4k", "csdrive/s", "QEMU nvme/s", "ratio");
    for (depth, value) in &results {
        let count = |key: &str| grouped(value[key].as_f64().unwrap_or_default() as u64);
        let ratio = value["ratio"].as_f64().unwrap_or_default();
        let (own, other) = (count("csdrive_iops"), count("qemu_nvme_iops"));
        say!("{:<10} {own:>12} {other:>12} {ratio:>8.2}", format!("depth {}", &depth[2..]));
    }
    Ok(Outcome::Success)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

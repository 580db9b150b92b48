//! `csdrive stat`: what drives did, as tables, JSON, CSV or Prometheus's metrics.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use analysis::{CommandSummary, DriveSummary, FioJob, LatencyReport};
use anyhow::{Context, Result, anyhow};
use records::Stage;
use schemars::JsonSchema;
use serde::Serialize;

use super::seen::{Source, seconds};
use super::{counters, follow, listen};
use crate::report::{bytes, csv_cell, grouped, printable, say, table, tell, time};
use crate::workload::rate;
use crate::{Outcome, usage};

/// What a drive did: counts, latencies, where time went, how busy everything was; of a recorded run, or live
///
/// A live drive is served with --records, and shows what it does from now on. The device or socket of a drive (/dev/nvme0) shows what it
/// counted since it was made.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: Source,
    /// A line for each interval of a live drive, until Ctrl-C; it may come later, go, and come again
    #[arg(long, conflicts_with_all = ["csv", "listen", "seconds"])]
    follow: bool,
    /// Seconds of a line
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds, requires = "follow")]
    interval: f64,
    /// End after so many lines
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), requires = "follow")]
    count: Option<u64>,
    /// Write one line for each drive and command
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Serve the metrics of a live drive to Prometheus: http://ADDRESS:PORT/metrics
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with_all = ["csv", "json", "seconds"])]
    listen: Option<SocketAddr>,
    /// Print one JSON document, or, with --follow, one for each line
    #[arg(long)]
    json: bool,
}

/// The document.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Document {
    /// 1.
    format_version: u32,
    /// The run, or the serial number of the drive.
    source: String,
    /// As fio's documents have them: a job for each drive.
    jobs: Vec<FioJob>,
    /// What each drive did.
    drives: Vec<DriveSummary>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let path = &arguments.source.source;
    let is_live_only = arguments.follow || arguments.listen.is_some();
    if is_live_only && path.is_dir() {
        let reason = "a recorded run does not go on: leave out --follow and --listen";
        return usage(Err(anyhow!("{}: {reason}", path.display())));
    }
    if is_device(path) {
        if is_live_only || arguments.csv.is_some() {
            return usage(Err(anyhow!(
                "{}: a device only tells what it counted: name its serial number, and serve it with --records",
                path.display()
            )));
        }
        return counters::run(path, arguments.json);
    }
    if arguments.follow {
        return follow::run(path, arguments.interval, arguments.count, arguments.json);
    }
    if let Some(address) = arguments.listen {
        return listen::run(path, address);
    }
    let seen = arguments.source.see()?;
    let drives: Vec<DriveSummary> =
        seen.drives()?.into_iter().map(|(summary, _)| summary).collect();
    if let Some(path) = &arguments.csv {
        let written = std::fs::write(path, csv(&drives));
        usage(written.with_context(|| format!("--csv {}", path.display())))?;
    }
    if arguments.json {
        let jobs = drives.iter().map(DriveSummary::fio).collect();
        let document = Document { format_version: 1, source: seen.name, jobs, drives };
        say!("{}", serde_json::to_string_pretty(&document)?);
    } else {
        drives.iter().for_each(print);
    }
    Ok(Outcome::Success)
}

/// True for what is a drive itself.
fn is_device(path: &Path) -> bool {
    let kind = std::fs::metadata(path).map(|about| about.file_type());
    kind.is_ok_and(|kind| kind.is_char_device() || kind.is_block_device() || kind.is_socket())
        || path.starts_with("/dev") && !path.starts_with(ring::FOLDER)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

/// Mean and the percentiles that are shown.
fn times(latency: &LatencyReport) -> Vec<String> {
    let of = |ns: u64| time(ns);
    let mut cells = vec![time(latency.mean as u64)];
    cells.extend([50.0, 95.0, 99.0, 99.9].map(|percent| of(latency.at(percent))));
    cells.push(of(latency.max));
    cells
}

fn print(drive: &DriveSummary) {
    let serial = printable(&drive.serial);
    say!("{serial}: {}", time(drive.elapsed_ns));
    let mut rows = vec![row(&[
        "command",
        "count",
        "failed",
        "IOPS",
        "bandwidth",
        "mean",
        "p50",
        "p95",
        "p99",
        "p99.9",
        "max",
    ])];
    for commands in &drive.commands {
        let mut cells = vec![
            commands.name.clone(),
            grouped(commands.count),
            grouped(commands.failed),
            format!("{:.0}", commands.iops),
            if commands.bytes > 0 { rate(commands.bw_bytes) } else { "-".to_owned() },
        ];
        cells.extend(times(&commands.lat_ns));
        rows.push(cells);
    }
    table(&rows, 1);
    print_stages(&drive.commands);
    let mut rows = vec![row(&["queue", "commands", "mean depth", "most"])];
    for queue in &drive.queues {
        let name = if queue.sqid == 0 { "admin".to_owned() } else { queue.sqid.to_string() };
        rows.push(vec![
            name,
            grouped(queue.commands),
            format!("{:.2}", queue.depth_mean),
            grouped(queue.depth_max),
        ]);
    }
    say!("");
    table(&rows, 1);
    if !drive.groups.is_empty() {
        let mut rows =
            vec![row(&["group", "jobs", "share", "waited", "p99", "ran", "p99", "instructions"])];
        for group in &drive.groups {
            rows.push(vec![
                if group.group == 0 { "none".to_owned() } else { group.group.to_string() },
                grouped(group.jobs),
                percent(group.service),
                time(group.waited_ns.mean as u64),
                time(group.waited_ns.at(99.0)),
                time(group.ran_ns.mean as u64),
                time(group.ran_ns.at(99.0)),
                grouped(group.instructions),
            ]);
        }
        say!("");
        table(&rows, 1);
    }
    print_parts(drive);
    if drive.lost > 0 {
        tell!(
            "csdrive: note: {serial}: {} records came faster than they were read: the numbers are of the others",
            grouped(drive.lost)
        );
    }
}

/// Where the time of commands went.
fn print_stages(commands: &[CommandSummary]) {
    let used = |stage: &Stage| commands.iter().any(|c| c.stages_ns[*stage as usize] > 0.0);
    let stages: Vec<Stage> = Stage::ALL.into_iter().filter(used).collect();
    if stages.is_empty() {
        return;
    }
    let mut heads = vec!["mean time".to_owned()];
    heads.extend(stages.iter().map(|stage| stage.title().to_owned()));
    let mut rows = vec![heads];
    for commands in commands {
        let mut cells = vec![commands.name.clone()];
        cells.extend(stages.iter().map(|stage| time(commands.stages_ns[*stage as usize] as u64)));
        rows.push(cells);
    }
    say!("");
    table(&rows, 1);
}

/// How busy everything was, and what went where.
fn print_parts(drive: &DriveSummary) {
    let mut rows = vec![row(&["part", "busy", "least", "most"])];
    for (name, shares) in [
        ("units", &drive.units_busy),
        ("channels", &drive.channels_busy),
        ("dies", &drive.dies_busy),
    ] {
        if shares.is_empty() {
            continue;
        }
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
        let (least, most) =
            shares.iter().fold((f64::MAX, 0.0f64), |(a, b), share| (a.min(*share), b.max(*share)));
        rows.push(vec![
            format!("{} {name}", shares.len()),
            percent(mean),
            percent(least),
            percent(most),
        ]);
    }
    if let Some(counted) = &drive.drive {
        for (name, share) in [
            ("link to the host", counted.link_out_busy),
            ("link from the host", counted.link_in_busy),
        ] {
            rows.push(vec![name.to_owned(), percent(share), String::new(), String::new()]);
        }
    }
    if rows.len() > 1 {
        say!("");
        table(&rows, 1);
    }
    let Some(counted) = &drive.drive else { return say!("") };
    let late = &counted.late;
    let rows = [
        ("to the host", bytes(counted.bytes.to_host)),
        ("from the host", bytes(counted.bytes.from_host)),
        ("within the drive", bytes(counted.bytes.internal)),
        ("read from flash", bytes(counted.bytes.flash_read)),
        ("programmed to flash", bytes(counted.bytes.flash_programmed)),
        ("write amplification", format!("{:.2}", counted.write_amplification)),
        (
            "late completions",
            format!("{} of {}", grouped(late.commands), grouped(counted.commands)),
        ),
    ];
    let rows: Vec<Vec<String>> =
        rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    say!("");
    table(&rows, 1);
    say!("");
}

/// For programs that read tables.
fn csv(drives: &[DriveSummary]) -> String {
    let mut text = "drive,command,count,failed,bytes,iops,bw_bytes,lat_min_ns,lat_mean_ns,lat_p50_ns,lat_p95_ns,lat_p99_ns,lat_p99_9_ns,lat_max_ns".to_owned();
    for stage in Stage::ALL {
        let _ = write!(text, ",{}_ns", stage.name());
    }
    text.push('\n');
    for drive in drives {
        for commands in &drive.commands {
            let CommandSummary { name, count, failed, bytes, iops, bw_bytes, lat_ns, .. } =
                commands;
            let _ = write!(
                text,
                "{},{},{count},{failed},{bytes},{iops},{bw_bytes},{},{}",
                csv_cell(&drive.serial),
                csv_cell(name),
                lat_ns.min,
                lat_ns.mean
            );
            for percent in [50.0, 95.0, 99.0, 99.9] {
                let _ = write!(text, ",{}", lat_ns.at(percent));
            }
            let _ = write!(text, ",{}", lat_ns.max);
            for ns in commands.stages_ns {
                let _ = write!(text, ",{ns}");
            }
            text.push('\n');
        }
    }
    text
}

//! `csdrive workload`: experiments in a file, in virtual time or against drives that are there.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use analysis::{Chart, Line, svg};
use anyhow::{Context, Result, anyhow};
use client::DriveResult;
use client_linux::OpenOptions;
use indicatif::{ProgressBar, ProgressStyle};
use simulator::Session;
use workload::{JobReport, Latency, Measured, Plan, Progress, Real, Report, Shell, Simulated};

use crate::observe::record::{self, RecordOption};
use crate::report::{self, say, tell};
use crate::{Outcome, program_loaders::program_loaders, runtime_server, storage, usage};

/// Run a workload file: what hosts do with drives, and what came of it
///
/// Without --device the drives are simulated, in virtual time, as the file and --set say. The exit code is 1 if an assertion of the
/// file does not hold.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The workload: TOML; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A key of the workload (seed=2, job.NAME.iodepth=4, job.*.bs=8KiB, host.cores=2), or of all drives' configuration; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Drives that are there, instead of simulated ones: /dev/nvme0, or the socket of csdrive serve; one for each drive of the file. Their
    /// device memory, and blocks that the file writes, are overwritten
    #[arg(long, value_name = "DEV")]
    device: Vec<PathBuf>,
    #[command(flatten)]
    record: RecordOption,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Write one line for each job and kind of operation
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write the document that fio would write, for what reads those (fio-plot)
    #[arg(long, value_name = "FILE")]
    fio: Option<PathBuf>,
    /// Draw latencies and throughput
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Check the file and whether it fits simulated drives, and run nothing
    #[arg(long)]
    check: bool,
}

/// Commands that the queue of a drive that is there has room for.
const DEPTH: u16 = 1024;

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    // Keys of the drive have names of their own.
    let is_of_drive = |text: &&String| {
        let key = text.split('=').next().unwrap_or_default().trim();
        config::is_key(key)
    };
    let (drive, workload): (Vec<&String>, Vec<&String>) =
        arguments.set.iter().partition(is_of_drive);
    let workload: Vec<String> = workload.into_iter().cloned().collect();
    let plan = usage(Plan::read(&arguments.file, &workload).map_err(Into::into))?;
    let bar = progress_bar()?;
    let mut show = |progress: Progress| match progress {
        Progress::Preparing(text) => bar.set_message(text),
        Progress::Running(share) => {
            bar.set_message("");
            bar.set_position((share.unwrap_or(0.0) * 1000.0) as u64);
        }
    };
    let mut recorded = None;
    let done = if arguments.device.is_empty() {
        let mut drives = Simulated::new(usage(simulated(&plan, &drive))?);
        if arguments.check {
            return usage(workload::check(&plan, &mut drives).map_err(Into::into))
                .map(|()| Outcome::Success);
        }
        let recorder = arguments.record.start()?;
        if let Some(recorder) = &recorder {
            drives = drives.record_to(recorder.sink());
        }
        let done = workload::run(&plan, &mut drives, &mut show);
        if let Some(recorder) = recorder {
            let hashes = drives.trace_hashes();
            let of = drives
                .configs()
                .zip(hashes)
                .map(|(config, hash)| workload::recorded_drive(config, hash));
            recorded = Some((recorder, of.collect()));
        }
        done
    } else {
        if arguments.record.folder().is_some() {
            return usage(Err(anyhow!(
                "--record: the drives are there already: serve them with --records, and record them with csdrive record"
            )));
        }
        if !drive.is_empty() {
            let keys = drive.iter().map(|text| text.as_str()).collect::<Vec<_>>().join(" ");
            return usage(Err(anyhow!(
                "--set {keys}: the drives are there already, and are as they are"
            )));
        }
        let mut drives = usage(real(&arguments.device))?;
        if arguments.check {
            return Ok(Outcome::Success);
        }
        workload::run(&plan, &mut drives, &mut show)
    };
    bar.finish_and_clear();
    let report = match done {
        // A mistake of whoever wrote the file, or a drive that does not fit.
        Err(error @ (workload::Error::Job { .. } | workload::Error::Drives { .. })) => {
            return usage(Err(error.into()));
        }
        done => done?,
    };
    if let Some((recorder, drives)) = recorded {
        let mut inputs = vec![arguments.file.clone()];
        inputs.extend(plan.inputs.iter().cloned());
        let result = serde_json::to_value(&report)?;
        let ran = workload::Ran { seed: plan.seed, drives, inputs, result, ..Default::default() };
        record::finish(recorder, ran)?;
    }
    if let Some(path) = &arguments.csv {
        let written = std::fs::write(path, csv(&report));
        usage(written.with_context(|| format!("--csv {}", path.display())))?;
    }
    if let Some(path) = &arguments.fio {
        let text = serde_json::to_string_pretty(&report.to_fio(&plan))?;
        let written = std::fs::write(path, text + "\n");
        usage(written.with_context(|| format!("--fio {}", path.display())))?;
    }
    if let Some(path) = &arguments.plot {
        usage(draw(&report, path).with_context(|| format!("--plot {}", path.display())))?;
    }
    if arguments.json {
        say!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    for judged in report.assertions.iter().filter(|judged| !judged.holds) {
        let of = judged.job.as_deref().unwrap_or("drive");
        match judged.value {
            Some(value) => tell!("csdrive: {of}: {} does not hold: it is {value}", judged.text),
            None => tell!(
                "csdrive: {of}: {}: there is no such number: nothing was measured, or the job has several kinds of operations (write read., write. or execute. before it)",
                judged.text
            ),
        }
    }
    Ok(if report.holds() { Outcome::Success } else { Outcome::ErrorStatus })
}

/// Drives that are there.
pub(crate) fn real(devices: &[PathBuf]) -> Result<Real> {
    let open = |path: &PathBuf| {
        let options = OpenOptions { depth: DEPTH, ..OpenOptions::default() };
        Ok((path.display().to_string(), client_linux::open_with(path, options)?))
    };
    let drives: DriveResult<Vec<_>> = devices.iter().map(open).collect();
    Ok(Real::new(drives?))
}

fn progress_bar() -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:40} {percent}% {eta} {msg}")?;
    Ok(ProgressBar::new(1000).with_style(style))
}

/// The drives of a file, with keys that are set for all.
pub(crate) fn simulated(plan: &Plan, set: &[&String]) -> Result<Vec<Session>> {
    let set: Vec<String> = set.iter().map(|text| (*text).clone()).collect();
    let made = workload::simulated_drives(plan, &set, &mut |config| {
        let remote = runtime_server::connections(config)?;
        let programs = program_loaders(config)?;
        let store = storage::store(config)?;
        Ok(Shell { programs, remote: remote.map(|remote| remote.make()), store })
    })?;
    report::notes(&made.warnings);
    Ok(made.drives)
}

/// Kinds of operations that a job has, with their names.
fn kinds(job: &JobReport) -> Vec<(&'static str, &Measured)> {
    let all = [("read", &job.read), ("write", &job.write), ("execute", &job.execute)];
    let used: Vec<_> = all.into_iter().filter(|(_, measured)| measured.total_ios > 0).collect();
    if used.is_empty() { vec![("-", &job.read)] } else { used }
}

/// Percentiles that are shown.
const SHOWN: [(&str, f64); 4] = [("p50", 50.0), ("p95", 95.0), ("p99", 99.0), ("p99.9", 99.9)];

pub(crate) fn rate(bytes_per_s: u64) -> String {
    let (value, unit) = match bytes_per_s {
        0..1_000_000 => (bytes_per_s as f64 / 1e3, "kB/s"),
        1_000_000..1_000_000_000 => (bytes_per_s as f64 / 1e6, "MB/s"),
        _ => (bytes_per_s as f64 / 1e9, "GB/s"),
    };
    format!("{value:.1} {unit}")
}

fn times(latency: &Latency) -> Vec<String> {
    let short = |ns: f64| report::time(ns as u64);
    let mean = std::iter::once(short(latency.mean));
    let percentiles = SHOWN.iter().map(|(_, percent)| short(latency.at(*percent)));
    mean.chain(percentiles).chain([short(latency.max as f64)]).collect()
}

/// For people.
fn print(report: &Report) {
    let heads = ["job", "", "count", "IOPS", "bandwidth", "mean"].into_iter();
    let heads = heads.chain(SHOWN.iter().map(|(name, _)| *name)).chain(["max"]);
    let mut table: Vec<Vec<String>> = vec![heads.map(str::to_owned).collect()];
    for job in &report.jobs {
        for (kind, measured) in kinds(job) {
            let mut row = vec![
                job.jobname.clone(),
                kind.to_owned(),
                report::grouped(measured.total_ios),
                format!("{:.0}", measured.iops),
                rate(measured.bw_bytes),
            ];
            row.extend(times(&measured.lat_ns));
            table.push(row);
        }
    }
    for tenant in &report.tenants {
        let mut row = vec![
            format!("tenant {}", tenant.tenant),
            String::new(),
            report::grouped(tenant.total_ios),
            String::new(),
            rate(tenant.bw_bytes),
        ];
        row.extend(times(&tenant.lat_ns));
        table.push(row);
    }
    report::table(&table, 2);
    let stepped = report.jobs.iter().filter(|job| job.steps.program_ns.count > 0);
    let mut table: Vec<Vec<String>> = vec![
        ["job", "input", "program", "output", "waited", "ran", "missed"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for job in stepped {
        let steps = &job.steps;
        let mean = |latency: &Latency| match latency.count {
            0 => "-".to_owned(),
            _ => report::time(latency.mean as u64),
        };
        let all =
            [&steps.input_ns, &steps.program_ns, &steps.output_ns, &steps.waited_ns, &steps.ran_ns];
        let mut row = vec![job.jobname.clone()];
        row.extend(all.map(mean));
        row.push(job.missed.to_string());
        table.push(row);
    }
    if table.len() > 1 {
        say!("\nMean time of the steps of an execution");
        report::table(&table, 1);
    }
    if !report.drives.is_empty() {
        let heads = [
            "drive",
            "units",
            "channels",
            "dies",
            "link out",
            "link in",
            "to host",
            "from host",
            "write amp.",
        ];
        let mut table: Vec<Vec<String>> = vec![heads.map(str::to_owned).to_vec()];
        for drive in &report.drives {
            let percent = |share: f64| format!("{:.1} %", 100.0 * share);
            table.push(vec![
                drive.serial.clone(),
                percent(drive.units_busy),
                percent(drive.channels_busy),
                percent(drive.dies_busy),
                percent(drive.link_out_busy),
                percent(drive.link_in_busy),
                report::bytes(drive.bytes.to_host),
                report::bytes(drive.bytes.from_host),
                format!("{:.2}", drive.write_amplification),
            ]);
        }
        say!("\nShare of the time that each was busy");
        report::table(&table, 1);
    }
    for drive in report.drives.iter().filter(|drive| drive.late.commands > 0) {
        let late = &drive.late;
        say!(
            "\n{}: {} of {} completions were over {} late, by {} on average: this machine is too busy for the modelled times",
            drive.serial,
            report::grouped(late.commands),
            report::grouped(drive.commands),
            report::time(late.tolerance_ns),
            report::time(late.mean_ns as u64)
        );
    }
    say!("\n{} measured, {} time", report::time(report.elapsed_ns), report.clock);
}

/// For programs that read tables.
fn csv(report: &Report) -> String {
    let mut text = "job,tenant,kind,total_ios,io_bytes,iops,bw_bytes,lat_min_ns,lat_mean_ns,lat_p50_ns,lat_p95_ns,lat_p99_ns,lat_p99_9_ns,lat_max_ns,missed\n".to_owned();
    for job in &report.jobs {
        for (kind, measured) in kinds(job) {
            let Measured { total_ios, io_bytes, iops, bw_bytes, lat_ns, .. } = measured;
            let tenant = report::csv_cell(job.tenant.as_deref().unwrap_or_default());
            let percentiles = SHOWN.map(|(_, percent)| format!("{}", lat_ns.at(percent)));
            let _ = writeln!(
                text,
                "{},{tenant},{kind},{total_ios},{io_bytes},{iops},{bw_bytes},{},{},{},{},{}",
                report::csv_cell(&job.jobname),
                lat_ns.min,
                lat_ns.mean,
                percentiles.join(","),
                lat_ns.max,
                job.missed
            );
        }
    }
    text
}

/// Pieces of time in a picture.
const PIECES: usize = 32;

/// Latency by percentile, and bytes per second over time.
fn draw(report: &Report, path: &Path) -> Result<()> {
    // Each step to the right is a tenth of what is left: 50, 90, 99, 99.9 percent.
    let percents = [0.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.99];
    let mut latencies = Vec::new();
    let mut rates = Vec::new();
    for job in &report.jobs {
        for (kind, measured) in kinds(job) {
            let of = |(n, percent): (usize, &f64)| (n as f64, measured.lat_ns.at(*percent) / 1e3);
            let points = match measured.total_ios {
                0 => Vec::new(),
                _ => percents.iter().enumerate().map(of).collect(),
            };
            latencies.push(Line { name: format!("{} {kind}", job.jobname), points });
        }
        // Pieces that are longer than operations, so that it is a rate.
        let together = job.series.bytes.len().div_ceil(PIECES).max(1);
        let width = (job.series.width_ns * together as u64) as f64;
        let of = |(n, pieces): (usize, &[u64])| {
            let bytes: u64 = pieces.iter().sum();
            ((n as f64 + 0.5) * width / 1e6, bytes as f64 / (width / 1e9) / 1e6)
        };
        // The last is not a whole one.
        let whole = (job.series.bytes.len() / together).max(1);
        let points = job.series.bytes.chunks(together).take(whole).enumerate().map(of).collect();
        rates.push(Line { name: job.jobname.clone(), points });
    }
    let ticks = percents.map(|percent| format!("{percent}")).to_vec();
    let charts = [
        Chart { title: "Latency", x: "percentile", y: "us", lines: latencies, ticks, is_log: true },
        Chart {
            title: "Throughput",
            x: "ms",
            y: "MB/s",
            lines: rates,
            ticks: Vec::new(),
            is_log: false,
        },
    ];
    let text = svg(&charts).map_err(anyhow::Error::msg)?;
    Ok(std::fs::write(path, text)?)
}

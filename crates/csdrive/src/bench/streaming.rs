//! `csdrive bench streaming`: a host that processes a file chunk by chunk on the drive, as CEMU measured it, in virtual time.
//!
//! Each of several chunks in flight goes through three commands: its blocks are copied to device memory, a program runs on them
//! for a declared time, and a part of the chunk is read back: one job of a workload. CEMU's own measurements of that are in
//! `cemu-streaming.csv`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use config::{Sources, parse_bandwidth, parse_duration, parse_size};
use controller::Config;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use simtime::Duration;
use ssd::UnwrittenReads;
use workload::{Plan, Simulated};

use crate::report::{self, say};
use crate::{Outcome, usage};

/// CEMU's measurements with its shipped configuration (its interference test carries them): MiB, chunks, GB/s, MB/s.
const MEASURED: &str = include_str!("cemu-streaming.csv");
/// The configuration that CEMU ships.
const SHIPPED: &str = include_str!("cemu-shipped.json");

/// The host of the measurements, fitted to all of them together.
const LINK: u64 = 2_080_000_000;
const COMMAND_NS: u64 = 100_000;

/// Options of `csdrive bench streaming`.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Chunk sizes; without any, the points that CEMU measured
    #[arg(long, value_name = "SIZE,...", value_delimiter = ',', value_parser = parse_size)]
    chunk: Vec<u64>,
    /// Chunks in flight
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [1, 2, 4, 8, 16], requires = "chunk",
        value_parser = clap::value_parser!(u32).range(1..=256))]
    in_flight: Vec<u32>,
    /// Bandwidth of the program
    #[arg(long, value_name = "RATE,...", value_delimiter = ',', default_value = "1GB/s,4GB/s", value_parser = parse_bandwidth, requires = "chunk")]
    kernel: Vec<u64>,
    /// Bytes that are processed: as many whole chunks as there are in them
    #[arg(long, value_name = "SIZE", default_value = "8GiB", value_parser = parse_size)]
    file: u64,
    /// Part of a chunk that is read back
    #[arg(long, value_name = "PART", default_value_t = 0.2)]
    output_ratio: f64,
    /// Time of the host's software before each command; default: 100us with a configuration of CEMU's, otherwise 0
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    host_time: Option<u64>,
    /// Measurements to compare with, in the columns of CEMU's: chunk in MiB, chunks in flight, kernel in GB/s, MB/s. Without --chunk
    /// their points are simulated
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    #[command(flatten)]
    sources: Sources,
    /// Print one JSON document
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print comma-separated values
    #[arg(long)]
    csv: bool,
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Point {
    chunk: u64,
    in_flight: u32,
    /// Bytes per second.
    kernel: u64,
}

/// How the host works.
#[derive(Clone, Copy, Debug)]
struct Host {
    /// Before each command.
    time: Duration,
    file: u64,
    output_ratio: f64,
}

/// A point, what came of it, and what CEMU measured, in bytes per second.
struct Row {
    point: Point,
    simulated: f64,
    measured: Option<f64>,
}

impl Row {
    /// Relative to the measurement.
    fn error(&self) -> Option<f64> {
        self.measured.map(|measured| self.simulated / measured - 1.0)
    }
}

/// The points of a file of measurements.
fn measured(text: &str) -> Result<Vec<(Point, f64)>> {
    let line = |line: &str| -> Option<(Point, f64)> {
        let mut fields = line.split(',').map(|field| field.parse::<f64>().ok());
        let mut next = || fields.next().flatten();
        let (chunk, in_flight, kernel, rate) = (next()?, next()?, next()?, next()?);
        let (chunk, in_flight) = ((chunk * f64::from(1 << 20)) as u64, in_flight as u32);
        Some((Point { chunk, in_flight, kernel: (kernel * 1e9) as u64 }, rate * 1e6))
    };
    let is_data = |line: &&str| line.starts_with(|c: char| c.is_ascii_digit());
    let wrong = |text: &str| format!("{text}: four numbers are expected: MiB, chunks, GB/s, MB/s");
    text.lines().filter(is_data).map(|text| line(text).with_context(|| wrong(text))).collect()
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let (config, host) = usage(prepare(arguments))?;
    let known = usage(known(arguments))?;
    let points: Vec<Point> = if arguments.chunk.is_empty() {
        known.iter().map(|(point, _)| *point).collect()
    } else {
        let of = |chunk| {
            let kernels = move |in_flight| {
                arguments.kernel.iter().map(move |&kernel| Point { chunk, in_flight, kernel })
            };
            arguments.in_flight.iter().flat_map(move |&n| kernels(n))
        };
        arguments.chunk.iter().flat_map(|&chunk| of(chunk)).collect()
    };
    let bar = ProgressBar::new(points.len() as u64)
        .with_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")?);
    let mut rows = Vec::new();
    for point in points {
        bar.set_message(format!("{} x {}", point.in_flight, report::bytes(point.chunk)));
        let simulated = usage(simulate(&config, host, point))?;
        let measured = known.iter().find(|(other, _)| *other == point);
        rows.push(Row { point, simulated, measured: measured.map(|(_, rate)| *rate) });
        bar.inc(1);
    }
    bar.finish_and_clear();
    print(arguments, &rows);
    Ok(Outcome::Success)
}

/// What is compared: measurements of the user's, or CEMU's of its own drive.
fn known(arguments: &Arguments) -> Result<Vec<(Point, f64)>> {
    let Sources { config, set, femu } = &arguments.sources;
    let is_cemus = config.is_none() && set.is_empty() && femu.is_empty();
    match &arguments.compare {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            let points = measured(&text).with_context(|| path.display().to_string())?;
            ensure!(!points.is_empty(), "{}: no measurements", path.display());
            Ok(points)
        }
        None if is_cemus => measured(MEASURED),
        None if arguments.chunk.is_empty() => {
            bail!(
                "CEMU measured its own drive: give this one points, as --chunk 1MiB,4MiB, or --compare FILE"
            )
        }
        None => Ok(Vec::new()),
    }
}

/// The drive and the host.
fn prepare(arguments: &Arguments) -> Result<(Config, Host)> {
    let Arguments { file, output_ratio, .. } = *arguments;
    ensure!((0.0..=1.0).contains(&output_ratio), "--output-ratio {output_ratio}: choose 0 to 1");
    let mut sources = arguments.sources.clone();
    // What CEMU shipped, unless there is a configuration.
    let folder = tempfile::tempdir()?;
    let is_shipped = sources.config.is_none();
    if is_shipped {
        let shipped = folder.path().join("cemu.json");
        std::fs::write(&shipped, SHIPPED)?;
        sources.config = Some(shipped);
    }
    // The host that CEMU measured with, for a configuration of CEMU's.
    let is_cemus = sources.config.iter().any(|path| path.extension().is_some_and(|e| e == "json"));
    if is_cemus {
        sources.set.insert(0, format!("link.bandwidth={LINK}B/s"));
    }
    let loaded = sources.load()?;
    if !is_shipped {
        report::notes(&loaded.warnings);
    }
    let mut config = loaded.for_one_of_each()?;
    // Times alone: the file is on the flash, and what is in it does not matter.
    (config.flash.keep_data, config.flash.unwritten_reads) = (false, UnwrittenReads::Flash);
    config.transfer_bytes_max = config.transfer_bytes_max.max(16 << 20);
    let default = if is_cemus { COMMAND_NS } else { 0 };
    let time = Duration::from_ns(arguments.host_time.unwrap_or(default));
    Ok((config, Host { time, file, output_ratio }))
}

/// Processes the file; bytes per second.
fn simulate(config: &Config, host: Host, point: Point) -> Result<f64> {
    let Point { chunk, in_flight, kernel } = point;
    ensure!(chunk > 0 && chunk <= host.file, "a chunk of {chunk} bytes: choose at most the file");
    let chunks = host.file / chunk;
    let text = format!(
        "[host]\ncommand_time = \"{}ns\"\n[[job]]\nname = \"chunks\"\nprogram = \"declared\"\nbandwidth = \"{kernel}B/s\"\nbs = {chunk}\niodepth = {in_flight}\nnumber_ios = {chunks}\nsize = {}\noutput = \"host\"\noutput_ratio = {:?}\n",
        host.time.as_ns(),
        chunks * chunk,
        host.output_ratio
    );
    let plan = Plan::parse("the host of the measurements", &text, Path::new(""), &[])?;
    let session = simulator::open(config.clone(), 0, 1024)?;
    let report = workload::run(&plan, &mut Simulated::new(vec![session]), &mut |_| {})?;
    let job = &report.jobs[0];
    Ok((chunks * chunk) as f64 / (job.elapsed_ns as f64 / 1e9))
}

fn print(arguments: &Arguments, rows: &[Row]) {
    let mut errors: Vec<f64> = rows.iter().filter_map(Row::error).map(f64::abs).collect();
    errors.sort_by(f64::total_cmp);
    let summary = (!errors.is_empty()).then(|| {
        let at = |permille| report::percentile(&errors, permille);
        (at(500), at(900), at(1000))
    });
    if arguments.json {
        let row = |row: &Row| -> Value {
            json!({
                "chunk": row.point.chunk, "in_flight": row.point.in_flight,
                "kernel_bytes_per_s": row.point.kernel, "bytes_per_s": row.simulated,
                "measured_bytes_per_s": row.measured, "error": row.error(),
            })
        };
        let rows: Vec<Value> = rows.iter().map(row).collect();
        let error =
            summary.map(|(median, p90, most)| json!({ "median": median, "p90": p90, "max": most }));
        return say!("{:#}", json!({ "format_version": 1, "points": rows, "error": error }));
    }
    let text = |row: &Row, of: fn(&Row) -> Option<f64>, digits: usize| {
        of(row).map_or_else(String::new, |value| format!("{value:.digits$}"))
    };
    if arguments.csv {
        say!(
            "chunk_mib,parallel_chunks,kernel_gb_per_s,simulated_mb_per_s,measured_mb_per_s,error"
        );
        for row in rows {
            let Point { chunk, in_flight, kernel } = row.point;
            let (chunk, kernel) = (chunk as f64 / f64::from(1 << 20), kernel as f64 / 1e9);
            let measured = text(row, |row| row.measured.map(|rate| rate / 1e6), 3);
            let error = text(row, Row::error, 4);
            say!("{chunk},{in_flight},{kernel},{:.3},{measured},{error}", row.simulated / 1e6);
        }
        return;
    }
    say!(
        "{:>10} {:>9} {:>10} {:>10} {:>10} {:>7}",
        "chunk",
        "in flight",
        "kernel",
        "MB/s",
        "CEMU",
        "error"
    );
    for row in rows {
        let Point { chunk, in_flight, kernel } = row.point;
        let measured = text(row, |row| row.measured.map(|rate| rate / 1e6), 1);
        let error = text(row, |row| row.error().map(|error| 100.0 * error), 1);
        let error = if error.is_empty() { error } else { format!("{error} %") };
        let kernel = format!("{} GB/s", kernel as f64 / 1e9);
        let rate = row.simulated / 1e6;
        say!(
            "{:>10} {in_flight:>9} {kernel:>10} {rate:>10.1} {measured:>10} {error:>7}",
            report::bytes(chunk)
        );
    }
    if let Some((median, p90, most)) = summary {
        say!(
            "\nmedian error {:.1} %, 9 of 10 within {:.1} %, at most {:.1} %",
            100.0 * median,
            100.0 * p90,
            100.0 * most
        );
    }
}

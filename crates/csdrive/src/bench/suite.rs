//! `csdrive bench suite`: five kernels over files on the flash, chunk by chunk, with the parameters of CEMU's benchmark program.
//!
//! Each kernel is a workload ([`mod@workload`]): its file is on the flash, each chunk is copied to device memory, processed, and its output
//! read back. What the programs returned is compared with what they should.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use config::{parse_bandwidth, parse_size};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use simtime::Prng;
use workload::{JobReport, Plan, Report, Simulated};

use crate::report::{self, say};
use crate::workload::{rate, real, simulated};
use crate::{Outcome, usage};

/// Options of `csdrive bench suite`.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Kernels
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', default_values_t = Kernel::ALL.map(|kernel| kernel.name().to_owned()),
        value_parser = Kernel::ALL.map(Kernel::name))]
    kernel: Vec<String>,
    /// Bytes of a chunk
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = parse_size)]
    chunk: u64,
    /// Chunks in flight on each drive
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=256))]
    in_flight: u32,
    /// Bytes of the file on each drive
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = parse_size)]
    file: u64,
    /// Drives
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    drives: u32,
    /// Where outputs go
    #[arg(long, value_name = "WHERE", default_value = "host", value_parser = ["host", "flash", "none"])]
    output: String,
    /// Bytes of an output, of the chunk's; default: as many as the kernel can write
    #[arg(long, value_name = "PART")]
    output_ratio: Option<f64>,
    /// No code is run: each chunk takes as long as at this bandwidth
    #[arg(long, value_name = "RATE", value_parser = parse_bandwidth)]
    bandwidth: Option<u64>,
    /// Job group of the kernels, as weight=300,priority=9
    #[arg(long, value_name = "OPTION=VALUE,...")]
    group: Option<String>,
    /// A neighbour in a group of its own runs chunks of as many bytes at 1 GB/s meanwhile
    #[arg(long)]
    interference: bool,
    /// A key of all drives' configuration; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Drives that are there, instead of simulated ones; their files are written to the beginning of the first NVM namespace
    #[arg(long, value_name = "DEV")]
    device: Vec<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// The file is in this machine's memory, too.
const FILE_MAX: u64 = 4 << 30;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kernel {
    Vadd,
    Grep,
    Knn,
    Sql,
    Lz4,
}

/// Dimensions of a vector, and how many neighbours are looked for.
const KNN: (usize, usize) = (16, 10);
/// Bytes of a record of the table, and which keys are wanted.
const SQL: (usize, std::ops::RangeInclusive<i64>) = (32, -100..=100);
/// What is looked for in the text.
const NEEDLE: &[u8] = b"needle";

impl Kernel {
    const ALL: [Self; 5] = [Self::Vadd, Self::Grep, Self::Knn, Self::Sql, Self::Lz4];

    const fn name(self) -> &'static str {
        match self {
            Self::Vadd => "vadd",
            Self::Grep => "grep",
            Self::Knn => "knn",
            Self::Sql => "sql",
            Self::Lz4 => "lz4",
        }
    }

    const fn object(self) -> &'static [u8] {
        match self {
            Self::Vadd => include_bytes!("../../../../examples/programs/vadd.bpf.o"),
            Self::Grep => include_bytes!("../../../../examples/programs/grep-count.bpf.o"),
            Self::Knn => include_bytes!("../../../../examples/programs/nearest.bpf.o"),
            Self::Sql => include_bytes!("../../../../examples/programs/filter.bpf.o"),
            Self::Lz4 => include_bytes!("../../../../examples/programs/lz4.bpf.o"),
        }
    }

    /// Bytes that it can write for a chunk.
    fn output_bytes(self, chunk: u64) -> u64 {
        match self {
            Self::Vadd | Self::Sql => chunk,
            Self::Grep => 0,
            Self::Knn => 16 * KNN.1 as u64,
            Self::Lz4 => (chunk + chunk / 255 + 16).next_multiple_of(4),
        }
    }

    /// What it works on.
    fn data(self, bytes: usize) -> Vec<u8> {
        let mut random = Prng::new(self as u64 + 1);
        let mut data = Vec::with_capacity(bytes + 64);
        while data.len() < bytes {
            match self {
                Self::Vadd | Self::Knn => {
                    data.extend(((random.below(2000) as i32) - 1000).to_le_bytes());
                }
                Self::Sql => {
                    data.extend((random.below(1001) as i64 - 500).to_le_bytes());
                    data.extend([7; 24]);
                }
                Self::Grep | Self::Lz4 => {
                    let words = ["a drive ", "stores blocks ", "and runs programs ", "needle "];
                    let word = words[random.below(100).min(3) as usize];
                    data.extend(word.as_bytes());
                    if random.below(8) == 0 {
                        data.push(b'\n');
                    }
                }
            }
        }
        data.truncate(bytes);
        data
    }

    /// The further range, if it has one.
    fn range(self, chunk: usize) -> Option<Vec<u8>> {
        match self {
            Self::Vadd => Some(self.data(chunk)),
            Self::Knn => Some(self.data(4 * KNN.0)),
            _ => None,
        }
    }

    /// What it returns for a chunk; `None` if only it itself knows.
    fn returns(self, chunk: &[u8]) -> Option<i64> {
        match self {
            Self::Vadd => Some((chunk.len() / 4) as i64),
            Self::Grep => {
                let has = |line: &[u8]| line.windows(NEEDLE.len()).any(|part| part == NEEDLE);
                Some(chunk.split(|byte| *byte == b'\n').filter(|line| has(line)).count() as i64)
            }
            Self::Knn => Some((chunk.len() / 4 / KNN.0).min(KNN.1) as i64),
            Self::Sql => {
                let key = |record: &[u8]| {
                    record
                        .first_chunk()
                        .is_some_and(|key| SQL.1.contains(&i64::from_le_bytes(*key)))
                };
                let kept = chunk.chunks_exact(SQL.0).filter(|record| key(record)).count();
                Some((kept * SQL.0) as i64)
            }
            Self::Lz4 => None,
        }
    }

    /// Keys of the job.
    fn keys(self) -> String {
        match self {
            Self::Knn => format!("param1 = {}\nparam2 = {}\n", KNN.0, KNN.1),
            Self::Sql => format!("param1 = {}\nparam2 = {}\n", SQL.1.start(), SQL.1.end()),
            Self::Grep => format!("data = {:?}\n", String::from_utf8_lossy(NEEDLE)),
            Self::Vadd | Self::Lz4 => String::new(),
        }
    }
}

/// A kernel, and what came of it.
struct Row {
    kernel: Kernel,
    report: Report,
    /// Whether it returned what it should; `None` if that is not known.
    is_right: Option<bool>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let Arguments { chunk, file, .. } = *arguments;
    usage((|| {
        ensure!(
            chunk > 0 && chunk.is_multiple_of(4096),
            "--chunk {chunk}: choose a multiple of 4KiB"
        );
        ensure!(
            file >= chunk && file <= FILE_MAX,
            "--file {file}: choose a chunk at least, at most 4GiB"
        );
        Ok(())
    })())?;
    let folder = tempfile::tempdir()?;
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")?;
    let bar = ProgressBar::new(arguments.kernel.len() as u64).with_style(style);
    let mut rows = Vec::new();
    for kernel in Kernel::ALL.into_iter().filter(|k| arguments.kernel.iter().any(|n| n == k.name()))
    {
        bar.set_message(kernel.name());
        rows.push(measure(arguments, kernel, folder.path())?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    print(arguments, &rows);
    let is_right = rows.iter().all(|row| row.is_right != Some(false));
    Ok(if is_right { Outcome::Success } else { Outcome::ErrorStatus })
}

fn measure(arguments: &Arguments, kernel: Kernel, folder: &Path) -> Result<Row> {
    let chunk = arguments.chunk;
    let chunks = arguments.file / chunk;
    // What is declared looks at nothing.
    let data = match arguments.bandwidth {
        Some(_) => Vec::new(),
        None => {
            let data = kernel.data((chunks * chunk) as usize);
            std::fs::write(folder.join("file"), &data).context("the kernel's file")?;
            std::fs::write(folder.join("program"), kernel.object())?;
            data
        }
    };
    let text = workload(arguments, kernel, chunks, folder)?;
    let drives = match arguments.device.len() {
        0 => arguments.drives,
        count => count as u32,
    };
    let plan = usage(Plan::parse(kernel.name(), &text, folder, &[]).map_err(Into::into))?;
    let report = if arguments.device.is_empty() {
        let set: Vec<&String> = arguments.set.iter().collect();
        let drives = usage(simulated(&plan, &set))?;
        workload::run(&plan, &mut Simulated::new(drives), &mut |_| {})
    } else {
        workload::run(&plan, &mut usage(real(&arguments.device))?, &mut |_| {})
    };
    let report = usage(report.map_err(|error| anyhow!("{}: {error}", kernel.name())))?;
    let expected = match arguments.bandwidth {
        Some(_) => None,
        None => {
            let all = data.chunks_exact(chunk as usize).map(|chunk| kernel.returns(chunk));
            all.sum::<Option<i64>>().map(|sum| sum * i64::from(drives))
        }
    };
    let JobReport { result_sum, result_min, .. } = &report.jobs[0];
    // No kernel returns less than 0 unless it fails.
    let has_failed = result_min.is_some_and(|least| least < 0);
    let is_right = match expected {
        _ if has_failed => Some(false),
        expected => expected.map(|expected| expected == *result_sum),
    };
    Ok(Row { kernel, report, is_right })
}

/// The workload of a kernel.
fn workload(arguments: &Arguments, kernel: Kernel, chunks: u64, folder: &Path) -> Result<String> {
    let Arguments { chunk, in_flight, drives, .. } = *arguments;
    let drives = if arguments.device.is_empty() { drives as usize } else { arguments.device.len() };
    let mut text = format!("[[drive]]\ncount = {drives}\n\n[[job]]\nname = {:?}\n", kernel.name());
    let _ = write!(
        text,
        "bs = {chunk}\niodepth = {in_flight}\nnumber_ios = {chunks}\nsize = {}\n",
        chunks * chunk
    );
    let _ = writeln!(text, "output = {:?}", arguments.output);
    match arguments.bandwidth {
        Some(rate) => {
            let _ = writeln!(text, "program = \"declared\"\nbandwidth = \"{rate}B/s\"");
        }
        None => {
            let _ = write!(text, "file = \"file\"\nprogram = \"program\"\n{}", kernel.keys());
            if let Some(range) = kernel.range(chunk as usize) {
                std::fs::write(folder.join("range"), range)?;
                let _ = writeln!(text, "ranges = [\"range\"]");
            }
        }
    }
    let _ = match arguments.output_ratio {
        Some(ratio) => writeln!(text, "output_ratio = {ratio:?}"),
        None => writeln!(text, "output_size = {}", kernel.output_bytes(chunk)),
    };
    if let Some(group) = &arguments.group {
        let options = group.split(',').map(|option| match option.split_once('=') {
            Some((key, value)) if value.parse::<u64>().is_ok() => format!("{key} = {value}"),
            Some((key, value)) => format!("{key} = {value:?}"),
            None => option.to_owned(),
        });
        let options: Vec<String> = options.collect();
        let _ = writeln!(text, "group = {{ {} }}", options.join(", "));
    }
    if arguments.interference {
        let _ = write!(
            text,
            "\n[[job]]\nname = \"neighbour\"\nprogram = \"declared\"\nbandwidth = \"1GB/s\"\nbs = {chunk}\niodepth = {in_flight}\ngroup = {{}}\n"
        );
    }
    Ok(text)
}

fn print(arguments: &Arguments, rows: &[Row]) {
    if arguments.json {
        let row = |row: &Row| -> Value {
            let job = &row.report.jobs[0];
            json!({
                "kernel": row.kernel.name(), "is_right": row.is_right, "result_sum": job.result_sum,
                "elapsed_ns": job.elapsed_ns, "chunks": job.execute.total_ios,
                "bytes_per_s": job.execute.bw_bytes, "lat_ns": job.execute.lat_ns, "steps": job.steps,
                "drives": row.report.drives,
            })
        };
        let kernels: Vec<Value> = rows.iter().map(row).collect();
        return say!("{:#}", json!({ "format_version": 1, "kernels": kernels }));
    }
    let heads =
        ["kernel", "chunks", "time", "bandwidth", "input", "program", "output", "units", "result"];
    let mut table = vec![heads.map(str::to_owned).to_vec()];
    for row in rows {
        let job = &row.report.jobs[0];
        let mean = |latency: &workload::Latency| match latency.count {
            0 => "-".to_owned(),
            _ => report::time(latency.mean as u64),
        };
        let units = row
            .report
            .drives
            .first()
            .map_or("-".to_owned(), |drive| format!("{:.0} %", 100.0 * drive.units_busy));
        let right = match row.is_right {
            Some(true) => "right",
            Some(false) => "WRONG",
            None => "-",
        };
        table.push(vec![
            row.kernel.name().to_owned(),
            job.execute.total_ios.to_string(),
            report::time(job.elapsed_ns),
            rate(job.execute.bw_bytes),
            mean(&job.steps.input_ns),
            mean(&job.steps.program_ns),
            mean(&job.steps.output_ns),
            units,
            right.to_owned(),
        ]);
    }
    report::table(&table, 1);
}

//! `csdrive bench records`: what records cost a served drive, and how many a reader takes.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ::workload::{Plan, Real};
use anyhow::{Context, Result, ensure};
use client_linux::OpenOptions;
use emulator::Doorbells;
use records::{CommandRecord, Records};
use ring::{Kind, Reader, Wanted, Writer};
use serde::Serialize;

use crate::Outcome;
use crate::report::{grouped, say, tell};
use crate::serve::{Request, start};

/// What records cost a served drive, and how many a second a reader takes
///
/// The same load in turn on drives with records of all kinds and on drives without. Then a ring is filled at a rate, and a reader looks.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Pairs of drives
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pairs: u32,
    /// Milliseconds of each load
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    milliseconds: u64,
    /// Records a second that are put into the ring
    #[arg(long, value_name = "N", default_value_t = 5_000_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    rate: u64,
    /// A Python in which csdrive is installed: it reads, too
    #[arg(long, value_name = "PYTHON")]
    python: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// The document.
#[derive(Debug, Serialize)]
struct Document {
    format_version: u32,
    /// Reads a second of each pair: without records, and with them.
    pairs: Vec<[f64; 2]>,
    /// With records / without, the median of all pairs.
    ratio_median: f64,
    /// The same of the best of each.
    ratio_best: f64,
    readers: Vec<Taken>,
}

/// What a reader took.
#[derive(Debug, Serialize)]
struct Taken {
    reader: &'static str,
    records_per_s: f64,
    read: u64,
    lost: u64,
}

/// Reads of blocks that were never written: what is left is the path of a command.
const LOAD: &str = "[[job]]\nname = \"reader\"\nrw = \"randread\"\niodepth = 64\n";
/// A drive that does not keep the commands waiting.
const SETTINGS: [&str; 2] = ["flash.read_time=1us", "drive.command_time=0ns"];

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let time = Duration::from_millis(arguments.milliseconds);
    let mut pairs = Vec::new();
    for number in 0..arguments.pairs {
        tell!("pair {} of {}", number + 1, arguments.pairs);
        pairs.push([served(time, None)?, served(time, Some(Wanted::ALL))?]);
    }
    let mut ratios: Vec<f64> = pairs.iter().map(|[without, with]| with / without).collect();
    ratios.sort_by(f64::total_cmp);
    let best = |n: usize| pairs.iter().map(|pair| pair[n]).fold(0.0, f64::max);
    let mut readers = vec![fed(arguments.rate, time, None)?];
    if let Some(python) = &arguments.python {
        readers.push(fed(arguments.rate, time, Some(python))?);
    }
    let document = Document {
        format_version: 1,
        ratio_median: ratios[ratios.len() / 2],
        ratio_best: best(1) / best(0),
        pairs,
        readers,
    };
    if arguments.json {
        say!("{}", serde_json::to_string_pretty(&document)?);
        return Ok(Outcome::Success);
    }
    say!("  reads/s without records, with them");
    for [without, with] in &document.pairs {
        say!(
            "  {:>12} {:>12} {:>8.3}",
            grouped(*without as u64),
            grouped(*with as u64),
            with / without
        );
    }
    let Document { ratio_median, ratio_best, .. } = document;
    say!("  median of the ratios {ratio_median:.3}, best with / best without {ratio_best:.3}");
    for Taken { reader, records_per_s, read, lost } in &document.readers {
        say!(
            "  {reader}: {} records/s, {} read, {} lost",
            grouped(*records_per_s as u64),
            grouped(*read),
            grouped(*lost)
        );
    }
    Ok(Outcome::Success)
}

fn serial() -> String {
    format!("BENCH{}", std::process::id())
}

/// Reads a second of a drive that is served in this process.
fn served(time: Duration, records: Option<Wanted>) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("drive");
    let mut set: Vec<String> = SETTINGS.map(str::to_owned).to_vec();
    set.push(format!("drive.serial={}", serial()));
    let drives = start(&Request {
        configs: &[],
        count: 1,
        switch_bandwidth: None,
        socket: &socket,
        set: &set,
        femu: &[],
        workers: None,
        doorbells: Doorbells::Messages,
        records,
        history: None,
        is_quiet: true,
    })?;
    let text = format!("runtime = \"{}ms\"\nramp_time = \"50ms\"\n{LOAD}", time.as_millis());
    let plan = Plan::parse("bench", &text, Path::new("."), &[])?;
    let options = OpenOptions { depth: 1024, ..OpenOptions::default() };
    let drive = client_linux::open_with(&socket, options)?;
    let report = {
        let mut rig = Real::new(vec![("bench".to_owned(), drive)]);
        ::workload::run(&plan, &mut rig, &mut |_| {})?
    };
    for drive in drives {
        drive.stop();
        drive.join()?;
    }
    Ok(report.jobs[0].read.iops)
}

/// What a Python reader does. It says when it is there, and at the end what it read and lost.
const READER: &str = "
import sys, time
from csdrive import live
reader = live.Reader(sys.argv[1])
print('ready', flush=True)
read = lost = 0
while True:
    is_closed = reader.is_closed
    batch = reader.read()
    read += len(batch.commands)
    lost += batch.lost['commands']
    if is_closed:
        break
    time.sleep(0.002)
print(read, lost, flush=True)
";

/// Puts records into a ring at a rate; what a reader takes.
fn fed(rate: u64, time: Duration, python: Option<&PathBuf>) -> Result<Taken> {
    let path = ring::path_of(&serial());
    let mut writer = Writer::create(&path, Wanted::default().with(Kind::Commands))?;
    match python {
        None => {
            let mut reader = Reader::open(&path)?;
            let thread = std::thread::spawn(move || {
                let (mut read, mut lost) = (0, 0);
                loop {
                    let is_closed = reader.is_closed();
                    let batch = reader.read();
                    read += batch.records.commands.len() as u64;
                    lost += batch.lost[Kind::Commands as usize];
                    if is_closed {
                        return (read, lost);
                    }
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
            let records_per_s = feed(&mut writer, rate, time);
            drop(writer);
            let (read, lost) = thread.join().map_err(|_| anyhow::anyhow!("a bug"))?;
            Ok(Taken { reader: "Rust", records_per_s, read, lost })
        }
        Some(python) => {
            let mut child = Command::new(python)
                .args(["-c", READER, &path.display().to_string()])
                .stdout(Stdio::piped())
                .spawn()
                .with_context(|| python.display().to_string())?;
            let mut output = BufReader::new(child.stdout.take().context("its output")?).lines();
            let first = output.next().transpose()?.unwrap_or_default();
            ensure!(first == "ready", "{}: no csdrive: pip install ./python", python.display());
            let records_per_s = feed(&mut writer, rate, time);
            drop(writer);
            let last = output.next().transpose()?.unwrap_or_default();
            child.wait()?;
            let numbers: Vec<u64> = last.split(' ').filter_map(|text| text.parse().ok()).collect();
            let [read, lost] = numbers[..] else { anyhow::bail!("the reader said {last:?}") };
            Ok(Taken { reader: "Python", records_per_s, read, lost })
        }
    }
}

/// Writes at a rate, a millisecond's at a time; the rate that came of it.
fn feed(writer: &mut Writer, rate: u64, time: Duration) -> f64 {
    let commands = vec![CommandRecord { sqid: 1, opcode: 2, ..Default::default() }; 64];
    let records = Records { commands, ..Default::default() };
    let begin = Instant::now();
    let mut written = 0u64;
    while begin.elapsed() < time {
        let due = (begin.elapsed().as_secs_f64() * rate as f64) as u64;
        while written < due {
            writer.put(&records);
            written += 64;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    written as f64 / begin.elapsed().as_secs_f64()
}

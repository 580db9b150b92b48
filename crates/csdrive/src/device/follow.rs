//! `csdrive follow`: what a served drive does, live, from its records in shared memory.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use nvme_spec::{CommandSet, NvmOpcode};
use records::Records;
use ring::{Batch, Kind, Reader};
use serde_json::{Value, json};

use crate::report::{say, tell, time};
use crate::workload::rate;
use crate::{Outcome, usage};

/// What a served drive does, live: a line for each second, from its records in shared memory
///
/// The drive is served with --records. It may come later, go, and come again; following costs it nothing.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The drive's serial number (drive.serial), or the path of its records
    #[arg(value_name = "SERIAL", default_value = "CSDRIVE0001")]
    drive: String,
    /// Seconds of a line
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    interval: f64,
    /// End after so many lines
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print one JSON document for each line
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.01..=86_400.0).contains(&seconds) {
        return Ok(seconds);
    }
    Err("choose 0.01 to 86400".to_owned())
}

/// How often records are taken: the places of the ring are for some ten times as long at a million commands a second.
const POLL: Duration = Duration::from_millis(10);

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let path = match arguments.drive.contains('/') {
        true => PathBuf::from(&arguments.drive),
        false => ring::path_of(&arguments.drive),
    };
    let interval = Duration::from_secs_f64(arguments.interval);
    let (mut lines, mut reader) = (0, None);
    let mut told = false;
    loop {
        let mut sum = Sum::default();
        let began = Instant::now();
        while began.elapsed() < interval {
            if reader.is_none() && path.exists() {
                reader = Some(usage(Reader::open(&path).map_err(Into::into))?);
            }
            match &mut reader {
                None if !told => {
                    told = true;
                    tell!(
                        "csdrive: waiting for {}: serve the drive with csdrive serve --records",
                        path.display()
                    );
                }
                None => {}
                Some(open) => {
                    let is_closed = open.is_closed();
                    sum.add(&open.read());
                    if is_closed {
                        (reader, told) = (None, false);
                    }
                }
            }
            std::thread::sleep(POLL.min(interval));
        }
        let took = began.elapsed();
        if arguments.json {
            say!("{}", sum.to_json(&arguments.drive, took));
        } else {
            if lines % 20 == 0 {
                say!("{HEADER}");
            }
            say!("{}", sum.line(took));
        }
        lines += 1;
        if arguments.count == Some(lines) {
            return Ok(Outcome::Success);
        }
        use std::io::Write as _;
        std::io::stdout().flush().context("standard output")?;
    }
}

/// Longer latencies count as this one: an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// What came in an interval.
struct Sum {
    commands: u64,
    failed: u64,
    late: u64,
    read_bytes: u64,
    written_bytes: u64,
    latency: Histogram<u64>,
    jobs: u64,
    waited_ns: u64,
    ran_ns: u64,
    unit_ns: u64,
    die_ns: u64,
    lost: [u64; 4],
}

impl Default for Sum {
    fn default() -> Self {
        Self {
            commands: 0,
            failed: 0,
            late: 0,
            read_bytes: 0,
            written_bytes: 0,
            latency: Histogram::new_with_bounds(1, LONGEST_NS, 3)
                .expect("bounds that are possible"),
            jobs: 0,
            waited_ns: 0,
            ran_ns: 0,
            unit_ns: 0,
            die_ns: 0,
            lost: [0; 4],
        }
    }
}

const HEADER: &str = "      IOPS        read     written        p50        p99   late    jobs/s    waited   units    dies    lost";

impl Sum {
    fn add(&mut self, Batch { records, lost }: &Batch) {
        let Records { commands, jobs, units, dies } = records;
        for record in commands {
            self.commands += 1;
            self.failed += u64::from(record.status != 0);
            self.late += u64::from(record.late_ns > controller::Lateness::TOLERANCE.as_ns());
            match (CommandSet(record.csi), NvmOpcode(record.opcode)) {
                (CommandSet::NVM, NvmOpcode::READ) if record.sqid > 0 => {
                    self.read_bytes += u64::from(record.bytes);
                }
                (CommandSet::NVM, NvmOpcode::WRITE) if record.sqid > 0 => {
                    self.written_bytes += u64::from(record.bytes);
                }
                _ => {}
            }
            self.latency.saturating_record(record.completed_ns.saturating_sub(record.fetched_ns));
        }
        for record in jobs {
            self.jobs += 1;
            self.waited_ns = self.waited_ns.saturating_add(record.waited_ns);
            self.ran_ns = self.ran_ns.saturating_add(record.ran_ns);
        }
        let stay = |start: u64, end: u64| end.saturating_sub(start);
        self.unit_ns += units.iter().map(|unit| stay(unit.start_ns, unit.end_ns)).sum::<u64>();
        self.die_ns += dies.iter().map(|die| stay(die.start_ns, die.end_ns)).sum::<u64>();
        for (sum, lost) in self.lost.iter_mut().zip(lost) {
            *sum += lost;
        }
    }

    /// So many on average, of what is counted in nanoseconds.
    fn busy(ns: u64, took: Duration) -> f64 {
        ns as f64 / took.as_nanos() as f64
    }

    fn line(&self, took: Duration) -> String {
        let seconds = took.as_secs_f64();
        let per_second = |n: u64| (n as f64 / seconds) as u64;
        let at = |quantile| match self.latency.len() {
            0 => "-".to_owned(),
            _ => time(self.latency.value_at_quantile(quantile)),
        };
        let waited = match self.jobs {
            0 => "-".to_owned(),
            jobs => time(self.waited_ns / jobs),
        };
        format!(
            "{:>10} {:>11} {:>11} {:>10} {:>10} {:>5.1}% {:>9} {:>9} {:>7.2} {:>7.2} {:>7}",
            per_second(self.commands),
            rate(per_second(self.read_bytes)),
            rate(per_second(self.written_bytes)),
            at(0.5),
            at(0.99),
            100.0 * self.late as f64 / self.commands.max(1) as f64,
            per_second(self.jobs),
            waited,
            Self::busy(self.unit_ns, took),
            Self::busy(self.die_ns, took),
            self.lost.iter().sum::<u64>()
        )
    }

    fn to_json(&self, drive: &str, took: Duration) -> Value {
        let seconds = took.as_secs_f64();
        let at = |percent| self.latency.value_at_quantile(percent / 100.0);
        let percentile: serde_json::Map<String, Value> =
            workload::percentiles(at).into_iter().map(|(name, ns)| (name, json!(ns))).collect();
        let lost: serde_json::Map<String, Value> = Kind::ALL
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), json!(self.lost[*kind as usize])))
            .collect();
        json!({
            "format_version": 1,
            "drive": drive,
            "elapsed_ns": took.as_nanos() as u64,
            "commands": self.commands,
            "failed": self.failed,
            "late": self.late,
            "iops": self.commands as f64 / seconds,
            "read_bytes": self.read_bytes,
            "written_bytes": self.written_bytes,
            "lat_ns": {
                "min": if self.latency.is_empty() { 0 } else { self.latency.min() },
                "max": self.latency.max(),
                "mean": self.latency.mean(),
                "N": self.latency.len(),
                "percentile": percentile,
            },
            "jobs": { "count": self.jobs, "waited_ns": self.waited_ns, "ran_ns": self.ran_ns },
            "units_busy": Self::busy(self.unit_ns, took),
            "dies_busy": Self::busy(self.die_ns, took),
            "lost": lost,
        })
    }
}

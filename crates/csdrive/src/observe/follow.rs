//! `csdrive stat --follow`: what a served drive does, a line for each interval.

use std::path::Path;
use std::time::{Duration, Instant};

use analysis::LatencyReport;
use anyhow::{Context, Result};
use nvme_spec::{CommandSet, NvmOpcode, Status};
use records::{CounterRecord, Kind, Records};
use ring::{Batch, Reader};
use serde_json::{Value, json};

use super::seen::{POLL, ring_of, serial_of};
use crate::report::{say, tell, time};
use crate::workload::rate;
use crate::{Outcome, usage};

pub(super) fn run(
    drive: &Path,
    interval: f64,
    count: Option<u64>,
    is_json: bool,
) -> Result<Outcome> {
    let path = ring_of(drive);
    let interval = Duration::from_secs_f64(interval);
    let (mut lines, mut reader) = (0, None);
    let mut told = false;
    // What the drive had counted at the end of the interval before.
    let mut before = None;
    loop {
        let mut sum = Sum { before, ..Sum::default() };
        let began = Instant::now();
        while began.elapsed() < interval {
            if reader.is_none() && path.exists() {
                let open = usage(Reader::open(&path).map_err(Into::into))?;
                // What a drive left that is gone is none.
                reader = Some(open).filter(|open| !open.is_closed());
                sum.before = reader.as_ref().and_then(Reader::last_counters);
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
        before = sum.last.or(sum.before).filter(|_| reader.is_some());
        if is_json {
            say!("{}", sum.into_json(&serial_of(drive), took));
        } else {
            if lines % 20 == 0 {
                say!("{HEADER}");
            }
            say!("{}", sum.line(took));
        }
        lines += 1;
        if count == Some(lines) {
            return Ok(Outcome::Success);
        }
        use std::io::Write as _;
        std::io::stdout().flush().context("standard output")?;
    }
}

/// What came in an interval.
#[derive(Default)]
struct Sum {
    commands: u64,
    failed: u64,
    late: u64,
    read_bytes: u64,
    written_bytes: u64,
    latencies: Vec<u64>,
    jobs: u64,
    waited_ns: u64,
    ran_ns: u64,
    unit_ns: u64,
    die_ns: u64,
    /// What the drive had counted before, and at last.
    before: Option<CounterRecord>,
    last: Option<CounterRecord>,
    lost: [u64; Kind::COUNT],
}

const HEADER: &str = "      IOPS        read     written        p50        p99   late    jobs/s    waited   units    dies    lost";

/// Zone Append, as an opcode beside those of the NVM command set.
const APPEND: NvmOpcode = NvmOpcode(nvme_spec::ZoneOpcode::APPEND.0);

impl Sum {
    fn add(&mut self, Batch { records, lost }: &Batch) {
        let Records { commands, jobs, units, dies, counters, .. } = records;
        self.last = counters.last().copied().or(self.last);
        for record in commands {
            self.commands += 1;
            self.failed += u64::from(Status::from_bits(record.status) != Status::SUCCESS);
            self.late += u64::from(record.late_ns > controller::Lateness::TOLERANCE.as_ns());
            match (CommandSet(record.csi), NvmOpcode(record.opcode)) {
                (CommandSet::NVM | CommandSet::ZONED, NvmOpcode::READ) if record.sqid > 0 => {
                    self.read_bytes += u64::from(record.bytes);
                }
                (CommandSet::NVM | CommandSet::ZONED, NvmOpcode::WRITE)
                | (CommandSet::ZONED, APPEND)
                    if record.sqid > 0 =>
                {
                    self.written_bytes += u64::from(record.bytes);
                }
                _ => {}
            }
            self.latencies.push(record.completed_ns.saturating_sub(record.fetched_ns));
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

    /// How long units and dies were busy: as the drive counted it, also of what goes on; or, if it does not tell, by what ended.
    fn busy_ns(&self) -> (u64, u64) {
        match (&self.before, &self.last) {
            (Some(before), Some(last)) => (
                last.units_busy_ns.saturating_sub(before.units_busy_ns),
                last.dies_busy_ns.saturating_sub(before.dies_busy_ns),
            ),
            _ => (self.unit_ns, self.die_ns),
        }
    }

    /// So many on average, of what is counted in nanoseconds.
    fn busy(ns: u64, took: Duration) -> f64 {
        ns as f64 / took.as_nanos() as f64
    }

    fn line(self, took: Duration) -> String {
        let (unit_ns, die_ns) = self.busy_ns();
        let latency = LatencyReport::of(self.latencies);
        let seconds = took.as_secs_f64();
        let per_second = |n: u64| (n as f64 / seconds) as u64;
        let at = |percent| match latency.count {
            0 => "-".to_owned(),
            _ => time(latency.at(percent)),
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
            at(50.0),
            at(99.0),
            100.0 * self.late as f64 / self.commands.max(1) as f64,
            per_second(self.jobs),
            waited,
            Self::busy(unit_ns, took),
            Self::busy(die_ns, took),
            self.lost.iter().sum::<u64>()
        )
    }

    fn into_json(self, drive: &str, took: Duration) -> Value {
        let seconds = took.as_secs_f64();
        let (unit_ns, die_ns) = self.busy_ns();
        let (units, dies) = (Self::busy(unit_ns, took), Self::busy(die_ns, took));
        let lost = Kind::ALL.map(|kind| (kind.name().to_owned(), json!(self.lost[kind as usize])));
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
            "lat_ns": LatencyReport::of(self.latencies),
            "jobs": { "count": self.jobs, "waited_ns": self.waited_ns, "ran_ns": self.ran_ns },
            "units_busy": units,
            "dies_busy": dies,
            "lost": serde_json::Map::from_iter(lost),
        })
    }
}

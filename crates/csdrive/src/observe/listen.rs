//! `csdrive stat --listen`: a drive's metrics for Prometheus, in its text format (version 0.0.4), over HTTP.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use analysis::CommandKind;
use anyhow::{Context, Result};
use nvme_spec::Status;
use records::{CommandRecord, CounterRecord, Kind};
use ring::{Batch, Reader};

use super::seen::{POLL, ring_of, serial_of};
use crate::report::tell;
use crate::{Outcome, usage};

/// Upper bounds of the latency histogram, in nanoseconds: 1, 2, 5 in each decade.
const BOUNDS: [u64; 22] = [
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// A request is no longer than that, and comes in this time.
const REQUEST_BYTES_MAX: usize = 8192;
const REQUEST_TIME: Duration = Duration::from_secs(2);
/// Clients at a time.
const CLIENTS_MAX: usize = 64;

pub(super) fn run(drive: &Path, address: SocketAddr) -> Result<Outcome> {
    let path = ring_of(drive);
    let listener = TcpListener::bind(address).with_context(|| format!("--listen {address}"));
    let listener = usage(listener)?;
    let at = listener.local_addr().context("the address")?;
    // A file that is no ring is told now, a drive that is not there yet may come.
    let mut reader = match path.exists() {
        true => Some(usage(Reader::open(&path).map_err(Into::into))?),
        false => None,
    };
    tell!("csdrive: metrics of {} at http://{at}/metrics", serial_of(drive));
    let metrics = Arc::new(Mutex::new(Metrics::new(serial_of(drive))));
    let shared = Arc::clone(&metrics);
    // Each has a thread and some seconds; who comes when all are taken is turned away.
    std::thread::spawn(move || {
        let open = Arc::new(AtomicUsize::new(0));
        for stream in listener.incoming().flatten() {
            if open.fetch_add(1, Ordering::Relaxed) >= CLIENTS_MAX {
                open.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let (open, shared) = (Arc::clone(&open), Arc::clone(&shared));
            std::thread::spawn(move || {
                // A client that goes away is none of the others' matter.
                let _ = answer(stream, &shared);
                open.fetch_sub(1, Ordering::Relaxed);
            });
        }
    });
    loop {
        if reader.is_none() {
            // What a drive left that is gone is none.
            reader = Reader::open(&path).ok().filter(|open| !open.is_closed());
        }
        let mut metrics = metrics.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = &mut reader {
            let is_closed = open.is_closed();
            metrics.add(&open.read());
            if is_closed {
                reader = None;
            }
        }
        metrics.is_up = reader.is_some();
        drop(metrics);
        std::thread::sleep(POLL);
    }
}

/// Answers one request.
fn answer(mut stream: TcpStream, metrics: &Mutex<Metrics>) -> std::io::Result<()> {
    stream.set_write_timeout(Some(REQUEST_TIME))?;
    let (mut request, began) = (Vec::new(), Instant::now());
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let left = REQUEST_TIME.checked_sub(began.elapsed()).filter(|left| !left.is_zero());
        let (Some(left), true) = (left, request.len() < REQUEST_BYTES_MAX) else { return Ok(()) };
        stream.set_read_timeout(Some(left))?;
        let mut part = [0; 1024];
        match stream.read(&mut part)? {
            0 => return Ok(()),
            count => request.extend_from_slice(&part[..count]),
        }
    }
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let (status, body) = match line {
        _ if is_for_metrics(line) => {
            ("200 OK", metrics.lock().unwrap_or_else(PoisonError::into_inner).text())
        }
        _ if line.starts_with(b"GET ") => ("404 Not Found", "see /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", "GET /metrics\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

/// True for `GET /metrics HTTP/1.1`, whatever parameters it has.
fn is_for_metrics(line: &[u8]) -> bool {
    let rest = line.strip_prefix(b"GET /metrics").unwrap_or_default();
    rest.starts_with(b" HTTP/1.") || rest.starts_with(b"?")
}

/// What was seen since the command began, and what the drive has counted.
#[derive(Debug, Default)]
struct Metrics {
    serial: String,
    is_up: bool,
    commands: BTreeMap<CommandKind, OfCommand>,
    jobs: BTreeMap<u32, (u64, u64, u64)>,
    counters: Option<CounterRecord>,
    lost: [u64; Kind::COUNT],
}

#[derive(Debug, Default)]
struct OfCommand {
    failed: u64,
    buckets: [u64; BOUNDS.len()],
    count: u64,
    sum_ns: u64,
    bytes: u64,
}

impl Metrics {
    fn new(serial: String) -> Self {
        Self { serial, ..Self::default() }
    }

    fn add(&mut self, Batch { records, lost }: &Batch) {
        for record in &records.commands {
            self.add_command(record);
        }
        for record in &records.jobs {
            let (count, waited, ran) = self.jobs.entry(record.group).or_default();
            *count += 1;
            *waited = waited.saturating_add(record.waited_ns);
            *ran = ran.saturating_add(record.ran_ns);
        }
        self.counters = records.counters.last().copied().or(self.counters);
        self.lost.iter_mut().zip(lost).for_each(|(sum, lost)| *sum += lost);
    }

    fn add_command(&mut self, record: &CommandRecord) {
        let of = self.commands.entry(CommandKind::of(record)).or_default();
        let ns = record.completed_ns.saturating_sub(record.fetched_ns);
        of.failed += u64::from(Status::from_bits(record.status) != Status::SUCCESS);
        of.count += 1;
        of.sum_ns = of.sum_ns.saturating_add(ns);
        of.bytes += u64::from(record.bytes);
        if let Some(bucket) = BOUNDS.iter().position(|bound| ns <= *bound) {
            of.buckets[bucket] += 1;
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let drive = format!("drive=\"{}\"", label(&self.serial));
        let mut family = Family { text: &mut text };
        family.head("csdrive_up", "gauge", "1 if the drive is served with records.");
        family.line("csdrive_up", &drive, u8::from(self.is_up));
        let labels_of = |kind: &CommandKind| {
            let queue = if kind.is_admin { "admin" } else { "io" };
            format!("{drive},command=\"{}\",queue=\"{queue}\"", label(&kind.name()))
        };
        family.head(
            "csdrive_command_latency_seconds",
            "histogram",
            "From when the drive took a command to its completion.",
        );
        for (command, of) in &self.commands {
            let labels = labels_of(command);
            let mut sum = 0;
            for (bound, count) in BOUNDS.iter().zip(of.buckets) {
                sum += count;
                let labels = format!("{labels},le=\"{}\"", *bound as f64 / 1e9);
                family.line("csdrive_command_latency_seconds_bucket", &labels, sum);
            }
            family.line(
                "csdrive_command_latency_seconds_bucket",
                &format!("{labels},le=\"+Inf\""),
                of.count,
            );
            family.line("csdrive_command_latency_seconds_sum", &labels, of.sum_ns as f64 / 1e9);
            family.line("csdrive_command_latency_seconds_count", &labels, of.count);
        }
        family.head(
            "csdrive_command_errors_total",
            "counter",
            "Commands that ended with an error status.",
        );
        for (command, of) in &self.commands {
            family.line("csdrive_command_errors_total", &labels_of(command), of.failed);
        }
        family.head("csdrive_command_bytes_total", "counter", "Bytes of NVM namespaces.");
        for (command, of) in &self.commands {
            family.line("csdrive_command_bytes_total", &labels_of(command), of.bytes);
        }
        for (metric, help, of) in [
            (
                "csdrive_jobs_total",
                "Jobs that ended.",
                (|(count, _, _)| count as f64) as fn((u64, u64, u64)) -> f64,
            ),
            (
                "csdrive_job_wait_seconds_total",
                "Time that jobs waited for units.",
                |(_, waited, _)| waited as f64 / 1e9,
            ),
            ("csdrive_job_run_seconds_total", "Time that jobs held units.", |(_, _, ran)| {
                ran as f64 / 1e9
            }),
        ] {
            family.head(metric, "counter", help);
            for (group, jobs) in &self.jobs {
                family.line(metric, &format!("{drive},group=\"{group}\""), of(*jobs));
            }
        }
        family.head(
            "csdrive_records_lost_total",
            "counter",
            "Records that came faster than they were read.",
        );
        for kind in Kind::ALL {
            let labels = format!("{drive},kind=\"{}\"", kind.name());
            family.line("csdrive_records_lost_total", &labels, self.lost[kind as usize]);
        }
        if let Some(counters) = &self.counters {
            family.counted(&drive, counters);
        }
        text
    }
}

/// Writes families of metrics.
struct Family<'a> {
    text: &'a mut String,
}

impl Family<'_> {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.text, "{name}{{{labels}}} {value}");
    }

    /// What the drive has counted since it was made.
    fn counted(&mut self, drive: &str, c: &CounterRecord) {
        let seconds = |ns: u64| ns as f64 / 1e9;
        self.head(
            "csdrive_busy_seconds_total",
            "counter",
            "Time in which parts were busy, all of a kind together.",
        );
        for (part, ns) in [
            ("units", c.units_busy_ns),
            ("channels", c.channels_busy_ns),
            ("dies", c.dies_busy_ns),
            ("link_out", c.link_out_busy_ns),
            ("link_in", c.link_in_busy_ns),
        ] {
            self.line(
                "csdrive_busy_seconds_total",
                &format!("{drive},part=\"{part}\""),
                seconds(ns),
            );
        }
        self.head("csdrive_parts", "gauge", "How many there are of each part.");
        for (part, count) in [("units", c.units), ("channels", c.channels), ("dies", c.dies)] {
            self.line("csdrive_parts", &format!("{drive},part=\"{part}\""), count);
        }
        self.head("csdrive_bytes_total", "counter", "Bytes by where they went.");
        for (path, bytes) in [
            ("to_host", c.bytes_to_host),
            ("from_host", c.bytes_from_host),
            ("internal", c.bytes_internal),
            ("to_peers", c.bytes_to_peers),
            ("from_peers", c.bytes_from_peers),
            ("host_written", c.host_bytes_written),
        ] {
            self.line("csdrive_bytes_total", &format!("{drive},path=\"{path}\""), bytes);
        }
        self.head(
            "csdrive_flash_pages_total",
            "counter",
            "Pages of flash, by what was done with them.",
        );
        for (what, pages) in [
            ("read", c.flash_reads),
            ("modify_read", c.modify_reads),
            ("gc_read", c.gc_reads),
            ("programmed", c.flash_programs),
            ("gc_programmed", c.gc_programs),
        ] {
            self.line("csdrive_flash_pages_total", &format!("{drive},what=\"{what}\""), pages);
        }
        for (name, help, value) in [
            ("csdrive_erases_total", "Blocks that were erased.", c.erases),
            ("csdrive_commands_total", "Commands completed since the drive was made.", c.commands),
            (
                "csdrive_late_completions_total",
                "Completions later than modelled by more than the tolerance.",
                c.late,
            ),
        ] {
            self.head(name, "counter", help);
            self.line(name, drive, value);
        }
    }
}

/// Text as the value of a label.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use records::Records;

    use super::*;

    #[test]
    fn buckets_add_up() {
        let mut metrics = Metrics::new("A\"B".to_owned());
        let commands = [500, 1_000, 1_001, 20_000_000_000].map(|completed_ns| CommandRecord {
            sqid: 1,
            opcode: 2,
            completed_ns,
            bytes: 512,
            ..Default::default()
        });
        let records = Records {
            commands: commands.to_vec(),
            counters: vec![CounterRecord { erases: 3, ..Default::default() }],
            ..Default::default()
        };
        metrics.add(&Batch { records, lost: [0; Kind::COUNT] });
        let text = metrics.text();
        let value = |start: &str| {
            let line = text
                .lines()
                .find(|line| line.starts_with(start))
                .unwrap_or_else(|| panic!("{start}: {text}"));
            line.rsplit(' ').next().unwrap().to_owned()
        };
        let of = "drive=\"A\\\"B\",command=\"Read\",queue=\"io\"";
        assert_eq!(
            value(&format!("csdrive_command_latency_seconds_bucket{{{of},le=\"0.000001\"}}")),
            "2"
        );
        assert_eq!(
            value(&format!("csdrive_command_latency_seconds_bucket{{{of},le=\"0.000002\"}}")),
            "3"
        );
        assert_eq!(
            value(&format!("csdrive_command_latency_seconds_bucket{{{of},le=\"10\"}}")),
            "3"
        );
        assert_eq!(
            value(&format!("csdrive_command_latency_seconds_bucket{{{of},le=\"+Inf\"}}")),
            "4"
        );
        assert_eq!(value(&format!("csdrive_command_bytes_total{{{of}}}")), "2048");
        assert_eq!(value("csdrive_erases_total"), "3");
    }
}

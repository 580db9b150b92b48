//! `csdrive demo`: TPC-H Q6 on the drive and on the host, the same question asked both ways.

mod frontier;
mod host;
mod watch;
mod ways;

use std::path::{Path, PathBuf};

use analysis::DriveReport;
use anyhow::Result;
use compute::{Core, Work};
use indicatif::{ProgressBar, ProgressStyle};
use records::{CounterRecord, Records};
use serde_json::{Value, json};
use simtime::Duration;
use simulator::Session;
use workload::{Ran, RunRecorder, recorded_drive};

use self::frontier::{Edge, Frontier, Question, Times};
use self::host::HostCores;
use self::watch::Watch;
use self::ways::{CHUNK_ROWS, NEEDED, OnDevice, PAGE, Stored, on_device, on_host, slot_bytes};
use crate::lineitem::{self, COLUMNS, Table};
use crate::observe::record::{self, RecordOption};
use crate::observe::{page, trace};
use crate::report::{bytes as size, say, tell, time};
use crate::{Outcome, report, usage};

/// The device program, built from `examples/programs/tpch_q6.bpf.c`.
static Q6: &[u8] = include_bytes!("../../../examples/programs/tpch_q6.bpf.o");

/// Run TPC-H Q6 on the drive and on the host, and compare time and bytes
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Scale factor: 1 is a table of 6 million rows
    #[arg(long, default_value_t = 0.1, allow_hyphen_values = true)]
    scale: f64,
    /// A core of the host, whose computing takes time, too: see csdrive config cores
    #[arg(long, value_name = "CORE", default_value = "host", value_parser = core)]
    host_core: Core,
    /// How many of them look at what was read
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    host_cores: u32,
    #[command(flatten)]
    sources: config::Sources,
    /// Write a page with charts of both ways, for a browser
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Write a timeline of both ways, for Perfetto
    #[arg(long, value_name = "FILE.json")]
    trace: Option<PathBuf>,
    #[command(flatten)]
    record: RecordOption,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// A core by its name.
fn core(text: &str) -> Result<Core, String> {
    let names = || Core::NAMES.map(|(name, _)| name).join(", ");
    let found = Core::NAMES.into_iter().find(|(name, _)| *name == text);
    found.map(|(_, core)| core).ok_or_else(|| format!("choose one of {}", names()))
}

/// What one way of answering took.
struct Measured {
    /// Revenue in ten-thousandths of a dollar.
    revenue: i64,
    time_ns: u64,
    host_link_bytes: u64,
    flash_bytes: u64,
    internal_bytes: u64,
    /// Time that processors computed, all together, and how many there are.
    computing_ns: u64,
    processors: u32,
    /// How busy the drive was.
    drive: DriveReport,
}

/// Everything that came of it.
struct Outcomes {
    stored: Stored,
    device: Measured,
    host: Measured,
    /// Where the drive wins, if the probes agree with what was measured.
    frontier: Option<Frontier>,
    trace_hash: u64,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    usage(check_scale(arguments.scale))?;
    let loaded = usage(arguments.sources.load().map_err(Into::into))?;
    report::notes(&loaded.warnings);
    let config = usage(loaded.for_one_of_each().map_err(Into::into))?;
    usage(fits(arguments.scale, &config))?;
    let recorded = Recorded::start(arguments)?;
    let quiet = arguments.json;
    let mut session = usage(simulator::open(config.clone(), 0, 1024).map_err(Into::into))?;
    let table = generate(arguments.scale, quiet);
    let stored = store(&mut session, &table, quiet)?;
    drop(table);
    session.load_program(0, Q6)?;
    while session.transport.driver.port.step() {}
    let flash = session.transport.driver.port.drive.fork_flash();
    session.transport.driver.port.drive.set_recording(true);
    let mut watch = Watch::new(&session.transport.driver.port);
    let device = measure(&mut session, |session| {
        let revenue = on_device(session, &stored, OnDevice::default(), &mut watch, quiet)?;
        Ok((revenue, session.transport.driver.port.now()))
    })?;
    while session.transport.driver.port.step() {}
    let mut records = session.transport.driver.port.drive.take_records();
    let work = work_of(&records);
    let mut cores = HostCores::new(arguments.host_core, arguments.host_cores, stored.rows, &work);
    let idle = cores.clone();
    let host = measure(&mut session, |session| {
        let answer = on_host(session, &stored, &mut cores, &mut watch, quiet)?;
        Ok((answer.revenue, answer.ended))
    })?;
    let host =
        Measured { computing_ns: cores.busy().as_ns(), processors: arguments.host_cores, ..host };
    records.append(&mut session.transport.driver.port.drive.take_records());
    records.counters = watch.end(&session.transport.driver.port);
    let trace_hash = session.transport.driver.port.drive.statistics().trace_hash;
    let question = flash.as_ref().map(|flash| Question {
        config: &config,
        flash,
        stored: &stored,
        work,
        cores: &idle,
    });
    let frontier = match &question {
        Some(question) => look_for_the_frontier(question, &device, &host)?,
        None => None,
    };
    let outcomes = Outcomes { stored, device, host, frontier, trace_hash };
    if quiet {
        say!("{:#}", outcomes.to_json());
    } else {
        outcomes.print(arguments, &session);
    }
    recorded.leave(arguments, &config, &outcomes, records)?;
    let is_same = outcomes.device.revenue == outcomes.host.revenue;
    Ok(if is_same { Outcome::Success } else { Outcome::ErrorStatus })
}

/// What the program did for all rows.
fn work_of(records: &Records) -> Work {
    let mut work = Work::default();
    for job in &records.jobs {
        work.bytes += job.bytes;
        work.instructions.iter_mut().zip(job.instructions).for_each(|(sum, n)| *sum += n);
    }
    work
}

/// Probes may differ from what was measured by so much: a declared time is that of an average chunk.
const PROBE_ERROR: f64 = 0.02;

/// Where the drive wins. Nothing, if the probes say something else than what was measured.
fn look_for_the_frontier(
    question: &Question<'_>,
    device: &Measured,
    host: &Measured,
) -> Result<Option<Frontier>> {
    let Times { device: probed_device, host: probed_host } = question.as_it_is()?;
    let is_close = |probed: Duration, measured: u64| {
        (probed.as_ns() as f64 / measured as f64 - 1.0).abs() <= PROBE_ERROR
    };
    let rows = question.stored.rows;
    // Of more rows the probes look at a part.
    let agrees = rows > frontier::ROWS_MAX
        || is_close(probed_device, device.time_ns) && is_close(probed_host, host.time_ns);
    agrees.then(|| question.frontier()).transpose()
}

/// A recording of the run, if files are asked for that need one.
struct Recorded {
    recorder: Option<RunRecorder>,
    folder: PathBuf,
    /// Where it is if nobody wants to keep it.
    _scratch: Option<tempfile::TempDir>,
}

impl Recorded {
    fn start(arguments: &Arguments) -> Result<Self> {
        let folder = arguments.record.folder();
        if folder.is_some() || arguments.report.is_none() {
            let folder = folder.map(Path::to_owned).unwrap_or_default();
            return Ok(Self { recorder: arguments.record.start()?, folder, _scratch: None });
        }
        let scratch = tempfile::tempdir()?;
        let folder = scratch.path().join("demo");
        let recorder = usage(RunRecorder::start(&folder).map_err(Into::into))?;
        Ok(Self { recorder: Some(recorder), folder, _scratch: Some(scratch) })
    }

    /// Writes the files that are asked for.
    fn leave(
        self,
        arguments: &Arguments,
        config: &controller::Config,
        outcomes: &Outcomes,
        records: Records,
    ) -> Result<()> {
        if let Some(recorder) = self.recorder {
            recorder.put(0, &records);
            let ran = Ran {
                drives: vec![recorded_drive(config, outcomes.trace_hash)],
                inputs: arguments.sources.config.iter().cloned().collect(),
                result: outcomes.to_json(),
                ..Ran::default()
            };
            record::finish(recorder, ran)?;
        }
        if let Some(path) = &arguments.report {
            let title = format!("TPC-H Q6, scale {}", arguments.scale);
            usage(page::write_of(&self.folder, &title, path))?;
            tell!("csdrive: {}: open it in a browser", path.display());
        }
        if let Some(path) = &arguments.trace {
            let drives = [(config.serial.clone(), records)];
            usage(trace::write(&drives, path))?;
            told(path);
        }
        Ok(())
    }
}

fn told(path: &Path) {
    if !crate::input::is_standard(path) {
        tell!("csdrive: {}: open it in ui.perfetto.dev", path.display());
    }
}

fn check_scale(scale: f64) -> Result<()> {
    if !(0.0005..=100.0).contains(&scale) {
        anyhow::bail!("--scale {scale}: choose 0.0005 to 100");
    }
    Ok(())
}

/// Checks that the table fits the drive before generating it.
fn fits(scale: f64, config: &controller::Config) -> Result<()> {
    if !config.flash.keep_data {
        anyhow::bail!("flash.keep_data = false: the demo needs its data; set it to true");
    }
    if !config.namespaces.is_empty() {
        anyhow::bail!(
            "the demo is for a drive with one namespace of each kind; leave [[namespace]] out"
        );
    }
    let width: u64 = COLUMNS.iter().map(|c| c.width as u64).sum();
    let bytes = lineitem::expected_rows(scale) * width * 101 / 100;
    if bytes > config.flash.capacity_bytes {
        let (need, have) = (report::bytes(bytes), report::bytes(config.flash.capacity_bytes));
        let gigabytes = bytes.div_ceil(1 << 30);
        anyhow::bail!(
            "the table needs {need}, the drive has {have}; use --set drive.capacity={gigabytes}GiB or a smaller --scale"
        );
    }
    let slot = slot_bytes();
    if config.memory_bytes < slot {
        let have = report::bytes(config.memory_bytes);
        anyhow::bail!("memory.size = {have}: the demo needs at least {}", report::bytes(slot));
    }
    Ok(())
}

fn progress(message: &'static str, len: u64, hidden: bool) -> ProgressBar {
    if hidden {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg:<28} {wide_bar} {percent:>3}%");
    ProgressBar::new(len)
        .with_message(message)
        .with_style(style.unwrap_or(ProgressStyle::default_bar()))
}

fn generate(scale: f64, quiet: bool) -> Table {
    let bar = progress("generating TPC-H lineitem", lineitem::expected_rows(scale), quiet);
    let table = lineitem::generate(scale, |rows| bar.set_position(rows));
    bar.finish_and_clear();
    table
}

/// Writes every column to the NVM namespace.
fn store(session: &mut Session, table: &Table, quiet: bool) -> Result<Stored> {
    let total = table.columns.iter().map(|c| c.len() as u64).sum();
    let bar = progress("storing it on the drive", total, quiet);
    let block = session.block_bytes();
    let mut next = 0;
    let mut first_blocks = Vec::new();
    for column in &table.columns {
        first_blocks.push(next);
        let mut at = next;
        for piece in column.chunks(16 << 20) {
            at += session.write_blocks(at, piece)?;
            bar.inc(piece.len() as u64);
        }
        // Columns begin at page boundaries, whatever the block size.
        next = (at * block).next_multiple_of(PAGE) / block;
    }
    session.flush()?;
    bar.finish_and_clear();
    let columns = NEEDED.map(|name| {
        let n = lineitem::column(name);
        (first_blocks[n], COLUMNS[n].width as u64)
    });
    Ok(Stored { rows: table.rows, columns, block })
}

fn measure(
    session: &mut Session,
    answer: impl FnOnce(&mut Session) -> Result<(i64, simtime::Instant)>,
) -> Result<Measured> {
    let drive = |session: &Session| {
        let drive = &session.transport.driver.port.drive;
        (drive.statistics(), CounterRecord::from(&drive.counters()))
    };
    let start = session.transport.driver.port.now();
    let (before, counted) = drive(session);
    let (revenue, end) = answer(session)?;
    let (after, counters) = drive(session);
    let units = session.transport.driver.port.drive.config().compute.units;
    Ok(Measured {
        revenue,
        time_ns: end.since(start).as_ns(),
        host_link_bytes: after.bytes_host_link() - before.bytes_host_link(),
        flash_bytes: after.bytes_flash() - before.bytes_flash(),
        internal_bytes: after.bytes_internal - before.bytes_internal,
        computing_ns: counters.units_busy_ns - counted.units_busy_ns,
        processors: units,
        drive: DriveReport::between(String::new(), &counted, &counters),
    })
}

/// Dollars: the answer is in ten-thousandths.
fn dollars(revenue: i64) -> f64 {
    revenue as f64 / 10_000.0
}

impl Measured {
    /// What was busiest, and the share of the time.
    fn bottleneck(&self, processors: &'static str) -> (&'static str, f64) {
        let computing =
            self.computing_ns as f64 / self.time_ns.max(1) as f64 / f64::from(self.processors);
        let first = (processors, computing);
        let busy = self.drive.busy();
        // Units are the drive's processors: they are in the list already, or have nothing to do.
        let others = busy.iter().skip(1).map(|busy| (busy.part, busy.share));
        others.fold(first, |most, one| if one.1 > most.1 { one } else { most })
    }

    fn to_json(&self, processors: &'static str) -> Value {
        let (part, share) = self.bottleneck(processors);
        json!({
            "time_ns": self.time_ns, "host_link_bytes": self.host_link_bytes,
            "flash_bytes": self.flash_bytes, "internal_bytes": self.internal_bytes,
            "computing_ns": self.computing_ns, "processors": self.processors,
            "bottleneck": { "part": part, "share": share },
        })
    }
}

const UNITS: &str = "compute units";
const HOST_CORES: &str = "cores of the host";

impl Edge {
    fn to_json(self) -> Value {
        match self {
            Self::At(value) => value.into(),
            Self::Always => "always".into(),
            Self::Never => "never".into(),
        }
    }
}

impl Outcomes {
    fn to_json(&self) -> Value {
        let mut document = json!({
            "format_version": 1,
            "answer": { "device": dollars(self.device.revenue), "host": dollars(self.host.revenue) },
            "rows": self.stored.rows,
            "trace_hash": format!("{:016x}", self.trace_hash),
            "device": self.device.to_json(UNITS),
            "host": self.host.to_json(HOST_CORES),
        });
        if let Some(frontier) = &self.frontier {
            document["drive_wins"] = json!({
                "clock_hz_from": frontier.clock.to_json(),
                "link_bytes_per_s_to": frontier.link.to_json(),
                "selectivity_to": frontier.selectivity.to_json(),
            });
        }
        document
    }

    fn print(&self, arguments: &Arguments, session: &Session) {
        let Self { stored, device, host, .. } = self;
        let config = session.transport.driver.port.drive.config();
        say!(
            "TPC-H Q6, scale {}: {} rows in fixed-width columns on a {} drive with {} compute units\n",
            arguments.scale,
            report::grouped(stored.rows),
            size(config.flash.capacity_bytes),
            config.compute.units,
        );
        say!("  {:<22} {:>18} {:>18}", "", "on the drive", "on the host");
        let money = |m: &Measured| {
            let (whole, part) = (m.revenue / 10_000, m.revenue % 10_000);
            format!("${}.{part:04}", report::grouped(whole as u64))
        };
        let row = |name: &str, text: &dyn Fn(&Measured) -> String| {
            say!("  {name:<22} {:>18} {:>18}", text(device), text(host));
        };
        row("revenue", &money);
        row("time (virtual)", &|m| time(m.time_ns));
        row("computing", &|m| {
            format!("{} x {}", m.processors, time(m.computing_ns / u64::from(m.processors)))
        });
        row("over the host link", &|m| size(m.host_link_bytes));
        row("read from flash", &|m| size(m.flash_bytes));
        row("moved inside the drive", &|m| size(m.internal_bytes));
        let bars = |title: &str, value: &dyn Fn(&Measured) -> u64, text: &dyn Fn(u64) -> String| {
            say!("\n  {title}");
            let max = value(device).max(value(host)) as f64;
            for (name, m) in [("drive", device), ("host", host)] {
                say!("    {name:<6} {:<40} {}", report::bar(value(m) as f64, max), text(value(m)));
            }
        };
        bars("time", &|m| m.time_ns, &time);
        bars("bytes over the host link", &|m| m.host_link_bytes, &size);
        let same = if device.revenue == host.revenue { "the same" } else { "DIFFERENT" };
        let ratio = host.host_link_bytes as f64 / device.host_link_bytes.max(1) as f64;
        say!(
            "\nBoth answers are {same}. The drive sent {ratio:.0} times fewer bytes over the link."
        );
        self.explain(arguments, config);
    }

    /// Why it took so long, and what would change that.
    fn explain(&self, arguments: &Arguments, config: &controller::Config) {
        let Self { stored, device, host, frontier, .. } = self;
        for (name, m, processors) in [("drive", device, UNITS), ("host", host, HOST_CORES)] {
            let (part, share) = m.bottleneck(processors);
            say!("Busiest on the {name}: {part}, {:.0} % of the time.", 100.0 * share);
        }
        let (chunks, units) = (stored.rows.div_ceil(CHUNK_ROWS), u64::from(config.compute.units));
        if chunks < 4 * units {
            let scale = arguments.scale * (4 * units) as f64 / chunks as f64;
            let idle = match units.saturating_sub(chunks) {
                0 => String::new(),
                1 => ": one of them has nothing to do".to_owned(),
                idle => format!(": {idle} of them have nothing to do"),
            };
            say!(
                "The table is {chunks} {} of {} rows for {units} units{idle}, and copying and computing hardly overlap.\nFrom about --scale {} on they do.",
                if chunks == 1 { "chunk" } else { "chunks" },
                report::grouped(CHUNK_ROWS),
                round_up(scale)
            );
        }
        let Some(frontier) = frontier else {
            return say!(
                "(Where the drive begins to win is not said: simulations of other drives do not agree with this one, or its flash had something to do.)"
            );
        };
        let word = if device.time_ns < host.time_ns { "wins" } else { "loses" };
        say!("The drive {word} here. With everything else as it is, it wins");
        let hertz = |hz: f64| format!("{:.2} GHz", hz / 1e9);
        let rate = |rate: f64| format!("{:.2} GB/s", rate / 1e9);
        let now = hertz(config.cost.clock.hz() as f64);
        match frontier.clock {
            Edge::At(hz) => {
                say!("  with units of {} or more (they have {now})", hertz(hz));
            }
            Edge::Always => {
                say!("  with units of any clock that was tried, from a sixteenth of {now} on");
            }
            Edge::Never => {
                say!("  with no faster units: something else keeps it back");
            }
        }
        let now = match config.host_link.bandwidth.bytes_per_s() {
            0 => "no limit".to_owned(),
            bytes_per_s => rate(bytes_per_s as f64),
        };
        match frontier.link {
            Edge::At(bandwidth) => {
                say!("  with a host link of {} or less (it has {now})", rate(bandwidth));
            }
            Edge::Always => {
                say!("  with any host link that was tried (it has {now})");
            }
            Edge::Never => {
                say!("  with no slower host link");
            }
        }
        match frontier.selectivity {
            Edge::At(share) => {
                say!(
                    "  as long as it returns no more than {:.1} % of the rows, instead of a sum",
                    100.0 * share
                );
            }
            Edge::Always => {
                say!("  even if it returns all rows, instead of a sum");
            }
            Edge::Never => {}
        }
    }
}

/// A scale that is easy to type, no smaller.
fn round_up(scale: f64) -> f64 {
    let step = 10f64.powf(scale.log10().floor()) / 2.0;
    // Without the last digits of the machine's numbers.
    ((scale / step).ceil() * step * 1e6).round() / 1e6
}

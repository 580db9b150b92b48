//! `csdrive bench device`: a served drive and the user-space driver, each in a process of its own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use client::{Buffer, DmaMemory, Driver, Port, QueueId, commands};
use client_linux::{VfioUser, VfioUserOptions, Waiting};
use indicatif::{ProgressBar, ProgressStyle};
use nvme_spec::command::program_type;
use nvme_spec::{NvmOpcode, SubmissionEntry};
use serde_json::{Map, Value, json};
use simtime::Prng;
use zerocopy::IntoBytes;

use super::crowd::{BusyLoops, processors, run_on};
use crate::Outcome;
use crate::report::{grouped, say};

const ADMIN: QueueId = QueueId(0);
const IO: QueueId = QueueId(1);

/// Commands under way at a time.
const DEPTHS: [usize; 4] = [1, 8, 32, 128];

/// Transfers, with their names in results.
const SIZES: [(&str, u64); 4] =
    [("512", 512), ("4k", 4096), ("16k", 16 << 10), ("128k", 128 << 10)];

/// Blocks of the drive.
const BLOCK: u64 = 512;

/// Bytes that are written before and read at random: more than caches hold, no more than it takes.
const AREA: u64 = 64 << 20;

/// Modelled times of reads that are to be kept.
const TARGETS_US: [u64; 4] = [0, 40, 200, 2000];

/// Keys of a drive whose models take no time, as far as that goes.
pub(super) const IMMEDIATE: [&str; 12] = [
    "drive.block_size=512B",
    "drive.capacity=1GiB",
    "drive.command_time=0ns",
    "link.latency=0ns",
    "link.bandwidth=unlimited",
    "internal.latency=0ns",
    "internal.bandwidth=unlimited",
    "flash.read_time=0ns",
    "flash.program_time=0ns",
    "flash.channel_bandwidth=unlimited",
    "memory.size=16MiB",
    "flash.channels=64",
];

/// Arguments of the benchmark.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Milliseconds of each of some fifty measurements
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u64).range(20..=60_000))]
    milliseconds: u64,
    /// What else the processors have to do: nothing; server and client share one; a busy loop runs on each
    #[arg(long, value_enum, default_value_t = Setting::All)]
    setting: Setting,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What the processors have to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Setting {
    /// Each of the following, one after another
    All,
    /// Nothing else
    Free,
    /// Server and client share one
    OneProcessor,
    /// A busy loop runs on each
    BusyLoops,
}

impl Setting {
    fn contains(self, other: Self) -> bool {
        self == Self::All || self == other
    }
}

/// A served drive in a process of its own.
struct Served {
    process: Child,
    folder: tempfile::TempDir,
}

impl Served {
    fn start(keys: &[&str]) -> Result<Self> {
        let folder = crate::input::temporary_folder()?;
        let mut command = Command::new(std::env::current_exe().context("where csdrive is")?);
        command.arg("serve").arg("--json").arg("--socket").arg(folder.path().join("drive"));
        for key in keys {
            command.arg("--set").arg(key);
        }
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("csdrive serve")?;
        let output = process.stdout.take().context("no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let served = Self { process, folder };
        ensure!(line.contains("ready"), "csdrive serve did not start: {line}");
        Ok(served)
    }

    fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("drive")
    }

    /// CPU time of the process so far, in clock ticks.
    fn cpu_ticks(&self) -> Result<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // Behind the name, which may hold anything: state is field 3; 14 and 15 are what is wanted.
        let fields: Vec<&str> =
            stat.rsplit(") ").next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at - 3).and_then(|f| f.parse::<u64>().ok());
        ticks(14).zip(ticks(15)).map(|(user, system)| user + system).context("/proc/PID/stat")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A host with buffers for as many commands as there can be.
struct Load {
    host: Driver<VfioUser>,
    buffers: Vec<Buffer>,
    random: Prng,
}

/// What a measurement gave.
struct Measured {
    latencies: Vec<u32>,
    took: Duration,
}

impl Measured {
    fn percentile(&self, percent: usize) -> u32 {
        self.latencies[(self.latencies.len() - 1) * percent / 100]
    }

    fn to_json(&self) -> Value {
        let iops = self.latencies.len() as f64 / self.took.as_secs_f64();
        json!({
            "iops": iops.round() as u64,
            "median_ns": self.percentile(50),
            "p99_ns": self.percentile(99),
            "max_ns": self.percentile(100),
        })
    }
}

impl Load {
    fn new(socket: &Path) -> Result<Self> {
        let options = VfioUserOptions { waiting: Waiting::Poll, ..Default::default() };
        let port = VfioUser::connect(socket, options)?;
        let mut host = Driver::new(port, 1, 256)?;
        host.enable_shadow_doorbells()?;
        let largest = SIZES[SIZES.len() - 1].1;
        let buffers = (0..256).map(|_| host.port.memory().allocate(largest)).collect();
        let mut load = Self { host, buffers, random: Prng::new(1) };
        load.fill()?;
        Ok(load)
    }

    /// Writes the area that will be read.
    fn fill(&mut self) -> Result<()> {
        let (_, bytes) = SIZES[SIZES.len() - 1];
        for at in (0..AREA).step_by(bytes as usize) {
            let entry = self.transfer(NvmOpcode::WRITE, 0, at, bytes);
            self.run(IO, entry)?;
        }
        self.run(IO, commands::flush())
    }

    fn run(&mut self, queue: QueueId, entry: SubmissionEntry) -> Result<()> {
        let done = self.host.execute(queue, entry)?;
        ensure!(done.status.is_success(), "opcode {:#x}: {}", entry.opcode, done.status);
        Ok(())
    }

    fn transfer(&mut self, opcode: NvmOpcode, slot: usize, at: u64, bytes: u64) -> SubmissionEntry {
        let prps = self.host.port.memory().prps(&self.buffers[slot], bytes);
        let entry = commands::read_write(opcode, at / BLOCK, (bytes / BLOCK) as u32);
        commands::with_data(entry, prps)
    }

    fn random_place(&mut self, bytes: u64) -> u64 {
        self.random.below(AREA / bytes) * bytes
    }

    /// Keeps `depth` commands under way for a time.
    fn measure(
        &mut self,
        depth: usize,
        time: Duration,
        mut next: impl FnMut(&mut Self, usize) -> SubmissionEntry,
    ) -> Result<Measured> {
        let mut slot_of = [0usize; 65_536];
        let mut begun = vec![Instant::now(); depth];
        let mut latencies = Vec::new();
        let mut submit = |load: &mut Self, slot: usize, slot_of: &mut [usize; 65_536]| {
            let entry = next(load, slot);
            let now = Instant::now();
            slot_of[usize::from(load.host.submit(IO, entry))] = slot;
            now
        };
        let start = Instant::now();
        for (slot, begun) in begun.iter_mut().enumerate() {
            *begun = submit(self, slot, &mut slot_of);
        }
        let (mut under_way, mut is_over) = (depth, false);
        while under_way > 0 {
            let Some(done) = self.host.next_completion() else {
                bail!("the drive has stopped: {:?}", self.host.port.failure())
            };
            let slot = slot_of[usize::from(done.cid)];
            let now = Instant::now();
            let latency = now.duration_since(begun[slot]);
            ensure!(done.status.is_success(), "{}", done.status);
            latencies.push(latency.as_nanos().min(u128::from(u32::MAX)) as u32);
            is_over |= now.duration_since(start) >= time;
            if is_over {
                under_way -= 1;
            } else {
                begun[slot] = submit(self, slot, &mut slot_of);
            }
        }
        let took = start.elapsed();
        latencies.sort_unstable();
        Ok(Measured { latencies, took })
    }

    /// Loads a program that returns at once.
    fn load_empty_program(&mut self) -> Result<()> {
        let object = include_bytes!("empty.bpf.o");
        let (len, buffer) = (object.len() as u32, self.buffers[0]);
        self.host.port.memory().put(buffer.address, object);
        let prps = self.host.port.memory().prps(&buffer, len.into());
        let entry = commands::load_program(1, program_type::EBPF, len, 0, len);
        self.run(ADMIN, commands::with_data(entry, prps))?;
        self.run(ADMIN, commands::activate_program(1, true))
    }

    /// A command that copies blocks to device memory.
    fn copy(&mut self, slot: usize, bytes: u64) -> SubmissionEntry {
        let at = self.random_place(bytes);
        let source = commands::copy_source(at / BLOCK, bytes / BLOCK);
        let address = self.buffers[slot].address;
        self.host.port.memory().put(address, source.as_bytes());
        let entry = commands::memory_copy(slot as u64 * bytes, bytes, 1, 2);
        commands::with_data(entry, (address, 0))
    }
}

/// Results by name, then depth.
struct Results {
    all: Map<String, Value>,
    bar: ProgressBar,
}

impl Results {
    fn measure(
        &mut self,
        (name, depths): (&str, &[usize]),
        load: &mut Load,
        time: Duration,
        mut next: impl FnMut(&mut Load, usize) -> SubmissionEntry,
    ) -> Result<()> {
        let mut of = Map::new();
        for &depth in depths {
            self.bar.set_message(format!("{name} at depth {depth}"));
            let measured = load.measure(depth, time, &mut next)?;
            of.insert(format!("qd{depth}"), measured.to_json());
            self.bar.inc(1);
        }
        self.all.insert(name.to_owned(), of.into());
        Ok(())
    }
}

/// A crowded setting: depths of 4 KiB reads, and of executions.
const CROWDED: [&[usize]; 2] = [&[1, 128], &[1]];

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let time = Duration::from_millis(arguments.milliseconds);
    let setting = arguments.setting;
    let free = DEPTHS.len() * (2 * SIZES.len() + 3) + 2 * TARGETS_US.len() + 1;
    let of_crowded = CROWDED.iter().map(|depths| depths.len()).sum::<usize>();
    let count = if setting.contains(Setting::Free) { free } else { 0 }
        + of_crowded * usize::from(setting.contains(Setting::OneProcessor))
        + of_crowded * usize::from(setting.contains(Setting::BusyLoops));
    let bar = ProgressBar::new(count as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {elapsed}")?);
    let mut results = Results { all: Map::new(), bar };
    results.all.insert("format_version".to_owned(), 1.into());
    if setting.contains(Setting::Free) {
        immediate(&mut results, time)?;
        let mut paced = Map::new();
        for target in TARGETS_US {
            paced.insert(format!("read_{target}us"), keep_time(&mut results, target, time)?);
        }
        results.all.insert("modelled_reads".to_owned(), paced.into());
    }
    if setting.contains(Setting::OneProcessor) {
        let all = processors()?;
        let one = all.first().context("no processor")?;
        run_on(&[*one])?;
        crowded(&mut results, "one_processor", time)?;
        run_on(&all)?;
    }
    if setting.contains(Setting::BusyLoops) {
        let loops = BusyLoops::on(&processors()?)?;
        crowded(&mut results, "busy_loops", time)?;
        drop(loops);
    }
    results.bar.finish_and_clear();
    if arguments.json {
        say!("{:#}", Value::Object(results.all));
    } else {
        print(&results.all);
    }
    Ok(Outcome::Success)
}

/// A few measurements while processors are wanted by others.
fn crowded(results: &mut Results, name: &str, time: Duration) -> Result<()> {
    let served = Served::start(&IMMEDIATE)?;
    let mut load = Load::new(&served.socket())?;
    let [reads, executions] = CROWDED;
    results.measure((&format!("{name}_read_4k"), reads), &mut load, time, |load, slot| {
        let at = load.random_place(4096);
        load.transfer(NvmOpcode::READ, slot, at, 4096)
    })?;
    load.load_empty_program()?;
    let execute = commands::Execute { program_index: 1, ..Default::default() };
    let name = format!("{name}_execute_empty");
    results.measure((&name, executions), &mut load, time, |_, _| execute.entry())
}

/// A drive whose models take no time: what is measured is csdrive.
fn immediate(results: &mut Results, time: Duration) -> Result<()> {
    let served = Served::start(&IMMEDIATE)?;
    let mut load = Load::new(&served.socket())?;
    for (size, bytes) in SIZES {
        let transfer = |opcode| {
            move |load: &mut Load, slot: usize| {
                let at = load.random_place(bytes);
                load.transfer(opcode, slot, at, bytes)
            }
        };
        let name = format!("random_read_{size}");
        results.measure((&name, &DEPTHS), &mut load, time, transfer(NvmOpcode::READ))?;
        let name = format!("random_write_{size}");
        results.measure((&name, &DEPTHS), &mut load, time, transfer(NvmOpcode::WRITE))?;
    }
    results.measure(("random_mixed_4k", &DEPTHS), &mut load, time, |load, slot| {
        let at = load.random_place(4096);
        let is_write = load.random.below(10) < 3;
        let opcode = if is_write { NvmOpcode::WRITE } else { NvmOpcode::READ };
        load.transfer(opcode, slot, at, 4096)
    })?;
    load.load_empty_program()?;
    let execute = commands::Execute { program_index: 1, ..Default::default() };
    results.measure(("execute_empty", &DEPTHS), &mut load, time, |_, _| execute.entry())?;
    results.measure(("memory_copy_4k", &DEPTHS), &mut load, time, |load, slot| {
        load.copy(slot, 4096)
    })?;
    // Nothing is asked of it, its client is there.
    results.bar.set_message("idle");
    let (before, start) = (served.cpu_ticks()?, Instant::now());
    std::thread::sleep(time.max(Duration::from_millis(500)) * 6);
    let ticks = served.cpu_ticks()? - before;
    let seconds = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
    let percent = 100.0 * seconds / start.elapsed().as_secs_f64();
    results.all.insert("idle_cpu_percent".to_owned(), percent.into());
    results.bar.inc(1);
    Ok(())
}

/// A drive whose reads take a time: how well it is kept, beside what a read takes anyway.
fn keep_time(results: &mut Results, target_us: u64, time: Duration) -> Result<Value> {
    let read_time = format!("flash.read_time={target_us}us");
    let mut keys = IMMEDIATE.to_vec();
    // So many dies that few reads meet another at theirs.
    keys.extend(["flash.dies_per_channel=16", "flash.planes_per_die=1", &*read_time]);
    let served = Served::start(&keys)?;
    let mut load = Load::new(&served.socket())?;
    let mut of = Map::new();
    for depth in [1, 32] {
        results.bar.set_message(format!("reads of {target_us} us at depth {depth}"));
        // At least a hundred rounds.
        let time = time.max(Duration::from_micros(100 * target_us));
        let measured = load.measure(depth, time, |load, slot| {
            let at = load.random_place(4096);
            load.transfer(NvmOpcode::READ, slot, at, 4096)
        })?;
        let mut value = measured.to_json();
        let (target, median) = (target_us * 1000, u64::from(measured.percentile(50)));
        let limit = target + (target / 50).max(3000);
        let late = measured.latencies.iter().filter(|ns| u64::from(**ns) > limit).count();
        value["target_ns"] = target.into();
        value["median_off_ns"] = (median as i64 - target as i64).into();
        value["late_percent"] = (100.0 * late as f64 / measured.latencies.len() as f64).into();
        of.insert(format!("qd{depth}"), value);
        results.bar.inc(1);
    }
    Ok(of.into())
}

fn print(results: &Map<String, Value>) {
    say!("{:<28} {:>5} {:>12} {:>12} {:>12}", "", "depth", "commands/s", "median us", "p99 us");
    let row = |name: &str, depths: &Value| {
        for (depth, value) in depths.as_object().into_iter().flatten() {
            let us = |key: &str| value[key].as_f64().unwrap_or_default() / 1000.0;
            let iops = grouped(value["iops"].as_u64().unwrap_or_default());
            let (median, p99) = (us("median_ns"), us("p99_ns"));
            say!("{name:<28} {:>5} {iops:>12} {median:>12.1} {p99:>12.1}", &depth[2..]);
        }
    };
    for (name, value) in results {
        match name.as_str() {
            "modelled_reads" => {
                value.as_object().into_iter().flatten().for_each(|(name, value)| row(name, value));
            }
            "idle_cpu_percent" => {
                say!("idle: {:.2} % of a core", value.as_f64().unwrap_or_default());
            }
            _ => row(name, value),
        }
    }
}

//! `csdrive bench simulation`: simulated commands per second of host time, on one core, through
//! the controller's queues, data included; and the costs of decoding and mapping alone.

use std::hint::black_box;
use std::time::Instant;

use super::data_path;
use anyhow::Result;
use client::commands::{self, read_write, with_data};
use client::{Buffer, DmaMemory, QueueId};
use controller::Config;
use nvme_spec::{CommandSet, NvmOpcode, SubmissionEntry};
use serde_json::{Value, json};
use simtime::{EventQueue, Prng};
use simulator::Host;
use ssd::{Geometry, Location, Lpn, PageMap};

const IO: QueueId = QueueId(1);
const QUEUE_DEPTH: u32 = 128;
/// Completions taken before new commands are submitted: the queue depth varies by as much.
const BATCH: u32 = 16;
const PAGE: u64 = 4096;

/// Capacity of the drive whose reads are measured.
const READ_CAPACITY: u64 = 1 << 30;
/// Capacity of the drive whose writes are measured: enough blocks in each plane that collection
/// works as it does on a real drive.
const WRITE_CAPACITY: u64 = 4 << 30;
/// Capacity when page contents are kept: what is measured is not how much memory the host has.
const CAPACITY_WITH_DATA: u64 = 256 << 20;

/// Repetitions of each measurement. The fastest is reported, for other work on the machine only
/// ever slows one down; the medians are reported beside it.
const REPETITIONS: usize = 7;

/// What one measurement did.
struct Measured {
    per_s: f64,
    write_amplification: f64,
}

/// A drive of the default timing, small enough that its data stays in the processor's cache: what
/// is measured is the simulator, not the host's memory.
fn config(capacity_bytes: u64, keep_data: bool) -> Config {
    let mut config = Config::default();
    config.flash.capacity_bytes = capacity_bytes;
    config.flash.overprovisioning_permille = 280;
    config.flash.keep_data = keep_data;
    config
}

/// A host with one buffer per place in the queue.
struct Load {
    host: Host,
    prps: Vec<(u64, u64)>,
    free: Vec<u32>,
    by_cid: Vec<u32>,
    prng: Prng,
    pages: u64,
}

impl Load {
    fn new(capacity_bytes: u64, keep_data: bool) -> Result<Self> {
        let mut host = simulator::host(config(capacity_bytes, keep_data), 1, 2 * QUEUE_DEPTH)?;
        let buffers: Vec<Buffer> = (0..QUEUE_DEPTH).map(|_| host.port.ram.allocate(PAGE)).collect();
        let prps = buffers.iter().map(|b| host.port.ram.prps(b, PAGE)).collect();
        let pages = capacity_bytes / PAGE;
        let by_cid = vec![0; 2 * QUEUE_DEPTH as usize];
        let free = (0..QUEUE_DEPTH).collect();
        let mut load = Self { host, prps, free, by_cid, prng: Prng::new(1), pages };
        let mut next = 0;
        load.run(pages, |_| {
            next += 1;
            read_write(NvmOpcode::WRITE, next - 1, 1)
        });
        Ok(load)
    }

    /// Keeps the queue full until `count` commands have completed.
    fn run(&mut self, count: u64, mut command: impl FnMut(&mut Prng) -> SubmissionEntry) {
        let (mut submitted, mut completed) = (0, 0);
        while completed < count {
            let mut rang = false;
            while submitted < count
                && let Some(buffer) = self.free.pop()
            {
                let entry = command(&mut self.prng);
                let entry = with_data(entry, self.prps[buffer as usize]);
                let cid = self.host.enqueue(IO, entry);
                self.by_cid[usize::from(cid)] = buffer;
                submitted += 1;
                rang = true;
            }
            if rang {
                self.host.ring(IO);
            }
            // As drivers do, take several completions before submitting again.
            for _ in 0..BATCH {
                let Some(done) = self.host.next_completion() else { break };
                self.finish(done.cid, &mut completed);
            }
        }
        assert_eq!(completed, count, "commands were lost");
    }

    fn finish(&mut self, cid: u16, completed: &mut u64) {
        self.free.push(self.by_cid[usize::from(cid)]);
        *completed += 1;
    }

    fn measure(&mut self, count: u64, opcode: NvmOpcode, blocks: u32, random: bool) -> Measured {
        let pages = self.pages / u64::from(blocks);
        let before = self.host.port.drive.statistics().flash;
        let mut next = 0;
        let start = Instant::now();
        self.run(count, |prng| {
            let place = if random { prng.below(pages) } else { next % pages };
            next += 1;
            read_write(opcode, place * u64::from(blocks), blocks)
        });
        let per_s = count as f64 / start.elapsed().as_secs_f64();
        let after = self.host.port.drive.statistics().flash;
        let host = (after.flash_programs - before.flash_programs).max(1) as f64;
        let gc = (after.gc_programs - before.gc_programs) as f64;
        Measured { per_s, write_amplification: (host + gc) / host }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Nanoseconds of one call, the fastest of several rounds.
pub(super) fn ns_per_call(calls: u32, mut call: impl FnMut(u32)) -> f64 {
    let round = |call: &mut dyn FnMut(u32)| {
        let start = Instant::now();
        (0..calls).for_each(call);
        start.elapsed().as_nanos() as f64 / f64::from(calls)
    };
    (0..REPETITIONS).map(|_| round(&mut call)).fold(f64::INFINITY, f64::min)
}

/// Costs of single steps.
fn micro() -> Result<Value> {
    let geometry = Geometry::new(&ssd::Config::default())?;
    let mut prng = Prng::new(1);
    let pages = geometry.logical_pages;
    let places: Vec<Lpn> = (0..1 << 16).map(|_| Lpn(prng.below(pages))).collect();
    let mut map = PageMap::new(&geometry);
    let page = |n: u64| {
        let block = geometry.block((n % 64) as u32, 0);
        Location::Flash(geometry.page(block, (n / 64 % 256) as u32))
    };
    (0..pages).for_each(|n| {
        map.set(Lpn(n), page(n));
    });
    let place = |n: u32| places[n as usize % places.len()];
    let lookup = ns_per_call(1 << 20, |n| {
        black_box(map.get(place(n)));
    });
    let update = ns_per_call(1 << 20, |n| {
        black_box(map.set(place(n), page(n.into())));
    });
    let mut queue = EventQueue::new();
    let mut now = simtime::Instant::ZERO;
    for n in 0..QUEUE_DEPTH {
        queue.push(simtime::Instant::from_ns(prng.below(100_000)), n);
    }
    let event = ns_per_call(1 << 20, |n| {
        if let Some((at, _)) = queue.pop_due(simtime::Instant::from_ns(u64::MAX)) {
            now = at;
        }
        queue.push(now + simtime::Duration::from_ns(u64::from(n.wrapping_mul(40_503) & 0xFFFF)), n);
    });
    let decode = decode_ns();
    Ok(
        json!({ "decode_ns": decode, "mapping_lookup_ns": lookup, "mapping_update_ns": update, "event_push_pop_ns": event }),
    )
}

/// Cost of decoding alone, over commands of all three command sets.
fn decode_ns() -> f64 {
    let entries = [
        (CommandSet::NVM, read_write(NvmOpcode::READ, 77, 8)),
        (CommandSet::NVM, read_write(NvmOpcode::WRITE, 1 << 20, 1)),
        (CommandSet::MEMORY, commands::memory_copy(4096, 1 << 20, 1, 2)),
        (CommandSet::PROGRAMS, commands::Execute { param1: 7, ..Default::default() }.entry()),
    ];
    ns_per_call(1 << 20, |n| {
        let (set, entry) = &entries[n as usize % entries.len()];
        black_box(controller::check_entry(Some(*set), black_box(entry))).expect("well formed");
    })
}

/// Runs the benchmark.
pub(crate) fn run(
    commands: u64,
    only: Option<&str>,
    mut progress: impl FnMut(&str),
) -> Result<Value> {
    let is_wanted = |key: &str| only.is_none_or(|only| key.contains(only));
    let mut results = serde_json::Map::new();
    results.insert("format_version".into(), json!(1));
    results.insert("queue_depth".into(), json!(QUEUE_DEPTH));
    results.insert("batch".into(), json!(BATCH));
    results.insert("commands_per_measurement".into(), json!(commands));
    results.insert("repetitions".into(), json!(REPETITIONS));
    let mut medians = serde_json::Map::new();
    for (key, keep_data, opcode, random) in [
        ("random_reads_per_s", false, NvmOpcode::READ, true),
        ("random_writes_per_s", false, NvmOpcode::WRITE, true),
        ("random_reads_with_data_per_s", true, NvmOpcode::READ, true),
        ("random_writes_with_data_per_s", true, NvmOpcode::WRITE, true),
        ("sequential_reads_with_data_per_s", true, NvmOpcode::READ, false),
    ] {
        if !is_wanted(key) {
            continue;
        }
        progress(key);
        let capacity = match (keep_data, opcode) {
            (true, _) => CAPACITY_WITH_DATA,
            (false, NvmOpcode::WRITE) => WRITE_CAPACITY,
            (false, _) => READ_CAPACITY,
        };
        let mut load = Load::new(capacity, keep_data)?;
        if opcode == NvmOpcode::WRITE {
            // Collection reaches its steady state after the drive was written over once or twice.
            load.measure(2 * capacity / PAGE, opcode, 1, true);
        }
        let measured: Vec<Measured> =
            (0..REPETITIONS).map(|_| load.measure(commands, opcode, 1, random)).collect();
        let rates: Vec<f64> = measured.iter().map(|m| m.per_s).collect();
        let best = rates.iter().copied().fold(0.0, f64::max);
        results.insert(key.into(), json!(best.round() as u64));
        medians.insert(key.into(), json!(median(rates).round() as u64));
        if opcode == NvmOpcode::WRITE && !keep_data {
            let amplification = median(measured.iter().map(|m| m.write_amplification).collect());
            results.insert("random_writes_write_amplification".into(), json!(amplification));
        }
    }
    results.insert("medians".into(), Value::Object(medians));
    if only.is_some() {
        return Ok(Value::Object(results));
    }
    progress("data path");
    if let Value::Object(keys) = data_path::run()? {
        results.extend(keys);
    }
    progress("single steps");
    if let Value::Object(micro) = micro()? {
        results.extend(micro);
    }
    Ok(Value::Object(results))
}

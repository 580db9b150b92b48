//! The cost of the drive's data path: 4 KiB reads with no modelled time, from the doorbell to the
//! completion in host memory, data copied. The host's side is not in it.

use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use client::commands::{read_write, with_data};
use client::{DmaMemory, Port, QueueId};
use controller::{Config, LinkConfig};
use nvme_spec::{NvmOpcode, offset};
use serde_json::{Value, json};
use simtime::{Bandwidth, Duration};
use simulator::Host;

const IO: QueueId = QueueId(1);
/// Commands that are rung together.
const BATCH: u32 = 32;
const PAGE: u64 = 4096;
/// Blocks that are read in turn: their data stays in the processor's cache.
const BLOCKS: u64 = 32;
/// Batches of one timed round, and rounds, of which the fastest counts.
const BATCHES: u32 = 5_000;
const ROUNDS: usize = 15;

/// A drive that takes no time for anything.
fn config() -> Config {
    let nothing = LinkConfig { bandwidth: Bandwidth::from_bytes_per_s(0), latency: Duration::ZERO };
    let mut config = Config {
        command_time: Duration::ZERO,
        host_link: nothing,
        internal_link: nothing,
        memory_bytes: 1 << 20,
        ..Config::default()
    };
    config.flash.capacity_bytes = 64 << 20;
    config
}

/// A host whose reads find their blocks in the drive's write buffer or never written: no flash
/// time passes.
pub(crate) struct Load {
    host: Host,
    prps: Vec<(u64, u64)>,
    next: u64,
    tail: u32,
}

impl Load {
    pub(crate) fn new() -> Result<Self> {
        let mut host = simulator::host(config(), 1, 2 * BATCH)?;
        let buffers: Vec<_> = (0..BATCH).map(|_| host.port.ram.allocate(PAGE)).collect();
        let prps = buffers.iter().map(|b| host.port.ram.prps(b, PAGE)).collect();
        Ok(Self { host, prps, next: 0, tail: 0 })
    }

    /// The host's side of a batch: entries into the queue.
    fn prepare(&mut self) {
        for n in 0..BATCH as usize {
            let read = read_write(NvmOpcode::READ, self.next % BLOCKS, 1);
            self.next += 1;
            self.host.enqueue(IO, with_data(read, self.prps[n]));
        }
        self.tail = (self.tail + BATCH) % (2 * BATCH);
    }

    /// The drive's side: from the doorbell to the last completion. A function of its own, so that
    /// its instructions can be counted.
    #[inline(never)]
    fn drive_alone(&mut self) {
        let port = &mut self.host.port;
        port.register_write(offset::DOORBELLS + 8, 4, self.tail.into());
        let now = port.now();
        port.drive.advance(now, &mut port.ram);
    }

    /// The host's side again: takes the completions.
    fn finish(&mut self) {
        for _ in 0..BATCH {
            black_box(self.host.ready_completion().expect("no time passes before completion"));
        }
    }

    /// Runs batches without measuring: what the instruction count runs.
    pub(crate) fn run(&mut self, batches: u32) {
        for _ in 0..batches {
            self.prepare();
            self.drive_alone();
            self.finish();
        }
    }

    /// Nanoseconds of one command, in the fastest of several rounds.
    fn ns(&mut self) -> f64 {
        let mut best = f64::INFINITY;
        for _ in 0..ROUNDS {
            let mut spent = std::time::Duration::ZERO;
            for _ in 0..BATCHES {
                self.prepare();
                let start = Instant::now();
                self.drive_alone();
                spent += start.elapsed();
                self.finish();
            }
            let commands = f64::from(BATCHES * BATCH);
            best = best.min(spent.as_nanos() as f64 / commands);
        }
        best
    }
}

/// What no drive can do without: copying a page.
fn copy_ns() -> f64 {
    let from = vec![1u8; PAGE as usize];
    let mut to = vec![0u8; (PAGE * u64::from(BATCH)) as usize];
    super::simulation::ns_per_call(1 << 18, |n| {
        let at = (n % BATCH) as usize * PAGE as usize;
        black_box(&mut to[at..at + PAGE as usize]).copy_from_slice(black_box(&from));
    })
}

/// Instructions of one command by callgrind: the difference of two runs leaves set-up out. `None`
/// without valgrind.
fn instructions() -> Result<Option<f64>> {
    let count = |batches: u32| -> Result<Option<f64>> {
        let program = std::env::current_exe().context("where this program is")?;
        let ran = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .args(["--toggle-collect=*drive_alone*"])
            .arg(program)
            .args(["bench", "data-path", "--batches", &batches.to_string()])
            .output();
        let Ok(ran) = ran else { return Ok(None) };
        let text = String::from_utf8_lossy(&ran.stderr).into_owned();
        let line = text.lines().find_map(|line| line.split_once("Collected :"));
        Ok(line.and_then(|(_, number)| number.trim().parse().ok()))
    };
    let (few, many) = (200, 1_200);
    let (Some(less), Some(more)) = (count(few)?, count(many)?) else { return Ok(None) };
    Ok(Some((more - less) / f64::from((many - few) * BATCH)))
}

/// Runs the benchmark: keys for the document.
pub(crate) fn run() -> Result<Value> {
    let read = Load::new()?.ns();
    Ok(json!({
        "decode_to_completion_ns": read,
        "decode_to_completion_instructions": instructions()?,
        "copy_4k_ns": copy_ns(),
    }))
}

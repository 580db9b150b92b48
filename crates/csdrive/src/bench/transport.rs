//! `csdrive bench transport`: what a way to a drive costs.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use client::{Drive, Invocation, Submit};
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::device::{SIMULATED, Target};
use crate::report::{bytes, grouped, say};

/// A program that returns at once.
const EMPTY: &[u8] = include_bytes!("empty.bpf.o");

/// Where it is put: out of the way of others.
const INDEX: u16 = 1022;

/// Executions at a time.
const DEPTHS: [usize; 2] = [1, 64];

/// Bytes of one transfer or copy.
const PIECE: u64 = 1 << 20;

/// What the drive can do this way; overwrites 1 MiB of device memory and program 1022
///
/// DEV may also be the word "simulated": a drive in this process, whose time is then that of the computation.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Milliseconds of each measurement
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(20..=60_000))]
    milliseconds: u64,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let time = Duration::from_millis(arguments.milliseconds);
    let target = &arguments.target;
    let results = if target.is(Path::new(SIMULATED)) {
        measure(&mut simulator::open(controller::Config::default(), 0, 256)?, time)?
    } else {
        measure(&mut target.open()?, time)?
    };
    if target.is_json() {
        let mut document = Value::from(results);
        document["format_version"] = 1.into();
        say!("{document:#}");
        return Ok(Outcome::Success);
    }
    for (name, value) in &results {
        for (key, value) in value.as_object().into_iter().flatten() {
            let number = value.as_f64().unwrap_or_default();
            let text = match key.as_str() {
                "bytes_per_second" => format!("{}/s", bytes(number as u64)),
                key if key.ends_with("_ns") => format!("{:.1} us", number / 1000.0),
                _ => format!("{}/s", grouped(number as u64)),
            };
            say!("{name:<14} {key:<20} {text:>14}");
        }
    }
    Ok(Outcome::Success)
}

fn measure<T: Submit>(drive: &mut Drive<T>, time: Duration) -> Result<Map<String, Value>> {
    ensure!(drive.geometry().memory_bytes >= PIECE, "the drive has less than 1 MiB of memory");
    drive.load_program(INDEX, EMPTY).context("program 1022")?;
    let result = measure_all(drive, time);
    drive.remove_program(INDEX)?;
    result
}

fn measure_all<T: Submit>(drive: &mut Drive<T>, time: Duration) -> Result<Map<String, Value>> {
    let mut results = Map::new();
    for (name, data) in [("execute_empty", 0), ("execute_4k", 4096)] {
        let mut of = Map::new();
        for depth in DEPTHS {
            let (median, rate) = executions(drive, data, depth, time)?;
            of.insert(format!("qd{depth}_median_ns"), median.into());
            of.insert(format!("qd{depth}_per_second"), rate.into());
        }
        results.insert(name.to_owned(), of.into());
    }
    let data = vec![0x5A; PIECE as usize];
    let blocks = PIECE / drive.block_bytes();
    // So that there is something to be copied.
    let had = drive.read_blocks(0, blocks)?;
    drive.write_blocks(0, &had)?;
    let rate = repeat(time, || Ok(drive.copy_blocks(0, blocks, 0)?))?;
    results.insert("memory_copy".to_owned(), json!({ "bytes_per_second": rate }));
    let rate = repeat(time, || Ok(drive.write_memory(0, &data)?))?;
    results.insert("memory_write".to_owned(), json!({ "bytes_per_second": rate }));
    let rate = repeat(time, || Ok(drive.read_memory(0, PIECE).map(drop)?))?;
    results.insert("memory_read".to_owned(), json!({ "bytes_per_second": rate }));
    Ok(results)
}

/// Executions, so many at a time: the median of their round trips, and how many a second.
fn executions<T: Submit>(
    drive: &mut Drive<T>,
    data: usize,
    depth: usize,
    time: Duration,
) -> Result<(u64, u64)> {
    let invocation = Invocation { program: INDEX, data: vec![1; data], ..Default::default() };
    let mut started = std::collections::HashMap::new();
    let mut latencies: Vec<u64> = Vec::new();
    let begin = Instant::now();
    loop {
        let is_over = begin.elapsed() > time;
        while !is_over && started.len() < depth {
            let now = Instant::now();
            started.insert(drive.start_execute(&invocation)?, now);
        }
        if started.is_empty() {
            break;
        }
        let done = drive.wait()?;
        let since = started.remove(&done.ticket).context("a ticket that was not given")?;
        latencies.push(since.elapsed().as_nanos() as u64);
        drive.executed(done)?;
    }
    let rate = latencies.len() as f64 / begin.elapsed().as_secs_f64();
    latencies.sort_unstable();
    Ok((latencies[latencies.len() / 2], rate as u64))
}

/// Does something with a piece again and again: bytes a second.
fn repeat(time: Duration, mut act: impl FnMut() -> Result<()>) -> Result<u64> {
    let begin = Instant::now();
    let mut pieces = 0;
    while pieces == 0 || begin.elapsed() < time {
        act()?;
        pieces += 1;
    }
    Ok((pieces as f64 * PIECE as f64 / begin.elapsed().as_secs_f64()) as u64)
}

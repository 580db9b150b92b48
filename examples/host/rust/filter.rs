//! The program filter on a drive, from Rust: keeps the records of a table whose key lies between two numbers.
//!
//! ```text
//! cargo run --release -p client_linux --example filter /dev/nvme0 examples/programs/filter.bpf.o
//! ```

mod common;

use std::process::ExitCode;

use client::{Drive, Invocation};
use common::{Failure, INPUT, OUTPUT, PROGRAM, Random, compare};

const COUNT: usize = 2000;
const LOW: i64 = -100;
const HIGH: i64 = 100;

/// The key, and the rest.
type Record = [i64; 4];

fn main() -> ExitCode {
    common::run(filter)
}

fn filter(drive: &mut Drive) -> Result<String, Failure> {
    let mut random = Random(1);
    let record = |n| [random.number(-1000, 1000).into(), n, 2 * n, 3 * n];
    let table: Vec<Record> = (0..COUNT as i64).map(record).collect();
    let bytes: Vec<u8> = table.as_flattened().iter().flat_map(|n| n.to_le_bytes()).collect();
    drive.write_memory(INPUT, &bytes)?;

    // Room for all: nobody knows how many will be kept.
    let length = bytes.len() as u32;
    let kept_bytes = drive.execute(&Invocation {
        program: PROGRAM,
        ranges: vec![(OUTPUT, length), (INPUT, length)],
        param1: LOW,
        param2: HIGH,
        ..Invocation::default()
    })?;
    let bytes = drive.read_memory(OUTPUT, kept_bytes)?;
    let numbers = bytes.as_chunks().0.iter().map(|number| i64::from_le_bytes(*number));
    let numbers: Vec<i64> = numbers.collect();
    let (kept, rest) = numbers.as_chunks();
    if !rest.is_empty() {
        return Err(format!("the result is {kept_bytes} bytes: not whole records").into());
    }
    let expected: Vec<Record> =
        table.into_iter().filter(|record| (LOW..=HIGH).contains(&record[0])).collect();
    compare("records", kept, &expected)?;
    Ok(format!("filter: {} of {COUNT} records kept, all as on the host", kept.len()))
}

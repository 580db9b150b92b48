//! The program double on a drive, from Rust: write numbers to device memory, execute, read the result; then many
//! executions at a time.
//!
//! ```text
//! cargo run --release -p client_linux --example double /dev/nvme0 examples/programs/double.bpf.o
//! ```

mod common;

use std::process::ExitCode;

use client::{Drive, Invocation};
use common::{Failure, INPUT, OUTPUT, PROGRAM, compare, to_bytes, to_numbers};

const COUNT: i32 = 1024;
const MANY: usize = 10_000;
const DEPTH: usize = 64;

fn main() -> ExitCode {
    common::run(double)
}

fn double(drive: &mut Drive) -> Result<String, Failure> {
    let numbers: Vec<i32> = (0..COUNT).collect();
    let bytes = to_bytes(&numbers);
    drive.write_memory(INPUT, &bytes)?;

    let ranges = vec![(OUTPUT, bytes.len() as u32), (INPUT, bytes.len() as u32)];
    let invocation =
        Invocation { program: PROGRAM, ranges: ranges.clone(), ..Invocation::default() };
    let result = drive.execute(&invocation)?;
    if result != COUNT as u64 {
        return Err(format!("the result is {result}, not {COUNT}").into());
    }
    let doubled = to_numbers(&drive.read_memory(OUTPUT, bytes.len() as u64)?);
    let expected: Vec<i32> = numbers.iter().map(|number| 2 * number).collect();
    compare("doubled numbers", &doubled, &expected)?;

    // Some under way at any time: as one ends, the next is started.
    let range_set = drive.create_range_set(&ranges)?;
    let with_set = Invocation { program: PROGRAM, range_set, ..Invocation::default() };
    let (mut started, mut ended) = (0, 0);
    while ended < MANY {
        while started < MANY && started - ended < DEPTH {
            drive.start_execute(&with_set)?;
            started += 1;
        }
        let done = drive.wait()?;
        let result = drive.executed(done)?;
        if result != COUNT as u64 {
            return Err(format!("execution {ended}: the result is {result}, not {COUNT}").into());
        }
        ended += 1;
    }
    drive.delete_range_set(range_set)?;
    Ok(format!("double: {COUNT} numbers, all as on the host\n{MANY} executions, {DEPTH} at a time"))
}

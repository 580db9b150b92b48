//! The program vadd on a drive, from Rust: adds two lists of numbers.
//!
//! ```text
//! cargo run --release -p client_linux --example vadd /dev/nvme0 examples/programs/vadd.bpf.o
//! ```

mod common;

use std::process::ExitCode;

use client::{Drive, Invocation};
use common::{
    Failure, INPUT, OUTPUT, PROGRAM, Random, SECOND_INPUT, compare, to_bytes, to_numbers,
};

const COUNT: usize = 5000;

fn main() -> ExitCode {
    common::run(vadd)
}

fn vadd(drive: &mut Drive) -> Result<String, Failure> {
    let mut random = Random(1);
    let [a, b] = [(); 2].map(|()| random.numbers(COUNT, -1000, 1000));
    drive.write_memory(INPUT, &to_bytes(&a))?;
    drive.write_memory(SECOND_INPUT, &to_bytes(&b))?;

    let length = (COUNT * size_of::<i32>()) as u32;
    let ranges = vec![(OUTPUT, length), (INPUT, length), (SECOND_INPUT, length)];
    let result =
        drive.execute(&Invocation { program: PROGRAM, ranges, ..Invocation::default() })?;
    if result != COUNT as u64 {
        return Err(format!("the result is {result}, not {COUNT}").into());
    }
    let sums = to_numbers(&drive.read_memory(OUTPUT, length.into())?);
    let expected: Vec<i32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
    compare("sums", &sums, &expected)?;
    Ok(format!("vadd: {COUNT} sums, all as on the host"))
}

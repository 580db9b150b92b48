//! The program nearest on a drive, from Rust: those of many vectors that are nearest to one.
//!
//! ```text
//! cargo run --release -p client_linux --example nearest /dev/nvme0 examples/programs/nearest.bpf.o
//! ```

mod common;

use std::process::ExitCode;

use client::{Drive, Invocation};
use common::{Failure, INPUT, OUTPUT, PROGRAM, Random, SECOND_INPUT, compare, to_bytes};

const COUNT: usize = 3000;
const DIMENSIONS: usize = 16;
const K: usize = 10;

/// Distance and index, as the program writes them.
type Hit = [u64; 2];

fn main() -> ExitCode {
    common::run(nearest)
}

fn nearest(drive: &mut Drive) -> Result<String, Failure> {
    let mut random = Random(1);
    let vectors = random.numbers(COUNT * DIMENSIONS, -500, 500);
    let query = random.numbers(DIMENSIONS, -500, 500);
    drive.write_memory(INPUT, &to_bytes(&vectors))?;
    drive.write_memory(SECOND_INPUT, &to_bytes(&query))?;

    let output_bytes = (K * size_of::<Hit>()) as u32;
    let [vectors_bytes, query_bytes] =
        [&vectors, &query].map(|numbers| (numbers.len() * size_of::<i32>()) as u32);
    let result = drive.execute(&Invocation {
        program: PROGRAM,
        ranges: vec![(OUTPUT, output_bytes), (INPUT, vectors_bytes), (SECOND_INPUT, query_bytes)],
        param1: DIMENSIONS as i64,
        param2: K as i64,
        ..Invocation::default()
    })?;
    if result != K as u64 {
        return Err(format!("the result is {result}, not {K}").into());
    }
    let bytes = drive.read_memory(OUTPUT, output_bytes.into())?;
    let numbers: Vec<u64> =
        bytes.as_chunks().0.iter().map(|number| u64::from_le_bytes(*number)).collect();
    let (hits, _) = numbers.as_chunks();

    let square = |(a, b): (&i32, &i32)| u64::from(a.abs_diff(*b)).pow(2);
    let distance = |vector: &[i32]| vector.iter().zip(&query).map(square).sum();
    let mut expected: Vec<Hit> = vectors
        .chunks(DIMENSIONS)
        .enumerate()
        .map(|(index, vector)| [distance(vector), index as u64])
        .collect();
    // By distance; of the same distance, the first vector is first.
    expected.sort_unstable();
    compare("the nearest", hits, &expected[..K])?;
    Ok(format!("nearest: the {K} nearest of {COUNT} vectors, all as on the host"))
}

//! The program lz4 on a drive, from Rust: the drive compresses, the host decodes with the crate `lz4_flex` and compares.
//!
//! ```text
//! cargo run --release -p client_linux --example lz4 /dev/nvme0 examples/programs/lz4.bpf.o
//! ```

mod common;

use std::process::ExitCode;

use client::{Drive, DriveResult, Invocation};
use common::{Failure, INPUT, OUTPUT, PROGRAM, Random, compare};

fn main() -> ExitCode {
    common::run(lz4)
}

fn lz4(drive: &mut Drive) -> Result<String, Failure> {
    let mut random = Random(1);
    let words = ["drive ", "program ", "range ", "block ", "memory ", "queue ", "host ", "job "];
    let text: String = (0..15_000).map(|_| random.choose(&words)).collect();
    let noise: Vec<u8> = (0..50_000).map(|_| random.number(0, 256) as u8).collect();
    let mut report = Vec::new();
    for (what, data) in [
        ("words", text.as_bytes()),
        ("three bytes", b"abc"),
        ("one byte over and over", &[b'a'; 70_000]),
        ("random bytes", &noise),
    ] {
        let block = compress(drive, data)?;
        let decoded = lz4_flex::block::decompress(&block, data.len())
            .map_err(|error| format!("{what}: the block cannot be decoded: {error}"))?;
        compare(what, &decoded, data)?;
        let (from, to) = (data.len(), block.len());
        report.push(format!("lz4: {what}, {from} bytes to {to}, decoded to the same"));
    }
    // The random bytes are in device memory still.
    let result = execute(drive, noise.len(), 40_000)?;
    if result != -1 {
        return Err(format!(
            "random bytes in less room than they need: the result is {result}, not -1"
        )
        .into());
    }
    Ok(report.join("\n"))
}

fn compress(drive: &mut Drive, data: &[u8]) -> Result<Vec<u8>, Failure> {
    // Lengths of writes are multiples of four; the range is as long as the data.
    let mut padded = data.to_vec();
    padded.resize(data.len().next_multiple_of(4), 0);
    drive.write_memory(INPUT, &padded)?;
    // Always enough.
    let room = data.len() + data.len() / 255 + 16;
    let result = execute(drive, data.len(), room)?;
    match u64::try_from(result) {
        Ok(size) if size <= room as u64 => Ok(drive.read_memory(OUTPUT, size)?),
        _ => Err(format!("the result is {result} with room for {room} bytes").into()),
    }
}

/// The program's result: a size, or -1.
fn execute(drive: &mut Drive, size: usize, room: usize) -> DriveResult<i64> {
    let ranges = vec![(OUTPUT, room as u32), (INPUT, size as u32)];
    let invocation = Invocation { program: PROGRAM, ranges, ..Invocation::default() };
    Ok(drive.execute(&invocation)?.cast_signed())
}

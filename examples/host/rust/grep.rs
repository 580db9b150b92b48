//! The program grep-count on a drive, from Rust: the text is on the drive's blocks, and gets to device memory by a copy
//! within the drive. Only the count goes to the host.
//!
//! It OVERWRITES the last blocks of the drive.
//!
//! ```text
//! cargo run --release -p client_linux --example grep /dev/nvme0 examples/programs/grep-count.bpf.o
//! ```

mod common;

use std::process::ExitCode;

use client::{Drive, Invocation};
use common::{Failure, INPUT, OUTPUT, PROGRAM, Random};

const LINES: usize = 2000;
const PATTERN: &str = "GET";

fn main() -> ExitCode {
    common::run(grep)
}

fn grep(drive: &mut Drive) -> Result<String, Failure> {
    let mut random = Random(1);
    let mut line = || [(); 5].map(|()| random.choose(&["GET", "PUT", "a", "b"])).join(" ") + "\n";
    let text: String = (0..LINES).map(|_| line()).collect();

    let geometry = drive.geometry();
    let count = (text.len() as u64).div_ceil(geometry.block_bytes);
    let first = geometry.blocks - count;
    drive.write_blocks(first, text.as_bytes())?;
    drive.copy_blocks(first, count, INPUT)?;

    // The range ends where the text does. The program writes nothing: its output has no bytes.
    let ranges = vec![(OUTPUT, 0), (INPUT, text.len() as u32)];
    let data = PATTERN.into();
    let found =
        drive.execute(&Invocation { program: PROGRAM, ranges, data, ..Invocation::default() })?;
    let expected = text.lines().filter(|line| line.contains(PATTERN)).count();
    if found != expected as u64 {
        return Err(format!("the drive found {found} lines, the host {expected}").into());
    }
    Ok(format!("grep: {found} of {LINES} lines have {PATTERN} in them, as on the host"))
}

//! Plugin form of the public bpf_conformance suite: program bytes as hex on standard input,
//! memory as hex in the argument; prints r0 in hex. r1 = memory address, r2 = its length.

use std::io::Read;
use std::process::ExitCode;

use ebpf::{Program, SegmentKind};

fn bytes_of_hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).map_err(|e| e.to_string())?;
        u8::from_str_radix(pair, 16).map_err(|e| format!("'{pair}': {e}"))
    };
    digits.chunks(2).map(byte).collect()
}

fn run() -> Result<u64, String> {
    let mut memory = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--interpret" => {}
            other if other.starts_with("--") => {
                return Err(format!("{other} is not known; this build has --interpret only"));
            }
            hex => memory = bytes_of_hex(hex)?,
        }
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|e| e.to_string())?;
    let program = Program::from_instructions(&bytes_of_hex(&text)?).map_err(|e| e.to_string())?;
    let mut window = program.window();
    let len = memory.len() as u64;
    let address = match len {
        0 => 0,
        _ => window.map_private(SegmentKind::Range(0), memory),
    };
    let outcome = program.run(&mut window, [address, len, 0, 0, 0], 1_000_000);
    outcome.result.map_err(|fault| fault.to_string())
}

fn main() -> ExitCode {
    match run() {
        Ok(result) => {
            println!("{result:x}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

//! Plugin form of the public bpf_conformance suite: program bytes as hex on standard input,
//! memory as hex in the argument; prints r0 in hex. r1 = memory address, r2 = its length.
//! `--interpret`, `--jit` and `--tier2` choose the engine.

use std::io::Read;
use std::process::ExitCode;
use std::sync::Arc;

use ebpf::{Engine, Helper, Loader, SegmentKind, SharedMemory, Worker};

fn bytes_of_hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).map_err(|e| e.to_string())?;
        u8::from_str_radix(pair, 16).map_err(|e| format!("'{pair}': {e}"))
    };
    digits.chunks(2).map(byte).collect()
}

/// Helper 5 of the suite: ends the program if it returns 0. No case here makes it do so.
const UNWIND: Helper = Helper {
    id: 5,
    name: "unwind",
    aliases: &[],
    prototype: "long unwind(long)",
    doc: "Returns its argument.",
    body: |_, [value, ..]| Ok(value),
};

fn run() -> Result<u64, String> {
    let mut memory = Vec::new();
    let mut engine = Engine::Auto;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--interpret" => engine = Engine::Interpreter,
            "--jit" => engine = Engine::Tier1,
            "--tier2" => engine = Engine::Tier2,
            other if other.starts_with("--") => {
                return Err(format!("{other} is not known; choose --interpret, --jit or --tier2"));
            }
            hex => memory = bytes_of_hex(hex)?,
        }
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|e| e.to_string())?;
    let loader = Loader::default().with_helper(UNWIND);
    let program = loader.instructions(&bytes_of_hex(&text)?).map_err(|e| e.to_string())?;
    // What was asked for is what runs: no falling back.
    program.compile(engine)?;
    let mut window = program.window().map_err(|e| e.to_string())?;
    let len = memory.len() as u64;
    let shared = Arc::new(SharedMemory::new(len).map_err(|e| e.to_string())?);
    assert!(shared.write(0, &memory), "it was made that large");
    let address = match len {
        0 => 0,
        _ => window
            .map_shared(SegmentKind::Range(0), &shared, 0, len, true)
            .map_err(|e| e.to_string())?,
    };
    let mut worker = Worker::new(engine);
    let outcome = program.run(&mut worker, &mut window, [address, len, 0, 0, 0], 1_000_000);
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

//! Runs an object file on a file: range 0 is the output, range 1 the input.
//!
//!     cargo run --release -p ebpf --example ebpf -- \
//!         examples/programs/double.bpf.o numbers.bin --output doubled.bin
#![expect(clippy::disallowed_types, reason = "not a model: it measures")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use ebpf::{Engine, Invocation, Program, Range, SharedMemory, Worker};

/// Run a BPF object on a file
#[derive(Debug, Parser)]
struct Arguments {
    /// Object that clang -target bpf wrote
    object: PathBuf,
    /// Input: range 1 of the program
    input: PathBuf,
    /// Receives range 0
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Size of range 0; default: that of the input
    #[arg(long, value_name = "BYTES")]
    output_size: Option<u64>,
    /// Entry function, if the object has several
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// auto, interpreter, tier1 or tier2
    #[arg(long, value_name = "ENGINE", default_value = "auto")]
    engine: Engine,
    /// Parameters of the program
    #[arg(long, value_name = "N", num_args = 2, default_values_t = [0, 0], allow_negative_numbers = true)]
    params: Vec<i64>,
    /// Most instructions it may execute
    #[arg(long, value_name = "N", default_value_t = 10_000_000_000)]
    budget: u64,
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let program = Program::load(&std::fs::read(&arguments.object)?, arguments.function.as_deref())?;
    let report = program.compile(arguments.engine).map_err(anyhow::Error::msg)?;
    let input = std::fs::read(&arguments.input)?;
    // Ranges that begin with pages: nothing they share a page with is another range's.
    let (out_len, in_len) =
        (arguments.output_size.unwrap_or(input.len() as u64), input.len() as u64);
    let in_at = out_len.next_multiple_of(ebpf::PAGE);
    let memory = Arc::new(SharedMemory::new(in_at + in_len)?);
    anyhow::ensure!(memory.write(in_at, &input), "the memory was made for it");
    let range =
        |offset, len, writable| Range { memory: Arc::clone(&memory), offset, len, writable };
    let invocation = Invocation {
        ranges: vec![range(0, out_len, true), range(in_at, in_len, false)],
        param1: arguments.params[0],
        param2: arguments.params[1],
        budget: arguments.budget,
        ..Default::default()
    };
    let begun = Instant::now();
    let outcome = program.execute(&mut Worker::new(arguments.engine), &invocation);
    let took = begun.elapsed();
    print!("{}", String::from_utf8_lossy(&outcome.trace));
    println!("engine        {} (compiled in {:?})", outcome.engine, report.compile_time);
    println!("instructions  {}", outcome.counts.total());
    println!("time          {took:?}");
    let result = outcome.result?;
    println!("result        {result} ({result:#x})");
    if let Some(path) = &arguments.output {
        let mut bytes = vec![0; out_len as usize];
        anyhow::ensure!(memory.read(0, &mut bytes), "the memory was made for it");
        std::fs::write(path, bytes)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ebpf: {error:#}");
            ExitCode::FAILURE
        }
    }
}

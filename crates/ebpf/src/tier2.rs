//! Tier 2: verified code to C, and to machine code with the host's clang.
//!
//! For programs that run for long: it takes a tenth of a second or more to compile, and clang must be
//! installed, as it is where programs are written. The C code is made of numbers only (no name of a
//! program gets into it) and compares every address with the bounds of its segment, so that nothing
//! depends on the order in which clang leaves loads and stores. Loops that count are made twice: for
//! as many rounds as can neither leave a segment nor the budget they run unchecked, and clang can
//! unroll and vectorise them.

mod emit;
mod library;
mod rounds;

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::code::Code;
use crate::flow::{Flow, Function};
use crate::native::{Convention, Native, Timer};
pub(crate) use library::Library;

/// Programs of more instructions stay with tier 1: clang would take too long.
const OPS_MAX: usize = 4096;

/// Counters times places where a run may end: what the source grows with.
const COUNTERS_TIMES_ENDS_MAX: usize = 200_000;

/// How long clang may take for a program.
const PATIENCE: Duration = Duration::from_secs(20);

/// Compilers that are tried, the newest first.
const COMPILERS: [&str; 8] =
    ["clang-22", "clang-21", "clang-20", "clang-19", "clang-18", "clang-16", "clang", "clang-14"];

const FLAGS: [&str; 16] = [
    "-x",
    "c",
    "-O2",
    "-fPIC",
    "-shared",
    "-nostdlib",
    "-ffreestanding",
    "-fno-strict-aliasing",
    "-fwrapv",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-fcf-protection=none",
    // Addresses are numbers: in newer clangs this covers pointers, too.
    "-fno-strict-overflow",
    "-fstack-clash-protection",
    "-Wno-everything",
    "-Werror=frame-larger-than",
];

/// Refuses programs that are too large.
///
/// # Errors
/// If this one is.
pub(crate) fn check_size(code: &Code) -> Result<(), String> {
    match code.ops.len() {
        ops if ops > OPS_MAX => {
            Err(format!("{ops} instructions; tier 2 compiles at most {OPS_MAX}"))
        }
        _ => Ok(()),
    }
}

/// True if a program has loops that run unchecked, which are what is much faster than in tier 1.
pub(crate) fn is_worthwhile(code: &Code, flow: &Flow) -> bool {
    let counted = |function: &Function| {
        (0..function.blocks.len()).any(|block| rounds::count(code, function, block).is_some())
    };
    flow.functions.iter().any(counted)
}

/// Compiles programs for this machine, with one start of clang.
///
/// # Errors
/// If there is no clang, or a program is too large.
pub(crate) fn compile(programs: &[(&Code, &Flow)]) -> Result<Vec<Native>, String> {
    if !cfg!(target_arch = "x86_64") {
        return Err("tier 2 is for x86-64".to_owned());
    }
    for (code, flow) in programs {
        check_size(code)?;
        // The source names every counter wherever a run may end.
        let ends = code.ops.iter().filter(|op| op.is_memory_access() || op.ends_block()).count();
        if flow.counters.saturating_mul(ends) > COUNTERS_TIMES_ENDS_MAX {
            return Err("too many branches and memory accesses for tier 2".to_owned());
        }
    }
    let timer = Timer::start();
    let mut source = emit::prelude();
    let numbered = programs.iter().enumerate();
    let sites: Vec<_> = numbered
        .map(|(number, (code, flow))| emit::program(code, flow, number, &mut source))
        .collect();
    let directory = tempfile::tempdir().map_err(|e| format!("no temporary directory: {e}"))?;
    let of_a_call = programs.iter().map(|(code, _)| code.stack.host_bytes_of_a_call());
    let frame_max = of_a_call.min().unwrap_or(0);
    let patience = PATIENCE * programs.len() as u32;
    let library = build(&source, directory.path(), frame_max, patience)?;
    let entries = Library::open(&library, programs.len())?;
    let time = timer.elapsed();
    let native = |(entry, sites)| Native::from_library(entry, sites, Convention::Plain, time);
    Ok(entries.into_iter().zip(sites).map(native).collect())
}

fn build(
    source: &str,
    directory: &Path,
    frame_max: usize,
    patience: Duration,
) -> Result<std::path::PathBuf, String> {
    let input = directory.join("program.c");
    let output = directory.join("program.so");
    std::fs::write(&input, source).map_err(|e| format!("{}: {e}", input.display()))?;
    let log = directory.join("messages");
    let messages = File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?;
    for compiler in COMPILERS {
        let started = Command::new(compiler)
            .args(FLAGS)
            .arg(format!("-Wframe-larger-than={frame_max}"))
            .arg(&input)
            .arg("-o")
            .arg(&output)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(messages.try_clone().map_err(|e| e.to_string())?)
            .spawn();
        match started {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(format!("{compiler}: {error}")),
            Ok(child) => {
                return match wait(child, patience)? {
                    true => Ok(output),
                    false => {
                        let text = std::fs::read_to_string(&log).unwrap_or_default();
                        let first = text.lines().next().unwrap_or("no message");
                        Err(format!("{compiler} failed: {first}"))
                    }
                };
            }
        }
    }
    Err("clang is not installed (apt-get install clang)".to_owned())
}

/// Waits for clang: true if it succeeded. It is ended when it takes too long.
fn wait(mut child: Child, patience: Duration) -> Result<bool, String> {
    let timer = Timer::start();
    loop {
        match child.try_wait().map_err(|e| e.to_string())? {
            Some(status) => return Ok(status.success()),
            None if timer.elapsed() > patience => {
                // Errors mean that it has just ended.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("clang took more than {} s", patience.as_secs()));
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "waits for a compiler, in no model's time"
            )]
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

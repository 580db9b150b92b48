//! The example programs, compiled to WebAssembly by a real clang, against the same sources as eBPF programs in the interpreter: results,
//! ranges and printed text are the same. Without clang and wasm-ld these tests are reported as ignored; CI installs them.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use controller::{ShellOutcome, WasmConfig, WasmPrograms};
use ebpf::{Engine, Invocation, PAGE, Program, Range, SharedMemory, Worker};
use libtest_mimic::{Arguments, Trial};
use wasm_programs::Programs;

/// Those that need no library of C.
const EXAMPLES: [&str; 9] = [
    "double",
    "filter",
    "grep-count",
    "grep-lines",
    "histogram",
    "lz4",
    "nearest",
    "tpch_q6",
    "vadd",
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let compiler = compiler();
    let trials = EXAMPLES.map(|name| match &compiler {
        Some(clang) => {
            let clang = clang.clone();
            Trial::test(name, move || {
                compare(&clang, name);
                Ok(())
            })
        }
        None => {
            let why = "SKIPPED: no clang with wasm-ld: apt-get install clang-19 lld-19";
            Trial::test(format!("{name} ({why})"), || Ok(())).with_ignored_flag(true)
        }
    });
    let numbers = Trial::test("counts_of_a_real_program_are_what_they_were", || {
        counts_are_what_they_were();
        Ok(())
    });
    let trials = trials.into_iter().chain([numbers]).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The newest clang that links WebAssembly.
fn compiler() -> Option<String> {
    let names = (14..=30).rev().map(|n| format!("clang-{n}")).chain(["clang".to_owned()]);
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("empty.c");
    std::fs::write(&source, "void f(void *args) {}\n").unwrap();
    names.into_iter().find(|name| {
        let output = compile(name, &source, &folder.path().join("empty.wasm"));
        output.is_ok_and(|output| output.status.success())
    })
}

fn compile(clang: &str, source: &Path, to: &Path) -> std::io::Result<std::process::Output> {
    Command::new(clang)
        .args(["--target=wasm32", "-O2", "-nostdlib", "-ffreestanding", "-fno-builtin"])
        .arg("-fvisibility=default")
        .args(["-Wl,--no-entry,--export-dynamic", "-I"])
        .arg(root().join("crates/bpf_clang/include"))
        .arg("-o")
        .args([to, source])
        .output()
}

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// A job: an output of zeroes and two inputs of what the programs read, wherever in a page they begin.
fn job(random: &mut Random) -> Invocation {
    let offset = [0, PAGE, 1, 100, 4095][random.next() as usize % 5];
    let len = [0, 1, 7, 64, 4096, 8192, 30_000][random.next() as usize % 7];
    let is_text = random.next().is_multiple_of(2);
    let mut input = || -> Vec<u8> {
        let byte = |random: &mut Random| match is_text {
            true => b"abc\n 019"[random.next() as usize % 8],
            false => random.next() as u8,
        };
        (0..len).map(|_| byte(random)).collect()
    };
    let contents = [input(), input()];
    let output = vec![0; 2 * len];
    let ranges = [output].into_iter().chain(contents).map(|bytes| {
        let memory = Arc::new(SharedMemory::new(offset + bytes.len() as u64 + PAGE).unwrap());
        assert!(memory.write(offset, &bytes));
        Range { memory, offset, len: bytes.len() as u64, writable: true }
    });
    let ranges = ranges.collect();
    let (param1, param2) = (random.next() as i64 % 100, random.next() as i64 % 5);
    let data = [Vec::new(), b"ab".to_vec(), random.next().to_le_bytes().to_vec()];
    let data = data[random.next() as usize % 3].clone();
    Invocation { ranges, param1, param2, data, budget: 50_000_000, stop: None }
}

/// The same job on ranges of its own.
fn again(invocation: &Invocation) -> Invocation {
    let mut copy = invocation.clone();
    for range in &mut copy.ranges {
        let memory = SharedMemory::new(range.offset + range.len + PAGE).unwrap();
        assert!(memory.copy_from(&range.memory, range.offset, range.offset, range.len));
        range.memory = Arc::new(memory);
    }
    copy
}

fn bytes(range: &Range) -> Vec<u8> {
    let mut bytes = vec![0; range.len as usize];
    assert!(range.memory.read(range.offset, &mut bytes));
    bytes
}

fn compare(clang: &str, name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (source, module) =
        (root().join(format!("examples/programs/{name}.bpf.c")), folder.path().join("module.wasm"));
    let output = compile(clang, &source, &module).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let module = std::fs::read(module).unwrap();
    let function = match wasm_programs::functions(&module).unwrap().as_slice() {
        [_] => None,
        _ => Some(name.replace('-', "_")),
    };
    let config = WasmConfig::default();
    let wasm = Programs.load(&module, function.as_deref(), &config).unwrap();
    let object = std::fs::read(source.with_extension("o")).unwrap();
    let function = function.filter(|_| Program::load(&object, None).is_err());
    let bpf = Program::load(&object, function.as_deref()).unwrap();
    let mut worker = Worker::new(Engine::Interpreter);
    let mut random = Random(0x1234_5678_9ABC_DEF1);
    let (mut returned, mut stopped) = (0, 0);
    for round in 0..60 {
        let here = job(&mut random);
        let there = again(&here);
        let expected = bpf.execute(&mut worker, &here);
        let ran: ShellOutcome = wasm.run(&there, 1);
        match (&expected.result, &ran.result) {
            (Ok(expected), Ok(result)) => {
                assert_eq!(result, expected, "{name}, round {round}");
                returned += 1;
            }
            // Ranges end exactly for an eBPF program; a module's memory has more behind them.
            (Err(_), _) => {
                stopped += 1;
                continue;
            }
            (Ok(_), Err(fault)) => panic!("{name}, round {round}: {}", fault.text),
        }
        assert_eq!(ran.output, expected.trace, "{name}, round {round}");
        for (n, (ours, theirs)) in here.ranges.iter().zip(&there.ranges).enumerate() {
            assert!(bytes(ours) == bytes(theirs), "{name}, round {round}: range {n} differs");
        }
        let (ours, theirs) = (expected.counts.total(), ran.counts.total());
        let near = (ours / 4).saturating_sub(200)..=ours * 4 + 200;
        assert!(near.contains(&theirs), "{name}, round {round}: {ours} and {theirs} instructions");
    }
    assert!(returned >= 10, "{name}: {returned} returned, {stopped} did not");
}

/// A program with a main and a library behind it (Rust's): its counts are those of any machine.
fn counts_are_what_they_were() {
    let module = std::fs::read(root().join("examples/wasm/wordcount.wasm")).unwrap();
    let program = Programs.load(&module, None, &WasmConfig::default()).unwrap();
    let text = b"the quick brown fox jumps over the lazy dog. The end.\n".repeat(50);
    let range = |bytes: &[u8]| {
        let memory = Arc::new(SharedMemory::new(bytes.len() as u64).unwrap());
        assert!(memory.write(0, bytes));
        Range { memory, offset: 0, len: bytes.len() as u64, writable: true }
    };
    let invocation = Invocation {
        ranges: vec![range(&[0; 100]), range(&text)],
        data: b"2".to_vec(),
        budget: 100_000_000,
        ..Default::default()
    };
    let ran = program.run(&invocation, 1);
    assert_eq!(ran.result, Ok(17));
    assert_eq!(&bytes(&invocation.ranges[0])[..17], b"150 the\n50 brown\n");
    let counts = (ran.counts.total(), ran.counts.bytes_loaded + ran.counts.bytes_stored);
    assert_eq!(counts, (342_358, 283_378), "{:?}", ran.counts);
}

//! Modules as text: results, counts, faults, refusals.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use controller::{ShellFaultKind, ShellOutcome, ShellProgram, WasmConfig, WasmPrograms};
use ebpf::isa::InstructionClass;
use ebpf::{Invocation, PAGE, Range, SharedMemory};
use wasm_programs::Programs;

fn load(text: &str) -> Arc<dyn ShellProgram> {
    try_load(text).unwrap_or_else(|error| panic!("{error}"))
}

fn try_load(text: &str) -> Result<Arc<dyn ShellProgram>, String> {
    let module = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"));
    Programs.load(&module, None, &WasmConfig::default())
}

const BUDGET: u64 = 1_000_000;

/// Ranges of these bytes, each with its memory to itself, at this offset in a page.
fn ranges(contents: &[&[u8]], offset: u64) -> Vec<Range> {
    let range = |bytes: &&[u8]| {
        let memory = Arc::new(SharedMemory::new(offset + bytes.len() as u64 + PAGE).unwrap());
        assert!(memory.write(offset, bytes));
        Range { memory, offset, len: bytes.len() as u64, writable: true }
    };
    contents.iter().map(range).collect()
}

fn bytes(range: &Range) -> Vec<u8> {
    let mut bytes = vec![0; range.len as usize];
    assert!(range.memory.read(range.offset, &mut bytes));
    bytes
}

fn run(text: &str, invocation: Invocation) -> ShellOutcome {
    let program = load(text);
    let outcome = program.run(&invocation, 1);
    // Once more, by the code that is compiled now.
    let again = program.run(&Invocation { ranges: Vec::new(), budget: 0, ..Default::default() }, 1);
    assert!(again.result.is_err(), "without a budget: {again:?}");
    outcome
}

fn result(text: &str) -> Result<u64, ShellFaultKind> {
    let outcome = run(text, Invocation { budget: BUDGET, ..Default::default() });
    outcome.result.map_err(|fault| fault.kind)
}

/// A module with a memory of a page and one function, `f`, of its arguments' address.
fn function(body: &str) -> String {
    format!(
        r#"(module (memory (export "memory") 1) (func (export "f") (param i32) (result i64) {body}))"#
    )
}

#[test]
fn counts_are_exact_also_in_the_middle() {
    use InstructionClass::{Alu, Branch, Divide, Load, Store};
    let class = |outcome: &ShellOutcome, class| outcome.counts.instructions[class as usize];
    // Ten rounds of: a load, an addition, a store, a subtraction, a branch.
    let text = function(
        "(local i32) (local.set 1 (i32.const 10))
         (loop (i64.store (i32.const 8) (i64.add (i64.load (i32.const 8)) (i64.const 3)))
               (br_if 0 (local.tee 1 (i32.sub (local.get 1) (i32.const 1)))))
         (i64.load32_u (i32.const 8))",
    );
    let outcome = run(&text, Invocation { budget: BUDGET, ..Default::default() });
    assert_eq!(outcome.result, Ok(30));
    assert_eq!([Alu, Branch, Load, Store].map(|of| class(&outcome, of)), [20, 10, 11, 10]);
    assert_eq!(outcome.counts.total(), 51);
    assert_eq!((outcome.counts.bytes_loaded, outcome.counts.bytes_stored), (84, 80));
    // A division by zero after two additions, before three: the division counts, what comes after it does not.
    let text = function(
        "(i64.add (i64.add (i64.add (i64.div_u (i64.add (i64.add (local.get 1) (local.get 1)) (local.get 1)) (local.get 1))
          (local.get 1)) (local.get 1)) (local.get 1))",
    )
    .replace("(result i64)", "(result i64) (local i64)");
    let outcome = run(&text, Invocation { budget: BUDGET, ..Default::default() });
    let fault = outcome.result.clone().unwrap_err();
    assert_eq!(fault.kind, ShellFaultKind::Crash);
    assert!(fault.text.contains("divide by zero"), "{}", fault.text);
    assert_eq!((class(&outcome, Alu), class(&outcome, Divide)), (2, 1), "{outcome:?}");
    // A load outside, in a called function: what the caller would do after the call does not count.
    let text = r#"(module (memory (export "memory") 1)
        (func $inner (result i64) (i64.add (i64.load (i32.const -8)) (i64.const 1)))
        (func (export "f") (param i32) (result i64) (i64.add (i64.mul (call $inner) (i64.const 2)) (i64.const 1))))"#;
    let outcome = run(text, Invocation { budget: BUDGET, ..Default::default() });
    let fault = outcome.result.clone().unwrap_err();
    assert_eq!(fault.kind, ShellFaultKind::Memory);
    assert!(fault.text.contains("function inner"), "{}", fault.text);
    assert_eq!(outcome.counts.total(), 2, "the call and the load: {outcome:?}");
}

#[test]
fn a_budget_ends_loops_recursion_and_large_copies() {
    use ShellFaultKind::{Budget, CallDepth};
    let endless = function("(loop (br 0)) (i64.const 0)");
    let outcome = run(&endless, Invocation { budget: 1000, ..Default::default() });
    assert_eq!(outcome.result.unwrap_err().kind, Budget);
    assert!((1000..1010).contains(&outcome.counts.total()), "{:?}", outcome.counts);
    // 64 KiB a time, and an instruction for each 64 bytes: not a million times.
    let fills = function(
        "(loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br 0)) (i64.const 0)",
    );
    let outcome = run(&fills, Invocation { budget: BUDGET, ..Default::default() });
    assert_eq!(outcome.result.unwrap_err().kind, Budget);
    let times = outcome.counts.total() / 2;
    assert!((900..1000).contains(&times), "{times} fills of 1024 instructions each");
    let deep = r#"(module (memory (export "memory") 1)
        (func $f (export "f") (param i32) (result i64) (i64.add (call $f (local.get 0)) (i64.const 1))))"#;
    assert_eq!(result(deep), Err(CallDepth));
    assert_eq!(result(&function("(unreachable)")), Err(ShellFaultKind::Crash));
}

#[test]
fn bytes_of_copies_are_counted_once_the_run_is_over() {
    let text = function(
        "(memory.copy (i32.const 0) (i32.const 1000) (i32.const 500))
         (memory.fill (i32.const 0) (i32.const 7) (i32.const 100))
         (i64.load8_u (i32.const 50))",
    );
    let outcome = run(&text, Invocation { budget: BUDGET, ..Default::default() });
    assert_eq!(outcome.result, Ok(7));
    assert_eq!(outcome.counts.total(), 3);
    let touched = outcome.counts.bytes_loaded + outcome.counts.bytes_stored;
    assert_eq!(touched, 2 * 500 + 100 + 1);
}

/// Adds parameter 1 to the bytes of range 1, and puts them into range 0; returns the length of the data buffer plus its first byte.
const ADDS: &str = r#"(module (memory (export "memory") 1)
    (func (export "f") (param $args i32) (result i64) (local $to i32) (local $from i32) (local $left i32)
        (local.set $to (i32.load (i32.load offset=4 (local.get $args))))
        (local.set $from (i32.load offset=4 (i32.load offset=4 (local.get $args))))
        (local.set $left (i32.wrap_i64 (i64.load offset=8 (i32.load offset=8 (local.get $args)))))
        (loop
            (i32.store8 (local.get $to) (i32.add (i32.load8_u (local.get $from)) (i32.load offset=12 (local.get $args))))
            (local.set $to (i32.add (local.get $to) (i32.const 1)))
            (local.set $from (i32.add (local.get $from) (i32.const 1)))
            (br_if 0 (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (i64.add (i64.load offset=32 (local.get $args)) (i64.load8_u (i32.load offset=28 (local.get $args))))))"#;

#[test]
fn ranges_are_the_drives_memory_wherever_they_begin() {
    let program = load(ADDS);
    for offset in [0, 4096, 1, 4095, 777] {
        for len in [1, 4096, 8192, 5000] {
            let input: Vec<u8> = (0..len).map(|n| (n * 7) as u8).collect();
            let ranges = ranges(&[&vec![0; len], &input], offset);
            let invocation = Invocation {
                ranges: ranges.clone(),
                param1: 5,
                data: b"xyz".to_vec(),
                budget: BUDGET,
                ..Default::default()
            };
            let outcome = program.run(&invocation, 1);
            assert_eq!(outcome.result, Ok(3 + u64::from(b'x')), "{offset} {len}");
            let expected: Vec<u8> = input.iter().map(|byte| byte.wrapping_add(5)).collect();
            assert_eq!(bytes(&ranges[0]), expected, "{offset} {len}");
            assert_eq!(bytes(&ranges[1]), input, "{offset} {len}");
            // What is beside a range is as it was.
            let mut beside = [1];
            assert!(ranges[0].memory.read(offset + len as u64, &mut beside));
            assert_eq!(beside, [0]);
        }
    }
}

#[test]
fn samples_leave_memory_as_one_run_does() {
    let increments = function("(i32.store8 (i32.load (i32.load offset=4 (local.get 0)))
        (i32.add (i32.const 1) (i32.load8_u (i32.load (i32.load offset=4 (local.get 0)))))) (i64.const 0)");
    let program = load(&increments);
    for offset in [0, 9] {
        let ranges = ranges(&[&[7; 4096]], offset);
        let invocation = Invocation { ranges: ranges.clone(), budget: 100, ..Default::default() };
        let outcome = program.run(&invocation, 5);
        assert_eq!((outcome.result, outcome.cpu_time.samples), (Ok(0), 5));
        assert_eq!(bytes(&ranges[0])[..2], [8, 7]);
    }
}

#[test]
fn memory_grows_as_far_as_it_may() {
    // How many pages there are after asking for one more again and again.
    let grows = function(
        "(loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) (i64.extend_i32_u (memory.size))",
    );
    assert_eq!(result(&grows), Ok(4096), "256 MiB");
    assert_eq!(result(&grows.replace("\"memory\") 1", "\"memory\") 1 9")), Ok(9));
    // A start function may not have more.
    let start = r#"(module (memory (export "memory") 1 2) (func $s (drop (memory.grow (i32.const 40000))))
        (start $s) (func (export "f") (param i32) (result i64) (i64.extend_i32_u (memory.size))))"#;
    assert_eq!(result(start), Ok(1));
    let module = wat::parse_str(&grows).unwrap();
    let config = WasmConfig { memory_bytes: 1 << 20 };
    let less = Programs.load(&module, None, &config).unwrap();
    let invocation = Invocation { budget: BUDGET, ..Default::default() };
    assert_eq!(less.run(&invocation, 1).result, Ok(16), "compute.wasm_memory = 1MiB");
    let refused = try_load(&grows.replace("\"memory\") 1", "\"memory\") 5000")).unwrap_err();
    assert!(refused.contains("compute.wasm_memory"), "{refused}");
}

#[test]
fn a_run_ends_when_nobody_waits_for_it() {
    let program = load(&function("(loop (br 0)) (i64.const 0)"));
    let stop = Arc::new(AtomicBool::new(false));
    let invocation =
        Invocation { budget: u64::MAX, stop: Some(stop.clone()), ..Default::default() };
    let run = std::thread::spawn(move || program.run(&invocation, 1));
    std::thread::sleep(std::time::Duration::from_millis(20));
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(run.join().unwrap().result.unwrap_err().kind, ShellFaultKind::Stopped);
}

/// Copies standard input to standard output, 1000 bytes a time; what does not fit ends it with exit code 3.
const COPIES: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\40\00\00\00\e8\03\00\00")
    (func (export "_start")
        (loop
            (i32.store (i32.const 4) (i32.const 1000))
            (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)))
            (if (i32.eqz (i32.load (i32.const 16))) (then (call $exit (i32.const 0))))
            (i32.store (i32.const 4) (i32.load (i32.const 16)))
            (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 24)))
            (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 20)) (then (call $exit (i32.const 3))))
            (br 0))))"#;

#[test]
fn a_program_with_a_main_reads_ranges_and_writes_one() {
    let (one, two) = (vec![b'a'; 1500], vec![b'b'; 2100]);
    let program = load(COPIES);
    let ranges = ranges(&[&[0; 5000], &one, &[], &two], 3);
    let invocation = Invocation { ranges: ranges.clone(), budget: BUDGET, ..Default::default() };
    let outcome = program.run(&invocation, 1);
    let all = [one, two].concat();
    assert_eq!(outcome.result, Ok(all.len() as u64));
    assert_eq!(&bytes(&ranges[0])[..all.len()], all);
    assert_eq!(outcome.output, all);
    // There is room for less.
    let short = Range { len: 2000, ..ranges[0].clone() };
    let ranges = [vec![short], ranges[1..].to_vec()].concat();
    let outcome = program.run(&Invocation { ranges, budget: BUDGET, ..Default::default() }, 1);
    let fault = outcome.result.unwrap_err();
    assert_eq!(fault.kind, ShellFaultKind::Crash);
    assert!(fault.text.contains("exit code 3"), "{}", fault.text);
}

#[test]
fn what_is_no_program_is_refused_with_what_to_do() {
    let memory = r#"(memory (export "memory") 1)"#;
    for (text, says) in [
        (format!("(module {memory})"), "exports no program"),
        ("(module (func (export \"f\") (param i32)))".to_owned(), "exports no memory"),
        (
            format!(
                r#"(module {memory} (func (export "f") (param i32)) (func (export "g") (param i32)))"#
            ),
            "f, g; name one",
        ),
        (
            format!(
                r#"(module (import "env" "read_sensor" (func)) {memory} (func (export "f") (param i32)))"#
            ),
            "imports env.read_sensor",
        ),
        (
            r#"(module (import "env" "memory" (memory 1)) (func (export "f") (param i32)))"#
                .to_owned(),
            "imports env.memory",
        ),
        (
            "(module (memory (export \"memory\") i64 1) (func (export \"f\") (param i32)))"
                .to_owned(),
            "build it for wasm32",
        ),
        (
            "(module (memory (export \"memory\") 1 1 shared) (func (export \"f\") (param i32)))"
                .to_owned(),
            "without threads",
        ),
        (
            format!("(module {memory} (tag) (func (export \"f\") (param i32) (throw 0)))"),
            "-fno-exceptions",
        ),
        (function(&format!("{} {} (i64.const 0)", "(loop".repeat(300), ")".repeat(300))), "loops"),
        (
            function(&format!("{} {} (i64.const 0)", "(block".repeat(6000), ")".repeat(6000))),
            "in each other",
        ),
    ] {
        let refused = try_load(&text).unwrap_err();
        assert!(refused.contains(says), "{says:?}: {refused}");
    }
    let load = |bytes: &[u8]| Programs.load(bytes, None, &WasmConfig::default()).unwrap_err();
    assert!(load(b"\0asm\x01\0\0").contains("no valid WebAssembly"));
    assert!(load(b"\0asm\x0d\0\x01\0").contains("component"), "{}", load(b"\0asm\x0d\0\x01\0"));
}

#[test]
fn nothing_that_a_program_sees_differs_from_run_to_run() {
    // The clock, random bytes and a NaN, all in one number.
    let text = r#"(module
        (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
        (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "f") (param i32) (result i64)
            (drop (call $random (i32.const 8) (i32.const 8)))
            (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 0)))
            (i64.xor (i64.xor (i64.load (i32.const 0)) (i64.load (i32.const 8)))
                (i64.reinterpret_f64 (f64.div (f64.const 0) (f64.load (i32.const 16)))))))"#;
    let program = load(text);
    let invocation = Invocation { budget: BUDGET, ..Default::default() };
    let outcomes: Vec<_> = (0..3).map(|_| program.run(&invocation, 1)).collect();
    assert!(
        outcomes.iter().all(|o| o.result == outcomes[0].result && o.counts == outcomes[0].counts)
    );
    // The canonical NaN, the first number of the generator, two calls on the clock: the same on all machines.
    let nan = 0x7FF8_0000_0000_0000_u64;
    let random = outcomes[0].result.clone().unwrap() ^ nan;
    assert_eq!(random ^ 0x6E78_9E6A_A1B9_65F4, 2, "{random:#x}");
}

#[test]
fn an_allocator_that_looks_at_the_size_of_memory_leaves_ranges_alone() {
    // AssemblyScript's way: the heap ends where memory does.
    let text = r#"(module (memory (export "memory") 1)
        (global $heap (mut i32) (i32.const 1024)) (global $end (mut i32) (i32.const 0))
        (func $alloc (param $n i32) (result i32) (local $p i32)
            (if (i32.eqz (global.get $end)) (then (global.set $end (i32.shl (memory.size) (i32.const 16)))))
            (local.set $p (global.get $heap)) (global.set $heap (i32.add (global.get $heap) (local.get $n)))
            (if (i32.gt_u (global.get $heap) (global.get $end))
                (then (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))))
            (local.get $p))
        (func (export "f") (param $a i32) (result i64) (local $in i32)
            (local.set $in (i32.load offset=4 (i32.load offset=4 (local.get $a))))
            (memory.fill (call $alloc (i32.const 200000)) (i32.const 1) (i32.const 200000))
            (i64.load (local.get $in))))"#;
    let ranges = ranges(&[&[0; 4096], &[9; 65_536]], 0);
    let invocation = Invocation { ranges, budget: BUDGET, ..Default::default() };
    assert_eq!(run(text, invocation).result, Ok(0x0909_0909_0909_0909));
}

#[test]
fn what_a_start_function_does_counts_and_may_end_the_program() {
    let text = |end: &str| {
        format!(
            r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (func $g (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
            (func $s (local i32)
                (loop (local.set 0 (call $g (local.get 0))) (br_if 0 (i32.lt_u (local.get 0) (i32.const 1000)))) {end})
            (start $s) (func (export "_start")))"#
        )
    };
    let ran = |end: &str| run(&text(end), Invocation { budget: BUDGET, ..Default::default() });
    let whole = ran("");
    assert_eq!((whole.result, whole.counts.total()), (Ok(0), 4000));
    assert_eq!(whole.counts.bytes_loaded + whole.counts.bytes_stored, 0);
    let trapped = ran("unreachable");
    assert_eq!(trapped.result.unwrap_err().kind, ShellFaultKind::Crash);
    assert_eq!((trapped.counts.total(), trapped.counts.bytes_loaded), (4001, 0));
    assert_eq!(ran("(call $exit (i32.const 0))").result, Ok(0));
    assert_eq!(ran("(call $exit (i32.const 1))").result.unwrap_err().kind, ShellFaultKind::Crash);
}

#[test]
fn a_budget_that_ends_within_a_fill_counts_nothing_behind_it() {
    let text = r#"(module (memory (export "memory") 20) (func (export "f") (param i32) (result i64)
        (memory.fill (i32.const 0) (i32.const 1) (i32.const 1000000)) (i64.add (i64.const 1) (i64.load (i32.const 0)))))"#;
    let ran = run(text, Invocation { budget: 1000, ..Default::default() });
    assert_eq!(ran.result.unwrap_err().kind, ShellFaultKind::Budget);
    assert_eq!(ran.counts.total(), 1);
}

#[test]
fn a_seek_writes_nothing_and_a_broken_name_section_says_nothing() {
    let seeks = r#"(module
        (import "wasi_snapshot_preview1" "fd_seek" (func $s (param i32 i64 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start")
            (drop (call $s (i32.const 1) (i64.const 1000000) (i32.const 0) (i32.const 64)))
            (i32.store (i32.const 0) (i32.const 100)) (i32.store (i32.const 4) (i32.const 10))
            (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 64)))))"#;
    let ranges = ranges(&[&[0; 4096]], 0);
    let invocation = Invocation { ranges, budget: BUDGET, ..Default::default() };
    assert_eq!(run(seeks, invocation).result, Ok(0));
    let mut module = wat::parse_str(function("(i64.const 5)")).unwrap();
    module.extend(b"\0\x0c\x04name\x01\x05\xff\xff\xff\xff\xff");
    let program = Programs.load(&module, None, &WasmConfig::default()).unwrap();
    let invocation = Invocation { budget: BUDGET, ..Default::default() };
    assert_eq!(program.run(&invocation, 1).result, Ok(5));
}

//! Programs that mean harm: each is stopped with the fault it deserves, on every engine, and what it
//! was not given stays as it was (`harness` puts sentinels beside every range).
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a test, not a model")]

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ebpf::isa::Instruction;
use ebpf::{Engine, FaultKind, Invocation, Loader, Program, Range, SharedMemory, Worker};
use harness::{
    BYTES, EXIT, Layout, PAGES, bytes_of, engines, everywhere, everywhere_with, insn, lddw, program,
};

const BUDGET: u64 = 100_000;

/// Runs code on every engine in whole pages and in parts of pages: why it was stopped.
fn stopped(code: &[Instruction]) -> Vec<FaultKind> {
    let program = program(code);
    let faults = [(PAGES, 4096), (BYTES, 100)].map(|(layout, len)| {
        let seen = everywhere(&program, &vec![7; len], layout, BUDGET);
        assert_eq!(seen.memory, vec![7; len], "{code:?}");
        seen.result.unwrap_err().kind
    });
    faults.into()
}

fn is_memory_fault(faults: &[FaultKind]) -> bool {
    faults.iter().all(|f| matches!(f, FaultKind::Memory(_)))
}

#[test]
fn wild_pointers_of_every_kind_fault() {
    let wild: [u64; 22] = [
        0,
        1,
        4095,
        0x10_0000,
        0x00FE_0000,
        0x0100_0000 + 8192 + (1 << 16),
        0x7FFF_FFFF,
        0x8000_0000,
        u64::from(u32::MAX),
        u64::from(u32::MAX) - 7,
        1 << 32,
        (1 << 32) - 4096,
        1 << 40,
        0x7FFF_FFFF_FFFF,
        0xFFFF_8000_0000_0000,
        1 << 63,
        u64::MAX,
        u64::MAX - 7,
        u64::MAX - 32767,
        0x0000_5555_5555_5000,
        0xDEAD_BEEF_DEAD_BEEF,
        0x4141_4141_4141_4141,
    ];
    for offset in [0, -1, 1, i16::MIN, i16::MAX] {
        for opcode in [0x71, 0x79, 0x81, 0x72, 0x7B, 0xDB] {
            let is_load = opcode & 7 == 1;
            let access =
                insn(opcode, if is_load { 0 } else { 3 }, if is_load { 3 } else { 0 }, offset, 0);
            let program = program(&[access, EXIT]);
            for address in wild {
                for (layout, len) in [(PAGES, 4096), (BYTES, 100)] {
                    let contents = vec![7; len];
                    let memory = (&contents[..], layout);
                    let seen = everywhere_with(&program, memory, [address, 0, 0], BUDGET);
                    let fault = seen.result.unwrap_err().kind;
                    assert!(
                        matches!(fault, FaultKind::Memory(_)),
                        "{address:#x} {offset}: {fault:?}"
                    );
                    assert_eq!(seen.memory, contents, "{address:#x} {offset} {opcode:#x}");
                }
            }
        }
    }
}

/// Addresses are taken modulo the window's size: bits above do not lead anywhere else.
#[test]
fn address_bits_above_the_window_do_not_count() {
    let program = program(&[insn(0x0F, 3, 1, 0, 0), insn(0x71, 0, 3, 3, 0), EXIT]);
    for high in [1u64 << 32, 1 << 40, 1 << 47, 1 << 63, !u64::from(u32::MAX)] {
        for (layout, len) in [(PAGES, 4096), (BYTES, 100)] {
            let contents = vec![9; len];
            let seen = everywhere_with(&program, (&contents, layout), [high, 0, 0], BUDGET);
            assert_eq!(seen.result, Ok(9), "{high:#x}");
        }
    }
}

#[test]
fn arithmetic_overflow_of_pointers_ends_where_it_lands() {
    // r2 = r1 * -1, r1 + 2^63, r1 << 8, r1 - 2^31: none of them is anything the program was given.
    for overflow in [
        [insn(0xBF, 2, 1, 0, 0), insn(0x27, 2, 0, 0, -1)],
        [insn(0xBF, 2, 1, 0, 0), insn(0x67, 2, 0, 0, 8)],
        [insn(0xBF, 2, 1, 0, 0), insn(0x07, 2, 0, 0, i32::MIN)],
        [insn(0xBC, 2, 1, 0, 0), insn(0x04, 2, 0, 0, i32::MIN)],
    ] {
        let code = [overflow.as_slice(), &[insn(0x7B, 2, 1, 0, 0), EXIT]].concat();
        assert!(is_memory_fault(&stopped(&code)), "{overflow:?}");
    }
}

/// Every size at every place around both ends, aligned or not.
#[test]
fn edges_are_exact_to_the_byte() {
    for (size, load, store) in [(1, 0x71, 0x72), (2, 0x69, 0x6A), (4, 0x61, 0x62), (8, 0x79, 0x7A)]
    {
        for access in [insn(load, 0, 3, 0, 0), insn(store, 3, 0, 0, 7)] {
            let program = program(&[insn(0x0F, 3, 1, 0, 0), access, EXIT]);
            for (layout, len) in [(PAGES, 4096), (BYTES, 100), (BYTES, 4096), (BYTES, 8)] {
                let contents = vec![7; len as usize];
                for at in (-9..=1i64).chain(len - 9..=len + 1) {
                    let memory = (&contents[..], layout);
                    let seen = everywhere_with(&program, memory, [at as u64, 0, 0], BUDGET);
                    let inside = at >= 0 && at + size <= len;
                    assert_eq!(seen.result.is_ok(), inside, "{layout:?} {size} at {at} of {len}");
                }
            }
        }
    }
}

#[test]
fn read_only_ranges_cannot_be_written() {
    for (layout, len) in [(PAGES, 4096), (BYTES, 100)] {
        let layout = Layout { writable: false, ..layout };
        let contents = vec![3; len];
        for write in [insn(0x72, 1, 0, 5, 1), insn(0x7B, 1, 1, 0, 0), insn(0xDB, 1, 1, 0, 0)] {
            let seen = everywhere(&program(&[write, EXIT]), &contents, layout, BUDGET);
            let text = seen.result.unwrap_err().to_string();
            assert!(text.contains("range 0 is read-only"), "{text}");
            assert_eq!(seen.memory, contents);
        }
        let load = program(&[insn(0x71, 0, 1, 5, 0), EXIT]);
        assert_eq!(everywhere(&load, &contents, layout, BUDGET).result, Ok(3));
        // Through helpers: memset and memcpy.
        for id in [1001, 1002] {
            let code =
                [insn(0xBF, 2, 1, 0, 0), insn(0xB7, 3, 0, 0, 8), insn(0x85, 0, 0, 0, id), EXIT];
            let seen = everywhere(&program(&code), &contents, layout, BUDGET);
            assert!(matches!(seen.result.unwrap_err().kind, FaultKind::Memory(_)), "helper {id}");
        }
    }
}

#[test]
fn helper_arguments_out_of_range_are_faults_of_the_program() {
    let huge = [0, 1, 100, 4097, 1 << 31, u64::MAX, u64::MAX - 0x0100_0000];
    for id in [6, 1001, 1002, 1003, 1004, 1005, 1006] {
        // r1, r3, r5: the pointer; r2, r4: the length.
        let moves = [(1, 3), (2, 4), (5, 3)].map(|(to, from)| insn(0xBF, to, from, 0, 0));
        let program = program(&[&moves[..], &[insn(0x85, 0, 0, 0, id), EXIT]].concat());
        for pointer in [0, 1, 0x0100_0000 + 90, 0x0100_2000 + 4000, u64::MAX, 1 << 32] {
            for len in huge {
                for (layout, size) in [(PAGES, 4096), (BYTES, 100)] {
                    // Whatever it is, all engines agree and nothing beside the range changes.
                    let contents = vec![7; size];
                    everywhere_with(&program, (&contents, layout), [pointer, len, 0], BUDGET);
                }
            }
        }
    }
}

/// Recursion ends where the stack does, with a large frame in each; no frame reaches below the stack.
#[test]
fn recursion_cannot_overflow_the_stack() {
    let code =
        [insn(0x7A, 10, 0, -512, 1), insn(0x7A, 10, 0, -8, 1), insn(0x85, 0, 1, 0, -3), EXIT];
    assert!(stopped(&code).iter().all(|f| *f == FaultKind::CallDepth(128)));
    // Two functions that call each other; the first has live registers over the call.
    let code = [
        insn(0xB7, 6, 0, 0, 1),
        insn(0x85, 0, 1, 0, 2),
        insn(0x0F, 0, 6, 0, 0),
        EXIT,
        insn(0x85, 0, 1, 0, -5),
        EXIT,
    ];
    assert!(stopped(&code).iter().all(|f| *f == FaultKind::CallDepth(128)));
    // Past the top of the stack.
    let code =
        [insn(0xBF, 2, 10, 0, 0), insn(0x07, 2, 0, 0, 8 * 512), insn(0x79, 0, 2, 0, 0), EXIT];
    assert!(is_memory_fault(&stopped(&code)));
}

/// No address leads to machine code, the runtime's data or another run's memory: everything in the
/// window but what was given faults, granule by granule.
#[test]
fn nothing_else_is_in_the_window() {
    let load = program(&[insn(0x71, 0, 3, 0, 0), EXIT]);
    let stack = 0x0101_0000..0x0302_0000;
    for start in (0..=u64::from(u32::MAX)).step_by(1 << 20).filter(|a| !stack.contains(a)) {
        let seen = everywhere_with(&load, (&[], PAGES), [start, 0, 0], BUDGET);
        assert!(seen.result.is_err(), "{start:#x}");
    }
    // The runtime's area is before the window: offsets from its beginning do not reach it.
    let [a, b] = lddw(2, 0);
    for offset in [i16::MIN, -4096, -8] {
        let code = [a, b, insn(0x7B, 2, 1, offset, 0), EXIT];
        assert!(is_memory_fault(&stopped(&code)), "{offset}");
    }
}

/// What one job leaves in its window is not there for the next one on the same worker.
#[test]
fn one_job_sees_nothing_of_another() {
    let memory = Arc::new(SharedMemory::new(1 << 20).unwrap());
    let range = |offset, len| Range { memory: Arc::clone(&memory), offset, len, writable: true };
    // *(u64 *)(r10 - 8 * n) = -1 for the whole frame; then a value in range 0.
    let mut spoil: Vec<Instruction> = (1..=64).map(|n| insn(0x7A, 10, 0, -8 * n, -1)).collect();
    spoil.extend([insn(0x79, 2, 1, 4, 0), insn(0x79, 2, 2, 0, 0), insn(0x7A, 2, 0, 0, -1), EXIT]);
    // The sum of what is in the frame, and a look at where the other job's second range was.
    let mut look = vec![insn(0xB7, 0, 0, 0, 0)];
    for n in 1..=64 {
        look.extend([insn(0x79, 3, 10, -8 * n, 0), insn(0x4F, 0, 3, 0, 0)]);
    }
    look.push(EXIT);
    let far = [insn(0x79, 2, 1, 4, 0), insn(0x79, 2, 2, 0, 0)];
    let beyond = |distance: i32| {
        [&far[..], &[insn(0x07, 2, 0, 0, distance), insn(0x79, 0, 2, 0, 0), EXIT]].concat()
    };
    for engine in engines() {
        let mut worker = Worker::new(engine);
        let two = Invocation {
            ranges: vec![range(0, 4096), range(65536, 8192)],
            data: vec![0x55; 5000],
            budget: BUDGET,
            ..Default::default()
        };
        assert!(program(&spoil).execute(&mut worker, &two).result.is_ok());
        let one = Invocation { ranges: vec![range(0, 4096)], ..two.clone() };
        let one = Invocation { data: Vec::new(), ..one };
        assert_eq!(program(&look).execute(&mut worker, &one).result, Ok(0), "{engine}");
        for distance in [4096, 0x0101_0000, 0x0102_0000, 0x0201_0000, 0x0202_0000, 0x0303_0000] {
            let outcome = program(&beyond(distance)).execute(&mut worker, &one);
            // The argument struct and the stack are the run's own; the other range is not there.
            if let Ok(value) = outcome.result {
                assert_ne!(value, u64::from_le_bytes([0x55; 8]), "{engine} {distance:#x}");
                assert_ne!(value, u64::MAX, "{engine} {distance:#x}");
            }
        }
    }
}

/// Code is not in the window, so it cannot be read or changed; the code's pages are not writable.
#[test]
fn code_is_never_writable_and_executable() {
    let program = program(&[insn(0xB7, 0, 0, 0, 1), EXIT]);
    for engine in engines() {
        program.compile(engine).unwrap();
    }
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    assert!(maps.lines().any(|line| line.contains("r-xp")));
    let both = maps.lines().find(|line| line.contains("wx"));
    assert!(both.is_none(), "{both:?}");
}

/// Endless loops with and without memory traffic, and one in a helper, end at the budget exactly.
#[test]
fn endless_loops_end_with_the_budget() {
    let loops: [&[Instruction]; 4] = [
        &[insn(0x05, 0, 0, -1, 0)],
        &[insn(0x07, 2, 0, 0, 1), insn(0x05, 0, 0, -2, 0)],
        &[insn(0x79, 3, 1, 0, 0), insn(0x7B, 1, 3, 8, 0), insn(0x05, 0, 0, -3, 0)],
        &[insn(0x15, 2, 0, -1, 0), insn(0x05, 0, 0, -2, 0)],
    ];
    for code in loops {
        let program = program(code);
        for budget in [1, 2, 3, 1000, BUDGET, 3_000_000] {
            let seen = everywhere(&program, &[0; 4096], PAGES, budget);
            assert_eq!(seen.result.unwrap_err().kind, FaultKind::Budget(budget));
            assert_eq!(seen.counts.total(), budget);
        }
    }
}

/// Another thread ends a run within a millisecond (here: a generous multiple, for busy machines).
#[test]
fn a_run_is_stopped_from_another_thread() {
    let memory = Arc::new(SharedMemory::new(256 << 20).unwrap());
    let range = Range { memory, offset: 0, len: 256 << 20, writable: true };
    let pointer = [insn(0x79, 1, 1, 4, 0), insn(0x79, 1, 1, 0, 0)];
    let spin = [insn(0x05, 0, 0, -1, 0)];
    let walk = [insn(0x79, 3, 1, 0, 0), insn(0x7B, 1, 3, 8, 0), insn(0x05, 0, 0, -3, 0)];
    // memset of everything, for ever.
    let fill = [
        insn(0xBF, 6, 1, 0, 0),
        insn(0xBF, 1, 6, 0, 0),
        insn(0xB7, 2, 0, 0, 1),
        insn(0xB7, 3, 0, 0, 256 << 20),
        insn(0x85, 0, 0, 0, 1002),
        insn(0x05, 0, 0, -5, 0),
    ];
    for engine in engines() {
        for body in [&spin[..], &walk[..], &fill[..]] {
            let program = program(&[&pointer[..], body].concat());
            program.compile(engine).unwrap();
            let stop = Arc::new(AtomicBool::new(false));
            let invocation = Invocation {
                ranges: vec![range.clone()],
                budget: u64::MAX,
                stop: Some(Arc::clone(&stop)),
                ..Default::default()
            };
            let runner = std::thread::spawn(move || {
                let mut worker = Worker::new(engine);
                let outcome = program.execute(&mut worker, &invocation);
                // Before the worker unmaps its memory.
                (outcome, Instant::now())
            });
            std::thread::sleep(Duration::from_millis(30));
            let asked = Instant::now();
            stop.store(true, Ordering::Relaxed);
            let (outcome, ended) = runner.join().unwrap();
            assert_eq!(outcome.result.unwrap_err().kind, FaultKind::Stopped, "{engine}");
            let took = ended - asked;
            println!("{engine}: stopped after {took:?}");
            assert!(took < Duration::from_secs(5), "{engine}: stopped after {took:?}");
        }
    }
}

/// One program on many threads at once, each with its own memory; faults in some of them.
#[test]
fn runs_on_many_threads_do_not_disturb_each_other() {
    // r0 = sum of r2 bytes at r1, counted down; reads one too many if the last byte is 1.
    let code = [
        insn(0xB7, 0, 0, 0, 0),
        insn(0x71, 3, 1, 0, 0),
        insn(0x0F, 0, 3, 0, 0),
        insn(0x07, 1, 0, 0, 1),
        insn(0x07, 2, 0, 0, -1),
        insn(0x55, 2, 0, -5, 0),
        insn(0x15, 3, 0, 1, 1),
        EXIT,
        insn(0x71, 3, 1, 0, 0),
        EXIT,
    ];
    let program = program(&code);
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let program = program.clone();
            scope.spawn(move || {
                for engine in engines() {
                    let mut worker = Worker::new(engine);
                    for n in 0..50u8 {
                        let mut contents = vec![thread; 4096];
                        contents[4095] = n % 2;
                        let sum = u64::from(thread) * 4095 + u64::from(n % 2);
                        let seen =
                            harness::run_with(&mut worker, &program, &contents, PAGES, 1 << 20);
                        assert_eq!(seen.result.is_err(), n % 2 == 1, "{engine}");
                        if let Ok(result) = seen.result {
                            assert_eq!(result, sum);
                        }
                    }
                }
            });
        }
    });
}

#[test]
fn faults_say_where_they_are() {
    let object = include_bytes!("sections.o");
    let program = Loader::default().object(object, None).unwrap();
    let mut results = engines().into_iter().map(|engine| {
        let mut window = program.window().unwrap();
        program.run(&mut Worker::new(engine), &mut window, [0; 5], BUDGET)
    });
    let first = results.next().unwrap();
    let fault = first.result.unwrap_err();
    assert!(fault.to_string().contains("function 'entry', instruction"), "{fault}");
    for other in results {
        assert_eq!(other.result.unwrap_err(), fault);
    }
}

/// Programs made to keep the compiler busy, or to need much of the host's stack, are compiled soon or
/// refused, and run all the same.
#[test]
fn programs_against_the_compiler_run() {
    // Diamonds whose arms are equally long: no counter of theirs can be derived.
    let diamond = [insn(0x15, 1, 0, 1, 0), insn(0x05, 0, 0, 1, 0), insn(0xB7, 0, 0, 0, 0)];
    let mut diamonds = diamond.repeat(4000);
    diamonds.push(EXIT);
    // Loops of one block, unrolled, each full of loads.
    let mut loops = Vec::new();
    for _ in 0..150 {
        loops.push(insn(0xB7, 2, 0, 0, 1));
        loops.extend((0..62).map(|n| insn(0x71, 3, 1, n, 0)));
        loops.extend([insn(0x17, 2, 0, 0, 1), insn(0x55, 2, 0, -64, 0)]);
    }
    loops.push(EXIT);
    // A loop with thousands of addresses that do not change in it.
    let mut spills = vec![insn(0xB7, 4, 0, 0, 2)];
    for n in 0..3000 {
        spills.extend([insn(0xBF, 2, 1, 0, 0), insn(0x07, 2, 0, 0, n), insn(0x27, 2, 0, 0, 1)]);
        spills.push(insn(0x71, 3, 2, 0, 0));
    }
    spills.extend([insn(0x17, 4, 0, 0, 1), insn(0x55, 4, 0, -12_002, 0), EXIT]);
    for code in [diamonds, loops, spills] {
        let program = program(&code);
        let run = |engine, layout| {
            let mut worker = Worker::new(engine);
            harness::run_with(&mut worker, &program, &[7; 4096], layout, BUDGET)
        };
        for layout in [PAGES, BYTES] {
            assert_eq!(run(Engine::Interpreter, layout), run(Engine::Auto, layout));
        }
    }
}

/// A range without bytes leaves nothing to be unmapped for the next run.
#[test]
fn ranges_without_bytes_come_and_go() {
    let memory = Arc::new(SharedMemory::new(1 << 20).unwrap());
    let range = |offset, len| Range { memory: Arc::clone(&memory), offset, len, writable: true };
    let program = program(&[insn(0xB7, 0, 0, 0, 1), EXIT]);
    for engine in engines() {
        let mut worker = Worker::new(engine);
        for ranges in
            [vec![range(0, 0)], vec![range(100, 0), range(4096, 10)], vec![range(0, 8)], vec![]]
        {
            let invocation = Invocation { ranges, budget: 10, ..Default::default() };
            assert_eq!(program.execute(&mut worker, &invocation).result, Ok(1), "{engine}");
        }
    }
}

/// Two ranges over the same bytes: what one writes the other reads, on every engine.
#[test]
fn ranges_over_the_same_bytes_are_the_same_bytes() {
    let memory = Arc::new(SharedMemory::new(8192).unwrap());
    let range = |offset| Range { memory: Arc::clone(&memory), offset, len: 4096, writable: true };
    // for (i = 0; i < 1000; i++) b[i + 1] = a[i] + 1, bytes; a and b are one memory.
    let code = [
        insn(0x79, 2, 1, 4, 0),
        insn(0x79, 3, 2, 0, 0),
        insn(0x79, 4, 2, 8, 0),
        insn(0xB7, 5, 0, 0, 0),
        insn(0x71, 0, 3, 0, 0),
        insn(0x07, 0, 0, 0, 1),
        insn(0x73, 4, 0, 1, 0),
        insn(0x07, 3, 0, 0, 1),
        insn(0x07, 4, 0, 0, 1),
        insn(0x07, 5, 0, 0, 1),
        insn(0xA5, 5, 0, -7, 1000),
        EXIT,
    ];
    let program = program(&code);
    for engine in engines() {
        memory.clear();
        let invocation =
            Invocation { ranges: vec![range(0), range(0)], budget: BUDGET, ..Default::default() };
        let outcome = program.execute(&mut Worker::new(engine), &invocation);
        assert_eq!(outcome.result, Ok(1000 & 0xFF), "{engine}");
    }
}

/// The address of memory is all a program gets: running on `auto` falls back where it must.
#[test]
fn programs_too_large_to_compile_are_interpreted() {
    let mut code = vec![insn(0x07, 0, 0, 0, 1); 40_000];
    code.push(EXIT);
    let program = Program::from_instructions(&bytes_of(&code)).unwrap();
    assert!(program.compile(Engine::Tier1).unwrap_err().contains("at most"));
    let mut window = program.window().unwrap();
    let outcome = program.run(&mut Worker::default(), &mut window, [0; 5], BUDGET);
    assert_eq!((outcome.result, outcome.engine), (Ok(40_000), Engine::Interpreter));
}

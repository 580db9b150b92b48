//! What the verifier refuses, with the text it gives; and what a loader must survive.
#![expect(clippy::disallowed_methods, reason = "tests, not models")]

use ebpf::isa::Instruction;
use ebpf::{Engine, Invocation, Program, Range, SharedMemory, Worker, select_entry};
use std::sync::Arc;

const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];

fn refused(slots: &[[u8; 8]]) -> String {
    match Program::from_instructions(slots.as_flattened()) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("accepted: {slots:x?}"),
    }
}

fn insn(opcode: u8, dst: u8, src: u8, offset: i16, imm: i32) -> [u8; 8] {
    Instruction { opcode, dst, src, offset, imm }.encode()
}

#[test]
fn refusals_name_function_instruction_and_reason() {
    let lddw = [insn(0x18, 0, 0, 0, 1), insn(0, 0, 0, 0, 0)];
    let cases: &[(&[[u8; 8]], &str)] = &[
        (&[insn(0xB7, 0, 0, 0, 1)], "run past its end"),
        (&[insn(0x05, 0, 0, 1, 0), EXIT], "jumps to 2, outside"),
        (&[insn(0x05, 0, 0, -2, 0), EXIT], "jumps to -1, outside"),
        (&[insn(0x06, 0, 0, 0, i32::MAX), EXIT], "outside the function"),
        (&[insn(0x05, 0, 0, 1, 0), lddw[0], lddw[1], EXIT], "middle of a 64-bit load"),
        (&[EXIT, lddw[0]], "cut off"),
        (&[lddw[0], insn(0xB7, 0, 0, 0, 1), EXIT], "second half"),
        (&[insn(0x18, 0, 1, 0, 1), lddw[1], EXIT], "map or variable"),
        (&[insn(0xB7, 10, 0, 0, 1), EXIT], "r10, the read-only"),
        (&[insn(0x79, 10, 1, 0, 0), EXIT], "r10, the read-only"),
        (&[insn(0xDB, 1, 10, 0, 1), EXIT], "r10, the read-only"),
        (&[insn(0xB7, 11, 0, 0, 1), EXIT], "register r11 does not exist"),
        (&[insn(0xBF, 0, 15, 0, 0), EXIT], "register r15 does not exist"),
        (&[insn(0x85, 0, 0, 0, 999), EXIT], "helper 999, which does not exist"),
        (&[insn(0x85, 0, 1, 0, 99), EXIT], "calls no function"),
        (&[insn(0x85, 0, 2, 0, 1), EXIT], "kernel function"),
        (&[insn(0x20, 0, 0, 0, 1), EXIT], "packet access"),
        (&[insn(0x79, 0, 10, -4, 0), EXIT], "above the frame"),
        (&[insn(0x79, 0, 10, 0, 0), EXIT], "r10+0, above the frame"),
        (&[insn(0xC3, 10, 1, -8, 0x33), EXIT], "atomic operation 0x33"),
        (&[insn(0xCB, 10, 1, -8, 0), EXIT], "fewer than 4 bytes"),
        (&[insn(0xD4, 0, 0, 0, 24), EXIT], "not an instruction"),
        (&[insn(0xBF, 0, 1, 24, 0), EXIT], "not an instruction"),
        (&[insn(0x8F, 0, 1, 0, 0), EXIT], "not an instruction"),
        (&[insn(0xE5, 0, 0, 0, 0), EXIT], "not an instruction"),
        (&[insn(0x99, 0, 1, 0, 0), EXIT], "not an instruction"),
        (&[insn(0xE7, 0, 0, 0, 0), EXIT], "not an instruction"),
    ];
    for (slots, part) in cases {
        let text = refused(slots);
        assert!(text.contains(part), "{slots:x?}: {text}");
        assert!(text.starts_with("function 'function_0', instruction "), "{text}");
    }
    assert!(Program::from_instructions(&[]).is_err());
    assert!(Program::from_instructions(&EXIT[..7]).is_err());
}

/// A function that is never called may hold anything, also half an instruction: what runs is what
/// was verified.
#[test]
fn unreached_functions_do_not_shift_the_code_that_runs() {
    // 0: call 3; exit; (unreached) half a 64-bit load | 3: r0 = 7; exit | 5: junk, called by 2
    let code = [insn(0x85, 0, 1, 0, 2), EXIT, insn(0x18, 0, 0, 0, 1), insn(0xB7, 0, 0, 0, 7), EXIT];
    // Functions begin at 0 and 3; slot 2 belongs to the first, which then is refused.
    assert!(refused(&code).contains("cut off"));
    let object = include_bytes!("unreached.o");
    let program = Program::load(object, None).unwrap();
    let outcome = program.run(&mut Worker::default(), &mut program.window().unwrap(), [0; 5], 10);
    assert_eq!(outcome.result, Ok(7));
}

#[test]
fn aliases_and_odd_sections_load() {
    let object = include_bytes!("aliases.o");
    for name in ["impl", "also"] {
        assert!(Program::load(object, Some(name)).is_ok(), "{name}");
        assert!(Program::load(&select_entry(object, name).unwrap(), None).is_ok(), "{name}");
    }
}

/// Every opcode byte with plausible other fields is either refused or runs.
#[test]
fn every_opcode_is_refused_or_runs() {
    for opcode in 0..=255 {
        for (src, offset, imm) in
            [(0, 0, 0), (1, 0, 16), (2, 1, 1), (1, -8, 0xE1), (0, 0, 1001), (3, 32, 6)]
        {
            let slots = [insn(opcode, 1, src, offset, imm), insn(0, 0, 0, 0, 0), EXIT, EXIT];
            for length in [1, 2, 4] {
                let code = [&slots[..length], &[EXIT]].concat();
                if let Ok(program) = Program::from_instructions(code.as_flattened()) {
                    let mut workers = [Engine::Interpreter, Engine::Tier1].map(Worker::new);
                    let [a, b] = workers.each_mut().map(|worker| {
                        let mut window = program.window().unwrap();
                        program.run(worker, &mut window, [0x10000, 1, 2, 3, 4], 100)
                    });
                    assert_eq!((a.result, a.counts), (b.result, b.counts), "{code:x?}");
                }
            }
        }
    }
}

/// Real objects with damaged bytes: refused or run within budget, never a panic.
#[test]
fn damaged_objects_are_refused_or_run() {
    let objects: [&[u8]; 3] = [
        include_bytes!("../../../examples/programs/grep-count.bpf.o"),
        include_bytes!("../../../examples/programs/tpch_q6.bpf.o"),
        include_bytes!("sections.o"),
    ];
    let memory = Arc::new(SharedMemory::new(4096).unwrap());
    let range = |offset| Range { memory: Arc::clone(&memory), offset, len: 256, writable: true };
    let invocation = Invocation {
        ranges: (0..5).map(|n| range(n * 256)).collect(),
        data: vec![1, 2, 3],
        budget: 10_000,
        ..Default::default()
    };
    let mut state = 0x1234_5678_9ABC_DEF0_u64;
    let mut random = |bound: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let mut worker = Worker::default();
    let (mut ran, mut refused) = (0, 0);
    // An emulated machine is slow: as few as the random programs of `engines.rs`.
    let programs = std::env::var("PROGRAMS").ok().and_then(|n| n.parse().ok());
    let rounds = programs.map_or(4000, |n: u64| n / 10).clamp(400, 4000);
    for object in objects {
        assert!(
            Program::load(object, None).is_ok() || Program::load(object, Some("entry")).is_ok()
        );
        for length in (0..object.len()).step_by(if rounds < 4000 { 16 } else { 1 }) {
            let _ = Program::load(&object[..length], None);
        }
        for _ in 0..rounds {
            let mut bytes = object.to_vec();
            for _ in 0..=random(3) {
                let at = random(bytes.len());
                bytes[at] =
                    if random(2) == 0 { random(256) as u8 } else { bytes[at] ^ 1 << random(8) };
            }
            match Program::load(&bytes, None) {
                Ok(program) => {
                    let _ = program.execute(&mut worker, &invocation);
                    ran += 1;
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(
        ran > rounds / 4 && refused > rounds / 4,
        "{ran} ran, {refused} refused: damage something else"
    );
}

#[test]
fn entry_is_chosen_inside_the_object() {
    let object = include_bytes!("sections.o");
    assert_eq!(Program::load(object, None).unwrap().entry_name(), "entry");
    for name in ["entry", "letters"] {
        let chosen = select_entry(object, name).unwrap();
        assert_eq!(Program::load(&chosen, None).unwrap().entry_name(), name);
    }
    let text = select_entry(object, "nobody").unwrap_err().to_string();
    assert!(text.contains("no function 'nobody'; ") || text.contains("it has: "), "{text}");
}

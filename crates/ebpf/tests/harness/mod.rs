//! Runs a program with every engine and demands that all of them see the same.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part")]

use std::sync::{Arc, OnceLock};

use ebpf::isa::Instruction;
use ebpf::{Counts, Engine, Fault, Loader, Program, SegmentKind, SharedMemory, Worker};

pub const EXIT: Instruction = Instruction { opcode: 0x95, dst: 0, src: 0, offset: 0, imm: 0 };

pub fn insn(opcode: u8, dst: u8, src: u8, offset: i16, imm: i32) -> Instruction {
    Instruction { opcode, dst, src, offset, imm }
}

/// Two slots that load a 64-bit value.
pub fn lddw(dst: u8, value: u64) -> [Instruction; 2] {
    [insn(0x18, dst, 0, 0, value as i32), insn(0, 0, 0, 0, (value >> 32) as i32)]
}

pub fn bytes_of(code: &[Instruction]) -> Vec<u8> {
    code.iter().flat_map(|i| i.encode()).collect()
}

pub fn program(code: &[Instruction]) -> Program {
    Loader::default().instructions(&bytes_of(code)).unwrap_or_else(|e| panic!("{e}: {code:?}"))
}

/// Everything a run shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    pub result: Result<u64, Fault>,
    pub counts: Counts,
    pub trace: Vec<u8>,
    pub memory: Vec<u8>,
}

/// Memory of a test: the middle of a larger one, whose other bytes must not change.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Where the memory begins in the larger one.
    pub offset: u64,
    pub writable: bool,
}

/// Page protection alone guards memory whose length is whole pages, here.
pub const PAGES: Layout = Layout { offset: 8192, writable: true };
/// Addresses are compared with bounds here, whatever the length.
pub const BYTES: Layout = Layout { offset: 8192 + 40, writable: true };

/// Engines that this machine can compare: tier 2 needs clang.
pub fn engines() -> Vec<Engine> {
    static ENGINES: OnceLock<Vec<Engine>> = OnceLock::new();
    let find = || {
        let probe = program(&[insn(0xB7, 0, 0, 0, 1), EXIT]);
        let all = Engine::NAMES.map(|(_, engine)| engine).into_iter();
        all.filter(|e| *e != Engine::Auto && probe.compile(*e).is_ok()).collect()
    };
    ENGINES.get_or_init(find).clone()
}

const SENTINEL: u8 = 0xA5;

/// Runs a program with r1 = address of memory with these contents, r2 = its length.
pub fn run_with(
    worker: &mut Worker,
    program: &Program,
    contents: &[u8],
    layout: Layout,
    budget: u64,
) -> Seen {
    run(worker, program, (contents, layout), [0; 3], budget)
}

fn run(
    worker: &mut Worker,
    program: &Program,
    (contents, layout): (&[u8], Layout),
    [r3, r4, r5]: [u64; 3],
    budget: u64,
) -> Seen {
    let len = contents.len() as u64;
    let size = (layout.offset + len).next_multiple_of(4096) + 8192;
    let shared = Arc::new(SharedMemory::new(size).unwrap());
    assert!(shared.fill(0, size, SENTINEL) && shared.write(layout.offset, contents));
    let mut window = program.window().unwrap();
    let kind = SegmentKind::Range(0);
    let address = window.map_shared(kind, &shared, layout.offset, len, layout.writable).unwrap();
    let outcome = program.run(worker, &mut window, [address, len, r3, r4, r5], budget);
    if worker.engine() != Engine::Auto {
        assert_eq!(outcome.engine, worker.engine(), "another engine ran it");
    }
    let mut all = vec![0; size as usize];
    assert!(shared.read(0, &mut all));
    let inside = layout.offset as usize..(layout.offset + len) as usize;
    let memory = all[inside.clone()].to_vec();
    all[inside].fill(SENTINEL);
    assert!(all.iter().all(|&b| b == SENTINEL), "memory beside the range was written");
    Seen { result: outcome.result, counts: outcome.counts, trace: outcome.trace, memory }
}

/// Runs a program with every engine: what all of them saw.
pub fn everywhere(program: &Program, contents: &[u8], layout: Layout, budget: u64) -> Seen {
    everywhere_with(program, (contents, layout), [0; 3], budget)
}

/// The same with r3 to r5: a program compiled once can try many values.
pub fn everywhere_with(
    program: &Program,
    memory: (&[u8], Layout),
    arguments: [u64; 3],
    budget: u64,
) -> Seen {
    agree(&engines(), program, memory, arguments, budget)
}

/// The same without tier 2, which takes a tenth of a second for each program.
pub fn quickly(program: &Program, contents: &[u8], layout: Layout, budget: u64) -> Seen {
    let engines = [Engine::Interpreter, Engine::Tier1];
    agree(&engines, program, (contents, layout), [0; 3], budget)
}

fn agree(
    engines: &[Engine],
    program: &Program,
    memory: (&[u8], Layout),
    arguments: [u64; 3],
    budget: u64,
) -> Seen {
    let mut seen: Option<Seen> = None;
    for &engine in engines {
        let now = run(&mut Worker::new(engine), program, memory, arguments, budget);
        match &seen {
            Some(first) => assert_eq!(first, &now, "interpreter (left) and {engine} (right)"),
            None => seen = Some(now),
        }
    }
    seen.expect("there are engines")
}

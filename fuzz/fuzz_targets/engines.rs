//! Programs, as objects or as bare instructions: what is accepted does the same interpreted and
//! compiled, and changes nothing beside its memory. The first byte chooses memory and budget.
//! Seeds: `cargo +nightly fuzz run engines corpus/engines ../examples/programs ../crates/ebpf/tests`.
#![no_main]

use std::sync::Arc;

use ebpf::{Engine, Invocation, Outcome, Program, Range, SharedMemory, Worker};

const SENTINEL: u8 = 0xA5;
const SIZE: u64 = 64 << 10;

fn run(program: &Program, engine: Engine, choice: u8) -> (Outcome, Vec<u8>) {
    let memory = Arc::new(SharedMemory::new(SIZE).expect("the host has memory"));
    assert!(memory.fill(0, SIZE, SENTINEL));
    // Whole pages, or a range within a page.
    let (offset, len) = if choice & 1 == 0 { (8192, 8192) } else { (8232, 1000) };
    let range = |offset, len, writable| Range { memory: Arc::clone(&memory), offset, len, writable };
    let invocation = Invocation {
        ranges: vec![
            range(offset, len, true),
            range(32768, len, choice & 2 == 0),
            range(49152, 0, true),
        ],
        param1: i64::from(choice),
        param2: -1,
        data: vec![1; usize::from(choice >> 4) * 300],
        budget: [100, 1000, 20_000, 100_000][usize::from(choice >> 2 & 3)],
        ..Default::default()
    };
    let outcome = program.execute(&mut Worker::new(engine), &invocation);
    let mut bytes = vec![0; SIZE as usize];
    assert!(memory.read(0, &mut bytes));
    for (n, &byte) in bytes.iter().enumerate() {
        let n = n as u64;
        let given = (offset..offset + len).contains(&n) || (32768..32768 + len).contains(&n);
        assert!(given || byte == SENTINEL, "byte {n} beside the ranges changed");
    }
    (outcome, bytes)
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (choice, loaded) = match bytes {
        [0x7F, ..] => (bytes.len() as u8, Program::load(bytes, None)),
        [choice, code @ ..] => (*choice, Program::from_instructions(code)),
        [] => return,
    };
    let Ok(program) = loaded else { return };
    let (a, interpreted) = run(&program, Engine::Interpreter, choice);
    let (b, compiled) = run(&program, Engine::Tier1, choice);
    assert_eq!((a.result, a.counts, a.trace), (b.result, b.counts, b.trace));
    assert!(interpreted == compiled, "the memory differs");
});

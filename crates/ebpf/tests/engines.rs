//! Random verified programs: every engine must give the same result, memory, counts and fault.
//!
//! `PROGRAMS=n` sets how many, `SEED=s` where to begin. A tenth begins at a seed of the time of day:
//! every run also tries programs that no run before has tried. A failure prints seed and program.
//! Clang takes long even for a hundred programs in one file, so tier 2 takes part in one of [`TIER2_EVERY`]
//! only (`TIER2_EVERY=1`: in all).
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a test, not a model")]

mod harness;

use std::time::{SystemTime, UNIX_EPOCH};

use ebpf::isa::Instruction;
use ebpf::{Engine, Loader, Program, Worker};
use harness::{BYTES, EXIT, Layout, PAGES, bytes_of, engines, insn, lddw, run_with};

/// Programs of a run; continuous integration runs all of them.
const PROGRAMS: u64 = 30_000;

/// Programs of which one is compiled by tier 2, too.
const TIER2_EVERY: u64 = 20;

/// Programs that clang compiles at once.
const TOGETHER: usize = 100;

/// Where the first segment of a window is: programs make wild pointers near it.
const MEMORY: u64 = 16 << 20;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// Numbers at which arithmetic changes its mind.
    fn value(&mut self) -> u64 {
        let edge = self.of(&[0, 1, 2, 7, 31, 32, 63, 64, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000]);
        let big = self.of(&[
            1 << 31,
            (1 << 31) - 1,
            u64::from(u32::MAX),
            1 << 32,
            1 << 63,
            i64::MAX as u64,
            MEMORY,
        ]);
        match self.below(6) {
            0 => edge,
            1 => (edge as i64).wrapping_neg() as u64,
            2 => big,
            3 => big.wrapping_add(edge).wrapping_sub(2),
            4 => self.next() >> self.below(64),
            _ => self.below(16),
        }
    }

    fn register(&mut self) -> u8 {
        self.below(10) as u8
    }
}

/// One function under construction: slots, with jumps to be patched.
struct Builder<'a> {
    random: &'a mut Random,
    slots: Vec<Instruction>,
    /// First slot of each instruction, where jumps may lead.
    starts: Vec<usize>,
}

impl Builder<'_> {
    fn push(&mut self, slots: &[Instruction]) {
        self.starts.push(self.slots.len());
        self.slots.extend_from_slice(slots);
    }

    fn arithmetic(&mut self) -> Instruction {
        let random = &mut *self.random;
        let (dst, src) = (random.register(), random.register());
        let class = random.of(&[0x04, 0x07]);
        let imm = random.value() as i32;
        let operation = random.of(&[
            0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x80, 0x90, 0xA0, 0xB0, 0xC0, 0xD0,
            0xE0, 0xF0, 0xB1,
        ]);
        match operation {
            0x80 => insn(0x80 | class, dst, 0, 0, 0),
            0xD0 if class == 0x07 => insn(0xD7, dst, 0, 0, random.of(&[16, 32, 64])),
            0xD0 => insn(random.of(&[0xD4, 0xDC]), dst, 0, 0, random.of(&[16, 32, 64])),
            // Signed division and remainder; moves with sign extension.
            0xE0 | 0xF0 => {
                let operation = if operation == 0xE0 { 0x30 } else { 0x90 };
                let register = random.of(&[0, 8]);
                let (src, imm) = if register == 8 { (src, 0) } else { (0, imm) };
                insn(operation | register | class, dst, src, 1, imm)
            }
            0xB1 => {
                let width =
                    if class == 0x07 { random.of(&[8, 16, 32]) } else { random.of(&[8, 16]) };
                insn(0xB8 | class, dst, src, width, 0)
            }
            _ if random.chance(50) => insn(operation | 8 | class, dst, src, 0, 0),
            _ => insn(operation | class, dst, 0, 0, imm),
        }
    }

    /// A base register and offset: mostly within the frame or the memory.
    fn place(&mut self) -> (u8, i16) {
        let random = &mut *self.random;
        match random.below(10) {
            0..=2 => (10, -8 - (random.below(505) as i16)),
            3..=6 => (random.of(&[1, 6, 7]), random.below(64) as i16),
            7 => (random.of(&[1, 6, 7]), random.of(&[4088, 4089, 4095, 4096, -1, -8, 92, 99, 100])),
            8 => (random.register(), random.next() as i16),
            _ => (random.register(), 0),
        }
    }

    fn memory(&mut self) -> Instruction {
        let (base, offset) = self.place();
        let random = &mut *self.random;
        let (register, imm) = (random.register(), random.value() as i32);
        match random.below(8) {
            0..=2 => insn(random.of(&[0x61, 0x69, 0x71, 0x79]), register, base, offset, 0),
            3 => insn(random.of(&[0x81, 0x89, 0x91]), register, base, offset, 0),
            4 => insn(random.of(&[0x62, 0x6A, 0x72, 0x7A]), base, 0, offset, imm),
            5 | 6 => insn(random.of(&[0x63, 0x6B, 0x73, 0x7B]), base, register, offset, 0),
            _ => {
                let kind = random.of(&[0, 1, 0x40, 0x41, 0x50, 0x51, 0xA0, 0xA1, 0xE1, 0xF1]);
                insn(random.of(&[0xC3, 0xDB]), base, register, offset, kind)
            }
        }
    }

    /// A jump whose target is filled in later.
    fn jump(&mut self) -> Instruction {
        let random = &mut *self.random;
        let operation = random
            .of(&[0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xA0, 0xB0, 0xC0, 0xD0, 0x50, 0xA0]);
        let class = random.of(&[0x05, 0x06]);
        let (dst, src) = (random.register(), random.register());
        match random.below(10) {
            0 => insn(0x05, 0, 0, 0, 0),
            1..=5 => insn(operation | class, dst, 0, 0, random.value() as i32),
            _ => insn(operation | 8 | class, dst, src, 0, 0),
        }
    }

    /// A loop of one block that counts a register up to a limit, over a few operations.
    fn small_loop(&mut self) {
        let counter = self.random.of(&[6, 8, 9]);
        let limit = self.random.below(40) as i32;
        self.push(&[insn(0xB7, counter, 0, 0, 0)]);
        let first = self.slots.len();
        for _ in 0..1 + self.random.below(4) {
            let one = if self.random.chance(50) { self.memory() } else { self.arithmetic() };
            self.push(&[one]);
        }
        let step = 1 + self.random.below(3) as i32;
        self.push(&[insn(0x07, counter, 0, 0, step)]);
        if self.random.chance(40) {
            // A pointer that walks, off the end at times.
            let stride = self.random.of(&[1, 4, 8, 32, 128]);
            self.push(&[insn(0x07, 7, 0, 0, stride)]);
        }
        let back = first as i64 - self.slots.len() as i64 - 1;
        let operation = self.random.of(&[0xA5, 0xA6, 0xC5, 0x55]);
        self.push(&[insn(operation, counter, 0, back as i16, limit)]);
    }

    fn helper(&mut self) {
        let random = &mut *self.random;
        if random.chance(70) {
            // Plausible arguments: two places in the memory and a length.
            self.push(&[insn(0xBF, 1, 7, 0, 0)]);
            self.push(&[insn(0xBF, 2, 7, 0, 0)]);
            let distance = self.random.below(200) as i32;
            let len = self.random.of(&[0, 1, 8, 40, 100, 4096, 100_000]);
            self.push(&[insn(0x07, 2, 0, 0, distance)]);
            self.push(&[insn(0xB7, 3, 0, 0, len)]);
            self.push(&[insn(0xB7, 4, 0, 0, 3)]);
        }
        let random = &mut *self.random;
        let id = random.of(&[6, 1001, 1001, 1002, 1003, 1004, 1005, 1006]);
        if random.chance(80) {
            self.push(&[insn(0x85, 0, 0, 0, id)]);
        } else {
            let wrong = i32::from(random.chance(20));
            self.push(&[insn(0xB7, 0, 0, 0, id + wrong)]);
            self.push(&[insn(0x8D, 0, 0, 0, 0)]);
        }
    }

    /// Ends the function and gives every jump a target in it.
    fn finish(mut self) -> Vec<Instruction> {
        self.push(&[EXIT]);
        for at in 0..self.slots.len() {
            let is_jump = self.slots[at].jump_displacement().is_some();
            if !is_jump || !self.starts.contains(&at) || self.slots[at].offset != 0 {
                continue;
            }
            // Mostly forward: what goes back ends with the budget only.
            let back = self.random.chance(25);
            let choices: Vec<usize> =
                self.starts.iter().copied().filter(|&s| back || s > at).collect();
            let target = self.random.of(&choices);
            self.slots[at].offset = (target as i64 - at as i64 - 1) as i16;
        }
        self.slots
    }
}

/// Functions of a program, the entry first, and where each call is that must be patched.
fn generate(random: &mut Random) -> Vec<Instruction> {
    let functions = 1 + random.below(4).saturating_sub(1) as usize;
    let mut bodies = Vec::new();
    let mut calls = Vec::new();
    for n in 0..functions {
        let mut builder = Builder { random, slots: Vec::new(), starts: Vec::new() };
        // Pointers that stay: r6 and r7 to the memory.
        builder.push(&[insn(0xBF, 6, 1, 0, 0)]);
        builder.push(&[insn(0xBF, 7, 1, 0, 0)]);
        for _ in 0..4 + builder.random.below(24) {
            match builder.random.below(20) {
                0..=8 => {
                    let one = builder.arithmetic();
                    builder.push(&[one]);
                }
                9..=13 => {
                    let one = builder.memory();
                    builder.push(&[one]);
                }
                14..=16 => {
                    let one = builder.jump();
                    builder.push(&[one]);
                }
                17 => {
                    let (register, value) = (builder.random.register(), builder.random.value());
                    builder.push(&lddw(register, value));
                }
                18 if builder.random.chance(50) => builder.small_loop(),
                18 => builder.helper(),
                _ => {
                    if builder.random.chance(60) {
                        builder.push(&[insn(0xBF, 1, 7, 0, 0)]);
                    }
                    calls.push((n, builder.slots.len(), builder.random.below(functions as u64)));
                    builder.push(&[insn(0x85, 0, 1, 0, 0)]);
                }
            }
        }
        bodies.push(builder.finish());
    }
    let starts: Vec<usize> = bodies
        .iter()
        .scan(0, |next, body| Some(std::mem::replace(next, *next + body.len())))
        .collect();
    for (function, at, callee) in calls {
        let here = (starts[function] + at) as i32;
        bodies[function][at].imm = starts[callee as usize] as i32 - here - 1;
    }
    bodies.concat()
}

/// What became of the programs of a run.
#[derive(Clone, Copy, Default, Debug)]
struct Seen {
    finished: u64,
    memory: u64,
    budget: u64,
    other: u64,
    instructions: u64,
}

/// A program, and what it is run with.
struct Case {
    seed: u64,
    code: Vec<Instruction>,
    program: Program,
    /// Makes what follows the code.
    random: Random,
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let code = generate(&mut random);
        let program = Loader::default().instructions(&bytes_of(&code));
        let program = program.unwrap_or_else(|e| panic!("seed {seed}: {e}\n{code:#?}"));
        Self { seed, code, program, random }
    }
}

fn check(case: Case, workers: &mut [Worker], with_tier2: bool, seen: &mut Seen) {
    let Case { seed, code, program, mut random } = case;
    let (layout, len) = match random.below(4) {
        0 => (PAGES, 4096),
        1 => (PAGES, 8192),
        2 => (BYTES, 100),
        _ => (BYTES, 4096),
    };
    let layout = Layout { writable: random.chance(85), ..layout };
    let contents: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
    let budget = random.of(&[0, 1, 10, 50, 333, 2000, 2000, 20_000]);
    let mut first = None;
    for worker in workers {
        if worker.engine() == Engine::Tier2 && !with_tier2 {
            continue;
        }
        let now = run_with(worker, &program, &contents, layout, budget);
        match &first {
            None => first = Some(now),
            Some(first) => assert!(
                *first == now,
                "seed {seed}, {layout:?}, budget {budget}, {}\ninterpreter: {:?} {:?}\nthis: {:?} {:?}\nsame memory: {}\n{code:#?}",
                worker.engine(),
                first.result,
                first.counts,
                now.result,
                now.counts,
                first.memory == now.memory,
            ),
        }
    }
    let first = first.expect("there are engines");
    seen.instructions += first.counts.total();
    match first.result.map_err(|f| f.kind) {
        Ok(_) => seen.finished += 1,
        Err(ebpf::FaultKind::Memory(_)) => seen.memory += 1,
        Err(ebpf::FaultKind::Budget(_)) => seen.budget += 1,
        Err(_) => seen.other += 1,
    }
}

/// Checks programs with all engines, and forgets them.
fn check_together(cases: &mut Vec<Case>, workers: &mut [Worker], seen: &mut Seen) {
    let programs: Vec<Program> = cases.iter().map(|case| case.program.clone()).collect();
    if let Err(error) = Program::compile_together(&programs) {
        panic!("{error}; seeds {:?}", cases.iter().map(|case| case.seed).collect::<Vec<_>>());
    }
    cases.drain(..).for_each(|case| check(case, workers, true, seen));
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn random_programs_do_the_same_on_every_engine() {
    let programs = number("PROGRAMS").unwrap_or(PROGRAMS);
    let seed = number("SEED").unwrap_or(1);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 >> 10;
    let fresh = programs / 10;
    println!("{} programs from seed {seed}, {fresh} from seed {now}", programs - fresh);
    let engines = engines();
    let tier2_every = number("TIER2_EVERY").unwrap_or(TIER2_EVERY).max(1);
    let has_tier2 = engines.contains(&Engine::Tier2);
    if !has_tier2 {
        println!("SKIPPED for tier 2: it needs clang (apt-get install clang) and x86-64");
    }
    let part = &|odd: u64| {
        let seeds = (seed..seed + programs - fresh).chain(now..now + fresh);
        let mut workers: Vec<Worker> = engines.iter().copied().map(Worker::new).collect();
        assert_eq!(workers[0].engine(), Engine::Interpreter);
        let mut seen = Seen::default();
        let mut waiting = Vec::new();
        for (n, seed) in seeds.enumerate().filter(|(n, _)| *n as u64 % 2 == odd) {
            let case = Case::new(seed);
            if has_tier2 && (n as u64 / 2).is_multiple_of(tier2_every) {
                waiting.push(case);
            } else {
                check(case, &mut workers, false, &mut seen);
            }
            if waiting.len() == TOGETHER {
                check_together(&mut waiting, &mut workers, &mut seen);
            }
        }
        check_together(&mut waiting, &mut workers, &mut seen);
        seen
    };
    let parts = std::thread::scope(|scope| {
        let threads = [0, 1].map(|odd| scope.spawn(move || part(odd)));
        threads.map(|thread| thread.join().expect("the other thread says what differs"))
    });
    println!("{parts:?}");
    for seen in parts {
        // The generator makes programs worth running.
        assert!(seen.finished >= programs / 20 && seen.memory >= programs / 20, "{seen:?}");
        assert!(seen.budget >= programs / 50, "{seen:?}");
    }
}

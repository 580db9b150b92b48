//! A cost table for the machine that this runs on: what the engine's code takes there, per instruction and byte.
//!
//! Loops of known mixes of instructions, and the kernels of the benchmark, are measured. The table is the one with non-negative
//! costs that explains their times best, by relative squared errors. How good it is shows when each kernel is predicted by a table that
//! was fitted without it.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use ebpf::isa::{InstructionClass, alu, class, jump, mode};
use ebpf::{Engine, Invocation, Program, Range, SharedMemory, Worker};

use crate::OBJECT;
use crate::kernels::{self, Kernel, Random};

/// Instruction classes, and bytes.
const FEATURES: usize = InstructionClass::ALL.len() + 1;

/// Runs of each program, of which the median counts.
const SAMPLES: u32 = 7;

/// Mixes of instructions.
const MIXES: usize = 60;

/// Rounds of the loop of a mix.
const ROUNDS: i32 = 20_000;

/// Bytes that the loops go through again and again: what they cost beyond the instructions is seen from the kernels.
const FOOTPRINT: u64 = 32 << 10;

/// A kernel counts as much as so many mixes: it is what the table is for.
const KERNEL_WEIGHT: f64 = 8.0;

/// What a table predicts for a program that it was not fitted to.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// The kernel.
    pub kernel: &'static str,
    /// What it took.
    pub measured_ns: f64,
    /// What a table says that was fitted without it.
    pub predicted_ns: f64,
}

impl Prediction {
    /// Relative to what was measured.
    pub fn error(&self) -> f64 {
        self.predicted_ns / self.measured_ns - 1.0
    }
}

/// A fitted table.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// Nanoseconds of an instruction, by class.
    pub instruction_ns: [f64; InstructionClass::ALL.len()],
    /// Nanoseconds of a byte.
    pub byte_ns: f64,
    /// How well each kernel is predicted.
    pub predictions: Vec<Prediction>,
}

/// One measurement.
struct Sample {
    features: [f64; FEATURES],
    ns: f64,
    weight: f64,
}

/// Number of measurements, for a progress bar.
pub const STEPS: usize = MIXES + KERNELS;

/// One kernel less than the benchmark has: the one that works on what is in the cache again and again is no use of a drive.
const KERNELS: usize = crate::KERNELS - 1;

/// Measures and fits; `progress` is told what is measured next.
///
/// # Errors
/// If this machine runs none of the programs.
pub fn calibrate(mut progress: impl FnMut(&str)) -> Result<Calibration> {
    let mut worker = Worker::new(Engine::Auto);
    let mut random = Random::new(7);
    let mut mixes = Vec::new();
    for n in 0..MIXES {
        progress("mix of instructions");
        let program = mix(n, &mut random);
        let memory = Arc::new(SharedMemory::new(2 * FOOTPRINT)?);
        let range = Range { memory, offset: 0, len: 2 * FOOTPRINT, writable: true };
        let program = Program::from_instructions(&program).context("a mix")?;
        mixes.push(measure(&mut worker, &program, vec![range], [0; 2], 1.0)?);
    }
    let mut named = Vec::new();
    for kernel in kernels::all().into_iter().filter(|kernel| kernel.name != "vadd_cache") {
        progress(kernel.name);
        let program = Program::load(OBJECT, Some(kernel.function))?;
        let ranges = ranges_of(&kernel)?;
        let sample = measure(&mut worker, &program, ranges, kernel.params, KERNEL_WEIGHT)?;
        named.push((kernel.name, sample));
    }
    let predictions = (0..named.len())
        .map(|without| {
            let others = named.iter().enumerate().filter(|(n, _)| *n != without);
            let table = fit(mixes.iter().chain(others.map(|(_, (_, sample))| sample)));
            let (kernel, sample) = &named[without];
            let predicted_ns = dot(&table, &sample.features);
            Prediction { kernel, measured_ns: sample.ns, predicted_ns }
        })
        .collect();
    let table = fit(mixes.iter().chain(named.iter().map(|(_, sample)| sample)));
    let (instructions, bytes) = table.split_at(FEATURES - 1);
    Ok(Calibration {
        instruction_ns: instructions.try_into().expect("one for each class"),
        byte_ns: bytes[0],
        predictions,
    })
}

fn ranges_of(kernel: &Kernel) -> Result<Vec<Range>> {
    let range = |bytes: &Vec<u8>| {
        let memory = SharedMemory::new(bytes.len() as u64)?;
        ensure!(memory.write(0, bytes), "a range is as long as its bytes");
        let len = bytes.len() as u64;
        Ok(Range { memory: Arc::new(memory), offset: 0, len, writable: true })
    };
    kernel.ranges.iter().map(range).collect()
}

fn measure(
    worker: &mut Worker,
    program: &Program,
    ranges: Vec<Range>,
    [param1, param2]: [i64; 2],
    weight: f64,
) -> Result<Sample> {
    let budget = u64::MAX >> 8;
    let invocation = Invocation { ranges, param1, param2, budget, ..Default::default() };
    let (outcome, time) = program.measure(worker, &invocation, SAMPLES);
    outcome.result.map_err(|fault| anyhow::anyhow!("{fault}"))?;
    let counts = outcome.counts;
    let mut features = [0.0; FEATURES];
    for (feature, count) in features.iter_mut().zip(counts.instructions) {
        *feature = count as f64;
    }
    features[FEATURES - 1] = (counts.bytes_loaded + counts.bytes_stored) as f64;
    Ok(Sample { features, ns: time.median.as_nanos().max(1) as f64, weight })
}

fn dot(table: &[f64; FEATURES], features: &[f64; FEATURES]) -> f64 {
    table.iter().zip(features).map(|(cost, count)| cost * count).sum()
}

/// Non-negative least squares of relative errors, by coordinate descent: each cost in turn is the best for the others, or 0.
fn fit<'a>(samples: impl Iterator<Item = &'a Sample>) -> [f64; FEATURES] {
    // Relative to its time, each measurement should come to 1.
    let rows: Vec<([f64; FEATURES], f64)> =
        samples.map(|sample| (sample.features.map(|x| x / sample.ns), sample.weight)).collect();
    let mut table = [0.0; FEATURES];
    for _ in 0..5000 {
        for n in 0..FEATURES {
            let (mut above, mut below) = (0.0, 0.0);
            for (row, weight) in &rows {
                let rest = 1.0 - (dot(&table, row) - table[n] * row[n]);
                above += weight * row[n] * rest;
                below += weight * row[n] * row[n];
            }
            table[n] = if below > 0.0 { (above / below).max(0.0) } else { 0.0 };
        }
    }
    table
}

fn instruction(opcode: u8, dst: u8, src: u8, offset: i16, imm: i32) -> [u8; 8] {
    let [o0, o1] = offset.to_le_bytes();
    let [i0, i1, i2, i3] = imm.to_le_bytes();
    [opcode, src << 4 | dst, o0, o1, i0, i1, i2, i3]
}

/// `csd_memcmp`.
const MEMCMP: i32 = 1003;

/// A program: a loop over a body of pieces; the first programs have mostly one kind of piece, the others any.
fn mix(n: usize, random: &mut Random) -> Vec<u8> {
    use InstructionClass as Piece;
    const REGISTER: u8 = 8;
    let add = class::ALU64 | alu::ADD;
    let mov = class::ALU64 | alu::MOV;
    let load = class::LDX | mode::MEM | 0x18;
    let mut code = vec![
        // r6 = the range; r7 = rounds; r8 = place in the range; r0 to r5 hold what was loaded.
        instruction(load, 6, 1, 4, 0),
        instruction(load, 6, 6, 0, 0),
        instruction(mov, 7, 0, 0, ROUNDS),
        instruction(mov, 8, 0, 0, 0),
    ];
    code.extend((0..6).map(|register| instruction(load, register, 6, i16::from(register) * 8, 0)));
    let start = code.len();
    // r9 = where this round works.
    code.push(instruction(add, 8, 0, 0, 64));
    code.push(instruction(class::ALU64 | 0x50, 8, 0, 0, (FOOTPRINT - 1) as i32));
    code.push(instruction(mov | REGISTER, 9, 6, 0, 0));
    code.push(instruction(add | REGISTER, 9, 8, 0, 0));
    let mut calls = Vec::new();
    for _ in 0..24 {
        let kind = match n {
            // Three in four are of the kind that this mix is about.
            0..36 if random.below(4) > 0 => Piece::ALL[n % Piece::ALL.len()],
            _ => Piece::ALL[random.below(7) as usize],
        };
        let (a, b) = (random.below(5) as u8, random.below(5) as u8);
        let at = 8 * random.below(8) as i16;
        match kind {
            Piece::Alu => {
                let operations =
                    [add, class::ALU64 | 0xA0, class::ALU64 | 0x10, class::ALU64 | 0x40];
                let operation = operations[random.below(4) as usize];
                code.push(instruction(operation | REGISTER, a, b, 0, 0));
            }
            Piece::Multiply => {
                code.push(instruction(class::ALU64 | alu::MUL | REGISTER, a, b, 0, 0));
            }
            Piece::Divide => code.push(instruction(class::ALU64 | alu::DIV, a, 0, 0, 7)),
            Piece::Load => code.push(instruction(load, a, 9, at, 0)),
            Piece::Store => code.push(instruction(class::STX | mode::MEM | 0x18, 9, a, at, 0)),
            Piece::Atomic => code.push(instruction(class::STX | mode::ATOMIC | 0x18, 9, a, at, 0)),
            // Over one instruction, or not: as the data says.
            Piece::Branch => {
                code.push(instruction(class::JMP | 0x20 | REGISTER, a, b, 1, 0));
                code.push(instruction(add, a, 0, 0, 3));
            }
            Piece::Call => {
                code.push(instruction(mov | REGISTER, 1, 9, 0, 0));
                calls.push(code.len());
                code.push(instruction(class::JMP | jump::CALL, 0, 1, 0, 0));
                code.extend((1..6).map(|register| instruction(load, register, 9, 0, 0)));
            }
            Piece::Helper => {
                code.push(instruction(mov | REGISTER, 1, 9, 0, 0));
                code.push(instruction(mov | REGISTER, 2, 9, 0, 0));
                code.push(instruction(mov, 3, 0, 0, 8));
                code.push(instruction(class::JMP | jump::CALL, 0, 0, 0, MEMCMP));
                code.extend((1..6).map(|register| instruction(load, register, 9, 0, 0)));
            }
        }
    }
    code.push(instruction(add, 7, 0, 0, -1));
    let back = start as i64 - code.len() as i64 - 1;
    code.push(instruction(class::JMP | jump::JNE, 7, 0, back as i16, 0));
    // All results matter.
    code.extend((1..6).map(|register| instruction(add | REGISTER, 0, register, 0, 0)));
    code.push(instruction(class::JMP | jump::EXIT, 0, 0, 0, 0));
    let function = code.len();
    if !calls.is_empty() {
        code.push(instruction(load, 0, 1, 0, 0));
        code.push(instruction(class::JMP | jump::EXIT, 0, 0, 0, 0));
    }
    for call in calls {
        let distance = function as i64 - call as i64 - 1;
        code[call] = instruction(class::JMP | jump::CALL, 0, 1, 0, distance as i32);
    }
    code.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fit_finds_the_costs_that_made_the_times() {
        let costs = [0.25, 1.0, 8.0, 0.5, 0.5, 6.0, 1.0, 2.0, 12.0, 0.05];
        let mut random = Random::new(3);
        let samples: Vec<Sample> = (0..40)
            .map(|_| {
                let features = [(); FEATURES].map(|()| (1 + random.below(1000)) as f64);
                Sample { features, ns: dot(&costs, &features), weight: 1.0 }
            })
            .collect();
        for (found, cost) in fit(samples.iter()).iter().zip(costs) {
            assert!((found / cost - 1.0).abs() < 0.05, "{found} {cost}");
        }
    }

    #[test]
    fn mixes_are_programs_that_end() {
        let mut random = Random::new(7);
        let memory = Arc::new(SharedMemory::new(2 * FOOTPRINT).unwrap());
        for n in 0..MIXES {
            let program = Program::from_instructions(&mix(n, &mut random)).unwrap();
            let range =
                Range { memory: memory.clone(), offset: 0, len: 2 * FOOTPRINT, writable: true };
            let invocation =
                Invocation { ranges: vec![range], budget: 1 << 30, ..Default::default() };
            let outcome = program.execute(&mut Worker::new(Engine::Tier1), &invocation);
            assert!(outcome.result.is_ok(), "{n}: {:?}", outcome.result);
        }
    }
}

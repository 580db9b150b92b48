//! Loops of one block that count: how many rounds they make, and where each access of a round is.
//!
//! In such a loop every register is, after a round, what it was plus a constant, or it is computed
//! afresh. An address that is such a register, or the sum of two (a base and an index), advances by a
//! constant each round; so the segment that holds the first round's access says how many rounds can
//! run before one leaves it.

use crate::code::{Code, Op, opcode};
use crate::flow::Function;
use crate::isa::{FRAME_POINTER, LDDW, class};

/// A value within a round: registers at its start, each times a factor, plus a constant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Affine {
    pub(super) factors: [i32; 11],
    pub(super) constant: i64,
}

impl Affine {
    fn register(n: u8) -> Self {
        let mut factors = [0; 11];
        factors[usize::from(n)] = 1;
        Self { factors, constant: 0 }
    }

    fn constant(constant: i64) -> Self {
        Self { factors: [0; 11], constant }
    }

    /// Nothing here grows beyond what 32-bit factors and 40-bit constants hold: a few operations on
    /// small numbers.
    fn combine(self, other: Self, sign: i32) -> Option<Self> {
        let mut factors = [0i32; 11];
        for (n, factor) in factors.iter_mut().enumerate() {
            *factor = self.factors[n].checked_add(other.factors[n].checked_mul(sign)?)?;
        }
        let constant = self.constant.checked_add(other.constant.checked_mul(sign.into())?)?;
        (constant.unsigned_abs() < 1 << 40).then_some(Self { factors, constant })
    }

    fn times(self, factor: i32) -> Option<Self> {
        let mut factors = [0i32; 11];
        for (n, f) in factors.iter_mut().enumerate() {
            *f = self.factors[n].checked_mul(factor)?;
        }
        let constant = self.constant.checked_mul(factor.into())?;
        (constant.unsigned_abs() < 1 << 40).then_some(Self { factors, constant })
    }
}

/// An access of a round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    pub(super) op: usize,
    /// Its address in the first round.
    pub(super) address: Affine,
    /// How far it moves with each round.
    pub(super) step: i64,
}

/// A loop whose rounds can be counted before it runs.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) accesses: Vec<Access>,
    /// The register that is compared, as it is at the comparison of the first round.
    pub(super) counter: Affine,
    /// What it grows by each round: 1 or more.
    pub(super) step: i64,
    /// What it is compared with: a register that does not change, or a number.
    pub(super) limit: Affine,
    /// True if the comparison is of signed numbers.
    pub(super) signed: bool,
}

/// What a loop of one block is like, if its rounds can be counted: it must go on while a counter is
/// less than a limit, and have neither calls nor atomic operations.
pub(super) fn count(code: &Code, function: &Function, block: usize) -> Option<Counted> {
    let again = function.self_loop(block)?;
    let ops = function.blocks[block].ops.clone();
    let last = ops.end - 1;
    // Two passes: the first finds what each register is after a round, the second uses it.
    let mut values: [Option<Affine>; 11] = std::array::from_fn(|n| Some(Affine::register(n as u8)));
    let mut places = Vec::new();
    for at in ops.start..last {
        let op = code.ops[at];
        if op.is_atomic() {
            return None;
        }
        if op.is_memory_access() {
            let register = if op.code & 7 == class::LDX { op.src } else { op.dst };
            if register != FRAME_POINTER {
                let base = values[usize::from(register)]?;
                places.push((at, base.combine(Affine::constant(op.offset.into()), 1)?));
            }
        }
        step(op, &mut values);
    }
    // What each register grows by; `None` if it is computed afresh.
    let growth: Vec<Option<i64>> = (0..11u8)
        .map(|n| {
            let change = values[usize::from(n)]?.combine(Affine::register(n), -1)?;
            (change.factors == [0; 11]).then_some(change.constant)
        })
        .collect();
    let step_of = |value: &Affine| {
        value.factors.iter().zip(&growth).try_fold(0i64, |sum, (&factor, growth)| match factor {
            0 => Some(sum),
            _ => sum.checked_add(growth.as_ref()?.checked_mul(factor.into())?),
        })
    };
    let access = |(op, address): (usize, Affine)| {
        let step = step_of(&address)?;
        (step.unsigned_abs() < 1 << 20).then_some(Access { op, address, step })
    };
    let accesses = places.into_iter().map(access).collect::<Option<Vec<_>>>()?;
    let jump = code.ops[last];
    let operand = match jump.code & 8 {
        0 => Affine::constant(jump.imm as i64),
        _ => values[usize::from(jump.src)]?,
    };
    let compared = values[usize::from(jump.dst)]?;
    if jump.code & 7 != class::JMP {
        return None;
    }
    let goes_on = if again == 0 { jump.code & 0xF0 } else { opposite(jump.code & 0xF0)? };
    // a > b is b < a.
    let (counter, limit, signed) = match goes_on {
        0xA0 => (compared, operand, false),
        0xC0 => (compared, operand, true),
        0x20 => (operand, compared, false),
        0x60 => (operand, compared, true),
        // Counters that step by one reach what they are not yet equal to; either may be the counter.
        0x50 if step_of(&compared) == Some(1) => (compared, operand, false),
        0x50 => (operand, compared, false),
        _ => return None,
    };
    let step = step_of(&counter)?;
    let fits = (1..1 << 20).contains(&step) && step_of(&limit) == Some(0);
    (fits && (goes_on != 0x50 || step == 1)).then_some(Counted {
        accesses,
        counter,
        step,
        limit,
        signed,
    })
}

fn opposite(operation: u8) -> Option<u8> {
    Some(match operation {
        0x30 => 0xA0,
        0x70 => 0xC0,
        0xB0 => 0x20,
        0xD0 => 0x60,
        0x10 => 0x50,
        _ => return None,
    })
}

/// What an op does to the values.
fn step(op: Op, values: &mut [Option<Affine>; 11]) {
    let (_, defined) = op.registers();
    let (d, s) = (usize::from(op.dst), usize::from(op.src));
    let operand = match op.code & 8 {
        0 => Some(Affine::constant(op.imm as i64)),
        _ => values[s],
    };
    let value = match (op.code & 7, op.code & 0xF0) {
        _ if op.code == LDDW => i64::try_from(op.imm).ok().map(Affine::constant),
        _ if op.code == opcode::MOVSX64_32 => None,
        (class::ALU64, 0x00) => values[d].zip(operand).and_then(|(a, b)| a.combine(b, 1)),
        (class::ALU64, 0x10) => values[d].zip(operand).and_then(|(a, b)| a.combine(b, -1)),
        (class::ALU64, 0xB0) => operand,
        (class::ALU64, 0x60) if op.code & 8 == 0 && op.imm < 8 => {
            values[d].and_then(|a| a.times(1 << op.imm))
        }
        _ => None,
    };
    for n in (0..11).filter(|n| defined >> n & 1 != 0) {
        values[n] = if n == d { value } else { None };
    }
}

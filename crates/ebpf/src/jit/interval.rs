//! Two jumps that together ask whether a register is in an interval.
//!
//! `if (x >= low && x <= high)` is two jumps to the same place in BPF, each of which the processor may
//! mispredict. As one unsigned comparison, `x - low > high - low`, they are predicted together; which of
//! the two would have jumped is computed afterwards, without a jump, where it has to be counted.

use crate::code::{Code, Op};
use crate::flow::{End, Function};
use crate::isa::class;

/// A block whose jump can be merged with that of the block after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Interval {
    /// The block of the second jump, which has nothing else in it.
    pub(super) second: usize,
    /// Where both jump to.
    pub(super) outside: usize,
    /// Where the second goes on.
    pub(super) inside: usize,
    pub(super) low: i64,
    pub(super) high: i64,
    /// True if the first jump is taken below the interval, false if above it.
    pub(super) is_first_below: bool,
    pub(super) is_signed: bool,
}

/// One end of an interval.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bound {
    Low(i64),
    High(i64),
}

/// The bound outside of which a jump is taken, and whether it compares signed numbers.
fn bound(op: Op) -> Option<(Bound, bool)> {
    let k = op.imm as i64;
    Some(match op.code & 0xF0 {
        0xC0 => (Bound::Low(k), true),
        0xD0 => (Bound::Low(k.checked_add(1)?), true),
        0x60 => (Bound::High(k), true),
        0x70 => (Bound::High(k.checked_sub(1)?), true),
        // Immediates are sign extended: negative ones are large unsigned numbers, left alone here.
        0xA0 if k >= 0 => (Bound::Low(k), false),
        0xB0 if k >= 0 => (Bound::Low(k + 1), false),
        0x20 if k >= 0 => (Bound::High(k), false),
        0x30 if k > 0 => (Bound::High(k - 1), false),
        _ => return None,
    })
}

/// The interval that the jump of a block and the next one ask for, if they do.
pub(super) fn find(code: &Code, flow: &Function, n: usize) -> Option<Interval> {
    let End::Branch { taken: outside, next: second } = flow.blocks[n].end else { return None };
    let block = &flow.blocks[second];
    let End::Branch { taken, next: inside } = block.end else { return None };
    let alone = block.ops.len() == 1 && block.predecessors == 1 && block.check.is_none();
    if !alone || taken != outside || inside == outside || [n, second].contains(&outside) {
        return None;
    }
    let (a, b) = (code.ops[flow.blocks[n].ops.end - 1], code.ops[block.ops.start]);
    let same = a.dst == b.dst && a.code & 0xF == b.code & 0xF && a.code & 8 == 0;
    let ((first, is_signed), (other, other_signed)) = (bound(a)?, bound(b)?);
    let (low, high, is_first_below) = match (first, other) {
        (Bound::Low(low), Bound::High(high)) => (low, high, true),
        (Bound::High(high), Bound::Low(low)) => (low, high, false),
        _ => return None,
    };
    // In 32 bits a bound may have left the numbers there are.
    let narrow = a.code & 7 == class::JMP32;
    let fits = !narrow || [low, high].iter().all(|&k| i32::try_from(k).is_ok());
    (same && is_signed == other_signed && low <= high && fits).then_some(Interval {
        second,
        outside,
        inside,
        low,
        high,
        is_first_below,
        is_signed,
    })
}

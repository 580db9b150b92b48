//! Tier 0: the interpreter. It is the oracle the compilers are compared with, so it follows
//! RFC 9669 to the letter and is exact in everything: result, memory, counts, and faults.
//!
//! It also finishes what compiled code began: where less of the budget is left than the code up to
//! its next look at the budget needs, compiled code hands its [`State`] over.

use crate::code::{Code, opcode};
use crate::fault::{Access, FaultKind};
use crate::isa::{CALL, CALL_REGISTER, EXIT, FRAME_POINTER, LDDW};
use crate::observe::{StopRun, Watch};
use crate::run::{Run, SLICE};

/// A caller that waits for the function it called.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Frame {
    /// Op after the call.
    pub(crate) return_to: usize,
    /// r6 to r9.
    pub(crate) saved: [u64; 4],
}

/// Where an execution stands.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// Registers; those above r10 do not exist and only spare bounds checks.
    pub(crate) registers: [u64; 16],
    /// Callers, as many as there can be.
    pub(crate) frames: Vec<Frame>,
    pub(crate) depth: usize,
    pub(crate) pc: usize,
    /// Instructions left of the budget.
    pub(crate) fuel: u64,
}

impl State {
    /// The state in which a run begins.
    pub(crate) fn new(code: &Code, arguments: [u64; 5], stack: u64, budget: u64) -> Self {
        let mut registers = [0; 16];
        registers[1..6].copy_from_slice(&arguments);
        registers[FRAME_POINTER as usize] = stack + code.stack.frame;
        let frames = vec![Frame::default(); code.stack.frames - 1];
        Self { registers, frames, depth: 0, pc: code.entry, fuel: budget }
    }
}

/// A match over opcodes in which each row gives the four forms of an arithmetic operation
/// (64-bit immediate, 64-bit register, 32-bit immediate, 32-bit register) or of a jump.
macro_rules! dispatch {
    (
        $op:ident, $r:ident, $pc:ident, $d:ident, $s:ident;
        arithmetic { $($k64:pat, $x64:pat, $k32:pat, $x32:pat => $f64:expr, $f32:expr;)* }
        branches { $($jk64:pat, $jx64:pat, $jk32:pat, $jx32:pat => $c64:expr, $c32:expr;)* }
        others { $($pattern:pat => $body:expr,)* }
    ) => {{
        match $op.code {
            $(
                $k64 => { let f: fn(u64, u64) -> u64 = $f64; $r[$d] = f($r[$d], $op.imm); }
                $x64 => { let f: fn(u64, u64) -> u64 = $f64; $r[$d] = f($r[$d], $r[$s]); }
                $k32 => {
                    let f: fn(u32, u32) -> u32 = $f32;
                    $r[$d] = u64::from(f($r[$d] as u32, $op.imm as u32));
                }
                $x32 => {
                    let f: fn(u32, u32) -> u32 = $f32;
                    $r[$d] = u64::from(f($r[$d] as u32, $r[$s] as u32));
                }
            )*
            $(
                $jk64 => { let f: fn(u64, u64) -> bool = $c64; if f($r[$d], $op.imm) { $pc = $op.offset as usize; } }
                $jx64 => { let f: fn(u64, u64) -> bool = $c64; if f($r[$d], $r[$s]) { $pc = $op.offset as usize; } }
                $jk32 => {
                    let f: fn(u32, u32) -> bool = $c32;
                    if f($r[$d] as u32, $op.imm as u32) { $pc = $op.offset as usize; }
                }
                $jx32 => {
                    let f: fn(u32, u32) -> bool = $c32;
                    if f($r[$d] as u32, $r[$s] as u32) { $pc = $op.offset as usize; }
                }
            )*
            $($pattern => $body,)*
        }
    }};
}

/// The interpreter loop, from a state to the program's end. An error carries the index of the op
/// that caused it.
#[expect(clippy::redundant_closure_call, reason = "rows of the table are closures")]
pub(crate) fn execute<W: Watch>(
    code: &Code,
    run: &mut Run<'_>,
    state: State,
    counts: &mut [u64; 16],
    watch: &mut W,
) -> Result<u64, (usize, FaultKind)> {
    let State { registers: mut r, mut frames, mut depth, mut pc, fuel: mut reserve } = state;
    // A slice of the budget; between two slices the run may be stopped.
    let mut fuel = 0;
    let ops = code.ops.as_slice();
    loop {
        let at = pc;
        let op = ops[at];
        if fuel == 0 {
            run.check_stop().map_err(|kind| (at, kind))?;
            fuel = reserve.min(SLICE);
            reserve -= fuel;
            if fuel == 0 {
                return Err((at, run.out_of_budget()));
            }
        }
        watch.before(at, op, &r, depth, run).map_err(|StopRun| (at, FaultKind::Stopped))?;
        fuel -= 1;
        counts[usize::from(op.cost_class & 15)] += 1;
        pc += 1;
        let (d, s) = (usize::from(op.dst & 15), usize::from(op.src & 15));
        macro_rules! load {
            ($type:ty, $convert:expr) => {{
                let address = run.window.effective(r[s], op.offset);
                const SIZE: usize = size_of::<$type>();
                let Some(bytes) = run.window.load::<SIZE>(address) else {
                    return Err((at, run.memory_fault(address, SIZE as u64, Access::Read)));
                };
                run.bytes_loaded += SIZE as u64;
                let convert: fn($type) -> u64 = $convert;
                r[d] = convert(<$type>::from_le_bytes(bytes));
            }};
        }
        macro_rules! store {
            ($type:ty, $value:expr) => {{
                let address = run.window.effective(r[d], op.offset);
                const SIZE: usize = size_of::<$type>();
                let value: u64 = $value;
                if run.window.store(address, (value as $type).to_le_bytes()).is_none() {
                    return Err((at, run.memory_fault(address, SIZE as u64, Access::Write)));
                }
                run.bytes_stored += SIZE as u64;
            }};
        }
        dispatch! { op, r, pc, d, s;
            arithmetic {
                0x07, 0x0F, 0x04, 0x0C => u64::wrapping_add, u32::wrapping_add;
                0x17, 0x1F, 0x14, 0x1C => u64::wrapping_sub, u32::wrapping_sub;
                0x27, 0x2F, 0x24, 0x2C => u64::wrapping_mul, u32::wrapping_mul;
                0x37, 0x3F, 0x34, 0x3C => |a, b| a.checked_div(b).unwrap_or(0),
                    |a, b| a.checked_div(b).unwrap_or(0);
                0x47, 0x4F, 0x44, 0x4C => |a, b| a | b, |a, b| a | b;
                0x57, 0x5F, 0x54, 0x5C => |a, b| a & b, |a, b| a & b;
                0x67, 0x6F, 0x64, 0x6C => |a, b| a << (b & 63), |a, b| a << (b & 31);
                0x77, 0x7F, 0x74, 0x7C => |a, b| a >> (b & 63), |a, b| a >> (b & 31);
                0x97, 0x9F, 0x94, 0x9C => |a, b| a.checked_rem(b).unwrap_or(a),
                    |a, b| a.checked_rem(b).unwrap_or(a);
                0xA7, 0xAF, 0xA4, 0xAC => |a, b| a ^ b, |a, b| a ^ b;
                0xB7, 0xBF, 0xB4, 0xBC => |_, b| b, |_, b| b;
                0xC7, 0xCF, 0xC4, 0xCC => |a, b| ((a as i64) >> (b & 63)) as u64,
                    |a, b| ((a as i32) >> (b & 31)) as u32;
                opcode::SDIV64_K, opcode::SDIV64_X, opcode::SDIV32_K, opcode::SDIV32_X =>
                    |a, b| if b == 0 { 0 } else { (a as i64).wrapping_div(b as i64) as u64 },
                    |a, b| if b == 0 { 0 } else { (a as i32).wrapping_div(b as i32) as u32 };
                opcode::SMOD64_K, opcode::SMOD64_X, opcode::SMOD32_K, opcode::SMOD32_X =>
                    |a, b| if b == 0 { a } else { (a as i64).wrapping_rem(b as i64) as u64 },
                    |a, b| if b == 0 { a } else { (a as i32).wrapping_rem(b as i32) as u32 };
            }
            branches {
                0x15, 0x1D, 0x16, 0x1E => |a, b| a == b, |a, b| a == b;
                0x25, 0x2D, 0x26, 0x2E => |a, b| a > b, |a, b| a > b;
                0x35, 0x3D, 0x36, 0x3E => |a, b| a >= b, |a, b| a >= b;
                0x45, 0x4D, 0x46, 0x4E => |a, b| a & b != 0, |a, b| a & b != 0;
                0x55, 0x5D, 0x56, 0x5E => |a, b| a != b, |a, b| a != b;
                0x65, 0x6D, 0x66, 0x6E => |a, b| a as i64 > b as i64, |a, b| a as i32 > b as i32;
                0x75, 0x7D, 0x76, 0x7E => |a, b| a as i64 >= b as i64, |a, b| a as i32 >= b as i32;
                0xA5, 0xAD, 0xA6, 0xAE => |a, b| a < b, |a, b| a < b;
                0xB5, 0xBD, 0xB6, 0xBE => |a, b| a <= b, |a, b| a <= b;
                0xC5, 0xCD, 0xC6, 0xCE => |a, b| (a as i64) < b as i64, |a, b| (a as i32) < b as i32;
                0xD5, 0xDD, 0xD6, 0xDE => |a, b| a as i64 <= b as i64, |a, b| a as i32 <= b as i32;
            }
            others {
                0x05 => pc = op.offset as usize,
                LDDW => r[d] = op.imm,
                0x87 => r[d] = r[d].wrapping_neg(),
                0x84 => r[d] = u64::from((r[d] as u32).wrapping_neg()),
                0xD4 => r[d] = to_little_endian(r[d], op.imm),
                0xDC | 0xD7 => r[d] = swap_bytes(r[d], op.imm),
                opcode::MOVSX64_8 => r[d] = r[s] as i8 as i64 as u64,
                opcode::MOVSX64_16 => r[d] = r[s] as i16 as i64 as u64,
                opcode::MOVSX64_32 => r[d] = r[s] as i32 as i64 as u64,
                opcode::MOVSX32_8 => r[d] = u64::from(r[s] as i8 as i32 as u32),
                opcode::MOVSX32_16 => r[d] = u64::from(r[s] as i16 as i32 as u32),
                0x71 => load!(u8, u64::from),
                0x69 => load!(u16, u64::from),
                0x61 => load!(u32, u64::from),
                0x79 => load!(u64, |v| v),
                0x91 => load!(i8, |v| v as i64 as u64),
                0x89 => load!(i16, |v| v as i64 as u64),
                0x81 => load!(i32, |v| v as i64 as u64),
                0x72 => store!(u8, op.imm),
                0x6A => store!(u16, op.imm),
                0x62 => store!(u32, op.imm),
                0x7A => store!(u64, op.imm),
                0x73 => store!(u8, r[s]),
                0x6B => store!(u16, r[s]),
                0x63 => store!(u32, r[s]),
                0x7B => store!(u64, r[s]),
                0xC3 | 0xDB => {
                    let address = run.window.effective(r[d], op.offset);
                    let old = run.atomic(op, address, r[s], r[0]).map_err(|kind| (at, kind))?;
                    if let Some(register) = op.fetches_into() {
                        r[register] = old;
                    }
                },
                opcode::CALL_LOCAL => {
                    let Some(frame) = frames.get_mut(depth) else {
                        return Err((at, FaultKind::CallDepth(code.stack.frames)));
                    };
                    *frame = Frame { return_to: pc, saved: [r[6], r[7], r[8], r[9]] };
                    depth += 1;
                    r[0] = 0;
                    r[6..10].fill(0);
                    r[FRAME_POINTER as usize] += code.stack.frame;
                    pc = op.offset as usize;
                },
                CALL | CALL_REGISTER => {
                    let index = if op.code == CALL {
                        op.imm as usize
                    } else {
                        code.helper_by_number(r[d]).map_err(|kind| (at, kind))?
                    };
                    let arguments = [r[1], r[2], r[3], r[4], r[5]];
                    let (value, cost) = run
                        .call_helper(&code.helpers[index], arguments)
                        .map_err(|kind| (at, kind))?;
                    r[0] = value;
                    let Some(left) = (fuel + reserve).checked_sub(cost) else {
                        return Err((at, run.out_of_budget()));
                    };
                    (fuel, reserve) = (0, left);
                },
                EXIT => {
                    if depth == 0 {
                        return Ok(r[0]);
                    }
                    depth -= 1;
                    let Frame { return_to, saved } = frames[depth];
                    r[1..6].fill(0);
                    r[6..10].copy_from_slice(&saved);
                    r[FRAME_POINTER as usize] -= code.stack.frame;
                    pc = return_to;
                },
                other => unreachable!("the verifier lets no opcode {other:#04x} through"),
            }
        }
    }
}

fn to_little_endian(value: u64, width: u64) -> u64 {
    match width {
        16 => u64::from(value as u16),
        32 => u64::from(value as u32),
        _ => value,
    }
}

fn swap_bytes(value: u64, width: u64) -> u64 {
    match width {
        16 => u64::from((value as u16).swap_bytes()),
        32 => u64::from((value as u32).swap_bytes()),
        _ => value.swap_bytes(),
    }
}

//! Tier 0: the interpreter. It is the oracle the compilers are compared with, so it follows
//! RFC 9669 to the letter and is exact in everything: result, memory, counts, and faults.
//!
//! Instructions are decoded once into [`Op`]s: one opcode byte without variants hidden in other
//! fields, branch targets as indices, 64-bit immediates whole.

use crate::fault::{Access, Fault, FaultKind};
use crate::helper::{self, BYTES_PER_BUDGET_UNIT, HELPERS};
use crate::image::Image;
use crate::isa::{
    CALL, EXIT, FRAME_POINTER, FRAME_SIZE, Instruction, LDDW, MAX_FRAMES, alu, atomic, class, jump,
    mode,
};
use crate::memory::{SegmentKind, Window};
use crate::program::{Counts, Outcome};

/// Codes for what the wire encoding hides in the offset or source field. They use byte values
/// that no instruction has.
mod code {
    pub(super) const SDIV64_K: u8 = 0xE7;
    pub(super) const SDIV64_X: u8 = 0xEF;
    pub(super) const SDIV32_K: u8 = 0xE4;
    pub(super) const SDIV32_X: u8 = 0xEC;
    pub(super) const SMOD64_K: u8 = 0xF7;
    pub(super) const SMOD64_X: u8 = 0xFF;
    pub(super) const SMOD32_K: u8 = 0xF4;
    pub(super) const SMOD32_X: u8 = 0xFC;
    pub(super) const MOVSX64_8: u8 = 0xE5;
    pub(super) const MOVSX64_16: u8 = 0xED;
    pub(super) const MOVSX64_32: u8 = 0xF5;
    pub(super) const MOVSX32_8: u8 = 0xE6;
    pub(super) const MOVSX32_16: u8 = 0xEE;
    pub(super) const CALL_LOCAL: u8 = 0x8D;
}

/// A decoded instruction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    code: u8,
    dst: u8,
    src: u8,
    cost_class: u8,
    /// Memory displacement, or the index of the jump or call target.
    offset: i32,
    imm: u64,
}

/// Decoded instructions with the way back to slots.
#[derive(Debug)]
pub(crate) struct Code {
    ops: Vec<Op>,
    slot_of: Vec<u32>,
    entry: usize,
}

impl Code {
    /// Decodes the functions that the verifier accepted, and no others.
    pub(crate) fn decode(image: &Image, verified: &[usize], entry: usize) -> Self {
        const NONE: u32 = u32::MAX;
        let mut op_of = vec![NONE; image.slots.len()];
        let mut slot_of = Vec::new();
        for function in verified.iter().map(|&n| &image.functions[n]) {
            let mut slot = function.start;
            while slot < function.end {
                op_of[slot] = slot_of.len() as u32;
                slot_of.push(slot as u32);
                slot += if image.slots[slot].opcode == LDDW { 2 } else { 1 };
            }
        }
        let op_at = |slot: Option<usize>| {
            let op = slot.and_then(|slot| op_of.get(slot)).copied().unwrap_or(NONE);
            assert_ne!(op, NONE, "a verified function leads to slot {slot:?}, which is not code");
            op
        };
        let decode = |&slot: &u32| {
            let next = image.slots.get(slot as usize + 1).map_or(0, |i| i.imm);
            decode_op(image.slots[slot as usize], next, |displacement| {
                op_at(usize::try_from(i64::from(slot) + 1 + displacement).ok()) as i32
            })
        };
        let ops = slot_of.iter().map(decode).collect();
        let entry = op_at(Some(image.functions[entry].start)) as usize;
        Self { ops, entry, slot_of }
    }
}

fn decode_op(insn: Instruction, next_imm: i32, target: impl Fn(i64) -> i32) -> Op {
    let mut op = Op {
        code: insn.opcode,
        dst: insn.dst,
        src: insn.src,
        cost_class: insn.cost_class() as u8,
        offset: i32::from(insn.offset),
        imm: i64::from(insn.imm) as u64,
    };
    match (insn.class(), insn.operation()) {
        (class::LD, _) if insn.opcode == LDDW => {
            op.imm = u64::from(insn.imm as u32) | u64::from(next_imm as u32) << 32;
        }
        // 0x30 -> 0xE0 and 0x90 -> 0xF0 keep the low four bits: class and operand kind.
        (class::ALU | class::ALU64, alu::DIV) if insn.offset == 1 => op.code = 0xE0 | op.code & 0xF,
        (class::ALU | class::ALU64, alu::MOD) if insn.offset == 1 => op.code = 0xF0 | op.code & 0xF,
        (class::ALU64, alu::MOV) if insn.uses_register() => match insn.offset {
            8 => op.code = code::MOVSX64_8,
            16 => op.code = code::MOVSX64_16,
            32 => op.code = code::MOVSX64_32,
            _ => {}
        },
        (class::ALU, alu::MOV) if insn.uses_register() => match insn.offset {
            8 => op.code = code::MOVSX32_8,
            16 => op.code = code::MOVSX32_16,
            _ => {}
        },
        (class::JMP, jump::CALL) if insn.is_local_call() => {
            op.code = code::CALL_LOCAL;
            op.offset = target(i64::from(insn.imm));
        }
        (class::JMP, jump::CALL) => {
            let index = HELPERS.iter().position(|h| i64::from(h.id) == i64::from(insn.imm));
            op.imm = index.unwrap_or(0) as u64;
        }
        (class::JMP32, jump::JA) => {
            op.code = class::JMP | jump::JA;
            op.offset = target(i64::from(insn.imm));
        }
        (class::JMP | class::JMP32, _) => {
            if let Some(displacement) = insn.jump_displacement() {
                op.offset = target(displacement);
            }
        }
        _ => {}
    }
    op
}

#[derive(Clone, Copy)]
struct Frame {
    return_to: usize,
    saved: [u64; 4],
}

/// What one run carries besides its registers.
struct Run<'a> {
    window: &'a mut Window,
    trace: Vec<u8>,
    bytes_loaded: u64,
    bytes_stored: u64,
}

/// Runs a program in a window that holds its sections; `arguments` become r1 to r5.
pub(crate) fn run(
    image: &Image,
    code: &Code,
    window: &mut Window,
    arguments: [u64; 5],
    budget: u64,
) -> Outcome {
    let stack = vec![0; MAX_FRAMES * FRAME_SIZE as usize];
    let stack = window.map_private(SegmentKind::Stack, stack);
    let mut run = Run { window, trace: Vec::new(), bytes_loaded: 0, bytes_stored: 0 };
    let mut counts = [0u64; 16];
    let stopped = execute(code, &mut run, arguments, stack, budget, &mut counts);
    let mut instructions = [0; 9];
    instructions.copy_from_slice(&counts[..9]);
    Outcome {
        result: stopped.map_err(|(pc, kind)| {
            let slot = code.slot_of.get(pc).copied().unwrap_or(0);
            Fault { kind, location: image.describe(slot as usize), pc: slot }
        }),
        counts: Counts {
            instructions,
            bytes_loaded: run.bytes_loaded,
            bytes_stored: run.bytes_stored,
        },
        trace: run.trace,
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

/// The interpreter loop. An error carries the index of the op that caused it.
#[expect(clippy::redundant_closure_call, reason = "rows of the table are closures")]
fn execute(
    code: &Code,
    run: &mut Run<'_>,
    arguments: [u64; 5],
    stack: u64,
    budget: u64,
    counts: &mut [u64; 16],
) -> Result<u64, (usize, FaultKind)> {
    let mut r = [0u64; 16];
    r[1..6].copy_from_slice(&arguments);
    r[FRAME_POINTER as usize] = stack + FRAME_SIZE;
    let mut frames = [Frame { return_to: 0, saved: [0; 4] }; MAX_FRAMES - 1];
    let mut depth = 0;
    let mut fuel = budget;
    let mut pc = code.entry;
    let ops = code.ops.as_slice();
    loop {
        let at = pc;
        let op = ops[at];
        if fuel == 0 {
            return Err((at, FaultKind::Budget(budget)));
        }
        fuel -= 1;
        counts[usize::from(op.cost_class & 15)] += 1;
        pc += 1;
        let (d, s) = (usize::from(op.dst & 15), usize::from(op.src & 15));
        macro_rules! load {
            ($type:ty, $convert:expr) => {{
                let address = r[s].wrapping_add(op.offset as i64 as u64);
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
                let address = r[d].wrapping_add(op.offset as i64 as u64);
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
                code::SDIV64_K, code::SDIV64_X, code::SDIV32_K, code::SDIV32_X =>
                    |a, b| if b == 0 { 0 } else { (a as i64).wrapping_div(b as i64) as u64 },
                    |a, b| if b == 0 { 0 } else { (a as i32).wrapping_div(b as i32) as u32 };
                code::SMOD64_K, code::SMOD64_X, code::SMOD32_K, code::SMOD32_X =>
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
                code::MOVSX64_8 => r[d] = r[s] as i8 as i64 as u64,
                code::MOVSX64_16 => r[d] = r[s] as i16 as i64 as u64,
                code::MOVSX64_32 => r[d] = r[s] as i32 as i64 as u64,
                code::MOVSX32_8 => r[d] = u64::from(r[s] as i8 as i32 as u32),
                code::MOVSX32_16 => r[d] = u64::from(r[s] as i16 as i32 as u32),
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
                0xC3 => run.atomic::<4>(op, &mut r).map_err(|kind| (at, kind))?,
                0xDB => run.atomic::<8>(op, &mut r).map_err(|kind| (at, kind))?,
                code::CALL_LOCAL => {
                    let Some(frame) = frames.get_mut(depth) else {
                        return Err((at, FaultKind::CallDepth));
                    };
                    *frame = Frame { return_to: pc, saved: [r[6], r[7], r[8], r[9]] };
                    depth += 1;
                    r[FRAME_POINTER as usize] += FRAME_SIZE;
                    pc = op.offset as usize;
                },
                CALL => {
                    let before = run.bytes_loaded + run.bytes_stored;
                    r[0] = run.call_helper(op.imm, &r).map_err(|kind| (at, kind))?;
                    let touched = run.bytes_loaded + run.bytes_stored - before;
                    let Some(left) = fuel.checked_sub(touched / BYTES_PER_BUDGET_UNIT) else {
                        return Err((at, FaultKind::Budget(budget)));
                    };
                    fuel = left;
                },
                EXIT => {
                    if depth == 0 {
                        return Ok(r[0]);
                    }
                    depth -= 1;
                    let Frame { return_to, saved } = frames[depth];
                    r[6..10].copy_from_slice(&saved);
                    r[FRAME_POINTER as usize] -= FRAME_SIZE;
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

impl Run<'_> {
    #[cold]
    fn memory_fault(&self, address: u64, len: u64, access: Access) -> FaultKind {
        FaultKind::Memory(self.window.fault(address, len, access))
    }

    fn call_helper(&mut self, index: u64, r: &[u64; 16]) -> Result<u64, FaultKind> {
        let helper = &HELPERS[index as usize];
        let arguments = [r[1], r[2], r[3], r[4], r[5]];
        let mut call = helper::Call {
            window: self.window,
            trace: &mut self.trace,
            bytes_read: &mut self.bytes_loaded,
            bytes_written: &mut self.bytes_stored,
        };
        (helper.body)(&mut call, arguments)
    }

    /// An atomic read-modify-write of N bytes (RFC 9669, section 5.3).
    fn atomic<const N: usize>(&mut self, op: Op, r: &mut [u64; 16]) -> Result<(), FaultKind> {
        let (d, s) = (usize::from(op.dst & 15), usize::from(op.src & 15));
        let address = r[d].wrapping_add(op.offset as i64 as u64);
        let mask = if N == 4 { u64::from(u32::MAX) } else { u64::MAX };
        let operand = r[s] & mask;
        let expected = r[0] & mask;
        let operation = op.imm as i32;
        let update = |old: u64| match operation & !atomic::FETCH {
            atomic::ADD => old.wrapping_add(operand) & mask,
            atomic::OR => old | operand,
            atomic::AND => old & operand,
            atomic::XOR => old ^ operand,
            _ if operation == atomic::XCHG => operand,
            _ => {
                if old == expected {
                    operand
                } else {
                    old
                }
            }
        };
        let Some(old) = self.window.atomic_update::<N>(address, update) else {
            return Err(self.memory_fault(address, N as u64, Access::Write));
        };
        self.bytes_loaded += N as u64;
        self.bytes_stored += N as u64;
        if operation == atomic::CMPXCHG {
            r[0] = old;
        } else if operation & atomic::FETCH != 0 {
            r[s] = old;
        }
        Ok(())
    }
}

const _: () = assert!(mode::ATOMIC == 0xC0 && class::STX == 3);

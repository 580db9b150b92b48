//! Decoded code: what the interpreter runs and the compilers translate.
//!
//! Instructions are decoded once into [`Op`]s: one opcode byte without variants hidden in other
//! fields, branch targets as indices, 64-bit immediates whole.

use crate::fault::FaultKind;
use crate::helper::Helper;
use crate::image::Image;
use crate::isa::{CALL, CALL_REGISTER, EXIT, Instruction, LDDW, alu, atomic, class, jump, mode};
use crate::stack::Stack;

/// Codes for what the wire encoding hides in the offset or source field. They use byte values
/// that no instruction has.
pub(crate) mod opcode {
    pub(crate) const SDIV64_K: u8 = 0xE7;
    pub(crate) const SDIV64_X: u8 = 0xEF;
    pub(crate) const SDIV32_K: u8 = 0xE4;
    pub(crate) const SDIV32_X: u8 = 0xEC;
    pub(crate) const SMOD64_K: u8 = 0xF7;
    pub(crate) const SMOD64_X: u8 = 0xFF;
    pub(crate) const SMOD32_K: u8 = 0xF4;
    pub(crate) const SMOD32_X: u8 = 0xFC;
    pub(crate) const MOVSX64_8: u8 = 0xE5;
    pub(crate) const MOVSX64_16: u8 = 0xED;
    pub(crate) const MOVSX64_32: u8 = 0xF5;
    pub(crate) const MOVSX32_8: u8 = 0xE6;
    pub(crate) const MOVSX32_16: u8 = 0xEE;
    pub(crate) const CALL_LOCAL: u8 = 0x9D;
}

/// A decoded instruction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    pub(crate) code: u8,
    pub(crate) dst: u8,
    pub(crate) src: u8,
    pub(crate) cost_class: u8,
    /// Memory displacement, or the index of the jump or call target.
    pub(crate) offset: i32,
    pub(crate) imm: u64,
}

/// Decoded instructions with the way back to slots.
#[derive(Debug)]
pub(crate) struct Code {
    pub(crate) ops: Vec<Op>,
    pub(crate) slot_of: Vec<u32>,
    /// Index of the first op to run.
    pub(crate) entry: usize,
    /// Ops of each verified function, ascending.
    pub(crate) functions: Vec<std::ops::Range<usize>>,
    /// The helpers that calls name by index.
    pub(crate) helpers: Vec<Helper>,
    pub(crate) stack: Stack,
}

impl Op {
    /// Bytes a load, store or atomic operation moves.
    pub(crate) fn access_size(self) -> u8 {
        Instruction { opcode: self.code, dst: 0, src: 0, offset: 0, imm: 0 }.access_size()
    }

    /// True for plain loads and stores.
    pub(crate) fn is_memory_access(self) -> bool {
        match self.code & 7 {
            class::LDX => matches!(self.code & 0xE0, mode::MEM | mode::MEMSX),
            class::ST | class::STX => self.code & 0xE0 == mode::MEM,
            _ => false,
        }
    }

    /// True for loads, atomic operations not among them.
    pub(crate) fn is_load(self) -> bool {
        self.code & 7 == class::LDX && self.is_memory_access()
    }

    /// True for atomic operations.
    pub(crate) fn is_atomic(self) -> bool {
        self.code & 7 == class::STX && self.code & 0xE0 == mode::ATOMIC
    }

    /// True for jumps, calls and exits.
    pub(crate) fn ends_block(self) -> bool {
        matches!(self.code & 7, class::JMP | class::JMP32) && !self.is_decoded_move()
            || self.code == opcode::CALL_LOCAL
    }

    /// True for moves with sign extension, whose decoded opcodes look like jumps.
    fn is_decoded_move(self) -> bool {
        use opcode::{MOVSX32_8, MOVSX32_16, MOVSX64_8, MOVSX64_16, MOVSX64_32};
        matches!(self.code, MOVSX64_8 | MOVSX64_16 | MOVSX64_32 | MOVSX32_8 | MOVSX32_16)
    }

    /// Registers it reads and registers it sets whatever they held, one bit each.
    pub(crate) fn registers(self) -> (u16, u16) {
        let (d, s) = (1 << self.dst, 1 << self.src);
        const ARGUMENTS: u16 = 0b11_1110;
        match self.code {
            LDDW => (0, d),
            CALL => (ARGUMENTS, 1),
            CALL_REGISTER => (ARGUMENTS | d, 1),
            opcode::CALL_LOCAL => (ARGUMENTS, 1 | ARGUMENTS),
            EXIT => (1, 0),
            0x05 => (0, 0),
            _ if self.is_decoded_move() => (s, d),
            _ => match (self.code & 7, self.code & 0xF8) {
                (class::LDX, _) => (s, d),
                (class::ST, _) => (d, 0),
                (class::STX, m) if m & 0xE0 == mode::ATOMIC => (d | s | 1, 0),
                (class::STX, _) => (d | s, 0),
                (class::ALU | class::ALU64, 0xB0) => (0, d),
                (class::ALU | class::ALU64, 0xB8) => (s, d),
                // Negation and byte order look only at the destination.
                (class::ALU | class::ALU64, 0x80 | 0xD0 | 0xD8) => (d, d),
                (class::ALU | class::ALU64, operation) if operation & 8 == 0 => (d, d),
                (class::ALU | class::ALU64, _) => (d | s, d),
                (_, operation) if operation & 8 == 0 => (d, 0),
                _ => (d | s, 0),
            },
        }
    }

    /// The register an atomic operation returns the old value in.
    pub(crate) fn fetches_into(self) -> Option<usize> {
        let operation = self.imm as i32;
        match operation {
            atomic::CMPXCHG => Some(0),
            _ if operation & atomic::FETCH != 0 => Some(usize::from(self.src)),
            _ => None,
        }
    }
}

impl Code {
    /// The number of the function that begins with an op.
    pub(crate) fn function_starting_at(&self, op: usize) -> Option<usize> {
        self.functions.binary_search_by_key(&op, |f| f.start).ok()
    }

    /// The index of the helper that a call through a register means.
    pub(crate) fn helper_by_number(&self, number: u64) -> Result<usize, FaultKind> {
        self.helpers.iter().position(|h| u64::from(h.id) == number).ok_or_else(|| {
            let reason = format!("number {number:#x} in the register is not a helper's");
            FaultKind::Helper { helper: "called through a register", reason }
        })
    }

    /// Decodes the functions that the verifier accepted, and no others.
    pub(crate) fn decode(
        image: &Image,
        verified: &[usize],
        entry: usize,
        helpers: Vec<Helper>,
    ) -> Self {
        const NONE: u32 = u32::MAX;
        let mut op_of = vec![NONE; image.slots.len()];
        let mut slot_of = Vec::new();
        let mut functions = Vec::with_capacity(verified.len());
        for function in verified.iter().map(|&n| &image.functions[n]) {
            let (first, mut slot) = (slot_of.len(), function.start);
            while slot < function.end {
                op_of[slot] = slot_of.len() as u32;
                slot_of.push(slot as u32);
                slot += if image.slots[slot].opcode == LDDW { 2 } else { 1 };
            }
            functions.push(first..slot_of.len());
        }
        let op_at = |slot: Option<usize>| {
            let op = slot.and_then(|slot| op_of.get(slot)).copied().unwrap_or(NONE);
            assert_ne!(op, NONE, "a verified function leads to slot {slot:?}, which is not code");
            op
        };
        let decode = |&slot: &u32| {
            let next = image.slots.get(slot as usize + 1).map_or(0, |i| i.imm);
            let target = |displacement| {
                op_at(usize::try_from(i64::from(slot) + 1 + displacement).ok()) as i32
            };
            decode_op(image.slots[slot as usize], next, target, &helpers)
        };
        let ops = slot_of.iter().map(decode).collect();
        let entry_op = op_at(Some(image.functions[entry].start)) as usize;
        let stack = Stack::of(image, verified, entry);
        Self { ops, entry: entry_op, slot_of, functions, helpers, stack }
    }
}

fn decode_op(
    insn: Instruction,
    next_imm: i32,
    target: impl Fn(i64) -> i32,
    helpers: &[Helper],
) -> Op {
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
            8 => op.code = opcode::MOVSX64_8,
            16 => op.code = opcode::MOVSX64_16,
            32 => op.code = opcode::MOVSX64_32,
            _ => {}
        },
        (class::ALU, alu::MOV) if insn.uses_register() => match insn.offset {
            8 => op.code = opcode::MOVSX32_8,
            16 => op.code = opcode::MOVSX32_16,
            _ => {}
        },
        (class::JMP, jump::CALL) if insn.is_local_call() => {
            op.code = opcode::CALL_LOCAL;
            op.offset = target(i64::from(insn.imm));
        }
        (class::JMP, jump::CALL) if insn.opcode == CALL => {
            let index = helpers.iter().position(|h| h.id == insn.imm as u32);
            op.imm = index.expect("the verifier knows the helper") as u64;
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

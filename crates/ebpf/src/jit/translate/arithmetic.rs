//! Arithmetic, logic and moves between registers (RFC 9669, sections 4.1 and 4.2).

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I16, I32, I64};
use cranelift_codegen::ir::{InstBuilder, Type, Value};

use super::Translator;
use crate::code::Op;
use crate::isa::class;

impl Translator<'_, '_> {
    pub(super) fn move_extended(&mut self, op: Op, from: Type, to: Type) {
        let value = self.get(op.src);
        let value = self.b.ins().ireduce(from, value);
        let mut value = self.b.ins().sextend(to, value);
        if to == I32 {
            value = self.b.ins().uextend(I64, value);
        }
        self.set(op.dst, value);
    }

    pub(super) fn arithmetic(&mut self, op: Op) {
        let wide = op.code & 7 == class::ALU64;
        if matches!(op.code, 0xD4 | 0xDC | 0xD7) {
            return self.byte_order(op);
        }
        let mut b = self.operand(op);
        // A move does not use what it overwrites: to ask for it would keep a dead value alive.
        let mut a = if op.code & 0xF0 == 0xB0 { b } else { self.get(op.dst) };
        if !wide {
            (a, b) = (self.narrow(a), self.narrow(b));
        }
        let ins = self.b.ins();
        let value = match op.code & 0xF0 {
            0x00 => ins.iadd(a, b),
            0x10 => ins.isub(a, b),
            0x20 => ins.imul(a, b),
            0x30 => self.divide(a, b, false),
            0x40 => ins.bor(a, b),
            0x50 => ins.band(a, b),
            // Shift counts are taken modulo the width, as Cranelift has it.
            0x60 => ins.ishl(a, b),
            0x70 => ins.ushr(a, b),
            0x80 => ins.ineg(a),
            0x90 => self.remainder(a, b, false),
            0xA0 => ins.bxor(a, b),
            0xB0 => b,
            0xC0 => ins.sshr(a, b),
            0xE0 => self.divide(a, b, true),
            0xF0 => self.remainder(a, b, true),
            other => unreachable!("the verifier lets no operation {other:#04x} through"),
        };
        let value = if wide { value } else { self.b.ins().uextend(I64, value) };
        self.set(op.dst, value);
    }

    /// A divisor that neither traps nor overflows, and what the real one was: zero, minus one.
    fn safe_divisor(&mut self, b: Value, signed: bool) -> (Value, Value, Option<Value>) {
        let zero = self.b.ins().icmp_imm_s(IntCC::Equal, b, 0);
        let minus = signed.then(|| self.b.ins().icmp_imm_s(IntCC::Equal, b, -1));
        let special = match minus {
            Some(minus) => self.b.ins().bor(zero, minus),
            None => zero,
        };
        let ty = self.b.func.dfg.value_type(b);
        let one = self.b.ins().iconst(ty, 1);
        (self.b.ins().select(special, one, b), zero, minus)
    }

    /// x / 0 = 0 and MIN / -1 = MIN (RFC 9669, section 4.1).
    fn divide(&mut self, a: Value, b: Value, signed: bool) -> Value {
        let ty = self.b.func.dfg.value_type(b);
        let (divisor, zero, minus) = self.safe_divisor(b, signed);
        let mut value =
            if signed { self.b.ins().sdiv(a, divisor) } else { self.b.ins().udiv(a, divisor) };
        if let Some(minus) = minus {
            let negated = self.b.ins().ineg(a);
            value = self.b.ins().select(minus, negated, value);
        }
        let nothing = self.b.ins().iconst(ty, 0);
        self.b.ins().select(zero, nothing, value)
    }

    /// x % 0 = x and x % -1 = 0 (RFC 9669, section 4.1).
    fn remainder(&mut self, a: Value, b: Value, signed: bool) -> Value {
        // A divisor of one leaves nothing, as minus one does.
        let (divisor, zero, _) = self.safe_divisor(b, signed);
        let value =
            if signed { self.b.ins().srem(a, divisor) } else { self.b.ins().urem(a, divisor) };
        self.b.ins().select(zero, a, value)
    }

    fn byte_order(&mut self, op: Op) {
        let value = self.get(op.dst);
        let ty = match op.imm {
            16 => I16,
            32 => I32,
            _ => I64,
        };
        let mut value = if ty == I64 { value } else { self.b.ins().ireduce(ty, value) };
        if op.code != 0xD4 {
            value = self.b.ins().bswap(value);
        }
        if ty != I64 {
            value = self.b.ins().uextend(I64, value);
        }
        self.set(op.dst, value);
    }
}

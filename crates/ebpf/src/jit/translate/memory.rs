//! Memory accesses, and what keeps them within the program's segments.

use std::mem::offset_of;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{BlockArg, InstBuilder, MemFlagsData, SourceLoc, Value};

use super::{Translator, trap_code, trusted};
use crate::code::Op;
use crate::isa::{FRAME_POINTER, class};
use crate::memory::Bounds;
use crate::native::{CONTEXT, Context, Site, status};

impl Translator<'_, '_> {
    pub(super) fn load(&mut self, at: usize, op: Op, copy: u8) {
        let (address, flags, offset) = self.access(at, (op, op.src), copy, false);
        let ins = self.b.ins();
        let value = match op.code {
            0x71 => ins.uload8(I64, flags, address, offset),
            0x69 => ins.uload16(I64, flags, address, offset),
            0x61 => ins.uload32(flags, address, offset),
            0x91 => ins.sload8(I64, flags, address, offset),
            0x89 => ins.sload16(I64, flags, address, offset),
            0x81 => ins.sload32(flags, address, offset),
            _ => ins.load(I64, flags, address, offset),
        };
        self.set(op.dst, value);
    }

    pub(super) fn store(&mut self, at: usize, op: Op, copy: u8) {
        let value = if op.code & 7 == class::ST {
            self.b.ins().iconst(I64, op.imm as i64)
        } else {
            self.get(op.src)
        };
        let (address, flags, offset) = self.access(at, (op, op.dst), copy, true);
        let ins = self.b.ins();
        match op.access_size() {
            1 => ins.istore8(flags, value, address, offset),
            2 => ins.istore16(flags, value, address, offset),
            4 => ins.istore32(flags, value, address, offset),
            _ => ins.store(flags, value, address, offset),
        };
    }

    /// A new site for an op.
    fn site(&mut self, at: usize, copy: u8) -> usize {
        self.sites.push(Site { op: at as u32, copy, ran: self.ran as u32 + 1 });
        self.sites.len() - 1
    }

    /// The host address and offset of an access, and the flags that name its site.
    fn access(
        &mut self,
        at: usize,
        (op, register): (Op, u8),
        copy: u8,
        write: bool,
    ) -> (Value, MemFlagsData, i32) {
        let site = self.site(at, copy);
        self.b.set_srcloc(SourceLoc::new(site as u32));
        let flags = MemFlagsData::new().with_trap_code(trap_code(site - self.first_site));
        let pointer = self.get(register);
        if register == FRAME_POINTER {
            // The verifier has seen that it is within the frame.
            return (self.b.ins().iadd(self.base, pointer), flags, op.offset);
        }
        let Some((mask, bounds)) = self.bounds else {
            let low = self.narrow(pointer);
            let low = self.b.ins().uextend(I64, low);
            return (self.b.ins().iadd(self.base, low), flags, op.offset);
        };
        let masked = self.b.ins().band(pointer, mask);
        let address = self.b.ins().iadd_imm_s(masked, i64::from(op.offset));
        let granule = self.b.ins().sshr_imm_s(address, 16);
        let place = self.b.ins().imul_imm_s(granule, size_of::<Bounds>() as i64);
        let entry = self.b.ins().iadd(bounds, place);
        let size = if write { offset_of!(Bounds, writable) } else { offset_of!(Bounds, readable) };
        let first = self.b.ins().load(I64, trusted(), entry, offset_of!(Bounds, first) as i32);
        let size = self.b.ins().load(I64, trusted(), entry, size as i32);
        // Before the segment the distance is negative, past its end what is left is.
        let distance = self.b.ins().isub(address, first);
        let end = self.b.ins().iadd_imm_s(distance, i64::from(op.access_size()));
        let left = self.b.ins().isub(size, end);
        let outside = self.b.ins().bor(distance, left);
        let outside = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, outside, 0);
        let refused = match self.refused {
            Some(block) => block,
            None => {
                let block = self.cold_block();
                self.b.append_block_param(block, I64);
                self.b.append_block_param(block, I64);
                *self.refused.insert(block)
            }
        };
        let site = self.b.ins().iconst(I64, site as i64);
        let go_on = self.b.create_block();
        let arguments = [BlockArg::Value(site), BlockArg::Value(address)];
        self.b.ins().brif(outside, refused, &arguments, go_on, &[]);
        self.b.switch_to_block(go_on);
        (self.b.ins().iadd(self.base, address), flags, 0)
    }

    pub(super) fn finish_refused(&mut self) {
        let Some(block) = self.refused else { return };
        self.b.switch_to_block(block);
        let params = self.b.block_params(block).to_vec();
        self.store_field(field!(site), params[0]);
        self.store_field(field!(address), params[1]);
        self.end(status::REFUSED);
    }

    pub(super) fn atomic(&mut self, at: usize, op: Op) {
        let (pointer, operand, expected) = (self.get(op.dst), self.get(op.src), self.get(0));
        let site = self.site(at, 0);
        self.store_constant(field!(site), site as u64);
        self.store_constant(field!(pc), at as u64);
        let what = self.b.ins().iconst(I64, at as i64);
        let arguments = [self.base, what, pointer, operand, expected];
        self.call_runtime(field!(atomic), &arguments);
        if let Some(register) = op.fetches_into() {
            let old = self.load_field(field!(result));
            self.set(register as u8, old);
        }
    }
}

//! One function of a program to Cranelift's intermediate representation.
//!
//! Registers are variables; the stack is memory of the window. The budget is in the pinned register,
//! where a signal handler finds it. It is counted down where paths join, at checks and before calls,
//! not in every block.

/// Where a field of the context is, from the base of the window.
macro_rules! field {
    ($name:ident) => {
        CONTEXT + offset_of!(Context, $name) as i32
    };
}

mod arithmetic;
mod memory;

use std::mem::offset_of;

use cranelift_codegen::ir::condcodes::{CondCode, IntCC};
use cranelift_codegen::ir::types::{I8, I16, I32, I64};
use cranelift_codegen::ir::{
    self, AbiParam, ExtFuncData, ExternalName, InstBuilder, MemFlagsData, Signature, TrapCode,
    UserExternalName, UserFuncName, Value,
};
use cranelift_codegen::isa::{CallConv, TargetIsa};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};

use super::Guard;
use super::interval::{self, Interval};
use crate::code::{Code, Op, opcode};
use crate::flow::{End, Flow, Function, Pending};
use crate::isa::{CALL, CALL_REGISTER, FRAME_POINTER, LDDW, class};
use crate::native::{CONTEXT, Context, FRAME_BYTES, Site, counter_offset, frames_offset, status};

/// Trap codes that tell neighbouring sites apart.
pub(super) const TRAP_CODES: usize = 200;

/// Times a loop of one block is unrolled: budget and counter are looked at once for all.
const UNROLL: usize = 4;
/// Longest block that is unrolled.
const UNROLL_OPS_MAX: usize = 64;

const SYSTEM: CallConv = CallConv::SystemV;

/// Behind calls that do not come back.
const NEVER: TrapCode = TrapCode::STACK_OVERFLOW;

/// The trap code of a site.
fn trap_code(site_in_function: usize) -> Option<TrapCode> {
    TrapCode::user((site_in_function % TRAP_CODES) as u8 + 1)
}

/// What a trap code says of its site: its number modulo [`TRAP_CODES`].
pub(super) fn residue_of(code: TrapCode) -> Option<usize> {
    let raw = usize::from(code.as_raw().get());
    (1..=TRAP_CODES).contains(&raw).then(|| raw - 1)
}

/// Memory of the runtime: always there.
fn trusted() -> MemFlagsData {
    MemFlagsData::trusted()
}

/// Signature of every function: base of the window, r1 to r5; r0.
fn signature() -> Signature {
    let mut signature = Signature::new(SYSTEM);
    signature.params.extend([AbiParam::new(I64); 6]);
    signature.returns.push(AbiParam::new(I64));
    signature
}

/// Signature of an entry point of the runtime.
fn runtime_signature(convention: CallConv, arguments: usize) -> Signature {
    let mut signature = Signature::new(convention);
    signature.params.extend(vec![AbiParam::new(I64); arguments]);
    signature
}

/// The code that the runtime enters: arguments and result are in the context.
pub(super) fn thunk(
    isa: &dyn TargetIsa,
    func: &mut ir::Function,
    builder_context: &mut FunctionBuilderContext,
    code: &Code,
) {
    func.signature = Signature::new(SYSTEM);
    func.signature.params.push(AbiParam::new(I64));
    let entry = code.functions.iter().position(|f| f.start == code.entry);
    let mut b = FunctionBuilder::new(func, builder_context);
    let block = b.create_block();
    b.append_block_params_for_function_params(block);
    b.switch_to_block(block);
    let base = b.block_params(block)[0];
    let mut arguments = vec![base];
    for n in 1..6 {
        arguments.push(b.ins().load(I64, trusted(), base, field!(registers) + 8 * n));
    }
    let callee = import(&mut b, entry.expect("the entry is a verified function"));
    let call = b.ins().call(callee, &arguments);
    let result = b.inst_results(call)[0];
    b.ins().store(trusted(), result, base, field!(result));
    b.ins().return_(&[]);
    b.seal_all_blocks();
    b.finalize(isa.frontend_config());
}

fn import(b: &mut FunctionBuilder<'_>, function: usize) -> ir::FuncRef {
    let name = UserExternalName { namespace: 0, index: function as u32 };
    let name = b.func.declare_imported_user_function(name);
    let signature = b.import_signature(signature());
    b.import_function(ExtFuncData {
        name: ExternalName::user(name),
        signature,
        colocated: true,
        patchable: false,
    })
}

/// Translates a function; its memory accesses are added to `sites`.
pub(super) fn function(
    isa: &dyn TargetIsa,
    func: &mut ir::Function,
    builder_context: &mut FunctionBuilderContext,
    (code, flow): (&Code, &Flow),
    index: usize,
    guard: Guard,
    sites: &mut Vec<Site>,
) {
    func.signature = signature();
    func.name = UserFuncName::user(0, index as u32);
    let mut b = FunctionBuilder::new(func, builder_context);
    let (plan, flow) = (flow, &flow.functions[index]);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    let params = b.block_params(entry).to_vec();
    let base = params[0];
    let registers: [Variable; 11] = std::array::from_fn(|_| b.declare_var(I64));
    let zero = b.ins().iconst(I64, 0);
    for (n, &register) in registers.iter().enumerate() {
        let value = if (1..=5).contains(&n) { params[n] } else { zero };
        b.def_var(register, value);
    }
    let fixed = trusted().with_readonly().with_can_move();
    let bounds = match guard {
        Guard::Pages => None,
        Guard::Bounds => {
            let mask = b.ins().load(I64, fixed, base, field!(mask));
            Some((mask, b.ins().load(I64, fixed, base, field!(bounds))))
        }
    };
    let depth = b.ins().load(I64, trusted(), base, field!(depth));
    let bottom = b.ins().load(I64, trusted(), base, field!(frame_pointer));
    let frames = b.ins().imul_imm_s(depth, code.stack.frame as i64);
    let frame_pointer = b.ins().iadd(bottom, frames);
    b.def_var(registers[FRAME_POINTER as usize], frame_pointer);
    let blocks: Vec<ir::Block> = flow.blocks.iter().map(|_| b.create_block()).collect();
    for (block, &compiled) in flow.blocks.iter().zip(&blocks) {
        if block.is_unlikely {
            b.set_cold_block(compiled);
        }
    }
    let first_site = sites.len();
    let copies: Vec<usize> = (0..flow.blocks.len()).map(|n| copies(code, flow, n)).collect();
    let mut translator = Translator {
        b,
        code,
        plan,
        flow,
        registers,
        base,
        bounds,
        blocks,
        pending: Pending::new(flow, |n| copies[n] > 1),
        copies,
        merged: vec![false; flow.blocks.len()],
        refused: None,
        first_site,
        sites,
        ran: 0,
    };
    translator.count(flow.entry_counter(), 1);
    let first = translator.blocks[0];
    translator.b.ins().jump(first, &[]);
    for block in 0..flow.blocks.len() {
        translator.block(block);
    }
    translator.finish_refused();
    translator.b.seal_all_blocks();
    translator.b.finalize(isa.frontend_config());
}

/// How many copies of a block are made.
fn copies(code: &Code, flow: &Function, block: usize) -> usize {
    let ops = &code.ops[flow.blocks[block].ops.clone()];
    // What the runtime ends in an atomic operation is not told in which copy that was.
    let plain = !ops.iter().any(|op| op.is_atomic());
    let short = ops.len() <= UNROLL_OPS_MAX;
    if plain && short && flow.self_loop(block).is_some() { UNROLL } else { 1 }
}

struct Translator<'a, 'b> {
    b: FunctionBuilder<'b>,
    code: &'a Code,
    plan: &'a Flow,
    flow: &'a Function,
    registers: [Variable; 11],
    base: Value,
    /// Address mask and bounds table, if accesses are compared with bounds.
    bounds: Option<(Value, Value)>,
    blocks: Vec<ir::Block>,
    pending: Pending,
    /// How many copies are made of each block.
    copies: Vec<usize>,
    /// Blocks whose branch was merged with the one before.
    merged: Vec<bool>,
    /// Where refused accesses go, if there are any: site and address are its parameters.
    refused: Option<ir::Block>,
    first_site: usize,
    sites: &'a mut Vec<Site>,
    /// Instructions of the present block, copies included, that ran before the present op.
    ran: u64,
}

impl Translator<'_, '_> {
    fn get(&mut self, register: u8) -> Value {
        self.b.use_var(self.registers[usize::from(register)])
    }

    fn set(&mut self, register: u8, value: Value) {
        self.b.def_var(self.registers[usize::from(register)], value);
    }

    fn store_field(&mut self, offset: i32, value: Value) {
        self.b.ins().store(trusted(), value, self.base, offset);
    }

    fn store_constant(&mut self, offset: i32, value: u64) {
        let value = self.b.ins().iconst(I64, value as i64);
        self.store_field(offset, value);
    }

    fn load_field(&mut self, offset: i32) -> Value {
        self.b.ins().load(I64, trusted(), self.base, offset)
    }

    /// Adds to a counter in memory: it must survive a trap.
    fn count(&mut self, counter: Option<usize>, times: u64) {
        if times > 0 {
            let times = self.b.ins().iconst(I64, times as i64);
            self.count_by(counter, times);
        }
    }

    /// Takes instructions from the budget, or gives some back that were taken too early.
    fn spend(&mut self, instructions: i64) {
        if instructions != 0 {
            let fuel = self.b.ins().get_pinned_reg(I64);
            let left = self.b.ins().iadd_imm_s(fuel, -instructions);
            self.b.ins().set_pinned_reg(left);
        }
    }

    /// Ends the run.
    fn end(&mut self, status: u64) {
        self.store_constant(field!(status), status);
        self.call_runtime(field!(end), &[self.base]);
        self.b.ins().trap(NEVER);
    }

    fn cold_block(&mut self) -> ir::Block {
        let block = self.b.create_block();
        self.b.set_cold_block(block);
        block
    }

    fn block(&mut self, n: usize) {
        if self.merged[n] {
            return;
        }
        let flow = self.flow;
        let block = &flow.blocks[n];
        self.b.switch_to_block(self.blocks[n]);
        let copies = self.copies[n];
        let len = block.ops.len() as u64;
        if let Some(margin) = block.check {
            self.check(block.ops.start, margin + (copies as u64 - 1) * len, block.live_in);
        }
        let last = block.ops.end - 1;
        for copy in 0..copies {
            let body = block.ops.start..last;
            self.ran = self.pending.before[n] + copy as u64 * len;
            for op in body {
                self.op(op, copy as u8);
                self.ran += 1;
            }
            let op = self.code.ops[last];
            match block.end {
                End::Next(next) => {
                    if !op.ends_block() {
                        self.op(last, 0);
                    }
                    self.leave_by(n, 0, next);
                }
                End::Branch { taken, next } if copies == 1 => self.plain_branch(n, op, taken, next),
                End::Branch { taken, next } => self.unrolled_branch(n, copy, copies, taken, next),
                End::Call { next } => {
                    self.spend((self.pending.before[n] + len) as i64);
                    self.call(last, op, next);
                    self.leave_by(n, 0, next);
                }
                End::Exit => {
                    self.spend((self.pending.before[n] + len) as i64);
                    self.count(flow.edge_counter(n, 0), 1);
                    let result = self.get(0);
                    self.b.ins().return_(&[result]);
                }
            }
        }
    }

    /// Ends a block by going on to another.
    fn leave_by(&mut self, n: usize, edge: usize, to: usize) {
        self.count(self.flow.edge_counter(n, edge), 1);
        self.spend(self.pending.difference(n, to));
        self.b.ins().jump(self.blocks[to], &[]);
    }

    /// Adds a value to a counter.
    fn count_by(&mut self, counter: Option<usize>, times: Value) {
        let Some(counter) = counter.filter(|&c| self.plan.is_kept(c)) else { return };
        let old = self.load_field(counter_offset(counter));
        let new = self.b.ins().iadd(old, times);
        self.store_field(counter_offset(counter), new);
    }

    /// The branches of a block and the next one, as one.
    fn interval_branch(&mut self, n: usize, op: Op, interval: Interval) {
        let Interval { second, outside, inside, low, high, is_first_below, is_signed } = interval;
        self.merged[second] = true;
        let mut x = self.get(op.dst);
        if op.code & 7 == class::JMP32 {
            x = self.narrow(x);
        }
        let distance = self.b.ins().iadd_imm_s(x, low.wrapping_neg());
        let is_outside =
            self.b.ins().icmp_imm_u(IntCC::UnsignedGreaterThan, distance, high.wrapping_sub(low));
        let (fail, pass) = (self.b.create_block(), self.b.create_block());
        self.b.ins().brif(is_outside, fail, &[], pass, &[]);

        self.b.switch_to_block(fail);
        if self.flow.blocks[n].is_unlikely {
            self.b.set_cold_block(fail);
        }
        // One if the second would have jumped, for the first did not.
        let (compare, bound) = match (is_first_below, is_signed) {
            (true, true) => (IntCC::SignedGreaterThanOrEqual, low),
            (true, false) => (IntCC::UnsignedGreaterThanOrEqual, low),
            (false, true) => (IntCC::SignedLessThanOrEqual, high),
            (false, false) => (IntCC::UnsignedLessThanOrEqual, high),
        };
        let by_second = self.b.ins().icmp_imm_s(compare, x, bound);
        let by_second = self.b.ins().uextend(I64, by_second);
        let one = self.b.ins().iconst(I64, 1);
        let by_first = self.b.ins().isub(one, by_second);
        self.count_by(self.flow.edge_counter(n, 0), by_first);
        self.count_by(self.flow.edge_counter(n, 1), by_second);
        self.count_by(self.flow.edge_counter(second, 0), by_second);
        // The way by the second jump is that jump longer, which is its whole block.
        self.spend(self.pending.difference(n, outside));
        let fuel = self.b.ins().get_pinned_reg(I64);
        let left = self.b.ins().isub(fuel, by_second);
        self.b.ins().set_pinned_reg(left);
        self.b.ins().jump(self.blocks[outside], &[]);

        self.b.switch_to_block(pass);
        if self.flow.blocks[inside].is_unlikely {
            self.b.set_cold_block(pass);
        }
        self.count(self.flow.edge_counter(n, 1), 1);
        self.spend(self.pending.difference(n, second));
        self.leave_by(second, 1, inside);
    }

    /// A branch; ways on which something is to be counted or settled get blocks of their own.
    fn plain_branch(&mut self, n: usize, op: Op, taken: usize, next: usize) {
        if let Some(interval) = interval::find(self.code, self.flow, n) {
            return self.interval_branch(n, op, interval);
        }
        let edges = [(0, taken), (1, next)];
        let targets = edges.map(|(edge, to)| {
            let counter = self.flow.edge_counter(n, edge);
            let counts = counter.is_some_and(|counter| self.plan.is_kept(counter));
            if counts || self.pending.difference(n, to) != 0 {
                self.b.create_block()
            } else {
                self.blocks[to]
            }
        });
        let leaves = self.flow.blocks[taken].depth <= self.flow.blocks[next].depth;
        self.branch(op, targets[0], targets[1], leaves);
        for ((edge, to), target) in edges.into_iter().zip(targets) {
            if target != self.blocks[to] {
                self.b.switch_to_block(target);
                if self.flow.blocks[n].is_unlikely {
                    self.b.set_cold_block(target);
                }
                self.leave_by(n, edge, to);
            }
        }
    }

    /// The branch at the end of one of the copies of a loop of one block.
    fn unrolled_branch(&mut self, n: usize, copy: usize, copies: usize, taken: usize, next: usize) {
        let op = self.code.ops[self.flow.blocks[n].ops.end - 1];
        let len = self.flow.blocks[n].ops.len() as u64;
        let again = self.flow.self_loop(n).expect("only such loops are unrolled");
        let (exit_edge, exit_to) = if again == 0 { (1, next) } else { (0, taken) };
        let ran = (self.pending.before[n] + (copy as u64 + 1) * len) as i64;
        let (on, out) = (self.b.create_block(), self.b.create_block());
        let (if_taken, if_not) = if again == 0 { (on, out) } else { (out, on) };
        self.branch(op, if_taken, if_not, again != 0);
        self.b.switch_to_block(out);
        self.count(self.flow.edge_counter(n, again), copy as u64);
        self.spend(ran);
        self.leave_by(n, exit_edge, exit_to);
        self.b.switch_to_block(on);
        if copy + 1 == copies {
            self.count(self.flow.edge_counter(n, again), copies as u64);
            self.spend(ran);
            self.b.ins().jump(self.blocks[n], &[]);
        }
    }

    /// Looks whether the slice of the budget reaches to the next look.
    ///
    /// The state is stored before the runtime is asked: where the budget ends, the runtime does not
    /// come back, and the interpreter goes on from there.
    fn check(&mut self, op: usize, margin: u64, live: u16) {
        let fuel = self.b.ins().get_pinned_reg(I64);
        let short = self.b.ins().icmp_imm_u(IntCC::UnsignedLessThan, fuel, margin as i64);
        let (refill, go_on) = (self.cold_block(), self.b.create_block());
        self.b.ins().brif(short, refill, &[], go_on, &[]);

        self.b.switch_to_block(refill);
        for register in (0..10).filter(|r| live >> r & 1 != 0) {
            let value = self.get(register);
            self.store_field(field!(registers) + 8 * i32::from(register), value);
        }
        self.store_constant(field!(pc), op as u64);
        let margin = self.b.ins().iconst(I64, margin as i64);
        let entry = self.load_field(field!(refill));
        let signature = self.b.import_signature(runtime_signature(CallConv::PreserveAll, 2));
        self.b.ins().call_indirect(signature, entry, &[self.base, margin]);
        self.b.ins().jump(go_on, &[]);
        self.b.switch_to_block(go_on);
    }

    /// A call of a function, a helper, or the helper in a register.
    fn call(&mut self, at: usize, op: Op, next: usize) {
        if op.code == opcode::CALL_LOCAL {
            self.call_function(at, op, next);
        } else {
            self.store_constant(field!(pc), at as u64);
            for register in 1..6 {
                let value = self.get(register);
                self.store_field(field!(registers) + 8 * i32::from(register), value);
            }
            let (entry, what) = if op.code == CALL {
                (field!(call_helper), self.b.ins().iconst(I64, op.imm as i64))
            } else {
                debug_assert_eq!(op.code, CALL_REGISTER);
                (field!(call_register), self.get(op.dst))
            };
            self.call_runtime(entry, &[self.base, what]);
            let result = self.load_field(field!(result));
            self.set(0, result);
        }
    }

    fn call_runtime(&mut self, entry: i32, arguments: &[Value]) {
        let entry = self.load_field(entry);
        let signature = self.b.import_signature(runtime_signature(SYSTEM, arguments.len()));
        self.b.ins().call_indirect(signature, entry, arguments);
    }

    fn call_function(&mut self, at: usize, op: Op, next: usize) {
        let depth = self.load_field(field!(depth));
        let full = self.b.ins().icmp_imm_u(
            IntCC::UnsignedGreaterThanOrEqual,
            depth,
            self.code.stack.frames as i64 - 1,
        );
        let (too_deep, go_on) = (self.cold_block(), self.b.create_block());
        self.b.ins().brif(full, too_deep, &[], go_on, &[]);
        self.b.switch_to_block(too_deep);
        self.store_constant(field!(pc), at as u64);
        self.end(status::CALL_DEPTH);
        self.b.switch_to_block(go_on);
        let frames = frames_offset(self.plan.counters);
        let offset = self.b.ins().imul_imm_s(depth, FRAME_BYTES);
        let record = self.b.ins().iadd(self.base, offset);
        let return_to = self.b.ins().iconst(I64, at as i64 + 1);
        self.b.ins().store(trusted(), return_to, record, frames);
        let live = self.flow.blocks[next].live_in;
        for register in (6..10).filter(|r| live >> r & 1 != 0) {
            let value = self.get(register);
            let place = frames + 8 * (i32::from(register) - 5);
            self.b.ins().store(trusted(), value, record, place);
        }
        let deeper = self.b.ins().iadd_imm_s(depth, 1);
        self.store_field(field!(depth), deeper);
        let callee = self.code.function_starting_at(op.offset as usize);
        let callee = import(&mut self.b, callee.expect("calls lead to verified functions"));
        let mut arguments = vec![self.base];
        arguments.extend((1..6).map(|r| self.b.use_var(self.registers[r])));
        let call = self.b.ins().call(callee, &arguments);
        let result = self.b.inst_results(call)[0];
        self.store_field(field!(depth), depth);
        self.set(0, result);
        let zero = self.b.ins().iconst(I64, 0);
        for register in 1..6 {
            self.set(register, zero);
        }
    }

    /// The second operand of an arithmetic operation or jump.
    fn operand(&mut self, op: Op) -> Value {
        if op.code & 8 != 0 { self.get(op.src) } else { self.b.ins().iconst(I64, op.imm as i64) }
    }

    fn narrow(&mut self, value: Value) -> Value {
        self.b.ins().ireduce(I32, value)
    }

    /// Branches to one block if a jump's condition holds, else to another.
    ///
    /// The one that leaves more loops becomes the first arm: Cranelift then visits the rest of the
    /// loop before what is outside, and moves code out of loops only as long as it has not left them.
    fn branch(&mut self, op: Op, taken: ir::Block, next: ir::Block, leaves: bool) {
        let condition = self.condition(op, !leaves);
        if leaves {
            self.b.ins().brif(condition, taken, &[], next, &[]);
        } else {
            self.b.ins().brif(condition, next, &[], taken, &[]);
        }
    }

    /// The condition of a jump, or its opposite.
    fn condition(&mut self, op: Op, opposite: bool) -> Value {
        let (mut a, mut b) = (self.get(op.dst), self.operand(op));
        if op.code & 7 == class::JMP32 {
            (a, b) = (self.narrow(a), self.narrow(b));
        }
        let condition = match op.code & 0xF0 {
            0x10 => IntCC::Equal,
            0x20 => IntCC::UnsignedGreaterThan,
            0x30 => IntCC::UnsignedGreaterThanOrEqual,
            0x40 => {
                let zero =
                    self.b.ins().iconst(if op.code & 7 == class::JMP32 { I32 } else { I64 }, 0);
                (a, b) = (self.b.ins().band(a, b), zero);
                IntCC::NotEqual
            }
            0x50 => IntCC::NotEqual,
            0x60 => IntCC::SignedGreaterThan,
            0x70 => IntCC::SignedGreaterThanOrEqual,
            0xA0 => IntCC::UnsignedLessThan,
            0xB0 => IntCC::UnsignedLessThanOrEqual,
            0xC0 => IntCC::SignedLessThan,
            0xD0 => IntCC::SignedLessThanOrEqual,
            other => unreachable!("the verifier lets no jump {other:#04x} through"),
        };
        let condition = if opposite { condition.complement() } else { condition };
        self.b.ins().icmp(condition, a, b)
    }

    /// Everything that does not end a block.
    fn op(&mut self, at: usize, copy: u8) {
        let op = self.code.ops[at];
        match op.code {
            LDDW => {
                let value = self.b.ins().iconst(I64, op.imm as i64);
                self.set(op.dst, value);
            }
            opcode::MOVSX64_8 => self.move_extended(op, I8, I64),
            opcode::MOVSX64_16 => self.move_extended(op, I16, I64),
            opcode::MOVSX64_32 => self.move_extended(op, I32, I64),
            opcode::MOVSX32_8 => self.move_extended(op, I8, I32),
            opcode::MOVSX32_16 => self.move_extended(op, I16, I32),
            0xC3 | 0xDB => self.atomic(at, op),
            _ => match op.code & 7 {
                class::LDX => self.load(at, op, copy),
                class::ST | class::STX => self.store(at, op, copy),
                class::ALU | class::ALU64 => self.arithmetic(op),
                _ => unreachable!("the verifier lets no opcode {:#04x} through", op.code),
            },
        }
    }
}

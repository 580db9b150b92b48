//! A program as C.
//!
//! Registers are variables. What is counted is in variables, too, and is written to the context before
//! anything that may end the run. Addresses are compared with the bounds of the segment that was found
//! last at the same place; only if they are not within it, the table is asked.

use std::fmt::Write as _;
use std::mem::offset_of;

use super::library::ENTRY;
use super::rounds::{self, Access, Affine, Counted};
use crate::code::{Code, Op, opcode};
use crate::flow::{End, Flow, Function, Pending};
use crate::isa::{CALL, CALL_REGISTER, FRAME_POINTER, LDDW, class};
use crate::native::{CONTEXT, Context, FRAME_BYTES, Site, counter_offset, frames_offset, status};

/// Rounds for which it is worth while to leave the checked loop.
const ROUNDS_MIN: u64 = 16;
/// Bytes that one access may walk over in one go: a run must be stoppable.
const WALK_MAX: u64 = 1 << 20;

const PRELUDE: &str = "\
typedef unsigned long long u64; typedef long long i64; typedef unsigned u32; typedef int i32;
typedef unsigned short u16; typedef short i16; typedef unsigned char u8; typedef signed char i8;
typedef u64 __attribute__((aligned(1), may_alias)) m8; typedef u32 __attribute__((aligned(1), may_alias)) m4;
typedef u16 __attribute__((aligned(1), may_alias)) m2; typedef u8 __attribute__((may_alias)) m1;
#define C(offset) (*(u64 __attribute__((may_alias)) *)(base + (offset)))
#define RARE(x) __builtin_expect(!!(x), 0)
#define USUAL(x) __builtin_expect(!!(x), 1)
struct bounds { u64 first, readable, writable, unused; };
struct segment { u64 first, size; };
struct near { u64 first, room; };
static inline struct segment find_inline(u8 *base, u64 a, int write) {
    struct bounds *b = (struct bounds *)C(BOUNDS) + ((i64)a >> 16);
    struct segment s = { b->first, write ? b->writable : b->readable };
    return s;
}
static __attribute__((noinline, cold)) struct segment find(u8 *base, u64 a, int write) {
    return find_inline(base, a, write);
}
static inline int outside(struct segment s, u64 a, u64 n) {
    u64 d = a - s.first;
    return (i64)(d | (s.size - d - n)) < 0;
}
static __attribute__((noreturn, noinline, cold)) void end(u8 *base, u64 status) {
    C(STATUS) = status;
    ((void (*)(u8 *))C(END))(base);
    __builtin_unreachable();
}
";

/// What begins a source file.
pub(super) fn prelude() -> String {
    let mut out = String::new();
    for (name, offset) in [
        ("BOUNDS", offset_of!(Context, bounds)),
        ("STATUS", offset_of!(Context, status)),
        ("END", offset_of!(Context, end)),
    ] {
        let _ = writeln!(out, "#define {name} {}", CONTEXT + offset as i32);
    }
    out + PRELUDE
}

/// Appends a program to a source file, the `number`th in it; gives its sites.
pub(super) fn program(code: &Code, flow: &Flow, number: usize, out: &mut String) -> Vec<Site> {
    let mut emitter =
        Emitter { code, plan: flow, number, out: std::mem::take(out), sites: Vec::new() };
    for n in 0..flow.functions.len() {
        let _ = writeln!(
            emitter.out,
            "static u64 p{number}_f{n}(u8 *base, u64 r1, u64 r2, u64 r3, u64 r4, u64 r5);"
        );
    }
    for n in 0..flow.functions.len() {
        emitter.function(n);
    }
    let entry = code.functions.iter().position(|f| f.start == code.entry);
    let entry = entry.expect("the entry is a verified function");
    let arguments: Vec<String> = (1..6).map(|n| format!("C({})", register_place(n))).collect();
    let _ = writeln!(
        emitter.out,
        "void {ENTRY}{number}(u8 *base) {{ C({}) = p{number}_f{entry}(base, {}); end(base, {}); }}",
        place(offset_of!(Context, result)),
        arguments.join(", "),
        status::DONE,
    );
    *out = emitter.out;
    emitter.sites
}

fn place(offset: usize) -> i32 {
    CONTEXT + offset as i32
}

fn register_place(register: u8) -> i32 {
    place(offset_of!(Context, registers)) + 8 * i32::from(register)
}

/// A run of accesses of a block whose base register does not change: one comparison for all.
struct Group {
    name: String,
    first: i64,
    end: i64,
    accesses: Vec<usize>,
}

struct Emitter<'a> {
    code: &'a Code,
    plan: &'a Flow,
    /// Of the program in its file: the beginning of its functions' names.
    number: usize,
    out: String,
    sites: Vec<Site>,
}

/// Writes a line.
macro_rules! line {
    ($self:ident, $($arguments:tt)*) => {{
        let _ = writeln!($self.out, $($arguments)*);
    }};
}

impl Emitter<'_> {
    fn function(&mut self, index: usize) {
        let flow = &self.plan.functions[index];
        let number = self.number;
        line!(
            self,
            "static u64 p{number}_f{index}(u8 *base, u64 r1, u64 r2, u64 r3, u64 r4, u64 r5) {{"
        );
        line!(
            self,
            "u64 r0 = 0, r6 = 0, r7 = 0, r8 = 0, r9 = 0, mask = C({});",
            place(offset_of!(Context, mask))
        );
        line!(
            self,
            "u64 depth = C({}), r10 = C({}) + depth * {}, fuel = C({});",
            place(offset_of!(Context, depth)),
            place(offset_of!(Context, frame_pointer)),
            self.code.stack.frame,
            place(offset_of!(Context, fuel)),
        );
        let counters = self.counters(flow);
        for counter in &counters {
            line!(self, "u64 c{counter} = 0;");
        }
        let groups: Vec<Vec<Group>> =
            (0..flow.blocks.len()).map(|n| self.groups(index, flow, n)).collect();
        for group in groups.iter().flatten() {
            line!(self, "struct near {} = {{ 0, 0 }};", group.name);
        }
        let flush: String = counters
            .iter()
            .map(|c| format!("C({}) += c{c}; c{c} = 0; ", counter_offset(*c)))
            .collect();
        if let Some(counter) = flow.entry_counter() {
            line!(self, "C({}) += 1;", counter_offset(counter));
        }
        let pending = Pending::new(flow, |_| false);
        for (n, groups) in groups.iter().enumerate() {
            self.block(flow, n, (&flush, &pending, groups));
        }
        line!(self, "}}");
    }

    /// Counters of a function that code keeps, but for the one of its entry.
    fn counters(&self, flow: &Function) -> Vec<usize> {
        let edges = flow.blocks.iter().enumerate().flat_map(|(n, block)| {
            let edges = match block.end {
                End::Branch { .. } => 2,
                _ => 1,
            };
            (0..edges).filter_map(move |edge| flow.edge_counter(n, edge))
        });
        edges.filter(|&counter| self.plan.is_kept(counter)).collect()
    }

    /// The accesses of a block, by base register and direction.
    fn groups(&self, function: usize, flow: &Function, n: usize) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut open: [[Option<usize>; 2]; 11] = [[None; 2]; 11];
        for at in flow.blocks[n].ops.clone() {
            let op = self.code.ops[at];
            if op.is_memory_access() {
                let (register, write) = base_of(op);
                if register != FRAME_POINTER {
                    let slot = &mut open[usize::from(register)][usize::from(write)];
                    let (first, len) = (i64::from(op.offset), i64::from(op.access_size()));
                    let group = *slot.get_or_insert_with(|| {
                        let name = format!("s{function}_{at}");
                        groups.push(Group { name, first, end: first, accesses: Vec::new() });
                        groups.len() - 1
                    });
                    let group = &mut groups[group];
                    group.first = group.first.min(first);
                    group.end = group.end.max(first + len);
                    group.accesses.push(at);
                }
            }
            let (_, defined) = op.registers();
            for (register, slots) in open.iter_mut().enumerate() {
                let fetched = op.is_atomic() && op.fetches_into() == Some(register);
                if defined >> register & 1 != 0 || fetched {
                    *slots = [None; 2];
                }
            }
        }
        groups
    }

    fn block(
        &mut self,
        flow: &Function,
        n: usize,
        (flush, pending, groups): (&str, &Pending, &[Group]),
    ) {
        let block = &flow.blocks[n];
        let len = block.ops.len() as u64;
        line!(self, "b{}_{n}:;", block.ops.start);
        if let Some(margin) = block.check {
            let live: String = (0..10)
                .filter(|r| block.live_in >> r & 1 != 0)
                .map(|r| format!("C({}) = r{r}; ", register_place(r)))
                .collect();
            line!(
                self,
                "if (RARE(fuel < {margin})) {{ {live}{flush}C({}) = {}; C({}) = fuel; ((void (*)(u8 *, u64))C({}))(base, {margin}); fuel = C({}); }}",
                place(offset_of!(Context, pc)),
                block.ops.start,
                place(offset_of!(Context, fuel)),
                place(offset_of!(Context, refill)),
                place(offset_of!(Context, fuel)),
            );
        }
        if let Some(counted) = rounds::count(self.code, flow, n) {
            self.fast_rounds(flow, n, &counted);
        }
        let last = block.ops.end - 1;
        for at in block.ops.start..last {
            self.op(at, pending.before[n] + (at - block.ops.start) as u64 + 1, flush, groups);
        }
        let op = self.code.ops[last];
        let goto = |to: usize| format!("goto b{}_{to};", flow.blocks[to].ops.start);
        let count = |edge: usize| match flow.edge_counter(n, edge) {
            Some(counter) if self.plan.is_kept(counter) => format!("c{counter}++; "),
            _ => String::new(),
        };
        let settle = |to: usize| match pending.difference(n, to) {
            0 => String::new(),
            difference => format!("fuel -= {difference}ll; "),
        };
        match block.end {
            End::Next(next) => {
                if !op.ends_block() {
                    self.op(last, pending.before[n] + len, flush, groups);
                }
                line!(self, "{}{}{}", count(0), settle(next), goto(next));
            }
            End::Branch { taken, next } => {
                let hint = match [taken, next].map(|to| flow.blocks[to].is_unlikely) {
                    [true, false] => "RARE",
                    [false, true] => "USUAL",
                    _ => "",
                };
                line!(
                    self,
                    "if ({hint}({})) {{ {}{}{} }} else {{ {}{}{} }}",
                    condition(op),
                    count(0),
                    settle(taken),
                    goto(taken),
                    count(1),
                    settle(next),
                    goto(next),
                );
            }
            End::Call { next } => {
                let (counts, goes_on) = (count(0), goto(next));
                line!(self, "fuel -= {};", pending.before[n] + len);
                self.call(flow, last, op, next, flush);
                line!(self, "{counts}{goes_on}");
            }
            End::Exit => {
                line!(
                    self,
                    "fuel -= {}; {}{flush}C({}) = fuel; return r0;",
                    pending.before[n] + len,
                    count(0),
                    place(offset_of!(Context, fuel)),
                );
            }
        }
    }

    /// As many rounds of a counted loop as can neither leave a segment nor the budget, unchecked.
    fn fast_rounds(&mut self, flow: &Function, n: usize, counted: &Counted) {
        let Counted { accesses, counter, step, limit, signed } = counted;
        let block = &flow.blocks[n];
        let len = block.ops.len();
        let (counter, limit) = (value(counter), value(limit));
        let kind = if *signed { "i64" } else { "u64" };
        line!(self, "{{ u64 from = {counter}, to = {limit}, rounds = 0, room;");
        line!(self, "if (({kind})from < ({kind})to) rounds = (to - from - 1) / {step} + 1;");
        line!(self, "if (rounds > fuel / {len}) rounds = fuel / {len};");
        for (k, Access { op, address, step }) in accesses.iter().enumerate() {
            let this = self.code.ops[*op];
            let (_, write) = base_of(this);
            let (offset, size) = (i64::from(this.offset), this.access_size());
            let register = Affine { constant: address.constant.wrapping_sub(offset), ..*address };
            line!(self, "u64 a{k} = (({}) & mask) + ({offset});", value(&register));
            line!(self, "struct segment t{k} = find_inline(base, a{k}, {});", i32::from(write));
            line!(self, "if (outside(t{k}, a{k}, {size})) rounds = 0; else {{");
            match step {
                0 => {}
                1.. => line!(
                    self,
                    "room = (t{k}.size - {size} - (a{k} - t{k}.first)) / {step} + 1; if (rounds > room) rounds = room;"
                ),
                _ => line!(
                    self,
                    "room = (a{k} - t{k}.first) / {} + 1; if (rounds > room) rounds = room;",
                    -step
                ),
            }
            if *step != 0 {
                let most = (WALK_MAX / step.unsigned_abs()).max(ROUNDS_MIN);
                line!(self, "if (rounds > {most}) rounds = {most};");
            }
            line!(self, "}} u8 *p{k} = base + a{k};");
        }
        line!(self, "if (rounds >= {ROUNDS_MIN}) {{ for (u64 i = 0; i < rounds; i++) {{");
        for at in block.ops.start..block.ops.end - 1 {
            let op = self.code.ops[at];
            match accesses.iter().position(|a| a.op == at) {
                Some(k) => {
                    let pointer = format!("(p{k} + (i64)i * ({}))", accesses[k].step);
                    self.access(op, &pointer);
                }
                None if op.is_memory_access() => self.frame_access(op),
                None => self.arithmetic(op),
            }
        }
        line!(self, "}} fuel -= rounds * {len};");
        let again = flow.self_loop(n).and_then(|edge| flow.edge_counter(n, edge));
        if let Some(counter) = again.filter(|&c| self.plan.is_kept(c)) {
            line!(self, "c{counter} += rounds;");
        }
        line!(self, "goto b{}_{n}; }} }}", block.ops.start);
    }

    fn call(&mut self, flow: &Function, at: usize, op: Op, next: usize, flush: &str) {
        let fuel = place(offset_of!(Context, fuel));
        let pc = place(offset_of!(Context, pc));
        line!(self, "{flush}C({fuel}) = fuel;");
        if op.code == opcode::CALL_LOCAL {
            let callee = self.code.function_starting_at(op.offset as usize);
            let callee = callee.expect("calls lead to verified functions");
            let depth = place(offset_of!(Context, depth));
            let (frames, size) = (frames_offset(self.plan.counters), FRAME_BYTES);
            let number = self.number;
            line!(
                self,
                "if (RARE(depth >= {})) {{ C({pc}) = {at}; end(base, {}); }}",
                self.code.stack.frames - 1,
                status::CALL_DEPTH
            );
            line!(
                self,
                "{{ u8 *frame = base + depth * {size}; *(u64 __attribute__((may_alias)) *)(frame + ({frames})) = {};",
                at + 1
            );
            for r in (6..10).filter(|r| flow.blocks[next].live_in >> r & 1 != 0) {
                line!(
                    self,
                    "*(u64 __attribute__((may_alias)) *)(frame + ({})) = r{r};",
                    frames + 8 * (r - 5)
                );
            }
            line!(
                self,
                "}} C({depth}) = depth + 1; r0 = p{number}_f{callee}(base, r1, r2, r3, r4, r5); C({depth}) = depth;"
            );
            line!(self, "r1 = r2 = r3 = r4 = r5 = 0; fuel = C({fuel});");
            return;
        }
        line!(self, "C({pc}) = {at};");
        for r in 1..6 {
            line!(self, "C({}) = r{r};", register_place(r));
        }
        let (entry, what) = if op.code == CALL {
            (offset_of!(Context, call_helper), format!("{}ull", op.imm))
        } else {
            debug_assert_eq!(op.code, CALL_REGISTER);
            (offset_of!(Context, call_register), format!("r{}", op.dst))
        };
        line!(
            self,
            "((void (*)(u8 *, u64))C({}))(base, {what}); r0 = C({}); fuel = C({fuel});",
            place(entry),
            place(offset_of!(Context, result)),
        );
    }

    /// Everything that does not end a block. `ran` instructions are not settled, this one included.
    fn op(&mut self, at: usize, ran: u64, flush: &str, groups: &[Group]) {
        let op = self.code.ops[at];
        if op.is_atomic() {
            self.atomic(at, op, ran, flush);
        } else if !op.is_memory_access() {
            self.arithmetic(op);
        } else if base_of(op).0 == FRAME_POINTER {
            self.frame_access(op);
        } else {
            self.checked_access(at, op, ran, flush, groups);
        }
    }

    /// The verifier has seen that it is within the frame.
    fn frame_access(&mut self, op: Op) {
        let pointer = format!("(base + r10 + ({}))", op.offset);
        self.access(op, &pointer);
    }

    fn site(&mut self, at: usize, ran: u64) -> usize {
        self.sites.push(Site { op: at as u32, copy: 0, ran: ran as u32 });
        self.sites.len() - 1
    }

    fn checked_access(&mut self, at: usize, op: Op, ran: u64, flush: &str, groups: &[Group]) {
        let (register, write) = base_of(op);
        let site = self.site(at, ran);
        let group = groups.iter().find(|g| g.accesses.contains(&at)).expect("it is in a group");
        let (name, len, offset) = (&group.name, op.access_size(), op.offset);
        let write = i32::from(write);
        if group.accesses[0] == at {
            let (first, span) = (group.first, group.end - group.first);
            line!(self, "u64 a{name} = r{register}; int n{name} = 0;");
            line!(
                self,
                "if (RARE(a{name} - {name}.first >= {name}.room)) {{ a{name} &= mask; struct segment s = find(base, a{name} + ({offset}), {write});"
            );
            line!(
                self,
                "n{name} = outside(s, a{name} + ({first}), {span}); if (!n{name}) {{ {name}.first = s.first - ({first}); {name}.room = s.size - {span} + 1; }} }}"
            );
        }
        line!(
            self,
            "if (RARE(n{name})) {{ struct segment s = find(base, a{name} + ({offset}), {write}); if (outside(s, a{name} + ({offset}), {len})) {{ {flush}C({}) = fuel; C({}) = {site}; C({}) = a{name} + ({offset}); end(base, {}); }} }}",
            place(offset_of!(Context, fuel)),
            place(offset_of!(Context, site)),
            place(offset_of!(Context, address)),
            status::REFUSED
        );
        let pointer = format!("(base + a{name} + ({offset}))");
        self.access(op, &pointer);
    }

    fn access(&mut self, op: Op, pointer: &str) {
        let (size, d, s) = (op.access_size(), op.dst, op.src);
        match op.code & 7 {
            class::LDX if op.code & 0xE0 == 0x80 => {
                line!(self, "r{d} = (i64)(i{})*(m{size} *){pointer};", 8 * size);
            }
            class::LDX => line!(self, "r{d} = *(m{size} *){pointer};"),
            class::ST => line!(self, "*(m{size} *){pointer} = (u{}){}ull;", 8 * size, op.imm),
            _ => line!(self, "*(m{size} *){pointer} = (u{})r{s};", 8 * size),
        }
    }

    fn atomic(&mut self, at: usize, op: Op, ran: u64, flush: &str) {
        let site = self.site(at, ran);
        line!(
            self,
            "{flush}C({}) = fuel; C({}) = {site}; C({}) = {at}; ((void (*)(u8 *, u64, u64, u64, u64))C({}))(base, {at}, r{}, r{}, r0);",
            place(offset_of!(Context, fuel)),
            place(offset_of!(Context, site)),
            place(offset_of!(Context, pc)),
            place(offset_of!(Context, atomic)),
            op.dst,
            op.src,
        );
        if let Some(register) = op.fetches_into() {
            line!(self, "r{register} = C({});", place(offset_of!(Context, result)));
        }
    }

    fn arithmetic(&mut self, op: Op) {
        let (d, s) = (op.dst, op.src);
        let text = match op.code {
            LDDW => format!("{}ull", op.imm),
            opcode::MOVSX64_8 => format!("(i64)(i8)r{s}"),
            opcode::MOVSX64_16 => format!("(i64)(i16)r{s}"),
            opcode::MOVSX64_32 => format!("(i64)(i32)r{s}"),
            opcode::MOVSX32_8 => format!("(u32)(i32)(i8)r{s}"),
            opcode::MOVSX32_16 => format!("(u32)(i32)(i16)r{s}"),
            0xD4 if op.imm == 64 => format!("r{d}"),
            0xD4 => format!("(u{})r{d}", op.imm),
            0xDC | 0xD7 => format!("__builtin_bswap{}((u{})r{d})", op.imm, op.imm),
            _ => {
                let wide = op.code & 7 == class::ALU64;
                let (u, i) = if wide { ("u64", "i64") } else { ("u32", "i32") };
                let last = if wide { 63 } else { 31 };
                let a = format!("({u})r{d}");
                let b = operand(op, u);
                match op.code & 0xF0 {
                    0x00 => format!("({u})({a} + {b})"),
                    0x10 => format!("({u})({a} - {b})"),
                    0x20 => format!("({u})({a} * {b})"),
                    0x30 => format!("({b} ? {a} / {b} : 0)"),
                    0x40 => format!("({a} | {b})"),
                    0x50 => format!("({a} & {b})"),
                    0x60 => format!("({u})({a} << ({b} & {last}))"),
                    0x70 => format!("({a} >> ({b} & {last}))"),
                    0x80 => format!("({u})(0 - {a})"),
                    0x90 => format!("({b} ? {a} % {b} : {a})"),
                    0xA0 => format!("({a} ^ {b})"),
                    0xB0 => b,
                    0xC0 => format!("({u})(({i}){a} >> ({b} & {last}))"),
                    // -1 apart: the smallest number divided by it overflows.
                    0xE0 => format!(
                        "({u})(({i}){b} == -1 ? 0 - {a} : {b} ? ({u})(({i}){a} / ({i}){b}) : 0)"
                    ),
                    0xF0 => format!(
                        "({u})(({i}){b} == -1 ? 0 : {b} ? ({u})(({i}){a} % ({i}){b}) : {a})"
                    ),
                    other => unreachable!("the verifier lets no operation {other:#04x} through"),
                }
            }
        };
        line!(self, "r{d} = {text};");
    }
}

/// The register an access is relative to, and whether it writes.
fn base_of(op: Op) -> (u8, bool) {
    if op.code & 7 == class::LDX { (op.src, false) } else { (op.dst, true) }
}

fn operand(op: Op, unsigned: &str) -> String {
    if op.code & 8 != 0 {
        format!("({unsigned})r{}", op.src)
    } else {
        format!("({unsigned}){}ull", op.imm)
    }
}

fn condition(op: Op) -> String {
    let (u, i) = if op.code & 7 == class::JMP32 { ("u32", "i32") } else { ("u64", "i64") };
    let (a, b) = (format!("({u})r{}", op.dst), operand(op, u));
    let (sign, compare) = match op.code & 0xF0 {
        0x10 => ("", "=="),
        0x20 => ("", ">"),
        0x30 => ("", ">="),
        0x40 => return format!("{a} & {b}"),
        0x50 => ("", "!="),
        0x60 => (i, ">"),
        0x70 => (i, ">="),
        0xA0 => ("", "<"),
        0xB0 => ("", "<="),
        0xC0 => (i, "<"),
        0xD0 => (i, "<="),
        other => unreachable!("the verifier lets no jump {other:#04x} through"),
    };
    if sign.is_empty() {
        format!("{a} {compare} {b}")
    } else {
        format!("({sign}){a} {compare} ({sign}){b}")
    }
}

/// An affine value as an expression.
fn value(affine: &Affine) -> String {
    let mut text = format!("{}ull", affine.constant as u64);
    for (n, &factor) in affine.factors.iter().enumerate().filter(|(_, f)| **f != 0) {
        let _ = write!(text, " + {}ull * r{n}", i64::from(factor) as u64);
    }
    format!("({text})")
}

//! Instructions one by one, against RFC 9669.

mod harness;

use ebpf::isa::Instruction;
use ebpf::{FaultKind, Program};
use harness::{
    BYTES, EXIT, Layout, PAGES, Seen, everywhere, everywhere_with, insn, lddw, program, quickly,
};

/// Runs code with r1 = address of `memory`, with every engine and both ways of guarding memory.
fn run_with(memory: &[u8], code: &[Instruction]) -> Result<u64, FaultKind> {
    compare(memory, code, everywhere)
}

type Everywhere = fn(&Program, &[u8], Layout, u64) -> Seen;

fn compare(memory: &[u8], code: &[Instruction], everywhere: Everywhere) -> Result<u64, FaultKind> {
    let program = program(code);
    let mut whole = memory.to_vec();
    whole.resize(4096, 0);
    let in_pages = everywhere(&program, &whole, PAGES, 1000);
    let seen = everywhere(&program, memory, BYTES, 1000);
    if seen.result.is_ok() {
        assert_eq!((&seen.result, &seen.counts), (&in_pages.result, &in_pages.counts));
    }
    seen.result.map_err(|fault| fault.kind)
}

/// `r0 op= r2` (or the immediate `b`) for many `a` in r0 and `b` in r2.
struct Binary {
    program: Program,
}

impl Binary {
    fn new(opcode: u8, offset: i16, imm: i32) -> Self {
        let source = if opcode & 8 != 0 { 2 } else { 0 };
        let operation = insn(opcode, 0, source, offset, imm);
        let moves = [insn(0xBF, 0, 3, 0, 0), insn(0xBF, 2, 4, 0, 0)];
        Self { program: program(&[&moves[..], &[operation, EXIT]].concat()) }
    }

    fn of(&self, a: u64, b: u64) -> u64 {
        everywhere_with(&self.program, (&[], PAGES), [a, b, 0], 100).result.unwrap()
    }
}

fn binary(opcode: u8, offset: i16, a: u64, b: u64) -> u64 {
    let imm = if opcode & 8 != 0 { 0 } else { b as i32 };
    Binary::new(opcode, offset, imm).of(a, b)
}

const NEG: u64 = -7i64 as u64;

#[test]
fn arithmetic_64_and_32_with_registers_and_immediates() {
    type F = fn(u64, u64) -> u64;
    type G = fn(u32, u32) -> u32;
    let rows: [(u8, F, G); 12] = [
        (0x00, u64::wrapping_add, u32::wrapping_add),
        (0x10, u64::wrapping_sub, u32::wrapping_sub),
        (0x20, u64::wrapping_mul, u32::wrapping_mul),
        (0x30, |a, b| a.checked_div(b).unwrap_or(0), |a, b| a.checked_div(b).unwrap_or(0)),
        (0x40, |a, b| a | b, |a, b| a | b),
        (0x50, |a, b| a & b, |a, b| a & b),
        (0x60, |a, b| a << (b % 64), |a, b| a << (b % 32)),
        (0x70, |a, b| a >> (b % 64), |a, b| a >> (b % 32)),
        (0x90, |a, b| a.checked_rem(b).unwrap_or(a), |a, b| a.checked_rem(b).unwrap_or(a)),
        (0xA0, |a, b| a ^ b, |a, b| a ^ b),
        (0xB0, |_, b| b, |_, b| b),
        (0xC0, |a, b| (a as i64 >> (b % 64)) as u64, |a, b| (a as i32 >> (b % 32)) as u32),
    ];
    let values = [0, 1, 7, 63, 31, 0x8000_0000, 0xFFFF_FFFF, 1 << 63, NEG, 0x0123_4567_89AB_CDEF];
    for (operation, wide, narrow) in rows {
        let [wide_x, narrow_x] = [0x0F, 0x0C].map(|class| Binary::new(class | operation, 0, 0));
        for b in values {
            let [wide_k, narrow_k] =
                [0x07, 0x04].map(|class| Binary::new(class | operation, 0, b as i32));
            for a in values {
                let immediate = b as i32 as i64 as u64;
                let case = format!("{operation:#x} {a:#x} {b:#x}");
                assert_eq!(wide_x.of(a, b), wide(a, b), "{case}");
                assert_eq!(wide_k.of(a, b), wide(a, immediate), "{case}");
                let expected = u64::from(narrow(a as u32, b as u32));
                assert_eq!(narrow_x.of(a, b), expected, "{case}");
                assert_eq!(narrow_k.of(a, b), expected, "{case}");
            }
        }
    }
}

#[test]
fn signed_division_and_remainder_of_instruction_set_v4() {
    let signed = |n: i64| n as u64;
    for (a, b, quotient, remainder) in [
        (-7i64, 2i64, -3i64, -1i64),
        (7, -2, -3, 1),
        (-7, -2, 3, -1),
        (i64::MIN, -1, i64::MIN, 0),
        (5, 0, 0, 5),
    ] {
        assert_eq!(binary(0x3F, 1, signed(a), signed(b)), signed(quotient), "{a} / {b}");
        assert_eq!(binary(0x9F, 1, signed(a), signed(b)), signed(remainder), "{a} % {b}");
        assert_eq!(binary(0x37, 1, signed(a), signed(b)), signed(quotient), "{a} / {b}");
    }
    let min = i64::from(i32::MIN);
    for (a, b, quotient, remainder) in
        [(-7i64, 2i64, -3i32, -1i32), (min, -1, i32::MIN, 0), (-5, 0, 0, -5)]
    {
        assert_eq!(binary(0x3C, 1, signed(a), signed(b)), u64::from(quotient as u32));
        assert_eq!(binary(0x9C, 1, signed(a), signed(b)), u64::from(remainder as u32));
    }
}

#[test]
fn moves_with_sign_extension_negation_and_byte_order() {
    let value = 0x1122_3344_85A6_97F8;
    assert_eq!(binary(0xBF, 8, 0, value), 0xFFFF_FFFF_FFFF_FFF8);
    assert_eq!(binary(0xBF, 16, 0, value), 0xFFFF_FFFF_FFFF_97F8);
    assert_eq!(binary(0xBF, 32, 0, value), 0xFFFF_FFFF_85A6_97F8);
    assert_eq!(binary(0xBC, 8, 0, value), 0xFFFF_FFF8);
    assert_eq!(binary(0xBC, 16, 0, value), 0xFFFF_97F8);
    let unary = |opcode, imm| {
        let [a, b] = lddw(0, value);
        run_with(&[], &[a, b, insn(opcode, 0, 0, 0, imm), EXIT]).unwrap()
    };
    assert_eq!(unary(0x87, 0), value.wrapping_neg());
    assert_eq!(unary(0x84, 0), u64::from((value as u32).wrapping_neg()));
    for (opcode, imm, expected) in [
        (0xD4, 16, 0x97F8),
        (0xD4, 32, 0x85A6_97F8),
        (0xD4, 64, value),
        (0xDC, 16, 0xF897),
        (0xDC, 32, 0xF897_A685),
        (0xDC, 64, value.swap_bytes()),
        (0xD7, 16, 0xF897),
        (0xD7, 32, 0xF897_A685),
        (0xD7, 64, value.swap_bytes()),
    ] {
        assert_eq!(unary(opcode, imm), expected, "{opcode:#x} {imm}");
    }
}

#[test]
fn jumps_compare_as_they_should() {
    let taken = |opcode: u8, a: u64, b: u64| {
        let mut code = Vec::from(lddw(3, a));
        code.extend(lddw(2, b));
        let register = opcode & 8 != 0;
        code.push(insn(
            opcode,
            3,
            if register { 2 } else { 0 },
            2,
            if register { 0 } else { b as i32 },
        ));
        code.extend([insn(0xB7, 0, 0, 0, 0), EXIT, insn(0xB7, 0, 0, 0, 1), EXIT]);
        compare(&[], &code, quickly).unwrap() == 1
    };
    type C = fn(i64, i64) -> bool;
    let rows: [(u8, C); 11] = [
        (0x10, |a, b| a == b),
        (0x20, |a, b| a as u64 > b as u64),
        (0x30, |a, b| a as u64 >= b as u64),
        (0x40, |a, b| a & b != 0),
        (0x50, |a, b| a != b),
        (0x60, |a, b| a > b),
        (0x70, |a, b| a >= b),
        (0xA0, |a, b| (a as u64) < b as u64),
        (0xB0, |a, b| a as u64 <= b as u64),
        (0xC0, |a, b| a < b),
        (0xD0, |a, b| a <= b),
    ];
    let values = [0, 1, -1, 5, -5, i64::from(i32::MIN), i64::from(i32::MAX)];
    for (operation, compare) in rows {
        for a in values {
            for b in values {
                for opcode in [0x05, 0x0D] {
                    assert_eq!(
                        taken(opcode | operation, a as u64, b as u64),
                        compare(a, b),
                        "{operation:#x} {a} {b}"
                    );
                }
                // 32-bit comparisons do not see the upper half.
                let dirty = a as u32 as u64 | 0x5555 << 40;
                for opcode in [0x06, 0x0E] {
                    assert_eq!(
                        taken(opcode | operation, dirty, b as u64),
                        compare(a, b),
                        "{operation:#x} {a} {b}"
                    );
                }
            }
        }
    }
    // Unconditional, 16- and 32-bit displacement.
    for opcode in [0x05, 0x06] {
        let jump =
            insn(opcode, 0, 0, if opcode == 5 { 1 } else { 0 }, if opcode == 6 { 1 } else { 0 });
        let code = [insn(0xB7, 0, 0, 0, 3), jump, insn(0xB7, 0, 0, 0, 4), EXIT];
        assert_eq!(run_with(&[], &code), Ok(3));
    }
}

#[test]
fn loads_and_stores_of_every_size() {
    let memory = [0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 9, 10];
    let load = |opcode, offset| compare(&memory, &[insn(opcode, 0, 1, offset, 0), EXIT], quickly);
    assert_eq!(load(0x71, 1), Ok(0x82));
    assert_eq!(load(0x69, 1), Ok(0x8382));
    assert_eq!(load(0x61, 1), Ok(0x8584_8382));
    assert_eq!(load(0x79, 1), Ok(0x0988_8786_8584_8382));
    assert_eq!(load(0x91, 0), Ok(0x81u8 as i8 as i64 as u64));
    assert_eq!(load(0x89, 0), Ok(0x8281u16 as i16 as i64 as u64));
    assert_eq!(load(0x81, 0), Ok(0x8483_8281u32 as i32 as i64 as u64));
    for (opcode, last) in [(0x71, 9), (0x69, 8), (0x61, 6), (0x79, 2)] {
        assert!(load(opcode, last).is_ok());
        assert!(matches!(load(opcode, last + 1), Err(FaultKind::Memory(_))));
        assert!(matches!(load(opcode, -1), Err(FaultKind::Memory(_))));
    }
    // Immediates are sign extended to the width that is stored.
    for (opcode, expected) in
        [(0x72, 0x00FE), (0x6A, 0xFFFE), (0x62, 0xFFFF_FFFE), (0x7A, u64::MAX - 1)]
    {
        let code = [insn(opcode, 10, 0, -8, -2), insn(0x79, 0, 10, -8, 0), EXIT];
        assert_eq!(run_with(&[], &code), Ok(expected));
        let [a, b] = lddw(2, 0xFFFF_FFFF_FFFF_FFFE);
        let store = insn(opcode | 1, 10, 2, -8, 0);
        assert_eq!(run_with(&[], &[a, b, store, insn(0x79, 0, 10, -8, 0), EXIT]), Ok(expected));
    }
}

#[test]
fn atomic_operations_update_memory_and_fetch() {
    // *(r10 - 8) = 12; r2 = 10; r0 = 12; atomic; result: memory, r2 and r0 in one number.
    let run = |opcode: u8, imm: i32, memory: i32, expected: i32| {
        let code = [
            insn(0x7A, 10, 0, -8, memory),
            insn(0xB7, 2, 0, 0, 10),
            insn(0xB7, 0, 0, 0, expected),
            insn(opcode, 10, 2, -8, imm),
            insn(0x79, 3, 10, -8, 0),
            insn(0x67, 2, 0, 0, 16),
            insn(0x67, 3, 0, 0, 32),
            insn(0x4F, 0, 2, 0, 0),
            insn(0x4F, 0, 3, 0, 0),
            EXIT,
        ];
        let packed = run_with(&[], &code).unwrap();
        (packed >> 32, packed >> 16 & 0xFFFF, packed & 0xFFFF)
    };
    for opcode in [0xC3, 0xDB] {
        assert_eq!(run(opcode, 0x00, 12, 1), (22, 10, 1));
        assert_eq!(run(opcode, 0x01, 12, 1), (22, 12, 1));
        assert_eq!(run(opcode, 0x41, 12, 1), (14, 12, 1));
        assert_eq!(run(opcode, 0x51, 12, 1), (8, 12, 1));
        assert_eq!(run(opcode, 0xA1, 12, 1), (6, 12, 1));
        assert_eq!(run(opcode, 0xE1, 12, 1), (10, 12, 1));
        assert_eq!(run(opcode, 0xF1, 12, 12), (10, 10, 12), "equal: exchanged");
        assert_eq!(run(opcode, 0xF1, 12, 13), (12, 10, 12), "not equal: r0 is what was there");
    }
}

#[test]
fn calls_keep_callee_saved_registers_and_give_each_frame_its_stack() {
    // r6 = 5; *(r10 - 8) = 7; call f; r0 += r6; r0 += *(r10 - 8); exit
    // f: r6 = 100; *(r10 - 8) = 1000; r0 = r6; exit
    let code = [
        insn(0xB7, 6, 0, 0, 5),
        insn(0x7A, 10, 0, -8, 7),
        insn(0x85, 0, 1, 0, 4),
        insn(0x0F, 0, 6, 0, 0),
        insn(0x79, 1, 10, -8, 0),
        insn(0x0F, 0, 1, 0, 0),
        EXIT,
        insn(0xB7, 6, 0, 0, 100),
        insn(0x7A, 10, 0, -8, 1000),
        insn(0xBF, 0, 6, 0, 0),
        EXIT,
    ];
    assert_eq!(run_with(&[], &code), Ok(100 + 5 + 7));
}

#[test]
fn nested_calls_are_bounded_exactly() {
    // f(n): if n == 0 return 0; return f(n - 1) + 1
    let code = |n| {
        [
            insn(0xB7, 1, 0, 0, n),
            insn(0x85, 0, 1, 0, 1),
            EXIT,
            insn(0xB7, 0, 0, 0, 0),
            insn(0x15, 1, 0, 3, 0),
            insn(0x07, 1, 0, 0, -1),
            insn(0x85, 0, 1, 0, -4),
            insn(0x07, 0, 0, 0, 1),
            EXIT,
        ]
    };
    assert_eq!(run_with(&[], &code(126)), Ok(126), "entry and 127 calls");
    assert_eq!(run_with(&[], &code(127)), Err(FaultKind::CallDepth(128)));
}

#[test]
fn a_large_frame_is_the_programs_and_nobody_elses() {
    // f(n): *(r10 - 20000) = n; r2 = r10 - 20000; if n == 0 return *r2; return f(n - 1) + *(r10 - 20000)
    let code = |n| {
        [
            insn(0xB7, 1, 0, 0, n),
            insn(0x85, 0, 1, 0, 1),
            EXIT,
            insn(0x7B, 10, 1, -20_000, 0),
            insn(0xBF, 2, 10, 0, 0),
            insn(0x07, 2, 0, 0, -20_000),
            insn(0x79, 0, 2, 0, 0),
            insn(0x15, 1, 0, 4, 0),
            insn(0x07, 1, 0, 0, -1),
            insn(0x85, 0, 1, 0, -7),
            insn(0x79, 2, 10, -20_000, 0),
            insn(0x0F, 0, 2, 0, 0),
            EXIT,
        ]
    };
    assert_eq!(run_with(&[], &code(11)), Ok(66));
    assert_eq!(run_with(&[], &code(12)), Err(FaultKind::CallDepth(13)));
    // Functions that do not call themselves have as many frames as they need.
    let mut chain = Vec::new();
    for left in (1..=40).rev() {
        chain.extend([insn(0x7A, 10, 0, -4000, left), insn(0x85, 0, 1, 0, 2)]);
        chain.extend([insn(0x79, 1, 10, -4000, 0), insn(0x0F, 0, 1, 0, 0)]);
        // The next function begins after the exit.
        let call = chain.len() - 3;
        chain[call].imm = 3;
        chain.push(EXIT);
    }
    chain.extend([insn(0xB7, 0, 0, 0, 0), EXIT]);
    assert_eq!(run_with(&[], &chain), Ok(820));
}

#[test]
fn budget_is_exact_and_counts_are_too() {
    let code = [insn(0xB7, 0, 0, 0, 1), insn(0x27, 0, 0, 0, 3), insn(0x05, 0, 0, 0, 0), EXIT];
    let program = program(&code);
    for budget in 0..4 {
        let seen = everywhere(&program, &[], PAGES, budget);
        assert_eq!(seen.result.unwrap_err().kind, FaultKind::Budget(budget));
        assert_eq!(seen.counts.total(), budget);
    }
    let seen = everywhere(&program, &[], PAGES, 4);
    assert_eq!((seen.result, seen.counts.total()), (Ok(3), 4));
    assert_eq!(seen.counts.instructions, [1, 1, 0, 0, 0, 0, 1, 1, 0]);
}

/// A loop of one block, which compilers unroll: every budget up to its end and beyond.
#[test]
fn budget_is_exact_in_loops() {
    // r0 = 0; do { r0 += 3; *(u8 *)(r1 + 0) = r0; r0 += 0 } while (r0 != 30); exit
    let code = [
        insn(0xB7, 0, 0, 0, 0),
        insn(0x07, 0, 0, 0, 3),
        insn(0x73, 1, 0, 0, 0),
        insn(0x55, 0, 0, -3, 30),
        EXIT,
    ];
    let program = program(&code);
    for budget in 0..40 {
        for layout in [PAGES, BYTES] {
            let seen = everywhere(&program, &[0; 4096], layout, budget);
            assert_eq!(seen.result.is_ok(), budget >= 32, "{budget}");
            assert_eq!(seen.counts.total(), budget.min(32));
            assert_eq!(seen.counts.bytes_stored, budget.min(31) / 3);
        }
    }
}

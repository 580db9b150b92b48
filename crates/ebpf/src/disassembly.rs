//! Instructions as text, as the kernel's verifier and `llvm-objdump` write them.

use crate::helper::Helper;
use crate::image::Image;
use crate::isa::{CALL, CALL_REGISTER, EXIT, Instruction, LDDW, alu, atomic, class, jump, mode};

/// The text of the instruction in a slot; jumps say the number of the instruction in its function.
pub(crate) fn text(image: &Image, helpers: &[Helper], slot: usize) -> String {
    let Some(&insn) = image.slots.get(slot) else { return "?".to_owned() };
    let Instruction { opcode, dst, src, offset, imm } = insn;
    let start = image.function_at(slot).map_or(0, |function| function.start);
    let register = |n: u8, is_narrow: bool| format!("{}{n}", if is_narrow { 'w' } else { 'r' });
    let target =
        |displacement: i64| format!("goto {}", slot as i64 + 1 + displacement - start as i64);
    let memory = |size: u8, base: u8, sign: &str| {
        let type_name = format!("{sign}{}", u32::from(size) * 8);
        match offset {
            0.. => format!("*({type_name} *)(r{base} + {offset})"),
            _ => format!("*({type_name} *)(r{base} - {})", -i32::from(offset)),
        }
    };
    match opcode {
        LDDW => {
            let high = image.slots.get(slot + 1).map_or(0, |next| next.imm);
            let value = u64::from(imm as u32) | u64::from(high as u32) << 32;
            return format!("r{dst} = {value:#x} ll");
        }
        EXIT => return "exit".to_owned(),
        CALL_REGISTER => return format!("callx r{dst}"),
        CALL if insn.is_local_call() => {
            let to = slot.checked_add_signed(imm as isize + 1);
            let function = to.and_then(|to| image.function_at(to));
            return format!("call {}", function.map_or("?", |function| &function.name));
        }
        CALL => {
            let helper = helpers.iter().find(|helper| helper.id as i32 == imm);
            return format!("call {}", helper.map_or("?", |helper| helper.name));
        }
        _ => {}
    }
    let kind = insn.class();
    let is_narrow = kind == class::ALU || kind == class::JMP32;
    let other = if insn.uses_register() { register(src, is_narrow) } else { imm.to_string() };
    match kind {
        class::ALU | class::ALU64 => {
            let d = register(dst, is_narrow);
            let signed = if offset == 1 { "s" } else { "" };
            match insn.operation() {
                alu::NEG => format!("{d} = -{d}"),
                alu::END => {
                    let order = match (kind, opcode & 8) {
                        (class::ALU64, _) => "bswap",
                        (_, 0) => "le",
                        _ => "be",
                    };
                    format!("r{dst} = {order}{imm} r{dst}")
                }
                alu::MOV if offset != 0 => format!("{d} = (s{offset}){other}"),
                operation => format!("{d} {signed}{} {other}", arithmetic(operation)),
            }
        }
        class::JMP | class::JMP32 => match insn.operation() {
            jump::JA => target(if kind == class::JMP32 { imm.into() } else { offset.into() }),
            operation => {
                let comparison = comparison(operation);
                format!(
                    "if {} {comparison} {other} {}",
                    register(dst, is_narrow),
                    target(offset.into())
                )
            }
        },
        class::LDX if insn.mode() == mode::MEMSX => {
            format!("r{dst} = {}", memory(insn.access_size(), src, "s"))
        }
        class::LDX => format!("r{dst} = {}", memory(insn.access_size(), src, "u")),
        class::STX if insn.mode() == mode::ATOMIC => {
            let place = memory(insn.access_size(), dst, "u");
            match imm {
                atomic::XCHG => format!("r{src} = xchg({place}, r{src})"),
                atomic::CMPXCHG => format!("r0 = cmpxchg({place}, r0, r{src})"),
                _ => {
                    let sign = match imm & !atomic::FETCH {
                        atomic::ADD => "+=",
                        atomic::OR => "|=",
                        atomic::AND => "&=",
                        _ => "^=",
                    };
                    let old =
                        if imm & atomic::FETCH != 0 { format!("r{src} = ") } else { String::new() };
                    format!("{old}lock {place} {sign} r{src}")
                }
            }
        }
        class::ST => format!("{} = {imm}", memory(insn.access_size(), dst, "u")),
        _ => format!("{} = r{src}", memory(insn.access_size(), dst, "u")),
    }
}

fn arithmetic(operation: u8) -> &'static str {
    ["+=", "-=", "*=", "/=", "|=", "&=", "<<=", ">>=", "?", "%=", "^=", "=", "s>>="]
        .get(usize::from(operation >> 4))
        .unwrap_or(&"?")
}

fn comparison(operation: u8) -> &'static str {
    ["?", "==", ">", ">=", "&", "!=", "s>", "s>=", "?", "?", "<", "<=", "s<", "s<="]
        .get(usize::from(operation >> 4))
        .unwrap_or(&"?")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Function;

    #[test]
    fn instructions_read_as_the_kernel_writes_them() {
        let code: [([u8; 8], &str); 21] = [
            ([0xBF, 0x21, 0, 0, 0, 0, 0, 0], "r1 = r2"),
            ([0xB4, 0x03, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF], "w3 = -1"),
            ([0xBF, 0x21, 8, 0, 0, 0, 0, 0], "r1 = (s8)r2"),
            ([0x3F, 0x21, 1, 0, 0, 0, 0, 0], "r1 s/= r2"),
            ([0xC7, 0x01, 0, 0, 3, 0, 0, 0], "r1 s>>= 3"),
            ([0x87, 0x04, 0, 0, 0, 0, 0, 0], "r4 = -r4"),
            ([0xDC, 0x04, 0, 0, 16, 0, 0, 0], "r4 = be16 r4"),
            ([0xD7, 0x04, 0, 0, 64, 0, 0, 0], "r4 = bswap64 r4"),
            ([0x61, 0x21, 4, 0, 0, 0, 0, 0], "r1 = *(u32 *)(r2 + 4)"),
            ([0x91, 0x21, 0xFC, 0xFF, 0, 0, 0, 0], "r1 = *(s8 *)(r2 - 4)"),
            ([0x7B, 0x1A, 0xF8, 0xFF, 0, 0, 0, 0], "*(u64 *)(r10 - 8) = r1"),
            ([0x72, 0x01, 0, 0, 7, 0, 0, 0], "*(u8 *)(r1 + 0) = 7"),
            ([0xDB, 0x21, 0, 0, 1, 0, 0, 0], "r2 = lock *(u64 *)(r1 + 0) += r2"),
            ([0xC3, 0x21, 0, 0, 0xF1, 0, 0, 0], "r0 = cmpxchg(*(u32 *)(r1 + 0), r0, r2)"),
            ([0x05, 0, 2, 0, 0, 0, 0, 0], "goto 17"),
            ([0x6D, 0x21, 0xFF, 0xFF, 0, 0, 0, 0], "if r1 s> r2 goto 15"),
            ([0xA6, 0x01, 1, 0, 9, 0, 0, 0], "if w1 < 9 goto 18"),
            ([0x85, 0x10, 0, 0, 0xEE, 0xFF, 0xFF, 0xFF], "call f"),
            ([0x85, 0, 0, 0, 0xE9, 3, 0, 0], "call csd_memcpy"),
            ([0x8D, 0x05, 0, 0, 0, 0, 0, 0], "callx r5"),
            ([0x95, 0, 0, 0, 0, 0, 0, 0], "exit"),
        ];
        let slots: Vec<_> = code.iter().map(|(bytes, _)| Instruction::decode(*bytes)).collect();
        let function = Function { name: "f".to_owned(), start: 0, end: slots.len(), global: true };
        let image = Image::bare(slots, vec![function]);
        for (slot, (_, expected)) in code.iter().enumerate() {
            assert_eq!(text(&image, crate::HELPERS, slot), *expected);
        }
    }
}

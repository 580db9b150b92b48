//! The address that an x86-64 instruction accesses memory at (Intel SDM volume 2, chapter 2).
//!
//! Only what compilers write for plain loads and stores is decoded: legacy and REX prefixes, the
//! one-byte, 0F, 0F 38 and 0F 3A opcode maps, VEX, and ModRM with SIB.

/// Longest instruction.
pub(super) const LENGTH_MAX: usize = 15;

/// General registers in the order instructions number them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registers(pub(super) [u64; 16]);

impl Registers {
    /// From the array of a signal's context.
    pub(super) fn from_kernel(kernel: &[libc::greg_t; 23]) -> Self {
        const ORDER: [libc::c_int; 16] = [
            libc::REG_RAX,
            libc::REG_RCX,
            libc::REG_RDX,
            libc::REG_RBX,
            libc::REG_RSP,
            libc::REG_RBP,
            libc::REG_RSI,
            libc::REG_RDI,
            libc::REG_R8,
            libc::REG_R9,
            libc::REG_R10,
            libc::REG_R11,
            libc::REG_R12,
            libc::REG_R13,
            libc::REG_R14,
            libc::REG_R15,
        ];
        Self(ORDER.map(|r| kernel[r as usize] as u64))
    }
}

/// The address of the memory operand; `None` if the instruction has none that is understood.
pub(super) fn address(code: &[u8; LENGTH_MAX], registers: &Registers) -> Option<u64> {
    let mut bytes = code.iter().copied();
    let mut byte = bytes.next()?;
    while matches!(byte, 0x66 | 0xF0 | 0xF2 | 0xF3 | 0x2E | 0x36 | 0x3E | 0x26) {
        byte = bytes.next()?;
    }
    // Bits 1 and 0: what is added to index and base register numbers.
    let (mut index_high, mut base_high) = (0, 0);
    match byte {
        0xC5 => {
            bytes.next()?;
            bytes.next()?;
        }
        0xC4 => {
            let first = bytes.next()?;
            // Inverted in this encoding.
            (index_high, base_high) = (!first >> 6 & 1, !first >> 5 & 1);
            bytes.next()?;
            bytes.next()?;
        }
        _ => {
            if byte & 0xF0 == 0x40 {
                (index_high, base_high) = (byte >> 1 & 1, byte & 1);
                byte = bytes.next()?;
            }
            if byte == 0x0F && matches!(bytes.next()?, 0x38 | 0x3A) {
                bytes.next()?;
            }
        }
    }
    let modrm = bytes.next()?;
    let (mode, rm) = (modrm >> 6, modrm & 7);
    let register = |low: u8, high: u8| registers.0[usize::from(high << 3 | low)];
    let mut sum = 0u64;
    let mut displacement = match mode {
        0 => 0,
        1 => 1,
        2 => 4,
        _ => return None,
    };
    if rm == 4 {
        let sib = bytes.next()?;
        let (scale, index, base) = (sib >> 6, sib >> 3 & 7, sib & 7);
        if index_high << 3 | index != 4 {
            sum = register(index, index_high) << scale;
        }
        if mode == 0 && base == 5 {
            displacement = 4;
        } else {
            sum = sum.wrapping_add(register(base, base_high));
        }
    } else if mode == 0 && rm == 5 {
        return None; // relative to the instruction: not memory of a program
    } else {
        sum = register(rm, base_high);
    }
    let offset = match displacement {
        0 => 0,
        1 => i64::from(bytes.next()? as i8),
        _ => {
            let raw = [bytes.next()?, bytes.next()?, bytes.next()?, bytes.next()?];
            i64::from(i32::from_le_bytes(raw))
        }
    };
    Some(sum.wrapping_add(offset as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_every_form_of_operand() {
        let registers = Registers(std::array::from_fn(|n| 0x1000 << n));
        let r = |n: usize| registers.0[n];
        let cases: &[(&[u8], u64)] = &[
            (&[0x8B, 0x07], r(7)),                                 // mov eax, [rdi]
            (&[0x48, 0x8B, 0x47, 0xF8], r(7) - 8),                 // mov rax, [rdi-8]
            (&[0x41, 0x8B, 0x04, 0x24], r(12)),                    // mov eax, [r12]
            (&[0x43, 0x8B, 0x44, 0x3D, 0x10], r(13) + r(15) + 16), // mov eax, [r13+r15+16]
            (&[0x0F, 0xB6, 0x84, 0xB0, 0, 1, 0, 0], r(0) + 4 * r(6) + 256), // movzx eax, [rax+rsi*4+256]
            (&[0x66, 0x44, 0x89, 0x0C, 0x0F], r(7) + r(1)),                 // mov [rdi+rcx], r9w
            (&[0x03, 0x05, 0, 0, 0, 0], 0), // add eax, [rip]: not ours
            (&[0x0F, 0x38, 0xF1, 0x07], r(7)), // movbe [rdi], eax
            (&[0xC4, 0xE2, 0xF9, 0xF7, 0x04, 0x0F], r(7) + r(1)), // shlx rax, [rdi+rcx], rax
            (&[0x8B, 0x04, 0x25, 0, 1, 0, 0], 256), // mov eax, [256]
        ];
        for (bytes, expected) in cases {
            let mut code = [0x90; LENGTH_MAX];
            code[..bytes.len()].copy_from_slice(bytes);
            assert_eq!(address(&code, &registers).unwrap_or(0), *expected, "{bytes:x?}");
        }
    }
}

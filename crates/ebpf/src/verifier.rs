//! Structural verifier: what must hold of a program before any engine sees it.
//!
//! Memory safety and termination come from the window and the instruction budget at run time. What
//! is checked here is everything the engines rely on: valid opcodes and registers, jumps to whole
//! instructions of the same function, calls of functions and known helpers, no way past the end of
//! a function, a read-only frame pointer, frame accesses within the frame.
//!
//! Only functions that the entry function reaches are checked, and only those are decoded.

use crate::error::LoadError;
use crate::helper::Helper;
use crate::image::{Function, Image};
use crate::isa::{
    CALL_LOCAL, CALL_REGISTER, FRAME_POINTER, Instruction, LDDW, alu, atomic, class, jump, mode,
};

/// Checks every function reachable from `entry`; returns their indices, ascending.
pub(crate) fn verify(
    image: &Image,
    entry: usize,
    helpers: &[Helper],
) -> Result<Vec<usize>, LoadError> {
    let mut seen = vec![false; image.functions.len()];
    seen[entry] = true;
    let mut reached = vec![entry];
    let mut next = 0;
    while next < reached.len() {
        let function = &image.functions[reached[next]];
        for callee in check_function(image, function, helpers)? {
            if !std::mem::replace(&mut seen[callee], true) {
                reached.push(callee);
            }
        }
        next += 1;
    }
    reached.sort_unstable();
    Ok(reached)
}

/// Checks one function; returns the functions it calls.
fn check_function(
    image: &Image,
    function: &Function,
    helpers: &[Helper],
) -> Result<Vec<usize>, LoadError> {
    let slots = &image.slots[function.start..function.end];
    let reject = |at: usize, reason: String| LoadError::Rejected {
        location: image.describe(function.start + at),
        reason,
    };
    let mut second_half = vec![false; slots.len()];
    let mut callees = Vec::new();
    let mut at = 0;
    while at < slots.len() {
        let insn = slots[at];
        check_encoding(insn, helpers).map_err(|reason| reject(at, reason))?;
        if insn.opcode == LDDW {
            match slots.get(at + 1) {
                Some(&Instruction { opcode: 0, dst: 0, src: 0, offset: 0, .. }) => {}
                Some(_) => {
                    return Err(reject(at, "second half of the 64-bit load is not empty".into()));
                }
                None => {
                    return Err(reject(at, "64-bit load is cut off by the function's end".into()));
                }
            }
            second_half[at + 1] = true;
            at += 1;
        } else if insn.is_local_call() {
            let target = (function.start + at).checked_add_signed(insn.imm as isize + 1);
            let callee = target.and_then(|t| image.function_starting_at(t));
            callees.push(
                callee.ok_or_else(|| reject(at, "calls no function's first instruction".into()))?,
            );
        }
        at += 1;
    }
    for (at, insn) in slots.iter().enumerate().filter(|&(at, _)| !second_half[at]) {
        let Some(displacement) = insn.jump_displacement() else { continue };
        let target = at as i64 + 1 + displacement;
        let inside = usize::try_from(target).ok().filter(|&t| t < slots.len());
        match inside {
            None => {
                return Err(reject(
                    at,
                    format!(
                        "jumps to {target}, outside the function's {} instructions",
                        slots.len()
                    ),
                ));
            }
            Some(t) if second_half[t] => {
                return Err(reject(at, format!("jumps to {target}, the middle of a 64-bit load")));
            }
            Some(_) => {}
        }
    }
    let last =
        slots.len().checked_sub(1).ok_or_else(|| reject(0, "the function is empty".into()))?;
    let ends = matches!(
        (slots[last].class(), slots[last].operation()),
        (class::JMP, jump::EXIT) | (class::JMP | class::JMP32, jump::JA)
    );
    let ends = ends && !second_half[last];
    if !ends {
        return Err(reject(
            last,
            "the function can run past its end; it must end with exit or a jump".into(),
        ));
    }
    Ok(callees)
}

/// Checks what can be said of one instruction alone.
fn check_encoding(insn: Instruction, helpers: &[Helper]) -> Result<(), String> {
    if insn.dst > FRAME_POINTER || insn.src > FRAME_POINTER {
        return Err(format!("register r{} does not exist", insn.dst.max(insn.src)));
    }
    let unknown = || Err(format!("opcode {:#04x} is not an instruction", insn.opcode));
    match insn.class() {
        class::ALU | class::ALU64 => check_arithmetic(insn)?,
        class::JMP | class::JMP32 => return check_jump(insn, helpers),
        class::LD if insn.opcode == LDDW => {
            if insn.src != 0 {
                return Err(format!(
                    "64-bit load of kind {} (map or variable of the kernel); only plain values exist here",
                    insn.src
                ));
            }
        }
        class::LD => return Err("packet access instructions (abs, ind) are not supported".into()),
        class::LDX => match (insn.mode(), insn.access_size()) {
            (mode::MEM, _) | (mode::MEMSX, 1 | 2 | 4) => check_frame_access(insn, insn.src)?,
            _ => return unknown(),
        },
        class::ST | class::STX => {
            match (insn.class(), insn.mode()) {
                (_, mode::MEM) => {}
                (class::STX, mode::ATOMIC) => check_atomic(insn)?,
                _ => return unknown(),
            }
            // The destination register of a store holds an address: it is not written.
            return check_frame_access(insn, insn.dst);
        }
        _ => return unknown(),
    }
    if insn.dst == FRAME_POINTER {
        return Err("writes r10, the read-only frame pointer".into());
    }
    Ok(())
}

fn check_arithmetic(insn: Instruction) -> Result<(), String> {
    let (operation, wide) = (insn.operation(), insn.class() == class::ALU64);
    let offset_ok = match (operation, insn.offset) {
        (_, 0) | (alu::DIV | alu::MOD, 1) => true,
        (alu::MOV, 8 | 16) => insn.uses_register(),
        (alu::MOV, 32) => insn.uses_register() && wide,
        _ => false,
    };
    let known = match operation {
        alu::END => matches!(insn.imm, 16 | 32 | 64) && !(wide && insn.uses_register()),
        alu::NEG => !insn.uses_register(),
        _ => operation < alu::END,
    };
    if !known || !offset_ok {
        return Err(format!(
            "opcode {:#04x} with offset {} and immediate {} is not an instruction",
            insn.opcode, insn.offset, insn.imm
        ));
    }
    Ok(())
}

fn check_jump(insn: Instruction, helpers: &[Helper]) -> Result<(), String> {
    let unknown = || Err(format!("opcode {:#04x} is not an instruction", insn.opcode));
    match (insn.class(), insn.operation()) {
        (class::JMP, jump::EXIT) if insn.uses_register() => unknown(),
        (class::JMP, jump::EXIT) => Ok(()),
        // The number of a helper is in the register; which it is shows at run time.
        (class::JMP, jump::CALL) if insn.opcode == CALL_REGISTER => Ok(()),
        (class::JMP, jump::CALL) => match insn.src {
            CALL_LOCAL => Ok(()),
            0 if helpers.iter().any(|h| h.id == insn.imm as u32) => Ok(()),
            0 => Err(format!("calls helper {}, which does not exist (see csdrive.h)", insn.imm)),
            _ => Err("calls a kernel function".into()),
        },
        (class::JMP, jump::JA) if insn.uses_register() => {
            Err("jumps through a register, and the function has no jump table that says where to"
                .into())
        }
        (_, jump::JA) if insn.uses_register() => unknown(),
        (_, jump::CALL | jump::EXIT) => unknown(),
        (_, operation) if operation > jump::JSLE => unknown(),
        _ => Ok(()),
    }
}

fn check_atomic(insn: Instruction) -> Result<(), String> {
    if insn.access_size() < 4 {
        return Err("atomic operation on fewer than 4 bytes".into());
    }
    match insn.imm & !atomic::FETCH {
        atomic::ADD | atomic::OR | atomic::AND | atomic::XOR => {}
        _ if matches!(insn.imm, atomic::XCHG | atomic::CMPXCHG) => {}
        _ => return Err(format!("atomic operation {:#x} does not exist", insn.imm)),
    }
    let writes_source = insn.imm & atomic::FETCH != 0 && insn.imm != atomic::CMPXCHG;
    if writes_source && insn.src == FRAME_POINTER {
        return Err("writes r10, the read-only frame pointer".into());
    }
    Ok(())
}

/// An access relative to the frame pointer must stay below it; how large frames are follows from the lowest.
fn check_frame_access(insn: Instruction, base: u8) -> Result<(), String> {
    if base == FRAME_POINTER {
        let (offset, size) = (i64::from(insn.offset), i64::from(insn.access_size()));
        if offset + size > 0 {
            return Err(format!("accesses the stack at r10{offset:+}, above the frame"));
        }
    }
    if insn.class() == class::LDX && insn.dst == FRAME_POINTER {
        return Err("writes r10, the read-only frame pointer".into());
    }
    Ok(())
}

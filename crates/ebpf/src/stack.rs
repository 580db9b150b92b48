//! A program's stack: how large its frames are, and how many there can be.
//!
//! All frames of a program have the same size, so that a function's frame follows from how many called before it. clang gives a function up
//! to 512 bytes, and with `-mllvm -bpf-stack-size=N` as many as it needs: the largest frame is found in the code. Functions
//! that can call themselves share [`STACK_BYTES`]; others have as many frames as their longest chain of calls.

use std::collections::BTreeMap;

use crate::image::Image;
use crate::isa::{FRAME_POINTER, FRAME_SIZE, Instruction, LDDW, MIN_FRAMES, alu, class};

/// Stack of programs with recursion, unless eight frames need more.
pub const STACK_BYTES: u64 = 256 << 10;

/// Most frames of any program: each takes some of the host's stack, too.
pub const FRAMES_MAX: usize = 128;

/// Most bytes of the host's stack that all calls of a compiled program may take together.
const HOST_STACK_MAX: usize = 256 << 10;

/// The stack of a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stack {
    /// Bytes of a frame.
    pub(crate) frame: u64,
    /// Frames, the entry function's included.
    pub(crate) frames: usize,
}

impl Stack {
    /// Finds it out, for the functions that the verifier reached.
    pub(crate) fn of(image: &Image, verified: &[usize], entry: usize) -> Self {
        let extents = verified.iter().map(|&n| extent(image.code(&image.functions[n])));
        let frame = extents.max().unwrap_or(0).max(FRAME_SIZE).next_multiple_of(16);
        let frames = match longest_chain(image, verified, entry) {
            Some(calls) => calls,
            None => (STACK_BYTES / frame) as usize,
        };
        Self { frame, frames: frames.clamp(MIN_FRAMES, FRAMES_MAX) }
    }

    /// Most bytes of the host's stack that compiled code may take for one call.
    pub(crate) fn host_bytes_of_a_call(self) -> usize {
        HOST_STACK_MAX / self.frames
    }

    /// Bytes of all frames.
    pub(crate) fn bytes(self) -> u64 {
        self.frame * self.frames as u64
    }
}

/// Bytes below the frame pointer that a function uses, as far as its code says it: by accesses relative to it, and by addresses
/// that are made of it and a constant.
fn extent(code: &[Instruction]) -> u64 {
    // Registers that hold the frame pointer and a constant, and which.
    let mut offsets: [Option<i64>; 16] = [None; 16];
    offsets[usize::from(FRAME_POINTER)] = Some(0);
    let mut lowest = 0;
    for insn in code {
        let (d, s) = (usize::from(insn.dst & 15), usize::from(insn.src & 15));
        let base = match insn.class() {
            class::LDX => offsets[s],
            class::ST | class::STX => offsets[d],
            _ => None,
        };
        if let Some(base) = base {
            lowest = lowest.min(base + i64::from(insn.offset));
        }
        let value = match (insn.class(), insn.operation(), insn.uses_register()) {
            (class::ALU64, alu::MOV, true) if insn.offset == 0 => offsets[s],
            (class::ALU64, alu::ADD, false) => offsets[d].map(|at| at + i64::from(insn.imm)),
            (class::ALU | class::ALU64 | class::LDX, ..) => None,
            (class::LD, ..) if insn.opcode == LDDW => None,
            _ => continue,
        };
        if d != usize::from(FRAME_POINTER) {
            offsets[d] = value;
            lowest = lowest.min(value.unwrap_or(0));
        }
    }
    // Code that the verifier took reaches no more by itself; what it computes is looked at when it runs.
    lowest.unsigned_abs().min(1 << 15)
}

/// Frames of the longest chain of calls from a function; `None` if a function can call itself.
fn longest_chain(image: &Image, verified: &[usize], entry: usize) -> Option<usize> {
    let callees: BTreeMap<usize, Vec<usize>> =
        verified.iter().map(|&n| (n, image.callees(&image.functions[n]).collect())).collect();
    // Frames from each function on; 0 while what it calls is being looked at.
    let mut frames: BTreeMap<usize, usize> = BTreeMap::new();
    let mut path = vec![(entry, 0)];
    frames.insert(entry, 0);
    while let Some((function, next)) = path.last_mut() {
        let called = &callees[function];
        if let Some(&callee) = called.get(*next) {
            *next += 1;
            match frames.get(&callee) {
                Some(0) => return None,
                Some(_) => {}
                None => {
                    frames.insert(callee, 0);
                    path.push((callee, 0));
                }
            }
            continue;
        }
        let below = called.iter().map(|callee| frames[callee]).max().unwrap_or(0);
        frames.insert(*function, below + 1);
        path.pop();
    }
    frames.get(&entry).copied()
}

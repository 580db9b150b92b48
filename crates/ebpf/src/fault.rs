//! Why a program was stopped.

use std::fmt;

use crate::memory::{GUARD, SegmentKind};

/// Addresses below this come from null pointers.
const NULL_PAGE: u64 = 4096;

/// Direction of a memory access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
}

/// A memory access that was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryFault {
    /// First byte of the access, as a window address.
    pub address: u64,
    /// Bytes of the access.
    pub len: u64,
    /// Direction.
    pub access: Access,
    /// The nearest segment: kind, base, length, writable.
    pub(crate) near: Option<(SegmentKind, u64, u64, bool)>,
}

impl fmt::Display for SegmentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments => write!(f, "the argument struct"),
            Self::Stack => write!(f, "the stack"),
            Self::DataBuffer => write!(f, "the data buffer"),
            Self::Section(n) => write!(f, "data section {n}"),
            Self::Range(n) => write!(f, "range {n}"),
        }
    }
}

impl fmt::Display for MemoryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, len, access, near } = *self;
        let what = if access == Access::Read { "load" } else { "store" };
        write!(f, "{what} of {len} byte{} at address {address:#x}: ", plural(len))?;
        if address < NULL_PAGE {
            return write!(f, "a null pointer");
        }
        let Some((kind, base, size, writable)) = near else {
            return write!(f, "the program was given no memory");
        };
        let hint = match kind {
            SegmentKind::Arguments => {
                "; does the program expect more ranges (--input) than it has?"
            }
            _ => "",
        };
        if address < base && base - address <= GUARD {
            let before = base - address;
            write!(f, "{before} byte{} before {kind} ({size} bytes){hint}", plural(before))
        } else if address == base + size {
            write!(f, "just past the end of {kind} ({size} bytes){hint}")
        } else if address > base + size && address - base - size <= GUARD {
            let past = address - base - size;
            write!(f, "{past} byte{} past the end of {kind} ({size} bytes){hint}", plural(past))
        } else if address < base || address > base + size {
            write!(f, "not in anything the program was given")
        } else if len > size - (address - base) {
            let over = len - (size - (address - base));
            write!(f, "runs {over} byte{} over the end of {kind} ({size} bytes)", plural(over))
        } else {
            debug_assert!(!writable);
            write!(f, "{kind} is read-only")
        }
    }
}

fn plural(n: u64) -> &'static str {
    if n == 1 { "" } else { "s" }
}

/// What stopped the program.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FaultKind {
    /// An access outside what the program may touch.
    #[error("{0}")]
    Memory(MemoryFault),
    /// More instructions than allowed.
    #[error(
        "instruction budget of {0} used up; an endless loop? \
         raise compute.instruction_budget or compute.instruction_budget_per_byte if not"
    )]
    Budget(u64),
    /// More nested calls than there are frames.
    #[error("more than {0} call frames; bound the recursion, or keep what waits in an array")]
    CallDepth(usize),
    /// It ended itself, with this result: no fault, once the run is over.
    #[error("ended itself with {0}")]
    Exited(u64),
    /// Another thread ended the run.
    #[error("stopped")]
    Stopped,
    /// The host machine could not do its part.
    #[error("the host machine failed: {0}")]
    Host(String),
    /// A helper refused its arguments.
    #[error("helper {helper}: {reason}")]
    Helper {
        /// The helper's name.
        helper: &'static str,
        /// What was wrong.
        reason: String,
    },
}

/// A stopped program: what happened and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// What happened.
    pub kind: FaultKind,
    /// Where, as text: function, instruction, source line if known.
    pub location: String,
    /// Index of the instruction slot in the linked program.
    pub pc: u32,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.location, self.kind)
    }
}

impl std::error::Error for Fault {}

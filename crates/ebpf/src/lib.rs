//! eBPF (RFC 9669) for computational storage functions: load the objects clang writes, verify
//! them, run them in a sandbox.
//!
//! ```text
//! ELF object --elf--> linked image --verifier--> Program --interpreter--> Outcome
//!                                                   ^ Window: segments of memory, guarded
//! ```
//!
//! * [`Program::load`] takes an unmodified `clang -target bpf` object of instruction set v1 to v4:
//!   any section names, `.rodata`/`.data`/`.bss`, calls between functions and sections.
//! * [`Program::execute`] runs it with memory [`Range`]s, parameters and a data buffer.
//! * A run touches only its [`Window`], executes at most its instruction budget, and nests at most
//!   [`isa::MAX_FRAMES`] calls of [`isa::FRAME_SIZE`] bytes of stack. Anything else is a [`Fault`].
//!
//! Not here: maps, kernel helpers, indirect calls, packet access; a compiler to machine code is
//! later work and will run the same verified image.
#![deny(unsafe_code)]

mod btf;
mod elf;
mod error;
mod fault;
mod helper;
mod image;
mod interpreter;
mod memory;
mod program;
mod verifier;

pub mod isa;

pub use elf::{DATA_BYTES_MAX, select_entry};
pub use error::LoadError;
pub use fault::{Access, Fault, FaultKind, MemoryFault};
pub use helper::{BYTES_PER_BUDGET_UNIT, HELPERS, Helper, TRACE_BYTES_MAX};
pub use memory::{GUARD, PAGE, SegmentKind, SharedMemory, Window};
pub use program::{Counts, Invocation, Outcome, Program, Range};

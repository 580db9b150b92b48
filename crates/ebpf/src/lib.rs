//! eBPF (RFC 9669) for computational storage functions: load the objects clang writes, verify
//! them, run them in a sandbox, compiled to machine code or interpreted.
//!
//! ```text
//! ELF object --elf--> linked image --verifier--> Code --interpreter-----------> Outcome
//!                                                  \\--flow--> jit--> native --/
//!                                                     Window: segments of memory, guarded
//! ```
//!
//! * [`Program::load`] takes an unmodified `clang -target bpf` object of instruction set v1 to v4:
//!   any section names, `.rodata`/`.data`/`.bss`, calls between functions and sections.
//! * [`Program::execute`] runs it with memory [`Range`]s, parameters and a data buffer, on a
//!   [`Worker`], which has an [`Engine`].
//! * A run touches only its [`Window`], executes at most its instruction budget, and nests
//!   calls as far as its stack reaches ([`STACK_BYTES`]). Anything else is a [`Fault`].
//! * Every engine gives the same result, memory, counts and fault.
//!
//! Not here: maps, kernel helpers, packet access.
#![deny(unsafe_code)]

mod btf;
mod code;
mod disassembly;
mod elf;
mod engine;
mod error;
mod fault;
mod flow;
mod helper;
mod image;
mod indirect;
mod interpreter;
mod jit;
mod measure;
mod memory;
mod native;
mod observe;
mod program;
mod run;
mod runtime_library;
mod stack;
mod tier2;
mod verifier;

pub mod isa;

pub use elf::{DATA_BYTES_MAX, functions, select_entry};
pub use engine::{CompileReport, Engine, Worker};
pub use error::LoadError;
pub use fault::{Access, Fault, FaultKind, MemoryFault};
pub use helper::{
    BYTES_PER_BUDGET_UNIT, Call, HELPERS, Helper, TRACE_BYTE_COST, TRACE_BYTES_MAX,
    TRACE_FORMAT_MAX, trace_text,
};
pub use image::Location;
pub use measure::{CpuTime, measured, thread_time};
pub use memory::{GUARD, PAGE, SegmentKind, SharedMemory, Window};
pub use observe::{Observer, Step, StopRun, Touched};
pub use program::{Counts, Invocation, Loader, Outcome, Program, Range};
pub use stack::{FRAMES_MAX, STACK_BYTES};

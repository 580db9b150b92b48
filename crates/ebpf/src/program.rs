//! A loaded program, and one execution of it under the program ABI.
//!
//! The ABI is the one of CEMU and FEMU programs: r1 holds the address of a packed struct
//!
//! ```c
//! struct cemu_args {
//!     int numr;               // number of memory ranges
//!     void **mr_addr;         // their addresses
//!     long long *mr_len;      // their lengths in bytes
//!     long long cparam1;      // parameters of the command
//!     long long cparam2;
//!     void *data_buffer;      // copy of the command's data buffer, NULL if it has none
//!     long long buffer_len;
//! } __attribute__((packed));
//! ```
//!
//! and r0 is the result. Globals (`.data`, `.bss`) and the data buffer are fresh for every run.

use std::sync::Arc;

use crate::elf;
use crate::error::LoadError;
use crate::fault::Fault;
use crate::image::{Function, Image};
use crate::interpreter::{self, Code};
use crate::isa::{Instruction, InstructionClass, LDDW};
use crate::memory::{SegmentKind, SharedMemory, Window};
use crate::verifier;

/// Bytes of the packed argument struct.
const ARGUMENTS_SIZE: usize = 52;

/// A verified program, ready to run. Clones share the code.
#[derive(Clone, Debug)]
pub struct Program {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    image: Image,
    code: Code,
    entry: usize,
}

/// A piece of shared memory given to a program.
#[derive(Clone, Debug)]
pub struct Range {
    /// The memory.
    pub memory: Arc<SharedMemory>,
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub len: u64,
    /// False if the program must not write it.
    pub writable: bool,
}

/// What one execution is given.
#[derive(Clone, Debug, Default)]
pub struct Invocation {
    /// Memory ranges, in the order of `mr_addr`.
    pub ranges: Vec<Range>,
    /// First parameter.
    pub param1: i64,
    /// Second parameter.
    pub param2: i64,
    /// Data buffer.
    pub data: Vec<u8>,
    /// Most instructions it may execute.
    pub budget: u64,
}

/// What one execution did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// r0, or why the program was stopped.
    pub result: Result<u64, Fault>,
    /// Work done, also when stopped.
    pub counts: Counts,
    /// Text printed with the trace helper.
    pub trace: Vec<u8>,
}

/// Work of one execution: the input of a run-time model.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Executed instructions by [`InstructionClass`].
    pub instructions: [u64; InstructionClass::ALL.len()],
    /// Bytes loaded, by instructions and helpers.
    pub bytes_loaded: u64,
    /// Bytes stored, by instructions and helpers.
    pub bytes_stored: u64,
}

impl Counts {
    /// All executed instructions.
    pub fn total(&self) -> u64 {
        self.instructions.iter().sum()
    }
}

impl Program {
    /// Loads an object that clang wrote, links it, and verifies what `entry` reaches. Without a
    /// name the entry function is the one `e_entry` selects ([`crate::select_entry`]), else the
    /// only global function that no other function calls.
    ///
    /// # Errors
    /// If the object is malformed, needs something that does not exist, or fails verification.
    pub fn load(object: &[u8], entry: Option<&str>) -> Result<Self, LoadError> {
        let (image, entry) = elf::load(object, entry)?;
        Self::verified(image, entry)
    }

    /// Takes bare instructions, entered at the first; functions begin where calls lead.
    ///
    /// # Errors
    /// If the instructions fail verification.
    pub fn from_instructions(bytes: &[u8]) -> Result<Self, LoadError> {
        let (slots, rest) = bytes.as_chunks::<{ Instruction::SIZE }>();
        if !rest.is_empty() || slots.is_empty() {
            let reason = format!("{} bytes are not whole instructions", bytes.len());
            return Err(LoadError::Malformed(reason));
        }
        let slots: Vec<_> = slots.iter().map(|&s| Instruction::decode(s)).collect();
        let mut starts = vec![0];
        let mut at = 0;
        while at < slots.len() {
            if slots[at].is_local_call() {
                starts.extend((at + 1).checked_add_signed(slots[at].imm as isize));
            }
            at += if slots[at].opcode == LDDW { 2 } else { 1 };
        }
        starts.retain(|&s| s < slots.len());
        starts.sort_unstable();
        starts.dedup();
        let ends = starts.iter().copied().skip(1).chain([slots.len()]);
        let functions = starts.iter().zip(ends).map(|(&start, end)| Function {
            name: format!("function_{start}"),
            start,
            end,
            global: start == 0,
        });
        let functions = functions.collect();
        Self::verified(Image::bare(slots, functions), 0)
    }

    fn verified(image: Image, entry: usize) -> Result<Self, LoadError> {
        let verified = verifier::verify(&image, entry)?;
        let code = Code::decode(&image, &verified, entry);
        Ok(Self { inner: Arc::new(Inner { image, code, entry }) })
    }

    /// Name of the entry function.
    pub fn entry_name(&self) -> &str {
        &self.inner.image.functions[self.inner.entry].name
    }

    /// A window that holds a fresh copy of the program's data sections.
    pub fn window(&self) -> Window {
        let mut window = Window::new();
        for (n, section) in self.inner.image.data.iter().enumerate() {
            let kind = SegmentKind::Section(n as u16);
            let address = if section.writable {
                window.map_private(kind, section.bytes.to_vec())
            } else {
                window.map_image(kind, Arc::clone(&section.bytes))
            };
            assert_eq!(address, section.address, "the loader linked against another layout");
        }
        window
    }

    /// Runs the program under the ABI above.
    ///
    /// # Panics
    /// If a range is not inside its memory: whoever resolved the ranges checks that.
    pub fn execute(&self, invocation: &Invocation) -> Outcome {
        let mut window = self.window();
        let mut addresses = Vec::with_capacity(invocation.ranges.len());
        for (n, range) in invocation.ranges.iter().enumerate() {
            let kind = SegmentKind::Range(n as u16);
            let Range { memory, offset, len, writable } = range;
            let address = window.map_shared(kind, memory, *offset, *len, *writable);
            addresses.push(address.expect("ranges are resolved within their memory"));
        }
        let data = match invocation.data.as_slice() {
            [] => 0,
            data => window.map_private(SegmentKind::DataBuffer, data.to_vec()),
        };
        let count = addresses.len();
        let mut bytes = Vec::with_capacity(ARGUMENTS_SIZE + 16 * count);
        let base = Window::next_address(window.next_free(), 0);
        // The arrays stand behind the struct, each element at a multiple of eight.
        let arrays = base + ARGUMENTS_SIZE.next_multiple_of(8) as u64;
        bytes.extend((count as u32).to_le_bytes());
        bytes.extend(arrays.to_le_bytes());
        bytes.extend((arrays + 8 * count as u64).to_le_bytes());
        bytes.extend(invocation.param1.to_le_bytes());
        bytes.extend(invocation.param2.to_le_bytes());
        bytes.extend(data.to_le_bytes());
        bytes.extend((invocation.data.len() as u64).to_le_bytes());
        bytes.resize(ARGUMENTS_SIZE.next_multiple_of(8), 0);
        bytes.extend(addresses.iter().flat_map(|a| a.to_le_bytes()));
        bytes.extend(invocation.ranges.iter().flat_map(|r| r.len.to_le_bytes()));
        let placed = window.map_private(SegmentKind::Arguments, bytes);
        assert_eq!(placed, base, "the struct was written for another address");
        self.run(&mut window, [base, 0, 0, 0, 0], invocation.budget)
    }

    /// Runs the program in a prepared window with the given r1 to r5.
    pub fn run(&self, window: &mut Window, arguments: [u64; 5], budget: u64) -> Outcome {
        let Inner { image, code, .. } = &*self.inner;
        interpreter::run(image, code, window, arguments, budget)
    }
}

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

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::code::Code;
use crate::disassembly;
use crate::elf;
use crate::engine::{CompileReport, Compiled, Engine, Worker};
use crate::error::LoadError;
use crate::fault::{Fault, FaultKind};
use crate::helper::{HELPERS, Helper};
use crate::image::{Function, Image, Location};
use crate::interpreter::State;
use crate::isa::{Instruction, InstructionClass, LDDW};
use crate::memory::{SegmentKind, SharedMemory, Window};
use crate::run::Run;
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
    compiled: Compiled,
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
    /// Set by another thread to end the run within a millisecond.
    pub stop: Option<Arc<AtomicBool>>,
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
    /// What ran it. All of the above is the same whatever it was.
    pub engine: Engine,
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

/// Loads programs. A drive's programs may call the [`HELPERS`]; elsewhere there may be more.
#[derive(Clone, Debug)]
pub struct Loader {
    helpers: Vec<Helper>,
}

impl Default for Loader {
    fn default() -> Self {
        Self { helpers: HELPERS.to_vec() }
    }
}

impl Loader {
    /// Adds a helper, or replaces the one with its number.
    #[must_use]
    pub fn with_helper(mut self, helper: Helper) -> Self {
        self.helpers.retain(|h| h.id != helper.id);
        self.helpers.push(helper);
        self
    }

    /// Loads an object that clang wrote, links it, and verifies what `entry` reaches. Without a
    /// name the entry function is the one `e_entry` selects ([`crate::select_entry`]), else the
    /// only global function that no other function calls.
    ///
    /// # Errors
    /// If the object is malformed, needs something that does not exist, or fails verification.
    pub fn object(self, object: &[u8], entry: Option<&str>) -> Result<Program, LoadError> {
        let (image, entry) = elf::load(object, entry, &self.helpers)?;
        self.verified(image, entry)
    }

    /// Takes bare instructions, entered at the first; functions begin where calls lead.
    ///
    /// # Errors
    /// If the instructions fail verification.
    pub fn instructions(self, bytes: &[u8]) -> Result<Program, LoadError> {
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
        self.verified(Image::bare(slots, functions), 0)
    }

    fn verified(self, mut image: Image, entry: usize) -> Result<Program, LoadError> {
        image.slots.iter_mut().for_each(Instruction::lower_ordered);
        let verified = verifier::verify(&image, entry, &self.helpers)?;
        let code = Code::decode(&image, &verified, entry, self.helpers);
        let inner = Inner { image, code, entry, compiled: Compiled::default() };
        Ok(Program { inner: Arc::new(inner) })
    }
}

impl Program {
    /// [`Loader::object`] with the helpers of a drive.
    ///
    /// # Errors
    /// If the object is malformed, needs something that does not exist, or fails verification.
    pub fn load(object: &[u8], entry: Option<&str>) -> Result<Self, LoadError> {
        Loader::default().object(object, entry)
    }

    /// [`Loader::instructions`] with the helpers of a drive.
    ///
    /// # Errors
    /// If the instructions fail verification.
    pub fn from_instructions(bytes: &[u8]) -> Result<Self, LoadError> {
        Loader::default().instructions(bytes)
    }

    /// The decoded code.
    #[cfg(test)]
    pub(crate) fn code(&self) -> &Code {
        &self.inner.code
    }

    /// Name of the entry function.
    pub fn entry_name(&self) -> &str {
        &self.inner.image.functions[self.inner.entry].name
    }

    /// The entry function's instructions as linked, for other engines; `None` if it calls functions.
    pub fn entry_code(&self) -> Option<Vec<u8>> {
        let Function { start, end, .. } = self.inner.image.functions[self.inner.entry];
        let slots = &self.inner.image.slots[start..end];
        let alone = !slots.iter().any(|insn| insn.is_local_call());
        alone.then(|| slots.iter().flat_map(|insn| insn.encode()).collect())
    }

    /// A window that holds a fresh copy of the program's data sections.
    ///
    /// # Errors
    /// If the host machine has no room for it.
    pub fn window(&self) -> io::Result<Window> {
        let mut window = Window::new()?;
        self.map_sections(&mut window)?;
        Ok(window)
    }

    fn map_sections(&self, window: &mut Window) -> io::Result<()> {
        for (n, section) in self.inner.image.data.iter().enumerate() {
            let kind = SegmentKind::Section(n as u16);
            let address = if section.writable {
                window.map_private(kind, &section.bytes)?
            } else {
                window.map_image(kind, &section.bytes)?
            };
            assert_eq!(address, section.address, "the loader linked against another layout");
        }
        Ok(())
    }

    /// Runs the program under the ABI above.
    pub fn execute(&self, worker: &mut Worker, invocation: &Invocation) -> Outcome {
        let window = worker.window.take();
        let (mut window, arguments) = match self.prepare(window, invocation) {
            Ok(prepared) => prepared,
            Err(error) => return self.host_failed(&error),
        };
        let (budget, stop) = (invocation.budget, invocation.stop.as_deref());
        let arguments = if self.inner.image.is_plain_main { 0 } else { arguments };
        let outcome = self.run_in(worker, &mut window, [arguments, 0, 0, 0, 0], budget, stop);
        worker.window = Some(window);
        outcome
    }

    /// A window with sections, ranges, data buffer and argument struct, and the struct's address.
    fn prepare(&self, old: Option<Window>, invocation: &Invocation) -> io::Result<(Window, u64)> {
        let Invocation { ranges, data, .. } = invocation;
        let count = ranges.len();
        // The arrays stand behind the struct, each element at a multiple of eight.
        let arrays_at = ARGUMENTS_SIZE.next_multiple_of(8);
        let arguments_len = arrays_at + 16 * count;
        let sections = self.inner.image.data.iter().map(|s| s.bytes.len() as u64);
        let stack = self.inner.code.stack.bytes() as usize;
        let private = [data.len(), arguments_len, stack].map(|len| len as u64);
        let lengths = sections.chain(ranges.iter().map(|r| r.len)).chain(private);
        let reusable = old.and_then(|mut w| w.reuse(lengths.clone()).then_some(w));
        let mut window = match reusable {
            Some(window) => window,
            None => Window::for_lengths(lengths)?,
        };
        self.map_sections(&mut window)?;
        let mut addresses = Vec::with_capacity(count);
        for (n, range) in ranges.iter().enumerate() {
            let kind = SegmentKind::Range(n as u16);
            let Range { memory, offset, len, writable } = range;
            addresses.push(window.map_shared(kind, memory, *offset, *len, *writable)?);
        }
        let buffer = match data.as_slice() {
            [] => 0,
            data => window.map_private_at_end(SegmentKind::DataBuffer, data)?,
        };
        let base = window.next_free() + Window::end_offset(arguments_len as u64);
        let arrays = base + arrays_at as u64;
        let mut bytes = Vec::with_capacity(arguments_len);
        bytes.extend((count as u32).to_le_bytes());
        bytes.extend(arrays.to_le_bytes());
        bytes.extend((arrays + 8 * count as u64).to_le_bytes());
        bytes.extend(invocation.param1.to_le_bytes());
        bytes.extend(invocation.param2.to_le_bytes());
        bytes.extend(buffer.to_le_bytes());
        bytes.extend((data.len() as u64).to_le_bytes());
        bytes.resize(arrays_at, 0);
        bytes.extend(addresses.iter().flat_map(|a| a.to_le_bytes()));
        bytes.extend(ranges.iter().flat_map(|r| r.len.to_le_bytes()));
        let placed = window.map_private_at_end(SegmentKind::Arguments, &bytes)?;
        assert_eq!(placed, base, "the struct was written for another address");
        Ok((window, base))
    }

    /// Runs the program in a prepared window with the given r1 to r5.
    pub fn run(
        &self,
        worker: &mut Worker,
        window: &mut Window,
        arguments: [u64; 5],
        budget: u64,
    ) -> Outcome {
        self.run_in(worker, window, arguments, budget, None)
    }

    fn run_in(
        &self,
        worker: &mut Worker,
        window: &mut Window,
        arguments: [u64; 5],
        budget: u64,
        stop: Option<&AtomicBool>,
    ) -> Outcome {
        let stack = vec![0; self.inner.code.stack.bytes() as usize];
        let mapped = window.map_private(SegmentKind::Stack, &stack);
        let stack = match mapped.and_then(|stack| window.seal().map(|()| stack)) {
            Ok(stack) => stack,
            Err(error) => return self.host_failed(&error),
        };
        let Inner { image, code, compiled, .. } = &*self.inner;
        let mut run =
            Run { window, trace: Vec::new(), bytes_loaded: 0, bytes_stored: 0, budget, stop };
        let state = State::new(code, arguments, stack, budget);
        if let Some(observer) = &mut worker.observer {
            observer.begins(self);
        }
        let (ended, tally, engine) = worker.run(code, compiled, &mut run, state);
        // What is above the bits of an int is not defined: a result keeps its sign.
        let whole = |r0: u64| match image.result_bits {
            Some(bits) => ((r0 << (64 - bits)) as i64 >> (64 - bits)) as u64,
            None => r0,
        };
        let ended = match ended {
            Err((_, FaultKind::Exited(result))) => Ok(result),
            ended => ended.map(whole),
        };
        let outcome = Outcome {
            result: ended.map_err(|(op, kind)| {
                let slot = code.slot_of.get(op).copied().unwrap_or(0);
                Fault { kind, location: image.describe(slot as usize), pc: slot }
            }),
            counts: Counts {
                instructions: tally.instructions,
                bytes_loaded: tally.bytes_loaded + run.bytes_loaded,
                bytes_stored: tally.bytes_stored + run.bytes_stored,
            },
            trace: run.trace,
            engine,
        };
        if let Some(observer) = &mut worker.observer {
            observer.ends(&outcome);
        }
        outcome
    }

    /// Where an instruction of the linked program is.
    pub fn location(&self, slot: u32) -> Location<'_> {
        self.inner.image.location(slot as usize)
    }

    /// The instructions that can run.
    pub fn instructions(&self) -> impl Iterator<Item = u32> + '_ {
        self.inner.code.slot_of.iter().copied()
    }

    /// An instruction as text, as the kernel writes it.
    pub fn disassemble(&self, slot: u32) -> String {
        disassembly::text(&self.inner.image, &self.inner.code.helpers, slot as usize)
    }

    fn host_failed(&self, error: &io::Error) -> Outcome {
        let slot = self.inner.image.functions[self.inner.entry].start;
        let location = self.inner.image.describe(slot);
        let kind = FaultKind::Host(error.to_string());
        Outcome {
            result: Err(Fault { kind, location, pc: slot as u32 }),
            counts: Counts::default(),
            trace: Vec::new(),
            engine: Engine::Interpreter,
        }
    }

    /// Compiles programs for tier 2 with one start of clang, which for small programs takes most of the time.
    ///
    /// # Errors
    /// If this machine or one of the programs cannot have it: none is compiled then.
    pub fn compile_together(programs: &[Self]) -> Result<(), String> {
        let parts = programs.iter().map(|Self { inner }| (&inner.code, &inner.compiled));
        Compiled::prepare_together(&parts.collect::<Vec<_>>())
    }

    /// Compiles for an engine now rather than at the first run.
    ///
    /// # Errors
    /// If this machine or this program cannot have that engine; runs then use another.
    pub fn compile(&self, engine: Engine) -> Result<CompileReport, String> {
        self.inner.compiled.prepare(&self.inner.code, engine)
    }
}

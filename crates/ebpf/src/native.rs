//! Running compiled code: what both compilers share.
//!
//! Compiled code and the runtime talk through a [`Context`]. Code is entered and left through small
//! pieces of assembly (`entry.rs`); it calls the runtime for helpers, atomics and its next slice of the
//! budget (`runtime.rs`), and a signal handler ends it where a memory access traps (`trap.rs`).

mod area;
mod context;
mod entry;
mod runtime;
#[cfg(target_arch = "x86_64")]
mod trap;

use std::io;
use std::time::Duration;

pub(crate) use context::{CONTEXT, Context, FRAME_BYTES, counter_offset, frames_offset, status};

use crate::code::Code;
use crate::fault::{Access, FaultKind};
use crate::flow::{Flow, Position, Tally};
use crate::interpreter::{self, Frame, State};
use crate::isa::class;
use crate::jit::{CodeMemory, Compiled};
use crate::observe::Unwatched;
use crate::run::Run;
use crate::tier2::Library;
use area::Area;
use context::NativeFrame;
use runtime::Runtime;

/// A memory access in compiled code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    /// The op that accesses memory.
    pub(crate) op: u32,
    /// In which copy of an unrolled loop it is: how many rounds are not counted yet.
    pub(crate) copy: u8,
    /// Instructions, this one included, that are not taken from the budget yet.
    pub(crate) ran: u32,
}

/// Where machine code is.
#[derive(Debug)]
enum Machine {
    /// Pages of ours, and the entry's offset.
    Pages(CodeMemory, usize),
    /// A library that clang made.
    Library(Library),
}

impl Machine {
    fn entry(&self) -> u64 {
        match self {
            Self::Pages(memory, offset) => memory.extent().start + *offset as u64,
            Self::Library(library) => library.entry(),
        }
    }

    /// Host addresses at which memory accesses may trap.
    fn extent(&self) -> [u64; 2] {
        match self {
            Self::Pages(memory, _) => [memory.extent().start, memory.extent().end],
            // It compares addresses with bounds.
            Self::Library(_) => [0, 0],
        }
    }
}

/// How compiled code holds what is left of the slice of the budget.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Convention {
    /// In the pinned register, everywhere.
    Pinned,
    /// Where it likes; in the context when it calls or ends.
    Plain,
}

/// Measures how long compiling takes.
pub(crate) struct Timer(
    #[expect(clippy::disallowed_types, reason = "reported, never modelled")] std::time::Instant,
);

impl Timer {
    pub(crate) fn start() -> Self {
        #[expect(clippy::disallowed_types, reason = "reported, never modelled")]
        Self(std::time::Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Machine code of a program, ready to run.
#[derive(Debug)]
pub(crate) struct Native {
    code: Machine,
    convention: Convention,
    traps: Vec<(u32, u32)>,
    sites: Vec<Site>,
    compile_time: Duration,
}

/// How a run ended: r0, or the op at which it was stopped and why; and what it executed.
pub(crate) type Ended = (Result<u64, (usize, FaultKind)>, Tally);

impl Native {
    pub(crate) fn new(memory: CodeMemory, compiled: Compiled, compile_time: Duration) -> Self {
        let Compiled { entry, traps, sites, .. } = compiled;
        let code = Machine::Pages(memory, entry);
        Self { code, convention: Convention::Pinned, traps, sites, compile_time }
    }

    pub(crate) fn from_library(
        library: Library,
        sites: Vec<Site>,
        convention: Convention,
        compile_time: Duration,
    ) -> Self {
        let code = Machine::Library(library);
        Self { code, convention, traps: Vec::new(), sites, compile_time }
    }

    /// How long it took to compile.
    pub(crate) fn compile_time(&self) -> Duration {
        self.compile_time
    }

    /// Bytes of machine code.
    pub(crate) fn code_bytes(&self) -> usize {
        match &self.code {
            Machine::Pages(memory, _) => memory.bytes().len(),
            Machine::Library(_) => 0,
        }
    }

    /// Runs the program from its beginning.
    ///
    /// # Errors
    /// If the host machine has no memory left.
    pub(crate) fn run(
        &self,
        (code, flow): (&Code, &Flow),
        run: &mut Run<'_>,
        state: State,
    ) -> io::Result<Ended> {
        let (base, extent) = (run.window.base(), run.window.extent());
        let mut registers = [0; 10];
        registers.copy_from_slice(&state.registers[..10]);
        let mut context = Context {
            mask: run.window.mask(),
            bounds: run.window.bounds(),
            frame_pointer: state.registers[10],
            registers,
            code: self.code.extent(),
            extent: [extent.start, extent.end],
            ..Runtime::context(self.convention)
        };
        let sizes = (flow.counters, code.stack.frames - 1);
        Area::new(run.window, sizes)?.begin(context);
        let mut runtime = Runtime::new(code, run, state.fuel, self.convention);
        enter(base, self.code.entry(), &mut runtime);
        let (reserve, helper_cost, fault) = runtime.finish();
        let (mut counters, frames);
        (context, counters, frames) = Area::new(run.window, sizes)?.end();

        let left = reserve + context.fuel;
        // Where less has run than is pending there, more seems to be left than there was.
        let mut executed = state.fuel.wrapping_sub(helper_cost).wrapping_sub(left);
        let pc = context.pc as usize;
        let (stands, result) = match context.status {
            status::DONE => (None, Ok(context.result)),
            status::LEAVE => {
                (Some(Position { op: pc, executed: false, moved: false }), fault.map_or(Ok(0), Err))
            }
            status::CALL_DEPTH => (
                Some(Position { op: pc, executed: true, moved: true }),
                Err(FaultKind::CallDepth(code.stack.frames)),
            ),
            status::ENDED => {
                if code.ops[pc].is_atomic() {
                    executed = executed.wrapping_add(self.sites[context.site as usize].ran.into());
                }
                let fault = fault.expect("the runtime says why it ended a run");
                (Some(Position { op: pc, executed: true, moved: false }), Err(fault))
            }
            status::REFUSED | status::TRAPPED => {
                let site = if context.status == status::REFUSED {
                    self.sites[context.site as usize]
                } else {
                    self.trapped(&context)
                };
                executed = executed.wrapping_add(site.ran.into());
                if site.copy > 0 {
                    counters[flow.loop_counter(code, site.op as usize)] += u64::from(site.copy);
                }
                let op = code.ops[site.op as usize];
                let access = if op.code & 7 == class::LDX { Access::Read } else { Access::Write };
                let fault = run.memory_fault(context.address, op.access_size().into(), access);
                (Some(Position { op: site.op as usize, executed: true, moved: false }), Err(fault))
            }
            other => unreachable!("compiled code ended with status {other}"),
        };
        let depth = context.depth as usize;
        let callers = frames.iter().take(depth);
        let calling = |f: &NativeFrame| Position {
            op: f.return_to as usize - 1,
            executed: true,
            moved: true,
        };
        let active: Vec<Position> = stands.into_iter().chain(callers.map(calling)).collect();
        let mut tally = flow.tally(code, &counters, &active, executed);
        if context.status != status::LEAVE || result.is_err() {
            return Ok((result.map_err(|kind| (active[0].op, kind)), tally));
        }
        let mut counts = [0; 16];
        let state = left_behind(code, &context, &frames, left);
        let result = interpreter::execute(code, run, state, &mut counts, &mut Unwatched);
        for (sum, n) in tally.instructions.iter_mut().zip(counts) {
            *sum += n;
        }
        Ok((result, tally))
    }

    /// The site of an access that trapped.
    fn trapped(&self, context: &Context) -> Site {
        let offset = (context.trap_pc - context.code[0]) as u32;
        let found = self.traps.binary_search_by_key(&offset, |&(at, _)| at);
        let site = self.traps[found.expect("only memory accesses trap in compiled code")].1;
        self.sites[site as usize]
    }
}

/// Runs the code at `entry`, which must be code compiled for such a window; its status is in the
/// context then, which must be complete but for the runtime.
#[expect(unsafe_code, reason = "the way into compiled code")]
fn enter(base: *mut u8, entry: u64, runtime: &mut Runtime<'_, '_>) {
    let context = base.wrapping_offset(CONTEXT as isize).cast::<Context>();
    // SAFETY: the context of the window, which nobody borrows now.
    unsafe { (*context).runtime = std::ptr::from_mut(runtime).cast() };
    // SAFETY: the code keeps to the context, the window and the entry points; what it must save of
    // the caller's registers, `call` saves.
    let call = || unsafe { entry::call(base, entry) };
    #[cfg(target_arch = "x86_64")]
    trap::catching(context, call);
    #[cfg(not(target_arch = "x86_64"))]
    call();
}

/// The state in which compiled code left the run to the interpreter.
fn left_behind(code: &Code, context: &Context, frames: &[NativeFrame], fuel: u64) -> State {
    let mut registers = [0; 16];
    registers[..10].copy_from_slice(&context.registers);
    registers[10] = context.frame_pointer + context.depth * code.stack.frame;
    let frame = |f: &NativeFrame| Frame { return_to: f.return_to as usize, saved: f.saved };
    let frames = frames.iter().map(frame).collect();
    State { registers, frames, depth: context.depth as usize, pc: context.pc as usize, fuel }
}

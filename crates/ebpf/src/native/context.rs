//! The memory through which compiled code and the runtime talk.

use crate::memory::{Bounds, RUNTIME_AREA};

/// How a run of compiled code ends, in [`Context::status`].
pub(crate) mod status {
    /// The program is over; the result is in [`super::Context::result`].
    pub(crate) const DONE: u64 = 0;
    /// The budget does not reach to the next check: the state is in the context.
    pub(crate) const LEAVE: u64 = 1;
    /// An access was refused; [`super::Context::site`] and `address` say which.
    pub(crate) const REFUSED: u64 = 2;
    /// The runtime ended the run at the op in [`super::Context::pc`].
    pub(crate) const ENDED: u64 = 3;
    /// No frame is left for the call at the op in [`super::Context::pc`].
    pub(crate) const CALL_DEPTH: u64 = 4;
    /// A memory access trapped; the signal handler has noted where.
    pub(crate) const TRAPPED: u64 = 5;
}

/// A caller that waits for the function it called.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct NativeFrame {
    /// Op after the call.
    pub(crate) return_to: u64,
    /// r6 to r9, as far as they are used after the call.
    pub(crate) saved: [u64; 4],
}

/// Shared by compiled code and the runtime for one run: at [`CONTEXT`] from the base of the window,
/// which is the one address that code has. The counters follow behind it, then the callers that wait.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Context {
    /// Address bits that count.
    pub(crate) mask: u64,
    /// Bounds of the segments, by granule.
    pub(crate) bounds: *const Bounds,
    /// Instructions left of the slice.
    pub(crate) fuel: u64,
    /// How the run ended.
    pub(crate) status: u64,
    /// Active calls.
    pub(crate) depth: u64,
    /// r10 of the entry function.
    pub(crate) frame_pointer: u64,
    /// r0 of the program, of a helper, or the value an atomic operation found.
    pub(crate) result: u64,
    /// r0 to r9: arguments of the program and of helpers, and the state where a check found too
    /// little budget.
    pub(crate) registers: [u64; 10],
    /// The op at which a run left or ended.
    pub(crate) pc: u64,
    /// The access that was refused or trapped.
    pub(crate) site: u64,
    /// Its address, in the window.
    pub(crate) address: u64,
    /// Host address of the instruction that trapped.
    pub(crate) trap_pc: u64,
    /// Stack pointer to go back to when a run ends early.
    pub(crate) recovery: u64,
    /// Host addresses of the code.
    pub(crate) code: [u64; 2],
    /// Host addresses of window and guards.
    pub(crate) extent: [u64; 2],
    /// Entry points of the runtime, see `runtime.rs`.
    pub(crate) refill: u64,
    pub(crate) call_helper: u64,
    pub(crate) call_register: u64,
    pub(crate) atomic: u64,
    pub(crate) end: u64,
    /// What the entry points work on.
    pub(crate) runtime: *mut core::ffi::c_void,
}

/// Size of a context in words; counters follow.
pub(crate) const CONTEXT_WORDS: usize = size_of::<Context>() / 8;

/// The context's address from the base of the window.
pub(crate) const CONTEXT: i32 = RUNTIME_AREA as i32;

/// Offset of a counter from the base of the window.
pub(crate) fn counter_offset(counter: usize) -> i32 {
    CONTEXT + ((CONTEXT_WORDS + counter) * 8) as i32
}

/// Words of a caller's record, and its bytes.
pub(crate) const FRAME_WORDS: usize = size_of::<NativeFrame>() / 8;
pub(crate) const FRAME_BYTES: i64 = size_of::<NativeFrame>() as i64;

/// Offset of the first caller's record from the base of the window: behind the counters.
pub(crate) fn frames_offset(counters: usize) -> i32 {
    counter_offset(counters)
}

const _: () = assert!(size_of::<Context>().is_multiple_of(8) && align_of::<Context>() == 8);

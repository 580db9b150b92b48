//! The way into compiled code, out of it, and from it into the runtime: in assembly, per machine.
//!
//! A run can end anywhere: `call` keeps the stack pointer in the context, and `land` goes back to
//! it, dropping whatever frames compiled code has. The runtime's functions are called through pieces
//! that look at the context's status on the way back and land if the run has ended, so compiled code
//! itself never has to ask.
//!
//! Compiled code has the base of the window in the register of the first argument whenever it calls, and
//! what is left of the slice of the budget in the pinned register; [`plain`] is for code without one.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
mod other;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(super) use aarch64::*;
#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
pub(super) use other::*;
#[cfg(target_arch = "x86_64")]
pub(super) use x86_64::*;

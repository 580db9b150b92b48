//! Running compiled code so that a memory access outside its segments ends the run, not the process.
//!
//! A load or store outside the mapped segments is a fault ([`faults`]). If the thread runs compiled code, the instruction is in it
//! and the address in its window, they are noted, and the thread goes on where compiled code returns to. Every other fault
//! belongs to somebody else.
//!
//! For x86-64. On other machines compiled code compares each address with its bounds.
#![expect(unsafe_code, reason = "signals; see the SAFETY comments")]

mod effective;

use std::cell::Cell;
use std::sync::Once;

use super::context::{CONTEXT, Context, status};
use super::entry;
use effective::Registers;

thread_local! {
    /// The context of the code that this thread runs.
    static CURRENT: Cell<*mut Context> = const { Cell::new(std::ptr::null_mut()) };
}

/// Runs compiled code that has this context, catching its traps.
pub(super) fn catching(context: *mut Context, run: impl FnOnce()) {
    install();
    let outer = CURRENT.replace(context);
    run();
    CURRENT.set(outer);
}

/// Takes the traps of compiled code from now on, once for the process.
fn install() {
    static ONCE: Once = Once::new();
    // SAFETY: `take` reads and writes the context and the registers of the interrupted thread, and nothing else.
    ONCE.call_once(|| unsafe { faults::claim(take) });
}

/// Notes a trap of compiled code and lets the thread go on behind it.
fn take(machine: &mut libc::mcontext_t, address: u64) -> bool {
    let context = CURRENT.get();
    if context.is_null() {
        return false;
    }
    // SAFETY: the context of this thread's run; the code that used it is interrupted.
    let context = unsafe { &mut *context };
    let pc = machine.gregs[libc::REG_RIP as usize] as u64;
    if !(context.code[0]..context.code[1]).contains(&pc)
        || !(context.extent[0]..context.extent[1]).contains(&address)
    {
        return false;
    }
    let mut bytes = [0; effective::LENGTH_MAX];
    let here = (context.code[1] - pc).min(bytes.len() as u64) as usize;
    // SAFETY: `here` bytes from `pc` are code of this run.
    unsafe { std::ptr::copy_nonoverlapping(pc as *const u8, bytes.as_mut_ptr(), here) };
    let registers = Registers::from_kernel(&machine.gregs);
    // The kernel names the first byte that is not accessible, which is not always the first.
    let first = effective::address(&bytes, &registers).unwrap_or(address);
    let base = (std::ptr::from_mut(context) as u64).wrapping_sub(CONTEXT as u64);
    context.address = first.wrapping_sub(base);
    context.trap_pc = pc;
    context.status = status::TRAPPED;
    machine.gregs[libc::REG_RDI as usize] = base as i64;
    machine.gregs[libc::REG_RIP as usize] = entry::land as *const () as i64;
    true
}

//! Running compiled code so that a memory access outside its segments ends the run, not the process.
//!
//! A load or store outside the mapped segments raises SIGSEGV (SIGBUS on some systems). The handler
//! looks whether the thread runs compiled code, whether the instruction is in it and the address in
//! its window; if so it notes them and goes on where compiled code returns to. Everything else
//! belongs to somebody else and is handed to whoever handled the signal before.
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

/// Who handled a signal before.
struct Previous(std::cell::UnsafeCell<std::mem::MaybeUninit<libc::sigaction>>);

// SAFETY: written once, before the handler that reads it is installed.
unsafe impl Sync for Previous {}

impl Previous {
    const fn new() -> Self {
        Self(std::cell::UnsafeCell::new(std::mem::MaybeUninit::uninit()))
    }
}

static SEGV: Previous = Previous::new();
static BUS: Previous = Previous::new();

/// Installs the handler, once for the process.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for (signal, previous) in [(libc::SIGSEGV, &SEGV), (libc::SIGBUS, &BUS)] {
            // SAFETY: all zeroes is a valid value of this C structure.
            let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
            action.sa_sigaction = handler as *const () as usize;
            // On the alternative stack if the thread has one: who handled the signal before
            // may need it, to report an overflow of the stack.
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            // SAFETY: a valid set.
            unsafe { libc::sigemptyset(&mut action.sa_mask) };
            // SAFETY: the handler is async-signal-safe; `previous` is written before it runs.
            let result = unsafe { libc::sigaction(signal, &action, previous.0.get().cast()) };
            assert_eq!(result, 0, "sigaction refuses signal {signal}");
        }
    });
}

extern "C" fn handler(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    user: *mut core::ffi::c_void,
) {
    let context = CURRENT.get();
    // SAFETY: the kernel passes the interrupted thread's registers.
    let machine = unsafe { &mut (*user.cast::<libc::ucontext_t>()).uc_mcontext };
    // SAFETY: the kernel passes a siginfo of SIGSEGV or SIGBUS.
    let info_here = unsafe { &*info };
    // SAFETY: it is of a signal with an address.
    let address = unsafe { info_here.si_addr() } as u64;
    if !context.is_null() && take(context, machine, address) {
        return;
    }
    forward(signal, info, user);
}

/// Notes a trap of compiled code and lets the thread go on behind it.
fn take(context: *mut Context, machine: &mut libc::mcontext_t, address: u64) -> bool {
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

/// Hands a signal to whoever handled it before.
fn forward(signal: libc::c_int, info: *mut libc::siginfo_t, user: *mut core::ffi::c_void) {
    let previous = if signal == libc::SIGSEGV { &SEGV } else { &BUS };
    // SAFETY: written before this handler was installed, and never again.
    let previous = unsafe { &*previous.0.get() };
    // SAFETY: as above.
    let previous = unsafe { previous.assume_init() };
    match previous.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => {
            // The instruction runs again and the default action follows.
            // SAFETY: all zeroes is a valid value, and SIG_DFL.
            let default: libc::sigaction = unsafe { std::mem::zeroed() };
            // SAFETY: setting the default action is always allowed.
            unsafe { libc::sigaction(signal, &default, std::ptr::null_mut()) };
        }
        function if previous.sa_flags & libc::SA_SIGINFO != 0 => {
            type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut core::ffi::c_void);
            // SAFETY: SA_SIGINFO says that the function is one of this type.
            let function: Handler = unsafe { std::mem::transmute(function) };
            function(signal, info, user);
        }
        function => {
            // SAFETY: without SA_SIGINFO the function takes the signal's number.
            let function: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(function) };
            function(signal);
        }
    }
}

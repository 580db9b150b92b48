//! Memory accesses that fail: code that expects them takes the signal, and the process goes on.
//!
//! The kernel answers an access to memory that is not there with SIGSEGV, and one to a page of a file that it cannot give with
//! SIGBUS. A process has one handler for each. This crate has it, and asks whoever [`claim`]s faults; what nobody takes goes to
//! whoever handled the signal before, or ends the process as it would have.
#![deny(unsafe_code)]
#![expect(unsafe_code, reason = "signals; see the SAFETY comments")]

use std::sync::{Once, OnceLock};

/// Looks at the registers of a thread whose access to this address failed. True if the fault is its own: then the thread goes on with
/// the registers as they are now.
pub type Claim = fn(&mut libc::mcontext_t, u64) -> bool;

/// Those that claim faults: each part of csdrive that expects some has one.
static CLAIMS: [OnceLock<Claim>; 4] = [const { OnceLock::new() }; 4];

/// From now on this function is asked about every fault.
///
/// # Safety
/// The function is called in a signal handler: it must be async-signal-safe, and take a fault only if the thread can go on
/// with the registers that it leaves.
///
/// # Panics
/// If there are more claims than parts of csdrive.
pub unsafe fn claim(claim: Claim) {
    assert!(CLAIMS.iter().any(|place| place.set(claim).is_ok()), "a claim too many");
    install();
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
    // SAFETY: the kernel passes the interrupted thread's registers.
    let machine = unsafe { &mut (*user.cast::<libc::ucontext_t>()).uc_mcontext };
    // SAFETY: the kernel passes a siginfo of SIGSEGV or SIGBUS.
    let info_here = unsafe { &*info };
    // SAFETY: it is of a signal with an address.
    let address = unsafe { info_here.si_addr() } as u64;
    if !CLAIMS.iter().filter_map(OnceLock::get).any(|claim| claim(machine, address)) {
        forward(signal, info, user);
    }
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

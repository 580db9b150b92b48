//! What a run may do: a few system calls. All others are refused by the kernel, which calls a handler in place of them; the
//! handler notes which it was, and ends the process.
//!
//! The loader of the C library opens the object and asks for its size. Nothing can be opened: the handler answers in place of
//! the kernel, with the descriptor that is there. The object's code can do what the handler can do, and no more.
#![expect(unsafe_code, reason = "signals and system calls; see the SAFETY comments")]

use std::collections::BTreeMap;
use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{c_long, siginfo_t, ucontext_t};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::machine;
use crate::run::{OBJECT, exit, report};
use crate::system_calls::ALLOWED;

/// The object is being loaded.
static LOADING: AtomicBool = AtomicBool::new(false);

/// A path for the loader; there is nothing.
pub(crate) const PATH: &CStr = c"/csdrive/native.so";

/// From here on, this process may do little: more threads, if it may have them.
pub(crate) fn enter(may_have_threads: bool) -> io::Result<()> {
    LOADING.store(true, Ordering::Relaxed);
    handle(libc::SIGSYS, refused, libc::SA_NODEFER)?;
    for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE] {
        handle(signal, crashed, libc::SA_RESETHAND | libc::SA_ONSTACK)?;
    }
    // SAFETY: the default is what is wanted.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    rustix::thread::set_no_new_privs(true)?;
    // Growing a mapping could show what is beyond it; the C library then allocates and copies.
    let no_memory = SeccompAction::Errno(libc::ENOMEM as u32);
    let no_terminal = SeccompAction::Errno(libc::ENOTTY as u32);
    let others = [(libc::SYS_mremap, no_memory), (libc::SYS_ioctl, no_terminal)];
    for (number, answer) in others.iter().cloned() {
        apply(BTreeMap::from([(number, Vec::new())]), SeccompAction::Allow, answer)?;
    }
    let mut allowed: BTreeMap<c_long, Vec<SeccompRule>> = ALLOWED
        .iter()
        .chain(others.iter().map(|(number, _)| number))
        .map(|n| (*n, Vec::new()))
        .collect();
    if may_have_threads {
        // The C library goes back to clone, whose flags can be looked at.
        let unknown = SeccompAction::Errno(libc::ENOSYS as u32);
        apply(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), SeccompAction::Allow, unknown)?;
        allowed.insert(libc::SYS_clone3, Vec::new());
        allowed.insert(libc::SYS_clone, vec![if_thread()?]);
    }
    // abort() sends a signal to its own process.
    let own = rustix::process::getpid().as_raw_nonzero().get() as u64;
    allowed.insert(libc::SYS_tgkill, vec![if_argument(0, own)?]);
    let advice = ADVICE.iter().map(|advice| if_argument(2, *advice as u64));
    allowed.insert(libc::SYS_madvise, advice.collect::<io::Result<_>>()?);
    // Nobody else answers for what is refused.
    let own_handler =
        BTreeMap::from([(libc::SYS_rt_sigaction, vec![if_argument(0, libc::SIGSYS as u64)?])]);
    apply(own_handler, SeccompAction::Allow, SeccompAction::Errno(libc::EINVAL as u32))?;
    apply(allowed, SeccompAction::Trap, SeccompAction::Allow)
}

/// The object is loaded: from now on nothing pretends that a file can be opened.
pub(crate) fn loaded() {
    LOADING.store(false, Ordering::Relaxed);
}

/// Advice about memory that changes what is the program's alone.
const ADVICE: [c_int; 9] = [
    libc::MADV_NORMAL,
    libc::MADV_RANDOM,
    libc::MADV_SEQUENTIAL,
    libc::MADV_WILLNEED,
    libc::MADV_DONTNEED,
    libc::MADV_FREE,
    libc::MADV_HUGEPAGE,
    libc::MADV_NOHUGEPAGE,
    libc::MADV_COLD,
];

/// The rule that an argument has this value.
fn if_argument(place: u8, value: u64) -> io::Result<SeccompRule> {
    let equals = SeccompCondition::new(place, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value);
    equals.and_then(|equals| SeccompRule::new(vec![equals])).map_err(io::Error::other)
}

/// The rule that what is made is a thread of this process, in the same namespaces.
fn if_thread() -> io::Result<SeccompRule> {
    const THREAD: u64 = (libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD) as u64;
    const NAMESPACES: u64 = (libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET) as u64;
    let op = SeccompCmpOp::MaskedEq(THREAD | NAMESPACES);
    let is_thread = SeccompCondition::new(0, SeccompCmpArgLen::Dword, op, THREAD);
    is_thread.and_then(|is_thread| SeccompRule::new(vec![is_thread])).map_err(io::Error::other)
}

/// System calls that are listed are answered one way, all others another way. Of several filters, the strictest answer counts.
fn apply(
    listed: BTreeMap<c_long, Vec<SeccompRule>>,
    others: SeccompAction,
    answer: SeccompAction,
) -> io::Result<()> {
    let machine = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    #[expect(clippy::useless_conversion, reason = "c_long is not i64 everywhere")]
    let listed = listed.into_iter().map(|(n, rules)| (n.into(), rules)).collect();
    let filter = SeccompFilter::new(listed, others, answer, machine).map_err(io::Error::other)?;
    let program = BpfProgram::try_from(filter).map_err(io::Error::other)?;
    seccompiler::apply_filter(&program).map_err(io::Error::other)
}

type Handler = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

fn handle(signal: c_int, handler: Handler, flags: c_int) -> io::Result<()> {
    // SAFETY: all zeroes is a valid value of this C structure.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | flags;
    // SAFETY: the handlers use what may be used in one: the report, which is mapped, and system calls.
    match unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A system call was refused.
extern "C" fn refused(_: c_int, info: *mut siginfo_t, context: *mut c_void) {
    /// Where siginfo has the number of the system call.
    const NUMBER_AT: usize = 24;
    if is_sent(info) {
        return die_of(libc::SIGSYS);
    }
    let number = info.wrapping_byte_add(NUMBER_AT).cast::<i32>();
    // SAFETY: the kernel passes a siginfo of SIGSYS, which has it there.
    let number = unsafe { number.read() };
    // SAFETY: the kernel passes the registers.
    let context = unsafe { &mut *context.cast::<ucontext_t>() };
    match answer(c_long::from(number), machine::arguments(context)) {
        Some(result) => machine::set_result(context, result),
        None => {
            report(|report| (report.is_refused, report.system_call) = (1, number.into()));
            exit(1)
        }
    }
}

/// What the loader is answered in place of the kernel.
fn answer(number: c_long, [a, b, c, d]: [u64; 4]) -> Option<i64> {
    let loading = LOADING.load(Ordering::Relaxed);
    match number {
        // fstat, as C libraries before 2.39 write it.
        libc::SYS_newfstatat if d == libc::AT_EMPTY_PATH as u64 && is_empty(b) => {
            Some(system_call(libc::SYS_fstat, a, c))
        }
        libc::SYS_openat if loading && is_object(b) => {
            let begin = system_call(libc::SYS_lseek, OBJECT as u64, 0);
            Some(if begin < 0 { begin } else { system_call(libc::SYS_dup, OBJECT as u64, 0) })
        }
        libc::SYS_openat | libc::SYS_newfstatat | libc::SYS_readlinkat if loading => {
            Some(-i64::from(libc::ENOENT))
        }
        #[cfg(target_arch = "x86_64")]
        libc::SYS_readlink | libc::SYS_access if loading => Some(-i64::from(libc::ENOENT)),
        _ => None,
    }
}

fn is_empty(path: u64) -> bool {
    // SAFETY: a path that the process passes to the kernel; if it is none, the process crashes, which is its own fault.
    unsafe { std::ptr::with_exposed_provenance::<u8>(path as usize).read_volatile() == 0 }
}

fn is_object(path: u64) -> bool {
    // SAFETY: as in `is_empty`.
    PATH == unsafe { CStr::from_ptr(std::ptr::with_exposed_provenance(path as usize)) }
}

/// A system call that is allowed, as the kernel answers it.
fn system_call(number: c_long, a: u64, b: u64) -> i64 {
    // SAFETY: the arguments are those of the process's own call.
    let result = unsafe { libc::syscall(number, a, b, 0) };
    match result {
        -1 => -i64::from(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EPERM)),
        #[expect(clippy::useless_conversion, reason = "c_long is not i64 everywhere")]
        result => result.into(),
    }
}

/// True for a signal that a process sent.
fn is_sent(info: *mut siginfo_t) -> bool {
    // SAFETY: the kernel passes a siginfo.
    unsafe { (*info).si_code <= 0 }
}

/// Ends the process by a signal: what is sent now comes when the handler has returned.
fn die_of(signal: c_int) {
    // SAFETY: the default is what is wanted.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    // SAFETY: a signal to this thread.
    unsafe { libc::raise(signal) };
}

/// The program crashed: notes where. The handler is the default one again, and the instruction runs once more.
extern "C" fn crashed(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    if is_sent(info) {
        return die_of(signal);
    }
    // SAFETY: the kernel passes a siginfo.
    let info = unsafe { &*info };
    // SAFETY: it is of a signal with an address.
    let address = unsafe { info.si_addr() } as u64;
    // SAFETY: the kernel passes the registers.
    let context = unsafe { &*context.cast::<ucontext_t>() };
    let (instruction, stack) = (machine::instruction(context), machine::stack(context));
    report(|report| {
        (report.address, report.instruction, report.stack) = (address, instruction, stack);
    });
}

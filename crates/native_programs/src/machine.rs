//! What a signal handler must know of this machine: where the registers are.

use libc::ucontext_t;

/// Arguments of the system call that was refused.
#[cfg(target_arch = "x86_64")]
pub(crate) fn arguments(context: &ucontext_t) -> [u64; 4] {
    let registers = &context.uc_mcontext.gregs;
    [libc::REG_RDI, libc::REG_RSI, libc::REG_RDX, libc::REG_R10]
        .map(|register| registers[register as usize] as u64)
}

/// Has the system call return this.
#[cfg(target_arch = "x86_64")]
pub(crate) fn set_result(context: &mut ucontext_t, result: i64) {
    context.uc_mcontext.gregs[libc::REG_RAX as usize] = result;
}

/// The instruction that was interrupted.
#[cfg(target_arch = "x86_64")]
pub(crate) fn instruction(context: &ucontext_t) -> u64 {
    context.uc_mcontext.gregs[libc::REG_RIP as usize] as u64
}

/// The stack pointer.
#[cfg(target_arch = "x86_64")]
pub(crate) fn stack(context: &ucontext_t) -> u64 {
    context.uc_mcontext.gregs[libc::REG_RSP as usize] as u64
}

/// Arguments of the system call that was refused.
#[cfg(target_arch = "aarch64")]
pub(crate) fn arguments(context: &ucontext_t) -> [u64; 4] {
    let registers = &context.uc_mcontext.regs;
    [registers[0], registers[1], registers[2], registers[3]]
}

/// Has the system call return this.
#[cfg(target_arch = "aarch64")]
pub(crate) fn set_result(context: &mut ucontext_t, result: i64) {
    context.uc_mcontext.regs[0] = result as u64;
}

/// The instruction that was interrupted.
#[cfg(target_arch = "aarch64")]
pub(crate) fn instruction(context: &ucontext_t) -> u64 {
    context.uc_mcontext.pc
}

/// The stack pointer.
#[cfg(target_arch = "aarch64")]
pub(crate) fn stack(context: &ucontext_t) -> u64 {
    context.uc_mcontext.sp
}

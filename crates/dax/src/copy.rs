//! Copies to and from memory that may not be there.
#![expect(unsafe_code, reason = "assembly and registers; see the SAFETY comments")]

use std::arch::global_asm;
use std::sync::Once;

// Both return 0, or 1 if an access failed: then `take` lets the thread go on at the last label. Neither moves the stack pointer.
//
// csdrive_dax_load(to, from, bytes)
// csdrive_dax_store(to, from, words): past the caches (MOVNTI), and waits until the words are in the memory's own domain.
global_asm!(
    ".hidden csdrive_dax_load",
    ".hidden csdrive_dax_store",
    ".hidden csdrive_dax_failed",
    ".globl csdrive_dax_load",
    ".globl csdrive_dax_store",
    ".globl csdrive_dax_failed",
    ".p2align 4",
    "csdrive_dax_load:",
    "mov rcx, rdx",
    "rep movsb",
    "xor eax, eax",
    "ret",
    ".p2align 4",
    "csdrive_dax_store:",
    "2:",
    "mov rax, [rsi]",
    "movnti [rdi], rax",
    "add rsi, 8",
    "add rdi, 8",
    "dec rdx",
    "jnz 2b",
    "sfence",
    "xor eax, eax",
    "ret",
    "csdrive_dax_failed:",
    "mov eax, 1",
    "ret",
);

unsafe extern "C" {
    fn csdrive_dax_load(to: *mut u8, from: *const u8, bytes: usize) -> u32;
    fn csdrive_dax_store(to: *mut u64, from: *const u8, words: usize) -> u32;
    fn csdrive_dax_failed();
}

/// Lets a copy that failed return.
fn take(machine: &mut libc::mcontext_t, _address: u64) -> bool {
    let [begin, end] =
        [csdrive_dax_load as *const () as i64, csdrive_dax_failed as *const () as i64];
    let pc = &mut machine.gregs[libc::REG_RIP as usize];
    let is_ours = (begin..end).contains(pc);
    if is_ours {
        *pc = end;
    }
    is_ours
}

fn install() {
    static ONCE: Once = Once::new();
    // SAFETY: `take` only looks at and changes a register; the copies keep nothing on the stack but their return address.
    ONCE.call_once(|| unsafe { faults::claim(take) });
}

/// Copies `bytes` bytes; false if not all of them are there to be read.
///
/// # Safety
/// `to` has room for them. `from` lies in a mapping of this process that remains, whatever is in it.
pub(crate) unsafe fn load(to: *mut u8, from: *const u8, bytes: usize) -> bool {
    install();
    // SAFETY: as the caller says; `take` ends it if the mapping has nothing there.
    unsafe { csdrive_dax_load(to, from, bytes) == 0 }
}

/// Copies words of 8 bytes, each at once and in any order, and waits until they are durable; false if they have no place.
///
/// # Safety
/// `from` has so many. `to` is a multiple of 8, in a mapping of this process that remains, whatever is in it.
pub(crate) unsafe fn store(to: *mut u64, from: *const u8, words: usize) -> bool {
    install();
    // SAFETY: as the caller says; `take` ends it if the mapping has nothing there.
    words == 0 || unsafe { csdrive_dax_store(to, from, words) == 0 }
}

//! For aarch64. Compiled code has the base of the window in x0 whenever it calls; the pinned register
//! is x21.
#![expect(unsafe_code, reason = "assembly; see the SAFETY comments")]

use std::arch::naked_asm;
use std::mem::offset_of;

use crate::memory::RUNTIME_AREA;
use crate::native::context::Context;
use crate::native::runtime;

/// From the base back to the context; one instruction can subtract it.
const BACK: i64 = -RUNTIME_AREA as i64;
const _: () = assert!(BACK > 0 && BACK & 0xFFF == 0 && BACK >> 12 < 4096);

/// Calls compiled code, leaving a place to land.
///
/// # Safety
/// `base` must be that of a window with a complete context, `entry` code compiled for it.
#[unsafe(naked)]
pub(in crate::native) unsafe extern "C" fn call(base: *mut u8, entry: u64) {
    naked_asm!(
        "stp x29, x30, [sp, #-112]!",
        "mov x29, sp",
        "stp x19, x20, [sp, #16]", "stp x21, x22, [sp, #32]", "stp x23, x24, [sp, #48]",
        "stp x25, x26, [sp, #64]", "stp x27, x28, [sp, #80]",
        "str x0, [sp, #96]",
        "sub x9, x0, #{back}",
        "str x29, [x9, #{recovery}]",
        "ldr x21, [x9, #{fuel}]",
        "blr x1",
        "ldr x0, [sp, #96]",
        "b {land}",
        back = const BACK,
        recovery = const offset_of!(Context, recovery),
        fuel = const offset_of!(Context, fuel),
        land = sym land,
    )
}

/// Ends the run, wherever in compiled code: continues behind its [`call`], the base in x0.
#[unsafe(naked)]
pub(in crate::native) extern "C" fn land() {
    naked_asm!(
        "sub x9, x0, #{back}",
        "ldr x10, [x9, #{recovery}]",
        "mov sp, x10",
        "str x21, [x9, #{fuel}]",
        "ldp x19, x20, [sp, #16]", "ldp x21, x22, [sp, #32]", "ldp x23, x24, [sp, #48]",
        "ldp x25, x26, [sp, #64]", "ldp x27, x28, [sp, #80]",
        "ldp x29, x30, [sp], #112",
        "ret",
        back = const BACK,
        recovery = const offset_of!(Context, recovery),
        fuel = const offset_of!(Context, fuel),
    )
}

/// For code that has set the status itself.
pub(in crate::native) use land as end;

/// A function of the runtime, and back to compiled code unless the run has ended.
macro_rules! entry_points {
    ($($name:ident),*) => {$(
        #[unsafe(naked)]
        pub(in crate::native) extern "C" fn $name() {
            naked_asm!(
                "stp x0, x30, [sp, #-16]!",
                "sub x9, x0, #{back}",
                "str x21, [x9, #{fuel}]",
                "bl {function}",
                "ldp x0, x30, [sp], #16",
                "sub x9, x0, #{back}",
                "ldr x21, [x9, #{fuel}]",
                "ldr x9, [x9, #{status}]",
                "cbnz x9, 2f",
                "ret",
                "2: b {land}",
                function = sym runtime::$name,
                back = const BACK,
                fuel = const offset_of!(Context, fuel),
                status = const offset_of!(Context, status),
                land = sym land,
            )
        }
    )*};
}

entry_points!(call_helper, call_register, atomic);

/// `refill` keeps all general registers: looks at the budget are in loops, where saving registers around
/// a call would cost something even if it is never made. Compiled code has nothing in other registers.
#[unsafe(naked)]
pub(in crate::native) extern "C" fn refill() {
    naked_asm!(
        "stp x0, x30, [sp, #-160]!",
        "stp x1, x2, [sp, #16]", "stp x3, x4, [sp, #32]", "stp x5, x6, [sp, #48]",
        "stp x7, x8, [sp, #64]", "stp x9, x10, [sp, #80]", "stp x11, x12, [sp, #96]",
        "stp x13, x14, [sp, #112]", "stp x15, x16, [sp, #128]", "str x17, [sp, #144]",
        "sub x9, x0, #{back}",
        "str x21, [x9, #{fuel}]",
        "bl {function}",
        "ldr x0, [sp]",
        "sub x9, x0, #{back}",
        "ldr x21, [x9, #{fuel}]",
        "ldr x9, [x9, #{status}]",
        "cbnz x9, 2f",
        "ldp x1, x2, [sp, #16]", "ldp x3, x4, [sp, #32]", "ldp x5, x6, [sp, #48]",
        "ldp x7, x8, [sp, #64]", "ldp x9, x10, [sp, #80]", "ldp x11, x12, [sp, #96]",
        "ldp x13, x14, [sp, #112]", "ldp x15, x16, [sp, #128]", "ldr x17, [sp, #144]",
        "ldp x0, x30, [sp], #160",
        "ret",
        "2: b {land}",
        function = sym runtime::refill,
        back = const BACK,
        fuel = const offset_of!(Context, fuel),
        status = const offset_of!(Context, status),
        land = sym land,
    )
}

/// Only tier 2 makes code without the pinned register, and that is for x86-64.
pub(in crate::native) mod plain {
    pub(in crate::native) use super::{atomic, call_helper, call_register, land, refill};
}

//! For x86-64. Compiled code has the base of the window in rdi whenever it calls; the pinned register
//! is r15.
#![expect(unsafe_code, reason = "assembly; see the SAFETY comments")]

use std::arch::naked_asm;
use std::mem::offset_of;

use crate::native::context::{CONTEXT, Context};
use crate::native::runtime;

/// Calls compiled code, leaving a place to land.
///
/// # Safety
/// `base` must be that of a window with a complete context, `entry` code compiled for it.
#[unsafe(naked)]
pub(in crate::native) unsafe extern "C" fn call(base: *mut u8, entry: u64) {
    naked_asm!(
        "push rbp", "push rbx", "push r12", "push r13", "push r14", "push r15",
        "sub rsp, 8",
        "mov [rdi + {recovery}], rsp",
        "push rdi",
        "push rdi",
        "mov r15, [rdi + {fuel}]",
        "call rsi",
        "pop rdi",
        "jmp {land}",
        recovery = const CONTEXT + offset_of!(Context, recovery) as i32,
        fuel = const CONTEXT + offset_of!(Context, fuel) as i32,
        land = sym land,
    )
}

/// Ends the run, wherever in compiled code: continues behind its [`call`], the base in rdi.
#[unsafe(naked)]
pub(in crate::native) extern "C" fn land() {
    naked_asm!(
        "mov rsp, [rdi + {recovery}]",
        "mov [rdi + {fuel}], r15",
        "cld",
        "add rsp, 8",
        "pop r15", "pop r14", "pop r13", "pop r12", "pop rbx", "pop rbp",
        "ret",
        recovery = const CONTEXT + offset_of!(Context, recovery) as i32,
        fuel = const CONTEXT + offset_of!(Context, fuel) as i32,
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
                "mov [rdi + {fuel}], r15",
                "push rdi",
                "call {function}",
                "pop rdi",
                "mov r15, [rdi + {fuel}]",
                "cmp qword ptr [rdi + {status}], 0",
                "jne {land}",
                "ret",
                function = sym runtime::$name,
                fuel = const CONTEXT + offset_of!(Context, fuel) as i32,
                status = const CONTEXT + offset_of!(Context, status) as i32,
                land = sym land,
            )
        }
    )*};
}

entry_points!(call_helper, call_register, atomic);

/// `refill` keeps all registers: looks at the budget are in loops, where saving registers around a
/// call would cost something even if it is never made.
#[unsafe(naked)]
pub(in crate::native) extern "C" fn refill() {
    naked_asm!(
        "mov [rdi + {fuel}], r15",
        "push rax", "push rcx", "push rdx", "push rsi", "push r8",
        "push r9", "push r10", "push r11", "push rdi",
        "call {function}",
        "pop rdi",
        "mov r15, [rdi + {fuel}]",
        "cmp qword ptr [rdi + {status}], 0",
        "jne {land}",
        "pop r11", "pop r10", "pop r9",
        "pop r8", "pop rsi", "pop rdx", "pop rcx", "pop rax",
        "ret",
        function = sym runtime::refill,
        fuel = const CONTEXT + offset_of!(Context, fuel) as i32,
        status = const CONTEXT + offset_of!(Context, status) as i32,
        land = sym land,
    )
}

/// The same for code that does not keep the budget in the pinned register.
pub(in crate::native) mod plain {
    use std::arch::naked_asm;
    use std::mem::offset_of;

    use super::{CONTEXT, Context, runtime};

    /// Ends the run: as [`super::land`], but the budget is in the context already.
    #[unsafe(naked)]
    pub(in crate::native) extern "C" fn land() {
        naked_asm!(
            "mov rsp, [rdi + {recovery}]",
            "cld",
            "add rsp, 8",
            "pop r15", "pop r14", "pop r13", "pop r12", "pop rbx", "pop rbp",
            "ret",
            recovery = const CONTEXT + offset_of!(Context, recovery) as i32,
        )
    }

    /// A function of the runtime, and back to compiled code unless the run has ended.
    macro_rules! entry_points {
        ($($name:ident),*) => {$(
            #[unsafe(naked)]
            pub(in crate::native) extern "C" fn $name() {
                naked_asm!(
                    "push rdi",
                    "call {function}",
                    "pop rdi",
                    "cmp qword ptr [rdi + {status}], 0",
                    "jne {land}",
                    "ret",
                    function = sym runtime::$name,
                    status = const CONTEXT + offset_of!(Context, status) as i32,
                    land = sym land,
                )
            }
        )*};
    }

    entry_points!(refill, call_helper, call_register, atomic);
}

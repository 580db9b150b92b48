//! For machines that programs are not compiled for: the compilers refuse, so nothing comes here.
#![expect(unsafe_code, reason = "the signature of the others")]

/// Calls compiled code, which there is none of.
///
/// # Safety
/// None is asked for.
pub(in crate::native) unsafe extern "C" fn call(_base: *mut u8, _entry: u64) {
    unreachable!("programs are not compiled for this machine");
}

macro_rules! entry_points {
    ($($name:ident),*) => {$(
        pub(in crate::native) extern "C" fn $name() {
            unreachable!("programs are not compiled for this machine");
        }
    )*};
}

entry_points!(refill, call_helper, call_register, atomic, end);

/// The same for code without the pinned register.
pub(in crate::native) mod plain {
    pub(in crate::native) use super::{atomic, call_helper, call_register, end as land, refill};
}

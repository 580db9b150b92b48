//! Guests: stock Debian virtual machines in a stock QEMU, for whoever serves them a drive.
//!
//! ```text
//! find -> Parts (QEMU, kernel, disk; made once from Debian packages, kept in a cache folder)
//! Payload (what one guest is to do) -> Machine (QEMU's command line, and its life) -> Ended
//! ```
//!
//! Nothing here knows what a computational storage drive is: a drive is a socket that QEMU connects to.
#![forbid(unsafe_code)]

mod initramfs;
mod kvm;
mod making;
mod parts;
mod payload;
mod qemu;
mod share;

pub use kvm::kvm_works;
pub use making::find;
pub use parts::{Made, Parts, absolute};
pub use payload::Payload;
pub use qemu::{Disk, Ended, Hardware, Machine, Reason};
pub use share::Share;

/// Takes a line for the user: what takes long, what is not as it could be.
pub type Tell = fn(std::fmt::Arguments<'_>);

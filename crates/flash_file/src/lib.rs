//! The flash of a drive in a file. The file is sparse: what was never written, or was erased, takes no room.
//!
//! [`FlashFile::open`] checks a file before anything is done with it; [`FlashFile::store`] is what the drive keeps its pages in.
//! `layout.rs` says what lies where, `store.rs` in which order it is written, so that the end of the process, or of the machine, loses nothing
//! that was flushed.
#![forbid(unsafe_code)]

mod disk;
mod layout;
mod open;
mod store;

pub use disk::Disk;
pub use open::{Damage, FlashFile, OpenError, Summary, clone_file};
pub use store::FileStore;

//! Command dwords as named fields, one struct per dword that has fields, and the lists that
//! commands take as data.

mod admin;
mod memory;
mod nvm;
mod program;
mod run_time;
mod zone;

pub use admin::*;
pub use memory::*;
pub use nvm::*;
pub use program::*;
pub use run_time::*;
pub use zone::*;

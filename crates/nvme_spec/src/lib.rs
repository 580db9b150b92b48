//! NVMe wire types: registers, queue entries, status values, and the data structures of the NVM, Zoned Namespace,
//! Subsystem Local Memory (SLM) and Computational Programs (CP) command sets.
//!
//! Revisions: NVM Express Base 2.1, NVM Command Set 1.2, Zoned Namespace Command Set 1.2. The CP and SLM layouts follow the public
//! implementations listed in `docs/conformance.md`, which also records every open point.
//!
//! There is no logic here, only layouts: names are the specification's mnemonics and fields that
//! the specification counts from zero end in `_z`. Values that arrive from a host are newtypes
//! over integers (never Rust enums), so every bit pattern is representable.
#![no_std]
#![forbid(unsafe_code)]

mod feature;
mod identify;
mod ids;
mod log;
mod opcode;
mod queue_entry;
mod register;
mod sgl;
mod status;
mod zone;

pub mod command;

pub use feature::*;
pub use identify::*;
pub use ids::*;
pub use log::*;
pub use opcode::*;
pub use queue_entry::*;
pub use register::*;
pub use sgl::*;
pub use status::*;
pub use zone::*;

/// I/O command set identifiers (Base 2.1, Figure 310; CSI).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CommandSet(pub u8);

impl CommandSet {
    /// NVM command set.
    pub const NVM: Self = Self(0x00);
    /// Zoned Namespace command set.
    pub const ZONED: Self = Self(0x02);
    /// Subsystem Local Memory command set.
    pub const MEMORY: Self = Self(0x03);
    /// Computational Programs command set.
    pub const PROGRAMS: Self = Self(0x04);
}

/// The namespaces of a csdrive whose configuration lists none. Other drives may number theirs differently: Identify tells.
pub mod namespace {
    /// Blocks, NVM command set.
    pub const NVM_NSID: u32 = 1;
    /// Device memory, Subsystem Local Memory command set.
    pub const MEMORY_NSID: u32 = 2;
    /// Programs, Computational Programs command set.
    pub const COMPUTE_NSID: u32 = 3;
    /// "All namespaces", where a command allows it.
    pub const ALL_NSID: u32 = u32::MAX;
}

/// Memory page size of every structure here: CC.MPS is fixed to 4 KiB by CAP.MPSMIN/MPSMAX.
pub const PAGE_SIZE: u64 = 4096;

//! Computational Programs command dwords and memory range descriptors.

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Load Program, dword 10.
#[bitfield(u32)]
pub struct LoadProgramCdw10 {
    /// Program index.
    pub pind: u16,
    /// Program type.
    pub ptype: u8,
    /// Select: false = load, true = unload.
    pub sel: bool,
    /// Program identifier type: 0 none, 1 PUID.
    #[bits(3)]
    pub pit: u8,
    #[bits(4)]
    __: u8,
}

/// Program Activation Management, dword 10.
#[bitfield(u32)]
pub struct ActivationCdw10 {
    /// Program index.
    pub pind: u16,
    /// Select: 0 deactivate, 1 activate.
    #[bits(4)]
    pub sel: u8,
    #[bits(12)]
    __: u16,
}

/// Memory Range Set Management, dword 10.
#[bitfield(u32)]
pub struct RangeSetCdw10 {
    /// Select: 0 create, 1 delete.
    #[bits(4)]
    pub sel: u8,
    #[bits(12)]
    __: u16,
    /// Memory range set identifier (delete).
    pub rsid: u16,
}

/// Memory Range Set Management, dword 11.
#[bitfield(u32)]
pub struct RangeSetCdw11 {
    /// Number of memory ranges.
    pub numr: u8,
    #[bits(24)]
    __: u32,
}

/// Execute Program, dword 2.
#[bitfield(u32)]
pub struct ExecuteCdw2 {
    /// Program index.
    pub pind: u16,
    /// Memory range set identifier, 0 = none.
    pub rsid: u16,
}

/// Execute Program, dword 14: vendor.
#[bitfield(u32)]
pub struct ExecuteCdw14 {
    /// Length of the data buffer, if dword 4 does not say it.
    #[bits(24)]
    pub dlen: u32,
    /// Job group, 0 = none.
    pub group: u8,
}

/// Job Group Management (vendor), dword 10.
#[bitfield(u32)]
pub struct JobGroupCdw10 {
    /// Select: 0 create, 1 delete, 2 change.
    #[bits(4)]
    pub sel: u8,
    #[bits(12)]
    __: u16,
    /// Job group (delete, change).
    pub group: u16,
}

/// Job Group Management (vendor), dword 11.
#[bitfield(u32)]
pub struct JobGroupCdw11 {
    /// Weight (create, change).
    pub weight: u16,
    /// Priority (create, change): 1 to 9, the most urgent; 0 = 5.
    #[bits(4)]
    pub priority: u8,
    /// Most of its jobs on units at a time (create, change); 0 = no limit.
    #[bits(12)]
    pub units_max: u16,
}

/// Execute Program, compound (vendor), dword 13.
#[bitfield(u32)]
pub struct CompoundCdw13 {
    /// The NVM namespace of the input.
    pub nsid: u16,
    /// Job group, 0 = none.
    pub group: u8,
    /// The run begins on the first pages of its input.
    pub early: bool,
    #[bits(7)]
    __: u8,
}

/// Program types (PTYPE); the eBPF value is provisional, see `docs/conformance.md`.
pub mod program_type {
    /// An eBPF program in an ELF object.
    pub const EBPF: u8 = 0x01;
    /// Declared-time "phantom" program, vendor range: the load carries an 8-byte run time in ns.
    pub const DECLARED: u8 = 0xC0;
    /// Native program, vendor range: the load carries the name of a function (may be empty), a zero byte, and a shared object.
    pub const NATIVE: u8 = 0xC1;
    /// Native program that the drive has in a folder, vendor range: the load carries the name of a function (may be empty), a
    /// zero byte, and the name of a file.
    pub const NATIVE_FILE: u8 = 0xC2;
    /// WebAssembly program, vendor range: the load carries the name of a function (may be empty), a zero byte, and a module.
    pub const WASM: u8 = 0xC3;
}

/// Memory range descriptor, 32 bytes.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct MemoryRangeDescriptor {
    /// Memory namespace.
    pub nsid: U32,
    /// Length in bytes.
    pub length: U32,
    /// Starting byte.
    pub start: U64,
    /// Reserved.
    pub reserved: [u8; 16],
}

const _: () = assert!(size_of::<MemoryRangeDescriptor>() == 32);

/// Word 1 of the data buffer of a streaming execution (vendor): where the output goes, and flags.
pub mod stream_flags {
    /// 0 = what programs produce stays in device memory, 1 = it is written back.
    pub const DESTINATION: usize = 0xFF;
    /// Runs begin on the first pages of their chunks.
    pub const EARLY: usize = 1 << 8;
    /// Behind the numbers of extents it is said which part of the input each chunk in flight has, and how many blocks runs see
    /// behind their chunks.
    pub const PARTS: usize = 1 << 9;
    /// Programs get a [`ChunkHeader`](super::ChunkHeader) in front of their data.
    pub const HEADER: usize = 1 << 10;
    /// All bits that mean something.
    pub const ALL: usize = DESTINATION | EARLY | PARTS | HEADER;
}

/// What a program of a streaming execution gets in front of its data, if it is asked for; 16 bytes (vendor).
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ChunkHeader {
    /// Where in the whole input the chunk begins, in bytes.
    pub position: U64,
    /// Bytes of the chunk itself: what is behind them in its range is the beginning of the next chunk.
    pub bytes: U64,
}

const _: () = assert!(size_of::<ChunkHeader>() == 16);

//! Command dwords as named fields, one struct per dword that has fields.

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Create I/O Submission/Completion Queue and Delete Queue, dword 10 (Base 2.1, Figure 472).
#[bitfield(u32)]
pub struct QueueCdw10 {
    /// Queue identifier.
    pub qid: u16,
    /// Queue size, zero-based.
    pub qsize_z: u16,
}

/// Create I/O Completion Queue, dword 11 (Base 2.1, Figure 473).
#[bitfield(u32)]
pub struct CreateCqCdw11 {
    /// Physically contiguous.
    pub pc: bool,
    /// Interrupts enabled.
    pub ien: bool,
    #[bits(14)]
    __: u16,
    /// Interrupt vector.
    pub iv: u16,
}

/// Create I/O Submission Queue, dword 11 (Base 2.1, Figure 477).
#[bitfield(u32)]
pub struct CreateSqCdw11 {
    /// Physically contiguous.
    pub pc: bool,
    /// Queue priority.
    #[bits(2)]
    pub qprio: u8,
    #[bits(13)]
    __: u16,
    /// Completion queue identifier.
    pub cqid: u16,
}

/// Identify, dword 10 (Base 2.1, Figure 306).
#[bitfield(u32)]
pub struct IdentifyCdw10 {
    /// Controller or namespace structure.
    pub cns: u8,
    __: u8,
    /// Controller identifier.
    pub cntid: u16,
}

/// Identify, dword 11 (Base 2.1, Figure 307).
#[bitfield(u32)]
pub struct IdentifyCdw11 {
    /// CNS specific identifier.
    pub cnssid: u16,
    __: u8,
    /// Command set identifier.
    pub csi: u8,
}

/// Get Log Page, dword 10 (Base 2.1, Figure 198).
#[bitfield(u32)]
pub struct GetLogCdw10 {
    /// Log page identifier.
    pub lid: u8,
    /// Log specific parameter.
    #[bits(7)]
    pub lsp: u8,
    /// Retain asynchronous event.
    pub rae: bool,
    /// Number of dwords, low 16 bits, zero-based.
    pub numdl: u16,
}

/// Get Log Page, dword 14 (Base 2.1, Figure 202).
#[bitfield(u32)]
pub struct GetLogCdw14 {
    /// UUID index.
    #[bits(7)]
    pub uuid_index: u8,
    #[bits(16)]
    __: u16,
    /// Offset type: 0 = byte offset.
    pub ot: bool,
    /// Command set identifier.
    pub csi: u8,
}

/// Set and Get Features, dword 10 (Base 2.1, Figure 385).
#[bitfield(u32)]
pub struct FeaturesCdw10 {
    /// Feature identifier.
    pub fid: u8,
    /// Select (Get Features): 0 current, 1 default, 2 saved, 3 supported capabilities.
    #[bits(3)]
    pub sel: u8,
    #[bits(20)]
    __: u32,
    /// Save (Set Features).
    pub sv: bool,
}

/// Read and Write, dword 12 (NVM Command Set 1.2, Figures 54 and 70).
#[bitfield(u32)]
pub struct ReadWriteCdw12 {
    /// Number of logical blocks, zero-based.
    pub nlb_z: u16,
    #[bits(8)]
    __: u8,
    /// Storage tag check.
    pub stc: bool,
    __: bool,
    /// Protection information.
    #[bits(4)]
    pub prinfo: u8,
    /// Force unit access.
    pub fua: bool,
    /// Limited retry.
    pub lr: bool,
}

/// Memory Copy, dword 12.
#[bitfield(u32)]
pub struct MemoryCopyCdw12 {
    /// Number of source entries, zero-based.
    pub nr_z: u8,
    /// Descriptor format of the source entries.
    #[bits(4)]
    pub desfmt: u8,
    #[bits(20)]
    __: u32,
}

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

/// Program types (PTYPE); the eBPF value is provisional, see `docs/conformance.md`.
pub mod program_type {
    /// An eBPF program in an ELF object.
    pub const EBPF: u8 = 0x01;
    /// Declared-time "phantom" program, vendor range: the load carries an 8-byte run time in ns.
    pub const DECLARED: u8 = 0xC0;
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

/// Copy source entry, descriptor format 2h: blocks of any NVM namespace, 32 bytes.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CopySourceBlocks {
    /// Source namespace.
    pub snsid: U32,
    /// Reserved.
    pub reserved0: U32,
    /// Starting logical block.
    pub slba: U64,
    /// Number of logical blocks, zero-based.
    pub nlb_z: U16,
    /// Command extension type (bits 3:0).
    pub cetype: u8,
    /// Reserved.
    pub reserved1: u8,
    /// Command extension value.
    pub cev: U16,
    /// Source options; bit 15 FCO: fast copy only.
    pub sopt: U16,
    /// Expected initial logical block reference tag.
    pub elbt: U32,
    /// Expected logical block application tag.
    pub elbat: U16,
    /// Expected logical block application tag mask.
    pub elbatm: U16,
}

const _: () = assert!(size_of::<CopySourceBlocks>() == 32);

/// Copy source entry, descriptor format 4h: bytes of a memory namespace, 32 bytes.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CopySourceMemory {
    /// Source namespace.
    pub snsid: U32,
    /// Reserved.
    pub reserved0: U32,
    /// Starting byte.
    pub saddr: U64,
    /// Number of bytes.
    pub nbyte: U32,
    /// Reserved.
    pub reserved1: U16,
    /// Source options; bit 15 FCO.
    pub sopt: U16,
    /// Reserved.
    pub reserved2: [u8; 8],
}

const _: () = assert!(size_of::<CopySourceMemory>() == 32);

//! NVM command dwords (NVM Command Set 1.2, section 3).

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Read and Write, dword 12 (NVM Command Set 1.2, Figures 54 and 70).
#[bitfield(u32)]
pub struct ReadWriteCdw12 {
    /// Number of logical blocks, zero-based.
    pub nlb_z: u16,
    #[bits(4)]
    __: u8,
    /// Directive type (Write).
    #[bits(4)]
    pub dtype: u8,
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

/// Write Zeroes, dword 12 (NVM Command Set 1.2, Figure 82).
#[bitfield(u32)]
pub struct WriteZeroesCdw12 {
    /// Number of logical blocks, zero-based.
    pub nlb_z: u16,
    #[bits(9)]
    __: u16,
    /// Deallocate.
    pub deac: bool,
    /// Protection information.
    #[bits(4)]
    pub prinfo: u8,
    /// Force unit access.
    pub fua: bool,
    /// Limited retry.
    pub lr: bool,
}

/// Dataset Management, dword 11 (NVM Command Set 1.2, Figure 45).
#[bitfield(u32)]
pub struct DatasetCdw11 {
    /// Integral dataset for read.
    pub idr: bool,
    /// Integral dataset for write.
    pub idw: bool,
    /// Deallocate.
    pub ad: bool,
    #[bits(29)]
    __: u32,
}

/// Copy, dword 12 (NVM Command Set 1.2, Figure 33).
#[bitfield(u32)]
pub struct CopyCdw12 {
    /// Number of source entries, zero-based.
    pub nr_z: u8,
    /// Descriptor format of the source entries.
    #[bits(4)]
    pub desfmt: u8,
    /// Protection information, read.
    #[bits(4)]
    pub prinfor: u8,
    #[bits(4)]
    __: u8,
    /// Directive type.
    #[bits(4)]
    pub dtype: u8,
    /// Storage tag check, write and read.
    #[bits(2)]
    pub stc: u8,
    /// Protection information, write.
    #[bits(4)]
    pub prinfow: u8,
    /// Force unit access.
    pub fua: bool,
    /// Limited retry.
    pub lr: bool,
}

/// Dataset Management range, 16 bytes (NVM Command Set 1.2, Figure 46).
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct DatasetRange {
    /// Context attributes: hints, not used.
    pub cattr: U32,
    /// Length in logical blocks, a true count.
    pub nlb: U32,
    /// Starting logical block.
    pub slba: U64,
}

const _: () = assert!(size_of::<DatasetRange>() == 16);

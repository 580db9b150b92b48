//! Subsystem Local Memory command dwords, and copy source entries of every format.

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

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

/// Descriptor formats of copy source entries (NVM Command Set 1.2, Figures 35 to 40).
pub mod copy_format {
    /// Blocks of the destination's own namespace, 32 bytes.
    pub const OWN_BLOCKS: u8 = 0;
    /// The same with 64-bit guard fields, 40 bytes.
    pub const OWN_BLOCKS_WIDE: u8 = 1;
    /// Blocks of any NVM namespace, 32 bytes.
    pub const BLOCKS: u8 = 2;
    /// The same with 64-bit guard fields, 40 bytes.
    pub const BLOCKS_WIDE: u8 = 3;
    /// Bytes of a memory namespace, 32 bytes.
    pub const MEMORY: u8 = 4;

    /// Vendor: bytes of a memory namespace of another drive, 32 bytes.
    pub const PEER_MEMORY: u8 = 15;

    /// Bytes of one source entry; `None` for a format that does not exist.
    pub const fn entry_bytes(format: u8) -> Option<usize> {
        match format {
            OWN_BLOCKS | BLOCKS | MEMORY | PEER_MEMORY => Some(32),
            OWN_BLOCKS_WIDE | BLOCKS_WIDE => Some(40),
            _ => None,
        }
    }
}

/// Copy source entry, descriptor format 2h: blocks of any NVM namespace, 32 bytes. Format 0h is
/// alike but has no namespace and no options; the 40-byte formats 1h and 3h begin with the same 24
/// bytes, and only their protection information, which no namespace here has, differs.
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

/// Copy source entry, descriptor format Fh (vendor): bytes of a memory namespace of another drive, 32 bytes; log page C4h
/// lists the drives. It is as format 4h, but for the drive's number.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CopySourcePeer {
    /// Source namespace.
    pub snsid: U32,
    /// The drive.
    pub drive: U32,
    /// Starting byte.
    pub saddr: U64,
    /// Number of bytes.
    pub nbyte: U32,
    /// Reserved.
    pub reserved20: [u8; 12],
}

const _: () = assert!(size_of::<CopySourcePeer>() == 32);

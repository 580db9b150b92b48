//! Scatter gather list descriptors (Base 2.1, section 4.3.2).

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// SGL descriptor, 16 bytes (Base 2.1, Figures 110 to 117).
#[repr(C)]
#[derive(
    Clone, Copy, Default, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct SglDescriptor {
    /// First byte of a data block or segment; ignored by a bit bucket.
    pub address: U64,
    /// Length in bytes.
    pub length: U32,
    /// Reserved.
    pub reserved12: [u8; 3],
    /// Subtype (bits 3:0) and type (bits 7:4).
    pub identifier: u8,
}

const _: () = assert!(size_of::<SglDescriptor>() == SglDescriptor::SIZE);

/// Types of SGL descriptors (Base 2.1, Figure 111).
pub mod sgl_type {
    /// Bytes of host memory.
    pub const DATA_BLOCK: u8 = 0;
    /// Bytes of a read that are thrown away.
    pub const BIT_BUCKET: u8 = 1;
    /// Where the list goes on.
    pub const SEGMENT: u8 = 2;
    /// Where the last part of the list is.
    pub const LAST_SEGMENT: u8 = 3;
}

impl SglDescriptor {
    /// Bytes of one descriptor.
    pub const SIZE: usize = 16;

    /// A descriptor of the given type, subtype 0 (an address).
    pub fn new(sgl_type: u8, address: u64, length: u32) -> Self {
        let (address, length) = (address.into(), length.into());
        Self { address, length, identifier: sgl_type << 4, ..Self::default() }
    }

    /// Descriptor type.
    pub fn sgl_type(&self) -> u8 {
        self.identifier >> 4
    }

    /// Descriptor subtype.
    pub fn subtype(&self) -> u8 {
        self.identifier & 0xF
    }
}

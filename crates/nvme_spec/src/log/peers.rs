//! Vendor log: other drives.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Peers header, LID C4h (vendor), 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PeersHeader {
    /// Number of entries that follow.
    pub entries: U32,
    /// Bytes of each.
    pub entry_bytes: U32,
    /// The number of this drive.
    pub own: U32,
    /// Reserved.
    pub reserved12: [u8; 4],
}

const _: () = assert!(size_of::<PeersHeader>() == 16);

/// A memory namespace of a drive, 48 bytes. This drive is in the list, too.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PeerEntry {
    /// Number of the drive.
    pub drive: U32,
    /// The namespace.
    pub nsid: U32,
    /// Bytes of it.
    pub bytes: U64,
    /// Serial number of the drive, as in Identify Controller: padded with spaces.
    pub serial: [u8; 20],
    /// Reserved.
    pub reserved36: [u8; 12],
}

const _: () = assert!(size_of::<PeerEntry>() == 48);

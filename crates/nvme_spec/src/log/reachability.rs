//! Reachability: which namespaces may take part in a copy or an execution together
//! (Base 2.1, section 8.1.20).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Header of the reachability groups (LID 1Ah) and associations (LID 1Bh) log pages, 16 bytes
/// (Base 2.1, Figures 277 and 279).
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ReachabilityHeader {
    /// Changes since the last reset.
    pub change_count: U64,
    /// Number of descriptors that follow.
    pub count: U16,
    /// Reserved.
    pub reserved10: [u8; 6],
}

const _: () = assert!(size_of::<ReachabilityHeader>() == 16);

/// Reachability group, 32 bytes, before its namespace identifiers (Base 2.1, Figure 278).
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ReachabilityGroup {
    /// Group identifier.
    pub rgid: U32,
    /// Number of namespace identifiers that follow.
    pub nnid: U32,
    /// Changes since the last reset.
    pub change_count: U64,
    /// Reserved.
    pub reserved16: [u8; 16],
}

const _: () = assert!(size_of::<ReachabilityGroup>() == 32);

/// Reachability association, 32 bytes, before its group identifiers (Base 2.1, Figure 280).
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ReachabilityAssociation {
    /// Association identifier.
    pub rasid: U32,
    /// Number of group identifiers that follow.
    pub nrid: U32,
    /// Changes since the last reset.
    pub change_count: U64,
    /// 1 reachable, 2 reachable with fast copy, 3 reachable without fast copy.
    pub rac: u8,
    /// Reserved.
    pub reserved17: [u8; 15],
}

const _: () = assert!(size_of::<ReachabilityAssociation>() == 32);

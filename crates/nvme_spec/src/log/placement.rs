//! Flexible Data Placement (Base 2.1, sections 3.2.4 and 8.1.10; log pages 20h to 23h, sections 5.1.12.1.28 to 5.1.12.1.31).

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Header of FDP Configurations, LID 20h: configurations follow, one after the other.
#[repr(C)]
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FdpConfigurations {
    /// Number of configurations, zero-based.
    pub count_z: U16,
    /// Version of the page: 0.
    pub version: u8,
    /// Reserved.
    pub reserved3: u8,
    /// Bytes of the page.
    pub bytes: U32,
    /// Reserved.
    pub reserved8: [u8; 8],
}

/// A configuration: descriptors of reclaim unit handles follow, four bytes each, of which the first is a [`handle_type`].
#[repr(C)]
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FdpConfiguration {
    /// Bytes of the descriptor, with its handles.
    pub bytes: U16,
    /// Bit 7: valid; bit 4: volatile write cache; bits 3:0: bits of a placement identifier that are the reclaim group.
    pub attributes: u8,
    /// Bytes at the end that are the vendor's.
    pub vendor_bytes: u8,
    /// Reclaim groups.
    pub groups: U32,
    /// Reclaim unit handles.
    pub handles: U16,
    /// Placement identifiers that a namespace may have, zero-based.
    pub identifiers_z: U16,
    /// Namespaces that there may be.
    pub namespaces: U32,
    /// Bytes of a reclaim unit.
    pub unit_bytes: U64,
    /// Seconds after which a reclaim unit may be changed for another; 0 = never.
    pub time_limit_s: U32,
    /// Reserved.
    pub reserved28: [u8; 36],
}

/// How far the data of a reclaim unit handle stays apart.
pub mod handle_type {
    /// Collection may put it beside that of others.
    pub const INITIALLY_ISOLATED: u8 = 1;
    /// It stays apart.
    pub const PERSISTENTLY_ISOLATED: u8 = 2;
}

/// Header of Reclaim Unit Handle Usage, LID 21h: eight bytes for each handle follow, of which the first is a [`handle_use`].
#[repr(C)]
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FdpUsage {
    /// Reclaim unit handles.
    pub handles: U16,
    /// Reserved.
    pub reserved2: [u8; 6],
}

/// Who said that a namespace uses a reclaim unit handle.
pub mod handle_use {
    /// No namespace does.
    pub const UNUSED: u8 = 0;
    /// The host, when it created the namespace.
    pub const HOST: u8 = 1;
    /// The controller.
    pub const CONTROLLER: u8 = 2;
}

/// FDP Statistics, LID 22h, 64 bytes.
#[repr(C)]
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FdpStatistics {
    /// Bytes that hosts wrote.
    pub host_bytes: U128,
    /// Bytes that were written to the media, for hosts and by collection.
    pub media_bytes: U128,
    /// Bytes of the media that were erased.
    pub erased_bytes: U128,
    /// Reserved.
    pub reserved48: [u8; 16],
}

/// Header of FDP Events, LID 23h: events follow.
#[repr(C)]
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FdpEvents {
    /// Number of events.
    pub count: U32,
    /// Reserved.
    pub reserved4: [u8; 60],
}

/// An event of data placement, 64 bytes.
#[repr(C)]
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FdpEvent {
    /// What happened: [`fdp_event`].
    pub kind: u8,
    /// Bits 0 to 2: placement identifier, NSID, location are valid.
    pub flags: u8,
    /// Placement identifier.
    pub identifier: U16,
    /// When: a timestamp as of Get Features.
    pub timestamp: [u8; 8],
    /// Namespace.
    pub nsid: U32,
    /// Of the event's type.
    pub specific: [u8; 16],
    /// Reclaim group.
    pub group: U16,
    /// Reclaim unit handle.
    pub handle: u8,
    /// Reserved.
    pub reserved35: [u8; 5],
    /// The vendor's.
    pub vendor: [u8; 24],
}

/// Types of events that are the host's doing.
pub mod fdp_event {
    /// A reclaim unit was changed for another before it was full.
    pub const UNIT_NOT_FULL: u8 = 0x00;
    /// A write named a placement identifier that its namespace does not have.
    pub const INVALID_IDENTIFIER: u8 = 0x03;
    /// All that there are here.
    pub const ALL: [u8; 2] = [UNIT_NOT_FULL, INVALID_IDENTIFIER];
}

/// Header of Reclaim Unit Handle Status (I/O Management Receive, operation 1h): descriptors follow.
#[repr(C)]
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HandleStatusHeader {
    /// Reserved.
    pub reserved0: [u8; 14],
    /// Number of descriptors.
    pub count: U16,
}

/// The status of a reclaim unit handle of a namespace.
#[repr(C)]
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HandleStatus {
    /// Placement identifier.
    pub identifier: U16,
    /// Reclaim unit handle.
    pub handle: U16,
    /// Estimated seconds until the unit is changed; 0 = not told.
    pub time_left_s: U32,
    /// Blocks that its reclaim unit has room for.
    pub blocks_left: U64,
    /// Reserved.
    pub reserved16: [u8; 16],
}

const _: () = {
    assert!(size_of::<FdpConfigurations>() == 16 && size_of::<FdpConfiguration>() == 64);
    assert!(size_of::<FdpUsage>() == 8 && size_of::<FdpStatistics>() == 64);
    assert!(size_of::<FdpEvents>() == 64 && size_of::<FdpEvent>() == 64);
    assert!(size_of::<HandleStatusHeader>() == 16 && size_of::<HandleStatus>() == 32);
};

macro_rules! zeroed {
    ($($name:ident),*) => {
        $(impl Default for $name {
            fn default() -> Self {
                Self::new_zeroed()
            }
        })*
    };
}
zeroed!(
    FdpConfigurations,
    FdpConfiguration,
    FdpUsage,
    FdpStatistics,
    FdpEvents,
    FdpEvent,
    HandleStatusHeader,
    HandleStatus
);

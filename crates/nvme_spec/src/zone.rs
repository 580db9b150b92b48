//! Zoned Namespace Command Set 1.2: zones, and what describes them.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::IDENTIFY_SIZE;

/// The state of a zone, as a report has it (section 2.1.1.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ZoneState(pub u8);

impl ZoneState {
    /// Nothing was written.
    pub const EMPTY: Self = Self(0x1);
    /// A write opened it.
    pub const IMPLICITLY_OPENED: Self = Self(0x2);
    /// The host opened it.
    pub const EXPLICITLY_OPENED: Self = Self(0x3);
    /// It is partly written and not open.
    pub const CLOSED: Self = Self(0x4);
    /// It takes no more writes, and never will.
    pub const READ_ONLY: Self = Self(0xD);
    /// It takes no more writes before it is reset.
    pub const FULL: Self = Self(0xE);
    /// It is of no use any more.
    pub const OFFLINE: Self = Self(0xF);

    /// The state's name in the specification, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EMPTY => "empty",
            Self::IMPLICITLY_OPENED => "implicitly opened",
            Self::EXPLICITLY_OPENED => "explicitly opened",
            Self::CLOSED => "closed",
            Self::READ_ONLY => "read only",
            Self::FULL => "full",
            Self::OFFLINE => "offline",
            _ => "unknown",
        }
    }
}

/// What Zone Management Send does (section 3.4.3; ZSA).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ZoneAction(pub u8);

impl ZoneAction {
    /// Close Zone.
    pub const CLOSE: Self = Self(0x01);
    /// Finish Zone.
    pub const FINISH: Self = Self(0x02);
    /// Open Zone.
    pub const OPEN: Self = Self(0x03);
    /// Reset Zone.
    pub const RESET: Self = Self(0x04);
    /// Offline Zone.
    pub const OFFLINE: Self = Self(0x05);
}

/// Which zones a report lists (section 3.4.2; ZRASF).
pub mod zone_filter {
    use super::ZoneState;

    /// All of them.
    pub const ALL: u8 = 0;

    /// The state of the zones that a filter lets through; `None` if there is no such filter.
    pub const fn state(filter: u8) -> Option<ZoneState> {
        match filter {
            1 => Some(ZoneState::EMPTY),
            2 => Some(ZoneState::IMPLICITLY_OPENED),
            3 => Some(ZoneState::EXPLICITLY_OPENED),
            4 => Some(ZoneState::CLOSED),
            5 => Some(ZoneState::FULL),
            6 => Some(ZoneState::READ_ONLY),
            7 => Some(ZoneState::OFFLINE),
            _ => None,
        }
    }
}

/// Header of a report of zones: descriptors follow.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ZoneReportHeader {
    /// How many zones there are to report.
    pub count: U64,
    /// Reserved.
    pub reserved8: [[u8; 8]; 7],
}

/// A zone in a report.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ZoneDescriptor {
    /// Type: [`Self::SEQUENTIAL`].
    pub kind: u8,
    /// Bits 7:4: its [`ZoneState`].
    pub state: u8,
    /// Attributes: bit 0: the controller finished it.
    pub attributes: u8,
    /// More about the attributes.
    pub information: u8,
    /// Reserved.
    pub reserved4: [u8; 4],
    /// Blocks that can be written.
    pub capacity: U64,
    /// The zone's first block.
    pub start: U64,
    /// The block that is written next; [`Self::NO_POINTER`] of a zone that takes no writes.
    pub write_pointer: U64,
    /// Reserved.
    pub reserved32: [u8; 32],
}

impl ZoneDescriptor {
    /// Sequential write required.
    pub const SEQUENTIAL: u8 = 2;
    /// The controller finished the zone (ZFC).
    pub const FINISHED_BY_CONTROLLER: u8 = 1 << 0;
    /// There is no write pointer.
    pub const NO_POINTER: u64 = u64::MAX;

    /// Its state.
    pub const fn zone_state(&self) -> ZoneState {
        ZoneState(self.state >> 4)
    }
}

/// What an LBA format means for zones.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ZoneFormat {
    /// Blocks of a zone (ZSZE).
    pub blocks: U64,
    /// Size of a descriptor extension, in 64 bytes (ZDES).
    pub extension: u8,
    /// Reserved.
    pub reserved9: [u8; 7],
}

/// Identify Namespace of the Zoned Namespace command set, CNS 05h with CSI 02h (section 4.1.5.1).
#[repr(C)]
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[expect(missing_docs, reason = "the specification's mnemonics, in its order")]
pub struct IdentifyNamespaceZoned {
    pub zoc: U16,
    pub ozcs: U16,
    pub mar_z: U32,
    pub mor_z: U32,
    pub rrl: U32,
    pub frl: U32,
    pub rrl_more: [U32; 3],
    pub frl_more: [U32; 3],
    pub numzrwa: U32,
    pub zrwafg: U16,
    pub zrwasz: U16,
    pub zrwacap: u8,
    pub reserved53: [u8; 2763],
    pub lbafe: [ZoneFormat; 64],
    pub vendor: [u8; 256],
}

/// Identify Controller of the Zoned Namespace command set, CNS 06h with CSI 02h (section 4.1.5.2).
#[repr(C)]
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct IdentifyControllerZoned {
    /// Most bytes that a Zone Append writes, as a power of two of pages; 0 = as any transfer (ZASL).
    pub zasl: u8,
    /// Reserved.
    pub reserved1: [u8; 4095],
}

const _: () = assert!(size_of::<ZoneReportHeader>() == 64);
const _: () = assert!(size_of::<ZoneDescriptor>() == 64);
const _: () = assert!(size_of::<IdentifyNamespaceZoned>() == IDENTIFY_SIZE);
const _: () = assert!(core::mem::offset_of!(IdentifyNamespaceZoned, lbafe) == 2816);
const _: () = assert!(size_of::<IdentifyControllerZoned>() == IDENTIFY_SIZE);

impl Default for IdentifyNamespaceZoned {
    fn default() -> Self {
        Self::new_zeroed()
    }
}

impl Default for IdentifyControllerZoned {
    fn default() -> Self {
        Self::new_zeroed()
    }
}

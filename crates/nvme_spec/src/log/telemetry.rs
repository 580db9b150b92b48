//! Telemetry (Base 2.1, sections 5.1.12.1.8 and 5.1.12.1.9): a snapshot of the drive for whoever looks for what went wrong.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Header of Telemetry Host-Initiated, LID 07h, and Controller-Initiated, LID 08h. Data areas follow, in blocks of [`Self::BLOCK`] bytes; each
/// begins with block 1, and holds what those before it do.
#[repr(C)]
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TelemetryHeader {
    /// Log page identifier.
    pub lid: u8,
    /// Reserved.
    pub reserved1: [u8; 4],
    /// The vendor's IEEE identifier.
    pub ieee: [u8; 3],
    /// The last block of data areas 1 to 3; 0 = there is none.
    pub last_blocks: [U16; 3],
    /// Reserved.
    pub reserved14: [u8; 2],
    /// The last block of data area 4.
    pub last_block_4: U32,
    /// Reserved.
    pub reserved20: [u8; 360],
    /// Whose data it is: 0 = not said, 1 = the controller's, 2 = the subsystem's.
    pub scope: u8,
    /// Goes up with each snapshot that a host asked for.
    pub generation: u8,
    /// The controller has data of its own accord.
    pub is_of_controller: u8,
    /// Goes up with each of those.
    pub controller_generation: u8,
    /// Why the controller made it.
    pub reason: [u8; 128],
}

const _: () = assert!(size_of::<TelemetryHeader>() == 512);

impl TelemetryHeader {
    /// Bytes of a block.
    pub const BLOCK: usize = 512;
    /// Log specific parameter: make a snapshot.
    pub const CREATE: u8 = 1;
}

impl Default for TelemetryHeader {
    fn default() -> Self {
        Self::new_zeroed()
    }
}

/// A part of csdrive's telemetry: a log page as it was, after this.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TelemetrySection {
    /// Identifier of the log page.
    pub lid: u8,
    /// Reserved.
    pub reserved1: [u8; 3],
    /// Bytes of it. The next part begins at the next multiple of 8.
    pub bytes: U32,
}

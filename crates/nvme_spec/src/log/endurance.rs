//! Log pages of how worn and how busy the parts of a drive are.

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Endurance group information, LID 09h, 512 bytes (Base 2.1, section 5.1.12.1.10). Units of data are billions of bytes, rounded up.
#[repr(C)]
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct EnduranceGroupLog {
    /// Critical warning bits.
    pub critical_warning: u8,
    /// Endurance group features.
    pub features: u8,
    /// Reserved.
    pub reserved2: u8,
    /// Available spare, percent.
    pub available_spare: u8,
    /// Available spare threshold, percent.
    pub available_spare_threshold: u8,
    /// Endurance used, percent.
    pub percentage_used: u8,
    /// Domain.
    pub domain: U16,
    /// Reserved.
    pub reserved8: [u8; 24],
    /// Data that can be written over the life of the group.
    pub endurance_estimate: U128,
    /// Data that hosts read.
    pub data_units_read: U128,
    /// Data that hosts wrote.
    pub data_units_written: U128,
    /// Data that was written to the media.
    pub media_units_written: U128,
    /// Host read commands.
    pub host_reads: U128,
    /// Host write commands.
    pub host_writes: U128,
    /// Media and data integrity errors.
    pub media_errors: U128,
    /// Error information log entries.
    pub error_log_entries: U128,
    /// Bytes of the group.
    pub total_capacity: U128,
    /// Bytes of it that no namespace has.
    pub unallocated_capacity: U128,
    /// Reserved.
    pub reserved192: [u8; 320],
}

const _: () = assert!(size_of::<EnduranceGroupLog>() == 512);
const _: () = assert!(core::mem::offset_of!(EnduranceGroupLog, endurance_estimate) == 32);
const _: () = assert!(core::mem::offset_of!(EnduranceGroupLog, unallocated_capacity) == 176);

impl Default for EnduranceGroupLog {
    fn default() -> Self {
        Self::new_zeroed()
    }
}

/// Parts of a drive, LID C5h (vendor): this header, 48 bytes, and then 64-bit numbers: the time in nanoseconds since the drive was made in which
/// each channel moved pages, then each die worked, then each unit ran jobs.
#[repr(C)]
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct DriveParts {
    /// Version of the layout: 1.
    pub version: U32,
    /// Bytes of the header.
    pub bytes: U32,
    /// The drive's time when it was read, in nanoseconds.
    pub now_ns: U64,
    /// Channels of the flash.
    pub channels: U32,
    /// Dies of the flash.
    pub dies: U32,
    /// Compute units.
    pub units: U32,
    /// How often the block was erased that was erased most.
    pub erases_max: U32,
    /// Blocks of the flash.
    pub blocks: U64,
    /// Erases of all blocks, over the life of the flash.
    pub erases: U64,
}

const _: () = assert!(size_of::<DriveParts>() == 48);

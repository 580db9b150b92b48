//! Log pages (Base 2.1, section 5.1.12).

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Log page identifiers.
pub mod lid {
    /// Error information.
    pub const ERROR: u8 = 0x01;
    /// SMART / health information.
    pub const SMART: u8 = 0x02;
    /// Commands supported and effects.
    pub const EFFECTS: u8 = 0x05;
    /// Program list.
    pub const PROGRAM_LIST: u8 = 0x82;
    /// Vendor: why the last program was refused or stopped, as text.
    pub const PROGRAM_DIAGNOSTICS: u8 = 0xC0;
    /// Vendor: text printed by programs with the trace helper.
    pub const PROGRAM_TRACE: u8 = 0xC1;
}

/// SMART / health information, LID 02h, 512 bytes (Base 2.1, Figure 206).
#[repr(C)]
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SmartLog {
    /// Critical warning bits.
    pub critical_warning: u8,
    /// Composite temperature, kelvin.
    pub temperature_k: U16,
    /// Available spare, percent.
    pub available_spare: u8,
    /// Available spare threshold, percent.
    pub available_spare_threshold: u8,
    /// Endurance used, percent.
    pub percentage_used: u8,
    /// Endurance group critical warning summary.
    pub endurance_group_warning: u8,
    /// Reserved.
    pub reserved7: [u8; 25],
    /// Thousands of 512-byte units read by the host, rounded up.
    pub data_units_read: U128,
    /// Thousands of 512-byte units written by the host, rounded up.
    pub data_units_written: U128,
    /// Host read commands.
    pub host_reads: U128,
    /// Host write commands.
    pub host_writes: U128,
    /// Minutes the controller was busy.
    pub controller_busy_minutes: U128,
    /// Power cycles.
    pub power_cycles: U128,
    /// Power on hours.
    pub power_on_hours: U128,
    /// Unsafe shutdowns.
    pub unsafe_shutdowns: U128,
    /// Media and data integrity errors.
    pub media_errors: U128,
    /// Error information log entries over the life of the controller.
    pub error_log_entries: U128,
    /// Minutes above the warning temperature.
    pub warning_temperature_minutes: U32,
    /// Minutes above the critical temperature.
    pub critical_temperature_minutes: U32,
    /// Temperature sensors, thermal management counters, reserved.
    pub reserved200: [u8; 312],
}

const _: () = assert!(size_of::<SmartLog>() == 512);
const _: () = assert!(core::mem::offset_of!(SmartLog, data_units_read) == 32);
const _: () = assert!(core::mem::offset_of!(SmartLog, error_log_entries) == 176);

impl Default for SmartLog {
    fn default() -> Self {
        Self::new_zeroed()
    }
}

/// Error information log entry, 64 bytes (Base 2.1, Figure 205).
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ErrorLogEntry {
    /// Running number of this error, from 1; 0 = the entry is not in use.
    pub error_count: U64,
    /// Submission queue of the command.
    pub sqid: U16,
    /// Command identifier.
    pub cid: U16,
    /// Status field with the phase tag in bit 0.
    pub status_phase: U16,
    /// Byte (7:0) and bit (10:8) of the first invalid parameter.
    pub parameter_location: U16,
    /// First block that failed.
    pub lba: U64,
    /// Namespace.
    pub nsid: U32,
    /// Vendor specific log page with more, 0 = none.
    pub vendor_log: u8,
    /// Transport type.
    pub trtype: u8,
    /// Command set of the command.
    pub csi: u8,
    /// Opcode of the command.
    pub opcode: u8,
    /// Command specific information.
    pub command_specific: U64,
    /// Transport specific, reserved and version.
    pub reserved40: [u8; 24],
}

const _: () = assert!(size_of::<ErrorLogEntry>() == 64);
const _: () = assert!(core::mem::offset_of!(ErrorLogEntry, nsid) == 24);

impl Default for ErrorLogEntry {
    fn default() -> Self {
        Self::new_zeroed()
    }
}

/// Commands supported and effects, LID 05h, 4096 bytes (Base 2.1, Figure 210).
#[repr(C)]
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct EffectsLog {
    /// Admin commands by opcode.
    pub admin: [U32; 256],
    /// I/O commands of the requested command set by opcode.
    pub io: [U32; 256],
    /// Reserved.
    pub reserved2048: [u8; 2048],
}

const _: () = assert!(size_of::<EffectsLog>() == 4096);

impl EffectsLog {
    /// CSUPP: the command is supported.
    pub const SUPPORTED: u32 = 1 << 0;
    /// LBCC: the command may change logical block contents.
    pub const CHANGES_CONTENT: u32 = 1 << 1;
}

impl Default for EffectsLog {
    fn default() -> Self {
        Self::new_zeroed()
    }
}

/// Program list header, LID 82h, 64 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ProgramListHeader {
    /// Number of descriptors that follow.
    pub numd: U32,
    /// Reserved.
    pub reserved4: [u8; 60],
}

const _: () = assert!(size_of::<ProgramListHeader>() == 64);

/// Program descriptor, 64 bytes; the position in the list is the program index.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ProgramDescriptor {
    /// PEOCC (bits 1:0): 0 empty, 1 downloaded, 2 device-defined; ACT (bit 2); PIT (bits 5:3).
    pub state: u8,
    /// Program type.
    pub ptype: u8,
    /// Reserved.
    pub reserved2: [u8; 6],
    /// Program identifier.
    pub pid: U64,
    /// Reserved.
    pub reserved16: [u8; 48],
}

const _: () = assert!(size_of::<ProgramDescriptor>() == 64);

impl Default for ProgramDescriptor {
    fn default() -> Self {
        Self::new_zeroed()
    }
}

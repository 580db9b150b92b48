//! Log pages (Base 2.1, section 5.1.12).

mod background;
mod counters;
mod endurance;
mod peers;
mod placement;
mod program;
mod reachability;
mod telemetry;

pub use background::*;
pub use counters::*;
pub use endurance::*;
pub use peers::*;
pub use placement::*;
pub use program::*;
pub use reachability::*;
pub use telemetry::*;

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Log page identifiers (Base 2.1, Figure 203).
pub mod lid {
    /// Supported log pages.
    pub const SUPPORTED_PAGES: u8 = 0x00;
    /// Error information.
    pub const ERROR: u8 = 0x01;
    /// SMART / health information.
    pub const SMART: u8 = 0x02;
    /// Firmware slot information.
    pub const FIRMWARE_SLOT: u8 = 0x03;
    /// Changed attached namespace list.
    pub const CHANGED_NAMESPACES: u8 = 0x04;
    /// Commands supported and effects.
    pub const EFFECTS: u8 = 0x05;
    /// Device self-test.
    pub const SELF_TEST: u8 = 0x06;
    /// Telemetry that a host asked for.
    pub const TELEMETRY_HOST: u8 = 0x07;
    /// Telemetry of the controller's own accord: none here.
    pub const TELEMETRY_CONTROLLER: u8 = 0x08;
    /// Endurance group information.
    pub const ENDURANCE_GROUP: u8 = 0x09;
    /// Feature identifiers supported and effects.
    pub const FEATURE_EFFECTS: u8 = 0x12;
    /// Management interface commands supported and effects: none here.
    pub const MANAGEMENT_EFFECTS: u8 = 0x13;
    /// Reachability groups.
    pub const REACHABILITY_GROUPS: u8 = 0x1A;
    /// Reachability associations.
    pub const REACHABILITY_ASSOCIATIONS: u8 = 0x1B;
    /// FDP configurations.
    pub const FDP_CONFIGURATIONS: u8 = 0x20;
    /// Reclaim unit handle usage.
    pub const FDP_USAGE: u8 = 0x21;
    /// FDP statistics.
    pub const FDP_STATISTICS: u8 = 0x22;
    /// FDP events.
    pub const FDP_EVENTS: u8 = 0x23;
    /// Sanitize status.
    pub const SANITIZE_STATUS: u8 = 0x81;
    /// Program list.
    pub const PROGRAM_LIST: u8 = 0x82;
    /// Downloadable program types list.
    pub const PROGRAM_TYPES: u8 = 0x83;
    /// Memory range set list.
    pub const RANGE_SETS: u8 = 0x84;
    /// Vendor: why the last program was refused or stopped, as text.
    pub const PROGRAM_DIAGNOSTICS: u8 = 0xC0;
    /// Vendor: text printed by programs with the trace helper.
    pub const PROGRAM_TRACE: u8 = 0xC1;
    /// Vendor: job groups, and what their jobs did.
    pub const JOB_GROUPS: u8 = 0xC2;
    /// Vendor: what the drive counted.
    pub const DRIVE_COUNTERS: u8 = 0xC3;
    /// Vendor: other drives whose device memory the drive reaches.
    pub const PEERS: u8 = 0xC4;
    /// Vendor: how busy and how worn the parts of the drive are.
    pub const DRIVE_PARTS: u8 = 0xC5;

    /// Those of Flexible Data Placement: only drives that have it have them.
    pub const PLACEMENT: [u8; 4] = [FDP_CONFIGURATIONS, FDP_USAGE, FDP_STATISTICS, FDP_EVENTS];

    /// Every other identifier named here, ascending.
    pub const ALL: &[u8] = &[
        SUPPORTED_PAGES,
        ERROR,
        SMART,
        FIRMWARE_SLOT,
        CHANGED_NAMESPACES,
        EFFECTS,
        SELF_TEST,
        TELEMETRY_HOST,
        TELEMETRY_CONTROLLER,
        ENDURANCE_GROUP,
        FEATURE_EFFECTS,
        MANAGEMENT_EFFECTS,
        REACHABILITY_GROUPS,
        REACHABILITY_ASSOCIATIONS,
        SANITIZE_STATUS,
        PROGRAM_LIST,
        PROGRAM_TYPES,
        RANGE_SETS,
        PROGRAM_DIAGNOSTICS,
        PROGRAM_TRACE,
        JOB_GROUPS,
        DRIVE_COUNTERS,
        PEERS,
        DRIVE_PARTS,
    ];
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

/// Supported log pages, LID 00h, 1024 bytes: one dword a page; bit 0 supported, bit 1 index offset
/// supported (Base 2.1, Figure 204).
pub type SupportedPagesLog = [U32; 256];

/// Firmware slot information, LID 03h, 512 bytes (Base 2.1, Figure 208).
#[repr(C)]
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FirmwareSlotLog {
    /// Active slot (bits 2:0), slot active after the next reset (bits 6:4).
    pub afi: u8,
    /// Reserved.
    pub reserved1: [u8; 7],
    /// Revision in each slot.
    pub frs: [[u8; 8]; 7],
    /// Reserved.
    pub reserved64: [u8; 448],
}

const _: () = assert!(size_of::<FirmwareSlotLog>() == 512);
const _: () = assert!(core::mem::offset_of!(FirmwareSlotLog, frs) == 8);

impl Default for FirmwareSlotLog {
    fn default() -> Self {
        Self::new_zeroed()
    }
}

/// Changed attached namespace list, LID 04h, 4096 bytes: ascending identifiers, zero-filled.
pub type ChangedNamespacesLog = [U32; 1024];

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
    /// NCC: the command may change capabilities of a namespace.
    pub const CHANGES_NAMESPACE: u32 = 1 << 2;
    /// NIC: the command may change the number of namespaces, or which are attached.
    pub const CHANGES_INVENTORY: u32 = 1 << 3;
    /// CCC: the command may change capabilities of the controller.
    pub const CHANGES_CONTROLLER: u32 = 1 << 4;
    /// CSE = 1: no other command should be outstanding for the namespace.
    pub const EXCLUSIVE_IN_NAMESPACE: u32 = 1 << 16;
    /// CSE = 2: no other command should be outstanding for any namespace.
    pub const EXCLUSIVE: u32 = 2 << 16;
    /// CSP: the command acts on a namespace.
    pub const SCOPE_NAMESPACE: u32 = 1 << 20;
    /// CSP: the command acts on the controller.
    pub const SCOPE_CONTROLLER: u32 = 1 << 21;
    /// CSP: the command acts on the NVM subsystem.
    pub const SCOPE_SUBSYSTEM: u32 = 1 << 25;
}

/// Feature identifiers supported and effects, LID 12h, 1024 bytes: one dword a feature, with the
/// bits of [`EffectsLog`] (Base 2.1, Figure 269).
pub type FeatureEffectsLog = [U32; 256];

impl Default for EffectsLog {
    fn default() -> Self {
        Self::new_zeroed()
    }
}

//! Features (Base 2.1, section 5.1.25; NVM Command Set 1.2, section 4.1.3).

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Feature identifiers (Base 2.1, Figure 386).
pub mod fid {
    /// Arbitration.
    pub const ARBITRATION: u8 = 0x01;
    /// Power management.
    pub const POWER_MANAGEMENT: u8 = 0x02;
    /// Temperature threshold.
    pub const TEMPERATURE_THRESHOLD: u8 = 0x04;
    /// Error recovery.
    pub const ERROR_RECOVERY: u8 = 0x05;
    /// Volatile write cache.
    pub const VOLATILE_WRITE_CACHE: u8 = 0x06;
    /// Number of queues.
    pub const NUMBER_OF_QUEUES: u8 = 0x07;
    /// Interrupt coalescing.
    pub const INTERRUPT_COALESCING: u8 = 0x08;
    /// Interrupt vector configuration.
    pub const INTERRUPT_VECTOR: u8 = 0x09;
    /// Write atomicity normal.
    pub const WRITE_ATOMICITY: u8 = 0x0A;
    /// Asynchronous event configuration.
    pub const ASYNC_EVENTS: u8 = 0x0B;
    /// Timestamp.
    pub const TIMESTAMP: u8 = 0x0E;
    /// Keep alive timer.
    pub const KEEP_ALIVE: u8 = 0x0F;
    /// Host behavior support.
    pub const HOST_BEHAVIOR: u8 = 0x16;
    /// I/O command set profile.
    pub const COMMAND_SET_PROFILE: u8 = 0x19;
    /// Flexible Data Placement.
    pub const PLACEMENT: u8 = 0x1D;
    /// Events of Flexible Data Placement.
    pub const PLACEMENT_EVENTS: u8 = 0x1E;
    /// Namespace write protection configuration.
    pub const WRITE_PROTECTION: u8 = 0x84;
    /// Vendor: copy descriptor formats that are enabled, as in Host Behavior Support.
    pub const COPY_FORMATS: u8 = 0xC0;

    /// Those of Flexible Data Placement: only drives that have it have them.
    pub const OF_PLACEMENT: [u8; 2] = [PLACEMENT, PLACEMENT_EVENTS];

    /// Every other identifier named here, ascending.
    pub const ALL: &[u8] = &[
        ARBITRATION,
        POWER_MANAGEMENT,
        TEMPERATURE_THRESHOLD,
        ERROR_RECOVERY,
        VOLATILE_WRITE_CACHE,
        NUMBER_OF_QUEUES,
        INTERRUPT_COALESCING,
        INTERRUPT_VECTOR,
        WRITE_ATOMICITY,
        ASYNC_EVENTS,
        TIMESTAMP,
        KEEP_ALIVE,
        HOST_BEHAVIOR,
        COMMAND_SET_PROFILE,
        WRITE_PROTECTION,
        COPY_FORMATS,
    ];
}

/// What Get Features selects (Base 2.1, Figure 196).
pub mod select {
    /// Value in force.
    pub const CURRENT: u8 = 0;
    /// Factory value.
    pub const DEFAULT: u8 = 1;
    /// Value that a reset restores.
    pub const SAVED: u8 = 2;
    /// Bits: 0 saveable, 1 namespace specific, 2 changeable.
    pub const CAPABILITIES: u8 = 3;
}

/// Arbitration (Base 2.1, Figure 387).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Arbitration {
    /// Burst as a power of two; 7 = no limit.
    #[bits(3)]
    pub ab: u8,
    #[bits(5)]
    __: u8,
    /// Low priority weight, zero-based.
    pub lpw_z: u8,
    /// Medium priority weight, zero-based.
    pub mpw_z: u8,
    /// High priority weight, zero-based.
    pub hpw_z: u8,
}

/// Temperature threshold (Base 2.1, Figure 391).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct TemperatureThreshold {
    /// Threshold, kelvin.
    pub tmpth: u16,
    /// Sensor: 0 composite, Fh all.
    #[bits(4)]
    pub tmpsel: u8,
    /// 0 over, 1 under temperature.
    #[bits(2)]
    pub thsel: u8,
    /// Hysteresis.
    #[bits(3)]
    pub tmpthh: u8,
    #[bits(7)]
    __: u8,
}

/// Error recovery (NVM Command Set 1.2, Figure 96).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ErrorRecovery {
    /// Time limited error recovery, 100 ms units.
    pub tler: u16,
    /// Reads of deallocated or unwritten blocks are errors.
    pub dulbe: bool,
    #[bits(15)]
    __: u16,
}

/// Interrupt coalescing (Base 2.1, Figure 397).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct InterruptCoalescing {
    /// Completions that raise an interrupt at once, zero-based.
    pub thr_z: u8,
    /// Longest delay, 100 us units; 0 = none.
    pub time: u8,
    #[bits(16)]
    __: u16,
}

/// Interrupt vector configuration (Base 2.1, Figure 398).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct InterruptVector {
    /// Interrupt vector.
    pub iv: u16,
    /// Coalescing disabled.
    pub cd: bool,
    #[bits(15)]
    __: u16,
}

/// Asynchronous event configuration (Base 2.1, Figure 399).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct AsyncEvents {
    /// SMART critical warnings, the bits of the log's first byte.
    pub smart: u8,
    /// Namespace attribute notices.
    pub namespace_attributes: bool,
    #[bits(23)]
    __: u32,
}

/// Host behavior support, 512 bytes (Base 2.1, Figure 413).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[expect(missing_docs, reason = "the specification's mnemonics, in its order")]
pub struct HostBehavior {
    pub acre: u8,
    pub etdas: u8,
    pub lbafee: u8,
    pub hdisns: u8,
    pub cdfe: U16,
    pub reserved6: [u8; 506],
}

const _: () = assert!(size_of::<HostBehavior>() == 512);
const _: () = assert!(core::mem::offset_of!(HostBehavior, cdfe) == 4);

impl Default for HostBehavior {
    fn default() -> Self {
        Self::new_zeroed()
    }
}

/// Timestamp, 8 bytes (Base 2.1, Figure 403).
#[repr(C)]
#[derive(
    Clone, Copy, Default, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Timestamp {
    /// Milliseconds, low 32 of 48 bits.
    pub low: U32,
    /// Milliseconds, high 16 of 48 bits.
    pub high: U16,
    /// Bit 0: the clock may have stopped; bits 3:1 origin: 0 reset, 1 set by a host.
    pub attributes: u8,
    /// Reserved.
    pub reserved7: u8,
}

const _: () = assert!(size_of::<Timestamp>() == 8);

impl Timestamp {
    /// Milliseconds as one value.
    pub fn ms(&self) -> u64 {
        u64::from(self.high.get()) << 32 | u64::from(self.low.get())
    }

    /// A timestamp of the low 48 bits of `ms`.
    pub fn new(ms: u64, origin: u8) -> Self {
        let (low, high) = ((ms as u32).into(), ((ms >> 32) as u16).into());
        Self { low, high, attributes: (origin & 7) << 1, reserved7: 0 }
    }
}

/// What a completed Asynchronous Event Request says (Base 2.1, Figures 152 to 157).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct AsyncEvent {
    /// Type.
    #[bits(3)]
    pub event_type: u8,
    #[bits(5)]
    __: u8,
    /// Information.
    pub information: u8,
    /// Log page that tells more and whose reading clears the event.
    pub lid: u8,
    __: u8,
}

/// Types of asynchronous events (Base 2.1, Figure 152).
pub mod event_type {
    /// Error: 0 invalid doorbell register, 1 invalid doorbell value.
    pub const ERROR: u8 = 0;
    /// SMART / health: 1 temperature threshold.
    pub const SMART: u8 = 1;
    /// Notice: 0 namespace attribute changed.
    pub const NOTICE: u8 = 2;
    /// I/O command set specific: 1 sanitize operation completed.
    pub const COMMAND_SET: u8 = 6;
}

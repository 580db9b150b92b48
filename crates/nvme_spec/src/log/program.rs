//! Log pages of the compute namespace.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

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

/// Downloadable program types list header, LID 83h, 32 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ProgramTypesHeader {
    /// Number of descriptors that follow.
    pub numd: U32,
    /// Reserved.
    pub reserved4: [u8; 28],
}

const _: () = assert!(size_of::<ProgramTypesHeader>() == 32);

/// Downloadable program type, 32 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ProgramTypeDescriptor {
    /// Program type.
    pub ptype: u8,
    /// Version of the type.
    pub version: u8,
    /// Reserved.
    pub reserved2: [u8; 6],
    /// Type specific. Ours: the name, ASCII, zero-filled.
    pub specific: [u8; 24],
}

const _: () = assert!(size_of::<ProgramTypeDescriptor>() == 32);

/// Memory range set list header, LID 84h, 16 bytes. The public material gives no layout: this one
/// is ours, see `docs/conformance.md`.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RangeSetsHeader {
    /// Number of sets that follow.
    pub sets: U32,
    /// Reserved.
    pub reserved4: [u8; 12],
}

const _: () = assert!(size_of::<RangeSetsHeader>() == 16);

/// A memory range set, 16 bytes, before its memory range descriptors of 32 bytes each.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RangeSetEntry {
    /// Identifier.
    pub rsid: U16,
    /// Bit 0: an execution uses it.
    pub state: u8,
    /// Number of ranges that follow.
    pub numr: u8,
    /// Reserved.
    pub reserved4: [u8; 12],
}

const _: () = assert!(size_of::<RangeSetEntry>() == 16);

/// Job groups header, LID C2h (vendor), 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct JobGroupsHeader {
    /// Number of groups that follow.
    pub groups: U32,
    /// Bytes of each.
    pub entry_bytes: U32,
    /// Reserved.
    pub reserved8: [u8; 8],
}

const _: () = assert!(size_of::<JobGroupsHeader>() == 16);

/// A job group, 72 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct JobGroupEntry {
    /// Identifier; 0 = the jobs of no group.
    pub id: U16,
    /// Weight.
    pub weight: U16,
    /// Jobs that run or wait.
    pub jobs: U32,
    /// Jobs that finished.
    pub finished: U64,
    /// Unit time that its jobs had, in nanoseconds.
    pub ran_ns: U64,
    /// Jobs that finished after their deadline.
    pub missed: U64,
    /// Its jobs are to be finished so many microseconds after they were submitted; 0 = no deadline.
    pub deadline_us: U32,
    /// Priority, 1 to 9.
    pub priority: u8,
    /// Reserved.
    pub reserved37: u8,
    /// Most of its jobs on units at a time; 0 = no limit.
    pub units_max: U16,
    /// Kilobytes (1000 bytes) per second that its jobs may load and store; 0 = no limit.
    pub bandwidth_kbps: U32,
    /// Reserved.
    pub reserved44: [u8; 4],
    /// Units that its jobs may use, a bit for each; 0 = any.
    pub unit_mask: U64,
    /// Time that its limits kept its jobs from the scheduler, of all jobs together, in nanoseconds.
    pub throttled_ns: U64,
    /// Jobs that finished within their deadline.
    pub met: U64,
}

const _: () = assert!(size_of::<JobGroupEntry>() == 72);

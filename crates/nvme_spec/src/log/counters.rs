//! Vendor log: what a drive counted.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Drive counters, LID C3h (vendor), 240 bytes. All counts are since the drive was made; rates and shares come of two readings.
#[repr(C)]
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct DriveCounters {
    /// Version of the layout: 1. Later versions add fields at the end.
    pub version: U32,
    /// Bytes of the log page.
    pub bytes: U32,
    /// The drive's time when it was read, in nanoseconds.
    pub now_ns: U64,
    /// Compute units.
    pub units: U32,
    /// Channels of the flash.
    pub channels: U32,
    /// Dies of the flash.
    pub dies: U32,
    /// Bytes of a page, as the map knows it (indirection unit): what the counts of pages are in.
    pub page_bytes: U32,
    /// Bytes per second of the host link, each direction; 0 = no limit.
    pub link_bytes_per_s: U64,
    /// Time that units ran jobs, all together, in nanoseconds.
    pub units_busy_ns: U64,
    /// Time that channels moved pages, all together, in nanoseconds.
    pub channels_busy_ns: U64,
    /// Time that dies read, programmed or erased, all together, in nanoseconds.
    pub dies_busy_ns: U64,
    /// Data bytes over the host link to the host.
    pub bytes_to_host: U64,
    /// Data bytes over the host link from the host.
    pub bytes_from_host: U64,
    /// Bytes into and within device memory.
    pub bytes_internal: U64,
    /// Bytes that hosts wrote to blocks.
    pub host_bytes_written: U64,
    /// Flash pages read for hosts.
    pub flash_reads: U64,
    /// Flash pages read to complete parts of pages.
    pub modify_reads: U64,
    /// Flash pages read by garbage collection.
    pub gc_reads: U64,
    /// Flash pages programmed for hosts.
    pub flash_programs: U64,
    /// Flash pages programmed by garbage collection.
    pub gc_programs: U64,
    /// Blocks of flash that were erased.
    pub erases: U64,
    /// Commands completed.
    pub commands: U64,
    /// Completions that left later than their modelled time plus the tolerance. None in virtual time.
    pub late: U64,
    /// The tolerance, in nanoseconds.
    pub late_tolerance_ns: U64,
    /// Sum of the delays of the late ones, in nanoseconds.
    pub late_sum_ns: U64,
    /// The longest delay, in nanoseconds.
    pub late_max_ns: U64,
    /// Bytes of device memory that other drives copied from this one, not over the link of the host.
    pub bytes_to_peers: U64,
    /// Bytes that this drive copied from the device memory of others.
    pub bytes_from_peers: U64,
    /// Time in which data went over the host link to the host or to other drives, in nanoseconds.
    pub link_out_busy_ns: U64,
    /// Time in which data came over it from the host or from other drives, in nanoseconds.
    pub link_in_busy_ns: U64,
    /// Of all pages programmed, those that there was nothing for: a program operation was not full.
    pub padding_programs: U64,
    /// Reads of flash that were tried again.
    pub read_retries: U64,
    /// What the bytes of the flash lie in: 0 = memory, 1 = a file, 2 = a file in persistent memory that is mapped, 3 = the same, and what is
    /// stored there is durable at once (`MAP_SYNC`).
    pub backend: U32,
    /// 0.
    pub reserved: U32,
}

const _: () = assert!(size_of::<DriveCounters>() == 240);

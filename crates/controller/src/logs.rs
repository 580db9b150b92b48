//! The counters and entries behind the log pages of the subsystem.

use std::collections::VecDeque;

use nvme_spec::{CommandSet, ErrorLogEntry, SmartLog, SqId, Status, lid};
use simtime::Instant;
use ssd::Spare;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::features::TEMPERATURE_K;
use crate::inflight::{HostData, Kind, Token};
use crate::limits::ERROR_LOG_ENTRIES;

/// Spare blocks, in per cent, below which a host is warned.
pub(crate) const SPARE_THRESHOLD: u8 = 10;

/// A snapshot of log pages.
#[derive(Clone, Debug, Default)]
pub(crate) struct Telemetry {
    /// The log page, with its header; empty before the first.
    pub(crate) page: Vec<u8>,
    pub(crate) generation: u8,
}

/// How the flash is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Health {
    pub(crate) media_errors: u64,
    pub(crate) percentage_used: u8,
    pub(crate) spare: Spare,
}

/// Hours of virtual time.
pub(crate) fn power_on_hours(now: Instant) -> u64 {
    now.as_ns() / 3_600_000_000_000
}

/// Nanoseconds of a minute.
const MINUTE_NS: u64 = 60_000_000_000;

/// What is counted over the life of a drive, as its store keeps it.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct LifeCounters {
    bytes_read: U64,
    bytes_written: U64,
    reads: U64,
    writes: U64,
    busy_ns: U64,
    on_ns: U64,
    power_losses: U64,
    unsafe_shutdowns: U64,
    error_count: U64,
}

/// What the log pages report.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    /// What a host asked to be kept of the drive as it was.
    pub(crate) telemetry: Telemetry,
    pub(crate) commands: u64,
    bytes_read: u64,
    bytes_written: u64,
    reads: u64,
    writes: u64,
    /// I/O commands in flight, since when there are any, and how long there were before.
    io_in_flight: u32,
    busy_since: Instant,
    busy_ns: u64,
    /// Losses of power, and those of them without a shutdown before.
    power_losses: u64,
    unsafe_shutdowns: u64,
    pub(crate) errors: VecDeque<ErrorLogEntry>,
    error_count: u64,
    /// How long it was on before it was switched on last.
    on_ns: u64,
}

impl Logs {
    /// The counters of a drive that is switched on again.
    pub(crate) fn switched_on(saved: &LifeCounters, was_shut_down: bool) -> Self {
        let mut logs = Self {
            bytes_read: saved.bytes_read.get(),
            bytes_written: saved.bytes_written.get(),
            reads: saved.reads.get(),
            writes: saved.writes.get(),
            busy_ns: saved.busy_ns.get(),
            on_ns: saved.on_ns.get(),
            power_losses: saved.power_losses.get(),
            unsafe_shutdowns: saved.unsafe_shutdowns.get(),
            error_count: saved.error_count.get(),
            ..Self::default()
        };
        logs.power_lost(was_shut_down);
        logs
    }

    /// What is kept for the next time.
    pub(crate) fn life(&self, now: Instant) -> LifeCounters {
        LifeCounters {
            bytes_read: self.bytes_read.into(),
            bytes_written: self.bytes_written.into(),
            reads: self.reads.into(),
            writes: self.writes.into(),
            busy_ns: self.busy_ns.into(),
            on_ns: self.on_ns.saturating_add(now.as_ns()).into(),
            power_losses: self.power_losses.into(),
            unsafe_shutdowns: self.unsafe_shutdowns.into(),
            error_count: self.error_count.into(),
        }
    }

    /// A command was taken from its queue.
    #[inline]
    pub(crate) fn began(&mut self, now: Instant, sqid: SqId) {
        if !sqid.is_admin() {
            if self.io_in_flight == 0 {
                self.busy_since = now;
            }
            self.io_in_flight += 1;
        }
    }

    /// A command ended, or a reset forgot it.
    #[inline]
    pub(crate) fn ended(&mut self, now: Instant, sqid: SqId) {
        if !sqid.is_admin() {
            self.io_in_flight -= 1;
            if self.io_in_flight == 0 {
                self.busy_ns += now.since(self.busy_since).as_ns();
            }
        }
    }

    /// Counts a finished command, and its data if it succeeded. False if it failed: then its error is to be logged.
    #[inline]
    pub(crate) fn count(&mut self, status: Status, counts: HostData) -> bool {
        self.commands += 1;
        if status.is_success() {
            self.count_data(counts);
        }
        status.is_success()
    }

    /// Counts the data of a command, or of a step of one, that succeeded.
    #[inline]
    pub(crate) fn count_data(&mut self, counts: HostData) {
        match counts {
            HostData::None => {}
            HostData::Read(bytes) => {
                self.reads += 1;
                self.bytes_read += u64::from(bytes);
            }
            HostData::Verified(bytes) => self.bytes_read += u64::from(bytes),
            HostData::Written(bytes) => {
                self.writes += 1;
                self.bytes_written += u64::from(bytes);
            }
        }
    }

    /// Logs the error of a command, newest first; `set` is the command set of an I/O command.
    #[cold]
    pub(crate) fn log_error(&mut self, token: &Token, kind: Kind, status: Status, set: CommandSet) {
        let has_text = status.is_program_fault() || status.same_code(Status::INVALID_PROGRAM_DATA);
        self.push_error(ErrorLogEntry {
            sqid: token.sqid.0.into(),
            cid: token.cid.0.into(),
            status_phase: (status.bits() << 1).into(),
            nsid: kind.nsid.0.into(),
            vendor_log: if has_text { lid::PROGRAM_DIAGNOSTICS } else { 0 },
            csi: if token.sqid.is_admin() { 0 } else { set.0 },
            opcode: kind.opcode,
            ..Default::default()
        });
    }

    /// Logs a doorbell that was written wrongly.
    #[cold]
    pub(crate) fn log_doorbell(&mut self, qid: u16, status: Status) {
        self.push_error(ErrorLogEntry {
            sqid: qid.into(),
            cid: u16::MAX.into(),
            status_phase: (status.bits() << 1).into(),
            ..Default::default()
        });
    }

    /// Logs what stopped the controller.
    pub(crate) fn log_fatal(&mut self, status: Status) {
        self.log_doorbell(u16::MAX, status);
    }

    fn push_error(&mut self, entry: ErrorLogEntry) {
        self.error_count += 1;
        self.errors.push_front(ErrorLogEntry {
            error_count: self.error_count.into(),
            // No particular parameter is blamed (Base 2.1, Figure 205).
            parameter_location: u16::MAX.into(),
            ..entry
        });
        self.errors.truncate(ERROR_LOG_ENTRIES);
    }

    /// Hours that it was on, all its life.
    fn on_hours(&self, now: Instant) -> u64 {
        power_on_hours(Instant::from_ns(now.as_ns().saturating_add(self.on_ns)))
    }

    /// The power went.
    pub(crate) fn power_lost(&mut self, was_shut_down: bool) {
        self.power_losses = self.power_losses.saturating_add(1);
        self.unsafe_shutdowns += u64::from(!was_shut_down);
        self.errors.clear();
    }

    /// Bytes that hosts read.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Bytes that hosts wrote.
    pub(crate) fn bytes_written(&self) -> u64 {
        self.bytes_written
    }

    /// SMART log.
    pub(crate) fn smart(
        &self,
        now: Instant,
        is_hot: bool,
        Health { media_errors, percentage_used, spare }: Health,
    ) -> SmartLog {
        // Thousands of 512-byte units, rounded up (Base 2.1, Figure 206).
        let units = |bytes: u64| u128::from(bytes.div_ceil(512 * 1000)).into();
        let busy_now = if self.io_in_flight > 0 { now.since(self.busy_since).as_ns() } else { 0 };
        let busy_minutes = (self.busy_ns + busy_now) / MINUTE_NS;
        SmartLog {
            critical_warning: u8::from(spare.percent() < SPARE_THRESHOLD)
                | u8::from(is_hot) << 1
                | u8::from(spare.is_worn_out) << 3,
            temperature_k: TEMPERATURE_K.into(),
            available_spare: spare.percent(),
            available_spare_threshold: SPARE_THRESHOLD,
            percentage_used,
            data_units_read: units(self.bytes_read),
            data_units_written: units(self.bytes_written),
            host_reads: u128::from(self.reads).into(),
            host_writes: u128::from(self.writes).into(),
            controller_busy_minutes: u128::from(busy_minutes).into(),
            power_cycles: u128::from(1 + self.power_losses).into(),
            unsafe_shutdowns: u128::from(self.unsafe_shutdowns).into(),
            media_errors: u128::from(media_errors).into(),
            power_on_hours: u128::from(self.on_hours(now)).into(),
            error_log_entries: u128::from(self.error_count).into(),
            ..Default::default()
        }
    }
}

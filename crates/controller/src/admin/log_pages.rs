//! Log pages (Base 2.1, section 5.1.12) and the counters behind them.

mod effects;
mod programs;
mod reachability;

pub(crate) use reachability::group_of;

use std::collections::VecDeque;

use nvme_spec::{
    ChangedNamespacesLog, CommandSet, ErrorLogEntry, FirmwareSlotLog, Nsid, SmartLog, SqId, Status,
    SupportedPagesLog, lid,
};
use simtime::Instant;
use zerocopy::{FromZeros, IntoBytes};

use crate::admin::background::power_on_hours;
use crate::admin::firmware::firmware_revision;
use crate::command::GetLog;
use crate::features::TEMPERATURE_K;
use crate::inflight::{HostData, Kind, Token};
use crate::limits::ERROR_LOG_ENTRIES;
use crate::namespace::Namespace;
use crate::namespace::programs::ProgramsNamespace;
use crate::turn::Turn;

/// Nanoseconds of a minute.
const MINUTE_NS: u64 = 60_000_000_000;

/// What the log pages report.
#[derive(Debug, Default)]
pub(crate) struct Logs {
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
    errors: VecDeque<ErrorLogEntry>,
    error_count: u64,
}

impl Logs {
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

    /// Counts a finished command, and its data if it succeeded; else logs its error, newest first. `set` is the command set
    /// of an I/O command.
    #[inline]
    pub(crate) fn count(
        &mut self,
        token: &Token,
        kind: Kind,
        status: Status,
        counts: HostData,
        set: impl FnOnce() -> CommandSet,
    ) {
        self.commands += 1;
        if !status.is_success() {
            return self.log_error(token, kind, status, set());
        }
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

    #[cold]
    fn log_error(&mut self, token: &Token, kind: Kind, status: Status, set: CommandSet) {
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

    /// The power went.
    pub(crate) fn power_lost(&mut self, was_shut_down: bool) {
        self.power_losses += 1;
        self.unsafe_shutdowns += u64::from(!was_shut_down);
        self.errors.clear();
    }

    fn smart(&self, now: Instant, is_hot: bool, media_errors: u64) -> SmartLog {
        // Thousands of 512-byte units, rounded up (Base 2.1, Figure 206).
        let units = |bytes: u64| u128::from(bytes.div_ceil(512 * 1000)).into();
        let busy_now = if self.io_in_flight > 0 { now.since(self.busy_since).as_ns() } else { 0 };
        let busy_minutes = (self.busy_ns + busy_now) / MINUTE_NS;
        SmartLog {
            critical_warning: u8::from(is_hot) << 1,
            temperature_k: TEMPERATURE_K.into(),
            available_spare: 100,
            available_spare_threshold: 10,
            data_units_read: units(self.bytes_read),
            data_units_written: units(self.bytes_written),
            host_reads: u128::from(self.reads).into(),
            host_writes: u128::from(self.writes).into(),
            controller_busy_minutes: u128::from(busy_minutes).into(),
            power_cycles: u128::from(1 + self.power_losses).into(),
            unsafe_shutdowns: u128::from(self.unsafe_shutdowns).into(),
            media_errors: u128::from(media_errors).into(),
            power_on_hours: u128::from(power_on_hours(now)).into(),
            error_log_entries: u128::from(self.error_count).into(),
            ..Default::default()
        }
    }
}

/// The part of a log page that a Get Log Page command asks for. Bytes past the page's end are
/// zeroes; an offset past it is an error.
pub(crate) fn part(turn: &Turn<'_>, command: &GetLog) -> Result<Vec<u8>, Status> {
    if command.len > turn.subsystem.config.transfer_bytes_max {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    let page = page(turn, command)?;
    let start = usize::try_from(command.offset).ok().filter(|&start| start <= page.len());
    let Some(start) = start else { return Err(Status::INVALID_FIELD.with_dnr()) };
    let end = page.len().min(start.saturating_add(command.len as usize));
    let mut part = page[start..end].to_vec();
    part.resize(command.len as usize, 0);
    Ok(part)
}

/// A host read a log page without asking to retain its event.
pub(crate) fn was_read(turn: &mut Turn<'_>, id: u8) {
    turn.session.async_events.log_read(id);
    if id == lid::CHANGED_NAMESPACES {
        turn.session.changed_namespaces.clear();
    }
    turn.session.fetch_due |= turn.session.async_events.has_notices();
}

fn page(turn: &Turn<'_>, command: &GetLog) -> Result<Vec<u8>, Status> {
    if is_of_programs(command.lid) {
        return match turn.active(command.nsid)? {
            Namespace::Programs(namespace) => Ok(page_of_programs(turn, command.lid, namespace)),
            _ => Err(Status::INVALID_NAMESPACE.with_dnr()),
        };
    }
    // The others are the controller's or the subsystem's, for which tools send no namespace, all, or the one they were given.
    if !matches!(command.nsid, Nsid::NONE | Nsid::ALL) {
        turn.active(command.nsid)?;
    }
    let (session, subsystem) = (&turn.session, &turn.subsystem);
    let groups_only = command.lsp & 1 != 0;
    Ok(match command.lid {
        lid::SUPPORTED_PAGES => supported_pages(),
        lid::ERROR => {
            let errors = subsystem.logs.errors.iter().flat_map(|e| e.as_bytes());
            let mut page = errors.copied().collect::<Vec<_>>();
            page.resize(ERROR_LOG_ENTRIES * size_of::<ErrorLogEntry>(), 0);
            page
        }
        lid::SMART => {
            let is_hot = session.features.is_temperature_critical();
            let media_errors = subsystem.ssd.statistics().media_errors;
            subsystem.logs.smart(turn.now, is_hot, media_errors).as_bytes().to_vec()
        }
        lid::FIRMWARE_SLOT => firmware_slot(),
        lid::CHANGED_NAMESPACES => {
            let mut page = ChangedNamespacesLog::new_zeroed();
            for (entry, nsid) in page.iter_mut().zip(&session.changed_namespaces) {
                entry.set(nsid.0);
            }
            page.as_bytes().to_vec()
        }
        lid::EFFECTS => effects::commands(command.csi)?,
        lid::SELF_TEST => subsystem.background.self_test_log(turn.now).as_bytes().to_vec(),
        lid::FEATURE_EFFECTS => effects::features(|id| subsystem.has_feature(id)),
        // No management interface: no command of it.
        lid::MANAGEMENT_EFFECTS => vec![0; 4096],
        lid::REACHABILITY_GROUPS => reachability::groups(&subsystem.namespaces, groups_only),
        lid::REACHABILITY_ASSOCIATIONS => {
            reachability::associations(&subsystem.namespaces, groups_only)
        }
        lid::SANITIZE_STATUS => subsystem.sanitize_log(turn.now).as_bytes().to_vec(),
        _ => return Err(Status::INVALID_LOG_PAGE.with_dnr()),
    })
}

/// Log pages of a programs namespace.
fn is_of_programs(id: u8) -> bool {
    matches!(
        id,
        lid::PROGRAM_LIST
            | lid::PROGRAM_TYPES
            | lid::RANGE_SETS
            | lid::PROGRAM_DIAGNOSTICS
            | lid::PROGRAM_TRACE
            | lid::JOB_GROUPS
    )
}

fn page_of_programs(turn: &Turn<'_>, id: u8, namespace: &ProgramsNamespace) -> Vec<u8> {
    match id {
        lid::PROGRAM_LIST => programs::programs(namespace),
        lid::PROGRAM_TYPES => programs::types(),
        lid::RANGE_SETS => programs::range_sets(namespace),
        lid::PROGRAM_DIAGNOSTICS => namespace.text.diagnostics.clone(),
        lid::PROGRAM_TRACE => {
            let trace = &namespace.text.trace;
            let len = trace.len() as u32;
            len.to_le_bytes().into_iter().chain(trace.iter().copied()).collect()
        }
        _ => programs::groups(&turn.subsystem.engine),
    }
}

fn supported_pages() -> Vec<u8> {
    let mut page = SupportedPagesLog::new_zeroed();
    for id in lid::ALL {
        page[usize::from(*id)].set(1);
    }
    page.as_bytes().to_vec()
}

fn firmware_slot() -> Vec<u8> {
    let mut log = FirmwareSlotLog { afi: 1, ..Default::default() };
    log.frs[0] = firmware_revision();
    log.as_bytes().to_vec()
}

//! Log pages (Base 2.1, section 5.1.12) and the counters behind them.

mod effects;
mod programs;
mod reachability;

pub(crate) use reachability::group_of;

use std::collections::{BTreeSet, VecDeque};

use nvme_spec::namespace::ALL_NSID;
use nvme_spec::{
    ChangedNamespacesLog, ErrorLogEntry, FirmwareSlotLog, SmartLog, Status, SupportedPagesLog, lid,
};
use simtime::Instant;
use zerocopy::{FromZeros, IntoBytes};

use crate::admin::background::power_on_hours;
use crate::async_event::Notice;
use crate::command::GetLog;
use crate::controller::Controller;
use crate::inflight::{HostData, Token};
use crate::limits::{ERROR_LOG_ENTRIES, TRACE_LOG_BYTES};
use crate::namespace::{COMPUTE_NSID, NAMESPACES};

/// A room temperature drive, in kelvin.
const TEMPERATURE_K: u16 = 308;

/// Nanoseconds of a minute.
const MINUTE_NS: u64 = 60_000_000_000;

/// What the log pages report.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    pub(crate) commands: u64,
    /// Namespaces whose Identify data changed since the host read the list.
    pub(crate) changed_namespaces: BTreeSet<u32>,
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
    diagnostics: Vec<u8>,
    trace: VecDeque<u8>,
}

impl Logs {
    /// A command was taken from its queue.
    #[inline]
    pub(crate) fn began(&mut self, now: Instant, sqid: u16) {
        if sqid != 0 {
            if self.io_in_flight == 0 {
                self.busy_since = now;
            }
            self.io_in_flight += 1;
        }
    }

    /// A command ended, or a reset forgot it.
    #[inline]
    pub(crate) fn ended(&mut self, now: Instant, sqid: u16) {
        if sqid != 0 {
            self.io_in_flight -= 1;
            if self.io_in_flight == 0 {
                self.busy_ns += now.since(self.busy_since).as_ns();
            }
        }
    }

    /// Counts a finished command, and its data if it succeeded; else logs its error, newest first.
    #[inline]
    pub(crate) fn count(
        &mut self,
        token: &Token,
        (opcode, nsid): (u8, u32),
        status: Status,
        counts: HostData,
    ) {
        self.commands += 1;
        if !status.is_success() {
            return self.log_error(token, opcode, nsid, status);
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
    fn log_error(&mut self, token: &Token, opcode: u8, nsid: u32, status: Status) {
        let set = NAMESPACES.iter().find(|(id, _)| *id == nsid).map_or(0, |(_, set)| set.0);
        let has_text = status.is_program_fault() || status.same_code(Status::INVALID_PROGRAM_DATA);
        self.push_error(ErrorLogEntry {
            sqid: token.sqid.into(),
            cid: token.cid.into(),
            status_phase: (status.bits() << 1).into(),
            nsid: nsid.into(),
            vendor_log: if has_text { lid::PROGRAM_DIAGNOSTICS } else { 0 },
            csi: if token.sqid == 0 { 0 } else { set },
            opcode,
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

    /// Forgets text that holds what programs saw.
    pub(crate) fn clear_program_text(&mut self) {
        self.diagnostics.clear();
        self.trace.clear();
    }

    /// Keeps why a program was refused (with its index) or stopped.
    pub(crate) fn set_diagnostics(&mut self, program_index: u16, text: &str) {
        self.diagnostics.clear();
        self.diagnostics.extend(program_index.to_le_bytes());
        self.diagnostics.extend([0, 0]);
        self.diagnostics.extend((text.len() as u32).to_le_bytes());
        self.diagnostics.extend(text.as_bytes());
    }

    /// Keeps text that a program printed; the oldest is dropped.
    pub(crate) fn append_trace(&mut self, text: &[u8]) {
        self.trace.extend(text);
        let excess = self.trace.len().saturating_sub(TRACE_LOG_BYTES);
        self.trace.drain(..excess);
    }

    /// The power went.
    pub(crate) fn power_lost(&mut self, was_shut_down: bool) {
        self.power_losses += 1;
        self.unsafe_shutdowns += u64::from(!was_shut_down);
        (self.diagnostics, self.trace) = (Vec::new(), VecDeque::new());
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

impl Controller {
    /// Tells the host, once, that the temperature is beyond a threshold: because a threshold moved,
    /// for the temperature does not, or because the host now wants to know.
    pub(crate) fn check_temperature(&mut self) {
        let is_told = self.wants(Notice::TemperatureThreshold) && self.is_temperature_critical();
        if is_told && !self.was_temperature_told {
            self.notify(Notice::TemperatureThreshold);
        }
        self.was_temperature_told = is_told;
    }

    /// True if the temperature is beyond a threshold.
    pub(crate) fn is_temperature_critical(&self) -> bool {
        let [over, under] = self.features.current.temperature_k;
        TEMPERATURE_K >= over || TEMPERATURE_K <= under
    }

    /// The part of a log page that a Get Log Page command asks for. Bytes past the page's end are
    /// zeroes; an offset past it is an error.
    pub(crate) fn log_page(&self, command: &GetLog) -> Result<Vec<u8>, Status> {
        if command.len > self.config.transfer_bytes_max {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        let page = self.whole_log_page(command)?;
        let start = usize::try_from(command.offset).ok().filter(|&start| start <= page.len());
        let Some(start) = start else { return Err(Status::INVALID_FIELD.with_dnr()) };
        let end = page.len().min(start.saturating_add(command.len as usize));
        let mut part = page[start..end].to_vec();
        part.resize(command.len as usize, 0);
        Ok(part)
    }

    /// A host read a log page without asking to retain its event.
    pub(crate) fn log_was_read(&mut self, id: u8) {
        self.async_events.log_read(id);
        if id == lid::CHANGED_NAMESPACES {
            self.logs.changed_namespaces.clear();
        }
        self.fetch_due |= self.has_events();
    }

    fn whole_log_page(&self, command: &GetLog) -> Result<Vec<u8>, Status> {
        self.check_log_namespace(command)?;
        let groups_only = command.lsp & 1 != 0;
        Ok(match command.lid {
            lid::SUPPORTED_PAGES => supported_pages(),
            lid::ERROR => {
                let mut page =
                    self.logs.errors.iter().flat_map(|e| e.as_bytes()).copied().collect::<Vec<_>>();
                page.resize(ERROR_LOG_ENTRIES * size_of::<ErrorLogEntry>(), 0);
                page
            }
            lid::SMART => {
                let smart = self.logs.smart(
                    self.now,
                    self.is_temperature_critical(),
                    self.ssd.statistics().media_errors,
                );
                smart.as_bytes().to_vec()
            }
            lid::FIRMWARE_SLOT => firmware_slot(),
            lid::CHANGED_NAMESPACES => {
                let mut page = ChangedNamespacesLog::new_zeroed();
                for (entry, nsid) in page.iter_mut().zip(&self.logs.changed_namespaces) {
                    entry.set(*nsid);
                }
                page.as_bytes().to_vec()
            }
            lid::EFFECTS => effects::commands(command.csi)?,
            lid::SELF_TEST => self.background.self_test_log(self.now).as_bytes().to_vec(),
            lid::FEATURE_EFFECTS => effects::features(|id| self.has_feature(id)),
            // No management interface: no command of it.
            lid::MANAGEMENT_EFFECTS => vec![0; 4096],
            lid::REACHABILITY_GROUPS => reachability::groups(groups_only),
            lid::REACHABILITY_ASSOCIATIONS => reachability::associations(groups_only),
            lid::SANITIZE_STATUS => self.sanitize_log().as_bytes().to_vec(),
            lid::PROGRAM_LIST => programs::programs(&self.compute),
            lid::PROGRAM_TYPES => programs::types(),
            lid::RANGE_SETS => programs::range_sets(&self.compute),
            lid::PROGRAM_DIAGNOSTICS => self.logs.diagnostics.clone(),
            lid::PROGRAM_TRACE => {
                let len = self.logs.trace.len() as u32;
                len.to_le_bytes().into_iter().chain(self.logs.trace.iter().copied()).collect()
            }
            lid::JOB_GROUPS => programs::groups(&self.engine),
            _ => return Err(Status::INVALID_LOG_PAGE.with_dnr()),
        })
    }

    /// Pages of programs are the compute namespace's; the others are the controller's or the
    /// subsystem's, for which tools send no namespace, all, or the one they were given.
    fn check_log_namespace(&self, command: &GetLog) -> Result<(), Status> {
        let is_valid = match command.lid {
            lid::PROGRAM_LIST
            | lid::PROGRAM_TYPES
            | lid::RANGE_SETS
            | lid::PROGRAM_DIAGNOSTICS
            | lid::PROGRAM_TRACE
            | lid::JOB_GROUPS => command.nsid == COMPUTE_NSID,
            _ => {
                matches!(command.nsid, 0 | ALL_NSID)
                    || NAMESPACES.iter().any(|(id, _)| *id == command.nsid)
            }
        };
        if is_valid { Ok(()) } else { Err(Status::INVALID_NAMESPACE.with_dnr()) }
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
    log.frs[0] = super::identify::firmware_revision();
    log.as_bytes().to_vec()
}

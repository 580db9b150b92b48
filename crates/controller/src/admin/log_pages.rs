//! Log pages (Base 2.1, section 5.1.12) and the counters behind them.

use std::collections::VecDeque;

use nvme_spec::{
    AdminOpcode, CommandSet, EffectsLog, ErrorLogEntry, MemoryOpcode, NvmOpcode, ProgramDescriptor,
    ProgramListHeader, ProgramOpcode, SmartLog, Status, lid,
};
use zerocopy::{FromZeros, IntoBytes};

use crate::command::GetLog;
use crate::controller::Controller;
use crate::inflight::Token;
use crate::limits::{ERROR_LOG_ENTRIES, PROGRAM_SLOTS, TRACE_LOG_BYTES};
use crate::namespace::{COMPUTE_NSID, NAMESPACES, NVM_NSID};

/// A room temperature drive, in kelvin.
const TEMPERATURE_K: u16 = 308;

/// What the log pages report.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    pub(crate) commands: u64,
    bytes_read: u64,
    bytes_written: u64,
    reads: u64,
    writes: u64,
    errors: VecDeque<ErrorLogEntry>,
    error_count: u64,
    diagnostics: Vec<u8>,
    trace: VecDeque<u8>,
}

impl Logs {
    pub(crate) fn count_read(&mut self, bytes: u64) {
        self.reads += 1;
        self.bytes_read += bytes;
    }

    pub(crate) fn count_write(&mut self, bytes: u64) {
        self.writes += 1;
        self.bytes_written += bytes;
    }

    /// Counts a finished command and logs its error, newest first.
    pub(crate) fn count(&mut self, token: &Token, opcode: u8, nsid: u32, status: Status) {
        self.commands += 1;
        if !status.is_success() {
            self.log_error(token, opcode, nsid, status);
        }
    }

    #[cold]
    fn log_error(&mut self, token: &Token, opcode: u8, nsid: u32, status: Status) {
        self.error_count += 1;
        let set = NAMESPACES.iter().find(|(id, _)| *id == nsid).map_or(0, |(_, set)| set.0);
        self.errors.push_front(ErrorLogEntry {
            error_count: self.error_count.into(),
            sqid: token.sqid.into(),
            cid: token.cid.into(),
            status_phase: (status.bits() << 1).into(),
            // No particular parameter is blamed (Base 2.1, Figure 205).
            parameter_location: u16::MAX.into(),
            nsid: nsid.into(),
            vendor_log: if status.sct() == 1 { lid::PROGRAM_DIAGNOSTICS } else { 0 },
            csi: if token.sqid == 0 { 0 } else { set },
            opcode,
            ..Default::default()
        });
        self.errors.truncate(ERROR_LOG_ENTRIES);
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

    fn smart(&self) -> SmartLog {
        // Thousands of 512-byte units, rounded up (Base 2.1, Figure 206).
        let units = |bytes: u64| u128::from(bytes.div_ceil(512 * 1000)).into();
        SmartLog {
            temperature_k: TEMPERATURE_K.into(),
            available_spare: 100,
            available_spare_threshold: 10,
            data_units_read: units(self.bytes_read),
            data_units_written: units(self.bytes_written),
            host_reads: u128::from(self.reads).into(),
            host_writes: u128::from(self.writes).into(),
            power_cycles: 1.into(),
            error_log_entries: u128::from(self.error_count).into(),
            ..Default::default()
        }
    }
}

impl Controller {
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

    fn whole_log_page(&self, command: &GetLog) -> Result<Vec<u8>, Status> {
        let compute_only = || {
            let known = command.nsid == COMPUTE_NSID;
            known.then_some(()).ok_or(Status::INVALID_NAMESPACE.with_dnr())
        };
        match command.lid {
            lid::ERROR => {
                let mut page =
                    self.logs.errors.iter().flat_map(|e| e.as_bytes()).copied().collect::<Vec<_>>();
                page.resize(ERROR_LOG_ENTRIES * size_of::<ErrorLogEntry>(), 0);
                Ok(page)
            }
            lid::SMART if matches!(command.nsid, 0 | NVM_NSID | u32::MAX) => {
                Ok(self.logs.smart().as_bytes().to_vec())
            }
            lid::SMART => Err(Status::INVALID_NAMESPACE.with_dnr()),
            lid::EFFECTS => effects(command.csi),
            lid::PROGRAM_LIST => compute_only().map(|()| self.program_list()),
            lid::PROGRAM_DIAGNOSTICS => compute_only().map(|()| self.logs.diagnostics.clone()),
            lid::PROGRAM_TRACE => compute_only().map(|()| {
                let len = self.logs.trace.len() as u32;
                len.to_le_bytes().into_iter().chain(self.logs.trace.iter().copied()).collect()
            }),
            _ => Err(Status::INVALID_LOG_PAGE.with_dnr()),
        }
    }

    fn program_list(&self) -> Vec<u8> {
        let mut header = ProgramListHeader::new_zeroed();
        header.numd = u32::from(PROGRAM_SLOTS).into();
        let mut page = header.as_bytes().to_vec();
        for index in 0..PROGRAM_SLOTS {
            let slot = self.compute.slots.get(&index);
            let descriptor = slot.map(|slot| ProgramDescriptor {
                // Downloaded; activated; identifier type.
                state: 1 | u8::from(slot.active) << 2 | slot.identifier_type << 3,
                ptype: slot.program_type,
                pid: slot.identifier.into(),
                ..Default::default()
            });
            page.extend(descriptor.unwrap_or_default().as_bytes());
        }
        page
    }
}

/// Commands supported and effects, for one I/O command set.
fn effects(csi: CommandSet) -> Result<Vec<u8>, Status> {
    let mut log = EffectsLog::default();
    for opcode in AdminOpcode::ALL {
        log.admin[usize::from(opcode.0)].set(EffectsLog::SUPPORTED);
    }
    let changes = EffectsLog::SUPPORTED | EffectsLog::CHANGES_CONTENT;
    let io: Vec<(u8, u32)> = match csi {
        CommandSet::NVM => {
            let effect = |o: &NvmOpcode| {
                if *o == NvmOpcode::WRITE { changes } else { EffectsLog::SUPPORTED }
            };
            NvmOpcode::ALL.iter().map(|o| (o.0, effect(o))).collect()
        }
        CommandSet::MEMORY => {
            let effect = |o: &MemoryOpcode| {
                if *o == MemoryOpcode::READ { EffectsLog::SUPPORTED } else { changes }
            };
            MemoryOpcode::ALL.iter().map(|o| (o.0, effect(o))).collect()
        }
        CommandSet::PROGRAMS => ProgramOpcode::ALL.iter().map(|o| (o.0, changes)).collect(),
        _ => return Err(Status::INVALID_FIELD.with_dnr()),
    };
    for (opcode, effect) in io {
        log.io[usize::from(opcode)].set(effect);
    }
    Ok(log.as_bytes().to_vec())
}

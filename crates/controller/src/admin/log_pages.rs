//! Log pages (Base 2.1, section 5.1.12). The counters behind them: `logs.rs`.

mod counters;
mod effects;
mod parts;
mod peers;
mod programs;
mod reachability;
mod telemetry;

pub(crate) use counters::counters;
pub(crate) use reachability::group_of;

use nvme_spec::{
    ChangedNamespacesLog, ErrorLogEntry, FirmwareSlotLog, Nsid, Status, SupportedPagesLog,
    TelemetryHeader, lid,
};
use zerocopy::{FromZeros, IntoBytes};

use crate::admin::firmware::firmware_revision;
use crate::admin::identify::ENDURANCE_GROUP;
use crate::command::GetLog;
use crate::limits::ERROR_LOG_ENTRIES;
use crate::namespace::Namespace;
use crate::namespace::programs::ProgramsNamespace;
use crate::placement;
use crate::turn::Turn;

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

/// Makes what a Get Log Page command asks for that is made when it is asked for.
pub(crate) fn prepare(turn: &mut Turn<'_>, command: &GetLog) {
    let is_new = command.lsp & TelemetryHeader::CREATE != 0;
    let is_right = command.offset == 0
        && command.len <= turn.subsystem.config.transfer_bytes_max
        && (matches!(command.nsid, Nsid::NONE | Nsid::ALL) || turn.active(command.nsid).is_ok());
    if command.lid == lid::TELEMETRY_HOST && is_new && is_right {
        telemetry::create(turn);
    }
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
        lid::SUPPORTED_PAGES => supported_pages(subsystem.config.placement),
        lid::ERROR => {
            let errors = subsystem.logs.errors.iter().flat_map(|e| e.as_bytes());
            let mut page = errors.copied().collect::<Vec<_>>();
            page.resize(ERROR_LOG_ENTRIES * size_of::<ErrorLogEntry>(), 0);
            page
        }
        lid::SMART => {
            let is_hot = session.features.is_temperature_critical();
            subsystem.logs.smart(turn.now, is_hot, parts::health(subsystem)).as_bytes().to_vec()
        }
        lid::FIRMWARE_SLOT => firmware_slot(),
        lid::CHANGED_NAMESPACES => {
            let mut page = ChangedNamespacesLog::new_zeroed();
            for (entry, nsid) in page.iter_mut().zip(&session.changed_namespaces) {
                entry.set(nsid.0);
            }
            page.as_bytes().to_vec()
        }
        lid::EFFECTS => {
            let has_zones = subsystem.namespaces.has_zones();
            effects::commands(command.csi, &subsystem.config, has_zones)?
        }
        lid::SELF_TEST => subsystem.background.self_test_log(turn.now).as_bytes().to_vec(),
        lid::TELEMETRY_HOST => telemetry::of_host(&subsystem.logs.telemetry),
        lid::TELEMETRY_CONTROLLER => telemetry::of_controller(),
        lid::ENDURANCE_GROUP if command.lsi == ENDURANCE_GROUP => {
            parts::endurance_group(turn).as_bytes().to_vec()
        }
        lid::ENDURANCE_GROUP => return Err(Status::INVALID_FIELD.with_dnr()),
        id if lid::PLACEMENT.contains(&id) && subsystem.config.placement => {
            placement_page(turn, command)?
        }
        lid::FEATURE_EFFECTS => effects::features(|id| subsystem.has_feature(id)),
        // No management interface: no command of it.
        lid::MANAGEMENT_EFFECTS => vec![0; 4096],
        lid::REACHABILITY_GROUPS => reachability::groups(&subsystem.namespaces, groups_only),
        lid::REACHABILITY_ASSOCIATIONS => {
            reachability::associations(&subsystem.namespaces, groups_only)
        }
        lid::SANITIZE_STATUS => subsystem.sanitize_log(turn.now).as_bytes().to_vec(),
        lid::PEERS => peers::peers(subsystem),
        lid::DRIVE_PARTS => parts::parts(turn.now, subsystem),
        lid::DRIVE_COUNTERS => counters(turn.now, session, subsystem).as_bytes().to_vec(),
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
        lid::PROGRAM_TYPES => programs::types(turn.subsystem),
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

/// Log pages of data placement; they are of the endurance group.
fn placement_page(turn: &Turn<'_>, command: &GetLog) -> Result<Vec<u8>, Status> {
    if command.lsi != ENDURANCE_GROUP {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    let subsystem = &turn.subsystem;
    Ok(match command.lid {
        lid::FDP_CONFIGURATIONS => placement::configurations(subsystem),
        lid::FDP_USAGE => placement::usage(subsystem),
        lid::FDP_STATISTICS => placement::statistics(subsystem),
        // The first bit says whose events are asked for: the host's, or the controller's.
        _ => placement::events(&subsystem.placement_events, command.lsp & 1 != 0),
    })
}

fn supported_pages(has_placement: bool) -> Vec<u8> {
    let mut page = SupportedPagesLog::new_zeroed();
    for id in lid::ALL.iter().chain(lid::PLACEMENT.iter().filter(|_| has_placement)) {
        page[usize::from(*id)].set(1);
    }
    page.as_bytes().to_vec()
}

fn firmware_slot() -> Vec<u8> {
    let mut log = FirmwareSlotLog { afi: 1, ..Default::default() };
    log.frs[0] = firmware_revision();
    log.as_bytes().to_vec()
}

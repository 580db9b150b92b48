//! Log pages and features of data placement.

use nvme_spec::{
    FdpConfiguration, FdpConfigurations, FdpEvents, FdpStatistics, FdpUsage, Nsid, Status,
    fdp_event, handle_type, handle_use,
};
use ssd::Isolation;
use zerocopy::IntoBytes;

use super::PlacementEvents;
use crate::limits::NAMESPACES_MAX;
use crate::namespace::nvm::NvmNamespace;
use crate::subsystem::Subsystem;
use crate::turn::Turn;

/// The one configuration.
pub(crate) fn configurations(subsystem: &Subsystem) -> Vec<u8> {
    let flash = &subsystem.config.flash;
    let kind = match flash.isolation {
        Isolation::Initial => handle_type::INITIALLY_ISOLATED,
        Isolation::Persistent => handle_type::PERSISTENTLY_ISOLATED,
    };
    let handles = flash.hint_streams as usize;
    let bytes = size_of::<FdpConfiguration>() + 4 * handles;
    let cache = u8::from(subsystem.has_write_cache()) << 4;
    let configuration = FdpConfiguration {
        bytes: (bytes as u16).into(),
        attributes: 1 << 7 | cache,
        groups: 1.into(),
        handles: (handles as u16).into(),
        identifiers_z: (handles as u16 - 1).into(),
        namespaces: NAMESPACES_MAX.into(),
        unit_bytes: subsystem.ssd.geometry().unit_bytes().into(),
        ..FdpConfiguration::default()
    };
    let all = size_of::<FdpConfigurations>() + bytes;
    let header = FdpConfigurations { bytes: (all as u32).into(), ..FdpConfigurations::default() };
    let mut page = [header.as_bytes(), configuration.as_bytes()].concat();
    (0..handles).for_each(|_| page.extend([kind, 0, 0, 0]));
    page
}

/// Which reclaim unit handles namespaces use.
pub(crate) fn usage(subsystem: &Subsystem) -> Vec<u8> {
    let handles = subsystem.config.flash.hint_streams;
    let header = FdpUsage { handles: (handles as u16).into(), ..FdpUsage::default() };
    let mut page = header.as_bytes().to_vec();
    for handle in 0..handles as u8 {
        let mut users =
            subsystem.namespaces.nvm_all().filter(|nvm| nvm.handles.list().contains(&handle));
        let used = match users.next() {
            None => handle_use::UNUSED,
            Some(first) if first.handles.is_of_host || users.any(is_of_host) => handle_use::HOST,
            Some(_) => handle_use::CONTROLLER,
        };
        page.extend([used, 0, 0, 0, 0, 0, 0, 0]);
    }
    page
}

fn is_of_host(namespace: &NvmNamespace) -> bool {
    namespace.handles.is_of_host
}

/// What was written, by hosts and in all, and erased.
pub(crate) fn statistics(subsystem: &Subsystem) -> Vec<u8> {
    let geometry = subsystem.ssd.geometry();
    let counted = subsystem.ssd.statistics();
    let page = u128::from(geometry.page_bytes);
    let block = page * u128::from(geometry.pages_per_block);
    let log = FdpStatistics {
        host_bytes: u128::from(counted.host_bytes_written).into(),
        media_bytes: u128::from(counted.programmed_bytes()).into(),
        erased_bytes: (u128::from(counted.erases) * block).into(),
        ..FdpStatistics::default()
    };
    log.as_bytes().to_vec()
}

/// Events that are the host's doing; those of the controller's doing, of which there are none.
pub(crate) fn events(events: &PlacementEvents, is_of_host: bool) -> Vec<u8> {
    let count = if is_of_host { events.log.len() } else { 0 };
    let header = FdpEvents { count: (count as u32).into(), ..FdpEvents::default() };
    let mut page = header.as_bytes().to_vec();
    events.log.iter().take(count).for_each(|event| page.extend(event.as_bytes()));
    page
}

/// The value of the feature: two bytes for each type that is asked for, and how many.
pub(crate) fn events_feature(
    turn: &Turn<'_>,
    nsid: Nsid,
    handle: u16,
    most: usize,
) -> Result<(Vec<u8>, u64), Status> {
    let namespace = turn.subsystem.namespaces.nvm(nsid).ok_or(Status::INVALID_FIELD.with_dnr())?;
    let stream = namespace.handles.stream(handle).filter(|_| most > 0);
    let stream = stream.ok_or(Status::INVALID_FIELD.with_dnr())?;
    let events = &turn.subsystem.placement_events;
    let of = |kind: &u8| [*kind, events.is_enabled(stream, *kind).into()];
    let kinds = &fdp_event::ALL[..most.min(fdp_event::ALL.len())];
    Ok((kinds.iter().flat_map(of).collect(), kinds.len() as u64))
}

//! I/O Management Receive and Send (Base 2.1, sections 7.3 and 7.4): the status of reclaim unit handles, and going on in other units.

use nvme_spec::{HandleStatus, HandleStatusHeader, Nsid, Status, fdp_event};
use ssd::RequestId;
use zerocopy::IntoBytes;

use crate::config::Config;
use crate::data_pointer::{DataPointer, Segments};
use crate::event::Tag;
use crate::namespace::nvm::NvmNamespace;
use crate::namespace::nvm::waiting::{NvmArrival, NvmWait};
use crate::turn::Turn;
use crate::waiting::Arrival;

/// The management operation of reclaim unit handles: status (Receive), update (Send).
const HANDLES: u8 = 1;

/// Only drives with data placement have these commands.
fn check_enabled(config: &Config) -> Result<(), Status> {
    if config.placement { Ok(()) } else { Err(Status::FDP_DISABLED.with_dnr()) }
}

/// I/O Management Receive: as much of the status as the host has room for.
pub(crate) fn receive(
    turn: &mut Turn<'_>,
    tag: Tag,
    namespace: &NvmNamespace,
    (operation, len): (u8, u64),
    pointer: DataPointer,
) -> Result<(), Status> {
    check_enabled(&turn.subsystem.config)?;
    if operation != HANDLES || len > turn.subsystem.config.transfer_bytes_max {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    let list = namespace.handles.list();
    let header =
        HandleStatusHeader { count: (list.len() as u16).into(), ..HandleStatusHeader::default() };
    let mut page = header.as_bytes().to_vec();
    for (identifier, handle) in (0u16..).zip(list) {
        let left = turn.subsystem.ssd.unit_left(*handle);
        let status = HandleStatus {
            identifier: identifier.into(),
            handle: u16::from(*handle).into(),
            blocks_left: (left / u64::from(namespace.block_bytes)).into(),
            ..HandleStatus::default()
        };
        page.extend(status.as_bytes());
    }
    page.resize(len as usize, 0);
    turn.return_page(tag, &page, pointer)
}

/// I/O Management Send: fetches the list of placement identifiers.
pub(crate) fn send(
    turn: &mut Turn<'_>,
    tag: Tag,
    (operation, count): (u8, usize),
    pointer: DataPointer,
) -> Result<(), Status> {
    check_enabled(&turn.subsystem.config)?;
    if operation != HANDLES || count > ssd::STREAMS_MAX as usize {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    let len = 2 * count as u64;
    turn.fetch_data(tag, pointer, len, Arrival::Nvm(NvmArrival::Placement { count }))
}

/// The list has arrived: all are checked before any goes on in another unit.
pub(crate) fn list_arrived(
    turn: &mut Turn<'_>,
    tag: Tag,
    namespace: &NvmNamespace,
    segments: &Segments,
    count: usize,
) -> Result<(), Status> {
    let mut bytes = vec![0; 2 * count];
    segments.read(&*turn.host, &mut bytes)?;
    let identifiers = bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair));
    let streams = identifiers.map(|identifier| {
        let stream = namespace.handles.stream(identifier);
        stream.map(|stream| (identifier, stream)).ok_or(Status::INVALID_FIELD.with_dnr())
    });
    let streams: Vec<_> = streams.collect::<Result<_, _>>()?;
    // What was acknowledged before belongs to the units before.
    turn.wait(tag, NvmWait::Updating { identifiers: streams });
    turn.subsystem.ssd.flush(turn.now, RequestId(tag.0));
    Ok(())
}

/// What was written before is in flash: what comes goes to other units.
pub(crate) fn flushed(
    turn: &mut Turn<'_>,
    tag: Tag,
    nsid: Nsid,
    identifiers: &[(u16, u8)],
    status: Status,
) {
    for (identifier, stream) in identifiers.iter().filter(|_| status.is_success()) {
        if turn.subsystem.ssd.begin_unit(turn.now, *stream) > 0 {
            let timestamp = turn.session.features.timestamp(turn.now);
            let events = &mut turn.subsystem.placement_events;
            events.happened((nsid, *identifier), *stream, fdp_event::UNIT_NOT_FULL, &timestamp);
        }
    }
    turn.complete(tag, status, 0);
}

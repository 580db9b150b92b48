//! Telemetry: log pages as they were at one moment, which a host reads in as many pieces as it likes.

use nvme_spec::{TelemetryHeader, TelemetrySection, lid};
use zerocopy::IntoBytes;
use zerocopy::little_endian::U16;

use super::{counters, parts};
use crate::admin::identify::OUI;
use crate::logs::Telemetry;
use crate::turn::Turn;

/// The page without data.
fn empty(lid: u8) -> TelemetryHeader {
    TelemetryHeader { lid, ieee: OUI, ..TelemetryHeader::default() }
}

/// The host's snapshot.
pub(super) fn of_host(telemetry: &Telemetry) -> Vec<u8> {
    match telemetry.page.is_empty() {
        true => empty(lid::TELEMETRY_HOST).as_bytes().to_vec(),
        false => telemetry.page.clone(),
    }
}

/// The controller makes none by itself.
pub(super) fn of_controller() -> Vec<u8> {
    empty(lid::TELEMETRY_CONTROLLER).as_bytes().to_vec()
}

fn add(data: &mut Vec<u8>, lid: u8, page: &[u8]) {
    let bytes = (page.len() as u32).into();
    data.extend(TelemetrySection { lid, bytes, ..TelemetrySection::default() }.as_bytes());
    data.extend(page);
    data.resize(data.len().next_multiple_of(8), 0);
}

/// The host asks for a snapshot: what the drive counted, and its health; the parts of the drive; errors.
pub(crate) fn create(turn: &mut Turn<'_>) {
    let (now, session, subsystem) = (turn.now, &*turn.session, &*turn.subsystem);
    let is_hot = session.features.is_temperature_critical();
    let smart = subsystem.logs.smart(now, is_hot, parts::health(subsystem));
    let mut data = Vec::new();
    let mut last_blocks = [U16::ZERO; 3];
    for (area, last) in last_blocks.iter_mut().enumerate() {
        match area {
            0 => {
                add(&mut data, lid::DRIVE_COUNTERS, counters(now, session, subsystem).as_bytes());
                add(&mut data, lid::SMART, smart.as_bytes());
                add(&mut data, lid::ENDURANCE_GROUP, parts::endurance_group(turn).as_bytes());
            }
            1 => add(&mut data, lid::DRIVE_PARTS, &parts::parts(now, subsystem)),
            _ => {
                let errors = subsystem.logs.errors.iter().flat_map(|entry| entry.as_bytes());
                add(&mut data, lid::ERROR, &errors.copied().collect::<Vec<_>>());
            }
        }
        data.resize(data.len().next_multiple_of(TelemetryHeader::BLOCK), 0);
        last.set(u16::try_from(data.len() / TelemetryHeader::BLOCK).unwrap_or(u16::MAX));
    }
    let telemetry = &mut turn.subsystem.logs.telemetry;
    telemetry.generation = telemetry.generation.wrapping_add(1);
    let generation = telemetry.generation;
    let header =
        TelemetryHeader { last_blocks, scope: 2, generation, ..empty(lid::TELEMETRY_HOST) };
    telemetry.page = [header.as_bytes(), &data].concat();
}

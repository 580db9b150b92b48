//! How worn and how busy the parts of the drive are.

use nvme_spec::{DriveParts, EnduranceGroupLog};
use simtime::{Duration, Instant};
use zerocopy::IntoBytes;

use crate::logs::Health;
use crate::subsystem::Subsystem;
use crate::turn::Turn;

/// Version of the vendor's log page.
const VERSION: u32 = 1;

/// How much of the erases that the flash is made for was used, in per cent, at most 255 (Base 2.1, Figure 206: it does not stop at 100).
pub(crate) fn percentage_used(subsystem: &Subsystem) -> u8 {
    let wear = subsystem.ssd.wear();
    let rated = u128::from(wear.blocks) * u128::from(subsystem.config.rated_erases);
    (u128::from(wear.erases) * 100 / rated.max(1)).min(255) as u8
}

/// How the flash is.
pub(crate) fn health(subsystem: &Subsystem) -> Health {
    Health {
        media_errors: subsystem.ssd.statistics().media_errors,
        percentage_used: percentage_used(subsystem),
        spare: subsystem.ssd.spare(),
    }
}

/// Endurance group information (Base 2.1, section 5.1.12.1.10): all of the flash is one group.
pub(crate) fn endurance_group(turn: &Turn<'_>) -> EnduranceGroupLog {
    let subsystem = &turn.subsystem;
    let flash = subsystem.ssd.statistics_at(turn.now);
    let smart = subsystem.logs.smart(turn.now, false, health(subsystem));
    let billions = |bytes: u128| bytes.div_ceil(1_000_000_000).into();
    let geometry = subsystem.ssd.geometry();
    let raw = subsystem.ssd.wear().blocks
        * u64::from(geometry.pages_per_block)
        * u64::from(geometry.page_bytes);
    // What hosts can write before the rated erases are used up, at the write amplification so far.
    let endurance = u128::from(raw) * u128::from(subsystem.config.rated_erases);
    let (host, media) =
        (u128::from(flash.host_bytes_written), u128::from(flash.programmed_bytes()));
    let endurance = if media > host { endurance / media * host } else { endurance };
    EnduranceGroupLog {
        // Spare below the threshold; read only (bits 0 and 3, as of the SMART log).
        critical_warning: smart.critical_warning & 0b1001,
        available_spare: smart.available_spare,
        available_spare_threshold: smart.available_spare_threshold,
        percentage_used: smart.percentage_used,
        endurance_estimate: billions(endurance),
        data_units_read: billions(subsystem.logs.bytes_read().into()),
        data_units_written: billions(subsystem.logs.bytes_written().into()),
        media_units_written: billions(media),
        host_reads: smart.host_reads,
        host_writes: smart.host_writes,
        media_errors: smart.media_errors,
        error_log_entries: smart.error_log_entries,
        total_capacity: u128::from(subsystem.config.flash.capacity_bytes).into(),
        unallocated_capacity: u128::from(subsystem.namespaces.free_bytes()).into(),
        ..Default::default()
    }
}

/// The log page (vendor, C5h).
pub(crate) fn parts(now: Instant, subsystem: &Subsystem) -> Vec<u8> {
    let wear = subsystem.ssd.wear();
    let (channels, dies) = subsystem.ssd.busy(now);
    let units = subsystem.engine.busy_of_units(now);
    let header = DriveParts {
        version: VERSION.into(),
        bytes: (size_of::<DriveParts>() as u32).into(),
        now_ns: now.as_ns().into(),
        channels: (channels.len() as u32).into(),
        dies: (dies.len() as u32).into(),
        units: (units.len() as u32).into(),
        erases_max: wear.erases_max.into(),
        blocks: wear.blocks.into(),
        erases: wear.erases.into(),
    };
    let mut page = header.as_bytes().to_vec();
    let all = channels.iter().chain(&dies).chain(&units);
    page.extend(all.flat_map(|busy: &Duration| busy.as_ns().to_le_bytes()));
    page
}

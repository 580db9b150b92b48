//! What the drive counted, for hosts.

use nvme_spec::DriveCounters;
use simtime::Instant;
use ssd::Backend;

use crate::session::Session;
use crate::statistics::Lateness;
use crate::subsystem::Subsystem;

/// Version of the layout.
const VERSION: u32 = 1;

/// The log page (vendor, C3h).
pub(crate) fn counters(now: Instant, session: &Session, subsystem: &Subsystem) -> DriveCounters {
    let flash = subsystem.ssd.statistics_at(now);
    let geometry = subsystem.ssd.geometry();
    let config = &subsystem.config;
    let (link_out, link_in) = session.port.busy(now);
    let Lateness { late, late_sum, late_max, .. } = session.lateness;
    let backend: u32 = match subsystem.ssd.backend() {
        Backend::Memory => 0,
        Backend::File => 1,
        Backend::Dax => 2,
        Backend::DaxSync => 3,
    };
    DriveCounters {
        version: VERSION.into(),
        bytes: (size_of::<DriveCounters>() as u32).into(),
        now_ns: now.as_ns().into(),
        units: config.compute.units.into(),
        channels: geometry.channels.into(),
        dies: geometry.dies.into(),
        page_bytes: geometry.page_bytes.into(),
        link_bytes_per_s: config.host_link.bandwidth.bytes_per_s().into(),
        units_busy_ns: subsystem.engine.busy(now).as_ns().into(),
        channels_busy_ns: flash.channels_busy.as_ns().into(),
        dies_busy_ns: flash.dies_busy.as_ns().into(),
        bytes_to_host: session.port.bytes_to_host().into(),
        bytes_from_host: session.port.bytes_from_host().into(),
        bytes_internal: subsystem.internal.bytes().into(),
        host_bytes_written: flash.host_bytes_written.into(),
        flash_reads: flash.flash_reads.into(),
        modify_reads: flash.modify_reads.into(),
        gc_reads: flash.gc_reads.into(),
        flash_programs: flash.flash_programs.into(),
        gc_programs: flash.gc_programs.into(),
        erases: flash.erases.into(),
        commands: subsystem.logs.commands.into(),
        late: late.into(),
        late_tolerance_ns: Lateness::TOLERANCE.as_ns().into(),
        late_sum_ns: late_sum.as_ns().into(),
        late_max_ns: late_max.as_ns().into(),
        bytes_to_peers: session.port.bytes_to_peers().into(),
        bytes_from_peers: session.port.bytes_from_peers().into(),
        link_out_busy_ns: link_out.as_ns().into(),
        link_in_busy_ns: link_in.as_ns().into(),
        padding_programs: flash.padding_programs.into(),
        read_retries: flash.read_retries.into(),
        backend: backend.into(),
        reserved: 0.into(),
    }
}

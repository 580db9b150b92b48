//! What a drive counted, as its log page has it and as a record.

use nvme_spec::DriveCounters;

use crate::CounterRecord;

impl From<&DriveCounters> for CounterRecord {
    fn from(page: &DriveCounters) -> Self {
        Self {
            now_ns: page.now_ns.get(),
            link_bytes_per_s: page.link_bytes_per_s.get(),
            units_busy_ns: page.units_busy_ns.get(),
            channels_busy_ns: page.channels_busy_ns.get(),
            dies_busy_ns: page.dies_busy_ns.get(),
            link_out_busy_ns: page.link_out_busy_ns.get(),
            link_in_busy_ns: page.link_in_busy_ns.get(),
            bytes_to_host: page.bytes_to_host.get(),
            bytes_from_host: page.bytes_from_host.get(),
            bytes_internal: page.bytes_internal.get(),
            bytes_to_peers: page.bytes_to_peers.get(),
            bytes_from_peers: page.bytes_from_peers.get(),
            host_bytes_written: page.host_bytes_written.get(),
            flash_reads: page.flash_reads.get(),
            modify_reads: page.modify_reads.get(),
            gc_reads: page.gc_reads.get(),
            flash_programs: page.flash_programs.get(),
            gc_programs: page.gc_programs.get(),
            erases: page.erases.get(),
            commands: page.commands.get(),
            late: page.late.get(),
            late_tolerance_ns: page.late_tolerance_ns.get(),
            late_sum_ns: page.late_sum_ns.get(),
            late_max_ns: page.late_max_ns.get(),
            units: page.units.get(),
            channels: page.channels.get(),
            dies: page.dies.get(),
            page_bytes: page.page_bytes.get(),
        }
    }
}

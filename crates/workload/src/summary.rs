//! The report of what instances counted and drives tell.

use std::collections::BTreeMap;

use controller::{Config, Statistics};
use simtime::{Duration, Instant};

use crate::instance::Instance;
use crate::measure::{Counts, Latencies, Operations};
use crate::plan::Plan;
use crate::prepare::{GroupCounts, Prepared};
use crate::report::{
    Bytes, DriveReport, FORMAT_VERSION, JobReport, Latency, Measured, Report, SeriesReport, Steps,
    TenantReport,
};
use crate::rig::Rig;

/// Counters and when they were read.
pub(crate) type Snapshot = (Instant, Statistics);

/// What came of all instances.
pub(crate) fn report<R: Rig>(
    plan: &Plan,
    instances: &[Instance],
    prepared: &[Prepared],
    groups: &BTreeMap<usize, GroupCounts>,
    drives: Vec<DriveReport>,
) -> Report {
    let mut jobs = Vec::new();
    let mut tenants: BTreeMap<String, (u64, Operations)> = BTreeMap::new();
    for (number, job) in plan.jobs.iter().enumerate() {
        let mut counts = Counts::default();
        let mut elapsed = 0;
        for instance in instances.iter().filter(|one| one.job == number) {
            counts.merge(&instance.counts);
            elapsed = elapsed.max(instance.elapsed());
        }
        let of_groups = |of: fn(&GroupCounts) -> u64| -> u64 {
            let mine = prepared.iter().enumerate().filter(|(_, one)| one.job == number);
            mine.filter_map(|(n, _)| groups.get(&n)).map(of).sum()
        };
        if let Some(tenant) = &job.tenant {
            let (longest, all) = tenants.entry(tenant.clone()).or_default();
            *longest = (*longest).max(elapsed);
            [&counts.read, &counts.write, &counts.execute].iter().for_each(|one| all.merge(one));
        }
        let [input, program, output] = &counts.steps;
        let latency = |latencies: &Latencies| Latency::of(latencies);
        jobs.push(JobReport {
            jobname: job.name.clone(),
            tenant: job.tenant.clone(),
            drives: job.drives.clone(),
            elapsed_ns: elapsed,
            read: Measured::of(&counts.read, elapsed),
            write: Measured::of(&counts.write, elapsed),
            execute: Measured::of(&counts.execute, elapsed),
            steps: Steps {
                input_ns: latency(input),
                program_ns: latency(program),
                output_ns: latency(output),
                waited_ns: latency(&counts.waited),
                ran_ns: latency(&counts.ran),
            },
            result_sum: counts.results,
            missed: of_groups(|counts| counts.missed),
            throttled_ns: of_groups(|counts| counts.throttled_ns),
            series: SeriesReport {
                width_ns: counts.series.width.as_ns(),
                ios: counts.series.pieces.iter().map(|(ios, _)| *ios).collect(),
                bytes: counts.series.pieces.iter().map(|(_, bytes)| *bytes).collect(),
            },
        });
    }
    let tenants = tenants
        .into_iter()
        .map(|(tenant, (elapsed, all))| {
            let Measured { total_ios, io_bytes, bw_bytes, lat_ns, .. } =
                Measured::of(&all, elapsed);
            TenantReport { tenant, total_ios, io_bytes, bw_bytes, lat_ns }
        })
        .collect();
    let mut report = Report {
        format_version: FORMAT_VERSION,
        workload: plan.file.clone(),
        seed: plan.seed,
        clock: R::CLOCK,
        elapsed_ns: jobs.iter().map(|job| job.elapsed_ns).max().unwrap_or(0),
        jobs,
        tenants,
        drives,
        assertions: Vec::new(),
    };
    report.assertions = plan.assertions.iter().map(|one| one.judge(&report)).collect();
    report
}

/// What a drive did between two moments.
pub(crate) fn drive_report(config: &Config, before: Snapshot, after: Snapshot) -> DriveReport {
    let (from, before) = before;
    let (to, after) = after;
    let ns = to.since(from).as_ns().max(1) as f64;
    let share = |later: Duration, earlier: Duration, of: u32| {
        (later.as_ns() - earlier.as_ns()) as f64 / ns / f64::from(of.max(1))
    };
    let bytes = Bytes {
        to_host: after.bytes_to_host - before.bytes_to_host,
        from_host: after.bytes_from_host - before.bytes_from_host,
        internal: after.bytes_internal - before.bytes_internal,
        flash_read: flash_read(&after) - flash_read(&before),
        flash_programmed: flash_programmed(&after) - flash_programmed(&before),
    };
    let link = |bytes: u64| config.host_link.bandwidth.time_for(bytes).as_ns() as f64 / ns;
    let written = after.flash.host_bytes_written - before.flash.host_bytes_written;
    let geometry = &config.flash;
    let channels = geometry.channels;
    let dies = channels * geometry.dies_per_channel;
    DriveReport {
        serial: config.serial.clone(),
        units_busy: share(after.units_busy, before.units_busy, config.compute.units),
        channels_busy: share(after.flash.channels_busy, before.flash.channels_busy, channels),
        dies_busy: share(after.flash.dies_busy, before.flash.dies_busy, dies),
        link_to_host_busy: link(bytes.to_host),
        link_from_host_busy: link(bytes.from_host),
        bytes,
        write_amplification: match written {
            0 => 1.0,
            written => bytes.flash_programmed as f64 / written as f64,
        },
        erases: after.flash.erases - before.flash.erases,
    }
}

fn flash_read(counters: &Statistics) -> u64 {
    let flash = &counters.flash;
    (flash.flash_reads + flash.modify_reads + flash.gc_reads) * counters.page_bytes
}

fn flash_programmed(counters: &Statistics) -> u64 {
    let flash = &counters.flash;
    (flash.flash_programs + flash.gc_programs) * counters.page_bytes
}

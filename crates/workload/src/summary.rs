//! The report of what instances counted and drives tell.

use std::collections::BTreeMap;

use nvme_spec::DriveCounters;
use simtime::Instant;
use zerocopy::little_endian::{U32, U64};

use crate::measure::{Counts, Latencies, Operations};
use crate::plan::Plan;
use crate::prepare::Prepared;
use crate::report::{
    Bytes, DriveReport, FORMAT_VERSION, JobReport, Late, Latency, Measured, Report, SeriesReport,
    Steps, TenantReport,
};
use crate::rig::{GroupCounts, Rig};

/// What came of all instances.
pub(crate) fn report<R: Rig>(
    plan: &Plan,
    counts: &[Counts],
    windows: &[(Instant, Instant)],
    prepared: &[Prepared],
    groups: &[GroupCounts],
    drives: Vec<DriveReport>,
) -> Report {
    let mut jobs = Vec::new();
    let mut tenants: BTreeMap<String, (Instant, Instant, Operations)> = BTreeMap::new();
    for (number, job) in plan.jobs.iter().enumerate() {
        let (counts, (from, end)) = (&counts[number], windows[number]);
        let elapsed = end.since(from).as_ns();
        let of_groups = |of: fn(&GroupCounts) -> u64| -> u64 {
            let mine = prepared.iter().zip(groups).filter(|(one, _)| one.job == number);
            mine.map(|(_, counts)| of(counts)).sum()
        };
        if let Some(tenant) = &job.tenant {
            let of = || (from, end, Operations::default());
            let (first, last, all) = tenants.entry(tenant.clone()).or_insert_with(of);
            (*first, *last) = (from.min(*first), end.max(*last));
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
            result_min: counts.result_min,
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
        .map(|(tenant, (first, last, all))| {
            let elapsed = last.since(first).as_ns();
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

/// What a drive did between two readings of its counters.
pub(crate) fn drive_report(
    serial: String,
    before: DriveCounters,
    after: DriveCounters,
) -> DriveReport {
    let since = |of: fn(&DriveCounters) -> U64| of(&after).get() - of(&before).get();
    let ns = since(|c| c.now_ns).max(1) as f64;
    let share = |busy: u64, of: U32| busy as f64 / ns / f64::from(of.get().max(1));
    let page_bytes = u64::from(after.page_bytes.get());
    let reads = since(|c| c.flash_reads) + since(|c| c.modify_reads) + since(|c| c.gc_reads);
    let programs = since(|c| c.flash_programs) + since(|c| c.gc_programs);
    let bytes = Bytes {
        to_host: since(|c| c.bytes_to_host),
        from_host: since(|c| c.bytes_from_host),
        internal: since(|c| c.bytes_internal),
        from_peers: since(|c| c.bytes_from_peers),
        to_peers: since(|c| c.bytes_to_peers),
        flash_read: reads * page_bytes,
        flash_programmed: programs * page_bytes,
    };
    let late = since(|c| c.late);
    DriveReport {
        serial,
        units_busy: share(since(|c| c.units_busy_ns), after.units),
        channels_busy: share(since(|c| c.channels_busy_ns), after.channels),
        dies_busy: share(since(|c| c.dies_busy_ns), after.dies),
        link_out_busy: since(|c| c.link_out_busy_ns) as f64 / ns,
        link_in_busy: since(|c| c.link_in_busy_ns) as f64 / ns,
        bytes,
        write_amplification: match since(|c| c.host_bytes_written) {
            0 => 1.0,
            written => bytes.flash_programmed as f64 / written as f64,
        },
        erases: since(|c| c.erases),
        commands: since(|c| c.commands),
        late: Late {
            commands: late,
            tolerance_ns: after.late_tolerance_ns.get(),
            mean_ns: since(|c| c.late_sum_ns) as f64 / late.max(1) as f64,
            max_ns: after.late_max_ns.get(),
        },
    }
}

//! The report of what the host counted and drives tell.

use std::collections::BTreeMap;

use analysis::DriveReport;
use simtime::Instant;

use crate::measure::{Counts, Latencies, Operations};
use crate::plan::Plan;
use crate::prepare::Prepared;
use crate::report::{
    FORMAT_VERSION, JobReport, Latency, Measured, Report, SeriesReport, Steps, TenantReport,
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

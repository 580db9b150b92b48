//! `csdrive bench schedulers`: what each scheduler makes of the same jobs, in virtual time. The table is the same on every machine.

use anyhow::Result;
use compute::{Config, Engine, Finished, GroupId, GroupSettings, JobId, PolicyKind};
use serde_json::{Value, json};
use simtime::{Duration, Instant, Prng};

use crate::Outcome;
use crate::report::{self, say};

/// Options of `csdrive bench schedulers`.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Four units, a slice of 50 us, a switch of 200 ns.
fn config(policy: PolicyKind) -> Config {
    Config { units: 4, policy, time_slice: Duration::from_us(50), ..Config::default() }
}

/// A job to come: when, of which group, and how long it runs.
struct Job {
    at: Duration,
    group: usize,
    cost: Duration,
}

struct Workload {
    name: &'static str,
    groups: Vec<GroupSettings>,
    /// In the order in which they come.
    jobs: Vec<Job>,
}

fn workloads() -> [Workload; 3] {
    let us = Duration::from_us;
    let default = GroupSettings::default();
    let batch = (0..64).map(|_| Job { at: us(0), group: 0, cost: us(100) }).collect();
    let (mut prng, mut at) = (Prng::new(1), us(0));
    let mix = (0..2000).map(|_| {
        // 145 us of work on average every 45 us: the units are busy four fifths of their time.
        at += Duration::from_ns(prng.below(90_625));
        Job { at, group: 0, cost: if prng.below(10) == 0 { us(1000) } else { us(50) } }
    });
    let mix = mix.collect();
    // Long jobs of one tenant come in bursts of 16 and keep the units busy nine tenths of their time; short ones of another
    // have a deadline.
    let long = (0..500).map(|n| Job { at: us(2224 * (n / 16)), group: 0, cost: us(500) });
    let short = (0..340).map(|n| Job { at: us(204 * n), group: 1, cost: us(50) });
    let mut tenants: Vec<Job> = long.chain(short).collect();
    tenants.sort_by_key(|job| job.at);
    let settings = |weight, priority, deadline| GroupSettings {
        weight,
        priority,
        deadline: Some(us(deadline)),
        ..GroupSettings::default()
    };
    [
        Workload { name: "batch", groups: vec![default], jobs: batch },
        Workload { name: "mix", groups: vec![default], jobs: mix },
        Workload {
            name: "tenants",
            groups: vec![settings(100, 1, 20_000), settings(300, 9, 200)],
            jobs: tenants,
        },
    ]
}

/// What became of a workload under a scheduler.
struct Row {
    workload: &'static str,
    scheduler: &'static str,
    makespan_ns: u64,
    mean_ns: u64,
    p99_ns: u64,
    /// 99th percentile of the last group.
    last_p99_ns: u64,
    switches: u64,
    /// Jain's index of the slowdowns (turnaround / cost): 1 if all jobs are slowed down by the same factor.
    fairness: f64,
    missed: u64,
}

/// The 99th percentile.
fn p99(mut times: Vec<u64>) -> u64 {
    times.sort_unstable();
    report::percentile(&times, 990)
}

fn measure(workload: &Workload, scheduler: &'static str, policy: PolicyKind) -> Row {
    let mut engine = Engine::new(&config(policy));
    let groups: Vec<GroupId> = workload
        .groups
        .iter()
        .map(|settings| engine.create_group(*settings).expect("there are few"))
        .collect();
    let mut finished: Vec<Finished> = Vec::new();
    for (n, job) in workload.jobs.iter().enumerate() {
        let at = Instant::ZERO + job.at;
        engine.advance(at, &mut finished);
        engine.submit(at, JobId(n as u64), groups[job.group], Some(job.cost.into()));
    }
    while let Some(at) = engine.next_event() {
        engine.advance(at, &mut finished);
    }
    let turnaround = |f: &Finished| (f.ran + f.waited).as_ns();
    let times: Vec<u64> = finished.iter().map(turnaround).collect();
    let last = workload.groups.len() - 1;
    let of_last = finished.iter().filter(|f| workload.jobs[f.job.0 as usize].group == last);
    let slowdowns: Vec<f64> =
        finished.iter().map(|f| turnaround(f) as f64 / f.ran.as_ns() as f64).collect();
    let (sum, squares) = slowdowns.iter().fold((0.0, 0.0), |(s, q), x| (s + x, q + x * x));
    Row {
        workload: workload.name,
        scheduler,
        makespan_ns: finished.iter().map(|f| f.at.as_ns()).max().unwrap_or(0),
        mean_ns: times.iter().sum::<u64>() / times.len() as u64,
        p99_ns: p99(times),
        last_p99_ns: p99(of_last.map(turnaround).collect()),
        switches: engine.context_switches(),
        fairness: sum * sum / (slowdowns.len() as f64 * squares),
        missed: engine.groups().map(|group| group.missed).sum(),
    }
}

/// Runs the benchmark.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let workloads = workloads();
    let rows = workloads.iter().flat_map(|workload| {
        PolicyKind::NAMES.map(|(name, policy)| measure(workload, name, policy))
    });
    if arguments.json {
        let document = |row: Row| -> Value {
            json!({
                "workload": row.workload, "scheduler": row.scheduler,
                "makespan_ns": row.makespan_ns, "mean_ns": row.mean_ns, "p99_ns": row.p99_ns,
                "last_group_p99_ns": row.last_p99_ns, "switches": row.switches,
                "fairness": (row.fairness * 1e4).round() / 1e4, "missed": row.missed,
            })
        };
        let rows: Vec<Value> = rows.map(document).collect();
        say!("{:#}", json!({ "format_version": 1, "rows": rows }));
        return Ok(Outcome::Success);
    }
    say!(
        "{:<9} {:<20} {:>10} {:>11} {:>11} {:>15} {:>9} {:>9} {:>7}",
        "workload",
        "scheduler",
        "makespan",
        "mean",
        "p99",
        "last group p99",
        "switches",
        "fairness",
        "missed"
    );
    for row in rows {
        let [makespan, mean, p99, last] =
            [row.makespan_ns, row.mean_ns, row.p99_ns, row.last_p99_ns].map(report::time);
        let Row { workload, scheduler, switches, fairness, missed, .. } = row;
        say!(
            "{workload:<9} {scheduler:<20} {makespan:>10} {mean:>11} {p99:>11} {last:>15} {switches:>9} {fairness:>9.3} {missed:>7}"
        );
    }
    Ok(Outcome::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 64 equal jobs of 100 us on 4 units: 16 for each unit.
    #[test]
    fn a_batch_takes_what_arithmetic_says() {
        let [batch, ..] = workloads();
        let row = |name| {
            let (name, policy) = PolicyKind::NAMES.into_iter().find(|(n, _)| *n == name).unwrap();
            let row = measure(&batch, name, policy);
            (row.makespan_ns, row.mean_ns, row.p99_ns, row.switches)
        };
        // The k-th job of a unit ends at 100 k; the mean of 100 to 1600 is 850.
        for name in ["weighted-fair", "fifo", "grouped-fifo", "priority", "earliest-deadline"] {
            assert_eq!(row(name), (1_600_000, 850_000, 1_600_000, 0), "{name}");
        }
        // 16 first halves, each but the first after a switch, then 16 second halves, the first after a switch: they end at
        // 800 + 16 x 0.2 + 50 k.
        for name in ["weighted-round-robin", "round-robin", "grouped-round-robin"] {
            assert_eq!(row(name), (1_603_200, 1_228_200, 1_603_200, 64), "{name}");
        }
    }

    #[test]
    fn schedulers_do_for_tenants_what_they_are_for() {
        let [_, _, tenants] = workloads();
        let row = |name| {
            let (name, policy) = PolicyKind::NAMES.into_iter().find(|(n, _)| *n == name).unwrap();
            measure(&tenants, name, policy)
        };
        let fifo = row("fifo");
        // The priority of the short jobs is eight above that of the others: they wait for one another alone.
        let priority = row("priority");
        assert_eq!((priority.last_p99_ns, priority.missed), (50_200, 0), "a switch and 50 us");
        assert_eq!(row("earliest-deadline").missed, 0);
        assert!(fifo.missed > 100 && fifo.last_p99_ns > 500_000, "{}", fifo.last_p99_ns);
    }
}

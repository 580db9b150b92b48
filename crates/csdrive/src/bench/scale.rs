//! `csdrive bench scale`: what an operation of the models costs as there is more of everything.

use std::time::Instant as HostInstant;

use anyhow::Result;
use compute::{Engine, GroupId, JobId};
use serde_json::{Value, json};
use simtime::{Duration, Instant, Prng};
use ssd::{Lpn, RequestId, Span, Ssd};

use crate::Outcome;
use crate::report::{say, tell};

/// Rounds of each measurement, of which the fastest counts.
const ROUNDS: usize = 5;

/// Options of `csdrive bench scale`.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Nanoseconds per operation of a round, which says how many operations it did.
fn nanoseconds(mut round: impl FnMut() -> u64) -> f64 {
    let start = HostInstant::now();
    let count = round();
    start.elapsed().as_nanos() as f64 / count as f64
}

/// The same for the fastest of some rounds.
fn fastest(mut round: impl FnMut() -> u64) -> f64 {
    (0..ROUNDS).map(|_| nanoseconds(&mut round)).fold(f64::INFINITY, f64::min)
}

/// A job is submitted, runs and finishes while all units are busy and as many jobs wait. The work of a round, and how many jobs it is.
fn jobs(units: u32, waiting: u32) -> impl FnMut() -> u64 {
    let config = compute::Config { units, ..compute::Config::default() };
    let mut engine = Engine::new(&config);
    let (mut next, mut finished) = (0, Vec::new());
    let mut submit = move |engine: &mut Engine, now| {
        engine.submit(
            now,
            JobId(next),
            GroupId::NONE,
            Some(Duration::from_ns(1000 + next % 977).into()),
        );
        next += 1;
    };
    (0..units + waiting).for_each(|_| submit(&mut engine, Instant::ZERO));
    move || {
        for _ in 0..20_000 {
            let now = engine.next_or_never();
            engine.advance(now, &mut finished);
            for _ in finished.drain(..) {
                submit(&mut engine, now);
            }
        }
        20_000
    }
}

/// The newest of so many waiting jobs is cancelled, and another one comes.
fn cancel_ns(jobs: u64) -> f64 {
    let mut engine = Engine::new(&compute::Config::default());
    (0..jobs).for_each(|n| engine.submit(Instant::ZERO, JobId(n), GroupId::NONE, None));
    fastest(|| {
        for _ in 0..20_000 {
            engine.cancel(Instant::ZERO, JobId(jobs - 1));
            engine.submit(Instant::ZERO, JobId(jobs - 1), GroupId::NONE, None);
        }
        20_000
    })
}

/// A random page of a drive is written while collection is in its steady state. The drive always holds as much; its blocks
/// are as small as there are many of them.
fn write_ns(change: impl Fn(&mut ssd::Config)) -> Result<f64> {
    let mut config = ssd::Config {
        capacity_bytes: 1 << 30,
        overprovisioning_permille: 280,
        keep_data: false,
        ..ssd::Config::default()
    };
    change(&mut config);
    let mut ssd = Ssd::new(&config)?;
    let pages = ssd.geometry().logical_pages;
    let (mut prng, mut now, mut done, mut n) = (Prng::new(1), Instant::ZERO, Vec::new(), 0);
    let mut write = |ssd: &mut Ssd, lpn| {
        ssd.write(now, RequestId(n), Span { lpn: Lpn(lpn), offset: 0, len: 4096 }, false, None);
        n += 1;
        while ssd.backlog() > 128 {
            now = ssd.next_or_never();
            ssd.advance(now, &mut done);
            done.clear();
        }
    };
    (0..pages).for_each(|lpn| write(&mut ssd, lpn));
    (0..2 * pages).for_each(|_| write(&mut ssd, prng.below(pages)));
    Ok(fastest(|| {
        (0..50_000).for_each(|_| write(&mut ssd, prng.below(pages)));
        50_000
    }))
}

/// Runs the benchmark.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let mut rows: Vec<(&str, u64, f64)> = Vec::new();
    for units in [4, 64, 1024] {
        tell!("measuring {units} units");
        rows.push(("job, by compute units", units.into(), fastest(jobs(units, units))));
    }
    // Their ratio is what counts: in turns, whatever else this machine does.
    tell!("measuring 10 jobs on 4 units, and 100 000 on 256");
    let (mut few, mut many) = (jobs(4, 10), jobs(256, 100_000));
    let (mut few_ns, mut many_ns) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..ROUNDS {
        few_ns = few_ns.min(nanoseconds(&mut few));
        many_ns = many_ns.min(nanoseconds(&mut many));
    }
    rows.push(("job on 4 units, by waiting jobs", 10, few_ns));
    rows.push(("job on 256 units, by waiting jobs", 100_000, many_ns));
    for jobs in [10, 1_000, 100_000] {
        tell!("measuring {jobs} jobs");
        rows.push(("cancel, by waiting jobs", jobs, cancel_ns(jobs)));
    }
    for pages in [256u32, 64, 16] {
        tell!("measuring blocks of {pages} pages");
        let change = |config: &mut ssd::Config| {
            (config.channels, config.dies_per_channel) = (1, 2);
            config.pages_per_block = pages;
        };
        let blocks = (1u64 << 18) / 4 / u64::from(pages);
        rows.push(("write, by blocks of a plane", blocks, write_ns(change)?));
    }
    for dies in [2u32, 8, 32, 64] {
        tell!("measuring {dies} dies");
        let change = |config: &mut ssd::Config| {
            (config.channels, config.dies_per_channel) = (2, dies / 2);
            config.pages_per_block = 64;
        };
        rows.push(("write, by dies", dies.into(), write_ns(change)?));
    }
    if arguments.json {
        let row = |(what, count, ns): &(&str, u64, f64)| -> Value {
            json!({ "operation": what, "count": count, "ns": (ns * 10.0).round() / 10.0 })
        };
        let rows: Vec<Value> = rows.iter().map(row).collect();
        say!("{:#}", json!({ "format_version": 1, "rows": rows }));
        return Ok(Outcome::Success);
    }
    say!("{:<36} {:>9} {:>9}", "operation", "count", "ns");
    for (what, count, ns) in rows {
        say!("{what:<36} {count:>9} {ns:>9.0}");
    }
    Ok(Outcome::Success)
}

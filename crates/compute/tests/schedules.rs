//! Schedules that arithmetic predicts, and invariants of random ones.

use compute::{Config, Engine, Fifo, Finished, JobId, PolicyKind, RoundRobin, conformance};
use proptest::prelude::*;
use simtime::{Duration, Instant};

fn us(n: u64) -> Duration {
    Duration::from_us(n)
}

fn drain(engine: &mut Engine) -> Vec<Finished> {
    let mut finished = Vec::new();
    while let Some(at) = engine.next_event() {
        engine.advance(at, &mut finished);
    }
    finished
}

fn ends(config: &Config, costs_us: &[u64]) -> Vec<(u64, u64)> {
    let mut engine = Engine::new(config);
    for (n, &cost) in costs_us.iter().enumerate() {
        engine.submit(Instant::ZERO, JobId(n as u64), Some(us(cost)));
    }
    drain(&mut engine).iter().map(|f| (f.job.0, f.at.as_ns())).collect()
}

#[test]
fn policies_conform() {
    conformance::check(|| Box::new(Fifo::default()));
    conformance::check(|| Box::new(RoundRobin::new(us(1))));
}

#[test]
fn fifo_n_equal_jobs_on_m_units_take_ceil_n_over_m_times_as_long() {
    for (jobs, units) in [(1, 1), (8, 2), (7, 3), (4, 8), (9, 1)] {
        let config = Config { units, ..Config::default() };
        let last = ends(&config, &vec![100; jobs]).last().unwrap().1;
        assert_eq!(last, 100_000 * (jobs as u64).div_ceil(units.into()));
    }
}

#[test]
fn fifo_keeps_arrival_order_and_runs_to_completion() {
    let config = Config { units: 1, ..Config::default() };
    assert_eq!(ends(&config, &[300, 10, 20]), [(0, 300_000), (1, 310_000), (2, 330_000)]);
}

#[test]
fn round_robin_slices_and_pays_for_switches() {
    let config = Config {
        units: 1,
        policy: PolicyKind::RoundRobin,
        time_slice: us(100),
        context_switch_time: us(1),
    };
    // 0..100 A | 101..151 B ends | A resumes without a switch: B was not interrupted | 151..301.
    assert_eq!(ends(&config, &[250, 50]), [(1, 151_000), (0, 301_000)]);
    // Alone, a job is never interrupted.
    assert_eq!(ends(&config, &[250]), [(0, 250_000)]);
    // Three of 200: slices A B C A B C with a switch after each of the first three interruptions;
    // A, B and C end inside their second slice.
    assert_eq!(ends(&config, &[200, 200, 200]), [(0, 403_000), (1, 503_000), (2, 603_000)]);
}

#[test]
fn unit_waits_for_a_cost_that_comes_late() {
    let mut engine = Engine::new(&Config { units: 1, ..Config::default() });
    engine.submit(Instant::ZERO, JobId(1), None);
    engine.submit(Instant::ZERO, JobId(2), Some(us(5)));
    assert_eq!(engine.next_event(), None);
    engine.set_cost(Instant::from_ns(30_000), JobId(1), us(10));
    let finished = drain(&mut engine);
    assert_eq!(finished[0].at.as_ns(), 30_000, "already over: ends when known");
    assert_eq!(finished[1].at.as_ns(), 35_000);
}

#[test]
fn cancel_frees_the_unit_and_forgets_waiting_jobs() {
    let mut engine = Engine::new(&Config { units: 1, ..Config::default() });
    for job in 0..3 {
        engine.submit(Instant::ZERO, JobId(job), Some(us(100)));
    }
    assert!(engine.cancel(Instant::from_ns(1_000), JobId(0)));
    assert!(engine.cancel(Instant::from_ns(1_000), JobId(2)));
    assert!(!engine.cancel(Instant::from_ns(1_000), JobId(2)));
    let finished = drain(&mut engine);
    assert_eq!((finished.len(), finished[0].job, finished[0].at.as_ns()), (1, JobId(1), 101_000));
}

proptest! {
    /// No job is lost, each runs for exactly its cost, units do not overlap, and no unit idles
    /// while a job waits.
    #[test]
    fn random_schedules_keep_the_invariants(
        units in 1u32..5,
        round_robin in any::<bool>(),
        slice_us in 1u64..50,
        switch_ns in 0u64..3000,
        jobs in prop::collection::vec((0u64..200_000, 1u64..300_000), 1..60),
    ) {
        let policy = if round_robin { PolicyKind::RoundRobin } else { PolicyKind::Fifo };
        let config = Config {
            units, policy, time_slice: us(slice_us),
            context_switch_time: Duration::from_ns(switch_ns),
        };
        let mut engine = Engine::new(&config);
        engine.set_recording(true);
        let mut arrivals = jobs;
        arrivals.sort_unstable();
        let mut finished = Vec::new();
        for (n, &(at, cost)) in arrivals.iter().enumerate() {
            engine.advance(Instant::from_ns(at), &mut finished);
            engine.submit(Instant::from_ns(at), JobId(n as u64), Some(Duration::from_ns(cost)));
        }
        finished.extend(drain(&mut engine));
        let records = engine.take_records();
        prop_assert_eq!(finished.len(), arrivals.len());
        prop_assert_eq!(engine.jobs(), 0);
        for f in &finished {
            let (at, cost) = arrivals[f.job.0 as usize];
            let stays: u64 = records.iter().filter(|r| r.job == f.job)
                .map(|r| r.end.since(r.start).as_ns()).sum();
            prop_assert_eq!(stays, cost);
            prop_assert_eq!(f.ran.as_ns(), cost);
            prop_assert_eq!(f.at.as_ns(), at + cost + f.waited.as_ns());
        }
        for unit in 0..units {
            let mut stays: Vec<_> = records.iter().filter(|r| r.unit.0 == unit).collect();
            stays.sort_by_key(|r| r.start);
            prop_assert!(stays.windows(2).all(|w| w[0].end <= w[1].start));
        }
        if switch_ns == 0 || !round_robin {
            // Work conserving: while a job waits, every unit is busy.
            for f in &finished {
                let first = records.iter().filter(|r| r.job == f.job).map(|r| r.start).min().unwrap();
                let arrived = Instant::from_ns(arrivals[f.job.0 as usize].0);
                if first > arrived {
                    let busy = records.iter().filter(|r| r.start <= arrived && r.end > arrived);
                    prop_assert!(busy.count() >= units as usize);
                }
            }
        }
    }
}

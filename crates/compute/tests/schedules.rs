//! Schedules that arithmetic predicts, and invariants of random ones.

use compute::{
    Config, Engine, Finished, GroupError, GroupId, JobId, PolicyKind, Shares, conformance,
};
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
        engine.submit(Instant::ZERO, JobId(n as u64), GroupId::NONE, Some(us(cost)));
    }
    drain(&mut engine).iter().map(|f| (f.job.0, f.at.as_ns())).collect()
}

#[test]
fn policies_conform() {
    conformance::check(|| Box::new(Shares::fifo()));
    conformance::check(|| Box::new(Shares::round_robin(us(1))));
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
    engine.submit(Instant::ZERO, JobId(1), GroupId::NONE, None);
    engine.submit(Instant::ZERO, JobId(2), GroupId::NONE, Some(us(5)));
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
        engine.submit(Instant::ZERO, JobId(job), GroupId::NONE, Some(us(100)));
    }
    assert!(engine.cancel(Instant::from_ns(1_000), JobId(0)));
    assert!(engine.cancel(Instant::from_ns(1_000), JobId(2)));
    assert!(!engine.cancel(Instant::from_ns(1_000), JobId(2)));
    let finished = drain(&mut engine);
    assert_eq!((finished.len(), finished[0].job, finished[0].at.as_ns()), (1, JobId(1), 101_000));
}

/// Groups that always have jobs waiting: how much unit time each has had after some.
fn shares_of(policy: PolicyKind, units: u32, weights: &[u16]) -> Vec<f64> {
    let mut engine = Engine::new(&Config { units, policy, ..Config::default() });
    let groups: Vec<_> = weights.iter().map(|w| engine.create_group(*w).unwrap()).collect();
    let mut next = 0;
    // The first group's jobs are long, the others' are short: what counts is time.
    let mut refill = |engine: &mut Engine, now| {
        for (n, group) in groups.iter().enumerate() {
            let jobs = |e: &Engine| e.groups().find(|g| g.group == *group).unwrap().jobs;
            while jobs(engine) < 2 * units {
                engine.submit(now, JobId(next), *group, Some(us(if n == 0 { 700 } else { 70 })));
                next += 1;
            }
        }
    };
    refill(&mut engine, Instant::ZERO);
    let mut finished = Vec::new();
    while let Some(at) = engine.next_event().filter(|at| at.as_ns() < 1_000_000_000) {
        engine.advance(at, &mut finished);
        refill(&mut engine, at);
    }
    let ran: Vec<_> = groups
        .iter()
        .map(|group| engine.groups().find(|g| g.group == *group).unwrap().ran.as_ns() as f64)
        .collect();
    let total: f64 = ran.iter().sum();
    ran.iter().map(|ran| ran / total).collect()
}

#[test]
fn groups_share_unit_time_by_weight() {
    for policy in [PolicyKind::Fifo, PolicyKind::RoundRobin] {
        for units in [1, 4] {
            for weights in [&[100, 100][..], &[1, 3], &[600, 300, 100], &[1, 1000]] {
                let total: f64 = weights.iter().map(|w| f64::from(*w)).sum();
                for (share, weight) in shares_of(policy, units, weights).iter().zip(weights) {
                    let expected = f64::from(*weight) / total;
                    assert!(
                        (share - expected).abs() < 0.01,
                        "{policy:?}, {units} units, {weights:?}: {share} instead of {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_group_of_one_job_has_its_share_whatever_its_name() {
    for weights in [[100, 100, 1000], [1000, 100, 100], [100, 1000, 100]] {
        let config = Config { units: 2, policy: PolicyKind::RoundRobin, ..Config::default() };
        let mut engine = Engine::new(&config);
        for (n, weight) in weights.into_iter().enumerate() {
            let group = engine.create_group(weight).unwrap();
            engine.submit(Instant::ZERO, JobId(n as u64), group, Some(us(30_000)));
        }
        let finished = drain(&mut engine);
        // The heavy one has a unit to itself, the others share the second.
        assert_eq!(weights[finished[0].job.0 as usize], 1000, "{weights:?}: {finished:?}");
        let late = finished[0].at.as_ns() as f64 / 30e6;
        assert!(late < 1.05, "{weights:?}: it took {late:.2} times as long as alone");
    }
}

#[test]
fn an_idle_group_saves_nothing_and_leaves_its_share_to_others() {
    let mut engine = Engine::new(&Config { units: 1, ..Config::default() });
    let [busy, idle] = [100, 100].map(|weight| engine.create_group(weight).unwrap());
    for job in 0..20 {
        engine.submit(Instant::ZERO, JobId(job), busy, Some(us(10)));
    }
    let mut finished = Vec::new();
    // Half of them are done, one after the other: the other group's time was theirs.
    engine.advance(Instant::from_ns(100_000), &mut finished);
    assert_eq!(finished.len(), 10);
    // From now on they take turns; the newcomer has no more than its share.
    for job in 20..30 {
        engine.submit(Instant::from_ns(100_000), JobId(job), idle, Some(us(10)));
    }
    let order: Vec<bool> = drain(&mut engine).iter().map(|f| f.job.0 < 20).collect();
    assert!(order[1..].windows(2).take(17).all(|pair| pair[0] != pair[1]), "{order:?}");
}

#[test]
fn groups_come_and_go() {
    let mut engine = Engine::new(&Config::default());
    let all: Vec<_> = (1..=255).map(|n| (engine.create_group(n), Some(GroupId(n as u8)))).collect();
    assert!(all.iter().all(|(given, expected)| given == expected));
    assert_eq!(engine.create_group(1), None);
    engine.submit(Instant::ZERO, JobId(1), GroupId(7), Some(us(1)));
    assert_eq!(engine.delete_group(GroupId(7)), Err(GroupError::InUse));
    assert!(engine.cancel(Instant::ZERO, JobId(1)));
    assert_eq!(engine.delete_group(GroupId(7)), Ok(()));
    assert_eq!(engine.delete_group(GroupId(7)), Err(GroupError::Unknown));
    assert_eq!(engine.set_group_weight(GroupId(7), 5), Err(GroupError::Unknown));
    assert_eq!(engine.delete_group(GroupId::NONE), Err(GroupError::Unknown));
    assert_eq!(engine.set_group_weight(GroupId::NONE, 5), Ok(()));
    assert_eq!(engine.create_group(9), Some(GroupId(7)), "the lowest free name");
}

proptest! {
    /// No job is lost, whatever its group, each runs for exactly its cost, units do not overlap, and no unit idles
    /// while a job waits.
    #[test]
    fn random_schedules_keep_the_invariants(
        units in 1u32..5,
        round_robin in any::<bool>(),
        slice_us in 1u64..50,
        switch_ns in 0u64..3000,
        weights in prop::collection::vec(1u16..1000, 0..4),
        jobs in prop::collection::vec((0u64..200_000, 1u64..300_000), 1..60),
    ) {
        let policy = if round_robin { PolicyKind::RoundRobin } else { PolicyKind::Fifo };
        let config = Config {
            units, policy, time_slice: us(slice_us),
            context_switch_time: Duration::from_ns(switch_ns),
        };
        let mut engine = Engine::new(&config);
        engine.set_recording(true);
        for weight in &weights {
            engine.create_group(*weight).expect("there can be 255");
        }
        let mut arrivals = jobs;
        arrivals.sort_unstable();
        let mut finished = Vec::new();
        for (n, &(at, cost)) in arrivals.iter().enumerate() {
            engine.advance(Instant::from_ns(at), &mut finished);
            let group = GroupId((n % (weights.len() + 1)) as u8);
            engine.submit(Instant::from_ns(at), JobId(n as u64), group, Some(Duration::from_ns(cost)));
        }
        finished.extend(drain(&mut engine));
        let records = engine.records().expect("they are made").clone();
        prop_assert_eq!(finished.len(), arrivals.len());
        prop_assert_eq!(engine.jobs(), 0);
        let ran: u64 = engine.groups().map(|group| group.ran.as_ns()).sum();
        prop_assert_eq!(ran, arrivals.iter().map(|(_, cost)| cost).sum::<u64>());
        prop_assert!(engine.groups().all(|group| group.jobs == 0));
        for f in &finished {
            let (at, cost) = arrivals[f.job.0 as usize];
            let stays: u64 = records.iter().filter(|r| r.job == f.job.0)
                .map(|r| r.end_ns - r.start_ns).sum();
            prop_assert_eq!(stays, cost);
            prop_assert_eq!(f.ran.as_ns(), cost);
            prop_assert_eq!(f.at.as_ns(), at + cost + f.waited.as_ns());
        }
        for unit in 0..units {
            let mut stays: Vec<_> = records.iter().filter(|r| r.unit == unit).collect();
            stays.sort_by_key(|r| r.start_ns);
            prop_assert!(stays.windows(2).all(|w| w[0].end_ns <= w[1].start_ns));
        }
        if switch_ns == 0 || !round_robin {
            // Work conserving: while a job waits, every unit is busy.
            for f in &finished {
                let first = records.iter().filter(|r| r.job == f.job.0).map(|r| r.start_ns).min().unwrap();
                let arrived = arrivals[f.job.0 as usize].0;
                if first > arrived {
                    let busy = records.iter().filter(|r| r.start_ns <= arrived && r.end_ns > arrived);
                    prop_assert!(busy.count() >= units as usize);
                }
            }
        }
    }
}

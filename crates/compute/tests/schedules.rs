//! Schedules that arithmetic predicts, and invariants of random ones.

use std::num::NonZeroU16;

use compute::{
    Affinity, Config, Cost, Engine, Finished, GroupError, GroupId, GroupSettings, JobId,
    PolicyKind, QueueKind, Ranked, Shares, Turns, UnitId, conformance,
};
use proptest::prelude::*;
use simtime::{Bandwidth, Duration, Instant};

fn us(n: u64) -> Duration {
    Duration::from_us(n)
}

fn weighing(weight: u16) -> GroupSettings {
    GroupSettings { weight, ..GroupSettings::default() }
}

fn of_priority(priority: u8) -> GroupSettings {
    GroupSettings { priority, ..GroupSettings::default() }
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
        engine.submit(Instant::ZERO, JobId(n as u64), GroupId::NONE, Some(us(cost).into()));
    }
    drain(&mut engine).iter().map(|f| (f.job.0, f.at.as_ns())).collect()
}

#[test]
fn policies_conform() {
    conformance::check(|| Box::new(Shares::fifo()));
    conformance::check(|| Box::new(Shares::round_robin(us(1))));
    conformance::check(|| Box::new(Shares::weighted_fair()));
    conformance::check(|| Box::new(Shares::weighted_round_robin(us(1))));
    conformance::check(|| Box::new(Turns::fifo(None)));
    conformance::check(|| Box::new(Turns::fifo(Some(us(1)))));
    conformance::check(|| Box::new(Turns::round_robin(us(1), false)));
    conformance::check(|| Box::new(Turns::round_robin(us(1), true)));
    conformance::check(|| Box::new(Ranked::priority(us(1))));
    conformance::check(|| Box::new(Ranked::priority(Duration::ZERO)));
    conformance::check(|| Box::new(Ranked::earliest_deadline()));
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
        ..Config::default()
    };
    // 0..100 A | 101..151 B ends | A resumes without a switch: B was not interrupted | 151..301.
    assert_eq!(ends(&config, &[250, 50]), [(1, 151_000), (0, 301_000)]);
    // Alone, a job is never interrupted.
    assert_eq!(ends(&config, &[250]), [(0, 250_000)]);
    // Three of 200: slices A B C A B C with a switch after each of the first three interruptions;
    // A, B and C end inside their second slice.
    assert_eq!(ends(&config, &[200, 200, 200]), [(0, 403_000), (1, 503_000), (2, 603_000)]);
}

/// One unit; jobs (when, group, cost) in microseconds; when each ends.
fn ends_of(config: &Config, groups: &[GroupSettings], jobs: &[(u64, u8, u64)]) -> Vec<(u64, u64)> {
    let mut engine = Engine::new(&Config { units: 1, ..config.clone() });
    for group in groups {
        engine.create_group(*group).unwrap();
    }
    let mut finished = Vec::new();
    engine.set_recording(true);
    for (n, &(at, group, cost)) in jobs.iter().enumerate() {
        let at = Instant::ZERO + us(at);
        engine.advance(at, &mut finished);
        engine.submit(at, JobId(n as u64), GroupId(group), Some(us(cost).into()));
    }
    finished.extend(drain(&mut engine));
    let records = engine.records().expect("they are made");
    assert!(records.iter().all(|stay| stay.start_ns <= stay.end_ns), "{records:?}");
    let ran: u64 = records.iter().map(|stay| stay.end_ns - stay.start_ns).sum();
    assert_eq!(ran, jobs.iter().map(|job| job.2 * 1000).sum::<u64>());
    finished.iter().map(|f| (f.job.0, f.at.as_ns() / 1000)).collect()
}

#[test]
fn plain_policies_know_no_groups() {
    let groups = [weighing(1), weighing(1000)];
    let jobs = [(0, 1, 100), (0, 1, 100), (0, 1, 100), (0, 2, 100)];
    let config = |policy| Config {
        policy,
        time_slice: us(50),
        context_switch_time: Duration::ZERO,
        ..Config::default()
    };
    let in_order = [(0, 100), (1, 200), (2, 300), (3, 400)];
    assert_eq!(ends_of(&config(PolicyKind::Fifo), &groups, &jobs), in_order);
    let halves = [(0, 250), (1, 300), (2, 350), (3, 400)];
    assert_eq!(ends_of(&config(PolicyKind::RoundRobin), &groups, &jobs), halves);
    // The heavy group has used nothing when the first job ends.
    let by_weight = [(0, 100), (3, 200), (1, 300), (2, 400)];
    assert_eq!(ends_of(&config(PolicyKind::WeightedFair), &groups, &jobs), by_weight);
    let by_weight = [(3, 150), (0, 300), (1, 350), (2, 400)];
    assert_eq!(ends_of(&config(PolicyKind::WeightedRoundRobin), &groups, &jobs), by_weight);
}

#[test]
fn grouped_policies_serve_groups_in_turn() {
    let jobs = [(0, 1, 100), (0, 1, 100), (0, 1, 100), (0, 2, 100), (0, 2, 100), (0, 3, 100)];
    let config = |policy| Config {
        policy,
        time_slice: us(50),
        context_switch_time: Duration::ZERO,
        ..Config::default()
    };
    let equal = [GroupSettings::default(); 3];
    // Groups 1 2 3 1 2 1, one job each.
    let ends = ends_of(&config(PolicyKind::GroupedFifo), &equal, &jobs);
    assert_eq!(ends, [(0, 100), (3, 200), (5, 300), (1, 400), (4, 500), (2, 600)]);
    // The same order, half a job at a time, and the jobs of group 1 take turns: 0 3 5 1 4 5 2 3 0 4 1 2.
    let ends = ends_of(&config(PolicyKind::GroupedRoundRobin), &equal, &jobs);
    assert_eq!(ends, [(5, 300), (3, 400), (0, 450), (4, 500), (1, 550), (2, 600)]);
    // Group 1 has slices of 100 and group 2 of 50: a job of 1 for each half of a job of 2.
    let by_priority = |policy| Config { slice_by_priority: true, ..config(policy) };
    let groups = [of_priority(2), of_priority(1)];
    let jobs = [(0, 1, 100), (0, 1, 100), (0, 1, 200), (0, 2, 100), (0, 2, 100)];
    let ends = ends_of(&by_priority(PolicyKind::GroupedRoundRobin), &groups, &jobs);
    assert_eq!(ends, [(0, 100), (1, 250), (3, 450), (2, 550), (4, 600)]);
    // First in, first out within a group: a job that was interrupted goes on before those behind it.
    let ends = ends_of(&by_priority(PolicyKind::GroupedFifo), &groups, &jobs);
    assert_eq!(ends, [(0, 100), (1, 250), (3, 300), (2, 550), (4, 600)]);
}

#[test]
fn urgent_jobs_interrupt_others_and_pay_for_the_switch() {
    let config = |policy| Config {
        policy,
        context_switch_time: us(1),
        ageing: Duration::ZERO,
        ..Config::default()
    };
    let groups = [of_priority(1), of_priority(9)];
    // 0..100 low | switch | 101..151 high | 151..351 low goes on without a switch.
    let jobs = [(0, 1, 300), (100, 2, 50)];
    assert_eq!(ends_of(&config(PolicyKind::Priority), &groups, &jobs), [(1, 151), (0, 351)]);
    assert_eq!(ends_of(&config(PolicyKind::Fifo), &groups, &jobs), [(0, 300), (1, 350)]);
    // One that comes during the switch to another has the unit after a switch of its own, and no time was had twice.
    let three = [of_priority(1), of_priority(5), of_priority(9)];
    let jobs = [(0, 1, 300), (100, 2, 50), (100, 3, 50)];
    let ends = ends_of(&config(PolicyKind::Priority), &three, &jobs);
    assert_eq!(ends, [(2, 151), (1, 201), (0, 401)]);
    // The same priority does not interrupt.
    let jobs = [(0, 2, 300), (100, 2, 50)];
    assert_eq!(ends_of(&config(PolicyKind::Priority), &groups, &jobs), [(0, 300), (1, 350)]);
    let by = |deadline| GroupSettings { deadline: Some(us(deadline)), ..GroupSettings::default() };
    let groups = [by(1000), by(200)];
    let jobs = [(0, 0, 30), (0, 1, 300), (100, 2, 50)];
    // The job without a deadline is interrupted at once; the one of 1000 at 100, by that of 300.
    let ends = ends_of(&config(PolicyKind::EarliestDeadline), &groups, &jobs);
    assert_eq!(ends, [(2, 151), (1, 352), (0, 382)]);
}

#[test]
fn ageing_bounds_how_long_a_job_waits_for_more_urgent_ones() {
    let groups = [of_priority(1), of_priority(9)];
    // One unit is always wanted by jobs of priority 9; a job of priority 1 comes at 50.
    let mut jobs: Vec<_> = (0..100).map(|n| (n * 100, 2, 100)).collect();
    jobs.insert(1, (50, 1, 10));
    let ends = |ageing| {
        let config = Config { policy: PolicyKind::Priority, ageing, ..Config::default() };
        ends_of(&config, &groups, &jobs).iter().find(|(job, _)| *job == 1).unwrap().1
    };
    assert_eq!(ends(Duration::ZERO), 10_010, "strict: after all others");
    // Those that come until 50 + 8 x 100 go first: the last of them at 800.
    assert_eq!(ends(us(100)), 910);
    assert_eq!(ends(us(10)), 210, "the one that came at 100 is the last of them");
}

#[test]
fn earliest_deadline_first_meets_every_deadline_of_a_feasible_set() {
    let mut fifo_missed = 0;
    for seed in 0..20 {
        let mut prng = simtime::Prng::new(seed);
        // Periodic jobs whose use of the unit adds up to at most 1 (Liu and Layland).
        let mut left = 1000;
        let mut tasks = Vec::new();
        for _ in 0..4 {
            let period = 100 + prng.below(2000);
            let share = 1 + prng.below(left / 2);
            left -= share;
            tasks.push((period, (period * share / 1000).max(1)));
        }
        let use_of_unit: f64 = tasks.iter().map(|(p, c)| *c as f64 / *p as f64).sum();
        assert!(use_of_unit <= 1.0, "{tasks:?}");
        let mut jobs: Vec<(u64, u8, u64)> = Vec::new();
        for (n, &(period, cost)) in tasks.iter().enumerate() {
            jobs.extend((0..200_000 / period).map(|k| (k * period, n as u8 + 1, cost)));
        }
        jobs.sort_unstable();
        for policy in [PolicyKind::EarliestDeadline, PolicyKind::Fifo] {
            let switch = Duration::ZERO;
            let mut engine = Engine::new(&Config {
                units: 1,
                policy,
                context_switch_time: switch,
                ..Config::default()
            });
            for &(period, _) in &tasks {
                let deadline = Some(us(period));
                let settings = GroupSettings { deadline, ..GroupSettings::default() };
                engine.create_group(settings).unwrap();
            }
            let mut finished = Vec::new();
            for (n, &(at, group, cost)) in jobs.iter().enumerate() {
                engine.advance(Instant::ZERO + us(at), &mut finished);
                let at = Instant::ZERO + us(at);
                engine.submit(at, JobId(n as u64), GroupId(group), Some(us(cost).into()));
            }
            drain(&mut engine);
            let missed: u64 = engine.groups().map(|group| group.missed).sum();
            match policy {
                PolicyKind::Fifo => fifo_missed += missed,
                _ => assert_eq!(missed, 0, "{tasks:?}"),
            }
        }
    }
    assert!(fifo_missed > 100, "the sets are hard enough that another order misses some");
}

#[test]
fn unit_waits_for_a_cost_that_comes_late() {
    let mut engine = Engine::new(&Config { units: 1, ..Config::default() });
    engine.submit(Instant::ZERO, JobId(1), GroupId::NONE, None);
    engine.submit(Instant::ZERO, JobId(2), GroupId::NONE, Some(us(5).into()));
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
        engine.submit(Instant::ZERO, JobId(job), GroupId::NONE, Some(us(100).into()));
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
    let groups: Vec<_> =
        weights.iter().map(|w| engine.create_group(weighing(*w)).unwrap()).collect();
    let mut next = 0;
    // The first group's jobs are long, the others' are short: what counts is time.
    let mut refill = |engine: &mut Engine, now| {
        for (n, group) in groups.iter().enumerate() {
            let jobs = |e: &Engine| e.groups().find(|g| g.group == *group).unwrap().jobs;
            while jobs(engine) < 2 * units {
                engine.submit(
                    now,
                    JobId(next),
                    *group,
                    Some(us(if n == 0 { 700 } else { 70 }).into()),
                );
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
    for policy in [PolicyKind::WeightedFair, PolicyKind::WeightedRoundRobin] {
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
        let policy = PolicyKind::WeightedRoundRobin;
        let config = Config { units: 2, policy, ..Config::default() };
        let mut engine = Engine::new(&config);
        for (n, weight) in weights.into_iter().enumerate() {
            let group = engine.create_group(weighing(weight)).unwrap();
            engine.submit(Instant::ZERO, JobId(n as u64), group, Some(us(30_000).into()));
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
    let [busy, idle] = [100, 100].map(|weight| engine.create_group(weighing(weight)).unwrap());
    for job in 0..20 {
        engine.submit(Instant::ZERO, JobId(job), busy, Some(us(10).into()));
    }
    let mut finished = Vec::new();
    // Half of them are done, one after the other: the other group's time was theirs.
    engine.advance(Instant::from_ns(100_000), &mut finished);
    assert_eq!(finished.len(), 10);
    // From now on they take turns; the newcomer has no more than its share.
    for job in 20..30 {
        engine.submit(Instant::from_ns(100_000), JobId(job), idle, Some(us(10).into()));
    }
    let order: Vec<bool> = drain(&mut engine).iter().map(|f| f.job.0 < 20).collect();
    assert!(order[1..].windows(2).take(17).all(|pair| pair[0] != pair[1]), "{order:?}");
}

#[test]
fn groups_come_and_go() {
    let mut engine = Engine::new(&Config::default());
    let all: Vec<_> =
        (1..=255).map(|n| (engine.create_group(weighing(n)), Ok(GroupId(n as u8)))).collect();
    assert!(all.iter().all(|(given, expected)| given == expected));
    assert_eq!(engine.create_group(weighing(1)), Err(GroupError::Full));
    engine.submit(Instant::ZERO, JobId(1), GroupId(7), Some(us(1).into()));
    assert_eq!(engine.delete_group(GroupId(7)), Err(GroupError::InUse));
    assert!(engine.cancel(Instant::ZERO, JobId(1)));
    assert_eq!(engine.delete_group(GroupId(7)), Ok(()));
    assert_eq!(engine.delete_group(GroupId(7)), Err(GroupError::Unknown));
    let now = Instant::ZERO;
    assert_eq!(engine.set_group(now, GroupId(7), weighing(5)), Err(GroupError::Unknown));
    assert_eq!(engine.delete_group(GroupId::NONE), Err(GroupError::Unknown));
    assert_eq!(engine.set_group(now, GroupId::NONE, weighing(5)), Ok(()));
    let nowhere = GroupSettings { affinity: Affinity::of_bits(1 << 9), ..weighing(1) };
    assert_eq!(engine.create_group(nowhere), Err(GroupError::NoUnit));
    assert_eq!(engine.create_group(weighing(9)), Ok(GroupId(7)), "the lowest free name");
}

proptest! {
    /// No job is lost, whatever its group, each runs for exactly its cost, units do not overlap, and no unit idles
    /// while a job waits.
    #[test]
    fn random_schedules_keep_the_invariants(
        units in 1u32..5,
        kind in 0usize..6,
        queues in 0usize..2,
        is_limited in any::<bool>(),
        by_priority in any::<bool>(),
        slice_us in 1u64..50,
        switch_ns in 0u64..3000,
        weights in prop::collection::vec(1u16..1000, 0..4),
        jobs in prop::collection::vec((0u64..200_000, 1u64..300_000), 1..60),
    ) {
        let (_, policy) = PolicyKind::NAMES[kind];
        let config = Config {
            units, policy, queues: QueueKind::NAMES[queues].1, memory_bandwidth: Config::default().memory_bandwidth, time_slice: us(slice_us), slice_by_priority: by_priority, ageing: us(slice_us),
            context_switch_time: Duration::from_ns(switch_ns),
        };
        let mut engine = Engine::new(&config);
        engine.set_recording(true);
        for weight in &weights {
            let deadline = (weight % 2 == 0).then(|| us(u64::from(*weight)));
            let priority = 1 + (weight % 9) as u8;
            let mut settings = GroupSettings { weight: *weight, priority, deadline, ..Default::default() };
            if is_limited {
                settings.units_max = NonZeroU16::new(weight % 3);
                settings.affinity = Affinity::of_bits(u64::from(*weight) & ((1 << units) - 1));
                settings.bandwidth = Bandwidth::from_bytes_per_s(u64::from(*weight % 4) * 1_000_000);
            }
            engine.create_group(settings).expect("there can be 255");
        }
        let mut arrivals = jobs;
        arrivals.sort_unstable();
        let mut finished = Vec::new();
        for (n, &(at, cost)) in arrivals.iter().enumerate() {
            engine.advance(Instant::from_ns(at), &mut finished);
            let group = GroupId((n % (weights.len() + 1)) as u8);
            let cost = Cost { bytes: cost / 100, ..Duration::from_ns(cost).into() };
            engine.submit(Instant::from_ns(at), JobId(n as u64), group, Some(cost));
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
        // A limit that a group has now held for all its jobs.
        let of_job = |job: u64| engine.groups().nth((job % (weights.len() as u64 + 1)) as usize).unwrap().settings;
        prop_assert!(records.iter().all(|stay| of_job(stay.job).affinity.allows(UnitId(stay.unit))));
        for stay in &records {
            let Some(most) = of_job(stay.job).units_max else { continue };
            let group = stay.job % (weights.len() as u64 + 1);
            let beside = records.iter().filter(|other| {
                other.job % (weights.len() as u64 + 1) == group
                    && other.start_ns <= stay.start_ns && stay.start_ns < other.end_ns
            });
            prop_assert!(beside.count() <= usize::from(most.get()));
        }
        if queues == 0 && !is_limited && (switch_ns == 0 || matches!(policy, PolicyKind::Fifo | PolicyKind::WeightedFair)) {
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

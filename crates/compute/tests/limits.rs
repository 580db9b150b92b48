//! Limits of groups, shared memory bandwidth, queues of units: what arithmetic says of them.

use std::num::NonZeroU16;

use compute::{
    Affinity, Config, Cost, Engine, Finished, GroupId, GroupSettings, JobId, PolicyKind, QueueKind,
};
use simtime::{Bandwidth, Duration, Instant};

fn us(n: u64) -> Duration {
    Duration::from_us(n)
}

fn at(n: u64) -> Instant {
    Instant::ZERO + us(n)
}

fn drain(engine: &mut Engine) -> Vec<Finished> {
    let mut finished = Vec::new();
    while let Some(at) = engine.next_event() {
        engine.advance(at, &mut finished);
    }
    finished
}

fn ends(engine: &mut Engine) -> Vec<(u64, u64)> {
    drain(engine).iter().map(|f| (f.job.0, f.at.as_ns())).collect()
}

fn megabytes(n: u64) -> Bandwidth {
    Bandwidth::from_bytes_per_s(n * 1_000_000)
}

/// A job that takes 100 us and needs so many megabytes per second for that.
fn needs(rate: u64) -> Option<Cost> {
    Some(Cost { time: us(100), bytes: rate * 100, shares_memory: true })
}

#[test]
fn jobs_share_the_memory_bandwidth_of_the_drive() {
    let engine = |units, rate| {
        Engine::new(&Config { units, memory_bandwidth: megabytes(rate), ..Config::default() })
    };
    // Enough for all: nobody is slower. 3 of 8 GB/s at 8 GB/s: three times as long, to the nanosecond.
    for (units, rate, expected) in [(3, 24_000, 100_000), (3, 8000, 300_000), (7, 8000, 700_000)] {
        let mut engine = engine(units, rate);
        (0..units.into()).for_each(|n| engine.submit(at(0), JobId(n), GroupId::NONE, needs(8000)));
        assert!(ends(&mut engine).iter().all(|(_, end)| *end == expected), "{units} units");
    }
    // One needs little and has it. The other two have 3.5 GB/s each of the 4 that they need: 100 x 8/7 us.
    let mut few = engine(3, 8000);
    for (n, rate) in [1000, 4000, 4000].into_iter().enumerate() {
        few.submit(at(0), JobId(n as u64), GroupId::NONE, needs(rate));
    }
    // At 100 us the first is gone, and the others have 1/8 left to do at full speed: 12.5 us.
    assert_eq!(ends(&mut few), [(0, 100_000), (1, 112_500), (2, 112_500)]);
    // Alone for 50 us, then half speed for 100 us; the second has half left then, and is alone.
    let mut later = engine(2, 8000);
    later.submit(at(0), JobId(0), GroupId::NONE, needs(8000));
    later.submit(at(50), JobId(1), GroupId::NONE, needs(8000));
    assert_eq!(ends(&mut later), [(0, 150_000), (1, 200_000)]);
    // A job without memory traffic is not slowed down, and slows down nobody.
    let mut apart = engine(2, 8000);
    apart.submit(at(0), JobId(0), GroupId::NONE, needs(8000));
    apart.submit(at(0), JobId(1), GroupId::NONE, Some(us(100).into()));
    assert_eq!(ends(&mut apart), [(0, 100_000), (1, 100_000)]);
    // The cost that comes later counts from the beginning.
    let mut unknown = engine(2, 8000);
    unknown.submit(at(0), JobId(0), GroupId::NONE, None);
    unknown.submit(at(0), JobId(1), GroupId::NONE, None);
    unknown.set_cost(at(0), JobId(0), needs(8000).unwrap());
    unknown.set_cost(at(0), JobId(1), needs(8000).unwrap());
    assert_eq!(ends(&mut unknown), [(0, 200_000), (1, 200_000)]);
}

#[test]
fn slices_and_cancelled_jobs_leave_the_bandwidth_to_others() {
    let config = Config {
        units: 2,
        policy: PolicyKind::RoundRobin,
        time_slice: us(50),
        context_switch_time: Duration::ZERO,
        memory_bandwidth: megabytes(8000),
        ..Config::default()
    };
    let mut engine = Engine::new(&config);
    // Three jobs on two units, of which two are slowed to half: 600 us of unit time on two units.
    (0..3).for_each(|n| engine.submit(at(0), JobId(n), GroupId::NONE, needs(8000)));
    let finished = drain(&mut engine);
    let ran: u64 = finished.iter().map(|f| f.ran.as_ns()).sum();
    assert_eq!(finished.iter().map(|f| f.at).max(), Some(at(300)));
    // The last 50 us of work may be alone on the memory.
    assert!((500_000..=600_000).contains(&ran), "{finished:?}");

    let mut engine = Engine::new(&Config { policy: PolicyKind::Fifo, ..config });
    (0..2).for_each(|n| engine.submit(at(0), JobId(n), GroupId::NONE, needs(8000)));
    // Half speed for 50 us, then alone.
    assert!(engine.cancel(at(50), JobId(1)));
    assert_eq!(ends(&mut engine), [(0, 125_000)]);
}

fn limited(rate: u64) -> GroupSettings {
    GroupSettings { bandwidth: megabytes(rate), ..GroupSettings::default() }
}

#[test]
fn a_group_has_its_bandwidth_and_no_more() {
    let mut engine = Engine::new(&Config::default());
    let tenant = engine.create_group(limited(100)).unwrap();
    // 50 jobs of 200 kB at 100 MB/s: one every 2 ms, the first after 2 ms; each then runs for 100 us.
    for n in 0..50 {
        let cost = Cost { time: us(100), bytes: 200_000, shares_memory: false };
        engine.submit(at(0), JobId(n), tenant, (n % 2 == 0).then_some(cost));
        engine.set_cost(at(0), JobId(n), cost);
    }
    // Others are not held back.
    engine.submit(at(0), JobId(99), GroupId::NONE, Some(us(100).into()));
    let ends = ends(&mut engine);
    let expected: Vec<_> = (0..50).map(|n| (n, 2_000_000 * (n + 1) + 100_000)).collect();
    assert_eq!(ends[0], (99, 100_000));
    assert_eq!(ends[1..], expected);
    let record = engine.groups().find(|record| record.group == tenant).unwrap();
    // 2 + 4 + ... + 100 ms.
    assert_eq!(record.throttled, us(2000 * 50 * 51 / 2));
    assert_eq!(record.ran, us(5000));
}

#[test]
fn a_group_below_its_bandwidth_is_not_held_back() {
    let mut engine = Engine::new(&Config::default());
    let tenant = engine.create_group(limited(100)).unwrap();
    let mut finished = Vec::new();
    // 50 kB each millisecond: half of what it may.
    for n in 0..100 {
        engine.advance(at(10_000 + 1000 * n), &mut finished);
        let cost = Cost { time: us(10), bytes: 50_000, shares_memory: false };
        engine.submit(at(10_000 + 1000 * n), JobId(n), tenant, Some(cost));
    }
    finished.extend(drain(&mut engine));
    assert!(finished.iter().all(|f| f.waited == Duration::ZERO));
}

#[test]
fn limits_change_and_held_jobs_can_be_cancelled() {
    let mut engine = Engine::new(&Config::default());
    let tenant = engine.create_group(limited(1)).unwrap();
    let cost = Some(Cost { time: us(10), bytes: 1_000_000, shares_memory: false });
    (0..3).for_each(|n| engine.submit(at(0), JobId(n), tenant, cost));
    assert!(engine.cancel(at(5), JobId(0)));
    assert_eq!(engine.jobs(), 2);
    // The next pays from now on: a second, less the millisecond of burst that has not passed yet.
    assert_eq!(engine.next_event(), Some(at(1_000_000)));
    engine.set_group(at(10), tenant, GroupSettings::default()).unwrap();
    assert_eq!(ends(&mut engine), [(1, 20_000), (2, 20_000)]);
    assert_eq!(engine.delete_group(tenant), Ok(()));
}

#[test]
fn a_group_uses_no_more_units_than_it_may() {
    let mut engine = Engine::new(&Config::default());
    let settings = GroupSettings { units_max: NonZeroU16::new(2), ..GroupSettings::default() };
    let tenant = engine.create_group(settings).unwrap();
    (0..6).for_each(|n| engine.submit(at(0), JobId(n), tenant, Some(us(100).into())));
    engine.submit(at(0), JobId(9), GroupId::NONE, Some(us(100).into()));
    let ends: Vec<u64> = ends(&mut engine).iter().map(|(_, end)| end / 1000).collect();
    assert_eq!(ends, [100, 100, 100, 200, 200, 300, 300]);
}

#[test]
fn jobs_stay_on_the_units_that_they_may_use() {
    for queues in [QueueKind::Shared, QueueKind::PerUnit] {
        let mut engine = Engine::new(&Config { queues, ..Config::default() });
        engine.set_recording(true);
        let settings = GroupSettings { affinity: Affinity::of_bits(0b0110), ..Default::default() };
        let tenant = engine.create_group(settings).unwrap();
        (0..4).for_each(|n| engine.submit(at(0), JobId(n), tenant, Some(us(100).into())));
        (4..6).for_each(|n| engine.submit(at(0), JobId(n), GroupId::NONE, Some(us(100).into())));
        let ends: Vec<u64> = ends(&mut engine).iter().map(|(_, end)| end / 1000).collect();
        assert_eq!(ends, [100, 100, 100, 100, 200, 200], "{queues:?}");
        let stays = engine.records().unwrap();
        assert!(stays.iter().all(|stay| stay.job >= 4 || matches!(stay.unit, 1 | 2)), "{stays:?}");
    }
}

#[test]
fn a_queue_for_each_unit_does_not_share_work() {
    let config = Config { units: 2, queues: QueueKind::PerUnit, ..Config::default() };
    // By number of jobs, not by length: 300 and 10 go to unit 0, 10 and 10 to unit 1. A shared queue ends earlier.
    for (config, expected) in [
        (config.clone(), vec![(1, 10), (3, 20), (0, 300), (2, 310)]),
        (Config { queues: QueueKind::Shared, ..config }, vec![(1, 10), (2, 20), (3, 30), (0, 300)]),
    ] {
        let mut engine = Engine::new(&config);
        for (n, cost) in [300, 10, 10, 10].into_iter().enumerate() {
            engine.submit(at(0), JobId(n as u64), GroupId::NONE, Some(us(cost).into()));
        }
        let ends: Vec<_> = ends(&mut engine).iter().map(|(job, end)| (*job, end / 1000)).collect();
        assert_eq!(ends, expected);
    }
}

#[test]
fn slices_count_within_each_queue() {
    let config = Config {
        units: 2,
        policy: PolicyKind::RoundRobin,
        queues: QueueKind::PerUnit,
        time_slice: us(50),
        context_switch_time: us(1),
        ..Config::default()
    };
    let mut engine = Engine::new(&config);
    // Unit 0 has jobs 0 and 2, which take turns: 0..50, 51..101, 102..152, then 2 alone: 153..203. Unit 1 has one.
    for n in 0..3 {
        engine.submit(at(0), JobId(n), GroupId::NONE, Some(us(100).into()));
    }
    assert_eq!(ends(&mut engine), [(1, 100_000), (0, 152_000), (2, 202_000)]);
    assert_eq!(engine.context_switches(), 2);
}

/// Real time: a result that comes late makes a job late, whether it waits for a unit or for its group's bandwidth.
#[test]
fn a_job_that_is_held_for_its_bytes_is_late() {
    let cost = Cost { time: us(100), bytes: 200_000, shares_memory: false };
    let mut engine = Engine::new(&Config::default());
    let tenant = engine.create_group(limited(100)).unwrap();
    engine.submit(at(10_000), JobId(0), tenant, None);
    // They are needed at once; 200 kB take 2 ms, of which the group has a millisecond to its credit.
    assert_eq!(engine.cost_needed_at(), Some(at(10_000)));
    engine.set_cost(at(10_500), JobId(0), cost);
    assert_eq!(engine.cost_needed_at(), None);
    // Half a millisecond changed nothing: it starts when it would have.
    let ended = drain(&mut engine);
    assert_eq!((ended[0].at, ended[0].late), (at(11_100), Duration::ZERO));
    // The next one would have started at 13 ms, and is known at 20 ms.
    engine.submit(at(11_100), JobId(1), tenant, None);
    assert_eq!(engine.cost_needed_at(), Some(at(11_100)));
    engine.set_cost(at(20_000), JobId(1), cost);
    let ended = drain(&mut engine);
    assert_eq!((ended[0].at, ended[0].late), (at(20_100), us(7000)));
    let record = engine.groups().find(|record| record.group == tenant).unwrap();
    assert_eq!(record.throttled, us(1000 + 1900));
}

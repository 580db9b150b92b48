//! What every [`Policy`] must do: a suite for policies of this crate and of anyone else.

use std::collections::BTreeMap;

use simtime::{Duration, Instant, Prng};

use crate::policy::{
    Affinity, GroupId, GroupSettings, JobId, JobInfo, PRIORITY_MAX, Policy, UnitId,
};

/// Groups of the suite's jobs.
const GROUPS: u64 = 3;

/// Runs the suite on policies made by `new`.
///
/// # Panics
/// With a description of the first rule that is broken.
pub fn check(mut new: impl FnMut() -> Box<dyn Policy>) {
    for seed in 0..32 {
        let (mut policy, mut prng) = (new(), Prng::new(seed));
        for group in 0..GROUPS {
            let weight = 1 + prng.below(1000) as u16;
            let priority = 1 + prng.below(PRIORITY_MAX.into()) as u8;
            let settings = GroupSettings { weight, priority, ..GroupSettings::default() };
            policy.set_group(GroupId(group as u8), &settings);
        }
        let (mut waiting, mut running) = (BTreeMap::<JobId, JobInfo>::new(), Vec::new());
        let (mut next, mut now, mut enqueued) = (0, Instant::ZERO, 0);
        for _ in 0..2000 {
            now += Duration::from_ns(prng.below(1000));
            match prng.below(7) {
                0 | 1 => {
                    let job = JobInfo {
                        job: JobId(next),
                        group: GroupId(prng.below(GROUPS) as u8),
                        priority: 1 + prng.below(PRIORITY_MAX.into()) as u8,
                        affinity: Affinity::of_bits(
                            [0, 0, 0b1, 0b10, 0b1100][prng.below(5) as usize],
                        ),
                        submitted: now,
                        deadline: prng
                            .below(2)
                            .eq(&0)
                            .then(|| now + Duration::from_ns(prng.below(5000))),
                        consumed: Duration::ZERO,
                        order: enqueued,
                    };
                    enqueued += 1;
                    policy.enqueue(now, &job);
                    waiting.insert(job.job, job);
                    next += 1;
                }
                2 | 3 => {
                    let unit = UnitId(prng.below(4) as u32);
                    let picked = policy.pick(now, unit);
                    let allowed = || waiting.values().filter(|job| job.affinity.allows(unit));
                    assert_eq!(
                        picked.is_some(),
                        allowed().count() > 0,
                        "a job waits: one is picked"
                    );
                    if let Some(job) = picked {
                        let least = allowed().filter_map(|job| policy.rank(job)).min();
                        let job = waiting.remove(&job);
                        let job = job.unwrap_or_else(|| {
                            panic!("{picked:?} was picked but did not wait");
                        });
                        assert!(job.affinity.allows(unit), "the unit may have the job");
                        assert_eq!(policy.rank(&job), least, "the most urgent job is picked");
                        assert_ne!(
                            policy.time_slice(&job),
                            Some(Duration::ZERO),
                            "a slice is a time"
                        );
                        running.push(job);
                    }
                }
                4 | 5 if !running.is_empty() => {
                    let mut job = running.swap_remove(prng.below(running.len() as u64) as usize);
                    let ran = Duration::from_ns(1 + prng.below(1_000_000));
                    if prng.below(2) == 0 {
                        let rank = policy.rank(&job);
                        job.consumed += ran;
                        assert_eq!(policy.rank(&job), rank, "a job's rank does not change");
                        job.order = enqueued;
                        enqueued += 1;
                        policy.enqueue(now, &job);
                        waiting.insert(job.job, job);
                    }
                    policy.left(job.group, ran);
                }
                _ => {
                    // One that waits, or one that does not.
                    let job = JobId(prng.below(next + 1));
                    if let Some(info) = waiting.remove(&job) {
                        assert!(policy.remove(&info), "a job that waits is forgotten");
                        assert!(!policy.remove(&info), "and then it waits no more");
                    } else if let Some(info) = running.iter().find(|info| info.job == job) {
                        assert!(!policy.remove(info), "a job that runs does not wait");
                    }
                }
            }
            assert_eq!(policy.waiting(), waiting.len(), "waiting() counts the jobs that wait");
        }
    }
}

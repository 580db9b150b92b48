//! What every [`Policy`] must do: a suite for policies of this crate and of anyone else.

use std::collections::BTreeMap;

use simtime::{Duration, Prng};

use crate::policy::{GroupId, JobId, Policy, UnitId};

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
            policy.set_weight(GroupId(group as u8), 1 + prng.below(1000) as u16);
        }
        let (mut waiting, mut running) = (BTreeMap::new(), Vec::new());
        let mut next = 0;
        for _ in 0..2000 {
            match prng.below(7) {
                0 | 1 => {
                    let group = GroupId(prng.below(GROUPS) as u8);
                    policy.enqueue(JobId(next), group);
                    waiting.insert(JobId(next), group);
                    next += 1;
                }
                2 | 3 => {
                    let picked = policy.pick(UnitId(prng.below(4) as u32));
                    assert_eq!(picked.is_some(), !waiting.is_empty(), "a job waits: one is picked");
                    if let Some(job) = picked {
                        let group = waiting.remove(&job);
                        let group = group.unwrap_or_else(|| {
                            panic!("{job:?} was picked but did not wait");
                        });
                        running.push((job, group));
                    }
                }
                4 | 5 if !running.is_empty() => {
                    let (job, group) =
                        running.swap_remove(prng.below(running.len() as u64) as usize);
                    if prng.below(2) == 0 {
                        policy.enqueue(job, group);
                        waiting.insert(job, group);
                    }
                    policy.left(group, Duration::from_ns(prng.below(1_000_000)));
                }
                _ => {
                    let job = JobId(prng.below(next + 1));
                    let group = waiting.remove(&job);
                    let was = policy.remove(job, group.unwrap_or(GroupId::NONE));
                    assert_eq!(was, group.is_some(), "remove says whether the job waited");
                }
            }
            assert_eq!(policy.waiting(), waiting.len(), "waiting() counts the jobs that wait");
        }
    }
}

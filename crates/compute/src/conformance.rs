//! What every [`Policy`] must do: a suite for policies of this crate and of anyone else.

use std::collections::BTreeSet;

use simtime::Prng;

use crate::policy::{JobId, Policy, UnitId};

/// Runs the suite on policies made by `new`.
///
/// # Panics
/// With a description of the first rule that is broken.
pub fn check(mut new: impl FnMut() -> Box<dyn Policy>) {
    for seed in 0..32 {
        let (mut policy, mut prng) = (new(), Prng::new(seed));
        let mut waiting = BTreeSet::new();
        let mut next = 0;
        for _ in 0..2000 {
            match prng.below(5) {
                0 | 1 => {
                    policy.enqueue(JobId(next));
                    waiting.insert(JobId(next));
                    next += 1;
                }
                2 | 3 => {
                    let picked = policy.pick(UnitId(prng.below(4) as u32));
                    assert_eq!(picked.is_some(), !waiting.is_empty(), "a job waits: one is picked");
                    if let Some(job) = picked {
                        assert!(waiting.remove(&job), "{job:?} was picked but did not wait");
                    }
                }
                _ => {
                    let job = JobId(prng.below(next + 1));
                    let was = waiting.remove(&job);
                    assert_eq!(policy.remove(job), was, "remove says whether the job waited");
                }
            }
            assert_eq!(policy.waiting(), waiting.len(), "waiting() counts the jobs that wait");
        }
    }
}

//! What every [`VictimPolicy`] must do, and every drive after a loss of power, whatever keeps its pages: suites for parts of
//! this crate and of anyone else.

mod power;

use std::collections::BTreeMap;

use simtime::{Duration, Instant, Prng};

pub use power::{PowerLoss, check_power_cuts};

use crate::victims::VictimPolicy;

/// Runs the suite on policies made by `new` for blocks of so many pages.
///
/// # Panics
/// With a description of the first rule that is broken.
pub fn check_victims(mut new: impl FnMut(u32) -> Box<dyn VictimPolicy>) {
    for seed in 0..32 {
        let mut prng = Prng::new(seed);
        let pages = [1, 2, 63, 64, 65, 256][prng.below(6) as usize];
        let (mut policy, mut now) = (new(pages), Instant::ZERO);
        let mut closed: BTreeMap<u32, u32> = BTreeMap::new();
        for step in 0..5000 {
            now += Duration::from_ns(prng.below(1000));
            match prng.below(8) {
                0 | 1 => {
                    let block = prng.below(300) as u32;
                    if let std::collections::btree_map::Entry::Vacant(entry) = closed.entry(block) {
                        let valid = prng.below(u64::from(pages) + 1) as u32;
                        entry.insert(valid);
                        policy.closed(block, valid, now);
                    }
                }
                2 if !closed.is_empty() => {
                    let valid_max = prng.below(u64::from(pages) + 1) as u32;
                    let fits = closed.values().any(|valid| *valid <= valid_max);
                    let picked = policy.pick(valid_max, now);
                    assert_eq!(picked.is_some(), fits, "a block fits: one is picked");
                    if let Some(block) = picked {
                        let valid = closed.remove(&block).unwrap_or_else(|| {
                            panic!("block {block} was picked, but is not closed");
                        });
                        assert!(
                            valid <= valid_max,
                            "block {block} has {valid} valid pages of at most {valid_max}"
                        );
                    }
                }
                3 if !closed.is_empty() && prng.below(4) == 0 => {
                    let at = prng.below(closed.len() as u64) as usize;
                    let block = *closed.keys().nth(at).expect("there are more");
                    closed.remove(&block);
                    policy.remove(block);
                }
                _ => {
                    let count = closed.len() as u64;
                    let at = if count == 0 { 0 } else { prng.below(count) };
                    if let Some((&block, valid)) = closed.iter_mut().nth(at as usize)
                        && *valid > 0
                    {
                        *valid -= 1;
                        policy.invalidated(block, *valid, now);
                    }
                }
            }
            if step == 2500 {
                policy = policy.fork();
            }
        }
        while policy.pick(pages, now).is_some_and(|block| closed.remove(&block).is_some()) {}
        assert!(closed.is_empty(), "blocks were lost: {closed:?}");
    }
}

#[cfg(test)]
mod tests {
    use crate::victims::VictimPolicyKind;

    #[test]
    fn built_in_policies_conform() {
        for (_, kind) in VictimPolicyKind::NAMES {
            super::check_victims(|pages| kind.build(pages));
        }
    }
}

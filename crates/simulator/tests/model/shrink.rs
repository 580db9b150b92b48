//! From a script that fails to a short one that still does.

use crate::script::Step;

/// Takes steps out, many at a time first, as long as the rest still fails; at most so many tries.
pub(crate) fn shrink(
    script: &[Step],
    mut tries: u32,
    fails: impl Fn(&[Step]) -> bool,
) -> Vec<Step> {
    let mut best = script.to_vec();
    let mut size = best.len().div_ceil(2);
    while size > 0 && tries > 0 {
        let mut at = 0;
        let mut any = false;
        while at < best.len() && tries > 0 {
            tries -= 1;
            let mut shorter = best.clone();
            shorter.drain(at..(at + size).min(best.len()));
            if fails(&shorter) {
                (best, any) = (shorter, true);
            } else {
                at += size;
            }
        }
        if !any || size > 1 {
            size /= 2;
        }
    }
    best
}

//! Cost-benefit collection: old blocks are worth collecting earlier, for what is left in them stays valid longer.

use simtime::Instant;

use super::VictimPolicy;
use super::buckets::Buckets;

/// Takes the block with the highest age x (1 - u) / (1 + u), u being the part of its pages that are valid, and its age the
/// time since one of them became invalid (Rosenblum and Ousterhout, "The Design and Implementation of a Log-Structured
/// File System", ACM TOCS 1992). Of the blocks with the same u the oldest is the best, so it looks at one for each u.
#[derive(Clone, Debug)]
pub struct CostBenefit {
    pages_per_block: u32,
    blocks: Buckets,
}

impl CostBenefit {
    /// A plane without closed blocks.
    pub fn new(pages_per_block: u32) -> Self {
        Self { pages_per_block, blocks: Buckets::new(pages_per_block) }
    }
}

impl VictimPolicy for CostBenefit {
    fn closed(&mut self, block: u32, valid: u32, now: Instant) {
        self.blocks.insert(block, valid, now);
    }

    fn invalidated(&mut self, block: u32, valid: u32, now: Instant) {
        self.blocks.remove(block);
        self.blocks.insert(block, valid, now);
    }

    fn pick(&mut self, valid_max: u32, now: Instant) -> Option<u32> {
        let pages = u128::from(self.pages_per_block);
        // Benefit and cost; a nanosecond of age at least, so that gain counts between blocks of one moment.
        let worth = |valid: u32, since: Instant| {
            let age = u128::from(now.since(since).as_ns()) + 1;
            (age * (pages - u128::from(valid)), pages + u128::from(valid))
        };
        let mut best: Option<(u32, (u128, u128))> = None;
        for (valid, block, since) in self.blocks.oldest(valid_max) {
            let (benefit, cost) = worth(valid, since);
            if best.is_none_or(|(_, (most, price))| benefit * price > most * cost) {
                best = Some((block, (benefit, cost)));
            }
        }
        let (block, _) = best?;
        self.blocks.remove(block);
        Some(block)
    }

    fn remove(&mut self, block: u32) {
        self.blocks.remove(block);
    }

    fn fork(&self) -> Box<dyn VictimPolicy> {
        Box::new(self.clone())
    }
}

//! Blocks drawn by chance: the best of some.

use simtime::{Instant, Prng};

use super::VictimPolicy;

/// What a block that is not closed counts as.
const NOT_CLOSED: u32 = u32::MAX;

/// Draws blocks and takes the one with the fewest valid pages (Van Houdt, "A Mean Field Model for a Class of Garbage Collection Algorithms in
/// Flash-based Solid State Drives", SIGMETRICS 2013). One draw is random collection. If none of those drawn may be taken, the first that may
/// be is, from there on. The draws are the same in every run.
#[derive(Clone, Debug)]
pub struct Choices {
    draws: u32,
    /// Closed blocks in no order, and the place of each block among them.
    closed: Vec<u32>,
    places: Vec<u32>,
    /// Valid pages by block.
    valid: Vec<u32>,
    prng: Prng,
}

impl Choices {
    /// A plane without closed blocks; there is at least one draw.
    pub fn new(draws: u32) -> Self {
        let prng = Prng::new(0x5eed);
        Self {
            draws: draws.max(1),
            closed: Vec::new(),
            places: Vec::new(),
            valid: Vec::new(),
            prng,
        }
    }
}

impl VictimPolicy for Choices {
    fn closed(&mut self, block: u32, valid: u32, _now: Instant) {
        if self.valid.len() <= block as usize {
            self.valid.resize(block as usize + 1, NOT_CLOSED);
            self.places.resize(block as usize + 1, NOT_CLOSED);
        }
        self.valid[block as usize] = valid;
        self.places[block as usize] = self.closed.len() as u32;
        self.closed.push(block);
    }

    fn invalidated(&mut self, block: u32, valid: u32, _now: Instant) {
        self.valid[block as usize] = valid;
    }

    fn pick(&mut self, valid_max: u32, _now: Instant) -> Option<u32> {
        let count = self.closed.len();
        if count == 0 {
            return None;
        }
        let mut drawn = 0;
        let mut best: Option<u32> = None;
        for _ in 0..self.draws {
            drawn = self.prng.below(count as u64) as usize;
            let block = self.closed[drawn];
            let valid = self.valid[block as usize];
            if valid <= valid_max && best.is_none_or(|best| valid < self.valid[best as usize]) {
                best = Some(block);
            }
        }
        let others = || (0..count).map(|n| self.closed[(drawn + n) % count]);
        let block = best.or_else(|| others().find(|b| self.valid[*b as usize] <= valid_max))?;
        self.remove(block);
        Some(block)
    }

    fn remove(&mut self, block: u32) {
        let place = self.places[block as usize] as usize;
        self.closed.swap_remove(place);
        if let Some(moved) = self.closed.get(place) {
            self.places[*moved as usize] = place as u32;
        }
    }

    fn fork(&self) -> Box<dyn VictimPolicy> {
        Box::new(self.clone())
    }
}

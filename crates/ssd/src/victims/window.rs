//! The oldest blocks: first in, first out, and the best of a window of the oldest.

use std::collections::BTreeMap;

use simtime::Instant;

use super::VictimPolicy;

/// Takes the block with the fewest valid pages of those that were closed longest ago, as many as the window holds (Hu et al., "Write
/// Amplification Analysis in Flash-Based Solid State Drives", SYSTOR 2009). A window of one is first in, first out. Blocks with more
/// valid pages than allowed are passed over.
#[derive(Clone, Debug)]
pub struct Window {
    size: usize,
    /// Block by its place in the order in which blocks were closed.
    order: BTreeMap<u64, u32>,
    /// Valid pages by block.
    valid: Vec<u32>,
    closed: u64,
}

impl Window {
    /// A plane without closed blocks; the window is at least one block.
    pub fn new(size: usize) -> Self {
        Self { size: size.max(1), order: BTreeMap::new(), valid: Vec::new(), closed: 0 }
    }
}

impl VictimPolicy for Window {
    fn closed(&mut self, block: u32, valid: u32, _now: Instant) {
        if self.valid.len() <= block as usize {
            self.valid.resize(block as usize + 1, 0);
        }
        self.valid[block as usize] = valid;
        self.order.insert(self.closed, block);
        self.closed += 1;
    }

    fn invalidated(&mut self, block: u32, valid: u32, _now: Instant) {
        self.valid[block as usize] = valid;
    }

    fn pick(&mut self, valid_max: u32, _now: Instant) -> Option<u32> {
        let allowed = |(_, block): &(&u64, &u32)| self.valid[**block as usize] <= valid_max;
        let window = self.order.iter().filter(allowed).take(self.size);
        // Of equal ones the oldest.
        let (&place, &block) = window.min_by_key(|(_, block)| self.valid[**block as usize])?;
        self.order.remove(&place);
        Some(block)
    }

    fn remove(&mut self, block: u32) {
        self.order.retain(|_, other| *other != block);
    }

    fn fork(&self) -> Box<dyn VictimPolicy> {
        Box::new(self.clone())
    }
}

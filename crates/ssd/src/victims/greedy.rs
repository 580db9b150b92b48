//! Greedy collection: the fewest pages to move.

use simtime::Instant;

use super::VictimPolicy;

/// Children of a node.
const FAN_OUT: usize = 16;

/// What a block that is not closed counts as.
const NOT_CLOSED: u32 = u32::MAX;

/// Takes the block with the fewest valid pages, of several the first. With uniform random writes no policy moves fewer pages
/// (Desnoyers, "Analytic Models of SSD Write Performance", ACM TOS 2014).
///
/// A tree of minima: a page that becomes invalid changes as many levels as it makes a new minimum of, which is mostly one;
/// and the numbers of a plane lie together, which lists of blocks would not.
#[derive(Clone, Debug, Default)]
pub struct Greedy {
    /// Valid pages by block, then the least of every [`FAN_OUT`] of the level before, up to one.
    levels: Vec<Vec<u32>>,
}

impl Greedy {
    /// A plane without closed blocks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes room for a block.
    fn grow(&mut self, block: usize) {
        let mut count = block + 1;
        for level in 0.. {
            if level == self.levels.len() {
                // A new root begins with what the old one was the least of.
                let least = self.levels.last().and_then(|below| below.iter().min().copied());
                self.levels.push(vec![least.unwrap_or(NOT_CLOSED)]);
            }
            let nodes = &mut self.levels[level];
            if nodes.len() < count {
                nodes.resize(count, NOT_CLOSED);
            }
            if nodes.len() == 1 {
                return;
            }
            count = nodes.len().div_ceil(FAN_OUT);
        }
    }

    /// A block has fewer valid pages than it had.
    #[inline]
    fn lower(&mut self, block: u32, valid: u32) {
        let mut at = block as usize;
        for nodes in &mut self.levels {
            if nodes[at] <= valid {
                return;
            }
            nodes[at] = valid;
            at /= FAN_OUT;
        }
    }
}

impl VictimPolicy for Greedy {
    fn closed(&mut self, block: u32, valid: u32, _now: Instant) {
        if self.levels.first().is_none_or(|blocks| blocks.len() <= block as usize) {
            self.grow(block as usize);
        }
        self.lower(block, valid);
    }

    #[inline]
    fn invalidated(&mut self, block: u32, valid: u32, _now: Instant) {
        self.lower(block, valid);
    }

    fn pick(&mut self, valid_max: u32, _now: Instant) -> Option<u32> {
        let least = *self.levels.last()?.first()?;
        if least > valid_max {
            return None;
        }
        let mut at = 0;
        for nodes in self.levels.iter().rev().skip(1) {
            let first = at * FAN_OUT;
            let children = &nodes[first..nodes.len().min(first + FAN_OUT)];
            at = first + children.iter().position(|valid| *valid == least)?;
        }
        let block = at as u32;
        self.remove(block);
        Some(block)
    }

    fn remove(&mut self, block: u32) {
        let mut at = block as usize;
        self.levels[0][at] = NOT_CLOSED;
        for level in 1..self.levels.len() {
            at /= FAN_OUT;
            let children = &self.levels[level - 1];
            let children = &children[at * FAN_OUT..children.len().min((at + 1) * FAN_OUT)];
            self.levels[level][at] = children.iter().copied().min().unwrap_or(NOT_CLOSED);
        }
    }

    fn fork(&self) -> Box<dyn VictimPolicy> {
        Box::new(self.clone())
    }
}

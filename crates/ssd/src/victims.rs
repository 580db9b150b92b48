//! Which block garbage collection takes next: a policy for each plane.

mod buckets;
mod cost_benefit;
mod greedy;

use simtime::Instant;

pub use cost_benefit::CostBenefit;
pub use greedy::Greedy;

/// Garbage collection policies by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VictimPolicyKind {
    /// The block with the fewest valid pages.
    Greedy,
    /// The block with the best ratio of what is gained to what it costs, old blocks first.
    CostBenefit,
}

impl VictimPolicyKind {
    /// A policy for a plane of such blocks.
    pub(crate) fn build(self, pages_per_block: u32) -> Box<dyn VictimPolicy> {
        match self {
            Self::Greedy => Box::new(Greedy::new()),
            Self::CostBenefit => Box::new(CostBenefit::new(pages_per_block)),
        }
    }
}

/// Chooses victims in one plane, of the blocks whose pages are all programmed. It is told of every such block and of
/// every page of theirs that becomes invalid; blocks are named by their index in the plane.
///
/// Contract: a block that was closed comes out of [`Self::pick`] at most once; `pick` returns a block whenever one has no
/// more valid pages than allowed, and never one that has more. `crate::conformance` checks it.
pub trait VictimPolicy: core::fmt::Debug + Send {
    /// A block is fully programmed and has this many valid pages.
    fn closed(&mut self, block: u32, valid: u32, now: Instant);

    /// A page of a closed block became invalid: this many are left.
    fn invalidated(&mut self, block: u32, valid: u32, now: Instant);

    /// Takes a block with at most `valid_max` valid pages out.
    fn pick(&mut self, valid_max: u32, now: Instant) -> Option<u32>;

    /// A policy in the same state, for another future of the same drive.
    fn fork(&self) -> Box<dyn VictimPolicy>;
}

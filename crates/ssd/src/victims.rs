//! Which block garbage collection takes next: a policy for each plane.

mod buckets;
mod choices;
mod cost_benefit;
mod greedy;
mod window;

use simtime::Instant;

pub use choices::Choices;
pub use cost_benefit::CostBenefit;
pub use greedy::Greedy;
pub use window::Window;

/// Garbage collection policies by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VictimPolicyKind {
    /// The block with the fewest valid pages.
    Greedy,
    /// The block with the best ratio of what is gained to what it costs, old blocks first.
    CostBenefit,
    /// The block that was closed first.
    Fifo,
    /// The block with the fewest valid pages of the [`WINDOW_BLOCKS`] that were closed first.
    WindowedGreedy,
    /// Any block.
    Random,
    /// The block with the fewest valid pages of [`CHOICES`] that are drawn.
    DChoices,
}

/// Blocks of the window of [`VictimPolicyKind::WindowedGreedy`].
pub const WINDOW_BLOCKS: usize = 32;
/// Blocks that [`VictimPolicyKind::DChoices`] draws.
pub const CHOICES: u32 = 4;

impl VictimPolicyKind {
    /// All of them, with their names in configurations.
    pub const NAMES: [(&str, Self); 6] = [
        ("greedy", Self::Greedy),
        ("cost-benefit", Self::CostBenefit),
        ("fifo", Self::Fifo),
        ("windowed-greedy", Self::WindowedGreedy),
        ("random", Self::Random),
        ("d-choices", Self::DChoices),
    ];

    /// A policy for a plane of such blocks.
    pub(crate) fn build(self, pages_per_block: u32) -> Box<dyn VictimPolicy> {
        match self {
            Self::Greedy => Box::new(Greedy::new()),
            Self::CostBenefit => Box::new(CostBenefit::new(pages_per_block)),
            Self::Fifo => Box::new(Window::new(1)),
            Self::WindowedGreedy => Box::new(Window::new(WINDOW_BLOCKS)),
            Self::Random => Box::new(Choices::new(1)),
            Self::DChoices => Box::new(Choices::new(CHOICES)),
        }
    }
}

/// Chooses victims in one plane, of the blocks whose pages are all programmed. It is told of every such block and of
/// every page of theirs that becomes invalid; blocks are named by their index in the plane.
///
/// Contract: a block that was closed comes out of [`Self::pick`] at most once, unless [`Self::remove`] took it out; `pick` returns a block whenever one has no
/// more valid pages than allowed, and never one that has more. `crate::conformance` checks it.
pub trait VictimPolicy: core::fmt::Debug + Send {
    /// A block is fully programmed and has this many valid pages.
    fn closed(&mut self, block: u32, valid: u32, now: Instant);

    /// A page of a closed block became invalid: this many are left.
    fn invalidated(&mut self, block: u32, valid: u32, now: Instant);

    /// Takes a block with at most `valid_max` valid pages out.
    fn pick(&mut self, valid_max: u32, now: Instant) -> Option<u32>;

    /// Takes a closed block out, whatever the policy thinks of it.
    fn remove(&mut self, block: u32);

    /// A policy in the same state, for another future of the same drive.
    fn fork(&self) -> Box<dyn VictimPolicy>;
}

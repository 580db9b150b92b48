//! What the units are, and who is to schedule them.

use simtime::{Bandwidth, Duration};

use crate::policy::Policy;
use crate::ranked::Ranked;
use crate::shares::Shares;
use crate::turns::Turns;

/// Scheduling policies by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PolicyKind {
    /// First in, first out, to completion; groups share the units by weight.
    WeightedFair,
    /// Round robin with a time slice; groups share the units by weight.
    WeightedRoundRobin,
    /// First in, first out, to completion, whatever groups there are.
    Fifo,
    /// Round robin with a time slice, whatever groups there are.
    RoundRobin,
    /// Groups in turn, one job each; first in, first out within a group.
    GroupedFifo,
    /// Groups in turn, and the jobs of each in turn, with a time slice.
    GroupedRoundRobin,
    /// The highest priority first, with ageing; preempts.
    Priority,
    /// Earliest deadline first; preempts.
    EarliestDeadline,
}

impl PolicyKind {
    /// All of them, with their names in configurations and documents.
    pub const NAMES: [(&str, Self); 8] = [
        ("weighted-fair", Self::WeightedFair),
        ("weighted-round-robin", Self::WeightedRoundRobin),
        ("fifo", Self::Fifo),
        ("round-robin", Self::RoundRobin),
        ("grouped-fifo", Self::GroupedFifo),
        ("grouped-round-robin", Self::GroupedRoundRobin),
        ("priority", Self::Priority),
        ("earliest-deadline", Self::EarliestDeadline),
    ];

    /// A policy of this kind.
    pub(crate) fn build(self, config: &Config) -> Box<dyn Policy> {
        let (slice, by_priority) = (config.time_slice, config.slice_by_priority);
        match self {
            Self::WeightedFair => Box::new(Shares::weighted_fair()),
            Self::WeightedRoundRobin => Box::new(Shares::weighted_round_robin(slice)),
            Self::Fifo => Box::new(Shares::fifo()),
            Self::RoundRobin => Box::new(Shares::round_robin(slice)),
            Self::GroupedFifo => Box::new(Turns::fifo(by_priority.then_some(slice))),
            Self::GroupedRoundRobin => Box::new(Turns::round_robin(slice, by_priority)),
            Self::Priority => Box::new(Ranked::priority(config.ageing)),
            Self::EarliestDeadline => Box::new(Ranked::earliest_deadline()),
        }
    }
}

/// Where jobs wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QueueKind {
    /// In one queue: a free unit takes any of them.
    Shared,
    /// In a queue of each unit: a job goes to the unit that has the fewest, and stays.
    PerUnit,
}

impl QueueKind {
    /// Both, with their names in configurations and documents.
    pub const NAMES: [(&str, Self); 2] = [("shared", Self::Shared), ("per-unit", Self::PerUnit)];
}

/// What the engine consists of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Number of compute units.
    pub units: u32,
    /// Scheduling policy.
    pub policy: PolicyKind,
    /// Where jobs wait; each queue has a policy of its own.
    pub queues: QueueKind,
    /// Time slice of the policies that have one.
    pub time_slice: Duration,
    /// For the grouped policies: a slice is multiplied by the priority of the group; grouped FIFO has slices only then.
    pub slice_by_priority: bool,
    /// For the priority policy: a job that has waited so long counts as one priority higher. Zero: never.
    pub ageing: Duration,
    /// Time a unit needs to take up a job after it interrupted another.
    pub context_switch_time: Duration,
    /// Memory bandwidth that all units share; 0 = as much as they need.
    pub memory_bandwidth: Bandwidth,
}

impl Default for Config {
    /// Four units, first in first out within groups of equal weight; slice and switch are CEMU's defaults.
    fn default() -> Self {
        Self {
            units: 4,
            policy: PolicyKind::WeightedFair,
            queues: QueueKind::Shared,
            time_slice: Duration::from_us(200),
            slice_by_priority: false,
            ageing: Duration::from_us(10_000),
            context_switch_time: Duration::from_ns(200),
            memory_bandwidth: Bandwidth::from_bytes_per_s(0),
        }
    }
}

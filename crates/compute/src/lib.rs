//! Compute units of the drive: jobs, scheduling policies, and models of how long jobs run.
//!
//! An [`Engine`] has a number of units and a [`Policy`]. A job waits until a unit takes it, holds
//! the unit for its cost (in slices, if the policy has time slices and other jobs wait, and until a more urgent job comes,
//! if the policy preempts), and is then [`Finished`]. The cost may arrive after the job began: the functional run of a program may
//! start before, or end after, its modelled start.
//!
//! A unit that interrupted a job pays the context-switch time before it runs the next one; an idle
//! unit, or one whose job finished, pays nothing.
//!
//! Jobs may be in groups, which have a weight, a priority and a deadline; each policy looks at some of it.
//!
//! A pure state machine: it is given the time, and knows neither NVMe nor eBPF.
#![forbid(unsafe_code)]

pub mod conformance;

mod config;
mod cores;
mod engine;
mod gate;
mod groups;
mod policy;
mod queue;
mod queues;
mod ranked;
mod runtime;
mod shares;
mod sharing;
mod table;
mod turns;
mod units;

pub use config::{Config, PolicyKind, QueueKind};
pub use cores::Core;
pub use engine::{Cost, Engine, Finished};
pub use groups::{GroupError, GroupRecord};
pub use policy::{
    Affinity, DEFAULT_PRIORITY, DEFAULT_WEIGHT, GroupId, GroupSettings, JobId, JobInfo,
    PRIORITY_MAX, Policy, Rank, UnitId,
};
pub use ranked::Ranked;
pub use runtime::{CostTable, RunTimeModel, Work, WorkClass};
pub use shares::Shares;
pub use turns::Turns;

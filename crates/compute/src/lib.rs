//! Compute units of the drive: jobs, scheduling policies, and models of how long jobs run.
//!
//! An [`Engine`] has a number of units and a [`Policy`]. A job waits until a unit takes it, holds
//! the unit for its cost (in slices, if the policy has time slices and other jobs wait), and is
//! then [`Finished`]. The cost may arrive after the job began: the functional run of a program may
//! start before, or end after, its modelled start.
//!
//! A unit that interrupted a job pays the context-switch time before it runs the next one; an idle
//! unit, or one whose job finished, pays nothing.
//!
//! Jobs may be in groups, which share the units' time by their weights.
//!
//! A pure state machine: it is given the time, and knows neither NVMe nor eBPF.
#![forbid(unsafe_code)]

pub mod conformance;

mod engine;
mod groups;
mod policy;
mod runtime;
mod shares;

pub use engine::{Config, Engine, Finished, PolicyKind};
pub use groups::{GroupError, GroupRecord};
pub use policy::{GroupId, JobId, Policy, UnitId};
pub use runtime::{CostTable, Work, WorkClass};
pub use shares::{DEFAULT_WEIGHT, Shares};

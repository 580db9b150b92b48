//! Commands that show what drives do and did: live, from records in shared memory, or from a recorded run.

pub(crate) mod compare;
mod counters;
pub(crate) mod export;
mod follow;
mod listen;
mod live_clock;
pub(crate) mod page;
pub(crate) mod record;
pub(crate) mod replay;
mod seen;
pub(crate) mod stat;
pub(crate) mod top;
pub(crate) mod trace;

//! One clone of a job on one drive: what it has begun, what it counts.

use std::collections::VecDeque;

use simtime::{Instant, Prng};

use crate::access::Place;
use crate::measure::{Counts, Operations};
use crate::operation::Operation;
use crate::plan::{Arrival, Job, Limit, Work};

/// An operation that arrived and has not begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    pub(crate) at: Instant,
    pub(crate) place: Place,
}

/// One clone of a job on one drive.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) job: usize,
    pub(crate) drive: usize,
    /// In the list of what is prepared.
    pub(crate) prepared: usize,
    pub(crate) clone: usize,
    pub(crate) random: Prng,
    pub(crate) backlog: VecDeque<Pending>,
    /// Numbers of operations that could begin; `None` = any number could.
    pub(crate) free: Option<Vec<usize>>,
    pub(crate) in_flight: usize,
    /// Operations that arrived, and their bytes.
    pub(crate) arrived: (u64, u64),
    /// When the first arrived or was to.
    pub(crate) start: Instant,
    /// When it is measured.
    pub(crate) measured_from: Instant,
    pub(crate) ends: Instant,
    /// Nothing arrives any more.
    pub(crate) is_over: bool,
    /// Where its next output goes on the flash.
    pub(crate) next_output: u64,
}

impl Instance {
    /// True if what ends now counts.
    pub(crate) fn is_measured(&self, now: Instant) -> bool {
        // What ends just as the ramp time does belongs to it.
        let has_begun = self.measured_from < now || self.measured_from == self.start;
        has_begun && now <= self.ends
    }

    /// True if nothing more is to arrive.
    pub(crate) fn has_arrived(&self, job: &Job) -> bool {
        let (count, bytes) = self.arrived;
        let is_enough = match job.limit {
            Limit::Operations(most) => count >= most,
            Limit::Bytes(most) => bytes >= most,
            Limit::Time(_) | Limit::Trace | Limit::Others => false,
        };
        let is_traced = match &job.arrival {
            Arrival::Trace(entries) => count as usize >= entries.len(),
            Arrival::Closed { .. } | Arrival::Open { .. } => false,
        };
        is_enough || is_traced
    }

    /// Counts an operation that has ended.
    pub(crate) fn count(
        &self,
        counts: &mut Counts,
        operation: &Operation,
        work: &Work,
        now: Instant,
    ) {
        let Operation { place, arrived, begun, .. } = operation;
        let begun = begun.unwrap_or(now);
        let operations: &mut Operations = match work {
            Work::Blocks if place.is_read => &mut counts.read,
            Work::Blocks => &mut counts.write,
            Work::OnHost { .. } | Work::OnDrive(_) => &mut counts.execute,
        };
        operations.bytes += place.bytes;
        operations.total.add(now.since(*arrived));
        operations.submission.add(begun.since(*arrived));
        operations.completion.add(now.since(begun));
        counts.series.add(now.since(self.measured_from), place.bytes);
        counts.ended = Some(now);
    }
}

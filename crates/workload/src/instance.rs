//! One clone of a job on one drive: what it has begun, what it counts.

use std::collections::VecDeque;

use simtime::{Instant, Prng};

use crate::access::Place;
use crate::measure::{Counts, Operations};
use crate::operation::Operation;
use crate::plan::Work;

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
    pub(crate) counts: Counts,
}

impl Instance {
    /// True if what ends now counts.
    pub(crate) fn is_measured(&self, now: Instant) -> bool {
        // What ends just as the ramp time does belongs to it.
        let has_begun = self.measured_from < now || self.measured_from == self.start;
        has_begun && now <= self.ends
    }

    /// Counts an operation that has ended.
    pub(crate) fn count(&mut self, operation: &Operation, work: &Work, now: Instant) {
        let Operation { place, arrived, begun, .. } = operation;
        let begun = begun.unwrap_or(now);
        let operations: &mut Operations = match work {
            Work::Blocks if place.is_read => &mut self.counts.read,
            Work::Blocks => &mut self.counts.write,
            Work::OnHost { .. } | Work::OnDrive(_) => &mut self.counts.execute,
        };
        operations.bytes += place.bytes;
        operations.total.add(now.since(*arrived));
        operations.submission.add(begun.since(*arrived));
        operations.completion.add(now.since(begun));
        self.counts.series.add(now.since(self.measured_from), place.bytes);
        self.counts.ended = Some(now);
    }

    /// The time in which it was measured.
    pub(crate) fn elapsed(&self) -> u64 {
        let end = if self.ends == Instant::NEVER { self.counts.ended } else { Some(self.ends) };
        end.map_or(0, |end| end.since(self.measured_from).as_ns())
    }
}

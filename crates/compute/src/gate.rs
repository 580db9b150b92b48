//! What keeps a group's jobs from the scheduler for a while: its bandwidth, and the most of its jobs that may be there.

use std::collections::BTreeMap;

use simtime::{Duration, Instant};

use crate::policy::{GroupSettings, JobId};

/// A group that used less than its bandwidth may be ahead by what it did not use in this time.
const BURST: Duration = Duration::from_us(1000);

/// A job that is held back.
#[derive(Clone, Copy, Debug)]
struct Held {
    job: JobId,
    /// Bytes that it loads and stores, and since when that is known.
    bytes: Option<(u64, Instant)>,
}

/// One group's. Jobs pass in the order in which they came.
///
/// Bandwidth is a virtual scheduling (GCRA, ITU-T I.371) of jobs instead of cells: the bytes of a job count before it starts,
/// so a group is never ahead of its bandwidth by more than [`BURST`].
#[derive(Debug, Default)]
pub(crate) struct Gate {
    held: BTreeMap<u64, Held>,
    /// Places given so far.
    places: u64,
    /// The bytes of all jobs that passed are paid for at this time.
    paid: Instant,
    /// Since when the first job is the first.
    first_since: Option<Instant>,
}

impl Gate {
    /// Jobs that are held back.
    pub(crate) fn len(&self) -> u32 {
        self.held.len() as u32
    }

    /// Takes a job; returns its place.
    pub(crate) fn hold(&mut self, now: Instant, job: JobId, bytes: Option<u64>) -> u64 {
        self.places += 1;
        let bytes = bytes.map(|bytes| (bytes, now));
        self.held.insert(self.places, Held { job, bytes });
        self.places
    }

    /// What a job that is held loads and stores.
    pub(crate) fn set_bytes(&mut self, now: Instant, place: u64, bytes: u64) {
        if let Some(held) = self.held.get_mut(&place) {
            held.bytes = Some((bytes, now));
        }
    }

    /// Forgets a job that is held.
    pub(crate) fn cancel(&mut self, place: u64) {
        if self.held.first_key_value().is_some_and(|(first, _)| *first == place) {
            self.first_since = None;
        }
        self.held.remove(&place);
    }

    /// Looks at the first job, while `active` of the group's jobs are with the scheduler.
    pub(crate) fn look(&mut self, now: Instant, settings: &GroupSettings, active: u32) -> Look {
        let Some((&place, &Held { job, bytes })) = self.held.first_key_value() else {
            return Look::Closed;
        };
        let first_since = *self.first_since.get_or_insert(now);
        let has_room = settings.units_max.is_none_or(|most| active < most.get().into());
        let mut late = Duration::ZERO;
        let mut paid = self.paid;
        if settings.has_bandwidth() {
            let ahead = Instant::from_ns(first_since.as_ns().saturating_sub(BURST.as_ns()));
            let from = self.paid.max(ahead);
            // Paid before it starts: a job whose bytes are not known yet waits for that, too.
            let Some((bytes, known)) = bytes else {
                return if has_room { Look::Needs(from.max(first_since)) } else { Look::Closed };
            };
            let opens = from + settings.bandwidth.time_for(bytes);
            if opens > now {
                return Look::Opens(opens);
            }
            // Had they been known before, it would have passed before.
            late = known.since(opens.max(first_since));
            paid = opens;
        }
        if !has_room {
            return Look::Closed;
        }
        self.held.remove(&place);
        (self.paid, self.first_since) = (paid, None);
        Look::Passed(job, late)
    }
}

/// What becomes of the first job.
pub(crate) enum Look {
    /// It goes to the scheduler, so much later than it would have if its bytes had been known before.
    Passed(JobId, Duration),
    /// Its bytes are needed, from this time on.
    Needs(Instant),
    /// It may at this time.
    Opens(Instant),
    /// There is none, or it waits for something that has no time yet.
    Closed,
}

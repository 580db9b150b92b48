//! Interrupt vectors and their coalescing (Base 2.1, sections 3.5.1.1 and 5.1.25.2.6).

use simtime::{Duration, Instant};

use nvme_spec::InterruptCoalescing;

use crate::reminder::Reminder;

/// Unit of the coalescing time (TIME).
const TIME_UNIT: Duration = Duration::from_us(100);

/// One vector.
#[derive(Clone, Debug, Default)]
struct Vector {
    /// Completions posted since the last interrupt.
    waiting: u32,
    /// When the first of them has waited long enough.
    deadline: Instant,
    reminder: Reminder,
    coalescing_disabled: bool,
}

impl Vector {
    /// Waits for the deadline, with an event of its own unless an earlier one looks again.
    fn wait(&mut self) -> Raise {
        if self.reminder.set(self.deadline) { Raise::At(self.deadline) } else { Raise::Pending }
    }
}

/// What a posted completion leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Raise {
    Now,
    /// At that time at the latest.
    At(Instant),
    /// An event that is under way will see to it.
    Pending,
}

/// All vectors of the drive: one for each completion queue.
#[derive(Debug)]
pub(crate) struct Interrupts {
    vectors: Vec<Vector>,
}

impl Interrupts {
    /// Vectors 0 to `count - 1`.
    pub(crate) fn new(count: usize) -> Self {
        Self { vectors: vec![Vector::default(); count] }
    }

    /// Forgets what waits, and every vector's setting. Events under way will find nothing.
    pub(crate) fn reset(&mut self) {
        for vector in &mut self.vectors {
            let reminder = std::mem::take(&mut vector.reminder);
            *vector = Vector { reminder, ..Vector::default() };
        }
    }

    /// Excludes a vector from coalescing, or includes it; `None` if there is no such vector.
    pub(crate) fn set_disabled(&mut self, vector: u16, disabled: bool) -> Option<()> {
        self.vectors.get_mut(usize::from(vector)).map(|v| v.coalescing_disabled = disabled)
    }

    /// True if a vector is excluded from coalescing.
    pub(crate) fn is_disabled(&self, vector: u16) -> Option<bool> {
        self.vectors.get(usize::from(vector)).map(|v| v.coalescing_disabled)
    }

    /// A completion was posted. `coalesce` is off for the admin queue's (Base 2.1, Figure 397).
    #[inline]
    pub(crate) fn posted(
        &mut self,
        now: Instant,
        vector: u16,
        coalesce: bool,
        setting: InterruptCoalescing,
    ) -> Raise {
        if setting.time() == 0 || setting.thr_z() == 0 || !coalesce {
            return Raise::Now;
        }
        let Some(state) = self.vectors.get_mut(usize::from(vector)) else { return Raise::Now };
        state.waiting += 1;
        if state.coalescing_disabled || state.waiting > u32::from(setting.thr_z()) {
            state.waiting = 0;
            return Raise::Now;
        }
        if state.waiting == 1 {
            state.deadline = now + TIME_UNIT * u64::from(setting.time());
        }
        state.wait()
    }

    /// The event of a vector happens: raise its interrupt, look again later, or `None` if its
    /// completions were raised in the meantime.
    pub(crate) fn expired(&mut self, now: Instant, vector: u16) -> Option<Raise> {
        let state = self.vectors.get_mut(usize::from(vector))?;
        state.reminder.happened(now);
        match state.waiting {
            0 => None,
            _ if state.deadline > now => Some(state.wait()),
            _ => {
                state.waiting = 0;
                Some(Raise::Now)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completions_are_gathered_until_threshold_or_time() {
        let mut interrupts = Interrupts::new(2);
        let setting = InterruptCoalescing::new().with_thr_z(2).with_time(3);
        let at = |us| Instant::ZERO + Duration::from_us(us);
        let mut posted = |now, vector| interrupts.posted(at(now), vector, true, setting);
        assert_eq!(posted(0, 1), Raise::At(at(300)));
        assert_eq!((posted(1, 1), posted(2, 1)), (Raise::Pending, Raise::Now));
        assert_eq!(posted(5, 1), Raise::Pending, "the event under way looks again");
        assert_eq!(interrupts.expired(at(300), 1), Some(Raise::At(at(305))));
        assert_eq!(interrupts.expired(at(305), 1), Some(Raise::Now));
        assert_eq!(interrupts.expired(at(305), 1), None);
        // A shorter time does not wait for the event of a longer one.
        let longer = InterruptCoalescing::new().with_thr_z(9).with_time(200);
        assert_eq!(interrupts.posted(at(400), 1, true, longer), Raise::At(at(20_400)));
        interrupts.reset();
        assert_eq!(interrupts.posted(at(500), 1, true, setting), Raise::At(at(800)));
        assert_eq!(interrupts.expired(at(800), 1), Some(Raise::Now));
        assert_eq!(interrupts.posted(at(9), 0, false, setting), Raise::Now);
        interrupts.set_disabled(1, true).unwrap();
        assert_eq!(interrupts.posted(at(9), 1, true, setting), Raise::Now);
        let off = InterruptCoalescing::new().with_thr_z(9);
        assert_eq!(interrupts.posted(at(9), 0, true, off), Raise::Now);
        assert!(interrupts.set_disabled(2, true).is_none());
    }
}

//! Interrupt vectors and their coalescing (Base 2.1, sections 3.5.1.1 and 5.1.25.2.6).

use simtime::{Duration, Instant};

use nvme_spec::InterruptCoalescing;

/// Unit of the coalescing time (TIME).
const TIME_UNIT: Duration = Duration::from_us(100);

/// One vector.
#[derive(Clone, Copy, Debug, Default)]
struct Vector {
    /// Completions posted since the last interrupt.
    waiting: u32,
    /// Tells the current delay from those of earlier interrupts.
    generation: u32,
    coalescing_disabled: bool,
}

/// What a posted completion leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Raise {
    Now,
    /// At that time at the latest, under this generation.
    At(Instant, u32),
    /// Some completion before this one has started the delay.
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

    /// Forgets what waits, and every vector's setting.
    pub(crate) fn reset(&mut self) {
        for vector in &mut self.vectors {
            let generation = vector.generation.wrapping_add(1);
            *vector = Vector { generation, ..Vector::default() };
        }
    }

    /// True if there is such a vector.
    pub(crate) fn exists(&self, vector: u16) -> bool {
        usize::from(vector) < self.vectors.len()
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
            state.generation = state.generation.wrapping_add(1);
            return Raise::Now;
        }
        if state.waiting > 1 {
            return Raise::Pending;
        }
        Raise::At(now + TIME_UNIT * u64::from(setting.time()), state.generation)
    }

    /// A delay is over; true if its interrupt was not raised in the meantime.
    pub(crate) fn expired(&mut self, vector: u16, generation: u32) -> bool {
        let Some(state) = self.vectors.get_mut(usize::from(vector)) else { return false };
        let due = state.generation == generation && state.waiting > 0;
        if due {
            state.waiting = 0;
            state.generation = state.generation.wrapping_add(1);
        }
        due
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
        assert_eq!(posted(0, 1), Raise::At(at(300), 0));
        assert_eq!((posted(1, 1), posted(2, 1)), (Raise::Pending, Raise::Now));
        assert_eq!(posted(5, 1), Raise::At(at(305), 1));
        assert!(!interrupts.expired(1, 0), "raised by the threshold already");
        assert!(interrupts.expired(1, 1) && !interrupts.expired(1, 1));
        assert_eq!(interrupts.posted(at(9), 0, false, setting), Raise::Now);
        interrupts.set_disabled(1, true).unwrap();
        assert_eq!(interrupts.posted(at(9), 1, true, setting), Raise::Now);
        let off = InterruptCoalescing::new().with_thr_z(9);
        assert_eq!(interrupts.posted(at(9), 0, true, off), Raise::Now);
        assert!(interrupts.set_disabled(2, true).is_none());
    }
}

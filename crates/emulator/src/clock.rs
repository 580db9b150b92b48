//! Wall-clock time, as the drive's models count it.

use simtime::Instant;
use std::time::Duration;

/// Time since a drive was started, without the time for which it was frozen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// When it was started, and as much later as it was frozen since.
    start: std::time::Instant,
    /// While it is frozen: its time.
    frozen: Option<Instant>,
}

impl Clock {
    pub(crate) fn start(start: std::time::Instant) -> Self {
        Self { start, frozen: None }
    }

    /// A time of the models as this machine's clock has it; while it is frozen, the time now.
    #[inline]
    pub(crate) fn wall(&self, now: Instant) -> std::time::Instant {
        match self.frozen {
            None => self.start + Duration::from_nanos(now.as_ns()),
            Some(_) => std::time::Instant::now(),
        }
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    #[inline]
    pub(crate) fn now(&self) -> Instant {
        // 584 years fit.
        self.frozen.unwrap_or_else(|| Instant::from_ns(self.start.elapsed().as_nanos() as u64))
    }

    /// Stops it, or lets it go on.
    pub(crate) fn set_frozen(&mut self, is_frozen: bool) {
        match (self.frozen, is_frozen) {
            (None, true) => self.frozen = Some(self.now()),
            (Some(now), false) => {
                self.start = std::time::Instant::now() - Duration::from_nanos(now.as_ns());
                self.frozen = None;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frozen_clock_stands_still_and_goes_on_from_there() {
        let mut clock = Clock::start(std::time::Instant::now());
        let before = clock.now();
        clock.set_frozen(true);
        let frozen = clock.now();
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(clock.now(), frozen);
        clock.set_frozen(true);
        clock.set_frozen(false);
        let after = clock.now();
        assert!(before <= frozen && frozen <= after);
        assert!(after.since(frozen).as_ns() < 15_000_000, "{}", after.since(frozen));
    }
}

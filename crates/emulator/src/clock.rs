//! Wall-clock time, as the drive's models count it.

use simtime::Instant;

/// Time since a drive was started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: std::time::Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: std::time::Instant::now() }
    }

    /// A time of the models as this machine's clock has it.
    #[inline]
    pub(crate) fn wall(&self, now: Instant) -> std::time::Instant {
        self.start + std::time::Duration::from_nanos(now.as_ns())
    }

    #[inline]
    pub(crate) fn now(&self) -> Instant {
        // 584 years fit.
        Instant::from_ns(self.start.elapsed().as_nanos() as u64)
    }
}

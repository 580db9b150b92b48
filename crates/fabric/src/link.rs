//! Links: first come, first served at a bandwidth, then a latency.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use simtime::{Bandwidth, Duration, Instant};

/// A link's speed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkConfig {
    /// Bytes per second, one direction.
    pub bandwidth: Bandwidth,
    /// Time from the last byte sent to the last byte received.
    pub latency: Duration,
}

/// One direction of a link.
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    /// Several threads send over it.
    is_shared: bool,
    free_at: AtomicU64,
    bytes: AtomicU64,
}

impl Link {
    /// A link that is free, of one thread.
    pub fn new(config: LinkConfig) -> Self {
        Self { config, is_shared: false, free_at: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    /// The same, over which several threads send.
    pub fn shared(config: LinkConfig) -> Self {
        Self { is_shared: true, ..Self::new(config) }
    }

    /// Sends bytes after everything sent before; returns when the last one arrives. Nothing to
    /// send takes no time.
    #[inline]
    pub fn send(&self, now: Instant, bytes: u64) -> Instant {
        if bytes == 0 {
            return now;
        }
        self.count(bytes);
        self.pass(now, bytes)
    }

    /// As [`Self::send`], of bytes that are counted elsewhere.
    #[inline]
    pub fn pass(&self, now: Instant, bytes: u64) -> Instant {
        if bytes == 0 {
            return now;
        }
        let time = self.config.bandwidth.time_for(bytes);
        let after = |free_at: u64| (Instant::from_ns(free_at).max(now) + time).as_ns();
        // What one thread uses needs no locked instruction.
        let end = if self.is_shared {
            let before = self.free_at.fetch_update(Relaxed, Relaxed, |free| Some(after(free)));
            after(before.unwrap_or_default())
        } else {
            let end = after(self.free_at.load(Relaxed));
            self.free_at.store(end, Relaxed);
            end
        };
        Instant::from_ns(end) + self.config.latency
    }

    #[inline]
    fn count(&self, bytes: u64) {
        if self.is_shared {
            self.bytes.fetch_add(bytes, Relaxed);
        } else {
            self.bytes.store(self.bytes.load(Relaxed) + bytes, Relaxed);
        }
    }

    /// What is still to be sent is wanted no more: the link is free.
    pub fn forget(&self, now: Instant) {
        self.free_at.fetch_min(now.as_ns(), Relaxed);
    }

    /// The power went: nothing is on its way, and nothing was counted.
    pub fn reset(&self) {
        self.free_at.store(0, Relaxed);
        self.bytes.store(0, Relaxed);
    }

    /// Its latency.
    pub fn latency(&self) -> Duration {
        self.config.latency
    }

    /// Bytes sent since the drive was made.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_transfers_queue_at_the_bandwidth_and_overlap_in_latency() {
        let config = LinkConfig {
            bandwidth: Bandwidth::from_bytes_per_s(1_000_000_000),
            latency: Duration::from_ns(500),
        };
        for link in [Link::new(config), Link::shared(config)] {
            assert_eq!(link.send(Instant::ZERO, 100).as_ns(), 600);
            assert_eq!(link.send(Instant::ZERO, 100).as_ns(), 700);
            assert_eq!(link.send(Instant::from_ns(1000), 1).as_ns(), 1501);
            assert_eq!((link.send(Instant::ZERO, 0).as_ns(), link.bytes()), (0, 201));
            link.forget(Instant::ZERO);
            assert_eq!((link.pass(Instant::ZERO, 100).as_ns(), link.bytes()), (600, 201));
        }
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let bandwidth = Bandwidth::from_bytes_per_s(1_000_000_000);
        let link = Link::shared(LinkConfig { bandwidth, latency: Duration::ZERO });
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        link.send(Instant::ZERO, 10);
                    }
                });
            }
        });
        assert_eq!((link.bytes(), link.pass(Instant::ZERO, 1).as_ns()), (400_000, 400_001));
    }
}

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
    /// What other drives take is on its way until then.
    peers_until: AtomicU64,
    /// The time of everything that was asked for, in nanoseconds.
    asked: AtomicU64,
    bytes: AtomicU64,
}

impl Link {
    /// A link that is free, of one thread.
    pub fn new(config: LinkConfig) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            config,
            is_shared: false,
            free_at: zero(),
            peers_until: zero(),
            asked: zero(),
            bytes: zero(),
        }
    }

    /// The same, over which several threads send.
    pub fn shared(config: LinkConfig) -> Self {
        Self { is_shared: true, ..Self::new(config) }
    }

    /// Its latency.
    pub fn latency(&self) -> Duration {
        self.config.latency
    }

    /// Sends bytes after everything sent before; returns when the last one arrives. Nothing to
    /// send takes no time.
    #[inline]
    pub fn send(&self, now: Instant, bytes: u64) -> Instant {
        if bytes == 0 {
            return now;
        }
        self.count(bytes);
        self.take(now, bytes) + self.config.latency
    }

    /// Counts bytes.
    #[inline]
    pub(crate) fn count(&self, bytes: u64) {
        self.add(&self.bytes, bytes);
    }

    /// Takes the link for so many bytes; when the last one has left.
    #[inline]
    pub(crate) fn take(&self, now: Instant, bytes: u64) -> Instant {
        let time = self.config.bandwidth.time_for(bytes);
        self.add(&self.asked, time.as_ns());
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
        Instant::from_ns(end)
    }

    /// The same for another drive: a reset of this one does not end it.
    pub(crate) fn take_for_peer(&self, now: Instant, bytes: u64) -> Instant {
        let end = self.take(now, bytes);
        self.peers_until.fetch_max(end.as_ns(), Relaxed);
        end
    }

    #[inline]
    fn add(&self, to: &AtomicU64, more: u64) {
        if self.is_shared {
            to.fetch_add(more, Relaxed);
        } else {
            to.store(to.load(Relaxed) + more, Relaxed);
        }
    }

    /// What is still to be sent for the drive itself is wanted no more, or the power went: the link is free.
    pub fn forget(&self, now: Instant) {
        let free_at = self.free_at.load(Relaxed);
        let kept = now.as_ns().max(self.peers_until.load(Relaxed)).min(free_at);
        // What is not sent does not count as busy.
        self.asked.fetch_sub(free_at - kept, Relaxed);
        self.free_at.store(kept, Relaxed);
    }

    /// The time until now in which it sent.
    pub fn busy(&self, now: Instant) -> Duration {
        let to_come = Instant::from_ns(self.free_at.load(Relaxed)).since(now);
        Duration::from_ns(self.asked.load(Relaxed).saturating_sub(to_come.as_ns()))
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
            assert_eq!(link.busy(Instant::from_ns(50)).as_ns(), 50);
            assert_eq!(link.send(Instant::from_ns(1000), 1).as_ns(), 1501);
            assert_eq!((link.send(Instant::ZERO, 0).as_ns(), link.bytes()), (0, 201));
            assert_eq!(link.busy(Instant::from_ns(2000)).as_ns(), 201);
            // A reset ends what is the drive's own, and nothing of others.
            link.send(Instant::from_ns(2000), 1000);
            link.forget(Instant::from_ns(2100));
            assert_eq!(link.busy(Instant::from_ns(9000)).as_ns(), 301);
            assert_eq!(link.take_for_peer(Instant::from_ns(3000), 500).as_ns(), 3500);
            link.forget(Instant::from_ns(3100));
            assert_eq!(link.take(Instant::from_ns(3100), 1).as_ns(), 3501);
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
        assert_eq!((link.bytes(), link.take(Instant::ZERO, 1).as_ns()), (400_000, 400_001));
    }
}

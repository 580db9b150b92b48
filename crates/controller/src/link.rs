//! Links: first come, first served at a bandwidth, then a latency.

use simtime::{Bandwidth, Duration, Instant};

use crate::config::LinkConfig;

/// One direction of a link.
#[derive(Debug)]
pub(crate) struct Link {
    bandwidth: Bandwidth,
    latency: Duration,
    free_at: Instant,
    bytes: u64,
}

impl Link {
    pub(crate) fn new(config: LinkConfig) -> Self {
        let LinkConfig { bandwidth, latency } = config;
        Self { bandwidth, latency, free_at: Instant::ZERO, bytes: 0 }
    }

    /// Sends bytes after everything sent before; returns when the last one arrives. Nothing to
    /// send takes no time.
    #[inline]
    pub(crate) fn send(&mut self, now: Instant, bytes: u64) -> Instant {
        if bytes == 0 {
            return now;
        }
        self.bytes += bytes;
        self.free_at = self.free_at.max(now) + self.bandwidth.time_for(bytes);
        self.free_at + self.latency
    }

    /// Nobody waits for what is still to be sent: the link is free.
    pub(crate) fn forget(&mut self, now: Instant) {
        self.free_at = self.free_at.min(now);
    }

    /// Bytes sent since the drive was made.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_transfers_queue_at_the_bandwidth_and_overlap_in_latency() {
        let mut link = Link::new(LinkConfig {
            bandwidth: Bandwidth::from_bytes_per_s(1_000_000_000),
            latency: Duration::from_ns(500),
        });
        assert_eq!(link.send(Instant::ZERO, 100).as_ns(), 600);
        assert_eq!(link.send(Instant::ZERO, 100).as_ns(), 700);
        assert_eq!(link.send(Instant::from_ns(1000), 1).as_ns(), 1501);
        assert_eq!((link.send(Instant::ZERO, 0).as_ns(), link.bytes()), (0, 201));
    }
}

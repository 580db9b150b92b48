//! A drive's port, and the switch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use simtime::Instant;

use crate::link::{Link, LinkConfig};

/// What several drives share on the way to their host and to each other.
#[derive(Clone, Debug, Default)]
pub struct Switch(Option<Arc<Link>>);

impl Switch {
    /// A switch whose drives share a bandwidth.
    pub fn new(config: LinkConfig) -> Self {
        Self(Some(Arc::new(Link::shared(config))))
    }
}

/// Where a drive is connected.
#[derive(Debug)]
pub struct Port {
    to_host: Link,
    from_host: Link,
    switch: Switch,
    /// Bytes that other drives took from this one, and that this one took from others.
    to_peers: AtomicU64,
    from_peers: AtomicU64,
}

impl Port {
    /// The port of a drive that is alone.
    pub fn new(config: LinkConfig) -> Self {
        Self::with(Link::new(config), Link::new(config), Switch::default())
    }

    /// A port of a switch.
    pub fn of(switch: &Switch, config: LinkConfig) -> Self {
        Self::with(Link::shared(config), Link::shared(config), switch.clone())
    }

    fn with(to_host: Link, from_host: Link, switch: Switch) -> Self {
        let (to_peers, from_peers) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { to_host, from_host, switch, to_peers, from_peers }
    }

    /// Sends bytes to the host; when the last one arrives.
    #[inline]
    pub fn to_host(&self, now: Instant, bytes: u64) -> Instant {
        self.through(self.to_host.send(now, bytes), now, bytes)
    }

    /// Sends bytes from the host; when the last one arrives.
    #[inline]
    pub fn from_host(&self, now: Instant, bytes: u64) -> Instant {
        self.through(self.from_host.send(now, bytes), now, bytes)
    }

    /// Sends bytes from another drive to this one; when the last one arrives.
    pub fn from_peer(&self, peer: &Self, now: Instant, bytes: u64) -> Instant {
        peer.to_peers.fetch_add(bytes, Relaxed);
        self.from_peers.fetch_add(bytes, Relaxed);
        // Both links take the bytes at the same moment; after the slower one come the latencies of both.
        let out = peer.to_host.pass(now, bytes) + self.from_host.latency();
        let into = self.from_host.pass(now, bytes) + peer.to_host.latency();
        self.through(out.max(into), now, bytes)
    }

    #[inline]
    fn through(&self, end: Instant, now: Instant, bytes: u64) -> Instant {
        match &self.switch.0 {
            None => end,
            Some(switch) => switch.pass(now, bytes).max(end),
        }
    }

    /// Bytes to the host since the drive was made.
    pub fn bytes_to_host(&self) -> u64 {
        self.to_host.bytes()
    }

    /// Bytes from the host since the drive was made.
    pub fn bytes_from_host(&self) -> u64 {
        self.from_host.bytes()
    }

    /// Bytes that other drives took from this one.
    pub fn bytes_to_peers(&self) -> u64 {
        self.to_peers.load(Relaxed)
    }

    /// Bytes that this drive took from others.
    pub fn bytes_from_peers(&self) -> u64 {
        self.from_peers.load(Relaxed)
    }

    /// The controller was reset: nothing of what is still to be sent is wanted.
    pub fn forget(&self, now: Instant) {
        self.to_host.forget(now);
        self.from_host.forget(now);
    }

    /// The power went.
    pub fn reset(&self) {
        self.to_host.reset();
        self.from_host.reset();
    }
}

#[cfg(test)]
mod tests {
    use simtime::{Bandwidth, Duration};

    use super::*;

    fn config(bytes_per_us: u64, latency_ns: u64) -> LinkConfig {
        let bandwidth = Bandwidth::from_bytes_per_s(bytes_per_us * 1_000_000);
        LinkConfig { bandwidth, latency: Duration::from_ns(latency_ns) }
    }

    #[test]
    fn the_slowest_link_of_a_path_says_when_data_arrives() {
        // 1000 bytes: 1 us out, 2 us in, 4 us through the switch.
        let switch = Switch::new(config(250, 0));
        let (fast, slow) =
            (Port::of(&switch, config(1000, 100)), Port::of(&switch, config(500, 100)));
        assert_eq!(slow.from_peer(&fast, Instant::ZERO, 1000).as_ns(), 4000);
        let alone = [Port::new(config(1000, 100)), Port::new(config(500, 100))];
        assert_eq!(alone[1].from_peer(&alone[0], Instant::ZERO, 1000).as_ns(), 2200);
        // Both links were taken: what the host sends waits for it, and what goes the other way does not.
        assert_eq!(alone[1].from_host(Instant::ZERO, 1000).as_ns(), 4100);
        assert_eq!(alone[0].to_host(Instant::ZERO, 1000).as_ns(), 2100);
        assert_eq!(alone[0].from_host(Instant::ZERO, 1000).as_ns(), 1100);
        assert_eq!((alone[1].bytes_from_peers(), alone[0].bytes_to_peers()), (1000, 1000));
        assert_eq!((alone[1].bytes_from_host(), alone[0].bytes_to_host()), (1000, 1000));
    }

    #[test]
    fn drives_share_the_switch() {
        let switch = Switch::new(config(1000, 0));
        let ports: Vec<Port> = (0..4).map(|_| Port::of(&switch, config(1000, 0))).collect();
        let ends = ports.iter().map(|port| port.to_host(Instant::ZERO, 1000).as_ns());
        assert_eq!(ends.collect::<Vec<_>>(), [1000, 2000, 3000, 4000]);
    }
}

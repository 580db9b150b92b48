//! A drive's port, and the switch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use simtime::{Duration, Instant};

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
        self.cross(&self.to_host, now, bytes)
    }

    /// Sends bytes from the host; when the last one arrives.
    #[inline]
    pub fn from_host(&self, now: Instant, bytes: u64) -> Instant {
        self.cross(&self.from_host, now, bytes)
    }

    #[inline]
    fn cross(&self, link: &Link, now: Instant, bytes: u64) -> Instant {
        match &self.switch.0 {
            None => link.send(now, bytes),
            Some(_) if bytes == 0 => now,
            Some(switch) => {
                link.count(bytes);
                let end = link.take(now, bytes).max(switch.take(now, bytes));
                end + link.latency() + switch.latency()
            }
        }
    }

    /// Sends bytes from another drive to this one; when the last one arrives.
    pub fn from_peer(&self, peer: &Self, now: Instant, bytes: u64) -> Instant {
        if bytes == 0 {
            return now;
        }
        peer.to_peers.fetch_add(bytes, Relaxed);
        self.from_peers.fetch_add(bytes, Relaxed);
        let (out, into) = (&peer.to_host, &self.from_host);
        // Nobody but the peer can end what it sends; what comes in is this drive's own.
        let mut end = out.take_for_peer(now, bytes).max(into.take(now, bytes));
        let mut latency = out.latency() + into.latency();
        if let Some(switch) = &self.switch.0 {
            end = end.max(switch.take(now, bytes));
            latency += switch.latency();
        }
        end + latency
    }

    /// The time until now in which data went out, and in which it came in, from and to whomever.
    pub fn busy(&self, now: Instant) -> (Duration, Duration) {
        (self.to_host.busy(now), self.from_host.busy(now))
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
}

#[cfg(test)]
mod tests {
    use simtime::Bandwidth;

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
        assert_eq!(slow.from_peer(&fast, Instant::ZERO, 1000).as_ns(), 4200);
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
    fn every_latency_of_a_path_counts() {
        let switch = Switch::new(config(1000, 30));
        let port = Port::of(&switch, config(1000, 100));
        assert_eq!(port.to_host(Instant::ZERO, 1000).as_ns(), 1130);
        assert_eq!(port.to_host(Instant::ZERO, 0).as_ns(), 0);
        assert_eq!(port.busy(Instant::from_ns(400)).0.as_ns(), 400);
    }

    #[test]
    fn drives_share_the_switch() {
        let switch = Switch::new(config(1000, 0));
        let ports: Vec<Port> = (0..4).map(|_| Port::of(&switch, config(1000, 0))).collect();
        let ends = ports.iter().map(|port| port.to_host(Instant::ZERO, 1000).as_ns());
        assert_eq!(ends.collect::<Vec<_>>(), [1000, 2000, 3000, 4000]);
    }
}

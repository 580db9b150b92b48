//! From one drive to another, past the host.

use client::DriveError;
use controller::{Config, Controller, LinkConfig, Parts, Peers, Switch};
use nvme_spec::Status;
use simtime::{Bandwidth, Duration};
use simulator::Session;

const MIB: u64 = 1 << 20;

fn link(bytes_per_us: u64) -> LinkConfig {
    let bandwidth = Bandwidth::from_bytes_per_s(bytes_per_us * 1_000_000);
    LinkConfig { bandwidth, latency: Duration::ZERO }
}

/// A drive whose link sends so many bytes a microsecond, and nothing else of which takes time.
fn drive(peers: Option<&Peers>, bytes_per_us: u64) -> Session {
    let mut config = Config { memory_bytes: 4 * MIB, ..Config::default() };
    config.host_link = link(bytes_per_us);
    config.internal_link = link(0);
    config.command_time = Duration::ZERO;
    let parts = Parts { peers: peers.cloned(), ..Parts::default() };
    simulator::open_drive(Controller::with_parts(config, parts).unwrap(), 0, 64).unwrap()
}

fn status(result: Result<(), DriveError>) -> Status {
    match result {
        Err(DriveError::Failed(failed)) => failed.status,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_copy_takes_the_slower_link_and_nothing_of_the_hosts() {
    for (switch, us_per_mib) in [(Switch::default(), 2048), (Switch::new(link(256)), 4096)] {
        let peers = Peers::new(switch);
        let [mut a, mut b] = [1024, 512].map(|rate| drive(Some(&peers), rate));
        let numbers: Vec<u8> = (0..MIB).map(|n| (n % 251) as u8).collect();
        a.write_memory(4096, &numbers).unwrap();
        let list = b.peers().unwrap();
        assert_eq!(list.iter().map(|peer| peer.is_own).collect::<Vec<_>>(), [false, true]);
        let from = &list[0];
        assert_eq!((from.drive, from.bytes, from.serial.as_str()), (0, 4 * MIB, "CSDRIVE0001"));
        let port = &b.transport.driver.port;
        let (start, before) =
            (port.now().max(a.transport.driver.port.now()), port.drive.counters());
        let sent = a.transport.driver.port.drive.counters();
        b.transport.driver.port.idle_until(start);
        b.copy_from_peer((from.drive, from.nsid), 4096, MIB, 8192).unwrap();
        let port = &b.transport.driver.port;
        let (took, after) = (port.now().since(start).as_ns(), port.drive.counters());
        // And the list of sources, 32 bytes.
        assert!((us_per_mib * 1000..us_per_mib * 1000 + 200).contains(&took), "{took}");
        assert_eq!(after.bytes_to_host, before.bytes_to_host);
        assert_eq!(after.bytes_from_host.get() - before.bytes_from_host.get(), 32);
        assert_eq!(after.bytes_from_peers.get(), MIB);
        let now = a.transport.driver.port.drive.counters();
        assert_eq!((now.bytes_to_peers.get(), now.bytes_to_host), (MIB, sent.bytes_to_host));
        assert_eq!(b.read_memory(8192, MIB).unwrap(), numbers);
    }
}

#[test]
fn what_is_not_there_is_refused() {
    let peers = Peers::default();
    let [_a, mut b] = [0, 0].map(|rate| drive(Some(&peers), rate));
    let mut copy = |peer, from, len| status(b.copy_from_peer(peer, from, len, 0));
    assert_eq!(copy((0, 9), 0, 4096), Status::INVALID_NAMESPACE.with_dnr());
    assert_eq!(copy((0, 1), 0, 4096), Status::INVALID_NAMESPACE.with_dnr());
    assert_eq!(copy((2, 2), 0, 4096), Status::INVALID_FIELD.with_dnr());
    assert_eq!(copy((1, 2), 0, 4096), Status::INVALID_FIELD.with_dnr(), "that is this drive");
    assert_eq!(copy((0, 2), 4 * MIB - 4, 8), Status::INVALID_FIELD.with_dnr());
    assert_eq!(copy((0, 2), u64::MAX - 3, 4), Status::INVALID_FIELD.with_dnr());
    let mut alone = drive(None, 0);
    assert_eq!(alone.peers().unwrap(), []);
    let refused = status(alone.copy_from_peer((0, 2), 0, 4096, 0));
    assert_eq!(refused, Status::INVALID_FIELD.with_dnr());
}

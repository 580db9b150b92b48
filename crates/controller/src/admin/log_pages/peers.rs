//! Other drives.

use nvme_spec::{PeerEntry, PeersHeader};
use zerocopy::IntoBytes;

use crate::subsystem::Subsystem;

/// The log page (vendor, C4h). A drive that is alone has no entries.
pub(super) fn peers(subsystem: &Subsystem) -> Vec<u8> {
    let (all, own) = match &subsystem.peers {
        Some((peers, own)) => (peers.all(), *own),
        None => (Vec::new(), 0),
    };
    let mut entries = Vec::new();
    for (number, peer) in (0u32..).zip(&all) {
        let mut serial = [b' '; 20];
        serial.iter_mut().zip(peer.serial.bytes()).for_each(|(to, from)| *to = from);
        for (nsid, memory) in &peer.memories {
            entries.push(PeerEntry {
                drive: number.into(),
                nsid: nsid.0.into(),
                bytes: memory.len().into(),
                serial,
                reserved36: [0; 12],
            });
        }
    }
    let header = PeersHeader {
        entries: (entries.len() as u32).into(),
        entry_bytes: (size_of::<PeerEntry>() as u32).into(),
        own: own.into(),
        reserved12: [0; 4],
    };
    [header.as_bytes(), entries.as_bytes()].concat()
}

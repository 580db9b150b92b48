//! Other drives, whose device memory a drive reaches without its host.

use nvme_spec::command::copy_format;
use nvme_spec::{PeerEntry, PeersHeader, lid};
use zerocopy::{FromBytes, IntoBytes};

use super::single::MEMORY_COMMAND_BYTES_MAX;
use super::{Drive, DriveResult};
use crate::commands;
use crate::transport::{Command, Data, Lane, Submit};

/// A memory namespace of a drive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerMemory {
    /// Number of the drive.
    pub drive: u32,
    /// The namespace.
    pub nsid: u32,
    /// Bytes of it.
    pub bytes: u64,
    /// Serial number of the drive.
    pub serial: String,
    /// It is this drive's own.
    pub is_own: bool,
}

impl<T: Submit> Drive<T> {
    /// Memory namespaces of the drives that this one reaches, its own among them; none if it is alone (vendor log page C4h).
    ///
    /// # Errors
    /// If the drive refuses: it has no such page.
    pub fn peers(&mut self) -> DriveResult<Vec<PeerMemory>> {
        const HEADER: usize = size_of::<PeersHeader>();
        const ENTRY: usize = size_of::<PeerEntry>();
        let page = self.log(lid::PEERS, 0, HEADER as u64)?;
        let (head, _) = PeersHeader::read_from_prefix(&page).expect("it was asked for");
        let len = u64::from(head.entries.get()) * ENTRY as u64;
        let list = self.log_at(lid::PEERS, 0, HEADER as u64, len)?;
        let (entries, _) = list.as_chunks::<ENTRY>();
        let memory = |bytes: &[u8; ENTRY]| {
            let entry = PeerEntry::read_from_bytes(bytes).expect("as long as that");
            PeerMemory {
                drive: entry.drive.get(),
                nsid: entry.nsid.get(),
                bytes: entry.bytes.get(),
                serial: String::from_utf8_lossy(&entry.serial).trim_end().to_owned(),
                is_own: entry.drive == head.own,
            }
        };
        Ok(entries.iter().map(memory).collect())
    }

    /// Memory Copy: so many bytes of a memory namespace of another drive to a place in this one's.
    pub fn copy_peer_command(
        &self,
        (drive, nsid): (u32, u32),
        from: u64,
        len: u32,
        to: u64,
    ) -> Command {
        let source = commands::copy_source_peer(drive, nsid, from, len);
        let copy = commands::memory_copy(to, len.into(), 1, copy_format::PEER_MEMORY);
        let data = Data::ToDrive(source.as_bytes().to_vec());
        Command {
            name: "Memory Copy",
            lane: Lane::Io,
            entry: self.of_memory(copy),
            data,
            is_execution: false,
        }
    }

    /// Copies device memory of another drive to this one's, past the host; places and length are multiples of four.
    ///
    /// # Errors
    /// If the drive refuses: it does not reach such a drive, or there is no such memory.
    pub fn copy_from_peer(
        &mut self,
        peer: (u32, u32),
        from: u64,
        len: u64,
        to: u64,
    ) -> DriveResult<()> {
        self.check_copy(from, len, to)?;
        for at in (0..len).step_by(MEMORY_COMMAND_BYTES_MAX as usize) {
            let n = MEMORY_COMMAND_BYTES_MAX.min(len - at) as u32;
            self.perform(self.copy_peer_command(peer, from + at, n, to + at))?;
        }
        Ok(())
    }
}

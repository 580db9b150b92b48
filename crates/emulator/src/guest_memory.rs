//! The client's memory as the drive's DMA sees it: pieces that come and go.

use std::cell::Cell;

use controller::{HostMemory, HostMemoryError};
use vfio_user::{Errno, Map, Mapping, wire::MAPS};

/// Most pieces at a time: a process has 65 530 mappings, and several drives may share it. Machines have some
/// dozens.
const MAPS_MAX: usize = MAPS as usize;

/// Most pieces that are files read and written by system calls, each of which keeps a descriptor.
const FILES_MAX: usize = 64;

/// Pieces without a file are normal if they are small (firmware, memory of other devices); guest RAM is
/// not.
const RAM_BYTES: u64 = 64 << 20;

#[derive(Debug)]
struct Piece {
    address: u64,
    size: u64,
    is_readable: bool,
    /// `None`: the client did not share it.
    mapping: Option<Mapping>,
}

/// Memory that a client has given to the drive.
#[derive(Debug, Default)]
pub(crate) struct GuestMemory {
    /// By address; they do not overlap.
    pieces: Vec<Piece>,
    /// The piece that was used last: most likely the next one is the same.
    last: Cell<usize>,
    /// What is wrong with what was given, for whoever runs the server.
    pub(crate) complaint: Option<String>,
}

impl GuestMemory {
    /// Takes a piece.
    pub(crate) fn map(&mut self, map: Map) -> Result<(), Errno> {
        let end = map.address + map.size;
        let at = self.pieces.partition_point(|piece| piece.address + piece.size <= map.address);
        if self.pieces.get(at).is_some_and(|piece| piece.address < end) {
            return Err(Errno::EXIST);
        }
        if self.pieces.len() >= MAPS_MAX {
            return Err(Errno::NOSPC);
        }
        let mapping = match map.file {
            None if map.writable && map.size >= RAM_BYTES => {
                self.complaint = Some(format!(
                    "the guest's memory ({} MiB at {:#x}) is not shared, so the drive cannot reach it; start \
                     QEMU with -object memory-backend-memfd,id=ram0,size=SIZE,share=on and -machine \
                     q35,memory-backend=ram0",
                    map.size >> 20,
                    map.address
                ));
                return Err(Errno::INVAL);
            }
            None => None,
            Some(file) => {
                let mapping = Mapping::of_peer(file, map.offset, map.size, map.writable);
                let mapping = mapping.map_err(|error| {
                    self.complaint = Some(format!("memory at {:#x}: {error}", map.address));
                    Errno::INVAL
                })?;
                let files = || {
                    let all = self.pieces.iter().filter_map(|piece| piece.mapping.as_ref());
                    all.filter(|mapping| !mapping.is_mapped()).count()
                };
                if !mapping.is_mapped() && files() >= FILES_MAX {
                    return Err(Errno::NOSPC);
                }
                if !mapping.is_mapped() && map.size >= RAM_BYTES {
                    self.complaint = Some(
                        "the guest's memory is a file that can become shorter, or huge pages, so each access to \
                         it is a system call; memory-backend-memfd without hugetlb is faster"
                            .to_owned(),
                    );
                }
                Some(mapping)
            }
        };
        let Map { address, size, readable: is_readable, .. } = map;
        self.pieces.insert(at, Piece { address, size, is_readable, mapping });
        Ok(())
    }

    /// Gives a piece back.
    pub(crate) fn unmap(&mut self, address: u64, size: u64) -> Result<(), Errno> {
        let found = self.pieces.binary_search_by_key(&address, |piece| piece.address);
        let at = found.map_err(|_| Errno::NOENT)?;
        if self.pieces[at].size != size {
            return Err(Errno::NOENT);
        }
        self.pieces.remove(at);
        Ok(())
    }

    /// Gives everything back.
    pub(crate) fn clear(&mut self) {
        self.pieces.clear();
    }

    #[inline]
    fn find(&self, address: u64) -> Option<&Piece> {
        let holds = |piece: &&Piece| address.wrapping_sub(piece.address) < piece.size;
        if let Some(piece) = self.pieces.get(self.last.get()).filter(holds) {
            return Some(piece);
        }
        let at = self.pieces.partition_point(|piece| piece.address <= address).checked_sub(1)?;
        self.last.set(at);
        self.pieces.get(at).filter(holds)
    }

    /// Does something to each piece of a range: the place in the piece, and the bytes of the range.
    fn each(
        &self,
        address: u64,
        len: usize,
        mut act: impl FnMut(&Mapping, &Piece, u64, std::ops::Range<usize>) -> bool,
    ) -> Result<(), HostMemoryError> {
        let error = HostMemoryError { address, len: len as u64 };
        let mut done = 0;
        while done < len {
            let here = address.checked_add(done as u64).ok_or(error)?;
            let piece = self.find(here).ok_or(error)?;
            let at = here - piece.address;
            let n = (len - done).min((piece.size - at) as usize);
            let mapping = piece.mapping.as_ref().ok_or(error)?;
            if !act(mapping, piece, at, done..done + n) {
                return Err(error);
            }
            done += n;
        }
        Ok(())
    }
}

impl HostMemory for GuestMemory {
    #[inline]
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), HostMemoryError> {
        self.each(address, into.len(), |mapping, piece, at, part| {
            piece.is_readable && mapping.read(at, &mut into[part])
        })
    }

    #[inline]
    fn write(&mut self, address: u64, from: &[u8]) -> Result<(), HostMemoryError> {
        self.each(address, from.len(), |mapping, _, at, part| mapping.write(at, &from[part]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(address: u64, size: u64) -> (Mapping, Map) {
        let (ours, file) = Mapping::new("test", size as usize).unwrap();
        let file = Some(file);
        (ours, Map { address, size, offset: 0, readable: true, writable: true, file })
    }

    #[test]
    fn pieces_come_and_go_and_ranges_cross_them() {
        let mut memory = GuestMemory::default();
        let (first, map) = piece(0x1000, 0x1000);
        memory.map(map).unwrap();
        let (second, map) = piece(0x2000, 0x1000);
        memory.map(map).unwrap();
        for (address, size) in [(0x1000, 0x1000), (0, 0x2000), (0x2000, 0x4000), (0, 0x10_000)] {
            assert_eq!(memory.map(piece(address, size).1), Err(Errno::EXIST));
        }
        memory.write(0x1FFE, &[1, 2, 3, 4]).unwrap();
        let mut bytes = [0; 2];
        assert!(first.read(0xFFE, &mut bytes) && bytes == [1, 2]);
        assert!(second.read(0, &mut bytes) && bytes == [3, 4]);
        let mut all = [0; 4];
        memory.read(0x1FFE, &mut all).unwrap();
        assert_eq!(all, [1, 2, 3, 4]);
        for (address, len) in [(0xFFF, 2), (0x2FFF, 2), (u64::MAX, 4), (0, 1)] {
            assert!(memory.read(address, &mut vec![0; len]).is_err(), "{address:#x}");
        }
        assert_eq!(memory.unmap(0x1000, 0x2000), Err(Errno::NOENT));
        assert_eq!(memory.unmap(0x1800, 0x800), Err(Errno::NOENT));
        memory.unmap(0x1000, 0x1000).unwrap();
        assert!(memory.read(0x1FFE, &mut all).is_err());
        memory.clear();
        assert!(memory.read(0x2000, &mut all).is_err());
    }

    #[test]
    fn memory_that_is_not_shared_or_shrinks_is_refused() {
        let mut memory = GuestMemory::default();
        let ram = |size, writable| Map {
            address: 0,
            size,
            offset: 0,
            readable: true,
            writable,
            file: None,
        };
        assert_eq!(memory.map(ram(RAM_BYTES, true)), Err(Errno::INVAL));
        assert!(memory.complaint.take().unwrap().contains("share=on"));
        // A ROM.
        memory.map(ram(0x1000, false)).unwrap();
        assert!(memory.read(0, &mut [0]).is_err());
        let (_, mut map) = piece(0x1000, 0x1000);
        map.size = 0x2000;
        assert_eq!(memory.map(map), Err(Errno::INVAL));
        assert!(memory.complaint.take().unwrap().contains("shorter"));
        // A file that its owner cuts off afterwards.
        let file = tempfile::tempfile_in("/dev/shm").unwrap();
        file.set_len(0x1000).unwrap();
        let (_, mut map) = piece(0x1000, 0x1000);
        map.file = Some(file.try_clone().unwrap().into());
        memory.map(map).unwrap();
        memory.write(0x1000, &[7]).unwrap();
        file.set_len(0).unwrap();
        assert!(memory.write(0x1000, &[7]).is_err() && memory.read(0x1000, &mut [0]).is_err());
    }
}

//! Physical region pages: from a command's two entries to pieces of host memory
//! (Base 2.1, section 4.3.1).

use nvme_spec::{PAGE_SIZE, Status};

use crate::host_memory::HostMemory;

/// A piece of host memory.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Segment {
    pub(crate) address: u64,
    pub(crate) len: u64,
}

/// The pieces of host memory of one command, in order. Two fit without allocation: transfers of
/// one and two pages are the common ones.
#[derive(Default, Debug)]
pub(crate) struct Segments {
    inline: [Segment; 2],
    inline_len: usize,
    rest: Vec<Segment>,
}

impl Segments {
    pub(crate) fn iter(&self) -> impl Iterator<Item = Segment> + '_ {
        self.inline[..self.inline_len].iter().chain(&self.rest).copied()
    }

    #[inline]
    fn push(&mut self, address: u64, len: u64) {
        let last = match (self.rest.last_mut(), self.inline_len) {
            (Some(last), _) => Some(last),
            (None, 0) => None,
            (None, n) => Some(&mut self.inline[n - 1]),
        };
        match last {
            Some(last) if last.address.checked_add(last.len) == Some(address) => last.len += len,
            _ if self.inline_len < 2 => {
                self.inline[self.inline_len] = Segment { address, len };
                self.inline_len += 1;
            }
            _ => self.rest.push(Segment { address, len }),
        }
    }

    /// Resolves a command's PRP entries for `len` bytes, reading PRP lists from host memory.
    #[inline]
    pub(crate) fn from_prp(
        host: &impl HostMemory,
        prp1: u64,
        prp2: u64,
        len: u64,
    ) -> Result<Self, Status> {
        let mut segments = Self::default();
        if len == 0 {
            return Ok(segments);
        }
        let offset = prp1 % PAGE_SIZE;
        if !offset.is_multiple_of(4) {
            return Err(Status::INVALID_PRP_OFFSET);
        }
        let first = len.min(PAGE_SIZE - offset);
        segments.push(prp1, first);
        let left = len - first;
        if left == 0 {
            return Ok(segments);
        }
        if left <= PAGE_SIZE {
            segments.push_page(prp2, left)?;
            return Ok(segments);
        }
        segments.push_list(host, prp2, left)?;
        Ok(segments)
    }

    fn push_page(&mut self, entry: u64, len: u64) -> Result<(), Status> {
        if !entry.is_multiple_of(PAGE_SIZE) {
            return Err(Status::INVALID_PRP_OFFSET);
        }
        self.push(entry, len);
        Ok(())
    }

    /// Walks PRP lists. Each list page takes at least one data page off `left` or is the last
    /// step to the next, so a chain that leads in a circle ends with the data.
    fn push_list(
        &mut self,
        host: &impl HostMemory,
        list: u64,
        mut left: u64,
    ) -> Result<(), Status> {
        if !list.is_multiple_of(8) {
            return Err(Status::INVALID_PRP_OFFSET);
        }
        let mut list = list;
        loop {
            let room = (PAGE_SIZE - list % PAGE_SIZE) / 8;
            let pages = left.div_ceil(PAGE_SIZE);
            let count = room.min(pages) as usize;
            let mut buffer = [0; PAGE_SIZE as usize];
            let bytes = &mut buffer[..count * 8];
            host.read(list, bytes).map_err(|_| Status::DATA_TRANSFER_ERROR)?;
            let chained = pages > room;
            if chained && count == 1 {
                // One entry of room: it can only lead on. A second such page would never end.
                list = entry(bytes, 0);
                if !list.is_multiple_of(PAGE_SIZE) {
                    return Err(Status::INVALID_PRP_OFFSET);
                }
                continue;
            }
            for i in 0..count - usize::from(chained) {
                let len = left.min(PAGE_SIZE);
                self.push_page(entry(bytes, i), len)?;
                left -= len;
            }
            if !chained {
                return Ok(());
            }
            list = entry(bytes, count - 1);
            if !list.is_multiple_of(PAGE_SIZE) {
                return Err(Status::INVALID_PRP_OFFSET);
            }
        }
    }

    /// Copies all pieces into a buffer of their total length.
    pub(crate) fn read(&self, host: &impl HostMemory, into: &mut [u8]) -> Result<(), Status> {
        let mut at = 0;
        for segment in self.iter() {
            let end = at + segment.len as usize;
            let piece = &mut into[at..end];
            host.read(segment.address, piece).map_err(|_| Status::DATA_TRANSFER_ERROR)?;
            at = end;
        }
        Ok(())
    }

    /// Copies a buffer into the pieces; bytes the pieces have no room for are dropped.
    pub(crate) fn write(&self, host: &mut impl HostMemory, from: &[u8]) -> Result<(), Status> {
        let mut rest = from;
        for segment in self.iter() {
            let (piece, tail) = rest.split_at(rest.len().min(segment.len as usize));
            host.write(segment.address, piece).map_err(|_| Status::DATA_TRANSFER_ERROR)?;
            rest = tail;
        }
        Ok(())
    }
}

fn entry(list: &[u8], index: usize) -> u64 {
    let bytes = list[index * 8..index * 8 + 8].try_into();
    u64::from_le_bytes(bytes.expect("eight bytes of a list read whole"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host_memory::HostMemoryError;

    struct Flat(Vec<u8>);

    impl HostMemory for Flat {
        fn read(&self, address: u64, into: &mut [u8]) -> Result<(), HostMemoryError> {
            let error = HostMemoryError { address, len: into.len() as u64 };
            let from = self.0.get(address as usize..).and_then(|b| b.get(..into.len()));
            into.copy_from_slice(from.ok_or(error)?);
            Ok(())
        }
        fn write(&mut self, address: u64, from: &[u8]) -> Result<(), HostMemoryError> {
            let error = HostMemoryError { address, len: from.len() as u64 };
            let into = self.0.get_mut(address as usize..).and_then(|b| b.get_mut(..from.len()));
            into.ok_or(error)?.copy_from_slice(from);
            Ok(())
        }
    }

    fn lens(segments: &Segments) -> Vec<(u64, u64)> {
        segments.iter().map(|s| (s.address, s.len)).collect()
    }

    fn list(host: &mut Flat, at: u64, entries: &[u64]) {
        for (i, e) in entries.iter().enumerate() {
            host.write(at + 8 * i as u64, &e.to_le_bytes()).unwrap();
        }
    }

    #[test]
    fn prp_one_and_two_pages() {
        let host = Flat(vec![]);
        let one = Segments::from_prp(&host, 0x1010, 0, 100).unwrap();
        assert_eq!(lens(&one), [(0x1010, 100)]);
        let two = Segments::from_prp(&host, 0x1F00, 0x8000, 0x200).unwrap();
        assert_eq!(lens(&two), [(0x1F00, 0x100), (0x8000, 0x100)]);
        let contiguous = Segments::from_prp(&host, 0x1000, 0x2000, 0x2000).unwrap();
        assert_eq!(lens(&contiguous), [(0x1000, 0x2000)]);
        assert!(lens(&Segments::from_prp(&host, 3, 3, 0).unwrap()).is_empty());
    }

    #[test]
    fn prp_list_with_chain() {
        let mut host = Flat(vec![0; 0x10000]);
        // The list begins two entries before its page ends: one page, then the chain.
        list(&mut host, 0x1FF0, &[0x20000, 0x3000]);
        list(&mut host, 0x3000, &[0x40000, 0x50000]);
        let segments = Segments::from_prp(&host, 0x9000, 0x1FF0, 0x3800).unwrap();
        let expected = [(0x9000, 0x1000), (0x20000, 0x1000), (0x40000, 0x1000), (0x50000, 0x800)];
        assert_eq!(lens(&segments), expected);
    }

    #[test]
    fn prp_malformed_is_refused_by_the_right_status() {
        let mut host = Flat(vec![0; 0x10000]);
        list(&mut host, 0x1000, &[0x20000, 0x30008]);
        let cases = [
            (0x9001, 0, 16, Status::INVALID_PRP_OFFSET),
            (0x9000, 0xA004, 8192, Status::INVALID_PRP_OFFSET),
            (0x9000, 0x1004, 0x3000, Status::INVALID_PRP_OFFSET),
            (0x9000, 0x1000, 0x3000, Status::INVALID_PRP_OFFSET),
            (0x9000, 0xFFF_F000, 0x3000, Status::DATA_TRANSFER_ERROR),
        ];
        for (prp1, prp2, len, status) in cases {
            assert_eq!(Segments::from_prp(&host, prp1, prp2, len).unwrap_err(), status);
        }
    }

    #[test]
    fn prp_list_in_a_circle_ends() {
        let mut host = Flat(vec![0; 0x10000]);
        // A list page whose last entry leads to itself.
        list(&mut host, 0x1000, &[0x2000; 511]);
        list(&mut host, 0x1FF8, &[0x1000]);
        let segments = Segments::from_prp(&host, 0x9000, 0x1000, 4 << 20).unwrap();
        assert_eq!(segments.iter().map(|s| s.len).sum::<u64>(), 4 << 20);
    }
}

//! Physical region pages (Base 2.1, section 4.3.1).

use nvme_spec::{PAGE_SIZE, Status};

use super::Segments;
use crate::host_memory::HostMemory;

impl Segments {
    /// Resolves a command's PRP entries for `len` bytes, reading PRP lists from host memory.
    #[inline]
    pub(super) fn from_prp(
        host: &dyn HostMemory,
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
    fn push_list(&mut self, host: &dyn HostMemory, list: u64, mut left: u64) -> Result<(), Status> {
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
}

fn entry(list: &[u8], index: usize) -> u64 {
    let bytes = list[index * 8..index * 8 + 8].try_into();
    u64::from_le_bytes(bytes.expect("eight bytes of a list read whole"))
}

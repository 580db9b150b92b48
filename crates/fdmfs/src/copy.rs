//! Copies between storage and device memory: within the drive as far as it can be done, the rest by the host.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::SystemTime;

use client::Submit;
use fuser::Errno;
use rustix::fs::OFlags;

use crate::memory::FileId;
use crate::space::PAGE;
use crate::state::{Done, State};
use crate::storage::{Exclusive, Extent, read_full};

/// Bytes moved at a time when the host moves them.
const PIECE: u64 = 1 << 20;

/// A part of a file that the drive can overwrite.
#[derive(Clone, Copy, Debug)]
struct Part {
    /// First byte in the file.
    offset: u64,
    len: u64,
    /// First byte on the drive.
    place: u64,
}

impl<T: Submit> State<T> {
    /// Copies from storage to device memory, within the drive as far as it can be done.
    pub(crate) fn copy_in(
        &mut self,
        (file, offset): (&File, u64),
        (id, target_offset): (FileId, u64),
        len: u64,
    ) -> Done<u64> {
        let size = file.metadata()?.len();
        let len = len.min(size.saturating_sub(offset));
        if len == 0 {
            return Ok(0);
        }
        let old_size = self.files.place(id)?.size;
        let target = self.files.prepare(id, target_offset, len)?;
        let done = self.copy_file(file, offset, (id, target_offset, target), len);
        if done.is_err() {
            // What was made room for holds whatever was there before.
            self.files.set_end(id, old_size);
        }
        done.map(|()| len)
    }

    /// Copies a part of a file to where there is room for it.
    fn copy_file(
        &mut self,
        file: &File,
        offset: u64,
        (id, target_offset, target): (FileId, u64, u64),
        len: u64,
    ) -> Done<()> {
        let storage = self.storage.as_ref().ok_or(Errno::EIO)?;
        let map = storage.map(file, offset, len);
        let mut in_drive = 0;
        let block = self.files.drive.block_bytes();
        for extent in map.iter().flatten() {
            let at = target + (extent.offset - offset);
            in_drive += match extent.place {
                Some(place) => {
                    self.copy_extent(file, extent.offset, place, extent.len, at, block)?
                }
                None => {
                    let inside = target_offset + (extent.offset - offset);
                    self.files.punch(id, inside, extent.len)?;
                    extent.len
                }
            };
        }
        let storage = self.storage.as_ref().ok_or(Errno::EIO)?;
        // Blocks that moved meanwhile may have been others' when they were copied.
        let is_sure = map.is_some() && storage.map(file, offset, len) == map;
        if !is_sure {
            self.copy_by_host(file, offset, target, len)?;
            in_drive = 0;
        }
        self.copied.in_drive += in_drive;
        self.copied.through_host += len - in_drive;
        Ok(())
    }

    /// Copies an extent: its whole blocks within the drive, what is before and after them by the host. Gives the
    /// bytes of the former.
    fn copy_extent(
        &mut self,
        file: &File,
        offset: u64,
        place: u64,
        len: u64,
        target: u64,
        block: u64,
    ) -> Done<u64> {
        let first = place.next_multiple_of(block);
        let last = (place + len) / block * block;
        let head = first - place;
        if first >= last || !(target + head).is_multiple_of(4) {
            self.copy_by_host(file, offset, target, len)?;
            return Ok(0);
        }
        let whole = last - first;
        let copied = self.files.drive.copy_blocks(first / block, whole / block, target + head);
        copied.map_err(|_| Errno::EIO)?;
        if head > 0 {
            self.copy_by_host(file, offset, target, head)?;
        }
        let tail = len - head - whole;
        if tail > 0 {
            self.copy_by_host(file, offset + head + whole, target + head + whole, tail)?;
        }
        Ok(whole)
    }

    fn copy_by_host(&mut self, file: &File, offset: u64, target: u64, len: u64) -> Done<()> {
        let mut bytes = vec![0; PIECE.min(len) as usize];
        let mut done = 0;
        while done < len {
            let n = PIECE.min(len - done);
            let piece = &mut bytes[..n as usize];
            // A file that became shorter meanwhile reads as zeroes from there on.
            let filled = read_full(file, piece, offset + done)?;
            piece[filled..].fill(0);
            self.files.drive.write_memory(target + done, piece).map_err(|_| Errno::EIO)?;
            done += n;
        }
        Ok(())
    }

    /// Copies from device memory to storage. What a file already has on the drive is overwritten within it; where it
    /// will have the rest, its file system decides when the host writes it.
    pub(crate) fn copy_out(
        &mut self,
        (id, offset): (FileId, u64),
        (file, target): (&File, u64),
        len: u64,
    ) -> Done<u64> {
        let place = self.files.place(id)?;
        let len = len.min(place.size.saturating_sub(offset));
        if len == 0 {
            return Ok(0);
        }
        let source = place.start + offset;
        let overwritten = self.overwrite(file, target, source, len)?;
        let mut at = target;
        for part in &overwritten {
            self.write_by_host(file, at, source + (at - target), part.offset - at)?;
            at = part.offset + part.len;
        }
        self.write_by_host(file, at, source + (at - target), target + len - at)?;
        let in_drive = overwritten.iter().map(|part| part.len).sum::<u64>();
        self.copied.in_drive += in_drive;
        self.copied.through_host += len - in_drive;
        Ok(len)
    }

    /// Overwrites what of a part of a file can be overwritten within the drive; gives those parts, in order.
    fn overwrite(&mut self, file: &File, target: u64, source: u64, len: u64) -> Done<Vec<Part>> {
        let Some(storage) = self.storage.as_ref().filter(|storage| storage.is_on_drive()) else {
            return Ok(Vec::new());
        };
        // What is beyond the file's end does not count as its bytes, wherever it is.
        let size = file.metadata()?.len();
        let len = len.min(size.saturating_sub(target));
        if len == 0 {
            return Ok(Vec::new());
        }
        // While nobody else has it open, nobody moves its blocks, and nobody reads them into the page cache.
        let Some(exclusive) = Exclusive::take(file) else { return Ok(Vec::new()) };
        let Some(map) = storage.map(file, target, len) else { return Ok(Vec::new()) };
        let block = self.files.drive.block_bytes();
        let parts = map.iter().filter_map(|extent| overwritable(extent, block));
        let parts: Vec<Part> =
            parts.filter(|part| (source + (part.offset - target)).is_multiple_of(4)).collect();
        if parts.is_empty() || exclusive.is_cached(target, len) {
            return Ok(Vec::new());
        }
        for part in &parts {
            let from = source + (part.offset - target);
            let (first, count) = (part.place / block, part.len / block);
            let copied = self.files.drive.copy_memory_to_blocks(from, first, count);
            copied.map_err(|_| Errno::EIO)?;
        }
        if exclusive.is_cached(target, len) {
            // Whoever has read it meanwhile may have old bytes: written by the host, they are replaced.
            return Ok(Vec::new());
        }
        file.set_modified(SystemTime::now())?;
        // What is to be on stable storage when it is written (O_SYNC) is not by the copy alone.
        let flags = rustix::fs::fcntl_getfl(file).map_err(std::io::Error::from)?;
        if flags.intersects(OFlags::SYNC | OFlags::DSYNC) {
            file.sync_data()?;
        }
        Ok(parts)
    }

    fn write_by_host(&mut self, file: &File, at: u64, source: u64, len: u64) -> Done<()> {
        let mut done = 0;
        while done < len {
            let n = PIECE.min(len - done);
            let piece = self.files.drive.read_memory(source + done, n).map_err(|_| Errno::EIO)?;
            file.write_all_at(&piece, at + done)?;
            done += n;
        }
        Ok(())
    }
}

/// The part of an extent that is whole pages of the page cache and whole blocks of the drive, if its bytes are its own.
fn overwritable(extent: &Extent, block: u64) -> Option<Part> {
    let place = extent.place.filter(|_| !extent.is_shared)?;
    let unit = block.max(PAGE);
    let offset = extent.offset.next_multiple_of(unit);
    let end = (extent.offset + extent.len) / unit * unit;
    let place = place + (offset - extent.offset);
    let is_whole = offset < end && place.is_multiple_of(block);
    is_whole.then(|| Part { offset, len: end - offset, place })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_pages_of_one_file_alone_are_overwritten() {
        let extent = Extent { offset: 100, len: 20_000, place: Some(8292), is_shared: false };
        let part = overwritable(&extent, 512).expect("there are whole pages");
        assert_eq!((part.offset, part.len, part.place), (4096, 12_288, 12_288));
        for other in [
            Extent { is_shared: true, ..extent },
            Extent { place: None, ..extent },
            Extent { place: Some(8293), ..extent },
            Extent { len: 8000, ..extent },
        ] {
            assert!(overwritable(&other, 512).is_none(), "{other:?}");
        }
    }
}

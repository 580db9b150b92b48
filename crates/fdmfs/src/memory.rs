//! Files in device memory: each is one part of it, so that a program can have it as a memory range.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use client::{Drive, DriveError, Submit};

use crate::space::{PAGE, Space};

/// Hosts address device memory in dwords.
const DWORD: u64 = 4;

/// Bytes that the host moves at a time.
const PIECE: u64 = 1 << 20;

/// Names a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileId(u64);

/// Why something cannot be done with a file.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum FileError {
    #[error("{wanted} bytes in one piece are not free: the drive has {free} bytes of memory left")]
    NoSpace { wanted: u64, free: u64 },
    #[error("a file of {0} bytes is too large")]
    TooLarge(u64),
    #[error("there is no such file")]
    NoFile,
    #[error("a program uses the file: it cannot be moved to where there is room for more")]
    InUse,
    #[error(transparent)]
    Drive(#[from] DriveError),
}

/// Where a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// First byte of device memory.
    pub start: u64,
    /// Bytes that are the file's.
    pub size: u64,
    /// Bytes that are kept for it.
    capacity: u64,
}

/// Files in the memory of a drive. What is in it when this begins is nobody's.
#[derive(Debug)]
pub struct MemoryFiles<T> {
    /// The drive, for anything not wrapped here.
    pub drive: Drive<T>,
    space: Space,
    files: HashMap<FileId, Place>,
    /// Files that programs use, by how many: they stay where they are.
    pinned: HashMap<FileId, u32>,
    next: u64,
}

impl<T: Submit> MemoryFiles<T> {
    /// All memory of a drive, without files.
    pub fn new(drive: Drive<T>) -> Self {
        let space = Space::new(drive.geometry().memory_bytes);
        Self { drive, space, files: HashMap::new(), pinned: HashMap::new(), next: 0 }
    }

    /// Bytes in all, and bytes that are free.
    pub fn capacity(&self) -> (u64, u64) {
        (self.space.total(), self.space.free())
    }

    /// Makes an empty file.
    pub fn create(&mut self) -> FileId {
        let id = FileId(self.next);
        self.next += 1;
        self.files.insert(id, Place::default());
        id
    }

    /// A program uses a file from now on: it stays where it is.
    pub fn pin(&mut self, id: FileId) {
        *self.pinned.entry(id).or_default() += 1;
    }

    /// A program does not use a file any more.
    pub fn unpin(&mut self, id: FileId) {
        if let Entry::Occupied(mut users) = self.pinned.entry(id) {
            *users.get_mut() -= 1;
            if *users.get() == 0 {
                users.remove();
            }
        }
    }

    /// True if programs use a file.
    pub fn is_pinned(&self, id: FileId) -> bool {
        self.pinned.contains_key(&id)
    }

    /// Removes a file, which no program uses.
    pub fn remove(&mut self, id: FileId) {
        debug_assert!(!self.is_pinned(id), "its memory would be another's");
        if let Some(place) = self.files.remove(&id) {
            self.space.give(place.start, place.capacity);
        }
    }

    /// Where a file is.
    ///
    /// # Errors
    /// If there is none.
    pub fn place(&self, id: FileId) -> Result<Place, FileError> {
        self.files.get(&id).copied().ok_or(FileError::NoFile)
    }

    /// Reads up to so many bytes.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn read(&mut self, id: FileId, offset: u64, len: u64) -> Result<Vec<u8>, FileError> {
        let place = self.place(id)?;
        let len = len.min(place.size.saturating_sub(offset));
        if len == 0 {
            return Ok(Vec::new());
        }
        Ok(self.drive.read_memory(place.start + offset, len)?)
    }

    /// Writes bytes; what is between the old end and them becomes zero.
    ///
    /// # Errors
    /// If there is no room, or the drive refuses.
    pub fn write(&mut self, id: FileId, offset: u64, data: &[u8]) -> Result<(), FileError> {
        if data.is_empty() {
            return Ok(());
        }
        let end = offset.checked_add(data.len() as u64).ok_or(FileError::TooLarge(offset))?;
        let place = self.make_room(id, end)?;
        self.zero_up_to(place, offset)?;
        // Behind the end of the file there is nobody's memory up to the next dword: to write all of the dword takes one
        // command, to keep the rest of it takes two.
        let whole = end.next_multiple_of(DWORD);
        if end >= place.size && whole > end {
            let mut padded = data.to_vec();
            padded.resize(data.len() + (whole - end) as usize, 0);
            self.drive.write_memory(place.start + offset, &padded)?;
        } else {
            self.drive.write_memory(place.start + offset, data)?;
        }
        self.set_end(id, place.size.max(end));
        Ok(())
    }

    /// Makes a file shorter, or longer by zeroes.
    ///
    /// # Errors
    /// If there is no room, or the drive refuses.
    pub fn truncate(&mut self, id: FileId, size: u64) -> Result<(), FileError> {
        let place = self.make_room(id, size)?;
        self.zero_up_to(place, size)?;
        self.set_end(id, size);
        if size < place.size {
            self.trim(id);
        }
        Ok(())
    }

    /// Keeps room for a file to be so long, without making it longer.
    ///
    /// # Errors
    /// If there is no room, or the drive refuses.
    pub fn reserve(&mut self, id: FileId, size: u64) -> Result<(), FileError> {
        self.make_room(id, size).map(drop)
    }

    /// Makes a part of a file zero.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn punch(&mut self, id: FileId, offset: u64, len: u64) -> Result<(), FileError> {
        let place = self.place(id)?;
        let len = len.min(place.size.saturating_sub(offset));
        if len > 0 {
            self.zero(place.start + offset, len)?;
        }
        Ok(())
    }

    /// Gives back what is kept for a file beyond its end, unless programs use it.
    pub fn trim(&mut self, id: FileId) {
        if self.is_pinned(id) {
            return;
        }
        if let Some(place) = self.files.get_mut(&id) {
            let needed = place.size.next_multiple_of(PAGE);
            if needed < place.capacity {
                self.space.give(place.start + needed, place.capacity - needed);
                place.capacity = needed;
            }
        }
    }

    /// Makes room in a file for bytes that are put there by the drive itself: what is between its old end and
    /// them becomes zero, and the file as long as they need. Gives their place.
    ///
    /// # Errors
    /// If there is no room, or the drive refuses.
    pub(crate) fn prepare(&mut self, id: FileId, offset: u64, len: u64) -> Result<u64, FileError> {
        let end = offset.checked_add(len).ok_or(FileError::TooLarge(offset))?;
        let place = self.make_room(id, end)?;
        self.zero_up_to(place, offset)?;
        self.set_end(id, place.size.max(end));
        Ok(place.start + offset)
    }

    /// Copies a part of a file to another or another part of the same, within the drive as far as whole dwords
    /// allow. Gives the bytes that were there to be copied, and those of them that went through the host.
    ///
    /// # Errors
    /// If there is no room, or the drive refuses.
    pub fn copy(
        &mut self,
        (from, from_offset): (FileId, u64),
        (to, to_offset): (FileId, u64),
        len: u64,
    ) -> Result<(u64, u64), FileError> {
        let len = len.min(self.place(from)?.size.saturating_sub(from_offset));
        if len == 0 {
            return Ok((0, 0));
        }
        let size = self.place(to)?.size;
        let target = self.prepare(to, to_offset, len)?;
        // Only now: what grows may move.
        let source = self.place(from)?.start + from_offset;
        match self.copy_bytes(source, target, len) {
            Ok(through_host) => Ok((len, through_host)),
            Err(error) => {
                // What was made room for holds whatever was there before.
                self.set_end(to, size);
                Err(error)
            }
        }
    }

    /// Copies bytes; gives how many went through the host.
    fn copy_bytes(&mut self, source: u64, target: u64, len: u64) -> Result<u64, FileError> {
        let is_apart = source + len <= target || target + len <= source;
        let is_even = (source % DWORD, target % DWORD) == (0, 0);
        let whole = if is_apart && is_even { len / DWORD * DWORD } else { 0 };
        if whole > 0 {
            self.drive.copy_memory(source, whole, target)?;
        }
        // What overlaps is copied in one piece, all of it read first.
        let step = if is_apart { PIECE } else { len };
        let mut done = whole;
        while done < len {
            let n = step.min(len - done);
            let piece = self.drive.read_memory(source + done, n)?;
            self.drive.write_memory(target + done, &piece)?;
            done += n;
        }
        Ok(len - whole)
    }

    /// Says how long a file is, whatever its bytes are.
    pub(crate) fn set_end(&mut self, id: FileId, size: u64) {
        if let Some(place) = self.files.get_mut(&id) {
            place.size = size;
        }
    }

    /// Sees to it that a file can be so long; moves it if need be.
    fn make_room(&mut self, id: FileId, size: u64) -> Result<Place, FileError> {
        let place = self.place(id)?;
        if size <= place.capacity {
            return Ok(place);
        }
        let needed = size.checked_next_multiple_of(PAGE).ok_or(FileError::TooLarge(size))?;
        if place.capacity > 0 && self.space.extend(place.start, place.capacity, needed) {
            let grown = Place { capacity: needed, ..place };
            self.files.insert(id, grown);
            return Ok(grown);
        }
        if self.is_pinned(id) {
            return Err(FileError::InUse);
        }
        // Twice as much as there was, so that a file that grows is not moved again and again.
        let generous = needed.max(place.capacity.saturating_mul(2));
        let found = self.space.take(generous).map(|start| (start, generous));
        let found = found.or_else(|| self.space.take(needed).map(|start| (start, needed)));
        let Some((start, capacity)) = found else {
            return Err(FileError::NoSpace { wanted: needed, free: self.space.free() });
        };
        let kept = place.size.next_multiple_of(DWORD);
        if kept > 0
            && let Err(error) = self.drive.copy_memory(place.start, kept, start)
        {
            // A drive that did not answer may still be at it: its target stays taken.
            if matches!(error, DriveError::Failed(_)) {
                self.space.give(start, capacity);
            }
            return Err(error.into());
        }
        self.space.give(place.start, place.capacity);
        let moved = Place { start, size: place.size, capacity };
        self.files.insert(id, moved);
        Ok(moved)
    }

    /// Makes what is between a file's end and an offset beyond it zero.
    fn zero_up_to(&mut self, place: Place, offset: u64) -> Result<(), FileError> {
        if offset > place.size {
            self.zero(place.start + place.size, offset - place.size)?;
        }
        Ok(())
    }

    /// Makes bytes anywhere zero.
    fn zero(&mut self, at: u64, len: u64) -> Result<(), FileError> {
        let end = at + len;
        let (first, last) = (at.next_multiple_of(DWORD), end / DWORD * DWORD);
        if first >= last {
            return Ok(self.drive.write_memory(at, &vec![0; len as usize])?);
        }
        if first > at {
            self.drive.write_memory(at, &vec![0; (first - at) as usize])?;
        }
        self.drive.fill_memory(first, last - first)?;
        if end > last {
            self.drive.write_memory(last, &vec![0; (end - last) as usize])?;
        }
        Ok(())
    }
}

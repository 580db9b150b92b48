//! Device memory: bytes that the drive and several jobs share.
#![expect(unsafe_code, reason = "raw bytes shared between jobs; see the SAFETY comments")]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use memmap2::{Advice, MmapOptions, MmapRaw};
use rustix::fs::{FallocateFlags, MemfdFlags, Mode, OFlags};

use super::PAGE;

/// Whether memory that processes share has huge pages (Linux, Documentation/admin-guide/mm/transhuge.rst).
const SHARED_HUGE_PAGES: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

/// Bytes that the drive and several jobs may read and write at the same time.
///
/// Contents are copied in and out, never borrowed. Pages take host memory when first written.
/// The memory is a memfd, or a file without a name, so that windows can map the pages of a range.
///
/// Known limit: the copies are plain ones. Two threads that touch the same bytes at once race in the
/// sense of Rust's memory model, though all they can observe on the machines we support is torn
/// data. The virtual-time shell runs one program at a time, on the drive's own thread; in the
/// real-time shell, worker threads run programs while hosts read and write, so there it can happen.
/// Making the copies atomic word by word would end that.
#[derive(Debug)]
pub struct SharedMemory {
    file: File,
    map: MmapRaw,
    len: u64,
    is_in_folder: bool,
}

impl SharedMemory {
    /// Zeroed memory of `len` bytes.
    ///
    /// # Errors
    /// If the host cannot reserve that much address space.
    pub fn new(len: u64) -> io::Result<Self> {
        let file = File::from(rustix::fs::memfd_create("csdrive-memory", MemfdFlags::CLOEXEC)?);
        Self::of(file, len)
    }

    /// Zeroed memory of `len` bytes in a file without a name in this folder: all of it takes room there from now on.
    ///
    /// # Errors
    /// If there is no such folder, or no room.
    pub fn in_folder(len: u64, folder: &Path) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR)?);
        let memory = Self::of(file, len)?;
        // A page for which there is no room later would end the process.
        let whole = memory.map.len() as u64;
        rustix::fs::fallocate(&memory.file, FallocateFlags::empty(), 0, whole)?;
        Ok(Self { is_in_folder: true, ..memory })
    }

    fn of(file: File, len: u64) -> io::Result<Self> {
        let whole = len.max(1).checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
        let size = usize::try_from(whole).map_err(io::Error::other)?;
        file.set_len(whole)?;
        let map = MmapOptions::new().len(size).no_reserve_swap().map_raw(&file)?;
        Ok(Self { file, map, len, is_in_folder: false })
    }

    /// Asks the host for huge pages wherever the memory is mapped in pieces large enough.
    ///
    /// # Errors
    /// If the host gives none to memory that processes share.
    pub fn with_huge_pages(self) -> io::Result<Self> {
        let policy = std::fs::read_to_string(SHARED_HUGE_PAGES)?;
        if policy.contains("[never]") || policy.contains("[deny]") {
            return Err(io::Error::other(format!(
                "this machine gives shared memory no huge pages (echo advise > {SHARED_HUGE_PAGES})"
            )));
        }
        self.map.advise(Advice::HugePage)?;
        Ok(self)
    }

    /// Size in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True if it holds no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies bytes out. False (and nothing copied) if the bytes are not all inside.
    #[must_use]
    pub fn read(&self, offset: u64, into: &mut [u8]) -> bool {
        let Some(from) = self.pointer(offset, into.len() as u64) else { return false };
        // SAFETY: `pointer` checked the range; `into` is a distinct Rust allocation, so the two do
        // not overlap. Concurrent writers may tear the bytes, which the contract allows.
        unsafe { std::ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) };
        true
    }

    /// Copies bytes in. False (and nothing copied) if the bytes are not all inside.
    #[must_use]
    pub fn write(&self, offset: u64, from: &[u8]) -> bool {
        let Some(into) = self.pointer(offset, from.len() as u64) else { return false };
        // SAFETY: as in `read`, with the directions exchanged.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), into, from.len()) };
        true
    }

    /// Sets bytes. False (and nothing set) if the bytes are not all inside.
    #[must_use]
    pub fn fill(&self, offset: u64, len: u64, byte: u8) -> bool {
        let Some(into) = self.pointer(offset, len) else { return false };
        // SAFETY: `pointer` checked the range.
        unsafe { std::ptr::write_bytes(into, byte, len as usize) };
        true
    }

    /// Zeroes everything and gives its pages back to the host machine.
    pub fn clear(&self) {
        assert!(self.clear_range(0, self.len), "all of it is inside");
    }

    /// Zeroes bytes, and gives whole pages of them back to the host machine. False (and nothing zeroed) if they are not all inside.
    #[must_use]
    pub fn clear_range(&self, offset: u64, len: u64) -> bool {
        if self.pointer(offset, len).is_none() {
            return false;
        }
        // Room in a folder is not given back.
        let flags = match self.is_in_folder {
            false => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            true => FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE,
        };
        // The file ends with a whole page.
        let len_in_file =
            if offset + len == self.len { self.map.len() as u64 - offset } else { len };
        len == 0
            || rustix::fs::fallocate(&self.file, flags, offset, len_in_file).is_ok()
            || self.fill(offset, len, 0)
    }

    /// Copies bytes of a memory into this one, which may be the same, and the two places may overlap. False (and nothing
    /// copied) if either is not inside.
    #[must_use]
    pub fn copy_from(&self, source: &Self, from: u64, to: u64, len: u64) -> bool {
        let (Some(from), Some(to)) = (source.pointer(from, len), self.pointer(to, len)) else {
            return false;
        };
        // SAFETY: `pointer` checked both ranges; `copy` allows overlap.
        unsafe { std::ptr::copy(from, to, len as usize) };
        true
    }

    /// Address of the first byte, for code that is trusted with raw memory.
    pub fn as_ptr(&self) -> *mut u8 {
        self.map.as_mut_ptr()
    }

    /// The file whose pages a window, or another process, maps.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The address of `len` bytes at `offset` if all of them are inside.
    fn pointer(&self, offset: u64, len: u64) -> Option<*mut u8> {
        if offset.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: the offset is within the mapping, or one past its end when `len` is 0.
        Some(unsafe { self.map.as_mut_ptr().add(offset as usize) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_in_a_folder_is_zeroed_and_has_its_room() {
        let folder = tempfile::tempdir().unwrap();
        let memory = SharedMemory::in_folder(10_000, folder.path()).unwrap();
        let room = std::os::unix::fs::MetadataExt::blocks(&memory.file.metadata().unwrap()) * 512;
        assert!(room >= 12_288, "{room}");
        assert!(memory.write(9_000, &[7; 1000]));
        memory.clear();
        let mut found = [1; 1000];
        assert!(memory.read(9_000, &mut found) && found == [0; 1000]);
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
        assert!(SharedMemory::in_folder(4096, &folder.path().join("missing")).is_err());
        assert!(SharedMemory::in_folder(1 << 60, folder.path()).is_err());
    }

    #[test]
    fn shared_memory_bounds_are_exact() {
        let memory = SharedMemory::new(100).unwrap();
        assert!(memory.write(90, &[7; 10]));
        assert!(!memory.write(91, &[7; 10]));
        assert!(!memory.read(u64::MAX, &mut [0; 2]));
        assert!(memory.read(100, &mut []));
        assert!(!memory.read(101, &mut []));
        assert!(memory.copy_from(&memory, 90, 88, 10) && memory.fill(99, 1, 3));
        let mut tail = [0; 12];
        assert!(memory.read(88, &mut tail));
        assert_eq!(tail, [7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 3]);
        memory.clear();
        assert!(memory.read(88, &mut tail));
        assert_eq!(tail, [0; 12]);
    }
}

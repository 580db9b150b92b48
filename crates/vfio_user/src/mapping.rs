//! Memory that two processes share.
#![expect(unsafe_code, reason = "raw bytes shared with another process; see the SAFETY comments")]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU32, Ordering, fence};

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{MemfdFlags, SealFlags};

/// What fstatfs says of huge pages (linux/magic.h).
const HUGETLBFS_MAGIC: rustix::fs::FsWord = 0x9584_58f6;

/// Memory that another process may read and write at the same time. Bytes are copied in and out, never
/// borrowed. Writes are seen in their order.
///
/// A peer that makes a mapped file shorter would end this process with a signal. So only files that
/// cannot become shorter are mapped (memfds; they are sealed if they are not yet); others are read and
/// written with system calls, which is slower and fails as it should. So are huge pages: a peer that punches a hole
/// into its memory and takes the last free huge page would have the same effect.
#[derive(Debug)]
pub struct Mapping {
    bytes: Bytes,
    len: u64,
    is_writable: bool,
}

#[derive(Debug)]
enum Bytes {
    Mapped(MmapRaw),
    /// Huge pages: mapped, and this process's memory as a file, through which an access fails instead of trapping.
    Huge(MmapRaw, File),
    /// A file, and where the memory begins in it.
    File(File, u64),
}

impl Mapping {
    /// New memory, zeroed, and the file to give to a peer.
    ///
    /// # Errors
    /// If the machine has not that much.
    pub fn new(name: &str, len: usize) -> io::Result<(Self, OwnedFd)> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = File::from(rustix::fs::memfd_create(name, flags)?);
        file.set_len(len as u64)?;
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW)?;
        let map = MmapOptions::new().len(len).map_raw(&file)?;
        Ok((Self { bytes: Bytes::Mapped(map), len: len as u64, is_writable: true }, file.into()))
    }

    /// A part of a file of another process.
    ///
    /// # Errors
    /// If the file is shorter, or cannot be mapped.
    pub fn of_peer(file: OwnedFd, offset: u64, len: u64, is_writable: bool) -> io::Result<Self> {
        let file = File::from(file);
        // Only files in memory can be sealed at all. Any other may be a file system of the peer's own, which
        // answers when it likes.
        if rustix::fs::fcntl_get_seals(&file).is_err() {
            return Err(io::Error::other("not a memfd or a file in shared memory (tmpfs)"));
        }
        let end = offset.checked_add(len).ok_or_else(|| io::Error::other("beyond any file"))?;
        // Sealed first: then what the length is now, it remains.
        let is_sealed = is_sealed(&file);
        if file.metadata()?.len() < end {
            return Err(io::Error::other(format!("the file is shorter than {end} bytes")));
        }
        if !is_sealed {
            return Ok(Self { bytes: Bytes::File(file, offset), len, is_writable });
        }
        let mut options = MmapOptions::new();
        options.offset(offset).len(usize::try_from(len).map_err(io::Error::other)?);
        let map =
            if is_writable { options.map_raw(&file)? } else { options.map_raw_read_only(&file)? };
        let is_huge = rustix::fs::fstatfs(&file)?.f_type == HUGETLBFS_MAGIC;
        let bytes = if is_huge {
            Bytes::Huge(map, File::options().read(true).write(true).open("/proc/self/mem")?)
        } else {
            Bytes::Mapped(map)
        };
        Ok(Self { bytes, len, is_writable })
    }

    /// True if it is mapped, false if each access is a system call.
    pub fn is_mapped(&self) -> bool {
        matches!(self.bytes, Bytes::Mapped(_))
    }

    /// Bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies bytes out; false if not all of them are there.
    #[must_use]
    #[inline]
    pub fn read(&self, at: u64, into: &mut [u8]) -> bool {
        if !self.has(at, into.len()) {
            return false;
        }
        match &self.bytes {
            Bytes::Mapped(map) => {
                // SAFETY: `has` checked the range.
                let from = unsafe { map.as_ptr().add(at as usize) };
                // SAFETY: `into` is memory of our own. The peer may tear the bytes, which the contract
                // allows.
                unsafe { std::ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) };
                fence(Ordering::Acquire);
                true
            }
            Bytes::Huge(map, memory) => {
                memory.read_exact_at(into, map.as_ptr() as u64 + at).is_ok()
            }
            Bytes::File(file, offset) => file.read_exact_at(into, offset + at).is_ok(),
        }
    }

    /// Copies bytes in; false if not all of them are there or it is read-only.
    #[must_use]
    #[inline]
    pub fn write(&self, at: u64, from: &[u8]) -> bool {
        if !self.is_writable || !self.has(at, from.len()) {
            return false;
        }
        match &self.bytes {
            Bytes::Mapped(map) => {
                fence(Ordering::Release);
                // SAFETY: `has` checked the range.
                let into = unsafe { map.as_mut_ptr().add(at as usize) };
                // SAFETY: as in `read`, with the directions exchanged.
                unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), into, from.len()) };
                true
            }
            Bytes::Huge(map, memory) => memory.write_all_at(from, map.as_ptr() as u64 + at).is_ok(),
            Bytes::File(file, offset) => {
                // Beyond the end it would grow; no map reaches there.
                let is_there =
                    file.metadata().is_ok_and(|m| m.len() >= offset + at + from.len() as u64);
                is_there && file.write_all_at(from, offset + at).is_ok()
            }
        }
    }

    /// An aligned word of memory that is mapped; `None` if it is not inside.
    #[inline]
    pub fn word(&self, at: u64) -> Option<&AtomicU32> {
        let Bytes::Mapped(map) = &self.bytes else { return None };
        if !at.is_multiple_of(4) || !self.has(at, 4) || !self.is_writable {
            return None;
        }
        // SAFETY: `has` checked the range.
        let pointer = unsafe { map.as_mut_ptr().add(at as usize) };
        // SAFETY: inside the mapping and aligned; other processes access it as words, too.
        Some(unsafe { AtomicU32::from_ptr(pointer.cast()) })
    }

    #[inline]
    fn has(&self, at: u64, len: usize) -> bool {
        at.checked_add(len as u64).is_some_and(|end| end <= self.len)
    }
}

/// True if a file cannot become shorter, whoever wants it.
fn is_sealed(file: &impl AsFd) -> bool {
    let sealed = || rustix::fs::fcntl_get_seals(file).is_ok_and(|s| s.contains(SealFlags::SHRINK));
    sealed() || rustix::fs::fcntl_add_seals(file, SealFlags::SHRINK).is_ok() && sealed()
}

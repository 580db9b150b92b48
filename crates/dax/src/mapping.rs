//! A file that is mapped.
#![expect(unsafe_code, reason = "a mapping is raw memory; see the SAFETY comments")]

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::ptr::NonNull;

use rustix::fs::{AtFlags, FallocateFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

use crate::copy;

const WORD: usize = size_of::<u64>();

/// When what was written is durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durable {
    /// When [`Mapping::write`] returns (`MAP_SYNC`).
    AtOnce,
    /// After a sync of the file.
    AfterSync,
}

/// A file, mapped as a whole. Bytes are copied in and out, never borrowed.
#[derive(Debug)]
pub struct Mapping {
    base: NonNull<u8>,
    len: usize,
    file: File,
    durable: Durable,
}

// SAFETY: it is an address and a file; nothing of it belongs to a thread.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps a file if it is in persistent memory; `None` if it is not, or its length is no multiple of 8.
    ///
    /// # Errors
    /// If it cannot be found out, or not be mapped.
    pub fn of(file: &File) -> io::Result<Option<Self>> {
        let about = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::empty())?;
        if !about.stx_attributes.contains(StatxAttributes::DAX) {
            return Ok(None);
        }
        match Self::with(file, MapFlags::SHARED_VALIDATE | MapFlags::SYNC, Durable::AtOnce) {
            Err(error) if error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => {
                Self::anyway(file)
            }
            mapped => mapped,
        }
    }

    /// Maps a file wherever it is: what is written is durable after a sync of the file.
    ///
    /// # Errors
    /// If it cannot be mapped.
    pub fn anyway(file: &File) -> io::Result<Option<Self>> {
        Self::with(file, MapFlags::SHARED, Durable::AfterSync)
    }

    fn with(file: &File, flags: MapFlags, durable: Durable) -> io::Result<Option<Self>> {
        let len = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        if len == 0 || !len.is_multiple_of(WORD) {
            return Ok(None);
        }
        let file = file.try_clone()?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses the place; nothing else is there.
        let mapped =
            unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, access, flags, file.as_fd(), 0)? };
        let base = NonNull::new(mapped.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Some(Self { base, len, file, durable }))
    }

    /// When what is written is durable.
    pub fn durable(&self) -> Durable {
        self.durable
    }

    /// Reads all of `into`.
    ///
    /// # Errors
    /// If the file does not have it any more, or the memory is worn.
    pub fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let from = self.address(at, into.len())?;
        // SAFETY: `address` checked the range; `into` is memory of our own.
        if unsafe { copy::load(into.as_mut_ptr(), from.as_ptr(), into.len()) } {
            return Ok(());
        }
        self.check_length()?;
        Err(io::Error::from(Errno::IO))
    }

    /// Writes all of `from`, in words of 8 bytes: those that are not whole keep what else they have. The last one is written when the
    /// others are in the memory: whoever finds it finds the others.
    ///
    /// # Errors
    /// If the file does not have a place any more, or cannot get one. A part may be written.
    pub fn write(&mut self, at: u64, from: &[u8]) -> io::Result<()> {
        self.address(at, from.len())?;
        if from.is_empty() {
            return Ok(());
        }
        let head = at as usize % WORD;
        let words = (head + from.len()).div_ceil(WORD);
        let begin = at - head as u64;
        if head == 0 && from.len().is_multiple_of(WORD) {
            return self.write_words(begin, from);
        }
        let mut whole = vec![0; words * WORD];
        let last = (words - 1) * WORD;
        self.read(begin, &mut whole[..WORD])?;
        self.read(begin + last as u64, &mut whole[last..])?;
        whole[head..head + from.len()].copy_from_slice(from);
        self.write_words(begin, &whole)
    }

    fn write_words(&mut self, at: u64, from: &[u8]) -> io::Result<()> {
        let (others, last) = from.split_at(from.len() - WORD);
        for (at, words) in [(at, others), (at + others.len() as u64, last)] {
            if self.store(at, words)? {
                continue;
            }
            self.check_length()?;
            // The file system makes a place, or says why there is none.
            let flags = FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(&self.file, flags, at, words.len() as u64)?;
            if !self.store(at, words)? {
                return Err(io::Error::from(Errno::IO));
            }
        }
        Ok(())
    }

    fn check_length(&self) -> io::Result<()> {
        if self.file.metadata()?.len() < self.len as u64 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter"));
        }
        Ok(())
    }

    /// Stores words; false if they have no place.
    fn store(&self, at: u64, words: &[u8]) -> io::Result<bool> {
        let to = self.address(at, words.len())?;
        // SAFETY: `address` checked the range, and `at` is a multiple of a word, as the mapping's place is.
        Ok(unsafe { copy::store(to.as_ptr().cast(), words.as_ptr(), words.len() / WORD) })
    }

    /// The address of bytes that are all inside.
    fn address(&self, at: u64, len: usize) -> io::Result<NonNull<u8>> {
        let at = usize::try_from(at).map_err(io::Error::other)?;
        if at.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // SAFETY: within the mapping, or at its end if there are no bytes.
        Ok(unsafe { self.base.add(at) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it is mapped, and nobody else has its address.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
        debug_assert_eq!(unmapped, Ok(()));
    }
}

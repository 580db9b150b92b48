//! A file for oneself: write leases (fcntl(2), F_SETLEASE), and what of it the page cache holds.
#![expect(unsafe_code, reason = "fcntl and mincore; see the SAFETY comments")]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr;

use rustix::fs::Advice;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::space::PAGE;

/// Nobody else has the file open. Who wants to open or truncate it by its name waits until this is gone (at most
/// /proc/sys/fs/lease-break-time, 45 s).
#[derive(Debug)]
pub(crate) struct Exclusive<'a> {
    file: &'a File,
}

impl<'a> Exclusive<'a> {
    /// `None` if others have it open, or its file system has no leases.
    pub(crate) fn take(file: &'a File) -> Option<Self> {
        // SAFETY: F_SETLEASE takes a number.
        let done = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) };
        (done == 0).then_some(Self { file })
    }

    /// True if the page cache holds bytes of a part of the file and does not let go of them.
    pub(crate) fn is_cached(&self, offset: u64, len: u64) -> bool {
        let first = offset / PAGE * PAGE;
        let len = offset + len - first;
        let advice = rustix::fs::fadvise(self.file, first, len.try_into().ok(), Advice::DontNeed);
        advice.is_err() || self.resident(first, len as usize).is_none_or(|resident| resident)
    }

    /// True if a page of a part of the file, which begins at a page, is in the page cache; `None` if that is unknown.
    fn resident(&self, first: u64, len: usize) -> Option<bool> {
        let mut pages = vec![0u8; len.div_ceil(PAGE as usize)];
        // SAFETY: a new mapping, which nobody reads.
        let map = unsafe {
            mmap(ptr::null_mut(), len, ProtFlags::READ, MapFlags::SHARED, self.file, first)
        };
        let map = map.ok()?;
        // SAFETY: the mapping has `len` bytes, and the list a byte for each of their pages.
        let done = unsafe { libc::mincore(map, len, pages.as_mut_ptr()) };
        // SAFETY: mapped above.
        let _ = unsafe { munmap(map, len) };
        // What is beyond the end of the file is in no page.
        (done == 0).then(|| pages.iter().any(|page| page & 1 != 0))
    }
}

impl Drop for Exclusive<'_> {
    fn drop(&mut self) {
        // SAFETY: F_SETLEASE takes a number.
        unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn nobody_else_has_it_and_nothing_is_cached() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut file = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
        file.write_all(&[7; 50_000]).unwrap();
        let other = File::open(&path).unwrap();
        assert!(Exclusive::take(&file).is_none(), "another has it open");
        drop(other);
        let Some(exclusive) = Exclusive::take(&file) else {
            println!("SKIPPED: no leases in the temporary folder");
            return;
        };
        assert!(exclusive.is_cached(100, 40_000), "dirty pages stay");
        file.sync_all().unwrap();
        let is_clean = !exclusive.is_cached(100, 40_000);
        if !is_clean {
            println!("SKIPPED: the temporary folder is in memory only");
            return;
        }
        let mut byte = [0];
        drop(exclusive);
        File::open(&path).unwrap().read_exact(&mut byte).unwrap();
        assert_eq!(byte, [7]);
    }
}

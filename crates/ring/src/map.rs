//! The file as words that several processes read and write.
#![expect(
    unsafe_code,
    reason = "memory that is shared with other processes; see the SAFETY comments"
)]

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{Mode, OFlags};

/// Opens a file to read, whatever is at the path: the folder is everybody's, and a pipe would keep who opens it waiting.
pub(crate) fn open_at_once(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

/// A mapped file.
#[derive(Debug)]
pub(crate) struct Words {
    map: MmapRaw,
}

impl Words {
    /// Maps all of a file, of whole words. A reader's words are not to be written.
    pub(crate) fn new(file: &File, is_writer: bool) -> io::Result<Self> {
        let map = match is_writer {
            true => MmapOptions::new().map_raw(file)?,
            false => MmapOptions::new().map_raw_read_only(file)?,
        };
        Ok(Self { map })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.map.len() / 8
    }

    /// A word.
    ///
    /// # Panics
    /// If there are not so many.
    pub(crate) fn word(&self, n: usize) -> &AtomicU64 {
        assert!(n < self.len(), "a word of the map");
        let at = self.map.as_mut_ptr().cast::<u64>().wrapping_add(n);
        // SAFETY: mapped as long as this is, aligned because pages are, and touched as an atomic by every process. Who maps it to read
        // only loads.
        unsafe { AtomicU64::from_ptr(at) }
    }
}

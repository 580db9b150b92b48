//! What a file is to this crate: bytes, holes, and a way to make them durable.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::FallocateFlags;
use ssd::SyncWork;

/// Bytes that stay. Tests have one that forgets, as machines do that lose their power.
pub trait Disk: core::fmt::Debug + Send {
    /// Reads all of `into`.
    ///
    /// # Errors
    /// If they cannot be read.
    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()>;

    /// Writes all of `from`.
    ///
    /// # Errors
    /// If they cannot be written: some may be.
    fn write(&mut self, at: u64, from: &[u8]) -> io::Result<()>;

    /// Makes bytes a hole, which takes no room and reads as zeroes.
    ///
    /// # Errors
    /// If they cannot be made one, all or some: what they read as is unknown.
    fn punch(&mut self, at: u64, len: u64) -> io::Result<()>;

    /// What makes durable all that was written until now.
    fn sync(&self) -> SyncWork;

    /// Its length.
    ///
    /// # Errors
    /// If it is not known.
    fn bytes(&self) -> io::Result<u64>;
}

/// A file.
#[derive(Debug)]
pub(crate) struct FileDisk(pub(crate) Arc<File>);

impl Disk for FileDisk {
    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(into, at)
    }

    fn write(&mut self, at: u64, from: &[u8]) -> io::Result<()> {
        self.0.write_all_at(from, at)
    }

    fn punch(&mut self, at: u64, len: u64) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(rustix::fs::fallocate(&*self.0, flags, at, len)?)
    }

    fn sync(&self) -> SyncWork {
        let file = Arc::clone(&self.0);
        SyncWork::new(move || file.sync_data().map_err(|error| error.to_string()))
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

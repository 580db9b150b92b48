//! What a file is to this crate: bytes, holes, and a way to make them durable.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::FallocateFlags;
use ssd::{Backend, DaxPolicy, SyncWork};

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

    /// What it lies in. [`Backend::DaxSync`] promises that what was written or punched is durable when the call returns, in the order of
    /// the calls. A write may still end in the middle when the machine does: of its words of 8 bytes any may be there, the last
    /// one only with all others.
    fn backend(&self) -> Backend {
        Backend::File
    }

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

/// A file, mapped if it is in persistent memory and may be; `None` if it had to be and is not.
pub(crate) fn choose_disk(file: Arc<File>, dax: DaxPolicy) -> io::Result<Option<Box<dyn Disk>>> {
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    if dax != DaxPolicy::Never
        && let Some(mapping) = dax::Mapping::of(&file)?
    {
        return Ok(Some(Box::new(DaxDisk { mapping, file: FileDisk(file) })));
    }
    let disk: Box<dyn Disk> = Box::new(FileDisk(file));
    Ok((dax != DaxPolicy::Always).then_some(disk))
}

/// A file in persistent memory.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[derive(Debug)]
pub(crate) struct DaxDisk {
    pub(crate) mapping: dax::Mapping,
    pub(crate) file: FileDisk,
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
impl Disk for DaxDisk {
    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.mapping.read(at, into)
    }

    fn write(&mut self, at: u64, from: &[u8]) -> io::Result<()> {
        self.mapping.write(at, from)
    }

    fn punch(&mut self, at: u64, len: u64) -> io::Result<()> {
        self.file.punch(at, len)?;
        // The file system notes a hole when it likes.
        if self.backend() == Backend::DaxSync { self.file.0.sync_data() } else { Ok(()) }
    }

    fn sync(&self) -> SyncWork {
        self.file.sync()
    }

    fn backend(&self) -> Backend {
        match self.mapping.durable() {
            dax::Durable::AtOnce => Backend::DaxSync,
            dax::Durable::AfterSync => Backend::Dax,
        }
    }

    fn bytes(&self) -> io::Result<u64> {
        self.file.bytes()
    }
}

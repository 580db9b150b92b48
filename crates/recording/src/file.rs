//! Files that may be anybody's.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::Error;

/// Opens a regular file to read. A pipe or a device, which may have no end, is refused without waiting for it.
pub(crate) fn open_regular(path: &Path) -> Result<File, Error> {
    let failed = |cause: io::Error| Error::File { path: path.to_owned(), cause };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty());
    let file = File::from(file.map_err(|error| failed(error.into()))?);
    if file.metadata().map_err(failed)?.is_file() {
        return Ok(file);
    }
    let reason = "not a regular file: give a copy of what is in it".to_owned();
    Err(Error::NotSound { path: path.to_owned(), reason })
}

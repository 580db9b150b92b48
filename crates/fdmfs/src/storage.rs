//! The files of a file system on the drive's blocks, passed through; and where their bytes are on the drive.

mod extents;

use std::fs::{self, File};
use std::io;
use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub(crate) use extents::Map;

/// A folder of a file system, maybe on the drive.
#[derive(Debug)]
pub(crate) struct Storage {
    root: PathBuf,
    /// First block, in bytes, of the file system's device on the drive; `None` if it is elsewhere.
    base: Option<u64>,
    device: u64,
}

impl Storage {
    /// A folder, and the drive that it may be on (`nvme0`).
    pub(crate) fn new(root: &Path, drive: Option<&str>) -> io::Result<Self> {
        let root = root.canonicalize()?;
        let device = fs::metadata(&root)?.st_dev();
        let base = drive.and_then(|drive| device_base(device, drive));
        Ok(Self { root, base, device })
    }

    /// True if copies can be made within the drive.
    pub(crate) fn is_on_drive(&self) -> bool {
        self.base.is_some()
    }

    /// A file in it.
    pub(crate) fn path(&self, inside: &Path) -> PathBuf {
        self.root.join(inside)
    }

    /// Where a part of a file is on the drive, if its file system says so and can be trusted.
    pub(crate) fn map(&self, file: &File, offset: u64, len: u64) -> Option<Map> {
        let base = self.base?;
        if file.metadata().ok()?.st_dev() != self.device {
            return None;
        }
        // What is in the page cache only is not on the drive.
        file.sync_data().ok()?;
        extents::map(file, base, offset, len).ok()?
    }
}

/// Where a block device begins on a drive's first namespace: 0 for all of it, else a partition.
fn device_base(device: u64, drive: &str) -> Option<u64> {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let path = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let names: Vec<&str> = path.iter().filter_map(|name| name.to_str()).collect();
    let namespace = names.iter().position(|name| {
        name.strip_prefix(drive).is_some_and(|rest| {
            rest.strip_prefix('n').is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
        })
    })?;
    match names.len() - namespace {
        1 => Some(0),
        // Sectors of 512 bytes, whatever the drive's blocks are.
        2 => fs::read_to_string(path.join("start"))
            .ok()?
            .trim()
            .parse::<u64>()
            .ok()?
            .checked_mul(512),
        _ => None,
    }
}

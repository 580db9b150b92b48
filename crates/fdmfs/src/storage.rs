//! The files of a file system on the drive's blocks, passed through; and where their bytes are on the drive.

mod exclusive;
mod extents;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::fs::MetadataExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{IFlags, Mode, OFlags, ResolveFlags};

pub(crate) use exclusive::Exclusive;
pub(crate) use extents::{Extent, Map};

/// A folder of a file system, maybe on the drive.
///
/// Its server may do more than those it serves: no path leads out of the folder, and none through a symbolic link
/// that somebody puts in its way (the kernel follows links itself, with its caller's rights).
#[derive(Debug)]
pub(crate) struct Storage {
    root: OwnedFd,
    /// First block, in bytes, of the file system's device on the drive; `None` if it is elsewhere.
    base: Option<u64>,
    device: u64,
}

impl Storage {
    /// A folder, and the drive that it may be on (`nvme0`).
    pub(crate) fn new(root: &Path, drive: Option<&str>) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let device = fs::metadata(root)?.st_dev();
        let root = rustix::fs::open(root, flags, Mode::empty())?;
        let drive = drive.filter(|_| leaves_blocks(&root));
        let base = drive.and_then(|drive| device_base(device, drive));
        Ok(Self { root, base, device })
    }

    /// True if copies can be made within the drive.
    pub(crate) fn is_on_drive(&self) -> bool {
        self.base.is_some()
    }

    /// A folder in it, by a path that holds as long as this does.
    pub(crate) fn folder(&self, inside: &Path) -> io::Result<Held> {
        let inside = if inside.as_os_str().is_empty() { Path::new(".") } else { inside };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let folder = rustix::fs::openat2(self.root.as_fd(), inside, flags, Mode::empty(), resolve)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/.", folder.as_raw_fd()));
        Ok(Held { _open: folder, path })
    }

    /// Something in it that is no symbolic link, by a path that stays it whatever happens to its name.
    pub(crate) fn hold(&self, inside: &Path) -> io::Result<Held> {
        let entry = self.entry(inside)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = rustix::fs::open(&*entry, flags, Mode::empty())?;
        if rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&held)?.st_mode).is_symlink() {
            return Err(io::Error::from(io::ErrorKind::Unsupported));
        }
        let path = PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()));
        Ok(Held { _open: held, path })
    }

    /// Something in it, by a path whose last part is a name in a folder that is held.
    pub(crate) fn entry(&self, inside: &Path) -> io::Result<Held> {
        let Some(name) = inside.file_name() else { return self.folder(inside) };
        let mut held = self.folder(inside.parent().unwrap_or(Path::new("")))?;
        held.path.push(name);
        Ok(held)
    }

    /// Opens a file in it.
    pub(crate) fn open(
        &self,
        inside: &Path,
        options: &mut OpenOptions,
        flags: OFlags,
    ) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW;
        options.custom_flags(flags.bits() as i32).open(&*self.entry(inside)?)
    }

    /// Where a part of a file is on the drive, if its file system says so and can be trusted.
    pub(crate) fn map(&self, file: &File, offset: u64, len: u64) -> Option<Map> {
        let base = self.base?;
        if file.metadata().ok()?.st_dev() != self.device {
            return None;
        }
        if !is_plain(file) || extents::is_realtime(file) {
            return None;
        }
        // What is in the page cache only is not on the drive.
        file.sync_data().ok()?;
        extents::map(file, base, offset, len).ok()?
    }
}

/// True if a file's bytes are on the drive as programs read them. Not so if its journal may hold newer ones (chattr +j),
/// or if they are compressed or encrypted, which ext4 does not say of its extents.
fn is_plain(file: &File) -> bool {
    /// FS_ENCRYPT_FL (linux/fs.h).
    const ENCRYPTED: u32 = 0x800;
    let other = IFlags::JOURNALING | IFlags::COMPRESSED | IFlags::from_bits_retain(ENCRYPTED);
    rustix::fs::ioctl_getflags(file).is_ok_and(|flags| !flags.intersects(other))
}

/// True for file systems that leave a file's blocks where they are and as they are until somebody with the file open
/// wants otherwise: ext2 to ext4, and XFS (linux/magic.h). Others move them (f2fs), keep old versions (nilfs2),
/// or know their checksums (bcachefs).
fn leaves_blocks(root: &OwnedFd) -> bool {
    const EXT: u64 = 0xEF53;
    const XFS: u64 = 0x5846_5342;
    rustix::fs::fstatfs(root).is_ok_and(|of| matches!(of.f_type as u64, EXT | XFS))
}

/// Reads until there is as much as asked for, or no more; gives how much.
pub(crate) fn read_full(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match file.read_at(&mut into[filled..], offset + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// A path that nobody can bend.
#[derive(Debug)]
pub(crate) struct Held {
    _open: OwnedFd,
    path: PathBuf,
}

impl Deref for Held {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

/// Where a block device begins on a drive's first namespace: 0 for all of it, else a partition. `None` if it is elsewhere,
/// or its file system does not say where bytes are.
fn device_base(device: u64, drive: &str) -> Option<u64> {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let path = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let names: Vec<&str> = path.iter().filter_map(|name| name.to_str()).collect();
    // A file system all of whose files are written to its journal first.
    let options = names.last().map(|name| format!("/proc/fs/ext4/{name}/options"))?;
    if fs::read_to_string(options).is_ok_and(|text| text.lines().any(|o| o == "data=journal")) {
        return None;
    }
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

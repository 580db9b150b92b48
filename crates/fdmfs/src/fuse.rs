//! FUSE's requests, each handed to the file system.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use client::Submit;
use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileAttr, FileHandle, Filesystem, FopenFlags,
    Generation, INodeNo, InitFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs,
    ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use crate::caller::AsCaller;
use crate::filesystem::{Fdmfs, NAME_BYTES_MAX};
use crate::nodes::{Folder, Kind, Names, fixed};
use crate::space::PAGE;
use crate::state::{Done, Handle, State};

/// Attributes are asked for anew: other users of the storage folder change files, and a drive its programs.
const NOT_KEPT: Duration = Duration::ZERO;

/// Nobody else changes names and sizes in `memory/`, so the kernel may keep them. Of what programs write to, it is told.
const KEPT: Duration = Duration::from_secs(60);

/// Largest write.
const WRITE_MAX: u32 = 1 << 20;

/// Answers with what came out, or the error.
macro_rules! answer {
    ($reply:ident, $done:expr, $value:pat => $good:expr) => {
        match $done {
            Ok($value) => $good,
            Err(error) => $reply.error(error),
        }
    };
}

impl<T: Submit + Send + 'static> Filesystem for Fdmfs<T> {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Older kernels refuse shared mappings instead.
        let _ = config.add_capabilities(InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP);
        let _ = config.set_max_write(WRITE_MAX);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        answer!(reply, self.find(parent.0, name), of => reply.entry(&self.lifetime(of.ino), &of, Generation(0)));
    }

    fn forget(&self, _: &Request, ino: INodeNo, count: u64) {
        self.state().nodes.storage_forgotten(ino.0, count);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, fh: Option<FileHandle>, reply: ReplyAttr) {
        let attributes = self.attributes(&self.state(), ino.0, fh.map(|fh| fh.0));
        answer!(reply, attributes, of => reply.attr(&self.lifetime(ino), &of));
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        fh: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let handle = fh.map(|fh| fh.0);
        let set = |state: &mut State<T>| -> Done<FileAttr> {
            if let Some(size) = size {
                self.set_size(request, state, ino.0, handle, size)?;
            }
            if let Some(path) = state.nodes.storage_path(ino.0) {
                let storage = state.storage.as_ref().ok_or(Errno::ENOENT)?;
                let _caller = AsCaller::of(request)?;
                let held = storage.hold(&path)?;
                if let Some(mode) = mode {
                    fs::set_permissions(&*held, fs::Permissions::from_mode(mode & 0o7777))?;
                }
                if uid.is_some() || gid.is_some() {
                    std::os::unix::fs::lchown(&*storage.entry(&path)?, uid, gid)?;
                }
                if atime.is_some() || mtime.is_some() {
                    let [last_access, last_modification] = [atime, mtime].map(timespec);
                    let times = Timestamps { last_access, last_modification };
                    rustix::fs::utimensat(CWD, &*held, &times, AtFlags::empty())
                        .map_err(io::Error::from)?;
                }
            } else if let Some(node) = state.nodes.get_mut(ino.0) {
                node.mode = mode.map_or(node.mode, |mode| (mode & 0o7777) as u16);
                node.owner = (uid.unwrap_or(node.owner.0), gid.unwrap_or(node.owner.1));
                node.changed = mtime.map_or(node.changed, moment);
            }
            self.attributes(state, ino.0, handle)
        };
        let done = set(&mut self.state());
        answer!(reply, done, of => reply.attr(&self.lifetime(ino), &of));
    }

    fn readlink(&self, request: &Request, ino: INodeNo, reply: ReplyData) {
        let state = self.state();
        let read = || -> Done<Vec<u8>> {
            if let Some(Kind::Link(target)) = state.nodes.get(ino.0).map(|node| &node.kind) {
                return Ok(target.clone().into_os_string().into_encoded_bytes());
            }
            let path = state.nodes.storage_path(ino.0).ok_or(Errno::EINVAL)?;
            let _caller = AsCaller::of(request)?;
            let full = state.storage.as_ref().ok_or(Errno::ENOENT)?.entry(&path)?;
            Ok(fs::read_link(&*full)?.into_os_string().into_encoded_bytes())
        };
        answer!(reply, read(), target => reply.data(&target));
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let made = if self.is_own(parent) {
            let folder = Folder { parent: parent.0, names: Names::new() };
            self.make_in_memory(request, parent.0, name, (Kind::Folder(folder), mode & !umask))
        } else {
            let made = self.in_storage(request, parent.0, name, |_, _, full| {
                fs::create_dir(full)?;
                Ok(fs::set_permissions(full, fs::Permissions::from_mode(mode & !umask & 0o7777))?)
            });
            made.and_then(|()| self.find(parent.0, name))
        };
        answer!(reply, made, of => reply.entry(&self.lifetime(of.ino), &of, Generation(0)));
    }

    fn symlink(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let made = if self.is_own(parent) {
            let link = (Kind::Link(target.to_owned()), 0o777);
            self.make_in_memory(request, parent.0, name, link)
        } else {
            let made = self.in_storage(request, parent.0, name, |_, _, full| {
                Ok(std::os::unix::fs::symlink(target, full)?)
            });
            made.and_then(|()| self.find(parent.0, name))
        };
        answer!(reply, made, of => reply.entry(&self.lifetime(of.ino), &of, Generation(0)));
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let done = if self.is_own(parent) {
            self.state().unlink(parent.0, name)
        } else {
            self.in_storage(request, parent.0, name, |state, path, full| {
                fs::remove_file(full)?;
                state.nodes.storage_removed(path);
                Ok(())
            })
        };
        answer!(reply, done, () => reply.ok());
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let done = if self.is_own(parent) {
            self.state().remove_folder(parent.0, name)
        } else {
            self.in_storage(request, parent.0, name, |state, path, full| {
                fs::remove_dir(full)?;
                state.nodes.storage_removed(path);
                Ok(())
            })
        };
        answer!(reply, done, () => reply.ok());
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let done = self.rename_in(request, (parent.0, name), (newparent.0, newname), flags);
        answer!(reply, done, () => reply.ok());
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let made = self.create_in(request, parent.0, name, mode & !umask, flags);
        answer!(reply, made, (of, handle) => {
            let (lifetime, flags) = (self.lifetime(of.ino), self.opened(of.ino));
            reply.created(&lifetime, &of, Generation(0), FileHandle(handle), flags);
        });
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        answer!(reply, self.open_file(request, ino.0, flags), handle => {
            reply.opened(FileHandle(handle), self.opened(ino));
        });
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        answer!(reply, self.read_at(ino.0, fh.0, offset, size), data => reply.data(&data));
    }

    fn write(
        &self,
        request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let done = self.write_at(request, (ino.0, fh.0), offset, data);
        answer!(reply, done, () => reply.written(data.len() as u32));
    }

    fn flush(&self, _: &Request, ino: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        answer!(reply, self.state().load_program(ino.0), () => reply.ok());
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        let mut state = self.state();
        if let Some(Handle::Own) = state.handles.remove(&fh.0) {
            state.closed(ino.0);
        }
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, fh: FileHandle, data: bool, reply: ReplyEmpty) {
        let state = self.state();
        let done = match state.handles.get(&fh.0) {
            Some(Handle::Storage { file, .. }) if data => file.sync_data(),
            Some(Handle::Storage { file, .. }) => file.sync_all(),
            // Device memory is written when a write returns.
            _ => Ok(()),
        };
        answer!(reply, done.map_err(Errno::from), () => reply.ok());
    }

    fn opendir(&self, request: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // Read once: a position in it stays what it is when files come and go.
        answer!(reply, self.list(request, ino.0), list => {
            let handle = self.state().open_handle(Handle::Folder(list));
            reply.opened(FileHandle(handle), FopenFlags::empty());
        });
    }

    fn releasedir(&self, _: &Request, _: INodeNo, fh: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.state().handles.remove(&fh.0);
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let state = self.state();
        let sync = || -> Done<()> {
            if let Some(path) = state.nodes.storage_path(ino.0) {
                let storage = state.storage.as_ref().ok_or(Errno::ENOENT)?;
                File::open(&*storage.folder(&path)?)?.sync_all()?;
            }
            Ok(())
        };
        answer!(reply, sync(), () => reply.ok());
    }

    fn readdir(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let state = self.state();
        let Some(Handle::Folder(list)) = state.handles.get(&fh.0) else {
            return reply.error(Errno::EBADF);
        };
        for (n, (ino, kind, name)) in list.iter().enumerate().skip(offset as usize) {
            if reply.add(INodeNo(*ino), n as u64 + 1, *kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, ino: INodeNo, reply: ReplyStatfs) {
        let state = self.state();
        if let Some(path) = state.nodes.storage_path(ino.0)
            && let Some(storage) = &state.storage
            && let Ok(entry) = storage.entry(&path)
            && let Ok(of) = rustix::fs::statvfs(&*entry)
        {
            let (bsize, frsize) = (of.f_bsize as u32, of.f_frsize as u32);
            let (blocks, free, available) = (of.f_blocks, of.f_bfree, of.f_bavail);
            reply.statfs(blocks, free, available, of.f_files, of.f_ffree, bsize, 255, frsize);
            return;
        }
        let (total, free) = state.files.capacity();
        let (total, free) = (total / PAGE, free / PAGE);
        let name_max = NAME_BYTES_MAX as u32;
        reply.statfs(total, free, free, 1 << 20, 1 << 20, PAGE as u32, name_max, PAGE as u32);
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        answer!(reply, self.allocate(ino.0, fh.0, offset, length, mode), () => reply.ok());
    }

    fn copy_file_range(
        &self,
        _: &Request,
        ino_in: INodeNo,
        fh_in: FileHandle,
        offset_in: u64,
        ino_out: INodeNo,
        fh_out: FileHandle,
        offset_out: u64,
        len: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let from = (ino_in.0, fh_in.0, offset_in);
        let done = self.copy_range(from, (ino_out.0, fh_out.0, offset_out), len);
        answer!(reply, done, copied => reply.written(copied as u32));
    }
}

impl<T: Submit> Fdmfs<T> {
    /// True for a folder of ours: not of the storage folder.
    fn is_own(&self, folder: INodeNo) -> bool {
        self.state().nodes.names(folder.0).is_some()
    }

    /// How long the kernel may keep a name and its attributes.
    fn lifetime(&self, ino: INodeNo) -> Duration {
        if matches!(ino.0, fixed::ROOT | fixed::MEMORY | fixed::PROGRAMS) {
            return KEPT;
        }
        match self.state().nodes.get(ino.0).map(|node| &node.kind) {
            Some(Kind::Memory(_) | Kind::Folder(_) | Kind::Link(_)) => KEPT,
            _ => NOT_KEPT,
        }
    }

    /// What the kernel is told of an open file. What programs write must be seen at once: nothing is cached.
    fn opened(&self, ino: INodeNo) -> FopenFlags {
        match self.state().nodes.get(ino.0).map(|node| &node.kind) {
            // Only programs have something to do when they are closed.
            Some(Kind::Memory(_)) => FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_NOFLUSH,
            _ => FopenFlags::FOPEN_DIRECT_IO,
        }
    }
}

/// A time to be set, or left as it is.
fn timespec(time: Option<TimeOrNow>) -> Timespec {
    let special = |nanoseconds: i64| Timespec { tv_sec: 0, tv_nsec: nanoseconds };
    match time {
        None => special(UTIME_OMIT),
        Some(TimeOrNow::Now) => special(UTIME_NOW),
        Some(TimeOrNow::SpecificTime(time)) => match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => {
                Timespec { tv_sec: since.as_secs() as i64, tv_nsec: since.subsec_nanos().into() }
            }
            // Before 1970, to the second.
            Err(before) => Timespec { tv_sec: -(before.duration().as_secs() as i64), tv_nsec: 0 },
        },
    }
}

fn moment(time: TimeOrNow) -> SystemTime {
    match time {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => SystemTime::now(),
    }
}

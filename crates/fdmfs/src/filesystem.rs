//! What requests do to a mounted file system.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirEntryExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use client::Submit;
use fuser::{Errno, FileAttr, FileType, INodeNo, Notifier, OpenFlags, RenameFlags, Request};
use rustix::fs::OFlags;

use crate::caller::AsCaller;
use crate::nodes::{Kind, Node, ProgramFile, fixed};
use crate::state::{Done, Handle, State};
use crate::storage::read_full;

/// What programs are told to read and write at a time: each time is a request, and commands.
const BLOCK_SIZE: u32 = 128 << 10;

/// Most bytes of a copy: others wait meanwhile.
const COPY_MAX: u64 = 64 << 20;

/// `fallocate`'s modes (linux/falloc.h).
const KEEP_SIZE: i32 = 1;
const PUNCH_HOLE: i32 = 2;
const ZERO_RANGE: i32 = 16;

/// Longest name (NAME_MAX of linux/limits.h); the kernel lets FUSE have longer ones.
pub(crate) const NAME_BYTES_MAX: usize = 255;

/// `renameat2`'s RENAME_NOREPLACE.
const NO_REPLACE: u32 = 1;

/// The file system.
///
/// Requests come on several threads, and do what they do under one lock. A program that runs does not hold it.
#[derive(Debug)]
pub(crate) struct Fdmfs<T> {
    state: Mutex<State<T>>,
    /// Threads that want the lock.
    pub(crate) wanted: AtomicUsize,
    owner: (u32, u32),
    mounted: SystemTime,
    /// Tells the kernel to forget what it keeps; there once the file system is mounted.
    pub(crate) notifier: Arc<OnceLock<Notifier>>,
}

impl<T: Submit> Fdmfs<T> {
    pub(crate) fn new(state: State<T>, notifier: Arc<OnceLock<Notifier>>) -> Self {
        let owner = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        Self {
            state: Mutex::new(state),
            wanted: AtomicUsize::new(0),
            owner,
            mounted: SystemTime::now(),
            notifier,
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State<T>> {
        self.wanted.fetch_add(1, Ordering::Relaxed);
        // Whoever panicked has ended its thread; what is left for others to do is to say so.
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.wanted.fetch_sub(1, Ordering::Relaxed);
        state
    }

    /// Attributes of something of ours.
    fn own(&self, ino: u64, kind: FileType, perm: u16, size: u64) -> FileAttr {
        FileAttr {
            ino: INodeNo(ino),
            size,
            blocks: size.div_ceil(512),
            atime: self.mounted,
            mtime: self.mounted,
            ctime: self.mounted,
            crtime: self.mounted,
            kind,
            perm,
            nlink: if kind == FileType::Directory { 2 } else { 1 },
            uid: self.owner.0,
            gid: self.owner.1,
            rdev: 0,
            blksize: BLOCK_SIZE,
            flags: 0,
        }
    }

    pub(crate) fn attributes(
        &self,
        state: &State<T>,
        ino: u64,
        handle: Option<u64>,
    ) -> Done<FileAttr> {
        let (file, folder) = (FileType::RegularFile, FileType::Directory);
        match ino {
            fixed::ROOT => return Ok(self.own(ino, folder, 0o555, 0)),
            fixed::MEMORY | fixed::PROGRAMS => return Ok(self.own(ino, folder, 0o755, 0)),
            _ if fixed::is_run(ino) => {
                return Ok(self.own(ino, file, 0o600, state.answer.len() as u64));
            }
            // How long it is shows as one reads it.
            fixed::GROUPS => return Ok(self.own(ino, file, 0o600, 0)),
            fixed::STATISTICS => {
                return Ok(self.own(ino, file, 0o444, state.statistics().len() as u64));
            }
            _ => {}
        }
        if let Some(Handle::Storage { file: open, .. }) =
            handle.and_then(|handle| state.handles.get(&handle))
        {
            return Ok(storage_attributes(ino, &open.metadata()?));
        }
        if let Some(path) = state.nodes.storage_path(ino) {
            let storage = state.storage.as_ref().ok_or(Errno::ENOENT)?;
            return Ok(storage_attributes(ino, &fs::symlink_metadata(&*storage.entry(&path)?)?));
        }
        let node = state.nodes.get(ino).ok_or(Errno::ENOENT)?;
        let (uid, gid) = node.owner;
        let changed = node.changed;
        let size = match &node.kind {
            Kind::Folder(of) => {
                let folders = of.names.values().filter(|ino| state.nodes.is_memory_folder(**ino));
                let nlink = 2 + folders.count() as u32;
                let of = self.own(ino, folder, node.mode, 0);
                return Ok(FileAttr { uid, gid, nlink, mtime: changed, ctime: changed, ..of });
            }
            Kind::Link(target) => {
                let of = self.own(ino, FileType::Symlink, 0o777, target.as_os_str().len() as u64);
                return Ok(FileAttr { uid, gid, mtime: changed, ctime: changed, ..of });
            }
            Kind::Memory(id) => state.files.place(*id)?.size,
            Kind::Program(ProgramFile::Written(bytes)) => bytes.len() as u64,
            Kind::Program(program) => State::<T>::program_text(program).len() as u64,
            Kind::Storage(_) | Kind::Gone => {
                // Without a name, but open.
                let open = state.handles.values().find_map(|handle| match handle {
                    Handle::Storage { ino: of, file } if *of == ino => Some(file),
                    _ => None,
                });
                return Ok(storage_attributes(ino, &open.ok_or(Errno::ESTALE)?.metadata()?));
            }
        };
        let of = self.own(ino, file, node.mode, size);
        Ok(FileAttr { uid, gid, mtime: changed, ctime: changed, ..of })
    }

    pub(crate) fn find(&self, parent: u64, name: &OsStr) -> Done<FileAttr> {
        let mut state = self.state();
        let ino = match (parent, name.to_str()) {
            (fixed::ROOT, Some("memory")) => fixed::MEMORY,
            (fixed::ROOT, Some("programs")) => fixed::PROGRAMS,
            (fixed::ROOT, Some("storage")) if state.storage.is_some() => fixed::STORAGE,
            (fixed::ROOT, Some("run")) => state.new_run(),
            (fixed::ROOT, Some("statistics")) => fixed::STATISTICS,
            (fixed::ROOT, Some("groups")) => fixed::GROUPS,
            (fixed::ROOT, _) => return Err(Errno::ENOENT),
            _ if state.nodes.names(parent).is_none() => {
                return self.find_storage(&mut state, parent, name);
            }
            _ => state.find_name(parent, name)?,
        };
        self.attributes(&state, ino, None)
    }

    fn find_storage(&self, state: &mut State<T>, parent: u64, name: &OsStr) -> Done<FileAttr> {
        let path = state.nodes.storage_path(parent).ok_or(Errno::ENOTDIR)?.join(name);
        let storage = state.storage.as_ref().ok_or(Errno::ENOENT)?;
        let metadata = fs::symlink_metadata(&*storage.entry(&path)?)?;
        let ino = state.nodes.storage_looked_up(path);
        Ok(storage_attributes(ino, &metadata))
    }

    /// Makes a folder or a symbolic link below `memory/`.
    pub(crate) fn make_in_memory(
        &self,
        request: &Request,
        parent: u64,
        name: &OsStr,
        (kind, mode): (Kind, u32),
    ) -> Done<FileAttr> {
        let mut state = self.state();
        if !state.nodes.is_memory_folder(parent) {
            return Err(Errno::EPERM);
        }
        state.check_new_name(parent, name)?;
        let node = Node::new(kind, mode, (request.uid(), request.gid()));
        let ino = state.nodes.add(parent, name, node);
        state.touch(parent);
        self.attributes(&state, ino, None)
    }

    pub(crate) fn create_in(
        &self,
        request: &Request,
        parent: u64,
        name: &OsStr,
        mode: u32,
        flags: i32,
    ) -> Done<(FileAttr, u64)> {
        let mut state = self.state();
        if let Some(folder) = state.nodes.storage_path(parent) {
            let path = folder.join(name);
            let storage = state.storage.as_ref().ok_or(Errno::ENOENT)?;
            let mut options = File::options();
            // The kernel has found none: what is there now is somebody else's.
            options.read(true).write(true).create_new(true).mode(mode);
            let _caller = AsCaller::of(request)?;
            let file = storage.open(&path, &mut options, passed_on(flags))?;
            let ino = state.nodes.storage_looked_up(path);
            let attributes = storage_attributes(ino, &file.metadata()?);
            let handle = state.open_handle(Handle::Storage { ino, file });
            return Ok((attributes, handle));
        }
        state.check_new_name(parent, name)?;
        let kind = if parent == fixed::PROGRAMS {
            Kind::Program(ProgramFile::Written(Vec::new()))
        } else {
            Kind::Memory(state.files.create())
        };
        let node = Node::new(kind, mode, (request.uid(), request.gid()));
        let ino = state.nodes.add(parent, name, Node { opened: 1, ..node });
        state.touch(parent);
        let attributes = self.attributes(&state, ino, None)?;
        Ok((attributes, state.open_handle(Handle::Own)))
    }

    pub(crate) fn open_file(&self, request: &Request, ino: u64, flags: OpenFlags) -> Done<u64> {
        let mut state = self.state();
        if let Some(path) = state.nodes.storage_path(ino) {
            let storage = state.storage.as_ref().ok_or(Errno::ENOENT)?;
            let access = flags.acc_mode();
            let reads = access != fuser::OpenAccMode::O_WRONLY;
            let writes = access != fuser::OpenAccMode::O_RDONLY;
            let append = passed_on(flags.0);
            let caller = AsCaller::of(request)?;
            // Copies read what is opened for writing only, too.
            let file = storage.open(&path, File::options().read(true).write(writes), append);
            let file = match file {
                Err(_) if !reads => storage.open(&path, File::options().write(true), append)?,
                other => other?,
            };
            drop(caller);
            return Ok(state.open_handle(Handle::Storage { ino, file }));
        }
        if let Some(node) = state.nodes.get_mut(ino) {
            node.opened += 1;
        }
        let has_answer = fixed::is_run(ino) || ino == fixed::GROUPS;
        let handle = if has_answer { Handle::Run(None) } else { Handle::Own };
        Ok(state.open_handle(handle))
    }

    pub(crate) fn read_at(&self, ino: u64, handle: u64, offset: u64, size: u32) -> Done<Vec<u8>> {
        let mut state = self.state();
        if let Some(Handle::Storage { file, .. }) = state.handles.get(&handle) {
            let mut bytes = vec![0; size as usize];
            let filled = read_full(file, &mut bytes, offset)?;
            bytes.truncate(filled);
            return Ok(bytes);
        }
        let text = match ino {
            _ if fixed::is_run(ino) => match state.handles.get(&handle) {
                Some(Handle::Run(Some(own))) => own.clone(),
                _ => state.answer.clone(),
            },
            fixed::STATISTICS => state.statistics(),
            fixed::GROUPS => match state.handles.get(&handle) {
                Some(Handle::Run(Some(own))) => own.clone(),
                _ => state.list_groups()?,
            },
            _ => match state.nodes.get(ino).map(|node| &node.kind) {
                Some(Kind::Memory(id)) => {
                    let id = *id;
                    return Ok(state.files.read(id, offset, size.into())?);
                }
                Some(Kind::Program(program)) => State::<T>::program_text(program),
                _ => return Err(Errno::EBADF),
            },
        };
        let from = (offset as usize).min(text.len());
        let to = (from + size as usize).min(text.len());
        Ok(text.as_bytes()[from..to].to_vec())
    }

    pub(crate) fn write_at(
        &self,
        request: &Request,
        (ino, handle): (u64, u64),
        offset: u64,
        data: &[u8],
    ) -> Done<()> {
        let mut state = self.state();
        if let Some(Handle::Storage { file, .. }) = state.handles.get(&handle) {
            return Ok(file.write_all_at(data, offset)?);
        }
        match (ino, state.nodes.get(ino).map(|node| &node.kind)) {
            _ if fixed::is_run(ino) => {
                drop(state);
                self.run(request, handle, std::str::from_utf8(data).map_err(|_| Errno::EINVAL)?)
            }
            (fixed::GROUPS, _) => {
                let request = std::str::from_utf8(data).map_err(|_| Errno::EINVAL)?;
                state.change_groups(handle, request)
            }
            (_, Some(Kind::Memory(id))) => {
                let id = *id;
                state.files.write(id, offset, data)?;
                state.touch(ino);
                Ok(())
            }
            (_, Some(Kind::Program(_))) => state.write_program(ino, offset, data),
            _ => Err(Errno::EBADF),
        }
    }

    pub(crate) fn set_size(
        &self,
        request: &Request,
        state: &mut State<T>,
        ino: u64,
        handle: Option<u64>,
        size: u64,
    ) -> Done<()> {
        if let Some(Handle::Storage { file, .. }) =
            handle.and_then(|handle| state.handles.get(&handle))
        {
            return Ok(file.set_len(size)?);
        }
        if let Some(path) = state.nodes.storage_path(ino) {
            let storage = state.storage.as_ref().ok_or(Errno::ENOENT)?;
            let _caller = AsCaller::of(request)?;
            let file = storage.open(&path, File::options().write(true), OFlags::NONBLOCK)?;
            return Ok(file.set_len(size)?);
        }
        match state.nodes.get(ino).map(|node| node.kind.clone()) {
            Some(Kind::Memory(id)) => {
                state.files.truncate(id, size)?;
                state.touch(ino);
            }
            // It is about to be written anew.
            Some(Kind::Program(program)) if size == 0 => {
                state.unload_program(&program)?;
                if let Some(node) = state.nodes.get_mut(ino) {
                    node.kind = Kind::Program(ProgramFile::Written(Vec::new()));
                }
            }
            Some(Kind::Program(_)) => return Err(Errno::EINVAL),
            _ if fixed::is_run(ino) || ino == fixed::GROUPS => {}
            _ => return Err(Errno::EPERM),
        }
        Ok(())
    }

    pub(crate) fn list(
        &self,
        request: &Request,
        ino: u64,
    ) -> Done<Vec<(u64, FileType, std::ffi::OsString)>> {
        let mut state = self.state();
        let (file, folder) = (FileType::RegularFile, FileType::Directory);
        let parent = state.nodes.parent(ino);
        let mut list = vec![(ino, folder, ".".into()), (parent, folder, "..".into())];
        if ino == fixed::PROGRAMS {
            state.find_programs().map_err(|_| Errno::EIO)?;
        }
        if ino == fixed::ROOT {
            for (ino, kind, name) in [
                (fixed::MEMORY, folder, "memory"),
                (fixed::PROGRAMS, folder, "programs"),
                (fixed::RUN, file, "run"),
                (fixed::STATISTICS, file, "statistics"),
                (fixed::GROUPS, file, "groups"),
            ] {
                list.push((ino, kind, name.into()));
            }
            if state.storage.is_some() {
                list.push((fixed::STORAGE, folder, "storage".into()));
            }
        } else if let Some(names) = state.nodes.names(ino).cloned() {
            let kind_of = |ino: u64| match state.nodes.get(ino).map(|node| &node.kind) {
                Some(Kind::Folder(_)) => folder,
                Some(Kind::Link(_)) => FileType::Symlink,
                _ => file,
            };
            list.extend(names.into_iter().map(|(name, ino)| (ino, kind_of(ino), name)));
        } else {
            let path = state.nodes.storage_path(ino).ok_or(Errno::ENOTDIR)?;
            let storage = state.storage.as_ref().ok_or(Errno::ENOENT)?;
            let _caller = AsCaller::of(request)?;
            for entry in fs::read_dir(&*storage.folder(&path)?)? {
                let entry = entry?;
                let kind = entry.file_type().map_or(file, file_type);
                // Only what is looked up gets a number of ours.
                list.push((entry.ino(), kind, entry.file_name()));
            }
        }
        Ok(list)
    }

    /// Does something to a path in the storage folder.
    pub(crate) fn in_storage<U>(
        &self,
        request: &Request,
        parent: u64,
        name: &OsStr,
        act: impl FnOnce(&mut State<T>, &Path, &Path) -> Done<U>,
    ) -> Done<U> {
        let mut state = self.state();
        let path = state.nodes.storage_path(parent).ok_or(Errno::EPERM)?.join(name);
        let _caller = AsCaller::of(request)?;
        let full = state.storage.as_ref().ok_or(Errno::ENOENT)?.entry(&path)?;
        act(&mut state, &path, &full)
    }

    pub(crate) fn rename_in(
        &self,
        request: &Request,
        (parent, name): (u64, &OsStr),
        (new_parent, new_name): (u64, &OsStr),
        flags: RenameFlags,
    ) -> Done<()> {
        let mut state = self.state();
        let may_replace = match flags.bits() {
            0 => true,
            NO_REPLACE => false,
            _ => return Err(Errno::EINVAL),
        };
        let [from, to] = [parent, new_parent].map(|folder| state.nodes.storage_path(folder));
        match (from, to) {
            (Some(from), Some(to)) => {
                let (from, to) = (from.join(name), to.join(new_name));
                let _caller = AsCaller::of(request)?;
                let storage = state.storage.as_ref().ok_or(Errno::ENOENT)?;
                let (old, new) = (storage.entry(&from)?, storage.entry(&to)?);
                if !may_replace && new.symlink_metadata().is_ok() {
                    return Err(Errno::EEXIST);
                }
                fs::rename(&*old, &*new)?;
                state.nodes.storage_renamed(&from, &to);
                Ok(())
            }
            (None, None) => {
                check_name(new_name)?;
                state.rename((parent, name), (new_parent, new_name), may_replace)
            }
            _ => Err(Errno::EXDEV),
        }
    }

    pub(crate) fn allocate(
        &self,
        ino: u64,
        handle: u64,
        offset: u64,
        len: u64,
        mode: i32,
    ) -> Done<()> {
        let mut state = self.state();
        if let Some(Handle::Storage { file, .. }) = state.handles.get(&handle) {
            let flags = rustix::fs::FallocateFlags::from_bits_retain(mode as u32);
            return rustix::fs::fallocate(file, flags, offset, len)
                .map_err(|error| Errno::from(io::Error::from(error)));
        }
        let id = state.memory_file(ino)?;
        let end = offset.checked_add(len).ok_or(Errno::EFBIG)?;
        let size = state.files.place(id)?.size;
        match mode {
            0 => state.files.truncate(id, size.max(end))?,
            KEEP_SIZE => state.files.reserve(id, end)?,
            punch if punch == PUNCH_HOLE | KEEP_SIZE => state.files.punch(id, offset, len)?,
            ZERO_RANGE => {
                state.files.truncate(id, size.max(end))?;
                state.files.punch(id, offset, len)?;
            }
            _ => return Err(Errno::EOPNOTSUPP),
        }
        state.touch(ino);
        Ok(())
    }

    pub(crate) fn copy_range(
        &self,
        (from, from_handle, from_offset): (u64, u64, u64),
        (to, to_handle, to_offset): (u64, u64, u64),
        len: u64,
    ) -> Done<u64> {
        let mut state = self.state();
        let len = len.min(COPY_MAX);
        let [source, target] = [from_handle, to_handle]
            .map(|handle| state.storage_file(handle))
            .map(Option::transpose);
        let copied = match (source?, target?) {
            (Some(_), Some(_)) => return Err(Errno::EOPNOTSUPP),
            (Some(file), None) => {
                let id = state.memory_file(to).map_err(|_| Errno::EOPNOTSUPP)?;
                state.copy_in((&file, from_offset), (id, to_offset), len)?
            }
            (None, Some(file)) => {
                let id = state.memory_file(from).map_err(|_| Errno::EOPNOTSUPP)?;
                state.copy_out((id, from_offset), (&file, to_offset), len)?
            }
            (None, None) => {
                let [source, target] = [from, to].map(|ino| state.memory_file(ino));
                let (Ok(source), Ok(target)) = (source, target) else {
                    return Err(Errno::EOPNOTSUPP);
                };
                let (copied, through_host) =
                    state.files.copy((source, from_offset), (target, to_offset), len)?;
                state.copied.in_drive += copied - through_host;
                state.copied.through_host += through_host;
                copied
            }
        };
        state.touch(to);
        Ok(copied)
    }
}

/// Refuses names that are too long for a file of ours, as every file system of Linux does.
pub(crate) fn check_name(name: &OsStr) -> Done<()> {
    if name.len() > NAME_BYTES_MAX { Err(Errno::ENAMETOOLONG) } else { Ok(()) }
}

/// Flags of an open file that mean something to its file system: what is appended goes to the end wherever others
/// have put it meanwhile; what is to be on stable storage must be. Nobody waits for the other end of a pipe.
fn passed_on(flags: i32) -> OFlags {
    let flags = OFlags::from_bits_retain(flags as u32);
    flags & (OFlags::APPEND | OFlags::SYNC | OFlags::DSYNC) | OFlags::NONBLOCK
}

fn file_type(kind: fs::FileType) -> FileType {
    use std::os::unix::fs::FileTypeExt;
    match kind {
        kind if kind.is_dir() => FileType::Directory,
        kind if kind.is_symlink() => FileType::Symlink,
        kind if kind.is_fifo() => FileType::NamedPipe,
        kind if kind.is_socket() => FileType::Socket,
        kind if kind.is_block_device() => FileType::BlockDevice,
        kind if kind.is_char_device() => FileType::CharDevice,
        _ => FileType::RegularFile,
    }
}

fn storage_attributes(ino: u64, of: &fs::Metadata) -> FileAttr {
    let time = |seconds: i64, nanoseconds: i64| {
        let since = Duration::new(seconds.max(0) as u64, nanoseconds as u32);
        SystemTime::UNIX_EPOCH + since
    };
    FileAttr {
        ino: INodeNo(ino),
        size: of.size(),
        blocks: of.blocks(),
        atime: time(of.atime(), of.atime_nsec()),
        mtime: time(of.mtime(), of.mtime_nsec()),
        ctime: time(of.ctime(), of.ctime_nsec()),
        crtime: time(of.ctime(), of.ctime_nsec()),
        kind: file_type(of.file_type()),
        perm: (of.mode() & 0o7777) as u16,
        nlink: of.nlink() as u32,
        uid: of.uid(),
        gid: of.gid(),
        rdev: of.rdev() as u32,
        blksize: of.blksize() as u32,
        flags: 0,
    }
}

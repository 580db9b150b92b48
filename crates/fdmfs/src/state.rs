//! What a mounted file system is made of, and what its operations do, without FUSE's forms.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::time::SystemTime;

use client::{DriveError, Submit};
use fuser::{Errno, FileType};

use crate::filesystem::check_name;
use crate::groups;
use crate::memory::{FileError, FileId, MemoryFiles};
use crate::nodes::{Kind, Node, Nodes, ProgramFile, fixed};
use crate::storage::Storage;

/// Largest program that can be copied in.
const PROGRAM_BYTES_MAX: usize = 16 << 20;

/// What is open.
#[derive(Debug)]
pub(crate) enum Handle {
    /// A file of ours: what it is says its inode number.
    Own,
    /// `run`, and what the last request by this handle gave.
    Run(Option<String>),
    Storage {
        ino: u64,
        file: File,
    },
    /// A folder, as it was when it was opened.
    Folder(Vec<(u64, FileType, OsString)>),
}

/// Bytes of copies between files.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Copied {
    /// Within the drive.
    pub(crate) in_drive: u64,
    /// Through the host.
    pub(crate) through_host: u64,
}

/// Why a request cannot be done: in words, and as a number.
pub(crate) type Refusal = (String, Errno);

#[derive(Debug)]
pub(crate) struct State<T> {
    pub(crate) files: MemoryFiles<T>,
    pub(crate) nodes: Nodes,
    pub(crate) handles: HashMap<u64, Handle>,
    next_handle: u64,
    pub(crate) storage: Option<Storage>,
    /// What the last request of all to run something gave.
    pub(crate) answer: String,
    pub(crate) copied: Copied,
    pub(crate) running: usize,
    next_run: u64,
}

/// What an operation returns.
pub(crate) type Done<U> = Result<U, Errno>;

impl From<FileError> for Errno {
    fn from(error: FileError) -> Self {
        match error {
            FileError::NoSpace { .. } => Self::ENOSPC,
            FileError::TooLarge(_) => Self::EFBIG,
            FileError::NoFile => Self::ENOENT,
            FileError::InUse => Self::EBUSY,
            FileError::Drive(_) => Self::EIO,
        }
    }
}

impl<T: Submit> State<T> {
    pub(crate) fn new(files: MemoryFiles<T>, storage: Option<Storage>) -> Self {
        Self {
            files,
            nodes: Nodes::new(),
            handles: HashMap::new(),
            next_handle: 1,
            storage,
            answer: String::new(),
            copied: Copied::default(),
            running: 0,
            next_run: 0,
        }
    }

    pub(crate) fn open_handle(&mut self, handle: Handle) -> u64 {
        let number = self.next_handle;
        self.next_handle += 1;
        self.handles.insert(number, handle);
        number
    }

    /// The file in storage that a handle stands for.
    pub(crate) fn storage_file(&self, handle: u64) -> Option<io::Result<File>> {
        match self.handles.get(&handle) {
            Some(Handle::Storage { file, .. }) => Some(file.try_clone()),
            _ => None,
        }
    }

    /// A new number for `run`: each who opens it by its name has a file of his own, for Linux lets only one write to a
    /// file at a time.
    pub(crate) fn new_run(&mut self) -> u64 {
        self.next_run += 1;
        fixed::RUNS + self.next_run
    }

    /// The job groups as text.
    pub(crate) fn list_groups(&mut self) -> Done<String> {
        groups::list(&mut self.files.drive).map_err(|_| Errno::EIO)
    }

    /// Does what is asked for with the job groups; who asked reads what came of it.
    pub(crate) fn change_groups(&mut self, handle: u64, request: &str) -> Done<()> {
        let done = match groups::Request::parse(request) {
            Ok(request) => request.perform(&mut self.files.drive).map_err(|e| e.to_string()),
            Err(why) => Err(why),
        };
        let (answer, done) = match done {
            Ok(Some(id)) => (format!("{id}\n"), Ok(())),
            Ok(None) => ("done\n".to_owned(), Ok(())),
            Err(why) => (format!("error {why}\n"), Err(Errno::EINVAL)),
        };
        if let Some(Handle::Run(own)) = self.handles.get_mut(&handle) {
            *own = Some(answer);
        }
        done
    }

    /// The statistics as text.
    pub(crate) fn statistics(&self) -> String {
        let (total, free) = self.files.capacity();
        let Copied { in_drive, through_host } = self.copied;
        let on_drive = self.storage.as_ref().is_some_and(Storage::is_on_drive);
        let pid = std::process::id();
        format!(
            "{{\"format_version\": 1, \"pid\": {pid}, \"memory_bytes\": {total}, \"memory_free_bytes\": {free}, \
             \"storage_on_drive\": {on_drive}, \"copied_in_drive_bytes\": {in_drive}, \
             \"copied_through_host_bytes\": {through_host}}}\n"
        )
    }

    /// What a program's file says.
    pub(crate) fn program_text(program: &ProgramFile) -> String {
        match program {
            ProgramFile::Written(_) => "being written\n".to_owned(),
            ProgramFile::Loaded { index, bytes } => {
                format!("loaded and active\nindex {index}\nbytes {bytes}\n")
            }
            ProgramFile::Found { index, is_active } => {
                let active = if *is_active { "active" } else { "not active" };
                format!("loaded and {active}\nindex {index}\n")
            }
            ProgramFile::Refused(why) => format!("refused\n{why}\n"),
        }
    }

    /// Writes to a program that is being copied in.
    pub(crate) fn write_program(&mut self, ino: u64, offset: u64, data: &[u8]) -> Done<()> {
        let node = self.nodes.get_mut(ino).ok_or(Errno::ENOENT)?;
        let Kind::Program(ProgramFile::Written(bytes)) = &mut node.kind else {
            // Whole programs are replaced, not changed.
            return Err(Errno::EBUSY);
        };
        let offset = usize::try_from(offset).map_err(|_| Errno::EFBIG)?;
        let end = offset.checked_add(data.len()).filter(|end| *end <= PROGRAM_BYTES_MAX);
        let end = end.ok_or(Errno::EFBIG)?;
        bytes.resize(bytes.len().max(end), 0);
        bytes[offset..end].copy_from_slice(data);
        Ok(())
    }

    /// A program was written: now it is loaded.
    pub(crate) fn load_program(&mut self, ino: u64) -> Done<()> {
        // One that has lost its name is not wanted any more.
        let node = self.nodes.get(ino).filter(|node| node.is_linked);
        let Some(Kind::Program(ProgramFile::Written(bytes))) = node.map(|node| &node.kind) else {
            return Ok(());
        };
        if bytes.is_empty() {
            return Ok(());
        }
        let bytes = bytes.clone();
        let (state, done) = match self.put_program(&bytes) {
            Ok(index) => (ProgramFile::Loaded { index, bytes: bytes.len() }, Ok(())),
            Err(error @ DriveError::Failed(_)) => {
                (ProgramFile::Refused(error.to_string()), Err(Errno::EINVAL))
            }
            Err(error) => (ProgramFile::Refused(error.to_string()), Err(Errno::EIO)),
        };
        if let Some(node) = self.nodes.get_mut(ino) {
            node.kind = Kind::Program(state);
        }
        done
    }

    fn put_program(&mut self, object: &[u8]) -> Result<u16, DriveError> {
        let drive = &mut self.files.drive;
        let taken = drive.programs()?;
        let free = (1..u16::MAX).find(|index| taken.iter().all(|program| program.index != *index));
        let index = free.ok_or_else(|| DriveError::TooMuch("another program".to_owned()))?;
        drive.load_program(index, object).inspect_err(|_| {
            // What cannot be activated is of no use; if it was not even loaded, there is nothing to unload.
            let _ = drive.unload_program(index);
        })?;
        Ok(index)
    }

    /// A program is no longer wanted.
    pub(crate) fn unload_program(&mut self, program: &ProgramFile) -> Done<()> {
        if let Some(index) = program.index() {
            self.files.drive.remove_program(index).map_err(|_| Errno::EBUSY)?;
        }
        Ok(())
    }

    /// The end of a request: its answer can be read afterwards.
    pub(crate) fn answer(&mut self, handle: u64, done: Result<u64, Refusal>) -> Done<()> {
        let (answer, done) = match done {
            // A program's result is a long long.
            Ok(result) => (format!("result {}\n", result as i64), Ok(())),
            Err((why, errno)) => (format!("error {why}\n"), Err(errno)),
        };
        if let Some(Handle::Run(own)) = self.handles.get_mut(&handle) {
            *own = Some(answer.clone());
        }
        self.answer = answer;
        done
    }

    /// The file in device memory that an inode number stands for.
    pub(crate) fn memory_file(&self, ino: u64) -> Done<FileId> {
        match self.nodes.get(ino).map(|node| &node.kind) {
            Some(Kind::Memory(id)) => Ok(*id),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Something was written to a file.
    pub(crate) fn touch(&mut self, ino: u64) {
        if let Some(node) = self.nodes.get_mut(ino) {
            node.changed = SystemTime::now();
        }
    }

    /// A file is closed once.
    pub(crate) fn closed(&mut self, ino: u64) {
        if let Some(node) = self.nodes.get_mut(ino) {
            node.opened = node.opened.saturating_sub(1);
        }
        self.let_go(ino);
    }

    /// If nobody uses a file, it has what it needs; if it has no name either, that is its end.
    pub(crate) fn let_go(&mut self, ino: u64) {
        let Some(Node { kind, opened: 0, is_linked, .. }) = self.nodes.get(ino) else { return };
        let is_linked = *is_linked;
        if let Kind::Memory(id) = *kind {
            if self.files.is_pinned(id) {
                return;
            }
            if is_linked { self.files.trim(id) } else { self.files.remove(id) }
        }
        if !is_linked {
            self.nodes.remove(ino);
        }
    }

    /// What has a name in a folder of ours. A program may have been loaded by others.
    pub(crate) fn find_name(&mut self, folder: u64, name: &OsStr) -> Done<u64> {
        check_name(name)?;
        let find = |nodes: &mut Nodes| nodes.names(folder).and_then(|n| n.get(name).copied());
        let mut found = find(&mut self.nodes);
        if found.is_none() && folder == fixed::PROGRAMS {
            self.find_programs().map_err(|_| Errno::EIO)?;
            found = find(&mut self.nodes);
        }
        found.ok_or(Errno::ENOENT)
    }

    /// Refuses a name for something new in a folder of ours.
    pub(crate) fn check_new_name(&mut self, folder: u64, name: &OsStr) -> Done<()> {
        check_name(name)?;
        let names = self.nodes.names(folder).ok_or(Errno::EPERM)?;
        if names.contains_key(name) { Err(Errno::EEXIST) } else { Ok(()) }
    }

    /// The program files become those that the drive has, whoever loaded them.
    pub(crate) fn find_programs(&mut self) -> Result<(), DriveError> {
        let there = self.files.drive.programs()?;
        let is_there = |index| there.iter().any(|program| program.index == index);
        let known: Vec<(OsString, u64)> =
            self.nodes.programs.iter().map(|(name, ino)| (name.clone(), *ino)).collect();
        let mut indices = Vec::new();
        for (name, ino) in known {
            let Some(Node { kind: Kind::Program(program), opened, .. }) = self.nodes.get(ino)
            else {
                continue;
            };
            match program.index() {
                Some(index) if is_there(index) => indices.push(index),
                // Somebody else has unloaded it.
                Some(_) if *opened == 0 => {
                    self.nodes.programs.remove(&name);
                    self.nodes.remove(ino);
                }
                _ => {}
            }
        }
        let owner = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        for program in there.iter().filter(|program| !indices.contains(&program.index)) {
            let (index, is_active) = (program.index, program.is_active);
            let mut name = OsString::from(format!("program-{index}"));
            // A file that was copied in may have that name.
            while self.nodes.programs.contains_key(&name) {
                name.push("-");
            }
            let kind = Kind::Program(ProgramFile::Found { index, is_active });
            self.nodes.add(fixed::PROGRAMS, &name, Node::new(kind, 0o644, owner));
        }
        Ok(())
    }

    /// A folder of ours loses its name: it must be empty.
    pub(crate) fn remove_folder(&mut self, folder: u64, name: &OsStr) -> Done<()> {
        let ino = *self.nodes.names(folder).ok_or(Errno::EPERM)?.get(name).ok_or(Errno::ENOENT)?;
        match self.nodes.get(ino).map(|node| &node.kind) {
            Some(Kind::Folder(folder)) if folder.names.is_empty() => {}
            Some(Kind::Folder(_)) => return Err(Errno::ENOTEMPTY),
            _ => return Err(Errno::ENOTDIR),
        }
        self.remove_name(folder, name, ino);
        Ok(())
    }

    /// A file of ours loses its name.
    pub(crate) fn unlink(&mut self, folder: u64, name: &OsStr) -> Done<()> {
        let ino = *self.nodes.names(folder).ok_or(Errno::EPERM)?.get(name).ok_or(Errno::ENOENT)?;
        match self.nodes.get(ino).map(|node| &node.kind) {
            Some(Kind::Program(program)) => {
                let program = program.clone();
                self.unload_program(&program)?;
            }
            Some(Kind::Folder(_)) => return Err(Errno::EISDIR),
            _ => {}
        }
        self.remove_name(folder, name, ino);
        Ok(())
    }

    fn remove_name(&mut self, folder: u64, name: &OsStr, ino: u64) {
        if let Some(names) = self.nodes.names(folder) {
            names.remove(name);
        }
        if let Some(node) = self.nodes.get_mut(ino) {
            node.is_linked = false;
        }
        self.let_go(ino);
        self.touch(folder);
    }

    /// A file or folder of ours gets another name, perhaps in another folder; what had it is no more.
    pub(crate) fn rename(
        &mut self,
        (folder, name): (u64, &OsStr),
        (new_folder, new_name): (u64, &OsStr),
        may_replace: bool,
    ) -> Done<()> {
        let both = [folder, new_folder];
        if folder != new_folder && !both.iter().all(|ino| self.nodes.is_memory_folder(*ino)) {
            return Err(Errno::EXDEV);
        }
        let ino = *self.nodes.names(folder).ok_or(Errno::EPERM)?.get(name).ok_or(Errno::ENOENT)?;
        if (folder, name) == (new_folder, new_name) {
            return Ok(());
        }
        let is_folder = self.nodes.is_memory_folder(ino);
        // (The kernel sees to it, too.) A folder is not moved into itself.
        let mut above = new_folder;
        while is_folder && above != fixed::ROOT {
            if above == ino {
                return Err(Errno::EINVAL);
            }
            above = self.nodes.parent(above);
        }
        let replaced = self.nodes.names(new_folder).ok_or(Errno::EPERM)?.get(new_name).copied();
        if let Some(replaced) = replaced {
            if !may_replace {
                return Err(Errno::EEXIST);
            }
            match (is_folder, self.nodes.is_memory_folder(replaced)) {
                (true, true) => self.remove_folder(new_folder, new_name)?,
                (true, false) => return Err(Errno::ENOTDIR),
                (false, _) => self.unlink(new_folder, new_name)?,
            }
        }
        if let Some(names) = self.nodes.names(folder) {
            names.remove(name);
        }
        if let Some(names) = self.nodes.names(new_folder) {
            names.insert(OsString::from(new_name), ino);
        }
        if let Some(Node { kind: Kind::Folder(moved), .. }) = self.nodes.get_mut(ino) {
            moved.parent = new_folder;
        }
        both.into_iter().for_each(|ino| self.touch(ino));
        Ok(())
    }
}

/// What went wrong with an execution.
pub(crate) fn refusal(error: DriveError) -> Refusal {
    let errno = match &error {
        DriveError::Failed(_) | DriveError::TooMuch(_) => Errno::EINVAL,
        _ => Errno::EIO,
    };
    (error.to_string(), errno)
}

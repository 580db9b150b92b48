//! What a mounted file system is made of, and what its operations do, without FUSE's forms.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::time::SystemTime;

use client::{DriveError, Invocation, Submit};
use fuser::{Errno, FileType};

use crate::memory::{FileError, FileId, MemoryFiles};
use crate::nodes::{Kind, Node, Nodes, ProgramFile};
use crate::run;
use crate::storage::Storage;

/// Largest program that can be copied in.
const PROGRAM_BYTES_MAX: usize = 16 << 20;

/// What is open.
#[derive(Debug)]
pub(crate) enum Handle {
    /// A file of ours: what it is says its inode number.
    Own,
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

#[derive(Debug)]
pub(crate) struct State<T> {
    pub(crate) files: MemoryFiles<T>,
    pub(crate) nodes: Nodes,
    pub(crate) handles: HashMap<u64, Handle>,
    next_handle: u64,
    pub(crate) storage: Option<Storage>,
    /// What the last request to run something gave.
    pub(crate) answer: String,
    pub(crate) copied: Copied,
}

/// What an operation returns.
pub(crate) type Done<U> = Result<U, Errno>;

impl From<FileError> for Errno {
    fn from(error: FileError) -> Self {
        match error {
            FileError::NoSpace { .. } => Self::ENOSPC,
            FileError::TooLarge(_) => Self::EFBIG,
            FileError::NoFile => Self::ENOENT,
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
        }
    }

    pub(crate) fn open_handle(&mut self, handle: Handle) -> u64 {
        let number = self.next_handle;
        self.next_handle += 1;
        self.handles.insert(number, handle);
        number
    }

    /// The statistics as text.
    pub(crate) fn statistics(&self) -> String {
        let (total, free) = self.files.capacity();
        let Copied { in_drive, through_host } = self.copied;
        let on_drive = self.storage.as_ref().is_some_and(Storage::is_on_drive);
        format!(
            "{{\"format_version\": 1, \"memory_bytes\": {total}, \"memory_free_bytes\": {free}, \
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
        if let ProgramFile::Loaded { index, .. } = program {
            self.files.drive.remove_program(*index).map_err(|_| Errno::EBUSY)?;
        }
        Ok(())
    }

    /// Does what a request says; the answer can be read afterwards.
    pub(crate) fn run(&mut self, text: &str) -> Done<()> {
        let (answer, done) = match self.answer_to(text) {
            Ok(result) => (format!("result {result}\n"), Ok(())),
            Err((why, errno)) => (format!("error {why}\n"), Err(errno)),
        };
        self.answer = answer;
        done
    }

    fn answer_to(&mut self, text: &str) -> Result<u64, (String, Errno)> {
        let request = run::parse(text).map_err(|why| (why, Errno::EINVAL))?;
        let find = |names: &crate::nodes::Names, folder: &str, name: &str| {
            let found = names.get(OsStr::new(name)).copied();
            found.ok_or_else(|| (format!("there is no {folder}/{name}"), Errno::ENOENT))
        };
        let ino = find(&self.nodes.programs, "programs", request.program)?;
        let program = match self.nodes.get(ino).map(|node| &node.kind) {
            Some(Kind::Program(ProgramFile::Loaded { index, .. })) => *index,
            _ => {
                return Err((format!("programs/{} is not loaded", request.program), Errno::EINVAL));
            }
        };
        let mut ranges = Vec::new();
        for name in request.files {
            let ino = find(&self.nodes.memory, "memory", name)?;
            let id = self.memory_file(ino).map_err(|errno| (name.to_owned(), errno))?;
            let place = self.files.place(id).map_err(|error| (error.to_string(), Errno::ENOENT))?;
            let len = u32::try_from(place.size).map_err(|_| {
                (format!("memory/{name}: a range has less than 4 GiB"), Errno::EFBIG)
            })?;
            ranges.push((place.start, len));
        }
        let invocation = Invocation {
            program,
            range_set: 0,
            ranges,
            param1: request.param1,
            param2: request.param2,
            data: request.data.as_bytes().to_vec(),
            group: request.group,
        };
        self.files.drive.execute(&invocation).map_err(|error| {
            let errno = match &error {
                DriveError::Failed(_) => Errno::EINVAL,
                _ => Errno::EIO,
            };
            (error.to_string(), errno)
        })
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

    /// A file is closed once: if it has no name any more, that was its end.
    pub(crate) fn closed(&mut self, ino: u64) {
        let Some(node) = self.nodes.get_mut(ino) else { return };
        node.opened = node.opened.saturating_sub(1);
        if node.opened > 0 {
            return;
        }
        let (is_linked, kind) = (node.is_linked, node.kind.clone());
        if !is_linked {
            self.nodes.remove(ino);
        }
        if let Kind::Memory(id) = kind {
            if is_linked { self.files.trim(id) } else { self.files.remove(id) }
        }
    }

    /// A file of ours loses its name.
    pub(crate) fn unlink(&mut self, folder: u64, name: &OsStr) -> Done<()> {
        let ino = *self.nodes.names(folder).ok_or(Errno::EPERM)?.get(name).ok_or(Errno::ENOENT)?;
        if let Some(Node { kind: Kind::Program(program), .. }) = self.nodes.get(ino) {
            let program = program.clone();
            self.unload_program(&program)?;
        }
        if let Some(names) = self.nodes.names(folder) {
            names.remove(name);
        }
        let Some(node) = self.nodes.get_mut(ino) else { return Ok(()) };
        node.is_linked = false;
        if node.opened == 0
            && let Some(Node { kind: Kind::Memory(id), .. }) = self.nodes.remove(ino)
        {
            self.files.remove(id);
        }
        Ok(())
    }

    /// A file of ours gets another name; what had it is no more.
    pub(crate) fn rename(
        &mut self,
        folder: u64,
        name: &OsStr,
        new_name: &OsStr,
        may_replace: bool,
    ) -> Done<()> {
        let names = self.nodes.names(folder).ok_or(Errno::EPERM)?;
        let ino = *names.get(name).ok_or(Errno::ENOENT)?;
        if name == new_name {
            return Ok(());
        }
        if names.contains_key(new_name) {
            if !may_replace {
                return Err(Errno::EEXIST);
            }
            self.unlink(folder, new_name)?;
        }
        if let Some(names) = self.nodes.names(folder) {
            names.remove(name);
            names.insert(OsString::from(new_name), ino);
        }
        Ok(())
    }
}

//! Programs that run: from a request to its answer.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use client::{Done as Completed, DriveResult, Invocation, Streaming, Submit, Ticket};
use fuser::{Errno, INodeNo, Request};
use rustix::fs::OFlags;

use crate::caller::AsCaller;
use crate::filesystem::Fdmfs;
use crate::memory::{FileError, FileId};
use crate::nodes::{Kind, Node, fixed};
use crate::run::{self, Chunks};
use crate::state::{Done, Refusal, State, refusal};
use crate::storage::{Map, Storage};

/// Programs that run at a time.
pub(crate) const RUNNING_MAX: usize = 32;

/// A program that runs, and what it uses.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) ticket: Ticket,
    /// Files in device memory.
    pub(crate) files: Vec<u64>,
    stream: Option<Stream>,
}

/// A file in storage that is processed chunk by chunk.
#[derive(Debug)]
struct Stream {
    file: File,
    size: u64,
    /// Where its bytes were when it began.
    map: Map,
    range_set: u16,
    /// Keeps the device memory of the chunks.
    room: FileId,
}

/// How long the lock is held to wait for a program's end, and given to others.
const RUN_WAIT: Duration = Duration::from_micros(500);
const RUN_PAUSE: Duration = Duration::from_micros(100);

impl<T: Submit> Fdmfs<T> {
    /// Runs a program; others have the file system meanwhile.
    pub(crate) fn run(&self, caller: &Request, handle: u64, text: &str) -> Done<()> {
        let mut state = self.state();
        let started = run::parse(text).map_err(|why| (why, Errno::EINVAL)).and_then(|request| {
            let file =
                request.storage.map(|path| open_to_read(&state, caller, path)).transpose()?;
            state.start_run(&request, file)
        });
        let running = match started {
            Ok(running) => running,
            Err(refusal) => return state.answer(handle, Err(refusal)),
        };
        let done = loop {
            let is_wanted = self.wanted.load(Ordering::Relaxed) > 0;
            let limit = if is_wanted { Duration::ZERO } else { RUN_WAIT };
            match state.files.drive.wait_for_at_most(running.ticket, limit) {
                Ok(None) => {}
                Ok(Some(done)) => break Ok(done),
                Err(error) => break Err(error),
            }
            drop(state);
            if self.wanted.load(Ordering::Relaxed) > 0 {
                std::thread::sleep(RUN_PAUSE);
            }
            state = self.state();
        };
        let files = running.files.clone();
        let result = state.end_run(running, done);
        let answered = state.answer(handle, result);
        drop(state);
        if let Some(notifier) = self.notifier.get() {
            // The program may have written to them: their times are not what the kernel knows. (If it does not know
            // them at all, it says so.) No contents are kept.
            let attributes_only = -1;
            files.iter().for_each(|ino| {
                let _ = notifier.inval_inode(INodeNo(*ino), attributes_only, 0);
            });
        }
        answered
    }
}

impl<T: Submit> State<T> {
    /// Starts what a request says.
    pub(crate) fn start_run(
        &mut self,
        request: &run::Request<'_>,
        file: Option<File>,
    ) -> Result<Running, Refusal> {
        let missing =
            |folder: &str, name: &str| (format!("there is no {folder}/{name}"), Errno::ENOENT);
        let found = self.find_name(fixed::PROGRAMS, OsStr::new(request.program));
        let ino = found.map_err(|_| missing("programs", request.program))?;
        let index = match self.nodes.get(ino).map(|node| &node.kind) {
            Some(Kind::Program(program)) => program.index(),
            _ => None,
        };
        let program = index.ok_or_else(|| {
            (format!("programs/{} is not loaded", request.program), Errno::EINVAL)
        })?;
        let (mut ranges, mut files) = (Vec::new(), Vec::new());
        for name in &request.files {
            let ino = self.nodes.memory_path(name).ok_or_else(|| missing("memory", name))?;
            let id = self.memory_file(ino);
            let id = id.map_err(|errno| (format!("memory/{name}: no plain file"), errno))?;
            let place = self.files.place(id).map_err(|error| (error.to_string(), Errno::ENOENT))?;
            let len = u32::try_from(place.size).map_err(|_| {
                (format!("memory/{name}: a range has less than 4 GiB"), Errno::EFBIG)
            })?;
            ranges.push((place.start, len));
            files.push((ino, id));
        }
        let invocation = Invocation {
            program,
            range_set: 0,
            ranges,
            param1: request.param1,
            param2: request.param2,
            data: request.data.as_bytes().to_vec(),
            group: request.group,
            run_time: client::RunTime::Unsaid,
        };
        if self.running == RUNNING_MAX {
            let why = format!("{RUNNING_MAX} programs run already: wait for one to end");
            return Err((why, Errno::EAGAIN));
        }
        let (ticket, stream) = match file {
            None => (self.files.drive.start_execute(&invocation).map_err(refusal)?, None),
            Some(file) => {
                let (ticket, stream) = self.start_stream(invocation, request.chunks, file)?;
                (ticket, Some(stream))
            }
        };
        self.running += 1;
        files.iter().for_each(|(_, id)| self.files.pin(*id));
        Ok(Running { ticket, files: files.iter().map(|(ino, _)| *ino).collect(), stream })
    }

    /// Starts a program on a file in storage, chunk by chunk.
    fn start_stream(
        &mut self,
        invocation: Invocation,
        chunks: Chunks,
        file: File,
    ) -> Result<(Ticket, Stream), Refusal> {
        let size = file.metadata().map_err(|error| (error.to_string(), Errno::EIO))?.len();
        if size == 0 {
            return Err(("the file has no bytes, and so no chunks".to_owned(), Errno::EINVAL));
        }
        let storage = self.storage.as_ref().filter(|storage| storage.is_on_drive());
        let elsewhere = "storage/ is not on this drive, or not on ext2 to ext4 or XFS: copy the file to memory/";
        let storage = storage.ok_or((elsewhere.to_owned(), Errno::EOPNOTSUPP))?;
        let hidden = || {
            let why = "not all of the file is on the drive as programs read it (holes, compressed, encrypted, in the journal): copy it to memory/";
            (why.to_owned(), Errno::EOPNOTSUPP)
        };
        let map = storage.map(&file, 0, size).ok_or_else(hidden)?;
        let block = self.files.drive.block_bytes();
        let extents = blocks_of(&map, block).ok_or_else(hidden)?;
        let in_blocks = |key: &str, bytes: u64| {
            let whole = bytes.is_multiple_of(block).then_some(bytes / block);
            let short = whole.and_then(|blocks| u32::try_from(blocks).ok());
            short.ok_or_else(|| {
                (format!("{key}: choose a multiple of a block ({block} bytes)"), Errno::EINVAL)
            })
        };
        let chunk_blocks = in_blocks("chunk_kib", chunks.bytes)?;
        let overlap = match chunks.overlap {
            Some(overlap) => Some(in_blocks("overlap_kib", overlap)?),
            None => None,
        };
        let all: u64 = extents.iter().map(|(_, count)| count * block).sum();
        // Its device memory is a file without a name.
        let room = self.files.create();
        let started = self.start_in(room, chunks, |range_set| Streaming {
            early: chunks.early,
            overlap,
            cut: (all - size) as u32,
            ..Streaming::divided_extents(
                Invocation { range_set, ..invocation },
                &extents,
                chunk_blocks,
                chunks.in_flight,
            )
        });
        match started {
            Ok((ticket, range_set)) => {
                self.files.pin(room);
                Ok((ticket, Stream { file, size, map, range_set, room }))
            }
            Err(refusal) => {
                self.files.remove(room);
                Err(refusal)
            }
        }
    }

    /// Starts a streaming execution with device memory of its own; gives the range set, too.
    fn start_in(
        &mut self,
        room: FileId,
        chunks: Chunks,
        streaming: impl FnOnce(u16) -> Streaming,
    ) -> Result<(Ticket, u16), Refusal> {
        let seen = chunks.bytes.saturating_add(chunks.overlap.unwrap_or(0));
        let (Ok(output), Ok(seen)) = (u32::try_from(chunks.bytes), u32::try_from(seen)) else {
            return Err(("chunk_kib: a chunk has less than 4 GiB".to_owned(), Errno::EINVAL));
        };
        let (_, size) = Streaming::ranges(0, chunks.in_flight, output, seen);
        let no_room =
            |error: FileError| (format!("device memory of the chunks: {error}"), error.into());
        self.files.reserve(room, size).map_err(no_room)?;
        let start = self.files.place(room).map_err(no_room)?.start;
        let (ranges, _) = Streaming::ranges(start, chunks.in_flight, output, seen);
        let range_set = self.files.drive.create_range_set(&ranges).map_err(refusal)?;
        match self.files.drive.start_stream(&streaming(range_set)) {
            Ok(ticket) => Ok((ticket, range_set)),
            Err(error) => {
                let _ = self.files.drive.delete_range_set(range_set);
                Err(refusal(error))
            }
        }
    }

    /// A streaming execution has ended: what was its own is free again.
    fn end_stream(&mut self, stream: Stream) -> Result<(), Refusal> {
        let deleted = self.files.drive.delete_range_set(stream.range_set);
        self.files.unpin(stream.room);
        self.files.remove(stream.room);
        deleted.map_err(refusal)?;
        let now = self.storage.as_ref().and_then(|s| s.map(&stream.file, 0, stream.size));
        if now.as_ref() == Some(&stream.map) {
            return Ok(());
        }
        let why = "the file was moved or changed while the program read it: run it again";
        Err((why.to_owned(), Errno::EAGAIN))
    }

    /// A program has run, or the drive is gone.
    pub(crate) fn end_run(
        &mut self,
        running: Running,
        done: DriveResult<Completed>,
    ) -> Result<u64, Refusal> {
        self.running -= 1;
        // Without an answer, it may still run: its files stay where they are for good.
        for ino in running.files.into_iter().filter(|_| done.is_ok()) {
            let Some(Node { kind: Kind::Memory(id), .. }) = self.nodes.get(ino) else { continue };
            let id = *id;
            self.files.unpin(id);
            self.touch(ino);
            self.let_go(ino);
        }
        let is_over = done.is_ok();
        let result = done.and_then(|done| self.files.drive.executed(done)).map_err(refusal);
        match running.stream.filter(|_| is_over) {
            Some(stream) => {
                let ended = self.end_stream(stream);
                result.and_then(|result| ended.map(|()| result))
            }
            None => result,
        }
    }
}

/// Opens a file in storage with the rights of who asks.
fn open_to_read<T: Submit>(
    state: &State<T>,
    caller: &Request,
    path: &str,
) -> Result<File, Refusal> {
    let refused =
        |error: &dyn std::fmt::Display, errno| (format!("storage/{path}: {error}"), errno);
    let storage = state.storage.as_ref();
    let storage = storage.ok_or_else(|| refused(&"there is no storage/", Errno::ENOENT))?;
    let open = |storage: &Storage| {
        let _caller = AsCaller::of(caller)?;
        storage.open(Path::new(path), File::options().read(true), OFlags::NONBLOCK)
    };
    let file = open(storage).map_err(|error| refused(&error, error_number(&error)))?;
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(file),
        _ => Err(refused(&"no plain file", Errno::EINVAL)),
    }
}

fn error_number(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_i32)
}

/// The blocks of a file, extents that are neighbours joined; `None` if it has holes, or parts that are no whole blocks.
fn blocks_of(map: &Map, block: u64) -> Option<Vec<(u64, u64)>> {
    let mut blocks: Vec<(u64, u64)> = Vec::new();
    for (n, extent) in map.iter().enumerate() {
        let place = extent.place?;
        let is_last = n + 1 == map.len();
        // Nothing else is in the rest of the last block.
        let len = if is_last { extent.len.next_multiple_of(block) } else { extent.len };
        if !place.is_multiple_of(block) || !len.is_multiple_of(block) {
            return None;
        }
        let (first, count) = (place / block, len / block);
        match blocks.last_mut() {
            Some((start, so_far)) if *start + *so_far == first => *so_far += count,
            _ => blocks.push((first, count)),
        }
    }
    Some(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Extent;

    #[test]
    fn a_file_without_holes_is_whole_blocks() {
        let extent = |offset, len, place| Extent { offset, len, place, is_shared: false };
        let map = vec![
            extent(0, 8192, Some(40960)),
            extent(8192, 4096, Some(49152)),
            extent(12288, 100, Some(4096)),
        ];
        assert_eq!(blocks_of(&map, 4096), Some(vec![(10, 3), (1, 1)]));
        assert_eq!(blocks_of(&map, 512), Some(vec![(80, 24), (8, 1)]));
        for hidden in [
            vec![extent(0, 4096, None)],
            vec![extent(0, 4096, Some(512))],
            vec![extent(0, 100, Some(4096)), extent(100, 100, Some(8192))],
        ] {
            assert_eq!(blocks_of(&hidden, 4096), None);
        }
    }
}

//! The writer: a drive.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::fence;

use records::{Kind, Records};

use crate::Error;
use crate::layout::{
    HEADER_BYTES, KIND_AND_BYTES, MAGIC, OFFSET, PLACES, RESERVED, VERSION, WORD_CLOSED,
    WORD_GENERATION, WORD_MAGIC, WORD_PROCESS, WORD_VERSIONS, WRITTEN, places, words,
};
use crate::map::{Words, open_at_once};

/// Which records are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    kinds: [bool; Kind::COUNT],
}

impl Wanted {
    /// Every kind.
    pub const ALL: Self = Self { kinds: [true; Kind::COUNT] };

    /// Adds a kind.
    #[must_use]
    pub fn with(mut self, kind: Kind) -> Self {
        self.kinds[kind as usize] = true;
        self
    }

    /// True for a kind that is wanted.
    pub fn has(self, kind: Kind) -> bool {
        self.kinds[kind as usize]
    }
}

/// Puts records into a ring, and takes its file away when it is dropped.
#[derive(Debug)]
pub struct Writer {
    words: Words,
    path: PathBuf,
    inode: u64,
    kinds: [Option<OfKind>; Kind::COUNT],
}

/// Where the records of a kind go.
#[derive(Clone, Copy, Debug)]
struct OfKind {
    /// First word of its part of the header.
    header: usize,
    /// First word of its places.
    start: usize,
    places: u64,
    written: u64,
}

impl Writer {
    /// Makes the ring of a drive. One that a process left that is gone is replaced.
    ///
    /// # Errors
    /// If a process that is there has one of that name, or there is no room in memory for it.
    pub fn create(path: &Path, wanted: Wanted) -> Result<Self, Error> {
        let failed = |cause: io::Error| Error::File { path: path.to_owned(), cause };
        if let Some(process) = owner_of(path) {
            return Err(Error::InUse { path: path.to_owned(), process });
        }
        let own = std::process::id();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let scratch = path.with_file_name(format!(".{}.{own}", name.unwrap_or_default()));
        let _ = fs::remove_file(&scratch);
        let made = Self::fill(&scratch, path, wanted);
        let made = made.and_then(|writer| fs::rename(&scratch, path).map(|()| writer));
        made.inspect_err(|_| drop(fs::remove_file(&scratch))).map_err(failed)
    }

    fn fill(scratch: &Path, path: &Path, wanted: Wanted) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(scratch)?;
        let mut end = HEADER_BYTES;
        let mut kinds = [None; Kind::COUNT];
        for kind in Kind::ALL.into_iter().filter(|kind| wanted.has(*kind)) {
            let (header, places) = (words(kind), places(kind));
            let start = (end / 8) as usize;
            kinds[kind as usize] = Some(OfKind { header, start, places, written: 0 });
            end += (places * kind.layout().bytes as u64).next_multiple_of(4096);
        }
        // Now, and not by a signal later: there may be little room for shared memory (64 MiB in a container).
        reserve(&file, end)?;
        let map = Words::new(&file, true)?;
        let set = |word: usize, value: u64| map.word(word).store(value, Relaxed);
        set(WORD_VERSIONS, u64::from(VERSION) | u64::from(records::VERSION) << 32);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_nanos() as u64);
        set(WORD_GENERATION, now ^ u64::from(std::process::id()) << 40);
        set(WORD_PROCESS, std::process::id().into());
        for kind in Kind::ALL {
            let (layout, header) = (kind.layout(), words(kind));
            set(header + KIND_AND_BYTES, u64::from(layout.kind) | (layout.bytes as u64) << 32);
            if let Some(of_kind) = &kinds[kind as usize] {
                set(header + PLACES, of_kind.places);
                set(header + OFFSET, of_kind.start as u64 * 8);
            }
        }
        map.word(WORD_MAGIC).store(MAGIC, Release);
        let inode = file.metadata()?.ino();
        Ok(Self { words: map, path: path.to_owned(), inode, kinds })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts records into the ring.
    pub fn put(&mut self, records: &Records) {
        for kind in Kind::ALL {
            let bytes = records.bytes(kind);
            if !bytes.is_empty() {
                self.put_kind(kind, bytes);
            }
        }
    }

    fn put_kind(&mut self, kind: Kind, bytes: &[u8]) {
        let Some(of_kind) = &mut self.kinds[kind as usize] else { return };
        let size = kind.layout().bytes;
        // What would be overwritten at once need not be written.
        for part in bytes.chunks(of_kind.places as usize / 2 * size) {
            let end = of_kind.written + (part.len() / size) as u64;
            self.words.word(of_kind.header + RESERVED).store(end, Relaxed);
            // The places change only after that is seen.
            fence(Release);
            for record in part.chunks_exact(size) {
                let place = of_kind.written & (of_kind.places - 1);
                let first = of_kind.start + place as usize * (size / 8);
                let (words, _) = record.as_chunks::<8>();
                for (n, word) in words.iter().enumerate() {
                    self.words.word(first + n).store(u64::from_le_bytes(*word), Relaxed);
                }
                of_kind.written += 1;
            }
            self.words.word(of_kind.header + WRITTEN).store(end, Release);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.words.word(WORD_CLOSED).store(1, Release);
        // Another drive may have the name now.
        if fs::metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The process that writes the ring at a path, if one is there.
fn owner_of(path: &Path) -> Option<u32> {
    let file = open_at_once(path).ok()?;
    let about = file.metadata().ok()?;
    // Whoever may write to the folder can leave something there: it is no drive's, and cannot be replaced where the folder is sticky.
    let is_own = about.is_file() && about.uid() == rustix::process::geteuid().as_raw();
    if !is_own || about.len() < HEADER_BYTES {
        return None;
    }
    let words = Words::new(&file, false).ok()?;
    let is_open =
        words.word(WORD_MAGIC).load(Acquire) == MAGIC && words.word(WORD_CLOSED).load(Relaxed) == 0;
    let process = u32::try_from(words.word(WORD_PROCESS).load(Relaxed)).ok()?;
    (is_open && Path::new(&format!("/proc/{process}")).exists()).then_some(process)
}

fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
    Ok(())
}

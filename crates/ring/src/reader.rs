//! A reader.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::fence;

use records::{CounterRecord, Kind, Records};

use crate::Error;
use crate::layout::{
    HEADER_BYTES, KIND_AND_BYTES, MAGIC, OFFSET, PLACES, RESERVED, VERSION, WORD_CLOSED,
    WORD_GENERATION, WORD_MAGIC, WORD_PROCESS, WORD_VERSIONS, WRITTEN, words,
};
use crate::map::{Words, open_at_once};

/// What came since the last time.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Batch {
    /// Records, of each kind in the order in which they were made.
    pub records: Records,
    /// Records that were overwritten before they were read, by [`Kind`].
    pub lost: [u64; Kind::COUNT],
}

/// Reads a ring, from when it was opened on.
#[derive(Debug)]
pub struct Reader {
    words: Words,
    path: PathBuf,
    kinds: [Option<OfKind>; Kind::COUNT],
    generation: u64,
}

#[derive(Clone, Copy, Debug)]
struct OfKind {
    header: usize,
    start: usize,
    places: u64,
    read: u64,
}

impl Reader {
    /// Opens a ring. Nothing in it is believed: it may be anybody's file.
    ///
    /// # Errors
    /// If there is none, or it is none of these.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |cause: io::Error| Error::File { path: path.to_owned(), cause };
        let wrong = |reason: String| Error::NotSound { path: path.to_owned(), reason };
        let file = open_at_once(path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        let own = rustix::process::geteuid().as_raw();
        if !about.is_file()
            || !(about.uid() == own || about.uid() == 0)
            || about.mode() & 0o022 != 0
        {
            return Err(wrong(
                "not a file of this user or root that only its owner may write: it is not read"
                    .to_owned(),
            ));
        }
        if about.len() < HEADER_BYTES {
            return Err(wrong(format!("{} bytes are no ring of records", about.len())));
        }
        let map = Words::new(&file, false).map_err(failed)?;
        let get = |word: usize| map.word(word).load(Relaxed);
        if map.word(WORD_MAGIC).load(Acquire) != MAGIC {
            return Err(wrong("no ring of records".to_owned()));
        }
        let expected = u64::from(VERSION) | u64::from(records::VERSION) << 32;
        let versions = get(WORD_VERSIONS);
        if versions != expected {
            let (ring, records) = (versions as u32, versions >> 32);
            return Err(wrong(format!(
                "records of version {records} in a ring of version {ring}; this csdrive reads {} in {VERSION}: use the csdrive that serves the drive",
                records::VERSION
            )));
        }
        let mut kinds = [None; Kind::COUNT];
        for kind in Kind::ALL {
            let (layout, header) = (kind.layout(), words(kind));
            let (places, offset) = (get(header + PLACES), get(header + OFFSET));
            if places == 0 {
                continue;
            }
            let bytes = places.checked_mul(layout.bytes as u64);
            let end = bytes.and_then(|bytes| bytes.checked_add(offset));
            let is_sound = get(header + KIND_AND_BYTES)
                == u64::from(layout.kind) | (layout.bytes as u64) << 32
                && places.is_power_of_two()
                && offset.is_multiple_of(8)
                && offset >= HEADER_BYTES
                && end.is_some_and(|end| end <= map.len() as u64 * 8);
            if !is_sound {
                return Err(wrong(format!("its {} are not where they can be", kind.name())));
            }
            let read = map.word(header + WRITTEN).load(Acquire);
            kinds[kind as usize] =
                Some(OfKind { header, start: (offset / 8) as usize, places, read });
        }
        let generation = get(WORD_GENERATION);
        Ok(Self { words: map, path: path.to_owned(), kinds, generation })
    }

    /// True if the ring has records of a kind.
    pub fn has(&self, kind: Kind) -> bool {
        self.kinds[kind as usize].is_some()
    }

    /// The last counters that were written before it was opened or read, if there are some.
    pub fn last_counters(&self) -> Option<CounterRecord> {
        let of_kind = self.kinds[Kind::Counters as usize].as_ref()?;
        let mut earlier = OfKind { read: of_kind.read.checked_sub(1)?, ..*of_kind };
        let mut records = Records::default();
        read_kind(&self.words, &mut earlier, Kind::Counters, &mut records);
        records.counters.first().copied()
    }

    /// A number that no other ring has.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// True if nothing more will come: the drive is gone.
    pub fn is_closed(&self) -> bool {
        let process = self.words.word(WORD_PROCESS).load(Relaxed);
        self.words.word(WORD_CLOSED).load(Acquire) != 0
            || !Path::new(&format!("/proc/{process}")).exists()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes what came since the last time.
    pub fn read(&mut self) -> Batch {
        let mut batch = Batch::default();
        for (kind, of_kind) in Kind::ALL.into_iter().zip(&mut self.kinds) {
            if let Some(of_kind) = of_kind {
                let lost = read_kind(&self.words, of_kind, kind, &mut batch.records);
                batch.lost[kind as usize] = lost;
            }
        }
        batch
    }
}

/// Appends what came of one kind; gives how many were lost.
fn read_kind(words: &Words, of_kind: &mut OfKind, kind: Kind, into: &mut Records) -> u64 {
    let written = words.word(of_kind.header + WRITTEN).load(Acquire);
    // A writer that goes back is none of ours.
    let from = of_kind.read.max(written.saturating_sub(of_kind.places)).min(written);
    let first = into.count(kind);
    let mut bytes = vec![0u8; kind.layout().bytes];
    for n in from..written {
        let place = (n & (of_kind.places - 1)) as usize;
        let start = of_kind.start + place * (bytes.len() / 8);
        let (chunks, _) = bytes.as_chunks_mut::<8>();
        for (i, chunk) in chunks.iter_mut().enumerate() {
            *chunk = words.word(start + i).load(Relaxed).to_le_bytes();
        }
        into.extend_from_bytes(kind, &bytes);
    }
    // What was copied was read before this is.
    fence(Acquire);
    let reserved = words.word(of_kind.header + RESERVED).load(Relaxed);
    let sound = reserved.saturating_sub(of_kind.places).clamp(from, written);
    into.remove(kind, first, (sound - from) as usize);
    let lost = sound.saturating_sub(of_kind.read);
    of_kind.read = written;
    lost
}

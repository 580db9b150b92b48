//! A disk in memory that forgets what was not synced, as a machine's does that loses its power.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use flash_file::Disk;
use simtime::Prng;
use ssd::{Backend, SyncWork};

const SECTOR: usize = 512;
const WORD: usize = 8;

#[derive(Debug, Default)]
struct Inner {
    /// What the process sees.
    bytes: Vec<u8>,
    /// What was synced.
    durable: Vec<u8>,
    /// What was written since, in pieces that lie within a sector, in order.
    writes: Vec<(usize, Vec<u8>)>,
    /// Pieces that were synced or forgotten before.
    before: usize,
    /// Processes that used it so far.
    lives: u32,
    /// The next sync fails, as Linux's does: what it was for is lost, and nobody is told again.
    sync_fails: bool,
    /// So many writes go well, and one fails.
    write_fails_after: Option<u32>,
    /// It is persistent memory: the machine ends when so many more words of 8 bytes were written.
    words_left: Option<u64>,
    /// Which words of a write are there that had not ended.
    seed: u64,
}

impl Inner {
    /// Writes to persistent memory; false if the machine ends first.
    fn write_words(&mut self, at: usize, from: &[u8], left: u64) -> bool {
        let words = from.len().div_ceil(WORD) as u64;
        self.words_left = Some(left.saturating_sub(words));
        if left >= words {
            self.bytes[at..at + from.len()].copy_from_slice(from);
            return true;
        }
        let mut prng = Prng::new(self.seed);
        // The last word comes after all others: so it is missing.
        let first_part = WORD - at % WORD;
        let whole_end = (at + from.len()).div_ceil(WORD) * WORD - WORD;
        let mut begin = at;
        let mut end = at + first_part;
        while end <= whole_end {
            if prng.below(2) == 0 {
                self.bytes[begin..end].copy_from_slice(&from[begin - at..end - at]);
            }
            (begin, end) = (end, end + WORD);
        }
        self.lives += 1;
        false
    }

    fn write(&mut self, at: usize, from: &[u8]) {
        self.bytes[at..at + from.len()].copy_from_slice(from);
        let mut from = from;
        let mut at = at;
        while !from.is_empty() {
            let (piece, rest) = from.split_at((SECTOR - at % SECTOR).min(from.len()));
            self.writes.push((at, piece.to_vec()));
            (at, from) = (at + piece.len(), rest);
        }
    }
}

/// The disk, as one process has it.
#[derive(Clone, Debug)]
pub(crate) struct ForgetfulDisk {
    inner: Arc<Mutex<Inner>>,
    life: u32,
}

impl ForgetfulDisk {
    pub(crate) fn new(bytes: u64) -> Self {
        let zeroes = vec![0; bytes as usize];
        let inner = Inner { durable: zeroes.clone(), bytes: zeroes, ..Inner::default() };
        Self { inner: Arc::new(Mutex::new(inner)), life: 0 }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// The process is killed: what it still does, as its destructors run, reaches the disk no more.
    pub(crate) fn end_process(&mut self) {
        self.life += 1;
        self.inner().lives = self.life;
    }

    #[allow(dead_code, reason = "not every test program does")]
    pub(crate) fn fail_sync(&self) {
        self.inner().sync_fails = true;
    }

    #[allow(dead_code, reason = "not every test program does")]
    pub(crate) fn fail_write_after(&self, count: Option<u32>) {
        self.inner().write_fails_after = count;
    }

    /// From now on it is persistent memory, of a machine that ends after so many words.
    #[allow(dead_code, reason = "not every test program does")]
    pub(crate) fn end_after_words(&self, count: u64) {
        let mut inner = self.inner();
        (inner.words_left, inner.seed) = (Some(count), count);
    }

    /// Words that the machine has still to write before it ends.
    #[allow(dead_code, reason = "not every test program does")]
    pub(crate) fn words_left(&self) -> u64 {
        self.inner().words_left.unwrap_or(0)
    }

    fn check_alive(&self) -> io::Result<()> {
        if self.inner().lives == self.life { Ok(()) } else { Err(io::Error::other("killed")) }
    }

    /// The machine ends: of what was not synced some is there.
    pub(crate) fn forget(&self, prng: &mut Prng) {
        let mut inner = self.inner();
        let Inner { bytes, durable, writes, before, .. } = &mut *inner;
        bytes.clone_from(durable);
        *before += writes.len();
        // From nothing of it to nearly all.
        let kept = prng.below(11);
        for (at, piece) in writes.drain(..) {
            if prng.below(10) < kept {
                bytes[at..at + piece.len()].copy_from_slice(&piece);
            }
        }
        durable.clone_from(bytes);
    }

    /// What is there now is durable.
    pub(crate) fn settle(&self) {
        let mut inner = self.inner();
        let Inner { bytes, durable, writes, before, .. } = &mut *inner;
        *before += writes.len();
        for (at, piece) in writes.drain(..) {
            durable[at..at + piece.len()].copy_from_slice(&bytes[at..at + piece.len()]);
        }
    }
}

impl Disk for ForgetfulDisk {
    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let at = at as usize;
        into.copy_from_slice(&self.inner().bytes[at..at + into.len()]);
        Ok(())
    }

    fn write(&mut self, at: u64, from: &[u8]) -> io::Result<()> {
        self.check_alive()?;
        let mut inner = self.inner();
        if let Some(left) = &mut inner.write_fails_after {
            if *left == 0 {
                inner.write_fails_after = None;
                return Err(io::ErrorKind::StorageFull.into());
            }
            *left -= 1;
        }
        if let Some(left) = inner.words_left {
            let is_done = inner.write_words(at as usize, from, left);
            return if is_done { Ok(()) } else { Err(io::Error::other("the machine ended")) };
        }
        inner.write(at as usize, from);
        Ok(())
    }

    fn punch(&mut self, at: u64, len: u64) -> io::Result<()> {
        self.check_alive()?;
        let mut inner = self.inner();
        if inner.words_left.is_some() {
            let at = at as usize;
            inner.bytes[at..at + len as usize].fill(0);
        } else {
            inner.write(at as usize, &vec![0; len as usize]);
        }
        Ok(())
    }

    fn sync(&self) -> SyncWork {
        let disk = self.clone();
        // What is written while it is under way is not part of it.
        let inner = self.inner();
        let until = inner.before + inner.writes.len();
        drop(inner);
        SyncWork::new(move || {
            disk.check_alive().map_err(|error| error.to_string())?;
            let mut inner = disk.inner();
            let Inner { durable, writes, before, sync_fails, .. } = &mut *inner;
            let count = until.saturating_sub(*before);
            *before += count;
            if std::mem::take(sync_fails) {
                writes.drain(..count);
                return Err("the disk failed".to_owned());
            }
            for (at, piece) in writes.drain(..count) {
                durable[at..at + piece.len()].copy_from_slice(&piece);
            }
            Ok(())
        })
    }

    fn backend(&self) -> Backend {
        if self.inner().words_left.is_some() { Backend::DaxSync } else { Backend::File }
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.inner().bytes.len() as u64)
    }
}

//! Where the drive's interrupts are signalled: eventfds of the client's.
//!
//! A write to an eventfd whose counter is full blocks unless the eventfd is non-blocking, and the client can change
//! that at any time: it shares the open file. No flag of a write prevents it. So a second thread looks ten times a
//! second whether one write takes long. If so, it reads the eventfd, which sets the counter to 0 and lets the write
//! end. The client then gets no more interrupts there.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::io::ReadWriteFlags;

/// How often the second thread looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

type Lines = Vec<Option<Arc<OwnedFd>>>;

/// The eventfds of a drive's interrupt vectors.
#[derive(Debug)]
pub(crate) struct InterruptLines {
    lines: Lines,
    shared: Arc<Shared>,
    watchdog: Option<JoinHandle<()>>,
}

/// What both threads see.
#[derive(Debug)]
struct Shared {
    /// Odd while a write is under way; another number for each write.
    write: AtomicU64,
    /// The vector of that write.
    vector: AtomicUsize,
    /// The write that was under way was freed by the watchdog.
    was_stuck: AtomicBool,
    stop: AtomicBool,
    lines: Mutex<Lines>,
}

impl InterruptLines {
    /// None of them connected.
    pub(crate) fn new(vectors: u16) -> std::io::Result<Self> {
        let lines: Lines = vec![None; vectors.into()];
        let shared = Arc::new(Shared {
            write: AtomicU64::new(0),
            vector: AtomicUsize::new(0),
            was_stuck: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            lines: Mutex::new(lines.clone()),
        });
        let theirs = Arc::clone(&shared);
        let watchdog =
            std::thread::Builder::new().name("interrupts".to_owned()).spawn(move || theirs.watch());
        Ok(Self { lines, shared, watchdog: Some(watchdog?) })
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Connects a vector to an eventfd, or to nothing. Anything that is no eventfd could do as it likes when it is
    /// written to, and is not taken.
    pub(crate) fn set(&mut self, vector: usize, eventfd: Option<OwnedFd>) {
        if vector >= self.lines.len() {
            return;
        }
        let is_usable =
            |fd: &OwnedFd| is_eventfd(fd) && rustix::io::ioctl_fionbio(fd, true).is_ok();
        let line = eventfd.filter(is_usable).map(Arc::new);
        self.lines[vector].clone_from(&line);
        self.shared.lines()[vector] = line;
    }

    /// Disconnects all.
    pub(crate) fn clear(&mut self) {
        self.lines.fill(None);
        self.shared.lines().fill(None);
    }

    /// Signals a vector; true if it is connected.
    #[inline]
    pub(crate) fn signal(&self, vector: u16) -> bool {
        let vector = usize::from(vector);
        let Some(Some(eventfd)) = self.lines.get(vector) else { return false };
        self.shared.vector.store(vector, Ordering::Relaxed);
        self.shared.write.fetch_add(1, Ordering::Release);
        // An eventfd that is full is the client's loss.
        let _ = rustix::io::write(eventfd, &1u64.to_ne_bytes());
        self.shared.write.fetch_add(1, Ordering::Release);
        true
    }

    /// The vector that was signalled last, if its eventfd kept the drive waiting: it is disconnected. To be called after
    /// each signal.
    #[inline]
    pub(crate) fn take_stuck(&mut self) -> Option<usize> {
        if !self.shared.was_stuck.load(Ordering::Relaxed) {
            return None;
        }
        self.shared.was_stuck.store(false, Ordering::Relaxed);
        let vector = self.shared.vector.load(Ordering::Relaxed);
        self.set(vector, None);
        Some(vector)
    }
}

impl Shared {
    fn lines(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) {
        let mut seen = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let write = self.write.load(Ordering::Acquire);
            if write % 2 == 1 && write == seen {
                let vector = self.vector.load(Ordering::Relaxed);
                let line = self.lines().get(vector).cloned().flatten();
                if let Some(line) = line {
                    self.was_stuck.store(true, Ordering::Relaxed);
                    // This read never blocks, whatever the client made of the eventfd. What it reads does not matter.
                    let (mut counter, here) = ([0; 8], u64::MAX);
                    let into = &mut [IoSliceMut::new(&mut counter)];
                    let _ = rustix::io::preadv2(&*line, into, here, ReadWriteFlags::NOWAIT);
                }
            }
            seen = write;
            std::thread::park_timeout(LOOK_EVERY);
        }
    }
}

impl Drop for InterruptLines {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.watchdog.take() {
            thread.thread().unpark();
            // It cannot panic: it only loads, stores and reads.
            let _ = thread.join();
        }
    }
}

fn is_eventfd(fd: &OwnedFd) -> bool {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    std::fs::read_link(link).is_ok_and(|to| to.as_os_str() == "anon_inode:[eventfd]")
}

#[cfg(test)]
mod tests {
    use rustix::event::EventfdFlags;

    use super::*;

    #[test]
    fn a_client_that_makes_its_eventfd_block_stops_nobody() {
        let mut lines = InterruptLines::new(2).unwrap();
        for vector in [0, 1] {
            let eventfd = rustix::event::eventfd(0, EventfdFlags::empty()).unwrap();
            let theirs = eventfd.try_clone().unwrap();
            lines.set(vector, Some(eventfd));
            assert!(lines.signal(vector as u16) && lines.take_stuck().is_none());
            let mut counter = [0; 8];
            rustix::io::read(&theirs, &mut counter).unwrap();
            assert_eq!(u64::from_ne_bytes(counter), 1);
            rustix::io::ioctl_fionbio(&theirs, false).unwrap();
            rustix::io::write(&theirs, &(u64::MAX - 1).to_ne_bytes()).unwrap();
            // It returns at all.
            assert!(lines.signal(vector as u16));
            assert_eq!(lines.take_stuck(), Some(vector));
            assert!(!lines.signal(vector as u16) && lines.take_stuck().is_none());
        }
    }

    #[test]
    fn only_eventfds_are_taken() {
        let mut lines = InterruptLines::new(1).unwrap();
        let (_reader, writer) = rustix::pipe::pipe().unwrap();
        lines.set(0, Some(writer));
        assert!(!lines.signal(0));
        // There is no such vector.
        lines.set(1, Some(rustix::event::eventfd(0, EventfdFlags::empty()).unwrap()));
        assert!(!lines.signal(1));
    }
}

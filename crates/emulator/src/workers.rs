//! Threads that run programs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use controller::{Engine, WorkDone, WorkItem, Worker};
use crossbeam_channel::{Receiver, Sender};
use rustix::event::EventfdFlags;

/// Wakes a thread that waits for a file descriptor, if it does.
#[derive(Debug)]
pub(crate) struct Waker {
    eventfd: OwnedFd,
    is_asleep: AtomicBool,
}

impl Waker {
    pub(crate) fn new() -> std::io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self { eventfd: rustix::event::eventfd(0, flags)?, is_asleep: AtomicBool::new(false) })
    }

    /// The thread is going to sleep; it must look for work once more after this.
    pub(crate) fn falls_asleep(&self) {
        self.is_asleep.store(true, Ordering::SeqCst);
    }

    /// The thread is awake.
    pub(crate) fn is_awake(&self) {
        if self.is_asleep.swap(false, Ordering::SeqCst) {
            // Whether there was something to read does not matter.
            let _ = rustix::io::read(&self.eventfd, &mut [0; 8]);
        }
    }

    /// There is something to do.
    pub(crate) fn wake(&self) {
        if self.is_asleep.load(Ordering::SeqCst) {
            // It can only be full, and then the thread will wake.
            let _ = rustix::io::write(&self.eventfd, &1u64.to_ne_bytes());
        }
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}

/// A pool of threads, each with its own [`Worker`].
#[derive(Debug)]
pub(crate) struct Workers {
    /// `None` only while it is dropped.
    work: Option<Sender<WorkItem>>,
    results: Receiver<WorkDone>,
    /// Programs that run or wait for a thread.
    under_way: usize,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts threads; they wake the drive's thread when a program has run.
    pub(crate) fn start(count: usize, engine: Engine, waker: &Arc<Waker>) -> std::io::Result<Self> {
        let (work, items) = crossbeam_channel::unbounded::<WorkItem>();
        let (done, results) = crossbeam_channel::unbounded();
        let start = |n| {
            let (items, done, waker) = (items.clone(), done.clone(), Arc::clone(waker));
            std::thread::Builder::new().name(format!("csf-{n}")).spawn(move || {
                let mut worker = Worker::new(engine);
                for item in items {
                    // The drive may be gone already.
                    if done.send(item.run(&mut worker)).is_err() {
                        return;
                    }
                    waker.wake();
                }
            })
        };
        let threads: std::io::Result<Vec<_>> = (0..count).map(start).collect();
        Ok(Self { work: Some(work), results, under_way: 0, threads: threads? })
    }

    /// Has a program run by whoever is free next.
    pub(crate) fn run(&mut self, item: WorkItem) {
        self.under_way += 1;
        let sender = self.work.as_ref().expect("only a drop takes it");
        sender.send(item).expect("the threads live as long as this");
    }

    /// A program that has run.
    #[inline]
    pub(crate) fn done(&mut self) -> Option<WorkDone> {
        if self.under_way == 0 {
            return None;
        }
        let done = self.results.try_recv().ok()?;
        self.under_way -= 1;
        Some(done)
    }

    /// True if a thread of this machine has something to do for the drive.
    #[inline]
    pub(crate) fn are_busy(&self) -> bool {
        self.under_way > 0
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.work = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

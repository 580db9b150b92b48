//! Threads that run programs.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use controller::{Engine, NewRemoteRuntime, RemoteRuntime, WorkDone, WorkItem, Worker};
use pacer::{Limits, Pacer, Wait};
use rustix::event::EventfdFlags;

/// How long a worker waits for the next program before it sleeps.
const SPIN: Limits = Limits { min: Duration::from_micros(30), max: Duration::from_micros(60) };

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

/// What the drive's thread and the workers share. (The channels of the standard library and of crossbeam yield the
/// processor before they block. With busy threads beside, each yield costs milliseconds.)
#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Items in the queue, so that a worker that spins need not lock.
    item_count: AtomicUsize,
    /// A worker spins: others sleep, and none needs to be woken for the next item.
    is_spinning: AtomicBool,
    /// There is work, or the end.
    is_wanted: Condvar,
    /// Programs that run, and the most that ran at a time.
    running: AtomicUsize,
    running_max: AtomicUsize,
    results: Mutex<VecDeque<WorkDone>>,
    /// Results in the queue, so that who looks for one need not lock.
    result_count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<WorkItem>,
    /// Workers that sleep.
    sleepers: usize,
    is_over: bool,
}

/// A pool of threads, each with its own [`Worker`].
#[derive(Debug)]
pub(crate) struct Workers {
    shared: Arc<Shared>,
    /// Programs that run or wait for a thread.
    under_way: usize,
    threads: Vec<JoinHandle<()>>,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn results(&self) -> MutexGuard<'_, VecDeque<WorkDone>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next item; `None` at the end.
    fn next(&self, pacer: &mut Pacer) -> Option<WorkItem> {
        let has_spun = self.spin(pacer);
        let mut queue = self.queue();
        while queue.items.is_empty() && !queue.is_over {
            let began = Instant::now();
            queue.sleepers += 1;
            queue = self.is_wanted.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.sleepers -= 1;
            if has_spun {
                pacer.was_blocked(began, Instant::now());
            }
        }
        if queue.is_over {
            return None;
        }
        let item = queue.items.pop_front();
        self.item_count.store(queue.items.len(), Ordering::Relaxed);
        // It came while this one was spinning, and nobody was woken for it.
        if !queue.items.is_empty() && queue.sleepers > 0 {
            self.is_wanted.notify_one();
        }
        item
    }

    /// Waits a little for an item without sleeping, unless another worker does; true if it was in vain.
    fn spin(&self, pacer: &mut Pacer) -> bool {
        if self.is_spinning.swap(true, Ordering::SeqCst) {
            return false;
        }
        let mut is_in_vain = true;
        loop {
            if self.item_count.load(Ordering::Relaxed) > 0 {
                pacer.found_work();
                is_in_vain = false;
                break;
            }
            if pacer.found_nothing(Instant::now()) == Wait::Block {
                break;
            }
            std::hint::spin_loop();
        }
        // Who put an item into the queue before this need not have woken anyone; the queue is looked at after it.
        self.is_spinning.store(false, Ordering::SeqCst);
        is_in_vain
    }
}

impl Workers {
    /// Starts threads; they wake the drive's thread when a program has run.
    pub(crate) fn start(
        count: usize,
        engine: Engine,
        remote: Option<&NewRemoteRuntime>,
        waker: &Arc<Waker>,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut workers = Self { shared, under_way: 0, threads: Vec::new() };
        for n in 0..count {
            let (shared, waker) = (Arc::clone(&workers.shared), Arc::clone(waker));
            let mut remote = remote.map(NewRemoteRuntime::make);
            let thread = std::thread::Builder::new().name(format!("csf-{n}")).spawn(move || {
                let (mut worker, mut pacer) = (Worker::new(engine), Pacer::new(SPIN));
                while let Some(item) = shared.next(&mut pacer) {
                    let remote =
                        remote.as_mut().map(|remote| &mut **remote as &mut dyn RemoteRuntime);
                    let running = 1 + shared.running.fetch_add(1, Ordering::Relaxed);
                    shared.running_max.fetch_max(running, Ordering::Relaxed);
                    let began = Instant::now();
                    let done = item.run_with(&mut worker, remote).ran_by(n as u32, began.elapsed());
                    shared.running.fetch_sub(1, Ordering::Relaxed);
                    shared.results().push_back(done);
                    // With the waker's flag: one of the two threads sees what the other wrote.
                    shared.result_count.fetch_add(1, Ordering::SeqCst);
                    waker.wake();
                }
            });
            workers.threads.push(thread?);
        }
        Ok(workers)
    }

    /// Has a program run by whoever is free next.
    pub(crate) fn run(&mut self, item: WorkItem) {
        self.under_way += 1;
        let mut queue = self.shared.queue();
        queue.items.push_back(item);
        self.shared.item_count.store(queue.items.len(), Ordering::Relaxed);
        drop(queue);
        if !self.shared.is_spinning.load(Ordering::SeqCst) {
            self.shared.is_wanted.notify_one();
        }
    }

    /// A program that has run.
    #[inline]
    pub(crate) fn done(&mut self) -> Option<WorkDone> {
        if self.under_way == 0 || self.shared.result_count.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let done = self.shared.results().pop_front()?;
        self.shared.result_count.fetch_sub(1, Ordering::Relaxed);
        self.under_way -= 1;
        Some(done)
    }

    /// The most programs that ran at a time.
    pub(crate) fn running_max(&self) -> usize {
        self.shared.running_max.load(Ordering::Relaxed)
    }

    /// Programs that run or wait for a thread.
    #[inline]
    pub(crate) fn under_way(&self) -> usize {
        self.under_way
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.queue().is_over = true;
        self.shared.is_wanted.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

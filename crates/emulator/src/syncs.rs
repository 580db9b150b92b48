//! A thread that makes the drive's store durable: it waits for this machine's disk, and the drive's thread does not.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use controller::SyncWork;

use crate::workers::Waker;

/// The thread, and the ways to it and back.
#[derive(Debug)]
struct Running {
    work: Sender<SyncWork>,
    results: Receiver<Result<(), String>>,
    thread: JoinHandle<()>,
}

/// The thread, started with the first work.
#[derive(Debug)]
pub(crate) struct Syncs {
    waker: Arc<Waker>,
    thread: Option<Running>,
    under_way: usize,
}

impl Syncs {
    pub(crate) fn new(waker: &Arc<Waker>) -> Self {
        Self { waker: Arc::clone(waker), thread: None, under_way: 0 }
    }

    /// Has work done; in this thread if this machine has no room for another.
    pub(crate) fn run(&mut self, work: SyncWork) -> Option<Result<(), String>> {
        if self.thread.is_none() {
            let (work_in, work_out) = channel::<SyncWork>();
            let (result_in, result_out) = channel();
            let waker = Arc::clone(&self.waker);
            let thread = std::thread::Builder::new().name("storage".to_owned()).spawn(move || {
                for work in work_out {
                    if result_in.send(work.run()).is_err() {
                        return;
                    }
                    waker.wake();
                }
            });
            match thread {
                Ok(thread) => {
                    self.thread = Some(Running { work: work_in, results: result_out, thread });
                }
                Err(_) => return Some(work.run()),
            }
        }
        match self.thread.as_ref()?.work.send(work) {
            Ok(()) => {
                self.under_way += 1;
                None
            }
            Err(refused) => Some(refused.0.run()),
        }
    }

    /// What work came to.
    #[inline]
    pub(crate) fn done(&mut self) -> Option<Result<(), String>> {
        if self.under_way == 0 {
            return None;
        }
        let result = self.thread.as_ref()?.results.try_recv().ok()?;
        self.under_way -= 1;
        Some(result)
    }
}

impl Drop for Syncs {
    fn drop(&mut self) {
        if let Some(Running { work, thread, .. }) = self.thread.take() {
            drop(work);
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

//! A thread that makes the drive's store durable: it waits for this machine's disk, and the drive's thread does not.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use controller::SyncWork;

use crate::workers::Waker;

/// The thread, started with the first work.
#[derive(Debug)]
pub(crate) struct Syncs {
    waker: Arc<Waker>,
    thread: Option<(Sender<SyncWork>, Receiver<Result<(), String>>, JoinHandle<()>)>,
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
                Ok(thread) => self.thread = Some((work_in, result_out, thread)),
                Err(_) => return Some(work.run()),
            }
        }
        let (work_in, ..) = self.thread.as_ref()?;
        match work_in.send(work) {
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
        let (_, result_out, _) = self.thread.as_ref()?;
        let result = result_out.try_recv().ok()?;
        self.under_way -= 1;
        Some(result)
    }
}

impl Drop for Syncs {
    fn drop(&mut self) {
        if let Some((work_in, _, thread)) = self.thread.take() {
            drop(work_in);
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

//! Other work for the processors, and which of them a benchmark uses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use rustix::thread::CpuSet;

/// Processors that this thread may use.
pub(super) fn processors() -> Result<Vec<usize>> {
    let set = rustix::thread::sched_getaffinity(None).context("which processors there are")?;
    Ok((0..CpuSet::MAX_CPU).filter(|&processor| set.is_set(processor)).collect())
}

/// Lets this thread, and threads and processes that it starts, run on these processors alone.
pub(super) fn run_on(processors: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    processors.iter().for_each(|&processor| set.set(processor));
    rustix::thread::sched_setaffinity(None, &set).context("to choose a processor")
}

/// Threads that do nothing, all the time.
pub(super) struct BusyLoops {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl BusyLoops {
    /// One on each of these processors. (Left alone, they would share a processor at times.)
    pub(super) fn on(processors: &[usize]) -> Result<Self> {
        Self::start(processors.iter().copied().map(Some))
    }

    /// So many, wherever there is room for them.
    pub(super) fn anywhere(count: usize) -> Result<Self> {
        Self::start(std::iter::repeat_n(None, count))
    }

    fn start(places: impl Iterator<Item = Option<usize>>) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut loops = Self { stop: Arc::clone(&stop), threads: Vec::new() };
        for place in places {
            let stop = Arc::clone(&stop);
            loops.threads.push(std::thread::Builder::new().spawn(move || {
                if let Some(processor) = place {
                    // It was allowed to this thread's maker.
                    let _ = run_on(&[processor]);
                }
                while !stop.load(Ordering::Relaxed) {}
            })?);
        }
        Ok(loops)
    }
}

impl Drop for BusyLoops {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // They only loop: they cannot have failed.
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

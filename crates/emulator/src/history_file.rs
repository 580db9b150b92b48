//! A thread that writes the drive's history to a file: the drive's own waits for no disk.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use history::Event;

/// Turns of the drive whose events wait for the thread, each with what hosts wrote in it. A drive that is faster than the disk waits for it.
const TURNS: usize = 64;

/// Where events go.
#[derive(Debug)]
pub(crate) struct HistoryFile {
    events: Option<SyncSender<Vec<Event>>>,
    thread: Option<JoinHandle<io::Result<()>>>,
    is_broken: Arc<AtomicBool>,
    is_told: bool,
}

impl HistoryFile {
    /// Starts the thread.
    ///
    /// # Errors
    /// If this machine has no room for it.
    pub(crate) fn start<W: Write + Send + 'static>(writer: history::Writer<W>) -> io::Result<Self> {
        let (events, taken) = sync_channel(TURNS);
        let is_broken = Arc::new(AtomicBool::new(false));
        let says = Arc::clone(&is_broken);
        let thread = std::thread::Builder::new().name("history".to_owned()).spawn(move || {
            let done = keep(writer, &taken);
            says.store(done.is_err(), Ordering::Relaxed);
            done
        })?;
        Ok(Self { events: Some(events), thread: Some(thread), is_broken, is_told: false })
    }

    /// Hands events on; what the drive's user should know, once.
    pub(crate) fn put(&mut self, events: Vec<Event>) -> Option<&'static str> {
        let sent = self.events.as_ref().is_some_and(|to| to.send(events).is_ok());
        if sent && !self.is_broken.load(Ordering::Relaxed) || self.is_told {
            return None;
        }
        self.is_told = true;
        Some("the history cannot be written any more: it ends here; is the disk full?")
    }
}

impl Drop for HistoryFile {
    fn drop(&mut self) {
        self.events = None;
        if let Some(Ok(Err(error))) = self.thread.take().map(JoinHandle::join) {
            tracing::warn!("the history: {error}");
        }
    }
}

/// Writes what comes; whenever nothing is there, it is all in the file, so that a server that is killed has written it.
fn keep<W: Write>(mut writer: history::Writer<W>, taken: &Receiver<Vec<Event>>) -> io::Result<()> {
    while let Ok(first) = taken.recv() {
        let mut next = Some(first);
        while let Some(events) = next {
            for event in &events {
                writer.put(event)?;
            }
            next = taken.try_recv().ok();
        }
        writer.flush()?;
    }
    writer.flush()
}

//! Stops a guest's clock while a program runs longer on this machine than on the modelled drive.
//!
//! The guest belongs to a stock QEMU with a QMP socket. A thread of its own speaks with it: QEMU may wait for an answer of the
//! drive before it can stop, so the drive goes on meanwhile. Several drives of one guest share a freezer; the guest runs again
//! when none needs it stopped.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::workers::Waker;

/// QEMU must answer by then.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long QEMU may take to make its socket after the drive has a client.
const CONNECT: Duration = Duration::from_secs(10);

/// What a freezer did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FreezeStatistics {
    /// Times that the guest was stopped.
    pub count: u64,
    /// How long it was stopped in all.
    pub frozen: Duration,
    /// How long QEMU took to stop and to go on, in all.
    pub cost: Duration,
}

/// The guest of a QMP socket.
#[derive(Clone, Debug)]
pub struct Freezer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    state: Mutex<State>,
    has_changed: Condvar,
    /// The guest is stopped.
    is_stopped: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// Drives that need the guest stopped.
    holders: u32,
    /// A drive has a client: QEMU may be connected to.
    is_wanted: bool,
    is_over: bool,
    /// Woken when the guest stops or goes on.
    wakers: Vec<Arc<Waker>>,
    statistics: FreezeStatistics,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A drive's part in it.
#[derive(Debug)]
pub(crate) struct Hold {
    freezer: Freezer,
    is_held: bool,
}

impl Freezer {
    /// A freezer of the guest whose QMP socket is, or will be, at a path.
    ///
    /// # Errors
    /// If this machine has no thread for it.
    pub fn new(path: &Path) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            state: Mutex::default(),
            has_changed: Condvar::new(),
            is_stopped: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        // It ends with the process: what it waits for may be QEMU.
        std::thread::Builder::new().name("freezer".to_owned()).spawn(move || own.run())?;
        Ok(Self(shared))
    }

    /// What it did so far.
    pub fn statistics(&self) -> FreezeStatistics {
        lock(&self.0.state).statistics
    }

    /// No drive is served any more: the guest, if it is stopped, goes on.
    pub fn end(&self) {
        let mut state = lock(&self.0.state);
        (state.holders, state.is_over) = (0, true);
        self.0.has_changed.notify_all();
        drop(state);
        let start = Instant::now();
        while self.0.is_stopped.load(Ordering::SeqCst) && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn join(&self, waker: &Arc<Waker>) -> Hold {
        lock(&self.0.state).wakers.push(Arc::clone(waker));
        Hold { freezer: self.clone(), is_held: false }
    }
}

impl Hold {
    /// A client has come, so QEMU is there.
    pub(crate) fn prepare(&self) {
        lock(&self.freezer.0.state).is_wanted = true;
        self.freezer.0.has_changed.notify_all();
    }

    /// Says whether this drive needs the guest stopped.
    pub(crate) fn set(&mut self, is_held: bool) {
        if self.is_held == is_held {
            return;
        }
        self.is_held = is_held;
        let shared = &self.freezer.0;
        let mut state = lock(&shared.state);
        state.holders = if is_held { state.holders + 1 } else { state.holders.saturating_sub(1) };
        shared.has_changed.notify_all();
    }

    pub(crate) fn is_held(&self) -> bool {
        self.is_held
    }

    /// True while the guest is stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        self.freezer.0.is_stopped.load(Ordering::SeqCst)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.set(false);
    }
}

impl Shared {
    fn run(&self) {
        let mut qmp = None;
        let mut since = None;
        loop {
            let is_stopped = since.is_some();
            let mut state = lock(&self.state);
            while !state.is_over
                && (state.holders > 0) == is_stopped
                && (qmp.is_some() || !state.is_wanted)
            {
                state = self.has_changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let (must_stop, is_over) = (state.holders > 0, state.is_over);
            state.is_wanted = false;
            drop(state);
            if is_over && !is_stopped {
                return;
            }
            if qmp.is_none() {
                qmp = match Qmp::connect(&self.path) {
                    Ok(qmp) => Some(qmp),
                    Err(error) => {
                        self.lost(&error);
                        None
                    }
                };
            }
            if must_stop == is_stopped {
                continue;
            }
            let start = Instant::now();
            let command = if must_stop { "stop" } else { "cont" };
            let done = match &mut qmp {
                Some(qmp) => qmp.execute(command),
                // It has been said why.
                None => Err(io::Error::other("no connection")),
            };
            let end = Instant::now();
            if let Err(error) = done {
                if qmp.take().is_some() {
                    self.lost(&error);
                }
                // The guest may be gone. If it is not, it runs: its drive is late, as without freezing.
                since = None;
                self.tell(false);
                lock(&self.state).holders = 0;
                continue;
            }
            let mut state = lock(&self.state);
            state.statistics.cost += end - start;
            match since.take() {
                None => {
                    since = Some(end);
                    state.statistics.count += 1;
                }
                Some(since) => state.statistics.frozen += end - since,
            }
            drop(state);
            self.tell(since.is_some());
        }
    }

    fn tell(&self, is_stopped: bool) {
        self.is_stopped.store(is_stopped, Ordering::SeqCst);
        lock(&self.state).wakers.iter().for_each(|waker| waker.wake());
    }

    fn lost(&self, error: &io::Error) {
        let path = self.path.display();
        tracing::warn!(
            "QMP socket {path}: {error}; the guest is not frozen, and completions may be late"
        );
    }
}

/// A connection to QEMU.
#[derive(Debug)]
struct Qmp {
    to: UnixStream,
    from: BufReader<UnixStream>,
}

impl Qmp {
    fn connect(path: &Path) -> io::Result<Self> {
        let start = Instant::now();
        let to = loop {
            match UnixStream::connect(path) {
                Ok(stream) => break stream,
                Err(error) if start.elapsed() > CONNECT => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        };
        to.set_read_timeout(Some(PATIENCE))?;
        to.set_write_timeout(Some(PATIENCE))?;
        let mut qmp = Self { from: BufReader::new(to.try_clone()?), to };
        let greeting = qmp.line()?;
        if greeting.get("QMP").is_none() {
            return Err(io::Error::other("what serves there is no QEMU"));
        }
        qmp.execute("qmp_capabilities")?;
        Ok(qmp)
    }

    fn line(&mut self) -> io::Result<Value> {
        const LINE_MAX: u64 = 1 << 20;
        let mut line = String::new();
        let mut limited = io::Read::take(&mut self.from, LINE_MAX);
        if limited.read_line(&mut line)? == 0 {
            return Err(io::Error::other("QEMU closed the connection"));
        }
        serde_json::from_str(&line).map_err(io::Error::other)
    }

    fn execute(&mut self, command: &str) -> io::Result<()> {
        let text = format!("{{\"execute\":\"{command}\"}}\r\n");
        self.to.write_all(text.as_bytes())?;
        // Events come between.
        loop {
            let line = self.line()?;
            if line.get("return").is_some() {
                return Ok(());
            }
            if let Some(error) = line.get("error") {
                return Err(io::Error::other(format!("QEMU refuses {command}: {error}")));
            }
        }
    }
}

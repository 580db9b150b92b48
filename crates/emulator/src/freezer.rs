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
    /// A drive has a new client: its QEMU is to be connected to.
    is_wanted: bool,
    is_over: bool,
    /// The thread has ended, and left no guest stopped that it could reach.
    is_done: bool,
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

    /// No drive is served any more: the guest, if it is stopped, goes on before this returns, unless QEMU does not answer.
    pub fn end(&self) {
        let mut state = lock(&self.0.state);
        state.is_over = true;
        self.0.has_changed.notify_all();
        let wait = self.0.has_changed.wait_timeout_while(state, 2 * PATIENCE, |s| !s.is_done);
        drop(wait);
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
        let mut guest = Guest { qmp: None, may_be_stopped: false, since: None };
        loop {
            let mut state = lock(&self.state);
            while !state.is_over && (state.holders > 0) == guest.may_be_stopped && !state.is_wanted
            {
                state = self.has_changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let is_over = state.is_over;
            let must_stop = state.holders > 0 && !is_over;
            let is_wanted = std::mem::take(&mut state.is_wanted);
            if is_over && !guest.may_be_stopped {
                state.is_done = true;
                self.has_changed.notify_all();
                return;
            }
            drop(state);
            if is_wanted && !guest.may_be_stopped {
                // Another QEMU may serve there since the last client. One QEMU serves one at a time.
                guest.qmp = None;
                guest.qmp = self.connect().inspect_err(|error| self.lost(error)).ok();
            }
            match (must_stop, guest.may_be_stopped) {
                (true, false) => self.stop(&mut guest),
                (false, true) => self.go_on(&mut guest),
                _ => {}
            }
        }
    }

    fn stop(&self, guest: &mut Guest) {
        let start = Instant::now();
        match self.try_stop(guest) {
            Ok(true) => {
                guest.since = Some(Instant::now());
                let mut state = lock(&self.state);
                state.statistics.cost += start.elapsed();
                state.statistics.count += 1;
                drop(state);
                self.tell(true);
            }
            // Its user has paused it.
            Ok(false) => lock(&self.state).holders = 0,
            Err(error) => {
                self.lost(&error);
                // The drive is late, as without freezing. If QEMU was only slow, the guest goes on next.
                lock(&self.state).holders = 0;
            }
        }
    }

    /// Stops the guest; false if it does not run.
    fn try_stop(&self, guest: &mut Guest) -> io::Result<bool> {
        let is_running = |qmp: &mut Qmp| -> io::Result<bool> {
            Ok(qmp.execute("query-status")?["running"] == true)
        };
        // A connection that was lost meanwhile shows here, before anything is stopped.
        let known = guest.qmp.as_mut().map(is_running);
        let runs = match known {
            Some(Ok(runs)) => runs,
            _ => {
                guest.qmp = None;
                is_running(guest.qmp.insert(self.connect()?))?
            }
        };
        if runs && let Some(qmp) = &mut guest.qmp {
            guest.may_be_stopped = true;
            qmp.execute("stop").inspect_err(|_| guest.qmp = None)?;
        }
        Ok(runs)
    }

    /// Lets the guest go on, however often that takes, as long as there is a QEMU.
    fn go_on(&self, guest: &mut Guest) {
        let start = Instant::now();
        let mut pause = Duration::from_millis(50);
        loop {
            let connected = match guest.qmp.take() {
                Some(qmp) => Ok(qmp),
                None => Qmp::connect(&self.path),
            };
            let mut qmp = match connected {
                Ok(qmp) => qmp,
                // There is no QEMU any more, and so no guest.
                Err(error) if is_gone(&error) => break,
                Err(error) => {
                    self.lost(&error);
                    if self.must_give_up(start, &mut pause) {
                        break;
                    }
                    continue;
                }
            };
            match qmp.execute("cont") {
                Ok(_) => {
                    guest.qmp = Some(qmp);
                    break;
                }
                Err(error) => {
                    self.lost(&error);
                    let path = self.path.display();
                    tracing::warn!(
                        "QMP socket {path}: the guest may be stopped; csdrive goes on trying; by hand: {{\"execute\":\"cont\"}}"
                    );
                    // The drive does not wait for it.
                    self.tell(false);
                    if self.must_give_up(start, &mut pause) {
                        break;
                    }
                }
            }
        }
        guest.may_be_stopped = false;
        let mut state = lock(&self.state);
        state.statistics.cost += start.elapsed();
        if let Some(since) = guest.since.take() {
            state.statistics.frozen += since.elapsed();
        }
        drop(state);
        self.tell(false);
    }

    /// Waits a little before the next attempt; true if nobody waits for it any more.
    fn must_give_up(&self, start: Instant, pause: &mut Duration) -> bool {
        std::thread::sleep(*pause);
        *pause = (*pause * 2).min(Duration::from_secs(2));
        lock(&self.state).is_over && start.elapsed() > PATIENCE
    }

    /// Connects to a QEMU that may be about to make its socket.
    fn connect(&self) -> io::Result<Qmp> {
        let start = Instant::now();
        loop {
            match Qmp::connect(&self.path) {
                Err(error)
                    if is_gone(&error)
                        && start.elapsed() < CONNECT
                        && !lock(&self.state).is_over =>
                {
                    std::thread::sleep(Duration::from_millis(50));
                }
                other => return other,
            }
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

/// Nothing serves at a socket.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// What the thread knows of the guest.
struct Guest {
    qmp: Option<Qmp>,
    /// It was told to stop, and has not said that it goes on.
    may_be_stopped: bool,
    /// Since when it is stopped.
    since: Option<Instant>,
}

/// A connection to QEMU.
#[derive(Debug)]
struct Qmp {
    to: UnixStream,
    from: BufReader<UnixStream>,
}

impl Qmp {
    fn connect(path: &Path) -> io::Result<Self> {
        let to = UnixStream::connect(path)?;
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

    /// Executes a command; what it returns.
    fn execute(&mut self, command: &str) -> io::Result<Value> {
        let text = format!("{{\"execute\":\"{command}\"}}\r\n");
        self.to.write_all(text.as_bytes())?;
        // Events come between.
        loop {
            let mut line = self.line()?;
            if let Some(value) = line.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = line.get("error") {
                return Err(io::Error::other(format!("QEMU refuses {command}: {error}")));
            }
        }
    }
}

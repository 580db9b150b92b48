//! A drive behind a socket: the thread that owns it, and how it waits.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use controller::Config;
use rustix::event::{PollFd, PollFlags};
use rustix::time::Timespec;
use simtime::{Duration, Instant};
use vfio_user::{Closed, Connection};

use crate::drive::{Doorbells, Drive, RealTimeStatistics, StartError};
use crate::workers::Waker;

/// Messages that are answered before the drive has its turn.
const MESSAGES: usize = 16;

/// Shortest and longest time to look for work before going to sleep, which costs some 10 us for the
/// next command.
const SPIN_MIN: Duration = Duration::from_us(10);
const SPIN_MAX: Duration = Duration::from_us(500);

/// Between two looks at the socket while the drive is busy with what came through memory.
const SOCKET_EVERY: Duration = Duration::from_us(20);

/// A thread sleeps until so long before an event, and spins for the rest: wake-ups take that long.
const WAKE_UP: Duration = Duration::from_us(70);

/// Longest sleep of a drive whose doorbells come without a message.
const LOOK_EVERY: Duration = Duration::from_us(1000);

/// Before a client is accepted after all, when there were no descriptors left.
const SHORTAGE_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

/// How long a shutdown may take.
const PATIENCE: Duration = Duration::from_us(2_000_000);

/// What to serve, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The drive.
    pub config: Config,
    /// Path of the socket to listen at.
    pub socket: PathBuf,
    /// Host threads that run programs.
    pub workers: usize,
    /// How clients ring doorbells.
    pub doorbells: Doorbells,
}

/// Why a drive cannot be served.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum ServeError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("{}: {source}; choose a path in a folder that you may write, of at most 107 bytes", .path.display())]
    Socket { path: PathBuf, source: std::io::Error },
    #[error("{}: another csdrive serves there; stop it or choose another --socket", .0.display())]
    InUse(PathBuf),
    #[error("{}: is there already and no socket; choose another --socket", .0.display())]
    NoSocket(PathBuf),
}

/// What happens to a server, for whoever runs it.
#[derive(Debug)]
pub enum Event {
    /// A client has connected.
    Connected,
    /// A client is gone.
    Disconnected(Closed),
    /// Something about a client that its user should know.
    Complaint(String),
}

/// Stops a server from another thread, or from a signal handler.
#[derive(Clone, Debug)]
pub struct Stopper {
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

impl Stopper {
    /// Asks the server to shut down.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.waker.wake();
    }
}

/// A drive that listens at a socket.
#[derive(Debug)]
pub struct Server {
    drive: Drive,
    listener: UnixListener,
    socket: PathBuf,
    connection: Option<Connection>,
    stop: Arc<AtomicBool>,
    /// How long it looks for work before it sleeps.
    spin: Duration,
}

impl Server {
    /// Makes the drive and listens.
    ///
    /// # Errors
    /// If either cannot be done.
    pub fn new(options: Options) -> Result<Self, ServeError> {
        let Options { config, socket, workers, doorbells } = options;
        let drive = Drive::new(config, workers.max(1), doorbells)?;
        let listener = listen(&socket)?;
        let stop = Arc::new(AtomicBool::new(false));
        Ok(Self { drive, listener, socket, connection: None, stop, spin: SPIN_MIN })
    }

    /// The means to stop it.
    pub fn stopper(&self) -> Stopper {
        Stopper { stop: Arc::clone(&self.stop), waker: Arc::clone(self.drive.waker()) }
    }

    /// Serves one client after another until it is stopped; then shuts the drive down.
    ///
    /// # Errors
    /// If the machine fails: clients cannot make it.
    pub fn run(mut self, mut tell: impl FnMut(Event)) -> std::io::Result<RealTimeStatistics> {
        // The default delays every sleep by 50 us.
        let precise = std::num::NonZeroU64::new(1);
        rustix::thread::set_current_timer_slack(precise)?;
        let (mut active, mut looked) = (self.drive.now(), Instant::ZERO);
        // After many looks at the socket that found nothing, it is looked at less often.
        let mut fruitless = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let now = self.drive.now();
            if fruitless < 64 || now.since(looked) >= SOCKET_EVERY {
                looked = now;
                if self.serve(&mut tell)? {
                    (active, fruitless) = (now, 0);
                } else {
                    fruitless += 1;
                }
            }
            if self.drive.turn() {
                active = now;
                continue;
            }
            let next = self.drive.next_event();
            let is_soon = next.is_some_and(|next| next < now + WAKE_UP + SPIN_MIN);
            let spins = now.since(active) < self.spin && !self.drive.waits_for_workers();
            if is_soon && self.drive.waits_for_workers() {
                // There may be fewer processors than threads.
                std::thread::yield_now();
                continue;
            }
            if is_soon || spins {
                std::hint::spin_loop();
                continue;
            }
            if !self.drive.may_sleep() {
                self.drive.waker().is_awake();
                active = now;
                continue;
            }
            // Whoever stops it wakes it only if it sleeps: what was set before shows here.
            if self.stop.load(Ordering::SeqCst) {
                continue;
            }
            // Looking once more may have begun something.
            let (now, next) = (self.drive.now(), self.drive.next_event());
            self.sleep(now, next)?;
            self.drive.waker().is_awake();
            fruitless = 0;
            // Work soon after falling asleep: it was too early. None for long: it could have been
            // earlier.
            let slept = self.drive.now().since(now);
            let was_timer = next.is_some_and(|next| self.drive.now() + WAKE_UP >= next);
            if !was_timer && slept < SPIN_MAX {
                self.spin = (self.spin * 2).min(SPIN_MAX);
            } else if slept > SPIN_MAX * 4 {
                self.spin = SPIN_MIN;
            }
            active = self.drive.now();
        }
        self.drive.shut_down(PATIENCE);
        Ok(self.drive.statistics)
    }

    /// Answers messages and takes new clients; true if there was something to do.
    fn serve(&mut self, tell: &mut impl FnMut(Event)) -> std::io::Result<bool> {
        let Some(connection) = &mut self.connection else {
            return match self.listener.accept() {
                Ok((socket, _)) => {
                    self.connection = Some(Connection::new(socket)?);
                    tell(Event::Connected);
                    Ok(true)
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock
                    | ErrorKind::Interrupted
                    | ErrorKind::ConnectionAborted => Ok(false),
                    // Others use up this process's or machine's descriptors and memory: later.
                    _ if is_shortage(&error) => {
                        std::thread::sleep(SHORTAGE_PAUSE);
                        Ok(false)
                    }
                    _ => Err(error),
                },
            };
        };
        let mut is_busy = false;
        match connection.serve(&mut self.drive, MESSAGES) {
            Ok(answered) => is_busy |= answered,
            Err(closed) => {
                self.connection = None;
                self.drive.disconnected();
                tell(Event::Disconnected(closed));
                return Ok(true);
            }
        }
        if let Some(complaint) = self.drive.complaint() {
            tell(Event::Complaint(complaint));
        }
        Ok(is_busy)
    }

    /// Sleeps until a message, a client, a program that has run, or shortly before the next event.
    fn sleep(&mut self, now: Instant, next: Option<Instant>) -> std::io::Result<()> {
        let mut longest = next.map(|next| next.since(now + WAKE_UP));
        if self.drive.must_look() {
            longest = Some(longest.map_or(LOOK_EVERY, |longest| longest.min(LOOK_EVERY)));
        }
        let timeout = longest.and_then(|longest| {
            Timespec::try_from(std::time::Duration::from_nanos(longest.as_ns())).ok()
        });
        let waker = Arc::clone(self.drive.waker());
        let mut wanted = PollFlags::IN;
        let socket = match &self.connection {
            Some(connection) => {
                if connection.wants_to_send() {
                    wanted |= PollFlags::OUT;
                }
                connection.as_fd()
            }
            None => self.listener.as_fd(),
        };
        let mut fds =
            [PollFd::from_borrowed_fd(socket, wanted), PollFd::new(&*waker, PollFlags::IN)];
        self.drive.statistics.sleeps += 1;
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = fs::remove_file(&self.socket);
    }
}

/// True if something of this machine or process has run out, which may pass.
fn is_shortage(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    shortages.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Listens at a path; a socket that a server left behind there is replaced.
fn listen(path: &Path) -> Result<UnixListener, ServeError> {
    let failed = |source| ServeError::Socket { path: path.to_owned(), source };
    if let Ok(there) = fs::symlink_metadata(path) {
        if !there.file_type().is_socket() {
            return Err(ServeError::NoSocket(path.to_owned()));
        }
        if UnixStream::connect(path).is_ok() {
            return Err(ServeError::InUse(path.to_owned()));
        }
        fs::remove_file(path).map_err(failed)?;
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

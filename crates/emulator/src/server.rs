//! A drive behind a socket: the thread that owns it, and how it waits.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use controller::{Config, NewRemoteRuntime, Parts, Peers, ProgramLoaders, Switch};
use pacer::{Limits, Pacer, Wait};
use rustix::event::{PollFd, PollFlags};
use rustix::time::Timespec;
use simtime::{Duration, Instant};
use vfio_user::{Closed, Connection};

use crate::clock::Clock;
use crate::drive::{Doorbells, Drive, RealTimeStatistics, StartError};
use crate::freezer::Freezer;
use crate::workers::Waker;

/// Messages that are answered before the drive has its turn.
const MESSAGES: usize = 16;

/// How long to look for work before going to sleep, which costs some 10 us for the next command.
const SPIN: Limits = Limits {
    min: std::time::Duration::from_micros(10),
    max: std::time::Duration::from_micros(500),
};

/// Between two looks at the socket while the drive is busy with what came through memory.
const SOCKET_EVERY: Duration = Duration::from_us(20);

/// A thread sleeps until so long before an event, and spins for the rest: wake-ups take that long.
const WAKE_UP: Duration = Duration::from_us(70);

/// Not worth sleeping.
const MOMENT: Duration = Duration::from_us(10);

/// Longest sleep of a drive whose doorbells come without a message.
const LOOK_EVERY: Duration = Duration::from_us(1000);

/// Before a client is accepted after all, when there were no descriptors left.
const SHORTAGE_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

/// How long a shutdown may take.
const PATIENCE: Duration = Duration::from_us(2_000_000);

/// How long another client waits for the one that has the drive to leave: it may be about to.
const GRACE: std::time::Duration = std::time::Duration::from_millis(500);

/// Added to a wait for a deadline, so that it is over when the wait is.
const CLOCK_STEP: std::time::Duration = std::time::Duration::from_millis(1);

/// Other clients that wait, at most.
const WAITING_MAX: usize = 16;

/// What to serve, and how.
#[derive(Debug)]
pub struct Options {
    /// The drive.
    pub config: Config,
    /// Path of the socket to listen at.
    pub socket: PathBuf,
    /// How clients ring doorbells.
    pub doorbells: Doorbells,
    /// Connections to a runtime server, for programs whose run time is to come from there.
    pub remote: Option<NewRemoteRuntime>,
    /// Loads and runs programs other than eBPF's.
    pub programs: ProgramLoaders,
    /// Keeps the pages of the flash; none = they are in memory.
    pub store: Option<Box<dyn ssd::Store>>,
    /// Stops the guest that the drive is attached to while a program runs longer here than on the drive.
    pub freezer: Option<Freezer>,
    /// Drives that this process serves, too.
    pub neighbours: Option<Neighbours>,
    /// Where records of commands, jobs and flash operations go, for whoever looks at the drive live.
    pub records: Option<ring::Writer>,
    /// Where the history of what hosts write goes, for whoever looks for crashes.
    pub history: Option<history::Writer<BufWriter<File>>>,
}

/// Drives of one process: they reach each other's device memory, and their time begins at the same moment.
#[derive(Clone, Debug)]
pub struct Neighbours {
    pub(crate) peers: Peers,
    pub(crate) start: std::time::Instant,
}

impl Neighbours {
    /// Drives behind a switch.
    pub fn new(switch: Switch) -> Self {
        Self { peers: Peers::new(switch), start: std::time::Instant::now() }
    }
}

/// Why a drive cannot be served.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum ServeError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("{}: {cause}; choose a path in a folder that you may write, of at most 107 bytes", .path.display())]
    Socket { path: PathBuf, cause: std::io::Error },
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
    /// Another client was turned away: one has the drive.
    Refused,
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
    /// Clients that came while another has the drive, and when.
    waiting: VecDeque<(Connection, std::time::Instant)>,
    stop: Arc<AtomicBool>,
    pacer: Pacer,
    /// Threads that can run at the same time.
    processors: usize,
}

impl Server {
    /// Makes the drive and listens.
    ///
    /// # Errors
    /// If either cannot be done.
    pub fn new(options: Options) -> Result<Self, ServeError> {
        let Options {
            config,
            socket,
            doorbells,
            remote,
            programs,
            store,
            freezer,
            neighbours,
            records,
            history,
        } = options;
        let (peers, began) = match neighbours {
            Some(Neighbours { peers, start }) => (Some(peers), start),
            None => (None, std::time::Instant::now()),
        };
        let parts = Parts { programs, peers, store, ..Parts::default() };
        let clock = Clock::start(began);
        let mut drive =
            Drive::new(config, parts, clock, doorbells, remote.as_ref(), freezer.as_ref())?;
        if let Some(records) = records {
            drive.keep_records(records);
        }
        if let Some(history) = history {
            drive.keep_history(history)?;
        }
        let listener = listen(&socket)?;
        let stop = Arc::new(AtomicBool::new(false));
        Ok(Self {
            drive,
            listener,
            socket,
            connection: None,
            waiting: VecDeque::new(),
            stop,
            pacer: Pacer::new(SPIN),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
        })
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
        let _here = tracing::error_span!("drive", socket = %self.socket.display()).entered();
        // The default delays every sleep by 50 us.
        let precise = std::num::NonZeroU64::new(1);
        rustix::thread::set_current_timer_slack(precise)?;
        let mut looked = Instant::ZERO;
        // After many looks at the socket that found nothing, it is looked at less often.
        let mut fruitless = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let now = self.drive.now();
            if fruitless < 64 || now.since(looked) >= SOCKET_EVERY {
                looked = now;
                if self.serve(&mut tell)? {
                    fruitless = 0;
                    self.pacer.found_work();
                } else {
                    fruitless += 1;
                }
            }
            if self.drive.turn() {
                self.pacer.found_work();
                continue;
            }
            let next = self.drive.next_event();
            let wall = self.drive.wall(now);
            let wait = self.pacer.found_nothing(wall);
            // Spinning would keep others from running: another thread wants this processor, or a program does.
            // (One more thread is the client's.)
            let programs = self.drive.programs_under_way();
            let gives_way =
                self.pacer.is_contended(wall) || programs > 0 && programs + 2 > self.processors;
            let margin = if gives_way { Duration::ZERO } else { WAKE_UP };
            let is_soon = next.is_some_and(|next| next < now + margin + MOMENT);
            if is_soon || wait == Wait::Spin && !gives_way {
                std::hint::spin_loop();
                continue;
            }
            if !self.drive.may_sleep() {
                self.drive.waker().is_awake();
                self.pacer.found_work();
                continue;
            }
            // Whoever stops it wakes it only if it sleeps: what was set before shows here.
            if self.stop.load(Ordering::SeqCst) {
                continue;
            }
            // Looking once more may have begun something.
            let (now, next) = (self.drive.now(), self.drive.wake_at());
            let was_woken = self.sleep(now, next.map(|next| next.since(now + margin)))?;
            self.drive.waker().is_awake();
            fruitless = 0;
            // A thread that gives way has not spun before.
            if was_woken && wait == Wait::Block {
                let woken = self.drive.wall(self.drive.now());
                self.pacer.was_blocked(self.drive.wall(now), woken);
            }
        }
        self.drive.shut_down(PATIENCE);
        Ok(self.drive.statistics())
    }

    /// Answers messages and takes new clients; true if there was something to do.
    fn serve(&mut self, tell: &mut impl FnMut(Event)) -> std::io::Result<bool> {
        let has_newcomer = self.accept()?;
        if self.connection.is_none()
            && let Some((connection, _)) = self.waiting.pop_front()
        {
            self.connection = Some(connection);
            self.drive.connected();
            tell(Event::Connected);
        }
        let Some(connection) = &mut self.connection else { return Ok(false) };
        let is_busy = match connection.serve(&mut self.drive, MESSAGES) {
            Ok(answered) => answered,
            Err(closed) => {
                self.connection = None;
                self.drive.disconnected();
                tell(Event::Disconnected(closed));
                return Ok(true);
            }
        };
        if let Some(complaint) = self.drive.complaint() {
            tell(Event::Complaint(complaint));
        }
        while let Some((connection, _)) =
            self.waiting.pop_front_if(|(_, since)| since.elapsed() >= GRACE)
        {
            connection.refuse_in_use();
            tell(Event::Refused);
        }
        Ok(is_busy || has_newcomer)
    }

    /// Takes a client that has come; true if there was one.
    fn accept(&mut self) -> std::io::Result<bool> {
        if self.waiting.len() >= WAITING_MAX {
            return Ok(false);
        }
        match self.listener.accept() {
            Ok((socket, _)) => {
                let since = std::time::Instant::now();
                self.waiting.push_back((Connection::new(socket)?, since));
                Ok(true)
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {
                    Ok(false)
                }
                // Others use up this process's or machine's descriptors and memory: later.
                _ if is_shortage(&error) => {
                    std::thread::sleep(SHORTAGE_PAUSE);
                    Ok(false)
                }
                _ => Err(error),
            },
        }
    }

    /// When something about clients is due.
    fn client_deadline(&self) -> Option<std::time::Instant> {
        let refusal = self.waiting.front().map(|(_, since)| *since + GRACE);
        let message = self.connection.as_ref().and_then(Connection::deadline);
        refusal.into_iter().chain(message).min()
    }

    /// Sleeps until a message, a client or a program that has run, or for so long; true if it was woken.
    fn sleep(&mut self, now: Instant, longest: Option<Duration>) -> std::io::Result<bool> {
        let look = self.drive.must_look().then_some(LOOK_EVERY);
        let longest = longest.into_iter().chain(look).min();
        let longest = longest.map(|longest| std::time::Duration::from_nanos(longest.as_ns()));
        let client = self
            .client_deadline()
            .map(|deadline| deadline.saturating_duration_since(self.drive.wall(now)) + CLOCK_STEP);
        let longest = longest.into_iter().chain(client).min();
        let timeout = longest.and_then(|longest| Timespec::try_from(longest).ok());
        let waker = Arc::clone(self.drive.waker());
        // A file descriptor that is looked at for nothing takes the place of a connection that is not there, and of
        // the listener while no more clients may wait.
        let mut fds = [(); 3].map(|()| PollFd::new(&*waker, PollFlags::IN));
        if let Some(connection) = &self.connection {
            let out = if connection.wants_to_send() { PollFlags::OUT } else { PollFlags::empty() };
            fds[1] = PollFd::from_borrowed_fd(connection.as_fd(), PollFlags::IN | out);
        }
        if self.waiting.len() < WAITING_MAX {
            fds[2] = PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN);
        }
        self.drive.statistics.sleeps += 1;
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
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
    let failed = |cause| ServeError::Socket { path: path.to_owned(), cause };
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

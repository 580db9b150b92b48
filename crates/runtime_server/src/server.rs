//! The machine that runs programs for others.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ebpf::{Engine, Invocation, Program, Range, SharedMemory, Worker};

use crate::cache::{Cache, hash_of};
use crate::channel::{Channel, ChannelError, Secret, Side};
use crate::wire::{CHUNK, CHUNKS_MAX, Hash, Kind, Ran, Run, chunks_of};

/// The first three messages must have come by then.
const GREETING: Duration = Duration::from_secs(5);

/// A message must have begun by then, once a client has said what it needs.
const ANSWER: Duration = Duration::from_secs(10);

/// A client that has nothing to run is let go after this.
const IDLE: Duration = Duration::from_secs(600);

/// Clients at a time that know the secret.
const CLIENTS_MAX: usize = 256;

/// Peers at a time that have not proved it yet: in all, and of one address, so that one does not keep out all others.
const STRANGERS_MAX: usize = 512;
const STRANGERS_OF_ONE_MAX: usize = 128;

/// Ranges of a run: as many as a drive has in a set.
const RANGES_MAX: usize = 128;

/// Programs kept ready.
const PROGRAMS_MAX: usize = 64;

/// Samples that one may ask for.
const SAMPLES_MAX: u32 = 1000;

/// Looks at whether it is to stop.
const LOOK: Duration = Duration::from_millis(50);

/// What to serve, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen.
    pub listen: SocketAddr,
    /// What clients must know.
    pub secret: Secret,
    /// Bytes of chunks that are kept, and of memory that runs have together.
    pub memory_bytes: usize,
    /// Runs at a time: more than there are processors disturb each other.
    pub runs: usize,
    /// A run that takes longer is stopped.
    pub run_limit: Duration,
}

/// What happens to a server, for whoever runs it.
#[derive(Debug)]
pub enum Event {
    /// A client has proved that it knows the secret.
    Connected(SocketAddr),
    /// A client is gone, and why.
    Disconnected(SocketAddr, String),
    /// Somebody was turned away.
    Refused(SocketAddr, String),
    /// A program has run.
    Ran(SocketAddr, Duration),
}

/// Stops a server from another thread.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<AtomicBool>);

impl Stopper {
    /// Asks the server to stop.
    pub fn stop(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// So many of something.
#[derive(Debug)]
struct Pool {
    free: Mutex<usize>,
    is_freed: Condvar,
}

/// A part of a pool, given back when it is dropped.
#[derive(Debug)]
struct Share<'a>(&'a Pool, usize);

impl Pool {
    fn new(count: usize) -> Self {
        Self { free: Mutex::new(count), is_freed: Condvar::new() }
    }

    /// Waits for so many; `None` if there are not as many by then.
    fn take(&self, count: usize, patience: Duration) -> Option<Share<'_>> {
        let free = lock(&self.free);
        let wait = self.is_freed.wait_timeout_while(free, patience, |free| *free < count);
        let (mut free, waited) = wait.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() && *free < count {
            return None;
        }
        *free -= count;
        Some(Share(self, count))
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        *lock(&self.0.free) += self.1;
        self.0.is_freed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What all clients share.
#[derive(Debug)]
struct Shared {
    options: Options,
    cache: Mutex<Cache>,
    programs: Mutex<HashMap<Hash, Program>>,
    memory: Pool,
    runs: Pool,
    /// Connections of clients, so that they can be ended.
    streams: Mutex<HashMap<SocketAddr, TcpStream>>,
    clients: AtomicUsize,
    /// Peers that have not proved yet that they know the secret.
    strangers: Mutex<HashMap<IpAddr, usize>>,
    stop: Arc<AtomicBool>,
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    shared: Arc<Shared>,
}

impl Server {
    /// Listens.
    ///
    /// # Errors
    /// If it cannot.
    pub fn new(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen)?;
        listener.set_nonblocking(true)?;
        let shared = Shared {
            cache: Mutex::new(Cache::new(options.memory_bytes)),
            programs: Mutex::new(HashMap::new()),
            memory: Pool::new(options.memory_bytes),
            runs: Pool::new(options.runs.max(1)),
            streams: Mutex::new(HashMap::new()),
            clients: AtomicUsize::new(0),
            strangers: Mutex::new(HashMap::new()),
            stop: Arc::new(AtomicBool::new(false)),
            options,
        };
        Ok(Self { listener, shared: Arc::new(shared) })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the machine does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The means to stop it.
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.shared.stop))
    }

    /// Serves clients until it is stopped.
    ///
    /// # Errors
    /// If the machine fails: clients cannot make it.
    pub fn run(self, tell: impl Fn(Event) + Send + Sync + 'static) -> io::Result<()> {
        let tell = Arc::new(tell);
        while !self.shared.stop.load(Ordering::SeqCst) {
            let (stream, peer) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::sleep(LOOK);
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(error),
                // A client that is gone already, or descriptors that others use up: later.
                Err(_) => {
                    std::thread::sleep(LOOK);
                    continue;
                }
            };
            stream.set_nonblocking(false)?;
            if let Err(why) = self.shared.let_in(peer.ip()) {
                Channel::refuse(stream, &why);
                tell(Event::Refused(peer, why));
                continue;
            }
            let (shared, tell_it) = (Arc::clone(&self.shared), Arc::clone(&tell));
            let thread = std::thread::Builder::new().name("client".to_owned());
            let spawned = thread.spawn(move || {
                if let Ok(stream) = stream.try_clone() {
                    lock(&shared.streams).insert(peer, stream);
                }
                shared.serve(stream, peer, &*tell_it);
                lock(&shared.streams).remove(&peer);
            });
            if let Err(error) = spawned {
                self.shared.is_known(peer.ip());
                tell(Event::Refused(peer, format!("no thread for it: {error}")));
            }
        }
        for stream in lock(&self.shared.streams).values() {
            // It may have ended by itself.
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        Ok(())
    }
}

/// Why a run was refused: for the client.
struct Refusal(String);

impl Shared {
    /// Counts a peer that has come, if there is room for it.
    fn let_in(&self, address: IpAddr) -> Result<(), String> {
        let mut strangers = lock(&self.strangers);
        let all: usize = strangers.values().sum();
        let of_one = strangers.get(&address).copied().unwrap_or(0);
        if of_one >= STRANGERS_OF_ONE_MAX || all >= STRANGERS_MAX {
            return Err(format!("{all} peers are connected that have not greeted: try again"));
        }
        strangers.insert(address, of_one + 1);
        Ok(())
    }

    /// A peer has greeted, or is gone.
    fn is_known(&self, address: IpAddr) {
        let mut strangers = lock(&self.strangers);
        match strangers.get_mut(&address) {
            Some(of_one) if *of_one > 1 => *of_one -= 1,
            _ => drop(strangers.remove(&address)),
        }
    }

    fn serve(&self, stream: TcpStream, peer: SocketAddr, tell: &(impl Fn(Event) + ?Sized)) {
        let opened = Channel::open(stream, Side::Server, &self.options.secret, GREETING);
        self.is_known(peer.ip());
        let mut channel = match opened {
            Ok(channel) => channel,
            Err(error) => return tell(Event::Refused(peer, error.to_string())),
        };
        if self.clients.fetch_add(1, Ordering::SeqCst) >= CLIENTS_MAX {
            self.clients.fetch_sub(1, Ordering::SeqCst);
            return tell(Event::Refused(peer, format!("{CLIENTS_MAX} clients are connected")));
        }
        tell(Event::Connected(peer));
        let mut worker = Worker::new(Engine::Auto);
        let ended = loop {
            match self.serve_one(&mut channel, &mut worker, peer, tell) {
                Ok(()) => {}
                Err(error) => break error,
            }
        };
        self.clients.fetch_sub(1, Ordering::SeqCst);
        tell(Event::Disconnected(peer, ended.to_string()));
    }

    /// What a run needs, the chunks that are missing, the run.
    fn serve_one(
        &self,
        channel: &mut Channel,
        worker: &mut Worker,
        peer: SocketAddr,
        tell: &(impl Fn(Event) + ?Sized),
    ) -> Result<(), ChannelError> {
        let (_, need) = channel.receive(&[Kind::Need], Instant::now() + IDLE)?;
        let (hashes, rest) = need.as_chunks::<32>();
        if !rest.is_empty() || hashes.len() > CHUNKS_MAX {
            return Err(ChannelError::Malformed);
        }
        channel.set_deadline(Instant::now() + ANSWER + self.options.run_limit);
        let bytes = hashes.len() * CHUNK;
        if bytes > self.options.memory_bytes {
            let why = format!(
                "a run with up to {} MiB; this server has {} MiB: start it with a larger --memory",
                bytes >> 20,
                self.options.memory_bytes >> 20
            );
            return channel.send(Kind::Refused, why.as_bytes());
        }
        let Some(_share) = self.memory.take(bytes, ANSWER) else {
            return channel.send(Kind::Refused, b"other clients use all of the server's memory");
        };
        // Held until the run: others may push them out of the cache.
        let mut held: HashMap<Hash, Arc<[u8]>> = HashMap::new();
        let mut lack = vec![0u8; hashes.len().div_ceil(8)];
        let mut missing = 0;
        {
            let mut cache = lock(&self.cache);
            let mut asked = std::collections::HashSet::new();
            for (n, hash) in hashes.iter().enumerate() {
                if let Some(chunk) = cache.get(hash) {
                    held.insert(*hash, chunk);
                } else if asked.insert(*hash) {
                    lack[n / 8] |= 1 << (n % 8);
                    missing += 1;
                }
            }
        }
        channel.send(Kind::Lack, &lack)?;
        for _ in 0..missing {
            let (_, chunk) = channel.receive(&[Kind::Chunk], Instant::now() + ANSWER)?;
            let hash = lock(&self.cache).insert(&chunk);
            held.insert(hash, chunk.into());
        }
        let (_, run) = channel.receive(&[Kind::Run], Instant::now() + ANSWER)?;
        let run: Run = postcard::from_bytes(&run).map_err(|_| ChannelError::Malformed)?;
        // One at a time on a processor, or times would say how much others run.
        let Some(_turn) = self.runs.take(1, self.options.run_limit) else {
            return channel.send(Kind::Refused, b"the server is busy");
        };
        let start = Instant::now();
        let ran = self.run(&run, &held, hashes, worker);
        channel.set_deadline(Instant::now() + ANSWER);
        match ran {
            Ok(ran) => {
                let bytes = postcard::to_allocvec(&ran).map_err(|_| ChannelError::Malformed)?;
                tell(Event::Ran(peer, start.elapsed()));
                channel.send(Kind::Ran, &bytes)
            }
            Err(Refusal(why)) => {
                let why = &why.as_bytes()[..why.len().min(Kind::Refused.bytes_max())];
                channel.send(Kind::Refused, why)
            }
        }
    }

    fn run(
        &self,
        run: &Run,
        held: &HashMap<Hash, Arc<[u8]>>,
        needed: &[Hash],
        worker: &mut Worker,
    ) -> Result<Ran, Refusal> {
        let refuse = |why: &str| Refusal(why.to_owned());
        if run.ranges.len() > RANGES_MAX {
            return Err(refuse("more than 128 ranges"));
        }
        // What was asked for is what is paid for.
        if run.chunks.len() > needed.len() {
            return Err(refuse("more chunks than were announced"));
        }
        let lengths = [run.program_bytes, run.data_bytes].into_iter();
        let lengths = lengths.chain(run.ranges.iter().map(|range| range.len));
        let count = lengths.clone().map(chunks_of).fold(0usize, usize::saturating_add);
        if count != run.chunks.len() {
            return Err(refuse("lengths and chunks do not agree"));
        }
        let mut chunks = run.chunks.iter();
        let mut take = |len: u64| -> Result<Vec<Arc<[u8]>>, Refusal> {
            let mut left = len;
            let mut pieces = Vec::new();
            while left > 0 {
                let hash = chunks.next().ok_or_else(|| refuse("too few chunks"))?;
                let chunk = held.get(hash).ok_or_else(|| refuse("a chunk that was not sent"))?;
                if chunk.len() as u64 != left.min(CHUNK as u64) {
                    return Err(refuse("a chunk of another length"));
                }
                left -= chunk.len() as u64;
                pieces.push(Arc::clone(chunk));
            }
            Ok(pieces)
        };
        let object = take(run.program_bytes)?.concat();
        let data = take(run.data_bytes)?.concat();
        let program = self.program(&object).map_err(Refusal)?;
        let mut ranges = Vec::new();
        for range in &run.ranges {
            let offset = u64::from(range.page_offset) % ebpf::PAGE;
            let bytes = (offset + range.len).next_multiple_of(ebpf::PAGE);
            let memory = SharedMemory::new(bytes)
                .map_err(|error| Refusal(format!("the server has no memory: {error}")))?;
            let mut at = offset;
            for piece in take(range.len)? {
                if !memory.write(at, &piece) {
                    return Err(refuse("a range that is too long"));
                }
                at += piece.len() as u64;
            }
            let memory = Arc::new(memory);
            ranges.push(Range { memory, offset, len: range.len, writable: range.is_writable });
        }
        let stop = Arc::new(AtomicBool::new(false));
        let invocation = Invocation {
            ranges,
            param1: run.param1,
            param2: run.param2,
            data,
            budget: run.budget,
            stop: Some(Arc::clone(&stop)),
        };
        let is_over = (Mutex::new(false), Condvar::new());
        let (outcome, time) = std::thread::scope(|scope| {
            scope.spawn(|| {
                let over = lock(&is_over.0);
                let wait = is_over.1.wait_timeout_while(over, self.options.run_limit, |o| !*o);
                drop(wait);
                stop.store(true, Ordering::Relaxed);
            });
            let samples = run.samples.clamp(1, SAMPLES_MAX);
            let measured = program.measure(worker, &invocation, samples);
            *lock(&is_over.0) = true;
            is_over.1.notify_all();
            measured
        });
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Ok(Ran {
            result: outcome.result.map_err(|fault| fault.to_string()),
            instructions: outcome.counts.instructions.to_vec(),
            bytes_loaded: outcome.counts.bytes_loaded,
            bytes_stored: outcome.counts.bytes_stored,
            memory: memory_hash(&invocation.ranges),
            samples: time.samples,
            median_ns: ns(time.median),
            least_ns: ns(time.least),
            most_ns: ns(time.most),
        })
    }

    /// A program that is ready: compiled when it came first.
    fn program(&self, object: &[u8]) -> Result<Program, String> {
        let hash = hash_of(object);
        if let Some(program) = lock(&self.programs).get(&hash) {
            return Ok(program.clone());
        }
        let program = Program::load(object, None).map_err(|error| error.to_string())?;
        let mut programs = lock(&self.programs);
        if programs.len() >= PROGRAMS_MAX {
            programs.clear();
        }
        programs.insert(hash, program.clone());
        Ok(program)
    }
}

/// SHA-256 of the bytes of all ranges.
pub(crate) fn memory_hash(ranges: &[Range]) -> Hash {
    use sha2::{Digest as _, Sha256};
    let mut hash = Sha256::new();
    let mut piece = vec![0; CHUNK];
    for range in ranges {
        let mut at = 0;
        while at < range.len {
            let len = (range.len - at).min(CHUNK as u64) as usize;
            // It is within its memory, or the program could not have run.
            let _ = range.memory.read(range.offset + at, &mut piece[..len]);
            hash.update(&piece[..len]);
            at += len as u64;
        }
    }
    hash.finalize().into()
}

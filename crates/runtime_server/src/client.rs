//! The drive's side: asks a server how long a program takes.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ebpf::{Counts, CpuTime, Invocation, Outcome, Range};

use crate::cache::hash_of;
use crate::channel::{Channel, ChannelError, Secret, Side};
use crate::server::memory_hash;
use crate::wire::{CHUNK, CHUNKS_MAX, Hash, Kind, Ran, Run, WireRange};

/// What to run there.
#[derive(Debug)]
pub struct Job<'a> {
    /// The object that the program was loaded from.
    pub object: &'a [u8],
    /// As it runs here; its ranges are read now.
    pub invocation: &'a Invocation,
    /// Runs, of which the median counts.
    pub samples: u32,
}

/// What a server said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Processor time there.
    pub cpu_time: CpuTime,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("runtime server {server}: {why}")]
pub struct ClientError {
    server: String,
    why: String,
}

/// A connection to a server, made when it is needed, and again when it was lost.
#[derive(Debug)]
pub struct Client {
    server: String,
    secret: Secret,
    patience: Duration,
    channel: Option<Channel>,
    /// A run is under way there.
    is_running: Option<Instant>,
}

/// What goes wrong: with the connection, or with this run alone.
enum Failed {
    Channel(ChannelError),
    Run(String),
}

impl From<ChannelError> for Failed {
    fn from(error: ChannelError) -> Self {
        Self::Channel(error)
    }
}

impl Client {
    /// A client of the server at `host:port`, which must answer each run in that time.
    pub fn new(server: &str, secret: Secret, patience: Duration) -> Self {
        Self { server: server.to_owned(), secret, patience, channel: None, is_running: None }
    }

    fn failed(&mut self, failed: Failed) -> ClientError {
        let why = match failed {
            Failed::Channel(error) => {
                // The next run begins with a new connection.
                self.channel = None;
                error.to_string()
            }
            Failed::Run(why) => why,
        };
        ClientError { server: self.server.clone(), why }
    }

    /// Begins a run there: sends what the server lacks. The program may then run here.
    ///
    /// # Errors
    /// If the server cannot be reached, or refuses.
    pub fn begin(&mut self, job: &Job<'_>) -> Result<(), ClientError> {
        let deadline = Instant::now() + self.patience;
        let is_new = self.channel.is_none();
        match self.try_begin(job, deadline) {
            // A server that was restarted closed the connection that was there.
            Err(Failed::Channel(ChannelError::Closed | ChannelError::Socket(_))) if !is_new => {
                self.channel = None;
                self.try_begin(job, deadline).map_err(|failed| self.failed(failed))
            }
            Err(failed) => Err(self.failed(failed)),
            Ok(()) => Ok(()),
        }
    }

    fn try_begin(&mut self, job: &Job<'_>, deadline: Instant) -> Result<(), Failed> {
        let Job { object, invocation, samples } = job;
        let channel = match &mut self.channel {
            Some(channel) => channel,
            none => none.insert(connect(&self.server, &self.secret, deadline)?),
        };
        channel.set_deadline(deadline);
        let mut pieces: Vec<Piece<'_>> = Vec::new();
        pieces.extend(object.chunks(CHUNK).map(Piece::Bytes));
        pieces.extend(invocation.data.chunks(CHUNK).map(Piece::Bytes));
        for range in &invocation.ranges {
            let starts = (0..range.len).step_by(CHUNK);
            pieces.extend(starts.map(|at| Piece::Memory(range, at)));
        }
        if pieces.len() > CHUNKS_MAX {
            return Err(Failed::Run(format!("more than {} GiB", (CHUNKS_MAX * CHUNK) >> 30)));
        }
        // Two looks at memory that the host may change: what was hashed is what is sent, or the server refuses it.
        let chunks: Vec<Hash> = pieces.iter().map(|piece| hash_of(&piece.read())).collect();
        channel.send(Kind::Need, &chunks.concat())?;
        let (kind, lack) = channel.receive(&[Kind::Lack, Kind::Refused], deadline)?;
        if kind == Kind::Refused {
            return Err(Failed::Run(String::from_utf8_lossy(&lack).into_owned()));
        }
        if lack.len() != chunks.len().div_ceil(8) {
            return Err(ChannelError::Malformed.into());
        }
        for (n, piece) in pieces.iter().enumerate() {
            if lack[n / 8] >> (n % 8) & 1 == 1 {
                channel.send(Kind::Chunk, &piece.read())?;
            }
        }
        let ranges = invocation.ranges.iter().map(|range| WireRange {
            page_offset: (range.offset % ebpf::PAGE) as u16,
            len: range.len,
            is_writable: range.writable,
        });
        let run = Run {
            chunks,
            program_bytes: object.len() as u64,
            data_bytes: invocation.data.len() as u64,
            ranges: ranges.collect(),
            param1: invocation.param1,
            param2: invocation.param2,
            budget: invocation.budget,
            samples: *samples,
        };
        let run = postcard::to_allocvec(&run).map_err(|_| ChannelError::Malformed)?;
        channel.send(Kind::Run, &run)?;
        self.is_running = Some(deadline);
        Ok(())
    }

    /// Waits for the end of the run that was begun, and compares it with what the program did here.
    ///
    /// # Errors
    /// If the server does not answer in time, or its run came to something else.
    pub fn end(&mut self, here: &Outcome, ranges: &[Range]) -> Result<Answer, ClientError> {
        let ended = self.try_end().and_then(|ran| {
            agree(&ran, here, ranges).map_err(Failed::Run)?;
            is_plausible(&ran, self.patience).map_err(Failed::Run)?;
            let time = Duration::from_nanos;
            Ok(Answer {
                cpu_time: CpuTime {
                    samples: ran.samples,
                    median: time(ran.median_ns),
                    least: time(ran.least_ns),
                    most: time(ran.most_ns),
                },
            })
        });
        ended.map_err(|failed| self.failed(failed))
    }

    fn try_end(&mut self) -> Result<Ran, Failed> {
        let deadline = self.is_running.take().ok_or(Failed::Run("no run was begun".to_owned()))?;
        let channel = self.channel.as_mut().ok_or(ChannelError::Closed)?;
        let (kind, answer) = channel.receive(&[Kind::Ran, Kind::Refused], deadline)?;
        if kind == Kind::Refused {
            return Err(Failed::Run(String::from_utf8_lossy(&answer).into_owned()));
        }
        Ok(postcard::from_bytes(&answer).map_err(|_| ChannelError::Malformed)?)
    }
}

/// A piece of what a run needs.
enum Piece<'a> {
    Bytes(&'a [u8]),
    Memory(&'a Range, u64),
}

impl Piece<'_> {
    fn read(&self) -> Arc<[u8]> {
        match self {
            Self::Bytes(bytes) => (*bytes).into(),
            Self::Memory(range, at) => {
                let mut bytes = vec![0; (range.len - at).min(CHUNK as u64) as usize];
                // A range lies within its memory.
                let _ = range.memory.read(range.offset + at, &mut bytes);
                bytes.into()
            }
        }
    }
}

fn connect(server: &str, secret: &Secret, deadline: Instant) -> Result<Channel, ChannelError> {
    let addresses: Vec<SocketAddr> = server.to_socket_addrs()?.collect();
    let mut last = std::io::Error::other("the name has no address");
    for address in addresses {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ChannelError::Slow);
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => return Channel::open(stream, Side::Client, secret, left),
            Err(error) => last = error,
        }
    }
    Err(last.into())
}

/// Whether times can be what a run took.
fn is_plausible(ran: &Ran, patience: Duration) -> Result<(), String> {
    let Ran { samples, median_ns, least_ns, most_ns, .. } = *ran;
    let most = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
    if samples == 0 || least_ns > median_ns || median_ns > most_ns || most_ns > most {
        return Err(format!(
            "it says that {samples} runs took {least_ns} to {most_ns} ns, {median_ns} in the middle, which cannot be"
        ));
    }
    Ok(())
}

/// Whether both runs came to the same.
fn agree(there: &Ran, here: &Outcome, ranges: &[Range]) -> Result<(), String> {
    let result = here.result.clone().map_err(|fault| fault.to_string());
    if there.result != result {
        return Err(format!(
            "its run came to another result: {:?} there, {result:?} here",
            there.result
        ));
    }
    let Counts { instructions, bytes_loaded, bytes_stored } = here.counts;
    if there.instructions != instructions
        || (there.bytes_loaded, there.bytes_stored) != (bytes_loaded, bytes_stored)
    {
        return Err("its run executed other instructions".to_owned());
    }
    if there.memory != memory_hash(ranges) {
        return Err("its run left other bytes in memory, or the host wrote to them".to_owned());
    }
    Ok(())
}

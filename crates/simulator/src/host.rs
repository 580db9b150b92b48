//! The host's side of the queues: what an NVMe driver does.

use std::collections::VecDeque;

use controller::{Config, ConfigError};
use nvme_spec::{Aqa, Cc, CompletionEntry, Csts, PAGE_SIZE, Status, SubmissionEntry, offset};
use simtime::Instant;
use zerocopy::{FromBytes, IntoBytes};

use crate::commands;
use crate::memory::Buffer;
use crate::simulation::Simulation;

/// A queue pair of the host; 0 is the admin pair.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct QueueId(pub u16);

/// A finished command as the host sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Completion {
    /// Queue of the command.
    pub queue: QueueId,
    /// Its identifier.
    pub cid: u16,
    /// Its status.
    pub status: Status,
    /// Dwords 0 and 1.
    pub result: u64,
}

/// The host cannot go on.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message is the documentation")]
pub enum HostError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the controller did not become ready (CSTS = {0:#x})")]
    NotReady(u64),
    #[error("{command}: {status}")]
    Refused { command: &'static str, status: Status },
    #[error("the drive went idle with commands outstanding")]
    Stuck,
}

#[derive(Debug)]
struct QueuePair {
    submission: Buffer,
    completion: Buffer,
    entries: u32,
    tail: u32,
    head: u32,
    phase: bool,
    free_cids: Vec<u16>,
    outstanding: u32,
}

/// A host with its queue pairs.
#[derive(Debug)]
pub struct Host {
    /// The drive, host memory, and the clock.
    pub simulation: Simulation,
    pairs: Vec<QueuePair>,
    ready: VecDeque<Completion>,
}

impl Host {
    /// Builds a drive and enables its controller with an admin queue and `queues` I/O queue pairs
    /// of `entries` entries.
    ///
    /// # Errors
    /// If the drive cannot be built or refuses.
    pub fn new(config: Config, queues: u16, entries: u32) -> Result<Self, HostError> {
        let simulation = Simulation::new(config)?;
        let mut host = Self { simulation, pairs: Vec::new(), ready: VecDeque::new() };
        host.enable()?;
        for _ in 0..queues {
            host.create_queue_pair(entries)?;
        }
        Ok(host)
    }

    /// Enables the controller as Base 2.1, section 3.5.1 has it.
    fn enable(&mut self) -> Result<(), HostError> {
        let pair = self.allocate_pair(64);
        let drive = &mut self.simulation.drive;
        let aqa = Aqa::new().with_asqs_z(63).with_acqs_z(63);
        drive.register_write(offset::AQA, 4, aqa.into_bits().into());
        drive.register_write(offset::ASQ, 8, pair.submission.address);
        drive.register_write(offset::ACQ, 8, pair.completion.address);
        let cc = Cc::new().with_en(true).with_css(0b110).with_iosqes(6).with_iocqes(4);
        drive.register_write(offset::CC, 4, cc.into_bits().into());
        let csts = drive.register_read(offset::CSTS, 4);
        if !Csts::from_bits(csts as u32).rdy() {
            return Err(HostError::NotReady(csts));
        }
        self.pairs.push(pair);
        let refused =
            |c: Completion| HostError::Refused { command: "Set Features", status: c.status };
        let done = self.execute(QueueId(0), commands::set_queue_count(64))?;
        if done.status.is_success() { Ok(()) } else { Err(refused(done)) }
    }

    fn allocate_pair(&mut self, entries: u32) -> QueuePair {
        let ram = &mut self.simulation.ram;
        let submission = ram.allocate(u64::from(entries) * SubmissionEntry::SIZE as u64);
        let completion = ram.allocate(u64::from(entries) * CompletionEntry::SIZE as u64);
        ram.put(completion.address, &vec![0; completion.len as usize]);
        QueuePair {
            submission,
            completion,
            entries,
            tail: 0,
            head: 0,
            phase: true,
            free_cids: (0..(entries - 1) as u16).rev().collect(),
            outstanding: 0,
        }
    }

    fn create_queue_pair(&mut self, entries: u32) -> Result<QueueId, HostError> {
        let pair = self.allocate_pair(entries);
        let id = self.pairs.len() as u16;
        let (submission, completion) = (pair.submission.address, pair.completion.address);
        self.pairs.push(pair);
        for (command, entry) in [
            ("Create I/O Completion Queue", commands::create_cq(id, entries, completion)),
            ("Create I/O Submission Queue", commands::create_sq(id, entries, submission)),
        ] {
            let status = self.execute(QueueId(0), entry)?.status;
            if !status.is_success() {
                return Err(HostError::Refused { command, status });
            }
        }
        Ok(QueueId(id))
    }

    /// The virtual time.
    pub fn now(&self) -> Instant {
        self.simulation.now()
    }

    /// True if a queue has room for a command.
    pub fn has_room(&self, queue: QueueId) -> bool {
        !self.pairs[usize::from(queue.0)].free_cids.is_empty()
    }

    /// Commands of a queue that have not completed.
    pub fn outstanding(&self, queue: QueueId) -> u32 {
        self.pairs[usize::from(queue.0)].outstanding
    }

    /// Puts a command into a queue and rings its doorbell. The command identifier is chosen here.
    ///
    /// # Panics
    /// If the queue is full.
    pub fn submit(&mut self, queue: QueueId, entry: SubmissionEntry) -> u16 {
        let cid = self.enqueue(queue, entry);
        self.ring(queue);
        cid
    }

    /// Puts a command into a queue without telling the drive.
    ///
    /// # Panics
    /// If the queue is full.
    pub fn enqueue(&mut self, queue: QueueId, mut entry: SubmissionEntry) -> u16 {
        let pair = &mut self.pairs[usize::from(queue.0)];
        let cid = pair.free_cids.pop().expect("the queue has room");
        entry.cid.set(cid);
        let address = pair.submission.address + u64::from(pair.tail) * SubmissionEntry::SIZE as u64;
        self.simulation.ram.put(address, entry.as_bytes());
        pair.tail = (pair.tail + 1) % pair.entries;
        pair.outstanding += 1;
        cid
    }

    /// Rings a queue's doorbell and lets the drive take its commands.
    pub fn ring(&mut self, queue: QueueId) {
        let at = offset::DOORBELLS + 8 * u64::from(queue.0);
        let tail = self.pairs[usize::from(queue.0)].tail;
        self.simulation.drive.register_write(at, 4, tail.into());
        self.simulation.settle();
        self.collect();
    }

    /// The next completion of any queue, in the order of their interrupts; lets time pass until
    /// there is one. `None` if nothing will ever complete.
    pub fn next_completion(&mut self) -> Option<Completion> {
        loop {
            if let Some(completion) = self.ready_completion() {
                return Some(completion);
            }
            if !self.simulation.step() {
                return None;
            }
            self.collect();
        }
    }

    /// Takes a completion that is already there, without letting time pass.
    pub fn ready_completion(&mut self) -> Option<Completion> {
        let completion = self.ready.pop_front()?;
        Some(self.hand_out(completion))
    }

    /// The caller learns of a completion: only now may its identifier name another command.
    fn hand_out(&mut self, completion: Completion) -> Completion {
        let pair = &mut self.pairs[usize::from(completion.queue.0)];
        pair.free_cids.push(completion.cid);
        pair.outstanding -= 1;
        completion
    }

    /// Submits a command and waits for its completion; others that complete meanwhile are kept.
    ///
    /// # Errors
    /// If the drive goes idle without completing it.
    pub fn execute(
        &mut self,
        queue: QueueId,
        entry: SubmissionEntry,
    ) -> Result<Completion, HostError> {
        let cid = self.submit(queue, entry);
        let is_it = |c: &Completion| c.queue == queue && c.cid == cid;
        loop {
            if let Some(at) = self.ready.iter().position(is_it) {
                let completion = self.ready.remove(at).ok_or(HostError::Stuck)?;
                return Ok(self.hand_out(completion));
            }
            if !self.simulation.step() {
                return Err(HostError::Stuck);
            }
            self.collect();
        }
    }

    /// Takes completions from the queues whose interrupts were raised.
    fn collect(&mut self) {
        let mut taken = 0;
        while let Some(&vector) = self.simulation.interrupts().get(taken) {
            self.collect_queue(vector);
            taken += 1;
        }
        self.simulation.interrupts().clear();
    }

    /// The vector of a queue is its identifier.
    fn collect_queue(&mut self, id: u16) {
        let Some(pair) = self.pairs.get_mut(usize::from(id)) else { return };
        let before = pair.head;
        loop {
            let at = u64::from(pair.head) * CompletionEntry::SIZE as u64;
            let bytes = self.simulation.ram.get(pair.completion.address + at, 16);
            let entry = CompletionEntry::read_from_bytes(bytes).expect("an entry is 16 bytes");
            if entry.phase() != pair.phase {
                break;
            }
            pair.head += 1;
            if pair.head == pair.entries {
                pair.head = 0;
                pair.phase = !pair.phase;
            }
            let cid = entry.cid.get();
            let queue = QueueId(entry.sqid.get());
            let (status, result) = (entry.status(), entry.result.get());
            self.ready.push_back(Completion { queue, cid, status, result });
        }
        if pair.head != before {
            let at = offset::DOORBELLS + 8 * u64::from(id) + 4;
            self.simulation.drive.register_write(at, 4, pair.head.into());
        }
    }

    /// Bytes of a host page.
    pub const PAGE: u64 = PAGE_SIZE;
}

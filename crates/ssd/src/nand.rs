//! NAND timing: transactions queue at dies, dies share channel buses.
//!
//! A die does one operation at a time, in arrival order; operations of the same kind that follow
//! each other and lie on different planes run together (independent multi-plane operation). A read
//! occupies the die for tR and until its data has crossed the channel; a program first takes its
//! data over the channel, then occupies the die for tPROG; an erase occupies the die alone. A
//! channel moves one page at a time, in the order in which dies asked.

use std::collections::VecDeque;

use simtime::{Duration, EventQueue, Instant};

use crate::config::{Config, Geometry};
use crate::mapping::{Lpn, Ppa};

/// What a transaction does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Page read.
    Read,
    /// Page program.
    Program,
    /// Block erase.
    Erase,
}

/// Whom a transaction serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// A host request with this tag.
    User(u64),
    /// The read half of a partial page write with this tag.
    Modify(u64),
    /// Garbage collection of the page's plane.
    Gc,
}

/// One NAND operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transaction {
    pub(crate) operation: Operation,
    pub(crate) origin: Origin,
    pub(crate) plane: u32,
    pub(crate) ppa: Ppa,
    pub(crate) lpn: Lpn,
}

/// A finished stay of transactions on a die, for timelines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DieRecord {
    /// The die.
    pub die: u32,
    /// What it did.
    pub operation: Operation,
    /// Pages or blocks at once.
    pub planes: u8,
    /// True for garbage collection.
    pub gc: bool,
    /// When the die was taken.
    pub start: Instant,
    /// When it became free.
    pub end: Instant,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Die(u32),
    Channel(u32),
}

const PLANES_MAX: usize = 8;

#[derive(Debug, Default)]
struct Die {
    queue: VecDeque<Transaction>,
    /// Transactions running together; empty = the die is idle.
    group: Vec<Transaction>,
    /// Pages of the group that have crossed the channel.
    transferred: usize,
    start: Instant,
}

#[derive(Debug, Default)]
struct Channel {
    current: Option<u32>,
    waiting: VecDeque<u32>,
}

/// All dies and channels.
#[derive(Debug)]
pub(crate) struct Nand {
    geometry: Geometry,
    read_time: Duration,
    program_time: Duration,
    erase_time: Duration,
    transfer_time: Duration,
    dies: Vec<Die>,
    channels: Vec<Channel>,
    events: EventQueue<Event>,
    pub(crate) records: Option<Vec<DieRecord>>,
}

impl Nand {
    pub(crate) fn new(config: &Config, geometry: Geometry) -> Self {
        Self {
            geometry,
            read_time: config.read_time,
            program_time: config.program_time,
            erase_time: config.erase_time,
            transfer_time: config.channel_bandwidth.time_for(geometry.page_bytes.into()),
            dies: (0..geometry.dies).map(|_| Die::default()).collect(),
            channels: (0..geometry.channels).map(|_| Channel::default()).collect(),
            events: EventQueue::new(),
            records: None,
        }
    }

    pub(crate) fn next_event(&self) -> Option<Instant> {
        self.events.next_at()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.events.is_empty()
    }

    pub(crate) fn enqueue(&mut self, now: Instant, transaction: Transaction) {
        let die = self.geometry.die_of(transaction.plane);
        self.dies[die as usize].queue.push_back(transaction);
        self.start_next(now, die);
    }

    /// Runs one event due at or before `now`; finished transactions go to `done`.
    pub(crate) fn step(&mut self, now: Instant, done: &mut Vec<Transaction>) -> Option<Instant> {
        let (at, event) = self.events.pop_due(now)?;
        match event {
            Event::Die(die) => self.array_done(at, die, done),
            Event::Channel(channel) => self.transfer_done(at, channel, done),
        }
        Some(at)
    }

    fn start_next(&mut self, now: Instant, number: u32) {
        let die = &mut self.dies[number as usize];
        if !die.group.is_empty() {
            return;
        }
        let Some(first) = die.queue.pop_front() else { return };
        die.group.push(first);
        while die.group.len() < (self.geometry.planes_per_die as usize).min(PLANES_MAX) {
            match die.queue.front() {
                Some(t)
                    if t.operation == first.operation
                        && die.group.iter().all(|g| g.plane != t.plane) =>
                {
                    die.group.extend(die.queue.pop_front());
                }
                _ => break,
            }
        }
        die.transferred = 0;
        die.start = now;
        match first.operation {
            Operation::Read => self.events.push(now + self.read_time, Event::Die(number)),
            Operation::Program => self.request_channel(now, number),
            Operation::Erase => self.events.push(now + self.erase_time, Event::Die(number)),
        }
    }

    fn request_channel(&mut self, now: Instant, die: u32) {
        let number = self.geometry.channel_of(die);
        let channel = &mut self.channels[number as usize];
        if channel.current.is_some() {
            channel.waiting.push_back(die);
        } else {
            channel.current = Some(die);
            self.events.push(now + self.transfer_time, Event::Channel(number));
        }
    }

    fn array_done(&mut self, now: Instant, number: u32, done: &mut Vec<Transaction>) {
        let die = &self.dies[number as usize];
        if die.group[0].operation == Operation::Read {
            self.request_channel(now, number);
        } else {
            done.extend_from_slice(&die.group);
            self.release(now, number);
        }
    }

    fn transfer_done(&mut self, now: Instant, number: u32, done: &mut Vec<Transaction>) {
        let channel = &mut self.channels[number as usize];
        let die_number = channel.current.take().expect("a transfer ended on an idle channel");
        if let Some(next) = channel.waiting.pop_front() {
            self.request_channel(now, next);
        }
        let die = &mut self.dies[die_number as usize];
        let transaction = die.group[die.transferred];
        die.transferred += 1;
        let more = die.transferred < die.group.len();
        if transaction.operation == Operation::Read {
            done.push(transaction);
        }
        match (more, transaction.operation) {
            (true, _) => self.request_channel(now, die_number),
            (false, Operation::Read) => self.release(now, die_number),
            (false, _) => self.events.push(now + self.program_time, Event::Die(die_number)),
        }
    }

    fn release(&mut self, now: Instant, number: u32) {
        let die = &mut self.dies[number as usize];
        if let Some(records) = &mut self.records {
            records.push(DieRecord {
                die: number,
                operation: die.group[0].operation,
                planes: die.group.len() as u8,
                gc: die.group[0].origin == Origin::Gc,
                start: die.start,
                end: now,
            });
        }
        die.group.clear();
        self.start_next(now, number);
    }
}

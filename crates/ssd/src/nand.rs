//! NAND timing: transactions queue at dies, dies share channel buses.
//!
//! A die does one operation at a time, in arrival order; operations of the same kind that follow
//! each other and lie on different planes run together (independent multi-plane operation). A read
//! occupies the die for tR and until its data has crossed the channel; a program first takes its
//! data over the channel, then occupies the die for tPROG; an erase occupies the die alone. A
//! channel moves pages in the order in which dies ask: since requests come in time order, when it
//! will be free is all there is to know of it.

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
    /// The read half of the partial page write with this number.
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
    /// The array operation of a die is over.
    Array(u32),
    /// The next page that a die read has crossed its channel.
    Transfer(u32),
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

/// All dies and channels.
#[derive(Debug)]
pub(crate) struct Nand {
    geometry: Geometry,
    read_time: Duration,
    program_time: Duration,
    erase_time: Duration,
    transfer_time: Duration,
    dies: Vec<Die>,
    /// When each channel is free.
    channels: Vec<Instant>,
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
            channels: vec![Instant::ZERO; geometry.channels as usize],
            events: EventQueue::new(),
            records: None,
        }
    }

    #[inline]
    pub(crate) fn next_or_never(&self) -> Instant {
        self.events.next_or_never()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.events.is_empty()
    }

    pub(crate) fn enqueue(&mut self, now: Instant, transaction: Transaction) {
        let die = self.geometry.die_of(transaction.plane);
        self.dies[die as usize].queue.push_back(transaction);
        self.start_next(now, die);
    }

    /// Takes reads out of the dies' queues that have not begun and that `keep` does not want;
    /// returns how many of them were a host's.
    pub(crate) fn forget_reads(&mut self, keep: impl Fn(Origin) -> bool) -> u64 {
        let mut forgotten = 0;
        for die in &mut self.dies {
            die.queue.retain(|transaction| {
                let is_kept = transaction.operation != Operation::Read || keep(transaction.origin);
                let is_user = matches!(transaction.origin, Origin::User(_));
                forgotten += u64::from(!is_kept && is_user);
                is_kept
            });
        }
        forgotten
    }

    /// Runs one event due at or before `now`; finished transactions go to `done`.
    pub(crate) fn step(&mut self, now: Instant, done: &mut Vec<Transaction>) -> Option<Instant> {
        let (at, event) = self.events.pop_due(now)?;
        match event {
            Event::Array(die) => self.array_done(at, die, done),
            Event::Transfer(die) => self.page_arrived(at, die, done),
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
        let pages = die.group.len();
        let array_done = match first.operation {
            Operation::Read => now + self.read_time,
            Operation::Program => {
                (0..pages).map(|_| self.transfer(now, number)).last().unwrap_or(now)
                    + self.program_time
            }
            Operation::Erase => now + self.erase_time,
        };
        self.events.push(array_done, Event::Array(number));
    }

    /// Moves a page over the channel of a die; returns when it is there.
    fn transfer(&mut self, now: Instant, die: u32) -> Instant {
        let free_at = &mut self.channels[self.geometry.channel_of(die) as usize];
        *free_at = now.max(*free_at) + self.transfer_time;
        *free_at
    }

    fn array_done(&mut self, now: Instant, number: u32, done: &mut Vec<Transaction>) {
        let group = &self.dies[number as usize].group;
        if group[0].operation == Operation::Read {
            for _ in 0..self.dies[number as usize].group.len() {
                let at = self.transfer(now, number);
                self.events.push(at, Event::Transfer(number));
            }
        } else {
            done.extend_from_slice(group);
            self.release(now, number);
        }
    }

    fn page_arrived(&mut self, now: Instant, number: u32, done: &mut Vec<Transaction>) {
        let die = &mut self.dies[number as usize];
        done.push(die.group[die.transferred]);
        die.transferred += 1;
        if die.transferred == die.group.len() {
            self.release(now, number);
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

//! The flash array in time: transactions queue at dies, dies share channel buses.
//!
//! A die does one operation at a time, in arrival order; operations of the same kind that follow each other and lie on
//! different planes run together. A read occupies the die for tR and until its data has crossed the channel; a program first
//! takes its data over the channel, then occupies the die for tPROG; an erase occupies the die alone. A channel moves pages in
//! the order in which dies ask: since requests come in time order, when it will be free is all there is to know of it.
//!
//! A die that has nothing to do begins when everything that comes at that moment is there: pages of one command run together if
//! they can.
//!
//! Reads that run together obey the multi-plane address rule unless the flash has independent planes. Programs need no such
//! rule here: drives keep the frontiers of a die's planes in step, which this model does not do.
//!
//! A program that someone waits for goes ahead of everything that has not begun. It takes the first page that was meant for
//! another program of its plane, and those move back by one: pages of a block are programmed in order.

use std::collections::VecDeque;

use records::{DieOperation, DieRecord, NO_COMMAND};
use simtime::{Duration, EventQueue, Instant};

use crate::address::{Lpn, Ppa};
use crate::config::{Config, Geometry, MultiPlaneReads};
use crate::request::RequestId;

/// Whom a transaction serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// A read of the host.
    Host(RequestId),
    /// The bytes that a partly written page in this slot of the cache lacks.
    Fill(u32),
    /// The page in this slot of the cache goes to flash.
    Destage(u32),
    /// Garbage collection moves this page.
    Move(Ppa),
    /// Garbage collection erases a block.
    Erase,
}

/// One NAND operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transaction {
    pub(crate) operation: DieOperation,
    pub(crate) plane: u32,
    pub(crate) origin: Origin,
    pub(crate) ppa: Ppa,
    pub(crate) lpn: Lpn,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// The array operation of a die is over.
    Array(u32),
    /// The next page that a die read has crossed its channel.
    Transfer(u32),
}

const PLANES_MAX: usize = 8;

#[derive(Clone, Debug, Default)]
struct Die {
    channel: u32,
    queue: VecDeque<Transaction>,
    /// Programs that go ahead of the queue.
    urgent: VecDeque<Transaction>,
    /// Transactions running together; empty = the die is idle.
    group: Vec<Transaction>,
    /// Pages of the group that have crossed the channel.
    transferred: usize,
    start: Instant,
    /// When the last page of the group has crossed the channel.
    transferred_at: Instant,
    /// It is in the list of dies that are to begin.
    is_starting: bool,
}

/// All dies and channels.
#[derive(Clone, Debug)]
pub(crate) struct FlashArray {
    geometry: Geometry,
    multi_plane_reads: MultiPlaneReads,
    read_time: Duration,
    program_time: Duration,
    erase_time: Duration,
    transfer_time: Duration,
    dies: Vec<Die>,
    /// The die of each plane.
    die_of: Vec<u32>,
    /// When each channel is free.
    channels: Vec<Instant>,
    events: EventQueue<Event>,
    /// Idle dies that have something to do since `start_at`.
    starting: Vec<u32>,
    start_at: Instant,
    pub(crate) records: Option<Vec<DieRecord>>,
    /// The time of operations that have ended.
    ended: Duration,
    /// Pages that took a channel.
    transfers: u64,
}

impl FlashArray {
    pub(crate) fn new(config: &Config, geometry: Geometry) -> Self {
        let die = |die| Die { channel: geometry.channel_of(die), ..Die::default() };
        Self {
            geometry,
            multi_plane_reads: config.multi_plane_reads,
            read_time: config.read_time,
            program_time: config.program_time,
            erase_time: config.erase_time,
            transfer_time: config.channel_bandwidth.time_for(geometry.page_bytes.into()),
            dies: (0..geometry.dies).map(die).collect(),
            die_of: (0..geometry.planes).map(|plane| geometry.die_of(plane)).collect(),
            channels: vec![Instant::ZERO; geometry.channels as usize],
            events: EventQueue::new(),
            starting: Vec::new(),
            start_at: Instant::NEVER,
            records: None,
            ended: Duration::ZERO,
            transfers: 0,
        }
    }

    /// The time until now of transfers over channels, all channels together.
    pub(crate) fn channels_busy(&self, now: Instant) -> Duration {
        let asked = self.transfer_time.as_ns() * self.transfers;
        let to_come: u64 = self.channels.iter().map(|free_at| free_at.since(now).as_ns()).sum();
        Duration::from_ns(asked.saturating_sub(to_come))
    }

    /// The time until now of operations of dies, all dies together.
    pub(crate) fn dies_busy(&self, now: Instant) -> Duration {
        let busy = self.dies.iter().filter(|die| !die.group.is_empty());
        busy.fold(self.ended, |sum, die| sum + now.since(die.start))
    }

    #[inline]
    pub(crate) fn next_or_never(&self) -> Instant {
        self.events.next_or_never().min(self.start_at)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.events.is_empty() && self.starting.is_empty()
    }

    pub(crate) fn enqueue(&mut self, now: Instant, transaction: Transaction) {
        let die = self.die_of[transaction.plane as usize];
        self.dies[die as usize].queue.push_back(transaction);
        self.will_start(now, die);
    }

    /// A die has something to do, or has become idle.
    #[inline]
    fn will_start(&mut self, now: Instant, number: u32) {
        let die = &mut self.dies[number as usize];
        if die.group.is_empty() && !die.is_starting {
            die.is_starting = true;
            self.starting.push(number);
            self.start_at = now;
        }
    }

    /// Adds a program that goes ahead of everything that has not begun.
    pub(crate) fn enqueue_urgent(&mut self, now: Instant, mut transaction: Transaction) {
        let number = self.die_of[transaction.plane as usize];
        let die = &mut self.dies[number as usize];
        // From the last to the first, each takes the page of the one behind it.
        for waiting in die.queue.iter_mut().rev() {
            if matches!(waiting.origin, Origin::Destage(_)) && waiting.plane == transaction.plane {
                core::mem::swap(&mut waiting.ppa, &mut transaction.ppa);
            }
        }
        die.urgent.push_back(transaction);
        self.will_start(now, number);
    }

    /// Takes reads of the host out of the dies' queues that have not begun and that `keep` does not want; returns how many.
    pub(crate) fn forget_reads(&mut self, keep: impl Fn(RequestId) -> bool) -> u64 {
        let mut forgotten = 0;
        for die in &mut self.dies {
            die.queue.retain(|transaction| {
                let is_kept = !matches!(transaction.origin, Origin::Host(id) if !keep(id));
                forgotten += u64::from(!is_kept);
                is_kept
            });
        }
        forgotten
    }

    /// The power goes: nothing is under way any more. Returns the programs and erases that had begun.
    pub(crate) fn power_cut(&mut self) -> Vec<Transaction> {
        let mut begun = Vec::new();
        for die in &mut self.dies {
            die.queue.clear();
            die.urgent.clear();
            begun.extend(die.group.drain(..).filter(|t| t.operation != DieOperation::Read));
        }
        begun
    }

    /// Runs one event due at or before `now`; finished transactions go to `done`.
    pub(crate) fn step(&mut self, now: Instant, done: &mut Vec<Transaction>) -> Option<Instant> {
        // Whatever ends at the moment comes first.
        if self.start_at < self.events.next_or_never() && self.start_at <= now {
            return Some(self.start_all());
        }
        let (at, event) = self.events.pop_due(now)?;
        match event {
            Event::Array(die) => self.array_done(at, die, done),
            Event::Transfer(die) => self.page_arrived(at, die, done),
        }
        Some(at)
    }

    /// Idle dies begin what waits for them.
    fn start_all(&mut self) -> Instant {
        let at = core::mem::replace(&mut self.start_at, Instant::NEVER);
        let mut starting = core::mem::take(&mut self.starting);
        for number in starting.drain(..) {
            self.dies[number as usize].is_starting = false;
            self.start_next(at, number);
        }
        self.starting = starting;
        at
    }

    fn start_next(&mut self, now: Instant, number: u32) {
        let die = &mut self.dies[number as usize];
        let queue = if die.urgent.is_empty() { &mut die.queue } else { &mut die.urgent };
        let Some(first) = queue.pop_front() else { return };
        die.group.push(first);
        let page = self.geometry.page_of(first.ppa);
        let has_rule = first.operation == DieOperation::Read
            && self.multi_plane_reads == MultiPlaneReads::SamePage;
        while die.group.len() < (self.geometry.planes_per_die as usize).min(PLANES_MAX)
            && let Some(next) = queue.front()
            && next.operation == first.operation
            && !(has_rule && self.geometry.page_of(next.ppa) != page)
            && die.group.iter().all(|other| other.plane != next.plane)
        {
            die.group.extend(queue.pop_front());
        }
        die.transferred = 0;
        die.start = now;
        let pages = die.group.len();
        let array_done = match first.operation {
            DieOperation::Read => now + self.read_time,
            DieOperation::Program => {
                let channel = die.channel;
                let there = (0..pages).map(|_| self.transfer(now, channel)).last().unwrap_or(now);
                self.dies[number as usize].transferred_at = there;
                there + self.program_time
            }
            DieOperation::Erase => now + self.erase_time,
        };
        self.events.push(array_done, Event::Array(number));
    }

    /// Moves a page over a channel; returns when it is there.
    fn transfer(&mut self, now: Instant, channel: u32) -> Instant {
        self.transfers += 1;
        let free_at = &mut self.channels[channel as usize];
        *free_at = now.max(*free_at) + self.transfer_time;
        *free_at
    }

    fn array_done(&mut self, now: Instant, number: u32, done: &mut Vec<Transaction>) {
        let Die { group, channel, .. } = &self.dies[number as usize];
        if group[0].operation == DieOperation::Read {
            let (pages, channel) = (group.len(), *channel);
            for _ in 0..pages {
                let at = self.transfer(now, channel);
                self.dies[number as usize].transferred_at = at;
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
        self.ended += now.since(die.start);
        if let Some(records) = &mut self.records {
            let first = &die.group[0];
            // The pages of a group cross one after the other.
            let transfer = match first.operation {
                DieOperation::Erase => Duration::ZERO,
                _ => Duration::from_ns(self.transfer_time.as_ns() * die.group.len() as u64),
            };
            let transfer_end = if transfer.is_zero() { die.start } else { die.transferred_at };
            records.push(DieRecord {
                start_ns: die.start.as_ns(),
                end_ns: now.as_ns(),
                transfer_start_ns: transfer_end.as_ns() - transfer.as_ns(),
                transfer_end_ns: transfer_end.as_ns(),
                command: match first.origin {
                    Origin::Host(id) => id.0,
                    _ => NO_COMMAND,
                },
                die: number,
                channel: die.channel,
                operation: first.operation as u8,
                planes: die.group.len() as u8,
                is_collection: matches!(first.origin, Origin::Move(_) | Origin::Erase).into(),
                reserved: [0; 5],
            });
        }
        die.group.clear();
        if !(die.queue.is_empty() && die.urgent.is_empty()) {
            self.will_start(now, number);
        }
    }
}

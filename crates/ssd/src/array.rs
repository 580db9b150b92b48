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
//! With [`DieOrder::ReadsFirst`] reads of the host go ahead of everything else that waits for their die, and with [`Suspend`] they
//! need not wait for a program or an erase that has begun: it stops, which takes a while, and goes on when no such read waits.
//! Neither is put off for ever: after some reads in a row something else is done, and what was suspended
//! often enough runs to its end.
//!
//! Before an operation begins its command and address cross the channel, which takes no time unless it is given one.
//!
//! With cache registers a die reads the next page while the last one crosses the channel, and takes the data of the next program while it
//! programs.
//!
//! A program that someone waits for goes ahead of everything that has not begun. It takes the first page that was meant for
//! another program of its block, and those move back by one: pages of a block are programmed in order.

use std::collections::VecDeque;

use records::{DieOperation, DieRecord, NO_COMMAND};
use simtime::{Duration, EventQueue, Instant};

use crate::address::{Lpn, Ppa};
use crate::config::{Config, DieOrder, Geometry, MultiPlaneReads, PageTimes, Suspend};
use crate::request::RequestId;

/// Whom a transaction serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// A read of the host.
    Host(RequestId),
    /// The bytes that a partly written page in this slot of the cache lacks.
    Fill(u32),
    /// The pages of this batch of the cache's go to flash.
    Destage(u32),
    /// Garbage collection reads this page to move it.
    Move(Ppa),
    /// The pages of this batch of collection's go to where they move.
    Moves(u32),
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
    /// How often it was read before.
    pub(crate) tries: u8,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// The array operation of a die is over, if it is still the one with this number.
    Array(u32, u32),
    /// The next page that a die read has crossed its channel.
    Transfer(u32),
    /// The data of this program has arrived: a read that waits may suspend it.
    Loaded(u32, u32),
    /// A die has stopped what it did.
    Suspended(u32),
}

const PLANES_MAX: usize = 8;

/// Groups of reads that go ahead of something else in a row.
const READS_IN_A_ROW: u32 = 64;

/// An operation that has begun and stopped.
#[derive(Clone, Debug)]
struct Suspended {
    group: Vec<Transaction>,
    left: Duration,
    /// How often it has stopped.
    times: u32,
}

#[derive(Clone, Debug, Default)]
struct Die {
    channel: u32,
    /// Reads of the host, if they go first.
    reads: VecDeque<Transaction>,
    queue: VecDeque<Transaction>,
    /// Programs that go ahead of the queue.
    urgent: VecDeque<Transaction>,
    /// Transactions running together in the array.
    group: Vec<Transaction>,
    start: Instant,
    /// When the array is done with them, and when the data of a program had arrived.
    array_end: Instant,
    loaded_at: Instant,
    /// Numbers operations of the array: events of others mean nothing.
    number: u32,
    /// How often this operation was suspended.
    suspensions: u32,
    suspended: Option<Suspended>,
    /// Programs whose data is in the cache register, or on its way there, and when it is: they begin when the array is free.
    loaded: Option<(Vec<Transaction>, Instant)>,
    /// It is stopping.
    is_suspending: bool,
    /// Pages that were read and cross the channel.
    output: Vec<Transaction>,
    output_start: Instant,
    /// How many have.
    transferred: usize,
    /// When the last one has.
    transferred_at: Instant,
    /// The array has read pages that wait until those before are across.
    is_full: bool,
    /// Groups of reads in a row that others waited for.
    reads_in_a_row: u32,
    /// It does something since then.
    busy_since: Option<Instant>,
    /// The time in which it was busy before.
    ended: Duration,
    /// Until when it is recorded what it does.
    recorded_until: Instant,
    /// It is in the list of dies that are to begin.
    is_starting: bool,
}

impl Die {
    /// The time until now in which it was busy.
    fn busy(&self, now: Instant) -> Duration {
        self.ended + self.busy_since.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// True if the array has nothing to do.
    fn is_free(&self, has_cache_register: bool) -> bool {
        self.group.is_empty()
            && !self.is_suspending
            && (self.output.is_empty() || has_cache_register)
    }

    fn has_waiting(&self) -> bool {
        !(self.reads.is_empty() && self.queue.is_empty() && self.urgent.is_empty())
            || self.suspended.is_some()
            || self.loaded.is_some()
    }

    /// True if reads of the host that wait go first.
    fn may_read(&self) -> bool {
        let is_alone = self.suspended.is_none()
            && self.queue.is_empty()
            && self.urgent.is_empty()
            && self.loaded.is_none();
        !self.reads.is_empty() && (is_alone || self.reads_in_a_row < READS_IN_A_ROW)
    }

    /// Where the next operation comes from; `None` if it is the one that was suspended.
    fn next_queue(&mut self) -> Option<&mut VecDeque<Transaction>> {
        let has_others =
            self.suspended.is_some() || !self.queue.is_empty() || !self.urgent.is_empty();
        let has_others = has_others || self.loaded.is_some();
        if self.may_read() {
            self.reads_in_a_row += u32::from(has_others);
            return Some(&mut self.reads);
        }
        // What is suspended ends before others begin; that cannot be while pages are on their way out.
        if self.suspended.is_some() && self.output.is_empty() {
            return None;
        }
        Some(if self.urgent.is_empty() { &mut self.queue } else { &mut self.urgent })
    }
}

/// A bus that pages cross one after the other.
#[derive(Clone, Copy, Debug, Default)]
struct Channel {
    free_at: Instant,
    /// The time that it was asked for, all together.
    asked: Duration,
}

impl Channel {
    /// The time until now in which it was used.
    fn busy(&self, now: Instant) -> Duration {
        let to_come = self.free_at.since(now);
        Duration::from_ns(self.asked.as_ns().saturating_sub(to_come.as_ns()))
    }
}

/// All dies and channels.
#[derive(Clone, Debug)]
pub(crate) struct FlashArray {
    geometry: Geometry,
    multi_plane_reads: MultiPlaneReads,
    order: DieOrder,
    suspend: Suspend,
    suspend_time: Duration,
    suspend_max: u32,
    has_cache_register: bool,
    has_cache_programs: bool,
    read_time: PageTimes,
    program_time: PageTimes,
    erase_time: Duration,
    /// A command and its address, over a channel.
    command_time: Duration,
    /// A page, over a channel.
    transfer_time: Duration,
    /// The pages of a program.
    load_time: Duration,
    dies: Vec<Die>,
    /// The die of each plane.
    die_of: Vec<u32>,
    channels: Vec<Channel>,
    events: EventQueue<Event>,
    /// Idle dies that have something to do since `start_at`.
    starting: Vec<u32>,
    start_at: Instant,
    pub(crate) records: Option<Vec<DieRecord>>,
}

impl FlashArray {
    pub(crate) fn new(config: &Config, geometry: Geometry) -> Self {
        let die = |die| Die { channel: geometry.channel_of(die), ..Die::default() };
        let transfer_of = |pages: u32| {
            config.channel_bandwidth.time_for(u64::from(pages) * u64::from(geometry.page_bytes))
        };
        Self {
            geometry,
            multi_plane_reads: config.multi_plane_reads,
            // Nothing stops for a read that has its turn.
            order: if config.suspend == Suspend::Nothing {
                config.die_order
            } else {
                DieOrder::ReadsFirst
            },
            suspend: config.suspend,
            suspend_time: config.suspend_time,
            suspend_max: config.suspend_max,
            has_cache_register: config.cache_reads,
            has_cache_programs: config.cache_programs,
            read_time: config.read_time,
            program_time: config.program_time,
            erase_time: config.erase_time,
            command_time: config.bus_command_time,
            transfer_time: transfer_of(1),
            load_time: transfer_of(geometry.pages_per_program),
            dies: (0..geometry.dies).map(die).collect(),
            die_of: (0..geometry.planes).map(|plane| geometry.die_of(plane)).collect(),
            channels: vec![Channel::default(); geometry.channels as usize],
            events: EventQueue::new(),
            starting: Vec::new(),
            start_at: Instant::NEVER,
            records: None,
        }
    }

    /// Channels and dies were busy so long before.
    pub(crate) fn was_busy(&mut self, (channels, dies): &(Vec<Duration>, Vec<Duration>)) {
        self.channels.iter_mut().zip(channels).for_each(|(channel, busy)| channel.asked = *busy);
        self.dies.iter_mut().zip(dies).for_each(|(die, busy)| die.ended = *busy);
    }

    /// The time until now of transfers over each channel.
    pub(crate) fn busy_of_channels(&self, now: Instant) -> Vec<Duration> {
        self.channels.iter().map(|channel| channel.busy(now)).collect()
    }

    /// The time until now of operations of each die.
    pub(crate) fn busy_of_dies(&self, now: Instant) -> Vec<Duration> {
        self.dies.iter().map(|die| die.busy(now)).collect()
    }

    /// The time until now of transfers over channels, all channels together.
    pub(crate) fn channels_busy(&self, now: Instant) -> Duration {
        self.channels.iter().fold(Duration::ZERO, |sum, channel| sum + channel.busy(now))
    }

    /// The time until now of operations of dies, all dies together.
    pub(crate) fn dies_busy(&self, now: Instant) -> Duration {
        self.dies.iter().fold(Duration::ZERO, |sum, die| sum + die.busy(now))
    }

    #[inline]
    pub(crate) fn next_or_never(&self) -> Instant {
        self.events.next_or_never().min(self.start_at)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.events.is_empty() && self.starting.is_empty()
    }

    pub(crate) fn enqueue(&mut self, now: Instant, transaction: Transaction) {
        let number = self.die_of[transaction.plane as usize];
        let die = &mut self.dies[number as usize];
        if self.order == DieOrder::ReadsFirst && matches!(transaction.origin, Origin::Host(_)) {
            die.reads.push_back(transaction);
            self.suspend(now, number);
        } else {
            die.queue.push_back(transaction);
        }
        if self.has_cache_programs {
            self.load_next(now, number);
        }
        self.will_start(now, number);
    }

    /// Adds a read that is tried again: it goes on at once.
    pub(crate) fn enqueue_first(&mut self, now: Instant, transaction: Transaction) {
        let number = self.die_of[transaction.plane as usize];
        let die = &mut self.dies[number as usize];
        let is_first =
            self.order == DieOrder::ReadsFirst && matches!(transaction.origin, Origin::Host(_));
        let queue = if is_first { &mut die.reads } else { &mut die.queue };
        queue.push_front(transaction);
        self.will_start(now, number);
    }

    /// A read waits: a program or an erase stops for it, if it may.
    fn suspend(&mut self, now: Instant, number: u32) {
        let die = &mut self.dies[number as usize];
        let may = match die.group.first().map(|first| first.operation) {
            None | Some(DieOperation::Read) => false,
            Some(DieOperation::Program) => self.suspend == Suspend::ProgramsAndErases,
            Some(DieOperation::Erase) => self.suspend != Suspend::Nothing,
        };
        // One that ends as soon as it could stop need not stop.
        if !may || die.suspensions >= self.suspend_max || die.array_end <= now + self.suspend_time {
            return;
        }
        if now < die.loaded_at {
            self.events.push(die.loaded_at, Event::Loaded(number, die.number));
            return;
        }
        die.number += 1;
        die.suspended = Some(Suspended {
            group: std::mem::take(&mut die.group),
            left: die.array_end.since(now),
            times: die.suspensions + 1,
        });
        die.is_suspending = true;
        self.events.push(now + self.suspend_time, Event::Suspended(number));
    }

    /// A die has stopped.
    fn stopped(&mut self, now: Instant, number: u32) {
        let die = &mut self.dies[number as usize];
        die.is_suspending = false;
        if let Some(Suspended { group, times, .. }) = &die.suspended {
            let group = group.clone();
            let (start, loaded_at, is_resumed) = (die.start, die.loaded_at, *times > 1);
            self.record(number, &group, (start, now), loaded_at, is_resumed);
        }
        self.will_start(now, number);
    }

    /// A die has something to do, or has become idle.
    #[inline]
    fn will_start(&mut self, now: Instant, number: u32) {
        let die = &mut self.dies[number as usize];
        if die.is_free(self.has_cache_register) && die.has_waiting() && !die.is_starting {
            die.is_starting = true;
            self.starting.push(number);
            self.start_at = now;
        }
    }

    /// Adds a program that goes ahead of everything that has not begun.
    pub(crate) fn enqueue_urgent(&mut self, now: Instant, mut transaction: Transaction) {
        let number = self.die_of[transaction.plane as usize];
        let die = &mut self.dies[number as usize];
        // From the last to the first, each takes the page of the one behind it, in the same block.
        let block = self.geometry.block_of(transaction.ppa);
        for waiting in die.queue.iter_mut().rev() {
            if waiting.operation == DieOperation::Program
                && self.geometry.block_of(waiting.ppa) == block
            {
                core::mem::swap(&mut waiting.ppa, &mut transaction.ppa);
            }
        }
        die.urgent.push_back(transaction);
        if self.has_cache_programs {
            self.load_next(now, number);
        }
        self.will_start(now, number);
    }

    /// While a die programs it takes the data of what it programs next.
    fn load_next(&mut self, now: Instant, number: u32) {
        let planes = (self.geometry.planes_per_die as usize).min(PLANES_MAX);
        let die = &mut self.dies[number as usize];
        let is_programming =
            die.group.first().is_some_and(|first| first.operation == DieOperation::Program);
        if !is_programming || die.loaded.is_some() || !die.reads.is_empty() {
            return;
        }
        let queue = if die.urgent.is_empty() { &mut die.queue } else { &mut die.urgent };
        let mut group: Vec<Transaction> = Vec::new();
        while let Some(next) = queue.front()
            && next.operation == DieOperation::Program
            && group.len() < planes
            && group.iter().all(|other| other.plane != next.plane)
        {
            group.extend(queue.pop_front());
        }
        if group.is_empty() {
            return;
        }
        let (from, channel) = (now.max(die.loaded_at), die.channel);
        // A command and its address for each plane.
        let commands = Duration::from_ns(self.command_time.as_ns() * group.len() as u64);
        let mut there = from;
        if !commands.is_zero() {
            there = self.transfer(from, channel, commands);
        }
        for _ in 0..group.len() {
            there = self.transfer(from, channel, self.load_time);
        }
        self.dies[number as usize].loaded = Some((group, there));
    }

    /// Takes reads of the host out of the dies' queues that have not begun and that `keep` does not want; returns how many.
    pub(crate) fn forget_reads(&mut self, keep: impl Fn(RequestId) -> bool) -> u64 {
        let mut forgotten = 0;
        for die in &mut self.dies {
            for queue in [&mut die.reads, &mut die.queue] {
                queue.retain(|transaction| {
                    let is_kept = !matches!(transaction.origin, Origin::Host(id) if !keep(id));
                    forgotten += u64::from(!is_kept);
                    is_kept
                });
            }
        }
        forgotten
    }

    /// The power goes: nothing is under way any more. Returns the programs and erases that had begun.
    pub(crate) fn power_cut(&mut self) -> Vec<Transaction> {
        let mut begun = Vec::new();
        for die in &mut self.dies {
            die.reads.clear();
            die.queue.clear();
            die.urgent.clear();
            // What is only in the cache register has not begun.
            die.loaded = None;
            let suspended = die.suspended.take().map(|suspended| suspended.group);
            let all = suspended.into_iter().flatten().chain(die.group.drain(..));
            begun.extend(all.filter(|t| t.operation != DieOperation::Read));
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
            Event::Array(die, number) if self.dies[die as usize].number == number => {
                self.array_done(at, die, done);
            }
            Event::Loaded(die, number) if self.dies[die as usize].number == number => {
                if !self.dies[die as usize].reads.is_empty() {
                    self.suspend(at, die);
                }
            }
            // Of an operation that was suspended meanwhile.
            Event::Array(..) | Event::Loaded(..) => {}
            Event::Transfer(die) => self.page_arrived(at, die, done),
            Event::Suspended(die) => self.stopped(at, die),
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
        let planes = (self.geometry.planes_per_die as usize).min(PLANES_MAX);
        let die = &mut self.dies[number as usize];
        if !die.is_free(self.has_cache_register) {
            return;
        }
        if die.suspended.is_none()
            && !die.may_read()
            && let Some((group, there)) = die.loaded.take()
        {
            return self.program_loaded(now, number, group, there);
        }
        let is_busy = !die.output.is_empty();
        // Its memory is used again.
        let mut group = std::mem::take(&mut die.group);
        let Some(queue) = die.next_queue() else {
            die.group = group;
            return self.resume(now, number);
        };
        // Only reads leave the cache register alone.
        let may_begin = |first: &Transaction| !is_busy || first.operation == DieOperation::Read;
        let Some(first) = queue.front().copied().filter(may_begin) else {
            die.group = group;
            return;
        };
        group.extend(queue.pop_front());
        let is_read = first.operation == DieOperation::Read;
        let has_rule = is_read && self.multi_plane_reads == MultiPlaneReads::SamePage;
        let page = self.geometry.flash_page_of(first.ppa);
        let mut in_group = 1;
        while let Some(next) = queue.front()
            && next.operation == first.operation
            && !(has_rule && self.geometry.flash_page_of(next.ppa) != page)
        {
            if let Some(other) = group.iter().find(|other| other.plane == next.plane) {
                let is_part = is_read
                    && self.geometry.are_read_together(other.ppa, next.ppa)
                    && group.iter().all(|other| other.ppa != next.ppa);
                if !is_part {
                    break;
                }
            } else if in_group < planes {
                in_group += 1;
            } else {
                break;
            }
            group.extend(queue.pop_front());
        }
        die.group = group;
        die.start = now;
        die.busy_since.get_or_insert(now);
        die.number += 1;
        die.suspensions = 0;
        die.loaded_at = now;
        if first.operation != DieOperation::Read {
            die.reads_in_a_row = 0;
        }
        let (pages, channel) = (die.group.len(), die.channel);
        // A command and its address for each plane.
        let commands = Duration::from_ns(self.command_time.as_ns() * in_group as u64);
        let begun = if commands.is_zero() { now } else { self.transfer(now, channel, commands) };
        let die = &self.dies[number as usize];
        let array_end = match first.operation {
            DieOperation::Read => {
                let of =
                    |read: &Transaction| self.read_time.of(self.geometry.flash_page_of(read.ppa));
                begun + die.group.iter().map(of).max().unwrap_or_default()
            }
            DieOperation::Program => {
                let time = self.program_time_of(&die.group);
                let load = self.load_time;
                let there =
                    (0..pages).map(|_| self.transfer(now, channel, load)).last().unwrap_or(now);
                self.dies[number as usize].loaded_at = there;
                there + time
            }
            DieOperation::Erase => {
                self.dies[number as usize].loaded_at = begun;
                begun + self.erase_time
            }
        };
        let die = &mut self.dies[number as usize];
        die.array_end = array_end;
        self.events.push(array_end, Event::Array(number, die.number));
        if self.has_cache_programs {
            self.load_next(now, number);
        }
    }

    /// Programs whose data is there, or comes, begin.
    fn program_loaded(
        &mut self,
        now: Instant,
        number: u32,
        group: Vec<Transaction>,
        there: Instant,
    ) {
        let time = self.program_time_of(&group);
        let die = &mut self.dies[number as usize];
        die.group = group;
        die.start = now;
        die.busy_since.get_or_insert(now);
        die.number += 1;
        die.suspensions = 0;
        die.reads_in_a_row = 0;
        die.loaded_at = there;
        die.array_end = now.max(there) + time;
        self.events.push(die.array_end, Event::Array(number, die.number));
        self.load_next(now, number);
    }

    /// The longest time of programs that run together.
    fn program_time_of(&self, group: &[Transaction]) -> Duration {
        let together = self.geometry.pages_per_program / self.geometry.pages_per_read;
        let of = |transaction: &Transaction| {
            let page = self.geometry.flash_page_of(transaction.ppa);
            self.program_time.slowest(page, together)
        };
        group.iter().map(of).max().unwrap_or_default()
    }

    /// What was suspended goes on.
    fn resume(&mut self, now: Instant, number: u32) {
        let die = &mut self.dies[number as usize];
        let Some(Suspended { group, left, times }) = die.suspended.take() else { return };
        die.group = group;
        die.start = now;
        die.busy_since.get_or_insert(now);
        die.loaded_at = now;
        die.array_end = now + left;
        die.number += 1;
        die.suspensions = times;
        die.reads_in_a_row = 0;
        self.events.push(die.array_end, Event::Array(number, die.number));
    }

    /// Uses a channel for a while; returns when that is over.
    fn transfer(&mut self, now: Instant, channel: u32, time: Duration) -> Instant {
        let Channel { free_at, asked } = &mut self.channels[channel as usize];
        *asked += time;
        *free_at = now.max(*free_at) + time;
        *free_at
    }

    fn array_done(&mut self, now: Instant, number: u32, done: &mut Vec<Transaction>) {
        let die = &mut self.dies[number as usize];
        if die.group[0].operation == DieOperation::Read {
            if die.output.is_empty() {
                self.put_out(now, number);
            } else {
                die.is_full = true;
            }
            return;
        }
        let mut group = std::mem::take(&mut die.group);
        let (start, loaded_at, is_resumed) = (die.start, die.loaded_at, die.suspensions > 0);
        done.extend_from_slice(&group);
        self.record(number, &group, (start, now), loaded_at, is_resumed);
        group.clear();
        self.dies[number as usize].group = group;
        self.release(now, number);
    }

    /// Pages that the array has read go out over the channel.
    fn put_out(&mut self, now: Instant, number: u32) {
        let die = &mut self.dies[number as usize];
        std::mem::swap(&mut die.output, &mut die.group);
        (die.output_start, die.transferred) = (die.start, 0);
        let (pages, channel) = (die.output.len(), die.channel);
        for _ in 0..pages {
            let at = self.transfer(now, channel, self.transfer_time);
            self.dies[number as usize].transferred_at = at;
            self.events.push(at, Event::Transfer(number));
        }
        if self.has_cache_register {
            self.will_start(now, number);
        }
    }

    fn page_arrived(&mut self, now: Instant, number: u32, done: &mut Vec<Transaction>) {
        let die = &mut self.dies[number as usize];
        done.push(die.output[die.transferred]);
        die.transferred += 1;
        if die.transferred < die.output.len() {
            return;
        }
        let mut group = std::mem::take(&mut die.output);
        let (start, transferred_at) = (die.output_start, die.transferred_at);
        let is_full = std::mem::take(&mut die.is_full);
        self.record(number, &group, (start, now), transferred_at, false);
        group.clear();
        self.dies[number as usize].output = group;
        if is_full {
            self.put_out(now, number);
        } else {
            self.release(now, number);
        }
    }

    /// An operation, or a part of one, is over.
    fn record(
        &mut self,
        number: u32,
        group: &[Transaction],
        (start, end): (Instant, Instant),
        transferred_at: Instant,
        is_resumed: bool,
    ) {
        let Some(records) = &mut self.records else { return };
        let die = &mut self.dies[number as usize];
        let first = &group[0];
        // The pages of a group cross one after the other.
        let transfer = match first.operation {
            DieOperation::Read => self.transfer_time,
            DieOperation::Program if !is_resumed => self.load_time,
            _ => Duration::ZERO,
        };
        let transfer = Duration::from_ns(transfer.as_ns() * group.len() as u64);
        let planes = (0..).zip(group).filter(|(at, transaction)| {
            group[..*at].iter().all(|before| before.plane != transaction.plane)
        });
        // What a die reads while pages are on their way out is counted from when these are gone.
        let start = start.max(die.recorded_until);
        die.recorded_until = end;
        let transfer_end = if transfer.is_zero() { start } else { transferred_at };
        records.push(DieRecord {
            start_ns: start.as_ns(),
            end_ns: end.as_ns(),
            // What came before it began is not part of it.
            transfer_start_ns: (transfer_end.as_ns() - transfer.as_ns()).max(start.as_ns()),
            transfer_end_ns: transfer_end.as_ns().max(start.as_ns()),
            command: match first.origin {
                Origin::Host(id) => id.0,
                _ => NO_COMMAND,
            },
            die: number,
            channel: die.channel,
            operation: first.operation as u8,
            planes: planes.count() as u8,
            is_collection: matches!(
                first.origin,
                Origin::Move(_) | Origin::Moves(_) | Origin::Erase
            )
            .into(),
            is_resumed: is_resumed.into(),
            reserved: [0; 4],
        });
    }

    /// The array of a die has ended something.
    fn release(&mut self, now: Instant, number: u32) {
        let die = &mut self.dies[number as usize];
        let is_idle = die.group.is_empty() && die.output.is_empty() && !die.is_suspending;
        if is_idle && let Some(since) = die.busy_since.take() {
            die.ended += now.since(since);
        }
        self.will_start(now, number);
    }
}

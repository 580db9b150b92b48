//! Taking commands from submission queues: arbitration, places, fused pairs; how a command begins.

use nvme_spec::{Cid, CqId, Nsid, NvmOpcode, SqId, Status, SubmissionEntry};

use crate::arbiter::{Burst, Class};
use crate::command::check_flags;
use crate::controller::Controller;
use crate::event::{Event, Tag};
use crate::host_memory::HostMemory;
use crate::inflight::{Kind, Token};
use crate::limits::{
    COMMANDS_IN_FLIGHT_ADMIN, COMMANDS_IN_FLIGHT_MAX, FLASH_BACKLOG_MAX, WAITING_WRITES_MAX,
};
use crate::namespace::nvm::commands::Pair;
use crate::registers::AMS_WEIGHTED;

/// FUSE: first and second command of a fused pair.
const FUSED_FIRST: u8 = 1;
const FUSED_SECOND: u8 = 2;

/// What came of looking for a command in a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fetched {
    /// This many entries were taken.
    Commands(u32),
    /// The queue is empty, or gone.
    Nothing,
    /// The next command has no place to complete to, or no place in flight.
    NoPlace,
}

/// Where a command came from, and where its completion goes.
#[derive(Clone, Copy, Debug)]
struct Origin {
    sqid: SqId,
    cqid: CqId,
}

impl Controller {
    /// Takes commands until all queues are empty or blocked.
    pub(crate) fn fetch(&mut self, host: &mut dyn HostMemory) {
        self.session.fetch_due = false;
        self.queues.may_fetch = false;
        if self.session.async_events.has_notices() {
            self.deliver_events(host);
        }
        while !self.session.registers.csts.cfs()
            && let Some(burst) = self.queues.arbiter.next(self.session.features.current.arbitration)
        {
            self.fetch_burst(host, burst);
        }
        // What was fetched may have asked for events, or made one.
        if self.session.async_events.has_notices() {
            self.deliver_events(host);
        }
    }

    /// Takes a queue's turn.
    fn fetch_burst(&mut self, host: &mut dyn HostMemory, Burst { class, sqid, commands }: Burst) {
        let mut taken = 0;
        let mut blocked = false;
        while taken < commands && !blocked {
            match self.fetch_one(host, sqid) {
                Fetched::Commands(count) => taken += count,
                Fetched::Nothing => break,
                Fetched::NoPlace => blocked = true,
            }
        }
        self.queues.arbiter.charge(class, taken);
        let Some(queue) = &mut self.queues.submission[usize::from(sqid.0)] else { return };
        if blocked {
            self.queues.arbiter.block(class, sqid);
        } else if queue.is_empty() {
            queue.is_listed = false;
        } else {
            self.queues.arbiter.wake(class, sqid);
        }
    }

    /// Takes one command from a queue if there is one and it has a place in its completion queue.
    #[inline]
    fn fetch_one(&mut self, host: &mut dyn HostMemory, sqid: SqId) -> Fetched {
        let Some(queue) = self.queues.submission(sqid) else { return Fetched::Nothing };
        if queue.is_empty() || self.session.registers.csts.cfs() {
            return Fetched::Nothing;
        }
        let origin = Origin { sqid, cqid: queue.cqid };
        let kept = if sqid.is_admin() { 0 } else { COMMANDS_IN_FLIGHT_ADMIN };
        let is_busy = !sqid.is_admin() && self.is_flash_busy();
        let is_early = !sqid.is_admin() && self.is_front_end_busy();
        if self.session.inflight.of_hosts() >= COMMANDS_IN_FLIGHT_MAX - kept || is_busy || is_early
        {
            self.is_saturated = true;
            return Fetched::NoPlace;
        }
        if !self.queues.reserve_completion(host, origin.cqid) {
            return Fetched::NoPlace;
        }
        let Some(entry) = self.take_entry(host, sqid) else {
            self.queues.release_completion(origin.cqid);
            return Fetched::Nothing;
        };
        let fetched = if entry.fuse() != 0 && !sqid.is_admin() {
            self.fetch_fused(host, origin, &entry)
        } else {
            self.start(host, origin, &entry);
            Fetched::Commands(1)
        };
        let interval = self.subsystem.config.command_interval;
        if !sqid.is_admin()
            && !interval.is_zero()
            && let Fetched::Commands(count) = fetched
        {
            self.front_end_free_at = self.at + interval * u64::from(count);
        }
        fetched
    }

    /// True if the next command of a host cannot be taken yet: then an event looks again.
    #[inline]
    fn is_front_end_busy(&mut self) -> bool {
        if self.front_end_free_at <= self.at {
            return false;
        }
        if !self.is_front_end_awaited {
            self.is_front_end_awaited = true;
            self.subsystem.events.push(self.front_end_free_at, Event::FrontEndFree);
        }
        true
    }

    /// True if the flash model holds as much as it should for commands that were taken before.
    #[inline]
    fn is_flash_busy(&self) -> bool {
        let (reserved, subsystem) = (self.session.inflight.reserved(), &self.subsystem);
        let buffered = subsystem.ssd.buffered_pages() << subsystem.page_bits;
        let most = subsystem.config.flash.write_buffer_bytes + WAITING_WRITES_MAX;
        subsystem.ssd.backlog() + reserved.requests >= FLASH_BACKLOG_MAX
            || buffered + reserved.bytes >= most
    }

    /// Takes the entry at a queue's head. A queue that cannot be read is a fatal error (Base 2.1,
    /// section 9.5).
    #[inline]
    fn take_entry(&mut self, host: &dyn HostMemory, sqid: SqId) -> Option<SubmissionEntry> {
        let queue = self.queues.submission_mut(sqid).filter(|q| !q.is_empty())?;
        let entry = queue.peek(host);
        if entry.is_ok() {
            queue.advance();
        } else {
            self.session.registers.csts.set_cfs(true);
        }
        entry.ok()
    }

    /// A fused command was taken. The second of the pair must be next to it, rung with the same
    /// doorbell (Base 2.1, section 3.4.2); a half of a pair is aborted.
    #[cold]
    fn fetch_fused(
        &mut self,
        host: &mut dyn HostMemory,
        origin: Origin,
        first: &SubmissionEntry,
    ) -> Fetched {
        let Origin { sqid, cqid } = origin;
        let queue = self.queues.submission(sqid);
        let second = queue.filter(|q| !q.is_empty()).and_then(|q| q.peek(host).ok());
        let second = second.filter(|s| first.fuse() == FUSED_FIRST && s.fuse() == FUSED_SECOND);
        let Some(second) = second else {
            self.refuse(host, origin, first, Status::ABORTED_MISSING_FUSED.with_dnr());
            return Fetched::Commands(1);
        };
        if !self.queues.reserve_completion(host, cqid) {
            if self.queues.completion(cqid).is_some_and(|queue| queue.capacity() > 1) {
                // Both wait: the first goes back.
                self.queues.release_completion(cqid);
                if let Some(queue) = self.queues.submission_mut(sqid) {
                    queue.step_back();
                }
                return Fetched::NoPlace;
            }
            // A queue that never has two places cannot complete a pair.
            self.refuse(host, origin, first, Status::ABORTED_MISSING_FUSED.with_dnr());
            return Fetched::Commands(1);
        }
        if let Some(queue) = self.queues.submission_mut(sqid) {
            queue.advance();
        }
        self.start_fused(host, origin, first, &second);
        Fetched::Commands(2)
    }

    /// Starts compare and write: the only pair there is (FUSES bit 0).
    fn start_fused(
        &mut self,
        host: &mut dyn HostMemory,
        origin: Origin,
        first: &SubmissionEntry,
        second: &SubmissionEntry,
    ) {
        let compare = self.begin(host, origin, first);
        let write = self.begin(host, origin, second);
        let turn = &mut self.turn(host);
        let (compare, write) = match (compare, write) {
            (Some(compare), Some(write)) => (compare, write),
            (compare, write) => {
                // An identifier in use spoils the pair; the other half goes with it.
                for tag in [compare, write].into_iter().flatten() {
                    turn.complete(tag, Status::ABORTED_FAILED_FUSED, 0);
                }
                return;
            }
        };
        let same_blocks = first.nsid == second.nsid
            && first.cdw10_11() == second.cdw10_11()
            && first.cdw12.get() as u16 == second.cdw12.get() as u16;
        let valid = first.opcode == NvmOpcode::COMPARE.0
            && second.opcode == NvmOpcode::WRITE.0
            && turn.attached_nvm(Nsid(first.nsid.get())).is_some()
            && same_blocks;
        let pair = Pair { compare: (compare, first), write: (write, second) };
        let started =
            if valid { turn.begin_pair(pair) } else { Err(Status::INVALID_FIELD.with_dnr()) };
        if let Err(status) = started {
            turn.complete(compare, status, 0);
            let status = if valid { Status::ABORTED_FAILED_FUSED } else { status };
            turn.complete(write, status, 0);
        }
    }

    /// Puts a command into flight; its completion has a place. If its identifier is in use it has
    /// been completed with that status.
    #[inline]
    fn begin(
        &mut self,
        host: &mut dyn HostMemory,
        Origin { sqid, cqid }: Origin,
        entry: &SubmissionEntry,
    ) -> Option<Tag> {
        let now = self.at;
        self.hash.fetched(now, sqid, entry);
        self.subsystem.logs.began(now, sqid);
        let cid = Cid(entry.cid.get());
        let owns_cid = self.queues.submission_mut(sqid).is_some_and(|queue| queue.begin(cid));
        let timeline = self.is_recording.then(|| self.session.inflight.timeline(now));
        let token = Token::new(sqid, cqid, cid, owns_cid);
        let kind = Kind { opcode: entry.opcode, nsid: Nsid(entry.nsid.get()) };
        let tag = self.session.inflight.insert(token, kind, timeline);
        if owns_cid {
            return Some(tag);
        }
        self.turn(host).complete(tag, Status::COMMAND_ID_CONFLICT.with_dnr(), 0);
        None
    }

    /// Takes a command into flight only to complete it.
    fn refuse(
        &mut self,
        host: &mut dyn HostMemory,
        origin: Origin,
        entry: &SubmissionEntry,
        status: Status,
    ) {
        if let Some(tag) = self.begin(host, origin, entry) {
            self.turn(host).complete(tag, status, 0);
        }
    }

    /// Begins a command: decode, validate, resolve, act.
    #[inline]
    fn start(&mut self, host: &mut dyn HostMemory, origin: Origin, entry: &SubmissionEntry) {
        let Some(tag) = self.begin(host, origin, entry) else { return };
        let is_admin = origin.sqid.is_admin();
        let started = check_flags(entry, is_admin).and_then(|()| {
            if is_admin {
                self.admin(host, tag, entry)
            } else {
                self.turn(host).begin_io(tag, entry)
            }
        });
        if let Err(status) = started {
            self.turn(host).complete(tag, status, 0);
        }
        self.post_ready(host);
    }

    /// The class of a new I/O queue: under plain round robin priorities mean nothing.
    pub(crate) fn class_of(&self, priority: u8) -> Class {
        if self.session.registers.cc.ams() == AMS_WEIGHTED {
            Class::of_priority(priority)
        } else {
            Class::Urgent
        }
    }
}

//! Taking commands from submission queues: arbitration, places, fused pairs; how a command begins.

use nvme_spec::namespace::ALL_NSID;
use nvme_spec::{NvmOpcode, Status, SubmissionEntry};
use simtime::Instant;

use crate::arbiter::Class;
use crate::command::check_flags;
use crate::controller::Controller;
use crate::host_memory::HostMemory;
use crate::inflight::{Tag, Timeline, Token};
use crate::limits::{
    COMMANDS_IN_FLIGHT_ADMIN, COMMANDS_IN_FLIGHT_MAX, FLASH_BACKLOG_MAX, WAITING_WRITES_MAX,
};
use crate::namespace::{COMPUTE_NSID, MEMORY_NSID, NVM_NSID};
use crate::registers::{AMS_WEIGHTED, CSS_ALL};

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

impl Controller {
    /// Takes commands until all queues are empty or blocked.
    pub(crate) fn fetch(&mut self, now: Instant, host: &mut impl HostMemory) {
        self.fetch_due = false;
        if self.has_events() {
            self.deliver_events(now, host);
        }
        while !self.registers.csts.cfs()
            && let Some((class, sqid, burst)) = self.arbiter.next(self.features.current.arbitration)
        {
            self.fetch_burst(now, host, (class, sqid, burst));
        }
        // What was fetched may have asked for events, or made one.
        if self.has_events() {
            self.deliver_events(now, host);
        }
    }

    /// Takes a queue's turn.
    fn fetch_burst(
        &mut self,
        now: Instant,
        host: &mut impl HostMemory,
        (class, sqid, burst): (Class, u16, u32),
    ) {
        let mut taken = 0;
        let mut blocked = false;
        while taken < burst && !blocked {
            match self.fetch_one(now, host, sqid) {
                Fetched::Commands(count) => taken += count,
                Fetched::Nothing => break,
                Fetched::NoPlace => blocked = true,
            }
        }
        self.arbiter.charge(class, taken);
        let Some(queue) = &mut self.submission[usize::from(sqid)] else { return };
        if blocked {
            self.arbiter.block(class, sqid);
        } else if queue.is_empty() {
            queue.is_listed = false;
        } else {
            self.arbiter.wake(class, sqid);
        }
    }

    /// Takes one command from a queue if there is one and it has a place in its completion queue.
    #[inline]
    fn fetch_one(&mut self, now: Instant, host: &mut impl HostMemory, sqid: u16) -> Fetched {
        let Some(queue) = &self.submission[usize::from(sqid)] else { return Fetched::Nothing };
        if queue.is_empty() || self.registers.csts.cfs() {
            return Fetched::Nothing;
        }
        let cqid = queue.cqid;
        let kept = if sqid == 0 { 0 } else { COMMANDS_IN_FLIGHT_ADMIN };
        let is_busy = sqid != 0 && self.is_flash_busy();
        if self.inflight.len() >= COMMANDS_IN_FLIGHT_MAX - kept || is_busy {
            self.is_saturated = true;
            return Fetched::NoPlace;
        }
        if !self.reserve_completion(host, cqid) {
            return Fetched::NoPlace;
        }
        let Some(entry) = self.take_entry(host, sqid) else {
            self.release_completion(cqid);
            return Fetched::Nothing;
        };
        if entry.fuse() != 0 && sqid != 0 {
            return self.fetch_fused(now, host, (sqid, cqid), &entry);
        }
        self.start(now, host, (sqid, cqid), &entry);
        Fetched::Commands(1)
    }

    /// True if the flash model holds as much as it should for commands that were taken before.
    #[inline]
    fn is_flash_busy(&self) -> bool {
        let reserved = self.inflight.reserved();
        let buffered = self.ssd.buffered_pages() << self.page_bits;
        let most = self.config.flash.write_buffer_bytes + WAITING_WRITES_MAX;
        self.ssd.backlog() + reserved.requests >= FLASH_BACKLOG_MAX
            || buffered + reserved.bytes >= most
    }

    /// Takes the entry at a queue's head. A queue that cannot be read is a fatal error (Base 2.1,
    /// section 9.5).
    #[inline]
    fn take_entry(&mut self, host: &impl HostMemory, sqid: u16) -> Option<SubmissionEntry> {
        let queue = self.submission[usize::from(sqid)].as_mut().filter(|q| !q.is_empty())?;
        let entry = queue.peek(host);
        if entry.is_ok() {
            queue.advance();
        } else {
            self.registers.csts.set_cfs(true);
        }
        entry.ok()
    }

    fn release_completion(&mut self, cqid: u16) {
        if let Some(queue) = &mut self.completion[usize::from(cqid)] {
            queue.release();
        }
    }

    /// A fused command was taken. The second of the pair must be next to it, rung with the same
    /// doorbell (Base 2.1, section 3.4.2); a half of a pair is aborted.
    #[cold]
    fn fetch_fused(
        &mut self,
        now: Instant,
        host: &mut impl HostMemory,
        (sqid, cqid): (u16, u16),
        first: &SubmissionEntry,
    ) -> Fetched {
        let queue = self.submission[usize::from(sqid)].as_ref();
        let second = queue.filter(|q| !q.is_empty()).and_then(|q| q.peek(host).ok());
        let second = second.filter(|s| first.fuse() == FUSED_FIRST && s.fuse() == FUSED_SECOND);
        let Some(second) = second else {
            self.refuse(now, (sqid, cqid), first, Status::ABORTED_MISSING_FUSED.with_dnr());
            return Fetched::Commands(1);
        };
        if !self.reserve_completion(host, cqid) {
            let fits =
                self.completion[usize::from(cqid)].as_ref().is_some_and(|q| q.capacity() > 1);
            if fits {
                // Both wait: the first goes back.
                self.release_completion(cqid);
                if let Some(queue) = &mut self.submission[usize::from(sqid)] {
                    queue.step_back();
                }
                return Fetched::NoPlace;
            }
            // A queue that never has two places cannot complete a pair.
            self.refuse(now, (sqid, cqid), first, Status::ABORTED_MISSING_FUSED.with_dnr());
            return Fetched::Commands(1);
        }
        if let Some(queue) = &mut self.submission[usize::from(sqid)] {
            queue.advance();
        }
        self.start_fused(now, host, (sqid, cqid), (first, &second));
        Fetched::Commands(2)
    }

    /// Starts compare and write: the only pair there is (FUSES bit 0).
    fn start_fused(
        &mut self,
        now: Instant,
        host: &mut impl HostMemory,
        queues: (u16, u16),
        (first, second): (&SubmissionEntry, &SubmissionEntry),
    ) {
        let compare = self.begin(now, queues, first);
        let write = self.begin(now, queues, second);
        let same_blocks = |a: &SubmissionEntry, b: &SubmissionEntry| {
            a.nsid == b.nsid
                && a.cdw10_11() == b.cdw10_11()
                && a.cdw12.get() as u16 == b.cdw12.get() as u16
        };
        let (compare, write) = match (compare, write) {
            (Ok(compare), Ok(write)) => (compare, write),
            (compare, write) => {
                // An identifier in use spoils the pair; the other half goes with it.
                for tag in [compare, write].into_iter().flatten() {
                    self.complete(now, tag, Status::ABORTED_FAILED_FUSED, 0);
                }
                return;
            }
        };
        let valid = first.opcode == NvmOpcode::COMPARE.0
            && second.opcode == NvmOpcode::WRITE.0
            && first.nsid.get() == NVM_NSID
            && same_blocks(first, second);
        let started = if valid {
            check_flags(first, false)
                .and_then(|()| check_flags(second, false))
                .and_then(|()| self.open_to(NVM_NSID))
                .and_then(|()| self.compare_and_write(now, host, (compare, write), (first, second)))
        } else {
            Err(Status::INVALID_FIELD.with_dnr())
        };
        if let Err(status) = started {
            self.complete(now, compare, status, 0);
            let status = if valid { Status::ABORTED_FAILED_FUSED } else { status };
            self.complete(now, write, status, 0);
        }
    }

    /// Puts a command into flight; its completion has a place. If its identifier is in use it has
    /// been completed with that status.
    #[inline]
    fn begin(
        &mut self,
        now: Instant,
        (sqid, cqid): (u16, u16),
        entry: &SubmissionEntry,
    ) -> Result<Tag, ()> {
        self.hash.fetched(now, sqid, entry);
        self.logs.began(now, sqid);
        let cid = entry.cid.get();
        let queue = self.submission[usize::from(sqid)].as_mut();
        let owns_cid = queue.is_some_and(|q| q.begin(cid));
        let timeline = self.is_recording().then(|| Box::new(Timeline::new(now)));
        let token = Token::new(sqid, cqid, cid, owns_cid);
        let tag = self.inflight.insert(token, (entry.opcode, entry.nsid.get()), timeline);
        if owns_cid {
            return Ok(tag);
        }
        self.complete(now, tag, Status::COMMAND_ID_CONFLICT.with_dnr(), 0);
        Err(())
    }

    /// Takes a command into flight only to complete it.
    fn refuse(
        &mut self,
        now: Instant,
        queues: (u16, u16),
        entry: &SubmissionEntry,
        status: Status,
    ) {
        if let Ok(tag) = self.begin(now, queues, entry) {
            self.complete(now, tag, status, 0);
        }
    }

    /// Begins a command: decode, validate, resolve, act.
    #[inline]
    fn start(
        &mut self,
        now: Instant,
        host: &mut impl HostMemory,
        queues: (u16, u16),
        entry: &SubmissionEntry,
    ) {
        let Ok(tag) = self.begin(now, queues, entry) else { return };
        let is_admin = queues.0 == 0;
        let started = check_flags(entry, is_admin).and_then(|()| {
            if is_admin {
                self.admin(now, host, tag, entry)
            } else {
                self.io(now, host, tag, entry)
            }
        });
        if let Err(status) = started {
            self.complete(now, tag, status, 0);
        }
    }

    #[inline]
    fn io(
        &mut self,
        now: Instant,
        host: &mut impl HostMemory,
        tag: Tag,
        entry: &SubmissionEntry,
    ) -> Result<(), Status> {
        let nsid = match entry.nsid.get() {
            // Flush of all namespaces (Base 2.1, section 7.2; VWC bits 2:1).
            ALL_NSID if entry.opcode == NvmOpcode::FLUSH.0 => NVM_NSID,
            nsid => nsid,
        };
        self.open_to(nsid)?;
        let all_sets = self.registers.cc.css() == CSS_ALL;
        match nsid {
            NVM_NSID => self.nvm(now, host, tag, entry),
            MEMORY_NSID if all_sets => self.memory(now, host, tag, entry),
            COMPUTE_NSID if all_sets => self.programs(now, host, tag, entry),
            _ => Err(Status::INVALID_NAMESPACE.with_dnr()),
        }
    }

    /// The class of a new I/O queue: under plain round robin priorities mean nothing.
    pub(crate) fn class_of(&self, priority: u8) -> Class {
        if self.registers.cc.ams() == AMS_WEIGHTED {
            Class::of_priority(priority)
        } else {
            Class::Urgent
        }
    }
}

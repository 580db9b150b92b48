//! Operations on the whole drive or a whole namespace: Format NVM, Sanitize, Device Self-test
//! (Base 2.1, sections 5.1.10, 5.1.22 and 5.1.5).
//!
//! A format is a command in flight; commands to its namespace are refused until it is over, and
//! those in flight are ended first. Sanitize and self-test go on after their commands completed.

use std::collections::VecDeque;

use nvme_spec::{
    AdminOpcode, SanitizeLog, SelfTestLog, SelfTestResult, Status, namespace::ALL_NSID,
};
use simtime::{Duration, EventQueue, Instant};
use ssd::Lpn;
use zerocopy::FromZeros;

use crate::async_event::Notice;
use crate::command::{Erase, Format, SanitizeAction, SelfTest};
use crate::controller::{Controller, Event};
use crate::host_memory::HostMemory;
use crate::inflight::{Activity, InFlight, Tag};
use crate::namespace::{NAMESPACES, NVM_NSID};
use crate::reminder::Reminder;

/// Bytes of a block by LBA format index.
pub(crate) const LBA_FORMATS: [u32; 2] = [512, 4096];

/// Duration of the short self-test.
const SHORT_TEST: Duration = Duration::from_us(10_000_000);
/// Duration of the extended self-test in minutes (Identify, EDSTT).
pub(crate) const EXTENDED_TEST_MINUTES: u16 = 1;

/// Self-test results kept (Base 2.1, Figure 211).
const RESULTS_MAX: usize = 20;

/// Results of self-tests (Base 2.1, Figure 212).
const PASSED: u8 = 0;
const ABORTED_BY_COMMAND: u8 = 1;
const ABORTED_BY_RESET: u8 = 2;
const ABORTED_BY_FORMAT: u8 = 4;
const ABORTED_BY_SANITIZE: u8 = 9;
const UNUSED: u8 = 0xF;

/// How long to wait again when a sanitize finds programs still running on worker threads.
const QUIESCENCE_POLL: Duration = Duration::from_us(100);

/// A format being done.
#[derive(Clone, Copy, Debug)]
struct Formatting {
    tag: Tag,
    block_bytes: u32,
    ends: Instant,
}

/// The last sanitize operation.
#[derive(Clone, Copy, Debug)]
struct Sanitizing {
    action: SanitizeAction,
    cdw10: u32,
    started: Instant,
    ends: Instant,
    is_running: bool,
}

/// A self-test being done.
#[derive(Clone, Copy, Debug)]
struct Testing {
    is_extended: bool,
    nsid: u32,
    started: Instant,
    ends: Instant,
}

impl Testing {
    fn code(&self) -> u8 {
        if self.is_extended { 2 } else { 1 }
    }
}

/// Times a sanitize operation takes; dies work in parallel, and the planes of a die together.
#[derive(Clone, Copy, Debug)]
struct EraseTimes {
    block_erase: Duration,
    overwrite_pass: Duration,
    crypto_erase: Duration,
}

/// State of all of them.
#[derive(Debug, Default)]
pub(crate) struct Background {
    formatting: Option<Formatting>,
    sanitizing: Option<Sanitizing>,
    /// Pages written by hosts when the last sanitize ended.
    written_pages: u64,
    testing: Option<Testing>,
    format_reminder: Reminder,
    test_reminder: Reminder,
    results: VecDeque<SelfTestResult>,
}

impl Background {
    /// A format's command ended before the format did: nothing of it happens.
    pub(crate) fn format_abandoned(&mut self) {
        self.formatting = None;
    }

    /// A controller reset ends a short self-test; an extended one and a sanitize go on.
    pub(crate) fn controller_reset(&mut self, now: Instant) {
        if self.testing.is_some_and(|test| !test.is_extended) {
            self.end_test(now, ABORTED_BY_RESET);
        }
    }

    /// The power went, and is there again: a format has not happened, a self-test is over, and a sanitize goes on (Base 2.1,
    /// section 8.1.24).
    pub(crate) fn power_lost(&mut self, now: Instant, events: &mut EventQueue<Event>) {
        self.formatting = None;
        self.end_test(now, ABORTED_BY_RESET);
        (self.format_reminder, self.test_reminder) = (Reminder::default(), Reminder::default());
        if let Some(sanitizing) = self.sanitizing.filter(|s| s.is_running) {
            events.push(sanitizing.ends.max(now), Event::Sanitized);
        }
    }

    fn is_sanitizing(&self) -> bool {
        self.sanitizing.is_some_and(|s| s.is_running)
    }

    fn end_test(&mut self, now: Instant, result: u8) {
        let Some(test) = self.testing.take() else { return };
        let mut entry = SelfTestResult::new_zeroed();
        entry.status = test.code() << 4 | result;
        entry.power_on_hours.set(power_on_hours(now));
        entry.nsid.set(test.nsid);
        self.results.push_front(entry);
        self.results.truncate(RESULTS_MAX);
    }

    /// Device self-test log.
    pub(crate) fn self_test_log(&self, now: Instant) -> SelfTestLog {
        let mut log = SelfTestLog::new_zeroed();
        if let Some(test) = &self.testing {
            log.current_operation = test.code();
            log.completion = part(test.started, test.ends, now, 100) as u8;
        }
        for (n, entry) in log.results.iter_mut().enumerate() {
            match self.results.get(n) {
                Some(result) => *entry = *result,
                None => entry.status = UNUSED,
            }
        }
        log
    }
}

/// How far `now` is from `start` to `end`, in parts of `whole`.
fn part(start: Instant, end: Instant, now: Instant, whole: u64) -> u64 {
    let total = u128::from(end.since(start).as_ns().max(1));
    let done = u128::from(now.since(start).as_ns()).min(total);
    (done * u128::from(whole) / total) as u64
}

/// Hours of virtual time.
pub(crate) fn power_on_hours(now: Instant) -> u64 {
    now.as_ns() / 3_600_000_000_000
}

impl Controller {
    /// Refuses I/O commands while a sanitize runs, or a format of their namespace.
    #[inline]
    pub(crate) fn open_to(&self, nsid: u32) -> Result<(), Status> {
        if self.background.is_sanitizing() {
            return Err(Status::SANITIZE_IN_PROGRESS);
        }
        if nsid == NVM_NSID && self.background.formatting.is_some() {
            return Err(Status::FORMAT_IN_PROGRESS);
        }
        Ok(())
    }

    /// Refuses admin commands that a running sanitize excludes (Base 2.1, Figure 638).
    pub(crate) fn open_to_admin(&self, opcode: AdminOpcode) -> Result<(), Status> {
        let is_excluded = matches!(
            opcode,
            AdminOpcode::FORMAT_NVM
                | AdminOpcode::SANITIZE
                | AdminOpcode::SELF_TEST
                | AdminOpcode::LOAD_PROGRAM
                | AdminOpcode::PROGRAM_ACTIVATION
                | AdminOpcode::MEMORY_RANGE_SET
                | AdminOpcode::JOB_GROUP
        );
        if is_excluded && self.background.is_sanitizing() {
            return Err(Status::SANITIZE_IN_PROGRESS);
        }
        Ok(())
    }

    fn erase_times(&self) -> EraseTimes {
        let (geometry, flash) = (self.ssd.geometry(), &self.config.flash);
        let blocks = u64::from(geometry.blocks_per_plane);
        let block_erase = flash.erase_time * blocks;
        let pages = blocks * u64::from(geometry.pages_per_block);
        let overwrite_pass = block_erase + flash.program_time * pages;
        EraseTimes { block_erase, overwrite_pass, crypto_erase: flash.erase_time }
    }

    /// Starts formatting the NVM namespace.
    pub(crate) fn format(
        &mut self,
        now: Instant,
        host: &mut impl HostMemory,
        tag: Tag,
        command: &Format,
    ) -> Result<(), Status> {
        if !matches!(command.nsid, NVM_NSID | ALL_NSID) {
            return Err(Status::INVALID_NAMESPACE.with_dnr());
        }
        let block_bytes = LBA_FORMATS.get(usize::from(command.format));
        let block_bytes = *block_bytes.ok_or(Status::INVALID_FORMAT.with_dnr())?;
        self.check_writable()?;
        if self.background.formatting.is_some() {
            return Err(Status::FORMAT_IN_PROGRESS);
        }
        let reads_blocks = |c: &InFlight| matches!(c.activity, Activity::Copying { .. });
        let is_concerned = |c: &InFlight| c.nsid == NVM_NSID || reads_blocks(c);
        self.end_all(now, host, Status::FORMAT_IN_PROGRESS, is_concerned);
        self.background.end_test(now, ABORTED_BY_FORMAT);
        let times = self.erase_times();
        let time = match command.erase {
            Erase::Nothing | Erase::Cryptographic => times.crypto_erase,
            Erase::UserData => times.block_erase,
        };
        let ends = now + time;
        self.background.formatting = Some(Formatting { tag, block_bytes, ends });
        self.set_activity(tag, Activity::Formatting);
        self.remind_of_format(ends);
        Ok(())
    }

    fn remind_of_format(&mut self, at: Instant) {
        if self.background.format_reminder.set(at) {
            self.events.push(at, Event::Formatted);
        }
    }

    fn remind_of_test(&mut self, at: Instant) {
        if self.background.test_reminder.set(at) {
            self.events.push(at, Event::SelfTested);
        }
    }

    /// Ends I/O commands that are under way: nothing of theirs comes after this.
    fn end_all(
        &mut self,
        now: Instant,
        host: &mut impl HostMemory,
        status: Status,
        is_concerned: impl Fn(&InFlight) -> bool,
    ) {
        let is_io = |c: &InFlight| c.token().sqid != 0 && !c.is_completing();
        for tag in self.inflight.tags(|c| is_io(c) && is_concerned(c)) {
            self.end_early(now, host, tag, status);
        }
        self.forget_abandoned(now);
    }

    /// Drops what commands that ended early asked of the flash and that has not reached it.
    pub(crate) fn forget_abandoned(&mut self, now: Instant) {
        if !std::mem::take(&mut self.has_abandoned) {
            return;
        }
        self.ssd.forget(now, |id| self.inflight.contains(Tag(id.0)));
    }

    /// A format is over: the namespace is empty and has its new block size.
    pub(crate) fn formatted(&mut self, now: Instant) {
        self.background.format_reminder.happened(now);
        let Some(done) = self.background.formatting else { return };
        if done.ends > now {
            return self.remind_of_format(done.ends);
        }
        self.background.formatting = None;
        self.ssd.deallocate(now, Lpn(0), self.ssd.geometry().logical_pages);
        if std::mem::replace(&mut self.block_bytes, done.block_bytes) != done.block_bytes {
            self.namespace_changed(NVM_NSID);
        }
        self.complete(now, done.tag, Status::SUCCESS, 0);
    }

    /// Identify data of a namespace is not what the host may have read.
    pub(crate) fn namespace_changed(&mut self, nsid: u32) {
        self.logs.changed_namespaces.insert(nsid);
        self.notify(Notice::NamespaceAttribute);
    }

    /// Starts sanitizing the drive.
    pub(crate) fn sanitize(
        &mut self,
        now: Instant,
        host: &mut impl HostMemory,
        tag: Tag,
        (action, cdw10): (SanitizeAction, u32),
    ) -> Result<(), Status> {
        if action != SanitizeAction::ExitFailureMode {
            self.check_writable()?;
            if self.background.formatting.is_some() {
                return Err(Status::FORMAT_IN_PROGRESS);
            }
            self.end_all(now, host, Status::SANITIZE_IN_PROGRESS, |_| true);
            self.background.end_test(now, ABORTED_BY_SANITIZE);
            let times = self.erase_times();
            let time = match action {
                SanitizeAction::Overwrite { passes } => times.overwrite_pass * u64::from(passes),
                SanitizeAction::BlockErase => times.block_erase,
                _ => times.crypto_erase,
            };
            let (started, ends) = (now, now + time);
            self.background.sanitizing =
                Some(Sanitizing { action, cdw10, started, ends, is_running: true });
            self.events.push(ends, Event::Sanitized);
        }
        self.complete(now, tag, Status::SUCCESS, 0);
        Ok(())
    }

    /// A sanitize operation's time is over: nothing that a host wrote is left, in flash or in
    /// device memory. Programs stay; a program still running on a worker could write memory, so it
    /// is waited for.
    pub(crate) fn sanitized(&mut self, now: Instant) {
        if self.compute.is_running_programs() {
            return self.events.push(now + QUIESCENCE_POLL, Event::Sanitized);
        }
        self.ssd.deallocate(now, Lpn(0), self.ssd.geometry().logical_pages);
        self.memory.clear();
        self.logs.clear_program_text();
        self.background.written_pages = self.ssd.statistics().host_page_writes;
        if let Some(sanitizing) = &mut self.background.sanitizing {
            sanitizing.is_running = false;
        }
        self.notify(Notice::SanitizeCompleted);
    }

    /// Sanitize status log.
    pub(crate) fn sanitize_log(&self) -> SanitizeLog {
        let mut log = SanitizeLog::default();
        let seconds = |time: Duration| (time.as_ns().div_ceil(1_000_000_000) as u32).into();
        let times = self.erase_times();
        let unknown = u32::MAX.into();
        log.estimates = [
            seconds(times.overwrite_pass),
            seconds(times.block_erase),
            seconds(times.crypto_erase),
            unknown,
            unknown,
            unknown,
        ];
        log.sprog.set(u16::MAX);
        let mut status = 0;
        if let Some(last) = self.background.sanitizing {
            log.scdw10.set(last.cdw10);
            status = if last.is_running { 2 } else { 1 };
            if last.is_running {
                log.sprog.set(part(last.started, last.ends, self.now, 65_535) as u16);
            }
            if let SanitizeAction::Overwrite { passes } = last.action {
                let done = part(last.started, last.ends, self.now, u64::from(passes));
                status |= (done as u16) << 3;
            }
        }
        let is_erased = self.background.written_pages == self.ssd.statistics().host_page_writes;
        log.sstat.set(status | u16::from(is_erased) << 8);
        log
    }

    /// Starts or aborts a self-test.
    pub(crate) fn self_test(
        &mut self,
        now: Instant,
        nsid: u32,
        test: SelfTest,
    ) -> Result<(), Status> {
        let is_known = matches!(nsid, 0 | ALL_NSID) || NAMESPACES.iter().any(|(id, _)| *id == nsid);
        if !is_known {
            return Err(Status::INVALID_NAMESPACE.with_dnr());
        }
        let SelfTest::Start { is_extended } = test else {
            self.background.end_test(now, ABORTED_BY_COMMAND);
            return Ok(());
        };
        if self.background.testing.is_some() {
            return Err(Status::SELF_TEST_IN_PROGRESS);
        }
        let minutes = u64::from(EXTENDED_TEST_MINUTES);
        let extended = Duration::from_us(60_000_000) * minutes;
        let ends = now + if is_extended { extended } else { SHORT_TEST };
        self.background.testing = Some(Testing { is_extended, nsid, started: now, ends });
        self.remind_of_test(ends);
        Ok(())
    }

    /// A self-test's time may be over.
    pub(crate) fn self_tested(&mut self, now: Instant) {
        self.background.test_reminder.happened(now);
        match self.background.testing {
            Some(test) if test.ends > now => self.remind_of_test(test.ends),
            Some(_) => self.background.end_test(now, PASSED),
            None => {}
        }
    }
}

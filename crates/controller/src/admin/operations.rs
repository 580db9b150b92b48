//! Operations on the whole drive or a whole namespace: Format NVM, Sanitize, Device Self-test
//! (Base 2.1, sections 5.1.10, 5.1.22 and 5.1.5).
//!
//! A format is a command in flight; commands to its namespaces are refused until it is over, and
//! those in flight are ended first. Sanitize and self-test go on after their commands completed.

use nvme_spec::{AdminOpcode, Nsid, SanitizeLog, Status};
use simtime::{Duration, Instant};
use ssd::Lpn;

use crate::async_event::Notice;
use crate::attachments::Attachments;
use crate::background::{Formatting, Sanitizing, TestResult, Testing, part};
use crate::command::{Erase, Format, SanitizeAction, SelfTest};
use crate::event::{Event, Tag};
use crate::inflight::InFlight;
use crate::namespace::nvm::{LBA_FORMATS, NvmNamespace};
use crate::subsystem::Subsystem;
use crate::turn::Turn;
use crate::waiting::Waiting;

/// Duration of the short self-test.
const SHORT_TEST: Duration = Duration::from_us(10_000_000);
/// Duration of the extended self-test in minutes (Identify, EDSTT).
pub(crate) const EXTENDED_TEST_MINUTES: u16 = 1;

/// How long to wait again when a sanitize finds programs still running on worker threads.
const QUIESCENCE_POLL: Duration = Duration::from_us(100);

/// Times a sanitize operation takes; dies work in parallel, and the planes of a die together.
#[derive(Clone, Copy, Debug)]
struct EraseTimes {
    block_erase: Duration,
    overwrite_pass: Duration,
    crypto_erase: Duration,
}

impl Turn<'_> {
    /// Refuses I/O commands while a sanitize runs, or a format of their namespace.
    #[inline]
    pub(crate) fn check_open(&self, namespace: &NvmNamespace) -> Result<(), Status> {
        self.check_no_sanitize()?;
        if namespace.is_formatting {
            return Err(Status::FORMAT_IN_PROGRESS);
        }
        // Of the command sets a host enabled only that of the others.
        if namespace.layout.is_some() && !self.session.has_all_sets() {
            return Err(Status::INVALID_NAMESPACE.with_dnr());
        }
        Ok(())
    }

    /// Refuses I/O commands while a sanitize runs.
    #[inline]
    pub(crate) fn check_no_sanitize(&self) -> Result<(), Status> {
        if self.subsystem.background.is_sanitizing() {
            return Err(Status::SANITIZE_IN_PROGRESS);
        }
        Ok(())
    }

    /// Refuses admin commands that a running sanitize excludes (Base 2.1, Figure 638).
    pub(crate) fn check_admin_open(&self, opcode: AdminOpcode) -> Result<(), Status> {
        let is_excluded = matches!(
            opcode,
            AdminOpcode::FORMAT_NVM
                | AdminOpcode::SANITIZE
                | AdminOpcode::SELF_TEST
                | AdminOpcode::LOAD_PROGRAM
                | AdminOpcode::PROGRAM_ACTIVATION
                | AdminOpcode::MEMORY_RANGE_SET
                | AdminOpcode::JOB_GROUP
                | AdminOpcode::NAMESPACE_MANAGEMENT
                | AdminOpcode::NAMESPACE_ATTACHMENT
        );
        if is_excluded {
            self.check_no_sanitize()?;
        }
        Ok(())
    }
}

impl Subsystem {
    /// The times that the whole drive takes.
    fn erase_times(&self) -> EraseTimes {
        let geometry = self.ssd.geometry();
        self.erase_times_of(geometry.logical_pages)
    }

    /// The times that so many logical pages take: their part of the blocks of every plane.
    fn erase_times_of(&self, pages: u64) -> EraseTimes {
        let (geometry, flash) = (self.ssd.geometry(), &self.config.flash);
        let all = u128::from(geometry.good_blocks_per_plane());
        let part = (all * u128::from(pages)).div_ceil(u128::from(geometry.logical_pages));
        let blocks = u64::try_from(part).unwrap_or(u64::MAX);
        let block_erase = flash.erase_time * blocks;
        let pages = blocks * u64::from(geometry.pages_per_block);
        let overwrite_pass = block_erase + flash.program_time.mean() * pages;
        EraseTimes { block_erase, overwrite_pass, crypto_erase: flash.erase_time }
    }

    /// Those of a controller's namespaces that are NVM namespaces and that a command names.
    fn named_nvm(&self, attached: &Attachments, nsid: Nsid) -> Vec<Nsid> {
        let all = self.namespaces.nvm_all().map(|namespace| namespace.nsid);
        all.filter(|id| (nsid == Nsid::ALL || *id == nsid) && attached.contains(*id)).collect()
    }

    fn remind_of_format(&mut self) {
        let first = self.background.formatting.iter().map(|format| format.ends).min();
        if let Some(at) = first
            && self.background.format_reminder.set(at)
        {
            self.events.push(at, Event::Formatted);
        }
    }

    fn remind_of_test(&mut self, at: Instant) {
        if self.background.test_reminder.set(at) {
            self.events.push(at, Event::SelfTested);
        }
    }

    /// Empties an NVM namespace.
    pub(crate) fn empty(&mut self, now: Instant, nsid: Nsid) {
        if let Some(namespace) = self.namespaces.nvm(nsid) {
            if let Some(history) = &mut self.history {
                history.emptied(now, namespace);
            }
            for (lpn, count) in namespace.pieces() {
                self.ssd.deallocate(now, lpn, count);
            }
        }
        self.clear_zones(nsid);
    }

    /// Sanitize status log.
    pub(crate) fn sanitize_log(&self, now: Instant) -> SanitizeLog {
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
                log.sprog.set(part(last.started, last.ends, now, 65_535) as u16);
            }
            if let SanitizeAction::Overwrite { passes } = last.action {
                let done = part(last.started, last.ends, now, u64::from(passes));
                status |= (done as u16) << 3;
            }
        }
        let is_erased = self.background.written_pages == self.ssd.statistics().host_page_writes;
        log.sstat.set(status | u16::from(is_erased) << 8);
        log
    }
}

/// Starts formatting NVM namespaces: one, or all that are attached.
pub(crate) fn format(turn: &mut Turn<'_>, tag: Tag, command: &Format) -> Result<(), Status> {
    if command.nsid != Nsid::ALL {
        turn.active(command.nsid)?;
    }
    let nsids = turn.subsystem.named_nvm(&turn.session.attached, command.nsid);
    if nsids.is_empty() {
        return Err(Status::INVALID_NAMESPACE.with_dnr());
    }
    let block_bytes = LBA_FORMATS.get(usize::from(command.format));
    let block_bytes = *block_bytes.ok_or(Status::INVALID_FORMAT.with_dnr())?;
    check_zone_format(turn, &nsids, block_bytes)?;
    let pages = check_erasable(turn, &nsids)?;
    end_users(turn, &nsids, Status::FORMAT_IN_PROGRESS);
    turn.subsystem.background.end_test(turn.now, TestResult::EndedByFormat);
    let times = turn.subsystem.erase_times_of(pages);
    let time = match command.erase {
        Erase::Nothing | Erase::Cryptographic => times.crypto_erase,
        Erase::UserData => times.block_erase,
    };
    turn.subsystem.namespaces.set_formatting(&nsids, true);
    let format = Formatting { tag, nsids, block_bytes, ends: turn.now + time };
    turn.subsystem.background.formatting.push(format);
    turn.wait(tag, Waiting::Format);
    turn.subsystem.remind_of_format();
    Ok(())
}

/// Blocks of zones are what the flash's map knows: a zone is written up to a block, also after a loss of power.
fn check_zone_format(turn: &Turn<'_>, nsids: &[Nsid], block_bytes: u32) -> Result<(), Status> {
    let mut named = turn.subsystem.namespaces.nvm_all().filter(|nvm| nsids.contains(&nvm.nsid));
    if named.any(|nvm| nvm.layout.is_some() && nvm.block_bytes != block_bytes) {
        return Err(Status::INVALID_FORMAT.with_dnr());
    }
    Ok(())
}

/// Checks that namespaces may lose what they hold; how many pages they have.
pub(crate) fn check_erasable(turn: &Turn<'_>, nsids: &[Nsid]) -> Result<u64, Status> {
    let mut pages = 0;
    for namespace in turn.subsystem.namespaces.nvm_all().filter(|n| nsids.contains(&n.nsid)) {
        namespace.check_writable()?;
        if namespace.is_formatting {
            return Err(Status::FORMAT_IN_PROGRESS);
        }
        pages += namespace.page_count();
    }
    Ok(pages)
}

/// Ends the commands that use namespaces which are going to change: their own, and copies of their blocks.
pub(crate) fn end_users(turn: &mut Turn<'_>, nsids: &[Nsid], status: Status) {
    turn.end_all(status, |c: &InFlight<Waiting>| {
        nsids.contains(&c.kind.nsid) || c.waiting.copies_from(nsids)
    });
}

/// Formats may be over: their namespaces are empty and have their new block size.
pub(crate) fn formatted(turn: &mut Turn<'_>) {
    let now = turn.now;
    turn.subsystem.background.format_reminder.happened(now);
    let over = |format: &mut Formatting| format.ends <= now;
    let done: Vec<_> = turn.subsystem.background.formatting.extract_if(.., over).collect();
    for Formatting { tag, nsids, block_bytes, .. } in done {
        turn.subsystem.namespaces.set_formatting(&nsids, false);
        for nsid in nsids {
            turn.subsystem.empty(now, nsid);
            let Some(namespace) = turn.subsystem.namespaces.nvm_mut(nsid) else { continue };
            if namespace.set_format(block_bytes) {
                turn.session.namespace_changed(nsid);
                turn.subsystem.note_namespace(now, nsid);
            }
        }
        // Zones are empty when their pages are.
        turn.subsystem.save(now, &turn.session.attached);
        let kept = turn.subsystem.make_durable();
        let kept = kept.and_then(|()| turn.subsystem.save_durably(now, &turn.session.attached));
        turn.complete(tag, kept.err().unwrap_or(Status::SUCCESS), 0);
    }
    turn.subsystem.remind_of_format();
}

/// Starts sanitizing the drive.
pub(crate) fn sanitize(
    turn: &mut Turn<'_>,
    tag: Tag,
    action: SanitizeAction,
    cdw10: u32,
) -> Result<(), Status> {
    if action != SanitizeAction::ExitFailureMode {
        for namespace in turn.subsystem.namespaces.nvm_all() {
            namespace.check_writable()?;
        }
        if !turn.subsystem.background.formatting.is_empty() {
            return Err(Status::FORMAT_IN_PROGRESS);
        }
        turn.end_all(Status::SANITIZE_IN_PROGRESS, |_| true);
        let started = turn.now;
        let subsystem = &mut *turn.subsystem;
        subsystem.background.end_test(started, TestResult::EndedBySanitize);
        let times = subsystem.erase_times();
        let time = match action {
            SanitizeAction::Overwrite { passes } => times.overwrite_pass * u64::from(passes),
            SanitizeAction::BlockErase => times.block_erase,
            _ => times.crypto_erase,
        };
        let ends = started + time;
        subsystem.background.sanitizing =
            Some(Sanitizing { action, cdw10, started, ends, is_running: true });
        subsystem.events.push(ends, Event::Sanitized);
    }
    turn.complete(tag, Status::SUCCESS, 0);
    Ok(())
}

/// A sanitize operation's time is over: nothing that a host wrote is left, in flash or in
/// device memory. Programs stay; a program still running on a worker could write memory, so it
/// is waited for.
pub(crate) fn sanitized(turn: &mut Turn<'_>) {
    let subsystem = &mut *turn.subsystem;
    if subsystem.namespaces.is_running_programs() {
        return subsystem.events.push(turn.now + QUIESCENCE_POLL, Event::Sanitized);
    }
    if let Some(history) = &mut subsystem.history {
        subsystem.namespaces.nvm_all().for_each(|namespace| history.emptied(turn.now, namespace));
    }
    subsystem.ssd.deallocate(turn.now, Lpn(0), subsystem.ssd.geometry().logical_pages);
    subsystem.namespaces.zones_all_mut().for_each(|zones| zones.clear());
    subsystem.save(turn.now, &turn.session.attached);
    // What cannot be made durable is told to the drive's user by the store.
    let _ = subsystem.make_durable();
    subsystem.ssd.scrub();
    let _ = subsystem.make_durable();
    subsystem.namespaces.clear_memory();
    subsystem.own_memory.clear();
    subsystem.background.written_pages = subsystem.ssd.statistics().host_page_writes;
    if let Some(sanitizing) = &mut subsystem.background.sanitizing {
        sanitizing.is_running = false;
    }
    turn.session.notify(Notice::SanitizeCompleted);
}

/// Starts or aborts a self-test.
pub(crate) fn self_test(turn: &mut Turn<'_>, nsid: Nsid, test: SelfTest) -> Result<(), Status> {
    if !matches!(nsid, Nsid::NONE | Nsid::ALL) {
        turn.active(nsid)?;
    }
    let started = turn.now;
    let SelfTest::Start { is_extended } = test else {
        turn.subsystem.background.end_test(started, TestResult::EndedByCommand);
        return Ok(());
    };
    if turn.subsystem.background.testing.is_some() {
        return Err(Status::SELF_TEST_IN_PROGRESS);
    }
    let minutes = u64::from(EXTENDED_TEST_MINUTES);
    let extended = Duration::from_us(60_000_000) * minutes;
    let ends = started + if is_extended { extended } else { SHORT_TEST };
    turn.subsystem.background.testing = Some(Testing { is_extended, nsid, started, ends });
    turn.subsystem.remind_of_test(ends);
    Ok(())
}

/// A self-test's time may be over.
pub(crate) fn self_tested(turn: &mut Turn<'_>) {
    let now = turn.now;
    turn.subsystem.background.test_reminder.happened(now);
    match turn.subsystem.background.testing {
        Some(test) if test.ends > now => turn.subsystem.remind_of_test(test.ends),
        Some(_) => turn.subsystem.background.end_test(now, TestResult::Passed),
        None => {}
    }
}

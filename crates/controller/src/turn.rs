//! What is lent down the call chain while a command, an arrival or an event is dealt with.

use nvme_spec::{Nsid, Status};
use records::Stage;
use simtime::Instant;

use crate::event::{Event, Tag};
use crate::host_memory::HostMemory;
use crate::inflight::{HostData, InFlight};
use crate::namespace::{Namespace, check_nsid};
use crate::session::Session;
use crate::subsystem::Subsystem;
use crate::waiting::Waiting;

/// The time, the host, the controller that is meant, and the subsystem behind it.
pub(crate) struct Turn<'a> {
    pub(crate) now: Instant,
    pub(crate) host: &'a mut dyn HostMemory,
    pub(crate) session: &'a mut Session,
    pub(crate) subsystem: &'a mut Subsystem,
}

impl Turn<'_> {
    /// The command a tag names; `None` if it ended already.
    #[inline]
    pub(crate) fn command(&mut self, tag: Tag) -> Option<&mut InFlight<Waiting>> {
        self.session.inflight.get_mut(tag)
    }

    /// The attached namespace of an identifier. One that no namespace can have is invalid; one that none has, or none that is
    /// attached, is inactive (Base 2.1, section 3.2.1.5).
    pub(crate) fn active(&self, nsid: Nsid) -> Result<&Namespace, Status> {
        check_nsid(nsid)?;
        let is_attached = self.session.attached.contains(nsid);
        let namespace = self.subsystem.namespaces.get(nsid).filter(|_| is_attached);
        namespace.ok_or(Status::INVALID_FIELD.with_dnr())
    }

    /// True if what a command writes is in flash, or as safe, before it ends: it says so, or there is no volatile write cache in force.
    #[inline]
    pub(crate) fn must_be_durable(&self, fua: bool) -> bool {
        fua || !self.session.has_write_cache() || !self.subsystem.has_write_cache()
    }

    /// From now on a command waits for this.
    #[inline]
    pub(crate) fn wait(&mut self, tag: Tag, waiting: impl Into<Waiting>) {
        if let Some(command) = self.command(tag) {
            command.waiting = waiting.into();
        }
    }

    /// Notes what the SMART log counts if a command succeeds.
    #[inline]
    pub(crate) fn will_count(&mut self, tag: Tag, counts: HostData) {
        if let Some(command) = self.command(tag) {
            command.counts = counts;
        }
    }

    /// Schedules a command's completion: all that is left is the firmware's time.
    #[inline]
    pub(crate) fn complete(&mut self, tag: Tag, status: Status, result: u64) {
        self.complete_at(self.now, tag, status, result);
    }

    /// As [`Self::complete`], for a command that is done at a later time.
    #[inline]
    pub(crate) fn complete_at(&mut self, at: Instant, tag: Tag, status: Status, result: u64) {
        let ends = at + self.subsystem.config.command_time;
        let Some(command) = self.session.inflight.get_mut(tag) else { return };
        command.status = status;
        command.result = result;
        command.waiting = Waiting::Completion;
        command.end_stage(ends, Stage::Command);
        self.subsystem.events.push(ends, Event::Complete(tag));
    }

    /// As [`Self::complete_at`] without a result, for what is common: on a drive without firmware time, a command that is
    /// done now needs no event to end.
    #[inline]
    pub(crate) fn finish_at(&mut self, at: Instant, tag: Tag, status: Status) {
        if at > self.now || !self.subsystem.config.command_time.is_zero() {
            return self.complete_at(at, tag, status, 0);
        }
        if let Some(command) = self.session.inflight.get_mut(tag) {
            (command.status, command.result) = (status, 0);
            self.session.ready.push(tag);
        }
    }

    /// Ends a command early with a status; its completion goes to the place it has, before anything else happens. The write of
    /// a fused pair fails with its compare.
    pub(crate) fn end_early(&mut self, tag: Tag, status: Status) {
        let Some(command) = self.command(tag).filter(|command| !command.is_ended) else { return };
        command.is_ended = true;
        let partner = command.waiting.fused_write();
        abandon(self.now, self.session, self.subsystem, tag);
        if let Some(command) = self.command(tag) {
            (command.status, command.result) = (status, 0);
        }
        self.session.has_abandoned = true;
        self.session.ready.push(tag);
        if let Some(write) = partner {
            self.end_early(write, Status::ABORTED_FAILED_FUSED);
        }
    }

    /// Ends I/O commands that are under way and wait for what is going to change: nothing of theirs comes after this.
    pub(crate) fn end_all(
        &mut self,
        status: Status,
        is_concerned: impl Fn(&InFlight<Waiting>) -> bool,
    ) {
        // The write of a fused pair ends with its compare.
        let is_io = |c: &InFlight<Waiting>| {
            !c.token().sqid.is_admin() && !c.is_completing() && !c.waiting.is_second_of_pair()
        };
        for tag in self.session.inflight.tags(|c| is_io(c) && is_concerned(c)) {
            self.end_early(tag, status);
        }
        self.forget_abandoned();
    }

    /// Drops what commands that ended early asked of the flash and that has not reached it.
    pub(crate) fn forget_abandoned(&mut self) {
        if !std::mem::take(&mut self.session.has_abandoned) {
            return;
        }
        let inflight = &self.session.inflight;
        self.subsystem.ssd.forget(self.now, |id| inflight.waits(Tag(id.0)));
    }
}

/// Stops a command's work in the models. What it holds a lease on is free when no worker uses it any more.
pub(crate) fn abandon(now: Instant, session: &mut Session, subsystem: &mut Subsystem, tag: Tag) {
    let Some(command) = session.inflight.get_mut(tag) else { return };
    match command.take_waiting() {
        Waiting::Job(_) => {
            subsystem.engine.cancel(now, compute::JobId(tag.0));
        }
        Waiting::Stream(stream) => {
            for step in stream.steps() {
                abandon(now, session, subsystem, step);
                if let Some(ending) = session.inflight.remove(step) {
                    ending.token.end();
                }
            }
        }
        Waiting::Format => {
            let ended = subsystem.background.format_abandoned(tag);
            subsystem.namespaces.set_formatting(&ended, false);
        }
        _ => {}
    }
}

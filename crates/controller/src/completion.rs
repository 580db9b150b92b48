//! How commands end: completions, interrupts, events for the host.

use nvme_spec::{CommandSet, CompletionEntry, CqId, Nsid};
use records::CommandRecord;

use crate::controller::Controller;
use crate::event::{Event, Tag};
use crate::host_memory::HostMemory;
use crate::inflight::Ending;
use crate::interrupt::Raise;
use crate::namespace::Namespace;
use crate::namespace::programs::stream;
use crate::subsystem::Subsystem;

/// The command set of a namespace; NVM if there is none.
fn command_set(subsystem: &Subsystem, nsid: Nsid) -> CommandSet {
    subsystem.namespaces.get(nsid).map_or(CommandSet::NVM, Namespace::set)
}

impl Controller {
    /// Ends the commands that a turn left to end at once.
    #[inline]
    pub(crate) fn post_ready(&mut self, host: &mut dyn HostMemory) {
        match self.session.ready.len() {
            0 => {}
            // What is common needs no list of its own.
            1 => {
                if let Some(tag) = self.session.ready.pop() {
                    self.post(host, tag);
                }
            }
            _ => self.post_all_ready(host),
        }
    }

    #[cold]
    fn post_all_ready(&mut self, host: &mut dyn HostMemory) {
        for tag in std::mem::take(&mut self.session.ready) {
            self.post(host, tag);
        }
    }

    /// Ends a command whose time has come.
    #[inline]
    pub(crate) fn post(&mut self, host: &mut dyn HostMemory, tag: Tag) {
        let Some(ending) = self.session.inflight.remove(tag) else { return };
        if let Some(history) = &mut self.subsystem.history {
            history.ended(self.at, tag, ending.status.is_success());
        }
        match ending.step {
            None => self.end(host, tag, ending),
            Some(step) => {
                if ending.status.is_success() {
                    self.subsystem.logs.count_data(ending.counts);
                }
                stream::step_ended(&mut self.turn(host), tag, step, &ending);
                ending.token.end();
                self.relieve();
                self.post_ready(host);
            }
        }
    }

    /// Ends a command: its completion goes to the place that was promised.
    #[inline]
    fn end(&mut self, host: &mut dyn HostMemory, tag: Tag, ending: Ending) {
        let now = self.at;
        let Ending { token, kind, status, result, counts, late, timeline, step: _ } = ending;
        let late = self.now.since(now) + late;
        self.session.lateness.count(late);
        self.hash.completed(now, token.sqid, token.cid, status, result);
        let logs = &mut self.subsystem.logs;
        let is_counted = logs.count(status, counts);
        logs.ended(now, token.sqid);
        if !is_counted {
            let set = command_set(&self.subsystem, kind.nsid);
            self.subsystem.logs.log_error(&token, kind, status, set);
        }
        let head = self.queues.submission_mut(token.sqid).map_or(0, |queue| {
            if token.owns_cid {
                queue.finish(token.cid);
            }
            queue.head()
        });
        let entry = CompletionEntry {
            result: result.into(),
            sqhd: head.into(),
            sqid: token.sqid.0.into(),
            cid: token.cid.0.into(),
            status_phase: (status.bits() << 1).into(),
        };
        if let Some(queue) = self.queues.completion_mut(token.cqid) {
            if queue.post(host, entry).is_err() {
                self.session.registers.csts.set_cfs(true);
            }
            if let Some(vector) = queue.vector {
                self.raise(vector, !token.cqid.is_admin());
            }
        }
        if let Some(timeline) = timeline {
            if self.is_recording {
                self.subsystem.records.commands.push(CommandRecord {
                    id: tag.0,
                    fetched_ns: timeline.fetched.as_ns(),
                    completed_ns: now.as_ns(),
                    late_ns: late.as_ns(),
                    stages_ns: timeline.stages.as_ns(),
                    bytes: counts.bytes(),
                    nsid: kind.nsid.0,
                    sqid: token.sqid.0,
                    cid: token.cid.0,
                    status: status.bits(),
                    opcode: kind.opcode,
                    csi: command_set(&self.subsystem, kind.nsid).0,
                });
            }
            self.session.inflight.spare(timeline);
        }
        self.relieve();
        token.end();
    }

    /// Something was finished: queues that were blocked by a limit may go on.
    #[inline]
    pub(crate) fn relieve(&mut self) {
        if self.is_saturated {
            self.is_saturated = false;
            self.session.fetch_due |= self.queues.arbiter.unblock();
        }
    }

    #[inline]
    fn raise(&mut self, vector: u16, coalesce: bool) {
        let setting = self.session.features.current.coalescing;
        let raised = self.session.interrupts.posted(self.at, vector, coalesce, setting);
        self.see_to(vector, raised);
    }

    /// A coalesced interrupt may have waited long enough.
    pub(crate) fn interrupt_expired(&mut self, vector: u16) {
        if let Some(raised) = self.session.interrupts.expired(self.at, vector) {
            self.see_to(vector, raised);
        }
    }

    #[inline]
    fn see_to(&mut self, vector: u16, raised: Raise) {
        match raised {
            Raise::Now => self.subsystem.outbox.interrupts.push(vector),
            Raise::At(at) => self.subsystem.events.push(at, Event::Interrupt(vector)),
            Raise::Pending => {}
        }
    }

    /// Sends notices to requests that wait, as long as the admin completion queue has places.
    pub(crate) fn deliver_events(&mut self, host: &mut dyn HostMemory) {
        while self.session.async_events.is_deliverable()
            && self.queues.reserve_completion(host, CqId::ADMIN)
        {
            let (tag, event) = self.session.async_events.deliver().expect("one is deliverable");
            if let Some(ending) = self.session.inflight.remove(tag) {
                let result = event.into_bits().into();
                self.end(host, tag, Ending { result, ..ending });
            }
        }
    }
}

//! The controller's life: enable, controller reset, subsystem reset, shutdown (Base 2.1, sections
//! 3.5 to 3.7).

use nvme_spec::{
    Cc, CompletionEntry, PAGE_SIZE, SUBSYSTEM_RESET, SubmissionEntry, offset, shutdown,
};
use simtime::{EventQueue, Instant};
use ssd::RequestId;

use crate::admin::keep_alive::KeepAlive;
use crate::arbiter::{Arbiter, Class};
use crate::controller::Controller;
use crate::host_memory::HostMemory;
use crate::inflight::Tag;
use crate::interrupt::Interrupts;
use crate::link::Link;
use crate::namespace::compute::ComputeNamespace;
use crate::queue::{CompletionQueue, SubmissionQueue, is_addressable};
use crate::registers::{AMS_ROUND_ROBIN, AMS_WEIGHTED, CSS_ALL, CSS_NVM, Registers};
use crate::work::Outbox;

/// Names the flush of a normal shutdown to the flash model: the slot number that no command has,
/// and the number of the shutdown where commands have their generation.
fn shutdown_tag(number: u32) -> Tag {
    Tag(u64::from(number) << 32 | u64::from(u32::MAX))
}

impl Controller {
    /// Reads 1, 2, 4 or 8 bytes of BAR0. What does not exist reads as zero; doorbells do.
    pub fn register_read(&self, at: u64, size: usize) -> u64 {
        if at < offset::DOORBELLS { self.registers.read(at, size) } else { 0 }
    }

    /// Writes BAR0. Registers are written by 4 aligned bytes, or two at once by 8 aligned bytes;
    /// anything else has no effect (Base 2.1, section 3.1.1). Effects on queues happen at the next
    /// [`Self::advance`].
    pub fn register_write(&mut self, at: u64, size: usize, value: u64) {
        match size {
            4 if at.is_multiple_of(4) => self.write_register(at, value as u32),
            8 if at.is_multiple_of(8) => {
                self.write_register(at, value as u32);
                self.write_register(at + 4, (value >> 32) as u32);
            }
            _ => {}
        }
    }

    #[inline]
    fn write_register(&mut self, at: u64, value: u32) {
        match at {
            offset::DOORBELLS.. => self.doorbell_written(at - offset::DOORBELLS, value),
            offset::CC => self.configure(Cc::from_bits(value)),
            offset::NSSR if value == SUBSYSTEM_RESET => self.reset_subsystem(),
            _ => self.registers.write(at, value),
        }
    }

    /// A write of CC.
    fn configure(&mut self, new: Cc) {
        let old = self.registers.cc;
        match (old.en(), new.en()) {
            (false, true) => {
                self.registers.cc = new;
                self.enable();
            }
            (true, false) => {
                self.reset();
                self.registers.cc = new;
            }
            (false, false) => self.registers.cc = new,
            // While enabled, only the entry sizes and the shutdown notification may change.
            (true, true) => {
                let sized = old.with_iosqes(new.iosqes()).with_iocqes(new.iocqes());
                self.registers.cc = sized.with_shn(new.shn());
            }
        }
        if new.shn() != 0 && self.registers.csts.shst() == 0 {
            self.shut_down(new.shn());
        }
    }

    /// Takes the admin queue into use, or reports a fatal status if the host asks for what does not
    /// exist.
    fn enable(&mut self) {
        let Registers { cc, aqa, asq, acq, .. } = self.registers;
        let (sq_entries, cq_entries) = (u32::from(aqa.asqs_z()) + 1, u32::from(aqa.acqs_z()) + 1);
        let is_valid = matches!(cc.css(), CSS_NVM | CSS_ALL)
            && cc.mps() == 0
            && matches!(cc.ams(), AMS_ROUND_ROBIN | AMS_WEIGHTED)
            && aqa.asqs_z() > 0
            && aqa.acqs_z() > 0
            && asq.is_multiple_of(PAGE_SIZE)
            && acq.is_multiple_of(PAGE_SIZE)
            && is_addressable(asq, sq_entries, SubmissionEntry::SIZE)
            && is_addressable(acq, cq_entries, CompletionEntry::SIZE);
        if !is_valid {
            self.registers.csts.set_cfs(true);
            return;
        }
        self.submission[0] = Some(SubmissionQueue::new(asq, sq_entries, 0, Class::Admin));
        let mut queue = CompletionQueue::new(acq, cq_entries, Some(0));
        queue.users = 1;
        self.completion[0] = Some(queue);
        self.registers.csts.set_rdy(true);
        self.check_temperature();
    }

    /// Controller reset: queues vanish, commands in flight are abandoned, features go back to their
    /// saved values. Namespaces, programs and what runs in the background stay.
    fn reset(&mut self) {
        for tag in self.inflight.tags(|_| true) {
            if let Some(ending) = self.abandon(self.now, tag) {
                self.logs.ended(self.now, ending.token.sqid);
                ending.token.end();
            }
        }
        // Nobody waits for what these commands asked of the flash, nor for their transfers.
        self.ssd.forget(self.now, |_| false);
        self.to_host.forget(self.now);
        self.from_host.forget(self.now);
        self.submission.fill_with(|| None);
        self.completion.fill_with(|| None);
        self.queue_last = 0;
        self.arbiter = Arbiter::default();
        self.interrupts.reset();
        self.outbox.interrupts.clear();
        self.async_events.reset();
        self.features.reset(self.now);
        self.keep_alive.stop();
        self.doorbell_buffers = None;
        self.rung.clear();
        self.fetch_due = false;
        self.is_saturated = false;
        self.has_abandoned = false;
        self.was_temperature_told = false;
        self.logs.changed_namespaces.clear();
        self.background.controller_reset(self.now);
        self.registers.reset();
    }

    /// NVM subsystem reset: a controller reset that also forgets the admin queue's place. The drive
    /// keeps its contents, device memory included: it did not lose power.
    fn reset_subsystem(&mut self) {
        self.reset();
        self.registers.reset_subsystem();
    }

    /// The power goes at `now`, and comes back. Commands end without a completion. What is volatile is lost: the write buffer,
    /// device memory, programs, range sets, job groups, queues and features that were not saved. What was flushed is there
    /// ([`ssd::Ssd::power_cut`]). The drive is as after switching on: not enabled.
    pub fn power_cut(&mut self, now: Instant, host: &mut impl HostMemory) -> ssd::Recovery {
        self.advance(now, host);
        self.logs.power_lost(self.registers.csts.shst() == shutdown::COMPLETE);
        self.reset_subsystem();
        self.outbox = Outbox::default();
        // Nothing is due any more: what reminds of something must know it.
        self.events = EventQueue::new();
        self.interrupts = Interrupts::new(self.submission.len());
        self.keep_alive = KeepAlive::default();
        (self.to_host, self.from_host) =
            (Link::new(self.config.host_link), Link::new(self.config.host_link));
        self.internal = Link::new(self.config.internal_link);
        let is_recording = self.is_recording();
        self.engine = compute::Engine::new(&self.config.compute);
        self.engine.set_recording(is_recording);
        self.compute = ComputeNamespace::default();
        self.memory.clear();
        self.background.power_lost(now, &mut self.events);
        self.ssd.power_cut(now)
    }

    /// Shutdown: a normal one is complete when the write buffer is in flash, an abrupt one at once.
    fn shut_down(&mut self, notification: u8) {
        if notification != shutdown::NORMAL {
            self.registers.csts.set_shst(shutdown::COMPLETE);
            return;
        }
        self.registers.csts.set_shst(shutdown::RUNNING);
        self.shutdowns = self.shutdowns.wrapping_add(1);
        let tag = shutdown_tag(self.shutdowns).0;
        self.ssd.flush(self.now, RequestId(tag));
    }

    /// Flash finished something that is no command's in flight: of an abandoned one, or the flush
    /// of a shutdown, after which the write buffer is in flash.
    #[cold]
    pub(crate) fn nobody_waits(&mut self, tag: Tag) {
        let is_current = tag == shutdown_tag(self.shutdowns);
        if is_current && self.registers.csts.shst() == shutdown::RUNNING {
            self.registers.csts.set_shst(shutdown::COMPLETE);
        }
    }
}

//! The controller's life: enable, controller reset, subsystem reset, shutdown (Base 2.1, sections
//! 3.5 to 3.7).

use history::Change;
use nvme_spec::{
    Cc, CompletionEntry, CqId, PAGE_SIZE, SUBSYSTEM_RESET, SubmissionEntry, offset, shutdown,
};
use simtime::Instant;
use ssd::RequestId;

use crate::arbiter::Class;
use crate::controller::Controller;
use crate::event::Tag;
use crate::host_memory::HostMemory;
use crate::queue::{CompletionQueue, SubmissionQueue, is_addressable};
use crate::registers::{AMS_ROUND_ROBIN, AMS_WEIGHTED, CSS_ALL, CSS_NVM, Registers};
use crate::turn::abandon;

/// Names the flush of a normal shutdown to the flash model: the slot number that no command has,
/// and the number of the shutdown where commands have their generation.
fn shutdown_tag(number: u32) -> Tag {
    Tag(u64::from(number) << 32 | u64::from(u32::MAX))
}

impl Controller {
    /// Reads 1, 2, 4 or 8 bytes of BAR0. What does not exist reads as zero; doorbells do.
    pub fn register_read(&self, at: u64, size: usize) -> u64 {
        if at < offset::DOORBELLS { self.session.registers.read(at, size) } else { 0 }
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
            _ => self.session.registers.write(at, value),
        }
    }

    /// A write of CC.
    fn configure(&mut self, new: Cc) {
        let old = self.session.registers.cc;
        match (old.en(), new.en()) {
            (false, true) => {
                self.session.registers.cc = new;
                self.enable();
            }
            (true, false) => {
                self.reset();
                self.session.registers.cc = new;
            }
            (false, false) => self.session.registers.cc = new,
            // While enabled, only the entry sizes and the shutdown notification may change.
            (true, true) => {
                let sized = old.with_iosqes(new.iosqes()).with_iocqes(new.iocqes());
                self.session.registers.cc = sized.with_shn(new.shn());
            }
        }
        if new.shn() != 0 && self.session.registers.csts.shst() == 0 {
            self.shut_down(new.shn());
        }
    }

    /// Takes the admin queue into use, or reports a fatal status if the host asks for what does not
    /// exist.
    fn enable(&mut self) {
        let Registers { cc, aqa, asq, acq, .. } = self.session.registers;
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
            self.session.registers.csts.set_cfs(true);
            return;
        }
        let submission = SubmissionQueue::new(asq, sq_entries, CqId::ADMIN, Class::Admin);
        self.queues.create_admin(submission, CompletionQueue::new(acq, cq_entries, Some(0)));
        self.session.registers.csts.set_rdy(true);
        // From now on an end without a shutdown is one.
        self.subsystem.save_if_old(self.now, &self.session.attached);
        self.session.check_temperature();
    }

    /// A doorbell register was written. What it says counts from the next [`Self::advance`]: until then the drive catches up.
    #[inline]
    fn doorbell_written(&mut self, at: u64, value: u32) {
        if !self.session.registers.csts.rdy() {
            return;
        }
        if !self.queues.ring(at, value) {
            self.apply_doorbells();
        }
    }

    /// Controller reset: queues vanish, commands in flight are abandoned, features go back to their
    /// saved values. Namespaces, programs and what runs in the background stay.
    fn reset(&mut self) {
        let (now, session, subsystem) = (self.now, &mut self.session, &mut self.subsystem);
        for tag in session.inflight.tags(|_| true) {
            abandon(now, session, subsystem, tag);
            if let Some(ending) = session.inflight.remove(tag) {
                if ending.step.is_none() {
                    subsystem.logs.ended(now, ending.token.sqid);
                }
                ending.token.end();
            }
        }
        // Nobody waits for what these commands asked of the flash, nor for their transfers.
        subsystem.ssd.forget(now, |_| false);
        subsystem.namespaces.reset();
        subsystem.background.controller_reset(now);
        subsystem.outbox.interrupts.clear();
        if let Some(history) = &mut subsystem.history {
            history.abandoned();
        }
        session.reset(now);
        self.queues.reset();
        self.is_saturated = false;
        self.front_end_free_at = now;
    }

    /// NVM subsystem reset: a controller reset that also forgets the admin queue's place. The drive
    /// keeps its contents, device memory included: it did not lose power.
    fn reset_subsystem(&mut self) {
        self.reset();
        self.session.registers.reset_subsystem();
    }

    /// The power goes at `now`, and comes back. Commands end without a completion. What is volatile is lost: the write buffer,
    /// device memory, programs, range sets, job groups, queues and features that were not saved. What was flushed is there
    /// ([`ssd::Ssd::power_cut`]). The drive is as after switching on: not enabled.
    pub fn power_cut(&mut self, now: Instant, host: &mut dyn HostMemory) -> ssd::Recovery {
        self.advance(now, host);
        let was_shut_down = self.session.registers.csts.shst() == shutdown::COMPLETE;
        self.reset_subsystem();
        let is_recording = self.is_recording;
        let subsystem = &mut self.subsystem;
        if let Some(history) = &mut subsystem.history {
            history.power_lost(now);
        }
        subsystem.logs.power_lost(was_shut_down);
        subsystem.power_lost(now, is_recording);
        // Its event went with all others.
        self.is_front_end_awaited = false;
        self.session.power_lost(&subsystem.config);
        subsystem.background.power_lost(now, &mut subsystem.events);
        let recovery = subsystem.ssd.power_cut(now);
        subsystem.recover_zones();
        recovery
    }

    /// Shutdown: a normal one is complete when the write buffer is in flash, an abrupt one at once.
    fn shut_down(&mut self, notification: u8) {
        if notification != shutdown::NORMAL {
            self.session.registers.csts.set_shst(shutdown::COMPLETE);
            return;
        }
        self.session.registers.csts.set_shst(shutdown::RUNNING);
        self.shutdowns = self.shutdowns.wrapping_add(1);
        let tag = shutdown_tag(self.shutdowns).0;
        if let Some(kept) = &mut self.subsystem.history {
            kept.begun(self.now, Tag(tag), Change::Flush { nsid: history::ALL });
        }
        self.subsystem.ssd.flush(self.now, RequestId(tag));
    }

    /// Flash finished something that is no command's in flight: of an abandoned one, or the flush
    /// of a shutdown, after which the write buffer is in flash.
    #[cold]
    pub(crate) fn flash_is_done(&mut self, tag: Tag, is_done: bool) {
        let is_current = tag == shutdown_tag(self.shutdowns);
        if is_current && self.session.registers.csts.shst() == shutdown::RUNNING {
            self.session.registers.csts.set_shst(shutdown::COMPLETE);
            if let Some(history) = &mut self.subsystem.history {
                history.ended(self.at, tag, is_done);
            }
            if is_done {
                self.subsystem.save_shut_down(self.at, &self.session.attached);
            } else {
                let note = "the drive was shut down, and not all of its write buffer could be written: what was not flushed before may be lost";
                self.subsystem.outbox.notes.push(note.to_owned());
            }
        }
    }
}

//! Doorbells: registers, and the shadow buffers of Doorbell Buffer Config (Base 2.1, sections 3.1.5
//! and 5.2.5, Annex B.5).

use std::sync::atomic::{Ordering, fence};

use nvme_spec::{PAGE_SIZE, Status};

use crate::async_event::Notice;
use crate::controller::Controller;
use crate::host_memory::{HostMemory, HostMemoryError};
use crate::queue::Doorbell;

/// Bytes of one doorbell (CAP.DSTRD = 0).
const STRIDE: u64 = 4;

/// Doorbell writes that wait for the drive to catch up.
const DOORBELLS_MAX: usize = 4096;

/// Last queue with shadow doorbells: each buffer is one page. Queues above it have registers only.
const SHADOWED_LAST: u16 = (PAGE_SIZE / (2 * STRIDE)) as u16 - 1;

/// The buffers a host shares instead of writing registers: indices it writes, and the indices at
/// which it must write the register nevertheless.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DoorbellBuffers {
    shadow: u64,
    event_index: u64,
}

impl DoorbellBuffers {
    /// Buffers of which all slots of queues 0 to `last` are there.
    pub(crate) fn probe(
        host: &impl HostMemory,
        shadow: u64,
        event_index: u64,
        last: u16,
    ) -> Result<Self, Status> {
        let mut bytes = [0; PAGE_SIZE as usize];
        let bytes = &mut bytes[..(usize::from(last.min(SHADOWED_LAST)) + 1) * 2 * STRIDE as usize];
        let is_there = host.read(shadow, bytes).is_ok() && host.read(event_index, bytes).is_ok();
        if is_there { Ok(Self { shadow, event_index }) } else { Err(Status::DATA_TRANSFER_ERROR) }
    }

    fn slot(sqid: u16) -> u64 {
        u64::from(sqid) * 2 * STRIDE
    }

    fn read(base: u64, host: &impl HostMemory, slot: u64) -> Result<u32, HostMemoryError> {
        let mut bytes = [0; 4];
        host.read(base + slot, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn tail(&self, host: &impl HostMemory, sqid: u16) -> Result<u32, HostMemoryError> {
        Self::read(self.shadow, host, Self::slot(sqid))
    }

    fn head(&self, host: &impl HostMemory, cqid: u16) -> Result<u32, HostMemoryError> {
        Self::read(self.shadow, host, Self::slot(cqid) + STRIDE)
    }

    fn announce(
        &self,
        host: &mut impl HostMemory,
        slot: u64,
        index: u32,
    ) -> Result<(), HostMemoryError> {
        host.write(self.event_index + slot, &index.to_le_bytes())
    }
}

impl Controller {
    /// A doorbell register was written. What it says counts from the next [`Self::advance`]: until then the drive catches up.
    #[inline]
    pub(crate) fn doorbell_written(&mut self, at: u64, value: u32) {
        if !self.registers.csts.rdy() {
            return;
        }
        if self.rung.len() == DOORBELLS_MAX {
            self.apply_doorbells();
        }
        self.rung.push((at, value));
    }

    /// What doorbells said counts from now on.
    #[inline]
    pub(crate) fn apply_doorbells(&mut self) {
        let mut rung = std::mem::take(&mut self.rung);
        for (at, value) in rung.drain(..) {
            self.ring_doorbell(at, value);
        }
        self.rung = rung;
    }

    /// A doorbell: even = submission tail, odd = completion head.
    fn ring_doorbell(&mut self, at: u64, value: u32) {
        let number = at / (2 * STRIDE);
        let is_completion = at % (2 * STRIDE) == STRIDE;
        let id = u16::try_from(number).ok();
        if id.is_some_and(|id| self.is_shadowed(id, is_completion)) {
            // The register says "look": its value may be older than what was seen in the buffer.
            self.fetch_due |= !is_completion | self.arbiter.unblock() | self.has_events();
            return;
        }
        let moved = match id {
            Some(id) if is_completion => self.move_head(id, value),
            Some(id) => self.move_tail(id, value),
            None => None,
        };
        match moved {
            Some(Doorbell::Moved) => {}
            Some(_) => {
                self.logs.log_doorbell(id.unwrap_or(0), Status::INVALID_FIELD);
                self.notify(Notice::InvalidDoorbellValue);
            }
            None => {
                self.logs.log_doorbell(id.unwrap_or(u16::MAX), Status::INVALID_QUEUE_IDENTIFIER);
                self.notify(Notice::InvalidDoorbellRegister);
            }
        }
    }

    /// True if a queue exists whose indices come by shadow buffer.
    fn is_shadowed(&self, id: u16, is_completion: bool) -> bool {
        if self.doorbell_buffers.is_none() || !(1..=SHADOWED_LAST).contains(&id) {
            return false;
        }
        if is_completion {
            self.completion.get(usize::from(id)).is_some_and(Option::is_some)
        } else {
            self.submission.get(usize::from(id)).is_some_and(Option::is_some)
        }
    }

    /// New tail of a submission queue; `None` if there is no such queue.
    #[inline]
    fn move_tail(&mut self, sqid: u16, tail: u32) -> Option<Doorbell> {
        let queue = self.submission.get_mut(usize::from(sqid))?.as_mut()?;
        let moved = queue.set_tail(tail);
        if moved == Doorbell::Moved {
            if !queue.is_listed {
                queue.is_listed = true;
                self.arbiter.wake(queue.class, sqid);
            }
            self.fetch_due = true;
        }
        Some(moved)
    }

    /// New head of a completion queue; `None` if there is no such queue.
    #[inline]
    fn move_head(&mut self, cqid: u16, head: u32) -> Option<Doorbell> {
        let queue = self.completion.get_mut(usize::from(cqid))?.as_mut()?;
        let moved = queue.set_head(head);
        if moved == Doorbell::Moved {
            self.fetch_due |= self.arbiter.unblock() | self.has_events();
        }
        Some(moved)
    }

    /// Reads the shadow tails of all I/O queues. A value that a queue cannot have is ignored: it is
    /// the host's own memory, and no register was written. A buffer that is gone is given up.
    pub(crate) fn poll_shadow_doorbells(&mut self, host: &impl HostMemory) {
        let Some(buffers) = self.doorbell_buffers else { return };
        for sqid in 1..=self.queue_last.min(SHADOWED_LAST) {
            if self.submission[usize::from(sqid)].is_none() {
                continue;
            }
            match buffers.tail(host, sqid) {
                Ok(tail) => drop(self.move_tail(sqid, tail)),
                Err(_) => return self.doorbell_buffers = None,
            }
        }
    }

    /// Promises to sleep: tells the host, through the event indices, to write the register for its
    /// next command. True if commands came in the meantime, so that the drive must not sleep yet.
    /// Without shadow buffers there is nothing to do.
    pub fn arm_doorbells(&mut self, host: &mut impl HostMemory) -> bool {
        let Some(buffers) = self.doorbell_buffers else {
            return self.fetch_due || !self.rung.is_empty();
        };
        for sqid in 1..=self.queue_last.min(SHADOWED_LAST) {
            if let Some(queue) = &self.submission[usize::from(sqid)] {
                let slot = DoorbellBuffers::slot(sqid);
                if buffers.announce(host, slot, queue.tail()).is_err() {
                    self.doorbell_buffers = None;
                    return self.fetch_due;
                }
            }
        }
        // The host writes its tail, then reads the event index; the drive writes the event index,
        // then reads the tail. With a full barrier on both sides one of them sees the other.
        fence(Ordering::SeqCst);
        self.poll_shadow_doorbells(host);
        self.fetch_due || !self.rung.is_empty()
    }

    /// Promises a place in a completion queue, looking at its shadow head if there seems to be
    /// none; if there is none, the host is asked to write the register when it frees one.
    #[inline]
    pub(crate) fn reserve_completion(&mut self, host: &mut impl HostMemory, cqid: u16) -> bool {
        let Some(queue) = &mut self.completion[usize::from(cqid)] else { return false };
        queue.reserve()
            || ((1..=SHADOWED_LAST).contains(&cqid) && self.reserve_by_shadow(host, cqid))
    }

    #[cold]
    fn reserve_by_shadow(&mut self, host: &mut impl HostMemory, cqid: u16) -> bool {
        let Some(buffers) = self.doorbell_buffers else { return false };
        let Some(queue) = &mut self.completion[usize::from(cqid)] else { return false };
        for _ in 0..2 {
            let Ok(head) = buffers.head(host, cqid) else { return false };
            if queue.set_head(head) == Doorbell::Moved && queue.reserve() {
                return true;
            }
            let slot = DoorbellBuffers::slot(cqid) + STRIDE;
            if buffers.announce(host, slot, queue.head()).is_err() {
                return false;
            }
            fence(Ordering::SeqCst);
        }
        false
    }
}

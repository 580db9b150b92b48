//! Doorbells: registers, and the shadow buffers of Doorbell Buffer Config (Base 2.1, sections 3.1.5
//! and 5.2.5, Annex B.5).

use std::sync::atomic::{Ordering, fence};

use nvme_spec::{CqId, PAGE_SIZE, SqId, Status};

use crate::host_memory::{HostMemory, HostMemoryError};
use crate::queue::Doorbell;
use crate::queues::Queues;

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
        host: &dyn HostMemory,
        shadow: u64,
        event_index: u64,
        last: u16,
    ) -> Result<Self, Status> {
        let mut bytes = [0; PAGE_SIZE as usize];
        let bytes = &mut bytes[..(usize::from(last.min(SHADOWED_LAST)) + 1) * 2 * STRIDE as usize];
        let is_there = host.read(shadow, bytes).is_ok() && host.read(event_index, bytes).is_ok();
        if is_there { Ok(Self { shadow, event_index }) } else { Err(Status::DATA_TRANSFER_ERROR) }
    }

    fn slot(id: u16) -> u64 {
        u64::from(id) * 2 * STRIDE
    }

    fn read(base: u64, host: &dyn HostMemory, slot: u64) -> Result<u32, HostMemoryError> {
        let mut bytes = [0; 4];
        host.read(base + slot, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn tail(&self, host: &dyn HostMemory, sqid: SqId) -> Result<u32, HostMemoryError> {
        Self::read(self.shadow, host, Self::slot(sqid.0))
    }

    fn head(&self, host: &dyn HostMemory, cqid: CqId) -> Result<u32, HostMemoryError> {
        Self::read(self.shadow, host, Self::slot(cqid.0) + STRIDE)
    }

    fn announce(
        &self,
        host: &mut dyn HostMemory,
        slot: u64,
        index: u32,
    ) -> Result<(), HostMemoryError> {
        host.write(self.event_index + slot, &index.to_le_bytes())
    }
}

/// What a doorbell that was written amounts to, for the one who tells the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ring {
    /// An index moved, or the host says "look".
    Heard,
    /// A value that the queue cannot have.
    InvalidValue(u16),
    /// No such queue.
    InvalidRegister(u16),
}

impl Queues {
    /// A doorbell register was written. What it says counts from the next turn: until then the drive catches up. False if too
    /// many wait: they must be applied first.
    #[inline]
    pub(crate) fn ring(&mut self, at: u64, value: u32) -> bool {
        self.rung.push((at, value));
        self.rung.len() < DOORBELLS_MAX
    }

    /// What a doorbell said counts: even = submission tail, odd = completion head.
    #[inline]
    pub(crate) fn apply(&mut self, at: u64, value: u32) -> Ring {
        let number = at / (2 * STRIDE);
        let is_completion = at % (2 * STRIDE) == STRIDE;
        let id = u16::try_from(number).ok();
        if id.is_some_and(|id| self.is_shadowed(id, is_completion)) {
            // The register says "look": its value may be older than what was seen in the buffer.
            self.may_fetch |= !is_completion;
            self.may_complete |= is_completion;
            self.may_fetch |= self.arbiter.unblock();
            return Ring::Heard;
        }
        let moved = match id {
            Some(id) if is_completion => self.move_head(CqId(id), value),
            Some(id) => self.move_tail(SqId(id), value),
            None => None,
        };
        match moved {
            Some(Doorbell::Moved) => Ring::Heard,
            Some(_) => Ring::InvalidValue(id.unwrap_or(0)),
            None => Ring::InvalidRegister(id.unwrap_or(u16::MAX)),
        }
    }

    /// True if a queue exists whose indices come by shadow buffer.
    fn is_shadowed(&self, id: u16, is_completion: bool) -> bool {
        if self.doorbell_buffers.is_none() || !(1..=SHADOWED_LAST).contains(&id) {
            return false;
        }
        if is_completion {
            self.completion(CqId(id)).is_some()
        } else {
            self.submission(SqId(id)).is_some()
        }
    }

    /// New tail of a submission queue; `None` if there is no such queue.
    #[inline]
    fn move_tail(&mut self, sqid: SqId, tail: u32) -> Option<Doorbell> {
        let queue = self.submission.get_mut(usize::from(sqid.0))?.as_mut()?;
        let moved = queue.set_tail(tail);
        if moved == Doorbell::Moved {
            if !queue.is_listed {
                queue.is_listed = true;
                self.arbiter.wake(queue.class, sqid);
            }
            self.may_fetch = true;
        }
        Some(moved)
    }

    /// New head of a completion queue; `None` if there is no such queue.
    #[inline]
    fn move_head(&mut self, cqid: CqId, head: u32) -> Option<Doorbell> {
        let queue = self.completion.get_mut(usize::from(cqid.0))?.as_mut()?;
        let moved = queue.set_head(head);
        if moved == Doorbell::Moved {
            self.may_fetch |= self.arbiter.unblock();
            self.may_complete = true;
        }
        Some(moved)
    }

    /// Reads the shadow tails of all I/O queues. A value that a queue cannot have is ignored: it is
    /// the host's own memory, and no register was written. A buffer that is gone is given up.
    pub(crate) fn poll_shadow_doorbells(&mut self, host: &dyn HostMemory) {
        let Some(buffers) = self.doorbell_buffers else { return };
        for sqid in (1..=self.last.0.min(SHADOWED_LAST)).map(SqId) {
            if self.submission(sqid).is_none() {
                continue;
            }
            match buffers.tail(host, sqid) {
                Ok(tail) => drop(self.move_tail(sqid, tail)),
                Err(_) => return self.doorbell_buffers = None,
            }
        }
    }

    /// Promises to sleep: tells the host, through the event indices, to write the register for its
    /// next command, and looks whether commands came in the meantime. Without shadow buffers there is nothing to do.
    pub(crate) fn arm(&mut self, host: &mut dyn HostMemory) {
        let Some(buffers) = self.doorbell_buffers else { return };
        for sqid in (1..=self.last.0.min(SHADOWED_LAST)).map(SqId) {
            if let Some(queue) = self.submission(sqid) {
                let slot = DoorbellBuffers::slot(sqid.0);
                if buffers.announce(host, slot, queue.tail()).is_err() {
                    return self.doorbell_buffers = None;
                }
            }
        }
        // The host writes its tail, then reads the event index; the drive writes the event index,
        // then reads the tail. With a full barrier on both sides one of them sees the other.
        fence(Ordering::SeqCst);
        self.poll_shadow_doorbells(host);
    }

    /// Promises a place in a completion queue, looking at its shadow head if there seems to be
    /// none; if there is none, the host is asked to write the register when it frees one.
    #[inline]
    pub(crate) fn reserve_completion(&mut self, host: &mut dyn HostMemory, cqid: CqId) -> bool {
        let Some(queue) = &mut self.completion[usize::from(cqid.0)] else { return false };
        queue.reserve()
            || ((1..=SHADOWED_LAST).contains(&cqid.0) && self.reserve_by_shadow(host, cqid))
    }

    #[cold]
    fn reserve_by_shadow(&mut self, host: &mut dyn HostMemory, cqid: CqId) -> bool {
        let Some(buffers) = self.doorbell_buffers else { return false };
        let Some(queue) = &mut self.completion[usize::from(cqid.0)] else { return false };
        for _ in 0..2 {
            let Ok(head) = buffers.head(host, cqid) else { return false };
            if queue.set_head(head) == Doorbell::Moved && queue.reserve() {
                return true;
            }
            let slot = DoorbellBuffers::slot(cqid.0) + STRIDE;
            if buffers.announce(host, slot, queue.head()).is_err() {
                return false;
            }
            fence(Ordering::SeqCst);
        }
        false
    }
}

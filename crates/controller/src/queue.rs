//! Submission and completion queues in host memory (Base 2.1, section 3.3).

use nvme_spec::{CompletionEntry, SubmissionEntry};
use zerocopy::{FromBytes, IntoBytes};

use crate::host_memory::{HostMemory, HostMemoryError};

/// A submission queue: the host moves the tail, the controller the head.
#[derive(Debug)]
pub(crate) struct SubmissionQueue {
    base: u64,
    entries: u32,
    head: u32,
    tail: u32,
    pub(crate) cqid: u16,
}

impl SubmissionQueue {
    pub(crate) fn new(base: u64, entries: u32, cqid: u16) -> Self {
        Self { base, entries, head: 0, tail: 0, cqid }
    }

    /// Moves the tail; false if the value is not an index of the queue.
    pub(crate) fn set_tail(&mut self, tail: u32) -> bool {
        let valid = tail < self.entries;
        if valid {
            self.tail = tail;
        }
        valid
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    pub(crate) fn head(&self) -> u16 {
        self.head as u16
    }

    /// Takes the entry at the head.
    #[inline]
    pub(crate) fn pop(
        &mut self,
        host: &impl HostMemory,
    ) -> Result<SubmissionEntry, HostMemoryError> {
        let mut bytes = [0; SubmissionEntry::SIZE];
        let address = self.base + u64::from(self.head) * SubmissionEntry::SIZE as u64;
        host.read(address, &mut bytes)?;
        self.head = if self.head + 1 == self.entries { 0 } else { self.head + 1 };
        Ok(SubmissionEntry::read_from_bytes(&bytes).expect("an entry is 64 bytes"))
    }
}

/// A completion queue: the controller moves the tail, the host the head.
#[derive(Debug)]
pub(crate) struct CompletionQueue {
    base: u64,
    entries: u32,
    head: u32,
    tail: u32,
    phase: bool,
    /// Places promised to commands in flight.
    reserved: u32,
    /// Interrupt vector, if interrupts are enabled.
    pub(crate) vector: Option<u16>,
    /// Submission queues that complete here.
    pub(crate) users: u32,
}

impl CompletionQueue {
    pub(crate) fn new(base: u64, entries: u32, vector: Option<u16>) -> Self {
        Self { base, entries, head: 0, tail: 0, phase: true, reserved: 0, vector, users: 0 }
    }

    /// Moves the head; false if the value is not an index of the queue.
    pub(crate) fn set_head(&mut self, head: u32) -> bool {
        let valid = head < self.entries;
        if valid {
            self.head = head;
        }
        valid
    }

    /// Promises a place to a command before it is taken from its queue; false if there is none.
    #[inline]
    pub(crate) fn reserve(&mut self) -> bool {
        let used = if self.tail >= self.head { 0 } else { self.entries } + self.tail - self.head;
        let free = used + self.reserved < self.entries - 1;
        self.reserved += u32::from(free);
        free
    }

    /// Takes a promise back.
    pub(crate) fn release(&mut self) {
        self.reserved -= 1;
    }

    /// Writes an entry into a promised place, the phase tag with it.
    #[inline]
    pub(crate) fn post(
        &mut self,
        host: &mut impl HostMemory,
        mut entry: CompletionEntry,
    ) -> Result<(), HostMemoryError> {
        self.reserved -= 1;
        let status = entry.status_phase.get() | u16::from(self.phase);
        entry.status_phase.set(status);
        let address = self.base + u64::from(self.tail) * CompletionEntry::SIZE as u64;
        self.tail += 1;
        if self.tail == self.entries {
            self.tail = 0;
            self.phase = !self.phase;
        }
        host.write(address, entry.as_bytes())
    }
}

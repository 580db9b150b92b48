//! Submission and completion queues in host memory (Base 2.1, section 3.3).

use nvme_spec::{Cid, CompletionEntry, CqId, SubmissionEntry};
use zerocopy::{FromBytes, IntoBytes};

use crate::arbiter::Class;
use crate::host_memory::{HostMemory, HostMemoryError};

/// What a doorbell value that was written amounts to (Base 2.1, section 3.1.5 and Figure 153).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Doorbell {
    /// The index moved.
    Moved,
    /// The index is where it was.
    Same,
    /// Out of the queue, or past what the other side filled or emptied.
    Invalid,
}

/// The commands of a submission queue whose completions the host has not been sent: one bit for
/// each command identifier.
#[derive(Debug)]
struct CommandIds(Box<[u64; 1024]>);

impl CommandIds {
    fn new() -> Self {
        Self(Box::new([0; 1024]))
    }

    /// Takes an identifier; false if a command has it.
    #[inline]
    fn take(&mut self, cid: Cid) -> bool {
        let (word, bit) = (&mut self.0[usize::from(cid.0 / 64)], 1 << (cid.0 % 64));
        let free = *word & bit == 0;
        *word |= bit;
        free
    }

    #[inline]
    fn give_back(&mut self, cid: Cid) {
        self.0[usize::from(cid.0 / 64)] &= !(1 << (cid.0 % 64));
    }
}

/// A submission queue: the host moves the tail, the controller the head.
#[derive(Debug)]
pub(crate) struct SubmissionQueue {
    base: u64,
    entries: u32,
    head: u32,
    tail: u32,
    pub(crate) cqid: CqId,
    /// The arbiter's class.
    pub(crate) class: Class,
    /// The arbiter knows of commands here.
    pub(crate) is_listed: bool,
    ids: CommandIds,
}

/// True if a queue of so many entries of a size ends below the top of the address space.
pub(crate) fn is_addressable(base: u64, entries: u32, size: usize) -> bool {
    base.checked_add(u64::from(entries) * size as u64).is_some()
}

impl SubmissionQueue {
    pub(crate) fn new(base: u64, entries: u32, cqid: CqId, class: Class) -> Self {
        let ids = CommandIds::new();
        Self { base, entries, head: 0, tail: 0, cqid, class, is_listed: false, ids }
    }

    /// Moves the tail.
    #[inline]
    pub(crate) fn set_tail(&mut self, tail: u32) -> Doorbell {
        let ahead = |index: u32| {
            if index >= self.head { index - self.head } else { index + self.entries - self.head }
        };
        if tail == self.tail {
            return Doorbell::Same;
        }
        // Counted from the head, the tail only moves forward: back means over entries that the
        // controller has not taken.
        if tail >= self.entries || ahead(tail) < ahead(self.tail) {
            return Doorbell::Invalid;
        }
        self.tail = tail;
        Doorbell::Moved
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    pub(crate) fn head(&self) -> u16 {
        self.head as u16
    }

    pub(crate) fn tail(&self) -> u32 {
        self.tail
    }

    /// The entry at the head, left there.
    #[inline]
    pub(crate) fn peek(&self, host: &dyn HostMemory) -> Result<SubmissionEntry, HostMemoryError> {
        let mut bytes = [0; SubmissionEntry::SIZE];
        let address = self.base + u64::from(self.head) * SubmissionEntry::SIZE as u64;
        host.read(address, &mut bytes)?;
        Ok(SubmissionEntry::read_from_bytes(&bytes).expect("an entry is 64 bytes"))
    }

    /// Moves the head past an entry.
    #[inline]
    pub(crate) fn advance(&mut self) {
        self.head = if self.head + 1 == self.entries { 0 } else { self.head + 1 };
    }

    /// Takes the last [`Self::advance`] back.
    pub(crate) fn step_back(&mut self) {
        self.head = if self.head == 0 { self.entries - 1 } else { self.head - 1 };
    }

    /// A command begins; false if its identifier names another one in flight.
    #[inline]
    pub(crate) fn begin(&mut self, cid: Cid) -> bool {
        self.ids.take(cid)
    }

    /// A command that had its identifier ends.
    #[inline]
    pub(crate) fn finish(&mut self, cid: Cid) {
        self.ids.give_back(cid);
    }
}

/// A completion queue: the controller moves the tail, the host the head.
///
/// A place is promised to each command before it is taken from its submission queue, so a
/// completion always finds one.
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

    /// Moves the head.
    #[inline]
    pub(crate) fn set_head(&mut self, head: u32) -> Doorbell {
        if head == self.head {
            return Doorbell::Same;
        }
        let past = if head >= self.head { 0 } else { self.entries };
        if head >= self.entries || past + head - self.head > self.used() {
            return Doorbell::Invalid;
        }
        self.head = head;
        Doorbell::Moved
    }

    pub(crate) fn head(&self) -> u32 {
        self.head
    }

    /// Completions that fit at most.
    pub(crate) fn capacity(&self) -> u32 {
        self.entries - 1
    }

    /// Entries that the host has not consumed.
    #[inline]
    fn used(&self) -> u32 {
        if self.tail >= self.head {
            self.tail - self.head
        } else {
            self.tail + self.entries - self.head
        }
    }

    /// Promises a place to a command before it is taken from its queue; false if there is none.
    #[inline]
    pub(crate) fn reserve(&mut self) -> bool {
        let free = self.used() + self.reserved < self.capacity();
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
        host: &mut dyn HostMemory,
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

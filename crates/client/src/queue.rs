//! The host's side of one queue.

use nvme_spec::CompletionEntry;
use zerocopy::FromBytes;

use crate::memory::{Buffer, DmaMemory};

/// How to create a completion queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompletionQueueOptions {
    /// Identifier, from 1.
    pub id: u16,
    /// Number of entries, a true count.
    pub entries: u32,
    /// Interrupt vector; without one the queue is polled.
    pub vector: Option<u16>,
}

/// How to create a submission queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubmissionQueueOptions {
    /// Identifier, from 1.
    pub id: u16,
    /// Number of entries, a true count.
    pub entries: u32,
    /// Completion queue.
    pub completion_queue: u16,
    /// Priority under weighted round robin: 0 urgent to 3 low.
    pub priority: u8,
}

/// A submission queue.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) buffer: Buffer,
    pub(crate) entries: u32,
    pub(crate) tail: u32,
    /// Tail that the controller was last told.
    pub(crate) rung: u32,
    pub(crate) free_cids: Vec<u16>,
    pub(crate) outstanding: u32,
    /// Its number among all queues there ever were.
    pub(crate) serial: u64,
}

impl Submission {
    pub(crate) fn new(buffer: Buffer, entries: u32, serial: u64) -> Self {
        let free_cids = (0..(entries - 1) as u16).rev().collect();
        Self { buffer, entries, tail: 0, rung: 0, free_cids, outstanding: 0, serial }
    }
}

/// A completion queue.
#[derive(Debug)]
pub(crate) struct Completions {
    pub(crate) buffer: Buffer,
    pub(crate) entries: u32,
    pub(crate) head: u32,
    /// Head that the controller was last told.
    pub(crate) rung: u32,
    phase: bool,
    pub(crate) vector: Option<u16>,
}

impl Completions {
    pub(crate) fn new(buffer: Buffer, entries: u32, vector: Option<u16>) -> Self {
        Self { buffer, entries, head: 0, rung: 0, phase: true, vector }
    }

    /// Takes the next entry if the controller has posted it.
    #[inline]
    pub(crate) fn take(&mut self, memory: &impl DmaMemory) -> Option<CompletionEntry> {
        let at = u64::from(self.head) * CompletionEntry::SIZE as u64;
        let mut bytes = [0; CompletionEntry::SIZE];
        memory.get(self.buffer.address + at, &mut bytes);
        let entry = CompletionEntry::read_from_bytes(&bytes).expect("an entry is 16 bytes");
        if entry.phase() != self.phase {
            return None;
        }
        self.head += 1;
        if self.head == self.entries {
            self.head = 0;
            self.phase = !self.phase;
        }
        Some(entry)
    }
}

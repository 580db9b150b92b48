//! Memory that the kernel knows already: data of small commands goes through it, and no page has to be looked up and
//! held for each of them.

use nvme_spec::PAGE_SIZE;

const SLOT_BYTES: usize = PAGE_SIZE as usize;

/// A slot that a command has.
#[derive(Debug)]
pub(super) struct Slot(usize);

/// Pages, each for the data of one command.
#[derive(Debug)]
pub(super) struct Slots {
    /// One page more than there are slots, so that they can begin at a page.
    memory: Vec<u8>,
    first: usize,
    free: Vec<usize>,
}

impl Slots {
    pub(super) fn new(count: u16) -> Self {
        let memory = vec![0; (usize::from(count) + 1) * SLOT_BYTES];
        let first = memory.as_ptr().align_offset(SLOT_BYTES);
        Self { memory, first, free: (0..count.into()).rev().collect() }
    }

    /// All of it, to be registered.
    pub(super) fn all(&mut self) -> &mut [u8] {
        &mut self.memory
    }

    /// A slot for so many bytes; `None` if they are too many, or all slots are taken.
    pub(super) fn take(&mut self, len: usize) -> Option<Slot> {
        if len > SLOT_BYTES { None } else { self.free.pop().map(Slot) }
    }

    pub(super) fn give(&mut self, slot: Slot) {
        self.free.push(slot.0);
    }

    /// The bytes of a slot.
    pub(super) fn bytes(&mut self, slot: &Slot, len: usize) -> &mut [u8] {
        let at = self.first + slot.0 * SLOT_BYTES;
        &mut self.memory[at..at + len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_pages_of_their_own() {
        let mut slots = Slots::new(3);
        let taken: Vec<Slot> = (0..3).map(|_| slots.take(SLOT_BYTES).expect("free")).collect();
        assert!(slots.take(1).is_none(), "all are taken");
        for (n, slot) in taken.iter().enumerate() {
            let bytes = slots.bytes(slot, SLOT_BYTES);
            assert!((bytes.as_ptr() as usize).is_multiple_of(SLOT_BYTES));
            bytes.fill(n as u8 + 1);
        }
        for (n, slot) in taken.iter().enumerate() {
            assert!(slots.bytes(slot, SLOT_BYTES).iter().all(|byte| *byte == n as u8 + 1));
        }
        taken.into_iter().for_each(|slot| slots.give(slot));
        assert!(slots.take(SLOT_BYTES + 1).is_none(), "longer than a slot");
        assert!(slots.take(SLOT_BYTES).is_some());
    }
}

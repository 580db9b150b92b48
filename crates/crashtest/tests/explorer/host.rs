//! A host that writes and waits, and the history that a drive would keep of it.

use history::{Change, Event, Range, What};

/// Bytes of a block, and of what is never torn.
pub(crate) const BLOCK: usize = 4096;

/// Makes a history.
pub(crate) struct Host {
    pub(crate) events: Vec<Event>,
    commands: u64,
}

impl Host {
    /// An empty namespace of so many blocks.
    pub(crate) fn new(blocks: u64) -> Self {
        let namespace = What::Namespace {
            nsid: 1,
            bytes: blocks * BLOCK as u64,
            block_bytes: BLOCK as u32,
            atomic_bytes: BLOCK as u32,
        };
        Self { events: vec![Event { at_ns: 0, what: namespace }], commands: 0 }
    }

    fn note(&mut self, what: What) {
        let at_ns = self.events.len() as u64 * 1000;
        self.events.push(Event { at_ns, what });
    }

    /// Begins a command that it does not wait for.
    pub(crate) fn begin(&mut self, change: Change) -> u64 {
        self.commands += 1;
        self.note(What::Begin { id: self.commands, change });
        self.commands
    }

    pub(crate) fn end(&mut self, id: u64) {
        self.note(What::End { id, is_success: true });
    }

    pub(crate) fn change(block: u64, bytes: &[u8], is_durable: bool) -> Change {
        let range = Range { start: block * BLOCK as u64, len: bytes.len() as u64 };
        Change::Write { nsid: 1, ranges: vec![range], bytes: Some(bytes.to_vec()), is_durable }
    }

    pub(crate) fn write(&mut self, block: u64, bytes: &[u8]) {
        let id = self.begin(Self::change(block, bytes, false));
        self.end(id);
    }

    pub(crate) fn write_durably(&mut self, block: u64, bytes: &[u8]) {
        let id = self.begin(Self::change(block, bytes, true));
        self.end(id);
    }

    pub(crate) fn deallocate(&mut self, block: u64, count: u64) {
        let range = Range { start: block * BLOCK as u64, len: count * BLOCK as u64 };
        let change = Change::Deallocate { nsid: 1, ranges: vec![range], is_durable: false };
        let id = self.begin(change);
        self.end(id);
    }

    pub(crate) fn flush(&mut self) {
        let id = self.begin(Change::Flush { nsid: 1 });
        self.end(id);
    }

    pub(crate) fn mark(&mut self, text: &str) {
        self.note(What::Mark(text.to_owned()));
    }
}

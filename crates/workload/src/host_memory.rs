//! What the host keeps of blocks that it has read.

use std::collections::{BTreeMap, HashMap};

/// Names a piece: drive, first byte, bytes.
type Piece = (usize, u64, u64);

/// Pieces of blocks, the least recently used forgotten first.
#[derive(Debug)]
pub(crate) struct HostMemory {
    capacity: u64,
    used: u64,
    /// When each piece was used last, as a number.
    pieces: HashMap<Piece, u64>,
    /// The other way round.
    order: BTreeMap<u64, Piece>,
    next: u64,
}

impl HostMemory {
    pub(crate) fn new(capacity: u64) -> Self {
        Self { capacity, used: 0, pieces: HashMap::new(), order: BTreeMap::new(), next: 0 }
    }

    /// True if a piece is there; it was used now.
    pub(crate) fn uses(&mut self, piece: Piece) -> bool {
        let Some(number) = self.pieces.get_mut(&piece) else { return false };
        self.order.remove(number);
        *number = self.next;
        self.order.insert(self.next, piece);
        self.next += 1;
        true
    }

    /// A piece was read; what was used longest ago makes room for it.
    pub(crate) fn keep(&mut self, piece: Piece) {
        let (.., bytes) = piece;
        if bytes > self.capacity || self.uses(piece) {
            return;
        }
        self.pieces.insert(piece, self.next);
        self.order.insert(self.next, piece);
        self.next += 1;
        self.used += bytes;
        while self.used > self.capacity
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.pieces.remove(&oldest);
            self.used -= oldest.2;
        }
    }
}

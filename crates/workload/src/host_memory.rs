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

    /// True if a piece is there. Afterwards it is, if it fits at all.
    pub(crate) fn uses(&mut self, piece: Piece) -> bool {
        let (.., bytes) = piece;
        if bytes > self.capacity {
            return false;
        }
        let before = self.pieces.insert(piece, self.next);
        match before {
            Some(number) => drop(self.order.remove(&number)),
            None => self.used += bytes,
        }
        self.order.insert(self.next, piece);
        self.next += 1;
        while self.used > self.capacity
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.pieces.remove(&oldest);
            self.used -= oldest.2;
        }
        before.is_some()
    }
}

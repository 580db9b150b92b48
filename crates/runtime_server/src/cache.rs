//! Chunks that came, by their hash: what comes again is not sent again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::wire::Hash;

/// Chunks, the least recently used of which go when there are too many.
#[derive(Debug)]
pub(crate) struct Cache {
    bytes_max: usize,
    bytes: usize,
    chunks: HashMap<Hash, (u64, Arc<[u8]>)>,
    /// By when they were used last.
    used: BTreeMap<u64, Hash>,
    uses: u64,
}

impl Cache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: 0, chunks: HashMap::new(), used: BTreeMap::new(), uses: 0 }
    }

    pub(crate) fn get(&mut self, hash: &Hash) -> Option<Arc<[u8]>> {
        let (used, chunk) = self.chunks.get_mut(hash)?;
        self.used.remove(used);
        self.uses += 1;
        *used = self.uses;
        self.used.insert(self.uses, *hash);
        Some(Arc::clone(chunk))
    }

    pub(crate) fn insert(&mut self, chunk: &[u8]) -> Hash {
        let hash = hash_of(chunk);
        if self.get(&hash).is_none() {
            self.uses += 1;
            self.bytes += chunk.len();
            self.chunks.insert(hash, (self.uses, chunk.into()));
            self.used.insert(self.uses, hash);
            while self.bytes > self.bytes_max
                && let Some((_, oldest)) = self.used.pop_first()
            {
                let gone = self.chunks.remove(&oldest);
                self.bytes -= gone.map_or(0, |(_, chunk)| chunk.len());
            }
        }
        hash
    }
}

pub(crate) fn hash_of(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes() {
        let mut cache = Cache::new(10);
        let [a, b] = [[1; 4], [2; 4]].map(|chunk| cache.insert(&chunk));
        assert!(cache.get(&a).is_some());
        let c = cache.insert(&[3; 4]);
        assert_eq!([a, b, c].map(|hash| cache.chunks.contains_key(&hash)), [true, false, true]);
        assert_eq!((cache.insert(&[1; 4]), cache.bytes), (a, 8));
    }
}

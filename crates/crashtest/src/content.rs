//! Contents of logical blocks, each kept once: equal bytes have equal numbers.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The content of a block.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct ContentId(u32);

impl ContentId {
    /// Nothing was written, or zeroes.
    pub(crate) const ZEROES: Self = Self(0);

    /// Numbers that tell which content of which block a state has; those of all blocks together are the state's.
    pub(crate) fn fingerprint(self, block: u64) -> u128 {
        if self == Self::ZEROES {
            return 0;
        }
        let half = |salt: u64| {
            let mut hasher = DefaultHasher::new();
            (salt, block, self.0).hash(&mut hasher);
            u128::from(hasher.finish())
        };
        half(1) << 64 | half(2)
    }
}

fn hash(block: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    block.hash(&mut hasher);
    hasher.finish()
}

/// All contents.
#[derive(Debug)]
pub(crate) struct Contents {
    block_bytes: usize,
    /// One after the other, by number.
    bytes: Vec<u8>,
    by_hash: HashMap<u64, Vec<ContentId>>,
}

impl Contents {
    pub(crate) fn new(block_bytes: u32) -> Self {
        let mut contents =
            Self { block_bytes: block_bytes as usize, bytes: Vec::new(), by_hash: HashMap::new() };
        let zeroes = vec![0; block_bytes as usize];
        assert_eq!(contents.keep(&zeroes), ContentId::ZEROES);
        contents
    }

    /// The number of a block's bytes, if they were kept.
    pub(crate) fn find(&self, block: &[u8]) -> Option<ContentId> {
        let mut same = self.by_hash.get(&hash(block)).into_iter().flatten().copied();
        same.find(|id| self.get(*id) == block)
    }

    /// The number of a block's bytes.
    pub(crate) fn keep(&mut self, block: &[u8]) -> ContentId {
        debug_assert_eq!(block.len(), self.block_bytes);
        if let Some(known) = self.find(block) {
            return known;
        }
        let count = self.bytes.len() / self.block_bytes;
        let id = ContentId(u32::try_from(count).expect("a history has fewer than 2^32 blocks"));
        self.bytes.extend(block);
        self.by_hash.entry(hash(block)).or_default().push(id);
        id
    }

    /// The bytes of a number.
    pub(crate) fn get(&self, id: ContentId) -> &[u8] {
        let at = id.0 as usize * self.block_bytes;
        &self.bytes[at..at + self.block_bytes]
    }
}

//! A state of the blocks of a namespace.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::content::{ContentId, Contents};

/// What a checker thinks of a state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The software can go on from there, and keeps what it promised.
    Holds,
    /// It cannot, or does not; why.
    Fails(String),
}

/// What is durable at a moment: the content of each block, and the write that put it there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Base {
    pub(crate) blocks: HashMap<u64, Durable>,
    /// Of all blocks.
    pub(crate) fingerprint: u128,
}

/// A durable block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Durable {
    pub(crate) content: ContentId,
    /// When the write began that put it there, as a place in the history.
    pub(crate) begun: usize,
}

impl Base {
    pub(crate) fn content(&self, block: u64) -> ContentId {
        self.blocks.get(&block).map_or(ContentId::ZEROES, |durable| durable.content)
    }

    /// A block gets a durable content, unless a later one is there.
    pub(crate) fn set(&mut self, block: u64, content: ContentId, begun: usize) {
        let before = self.blocks.get(&block);
        if before.is_some_and(|before| before.begun > begun) {
            return;
        }
        self.fingerprint ^= self.content(block).fingerprint(block) ^ content.fingerprint(block);
        self.blocks.insert(block, Durable { content, begun });
    }
}

/// A state of a namespace's blocks that a loss of power may leave.
#[derive(Clone, Debug)]
pub struct State<'a> {
    pub(crate) bytes: u64,
    pub(crate) block_bytes: u32,
    pub(crate) contents: &'a Contents,
    pub(crate) base: &'a Base,
    /// Blocks that differ from the base.
    pub(crate) over: BTreeMap<u64, ContentId>,
    pub(crate) marks: &'a [String],
}

impl<'a> State<'a> {
    /// Bytes of the namespace.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of a logical block.
    pub fn block_bytes(&self) -> u32 {
        self.block_bytes
    }

    /// What the host had said of how far it had come, in order.
    pub fn marks(&self) -> &'a [String] {
        self.marks
    }

    pub(crate) fn content(&self, block: u64) -> ContentId {
        self.over.get(&block).copied().unwrap_or_else(|| self.base.content(block))
    }

    /// Reads bytes, from any place to any other.
    ///
    /// # Panics
    /// If they are not in the namespace.
    pub fn read(&self, start: u64, into: &mut [u8]) {
        let end = start.checked_add(into.len() as u64).filter(|end| *end <= self.bytes);
        assert!(end.is_some(), "{} bytes from {start} end after the namespace", into.len());
        let block_bytes = u64::from(self.block_bytes);
        let (mut at, mut rest) = (start, into);
        while !rest.is_empty() {
            let offset = (at % block_bytes) as usize;
            let bytes = &self.contents.get(self.content(at / block_bytes))[offset..];
            let len = bytes.len().min(rest.len());
            let (piece, tail) = rest.split_at_mut(len);
            piece.copy_from_slice(&bytes[..len]);
            (at, rest) = (at + len as u64, tail);
        }
    }

    /// Writes the state into a new file, which has holes where nothing was written.
    ///
    /// # Errors
    /// If it is there already, or cannot be written.
    pub fn save(&self, to: &Path) -> io::Result<()> {
        let file = File::options().write(true).create_new(true).open(to)?;
        file.set_len(self.bytes)?;
        for (block, content) in self.written() {
            let at = block * u64::from(self.block_bytes);
            file.write_all_at(self.contents.get(content), at)?;
        }
        Ok(())
    }

    /// Blocks that do not read as zeroes, in no order.
    pub(crate) fn written(&self) -> impl Iterator<Item = (u64, ContentId)> + '_ {
        let base = self.base.blocks.iter().map(|(block, durable)| (*block, durable.content));
        let base = base.filter(|(block, _)| !self.over.contains_key(block));
        let over = self.over.iter().map(|(block, content)| (*block, *content));
        base.chain(over).filter(|(_, content)| *content != ContentId::ZEROES)
    }

    /// Tells it from other states, whatever they are made of: also those that other marks were said of.
    pub(crate) fn fingerprint(&self) -> u128 {
        let changed = |(block, content): (&u64, &ContentId)| {
            self.base.content(*block).fingerprint(*block) ^ content.fingerprint(*block)
        };
        let blocks =
            self.over.iter().map(changed).fold(self.base.fingerprint, |all, one| all ^ one);
        blocks ^ (self.marks.len() as u128).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
    }
}

//! Whether what a drive left is what it may leave.

use crate::content::ContentId;
use crate::workload::{Cut, Workload};

/// Blocks that no loss of power at the end of this history may leave so.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{len} bytes at {start}: {why}")]
pub struct Illegal {
    /// The first byte.
    pub start: u64,
    /// How many.
    pub len: u64,
    /// What is wrong.
    pub why: &'static str,
}

impl Workload {
    /// Checks what is there after a loss of power at the end of the history: every byte of the namespace is read, in order.
    ///
    /// # Errors
    /// The first blocks that are not as they may be; or what reading comes to.
    pub fn check_left<E>(
        &self,
        mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<Result<(), Illegal>, E> {
        let result = self.at(self.end(), |cut| self.compare(cut, &mut read));
        result.expect("the end is a moment at which power goes")
    }

    fn compare<E>(
        &self,
        cut: &Cut<'_>,
        read: &mut impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<Result<(), Illegal>, E> {
        let block_bytes = u64::from(self.block_bytes());
        let mut unit = vec![0; self.atomic_bytes() as usize];
        let mut of_units = self.pieces_by_unit(cut);
        let mut start = 0;
        while start < self.bytes() {
            let len = self.atomic_bytes().min(self.bytes() - start);
            let bytes = &mut unit[..len as usize];
            read(start, bytes)?;
            let first = start / block_bytes;
            let found = bytes.chunks(block_bytes as usize).map(|block| self.contents.find(block));
            let Some(found) = found.collect::<Option<Vec<ContentId>>>() else {
                let why = "nobody wrote this";
                return Ok(Err(Illegal { start, len, why }));
            };
            // From the last to the first: a piece that agrees with all that nothing later explains may as well be there.
            let mut open: Vec<bool> = vec![true; found.len()];
            for piece in
                of_units.remove(&(start / self.atomic_bytes())).unwrap_or_default().iter().rev()
            {
                let visible = |(block, _): &&(u64, ContentId)| open[(*block - first) as usize];
                let explains = piece
                    .iter()
                    .filter(visible)
                    .all(|(block, content)| found[(*block - first) as usize] == *content);
                if explains {
                    piece.iter().for_each(|(block, _)| open[(*block - first) as usize] = false);
                }
            }
            for (n, is_open) in open.into_iter().enumerate() {
                let block = first + n as u64;
                if is_open && found[n] != cut.base.content(block) {
                    let why = match cut.base.blocks.contains_key(&block) {
                        true => "what was durable is gone, and nothing later is there as a whole",
                        false => "it is there only in part, or of another place",
                    };
                    let start = block * block_bytes;
                    return Ok(Err(Illegal { start, len: block_bytes, why }));
                }
            }
            start += len;
        }
        Ok(Ok(()))
    }
}

//! A command's data pointer: from PRP entries or SGL descriptors to pieces of host memory.
//!
//! Everything the host wrote is checked before a byte of data moves. PRP lists are read exactly as
//! far as the transfer needs them, SGLs segment by segment.

mod prp;
mod sgl;

use nvme_spec::{SglDescriptor, Status, SubmissionEntry};

use crate::host_memory::HostMemory;

/// Where a command says its data is (PSDT; Base 2.1, Figure 92).
#[derive(Clone, Copy, Debug)]
pub(crate) enum DataPointer {
    /// PRP entries 1 and 2.
    Prp(u64, u64),
    /// The first SGL descriptor.
    Sgl(SglDescriptor),
}

impl DataPointer {
    /// The data pointer of an entry whose flags were checked.
    #[inline]
    pub(crate) fn of(entry: &SubmissionEntry) -> Self {
        if entry.psdt() == 0 {
            Self::Prp(entry.prp1.get(), entry.prp2.get())
        } else {
            Self::Sgl(entry.sgl())
        }
    }
}

/// Which way a command's data goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    ToHost,
    FromHost,
}

/// A piece of host memory, or of a transfer that the host wants thrown away.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Segment {
    pub(crate) address: u64,
    pub(crate) len: u32,
    /// Bytes for a bit bucket: the address means nothing.
    pub(crate) discarded: bool,
}

/// The pieces of host memory of one command, in order. Two fit without allocation: transfers of
/// one and two pages are the common ones.
#[derive(Default, Debug)]
pub(crate) struct Segments {
    inline: [Segment; 2],
    inline_len: usize,
    rest: Vec<Segment>,
}

impl Segments {
    pub(crate) fn iter(&self) -> impl Iterator<Item = Segment> + '_ {
        self.inline[..self.inline_len].iter().chain(&self.rest).copied()
    }

    /// Pieces of memory, those of buckets among them.
    fn pieces(&self) -> usize {
        self.inline_len + self.rest.len()
    }

    /// Resolves a data pointer for a transfer of `len` bytes, which is at most the largest one.
    #[inline]
    pub(crate) fn resolve(
        host: &dyn HostMemory,
        pointer: DataPointer,
        len: u64,
        direction: Direction,
    ) -> Result<Self, Status> {
        match pointer {
            DataPointer::Prp(prp1, prp2) => Self::from_prp(host, prp1, prp2, len),
            DataPointer::Sgl(first) => Self::from_sgl(host, first, len, direction),
        }
    }

    /// Appends a piece; one that continues the last becomes part of it.
    #[inline]
    fn push(&mut self, address: u64, len: u64) {
        let len = len as u32;
        let last = match (self.rest.last_mut(), self.inline_len) {
            (Some(last), _) => Some(last),
            (None, 0) => None,
            (None, n) => Some(&mut self.inline[n - 1]),
        };
        match last {
            Some(last)
                if !last.discarded
                    && last.address.checked_add(u64::from(last.len)) == Some(address) =>
            {
                last.len += len;
            }
            _ => self.append(Segment { address, len, discarded: false }),
        }
    }

    #[inline]
    fn append(&mut self, segment: Segment) {
        if self.inline_len < 2 {
            self.inline[self.inline_len] = segment;
            self.inline_len += 1;
        } else {
            self.rest.push(segment);
        }
    }

    /// Copies all pieces into a buffer of their total length.
    pub(crate) fn read(&self, host: &dyn HostMemory, into: &mut [u8]) -> Result<(), Status> {
        let mut at = 0;
        for segment in self.iter() {
            let end = at + segment.len as usize;
            let piece = &mut into[at..end];
            host.read(segment.address, piece).map_err(|_| Status::DATA_TRANSFER_ERROR)?;
            at = end;
        }
        Ok(())
    }

    /// Copies a buffer into the pieces; bytes the pieces have no room for are dropped.
    pub(crate) fn write(&self, host: &mut dyn HostMemory, from: &[u8]) -> Result<(), Status> {
        let mut rest = from;
        for segment in self.iter() {
            let (piece, tail) = rest.split_at(rest.len().min(segment.len as usize));
            if !segment.discarded {
                host.write(segment.address, piece).map_err(|_| Status::DATA_TRANSFER_ERROR)?;
            }
            rest = tail;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

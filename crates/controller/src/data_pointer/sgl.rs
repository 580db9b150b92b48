//! Scatter gather lists (Base 2.1, section 4.3.2): data blocks, bit buckets, segments and last
//! segments.
//!
//! A list may describe more bytes than the transfer has (SGLS bit 18); no segment is read that the
//! transfer does not need, and of each segment at most a piece too much. A list that does not end
//! is ended by [`SGL_DESCRIPTORS_MAX`], one of very many pieces by [`SGL_PIECES_MAX`].

use nvme_spec::{SglDescriptor, Status, sgl_type};
use zerocopy::FromBytes;

use super::{Direction, Segment, Segments};
use crate::host_memory::HostMemory;
use crate::limits::{SGL_DESCRIPTORS_MAX, SGL_PIECES_MAX};

/// Descriptors read from host memory at a time.
const PIECE: usize = 64;

impl Segments {
    /// Resolves an SGL for `len` bytes.
    #[cold]
    pub(super) fn from_sgl(
        host: &dyn HostMemory,
        first: SglDescriptor,
        len: u64,
        direction: Direction,
    ) -> Result<Self, Status> {
        if len == 0 {
            return Ok(Self::default());
        }
        let mut list = List { segments: Self::default(), left: len, direction, seen: 0 };
        let mut next = list.take(&first)?;
        while let Some(part) = next.filter(|_| list.left > 0) {
            next = list.walk(host, part)?;
        }
        if list.left > 0 {
            return Err(Status::INVALID_SGL_LENGTH.with_dnr());
        }
        Ok(list.segments)
    }
}

/// The part of a list that a segment descriptor leads to.
#[derive(Clone, Copy)]
struct Part {
    address: u64,
    descriptors: usize,
    is_last: bool,
}

/// A list being read.
struct List {
    segments: Segments,
    /// Bytes of the transfer not described yet.
    left: u64,
    direction: Direction,
    /// Descriptors seen so far.
    seen: usize,
}

impl List {
    /// Takes one descriptor: appends what it describes, or returns where the list goes on.
    fn take(&mut self, descriptor: &SglDescriptor) -> Result<Option<Part>, Status> {
        let (address, length) = (descriptor.address.get(), descriptor.length.get());
        self.seen += 1;
        if descriptor.subtype() != 0 {
            return Err(Status::INVALID_SGL_TYPE.with_dnr());
        }
        match descriptor.sgl_type() {
            sgl_type::DATA_BLOCK => {
                let len = self.left.min(length.into());
                if len > 0 {
                    self.segments.push(address, len);
                }
                self.left -= len;
                Ok(None)
            }
            sgl_type::BIT_BUCKET => {
                // A bucket takes bytes of a read; a write skips it (Base 2.1, Figure 113).
                if self.direction == Direction::ToHost {
                    let len = self.left.min(length.into());
                    if len > 0 {
                        let len = len as u32;
                        self.segments.append(Segment { address: 0, len, discarded: true });
                    }
                    self.left -= len;
                }
                Ok(None)
            }
            kind @ (sgl_type::SEGMENT | sgl_type::LAST_SEGMENT) => {
                // A segment is whole descriptors at a multiple of eight bytes.
                let bytes = length as usize;
                let whole = bytes > 0 && bytes.is_multiple_of(SglDescriptor::SIZE);
                if !whole || !address.is_multiple_of(8) {
                    return Err(Status::INVALID_SGL_SEGMENT.with_dnr());
                }
                let descriptors = bytes / SglDescriptor::SIZE;
                let is_last = kind == sgl_type::LAST_SEGMENT;
                Ok(Some(Part { address, descriptors, is_last }))
            }
            _ => Err(Status::INVALID_SGL_TYPE.with_dnr()),
        }
    }

    /// Reads a segment; returns the one it leads to.
    fn walk(&mut self, host: &dyn HostMemory, part: Part) -> Result<Option<Part>, Status> {
        let mut bytes = [0; PIECE * SglDescriptor::SIZE];
        let mut done = 0;
        while done < part.descriptors {
            let count = PIECE.min(part.descriptors - done);
            let piece = &mut bytes[..count * SglDescriptor::SIZE];
            let offset = (done * SglDescriptor::SIZE) as u64;
            let address = part.address.checked_add(offset).ok_or(Status::DATA_TRANSFER_ERROR)?;
            host.read(address, piece).map_err(|_| Status::DATA_TRANSFER_ERROR)?;
            for descriptor in piece.chunks_exact(SglDescriptor::SIZE) {
                done += 1;
                let descriptor = SglDescriptor::read_from_bytes(descriptor).expect("16 bytes each");
                let is_end = done == part.descriptors;
                if self.seen == SGL_DESCRIPTORS_MAX || self.segments.pieces() > SGL_PIECES_MAX {
                    return Err(Status::INVALID_SGL_COUNT.with_dnr());
                }
                match self.take(&descriptor)? {
                    // The last segment leads nowhere.
                    Some(_) if part.is_last => return Err(Status::INVALID_SGL_SEGMENT.with_dnr()),
                    Some(next) if is_end => return Ok(Some(next)),
                    // A list goes on only at the end of a segment.
                    Some(_) => return Err(Status::INVALID_SGL_COUNT.with_dnr()),
                    None if self.left == 0 => return Ok(None),
                    // Another segment must follow a segment that is not the last.
                    None if is_end && !part.is_last => {
                        return Err(Status::INVALID_SGL_SEGMENT.with_dnr());
                    }
                    None => {}
                }
            }
        }
        Ok(None)
    }
}

//! Bytes between the flash model and host memory. A drive that models times alone keeps none: reads return nothing,
//! comparisons find everything equal.

use nvme_spec::Status;
use ssd::{Lpn, MediaError, Span, Ssd};

use crate::data_pointer::Segments;
use crate::host_memory::HostMemory;

/// The pages of a byte range.
#[inline]
pub(crate) fn spans(page_bits: u32, start: u64, len: u64) -> impl Iterator<Item = Span> {
    let (mut byte, end) = (start, start + len);
    core::iter::from_fn(move || {
        if byte >= end {
            return None;
        }
        let lpn = byte >> page_bits;
        let until = end.min((lpn + 1) << page_bits);
        let offset = (byte & ((1 << page_bits) - 1)) as u32;
        let span = Span { lpn: Lpn(lpn), offset, len: (until - byte) as u32 };
        byte = until;
        Some(span)
    })
}

/// The status of a command whose flash operation failed.
pub(crate) fn media_status(error: MediaError) -> Status {
    match error {
        MediaError::Uncorrectable | MediaError::Misplaced { .. } => Status::UNRECOVERED_READ_ERROR,
        MediaError::ProgramFailed => Status::WRITE_FAULT,
    }
}

fn page_bits(ssd: &Ssd) -> u32 {
    ssd.geometry().page_bytes.trailing_zeros()
}

/// Copies a byte range to host memory.
#[inline]
pub(super) fn send_data(
    ssd: &Ssd,
    host: &mut impl HostMemory,
    start: u64,
    segments: &Segments,
) -> Result<(), Status> {
    let page_bits = page_bits(ssd);
    let mut byte = start;
    for segment in segments.iter() {
        let (mut address, len) = (segment.address, u64::from(segment.len));
        if !segment.discarded {
            for span in spans(page_bits, byte, len) {
                let mut written = Ok(());
                ssd.visit(span, |piece| {
                    written = written.and_then(|()| host.write(address, piece));
                    address = address.wrapping_add(piece.len() as u64);
                });
                written.map_err(|_| Status::DATA_TRANSFER_ERROR)?;
            }
        }
        byte += len;
    }
    Ok(())
}

/// Shows a byte range, piece by piece, with the place of each in the range.
pub(crate) fn visit_data(ssd: &Ssd, start: u64, len: u64, mut visitor: impl FnMut(u64, &[u8])) {
    let mut offset = 0;
    for span in spans(page_bits(ssd), start, len) {
        ssd.visit(span, |piece| {
            visitor(offset, piece);
            offset += piece.len() as u64;
        });
    }
}

/// True if host memory holds what a byte range does.
pub(super) fn compare_data(
    ssd: &Ssd,
    host: &impl HostMemory,
    start: u64,
    segments: &Segments,
) -> Result<bool, Status> {
    let mut expected = Vec::new();
    let mut byte = start;
    for segment in segments.iter() {
        expected.resize(segment.len as usize, 0);
        host.read(segment.address, &mut expected).map_err(|_| Status::DATA_TRANSFER_ERROR)?;
        let mut is_equal = true;
        visit_data(ssd, byte, segment.len.into(), |offset, bytes| {
            let at = offset as usize;
            is_equal &= expected[at..at + bytes.len()] == *bytes;
        });
        if !is_equal {
            return Ok(false);
        }
        byte += u64::from(segment.len);
    }
    Ok(true)
}

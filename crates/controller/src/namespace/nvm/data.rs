//! Bytes between the flash model and host memory. A drive that models times alone keeps none: reads return nothing,
//! comparisons find everything equal.

use nvme_spec::Status;
use ssd::Ssd;

use super::NvmNamespace;
use crate::data_pointer::Segments;
use crate::extent::Extent;
use crate::host_memory::HostMemory;

/// Copies a byte range to host memory.
#[inline]
pub(super) fn send_data(
    namespace: &NvmNamespace,
    ssd: &Ssd,
    host: &mut dyn HostMemory,
    start: u64,
    segments: &Segments,
) -> Result<(), Status> {
    let mut byte = start;
    for segment in segments.iter() {
        let (mut address, len) = (segment.address, u64::from(segment.len));
        if !segment.discarded {
            for span in namespace.spans(Extent { start: byte, len }) {
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
pub(crate) fn visit_data(
    namespace: &NvmNamespace,
    ssd: &Ssd,
    extent: Extent,
    mut visitor: impl FnMut(u64, &[u8]),
) {
    let mut offset = 0;
    for span in namespace.spans(extent) {
        ssd.visit(span, |piece| {
            visitor(offset, piece);
            offset += piece.len() as u64;
        });
    }
}

/// True if host memory holds what a byte range does.
pub(super) fn compare_data(
    namespace: &NvmNamespace,
    ssd: &Ssd,
    host: &dyn HostMemory,
    start: u64,
    segments: &Segments,
) -> Result<bool, Status> {
    let mut expected = Vec::new();
    let mut byte = start;
    for segment in segments.iter() {
        expected.resize(segment.len as usize, 0);
        host.read(segment.address, &mut expected).map_err(|_| Status::DATA_TRANSFER_ERROR)?;
        let mut is_equal = true;
        let extent = Extent { start: byte, len: segment.len.into() };
        visit_data(namespace, ssd, extent, |offset, bytes| {
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

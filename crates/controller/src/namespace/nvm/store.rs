//! Bytes between the page store and host memory. A drive that models times alone has no store:
//! reads return nothing, comparisons find everything equal.

use nvme_spec::Status;
use ssd::{Lpn, Ssd};

use crate::data_pointer::Segments;
use crate::host_memory::HostMemory;

/// What a page never written reads as. As long as the largest flash page.
static ZEROES: [u8; 65_536] = [0; 65_536];

/// Copies from the page store to host memory; nothing if the drive models times alone.
#[inline]
pub(super) fn read_store(
    ssd: &Ssd,
    host: &mut impl HostMemory,
    start: u64,
    segments: &Segments,
) -> Result<(), Status> {
    let Some(store) = ssd.store() else { return Ok(()) };
    let page_bytes = u64::from(ssd.geometry().page_bytes);
    let mut byte = start;
    for segment in segments.iter() {
        let (mut address, mut left) = (segment.address, u64::from(segment.len));
        if segment.discarded {
            byte += left;
            continue;
        }
        while left > 0 {
            let at = (byte & (page_bytes - 1)) as usize;
            let n = left.min(page_bytes - at as u64);
            let page = store.page(Lpn((byte / page_bytes) as u32)).unwrap_or(&ZEROES);
            host.write(address, &page[at..at + n as usize])
                .map_err(|_| Status::DATA_TRANSFER_ERROR)?;
            (address, byte, left) = (address.wrapping_add(n), byte + n, left - n);
        }
    }
    Ok(())
}

/// Copies a byte range from the page store, page by page.
pub(crate) fn visit_store(ssd: &Ssd, start: u64, len: u64, mut visitor: impl FnMut(u64, &[u8])) {
    let Some(store) = ssd.store() else { return };
    let page_bytes = u64::from(ssd.geometry().page_bytes);
    let mut offset = 0;
    while offset < len {
        let byte = start + offset;
        let at = (byte & (page_bytes - 1)) as usize;
        let n = (len - offset).min(page_bytes - at as u64);
        let page = store.page(Lpn((byte / page_bytes) as u32)).unwrap_or(&ZEROES);
        visitor(offset, &page[at..at + n as usize]);
        offset += n;
    }
}

/// True if host memory holds what the page store does.
pub(super) fn compare_store(
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
        visit_store(ssd, byte, segment.len.into(), |offset, bytes| {
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

/// Copies bytes into the page store.
pub(super) fn fill_store(ssd: &mut Ssd, start: u64, bytes: &[u8]) {
    let page_bytes = u64::from(ssd.geometry().page_bytes);
    let Some(store) = ssd.store_mut() else { return };
    let (mut byte, mut rest) = (start, bytes);
    while !rest.is_empty() {
        let at = (byte & (page_bytes - 1)) as usize;
        let (piece, tail) = rest.split_at(rest.len().min(page_bytes as usize - at));
        let page = store.page_mut(Lpn((byte / page_bytes) as u32));
        page[at..at + piece.len()].copy_from_slice(piece);
        (byte, rest) = (byte + piece.len() as u64, tail);
    }
}

/// Zeroes bytes of the page store; pages never written stay so.
pub(super) fn zero_store(ssd: &mut Ssd, start: u64, len: u64) {
    let page_bytes = u64::from(ssd.geometry().page_bytes);
    let Some(store) = ssd.store_mut() else { return };
    let (mut byte, end) = (start, start + len);
    while byte < end {
        let at = byte & (page_bytes - 1);
        let n = (end - byte).min(page_bytes - at);
        let lpn = Lpn((byte / page_bytes) as u32);
        if store.page(lpn).is_some() {
            store.page_mut(lpn)[at as usize..(at + n) as usize].fill(0);
        }
        byte += n;
    }
}

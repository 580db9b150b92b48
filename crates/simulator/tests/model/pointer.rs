//! Buffers of any shape: where a command's bytes lie in host memory.

use client::DmaMemory;
use nvme_spec::{PAGE_SIZE, SglDescriptor, Status, SubmissionEntry, sgl_type};
use simtime::Prng;
use simulator::HostRam;

use crate::script::Shape;

/// A data pointer with the places it leads to.
#[derive(Debug)]
pub(crate) struct Placed {
    /// Pieces of host memory in order; no address = a bit bucket.
    pub(crate) pieces: Vec<(Option<u64>, u64)>,
    /// What the shape itself leads to, if it is wrong.
    pub(crate) error: Option<Status>,
    pages: Vec<(u64, u64)>,
}

impl Placed {
    /// Gives the pages back.
    pub(crate) fn release(self, ram: &mut HostRam) {
        for (address, pages) in self.pages {
            ram.give_pages(address, pages);
        }
    }

    /// Puts bytes where the drive will find them.
    pub(crate) fn put(&self, ram: &mut HostRam, bytes: &[u8]) {
        let mut rest = bytes;
        for (address, len) in &self.pieces {
            let (piece, tail) = rest.split_at(rest.len().min(*len as usize));
            if let Some(address) = address {
                ram.put(*address, piece);
            }
            rest = tail;
        }
    }

    /// Takes bytes from where the drive put them; `None` for those it was to throw away.
    pub(crate) fn get(&self, ram: &HostRam) -> Vec<Option<u8>> {
        let mut bytes = Vec::new();
        for (address, len) in &self.pieces {
            match address {
                Some(address) => bytes.extend(ram.view(*address, *len).iter().map(|b| Some(*b))),
                None => bytes.extend(std::iter::repeat_n(None, *len as usize)),
            }
        }
        bytes
    }
}

/// Makes a data pointer for `len` bytes of an entry. Admin commands have PRPs only.
pub(crate) fn place(
    ram: &mut HostRam,
    entry: &mut SubmissionEntry,
    shape: &Shape,
    len: u64,
    (is_admin, is_read): (bool, bool),
) -> Placed {
    let mut placed = Placed { pieces: Vec::new(), error: None, pages: Vec::new() };
    match shape {
        Shape::Prp { offset, order } => place_prp(ram, entry, &mut placed, (*offset, *order), len),
        Shape::Sgl { .. } | Shape::SglShort | Shape::SglUnknown if is_admin => {
            place_prp(ram, entry, &mut placed, (0, 1), len);
        }
        Shape::Sgl { pieces, segments, buckets } => {
            let buckets = if is_read { *buckets } else { 0 };
            place_sgl(ram, entry, &mut placed, (pieces, segments, buckets), len);
        }
        Shape::PrpMisaligned => {
            placed.error = (len > 0).then_some(Status::INVALID_PRP_OFFSET);
            (entry.prp1, entry.prp2) = (0x10_0001.into(), 0.into());
        }
        Shape::Nowhere => {
            placed.error = (len > 0).then_some(Status::DATA_TRANSFER_ERROR);
            // Whole pages, so that nothing else is wrong with it; no list can be read either.
            (entry.prp1, entry.prp2) = ((1 << 50).into(), (1 << 51).into());
        }
        Shape::SglShort => {
            placed.error = (len > 0).then_some(Status::INVALID_SGL_LENGTH);
            set_sgl(
                entry,
                SglDescriptor::new(sgl_type::DATA_BLOCK, 0x10_0000, len.saturating_sub(1) as u32),
            );
        }
        Shape::SglUnknown => {
            placed.error = (len > 0).then_some(Status::INVALID_SGL_TYPE);
            set_sgl(entry, SglDescriptor::new(7, 0x10_0000, len as u32));
        }
    }
    placed
}

fn set_sgl(entry: &mut SubmissionEntry, descriptor: SglDescriptor) {
    *entry = client::commands::with_sgl(*entry, descriptor);
}

fn take(ram: &mut HostRam, placed: &mut Placed, pages: u64) -> u64 {
    let address = ram.take_pages(pages);
    placed.pages.push((address, pages));
    address
}

fn place_prp(
    ram: &mut HostRam,
    entry: &mut SubmissionEntry,
    placed: &mut Placed,
    (offset, order): (u16, u64),
    len: u64,
) {
    let offset = u64::from(offset);
    let count = (offset + len).div_ceil(PAGE_SIZE).max(1);
    let mut pages: Vec<u64> = (0..count).map(|_| take(ram, placed, 1)).collect();
    let mut prng = Prng::new(order);
    for n in (1..pages.len()).rev() {
        pages.swap(n, prng.below(n as u64 + 1) as usize);
    }
    let mut left = len;
    for (n, page) in pages.iter().enumerate() {
        let from = if n == 0 { offset } else { 0 };
        let n = left.min(PAGE_SIZE - from);
        if n > 0 {
            placed.pieces.push((Some(page + from), n));
        }
        left -= n;
    }
    let prp2 = match &pages[1..] {
        [] => 0,
        [one] => *one,
        rest => {
            // The list begins anywhere in a page, so that it goes on in the next one.
            let list = take(ram, placed, 2);
            let entries = rest.len() as u64;
            let room = PAGE_SIZE / 8 - 1;
            let list = list + 8 * prng.below(room.saturating_sub(entries / 2));
            ram.put_prp_list(list, rest);
            list
        }
    };
    (entry.prp1, entry.prp2) = ((pages[0] + offset).into(), prp2.into());
}

fn place_sgl(
    ram: &mut HostRam,
    entry: &mut SubmissionEntry,
    placed: &mut Placed,
    (lens, segments, buckets): (&[u16], &[u8], u8),
    len: u64,
) {
    let base = take(ram, placed, (2 * len).div_ceil(PAGE_SIZE) + 2);
    let (mut at, mut left, mut descriptors) = (base + 1, len, Vec::new());
    for (n, piece) in lens.iter().cycle().enumerate() {
        if left == 0 && n > 0 {
            break;
        }
        let piece = u64::from(*piece).min(left);
        let is_bucket = buckets > 0 && n % usize::from(buckets) == 0;
        let kind = if is_bucket { sgl_type::BIT_BUCKET } else { sgl_type::DATA_BLOCK };
        descriptors.push(SglDescriptor::new(kind, at, piece as u32));
        placed.pieces.push(((!is_bucket).then_some(at), piece));
        // A gap after each, so that a byte too many shows.
        at += piece + 1;
        left -= piece;
    }
    let first = if let [only] = descriptors[..] {
        only
    } else {
        let segments: Vec<usize> = segments.iter().map(|n| usize::from(*n)).collect();
        let room = (descriptors.len() * 2 + segments.len() + 1) * SglDescriptor::SIZE;
        let list = take(ram, placed, (room as u64).div_ceil(PAGE_SIZE));
        ram.put_sgl(list, &descriptors, &segments)
    };
    set_sgl(entry, first);
}

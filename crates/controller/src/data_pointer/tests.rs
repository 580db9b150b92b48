use super::*;
use crate::host_memory::HostMemoryError;

struct Flat(Vec<u8>);

impl HostMemory for Flat {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), HostMemoryError> {
        let error = HostMemoryError { address, len: into.len() as u64 };
        let from = self.0.get(address as usize..).and_then(|b| b.get(..into.len()));
        into.copy_from_slice(from.ok_or(error)?);
        Ok(())
    }
    fn write(&mut self, address: u64, from: &[u8]) -> Result<(), HostMemoryError> {
        let error = HostMemoryError { address, len: from.len() as u64 };
        let into = self.0.get_mut(address as usize..).and_then(|b| b.get_mut(..from.len()));
        into.ok_or(error)?.copy_from_slice(from);
        Ok(())
    }
}

fn lens(segments: &Segments) -> Vec<(u64, u64)> {
    segments.iter().map(|s| (s.address, s.len.into())).collect()
}

fn list(host: &mut Flat, at: u64, entries: &[u64]) {
    for (i, e) in entries.iter().enumerate() {
        host.write(at + 8 * i as u64, &e.to_le_bytes()).unwrap();
    }
}

#[test]
fn prp_one_and_two_pages() {
    let host = Flat(vec![]);
    let one = Segments::from_prp(&host, 0x1010, 0, 100).unwrap();
    assert_eq!(lens(&one), [(0x1010, 100)]);
    let two = Segments::from_prp(&host, 0x1F00, 0x8000, 0x200).unwrap();
    assert_eq!(lens(&two), [(0x1F00, 0x100), (0x8000, 0x100)]);
    let contiguous = Segments::from_prp(&host, 0x1000, 0x2000, 0x2000).unwrap();
    assert_eq!(lens(&contiguous), [(0x1000, 0x2000)]);
    assert!(lens(&Segments::from_prp(&host, 3, 3, 0).unwrap()).is_empty());
}

#[test]
fn prp_list_with_chain() {
    let mut host = Flat(vec![0; 0x10000]);
    // The list begins two entries before its page ends: one page, then the chain.
    list(&mut host, 0x1FF0, &[0x20000, 0x3000]);
    list(&mut host, 0x3000, &[0x40000, 0x50000]);
    let segments = Segments::from_prp(&host, 0x9000, 0x1FF0, 0x3800).unwrap();
    let expected = [(0x9000, 0x1000), (0x20000, 0x1000), (0x40000, 0x1000), (0x50000, 0x800)];
    assert_eq!(lens(&segments), expected);
}

#[test]
fn prp_malformed_is_refused_by_the_right_status() {
    let mut host = Flat(vec![0; 0x10000]);
    list(&mut host, 0x1000, &[0x20000, 0x30008]);
    let cases = [
        (0x9001, 0, 16, Status::INVALID_PRP_OFFSET),
        (0x9000, 0xA004, 8192, Status::INVALID_PRP_OFFSET),
        (0x9000, 0x1004, 0x3000, Status::INVALID_PRP_OFFSET),
        (0x9000, 0x1000, 0x3000, Status::INVALID_PRP_OFFSET),
        (0x9000, 0xFFF_F000, 0x3000, Status::DATA_TRANSFER_ERROR),
    ];
    for (prp1, prp2, len, status) in cases {
        assert_eq!(Segments::from_prp(&host, prp1, prp2, len).unwrap_err(), status);
    }
}

#[test]
fn prp_list_in_a_circle_ends() {
    let mut host = Flat(vec![0; 0x10000]);
    // A list page whose last entry leads to itself.
    list(&mut host, 0x1000, &[0x2000; 511]);
    list(&mut host, 0x1FF8, &[0x1000]);
    let segments = Segments::from_prp(&host, 0x9000, 0x1000, 4 << 20).unwrap();
    assert_eq!(segments.iter().map(|s| u64::from(s.len)).sum::<u64>(), 4 << 20);
}

use nvme_spec::sgl_type::{BIT_BUCKET, DATA_BLOCK, LAST_SEGMENT, SEGMENT};
use zerocopy::IntoBytes;

fn put(host: &mut Flat, at: u64, descriptors: &[SglDescriptor]) {
    host.write(at, descriptors.as_bytes()).unwrap();
}

fn sgl(kind: u8, address: u64, length: u32) -> SglDescriptor {
    SglDescriptor::new(kind, address, length)
}

fn resolve(host: &Flat, first: SglDescriptor, len: u64) -> Result<Segments, Status> {
    Segments::resolve(host, DataPointer::Sgl(first), len, Direction::ToHost)
}

#[test]
fn sgl_blocks_buckets_and_segments_describe_a_transfer() {
    let mut host = Flat(vec![0; 0x10000]);
    let one = resolve(&host, sgl(DATA_BLOCK, 3, 100), 64).unwrap();
    assert_eq!(lens(&one), [(3, 64)], "byte granular; a longer list is allowed");
    put(
        &mut host,
        0x1000,
        &[
            sgl(DATA_BLOCK, 0x9001, 10),
            sgl(DATA_BLOCK, 0x900B, 5),
            sgl(BIT_BUCKET, 77, 20),
            sgl(SEGMENT, 0x2000, 32),
        ],
    );
    put(&mut host, 0x2000, &[sgl(DATA_BLOCK, 0, 0), sgl(LAST_SEGMENT, 0x3000, 16)]);
    put(&mut host, 0x3000, &[sgl(DATA_BLOCK, 0xA000, 1000)]);
    let first = sgl(SEGMENT, 0x1000, 64);
    let read = resolve(&host, first, 40).unwrap();
    assert_eq!(lens(&read), [(0x9001, 15), (0, 20), (0xA000, 5)]);
    assert_eq!(read.iter().map(|s| s.discarded).collect::<Vec<_>>(), [false, true, false]);
    let write = Segments::resolve(&host, DataPointer::Sgl(first), 40, Direction::FromHost).unwrap();
    assert_eq!(lens(&write), [(0x9001, 15), (0xA000, 25)], "a write skips the bucket");
}

#[test]
fn sgl_malformed_is_refused_by_the_right_status() {
    let mut host = Flat(vec![0; 0x10000]);
    put(&mut host, 0x1000, &[sgl(DATA_BLOCK, 0, 8), sgl(DATA_BLOCK, 0, 8)]);
    put(&mut host, 0x2000, &[sgl(LAST_SEGMENT, 0x1000, 32), sgl(DATA_BLOCK, 0, 8)]);
    put(&mut host, 0x3000, &[sgl(DATA_BLOCK, 0, 8), sgl(SEGMENT, 0x1000, 32)]);
    put(&mut host, 0x4000, &[sgl(SEGMENT, 0x4000, 16)]);
    put(&mut host, 0x5000, &[sgl(DATA_BLOCK, 0, 0), sgl(SEGMENT, 0x5000, 32)]);
    let mut offset = sgl(DATA_BLOCK, 0, 100);
    offset.identifier |= 1;
    for (first, status) in [
        (sgl(DATA_BLOCK, 0, 99), Status::INVALID_SGL_LENGTH),
        (offset, Status::INVALID_SGL_TYPE),
        (sgl(4, 0, 100), Status::INVALID_SGL_TYPE),
        (sgl(5, 0, 100), Status::INVALID_SGL_TYPE),
        (sgl(0xF, 0, 100), Status::INVALID_SGL_TYPE),
        (sgl(SEGMENT, 0x1000, 0), Status::INVALID_SGL_SEGMENT),
        (sgl(SEGMENT, 0x1000, 17), Status::INVALID_SGL_SEGMENT),
        (sgl(LAST_SEGMENT, 0x1004, 32), Status::INVALID_SGL_SEGMENT),
        (sgl(SEGMENT, 0x1000, 32), Status::INVALID_SGL_SEGMENT),
        (sgl(LAST_SEGMENT, 0x1000, 32), Status::INVALID_SGL_LENGTH),
        (sgl(SEGMENT, 0x2000, 32), Status::INVALID_SGL_COUNT),
        (sgl(LAST_SEGMENT, 0x3000, 32), Status::INVALID_SGL_SEGMENT),
        (sgl(LAST_SEGMENT, 0x4000, 16), Status::INVALID_SGL_SEGMENT),
        (sgl(SEGMENT, 0x4000, 16), Status::INVALID_SGL_COUNT),
        (sgl(SEGMENT, 0x5000, 32), Status::INVALID_SGL_COUNT),
        (sgl(SEGMENT, 0x10_0000, 32), Status::DATA_TRANSFER_ERROR),
        (sgl(SEGMENT, u64::MAX - 7, 32), Status::DATA_TRANSFER_ERROR),
    ] {
        let error = resolve(&host, first, 100).unwrap_err();
        assert!(error.same_code(status), "{first:?}: got {error}, expected {status}");
    }
}

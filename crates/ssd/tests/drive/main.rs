//! The flash model against arithmetic (timing), against a plain map (contents, invariants), and across losses of power.

mod buffer;
mod collection;
mod contents;
mod dies;
mod media;
mod power;
mod precondition;
mod reliability;
mod timing;
mod units;

use simtime::{Duration, Instant};
use ssd::{Config, Done, Lpn, Medium, RequestId, Span, Ssd};

pub(crate) const READ: Duration = Duration::from_us(40);
pub(crate) const PROGRAM: Duration = Duration::from_us(200);
/// 4096 B at 1.2 GB/s = 3413.3 ns, rounded up.
pub(crate) const TRANSFER: Duration = Duration::from_ns(3414);
pub(crate) const PAGE: u32 = 4096;

pub(crate) fn config() -> Config {
    Config {
        capacity_bytes: 64 << 20,
        channels: 2,
        dies_per_channel: 2,
        planes_per_die: 2,
        pages_per_block: 64,
        overprovisioning_permille: 250,
        write_buffer_bytes: 0,
        ..Config::default()
    }
}

/// The least of a drive: one plane, blocks of eight pages, and no more of them than there must be.
pub(crate) fn one_plane() -> Config {
    Config {
        capacity_bytes: 64 * u64::from(PAGE),
        channels: 1,
        dies_per_channel: 1,
        planes_per_die: 1,
        pages_per_block: 8,
        overprovisioning_permille: 0,
        ..config()
    }
}

/// Runs until nothing is left; returns completions in order.
pub(crate) fn drain(ssd: &mut Ssd) -> Vec<Done> {
    let mut done = Vec::new();
    while let Some(at) = ssd.next_event() {
        ssd.advance(at, &mut done);
    }
    done
}

fn latest(done: &[Done]) -> Instant {
    done.iter().map(|d| d.at).max().unwrap_or(Instant::ZERO)
}

pub(crate) fn page(lpn: u64) -> Span {
    Span { lpn: Lpn(lpn), offset: 0, len: PAGE }
}

pub(crate) fn sector(lpn: u64, sector: u32) -> Span {
    Span { lpn: Lpn(lpn), offset: sector * 512, len: 512 }
}

pub(crate) fn write(ssd: &mut Ssd, now: Instant, lpn: u64, id: u64) {
    ssd.write(now, RequestId(id), page(lpn), false, Some(&[id as u8; PAGE as usize]));
}

pub(crate) fn read(ssd: &mut Ssd, now: Instant, lpn: u64, id: u64) {
    ssd.read(now, RequestId(id), page(lpn));
}

/// The bytes of a span as a host would read them.
pub(crate) fn bytes(ssd: &Ssd, span: Span) -> Vec<u8> {
    let mut bytes = Vec::new();
    ssd.visit(span, |piece| bytes.extend(piece));
    bytes
}

/// Writes pages `0..count` and returns when the drive is idle.
pub(crate) fn fill(ssd: &mut Ssd, count: u64) -> Instant {
    for lpn in 0..count {
        write(ssd, Instant::ZERO, lpn, 0);
    }
    ssd.flush(Instant::ZERO, RequestId(0));
    latest(&drain(ssd))
}

pub(crate) fn done(id: u64, at: Instant, medium: Medium, page: Option<u64>) -> Done {
    let late = Duration::ZERO;
    Done { id: RequestId(id), at, result: Ok(medium), page: page.map(Lpn), late }
}

/// When a request was done.
pub(crate) fn at(done: &[Done], id: u64) -> Instant {
    done.iter().find(|d| d.id == RequestId(id)).expect("the request is done").at
}

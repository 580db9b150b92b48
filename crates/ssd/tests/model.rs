//! The flash model against arithmetic (timing) and against a plain map (contents, invariants).

use std::collections::BTreeMap;

use proptest::prelude::*;
use simtime::{Bandwidth, Duration, Instant, Prng};
use ssd::{Config, Done, Lpn, Request, RequestKind, Ssd};

const READ: Duration = Duration::from_us(40);
const PROGRAM: Duration = Duration::from_us(200);
const TRANSFER_NS: u64 = 3414; // 4096 B at 1.2 GB/s = 3413.3 ns, rounded up

fn config() -> Config {
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

/// Runs until nothing is left; returns completions in order.
fn drain(ssd: &mut Ssd) -> Vec<Done> {
    let mut done = Vec::new();
    while let Some(at) = ssd.next_event() {
        ssd.advance(at, &mut done);
    }
    done
}

fn submit(ssd: &mut Ssd, now: Instant, kind: RequestKind, lpn: u32, tag: u64) {
    ssd.submit(now, Request { kind, lpn: Lpn(lpn), tag });
}

const WRITE: RequestKind = RequestKind::Write { partial: false };

/// Writes pages `0..count` and returns when the last one was programmed.
fn fill(ssd: &mut Ssd, count: u32) -> Instant {
    for lpn in 0..count {
        submit(ssd, Instant::ZERO, WRITE, lpn, 0);
    }
    drain(ssd).last().map_or(Instant::ZERO, |d| d.at)
}

#[test]
fn read_of_an_unwritten_page_costs_no_flash_time() {
    let mut ssd = Ssd::new(&config()).unwrap();
    submit(&mut ssd, Instant::from_ns(5), RequestKind::Read, 9, 1);
    assert_eq!(drain(&mut ssd), [Done { tag: 1, at: Instant::from_ns(5), from_flash: false }]);
}

#[test]
fn read_on_an_idle_drive_takes_array_time_and_transfer() {
    let mut ssd = Ssd::new(&config()).unwrap();
    let t0 = fill(&mut ssd, 1);
    submit(&mut ssd, t0, RequestKind::Read, 0, 1);
    let at = t0 + READ + Duration::from_ns(TRANSFER_NS);
    assert_eq!(drain(&mut ssd), [Done { tag: 1, at, from_flash: true }]);
}

#[test]
fn reads_on_one_die_queue_and_on_two_channels_do_not() {
    let mut ssd = Ssd::new(&config()).unwrap();
    // Pages go round channels, then dies, then planes: pages 0 and 8 share a plane.
    let t0 = fill(&mut ssd, 16);
    let one = READ.as_ns() + TRANSFER_NS;
    let mut now = t0;
    for (pages, expected_ns) in [
        ([0, 1], one),               // two channels
        ([0, 8], 2 * one),           // one plane: one after the other
        ([0, 4], one + TRANSFER_NS), // two planes of a die: arrays together, bus in turn
        ([0, 2], one + TRANSFER_NS), // two dies of a channel: the bus in turn
    ] {
        now += Duration::from_us(1_000);
        let start = now;
        // A blocker makes both wait, so that the die sees them together.
        for page in pages {
            submit(&mut ssd, start, RequestKind::Read, page, 1);
        }
        let last = drain(&mut ssd).last().unwrap().at;
        let blocked_pair = pages == [0, 4];
        let ns = last.since(start).as_ns();
        if blocked_pair {
            // The first read had taken the die alone when the second arrived.
            assert_eq!(ns, 2 * one, "{pages:?}");
        } else {
            assert_eq!(ns, expected_ns, "{pages:?}");
        }
    }
}

#[test]
fn operations_on_planes_of_a_die_run_together_when_they_wait_together() {
    let mut ssd = Ssd::new(&config()).unwrap();
    let t0 = fill(&mut ssd, 16);
    for page in [8, 0, 4] {
        submit(&mut ssd, t0, RequestKind::Read, page, 1);
    }
    // Page 8 alone, then 0 and 4 (planes of one die) together: arrays once, bus twice.
    let expected = READ.as_ns() + TRANSFER_NS + READ.as_ns() + 2 * TRANSFER_NS;
    assert_eq!(drain(&mut ssd).last().unwrap().at.since(t0).as_ns(), expected);
}

#[test]
fn write_through_takes_transfer_and_program_time() {
    let mut ssd = Ssd::new(&config()).unwrap();
    let at = fill(&mut ssd, 1);
    assert_eq!(at.as_ns(), TRANSFER_NS + PROGRAM.as_ns());
}

#[test]
fn write_buffer_acknowledges_at_once_until_it_is_full() {
    let mut ssd = Ssd::new(&Config { write_buffer_bytes: 8192, ..config() }).unwrap();
    for lpn in 0..3 {
        submit(&mut ssd, Instant::ZERO, WRITE, lpn, u64::from(lpn));
    }
    submit(&mut ssd, Instant::ZERO, RequestKind::Flush, 0, 99);
    submit(&mut ssd, Instant::ZERO, RequestKind::Read, 0, 50);
    let done = drain(&mut ssd);
    let at = |tag| done.iter().find(|d| d.tag == tag).unwrap().at.as_ns();
    assert_eq!((at(0), at(1)), (0, 0));
    assert_eq!(at(2), TRANSFER_NS + PROGRAM.as_ns(), "waits for the first buffer page");
    assert_eq!(at(50), 0, "a page in the buffer is read from it");
    assert_eq!(at(99), 2 * (TRANSFER_NS + PROGRAM.as_ns()), "flush waits for page 2's program");
}

#[test]
fn partial_write_of_a_page_in_flash_reads_it_first() {
    let mut ssd = Ssd::new(&config()).unwrap();
    let t0 = fill(&mut ssd, 1);
    submit(&mut ssd, t0, RequestKind::Write { partial: true }, 0, 7);
    let took = drain(&mut ssd)[0].at.since(t0).as_ns();
    assert_eq!(took, READ.as_ns() + TRANSFER_NS + TRANSFER_NS + PROGRAM.as_ns());
    assert_eq!(ssd.statistics().modify_reads, 1);
}

#[test]
fn flush_waits_for_a_partial_write_that_is_still_reading() {
    let mut ssd = Ssd::new(&Config { write_buffer_bytes: 1 << 20, ..config() }).unwrap();
    let t0 = fill(&mut ssd, 1) + PROGRAM + PROGRAM;
    submit(&mut ssd, t0, RequestKind::Write { partial: true }, 0, 7);
    submit(&mut ssd, t0, RequestKind::Flush, 0, 8);
    let done = drain(&mut ssd);
    let took = |tag| done.iter().find(|d| d.tag == tag).unwrap().at.since(t0).as_ns();
    let read = READ.as_ns() + TRANSFER_NS;
    assert_eq!((took(7), took(8)), (read, read + TRANSFER_NS + PROGRAM.as_ns()));
}

#[test]
fn overwriting_a_full_drive_forces_collection_and_keeps_every_page() {
    let mut ssd = Ssd::new(&Config { overprovisioning_permille: 500, ..config() }).unwrap();
    let pages = ssd.geometry().logical_pages;
    fill(&mut ssd, pages);
    let mut prng = Prng::new(3);
    let mut now = Instant::from_ns(1 << 40);
    for _ in 0..4 * pages {
        submit(&mut ssd, now, WRITE, prng.below(pages.into()) as u32, 1);
        if let Some(done) = drain(&mut ssd).last() {
            now = done.at.max(now);
        }
    }
    ssd.check();
    let statistics = *ssd.statistics();
    assert!(statistics.gc_programs > 0 && statistics.erases > 0, "{statistics:?}");
    let waf = statistics.write_amplification();
    // 32 of 48 blocks of each plane hold data, 3 are in motion: utilisation 32/45 = 0.71. The
    // mean-field bound for uniform random overwrites, 1 / (2 (1 - u)), gives 1.73.
    assert!((1.4..2.2).contains(&waf), "write amplification {waf}");
}

#[test]
fn overwriting_one_plane_only_does_not_wedge_the_others() {
    let mut ssd = Ssd::new(&config()).unwrap();
    let pages = ssd.geometry().logical_pages;
    fill(&mut ssd, pages);
    for round in 0..pages {
        let lpn = (round * ssd.geometry().planes) % pages;
        submit(&mut ssd, Instant::from_ns(1 << 40), WRITE, lpn, 1);
    }
    drain(&mut ssd);
    ssd.check();
}

#[test]
fn deallocated_pages_read_as_zeroes_and_cost_collection_nothing() {
    let mut ssd = Ssd::new(&Config { overprovisioning_permille: 500, ..config() }).unwrap();
    let pages = ssd.geometry().logical_pages;
    let t0 = fill(&mut ssd, pages);
    ssd.store_mut().unwrap().page_mut(Lpn(7))[0] = 1;
    ssd.deallocate(t0, Lpn(0), pages);
    assert_eq!((ssd.mapped_pages(), ssd.is_mapped(Lpn(7))), (0, false));
    assert_eq!(ssd.store().unwrap().page(Lpn(7)), None);
    submit(&mut ssd, t0, RequestKind::Read, 7, 1);
    assert!(!drain(&mut ssd)[0].from_flash);
    // Everything in flash is stale: writing the drive over twice moves nothing.
    for round in 0..2 * pages {
        submit(&mut ssd, t0, WRITE, round % pages, 2);
    }
    drain(&mut ssd);
    ssd.check();
    assert_eq!(ssd.statistics().gc_programs, 0);
}

#[test]
fn large_drive_takes_memory_only_for_what_is_written() {
    let config = Config { capacity_bytes: 1 << 40, ..Config::default() };
    let mut ssd = Ssd::new(&config).unwrap();
    ssd.store_mut().unwrap().page_mut(Lpn((1 << 28) - 1))[0] = 1;
    assert!(ssd.store().unwrap().used_bytes() == 4096);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Every request completes exactly once, contents are those last written, and the map, the
    /// reverse map and the valid counts agree, with collection running.
    #[test]
    fn requests_complete_once_and_pages_survive_collection(
        seed in any::<u64>(),
        buffer_pages in 0u64..64,
        page_count in 1u32..3,
        channel_ns in 0u64..5000,
    ) {
        let config = Config {
            capacity_bytes: 4 << 20,
            channels: page_count,
            dies_per_channel: 1,
            pages_per_block: 16,
            write_buffer_bytes: buffer_pages * 4096,
            channel_bandwidth: Bandwidth::from_bytes_per_s(4_096_000_000_000 / (channel_ns + 1)),
            ..config()
        };
        let mut ssd = Ssd::new(&config).unwrap();
        let pages = u64::from(ssd.geometry().logical_pages);
        let mut prng = Prng::new(seed);
        let mut expected = BTreeMap::new();
        let (mut now, mut outstanding, mut done) = (Instant::ZERO, BTreeMap::new(), Vec::new());
        for tag in 1..6000u64 {
            let lpn = prng.below(pages) as u32;
            if prng.below(50) == 0 {
                let count = prng.below(u64::from(lpn) + 1).min(pages - u64::from(lpn)) as u32;
                ssd.deallocate(now, Lpn(lpn), count);
                for gone in lpn..lpn + count {
                    expected.insert(gone, 0);
                }
            }
            let kind = match prng.below(20) {
                0 => RequestKind::Flush,
                1..=4 => RequestKind::Read,
                n => RequestKind::Write { partial: n < 8 },
            };
            if matches!(kind, RequestKind::Write { .. }) {
                ssd.store_mut().unwrap().page_mut(Lpn(lpn))[..8].copy_from_slice(&tag.to_le_bytes());
                expected.insert(lpn, tag);
            }
            submit(&mut ssd, now, kind, lpn, tag);
            outstanding.insert(tag, now);
            if prng.below(3) == 0 {
                now += Duration::from_ns(prng.below(100_000));
                ssd.advance(now, &mut done);
            }
        }
        done.extend(drain(&mut ssd));
        for d in done {
            let submitted = outstanding.remove(&d.tag);
            prop_assert!(submitted.is_some_and(|s| s <= d.at), "{d:?} completed twice or early");
        }
        prop_assert!(outstanding.is_empty(), "never completed: {outstanding:?}");
        for (lpn, tag) in expected {
            let page = ssd.store().unwrap().page(Lpn(lpn)).unwrap_or(&[0; 8]);
            prop_assert_eq!(&page[..8], &tag.to_le_bytes());
        }
        ssd.check();
    }

    /// Requests that are forgotten finish at most once, all others exactly once and no later than
    /// the flash allows, and no page of a write that was kept is lost.
    #[test]
    fn forgotten_requests_disturb_no_other(seed in any::<u64>(), buffer_pages in 0u64..64) {
        let config = Config {
            capacity_bytes: 4 << 20,
            channels: 1,
            dies_per_channel: 1,
            pages_per_block: 16,
            write_buffer_bytes: buffer_pages * 4096,
            ..config()
        };
        let mut ssd = Ssd::new(&config).unwrap();
        let pages = u64::from(ssd.geometry().logical_pages);
        let mut prng = Prng::new(seed);
        let (mut now, mut done) = (Instant::ZERO, Vec::new());
        let (mut kept, mut dropped) = (BTreeMap::new(), BTreeMap::new());
        for tag in 1..3000u64 {
            let lpn = prng.below(pages) as u32;
            let kind = match prng.below(20) {
                0 => RequestKind::Flush,
                1..=6 => RequestKind::Read,
                n => RequestKind::Write { partial: n < 10 },
            };
            submit(&mut ssd, now, kind, lpn, tag);
            // Flushes are never forgotten: they hold nothing.
            let is_kept = tag % 3 == 0 || kind == RequestKind::Flush;
            if is_kept { &mut kept } else { &mut dropped }.insert(tag, (kind, lpn));
            if prng.below(3) == 0 {
                now += Duration::from_ns(prng.below(100_000));
                ssd.advance(now, &mut done);
            }
            if prng.below(100) == 0 {
                ssd.forget(now, |tag| kept.contains_key(&tag));
                ssd.check();
            }
        }
        done.extend(drain(&mut ssd));
        prop_assert_eq!(ssd.backlog(), 0);
        for Done { tag, .. } in done {
            if let Some((RequestKind::Write { .. }, lpn)) = kept.get(&tag) {
                prop_assert!(ssd.is_mapped(Lpn(*lpn)));
            }
            let finished = kept.remove(&tag).or_else(|| dropped.remove(&tag));
            prop_assert!(finished.is_some(), "{tag} finished twice");
        }
        prop_assert!(kept.is_empty(), "never finished: {kept:?}");
        prop_assert!(!dropped.is_empty(), "nothing was forgotten");
        ssd.check();
    }
}

//! The write buffer: who is acknowledged when, and what is programmed.

use simtime::{Duration, Instant};
use ssd::{Config, Medium, RequestId, Ssd};

use crate::{
    PAGE, PROGRAM, READ, TRANSFER, at, bytes, config, done, drain, fill, page, read, sector, write,
};

fn buffered(pages: u64) -> Config {
    Config { write_buffer_bytes: pages * u64::from(PAGE), ..config() }
}

#[test]
fn writes_are_acknowledged_at_once_until_the_buffer_is_full() {
    let mut ssd = Ssd::new(&buffered(2)).unwrap();
    for lpn in 0..3 {
        write(&mut ssd, Instant::ZERO, lpn, lpn);
    }
    ssd.flush(Instant::ZERO, RequestId(99));
    read(&mut ssd, Instant::ZERO, 0, 50);
    let finished = drain(&mut ssd);
    let program = Instant::ZERO + TRANSFER + PROGRAM;
    assert_eq!((at(&finished, 0), at(&finished, 1)), (Instant::ZERO, Instant::ZERO));
    assert_eq!(at(&finished, 2), program, "waits for the first page of the buffer");
    assert_eq!(at(&finished, 50), Instant::ZERO, "a page in the buffer is read from it");
    assert_eq!(at(&finished, 99), program + TRANSFER, "page 2 shares a channel with page 0");
}

#[test]
fn sequential_sectors_are_programmed_as_whole_pages() {
    // 64 MiB in pieces of 512 B through a buffer of 16 MiB, one at a time.
    let mut ssd = Ssd::new(&Config { capacity_bytes: 64 << 20, ..buffered(4096) }).unwrap();
    let mut now = Instant::ZERO;
    for n in 0..131_072u64 {
        ssd.write(now, RequestId(n), sector(n / 8, (n % 8) as u32), false, None);
        now += Duration::from_us(2);
        ssd.advance(now, &mut Vec::new());
    }
    ssd.flush(now, RequestId(0));
    drain(&mut ssd);
    let statistics = ssd.statistics();
    assert_eq!((statistics.flash_programs, statistics.modify_reads), (16_384, 0));
    assert_eq!(statistics.coalesced_writes, 131_072 - 16_384);
    assert_eq!(statistics.write_amplification(), 1.0);
}

#[test]
fn one_block_overwritten_many_times_is_programmed_a_few_times() {
    let mut ssd = Ssd::new(&buffered(4096)).unwrap();
    let mut now = Instant::ZERO;
    for n in 0..10_000 {
        write(&mut ssd, now, 7, n);
        now += Duration::from_us(10);
        ssd.advance(now, &mut Vec::new());
    }
    ssd.flush(now, RequestId(0));
    drain(&mut ssd);
    assert!(ssd.statistics().flash_programs <= 3, "{:?}", ssd.statistics());
    assert!(ssd.statistics().write_amplification() < 0.001);
}

#[test]
fn a_page_that_is_left_alone_is_programmed_after_the_delay() {
    let config = Config { write_buffer_delay: Duration::from_us(300), ..buffered(64) };
    let mut ssd = Ssd::new(&config).unwrap();
    write(&mut ssd, Instant::ZERO, 0, 1);
    let later = Instant::ZERO + Duration::from_us(100);
    write(&mut ssd, later, 0, 2);
    assert_eq!(ssd.mapped_pages(), 1);
    let mut finished = Vec::new();
    ssd.advance(later, &mut finished);
    assert_eq!(ssd.next_event(), Some(later + Duration::from_us(300)));
    drain(&mut ssd);
    assert_eq!(ssd.statistics().flash_programs, 1);
    assert_eq!(ssd.next_event(), None, "an idle drive has nothing to do");
}

#[test]
fn a_part_of_a_page_is_read_from_flash_only_if_the_rest_does_not_come() {
    let mut ssd = Ssd::new(&buffered(64)).unwrap();
    let start = fill(&mut ssd, 2);
    let now = start + Duration::from_us(10);
    // All sectors of page 0, one by one; one of page 1.
    for n in 0..8 {
        ssd.write(now, RequestId(u64::from(n)), sector(0, n), false, Some(&[n as u8; 512]));
    }
    ssd.write(now, RequestId(8), sector(1, 2), false, Some(&[9; 512]));
    // What is in the buffer is read from there, the rest from flash; both are seen together.
    ssd.read(now, RequestId(10), sector(1, 2));
    ssd.read(now, RequestId(11), page(1));
    assert_eq!(bytes(&ssd, page(1)), [vec![0; 1024], vec![9; 512], vec![0; 2560]].concat());
    let finished = drain(&mut ssd);
    assert_eq!((at(&finished, 10), at(&finished, 11)), (now, now + READ + TRANSFER));
    assert_eq!((ssd.statistics().modify_reads, ssd.statistics().flash_programs), (1, 4));
    let whole: Vec<u8> = (0..8).flat_map(|n| [n; 512]).collect();
    assert_eq!(bytes(&ssd, page(0)), whole);
    assert_eq!(bytes(&ssd, page(1)), [vec![0; 1024], vec![9; 512], vec![0; 2560]].concat());
}

#[test]
fn a_durable_write_goes_ahead_of_all_that_is_buffered() {
    // 16 MiB wait for four dies; each of those programs one pair of pages at a time.
    let mut ssd = Ssd::new(&buffered(8192)).unwrap();
    for lpn in 0..4096 {
        write(&mut ssd, Instant::ZERO, lpn, lpn);
    }
    ssd.flush(Instant::ZERO, RequestId(9998));
    ssd.write(Instant::ZERO, RequestId(9999), page(5000), true, None);
    let finished = drain(&mut ssd);
    let own = TRANSFER + PROGRAM;
    assert!(
        at(&finished, 9999) <= Instant::ZERO + own * 2 + TRANSFER * 4,
        "{:?}",
        at(&finished, 9999)
    );
    assert!(at(&finished, 9998) > Instant::ZERO + own * 256);
    ssd.check();
}

#[test]
fn a_durable_write_waits_for_the_version_that_it_names() {
    let mut ssd = Ssd::new(&buffered(64)).unwrap();
    write(&mut ssd, Instant::ZERO, 0, 1);
    ssd.write(Instant::ZERO, RequestId(2), page(0), true, None);
    // The version before it is on its way: this one comes after it.
    ssd.write(Instant::ZERO, RequestId(3), page(0), true, None);
    let one = TRANSFER + PROGRAM;
    let finished = drain(&mut ssd);
    assert_eq!(at(&finished, 1), Instant::ZERO);
    assert_eq!(at(&finished, 2), Instant::ZERO + one);
    assert_eq!(at(&finished, 3), Instant::ZERO + one * 2);
    assert_eq!(ssd.statistics().flash_programs, 2, "the first was coalesced with the second");
}

#[test]
fn flush_waits_for_a_partial_write_that_is_still_reading() {
    let mut ssd = Ssd::new(&buffered(256)).unwrap();
    let start = fill(&mut ssd, 1) + PROGRAM;
    ssd.write(start, RequestId(7), sector(0, 0), false, None);
    ssd.flush(start, RequestId(8));
    let finished = drain(&mut ssd);
    assert_eq!(at(&finished, 7), start);
    assert_eq!(at(&finished, 8), start + READ + TRANSFER + TRANSFER + PROGRAM);
}

#[test]
fn flush_without_writes_is_done_at_once() {
    let mut ssd = Ssd::new(&buffered(64)).unwrap();
    ssd.flush(Instant::from_ns(3), RequestId(1));
    assert_eq!(drain(&mut ssd), [done(1, Instant::from_ns(3), Medium::Flash, None)]);
}

#[test]
fn deallocation_ends_what_waits_for_the_page() {
    let mut ssd = Ssd::new(&buffered(1)).unwrap();
    for id in 0..4 {
        write(&mut ssd, Instant::ZERO, id, id);
    }
    ssd.write(Instant::ZERO, RequestId(4), page(0), true, None);
    ssd.flush(Instant::ZERO, RequestId(5));
    ssd.deallocate(Instant::ZERO, ssd::Lpn(0), 8);
    let mut ids: Vec<u64> = drain(&mut ssd).iter().map(|d| d.id.0).collect();
    ids.sort_unstable();
    assert_eq!(ids, [0, 1, 2, 3, 4, 5]);
    assert_eq!((ssd.mapped_pages(), ssd.backlog(), ssd.buffered_pages()), (0, 0, 0));
    ssd.check();
}

#[test]
fn what_a_forgotten_write_left_stays_if_it_could_be_read() {
    let mut ssd = Ssd::new(&buffered(4096)).unwrap();
    let now = fill(&mut ssd, 8);
    // Both are parts of one version, which waits for the rest of its page.
    ssd.write(now, RequestId(1), sector(3, 0), true, Some(&[1; 512]));
    ssd.write(now, RequestId(2), sector(3, 1), true, Some(&[2; 512]));
    ssd.forget(now, |id| id.0 == 2);
    assert_eq!(bytes(&ssd, sector(3, 0)), [1; 512], "the second write still waits for the version");
    ssd.forget(now, |_| false);
    assert_eq!(bytes(&ssd, sector(3, 0)), [1; 512], "the host may have read it");
    drain(&mut ssd);
    assert_eq!(bytes(&ssd, sector(3, 0)), [1; 512]);
    assert_eq!(ssd.backlog(), 0);
}

#[test]
fn what_was_read_lately_is_read_again_without_flash() {
    let read_cache_bytes = 4 * u64::from(PAGE);
    let mut ssd = Ssd::new(&Config { read_cache_bytes, ..buffered(0) }).unwrap();
    let mut now = fill(&mut ssd, 8) + Duration::from_us(1000);
    // When each is there, how long it took, and where it came from.
    let mut timed = |ssd: &mut Ssd, lpn: u64| {
        now += Duration::from_us(1000);
        ssd.advance(now, &mut Vec::new());
        read(ssd, now, lpn, 1);
        let ended = drain(ssd);
        (ended[0].at.since(now), ended[0].result.unwrap())
    };
    let (flash, memory) = ((READ + TRANSFER, Medium::Flash), (Duration::ZERO, Medium::Memory));
    for (lpn, expected) in [
        (0, flash),
        (0, memory),
        (1, flash),
        (2, flash),
        (3, flash),
        (0, memory),
        // Page 1 was read longest ago, and gives way.
        (4, flash),
        (1, flash),
        (0, memory),
    ] {
        assert_eq!(timed(&mut ssd, lpn), expected, "{lpn}");
    }
    // What is written is other data; so is what was given up.
    let then = ssd.now() + Duration::from_us(10);
    write(&mut ssd, then, 0, 7);
    drain(&mut ssd);
    assert_eq!(timed(&mut ssd, 0), flash);
    assert_eq!(timed(&mut ssd, 0), memory);
    let then = ssd.now() + Duration::from_us(10);
    ssd.power_cut(then);
    assert_eq!(timed(&mut ssd, 0), flash);
    assert_eq!(ssd.statistics().buffer_reads, 4);
}

//! Pages of flash that hold several mapped pages, and program operations of several pages of flash.

use simtime::{Duration, Instant, Prng};
use ssd::{Config, Medium, PageTimes, RequestId, Ssd, UnwrittenReads, VictimPolicyKind};

use crate::{
    PAGE, PROGRAM, READ, TRANSFER, at, bytes, config, done, drain, fill, one_plane, page, read,
    write,
};

/// 16 KiB at 1.2 GB/s = 13 653.3 ns, rounded up.
const LOAD: Duration = Duration::from_ns(13_654);

/// One die with one plane of pages of 16 KiB, mapped by 4 KiB.
fn large_pages() -> Config {
    Config {
        page_bytes: 16_384,
        indirection_bytes: PAGE,
        overprovisioning_permille: 1000,
        pages_per_block: 24,
        ..one_plane()
    }
}

#[test]
fn parts_of_a_page_of_flash_are_read_at_once() {
    let mut ssd = Ssd::new(&large_pages()).unwrap();
    assert_eq!((ssd.geometry().page_bytes, ssd.geometry().pages_per_block), (4096, 96));
    // Two pages of flash, each programmed as a whole.
    let end = fill(&mut ssd, 8);
    assert_eq!(end, Instant::ZERO + (LOAD + PROGRAM) * 2);
    assert_eq!((ssd.statistics().flash_programs, ssd.statistics().padding_programs), (8, 0));
    let mut now = end;
    for (lpns, expected) in [
        (&[0][..], READ + TRANSFER),
        (&[0, 1, 2, 3], READ + TRANSFER * 4),
        (&[0, 3], READ + TRANSFER * 2),
        (&[3, 4], (READ + TRANSFER) * 2),
        (&[0, 1, 4, 5], (READ + TRANSFER * 2) * 2),
        // The same again is another read.
        (&[2, 2], (READ + TRANSFER) * 2),
    ] {
        now += Duration::from_us(10_000);
        lpns.iter().for_each(|lpn| read(&mut ssd, now, *lpn, *lpn));
        let last = drain(&mut ssd).last().unwrap().at;
        assert_eq!(last.since(now), expected, "{lpns:?}");
    }
}

#[test]
fn a_program_waits_until_it_is_full_or_somebody_waits_for_it() {
    let delay = Duration::from_us(1000);
    let buffered = Config {
        write_buffer_bytes: 64 * u64::from(PAGE),
        write_buffer_delay: delay,
        ..large_pages()
    };
    let mut ssd = Ssd::new(&buffered).unwrap();
    ssd.set_recording(true);
    // Somebody waits: the rest of the page of flash is lost.
    ssd.write(Instant::ZERO, RequestId(1), page(0), true, Some(&[1; PAGE as usize]));
    let end = Instant::ZERO + LOAD + PROGRAM;
    assert_eq!(drain(&mut ssd), [done(1, end, Medium::Flash, None)]);
    assert_eq!((ssd.statistics().flash_programs, ssd.statistics().padding_programs), (4, 3));
    assert_eq!(ssd.statistics().write_amplification(), 4.0);
    // What comes at the same time shares a program.
    let now = end + Duration::from_us(5000);
    for lpn in 0..3 {
        ssd.write(now, RequestId(lpn), page(lpn), true, Some(&[2; PAGE as usize]));
    }
    let ended = drain(&mut ssd);
    assert!(ended.iter().all(|done| done.at == now + LOAD + PROGRAM), "{ended:?}");
    assert_eq!((ssd.statistics().flash_programs, ssd.statistics().padding_programs), (8, 4));
    // Nobody waits: it is programmed when its pages were not written for a while. A page gathered for
    // it waits as long again for others.
    let now = now + Duration::from_us(5000);
    ssd.advance(now, &mut Vec::new());
    ssd.records().unwrap().clear();
    write(&mut ssd, now, 9, 9);
    drain(&mut ssd);
    let programs: Vec<u64> = ssd.records().unwrap().iter().map(|record| record.start_ns).collect();
    assert_eq!(programs, [(now + delay * 2).as_ns()]);
    // A flush ends it at once.
    let now = now + Duration::from_us(10_000);
    ssd.advance(now, &mut Vec::new());
    write(&mut ssd, now, 10, 10);
    ssd.flush(now, RequestId(100));
    assert_eq!(at(&drain(&mut ssd), 100), now + LOAD + PROGRAM);
    assert_eq!(bytes(&ssd, page(9)), [9; PAGE as usize]);
    ssd.check();
}

#[test]
fn one_operation_programs_all_types_of_page_and_takes_the_longest_of_their_times() {
    let us = Duration::from_us;
    let times = PageTimes::new(&[us(500), us(700), us(900)]).unwrap();
    let one_shot = Config { pages_per_program: 3, program_time: times, ..large_pages() };
    let mut ssd = Ssd::new(&one_shot).unwrap();
    // 48 KiB at 1.2 GB/s.
    let load = Duration::from_ns(40_960);
    assert_eq!(fill(&mut ssd, 24), Instant::ZERO + (load + us(900)) * 2);
    assert_eq!(ssd.statistics().padding_programs, 0);
    // Each page of flash is still read by itself.
    let now = ssd.now() + us(10_000);
    (0..8).for_each(|lpn| read(&mut ssd, now, lpn, lpn));
    assert_eq!(drain(&mut ssd).last().unwrap().at, now + (READ + TRANSFER * 4) * 2);
}

#[test]
fn random_writes_of_parts_of_pages_of_flash_amplify_as_pages_do() {
    let steady = |page_bytes, pages_per_block, pages_per_program| {
        let config = Config {
            capacity_bytes: 256 << 20,
            channels: 1,
            page_bytes,
            indirection_bytes: PAGE,
            pages_per_block,
            pages_per_program,
            overprovisioning_permille: 280,
            write_buffer_bytes: 1 << 20,
            victim_policy: VictimPolicyKind::Greedy,
            keep_data: false,
            blocks_per_plane: 88,
            ..config()
        };
        let mut ssd = Ssd::new(&config).unwrap();
        let pages = ssd.geometry().logical_pages;
        let mut prng = Prng::new(4);
        let (mut now, mut done, mut before) = (Instant::ZERO, Vec::new(), ssd.statistics());
        (0..pages).for_each(|lpn| write(&mut ssd, now, lpn, 1));
        drain(&mut ssd);
        now += Duration::from_us(1 << 30);
        for n in 0..6 * pages {
            if n == 3 * pages {
                before = ssd.statistics();
            }
            write(&mut ssd, now, prng.below(pages), 1);
            while ssd.backlog() > 32 {
                now = ssd.next_event().unwrap().max(now);
                ssd.advance(now, &mut done);
            }
        }
        ssd.check();
        // Of what collection moves the last of each block is padding.
        ssd.statistics().write_amplification_since(&before)
    };
    // The same blocks of 256 mapped pages.
    let small = steady(4096, 256, 1);
    let large = steady(16_384, 64, 1);
    let one_shot = steady(16_384, 64, 2);
    assert!(small > 1.5 && (large / small - 1.0).abs() < 0.06, "{small} {large} {one_shot}");
    assert!((one_shot / small - 1.0).abs() < 0.12, "{small} {large} {one_shot}");
}

#[test]
fn a_part_is_written_without_reading_the_rest_of_its_page_of_flash() {
    let mut ssd = Ssd::new(&large_pages()).unwrap();
    fill(&mut ssd, 4);
    let now = ssd.now();
    write(&mut ssd, now, 2, 7);
    drain(&mut ssd);
    assert_eq!(ssd.statistics().modify_reads, 0);
    assert_eq!((bytes(&ssd, page(2)), bytes(&ssd, page(1))), (vec![7; 4096], vec![0; 4096]));
}

/// Programs of twelve pages, and a buffer that holds a few.
fn one_shot(buffered: u64, delay: Duration) -> Config {
    Config {
        capacity_bytes: 256 * u64::from(PAGE),
        pages_per_program: 3,
        write_buffer_bytes: buffered * u64::from(PAGE),
        write_buffer_delay: delay,
        ..large_pages()
    }
}

#[test]
fn writes_that_wait_for_room_do_not_wait_for_a_program_to_fill() {
    for delay in [Duration::from_us(1000), Duration::from_us(u64::MAX / 1000)] {
        let mut ssd = Ssd::new(&one_shot(4, delay)).unwrap();
        for n in 0..20 {
            let now = ssd.now();
            write(&mut ssd, now, n, n);
            let mut done = Vec::new();
            while done.is_empty() {
                let at = ssd.next_event().expect("it goes on");
                ssd.advance(at, &mut done);
            }
        }
        // Each program frees two pages of the buffer.
        assert!(ssd.now().as_ns() < 20 * 300_000, "{delay:?}: {}", ssd.now().as_ns());
    }
}

#[test]
fn a_durable_write_does_not_wait_for_the_program_of_the_version_before_it_to_fill() {
    let delay = Duration::from_us(1_000_000);
    let mut ssd = Ssd::new(&one_shot(64, delay)).unwrap();
    write(&mut ssd, Instant::ZERO, 0, 1);
    // It has been gathered.
    let now = Instant::ZERO + delay + Duration::from_us(1);
    ssd.advance(now, &mut Vec::new());
    ssd.write(now, RequestId(2), page(0), true, Some(&[2; PAGE as usize]));
    let load = Duration::from_ns(40_960);
    assert_eq!(at(&drain(&mut ssd), 2), now + (load + PROGRAM) * 2);
}

#[test]
fn pages_that_were_never_written_are_read_where_they_would_be() {
    let iops = |filled_permille| {
        let config = Config {
            capacity_bytes: 64 << 20,
            channels: 1,
            dies_per_channel: 2,
            page_bytes: 16_384,
            indirection_bytes: PAGE,
            pages_per_program: 3,
            pages_per_block: 384,
            unwritten_reads: UnwrittenReads::Flash,
            filled_permille,
            keep_data: false,
            ..config()
        };
        let mut ssd = Ssd::new(&config).unwrap();
        let (pages, mut prng) = (ssd.geometry().logical_pages, Prng::new(1));
        let (mut now, mut done) = (Instant::ZERO, Vec::new());
        for n in 0..5000 {
            ssd.read(now, RequestId(n), page(prng.below(pages)));
            while ssd.backlog() > 64 {
                now = ssd.next_event().unwrap();
                ssd.advance(now, &mut done);
            }
        }
        now.as_ns()
    };
    assert_eq!(iops(0), iops(1000));
}

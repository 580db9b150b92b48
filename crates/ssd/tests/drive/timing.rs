//! Modelled times against arithmetic.

use simtime::{Duration, Instant};
use ssd::{Config, Medium, MultiPlaneReads, RequestId, Ssd, UnwrittenReads};

use crate::{PROGRAM, READ, TRANSFER, at, config, done, drain, fill, read, sector, write};

#[test]
fn read_of_an_unwritten_page_costs_no_flash_time() {
    let mut ssd = Ssd::new(&config()).unwrap();
    let now = Instant::from_ns(5);
    read(&mut ssd, now, 9, 1);
    assert_eq!(drain(&mut ssd), [done(1, now, Medium::Memory, Some(9))]);
}

#[test]
fn read_of_an_unwritten_page_is_charged_if_asked_for() {
    let config = Config { unwritten_reads: UnwrittenReads::Flash, ..config() };
    let mut ssd = Ssd::new(&config).unwrap();
    // Pages 0 and 8 would be on one plane, 1 on another channel.
    for (lpn, id) in [(0, 0), (1, 1), (8, 8)] {
        read(&mut ssd, Instant::ZERO, lpn, id);
    }
    let finished = drain(&mut ssd);
    assert_eq!(
        (at(&finished, 0), at(&finished, 1)),
        (Instant::ZERO + READ + TRANSFER, Instant::ZERO + READ + TRANSFER)
    );
    assert_eq!(at(&finished, 8), Instant::ZERO + (READ + TRANSFER) * 2);
    assert_eq!(ssd.statistics().flash_reads, 3);
}

#[test]
fn a_drive_that_is_new_but_filled_reads_from_flash_and_collects_what_is_overwritten() {
    let config = Config { filled_permille: 500, ..config() };
    let mut ssd = Ssd::new(&config).unwrap();
    let half = ssd.geometry().logical_pages / 2;
    assert_eq!(ssd.mapped_pages(), half);
    for (lpn, medium) in [(0, Medium::Flash), (half - 1, Medium::Flash), (half, Medium::Memory)] {
        read(&mut ssd, Instant::ZERO, lpn, lpn);
        let finished = drain(&mut ssd);
        assert_eq!(finished[0].result, Ok(medium), "page {lpn}");
        ssd = Ssd::new(&config).unwrap();
    }
    let mut full = Ssd::new(&Config { filled_permille: 1000, ..config }).unwrap();
    assert_eq!(full.statistics().flash_programs, 0);
    for lpn in (0..2 * half).cycle().take(6 * half as usize) {
        write(&mut full, Instant::ZERO, lpn, 1);
    }
    drain(&mut full);
    assert!(full.statistics().erases > 0);
    full.check();
    assert_eq!(full.power_cut(Instant::from_ns(1 << 40)).found, 2 * half);
}

#[test]
fn read_on_an_idle_drive_takes_array_time_and_transfer() {
    let mut ssd = Ssd::new(&config()).unwrap();
    let start = fill(&mut ssd, 1);
    read(&mut ssd, start, 0, 1);
    assert_eq!(drain(&mut ssd), [done(1, start + READ + TRANSFER, Medium::Flash, Some(0))]);
}

#[test]
fn reads_on_one_die_queue_and_on_two_channels_do_not() {
    let mut ssd = Ssd::new(&config()).unwrap();
    // Pages go round channels, then dies, then planes: pages 0 and 8 share a plane.
    let mut now = fill(&mut ssd, 16);
    let one = READ + TRANSFER;
    for (pages, expected) in [
        ([0, 1], one),            // two channels
        ([0, 8], one * 2),        // one plane: one after the other
        ([0, 4], one + TRANSFER), // two planes of a die: arrays together, the bus in turn
        ([0, 2], one + TRANSFER), // two dies of a channel: the bus in turn
    ] {
        now += Duration::from_us(1_000);
        for page in pages {
            read(&mut ssd, now, page, page);
        }
        let last = drain(&mut ssd).last().unwrap().at;
        assert_eq!(last.since(now), expected, "{pages:?}");
    }
}

#[test]
fn waiting_reads_run_together_under_the_multi_plane_address_rule() {
    // Pages 0 and 4 are the first pages of two planes of a die, 8 and 12 the second ones.
    let together = READ + TRANSFER + READ + TRANSFER * 2;
    let apart = (READ + TRANSFER) * 3;
    for (rule, waiting, expected) in [
        (MultiPlaneReads::SamePage, [8, 12], together),
        (MultiPlaneReads::SamePage, [8, 4], apart),
        (MultiPlaneReads::Independent, [8, 4], together),
        (MultiPlaneReads::Independent, [8, 8], apart),
    ] {
        // The first read takes the die before the others come.
        let mut ssd = Ssd::new(&Config { multi_plane_reads: rule, ..config() }).unwrap();
        let start = fill(&mut ssd, 16);
        read(&mut ssd, start, 0, 1);
        let start = start + Duration::from_ns(1);
        for page in waiting {
            read(&mut ssd, start, page, 2);
        }
        assert_eq!(
            drain(&mut ssd).last().unwrap().at.since(start) + Duration::from_ns(1),
            expected,
            "{rule:?} {waiting:?}"
        );
    }
}

#[test]
fn write_through_takes_transfer_and_program_time() {
    let mut ssd = Ssd::new(&config()).unwrap();
    assert_eq!(fill(&mut ssd, 1), Instant::ZERO + TRANSFER + PROGRAM);
}

#[test]
fn partial_write_of_a_page_in_flash_reads_it_first() {
    let mut ssd = Ssd::new(&config()).unwrap();
    let start = fill(&mut ssd, 1);
    ssd.write(start, RequestId(7), sector(0, 3), false, None);
    let took = drain(&mut ssd)[0].at.since(start);
    assert_eq!(took, READ + TRANSFER + TRANSFER + PROGRAM);
    assert_eq!(ssd.statistics().modify_reads, 1);
}

#[test]
fn what_is_submitted_late_begins_when_it_is_submitted() {
    // The first write is over at 203 us; nobody looked. The second does not begin in the past.
    let mut ssd = Ssd::new(&config()).unwrap();
    write(&mut ssd, Instant::ZERO, 0, 0);
    let late = Instant::ZERO + Duration::from_us(1_000);
    write(&mut ssd, late, 8, 1);
    let finished = drain(&mut ssd);
    assert_eq!(at(&finished, 0), Instant::ZERO + TRANSFER + PROGRAM);
    assert_eq!(at(&finished, 1), late + TRANSFER + PROGRAM);
}

#[test]
#[should_panic(expected = "time went back")]
fn time_does_not_go_back() {
    let mut ssd = Ssd::new(&config()).unwrap();
    ssd.advance(Instant::from_ns(2), &mut Vec::new());
    ssd.advance(Instant::from_ns(1), &mut Vec::new());
}

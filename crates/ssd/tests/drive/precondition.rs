//! Drives that are new but were used: they behave as if they had been.

use simtime::{Duration, Instant, Prng};
use ssd::{Config, FilledBy, Lpn, RequestId, Ssd, steady_write_amplification};

use crate::{config, drain, page, write};

fn overwritten(permille: u32) -> Config {
    Config {
        capacity_bytes: 512 << 20,
        channels: 1,
        pages_per_block: 256,
        keep_data: false,
        overprovisioning_permille: permille,
        filled_permille: 1000,
        filled_by: FilledBy::RandomOverwrites,
        ..config()
    }
}

/// Write amplification of so many random writes.
fn amplification(ssd: &mut Ssd, prng: &mut Prng, writes: u64, pages: u64) -> f64 {
    let (before, mut done) = (ssd.statistics(), Vec::new());
    let mut now = ssd.now();
    for _ in 0..writes {
        write(ssd, now, prng.below(pages), 1);
        while ssd.backlog() > 32 {
            now = ssd.next_event().unwrap().max(now);
            ssd.advance(now, &mut done);
        }
    }
    ssd.statistics().write_amplification_since(&before)
}

#[test]
fn a_drive_that_was_overwritten_amplifies_writes_from_the_first_on_as_it_does_in_the_long_run() {
    for permille in [70, 150, 280] {
        let config = overwritten(permille);
        let mut ssd = Ssd::new(&config).unwrap();
        ssd.check();
        let pages = ssd.geometry().logical_pages;
        assert_eq!((ssd.mapped_pages(), ssd.statistics().flash_programs), (pages, 0));
        let mut prng = Prng::new(3);
        let first = amplification(&mut ssd, &mut prng, pages / 10, pages);
        amplification(&mut ssd, &mut prng, 3 * pages, pages);
        let later = amplification(&mut ssd, &mut prng, pages, pages);
        let predicted = steady_write_amplification(&config).unwrap();
        let all = format!("{permille}: {first:.3}, later {later:.3}, predicted {predicted:.3}");
        assert!((first / later - 1.0).abs() < 0.03, "{all}");
        // Greedy collection finds better blocks than the oldest: the more so, the less there is to gain.
        assert!((1.0..1.12).contains(&(predicted / later)), "{all}");
        ssd.check();
    }
}

#[test]
fn a_part_of_a_drive_is_overwritten_too() {
    let half = Config { filled_permille: 500, keep_data: true, ..overwritten(70) };
    let mut ssd = Ssd::new(&half).unwrap();
    let pages = ssd.geometry().logical_pages;
    assert_eq!(ssd.mapped_pages(), pages / 2);
    assert!(ssd.is_mapped(Lpn(pages / 2 - 1)) && !ssd.is_mapped(Lpn(pages / 2)));
    let mut prng = Prng::new(3);
    let first = amplification(&mut ssd, &mut prng, pages / 10, pages / 2);
    let predicted = steady_write_amplification(&half).unwrap();
    assert!((1.0..1.3).contains(&predicted) && first < 1.35, "{first} {predicted}");
    // The bytes are there after a loss of power, too.
    let now = ssd.now();
    ssd.read(now, RequestId(1), page(7));
    drain(&mut ssd);
    let now = ssd.now() + Duration::from_us(1);
    let recovered = ssd.power_cut(now);
    assert_eq!((recovered.unreadable, ssd.mapped_pages()), (0, pages / 2));
}

#[test]
fn equal_seeds_make_equal_drives_and_other_seeds_others() {
    let run = |filled_seed| {
        let mut ssd = Ssd::new(&Config { filled_seed, ..overwritten(150) }).unwrap();
        for n in 0..2000 {
            write(&mut ssd, Instant::ZERO, n * 37 % 9999, 1);
        }
        drain(&mut ssd);
        (ssd.now(), ssd.statistics())
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

#[test]
fn the_least_of_flash_can_be_overwritten_too() {
    let config = Config {
        filled_by: FilledBy::RandomOverwrites,
        filled_permille: 1000,
        ..crate::one_plane()
    };
    let mut ssd = Ssd::new(&config).unwrap();
    let pages = ssd.geometry().logical_pages;
    assert_eq!(ssd.mapped_pages(), pages);
    assert!(steady_write_amplification(&config).unwrap() > 2.0);
    (0..4 * pages).for_each(|n| write(&mut ssd, Instant::ZERO, n * 7 % pages, 1));
    drain(&mut ssd);
    ssd.check();
    assert!(steady_write_amplification(&Config { filled_permille: 0, ..config }).is_none());
}

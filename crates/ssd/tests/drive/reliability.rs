//! Bit errors against arithmetic: how often a page is read, what that costs, and what is done about it.

use simtime::{Duration, Instant, Prng};
use ssd::{BitErrors, Config, Geometry, MediaError, Medium, Ssd};

use crate::{READ, TRANSFER, at, config, done, drain, fill, one_plane, page, read, write};

/// So many wrong bits whatever happens.
fn constant(rate: f64) -> Option<BitErrors> {
    BitErrors::new([rate, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0])
}

/// A drive that is full from the beginning, with these errors; a read corrects 0.4 %, and each further one 1.25 times as much.
fn filled(bit_errors: Option<BitErrors>, config: Config) -> Ssd {
    let (ecc_limit_ppm, retry_gain_permille, filled_permille) = (4000, 1250, 1000);
    let config =
        Config { bit_errors, ecc_limit_ppm, retry_gain_permille, filled_permille, ..config };
    Ssd::new(&config).unwrap()
}

/// How long a read takes, in reads of a page with their transfers.
fn reads_of_a_page(ssd: &mut Ssd, lpn: u64) -> u64 {
    let now = ssd.now() + Duration::from_us(10_000);
    ssd.advance(now, &mut Vec::new());
    read(ssd, now, lpn, 77);
    let ended = at(&drain(ssd), 77).since(now);
    let one = READ + TRANSFER;
    assert_eq!(
        ended.as_ns() % one.as_ns(),
        0,
        "a retry takes the array and the channel as the first read did"
    );
    ended.as_ns() / one.as_ns()
}

#[test]
fn the_rate_is_that_of_the_formula() {
    let near = |rate: f64, expected: f64| assert!((rate / expected - 1.0).abs() < 1e-9, "{rate}");
    // Each term alone.
    near(
        BitErrors::new([3e-3, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0]).unwrap().rate(9, 9.0, 9.0),
        3e-3,
    );
    near(
        BitErrors::new([0.0, 2e-9, 2.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0])
            .unwrap()
            .rate(1000, 9.0, 9.0),
        2e-3,
    );
    near(
        BitErrors::new([0.0, 0.0, 1.0, 1e-6, 1.0, 0.5, 0.0, 1.0, 1.0])
            .unwrap()
            .rate(100, 400.0, 9.0),
        2e-3,
    );
    near(
        BitErrors::new([0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1e-9, 0.5, 2.0])
            .unwrap()
            .rate(100, 9.0, 300.0),
        9e-4,
    );
    // The values that its documentation names.
    let tlc = |erases, days| BitErrors::TLC_72_LAYERS.rate(erases, days, 0.0);
    assert_eq!(format!("{:.1e} {:.1e}", tlc(1000, 90.0), tlc(1000, 365.0)), "3.9e-3 6.0e-3");
    assert!(BitErrors::new([-1.0; 9]).is_none() && BitErrors::new([f64::NAN; 9]).is_none());
}

#[test]
fn a_page_is_read_until_its_bits_are_corrected() {
    // 4000 ppm x 1.25^n: 1, 1.25, 1.56, 1.95, 2.44, 3.05 times.
    for (rate, reads) in [(0.004, 1), (0.0041, 2), (0.005, 2), (0.0051, 3), (0.01, 6), (0.0122, 6)]
    {
        let mut ssd = filled(constant(rate), one_plane());
        assert_eq!(reads_of_a_page(&mut ssd, 3), reads, "{rate}");
        assert_eq!(ssd.statistics().read_retries, reads - 1);
        assert_eq!((ssd.statistics().flash_reads, ssd.statistics().media_errors), (1, 0));
    }
    // Garbage collection and partial writes read again, too.
    let mut ssd = filled(constant(0.0051), one_plane());
    let now = ssd.now();
    ssd.write(now, ssd::RequestId(1), crate::sector(3, 0), false, Some(&[1; 512]));
    drain(&mut ssd);
    assert_eq!((ssd.statistics().modify_reads, ssd.statistics().read_retries), (1, 2));
}

#[test]
fn a_page_with_too_many_errors_cannot_be_read() {
    let mut ssd = filled(constant(0.01), Config { retries_max: 4, ..one_plane() });
    let now = ssd.now();
    read(&mut ssd, now, 3, 1);
    let ended = drain(&mut ssd);
    assert_eq!(ended[0].result, Err(MediaError::Uncorrectable));
    assert_eq!(ended[0].at, now + (READ + TRANSFER) * 5);
    assert_eq!((ssd.statistics().read_retries, ssd.statistics().media_errors), (4, 1));
    let mut ssd = filled(constant(0.01), Config { retries_max: 5, ..one_plane() });
    read(&mut ssd, Instant::ZERO, 3, 1);
    assert_eq!(drain(&mut ssd)[0].result, Ok(Medium::Flash));
}

#[test]
fn wear_age_and_reads_move_the_number_of_reads() {
    let tlc = Some(BitErrors::TLC_72_LAYERS);
    let reads = |config: Config| reads_of_a_page(&mut filled(tlc, config), 3);
    assert_eq!(reads(one_plane()), 1);
    let worn = |worn_erases, data_age_days| Config { worn_erases, data_age_days, ..one_plane() };
    // 6.0e-3 is 1.5 times what one read corrects: two further ones. Wear alone: 6.7e-3 after 3000 erases.
    assert_eq!(reads(worn(1000, 365)), 3);
    assert_eq!(reads(worn(3000, 0)), 4);
    assert_eq!(reads(worn(3000, 365)), 6);
    // What is written now is new, and ages with the clock.
    let mut ssd = filled(tlc, worn(1000, 365));
    let now = ssd.now() + Duration::from_us(10_000);
    ssd.advance(now, &mut Vec::new());
    write(&mut ssd, now, 3, 5);
    drain(&mut ssd);
    assert_eq!(reads_of_a_page(&mut ssd, 3), 1);
    assert_eq!(reads_of_a_page(&mut ssd, 4), 3);
    let year = ssd.now() + Duration::from_us(365 * 86_400_000_000);
    ssd.advance(year, &mut Vec::new());
    assert_eq!(reads_of_a_page(&mut ssd, 3), 3);
    // Reads disturb: of a block of 8 pages, every read is an eighth of one of each page.
    let disturbed = BitErrors::new([0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1e-3, 0.0, 1.0]);
    let mut ssd = filled(disturbed, one_plane());
    let numbers: Vec<u64> = (0..40).map(|_| reads_of_a_page(&mut ssd, 3)).collect();
    assert_eq!(numbers[..32], [1; 32], "32 reads of the block are four of each page: 4e-3");
    assert!(numbers[32] > 1 && *numbers.last().unwrap() > numbers[32]);
    assert_eq!(reads_of_a_page(&mut ssd, 60), 1, "of another block");
}

#[test]
fn blocks_that_are_hard_to_read_are_written_anew() {
    let tlc = Some(BitErrors::TLC_72_LAYERS);
    let roomy = Config { overprovisioning_permille: 500, ..one_plane() };
    let old = Config { worn_erases: 1000, data_age_days: 365, refresh_retries: 2, ..roomy };
    let mut ssd = filled(tlc, old.clone());
    assert_eq!(reads_of_a_page(&mut ssd, 3), 3);
    drain(&mut ssd);
    assert_eq!(ssd.statistics().gc_programs, 8, "the block has moved");
    assert_eq!(reads_of_a_page(&mut ssd, 3), 1);
    assert_eq!(reads_of_a_page(&mut ssd, 4), 1);
    assert_eq!(reads_of_a_page(&mut ssd, 60), 3, "of another block");
    ssd.check();
    // Not where it takes fewer, and not where it would not help.
    for config in [
        Config { refresh_retries: 3, ..old.clone() },
        Config { refresh_retries: 0, ..old },
        Config { worn_erases: 3000, data_age_days: 0, refresh_retries: 2, ..roomy },
    ] {
        let mut ssd = filled(tlc, config);
        assert!(reads_of_a_page(&mut ssd, 3) > 2);
        drain(&mut ssd);
        assert_eq!(ssd.statistics().gc_programs, 0);
    }
}

#[test]
fn without_errors_nothing_is_read_again() {
    let mut ssd =
        Ssd::new(&Config { worn_erases: 100_000, data_age_days: 3650, ..config() }).unwrap();
    let start = fill(&mut ssd, 8);
    ssd.advance(start, &mut Vec::new());
    read(&mut ssd, start, 3, 1);
    assert_eq!(drain(&mut ssd), [done(1, start + READ + TRANSFER, Medium::Flash, Some(3))]);
    assert_eq!(ssd.statistics().read_retries, 0);
}

#[test]
fn blocks_that_are_bad_from_the_beginning_have_others_in_their_place() {
    let config = || Config { pages_per_block: 16, ..config() };
    let good = Geometry::new(&config()).unwrap();
    let with = Config { bad_blocks_permille: 20, ..config() };
    let geometry = Geometry::new(&with).unwrap();
    let blocks = geometry.blocks_per_plane - geometry.bad_blocks_per_plane;
    assert!(geometry.bad_blocks_per_plane > 0 && blocks >= good.blocks_per_plane);
    let (a, b) = (good.effective_overprovisioning(), geometry.effective_overprovisioning());
    assert!((a - b).abs() < 0.05, "{a} {b}");
    let fixed =
        Config { blocks_per_plane: good.blocks_per_plane, bad_blocks_permille: 400, ..config() };
    assert_eq!(Geometry::new(&fixed).unwrap_err().field, "blocks_per_plane");
}

/// Overwrites pages at random, and checks all of them now and then; calls back after each round.
fn overwrite(ssd: &mut Ssd, rounds: u32, mut after: impl FnMut(&Ssd) -> bool) {
    let pages = ssd.geometry().logical_pages;
    let (mut prng, mut model, mut id) = (Prng::new(5), vec![0u8; pages as usize], 0);
    for round in 0..rounds {
        let now = ssd.now();
        for _ in 0..200 {
            let lpn = prng.below(pages);
            id = id % 250 + 1;
            write(ssd, now, lpn, id);
            model[lpn as usize] = id as u8;
        }
        assert!(drain(ssd).iter().all(|done| done.result.is_ok()));
        ssd.check();
        if round % 10 == 0 {
            for lpn in 0..pages {
                let expected = [model[lpn as usize]; crate::PAGE as usize];
                assert!(crate::bytes(ssd, page(lpn)) == expected, "page {lpn}");
            }
        }
        if !after(ssd) {
            return;
        }
    }
}

#[test]
fn blocks_whose_erase_fails_are_not_used_again_until_none_is_left() {
    let small = Config { overprovisioning_permille: 500, capacity_bytes: 8 << 20, ..config() };
    let small = Config { pages_per_block: 16, ..small };
    let mut ssd = Ssd::new(&Config { erase_failures_ppm: 20_000, ..small }).unwrap();
    let new = ssd.spare();
    assert!(new.blocks > 3 && new.left == new.blocks && new.percent() == 100);
    let mut last = new.left;
    overwrite(&mut ssd, 2000, |ssd| {
        let spare = ssd.spare();
        assert!(spare.left <= last, "what is bad stays so");
        let bad = ssd.statistics().bad_blocks;
        assert!(
            (1..=8).contains(&bad.div_ceil(u64::from(spare.blocks - spare.left).max(1)))
                || bad == 0
        );
        last = spare.left;
        !spare.is_worn_out
    });
    let spare = ssd.spare();
    assert!(spare.is_worn_out && spare.percent() == 0, "{spare:?}");
    assert_eq!(ssd.statistics().media_errors, 0, "no data was lost");
    // The model goes on: whoever uses it refuses writes.
    let now = ssd.now();
    write(&mut ssd, now, 7, 9);
    assert!(drain(&mut ssd)[0].result.is_ok());
    assert_eq!(crate::bytes(&ssd, page(7)), [9; crate::PAGE as usize]);
}

/// What cannot be read stays so, whatever is written beside it; collection moves it as it is.
#[test]
fn what_cannot_be_read_does_not_become_readable() {
    for refresh_retries in [0, 1] {
        let hopeless = Config { retries_max: 0, refresh_retries, ..one_plane() };
        let mut ssd = filled(constant(0.01), hopeless);
        let now = ssd.now();
        ssd.write(now, ssd::RequestId(1), crate::sector(3, 0), true, Some(&[1; 512]));
        drain(&mut ssd);
        for _ in 0..2 {
            let now = ssd.now();
            read(&mut ssd, now, 3, 2);
            let ended = drain(&mut ssd);
            assert_eq!(ended[0].result, Err(MediaError::Uncorrectable));
        }
    }
}

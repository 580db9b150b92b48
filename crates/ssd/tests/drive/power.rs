//! Losses of power in memory. `POWER_CUTS=100000 cargo test --release -p ssd --test drive power` tries as many.

use simtime::{Duration, Instant, Prng};
use ssd::conformance::{PowerLoss, check_power_cuts};
use ssd::{Config, Lpn, RequestId, Ssd};

use crate::{PAGE, config, drain, one_plane, page};

/// A drive whose store is what survives.
struct InMemory;

impl PowerLoss for InMemory {
    fn switch_on(&mut self, config: &Config) -> Ssd {
        Ssd::new(config).unwrap()
    }

    fn cut(&mut self, mut ssd: Ssd, now: Instant, _prng: &mut Prng) -> Ssd {
        ssd.power_cut(now);
        ssd
    }

    fn can_keep_buffer(&self) -> bool {
        true
    }

    fn may_undo_deallocation(&self) -> bool {
        false
    }
}

/// With capacitors nothing that was acknowledged is lost, and nobody waits for flash.
#[test]
fn a_protected_write_buffer_is_as_safe_as_flash() {
    let protected = |power_loss_protection| {
        let config = Config { write_buffer_bytes: 64 * u64::from(PAGE), ..config() };
        Ssd::new(&Config { power_loss_protection, ..config }).unwrap()
    };
    for is_protected in [true, false] {
        let mut ssd = protected(is_protected);
        let start = Instant::ZERO;
        (0..40).for_each(|lpn| crate::write(&mut ssd, start, lpn, lpn));
        let fua = page(40);
        ssd.write(start, RequestId(40), fua, true, Some(&[40; PAGE as usize]));
        ssd.flush(start, RequestId(41));
        let mut done = Vec::new();
        ssd.advance(start, &mut done);
        assert_eq!(done.len(), if is_protected { 42 } else { 40 });
        let busy = ssd.busy(start + Duration::from_us(30));
        let now = start + Duration::from_us(30);
        let recovery = ssd.power_cut(now);
        ssd.check();
        assert_eq!(ssd.now(), now, "for others no time has passed");
        let longer = Duration::from_us(30);
        let (channels, dies) = ssd.busy(now);
        assert!(dies.iter().zip(&busy.1).all(|(after, before)| *after <= *before + longer));
        assert!(channels.iter().all(|time| *time <= longer));
        assert_eq!((recovery.lost == 0, recovery.found == 41), (is_protected, is_protected));
        for lpn in (0..41).filter(|_| is_protected) {
            assert_eq!(crate::bytes(&ssd, page(lpn)), [lpn as u8; PAGE as usize]);
        }
        // It goes on.
        crate::write(&mut ssd, now, 3, 7);
        assert_eq!(drain(&mut ssd).len(), 1);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how many cuts a run tries is its user's choice")]
fn what_was_flushed_survives_every_loss_of_power() {
    let count =
        std::env::var("POWER_CUTS").ok().and_then(|count| count.parse().ok()).unwrap_or(2000);
    for seed in 0..count {
        check_power_cuts(seed, &mut InMemory);
    }
}

#[test]
fn what_was_deallocated_does_not_come_back() {
    // Its program is under way, and torn: half of a page of FFh looks like all of it.
    let mut ssd = Ssd::new(&Config { write_buffer_bytes: 1 << 20, ..config() }).unwrap();
    ssd.write(Instant::ZERO, RequestId(1), page(3), true, Some(&[0xFF; PAGE as usize]));
    let now = Instant::from_ns(100_000);
    ssd.deallocate(now, Lpn(3), 1);
    ssd.power_cut(now);
    assert!(!ssd.is_mapped(Lpn(3)));
    // Collection is moving pages when the power goes: there are two of each for a moment.
    for seed in 0..50 {
        let mut prng = Prng::new(seed);
        let config = Config { overprovisioning_permille: 200, ..one_plane() };
        let mut ssd = Ssd::new(&config).unwrap();
        let write = |ssd: &mut Ssd, now, lpn| {
            ssd.write(now, RequestId(lpn), page(lpn), true, Some(&[0xFF; PAGE as usize]));
        };
        (0..64).for_each(|lpn| write(&mut ssd, Instant::ZERO, lpn));
        drain(&mut ssd);
        let (mut now, mut done) = (Instant::from_ns(1 << 36), Vec::new());
        while ssd.statistics().gc_programs == 0 {
            write(&mut ssd, now, prng.below(64));
            while let Some(at) = ssd.next_event().filter(|_| ssd.statistics().gc_programs == 0) {
                now = at;
                ssd.advance(now, &mut done);
            }
        }
        now += Duration::from_us(50 + prng.below(150));
        ssd.power_cut(now);
        ssd.deallocate(now, Lpn(0), 64);
        ssd.power_cut(now);
        assert_eq!(ssd.mapped_pages(), 0, "seed {seed}");
    }
}

#[test]
fn a_drive_that_lost_its_power_too_often_is_helped_by_deallocation() {
    // The least of flash, and losses of power in the middle of moves: each wastes a page.
    for seed in 0..20 {
        let mut prng = Prng::new(seed);
        let config = one_plane();
        let mut ssd = Ssd::new(&config).unwrap();
        let (mut now, mut done) = (Instant::ZERO, Vec::new());
        (0..64).for_each(|lpn| ssd.write(now, RequestId(lpn), page(lpn), true, None));
        drain(&mut ssd);
        now += Duration::from_us(1 << 20);
        for _ in 0..100 {
            ssd.write(now, RequestId(1), page(prng.below(64)), true, None);
            now += Duration::from_us(100 + prng.below(1500));
            ssd.advance(now, &mut done);
            ssd.power_cut(now);
            ssd.check();
        }
        now += Duration::from_us(1 << 20);
        ssd.deallocate(now, Lpn(0), 64);
        ssd.write(now, RequestId(7), page(0), true, None);
        assert!(drain(&mut ssd).iter().any(|d| d.id == RequestId(7)), "seed {seed}");
    }
}

/// A flush waits for room for the writes before it, and for nothing else.
#[test]
fn a_flush_of_a_protected_buffer_waits_for_room() {
    let config = Config {
        write_buffer_bytes: 16 * u64::from(PAGE),
        power_loss_protection: true,
        ..config()
    };
    let mut ssd = Ssd::new(&config).unwrap();
    (0..17).for_each(|lpn| crate::write(&mut ssd, Instant::ZERO, lpn, lpn));
    ssd.flush(Instant::ZERO, RequestId(99));
    let done = drain(&mut ssd);
    assert_eq!(crate::at(&done, 99), crate::at(&done, 16));
}

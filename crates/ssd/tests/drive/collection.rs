//! Garbage collection: how much it moves, and that it loses nothing.

use simtime::{Duration, Instant, Prng};
use ssd::{
    Config, Discarded, Geometry, Isolation, Lpn, MemoryStore, Oob, Page, Placement, RequestId, Ssd,
    Store, StoredPage, VictimPolicyKind, WearLeveling,
};

use crate::{bytes, config, drain, fill, one_plane, page, read, write};

#[test]
fn overwriting_a_full_drive_forces_collection_and_keeps_every_page() {
    let mut ssd = Ssd::new(&Config { overprovisioning_permille: 500, ..config() }).unwrap();
    let pages = ssd.geometry().logical_pages;
    fill(&mut ssd, pages);
    let mut prng = Prng::new(3);
    let mut now = Instant::from_ns(1 << 40);
    for _ in 0..4 * pages {
        write(&mut ssd, now, prng.below(pages), 1);
        drain(&mut ssd);
        now += Duration::from_us(100_000);
    }
    ssd.check();
    let statistics = ssd.statistics();
    assert!(statistics.gc_programs > 0 && statistics.erases > 0, "{statistics:?}");
    let waf = statistics.write_amplification();
    // 32 of 48 blocks of each plane hold data, 3 are in motion: utilisation 32/45 = 0.71. The
    // mean-field bound for uniform random overwrites, 1 / (2 (1 - u)), gives 1.73.
    assert!((1.4..2.2).contains(&waf), "write amplification {waf}");
}

/// Write amplification of greedy collection under uniform random writes (Desnoyers 2014, equation 15): `ratio` is physical
/// by logical pages, `pages` those of a block.
fn desnoyers(ratio: f64, pages: f64) -> f64 {
    let lambert = |x: f64| {
        let mut w: f64 = -0.2;
        for _ in 0..500 {
            let (e, f) = (w.exp(), w * w.exp() - x);
            w -= f / (e * (w + 1.0) - (w + 2.0) * f / (2.0 * w + 2.0));
        }
        w
    };
    let k = 1.0 + 1.0 / (2.0 * pages);
    let x0 = 0.5 - pages / ratio * lambert(-k * ratio * (-k * ratio).exp());
    pages / (pages - (x0 - 1.0))
}

/// Random overwrites of a full drive in the steady state; returns write amplification and effective over-provisioning.
fn steady(overprovisioning_permille: u32, victim_policy: VictimPolicyKind) -> (f64, f64) {
    let config = Config { overprovisioning_permille, victim_policy, ..large() };
    steady_of(&config, |prng, pages| (prng.below(pages), 0))
}

fn large() -> Config {
    Config {
        capacity_bytes: 1 << 30,
        channels: 1,
        pages_per_block: 256,
        keep_data: false,
        ..config()
    }
}

/// The same with pages, and hints of where they go, that somebody chooses.
fn steady_of(config: &Config, choose: impl Fn(&mut Prng, u64) -> (u64, u8)) -> (f64, f64) {
    let mut ssd = Ssd::new(config).unwrap();
    let pages = ssd.geometry().logical_pages;
    fill(&mut ssd, pages);
    let mut prng = Prng::new(9);
    let (mut now, mut done, mut before) = (Instant::from_ns(1 << 44), Vec::new(), ssd.statistics());
    for n in 0..4 * pages {
        if n == 2 * pages {
            before = ssd.statistics();
        }
        let (lpn, hint) = choose(&mut prng, pages);
        ssd.write_hinted(now, RequestId(n), page(lpn), false, None, ssd::Hint::of(hint));
        // Some are under way at a time, as with a queue of them.
        while ssd.backlog() > 32 {
            now = ssd.next_event().unwrap().max(now);
            ssd.advance(now, &mut done);
        }
    }
    ssd.check();
    let amplification = ssd.statistics().write_amplification_since(&before);
    (amplification, ssd.geometry().effective_overprovisioning())
}

#[test]
fn separating_hot_from_cold_lowers_write_amplification() {
    // A tenth of the pages gets nine tenths of the writes.
    let skewed = |prng: &mut Prng, pages: u64| {
        let is_hot = prng.below(10) > 0;
        let lpn = if is_hot { prng.below(pages / 10) } else { prng.below(pages) };
        (lpn, u8::from(is_hot))
    };
    // SepBIT's authors have 12 to 20 % less than without separation, with cost-benefit collection (their figure 12).
    for (victim_policy, most_isolated, most_found) in
        [(VictimPolicyKind::Greedy, 0.92, 1.0), (VictimPolicyKind::CostBenefit, 0.83, 0.91)]
    {
        let config = Config { victim_policy, overprovisioning_permille: 150, ..large() };
        let (together, _) = steady_of(&config, skewed);
        let told = Config { hint_streams: 2, ..config.clone() };
        let isolated = Config { isolation: Isolation::Persistent, ..told.clone() };
        let (told, _) = steady_of(&told, skewed);
        let (isolated, _) = steady_of(&isolated, skewed);
        let found = Config { placement: Placement::HotCold, ..config };
        let (found, _) = steady_of(&found, skewed);
        let all = format!("{victim_policy:?}: {together:.3} {told:.3} {isolated:.3} {found:.3}");
        assert!(told < together, "{all}");
        assert!(isolated < most_isolated * together && found < most_found * together, "{all}");
    }
}

#[test]
fn greedy_write_amplification_is_what_theory_says_for_the_effective_overprovisioning() {
    for (permille, tolerance) in [(70, 0.05), (150, 0.05), (280, 0.05)] {
        let (measured, effective) = steady(permille, VictimPolicyKind::Greedy);
        let expected = desnoyers(1.0 + effective, 256.0);
        let error = measured / expected - 1.0;
        assert!(
            error.abs() < tolerance,
            "{permille} permille: {measured:.3}, theory {expected:.3} at {effective:.4}"
        );
    }
}

#[test]
fn wear_is_levelled_also_where_data_stays() {
    let wear = |wear_leveling| {
        let config = Config {
            capacity_bytes: 16 << 20,
            channels: 1,
            pages_per_block: 32,
            overprovisioning_permille: 280,
            wear_leveling,
            wear_gap: 20,
            ..config()
        };
        let mut ssd = Ssd::new(&config).unwrap();
        let pages = ssd.geometry().logical_pages;
        let mut now = fill(&mut ssd, pages);
        let mut prng = Prng::new(5);
        // Half of the data stays as it is.
        for n in 0..200 * pages {
            ssd.write(now, RequestId(n), page(prng.below(pages / 2)), false, None);
            while ssd.backlog() > 16 {
                now = ssd.next_event().unwrap().max(now);
                ssd.advance(now, &mut Vec::new());
            }
        }
        drain(&mut ssd);
        ssd.check();
        assert_eq!(bytes(&ssd, page(pages - 1)), [0; 4096]);
        let wear = ssd.wear();
        let mean = wear.erases as f64 / wear.blocks as f64;
        (f64::from(wear.erases_max) / mean, mean, f64::from(wear.erases_max) - mean)
    };
    let (none, few, _) = wear(WearLeveling::None);
    let (_, more, apart) = wear(WearLeveling::Static);
    assert!(none > 1.5, "without levelling some blocks are erased much more: {none}");
    assert!(apart < 20.0 && more < 1.2 * few, "{apart} apart, {more} erases instead of {few}");
}

#[test]
fn cost_benefit_collects_too() {
    let (greedy, _) = steady(280, VictimPolicyKind::Greedy);
    let (other, _) = steady(280, VictimPolicyKind::CostBenefit);
    // With uniform writes greedy is best.
    assert!(other >= greedy * 0.99 && other < greedy * 1.3, "{other} against {greedy}");
}

#[test]
fn overwriting_one_plane_only_does_not_wedge_the_others() {
    let mut ssd = Ssd::new(&config()).unwrap();
    let pages = ssd.geometry().logical_pages;
    fill(&mut ssd, pages);
    for round in 0..pages {
        let lpn = (round * u64::from(ssd.geometry().planes)) % pages;
        write(&mut ssd, Instant::from_ns(1 << 40), lpn, 1);
    }
    drain(&mut ssd);
    ssd.check();
}

#[test]
fn deallocated_pages_read_as_zeroes_and_cost_collection_nothing() {
    let mut ssd = Ssd::new(&Config { overprovisioning_permille: 500, ..config() }).unwrap();
    let pages = ssd.geometry().logical_pages;
    let start = fill(&mut ssd, pages);
    write(&mut ssd, start, 7, 1);
    ssd.deallocate(start, Lpn(0), pages);
    assert_eq!((ssd.mapped_pages(), ssd.is_mapped(Lpn(7))), (0, false));
    assert_eq!(bytes(&ssd, page(7)), [0; 4096]);
    drain(&mut ssd);
    let now = Instant::from_ns(1 << 40);
    read(&mut ssd, now, 7, 1);
    assert_eq!(drain(&mut ssd)[0].at, now);
    // Everything in flash is stale: writing the drive over twice moves nothing.
    for round in 0..2 * pages {
        write(&mut ssd, now, round % pages, 2);
    }
    drain(&mut ssd);
    ssd.check();
    assert_eq!(ssd.statistics().gc_programs, 0);
}

#[test]
fn a_drive_of_more_pages_than_32_bits_can_name_works() {
    let config = Config { capacity_bytes: 64 << 40, ..Config::default() };
    let mut ssd = Ssd::new(&config).unwrap();
    let last = ssd.geometry().logical_pages - 1;
    assert!(last > u64::from(u32::MAX));
    for lpn in [0, 1 << 32, last] {
        write(&mut ssd, Instant::ZERO, lpn, lpn % 251);
    }
    drain(&mut ssd);
    for lpn in [0, 1 << 32, last] {
        assert_eq!(bytes(&ssd, page(lpn)), [(lpn % 251) as u8; 4096]);
    }
    ssd.check();
}

#[test]
fn a_store_holds_what_is_current() {
    let geometry = Geometry::new(&config()).unwrap();
    let mut store = MemoryStore::new(&geometry);
    assert_eq!(store.used_bytes(), 0);
    let block = geometry.block(0, 0);
    let at = |number| geometry.page(block, number);
    for number in 0..3 {
        let bytes = Page::from(vec![number as u8; 4096]);
        let oob = Oob::new(Lpn(number.into()), 1, &bytes);
        store.program(at(number), bytes, oob).unwrap();
    }
    store.relocate(at(0), geometry.page(geometry.block(1, 0), 0)).unwrap();
    let mut discard = |ppa| store.discard(ppa, Discarded::Superseded);
    assert!(discard(at(1)).is_some() && discard(at(1)).is_none());
    assert_eq!(store.used_bytes(), 2 * 4096);
    store.erase(block);
    assert_eq!(store.used_bytes(), 4096);
    let mut check = |moved: StoredPage<'_>| {
        assert_eq!((moved.bytes, moved.oob.lpn), (&[0; 4096][..], Lpn(0)));
    };
    store.read(geometry.page(geometry.block(1, 0), 0), &mut check).unwrap();
}

#[test]
fn pages_deallocated_on_their_way_to_flash_fill_blocks_and_these_are_collected() {
    for planes in [1, 4] {
        let config = Config {
            capacity_bytes: u64::from(planes) * 64 * 4096,
            channels: planes,
            write_buffer_bytes: 16 * 4096,
            ..one_plane()
        };
        let mut ssd = Ssd::new(&config).unwrap();
        let planes = u64::from(planes);
        // All but eight pages of each plane: whole blocks of valid pages.
        for lpn in 8 * planes..64 * planes {
            write(&mut ssd, Instant::ZERO, lpn, lpn);
        }
        drain(&mut ssd);
        let now = Instant::from_ns(1 << 40);
        for n in 0..40 * planes {
            ssd.write(now, RequestId(1000 + n), page(0), true, Some(&[7; 4096]));
            ssd.deallocate(now, Lpn(0), 1);
        }
        drain(&mut ssd);
        ssd.write(Instant::from_ns(1 << 41), RequestId(5000), page(1), true, Some(&[8; 4096]));
        let done = drain(&mut ssd);
        assert!(
            done.iter().any(|d| d.id == RequestId(5000)),
            "{planes} planes: the drive stands still"
        );
    }
}

//! What drives cost their host: memory for what is written, wherever it lies, and next to nothing for what is not.
//!
//! One test, so that no other one shares the process: it measures the memory that is resident.

use controller::Config;
use simtime::{Instant, Prng};
use simulator::Simulation;
use ssd::{Lpn, RequestId, Span, Ssd};

const TIB: u64 = 1 << 40;

/// Resident bytes of this process.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").expect("Linux has /proc");
    let pages: u64 = status.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("a number");
    pages * 4096
}

/// Random writes over the whole drive, and then a flush; what it took, per page.
fn scattered(keep_data: bool, pages: u64) -> (Ssd, u64) {
    let config = ssd::Config { capacity_bytes: TIB, keep_data, ..ssd::Config::default() };
    let before = resident();
    let mut ssd = Ssd::new(&config).expect("a sound configuration");
    let (mut prng, mut now, mut done) = (Prng::new(1), Instant::ZERO, Vec::new());
    let data = [7; 4096];
    for n in 0..pages {
        let span = Span { lpn: Lpn(prng.below(TIB / 4096)), offset: 0, len: 4096 };
        ssd.write(now, RequestId(n), span, false, Some(&data));
        while ssd.backlog() > 64 {
            now = ssd.next_event().expect("something is under way");
            ssd.advance(now, &mut done);
            done.clear();
        }
    }
    while let Some(at) = ssd.next_event() {
        ssd.advance(at, &mut done);
    }
    drop(done);
    (ssd, resident() - before)
}

#[test]
fn memory_grows_with_what_is_written_and_not_with_what_is_there() {
    // Each stays while the next is measured, which then takes no memory that was given back.
    let (times, bytes) = scattered(false, 1 << 20);
    let per_page = bytes / times.mapped_pages();
    println!("1 TiB, times alone, 1 Mi scattered pages: {per_page} bytes each");
    assert!(
        per_page <= 24,
        "{per_page} bytes for each of {} scattered pages",
        times.mapped_pages()
    );

    // All pages of a drive, in random order and again and again: as much as a drive in use has.
    let config = ssd::Config {
        capacity_bytes: 4 << 30,
        keep_data: false,
        filled_permille: 1000,
        filled_by: ssd::FilledBy::RandomOverwrites,
        ..ssd::Config::default()
    };
    let before = resident();
    let full = Ssd::new(&config).expect("a sound configuration");
    let tenths = 10 * (resident() - before) / full.mapped_pages();
    println!("4 GiB, times alone, full: {}.{} bytes a page", tenths / 10, tenths % 10);
    assert!(tenths <= 100, "{tenths} tenths of a byte for each page of a full drive");

    let (data, bytes) = scattered(true, 1 << 18);
    println!("1 TiB, 1 GiB of scattered pages: {} MiB", bytes >> 20);
    assert!(bytes < 1288 << 20, "{} MiB for 1 GiB of scattered pages", bytes >> 20);

    let (before, start) = (resident(), std::time::Instant::now());
    let drive = |_| {
        let mut config = Config::default();
        config.flash.capacity_bytes = TIB;
        Simulation::new(config).expect("a sound configuration")
    };
    let drives: Vec<Simulation> = (0..1000).map(drive).collect();
    let (bytes, time) = (resident() - before, start.elapsed());
    println!("1000 empty drives of 1 TiB: {} MiB, made in {time:?}", bytes >> 20);
    assert!(bytes < 4 << 30, "{} MiB for {} empty drives", bytes >> 20, drives.len());
    drop((times, full, data, drives));
}

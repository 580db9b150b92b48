//! Losses of power at any moment: what was flushed is there, everything else is whole, old or new.
//!
//! The oracle knows nothing of the model: it keeps, for every sector, the values that the host may find.

use std::collections::BTreeMap;

use simtime::{Duration, Instant, Prng};

use crate::{
    Config, Done, Hint, Isolation, Lpn, Placement, RequestId, Span, Ssd, Suspend, VictimPolicyKind,
    WearLeveling,
};

/// What the suite needs of whatever keeps the pages.
pub trait PowerLoss {
    /// A new drive.
    fn switch_on(&mut self, config: &Config) -> Ssd;

    /// The power of a drive goes, and comes back.
    fn cut(&mut self, ssd: Ssd, now: Instant, prng: &mut Prng) -> Ssd;

    /// True if a drive that has the power to save its write buffer does so.
    fn can_keep_buffer(&self) -> bool {
        false
    }

    /// True if a deallocation may be undone by a loss of power until the next flush.
    fn may_undo_deallocation(&self) -> bool;
}

const PAGE: u32 = 4096;
const SECTOR: u32 = 512;
const SECTORS: u32 = PAGE / SECTOR;

/// What a page may hold: contents as one value for each sector, of one moment after another. All before `first` are
/// gone for good.
#[derive(Clone, Default)]
struct History {
    versions: Vec<[u64; SECTORS as usize]>,
    first: usize,
}

impl History {
    fn newest(&self) -> [u64; SECTORS as usize] {
        self.versions.last().copied().unwrap_or_default()
    }
}

#[derive(Default)]
struct Oracle {
    pages: BTreeMap<u64, History>,
}

impl Oracle {
    fn page(&mut self, lpn: u64) -> &mut History {
        self.pages
            .entry(lpn)
            .or_insert_with(|| History { versions: vec![Default::default()], first: 0 })
    }

    fn wrote(&mut self, span: Span, value: u64) -> usize {
        let page = self.page(span.lpn.0);
        let mut sectors = page.newest();
        let first = (span.offset / SECTOR) as usize;
        sectors[first..first + (span.len / SECTOR) as usize].fill(value);
        page.versions.push(sectors);
        page.versions.len() - 1
    }

    /// Nothing older than this version may be found any more.
    fn settled(&mut self, lpn: u64, version: usize) {
        let page = self.page(lpn);
        page.first = page.first.max(version);
    }

    /// What may be found after a cut, and is then all that there is.
    fn found(&mut self, lpn: u64, sectors: [u64; SECTORS as usize], context: &str) {
        let page = self.page(lpn);
        let allowed = &page.versions[page.first..];
        assert!(
            allowed.contains(&sectors),
            "{context}: page {lpn} holds {sectors:?}; allowed: {allowed:?}"
        );
        *page = History { versions: vec![sectors], first: 0 };
    }
}

/// Bytes of a sector that holds a value: all of it says so.
fn sector_bytes(value: u64) -> Vec<u8> {
    value.to_le_bytes().repeat(SECTOR as usize / 8)
}

fn page(lpn: u64) -> Span {
    Span { lpn: Lpn(lpn), offset: 0, len: PAGE }
}

fn sectors_of(ssd: &Ssd, lpn: u64) -> [u64; SECTORS as usize] {
    let mut all = Vec::new();
    ssd.visit(page(lpn), |piece| all.extend_from_slice(piece));
    core::array::from_fn(|n| {
        let sector = &all[n * SECTOR as usize..][..SECTOR as usize];
        let value = u64::from_le_bytes(sector[..8].try_into().expect("a sector is longer"));
        assert_eq!(sector, sector_bytes(value), "a sector of page {lpn} is a mixture");
        value
    })
}

enum Waits {
    /// A durable write: its page and version.
    Write(u64, usize),
    /// A flush: the newest version of every page when it was asked for.
    Flush(Vec<(u64, usize)>),
}

/// Runs what is due, and what has to be done to make the store durable: at once, or some other time.
fn advance(ssd: &mut Ssd, now: Instant, prng: &mut Prng, done: &mut Vec<Done>) {
    ssd.advance(now, done);
    while ssd.is_syncing() && prng.below(3) > 0 {
        if let Some(work) = ssd.take_sync() {
            ssd.synced(now, work.run());
            if prng.below(2) == 0 {
                ssd.note_durable();
            }
            ssd.advance(now, done);
        }
    }
}

/// Runs everything to its end.
fn drain(ssd: &mut Ssd) -> Vec<Done> {
    let mut done = Vec::new();
    loop {
        while let Some(at) = ssd.next_event() {
            ssd.advance(at, &mut done);
        }
        let Some(work) = ssd.take_sync() else { return done };
        ssd.synced(ssd.now(), work.run());
    }
}

/// Runs one random workload with some losses of power in it on a small drive of random form.
///
/// # Panics
/// If something is found that must not be, or the drive stands still.
pub fn check_power_cuts(seed: u64, power: &mut dyn PowerLoss) {
    let mut prng = Prng::new(seed);
    let config = Config {
        capacity_bytes: 2 << 20,
        channels: 1 + prng.below(2) as u32,
        dies_per_channel: 1,
        planes_per_die: 1 + prng.below(2) as u32,
        pages_per_block: 8 << prng.below(2),
        page_bytes: PAGE << prng.below(3),
        indirection_bytes: PAGE,
        pages_per_program: 1 << prng.below(3),
        overprovisioning_permille: 100 + prng.below(300) as u32,
        write_buffer_bytes: prng.below(40) * u64::from(PAGE),
        write_buffer_delay: Duration::from_us(prng.below(2000)),
        suspend: [Suspend::Nothing, Suspend::ProgramsAndErases][prng.below(2) as usize],
        placement: [Placement::Hints, Placement::HotCold][prng.below(2) as usize],
        hint_streams: 1 + prng.below(3) as u32,
        isolation: [Isolation::Initial, Isolation::Persistent][prng.below(2) as usize],
        wear_leveling: [WearLeveling::None, WearLeveling::Dynamic, WearLeveling::Static]
            [prng.below(3) as usize],
        power_loss_protection: power.can_keep_buffer() && prng.below(3) == 0,
        wear_gap: 1 + prng.below(5) as u32,
        erase_failures_ppm: [0, 20_000][prng.below(2) as usize],
        cache_reads: prng.below(2) == 0,
        cache_programs: prng.below(2) == 0,
        victim_policy: VictimPolicyKind::NAMES[prng.below(6) as usize].1,
        ..Config::default()
    };
    let mut ssd = power.switch_on(&config);
    let pages = ssd.geometry().logical_pages;
    let mut oracle = Oracle::default();
    let mut waiting: BTreeMap<u64, Waits> = BTreeMap::new();
    let (mut now, mut done, mut id) = (Instant::ZERO, Vec::new(), 0);
    // Hot pages, so that versions follow each other closely, and pressure on collection.
    let span_pages = 1 + prng.below(pages);
    for cut in 0..1 + prng.below(3) {
        for _ in 0..prng.below(1500) {
            id += 1;
            let lpn = prng.below(span_pages);
            match prng.below(24) {
                0 => {
                    let newest = oracle
                        .pages
                        .iter()
                        .map(|(lpn, page)| (*lpn, page.versions.len() - 1))
                        .collect();
                    ssd.flush(now, RequestId(id));
                    waiting.insert(id, Waits::Flush(newest));
                }
                1 => {
                    let count = 1 + prng.below(8.min(span_pages - lpn));
                    ssd.deallocate(now, Lpn(lpn), count);
                    for lpn in lpn..lpn + count {
                        let version = oracle.wrote(page(lpn), 0);
                        if !power.may_undo_deallocation() {
                            oracle.settled(lpn, version);
                        }
                    }
                }
                23 => ssd.read(now, RequestId(id), page(lpn)),
                // A reset: what waits is whole or undone.
                2 if prng.below(20) == 0 => {
                    ssd.forget(now, |_| false);
                    waiting.clear();
                    for lpn in 0..span_pages {
                        let sectors = sectors_of(&ssd, lpn);
                        let page = oracle.page(lpn);
                        assert!(
                            page.versions[page.first..].contains(&sectors),
                            "seed {seed}: page {lpn}"
                        );
                        page.versions.push(sectors);
                    }
                }
                n => {
                    let (first, count) = if n < 8 {
                        let first = prng.below(SECTORS.into()) as u32;
                        (first, 1 + prng.below(u64::from(SECTORS - first)) as u32)
                    } else {
                        (0, SECTORS)
                    };
                    let span = Span { lpn: Lpn(lpn), offset: first * SECTOR, len: count * SECTOR };
                    let is_durable = n % 5 == 0;
                    let data = sector_bytes(id).repeat(count as usize);
                    let version = oracle.wrote(span, id);
                    let hint = prng.below(4) as u8;
                    ssd.write_hinted(
                        now,
                        RequestId(id),
                        span,
                        is_durable,
                        Some(&data),
                        Hint::of(hint),
                    );
                    let is_safe = config.power_loss_protection;
                    if is_durable || is_safe || config.write_buffer_bytes == 0 {
                        waiting.insert(id, Waits::Write(lpn, version));
                    }
                }
            }
            // A host goes on in another reclaim unit.
            if prng.below(8) == 0 {
                ssd.begin_unit(now, prng.below(4) as u8);
            }
            if prng.below(3) == 0 {
                now += Duration::from_ns(prng.below(80_000));
                advance(&mut ssd, now, &mut prng, &mut done);
                for finished in done.drain(..) {
                    match waiting.remove(&finished.id.0) {
                        Some(Waits::Write(lpn, version)) => oracle.settled(lpn, version),
                        Some(Waits::Flush(newest)) => {
                            newest
                                .into_iter()
                                .for_each(|(lpn, version)| oracle.settled(lpn, version));
                        }
                        None => {}
                    }
                }
            }
        }
        waiting.clear();
        // At any moment: also in the middle of operations.
        now += Duration::from_ns(prng.below(300_000));
        advance(&mut ssd, now, &mut prng, &mut done);
        for finished in done.drain(..) {
            if let Some(Waits::Write(lpn, version)) = waiting.remove(&finished.id.0) {
                oracle.settled(lpn, version);
            }
        }
        ssd = power.cut(ssd, now, &mut prng);
        now = ssd.now();
        ssd.check();
        let context = format!("seed {seed}, cut {cut}");
        for lpn in 0..span_pages {
            let sectors = sectors_of(&ssd, lpn);
            oracle.found(lpn, sectors, &context);
        }
    }
    // The drive goes on working.
    for lpn in 0..pages {
        ssd.write(
            now,
            RequestId(lpn),
            page(lpn),
            false,
            Some(&sector_bytes(lpn).repeat(SECTORS as usize)),
        );
    }
    ssd.flush(now, RequestId(pages));
    assert_eq!(
        drain(&mut ssd).len() as u64,
        pages + 1,
        "seed {seed}: the drive stands still after a cut"
    );
    for lpn in 0..pages {
        assert_eq!(sectors_of(&ssd, lpn), [lpn; SECTORS as usize], "seed {seed}");
    }
    ssd.check();
}

//! What dies do in which order, for how long: types of page, cache registers, reads that go first, suspension.

use simtime::{Duration, Instant, Prng};
use ssd::{
    CellType, Config, DieOrder, Medium, PageTimes, RequestId, Ssd, Suspend, VictimPolicyKind,
};

use crate::{PROGRAM, READ, TRANSFER, at, config, done, drain, fill, one_plane, page, read, write};

const ERASE: Duration = Duration::from_us(2000);

fn us(us: u64) -> Duration {
    Duration::from_us(us)
}

/// One die with one plane, and enough flash that nothing is collected.
fn one_die() -> Config {
    Config { overprovisioning_permille: 1000, pages_per_block: 64, ..one_plane() }
}

#[test]
fn pages_of_each_type_take_their_own_times() {
    let read_time = PageTimes::new(&[us(50), us(70), us(100)]).unwrap();
    let program_time = PageTimes::new(&[us(500), us(1000), us(3000)]).unwrap();
    let mut ssd = Ssd::new(&Config { read_time, program_time, ..one_die() }).unwrap();
    // Six pages of a block, one after the other: each type twice.
    let end = fill(&mut ssd, 6);
    assert_eq!(end, Instant::ZERO + TRANSFER * 6 + us(2 * (500 + 1000 + 3000)));
    for (lpn, time) in [(0, 50), (1, 70), (2, 100), (3, 50), (4, 70), (5, 100)] {
        let now = end + us(10_000 * (1 + lpn));
        ssd.advance(now, &mut Vec::new());
        read(&mut ssd, now, lpn, 1);
        assert_eq!(drain(&mut ssd), [done(1, now + us(time) + TRANSFER, Medium::Flash, Some(lpn))]);
    }
    assert!(PageTimes::new(&[]).is_none() && PageTimes::new(&[us(1); 5]).is_none());
    // More bits in a cell, more types of page, and slower ones.
    let slowest = CellType::NAMES.map(|(_, cell)| *cell.times().0.types().last().unwrap());
    assert!(slowest.is_sorted_by(|a, b| a < b));
}

#[test]
fn eight_cached_reads_take_eight_times_the_array_and_one_transfer() {
    for (cache_reads, expected) in [(false, (READ + TRANSFER) * 8), (true, READ * 8 + TRANSFER)] {
        let mut ssd = Ssd::new(&Config { cache_reads, ..one_die() }).unwrap();
        let start = fill(&mut ssd, 8) + us(1000);
        ssd.advance(start, &mut Vec::new());
        let before = ssd.statistics().dies_busy;
        (0..8).for_each(|lpn| read(&mut ssd, start, lpn, lpn));
        let ended = drain(&mut ssd);
        assert_eq!(ended.iter().map(|d| d.at).max(), Some(start + expected));
        assert_eq!(ssd.statistics().dies_busy - before, expected);
    }
    // Where the channel is slower than the array, transfers follow each other.
    let slow = simtime::Bandwidth::from_bytes_per_s(40_960_000);
    let config = Config { cache_reads: true, channel_bandwidth: slow, ..one_die() };
    let mut ssd = Ssd::new(&config).unwrap();
    let start = fill(&mut ssd, 8) + us(1000);
    ssd.advance(start, &mut Vec::new());
    (0..8).for_each(|lpn| read(&mut ssd, start, lpn, lpn));
    let last = drain(&mut ssd).iter().map(|d| d.at).max();
    assert_eq!(last, Some(start + READ + us(100) * 8));
}

#[test]
fn commands_occupy_the_channel_before_their_operations() {
    let command = Duration::from_ns(300);
    let config = Config { bus_command_time: command, ..config() };
    let mut ssd = Ssd::new(&config).unwrap();
    // Pages 0 and 4 are on two planes of a die, 0 and 2 on two dies of a channel.
    let mut now = fill(&mut ssd, 16) + us(1000);
    let alone = command + READ + TRANSFER;
    for (pages, expected) in [
        (&[0][..], alone),
        // The second die's command waits for the first one's, its page for the first one's page.
        (&[0, 2], alone + TRANSFER),
        (&[0, 4], command * 2 + READ + TRANSFER * 2),
    ] {
        now += us(1000);
        pages.iter().for_each(|lpn| read(&mut ssd, now, *lpn, *lpn));
        assert_eq!(drain(&mut ssd).last().unwrap().at, now + expected, "{pages:?}");
    }
    let mut ssd = Ssd::new(&config).unwrap();
    assert_eq!(fill(&mut ssd, 1), Instant::ZERO + command + TRANSFER + PROGRAM);
}

#[test]
fn some_reads_fail_if_the_configuration_has_it_so() {
    let mut ssd = Ssd::new(&Config { read_errors_ppm: 100_000, ..config() }).unwrap();
    let start = fill(&mut ssd, 16) + us(1000);
    (0..10_000).for_each(|n| read(&mut ssd, start, n % 16, n));
    let failed = drain(&mut ssd).iter().filter(|done| done.result.is_err()).count();
    assert!((900..1100).contains(&failed), "{failed}");
    assert_eq!(ssd.statistics().media_errors, failed as u64);
}

#[test]
fn cached_reads_keep_their_order_with_what_is_no_read() {
    let mut ssd = Ssd::new(&Config { cache_reads: true, ..one_die() }).unwrap();
    let start = fill(&mut ssd, 4) + us(1000);
    ssd.advance(start, &mut Vec::new());
    read(&mut ssd, start, 0, 1);
    write(&mut ssd, start, 9, 2);
    read(&mut ssd, start, 1, 3);
    let ended = drain(&mut ssd);
    let first = start + READ + TRANSFER;
    assert_eq!(at(&ended, 1), first);
    assert_eq!(at(&ended, 2), first + TRANSFER + PROGRAM);
    assert_eq!(at(&ended, 3), first + TRANSFER + PROGRAM + READ + TRANSFER);
}

#[test]
fn reads_go_first_but_not_for_ever() {
    let mut ssd = Ssd::new(&Config { die_order: DieOrder::ReadsFirst, ..one_die() }).unwrap();
    let start = fill(&mut ssd, 4) + us(1000);
    ssd.advance(start, &mut Vec::new());
    // Three programs wait; the first has begun when the read comes.
    (10..13).for_each(|lpn| write(&mut ssd, start, lpn, lpn));
    let now = start + us(1);
    ssd.advance(now, &mut Vec::new());
    read(&mut ssd, now, 0, 1);
    let ended = drain(&mut ssd);
    let first = start + TRANSFER + PROGRAM;
    assert_eq!((at(&ended, 10), at(&ended, 1)), (first, first + READ + TRANSFER));
    assert_eq!(at(&ended, 11), first + READ + TRANSFER + TRANSFER + PROGRAM);
    // A thousand reads: the write among them ends long before the last.
    let now = ssd.now() + us(1000);
    ssd.advance(now, &mut Vec::new());
    (0..1000).for_each(|n| read(&mut ssd, now, n % 4, 100 + n));
    write(&mut ssd, now, 20, 2000);
    let ended = drain(&mut ssd);
    let waited = at(&ended, 2000).since(now);
    assert_eq!(waited, (READ + TRANSFER) * 64 + TRANSFER + PROGRAM);
}

#[test]
fn a_program_stops_for_a_read_and_goes_on_after_it() {
    let stop = us(10);
    let suspended = Config {
        suspend: Suspend::ProgramsAndErases,
        suspend_time: stop,
        suspend_max: 2,
        ..one_die()
    };
    let mut ssd = Ssd::new(&suspended).unwrap();
    ssd.set_recording(true);
    let start = fill(&mut ssd, 4) + us(1000);
    ssd.advance(start, &mut Vec::new());
    ssd.records().unwrap().clear();
    let busy = ssd.statistics().dies_busy;
    write(&mut ssd, start, 9, 1);
    // While its data is still on the channel it cannot stop: it does when that is there.
    let early = start + Duration::from_ns(100);
    ssd.advance(early, &mut Vec::new());
    read(&mut ssd, early, 0, 2);
    let mut ended = Vec::new();
    let loaded = start + TRANSFER;
    let first = loaded + stop + READ + TRANSFER;
    ssd.advance(first, &mut ended);
    assert_eq!(at(&ended, 2), first);
    // Again, 50 us later; a third time it does not.
    let again = first + us(50);
    ssd.advance(again, &mut ended);
    read(&mut ssd, again, 1, 3);
    let second = again + stop + READ + TRANSFER;
    ssd.advance(second + us(1), &mut ended);
    assert_eq!(at(&ended, 3), second);
    read(&mut ssd, second + us(1), 2, 4);
    ended.extend(drain(&mut ssd));
    let programmed = second + us(150);
    assert_eq!(at(&ended, 1), programmed);
    assert_eq!(at(&ended, 4), programmed + READ + TRANSFER);
    // Records: the die did one thing after the other, and the parts of the program are its time and the stops.
    let records = std::mem::take(ssd.records().unwrap());
    assert!(records.is_sorted_by(|a, b| a.end_ns <= b.start_ns), "{records:?}");
    let programs: Vec<_> = records.iter().filter(|r| r.operation == 1).collect();
    assert_eq!(programs.iter().map(|r| r.is_resumed).collect::<Vec<_>>(), [0, 1, 1]);
    let took: u64 = programs.iter().map(|r| r.end_ns - r.start_ns).sum();
    assert_eq!(took, (TRANSFER + PROGRAM + stop * 2).as_ns());
    let all: u64 = records.iter().map(|r| r.end_ns - r.start_ns).sum();
    assert_eq!((ssd.statistics().dies_busy - busy).as_ns(), all);
    ssd.check();
}

#[test]
fn erases_stop_alone_if_only_they_may() {
    for (suspend, waits) in [(Suspend::Nothing, true), (Suspend::Erases, false)] {
        let config = Config {
            suspend,
            die_order: DieOrder::ReadsFirst,
            overprovisioning_permille: 300,
            erase_time: ERASE,
            ..one_plane()
        };
        let mut ssd = Ssd::new(&config).unwrap();
        ssd.set_recording(true);
        let mut now = fill(&mut ssd, 64);
        // Until something is erased.
        let (mut prng, mut ended) = (Prng::new(3), Vec::new());
        let mut longest = Duration::ZERO;
        for id in 0..3000 {
            now += us(150);
            ssd.advance(now, &mut ended);
            if id % 3 == 0 {
                write(&mut ssd, now, prng.below(64), 10_000 + id);
            } else {
                read(&mut ssd, now, prng.below(64), id);
            }
        }
        ended.extend(drain(&mut ssd));
        let began = |id: u64| now.as_ns() - (3000 - 1 - id) * 150_000;
        for finished in ended.iter().filter(|d| d.id.0 < 3000) {
            let took = Duration::from_ns(finished.at.as_ns().saturating_sub(began(finished.id.0)));
            longest = longest.max(took);
        }
        assert!(ssd.statistics().erases > 10);
        assert_eq!(longest > us(1000), waits, "{suspend:?}: {longest:?}");
    }
}

/// The slowest but one of a hundred reads beside random writes on a full drive that collects garbage.
fn slow_read(config: &Config) -> (Duration, f64) {
    let mut ssd = Ssd::new(config).unwrap();
    let pages = ssd.geometry().logical_pages;
    let (mut prng, mut now, mut ended) = (Prng::new(7), Instant::ZERO, Vec::new());
    let mut began = Vec::new();
    let mut next = 0;
    let mut outstanding = 0u64;
    while began.len() < 4000 {
        // Writes as many as the drive takes, and a read every 200 us.
        while outstanding < 512 {
            ssd.write(now, RequestId(u64::MAX - next), page(prng.below(pages)), false, None);
            (next, outstanding) = (next + 1, outstanding + 1);
        }
        if next > 6 * pages {
            read(&mut ssd, now, prng.below(pages), began.len() as u64);
            began.push(now);
        }
        now += us(200);
        let before = ended.len();
        ssd.advance(now, &mut ended);
        outstanding -= ended[before..].iter().filter(|d| d.id.0 > u64::MAX / 2).count() as u64;
        ended.retain(|d| d.id.0 <= u64::MAX / 2);
    }
    ended.extend(drain(&mut ssd).into_iter().filter(|d| d.id.0 <= u64::MAX / 2));
    let mut took: Vec<Duration> =
        ended.iter().map(|d| d.at.since(began[d.id.0 as usize])).collect();
    took.sort_unstable();
    (took[took.len() * 99 / 100], ssd.statistics().write_amplification())
}

#[test]
fn suspension_makes_slow_reads_beside_collection_fifty_times_as_fast() {
    let (read_time, program_time, erase_time) = CellType::Tlc.times();
    let base = Config {
        capacity_bytes: 32 << 20,
        keep_data: false,
        filled_permille: 1000,
        overprovisioning_permille: 150,
        write_buffer_bytes: 1 << 20,
        read_time,
        program_time,
        erase_time,
        ..config()
    };
    let (without, _) = slow_read(&base);
    let with = Config { suspend: Suspend::ProgramsAndErases, suspend_max: 1000, ..base };
    let (with, amplification) = slow_read(&with);
    assert!(amplification > 1.5, "collection was under way: {amplification}");
    assert!(with * 50 <= without, "p99 {with:?} with suspension, {without:?} without");
    // Reads that go first and wait for what has begun are in between.
    let (first, _) = slow_read(&Config { die_order: DieOrder::ReadsFirst, ..base });
    assert!(first < without && with < first);
}

/// Bytes programmed per byte written, of random writes over a full drive.
fn amplification(victim_policy: VictimPolicyKind, hot: bool) -> f64 {
    let config = Config {
        capacity_bytes: 32 << 20,
        keep_data: false,
        filled_permille: 1000,
        overprovisioning_permille: 250,
        victim_policy,
        ..config()
    };
    let mut ssd = Ssd::new(&config).unwrap();
    let pages = ssd.geometry().logical_pages;
    let (mut prng, mut ended) = (Prng::new(11), Vec::new());
    let mut before = ssd.statistics();
    for n in 0..16 * pages {
        if n == 8 * pages {
            before = ssd.statistics();
        }
        // Nine of ten writes go to a tenth of the pages.
        let lpn =
            if hot && prng.below(10) > 0 { prng.below(pages / 10) } else { prng.below(pages) };
        ssd.write(ssd.now(), RequestId(n), page(lpn), false, None);
        while ssd.backlog() > 256 {
            let at = ssd.next_event().unwrap();
            ssd.advance(at, &mut ended);
        }
        ended.clear();
    }
    let after = ssd.statistics();
    let of = |s: &ssd::Statistics| s.flash_programs + s.gc_programs;
    (of(&after) - of(&before)) as f64 / (8 * pages) as f64
}

#[test]
fn policies_move_as_many_pages_as_the_literature_says() {
    let uniform = |kind| amplification(kind, false);
    let greedy = uniform(VictimPolicyKind::Greedy);
    let near = |value: f64| (value / greedy - 1.0).abs() < 0.05;
    // With uniform writes the oldest block is nearly the emptiest; a block drawn by chance is not, and the best of four is in between.
    assert!(near(uniform(VictimPolicyKind::WindowedGreedy)), "windowed");
    let (fifo, choices) = (uniform(VictimPolicyKind::Fifo), uniform(VictimPolicyKind::DChoices));
    let random = uniform(VictimPolicyKind::Random);
    assert!(greedy <= fifo * 1.01 && fifo < random, "greedy {greedy} fifo {fifo} random {random}");
    assert!(greedy < choices && choices < random, "greedy {greedy} d {choices} random {random}");
    // With hot and cold pages age is worth something: cost-benefit moves fewer pages than greedy.
    let (age, gain) = (
        amplification(VictimPolicyKind::CostBenefit, true),
        amplification(VictimPolicyKind::Greedy, true),
    );
    assert!(age < gain, "cost-benefit {age}, greedy {gain}");
}

#[test]
fn cached_programs_take_the_data_of_the_next_one_meanwhile() {
    let slow = simtime::Bandwidth::from_bytes_per_s(40_960_000); // 100 us a page
    let program = |cache_programs, program_time: Duration, bandwidth| {
        let channel_bandwidth = bandwidth;
        let program_time = program_time.into();
        let config = Config { cache_programs, program_time, channel_bandwidth, ..one_die() };
        let mut ssd = Ssd::new(&config).unwrap();
        let end = fill(&mut ssd, 8);
        ssd.check();
        (end.since(Instant::ZERO), ssd.statistics().dies_busy)
    };
    let fast = Config::default().channel_bandwidth;
    let plain = (TRANSFER + PROGRAM) * 8;
    assert_eq!(program(false, PROGRAM, fast), (plain, plain));
    let cached = TRANSFER + PROGRAM * 8;
    assert_eq!(program(true, PROGRAM, fast), (cached, cached));
    // Where the channel is slower than the array, loads follow each other.
    assert_eq!(program(true, us(50), slow).0, us(8 * 100 + 50));
    assert_eq!(program(false, us(50), slow).0, us(8 * 150));
    // Reads between them have their turn in the order in which they came.
    let mut ssd = Ssd::new(&Config { cache_programs: true, ..one_die() }).unwrap();
    let start = fill(&mut ssd, 2) + us(1000);
    ssd.advance(start, &mut Vec::new());
    write(&mut ssd, start, 10, 1);
    read(&mut ssd, start, 0, 2);
    write(&mut ssd, start, 11, 3);
    let ended = drain(&mut ssd);
    assert_eq!(at(&ended, 1), start + TRANSFER + PROGRAM);
    assert_eq!(at(&ended, 2), start + TRANSFER + PROGRAM + READ + TRANSFER);
    assert_eq!(at(&ended, 3), start + (TRANSFER + PROGRAM) * 2 + READ + TRANSFER);
}

#[test]
fn reads_that_go_first_go_before_what_is_in_the_cache_register() {
    let config = Config {
        cache_programs: true,
        suspend: Suspend::ProgramsAndErases,
        suspend_time: us(5),
        program_time: us(2000).into(),
        ..one_die()
    };
    let mut ssd = Ssd::new(&config).unwrap();
    let start = fill(&mut ssd, 2) + us(10_000);
    ssd.advance(start, &mut Vec::new());
    (10..14).for_each(|lpn| write(&mut ssd, start, lpn, lpn));
    // It stops the first, though the second is loaded; one that comes near its end waits for that alone.
    let first = start + us(100);
    ssd.advance(first, &mut Vec::new());
    read(&mut ssd, first, 0, 1);
    let end = start + TRANSFER + us(2000) + us(5) + READ + TRANSFER;
    let second = Instant::from_ns(end.as_ns() - 3_000);
    let mut done = Vec::new();
    ssd.advance(second, &mut done);
    read(&mut ssd, second, 1, 2);
    done.extend(drain(&mut ssd));
    assert_eq!(at(&done, 1), first + us(5) + READ + TRANSFER);
    assert!(at(&done, 2) <= end + READ + TRANSFER, "{:?}", at(&done, 2).since(second));
}

#[test]
fn commands_of_cached_programs_cross_the_channel() {
    let bus_command_time = us(100);
    let program_time = us(20).into();
    let config = Config { cache_programs: true, bus_command_time, program_time, ..one_die() };
    let mut ssd = Ssd::new(&config).unwrap();
    let end = fill(&mut ssd, 8).since(Instant::ZERO);
    assert_eq!(end, (bus_command_time + TRANSFER) * 8 + us(20));
}

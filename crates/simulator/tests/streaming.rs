//! Streaming executions: the same result as a direct one, in the time of the slowest stage.

use client::commands;
use client::{DriveError, Invocation, ProgramImage, RunTime, Streaming};
use controller::Config;
use nvme_spec::Status;
use simtime::{Bandwidth, Duration};
use simulator::Session;

const HISTOGRAM: &[u8] = include_bytes!("../../../examples/programs/histogram.bpf.o");
const GREP_COUNT: &[u8] = include_bytes!("../../../examples/programs/grep-count.bpf.o");
const GREP_LINES: &[u8] = include_bytes!("../../../examples/programs/grep-lines.bpf.o");
const SELECT_BLOCKS: &[u8] = include_bytes!("../../../examples/programs/select-blocks.bpf.o");
const DOUBLE: &[u8] = include_bytes!("../../../examples/programs/double.bpf.o");

const BLOCK: u64 = 4096;

fn config() -> Config {
    let mut config = Config { memory_bytes: 8 << 20, ..Config::default() };
    config.flash.capacity_bytes = 256 << 20;
    config
}

fn open(config: Config) -> Session {
    simulator::open(config, 0, 64).expect("a sound configuration")
}

/// A range set of so many slots, each with an output and a chunk of these sizes.
fn slots(session: &mut Session, slots: u64, output: u32, chunk: u32) -> u16 {
    let of_slot = u64::from(output.next_multiple_of(4096) + chunk.next_multiple_of(4096));
    let ranges: Vec<(u64, u32)> = (0..slots)
        .flat_map(|n| {
            let start = n * of_slot;
            [(start, output), (start + u64::from(output.next_multiple_of(4096)), chunk)]
        })
        .collect();
    session.create_range_set(&ranges).unwrap()
}

/// So many blocks, divided among slots.
fn divided(blocks: u64, slots: u64) -> Vec<Vec<(u64, u64)>> {
    let each = blocks.div_ceil(slots);
    let of = |n: u64| (n * each, blocks.saturating_sub(n * each).min(each));
    (0..slots).map(|n| vec![of(n)].into_iter().filter(|(_, count)| *count > 0).collect()).collect()
}

/// Lines of text in whole blocks, so that no line crosses one.
fn text(blocks: u64) -> Vec<u8> {
    let mut text = Vec::new();
    for n in 0..blocks * BLOCK / 64 {
        let word = if n % 3 == 0 { "needle" } else { "straw" };
        text.extend(format!("{n:>40} {word:<22}\n").bytes());
    }
    assert_eq!(text.len() as u64, blocks * BLOCK);
    text
}

#[test]
fn a_file_larger_than_device_memory_gives_what_a_direct_run_gives() {
    let blocks = 6000; // 24 MB through 8 MiB of device memory
    let text = text(blocks);
    let needles = text.chunks(64).filter(|line| line.windows(6).any(|w| w == b"needle")).count();
    for (in_flight, chunk_blocks) in [(1, 1), (1, 7), (3, 100), (4, 256), (8, 64)] {
        let mut session = open(config());
        session.write_blocks(0, &text).unwrap();
        session.load_program(0, GREP_COUNT).unwrap();
        let chunk = (chunk_blocks * BLOCK) as u32;
        let set = slots(&mut session, in_flight, 4096, chunk);
        let invocation =
            Invocation { range_set: set, data: b"needle".to_vec(), ..Invocation::default() };
        let streaming = Streaming {
            invocation,
            chunk_blocks: chunk_blocks as u32,
            inputs: divided(blocks, in_flight),
            outputs: None,
            ..Streaming::default()
        };
        let result = session.execute_stream(&streaming).unwrap();
        assert_eq!(result, needles as u64, "{in_flight} x {chunk_blocks}");
        // Everything is free again.
        session.delete_range_set(set).unwrap();
        session.remove_program(0).unwrap();
    }
}

#[test]
fn what_programs_produce_is_written_back() {
    // Blocks with a number in each; those from 100 to 299 are kept.
    let key = |n: u64| (n * 7919) % 1000;
    let blocks: Vec<u8> = (0..600u64)
        .flat_map(|n| [key(n).to_le_bytes().to_vec(), vec![n as u8; BLOCK as usize - 8]].concat())
        .collect();
    for (slot_count, chunk_blocks) in [(1, 1), (2, 16), (3, 7), (4, 64)] {
        let mut session = open(config());
        session.write_blocks(0, &blocks).unwrap();
        session.load_program(0, SELECT_BLOCKS).unwrap();
        let chunk = (chunk_blocks * BLOCK) as u32;
        let set = slots(&mut session, slot_count, chunk, chunk);
        let invocation =
            Invocation { range_set: set, param1: 100, param2: 299, ..Invocation::default() };
        let inputs = divided(600, slot_count);
        // Room for all of them, in two extents, for each slot.
        let outputs = (0..slot_count).map(|n| vec![(1000 + 2000 * n, 5), (1500 + 2000 * n, 595)]);
        let outputs: Vec<Vec<(u64, u64)>> = outputs.collect();
        let streaming = Streaming {
            invocation,
            chunk_blocks: chunk_blocks as u32,
            inputs: inputs.clone(),
            outputs: Some(outputs.clone()),
            ..Streaming::default()
        };
        let kept = session.execute_stream(&streaming).unwrap();
        let mut expected = 0;
        for (input, output) in inputs.iter().zip(&outputs) {
            let (first, count) = input[0];
            let of_slot: Vec<u64> =
                (first..first + count).filter(|n| (100..300).contains(&key(*n))).collect();
            let mut places = output.iter().flat_map(|(first, count)| *first..first + count);
            for n in &of_slot {
                let place = places.next().unwrap();
                let block = session.read_blocks(place, 1).unwrap();
                let at = (n * BLOCK) as usize;
                assert!(block == blocks[at..at + BLOCK as usize], "block {n} at {place}");
            }
            // What was not produced is not written.
            let rest = session.read_blocks(places.next().unwrap(), 1).unwrap();
            assert!(rest.iter().all(|byte| *byte == 0));
            expected += of_slot.len() as u64;
        }
        assert_eq!(kept, expected, "{slot_count} x {chunk_blocks}");
    }
}

#[test]
fn a_program_that_produces_too_much_ends_the_command_and_says_where() {
    let mut session = open(config());
    let numbers: Vec<u8> = (0..64 * 1024u32).flat_map(u32::to_le_bytes).collect();
    session.write_blocks(0, &numbers).unwrap();
    session.load_program(0, DOUBLE).unwrap();
    let set = slots(&mut session, 2, 4096, 4096);
    let invocation = Invocation { range_set: set, ..Invocation::default() };
    // `double` returns 1024 of a block's numbers: more blocks than its output range holds.
    let streaming = Streaming {
        invocation,
        chunk_blocks: 1,
        inputs: divided(64, 2),
        outputs: Some(vec![vec![(1000, 32)], vec![(2000, 32)]]),
        ..Streaming::default()
    };
    let error = session.execute_stream(&streaming).unwrap_err();
    let DriveError::Failed(failed) = error else { panic!("{error}") };
    assert!(failed.status.same_code(Status::CAPACITY_EXCEEDED), "{failed}");
    assert!(failed.detail.unwrap().contains("running the program"), "it says where");
    assert_eq!(session.transport.driver.port.drive.statistics().commands_in_flight, 0);
}

#[test]
fn the_slowest_stage_is_the_throughput() {
    for (in_flight, chunk_blocks, run_us) in [
        (1u64, 64u64, 100u64),
        (2, 64, 100),
        (4, 64, 100),
        (4, 64, 2000),
        (8, 32, 50),
        (4, 16, 400),
    ] {
        let mut config = config();
        config.compute.units = 1;
        config.command_time = Duration::ZERO;
        config.flash.keep_data = false;
        config.flash.planes_per_die = 1;
        config.flash.channel_bandwidth = Bandwidth::from_bytes_per_s(0);
        config.flash.unwritten_reads = ssd::UnwrittenReads::Flash;
        config.internal_link.bandwidth = Bandwidth::from_bytes_per_s(0);
        let flash = config.flash.clone();
        let mut session = open(config);
        session.load_program(0, HISTOGRAM).unwrap();
        let chunk = chunk_blocks * BLOCK;
        let set = slots(&mut session, in_flight, 4096, chunk as u32);
        let run = Duration::from_us(run_us);
        let invocation = Invocation {
            range_set: set,
            run_time: RunTime::Declared(run.as_ns() as u32),
            ..Invocation::default()
        };
        let chunks = 512;
        let streaming = Streaming {
            invocation,
            chunk_blocks: chunk_blocks as u32,
            inputs: divided(chunks * chunk_blocks, in_flight),
            outputs: None,
            ..Streaming::default()
        };
        let start = session.transport.driver.port.now();
        session.execute_stream(&streaming).unwrap();
        let took = session.transport.driver.port.now().since(start).as_ns() as f64;
        // A chunk alone: its pages on all dies, then the run.
        let dies = f64::from(flash.channels * flash.dies_per_channel);
        let page = flash.page_bytes as f64;
        let rounds = (chunk as f64 / page / dies).ceil();
        let read = rounds * flash.read_time.mean().as_ns() as f64;
        let least = chunk as f64 / page / dies * flash.read_time.mean().as_ns() as f64;
        let (run, n) = (run.as_ns() as f64, in_flight as f64);
        // The pipeline's law: the slowest of the unit, the flash, and the chunks in flight.
        let law = chunks as f64 * run.max(least).max((run + read) / n);
        let ratio = took / law;
        assert!(
            (0.95..1.05).contains(&ratio),
            "{in_flight} x {chunk_blocks}, {run_us} us: {ratio}"
        );
    }
}

/// With a stage more: every block that was read is written back, over the same link.
#[test]
fn the_link_that_carries_input_and_output_is_a_stage() {
    for (in_flight, chunk_blocks, run_us) in
        [(1u64, 64u64, 100u64), (2, 64, 100), (8, 32, 50), (8, 32, 600)]
    {
        let mut config = config();
        config.compute.units = 1;
        config.command_time = Duration::ZERO;
        config.flash.read_time = Duration::from_us(1).into();
        config.flash.program_time = Duration::from_us(10).into();
        config.flash.channel_bandwidth = Bandwidth::from_bytes_per_s(0);
        config.internal_link.bandwidth = Bandwidth::from_bytes_per_s(1_000_000_000);
        config.internal_link.latency = Duration::ZERO;
        let mut session = open(config);
        session.load_program(0, SELECT_BLOCKS).unwrap();
        let (chunks, chunk) = (256, chunk_blocks * BLOCK);
        let blocks = chunks * chunk_blocks;
        session.write_blocks(0, &text(blocks)).unwrap();
        session.flush().unwrap();
        let run = Duration::from_us(run_us);
        let invocation = Invocation {
            range_set: slots(&mut session, in_flight, chunk as u32, chunk as u32),
            // All blocks.
            param2: i64::MAX,
            run_time: RunTime::Declared(run.as_ns() as u32),
            ..Invocation::default()
        };
        let outputs = divided(blocks, in_flight).into_iter();
        let streaming = Streaming {
            invocation,
            chunk_blocks: chunk_blocks as u32,
            inputs: divided(blocks, in_flight),
            outputs: Some(
                outputs.map(|e| e.into_iter().map(|(at, n)| (at + blocks, n)).collect()).collect(),
            ),
            ..Streaming::default()
        };
        let start = session.transport.driver.port.now();
        let written = session.execute_stream(&streaming).unwrap();
        assert_eq!(written, blocks, "blocks that were produced");
        let took = session.transport.driver.port.now().since(start).as_ns() as f64;
        // A nanosecond a byte, in and out; what is read arrives while more is read.
        let (link, run, n) = (chunk as f64, run.as_ns() as f64, in_flight as f64);
        let law = chunks as f64 * run.max(2.0 * link).max((2.0 * link + run) / n);
        let ratio = took / law;
        assert!(
            (0.95..1.05).contains(&ratio),
            "{in_flight} x {chunk_blocks}, {run_us} us: {ratio}"
        );
    }
}

/// Lines of any length up to a block, in whole blocks and a bit.
fn ragged_text(bytes: usize) -> Vec<u8> {
    let mut random = simtime::Prng::new(7);
    let mut text = Vec::new();
    while text.len() < bytes {
        let word: &[u8] = if random.below(3) == 0 { b"needle" } else { b"straw" };
        let fill = random.below(BLOCK - 8);
        let before = random.below(fill + 1);
        text.extend(vec![b'.'; before as usize]);
        text.extend(word);
        text.extend(vec![b'.'; (fill - before) as usize]);
        text.push(b'\n');
    }
    text.truncate(bytes);
    text
}

#[test]
fn lines_that_cross_chunks_are_whole() {
    // The last line ends within a block, or is cut within the word.
    for bytes in [1_000_000, 1_000_001, 64 * BLOCK as usize, 4097, 1] {
        let text = ragged_text(bytes);
        let lines = text.split(|byte| *byte == b'\n');
        let needles = lines.filter(|line| line.windows(6).any(|w| w == b"needle")).count();
        let blocks = (bytes as u64).div_ceil(BLOCK);
        for (in_flight, chunk_blocks, early) in
            [(1, 1, false), (1, 7, true), (3, 5, false), (4, 16, true), (2, 300, false)]
        {
            let mut session = open(config());
            let mut whole = text.clone();
            // What is behind the input in its last block is not seen.
            whole.resize((blocks * BLOCK) as usize, b'#');
            session.write_blocks(0, &whole).unwrap();
            session.load_program(0, GREP_LINES).unwrap();
            let chunk = ((chunk_blocks + 1) * BLOCK) as u32;
            let set = slots(&mut session, in_flight, 4096, chunk);
            let invocation =
                Invocation { range_set: set, data: b"needle".to_vec(), ..Invocation::default() };
            let streaming = Streaming {
                early,
                overlap: Some(1),
                cut: (blocks * BLOCK - bytes as u64) as u32,
                ..Streaming::divided(invocation, (0, blocks), chunk_blocks as u32, in_flight)
            };
            let result = session.execute_stream(&streaming).unwrap();
            assert_eq!(result, needles as u64, "{bytes} bytes, {in_flight} x {chunk_blocks}");
        }
    }
}

#[test]
fn what_is_behind_the_input_in_its_last_block_is_not_seen() {
    let mut session = open(config());
    session.write_blocks(0, &vec![0; 3 * BLOCK as usize]).unwrap();
    session.load_program(0, HISTOGRAM).unwrap();
    let set = slots(&mut session, 1, 4096, 2 * BLOCK as u32);
    let invocation = Invocation { range_set: set, ..Invocation::default() };
    let streaming = Streaming { cut: 1000, ..Streaming::divided(invocation, (0, 3), 2, 1) };
    session.execute_stream(&streaming).unwrap();
    // The output of the last chunk: how often each byte is there.
    let counts = session.read_memory(0, 8).unwrap();
    assert_eq!(u64::from_le_bytes(counts.try_into().unwrap()), BLOCK - 1000);
}

/// A run that begins on the first pages of its chunk ends sooner by what the formula says.
#[test]
fn the_gain_of_an_early_run_is_that_of_the_formula() {
    for (pages, dies, run_us) in [
        (1, 4, 100),
        (64, 4, 10),
        (64, 4, 100),
        (64, 4, 700),
        (64, 4, 5000),
        (13, 8, 90),
        (256, 1, 999),
    ] {
        for declares in [true, false] {
            let read = Duration::from_us(60);
            let took = |early: bool| {
                let mut config = config();
                config.compute.units = 1;
                config.command_time = Duration::ZERO;
                config.flash.channels = dies;
                config.flash.dies_per_channel = 1;
                config.flash.planes_per_die = 1;
                config.flash.keep_data = declares;
                config.flash.channel_bandwidth = Bandwidth::from_bytes_per_s(0);
                config.flash.read_time = read.into();
                config.flash.unwritten_reads = ssd::UnwrittenReads::Flash;
                config.internal_link.bandwidth = Bandwidth::from_bytes_per_s(0);
                config.internal_link.latency = Duration::ZERO;
                let mut session = open(config);
                // A program that runs, and one that only takes its time.
                match declares {
                    true => session.load_program(0, HISTOGRAM).unwrap(),
                    false => {
                        let image = ProgramImage::Declared((run_us * 1000u64).to_le_bytes());
                        let options = client::LoadOptions::default();
                        session.download_program_with(0, image, options).unwrap();
                        session.activate_program(0, true).unwrap();
                    }
                }
                let set = slots(&mut session, 1, 4096, (pages * BLOCK) as u32);
                let run_time = match declares {
                    true => RunTime::Declared(run_us as u32 * 1000),
                    false => RunTime::Unsaid,
                };
                let invocation = Invocation { range_set: set, run_time, ..Invocation::default() };
                let streaming = Streaming {
                    early,
                    ..Streaming::divided(invocation, (0, pages), pages as u32, 1)
                };
                let start = session.transport.driver.port.now();
                session.execute_stream(&streaming).unwrap();
                session.transport.driver.port.now().since(start).as_ns()
            };
            // Page i is read in round i / dies, and needed when the run has come to it.
            let (read, run) = (read.as_ns(), run_us * 1000);
            let arrival = |i: u64| (i / u64::from(dies) + 1) * read;
            let rest = |i: u64| (run * (pages - i)).div_ceil(pages);
            let early = (0..pages).map(|i| arrival(i) + rest(i)).max().unwrap();
            let gain = arrival(pages - 1) + run - early;
            assert_eq!(took(false) - took(true), gain, "{pages} pages, {dies} dies, {run_us} us");
        }
    }
}

/// A group's limits look at jobs as a whole: their runs begin when all of their input is there, and nothing is late.
#[test]
fn early_runs_of_a_limited_group_wait_for_their_input() {
    let took = |early, bandwidth_kbps| {
        let mut session = open(config());
        session.write_blocks(0, &text(256)).unwrap();
        session.load_program(0, GREP_COUNT).unwrap();
        let options = client::GroupOptions { bandwidth_kbps, ..client::GroupOptions::default() };
        let group = session.create_group(&options).unwrap();
        let set = slots(&mut session, 2, 4096, 65536);
        let invocation =
            Invocation { range_set: set, data: b"needle".to_vec(), group, ..Invocation::default() };
        let streaming = Streaming { early, ..Streaming::divided(invocation, (0, 256), 16, 2) };
        session.execute_stream(&streaming).unwrap();
        let drive = &session.transport.driver.port.drive;
        assert_eq!(drive.lateness().late, 0);
        session.transport.driver.port.now().as_ns()
    };
    assert_eq!(took(true, 100_000_000), took(false, 100_000_000));
    assert!(took(true, 0) < took(false, 0));
}

/// One block many times is one page for each time.
#[test]
fn a_block_that_is_read_again_and_again_costs_no_more_than_others() {
    let mut session = open(config());
    session.write_blocks(0, &text(64)).unwrap();
    session.load_program(0, GREP_COUNT).unwrap();
    let set = slots(&mut session, 1, 4096, 4 << 20);
    let invocation =
        Invocation { range_set: set, data: b"needle".to_vec(), ..Invocation::default() };
    let once = Streaming { early: true, ..Streaming::divided(invocation.clone(), (3, 1), 1000, 1) };
    let found = session.execute_stream(&once).unwrap();
    let extents = vec![(3, 1); 1000];
    let many =
        Streaming { early: true, ..Streaming::divided_extents(invocation, &extents, 1000, 1) };
    assert_eq!(session.execute_stream(&many).unwrap(), 1000 * found);
}

#[test]
fn what_is_no_stream_is_refused() {
    let mut session = open(config());
    session.load_program(0, GREP_COUNT).unwrap();
    let set = slots(&mut session, 2, 4096, 8192);
    let good = Streaming {
        invocation: Invocation { range_set: set, ..Invocation::default() },
        chunk_blocks: 2,
        inputs: divided(8, 2),
        outputs: None,
        ..Streaming::default()
    };
    session.execute_stream(&good).unwrap();
    let mut status = |change: &dyn Fn(&mut Streaming)| {
        let mut streaming = good.clone();
        change(&mut streaming);
        match session.execute_stream(&streaming).unwrap_err() {
            DriveError::Failed(failed) => failed.status,
            other => panic!("{other}"),
        }
    };
    for (expected, change) in [
        (
            Status::INVALID_FIELD,
            &(|s: &mut Streaming| s.chunk_blocks = 3) as &dyn Fn(&mut Streaming),
        ),
        (Status::COMMAND_SIZE_LIMIT_EXCEEDED, &|s| s.chunk_blocks = 0),
        (Status::COMMAND_SIZE_LIMIT_EXCEEDED, &|s| s.chunk_blocks = u32::MAX),
        (Status::INVALID_MEMORY_RANGE_SET_ID, &|s| s.invocation.range_set = 0),
        (Status::INVALID_MEMORY_RANGE_SET_ID, &|s| s.invocation.range_set = 99),
        (Status::INVALID_FIELD, &|s| s.inputs = Vec::new()),
        (Status::INVALID_FIELD, &|s| s.inputs = vec![Vec::new(), Vec::new()]),
        (Status::INVALID_MEMORY_RANGE_SET, &|s| s.inputs = divided(9, 3)),
        (Status::INVALID_FIELD, &|s| s.inputs = vec![vec![(0, 1)]; 65]),
        (Status::LBA_OUT_OF_RANGE, &|s| s.inputs = vec![vec![(1 << 40, 4)], Vec::new()]),
        (Status::INVALID_FIELD, &|s| s.outputs = Some(vec![Vec::new(), Vec::new()])),
        (Status::NO_PROGRAM, &|s| s.invocation.program = 5),
        (Status::INVALID_JOB_GROUP, &|s| s.invocation.group = 9),
    ] {
        let got = status(change);
        assert!(got.same_code(expected), "{got} instead of {expected}");
    }
    let text = |session: &mut Session, change: &dyn Fn(&mut Streaming)| {
        let mut streaming = good.clone();
        change(&mut streaming);
        session.execute_stream(&streaming).unwrap_err().to_string()
    };
    for (expected, change) in [
        (
            "2 ranges of a",
            &(|s: &mut Streaming| s.invocation.ranges = vec![(0, 4); 2]) as &dyn Fn(&mut Streaming),
        ),
        ("the drive has", &|s| s.inputs = vec![vec![(u64::MAX, 1)], Vec::new()]),
        ("beyond what", &|s| s.inputs = vec![vec![(0, u64::MAX)], Vec::new()]),
        ("beyond what", &|s| s.outputs = Some(vec![vec![(0, u64::MAX)]; 2])),
    ] {
        let got = text(&mut session, change);
        assert!(got.contains(expected), "{got:?} has no {expected:?}");
    }
    let statistics = session.transport.driver.port.drive.statistics();
    assert_eq!((statistics.commands_in_flight, statistics.flash_backlog), (0, 0));
}

#[test]
fn resets_aborts_and_queue_deletions_leave_nothing() {
    for how in 0..3 {
        let mut session = open(config());
        session.load_program(0, GREP_COUNT).unwrap();
        session.write_blocks(0, &text(512)).unwrap();
        let set = slots(&mut session, 4, 4096, 65536);
        for events in [0, 5, 20, 50, 90, 130, 200, 400, 1000] {
            let streaming = Streaming {
                invocation: Invocation {
                    range_set: set,
                    data: b"needle".to_vec(),
                    ..Invocation::default()
                },
                chunk_blocks: 16,
                inputs: divided(512, 4),
                outputs: None,
                ..Streaming::default()
            };
            let ticket = session.start_stream(&streaming).unwrap();
            session.transport.driver.ring(client::QueueId(1));
            let driver = &mut session.transport.driver;
            let then = driver.port.now() + Duration::from_us(events);
            driver.port.idle_until(then);
            match how {
                0 => {
                    let _ = driver.execute(client::QueueId(0), commands::abort(1, 0));
                    while driver.next_completion().is_some() {}
                }
                1 => {
                    let _ = driver.delete_submission_queue(client::QueueId(1));
                    while driver.next_completion().is_some() {}
                }
                _ => driver.disable(),
            }
            let port = &mut driver.port;
            while port.step() {}
            let statistics = port.drive.statistics();
            assert_eq!(
                (statistics.commands_in_flight, statistics.flash_backlog),
                (0, 0),
                "{how} {events}"
            );
            let _ = ticket;
            session = open(config());
            session.load_program(0, GREP_COUNT).unwrap();
            session.write_blocks(0, &text(512)).unwrap();
            slots(&mut session, 4, 4096, 65536);
        }
    }
}

/// Whatever the data says, whatever happens meanwhile: every command completes, and nothing is left.
#[test]
fn hostile_streams_end() {
    let mut random = simtime::Prng::new(7);
    let (mut session, mut succeeded) = (open(config()), 0);
    for round in 0..1500 {
        if round % 50 == 0 {
            session = open(config());
            session.load_program(0, GREP_COUNT).unwrap();
            session.write_blocks(0, &text(64)).unwrap();
        }
        if session.groups().unwrap().len() == 1 {
            session.create_group(&client::GroupOptions::default()).unwrap();
        }
        let in_flight = 1 + random.below(6);
        let set = slots(&mut session, in_flight, 4096, 16384);
        let some = |random: &mut simtime::Prng, many: u64| -> Vec<(u64, u64)> {
            let extent = |random: &mut simtime::Prng| (random.below(100), 1 + random.below(20));
            (0..random.below(many)).map(|_| extent(random)).collect()
        };
        let lists = |random: &mut simtime::Prng| (0..in_flight).map(|_| some(random, 4)).collect();
        let streaming = Streaming {
            invocation: Invocation {
                range_set: set,
                group: random.below(2) as u8,
                data: vec![b'n'; random.below(9) as usize],
                ..Invocation::default()
            },
            chunk_blocks: 1 + random.below(5) as u32,
            inputs: lists(&mut random),
            outputs: (random.below(3) == 0).then(|| lists(&mut random)),
            early: random.below(2) == 0,
            overlap: (random.below(3) == 0).then(|| random.below(4) as u32),
            cut: random.below(6000) as u32 * u32::from(random.below(4) == 0),
        };
        let ticket = session.start_stream(&streaming).unwrap();
        session.transport.driver.ring(client::QueueId(1));
        let port = &mut session.transport.driver.port;
        let then = port.now() + Duration::from_us(random.below(400));
        port.idle_until(then);
        // Something that takes away what it works with.
        match random.below(8) {
            0 => drop(session.delete_range_set(set)),
            1 => drop(session.remove_program(0)),
            2 => {
                let format = commands::format_nvm(nvme_spec::namespace::NVM_NSID, 1, 0);
                let status = session.transport.driver.execute(client::QueueId(0), format).unwrap();
                assert!(status.status.is_success(), "{}", status.status);
            }
            3 => drop(session.transport.driver.execute(client::QueueId(0), commands::abort(1, 0))),
            4 => drop(session.delete_group(1)),
            _ => {}
        }
        let done = session.wait().unwrap();
        assert_eq!(done.ticket, ticket);
        succeeded += u64::from(done.status.is_success());
        while session.transport.driver.port.step() {}
        let statistics = session.transport.driver.port.drive.statistics();
        assert_eq!(
            (statistics.commands_in_flight, statistics.flash_backlog),
            (0, 0),
            "round {round}"
        );
        let _ = session.delete_range_set(set);
        if session.programs().unwrap().is_empty() {
            session.load_program(0, GREP_COUNT).unwrap();
        }
        session.transport.driver.port.drive.check();
    }
    assert!(succeeded > 200, "{succeeded}");
}

/// A stream that selects all blocks and writes them back, under way for some microseconds.
fn under_way(session: &mut Session, slot_count: u64, us: u64) -> client::Ticket {
    session.load_program(0, SELECT_BLOCKS).unwrap();
    let set = slots(session, slot_count, 65536, 65536);
    let outputs = (0..slot_count).map(|n| vec![(4000 + 1000 * n, 1000)]).collect();
    let streaming = Streaming {
        invocation: Invocation { range_set: set, param2: i64::MAX, ..Invocation::default() },
        chunk_blocks: 16,
        inputs: divided(1024, slot_count),
        outputs: Some(outputs),
        ..Streaming::default()
    };
    let ticket = session.start_stream(&streaming).unwrap();
    let driver = &mut session.transport.driver;
    driver.ring(client::QueueId(1));
    let then = driver.port.now() + Duration::from_us(us);
    driver.port.idle_until(then);
    ticket
}

#[test]
fn a_namespace_that_is_protected_is_not_written_any_more() {
    let mut session = open(config());
    session.write_blocks(0, &vec![0; 1024 * BLOCK as usize]).unwrap();
    let ticket = under_way(&mut session, 1, 1500);
    let protect = commands::set_feature(nvme_spec::fid::WRITE_PROTECTION, 1, 1, false);
    let done = session.transport.driver.execute(client::QueueId(0), protect).unwrap();
    assert!(done.status.is_success(), "{}", done.status);
    let done = session.wait().unwrap();
    assert_eq!(done.ticket, ticket);
    assert!(done.status.same_code(Status::WRITE_PROTECTED), "{}", done.status);
}

#[test]
fn what_is_written_back_is_counted_and_may_be_new_blocks() {
    let mut session = open(config());
    session.write_blocks(0, &vec![0; 1024 * BLOCK as usize]).unwrap();
    let dulbe = commands::set_feature(nvme_spec::fid::ERROR_RECOVERY, 1, 1 << 16, false);
    assert!(
        session.transport.driver.execute(client::QueueId(0), dulbe).unwrap().status.is_success()
    );
    session.transport.driver.port.drive.set_recording(true);
    let written = |session: &mut Session| {
        let log = session.log(nvme_spec::lid::SMART, u32::MAX, 512).unwrap();
        // Thousands of 512 bytes.
        u64::from_le_bytes(log[48..56].try_into().unwrap())
    };
    let before = written(&mut session);
    under_way(&mut session, 4, 0);
    assert!(session.wait().unwrap().status.is_success());
    // 4 MiB.
    assert!((8..=9).contains(&(written(&mut session) - before)));
    let records = session.transport.driver.port.drive.take_records();
    let stream = records.commands.iter().find(|command| command.opcode == 0x81).unwrap();
    assert_eq!(records.jobs.len(), 64);
    assert!(records.jobs.iter().all(|job| job.command == stream.id), "jobs are of their command");
    let sum: u64 = stream.stages().iter().map(|(_, time)| time.as_ns()).sum();
    assert_eq!(sum, stream.completed_ns - stream.fetched_ns);
}

#[test]
fn what_is_written_back_at_once_is_bounded() {
    let mut config = config();
    config.memory_bytes = 512 << 20;
    config.internal_link.bandwidth = Bandwidth::from_bytes_per_s(0);
    let limit = config.flash.write_buffer_bytes + controller::limits::WAITING_WRITES_MAX;
    let mut session = open(config);
    session.write_blocks(0, &vec![0; 64 * BLOCK as usize]).unwrap();
    session.load_program(0, DOUBLE).unwrap();
    // `double` returns 4096 for a chunk of four blocks: each slot writes back 16 MiB.
    let set = slots(&mut session, 16, 16 << 20, 4 * BLOCK as u32);
    let streaming = Streaming {
        invocation: Invocation { range_set: set, ..Invocation::default() },
        chunk_blocks: 4,
        inputs: divided(64, 16),
        outputs: Some(
            (0..8)
                .map(|n| vec![(1000 + 4096 * n, 4096)])
                .chain((8..16).map(|_| Vec::new()))
                .collect(),
        ),
        ..Streaming::default()
    };
    session.start_stream(&streaming).unwrap();
    session.transport.driver.ring(client::QueueId(1));
    let mut most = 0;
    while session.transport.driver.port.drive.statistics().commands_in_flight > 0 {
        let port = &mut session.transport.driver.port;
        let then = port.now() + Duration::from_us(50);
        port.idle_until(then);
        most = most.max(port.drive.statistics().buffered_bytes);
    }
    assert!(most > 1 << 20 && most <= limit, "{most} bytes wait, at most {limit}");
}

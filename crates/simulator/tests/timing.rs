//! The worked examples of `docs/timing.md`: modelled times against arithmetic.

use client::commands::{self, Execute, with_data};
use client::{DmaMemory, Invocation, Port, QueueId};
use controller::{Config, LinkConfig, RunTimeModel};

use nvme_spec::command::{MemoryRangeDescriptor, program_type};
use nvme_spec::{CommandSet, NvmOpcode, SubmissionEntry, offset};
use records::{Records, Stage, Stages};
use simtime::{Bandwidth, Duration, Prng};
use simulator::Session;

const IO: QueueId = QueueId(1);
const DOUBLE: &[u8] = include_bytes!("../../../examples/programs/double.bpf.o");

fn config() -> Config {
    let mut config = Config::default();
    config.flash.capacity_bytes = 256 << 20;
    config
}

fn session(config: Config) -> Session {
    let mut session = simulator::open(config, 0, 256).unwrap();
    session.transport.driver.port.drive.set_recording(true);
    session
}

/// Runs one command with a buffer and returns its time and its stages.
fn timed(session: &mut Session, entry: SubmissionEntry, len: u64) -> (u64, Stages) {
    let buffer = session.transport.driver.port.ram.allocate(len);
    let prps = session.transport.driver.port.ram.prps(&buffer, len);
    let start = session.transport.driver.port.now();
    session.transport.driver.port.drive.take_records();
    let done = session.transport.driver.execute(IO, with_data(entry, prps)).unwrap();
    assert!(done.status.is_success(), "{}", done.status);
    let record = session.transport.driver.port.drive.take_records().commands[0];
    let s = record.stages();
    let sum: u64 = s.iter().map(|(_, time)| time.as_ns()).sum();
    assert_eq!(sum, record.completed_ns - record.fetched_ns, "stages add up to the whole");
    (session.transport.driver.port.now().since(start).as_ns(), s)
}

/// Writes blocks and waits until they are in flash and the drive is idle.
fn precondition(session: &mut Session, bytes: usize) {
    session.write_blocks(0, &vec![7; bytes]).unwrap();
    session.flush().unwrap();
    while session.transport.driver.port.step() {}
}

#[test]
fn read_4k_on_an_idle_drive() {
    let mut session = session(config());
    precondition(&mut session, 4096);
    let (ns, stages) = timed(&mut session, commands::read_write(NvmOpcode::READ, 0, 1), 4096);
    // tR 40 us; 4096 B over a 1.2 GB/s channel; 4096 B over a 3.5 GB/s link; link latency 1 us;
    // firmware 2 us.
    assert_eq!(stages[Stage::FlashRead].as_ns(), 40_000 + 3_414);
    assert_eq!(stages[Stage::Transfer].as_ns(), 1_171 + 1_000);
    assert_eq!(ns, 40_000 + 3_414 + 1_171 + 1_000 + 2_000);
}

#[test]
fn read_of_unwritten_blocks_costs_no_flash_time() {
    let mut session = session(config());
    let (ns, stages) = timed(&mut session, commands::read_write(NvmOpcode::READ, 9, 1), 4096);
    assert!(stages[Stage::FlashRead].is_zero());
    assert_eq!(ns, 1_171 + 1_000 + 2_000);
}

#[test]
fn read_1m_sequential_over_8_channels() {
    let mut config = config();
    // A link that is not the bottleneck shows the flash alone.
    config.host_link =
        LinkConfig { bandwidth: Bandwidth::from_bytes_per_s(0), latency: Duration::ZERO };
    let mut session = session(config);
    precondition(&mut session, 1 << 20);
    let (ns, _) = timed(&mut session, commands::read_write(NvmOpcode::READ, 0, 256), 1 << 20);
    // 256 pages over 8 channels: 32 pages each, 8 on each of a channel's 4 dies, 4 on each of a
    // die's 2 planes. All come at one moment, and are read two planes at a time. Reading is hidden behind the bus or the bus behind reading:
    // the bound is the larger of bus time (32 transfers) and die time (4 operations of a die).
    let bus = 32 * 3_414;
    let die = 4 * 40_000;
    assert_eq!(ns, 209_796, "the number in docs/timing.md");
    assert!(ns >= die.max(bus) + 2_000, "{ns} is faster than the flash can be");
    assert!(ns <= die + bus + 2_000, "{ns} is slower than reading and transferring in turn");
}

#[test]
fn read_1m_takes_as_long_as_the_slowest_part() {
    // The host link at 100 MB/s is the bottleneck: 1 MiB takes 10.486 ms, plus the first page's
    // way to the link.
    let mut config = config();
    config.host_link.bandwidth = Bandwidth::from_bytes_per_s(100_000_000);
    let mut session = session(config);
    precondition(&mut session, 1 << 20);
    let (ns, _) = timed(&mut session, commands::read_write(NvmOpcode::READ, 0, 256), 1 << 20);
    // 256 transfers of 4096 B, each 40960 ns.
    assert_eq!(ns, 40_000 + 3_414 + 256 * 40_960 + 1_000 + 2_000);
}

#[test]
fn flash_time_moves_the_read_by_as_much() {
    for read_us in [0, 10, 80, 1_000] {
        let mut config = config();
        config.flash.read_time = Duration::from_us(read_us).into();
        let mut session = session(config);
        precondition(&mut session, 4096);
        let (ns, _) = timed(&mut session, commands::read_write(NvmOpcode::READ, 0, 1), 4096);
        assert_eq!(ns, read_us * 1_000 + 3_414 + 1_171 + 1_000 + 2_000);
    }
}

#[test]
fn write_is_acknowledged_from_the_buffer() {
    let mut session = session(config());
    let (ns, stages) = timed(&mut session, commands::read_write(NvmOpcode::WRITE, 0, 1), 4096);
    assert!(stages[Stage::FlashWrite].is_zero());
    assert_eq!(ns, 1_171 + 1_000 + 2_000);
    let (ns, _) = timed(&mut session, commands::flush(), 0);
    // The page waits in the buffer until the flush wants it.
    assert_eq!(ns, 3_414 + 200_000 + 2_000);
}

#[test]
fn a_shell_that_looks_late_lets_no_command_begin_in_the_past() {
    let mut session = session(config());
    precondition(&mut session, 2 * 4096);
    let host = &mut session.transport.driver;
    let buffer = host.port.ram.allocate(4096);
    let late = Duration::from_us(100);
    host.port.drive.take_records();
    let read =
        |block| with_data(commands::read_write(NvmOpcode::READ, block, 1), (buffer.address, 0));
    // One read is over long before the shell looks again; the other came meanwhile.
    let start = host.port.now();
    host.enqueue(IO, read(0));
    host.ring(IO);
    host.enqueue(IO, read(1));
    // A write, a flush and two reads so far.
    host.port.register_write(offset::DOORBELLS + 8, 4, 4);
    host.port.idle_until(start + late);
    while host.port.step() {}
    let records = host.port.drive.take_records().commands;
    let times = |n: usize| (records[n].fetched_ns, records[n].completed_ns - records[n].fetched_ns);
    assert_eq!(times(0), (start.as_ns(), 47_585), "what was under way is not late in the model");
    assert_eq!(times(1), ((start + late).as_ns(), 47_585), "it begins when the drive sees it");
}

#[test]
fn the_front_end_takes_one_command_after_the_other() {
    for (interval_ns, reads) in [(2_000u64, 100u64), (1_000, 1), (10_000, 20)] {
        let mut config = config();
        config.command_interval = Duration::from_ns(interval_ns);
        let mut session = session(config);
        let driver = &mut session.transport.driver;
        // Of blocks that were never written: nothing else takes time.
        let buffer = driver.port.ram.allocate(4096);
        let start = driver.port.now();
        let entry = || with_data(commands::read_write(NvmOpcode::READ, 0, 1), (buffer.address, 0));
        (0..reads).for_each(|_| {
            driver.enqueue(IO, entry());
        });
        driver.ring(IO);
        (0..reads).for_each(|_| {
            assert!(driver.next_completion().unwrap().status.is_success());
        });
        // The last one is taken then; firmware, link and data follow.
        let took = driver.port.now().since(start).as_ns();
        let alone = took - interval_ns * (reads - 1);
        assert!((2_000..5_000).contains(&alone), "{interval_ns}: {took}");
    }
}

/// Starts `jobs` executions of a declared 100 us each at once; returns the time of all.
fn run_jobs(jobs: u32, units: u32) -> u64 {
    let mut config = config();
    config.compute.units = units;
    config.run_time = RunTimeModel::Declared;
    let mut session = simulator::open(config, 0, (jobs + 1).max(256)).unwrap();
    let run_time = 100_000u64.to_le_bytes();
    let buffer = session.transport.driver.port.ram.allocate(8);
    session.transport.driver.port.ram.put(buffer.address, &run_time);
    let load = commands::load_program(0, program_type::DECLARED, 8, 0, 8);
    let load = with_data(load, (buffer.address, 0));
    assert!(session.transport.driver.execute(QueueId(0), load).unwrap().status.is_success());
    let activate = commands::activate_program(0, true);
    assert!(session.transport.driver.execute(QueueId(0), activate).unwrap().status.is_success());
    let start = session.transport.driver.port.now();
    for _ in 0..jobs {
        session.transport.driver.enqueue(IO, Execute::default().entry());
    }
    session.transport.driver.ring(IO);
    let in_flight = session.transport.driver.port.drive.statistics().commands_in_flight;
    assert_eq!(in_flight, u64::from(jobs), "all of a queue's commands can be in flight");
    for _ in 0..jobs {
        assert!(session.transport.driver.next_completion().unwrap().status.is_success());
    }
    session.transport.driver.port.now().since(start).as_ns()
}

#[test]
fn jobs_on_units_take_ceil_jobs_over_units_times_as_long() {
    for (jobs, units) in [(1u32, 4), (4, 4), (5, 4), (16, 4), (16, 1), (16, 16), (65_535, 1024)] {
        let expected = u64::from(jobs.div_ceil(units)) * 100_000 + 2_000;
        assert_eq!(run_jobs(jobs, units), expected, "{jobs} jobs on {units} units");
    }
}

#[test]
fn write_burst_that_fills_the_drive_forces_collection() {
    let mut config = config();
    config.flash.capacity_bytes = 64 << 20;
    config.flash.channels = 2;
    config.flash.dies_per_channel = 2;
    config.flash.overprovisioning_permille = 250;
    config.flash.pages_per_block = 64;
    config.flash.write_buffer_bytes = 1 << 20;
    let mut session = session(config);
    let data = vec![1; 1 << 20];
    let burst = |session: &mut Session, random: bool| {
        let mut prng = Prng::new(1);
        let start = session.transport.driver.port.now();
        for n in 0..64u64 {
            for piece in 0..16u64 {
                let place = if random { prng.below(1024) } else { n * 16 + piece };
                session.write_blocks(place * 16, &data[..65_536]).unwrap();
            }
        }
        session.flush().unwrap();
        let bytes_per_s = (64 << 20) as f64
            / (session.transport.driver.port.now().since(start).as_ns() as f64 / 1e9);
        (bytes_per_s, session.transport.driver.port.drive.statistics().flash)
    };
    let (fresh, statistics) = burst(&mut session, false);
    assert_eq!(statistics.gc_programs, 0, "an empty drive is filled without collection");
    assert_eq!(statistics.write_amplification(), 1.0);
    let mut sustained = fresh;
    let mut last = statistics;
    for _ in 0..3 {
        (sustained, last) = burst(&mut session, true);
    }
    // The model is deterministic: these are the numbers in docs/timing.md.
    assert_eq!((last.flash_programs, last.gc_programs, last.erases), (65_312, 48_126, 1_465));
    assert_eq!((fresh / 1e5).round() / 10.0, 158.4);
    assert_eq!((sustained / 1e5).round() / 10.0, 38.8);
    assert!(last.gc_programs > 0 && last.erases > 0);
    assert!(last.write_amplification() > 1.2, "{}", last.write_amplification());
    // 4 dies of 2 planes program 2 pages in 200 us + 2 transfers: at most 159 MB/s.
    let bound = 4.0 * 2.0 * 4096.0 / ((200_000.0 + 2.0 * 3_414.0) / 1e9);
    assert!(fresh < bound * 1.3 && fresh > bound * 0.4, "{fresh} of {bound} B/s");
    assert!(sustained < fresh * 0.85, "collection costs bandwidth: {sustained} of {fresh} B/s");
}

#[test]
fn compute_time_follows_clock_and_memory_bandwidth() {
    // mov r0, 0; r0 += 1 a hundred times; exit: 101 ALU instructions and an exit.
    let mut code = vec![0xB7, 0, 0, 0, 0, 0, 0, 0];
    for _ in 0..100 {
        code.extend([0x07, 0, 0, 0, 1, 0, 0, 0]);
    }
    code.extend([0x95, 0, 0, 0, 0, 0, 0, 0]);
    let object = elf_of(&code);
    for (hz, expected_ns) in [(1_000_000_000, 53), (500_000_000, 105), (2_000_000_000, 27)] {
        let mut config = config();
        config.cost.clock = simtime::Frequency::from_hz(hz).unwrap();
        let mut session = session(config);
        session.load_program(3, &object).unwrap();
        session.transport.driver.port.drive.take_records();
        let invocation = Invocation { program: 3, ..Default::default() };
        assert_eq!(session.execute(&invocation).unwrap(), 100);
        // 101 x 0.5 + 2 cycles = 52.5 cycles.
        assert_eq!(
            session.transport.driver.port.drive.take_records().commands[0]
                .stage(Stage::Compute)
                .as_ns(),
            expected_ns
        );
    }
}

/// The smallest relocatable object with one function.
fn elf_of(code: &[u8]) -> Vec<u8> {
    let names = b"\0.text\0.strtab\0.symtab\0f\0";
    let mut file = vec![0; 64];
    let text = file.len() as u64;
    file.extend(code);
    let strings = file.len() as u64;
    file.extend(names);
    file.resize(file.len().next_multiple_of(8), 0);
    let symbols = file.len() as u64;
    file.extend([0; 24]);
    // Symbol: name 23 ("f"), global function, section 1.
    file.extend(23u32.to_le_bytes());
    file.extend([0x12, 0, 1, 0]);
    file.extend(0u64.to_le_bytes());
    file.extend((code.len() as u64).to_le_bytes());
    let headers = file.len() as u64;
    let mut section =
        |name: u32, kind: u32, flags: u64, at: u64, size: u64, link: u32, info: u32, entry: u64| {
            file.extend(name.to_le_bytes());
            file.extend(kind.to_le_bytes());
            for value in [flags, 0, at, size] {
                file.extend(value.to_le_bytes());
            }
            file.extend(link.to_le_bytes());
            file.extend(info.to_le_bytes());
            file.extend(8u64.to_le_bytes());
            file.extend(entry.to_le_bytes());
        };
    section(0, 0, 0, 0, 0, 0, 0, 0);
    section(1, 1, 6, text, code.len() as u64, 0, 0, 0);
    section(7, 3, 0, strings, names.len() as u64, 0, 0, 0);
    section(15, 2, 0, symbols, 48, 2, 1, 24);
    file[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
    file[16..20].copy_from_slice(&[1, 0, 247, 0]);
    file[20] = 1;
    file[40..48].copy_from_slice(&headers.to_le_bytes());
    file[52..54].copy_from_slice(&64u16.to_le_bytes());
    file[58..64].copy_from_slice(&[64, 0, 4, 0, 2, 0]);
    file
}

#[test]
fn memory_copy_reads_flash_once_and_crosses_the_internal_link() {
    let mut session = session(config());
    precondition(&mut session, 1 << 20);
    let before = session.transport.driver.port.drive.statistics();
    session.transport.driver.port.drive.take_records();
    session.copy_blocks(0, 256, 8192).unwrap();
    let after = session.transport.driver.port.drive.statistics();
    assert_eq!(after.flash.flash_reads - before.flash.flash_reads, 256);
    assert_eq!(after.bytes_internal - before.bytes_internal, 1 << 20);
    let descriptors = size_of::<MemoryRangeDescriptor>() as u64;
    assert_eq!(after.bytes_from_host - before.bytes_from_host, descriptors, "one source entry");
    assert_eq!(after.bytes_to_host, before.bytes_to_host);
    let stages = session.transport.driver.port.drive.take_records().commands[0].stages();
    // The last page crosses 9.6 GB/s in 427 ns, then the latency of 500 ns; what arrived before
    // it may still be queued.
    assert!((927..30_000).contains(&stages[Stage::Copy].as_ns()), "{stages:?}");
    assert_eq!(session.read_memory(8192, 1 << 20).unwrap(), vec![7; 1 << 20]);
}

#[test]
fn records_of_an_execution_lead_to_its_job_and_its_stays() {
    let config = Config::default();
    let mut session = simulator::open(config, 0, 64).unwrap();
    let drive = |session: &mut Session| session.transport.driver.port.drive.take_records();
    session.load_program(0, DOUBLE).unwrap();
    session.write_blocks(0, &[1; 4096]).unwrap();
    session.copy_blocks(0, 1, 8192).unwrap();
    let set = session.create_range_set(&[(0, 4096), (8192, 4096)]).unwrap();
    assert_eq!(drive(&mut session), Records::default(), "nothing is recorded unless asked for");
    session.transport.driver.port.drive.set_recording(true);
    session.execute(&Invocation { range_set: set, ..Default::default() }).unwrap();
    session.read_blocks(0, 1).unwrap();
    let records = drive(&mut session);
    let [execute, read] = records.commands[..] else { panic!("{records:?}") };
    let [job] = records.jobs[..] else { panic!("{records:?}") };
    assert_eq!((execute.bytes, read.bytes), (0, 4096));
    assert_eq!((execute.csi, read.csi), (CommandSet::PROGRAMS.0, CommandSet::NVM.0));
    assert_eq!((execute.late_ns, execute.status), (0, 0));
    assert_eq!(job.command, execute.id);
    assert_eq!(job.ran_ns, execute.stage(Stage::Compute).as_ns());
    assert_eq!(job.ended_ns - job.submitted_ns, job.waited_ns + job.ran_ns);
    assert!(job.instructions.iter().sum::<u64>() > 1000 && job.bytes >= 8192, "{job:?}");
    let stays: u64 = records.units.iter().map(|stay| stay.end_ns - stay.start_ns).sum();
    assert_eq!(stays, job.ran_ns);
    assert!(records.units.iter().all(|stay| stay.job == execute.id));
    assert_eq!(drive(&mut session), Records::default(), "taken once");
}

#[test]
fn deallocation_takes_the_time_of_the_map_pages_that_it_changes() {
    for (each, has_cache) in [(0, true), (5_000, true), (5_000, false)] {
        let mut config = config();
        config.flash.deallocate_time = Duration::from_ns(each);
        if !has_cache {
            config.flash.write_buffer_bytes = 0;
        }
        let mut session = session(config);
        // Of the map's pages for 1024 blocks each, the first, the second and the fifth have something.
        for block in [0, 1500, 4096] {
            session.write_blocks(block, &[7; 4096]).unwrap();
        }
        session.flush().unwrap();
        while session.transport.driver.port.step() {}
        let range = nvme_spec::command::DatasetRange {
            nlb: 8192.into(),
            slba: 0.into(),
            ..Default::default()
        };
        let host = &mut session.transport.driver;
        let buffer = host.port.ram.allocate(4096);
        host.port.ram.put(buffer.address, zerocopy::IntoBytes::as_bytes(&range));
        let mut time = || {
            let start = host.port.now();
            let entry = with_data(commands::dataset_management(1, true), (buffer.address, 0));
            assert!(host.execute(IO, entry).unwrap().status.is_success());
            host.port.now().since(start).as_ns()
        };
        let (first, nothing) = (time(), time());
        assert_eq!(first - nothing, 3 * each, "what holds nothing takes no time");
    }
}

//! Compound executions: what the standard's commands give, in one command and less time.

use client::{Compound, DriveError, Invocation, ProgramImage};
use controller::Config;
use nvme_spec::Status;
use simtime::{Bandwidth, Duration};
use simulator::Session;

const DOUBLE: &[u8] = include_bytes!("../../../examples/programs/double.bpf.o");
const VADD: &[u8] = include_bytes!("../../../examples/programs/vadd.bpf.o");
const BLOCK: u64 = 4096;

fn config() -> Config {
    let mut config =
        Config { memory_bytes: 8 << 20, own_memory_bytes: 1 << 20, ..Config::default() };
    config.flash.capacity_bytes = 64 << 20;
    config
}

fn open(config: Config) -> Session {
    let mut session = simulator::open(config, 0, 64).expect("a sound configuration");
    session.load_program(0, DOUBLE).unwrap();
    session
}

fn numbers(count: u32) -> Vec<u8> {
    (0..count).flat_map(u32::to_le_bytes).collect()
}

fn doubled(count: u32) -> Vec<u8> {
    (0..count).flat_map(|n| (2 * n).to_le_bytes()).collect()
}

/// The same by the standard's commands: blocks are copied, a program runs on them, its output is read.
fn in_steps(session: &mut Session, compound: &Compound) -> (u64, Vec<u8>) {
    let input = u64::from(compound.count) * BLOCK;
    session.copy_blocks(compound.first, compound.count.into(), 4 << 20).unwrap();
    let ranges = vec![(0, compound.output), (4 << 20, input as u32)];
    let invocation = Invocation { ranges, param1: compound.param1, ..Invocation::default() };
    let result = session.execute(&invocation).unwrap();
    let output = session.read_memory(0, compound.output.into()).unwrap();
    (result, output)
}

/// What something gives, and how long and how many commands of the host it takes.
fn timed<T>(session: &mut Session, act: impl FnOnce(&mut Session) -> T) -> (T, Duration, u64) {
    let commands =
        |session: &Session| session.transport.driver.port.drive.counters().commands.get();
    let (before, sent) = (session.transport.driver.port.now(), commands(session));
    let done = act(session);
    let took = session.transport.driver.port.now().since(before);
    (done, took, commands(session) - sent)
}

#[test]
fn one_command_gives_what_three_give() {
    for (count, early) in [(1, false), (1, true), (7, false), (64, true), (100, false)] {
        let mut session = open(config());
        let input = numbers(count * 1024);
        session.write_blocks(3, &input).unwrap();
        let compound =
            Compound { first: 3, count, output: count * 4096, early, ..Compound::default() };
        let (steps, slow, three) = timed(&mut session, |session| in_steps(session, &compound));
        let ((result, output), fast, one) =
            timed(&mut session, |session| session.execute_compound(&compound).unwrap());
        assert_eq!((result, &output), (steps.0, &steps.1), "{count}");
        assert!(output == doubled(count * 1024) && result == u64::from(count) * 1024);
        assert_eq!((three, one), (3, 1));
        assert!(fast < slow, "{count}: {fast:?} instead of {slow:?}");
    }
}

/// Without what is in the way, a compound execution saves what two commands cost besides their work.
#[test]
fn what_it_saves_is_what_two_commands_cost() {
    let mut config = config();
    config.host_link.bandwidth = Bandwidth::from_bytes_per_s(0);
    config.internal_link.bandwidth = Bandwidth::from_bytes_per_s(0);
    config.internal_link.latency = Duration::ZERO;
    config.host_link.latency = Duration::from_us(3);
    config.command_time = Duration::from_us(5);
    let mut session = open(config);
    let run = (50_000u64).to_le_bytes();
    let declared = ProgramImage::Declared(run);
    session.download_program_with(1, declared, client::LoadOptions::default()).unwrap();
    session.activate_program(1, true).unwrap();
    session.write_blocks(0, &numbers(16 * 1024)).unwrap();
    session.flush().unwrap();
    let compound = Compound { program: 1, count: 16, output: 4096, ..Compound::default() };
    let (_, slow, _) = timed(&mut session, |session| {
        session.copy_blocks(0, 16, 4 << 20).unwrap();
        let ranges = vec![(0, 4096), (4 << 20, 65536)];
        session.execute(&Invocation { program: 1, ranges, ..Invocation::default() }).unwrap();
        session.read_memory(0, 4096).unwrap()
    });
    let (_, fast, _) = timed(&mut session, |session| session.execute_compound(&compound).unwrap());
    // The copy's list and the ranges come over the link. Steps of a compound execution have the firmware's time, too: a copy
    // and a run and the command itself, as the three commands have.
    assert_eq!(slow - fast, Duration::from_us(2 * 3), "{slow:?} {fast:?}");
}

#[test]
fn ranges_of_a_set_come_behind_output_and_input() {
    let mut session = open(config());
    session.load_program(1, VADD).unwrap();
    session.write_blocks(0, &numbers(1024)).unwrap();
    session.write_memory(0, &numbers(1024)).unwrap();
    let range_set = session.create_range_set(&[(0, 4096)]).unwrap();
    let compound =
        Compound { program: 1, count: 1, output: 4096, range_set, ..Compound::default() };
    let (_, output) = session.execute_compound(&compound).unwrap();
    assert!(output == doubled(1024));
    session.delete_range_set(range_set).unwrap();
}

#[test]
fn what_cannot_be_done_is_refused_and_costs_nothing() {
    let mut session = open(config());
    session.write_blocks(0, &numbers(64 * 1024)).unwrap();
    let good = Compound { count: 64, output: 256 << 10, ..Compound::default() };
    for round in 0..3 {
        // Many times what the drive has of memory of its own.
        for _ in 0..20 {
            session.execute_compound(&good).unwrap();
        }
        for (wrong, status) in [
            (Compound { program: 9, ..good }, Status::NO_PROGRAM),
            (Compound { group: 9, ..good }, Status::INVALID_JOB_GROUP),
            (Compound { range_set: 9, ..good }, Status::INVALID_MEMORY_RANGE_SET_ID),
            (Compound { first: 1 << 40, ..good }, Status::LBA_OUT_OF_RANGE),
            (Compound { count: 512, ..good }, Status::CAPACITY_EXCEEDED),
            // The program writes what it has not.
            (Compound { output: 4096, ..good }, Status::PROGRAM_MEMORY_FAULT),
        ] {
            let error = session.execute_compound(&wrong).unwrap_err();
            let DriveError::Failed(failed) = error else { panic!("{round}: {error}") };
            assert!(failed.status.same_code(status), "{failed} instead of {status}");
        }
        for (wrong, text) in [
            (Compound { count: 0, ..good }, "no blocks"),
            (Compound { count: 9000, ..good }, "at most 33554432"),
            (Compound { output: u32::MAX, ..good }, "at most 1048576"),
        ] {
            let error = session.execute_compound(&wrong).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }
    let full = Compound { count: 200, output: 800 << 10, ..good };
    let text = session.execute_compound(&full).unwrap_err().to_string();
    assert!(text.contains("memory.own_size"), "{text}");
    let statistics = session.transport.driver.port.drive.statistics();
    assert_eq!((statistics.commands_in_flight, statistics.flash_backlog), (0, 0));
}

#[test]
fn aborts_and_resets_give_the_memory_back() {
    for us in [0, 3, 20, 60, 90, 150, 400] {
        let mut session = open(config());
        session.write_blocks(0, &numbers(64 * 1024)).unwrap();
        let compound =
            Compound { count: 64, output: 256 << 10, early: us % 2 == 0, ..Compound::default() };
        for _ in 0..8 {
            let command = session.compound_command(&compound).unwrap();
            session.start(command).unwrap();
            session.transport.driver.ring(client::QueueId(1));
            let port = &mut session.transport.driver.port;
            let then = port.now() + Duration::from_us(us);
            port.idle_until(then);
            let cid = 0;
            let abort = client::commands::abort(1, cid);
            session.transport.driver.execute(client::QueueId(0), abort).unwrap();
            session.wait().unwrap();
            while session.transport.driver.port.step() {}
        }
        let (result, output) = session.execute_compound(&compound).unwrap();
        assert!(result == 64 * 1024 && output == doubled(64 * 1024), "{us}");
        session.transport.driver.port.drive.check();
    }
}

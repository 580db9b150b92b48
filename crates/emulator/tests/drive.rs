//! The drive behind its socket, with the user-space driver as host.

mod served;

use std::time::{Duration, Instant};

use client::{DmaMemory, Driver, Port, QueueId, commands};
use client_linux::{VfioUser, VfioUserOptions, Waiting};
use emulator::Doorbells;
use nvme_spec::command::program_type;
use nvme_spec::{MemoryOpcode, NvmOpcode, Status};
use served::{Served, immediate};
use zerocopy::IntoBytes;

const IO: QueueId = QueueId(1);

/// Every way to ring and to learn of completions.
const WAYS: [(Doorbells, Waiting, bool); 6] = [
    (Doorbells::Messages, Waiting::Interrupts, false),
    (Doorbells::Messages, Waiting::Poll, false),
    (Doorbells::Messages, Waiting::Interrupts, true),
    (Doorbells::Messages, Waiting::Poll, true),
    (Doorbells::Mapped, Waiting::Interrupts, false),
    (Doorbells::Mapped, Waiting::Poll, true),
];

#[test]
fn blocks_come_back_whatever_the_way_to_the_drive() {
    for (doorbells, waiting, shadow) in WAYS {
        let served = Served::new(immediate(), doorbells);
        let mut host = served.host(VfioUserOptions { waiting, ..Default::default() });
        if shadow {
            host.enable_shadow_doorbells().unwrap();
        }
        let buffer = host.port.memory().allocate(64 << 10);
        for round in 0..50u64 {
            let data: Vec<u8> = (0..64 << 10).map(|n: u64| (n * 7 + round) as u8).collect();
            host.port.memory().put(buffer.address, &data);
            let prps = host.port.memory().prps(&buffer, buffer.len);
            let write = commands::read_write(NvmOpcode::WRITE, 16 * round, 16);
            assert!(
                host.execute(IO, commands::with_data(write, prps)).unwrap().status.is_success()
            );
            host.port.memory().put(buffer.address, &vec![0; 64 << 10]);
            let read = commands::read_write(NvmOpcode::READ, 16 * round, 16);
            assert!(host.execute(IO, commands::with_data(read, prps)).unwrap().status.is_success());
            let mut back = vec![0; 64 << 10];
            host.port.memory().get(buffer.address, &mut back);
            assert!(back == data, "{doorbells:?} {waiting:?} {shadow}");
            if round == 25 {
                // Long enough for the drive to fall asleep.
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        drop(host);
        let statistics = served.stop();
        assert!(statistics.lateness.completions >= 100 && statistics.sleeps > 0, "{statistics:?}");
    }
}

/// Loads a program, gives it memory, runs it on the workers' threads, many at a time; a reset in the
/// middle of an endless one ends it.
#[test]
fn programs_run_on_worker_threads() {
    const ADMIN: QueueId = QueueId(0);
    let mut config = immediate();
    config.instruction_budget = 1_000_000_000_000;
    let served = Served::new(config, Doorbells::Messages);
    let mut host = served.host(VfioUserOptions::default());
    let staging = host.port.memory().allocate(64 << 10);
    let load = |host: &mut Driver<VfioUser>, index: u16, object: &[u8]| {
        host.port.memory().put(staging.address, object);
        let len = object.len() as u32;
        let prps = host.port.memory().prps(&staging, len.into());
        let load = commands::load_program(index, program_type::EBPF, len, 0, len);
        let done = host.execute(ADMIN, commands::with_data(load, prps)).unwrap();
        assert!(done.status.is_success(), "{}", done.status);
        let done = host.execute(ADMIN, commands::activate_program(index, true)).unwrap();
        assert!(done.status.is_success(), "{}", done.status);
    };
    load(&mut host, 1, include_bytes!("../../../examples/programs/double.bpf.o"));
    let numbers: Vec<u8> = (0..1024u32).flat_map(u32::to_le_bytes).collect();
    host.port.memory().put(staging.address, &numbers);
    let prps = host.port.memory().prps(&staging, 4096);
    let write = commands::memory(MemoryOpcode::WRITE, 4096, 4096);
    assert!(host.execute(IO, commands::with_data(write, prps)).unwrap().status.is_success());

    let range = |start| commands::memory_range(start, 4096);
    let execute = commands::Execute {
        program_index: 1,
        inline_ranges: 2,
        data_len: 64,
        ..Default::default()
    };
    // One target for each of many executions at a time.
    for n in 0..32u64 {
        let buffer = host.port.memory().allocate(4096);
        let ranges = [range((2 + n) * 4096), range(4096)];
        host.port.memory().put(buffer.address, ranges.as_bytes());
        host.submit(IO, commands::with_data(execute.entry(), (buffer.address, 0)));
    }
    for _ in 0..32 {
        let done = host.next_completion().unwrap();
        assert!(done.status.is_success(), "{}", done.status);
        assert_eq!(done.result, 1024);
    }
    let doubled: Vec<u8> = (0..1024u32).flat_map(|n| (2 * n).to_le_bytes()).collect();
    for n in 0..32u64 {
        let read = commands::memory(MemoryOpcode::READ, (2 + n) * 4096, 4096);
        assert!(host.execute(IO, commands::with_data(read, prps)).unwrap().status.is_success());
        let mut back = vec![0; 4096];
        host.port.memory().get(staging.address, &mut back);
        assert!(back == doubled, "execution {n}");
    }
    // The next client resets the drive; its program runs although both workers were in endless ones.
    load(&mut host, 2, include_bytes!("endless.bpf.o"));
    let endless = commands::Execute { program_index: 2, inline_ranges: 0, data_len: 0, ..execute };
    for _ in 0..2 {
        host.submit(IO, endless.entry());
    }
    std::thread::sleep(Duration::from_millis(20));
    drop(host);
    let mut host = served.host(VfioUserOptions::default());
    let buffer = host.port.memory().allocate(4096);
    host.port.memory().put(buffer.address, [range(8192), range(4096)].as_bytes());
    let begin = Instant::now();
    let entry = commands::with_data(execute.entry(), (buffer.address, 0));
    let done = host.execute(IO, entry).unwrap();
    assert!(done.status.is_success() && done.result == 1024, "{}", done.status);
    // An endless program takes minutes to use up its budget.
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

/// Completions keep the model's time: here, no read may be back before it.
#[test]
fn reads_take_as_long_as_the_model_says() {
    let mut config = immediate();
    config.flash.read_time = simtime::Duration::from_us(2000).into();
    let served = Served::new(config, Doorbells::Messages);
    let mut host = served.host(VfioUserOptions::default());
    let buffer = host.port.memory().allocate(4096);
    let prps = (buffer.address, 0);
    let write = commands::read_write(NvmOpcode::WRITE, 0, 1);
    assert!(host.execute(IO, commands::with_data(write, prps)).unwrap().status.is_success());
    assert!(host.execute(IO, commands::flush()).unwrap().status.is_success());
    for _ in 0..20 {
        let read = commands::read_write(NvmOpcode::READ, 0, 1);
        let start = Instant::now();
        assert!(host.execute(IO, commands::with_data(read, prps)).unwrap().status.is_success());
        assert!(start.elapsed() >= Duration::from_micros(2000), "{:?}", start.elapsed());
    }
}

/// Memory that the client did not give, or took away again, fails the command and nothing else.
#[test]
fn memory_that_is_not_there_fails_the_command() {
    let served = Served::new(immediate(), Doorbells::Messages);
    let mut host = served.host(VfioUserOptions::default());
    for address in [0x1000, 1 << 52, (1 << 32) + (256 << 20)] {
        let read = commands::read_write(NvmOpcode::READ, 0, 1);
        let done = host.execute(IO, commands::with_data(read, (address, 0))).unwrap();
        assert_eq!(done.status, Status::DATA_TRANSFER_ERROR, "{address:#x}");
    }
    let buffer = host.port.memory().allocate(4096);
    let read = commands::read_write(NvmOpcode::READ, 0, 1);
    let done = host.execute(IO, commands::with_data(read, (buffer.address, 0))).unwrap();
    assert!(done.status.is_success());
}

/// A server that goes away is an error of the next command, not a hang.
#[test]
fn a_vanished_server_is_noticed() {
    for waiting in [Waiting::Poll, Waiting::Interrupts] {
        let served = Served::new(immediate(), Doorbells::Messages);
        let mut host = served.host(VfioUserOptions { waiting, ..Default::default() });
        served.stop();
        let begin = Instant::now();
        assert!(host.execute(IO, commands::flush()).is_err(), "{waiting:?}");
        assert!(begin.elapsed() < Duration::from_secs(10), "{waiting:?}");
    }
    let nobody = VfioUser::connect("/nonexistent".as_ref(), VfioUserOptions::default());
    assert!(nobody.unwrap_err().to_string().contains("csdrive serve"));
}

/// Sockets that are taken, and files that are none.
#[test]
fn a_socket_in_use_is_not_taken_away() {
    let served = Served::new(immediate(), Doorbells::Messages);
    let options = |socket: &std::path::Path| emulator::Options {
        config: immediate(),
        socket: socket.to_owned(),
        doorbells: Doorbells::Messages,
        remote: None,
        programs: controller::ProgramLoaders::default(),
        store: None,
        freezer: None,
        neighbours: None,
        records: None,
        history: None,
    };
    let error = emulator::Server::new(options(&served.socket)).unwrap_err().to_string();
    assert!(error.contains("another csdrive serves there"), "{error}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = emulator::Server::new(options(file.path())).unwrap_err().to_string();
    assert!(error.contains("no socket"), "{error}");
    let error = emulator::Server::new(options("/nonexistent/x".as_ref())).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/x"), "{error}");
    // One that a server left behind is replaced.
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("old");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    drop(emulator::Server::new(options(&socket)).unwrap());
    assert!(!socket.exists());
}

//! The drive as a host sees it: commands and their statuses, queues, resets, logs.

use client::commands::memory_range;
use client::commands::{self, Execute, with_data};
use client::{DmaMemory, QueueId};
use controller::{COMPUTE_NSID, Config, MEMORY_NSID, NVM_NSID};
use nvme_spec::command::program_type::{DECLARED, EBPF};
use nvme_spec::{
    AdminOpcode, Cc, CommandSet, EnduranceGroupLog, ErrorLogEntry, IdentifyController,
    IdentifyNamespaceNvm, IdentifyNamespacePrograms, NvmOpcode, SmartLog, Status, SubmissionEntry,
    cns, lid, offset,
};
use simtime::Prng;
use simulator::Session;
use zerocopy::{FromBytes, IntoBytes};

const ADMIN: QueueId = QueueId(0);
const IO: QueueId = QueueId(1);
const DOUBLE: &[u8] = include_bytes!("../../../examples/programs/double.bpf.o");

fn config() -> Config {
    let mut config = Config { memory_bytes: 16 << 20, ..Config::default() };
    config.flash.capacity_bytes = 64 << 20;
    config
}

fn session() -> Session {
    simulator::open(config(), 0, 64).unwrap()
}

fn status(session: &mut Session, queue: QueueId, entry: SubmissionEntry) -> Status {
    session.transport.driver.execute(queue, entry).unwrap().status
}

/// Runs a command with data for the drive; returns its status.
fn send(session: &mut Session, queue: QueueId, entry: SubmissionEntry, data: &[u8]) -> Status {
    let buffer = session.transport.driver.port.ram.allocate(data.len().max(1) as u64);
    session.transport.driver.port.ram.put(buffer.address, data);
    let prps = session.transport.driver.port.ram.prps(&buffer, data.len() as u64);
    let status = status(session, queue, with_data(entry, prps));
    session.transport.driver.port.ram.release(buffer);
    status
}

#[track_caller]
fn assert_status(got: Status, expected: Status) {
    assert!(got.same_code(expected), "got {got}, expected {expected}");
    assert_eq!(got.dnr(), !got.is_success() && got.dnr(), "success is retried by nobody");
}

fn load(session: &mut Session, index: u16, kind: u8, bytes: &[u8]) -> Status {
    let len = bytes.len() as u32;
    send(session, ADMIN, commands::load_program(index, kind, len, 0, len), bytes)
}

#[test]
fn data_written_is_read_back_through_every_path() {
    for (block_bytes, page_bytes) in [(512, 4096), (4096, 4096), (512, 16_384)] {
        let mut config = config();
        config.block_bytes = block_bytes;
        config.flash.page_bytes = page_bytes;
        let mut session = simulator::open(config, 0, 64).unwrap();
        let mut data = vec![0; 3 << 20];
        Prng::new(1).fill(&mut data);
        let blocks = session.write_blocks(7, &data).unwrap();
        assert!(session.read_blocks(7, blocks).unwrap() == data);
        // Overwrite the middle of a page, partly.
        session.write_blocks(9, &data[..block_bytes as usize]).unwrap();
        data.copy_within(..block_bytes as usize, 2 * block_bytes as usize);
        assert!(session.read_blocks(7, blocks).unwrap() == data);
        session.copy_blocks(7, blocks, 4096).unwrap();
        assert!(session.read_memory(4096, 3 << 20).unwrap() == data);
        session.write_memory(8, &data[4..1000]).unwrap();
        session.fill_memory(12, 8).unwrap();
        let expected = [&data[4..8], &[0; 8], &data[16..1000]].concat();
        assert_eq!(session.read_memory(8, 996).unwrap(), expected);
        let unwritten = session.read_blocks(15_000, 3).unwrap();
        assert!(unwritten.len() == 3 * block_bytes as usize && unwritten.iter().all(|&b| b == 0));
    }
}

#[test]
fn memory_copies_within_device_memory() {
    let mut session = session();
    session.write_memory(0, &[7; 4096]).unwrap();
    let source = |start: u64, len: u32| {
        let mut entry = [0u8; 32];
        entry[..4].copy_from_slice(&MEMORY_NSID.to_le_bytes());
        entry[8..16].copy_from_slice(&start.to_le_bytes());
        entry[16..20].copy_from_slice(&len.to_le_bytes());
        entry
    };
    let list = [source(0, 100), source(1000, 28)].concat();
    assert_status(
        send(&mut session, IO, commands::memory_copy(8192, 128, 2, 4), &list),
        Status::SUCCESS,
    );
    assert_eq!(session.read_memory(8192, 132).unwrap(), [vec![7; 128], vec![0; 4]].concat());
    let overlapping = source(8100, 128);
    let copy = |target| commands::memory_copy(target, 128, 1, 4);
    assert_status(send(&mut session, IO, copy(8192), &overlapping), Status::OVERLAPPING_IO_RANGE);
    assert_status(send(&mut session, IO, copy(16 << 20), &source(0, 128)), Status::INVALID_FIELD);
    assert_status(send(&mut session, IO, copy(0), &source(16 << 20, 128)), Status::INVALID_FIELD);
    assert_status(send(&mut session, IO, copy(0), &source(8192, 124)), Status::INVALID_FIELD);
}

#[test]
fn program_life_cycle_enforces_what_is_in_use() {
    let mut session = session();
    let activate = |on| commands::activate_program(5, on);
    let run = Execute { program_index: 5, ..Default::default() }.entry();
    assert_status(status(&mut session, ADMIN, activate(true)), Status::NO_PROGRAM);
    assert_status(status(&mut session, IO, run), Status::NO_PROGRAM);
    assert_status(load(&mut session, 5, EBPF, DOUBLE), Status::SUCCESS);
    assert_status(status(&mut session, IO, run), Status::PROGRAM_NOT_ACTIVATED);
    assert_status(status(&mut session, ADMIN, activate(false)), Status::PROGRAM_NOT_ACTIVATED);
    assert_status(status(&mut session, ADMIN, activate(true)), Status::SUCCESS);
    assert_status(load(&mut session, 5, EBPF, DOUBLE), Status::PROGRAM_IN_USE);
    assert_status(status(&mut session, ADMIN, commands::unload_program(5)), Status::PROGRAM_IN_USE);
    let set = session.create_range_set(&[(0, 4096), (8192, 4096)]).unwrap();
    assert_eq!(set, 1);
    // While it runs, program and set stay.
    let busy = Execute { program_index: 5, rsid: set, ..Default::default() }.entry();
    let cid = session.transport.driver.submit(IO, busy);
    assert_status(status(&mut session, ADMIN, activate(false)), Status::PROGRAM_IN_USE);
    let delete = commands::delete_range_set(set);
    // The admin command took 2 us, the job is 1024 elements long.
    assert_status(status(&mut session, ADMIN, delete), Status::MEMORY_RANGE_SET_IN_USE);
    let done = session.transport.driver.next_completion().unwrap();
    assert_eq!((done.cid, done.result, done.status), (cid, 1024, Status::SUCCESS));
    assert_status(status(&mut session, ADMIN, delete), Status::SUCCESS);
    assert_status(status(&mut session, ADMIN, delete), Status::INVALID_MEMORY_RANGE_SET_ID);
    assert_status(status(&mut session, IO, busy), Status::INVALID_MEMORY_RANGE_SET_ID);
    assert_status(status(&mut session, ADMIN, activate(false)), Status::SUCCESS);
    assert_status(status(&mut session, ADMIN, commands::unload_program(5)), Status::SUCCESS);
    assert_status(status(&mut session, ADMIN, commands::unload_program(5)), Status::NO_PROGRAM);
    for index in [1024, u16::MAX] {
        assert_status(load(&mut session, index, EBPF, DOUBLE), Status::INVALID_PROGRAM_INDEX);
        let unload = commands::unload_program(index);
        assert_status(status(&mut session, ADMIN, unload), Status::INVALID_PROGRAM_INDEX);
    }
}

#[test]
fn programs_load_in_pieces_in_order() {
    let mut session = session();
    let total = DOUBLE.len() as u32;
    let piece = |s: &mut Session, from: u32, to: u32| {
        let entry = commands::load_program(1, EBPF, total, from, to - from);
        send(s, ADMIN, entry, &DOUBLE[from as usize..to as usize])
    };
    let activate = commands::activate_program(1, true);
    for cut in [1, 63, 64, 500, total - 1] {
        assert_status(piece(&mut session, 0, cut), Status::SUCCESS);
        assert_status(status(&mut session, ADMIN, activate), Status::INVALID_PROGRAM_DATA);
        assert_status(piece(&mut session, cut, total), Status::SUCCESS);
        assert_status(status(&mut session, ADMIN, activate), Status::SUCCESS);
        assert_status(
            status(&mut session, ADMIN, commands::activate_program(1, false)),
            Status::SUCCESS,
        );
        assert_status(status(&mut session, ADMIN, commands::unload_program(1)), Status::SUCCESS);
    }
    // The first piece begins anew, also after a load that was never finished.
    assert_status(piece(&mut session, 0, 200), Status::SUCCESS);
    assert_status(piece(&mut session, 0, total), Status::SUCCESS);
    assert_status(status(&mut session, ADMIN, commands::unload_program(1)), Status::SUCCESS);
    // A gap drops what came before it.
    assert_status(piece(&mut session, 0, 100), Status::SUCCESS);
    assert_status(piece(&mut session, 101, total), Status::INVALID_PROGRAM_DATA);
    assert_status(piece(&mut session, 100, total), Status::INVALID_PROGRAM_DATA);
    let beyond = commands::load_program(1, EBPF, 8, 4, 8);
    assert_status(send(&mut session, ADMIN, beyond, &[0; 8]), Status::PROGRAM_TOO_BIG);
    let huge = commands::load_program(1, EBPF, u32::MAX, 0, 8);
    assert_status(send(&mut session, ADMIN, huge, &[0; 8]), Status::MAXIMUM_PROGRAM_BYTES_EXCEEDED);
    assert_status(load(&mut session, 1, 0x77, DOUBLE), Status::INVALID_PROGRAM_TYPE);
    assert_status(load(&mut session, 1, EBPF, b"not an object"), Status::INVALID_PROGRAM_DATA);
    assert_status(load(&mut session, 1, DECLARED, b"seven b"), Status::INVALID_PROGRAM_DATA);
    let error = session.load_program(1, b"still not one").unwrap_err().to_string();
    assert!(error.contains("not an ELF file"), "{error}");
}

#[test]
fn range_sets_have_the_lowest_free_identifier_and_byte_granular_ranges() {
    let mut session = session();
    for id in 1..=9 {
        assert_eq!(session.create_range_set(&[(1, 3), (4, 0)]).unwrap(), id);
    }
    assert_status(status(&mut session, ADMIN, commands::delete_range_set(7)), Status::SUCCESS);
    assert_eq!(session.create_range_set(&[(0, 4)]).unwrap(), 7);
}

#[test]
fn execute_takes_inline_ranges_and_its_length_from_either_dword() {
    let mut session = session();
    session.load_program(0, DOUBLE).unwrap();
    session.write_memory(4096, &[1, 0, 0, 0, 2, 0, 0, 0]).unwrap();
    let ranges = [memory_range(0, 8), memory_range(4096, 8)];
    let command = Execute { inline_ranges: 2, data_len: 64, ..Default::default() };
    let in_dword_4 = command.entry();
    let mut in_dword_14 = Execute { data_len: 0, ..command }.entry();
    let neither = in_dword_14;
    in_dword_14.cdw14.set(64);
    for entry in [in_dword_4, in_dword_14, neither] {
        session.fill_memory(0, 8).unwrap();
        assert_status(send(&mut session, IO, entry, ranges.as_bytes()), Status::SUCCESS);
        assert_eq!(session.read_memory(0, 8).unwrap(), [2, 0, 0, 0, 4, 0, 0, 0]);
    }
    let both = Execute { rsid: 1, ..command }.entry();
    assert_status(send(&mut session, IO, both, ranges.as_bytes()), Status::INVALID_FIELD);
    let short = Execute { data_len: 63, ..command }.entry();
    assert_status(send(&mut session, IO, short, ranges.as_bytes()), Status::INVALID_FIELD);
    let many = Execute { inline_ranges: 129, data_len: 0, ..command }.entry();
    assert_status(send(&mut session, IO, many, &[]), Status::MAXIMUM_MEMORY_RANGES_EXCEEDED);
    let long = Execute { data_len: 2 << 20, ..command }.entry();
    assert_status(send(&mut session, IO, long, &[]), Status::INVALID_FIELD);
    // No ranges at all: the program's first access is outside of what it has.
    let none = Execute::default().entry();
    assert_status(send(&mut session, IO, none, &[]), Status::PROGRAM_MEMORY_FAULT);
}

#[test]
fn queues_wrap_and_completions_wait_for_places() {
    // Entries for three commands; 1000 of them go through.
    let mut host = simulator::host(config(), 2, 4).unwrap();
    let buffer = host.port.ram.allocate(4096);
    let prps = host.port.ram.prps(&buffer, 4096);
    let (mut sent, mut done) = (0u64, 0u64);
    while done < 1000 {
        for queue in [QueueId(1), QueueId(2)] {
            while sent < 1000 && host.has_room(queue) {
                host.submit(queue, with_data(commands::read_write(NvmOpcode::READ, sent, 1), prps));
                sent += 1;
            }
        }
        let completion = host.next_completion().unwrap();
        assert!(completion.status.is_success());
        done += 1;
    }
    assert_eq!(host.next_completion(), None);
}

#[test]
fn deleting_a_queue_ends_its_commands_first() {
    let mut host = simulator::host(config(), 1, 64).unwrap();
    let buffer = host.port.ram.allocate(4096);
    let prps = host.port.ram.prps(&buffer, 4096);
    for block in 0..10 {
        host.enqueue(IO, with_data(commands::read_write(NvmOpcode::WRITE, block, 1), prps));
    }
    host.ring(IO);
    let delete = commands::delete_submission_queue(1);
    assert!(host.execute(ADMIN, delete).unwrap().status.is_success());
    let mut ended = 0;
    while let Some(done) = host.next_completion() {
        assert_status(done.status, Status::ABORTED_SQ_DELETION);
        ended += 1;
    }
    assert_eq!(ended, 10);
}

#[test]
fn reset_abandons_what_is_in_flight_and_keeps_the_namespaces() {
    let mut session = session();
    session.write_blocks(0, &[5; 4096]).unwrap();
    session.load_program(0, DOUBLE).unwrap();
    let set = session.create_range_set(&[(0, 1 << 20), (1 << 20, 1 << 20)]).unwrap();
    session.transport.driver.submit(IO, Execute { rsid: set, ..Default::default() }.entry());
    let drive = &mut session.transport.driver.port.drive;
    drive.register_write(offset::CC, 4, 0);
    assert_eq!(drive.register_read(offset::CSTS, 4) & 1, 0);
    while session.transport.driver.port.step() {}
    // A fresh host on the same drive: nothing of the old queues is left, everything else is.
    let drive = &mut session.transport.driver.port.drive;
    let cc = Cc::new().with_en(true).with_css(0b110).with_iosqes(6).with_iocqes(4);
    drive.register_write(offset::CC, 4, cc.into_bits().into());
    assert_eq!(drive.register_read(offset::CSTS, 4) & 3, 1, "ready, not fatal");
    // An unaligned admin queue is fatal.
    drive.register_write(offset::CC, 4, 0);
    drive.register_write(offset::ASQ, 8, 0x10_0010);
    drive.register_write(offset::CC, 4, cc.into_bits().into());
    assert_eq!(drive.register_read(offset::CSTS, 4) & 3, 2);
}

#[test]
fn drive_taken_apart_with_commands_in_flight_says_nothing() {
    let mut session = session();
    session.transport.driver.submit(IO, commands::flush());
    drop(session);
}

#[test]
fn command_identifiers_are_free_only_when_the_host_knows() {
    let mut host = simulator::host(config(), 1, 8).unwrap();
    let first = host.submit(IO, commands::flush());
    let second = host.submit(IO, commands::flush());
    // Let both complete without telling the caller of them.
    host.execute(ADMIN, commands::set_queue_count(1)).unwrap();
    let third = host.submit(IO, commands::flush());
    assert!(third != first && third != second);
    assert_eq!(host.outstanding(IO), 3);
}

#[test]
fn identify_and_logs_have_real_contents() {
    let mut session = session();
    let page = session.identify(cns::CONTROLLER, 0, CommandSet::NVM).unwrap();
    let controller = IdentifyController::read_from_bytes(&page).unwrap();
    assert_eq!((controller.mdts, controller.nn.get(), controller.cdfs.get()), (8, 128, 0x1F));
    assert_eq!(&controller.sn, b"CSDRIVE0001         ");
    let page = session.identify(cns::NAMESPACE, NVM_NSID, CommandSet::NVM).unwrap();
    let namespace = IdentifyNamespaceNvm::read_from_bytes(&page).unwrap();
    assert_eq!((namespace.nsze.get(), namespace.flbas), ((64 << 20) / 4096, 1));
    let page = session.identify(cns::CSI_NAMESPACE, COMPUTE_NSID, CommandSet::PROGRAMS).unwrap();
    let compute = IdentifyNamespacePrograms::read_from_bytes(&page).unwrap();
    assert_eq!((compute.maxact.get(), compute.maxmemr, compute.maxpb.get()), (256, 128, 64));
    let page = session.identify(cns::ACTIVE_NAMESPACES, 1, CommandSet::NVM).unwrap();
    assert_eq!(page[..12], [2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
    // CSI descriptors, without which Linux skips a namespace; distinct identifiers.
    let mut seen = Vec::new();
    for (nsid, set) in [(1, 0), (2, 3), (3, 4)] {
        let page = session.identify(cns::NAMESPACE_DESCRIPTORS, nsid, CommandSet::NVM).unwrap();
        // Type and length of each: EUI64, NGUID, UUID (of version 8 and RFC 9562's variant), CSI.
        let kinds = [0, 12, 32, 52].map(|at| (page[at], page[at + 1]));
        assert_eq!(kinds, [(1, 8), (2, 16), (3, 16), (4, 1)]);
        assert_eq!((page[36 + 6] >> 4, page[36 + 8] >> 6), (8, 0b10));
        assert_eq!(page[56], set);
        seen.push(page[4..12].to_vec());
        let page = session.identify(cns::INDEPENDENT_NAMESPACE, nsid, CommandSet::NVM).unwrap();
        assert_eq!(page[14], 1, "ready");
        let effects = session.transport.driver.port.ram.allocate(4096);
        let get = commands::get_log(lid::EFFECTS, 0, CommandSet(set), 0, 4096);
        assert_status(
            status(&mut session, ADMIN, with_data(get, (effects.address, 0))),
            Status::SUCCESS,
        );
    }
    seen.dedup();
    assert_eq!(seen.len(), 3);
    let unknown = commands::identify(0x33, 1, CommandSet::NVM);
    assert_status(send(&mut session, ADMIN, unknown, &[0; 4096]), Status::INVALID_FIELD);
    let nowhere = commands::identify(cns::NAMESPACE, 129, CommandSet::NVM);
    assert_status(send(&mut session, ADMIN, nowhere, &[0; 4096]), Status::INVALID_NAMESPACE);

    session.write_blocks(0, &vec![1; 1 << 20]).unwrap();
    session.read_blocks(0, 1).unwrap();
    let smart =
        SmartLog::read_from_bytes(&session.log(lid::SMART, u32::MAX, 512).unwrap()).unwrap();
    assert_eq!((smart.host_writes.get(), smart.data_units_written.get()), (1, 3));
    assert_eq!((smart.host_reads.get(), smart.data_units_read.get()), (1, 1));
    let group = |group: u32| {
        let mut entry = commands::get_log(lid::ENDURANCE_GROUP, 0, CommandSet::NVM, 0, 512);
        entry.cdw11 = (entry.cdw11.get() | group << 16).into();
        entry
    };
    assert_status(send(&mut session, ADMIN, group(2), &[0; 512]), Status::INVALID_FIELD);
    let buffer = session.transport.driver.port.ram.allocate(512);
    let read = with_data(group(1), (buffer.address, 0));
    assert_status(status(&mut session, ADMIN, read), Status::SUCCESS);
    let mut page = [0; 512];
    session.transport.driver.port.ram.get(buffer.address, &mut page);
    let endurance = EnduranceGroupLog::read_from_bytes(&page).unwrap();
    assert_eq!((endurance.host_writes.get(), endurance.host_reads.get()), (1, 1));
    assert_eq!((endurance.data_units_written.get(), endurance.percentage_used), (1, 0));
    assert_eq!(endurance.total_capacity.get(), 64 << 20);
    session.flush().unwrap();
    let (counters, parts) = (session.counters().unwrap(), session.parts().unwrap().unwrap());
    let counters = counters.unwrap();
    let sum = |busy: &[u64]| busy.iter().sum::<u64>();
    assert_eq!((parts.channels_ns.len(), parts.dies_ns.len()), (8, 32));
    assert_eq!(sum(&parts.channels_ns), counters.channels_busy_ns.get());
    assert_eq!(sum(&parts.dies_ns), counters.dies_busy_ns.get());
    assert!(parts.dies_ns.iter().all(|busy| *busy > 0), "{parts:?}");
    let bytes = session.log(lid::ERROR, 0, 64).unwrap();
    let entry = ErrorLogEntry::read_from_bytes(&bytes).unwrap();
    assert_eq!((entry.error_count.get(), entry.opcode), (3, AdminOpcode::GET_LOG_PAGE.0));
    assert_eq!(Status::from_bits(entry.status_phase.get() >> 1).name(), "Invalid Field in Command");
    let bad = commands::get_log(0x77, 0, CommandSet::NVM, 0, 4);
    assert_status(send(&mut session, ADMIN, bad, &[0; 4]), Status::INVALID_LOG_PAGE);
    let beyond = commands::get_log(lid::SMART, 0, CommandSet::NVM, 516, 4);
    assert_status(send(&mut session, ADMIN, beyond, &[0; 4]), Status::INVALID_FIELD);

    session.load_program(2, DOUBLE).unwrap();
    let list = session.log(lid::PROGRAM_LIST, COMPUTE_NSID, 64 * 5).unwrap();
    assert_eq!(u32::from_le_bytes(list[..4].try_into().unwrap()), 1024);
    assert_eq!((list[64], list[64 * 3], list[64 * 3 + 1]), (0, 1 | 1 << 2, EBPF));
}

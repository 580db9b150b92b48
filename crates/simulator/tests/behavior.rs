//! What happens over time: the controller's life, events, features, operations in the background,
//! shadow doorbells, arbitration, interrupts, leases.

use client::commands::{self, Execute, read_write, with_data};
use client::{CompletionQueueOptions, DmaMemory, Driver, Port, QueueId, SubmissionQueueOptions};
use controller::limits::{FLASH_BACKLOG_MAX, WAITING_WRITES_MAX};
use controller::{Config, Worker};
use nvme_spec::namespace::{ALL_NSID, NVM_NSID};
use nvme_spec::{
    Arbitration, AsyncEvent, Cc, CommandSet, Csts, ErrorLogEntry, InterruptCoalescing, NvmOpcode,
    SUBSYSTEM_RESET, SanitizeLog, SelfTestLog, SmartLog, Status, SubmissionEntry, Timestamp, cns,
    event_type, fid, lid, offset,
};
use simtime::Duration;
use simulator::{Host, Session, Simulation};
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

fn csts(host: &mut Host) -> Csts {
    Csts::from_bits(host.port.register_read(offset::CSTS, 4) as u32)
}

fn must(host: &mut Host, queue: QueueId, entry: SubmissionEntry) -> u64 {
    let done = host.execute(queue, entry).unwrap();
    assert!(done.status.is_success(), "{entry:?}: {}", done.status);
    done.result
}

fn set(host: &mut Host, id: u8, nsid: u32, value: u32) {
    must(host, ADMIN, commands::set_feature(id, nsid, value, false));
}

/// A command with a buffer that holds `data`.
fn with_buffer(host: &mut Host, entry: SubmissionEntry, data: &[u8]) -> SubmissionEntry {
    let buffer = host.port.ram.allocate(data.len() as u64);
    host.port.ram.put(buffer.address, data);
    let prps = host.port.ram.prps(&buffer, data.len() as u64);
    with_data(entry, prps)
}

fn blocks_in_use(session: &mut Session) -> u64 {
    let page = session.identify(cns::NAMESPACE, NVM_NSID, CommandSet::NVM).unwrap();
    u64::from_le_bytes(page[16..24].try_into().unwrap())
}

fn event(result: u64) -> (u8, u8, u8) {
    let event = AsyncEvent::from_bits(result as u32);
    (event.event_type(), event.information(), event.lid())
}

// The controller's life.

#[test]
fn registers_of_a_drive_that_was_never_enabled() {
    let mut session = session();
    session.transport.driver.disable();
    let drive = &mut session.transport.driver.port.drive;
    let cap = drive.register_read(offset::CAP, 8);
    assert_eq!(cap & 0xFFFF, 0xFFFF, "64 Ki entries");
    assert_eq!(cap >> 16 & 1, 1, "contiguous queues");
    assert_eq!(cap >> 17 & 3, 1, "weighted round robin");
    assert_eq!((cap >> 36 & 1, cap >> 37 & 0xFF), (1, 0x41), "subsystem reset; NVM and others");
    assert_eq!(cap >> 48 & 0xFF, 0, "4 KiB pages");
    assert_eq!(cap >> 59 & 3, 1, "ready with media");
    assert_eq!(drive.register_read(offset::VS, 4), 0x0002_0100);
    assert_eq!(drive.register_read(offset::CRTO, 4) & 0xFFFF, cap >> 24 & 0xFF);
    for absent in [offset::CMBLOC, offset::CMBSZ, 0x40, 0x50, 0x58, 0xE00, 0xE04, 0x1000, 0x1004] {
        drive.register_write(absent, 4, 0xFFFF_FFFF);
        assert_eq!(drive.register_read(absent, 4), 0, "{absent:#x}");
    }
    // Halves of a register, and accesses that do not exist.
    drive.register_write(offset::ASQ, 4, 0x1234_5000);
    drive.register_write(offset::ASQ + 4, 4, 7);
    assert_eq!(drive.register_read(offset::ASQ, 8), 0x7_1234_5000);
    assert_eq!(drive.register_read(offset::ASQ + 4, 4), 7);
    drive.register_write(offset::ASQ + 2, 4, 0);
    drive.register_write(offset::ASQ, 2, 0);
    drive.register_write(offset::CAP, 8, 0);
    assert_eq!(drive.register_read(offset::ASQ, 8), 0x7_1234_5000);
    assert_eq!(drive.register_read(offset::CAP, 8), cap);
}

#[test]
fn enabling_with_what_does_not_exist_is_fatal_and_a_reset_mends_it() {
    let mut session = session();
    session.transport.driver.disable();
    let good = Cc::new().with_en(true).with_css(0b110).with_iosqes(6).with_iocqes(4);
    let drive = &mut session.transport.driver.port.drive;
    let (asq, aqa) = (drive.register_read(offset::ASQ, 8), drive.register_read(offset::AQA, 4));
    for (cc, asq, aqa) in [
        (good.with_css(0b111), asq, aqa),
        (good.with_css(0b001), asq, aqa),
        (good.with_mps(1), asq, aqa),
        (good.with_ams(2), asq, aqa),
        (good.with_ams(7), asq, aqa),
        (good, asq + 64, aqa),
        (good, asq, 63),
        (good, asq, 63 << 16),
    ] {
        drive.register_write(offset::ASQ, 8, asq);
        drive.register_write(offset::AQA, 4, aqa);
        drive.register_write(offset::CC, 4, cc.into_bits().into());
        let csts = Csts::from_bits(drive.register_read(offset::CSTS, 4) as u32);
        assert!(csts.cfs() && !csts.rdy(), "{cc:?} {asq:#x} {aqa:#x}");
        drive.register_write(offset::CC, 4, 0);
        assert_eq!(drive.register_read(offset::CSTS, 4), 0);
    }
    for cc in [good, good.with_css(0), good.with_ams(1)] {
        drive.register_write(offset::ASQ, 8, asq);
        drive.register_write(offset::AQA, 4, aqa);
        drive.register_write(offset::CC, 4, cc.into_bits().into());
        assert_eq!(drive.register_read(offset::CSTS, 4), 1, "ready");
        // Neither the admin queue nor the command sets change while it is enabled.
        drive.register_write(offset::ASQ, 8, 0);
        drive.register_write(offset::CC, 4, cc.with_css(0b101).with_mps(3).into_bits().into());
        assert_eq!(drive.register_read(offset::ASQ, 8), asq);
        assert_eq!(drive.register_read(offset::CC, 4), u64::from(cc.into_bits()));
        drive.register_write(offset::CC, 4, 0);
    }
}

#[test]
fn subsystem_reset_forgets_the_admin_queue_and_keeps_the_contents() {
    let mut session = session();
    session.write_blocks(0, &[5; 4096]).unwrap();
    session.write_memory(0, &[6; 4096]).unwrap();
    let port = &mut session.transport.driver.port;
    port.register_write(offset::NSSR, 4, 0x1234);
    assert_eq!(port.register_read(offset::CSTS, 4), 1, "only one value resets");
    port.register_write(offset::NSSR, 4, SUBSYSTEM_RESET.into());
    assert_eq!(port.register_read(offset::CSTS, 4), 1 << 4, "NSSRO, not ready");
    for register in [offset::CC, offset::AQA, offset::NSSR] {
        assert_eq!(port.register_read(register, 4), 0, "{register:#x}");
    }
    assert_eq!(port.register_read(offset::ASQ, 8), 0);
    port.register_write(offset::CSTS, 4, 1 << 4);
    assert_eq!(port.register_read(offset::CSTS, 4), 0, "NSSRO is cleared by writing it");
    session.transport.driver.forget_queues();
    session.transport.driver.enable(Cc::new()).unwrap();
    session.transport.driver.create_queue_pair(1, 64).unwrap();
    assert!(session.read_blocks(0, 1).unwrap() == [5; 4096]);
    assert!(session.read_memory(0, 4096).unwrap() == [6; 4096]);
}

#[test]
fn normal_shutdown_waits_for_the_write_buffer_and_an_abrupt_one_does_not() {
    let mut session = session();
    session.write_blocks(0, &vec![5; 1 << 20]).unwrap();
    let cc = Cc::from_bits(session.transport.driver.port.register_read(offset::CC, 4) as u32);
    let notify = |session: &mut Session, shn| {
        let cc = cc.with_shn(shn).into_bits();
        session.transport.driver.port.register_write(offset::CC, 4, cc.into());
    };
    notify(&mut session, 1);
    assert_eq!(csts(&mut session.transport.driver).shst(), 1, "in progress");
    let start = session.transport.driver.port.now();
    while session.transport.driver.port.step() {}
    assert_eq!(csts(&mut session.transport.driver).shst(), 2, "complete");
    let took = session.transport.driver.port.now().since(start);
    assert!(took >= Duration::from_us(200), "{took} is less than one program operation");
    session.transport.driver.disable();
    session.transport.driver.enable(Cc::new()).unwrap();
    assert_eq!(csts(&mut session.transport.driver).shst(), 0);
    notify(&mut session, 2);
    assert_eq!(csts(&mut session.transport.driver).shst(), 2);
}

#[test]
fn shutdown_is_complete_when_its_own_flush_is_and_not_when_one_before_a_reset_is() {
    let mut session = session();
    let notify = |session: &mut Session| {
        let cc = Cc::from_bits(session.transport.driver.port.register_read(offset::CC, 4) as u32);
        session.transport.driver.port.register_write(
            offset::CC,
            4,
            cc.with_shn(1).into_bits().into(),
        );
        assert_eq!(csts(&mut session.transport.driver).shst(), 1, "in progress");
    };
    let programs =
        |session: &Session| session.transport.driver.port.drive.statistics().flash.flash_programs;
    session.write_blocks(0, &vec![5; 1 << 20]).unwrap();
    notify(&mut session);
    session.transport.driver.disable();
    session.transport.driver.enable(Cc::new()).unwrap();
    session.transport.driver.create_queue_pair(1, 64).unwrap();
    session.write_blocks(1 << 10, &vec![6; 1 << 20]).unwrap();
    notify(&mut session);
    while csts(&mut session.transport.driver).shst() == 1 {
        let at = session.transport.driver.port.drive.next_event().expect("the flush goes on");
        session.transport.driver.port.idle_until(at);
    }
    let left = session.transport.driver.port.drive.next_event();
    assert_eq!((programs(&session), left), (512, None), "all is in flash");
}

#[test]
fn host_that_abandons_commands_again_and_again_leaves_nothing_to_wait_for() {
    // Flash so slow that what is asked of it piles up.
    let mut config = config();
    (config.flash.channels, config.flash.dies_per_channel) = (1, 1);
    config.flash.write_buffer_bytes = 1 << 20;
    let mut session = simulator::open(config, 0, 64).unwrap();
    let data = session.transport.driver.port.ram.allocate(1 << 17);
    let prps = session.transport.driver.port.ram.prps(&data, 1 << 17);
    let abandon: [fn(&mut Host); 3] = [
        |host| {
            host.disable();
            host.enable(Cc::new()).unwrap();
            host.create_queue_pair(1, 64).unwrap();
        },
        |host| {
            must(host, ADMIN, commands::format_nvm(NVM_NSID, 0, 0));
        },
        |host| {
            host.delete_submission_queue(IO).unwrap();
            host.delete_completion_queue(1).unwrap();
            host.create_queue_pair(1, 64).unwrap();
        },
    ];
    for abandon in abandon {
        for round in 0..200 {
            for n in 0..60 {
                let opcode = [NvmOpcode::WRITE, NvmOpcode::READ][n as usize % 2];
                session
                    .transport
                    .driver
                    .submit(IO, with_data(read_write(opcode, 32 * n, 32), prps));
            }
            session.transport.driver.port.settle();
            for _ in 0..round % 30 {
                session.transport.driver.port.step();
            }
            abandon(&mut session.transport.driver);
            while session.transport.driver.ready_completion().is_some() {}
        }
        let start = session.transport.driver.port.now();
        let write = with_data(read_write(NvmOpcode::WRITE, 0, 1), (data.address, 0));
        must(&mut session.transport.driver, IO, write);
        let took = session.transport.driver.port.now().since(start);
        assert!(took < Duration::from_us(20_000), "a write waits {took} for nobody's work");
    }
}

#[test]
fn blocks_deallocated_while_they_are_written_do_not_stop_the_drive() {
    let mut config = Config { memory_bytes: 1 << 20, ..Config::default() };
    (config.flash.capacity_bytes, config.flash.keep_data) = (1 << 30, false);
    let mut session = simulator::open(config, 0, 64).unwrap();
    let host = &mut session.transport.driver;
    let zeroes = |first, count, deallocate, fua| {
        let mut entry = commands::write_zeroes(first, count, deallocate);
        entry.cdw12.set(entry.cdw12.get() | u32::from(fua) << 30);
        entry
    };
    const COUNT: u32 = 16_384; // 64 MiB
    for n in 1..16 {
        must(host, IO, zeroes(n * u64::from(COUNT), COUNT, false, false));
    }
    must(host, IO, commands::flush());
    for _ in 0..5 {
        host.enqueue(IO, zeroes(0, COUNT, false, true));
        host.enqueue(IO, zeroes(0, COUNT, true, false));
    }
    host.ring(IO);
    for _ in 0..10 {
        assert!(host.next_completion().unwrap().status.is_success());
    }
    must(host, IO, zeroes(20_000, 1, false, true));
}

#[test]
fn copies_ask_no_more_of_the_flash_than_its_limits() {
    for is_mapped in [false, true] {
        let mut config = Config { memory_bytes: 1 << 20, ..Config::default() };
        (config.flash.capacity_bytes, config.flash.keep_data) = (8 << 30, false);
        config.flash.filled_permille = if is_mapped { 10 } else { 0 };
        let mut session = simulator::open(config, 0, 4096).unwrap();
        let host = &mut session.transport.driver;
        let blocks = (16 << 20) / 4096;
        let buffer = host.port.ram.allocate(4096);
        host.port.ram.put(buffer.address, commands::copy_source(0, blocks).as_bytes());
        for n in 0..400 {
            let entry = commands::copy((n + 1) * blocks, 1, 0);
            host.enqueue(IO, with_data(entry, (buffer.address, 0)));
        }
        host.ring(IO);
        let (mut requests, mut bytes) = (0, 0);
        for _ in 0..400 {
            assert!(host.next_completion().unwrap().status.is_success());
            let statistics = host.port.drive.statistics();
            requests = requests.max(statistics.flash_backlog);
            bytes = bytes.max(statistics.buffered_bytes);
        }
        // One command more than the limit allows.
        let most = (16 << 20) + WAITING_WRITES_MAX + (16 << 20);
        assert!(
            requests < FLASH_BACKLOG_MAX && bytes <= most,
            "{requests} requests, {bytes} bytes"
        );
    }
}

#[test]
fn keep_alive_stops_a_controller_whose_host_is_silent() {
    let mut session = session();
    let host = &mut session.transport.driver;
    set(host, fid::KEEP_ALIVE, 0, 1500);
    assert_eq!(must(host, ADMIN, commands::get_feature(fid::KEEP_ALIVE, 0, 0, 0)), 2000);
    let second = Duration::from_us(1_000_000);
    for _ in 0..5 {
        let then = host.port.now() + second + Duration::from_us(900_000);
        host.port.idle_until(then);
        assert!(!csts(host).cfs());
        must(host, ADMIN, commands::keep_alive());
    }
    let then = host.port.now() + second * 3;
    host.port.idle_until(then);
    assert!(csts(host).cfs(), "two seconds of silence");
    host.disable();
    host.enable(Cc::new()).unwrap();
    let bytes = session.log(lid::ERROR, 0, 64).unwrap();
    let entry = ErrorLogEntry::read_from_bytes(&bytes).unwrap();
    let status = Status::from_bits(entry.status_phase.get() >> 1);
    assert!(status.same_code(Status::KEEP_ALIVE_EXPIRED), "{status}");
}

// Events.

#[test]
fn doorbells_written_wrongly_are_reported_and_logged() {
    let mut session = session();
    let host = &mut session.transport.driver;
    let doorbell = |n: u64| offset::DOORBELLS + 4 * n;
    for _ in 0..4 {
        host.submit(ADMIN, commands::async_event_request());
    }
    // A queue that does not exist.
    host.port.register_write(doorbell(2 * 40), 4, 1);
    let done = host.next_completion().unwrap();
    assert_eq!(event(done.result), (event_type::ERROR, 0, lid::ERROR));
    // The type is silent until its log page was read; what happens meanwhile is told then.
    host.port.register_write(doorbell(2), 4, 64);
    assert_eq!(host.next_completion(), None);
    session.log(lid::ERROR, 0, 64).unwrap();
    let host = &mut session.transport.driver;
    let done = host.next_completion().unwrap();
    assert_eq!(event(done.result), (event_type::ERROR, 1, lid::ERROR));
    let entries = session.log(lid::ERROR, 0, 128).unwrap();
    let newest = ErrorLogEntry::read_from_bytes(&entries[..64]).unwrap();
    assert_eq!((newest.sqid.get(), newest.cid.get(), newest.error_count.get()), (1, 0xFFFF, 2));
    // Values that a queue cannot have: the same tail again, a head past the tail, past the end.
    for (register, value) in [(2, 0), (3, 1), (3, 64)] {
        session.transport.driver.port.register_write(doorbell(register), 4, value);
        let count = |s: &mut Session| {
            let smart = s.log(lid::SMART, 0, 512).unwrap();
            SmartLog::read_from_bytes(&smart).unwrap().error_log_entries.get()
        };
        assert_eq!(count(&mut session), 3 + u128::from(register == 3) + u128::from(value == 64));
    }
    // Before it is ready a controller has no doorbells.
    session.transport.driver.disable();
    session.transport.driver.port.register_write(doorbell(2), 4, 5);
    session.transport.driver.enable(Cc::new()).unwrap();
    session.transport.driver.submit(ADMIN, commands::async_event_request());
    assert_eq!(session.transport.driver.next_completion(), None);
}

#[test]
fn temperature_thresholds_raise_the_warning_and_its_event() {
    let mut session = session();
    let host = &mut session.transport.driver;
    host.submit(ADMIN, commands::async_event_request());
    set(host, fid::TEMPERATURE_THRESHOLD, 0, 300);
    assert_eq!(host.next_completion(), None, "nobody asked for it");
    set(host, fid::ASYNC_EVENTS, 0, 1 << 1);
    let done = host.next_completion().unwrap();
    assert_eq!(event(done.result), (event_type::SMART, 1, lid::SMART));
    let warning = |s: &mut Session| s.log(lid::SMART, 0, 512).unwrap()[0];
    assert_eq!(warning(&mut session), 1 << 1);
    // The event comes when a threshold is crossed, not with every feature that is set meanwhile.
    set(&mut session.transport.driver, fid::ARBITRATION, 0, 2);
    session.transport.driver.submit(ADMIN, commands::async_event_request());
    assert_eq!(session.transport.driver.next_completion(), None);
    set(&mut session.transport.driver, fid::TEMPERATURE_THRESHOLD, 0, 343);
    assert_eq!(warning(&mut session), 0);
    set(&mut session.transport.driver, fid::TEMPERATURE_THRESHOLD, 0, 1 << 20 | 310);
    assert_eq!(warning(&mut session), 1 << 1, "below the lower threshold");
}

#[test]
fn event_requests_hold_no_place_in_the_completion_queue_and_can_be_aborted() {
    let mut session = session();
    let host = &mut session.transport.driver;
    let cids: Vec<u16> =
        (0..4).map(|_| host.submit(ADMIN, commands::async_event_request())).collect();
    // 63 places: all of them are there for other commands.
    for _ in 0..59 {
        host.enqueue(ADMIN, commands::keep_alive());
    }
    host.ring(ADMIN);
    for _ in 0..59 {
        assert!(host.next_completion().unwrap().status.is_success());
    }
    assert_eq!(must(host, ADMIN, commands::abort(0, cids[2])), 0, "aborted");
    let done = host.next_completion().unwrap();
    assert!(done.cid == cids[2] && done.status.same_code(Status::ABORT_REQUESTED));
    assert_eq!(must(host, ADMIN, commands::abort(0, cids[2])), 1, "nothing to abort");
    assert_eq!(host.port.drive.statistics().commands_in_flight, 3);
}

// Features.

#[test]
fn features_have_current_default_and_saved_values() {
    let mut session = session();
    let host = &mut session.transport.driver;
    let get = |host: &mut Host, id, nsid, select| {
        must(host, ADMIN, commands::get_feature(id, nsid, select, 0))
    };
    let values = |host: &mut Host| [0, 1, 2].map(|select| get(host, fid::ARBITRATION, 0, select));
    assert_eq!(values(host), [3, 3, 3]);
    set(host, fid::ARBITRATION, 0, 5);
    assert_eq!(values(host), [5, 3, 3]);
    must(host, ADMIN, commands::set_feature(fid::ARBITRATION, 0, 6, true));
    assert_eq!(values(host), [6, 3, 6]);
    set(host, fid::ARBITRATION, 0, 1);
    host.disable();
    host.enable(Cc::new()).unwrap();
    assert_eq!(values(host), [6, 3, 6], "a reset goes back to the saved value");
    assert_eq!(get(host, fid::ARBITRATION, 0, 3), 0b101, "saveable, changeable");
    assert_eq!(get(host, fid::WRITE_PROTECTION, NVM_NSID, 3), 0b110, "of a namespace, changeable");
    assert_eq!(get(host, fid::NUMBER_OF_QUEUES, 0, 0), 63 << 16 | 63);
    assert_eq!(get(host, fid::NUMBER_OF_QUEUES, 0, 3), 0b100);
}

#[test]
fn timestamp_goes_on_from_what_the_host_said() {
    let mut session = session();
    let read = |session: &mut Session| {
        let host = &mut session.transport.driver;
        let entry = with_buffer(host, commands::get_feature(fid::TIMESTAMP, 0, 0, 0), &[0; 8]);
        must(host, ADMIN, entry);
        let bytes = host.port.ram.view(entry.prp1.get(), 8);
        let timestamp = Timestamp::read_from_bytes(bytes).unwrap();
        (timestamp.ms(), timestamp.attributes)
    };
    let then = session.transport.driver.port.now() + Duration::from_us(7_000_000);
    session.transport.driver.port.idle_until(then);
    assert_eq!(read(&mut session), (7000, 0), "milliseconds since the last reset");
    let now = Timestamp::new(1_700_000_000_000, 0);
    let entry = commands::set_feature(fid::TIMESTAMP, 0, 0, false);
    let entry = with_buffer(&mut session.transport.driver, entry, now.as_bytes());
    must(&mut session.transport.driver, ADMIN, entry);
    let then = session.transport.driver.port.now() + Duration::from_us(250_000);
    session.transport.driver.port.idle_until(then);
    assert_eq!(read(&mut session), (1_700_000_000_250, 1 << 1), "origin: a host");
    session.transport.driver.disable();
    session.transport.driver.enable(Cc::new()).unwrap();
    assert_eq!(read(&mut session), (0, 0));
}

#[test]
fn write_cache_switched_off_makes_writes_wait_for_flash() {
    let mut session = session();
    let mut timed = |cache: u32, fua: u32| {
        set(&mut session.transport.driver, fid::VOLATILE_WRITE_CACHE, 0, cache);
        let start = session.transport.driver.port.now();
        let mut write = read_write(NvmOpcode::WRITE, 0, 1);
        write.cdw12.set(write.cdw12.get() | fua << 30);
        let write = with_buffer(&mut session.transport.driver, write, &[1; 4096]);
        must(&mut session.transport.driver, IO, write);
        let took = session.transport.driver.port.now().since(start);
        while session.transport.driver.port.step() {}
        took.as_ns()
    };
    let (buffered, through, fua) = (timed(1, 0), timed(0, 0), timed(1, 1));
    // Bus 3414 ns, program 200 us.
    assert_eq!((through - buffered, fua - buffered), (203_414, 203_414));
}

#[test]
fn reads_of_deallocated_blocks_are_errors_only_on_demand() {
    let mut session = session();
    session.write_blocks(0, &[7; 3 * 4096]).unwrap();
    let dulbe = |session: &mut Session, on: u32| {
        set(&mut session.transport.driver, fid::ERROR_RECOVERY, NVM_NSID, on << 16);
    };
    let deallocate =
        nvme_spec::command::DatasetRange { nlb: 1.into(), slba: 1.into(), ..Default::default() };
    let entry = commands::dataset_management(1, true);
    let entry = with_buffer(&mut session.transport.driver, entry, deallocate.as_bytes());
    must(&mut session.transport.driver, IO, entry);
    let expected = [[7; 4096], [0; 4096], [7; 4096]].concat();
    assert!(session.read_blocks(0, 3).unwrap() == expected, "zeroes where it was");
    dulbe(&mut session, 1);
    assert!(session.read_blocks(0, 1).is_ok() && session.read_blocks(1, 1).is_err());
    dulbe(&mut session, 0);
    assert!(session.read_blocks(1, 1).is_ok());
    assert_eq!(blocks_in_use(&mut session), 2);
}

// Operations in the background.

#[test]
fn format_changes_the_block_size_empties_the_namespace_and_is_announced() {
    let mut session = session();
    session.write_blocks(0, &[7; 8192]).unwrap();
    let host = &mut session.transport.driver;
    set(host, fid::ASYNC_EVENTS, 0, 1 << 8);
    host.submit(ADMIN, commands::async_event_request());
    let start = host.port.now();
    let cid = host.submit(ADMIN, commands::format_nvm(ALL_NSID, 0, 1));
    // Events come first, the format's completion after the firmware's time.
    let told = host.next_completion().unwrap();
    assert_eq!(event(told.result), (event_type::NOTICE, 0, lid::CHANGED_NAMESPACES));
    let done = host.next_completion().unwrap();
    assert!(done.cid == cid && done.status.is_success());
    let blocks_per_plane = ssd::Geometry::new(&config().flash).unwrap().blocks_per_plane;
    let erase_us = 2000 * u64::from(blocks_per_plane);
    assert!(host.port.now().since(start) >= Duration::from_us(erase_us), "every block was erased");
    let list = session.log(lid::CHANGED_NAMESPACES, 0, 8).unwrap();
    assert_eq!(list, [1, 0, 0, 0, 0, 0, 0, 0]);
    let list = session.log(lid::CHANGED_NAMESPACES, 0, 8).unwrap();
    assert_eq!(list, [0; 8], "reading the list empties it");
    let page = session.identify(cns::NAMESPACE, NVM_NSID, CommandSet::NVM).unwrap();
    let blocks = u64::from_le_bytes(page[..8].try_into().unwrap());
    assert_eq!((blocks, page[26] & 15), ((64 << 20) / 512, 0));
    let buffer = session.transport.driver.port.ram.allocate(4096);
    let read = with_data(read_write(NvmOpcode::READ, 0, 8), (buffer.address, 0));
    must(&mut session.transport.driver, IO, read);
    assert!(session.transport.driver.port.ram.view(buffer.address, 4096) == [0; 4096]);
}

#[test]
fn format_ends_commands_of_its_namespace_first() {
    let mut session = session();
    let host = &mut session.transport.driver;
    let write = with_buffer(host, read_write(NvmOpcode::WRITE, 0, 1), &[1; 4096]);
    let cid = host.submit(IO, write);
    must(host, ADMIN, commands::format_nvm(NVM_NSID, 1, 0));
    let done = host.next_completion().unwrap();
    assert!(done.cid == cid && done.status.same_code(Status::FORMAT_IN_PROGRESS));
    // A reset in the middle of a format leaves the namespace as it was.
    session.write_blocks(0, &[7; 4096]).unwrap();
    session.transport.driver.submit(ADMIN, commands::format_nvm(NVM_NSID, 0, 1));
    session.transport.driver.disable();
    while session.transport.driver.port.step() {}
    session.transport.driver.enable(Cc::new()).unwrap();
    session.transport.driver.create_queue_pair(1, 64).unwrap();
    assert!(session.read_blocks(0, 1).unwrap() == [7; 4096]);
}

#[test]
fn format_leaves_nothing_of_writes_that_wait_for_the_flash() {
    let mut session = session();
    let host = &mut session.transport.driver;
    let data = host.port.ram.allocate(1 << 17);
    host.port.ram.put(data.address, &[9; 1 << 17]);
    let prps = host.port.ram.prps(&data, 1 << 17);
    for n in 0..60 {
        host.submit(IO, with_data(read_write(NvmOpcode::WRITE, 32 * n, 32), prps));
    }
    while host.outstanding(IO) > 50 {
        host.next_completion().unwrap();
    }
    must(host, ADMIN, commands::format_nvm(NVM_NSID, 0, 0));
    while host.outstanding(IO) > 0 {
        let done = host.next_completion().unwrap();
        assert!(done.status.same_code(Status::FORMAT_IN_PROGRESS), "{}", done.status);
    }
    while host.port.step() {}
    assert_eq!(blocks_in_use(&mut session), 0);
    assert!(session.read_blocks(0, 60 * 32).unwrap().iter().all(|byte| *byte == 0));
}

#[test]
fn write_whose_data_ends_too_early_leaves_nothing() {
    let mut session = session();
    session.write_blocks(0, &[7; 8192]).unwrap();
    let buffer = session.transport.driver.port.ram.allocate(4096);
    let write = read_write(NvmOpcode::WRITE, 0, 2);
    let done =
        session.transport.driver.execute(IO, with_data(write, (buffer.address, 1 << 50))).unwrap();
    assert!(done.status.same_code(Status::DATA_TRANSFER_ERROR), "{}", done.status);
    assert!(session.read_blocks(0, 2).unwrap() == [7; 8192]);
}

#[test]
fn sanitize_erases_flash_and_device_memory_over_a_reset_and_is_announced() {
    let mut session = session();
    session.write_blocks(0, &[7; 4096]).unwrap();
    session.write_memory(0, &[8; 4096]).unwrap();
    let log = |session: &mut Session| {
        SanitizeLog::read_from_bytes(&session.log(lid::SANITIZE_STATUS, 0, 512).unwrap()).unwrap()
    };
    let before = log(&mut session);
    assert_eq!((before.sprog.get(), before.sstat.get()), (0xFFFF, 0), "never, and data is there");
    must(&mut session.transport.driver, ADMIN, commands::sanitize(3, 2));
    session.transport.driver.disable();
    session.transport.driver.enable(Cc::new()).unwrap();
    session.transport.driver.submit(ADMIN, commands::async_event_request());
    assert_eq!(before.estimates[0].get(), 1, "seconds of an overwrite, rounded up");
    let then = session.transport.driver.port.now() + Duration::from_us(200_000);
    session.transport.driver.port.idle_until(then);
    let during = log(&mut session);
    assert_eq!(during.sstat.get() & 7, 2, "in progress");
    assert!((10_000..60_000).contains(&during.sprog.get()), "{}", during.sprog.get());
    let done = session.transport.driver.next_completion().unwrap();
    assert_eq!(event(done.result), (event_type::COMMAND_SET, 1, lid::SANITIZE_STATUS));
    let after = log(&mut session);
    assert_eq!((after.sprog.get(), after.sstat.get()), (0xFFFF, 1 << 8 | 2 << 3 | 1));
    assert_eq!(after.scdw10.get(), 2 << 4 | 3);
    session.transport.driver.create_queue_pair(1, 64).unwrap();
    assert!(session.read_blocks(0, 1).unwrap() == [0; 4096]);
    assert!(session.read_memory(0, 4096).unwrap() == [0; 4096]);
}

#[test]
fn self_tests_run_for_their_time_and_keep_their_results() {
    let mut session = session();
    let log = |session: &mut Session| {
        SelfTestLog::read_from_bytes(&session.log(lid::SELF_TEST, 0, 564).unwrap()).unwrap()
    };
    assert_eq!(log(&mut session).results[0].status, 0xF, "no result yet");
    must(&mut session.transport.driver, ADMIN, commands::self_test(ALL_NSID, 1));
    let then = session.transport.driver.port.now() + Duration::from_us(5_000_000);
    session.transport.driver.port.idle_until(then);
    let running = log(&mut session);
    assert_eq!((running.current_operation, running.completion / 10), (1, 5));
    while session.transport.driver.port.step() {}
    assert_eq!(
        (log(&mut session).current_operation, log(&mut session).results[0].status),
        (0, 0x10)
    );
    must(&mut session.transport.driver, ADMIN, commands::self_test(0, 2));
    must(&mut session.transport.driver, ADMIN, commands::self_test(0, 0xF));
    assert_eq!(log(&mut session).results[0].status, 0x21, "aborted by command");
    must(&mut session.transport.driver, ADMIN, commands::self_test(0, 1));
    session.transport.driver.disable();
    session.transport.driver.enable(Cc::new()).unwrap();
    assert_eq!(log(&mut session).results[0].status, 0x12, "aborted by reset");
    must(&mut session.transport.driver, ADMIN, commands::self_test(0, 2));
    must(&mut session.transport.driver, ADMIN, commands::format_nvm(NVM_NSID, 1, 0));
    let results = log(&mut session).results;
    assert_eq!([0, 1, 2, 3, 4].map(|n| results[n].status), [0x24, 0x12, 0x21, 0x10, 0xF]);
}

// Queues.

#[test]
fn shadow_doorbells_carry_commands_and_registers_are_written_only_when_asked() {
    let mut session = session();
    session.transport.driver.enable_shadow_doorbells().unwrap();
    let data: Vec<u8> = (0..4096).map(|n| n as u8).collect();
    for block in 0..300 {
        session.write_blocks(block, &data).unwrap();
    }
    assert!(session.read_blocks(299, 1).unwrap() == data);
    // A queue made afterwards takes part; so does one whose completion queue fills up.
    session.transport.driver.create_queue_pair(2, 4).unwrap();
    let buffer = session.transport.driver.port.ram.allocate(4096);
    for round in 0..50 {
        let mut sent = 0;
        while session.transport.driver.has_room(QueueId(2)) {
            let read = read_write(NvmOpcode::READ, round, 1);
            session.transport.driver.submit(QueueId(2), with_data(read, (buffer.address, 0)));
            sent += 1;
        }
        assert!(sent > 0);
        while session.transport.driver.outstanding(QueueId(2)) > 0 {
            assert!(session.transport.driver.next_completion().unwrap().status.is_success());
        }
    }
}

/// A drive in virtual time that looks at the shadow doorbells whenever it runs and never asks for a
/// register; it counts those that are written nevertheless.
struct Attentive {
    drive: Simulation,
    doorbells: u32,
}

impl Port for Attentive {
    type Memory = simulator::HostRam;

    fn register_read(&mut self, at: u64, size: usize) -> u64 {
        self.drive.register_read(at, size)
    }

    fn register_write(&mut self, at: u64, size: usize, value: u64) {
        self.doorbells += u32::from(at >= offset::DOORBELLS);
        self.drive.register_write(at, size, value);
    }

    fn memory(&mut self) -> &mut Self::Memory {
        self.drive.memory()
    }

    fn settle(&mut self) {
        let now = self.drive.now();
        self.drive.drive.advance(now, &mut self.drive.ram);
    }

    fn wait(&mut self, _: Option<std::time::Duration>) -> bool {
        self.drive.step()
    }

    fn take_interrupts(&mut self, vectors: &mut Vec<u16>) {
        self.drive.take_interrupts(vectors);
    }
}

#[test]
fn shadow_doorbells_alone_carry_commands_and_stale_registers_carry_none() {
    let drive = Simulation::new(config()).unwrap();
    let mut host = Driver::new(Attentive { drive, doorbells: 0 }, 1, 64).unwrap();
    host.enable_shadow_doorbells().unwrap();
    host.port.doorbells = 0;
    let buffer = host.port.memory().allocate(4096);
    let read = |host: &mut Driver<Attentive>| {
        let entry = with_data(read_write(NvmOpcode::READ, 0, 1), (buffer.address, 0));
        assert!(host.execute(IO, entry).unwrap().status.is_success());
    };
    for _ in 0..640 {
        read(&mut host);
    }
    // The event indices stay 0: each queue rings once a round, as its index passes 0.
    assert!(host.port.doorbells <= 2 * 11, "{} register writes", host.port.doorbells);
    // A register write that comes late says "look", whatever its value: nothing runs again.
    let commands = host.port.drive.drive.statistics().commands;
    for stale in [0, 5, 63, 64, u64::from(u32::MAX)] {
        host.port.register_write(offset::DOORBELLS + 8, 4, stale);
        host.port.register_write(offset::DOORBELLS + 12, 4, stale);
        host.port.settle();
        while host.port.wait(None) {}
    }
    assert_eq!(host.port.drive.drive.statistics().commands, commands);
    for _ in 0..200 {
        read(&mut host);
    }
    assert_eq!(host.port.drive.drive.statistics().commands, commands + 200);
}

#[test]
fn queues_of_64_ki_entries_work() {
    let mut host = simulator::host(config(), 0, 2).unwrap();
    host.create_queue_pair(1, 65_536).unwrap();
    for _ in 0..70_000 {
        must(&mut host, IO, commands::flush());
    }
}

#[test]
fn queues_share_a_completion_queue() {
    let mut session = session();
    let host = &mut session.transport.driver;
    host.create_completion_queue(CompletionQueueOptions { id: 9, entries: 5, vector: Some(3) })
        .unwrap();
    for id in 20..24 {
        let options = SubmissionQueueOptions { id, entries: 8, completion_queue: 9, priority: 0 };
        host.create_submission_queue(options).unwrap();
    }
    for id in 20..24 {
        for _ in 0..7 {
            host.submit(QueueId(id), commands::flush());
        }
    }
    let mut done = [0; 4];
    while let Some(completion) = host.next_completion() {
        done[usize::from(completion.queue.0) - 20] += 1;
    }
    assert_eq!(done, [7; 4]);
}

/// Commands of several queues that wait together begin by weight, in the order of the classes.
#[test]
fn weighted_round_robin_serves_queues_by_their_weights() {
    let mut session = session();
    session.transport.driver.disable();
    session.transport.driver.enable(Cc::new().with_ams(1)).unwrap();
    let host = &mut session.transport.driver;
    let weights = Arbitration::new().with_ab(0).with_hpw_z(3).with_mpw_z(1).with_lpw_z(0);
    set(host, fid::ARBITRATION, 0, weights.into_bits());
    for (id, priority) in [(1, 3), (2, 2), (3, 1), (4, 0)] {
        host.create_completion_queue(CompletionQueueOptions { id, entries: 64, vector: Some(id) })
            .unwrap();
        let options = SubmissionQueueOptions { id, entries: 64, completion_queue: id, priority };
        host.create_submission_queue(options).unwrap();
    }
    // The doorbells are all there before the drive looks.
    for id in 1..5 {
        for _ in 0..8 {
            host.enqueue(QueueId(id), commands::flush());
        }
        host.port.register_write(offset::DOORBELLS + 8 * u64::from(id), 4, 8);
    }
    host.port.drive.set_recording(true);
    let order: Vec<u16> =
        std::iter::from_fn(|| host.next_completion()).map(|d| d.queue.0).collect();
    assert_eq!(order.len(), 32);
    let records = host.port.drive.take_records().commands;
    let order: Vec<u16> = records.iter().map(|r| r.sqid).collect();
    assert_eq!(order[..8], [4; 8], "urgent first");
    assert_eq!(order[8..22], [3, 3, 3, 3, 2, 2, 1, 3, 3, 3, 3, 2, 2, 1], "4 : 2 : 1");
}

#[test]
fn interrupts_are_gathered_by_count_and_by_time() {
    let mut session = session();
    let host = &mut session.transport.driver;
    let gather = InterruptCoalescing::new().with_thr_z(3).with_time(2);
    set(host, fid::INTERRUPT_COALESCING, 0, gather.into_bits());
    // Four completions raise one interrupt at once.
    let start = host.port.now();
    for _ in 0..4 {
        host.enqueue(IO, commands::flush());
    }
    host.ring(IO);
    assert!(host.next_completion().is_some());
    assert_eq!(host.port.now().since(start), Duration::from_us(2), "firmware time alone");
    assert_eq!((0..3).filter(|_| host.ready_completion().is_some()).count(), 3);
    // One waits for the time.
    let start = host.port.now();
    must(host, IO, commands::flush());
    assert_eq!(host.port.now().since(start), Duration::from_us(202));
    // A vector that is excluded does not wait.
    set(host, fid::INTERRUPT_VECTOR, 0, 1 << 16 | 1);
    let start = host.port.now();
    must(host, IO, commands::flush());
    assert_eq!(host.port.now().since(start), Duration::from_us(2));
}

// Leases.

/// A worker that a reset finds running keeps its program and its ranges, and a sanitize waits for
/// it; when the result of the forgotten command arrives, everything is free.
#[test]
fn leases_end_when_the_worker_does_whatever_became_of_the_command() {
    let mut session = session();
    session.load_program(0, DOUBLE).unwrap();
    let set = session.create_range_set(&[(0, 4096), (8192, 4096)]).unwrap();
    let host = &mut session.transport.driver;
    let execute = Execute { rsid: set, ..Default::default() }.entry();
    host.enqueue(IO, execute);
    // The shell of this test takes the work and sits on it.
    let now = host.port.now();
    let tail = offset::DOORBELLS + 8;
    host.port.drive.register_write(tail, 4, 1);
    host.port.drive.advance(now, &mut host.port.ram);
    let work = std::mem::take(&mut host.port.drive.outbox().work);
    assert_eq!(work.len(), 1);
    host.disable();
    host.enable(Cc::new()).unwrap();
    let status = |host: &mut Host, entry| host.execute(ADMIN, entry).unwrap().status;
    let off = commands::activate_program(0, false);
    assert!(status(host, off).same_code(Status::PROGRAM_IN_USE));
    assert!(status(host, commands::unload_program(0)).same_code(Status::PROGRAM_IN_USE));
    must(host, ADMIN, commands::sanitize(4, 0));
    let then = host.port.now() + Duration::from_us(50_000);
    host.port.idle_until(then);
    let log = session.log(lid::SANITIZE_STATUS, 0, 512).unwrap();
    assert_eq!(log[2] & 7, 2, "still in progress: a program could write device memory");
    let host = &mut session.transport.driver;
    for item in work {
        let done = item.run(&mut Worker::default());
        host.port.drive.work_done(done);
    }
    // The drive sees the results now; the sanitize looks again later.
    host.port.settle();
    let then = host.port.now() + Duration::from_us(1_000);
    host.port.idle_until(then);
    let log = session.log(lid::SANITIZE_STATUS, 0, 512).unwrap();
    assert_eq!(log[2] & 7, 1, "done");
    let host = &mut session.transport.driver;
    must(host, ADMIN, off);
    must(host, ADMIN, commands::unload_program(0));
    must(host, ADMIN, commands::delete_range_set(set));
    assert_eq!(host.port.drive.statistics().commands_in_flight, 0);
}

/// The same commands at the same times: the hash says so, and tells runs apart.
#[test]
fn runs_are_a_function_of_the_script() {
    let run = |value: u32| {
        let mut session = session();
        set(&mut session.transport.driver, fid::INTERRUPT_COALESCING, 0, 0x0203);
        session.write_blocks(3, &[9; 8192]).unwrap();
        set(&mut session.transport.driver, fid::ARBITRATION, 0, value);
        let _ =
            session.transport.driver.execute(ADMIN, commands::format_nvm(NVM_NSID, 0, 2)).unwrap();
        session.transport.driver.port.drive.statistics().trace_hash
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

//! Flexible Data Placement as bytes: what hosts say of writes, and what they are told (Base 2.1, section 8.1.10).

use client::commands::{self, read_write};
use client::{Completion, QueueId};
use controller::{Config, Parts};
use nvme_spec::{CommandSet, NvmOpcode, Status, SubmissionEntry, cns, fid, lid};
use simtime::Prng;
use simulator::Session;

mod exchange;

use exchange::send;

const ADMIN: QueueId = QueueId(0);
const IO: QueueId = QueueId(1);
const GROUP: u32 = 1;

fn config(streams: u32) -> Config {
    let mut config = Config { memory_bytes: 1 << 20, placement: true, ..Config::default() };
    config.flash.capacity_bytes = 1024 * 4096;
    (config.flash.channels, config.flash.dies_per_channel) = (2, 1);
    config.flash.pages_per_block = 16;
    config.flash.overprovisioning_permille = 400;
    config.flash.write_buffer_bytes = 64 * 4096;
    config.flash.hint_streams = streams;
    config
}

fn open(config: Config) -> Session {
    simulator::open(config, 0, 64).unwrap()
}

fn must(done: Completion) -> u64 {
    assert!(done.status.is_success(), "{}", done.status);
    done.result
}

fn log(s: &mut Session, id: u8, len: usize, lsp: u32) -> Vec<u8> {
    let mut entry = commands::get_log(id, 0, CommandSet::NVM, 0, len as u64);
    entry.cdw10.set(entry.cdw10.get() | lsp << 8);
    entry.cdw11.set(entry.cdw11.get() | GROUP << 16);
    let mut page = vec![0; len];
    must(send(s, ADMIN, entry, &mut page));
    page
}

fn number(page: &[u8], at: usize, len: usize) -> u64 {
    page[at..at + len].iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte))
}

fn write(s: &mut Session, block: u64, placement: Option<u16>) -> Status {
    let mut entry = read_write(NvmOpcode::WRITE, block, 1);
    if let Some(identifier) = placement {
        entry.cdw12.set(entry.cdw12.get() | 2 << 20);
        entry.cdw13.set(u32::from(identifier) << 16);
    }
    send(s, IO, entry, &mut [block as u8; 4096]).status
}

fn management(opcode: NvmOpcode, cdw10: u32, cdw11: u32) -> SubmissionEntry {
    let mut entry =
        SubmissionEntry { opcode: opcode.0, nsid: 1.into(), ..SubmissionEntry::default() };
    entry.cdw10.set(cdw10);
    entry.cdw11.set(cdw11);
    entry
}

/// Placement identifier, reclaim unit handle and blocks left, of each handle of namespace 1.
fn handles(s: &mut Session) -> Vec<(u64, u64, u64)> {
    let mut page = vec![0; 4096];
    let entry = management(NvmOpcode::IO_MANAGEMENT_RECEIVE, 1, 1023);
    must(send(s, IO, entry, &mut page));
    let at = |n: usize, offset, len| number(&page, 16 + 32 * n + offset, len);
    let count = number(&page, 14, 2) as usize;
    (0..count).map(|n| (at(n, 0, 2), at(n, 2, 2), at(n, 8, 8))).collect()
}

fn update(s: &mut Session, identifiers: &[u16]) -> Status {
    let mut list: Vec<u8> = identifiers.iter().flat_map(|one| one.to_le_bytes()).collect();
    list.resize(list.len().next_multiple_of(4), 0);
    let count = identifiers.len() as u32 - 1;
    send(s, IO, management(NvmOpcode::IO_MANAGEMENT_SEND, count << 16 | 1, 0), &mut list).status
}

#[test]
fn what_a_drive_says_of_placement() {
    let s = &mut open(config(4));
    let page = s.identify(cns::CONTROLLER, 0, CommandSet::NVM).unwrap();
    assert_eq!(number(&page, 96, 4) >> 19 & 1, 1, "CTRATT.FDPS");
    let supported = log(s, lid::SUPPORTED_PAGES, 1024, 0);
    assert!((0x20..=0x23).all(|id| supported[4 * id] == 1));
    // One configuration: 4 planes of blocks of 16 pages.
    let page = log(s, lid::FDP_CONFIGURATIONS, 96, 0);
    assert_eq!((number(&page, 0, 2), number(&page, 4, 4)), (0, 96));
    assert_eq!((number(&page, 16, 2), page[18]), (80, 0b1001_0000), "with a write cache");
    assert_eq!((number(&page, 20, 4), number(&page, 24, 2)), (1, 4), "one group, four handles");
    assert_eq!(number(&page, 32, 8), 4 * 16 * 4096, "a reclaim unit");
    assert_eq!(page[80..], [1, 0, 0, 0].repeat(4), "initially isolated");
    let page = log(s, lid::FDP_USAGE, 40, 0);
    assert_eq!(number(&page, 0, 2), 4);
    assert!((1..5).all(|n| page[8 * n] == 2), "the controller gave all to namespace 1");
    // It is enabled, and stays so.
    let entry = commands::get_feature(fid::PLACEMENT, 0, 0, GROUP);
    assert_eq!(must(send(s, ADMIN, entry, &mut [0; 4])), 1);
    let entry = commands::set_feature(fid::PLACEMENT, 0, GROUP, false);
    let status = send(s, ADMIN, entry, &mut [0; 4]).status;
    assert!(status.same_code(Status::FEATURE_NOT_CHANGEABLE), "{status}");
    let persistent = Config {
        flash: ssd::Config { isolation: ssd::Isolation::Persistent, ..config(2).flash },
        ..config(2)
    };
    assert_eq!(log(&mut open(persistent), lid::FDP_CONFIGURATIONS, 88, 0)[80], 2);
}

#[test]
fn units_fill_and_are_changed_for_others() {
    let s = &mut open(config(3));
    assert_eq!(handles(s), [(0, 0, 64), (1, 1, 64), (2, 2, 64)]);
    for block in 0..10 {
        assert!(write(s, block, Some(1)).is_success());
    }
    assert!(write(s, 10, None).is_success());
    s.flush().unwrap();
    assert_eq!(handles(s), [(0, 0, 63), (1, 1, 54), (2, 2, 64)]);
    // All identifiers are checked before any is changed.
    let status = update(s, &[1, 3]);
    assert!(status.same_code(Status::INVALID_FIELD), "{status}");
    assert_eq!(handles(s)[1], (1, 1, 54));
    assert!(update(s, &[1]).is_success());
    assert_eq!(handles(s), [(0, 0, 63), (1, 1, 64), (2, 2, 64)]);
    for block in 20..90 {
        assert!(write(s, block, Some(2)).is_success());
    }
    s.flush().unwrap();
    assert_eq!(handles(s)[2], (2, 2, 64 - (70 - 64)), "the next unit");
    // Everything is where it was written.
    for block in (0..11).chain(20..90) {
        assert_eq!(s.read_blocks(block, 1).unwrap(), [block as u8; 4096]);
    }
    let page = log(s, lid::FDP_STATISTICS, 64, 0);
    assert_eq!((number(&page, 0, 8), number(&page, 16, 8)), (81 * 4096, 81 * 4096));
    for operation in [0, 2, 255] {
        let entry = management(NvmOpcode::IO_MANAGEMENT_RECEIVE, operation, 0);
        let status = send(s, IO, entry, &mut [0; 4]).status;
        assert!(status.same_code(Status::INVALID_FIELD), "{status}");
    }
}

#[test]
fn hosts_are_told_of_what_they_ask_for() {
    let s = &mut open(config(2));
    let number_of = |s: &mut Session| number(&log(s, lid::FDP_EVENTS, 64, 1), 0, 4);
    // Nobody asked.
    assert!(write(s, 0, Some(9)).is_success(), "as none");
    assert_eq!(number_of(s), 0);
    // What was acknowledged and is in the write buffer is of the unit before, too.
    let mut set = commands::set_feature(fid::PLACEMENT_EVENTS, 1, 2 << 16, false);
    set.cdw12.set(1);
    must(send(s, ADMIN, set, &mut [0, 3, 0, 0]));
    let mut got = [0; 4];
    let get = commands::get_feature(fid::PLACEMENT_EVENTS, 1, 0, 2 << 16);
    assert_eq!(must(send(s, ADMIN, get, &mut got)), 2);
    assert_eq!(got, [0, 1, 3, 1]);
    assert!(write(s, 1, Some(9)).is_success());
    assert!(update(s, &[0]).is_success());
    let page = log(s, lid::FDP_EVENTS, 192, 1);
    assert_eq!(number(&page, 0, 4), 2);
    let (first, second) = (&page[64..128], &page[128..192]);
    assert_eq!((first[0], first[1], number(first, 2, 2), number(first, 12, 4)), (3, 7, 9, 1));
    assert_eq!((second[0], number(second, 2, 2), second[34]), (0, 0, 0));
    // Those of the controller's doing are others.
    assert_eq!(number(&log(s, lid::FDP_EVENTS, 64, 0), 0, 4), 0);
    for (cdw11, kinds) in [(1 << 16 | 7, [0, 0]), (2 << 16, [0, 1]), (0, [0, 0])] {
        let mut set = commands::set_feature(fid::PLACEMENT_EVENTS, 1, cdw11, false);
        set.cdw12.set(1);
        let status = send(s, ADMIN, set, &mut kinds.clone()).status;
        assert!(status.same_code(Status::INVALID_FIELD), "{cdw11:x}: {status}");
    }
}

#[test]
fn hosts_list_the_handles_of_their_namespaces() {
    let mut config = config(4);
    config.namespaces =
        vec![controller::NamespaceConfig { nsid: 9, kind: controller::NamespaceKind::Programs }];
    let s = &mut open(config);
    let create = |s: &mut Session, handles: &[u16]| {
        let mut data = vec![0; 4096];
        data[..8].copy_from_slice(&64u64.to_le_bytes());
        data[8..16].copy_from_slice(&64u64.to_le_bytes());
        data[26] = 1;
        data[392..394].copy_from_slice(&(handles.len() as u16).to_le_bytes());
        for (n, handle) in handles.iter().enumerate() {
            data[512 + 2 * n..514 + 2 * n].copy_from_slice(&handle.to_le_bytes());
        }
        send(s, ADMIN, commands::create_namespace(), &mut data)
    };
    for wrong in [&[4][..], &[1, 1], &[0; 17]] {
        let status = create(s, wrong).status;
        assert!(status.same_code(Status::INVALID_PLACEMENT_HANDLE_LIST), "{status}");
    }
    assert_eq!(must(create(s, &[3, 1])), 1);
    let mut list = vec![0; 4096];
    list[0] = 1;
    must(send(s, ADMIN, commands::attach_namespace(1, true), &mut list));
    assert_eq!(handles(s), [(0, 3, 64), (1, 1, 64)]);
    let page = log(s, lid::FDP_USAGE, 40, 0);
    assert_eq!([8, 16, 24, 32].map(|at| page[at]), [0, 1, 0, 1], "the host's");
    // Without a list it is one.
    assert_eq!(must(create(s, &[])), 2);
    assert_eq!(log(s, lid::FDP_USAGE, 40, 0)[16], 1);
}

/// After a loss of power handles go on in their own blocks, and say what is left of them.
#[test]
fn units_are_their_handles_after_a_loss_of_power_too() {
    let s = &mut open(config(3));
    for (block, identifier) in (0..30).map(|n| (n, (n % 3) as u16)) {
        assert!(write(s, block, Some(identifier)).is_success());
    }
    assert!(update(s, &[2]).is_success());
    let host = &mut s.transport.driver;
    host.port.power_cut();
    host.disable();
    host.enable(nvme_spec::Cc::new()).unwrap();
    host.create_queue_pair(1, 64).unwrap();
    // Collection has taken one of the blocks in each plane; what is left is told as it is.
    let before = handles(s);
    assert_eq!(before[2].2, 64, "it goes on in another unit");
    for block in 100..104 {
        assert!(write(s, block, Some(2)).is_success());
    }
    s.flush().unwrap();
    let after = handles(s);
    assert_eq!((after[0], after[1]), (before[0], before[1]), "nobody else's");
    assert_eq!(after[2].2, 60);
}

/// A drive without placement has nothing of it.
#[test]
fn a_drive_without_placement_refuses() {
    let s = &mut open(Config { placement: false, ..config(4) });
    assert!(write(s, 0, Some(0)).same_code(Status::INVALID_FIELD));
    let entry = management(NvmOpcode::IO_MANAGEMENT_RECEIVE, 1, 0);
    let status = send(s, IO, entry, &mut [0; 4]).status;
    assert!(status.same_code(Status::FDP_DISABLED), "{status}");
    assert!(update(s, &[0]).same_code(Status::FDP_DISABLED));
    let entry = commands::get_log(lid::FDP_USAGE, 0, CommandSet::NVM, 0, 64);
    assert!(send(s, ADMIN, entry, &mut [0; 64]).status.same_code(Status::INVALID_LOG_PAGE));
    let entry = commands::get_feature(fid::PLACEMENT, 0, 0, GROUP);
    assert!(send(s, ADMIN, entry, &mut [0; 4]).status.same_code(Status::INVALID_FIELD));
    let page = s.identify(cns::CONTROLLER, 0, CommandSet::NVM).unwrap();
    assert_eq!(number(&page, 96, 4) >> 19 & 1, 0);
}

/// A host that tells hot writes from cold ones has the flash move less.
#[test]
fn placement_lowers_write_amplification() {
    let amplification = |placed: bool| {
        let mut config = config(2);
        config.flash.isolation = ssd::Isolation::Persistent;
        config.flash.overprovisioning_permille = 250;
        config.flash.keep_data = false;
        let mut session = simulator::open_drive(
            controller::Controller::with_parts(config, Parts::default()).unwrap(),
            0,
            64,
        )
        .unwrap();
        let s = &mut session;
        let mut prng = Prng::new(7);
        for n in 0..40_000 {
            // A tenth of the blocks has nine of ten writes.
            let is_hot = n >= 1024 && prng.below(10) > 0;
            let block = if is_hot { prng.below(102) } else { n % 1024 };
            let identifier = placed.then_some(u16::from(is_hot));
            assert!(write(s, block, identifier).is_success());
        }
        session.transport.driver.port.drive.statistics().flash.write_amplification()
    };
    let (mixed, placed) = (amplification(false), amplification(true));
    assert!(placed < 0.9 * mixed, "{mixed} -> {placed}");
}

/// A host that changes units for others after each write, on a drive that is nearly full: it goes on, and no block is lost.
#[test]
fn units_that_are_given_up_come_back() {
    let mut config = config(4);
    config.flash.write_buffer_bytes = 0;
    let s = &mut open(config);
    for block in 0..1024 {
        assert!(write(s, block, Some((block % 4) as u16)).is_success());
    }
    let mut prng = Prng::new(3);
    for n in 0..3000u64 {
        let identifier = prng.below(4) as u16;
        assert!(write(s, prng.below(1024), Some(identifier)).is_success(), "{n}");
        assert!(update(s, &[identifier]).is_success());
    }
    for block in 0..1024 {
        assert_eq!(s.read_blocks(block, 1).unwrap(), [block as u8; 4096]);
    }
    s.transport.driver.port.drive.check();
}

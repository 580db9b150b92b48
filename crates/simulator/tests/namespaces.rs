//! Drives with several namespaces of each kind: what is listed, what comes and goes at run time, and that none sees the
//! others' data.

use client::commands::{self, copy_source, copy_source_memory, read_write, with_data};
use client::{Completion, DmaMemory, QueueId};
use controller::{Config, NamespaceConfig, NamespaceKind};
use nvme_spec::command::MemoryRangeDescriptor;
use nvme_spec::{
    AsyncEvent, CommandSet, ControllerList, IdentifyController, IdentifyNamespaceNvm,
    NamespaceSpecification, NvmOpcode, Status, SubmissionEntry, cns, lid,
};
use simtime::Prng;
use simulator::Session;
use zerocopy::{FromBytes, IntoBytes};

const ADMIN: QueueId = QueueId(0);
const IO: QueueId = QueueId(1);
const MIB: u64 = 1 << 20;
const DOUBLE: &[u8] = include_bytes!("../../../examples/programs/double.bpf.o");

/// Two namespaces of each kind, in no order, on a flash of 64 MiB.
fn config() -> Config {
    let nvm = |bytes, block_bytes| NamespaceKind::Nvm { bytes, block_bytes };
    let listed = [
        (5, NamespaceKind::Programs),
        (1, nvm(24 * MIB, 4096)),
        (2, NamespaceKind::Memory { bytes: 4 * MIB }),
        (3, nvm(8 * MIB, 512)),
        (9, NamespaceKind::Memory { bytes: MIB }),
        (4, NamespaceKind::Programs),
    ];
    let namespaces = listed.into_iter().map(|(nsid, kind)| NamespaceConfig { nsid, kind });
    let mut config = Config { namespaces: namespaces.collect(), ..Config::default() };
    config.flash.capacity_bytes = 64 * MIB;
    config
}

fn send(s: &mut Session, queue: QueueId, entry: SubmissionEntry, data: &[u8]) -> Completion {
    let ram = &mut s.transport.driver.port.ram;
    let buffer = ram.allocate(data.len().max(4096) as u64);
    ram.put(buffer.address, data);
    let prps = ram.prps(&buffer, data.len() as u64);
    s.transport.driver.execute(queue, with_data(entry, prps)).unwrap()
}

fn receive(s: &mut Session, entry: SubmissionEntry, len: usize) -> Result<Vec<u8>, Status> {
    let ram = &mut s.transport.driver.port.ram;
    let buffer = ram.allocate(len.max(4096) as u64);
    let prps = ram.prps(&buffer, len as u64);
    let done = s.transport.driver.execute(IO, with_data(entry, prps)).unwrap();
    if !done.status.is_success() {
        return Err(done.status);
    }
    let mut bytes = vec![0; len];
    s.transport.driver.port.ram.get(buffer.address, &mut bytes);
    Ok(bytes)
}

fn must(done: Completion) -> u64 {
    assert!(done.status.is_success(), "{}", done.status);
    done.result
}

fn of(nsid: u32, entry: SubmissionEntry) -> SubmissionEntry {
    SubmissionEntry { nsid: nsid.into(), ..entry }
}

fn write(s: &mut Session, nsid: u32, block: u64, data: &[u8], block_bytes: usize) {
    let count = (data.len() / block_bytes) as u32;
    must(send(s, IO, of(nsid, read_write(NvmOpcode::WRITE, block, count)), data));
}

fn read(s: &mut Session, nsid: u32, block: u64, len: usize, block_bytes: usize) -> Vec<u8> {
    let entry = of(nsid, read_write(NvmOpcode::READ, block, (len / block_bytes) as u32));
    receive(s, entry, len).unwrap()
}

fn list(s: &mut Session, cns: u8, csi: u8) -> Vec<u32> {
    let page = s.identify(cns, 0, CommandSet(csi)).unwrap();
    let ids = page.chunks(4).map(|id| u32::from_le_bytes(id.try_into().unwrap()));
    ids.take_while(|id| *id != 0).collect()
}

fn identify(s: &mut Session, cns: u8, nsid: u32) -> IdentifyNamespaceNvm {
    let page = s.identify(cns, nsid, CommandSet::NVM).unwrap();
    IdentifyNamespaceNvm::read_from_bytes(&page).unwrap()
}

fn unallocated(s: &mut Session) -> u128 {
    let page = s.identify(cns::CONTROLLER, 0, CommandSet::NVM).unwrap();
    IdentifyController::read_from_bytes(&page).unwrap().unvmcap.get()
}

fn create(s: &mut Session, blocks: u64, format: u8) -> Completion {
    let (nsze, ncap) = (blocks.into(), blocks.into());
    let new = NamespaceSpecification { nsze, ncap, flbas: format, ..Default::default() };
    let mut data = vec![0; 4096];
    data[..new.as_bytes().len()].copy_from_slice(new.as_bytes());
    send(s, ADMIN, commands::create_namespace(), &data)
}

fn attach(s: &mut Session, nsid: u32, attach: bool) -> Completion {
    let list = ControllerList { count: 1.into(), ..Default::default() };
    send(s, ADMIN, commands::attach_namespace(nsid, attach), list.as_bytes())
}

fn delete(s: &mut Session, nsid: u32) -> Completion {
    s.transport.driver.execute(ADMIN, commands::delete_namespace(nsid)).unwrap()
}

#[test]
fn listed_namespaces_are_there_with_their_sizes() {
    let mut session = simulator::open(config(), 0, 64).unwrap();
    let s = &mut session;
    assert_eq!(list(s, cns::ACTIVE_NAMESPACES, 0), [1, 2, 3, 4, 5, 9]);
    for (csi, expected) in [(0, [1, 3]), (3, [2, 9]), (4, [4, 5])] {
        assert_eq!(list(s, cns::CSI_ACTIVE_NAMESPACES, csi), expected);
        assert_eq!(list(s, cns::CSI_ALLOCATED_NAMESPACES, csi), expected);
    }
    let (first, second) = (identify(s, cns::NAMESPACE, 1), identify(s, cns::NAMESPACE, 3));
    assert_eq!((first.nsze.get(), second.nsze.get()), (24 * MIB / 4096, 8 * MIB / 512));
    assert_ne!((first.nguid, first.eui64), (second.nguid, second.eui64));
    for (nsid, bytes) in [(2, 4 * MIB), (9, MIB)] {
        let page = s.identify(cns::CSI_NAMESPACE, nsid, CommandSet::MEMORY).unwrap();
        assert_eq!(u64::from_le_bytes(page[..8].try_into().unwrap()), bytes);
    }
    assert_eq!(unallocated(s), u128::from(32 * MIB));
    assert!(s.identify(cns::NAMESPACE, 6, CommandSet::NVM).unwrap().iter().all(|b| *b == 0));
}

#[test]
fn namespaces_do_not_see_each_other() {
    let mut session = simulator::open(config(), 0, 64).unwrap();
    let s = &mut session;
    write(s, 1, 0, &[1; 8192], 4096);
    write(s, 3, 0, &[3; 8192], 512);
    assert_eq!(read(s, 1, 0, 8192, 4096), [1; 8192]);
    assert_eq!(read(s, 3, 0, 8192, 512), [3; 8192]);
    // The last block is the last one, and its neighbour in flash is another's.
    let last = 24 * MIB / 4096 - 1;
    write(s, 1, last, &[9; 4096], 4096);
    let beyond = of(1, read_write(NvmOpcode::READ, last, 2));
    assert_eq!(receive(s, beyond, 8192), Err(Status::LBA_OUT_OF_RANGE.with_dnr()));
    assert_eq!(read(s, 3, 0, 512, 512), [3; 512]);
    assert_eq!(identify(s, cns::NAMESPACE, 3).nuse.get(), 8192 / 512);

    let memory = |nsid, start: u64, len: u32| {
        let entry = commands::memory(nvme_spec::MemoryOpcode::READ, start, len);
        of(nsid, entry)
    };
    let fill = |value: u8, nsid| {
        let entry = commands::memory(nvme_spec::MemoryOpcode::WRITE, 0, 4096);
        (of(nsid, entry), vec![value; 4096])
    };
    for (entry, data) in [fill(2, 2), fill(9, 9)] {
        must(send(s, IO, entry, &data));
    }
    assert_eq!(receive(s, memory(2, 0, 4096), 4096).unwrap(), [2; 4096]);
    assert_eq!(receive(s, memory(9, 0, 4096), 4096).unwrap(), [9; 4096]);
    let beyond = receive(s, memory(9, MIB, 4), 4);
    assert_eq!(beyond, Err(Status::INVALID_FIELD.with_dnr()));

    // Format, write protection and error recovery are of one namespace.
    must(s.transport.driver.execute(ADMIN, commands::format_nvm(3, 1, 0)).unwrap());
    assert_eq!(identify(s, cns::NAMESPACE, 3).nsze.get(), 8 * MIB / 4096);
    assert_eq!(read(s, 1, 0, 8192, 4096), [1; 8192]);
    assert_eq!(read(s, 3, 0, 4096, 4096), [0; 4096]);
    let protect = commands::set_feature(nvme_spec::fid::WRITE_PROTECTION, 3, 1, false);
    must(s.transport.driver.execute(ADMIN, protect).unwrap());
    let refused = send(s, IO, of(3, read_write(NvmOpcode::WRITE, 0, 1)), &[0; 4096]);
    assert!(refused.status.same_code(Status::WRITE_PROTECTED));
    write(s, 1, 1, &[4; 4096], 4096);
    let strict = commands::set_feature(nvme_spec::fid::ERROR_RECOVERY, 1, 1 << 16, false);
    must(s.transport.driver.execute(ADMIN, strict).unwrap());
    let unwritten = receive(s, of(1, read_write(NvmOpcode::READ, 100, 1)), 4096);
    assert_eq!(unwritten, Err(Status::UNWRITTEN_BLOCK.with_dnr()));
    assert_eq!(read(s, 3, 100, 4096, 4096), [0; 4096]);
}

#[test]
fn copies_and_programs_name_their_namespaces() {
    let mut session = simulator::open(config(), 0, 64).unwrap();
    let s = &mut session;
    let values: Vec<u8> = (0..1024u32).flat_map(|n| n.to_le_bytes()).collect();
    write(s, 3, 8, &values, 512);
    // From the blocks of namespace 3 to memory 9, from there to memory 2, and from there to the blocks of namespace 1.
    let blocks = [SourceOf { nsid: 3 }.blocks(8, 8)].concat();
    must(send(s, IO, of(9, commands::memory_copy(4096, 4096, 1, 2)), &blocks));
    let memory = SourceOf { nsid: 9 }.memory(4096, 4096);
    must(send(s, IO, of(2, commands::memory_copy(0, 4096, 1, 4)), &memory));
    must(
        s.transport.driver.execute(ADMIN, commands::set_feature(0xC0, 0, 0b1_1100, false)).unwrap(),
    );
    let memory = SourceOf { nsid: 2 }.memory(0, 4096);
    must(send(s, IO, of(1, commands::copy(5, 1, 4)), &memory));
    assert_eq!(read(s, 1, 5, 4096, 4096), values);
    // Between blocks of one size only; the kind of a namespace matters, and that it is there.
    let status = |s: &mut Session, nsid, format, source: &[u8]| {
        send(s, IO, of(nsid, commands::copy(5, 1, format)), source).status
    };
    for (nsid, expected) in [
        (3, Status::INCOMPATIBLE_NAMESPACE),
        (2, Status::INCOMPATIBLE_NAMESPACE),
        (4, Status::INCOMPATIBLE_NAMESPACE),
        (6, Status::INVALID_NAMESPACE),
    ] {
        let got = status(s, 1, 2, &SourceOf { nsid }.blocks(8, 8));
        assert!(got.same_code(expected), "{nsid}: {got}");
    }
    must(s.transport.driver.execute(ADMIN, commands::format_nvm(3, 1, 0)).unwrap());
    write(s, 3, 5, &values, 4096);
    assert!(status(s, 1, 2, &SourceOf { nsid: 3 }.blocks(5, 1)).is_success());
    assert_eq!(read(s, 1, 5, 4096, 4096), values);

    // A program of namespace 5 doubles numbers in memory 9; namespace 4 does not have it.
    must(send(
        s,
        ADMIN,
        of(5, commands::load_program(0, 1, DOUBLE.len() as u32, 0, DOUBLE.len() as u32)),
        DOUBLE,
    ));
    must(s.transport.driver.execute(ADMIN, of(5, commands::activate_program(0, true))).unwrap());
    let none = s.transport.driver.execute(ADMIN, of(4, commands::activate_program(0, true)));
    assert!(none.unwrap().status.same_code(Status::NO_PROGRAM));
    let range = |nsid: u32, start: u64| MemoryRangeDescriptor {
        nsid: nsid.into(),
        length: 4096.into(),
        start: start.into(),
        ..Default::default()
    };
    // The same bytes of two memories do not overlap.
    let both = [range(9, 0), range(2, 0)];
    let set = must(send(s, ADMIN, of(5, commands::create_range_set(2)), both.as_bytes()));
    let page = s.log(lid::RANGE_SETS, 5, 16 + 16 + 64).unwrap();
    let nsid = |at: usize| u32::from_le_bytes(page[at..at + 4].try_into().unwrap());
    assert_eq!((nsid(32), nsid(64)), (9, 2));
    let run = commands::Execute { rsid: set as u16, ..Default::default() };
    assert_eq!(must(s.transport.driver.execute(IO, of(5, run.entry())).unwrap()), 1024);
    let entry = of(9, commands::memory(nvme_spec::MemoryOpcode::READ, 0, 4096));
    let doubled: Vec<u8> = (0..1024u32).flat_map(|n| (2 * n).to_le_bytes()).collect();
    assert_eq!(receive(s, entry, 4096).unwrap(), doubled);
    let wrong = send(s, ADMIN, of(5, commands::create_range_set(1)), range(1, 0).as_bytes());
    assert!(wrong.status.same_code(Status::INVALID_MEMORY_NAMESPACE));
    must(s.transport.driver.execute(ADMIN, of(5, commands::delete_range_set(set as u16))).unwrap());
}

/// Source entries of a namespace.
struct SourceOf {
    nsid: u32,
}

impl SourceOf {
    fn blocks(&self, first: u64, count: u16) -> Vec<u8> {
        let mut source = copy_source(first, count.into());
        source.snsid = self.nsid.into();
        source.as_bytes().to_vec()
    }

    fn memory(&self, start: u64, len: u32) -> Vec<u8> {
        let mut source = copy_source_memory(start, len);
        source.snsid = self.nsid.into();
        source.as_bytes().to_vec()
    }
}

#[test]
fn namespaces_come_and_go_and_the_host_is_told() {
    let mut session = simulator::open(config(), 0, 64).unwrap();
    let s = &mut session;
    let enable = commands::set_feature(nvme_spec::fid::ASYNC_EVENTS, 0, 1 << 8, false);
    must(s.transport.driver.execute(ADMIN, enable).unwrap());
    let request = commands::async_event_request();
    s.transport.driver.submit(ADMIN, request);
    let nsid = must(create(s, 4096, 1)) as u32;
    assert_eq!(nsid, 6, "the lowest free one");
    assert_eq!(unallocated(s), u128::from(16 * MIB));
    // It exists and is attached to no controller.
    assert_eq!(list(s, cns::ACTIVE_NAMESPACES, 0), [1, 2, 3, 4, 5, 9]);
    assert_eq!(list(s, cns::ALLOCATED_NAMESPACES, 0), [1, 2, 3, 4, 5, 6, 9]);
    assert_eq!(identify(s, cns::ALLOCATED_NAMESPACE, 6).nsze.get(), 4096);
    assert_eq!(identify(s, cns::NAMESPACE, 6).nsze.get(), 0);
    let closed = send(s, IO, of(6, read_write(NvmOpcode::WRITE, 0, 1)), &[0; 4096]);
    assert!(closed.status.same_code(Status::INVALID_FIELD));
    let of_none = s.identify(cns::ATTACHED_CONTROLLERS, 6, CommandSet::NVM).unwrap();
    assert!(of_none.iter().all(|byte| *byte == 0));

    must(attach(s, 6, true));
    let event = s.transport.driver.next_completion().unwrap();
    assert_eq!(AsyncEvent::from_bits(event.result as u32).lid(), lid::CHANGED_NAMESPACES);
    let changed = |s: &mut Session| {
        let page = s.log(lid::CHANGED_NAMESPACES, 0, 4096).unwrap();
        let ids = page.chunks(4).map(|id| u32::from_le_bytes(id.try_into().unwrap()));
        ids.take_while(|id| *id != 0).collect::<Vec<_>>()
    };
    assert_eq!((changed(s), changed(s)), (vec![6], vec![]));
    let identity = identify(s, cns::NAMESPACE, 6).nguid;
    write(s, 6, 4095, &[6; 4096], 4096);
    assert_eq!(read(s, 6, 4095, 4096, 4096), [6; 4096]);
    // Detached and attached again it holds what it held; a reset changes nothing of that.
    must(attach(s, 6, false));
    must(attach(s, 6, true));
    assert_eq!(read(s, 6, 4095, 4096, 4096), [6; 4096]);
    must(delete(s, 6));
    assert_eq!(changed(s), [6]);
    assert_eq!(unallocated(s), u128::from(32 * MIB));
    // The next one has the identifier, and neither the data nor the name of the one before.
    assert_eq!(must(create(s, 8192, 1)), 6);
    must(attach(s, 6, true));
    assert_ne!(identify(s, cns::NAMESPACE, 6).nguid, identity);
    assert_eq!(read(s, 6, 4095, 4096, 4096), [0; 4096]);
    assert_eq!(unallocated(s), 0);
}

/// Free flash is enough, wherever it lies; and namespaces in pieces hold what was written to them, and only that.
#[test]
fn namespaces_in_pieces_hold_their_data() {
    let mut config = config();
    config.flash.capacity_bytes = 64 * MIB;
    let mut session = simulator::open(config, 0, 64).unwrap();
    let s = &mut session;
    must(delete(s, u32::MAX));
    let mut prng = Prng::new(7);
    // Blocks of 4 KiB by namespace.
    let mut expected: std::collections::BTreeMap<u32, Vec<u8>> = Default::default();
    let mut free = 64 * MIB / 4096;
    for round in 0..400 {
        match prng.below(10) {
            0 | 1 if expected.len() < 8 => {
                let blocks = 1 + prng.below(3 * MIB / 4096 * 8);
                let done = create(s, blocks, 1);
                // Space is handed out in pages.
                let page_blocks = 16384 / 4096;
                let taken = blocks.div_ceil(page_blocks) * page_blocks;
                assert_eq!(done.status.is_success(), taken <= free, "{blocks} of {free}");
                if done.status.is_success() {
                    free -= taken;
                    must(attach(s, done.result as u32, true));
                    expected.insert(done.result as u32, vec![0; blocks as usize]);
                }
            }
            2 if !expected.is_empty() => {
                let at = prng.below(expected.len() as u64) as usize;
                let nsid = *expected.keys().nth(at).unwrap();
                must(delete(s, nsid));
                free += (expected.remove(&nsid).unwrap().len() as u64).div_ceil(4) * 4;
            }
            _ if !expected.is_empty() => {
                let at = prng.below(expected.len() as u64) as usize;
                let (&nsid, blocks) = expected.iter_mut().nth(at).unwrap();
                let first = prng.below(blocks.len() as u64) as usize;
                let count = (1 + prng.below(64) as usize).min(blocks.len() - first);
                let value = round as u8;
                blocks[first..first + count].fill(value);
                write(s, nsid, first as u64, &vec![value; count * 4096], 4096);
            }
            _ => {}
        }
        if round % 40 == 39 {
            for (nsid, blocks) in expected.clone() {
                for (n, chunk) in blocks.chunks(128).enumerate() {
                    let got = read(s, nsid, n as u64 * 128, chunk.len() * 4096, 4096);
                    for (block, value) in got.chunks(4096).zip(chunk) {
                        assert!(block.iter().all(|byte| byte == value), "namespace {nsid}");
                    }
                }
            }
        }
    }
}

#[test]
fn lists_that_cannot_be_are_refused_by_name() {
    let nvm = |bytes| NamespaceKind::Nvm { bytes, block_bytes: 4096 };
    for (namespaces, message) in [
        (vec![(0, nvm(MIB))], "choose an identifier from 1 to 128"),
        (vec![(129, nvm(MIB))], "choose an identifier from 1 to 128"),
        (vec![(1, nvm(MIB)), (1, NamespaceKind::Programs)], "namespace 1: two namespaces"),
        (
            vec![(1, nvm(60 * MIB)), (2, nvm(8 * MIB))],
            "namespace 2: a size of 8388608 bytes is more than the 4194304 bytes of flash",
        ),
        (vec![(1, NamespaceKind::Memory { bytes: 100 })], "a size of 100 bytes"),
        (vec![(1, NamespaceKind::Nvm { bytes: MIB, block_bytes: 1000 })], "choose 512B or 4KiB"),
        (vec![(1, nvm(100))], "less than a block"),
    ] {
        let mut config = config();
        config.namespaces =
            namespaces.into_iter().map(|(nsid, kind)| NamespaceConfig { nsid, kind }).collect();
        let error = controller::Controller::new(config).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

/// Copies go on when another namespace than theirs is formatted or goes, and end with those they read from.
#[test]
fn copies_end_with_the_namespace_they_read_and_with_no_other() {
    let mut session = simulator::open(config(), 0, 64).unwrap();
    let s = &mut session;
    write(s, 1, 0, &vec![1; 65536], 4096);
    must(s.transport.driver.execute(IO, of(1, commands::flush())).unwrap());
    let new = must(create(s, 64, 1)) as u32;
    must(attach(s, new, true));
    let list = SourceOf { nsid: 1 }.blocks(0, 16);
    let begin = |s: &mut Session, queue, entry, data: &[u8]| {
        let ram = &mut s.transport.driver.port.ram;
        let buffer = ram.allocate(4096);
        ram.put(buffer.address, data);
        let prps = ram.prps(&buffer, data.len() as u64);
        s.transport.driver.submit(queue, with_data(entry, prps))
    };
    for (other, expected) in [
        (commands::format_nvm(3, 1, 0), Status::SUCCESS),
        (commands::delete_namespace(new), Status::SUCCESS),
        (commands::format_nvm(1, 1, 0), Status::FORMAT_IN_PROGRESS),
    ] {
        begin(s, IO, of(2, commands::memory_copy(0, 65536, 1, 2)), &list);
        // The list is here, and the pages are being read.
        must(s.transport.driver.execute(ADMIN, commands::keep_alive()).unwrap());
        must(s.transport.driver.execute(ADMIN, other).unwrap());
        let done = s.transport.driver.next_completion().unwrap();
        assert!(done.status.same_code(expected), "{other:?}: {}", done.status);
        write(s, 1, 0, &vec![1; 65536], 4096);
        must(s.transport.driver.execute(IO, of(1, commands::flush())).unwrap());
    }
}

/// Each half of a fused pair that is ended early has its own status, whatever place it has in the table.
#[test]
fn halves_of_a_pair_that_end_early_keep_their_statuses() {
    let mut session = simulator::open(config(), 0, 64).unwrap();
    let s = &mut session;
    write(s, 1, 0, &[1; 4096], 4096);
    must(s.transport.driver.execute(IO, of(1, commands::flush())).unwrap());
    for spare in [0, 1] {
        // A command that ends between the two makes the second one take the lower place.
        let pair = commands::fused(
            read_write(NvmOpcode::COMPARE, 0, 1),
            read_write(NvmOpcode::WRITE, 0, 1),
        );
        for _ in 0..spare {
            must(s.transport.driver.execute(ADMIN, commands::keep_alive()).unwrap());
        }
        let ids = pair.map(|half| {
            let ram = &mut s.transport.driver.port.ram;
            let buffer = ram.allocate(4096);
            ram.put(buffer.address, &[1; 4096]);
            let prps = ram.prps(&buffer, 4096);
            s.transport.driver.enqueue(IO, with_data(of(1, half), prps))
        });
        s.transport.driver.ring(IO);
        must(s.transport.driver.execute(ADMIN, commands::format_nvm(1, 1, 0)).unwrap());
        for _ in 0..2 {
            let done = s.transport.driver.next_completion().unwrap();
            let expected = if done.cid == ids[0] {
                Status::FORMAT_IN_PROGRESS
            } else {
                Status::ABORTED_FAILED_FUSED
            };
            assert!(done.status.same_code(expected), "{}", done.status);
        }
    }
}

#[test]
fn capacity_is_whole_pages_and_formats_use_all_of_it() {
    let mut session = simulator::open(config(), 0, 64).unwrap();
    let s = &mut session;
    let free = unallocated(s);
    let nsid = must(create(s, 1, 0)) as u32;
    must(attach(s, nsid, true));
    let page = identify(s, cns::NAMESPACE, nsid);
    assert_eq!((page.nsze.get(), page.nvmcap.get()), (1, free - unallocated(s)));
    let capacity = page.nvmcap.get() as u64;
    must(s.transport.driver.execute(ADMIN, commands::format_nvm(nsid, 1, 0)).unwrap());
    assert_eq!(identify(s, cns::NAMESPACE, nsid).nsze.get(), capacity / 4096);
    write(s, nsid, capacity / 4096 - 1, &[5; 4096], 4096);
    must(s.transport.driver.execute(ADMIN, commands::format_nvm(nsid, 0, 0)).unwrap());
    assert_eq!(identify(s, cns::NAMESPACE, nsid).nsze.get(), capacity / 512);
}

#[test]
fn new_namespaces_of_a_filled_flash_are_empty() {
    let mut config = config();
    config.flash.filled_permille = 1000;
    let mut session = simulator::open(config, 0, 64).unwrap();
    let s = &mut session;
    assert_eq!(identify(s, cns::NAMESPACE, 1).nuse.get(), 24 * MIB / 4096);
    let nsid = must(create(s, 2048, 1)) as u32;
    must(attach(s, nsid, true));
    assert_eq!(identify(s, cns::NAMESPACE, nsid).nuse.get(), 0);
}

/// What goes on in the background sees a namespace go, and commands that wait for data see a sanitize begin.
#[test]
fn self_tests_sanitizes_and_lists_know_of_namespaces_that_change() {
    let mut session = simulator::open(config(), 0, 64).unwrap();
    let s = &mut session;
    must(s.transport.driver.execute(ADMIN, commands::self_test(3, 1)).unwrap());
    must(delete(s, 3));
    let log = s.log(lid::SELF_TEST, 0, 564).unwrap();
    assert_eq!((log[0], log[4] & 0xF), (0, 3), "ended by the removal of its namespace");

    let mut after = commands::identify(cns::CONTROLLERS, 0, CommandSet::NVM);
    after.cdw10.set(u32::from(cns::CONTROLLERS) | 1 << 16);
    let ram = &mut s.transport.driver.port.ram;
    let buffer = ram.allocate(4096);
    let prps = ram.prps(&buffer, 4096);
    must(s.transport.driver.execute(ADMIN, with_data(after, prps)).unwrap());
    let mut count = [0; 2];
    s.transport.driver.port.ram.get(buffer.address, &mut count);
    assert_eq!(count, [0, 0], "no controller has an identifier of 1 or more");

    let new =
        NamespaceSpecification { nsze: 64.into(), ncap: 64.into(), flbas: 1, ..Default::default() };
    s.transport.driver.port.ram.put(buffer.address, new.as_bytes());
    let create = with_data(commands::create_namespace(), prps);
    let id = s.transport.driver.submit(ADMIN, create);
    must(s.transport.driver.execute(ADMIN, commands::sanitize(4, 0)).unwrap());
    let done = s.transport.driver.next_completion().unwrap();
    assert_eq!(done.cid, id);
    assert!(done.status.same_code(Status::SANITIZE_IN_PROGRESS), "{}", done.status);
}

#[test]
fn namespaces_write_to_streams_of_their_own() {
    for (streams, programs) in [(1, 4), (4, 8)] {
        let mut config = config();
        (config.flash.page_bytes, config.flash.indirection_bytes) = (16 << 10, 4096);
        config.flash.hint_streams = streams;
        let mut session = simulator::open(config, 0, 64).unwrap();
        for (nsid, count) in [(1, 1), (3, 8)] {
            let mut write = read_write(NvmOpcode::WRITE, 0, count);
            write.nsid = nsid.into();
            must(send(&mut session, IO, write, &[7; 4096]));
        }
        session.flush().unwrap();
        let mut flush = commands::flush();
        flush.nsid = 3.into();
        must(send(&mut session, IO, flush, &[]));
        // A page of flash holds both, or there is one for each.
        let flash = session.transport.driver.port.drive.statistics().flash;
        assert_eq!(flash.flash_programs, programs, "{streams} streams");
    }
}

//! Zoned namespaces as bytes: what hosts are told, which writes a zone takes, what survives a loss of power, what they cost the flash
//! (Zoned Namespace Command Set 1.2).

use client::commands::{self, copy_source, read_write};
use client::{Completion, QueueId};
use controller::{Config, NamespaceConfig, NamespaceKind, ZonedConfig};
use nvme_spec::{
    Cc, CommandSet, IdentifyNamespaceNvm, IdentifyNamespaceZoned, NvmOpcode, Status,
    SubmissionEntry, ZoneAction, ZoneDescriptor, ZoneState, cns, lid, zone_filter,
};
use simtime::Prng;
use simulator::Session;
use zerocopy::{FromBytes, IntoBytes};

mod exchange;

use exchange::send;

const ADMIN: QueueId = QueueId(0);
const IO: QueueId = QueueId(1);
const BLOCK: u64 = 4096;

/// Blocks of a zone, and of those the ones that can be written: a block of each of 4 planes.
const SIZE: u64 = 64;
const CAPACITY: u64 = 48;
const ZONES: u64 = 16;
const ACTIVE: u32 = 4;
const OPEN: u32 = 3;

fn zoned() -> ZonedConfig {
    ZonedConfig {
        zones: ZONES as u32,
        zone_bytes: SIZE * BLOCK,
        zone_capacity: CAPACITY * BLOCK,
        active_max: ACTIVE,
        open_max: OPEN,
        block_bytes: BLOCK as u32,
    }
}

/// A drive whose namespace 1 is zoned, with a neighbour.
fn config() -> Config {
    let nvm = NamespaceKind::Nvm { bytes: 256 * BLOCK, block_bytes: BLOCK as u32 };
    let listed = [(1, NamespaceKind::Zoned(zoned())), (2, nvm), (3, NamespaceKind::Programs)];
    let namespaces = listed.into_iter().map(|(nsid, kind)| NamespaceConfig { nsid, kind });
    let mut config = Config { namespaces: namespaces.collect(), ..Config::default() };
    config.flash.capacity_bytes = (ZONES * CAPACITY + 256) * BLOCK;
    (config.flash.channels, config.flash.dies_per_channel) = (2, 1);
    (config.flash.planes_per_die, config.flash.pages_per_block) = (2, 12);
    config.flash.overprovisioning_permille = 250;
    config.flash.write_buffer_bytes = 32 * BLOCK;
    config.flash.zone_streams = ACTIVE;
    config
}

fn open(config: Config) -> Session {
    simulator::open(config, 0, 64).unwrap()
}

fn must(done: Completion) -> u64 {
    assert!(done.status.is_success(), "{}", done.status);
    done.result
}

fn refused(status: Status, with: Status) {
    assert!(status.same_code(with), "{status}, not {with}");
}

/// Blocks that say which they are.
fn content(block: u64, count: u64, round: u8) -> Vec<u8> {
    (block..block + count)
        .flat_map(|n| [n as u8 ^ round.wrapping_mul(31) | 1; BLOCK as usize])
        .collect()
}

fn write(s: &mut Session, block: u64, count: u64, round: u8) -> Status {
    let mut data = content(block, count, round);
    send(s, IO, read_write(NvmOpcode::WRITE, block, count as u32), &mut data).status
}

fn append(s: &mut Session, zone: u64, count: u64, data: &mut [u8]) -> Completion {
    send(s, IO, commands::zone_append(zone * SIZE, count as u32), data)
}

fn manage(s: &mut Session, zone: u64, action: ZoneAction) -> Status {
    send(s, IO, commands::zone_send(zone * SIZE, action, false), &mut []).status
}

fn manage_all(s: &mut Session, action: ZoneAction) -> Status {
    send(s, IO, commands::zone_send(7, action, true), &mut []).status
}

fn flush(s: &mut Session) {
    let entry =
        SubmissionEntry { opcode: NvmOpcode::FLUSH.0, nsid: 1.into(), ..Default::default() };
    must(send(s, IO, entry, &mut []));
}

/// How many zones a report counts, and what it says of those that it has.
fn report(s: &mut Session, entry: SubmissionEntry, len: usize) -> (u64, Vec<ZoneDescriptor>) {
    let mut page = vec![0xEE; len];
    must(send(s, IO, entry, &mut page));
    let count = u64::from_le_bytes(page[..8].try_into().unwrap());
    let all = page[64..].chunks_exact(64).map(|one| ZoneDescriptor::read_from_bytes(one).unwrap());
    (count, all.take_while(|zone| zone.kind != 0).collect())
}

fn zones(s: &mut Session) -> Vec<ZoneDescriptor> {
    report(s, commands::zone_report(0, 4096, zone_filter::ALL, true), 4096).1
}

/// State, and blocks up to the write pointer.
fn zone(s: &mut Session, number: u64) -> (ZoneState, u64) {
    let zone = zones(s)[number as usize];
    assert_eq!((zone.start.get(), zone.capacity.get()), (number * SIZE, CAPACITY));
    let written = match zone.write_pointer.get() {
        ZoneDescriptor::NO_POINTER => CAPACITY,
        pointer => pointer - number * SIZE,
    };
    (zone.zone_state(), written)
}

fn read(s: &mut Session, block: u64, count: u64) -> Vec<u8> {
    let mut data = vec![0xEE; (count * BLOCK) as usize];
    must(send(s, IO, read_write(NvmOpcode::READ, block, count as u32), &mut data));
    data
}

/// The power goes and comes back; the host starts the drive again.
fn cut(s: &mut Session) {
    let host = &mut s.transport.driver;
    host.port.power_cut();
    host.disable();
    host.enable(Cc::new()).unwrap();
    host.create_queue_pair(1, 64).unwrap();
}

#[test]
fn what_a_drive_says_of_zones() {
    let s = &mut open(config());
    let page = s.identify(cns::CSI_NAMESPACE, 1, CommandSet::ZONED).unwrap();
    let page = IdentifyNamespaceZoned::read_from_bytes(&page).unwrap();
    assert_eq!((page.mar_z.get(), page.mor_z.get()), (ACTIVE - 1, OPEN - 1));
    assert_eq!((page.zoc.get(), page.ozcs.get()), (0, 1), "reads may cross zones");
    assert_eq!((page.lbafe[0].blocks.get(), page.lbafe[1].blocks.get()), (0, SIZE));
    let page = s.identify(cns::NAMESPACE, 1, CommandSet::NVM).unwrap();
    let page = IdentifyNamespaceNvm::read_from_bytes(&page).unwrap();
    assert_eq!((page.nsze.get(), page.ncap.get()), (ZONES * SIZE, ZONES * CAPACITY));
    assert_eq!(page.nuse.get(), 0);
    let descriptors = s.identify(cns::NAMESPACE_DESCRIPTORS, 1, CommandSet::NVM).unwrap();
    assert!(descriptors.windows(5).any(|d| d == [4, 1, 0, 0, 2]), "CSI 02h");
    let sets = s.identify(cns::COMMAND_SETS, 0, CommandSet::NVM).unwrap();
    assert_eq!(sets[0], 0b1_1101);
    let list = s.identify(cns::CSI_ACTIVE_NAMESPACES, 0, CommandSet::ZONED).unwrap();
    assert_eq!(list[..8], [1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(s.identify(cns::CSI_CONTROLLER, 0, CommandSet::ZONED).unwrap()[0], 0, "ZASL");
    // Linux takes a namespace without Zone Append for read only.
    let mut log = vec![0; 4096];
    let entry = commands::get_log(lid::EFFECTS, 0, CommandSet::ZONED, 0, 4096);
    must(send(s, ADMIN, entry, &mut log));
    assert_eq!([0x79, 0x7A, 0x7D].map(|n| log[1024 + 4 * n] & 0b11), [3, 1, 3]);
    assert_eq!(log[1024 + 4] & 1, 1, "Write");
    // A drive without zones has none of this.
    let plain = &mut open(Config::default());
    assert_eq!(plain.identify(cns::COMMAND_SETS, 0, CommandSet::NVM).unwrap()[0], 0b1_1001);
    refused(manage(plain, 0, ZoneAction::OPEN), Status::INVALID_OPCODE);
    let entry =
        SubmissionEntry { nsid: 2.into(), ..commands::zone_send(0, ZoneAction::OPEN, false) };
    refused(send(s, IO, entry, &mut []).status, Status::INVALID_OPCODE);
}

#[test]
fn a_zone_takes_what_comes_in_sequence() {
    let s = &mut open(config());
    assert_eq!(zone(s, 0), (ZoneState::EMPTY, 0));
    refused(write(s, 1, 1, 0), Status::ZONE_INVALID_WRITE);
    assert!(write(s, 0, 4, 0).is_success());
    assert_eq!(zone(s, 0), (ZoneState::IMPLICITLY_OPENED, 4));
    refused(write(s, 0, 1, 0), Status::ZONE_INVALID_WRITE);
    refused(write(s, 4, 45, 0), Status::ZONE_BOUNDARY_ERROR);
    assert!(write(s, 4, 44, 0).is_success());
    assert_eq!(zone(s, 0), (ZoneState::FULL, CAPACITY));
    assert_eq!(zones(s)[0].write_pointer.get(), u64::MAX);
    refused(write(s, CAPACITY, 1, 0), Status::ZONE_IS_FULL);
    // Appends are told where they went.
    for n in 0..3 {
        let at = SIZE + 2 * n;
        let mut data = content(at, 2, 0);
        assert_eq!(must(append(s, 1, 2, &mut data)), at);
    }
    let entry = commands::zone_append(SIZE + 1, 1);
    refused(send(s, IO, entry, &mut [0; 4096]).status, Status::INVALID_FIELD);
    refused(append(s, 0, 1, &mut [0; 4096]).status, Status::ZONE_IS_FULL);
    // Zeroes are written where the write pointer is, and deallocation is a hint that zones do not take.
    refused(
        send(s, IO, commands::write_zeroes(SIZE, 2, true), &mut []).status,
        Status::ZONE_INVALID_WRITE,
    );
    must(send(s, IO, commands::write_zeroes(SIZE + 6, 2, true), &mut []));
    assert_eq!(zone(s, 1), (ZoneState::IMPLICITLY_OPENED, 8));
    let range =
        nvme_spec::command::DatasetRange { nlb: 4.into(), slba: 0.into(), ..Default::default() };
    let mut range = range.as_bytes().to_vec();
    must(send(s, IO, commands::dataset_management(1, true), &mut range));
    // Everything reads as it was written, from one zone into the next; what can not be written is zeroes.
    assert_eq!(read(s, 0, CAPACITY), content(0, CAPACITY, 0));
    let mut expected = content(40, 8, 0);
    expected.extend(vec![0; (16 * BLOCK) as usize]);
    expected.extend(content(SIZE, 6, 0));
    expected.extend(vec![0; (4 * BLOCK) as usize]);
    assert_eq!(read(s, 40, 8 + 16 + 6 + 4), expected);
    // A copy goes where the write pointer is.
    let mut source = copy_source(0, 4).as_bytes().to_vec();
    let mut entry = commands::copy(SIZE, 1, 0);
    refused(send(s, IO, entry, &mut source).status, Status::ZONE_INVALID_WRITE);
    entry = commands::copy(SIZE + 8, 1, 0);
    must(send(s, IO, entry, &mut source));
    assert_eq!(zone(s, 1).1, 12);
    assert_eq!(read(s, SIZE + 8, 4), content(0, 4, 0));
    // A zone that was reset is empty.
    assert!(manage(s, 1, ZoneAction::RESET).is_success());
    assert_eq!(zone(s, 1), (ZoneState::EMPTY, 0));
    assert!(read(s, SIZE, 12).iter().all(|byte| *byte == 0));
    assert!(write(s, SIZE, 3, 1).is_success());
    assert_eq!(read(s, SIZE, 3), content(SIZE, 3, 1));
    refused(write(s, ZONES * SIZE, 1, 0), Status::LBA_OUT_OF_RANGE);
}

#[test]
fn zones_change_as_hosts_say() {
    let s = &mut open(config());
    use ZoneAction as A;
    use ZoneState as S;
    let invalid = Status::INVALID_ZONE_STATE_TRANSITION;
    // From each state, what each action leads to.
    let make: [(S, &[A]); 5] = [
        (S::EMPTY, &[]),
        (S::IMPLICITLY_OPENED, &[]),
        (S::EXPLICITLY_OPENED, &[A::OPEN]),
        (S::CLOSED, &[A::OPEN, A::CLOSE]),
        (S::FULL, &[A::FINISH]),
    ];
    let leads = |from: S, action: A| match (action, from) {
        (A::OPEN, S::FULL) | (A::CLOSE, S::EMPTY | S::FULL) | (A::OFFLINE, _) => None,
        (A::OPEN, _) => Some(S::EXPLICITLY_OPENED),
        (A::CLOSE, _) => Some(S::CLOSED),
        (A::FINISH, _) => Some(S::FULL),
        _ => Some(S::EMPTY),
    };
    for (from, way) in make {
        for action in [A::OPEN, A::CLOSE, A::FINISH, A::RESET, A::OFFLINE] {
            assert!(manage_all(s, A::RESET).is_success());
            if from == S::IMPLICITLY_OPENED {
                assert!(write(s, 2 * SIZE, 1, 0).is_success());
            }
            way.iter().for_each(|action| assert!(manage(s, 2, *action).is_success()));
            assert_eq!(zone(s, 2).0, from);
            let status = manage(s, 2, action);
            match leads(from, action) {
                Some(to) => {
                    assert!(status.is_success(), "{} {action:?}: {status}", from.name());
                    assert_eq!(zone(s, 2).0, to, "{} {action:?}", from.name());
                }
                None => refused(status, invalid),
            }
        }
    }
    refused(
        send(s, IO, commands::zone_send(1, A::OPEN, false), &mut []).status,
        Status::INVALID_FIELD,
    );
    refused(manage(s, ZONES, A::OPEN), Status::LBA_OUT_OF_RANGE);
    refused(manage(s, 0, ZoneAction(0x10)), Status::INVALID_FIELD);
}

#[test]
fn as_many_zones_are_open_and_active_as_may_be() {
    let s = &mut open(config());
    let block = |zone: u64| zone * SIZE;
    // The one that a write opened first is closed to make room.
    for n in 0..4 {
        assert!(write(s, block(n), 1, 0).is_success());
    }
    let states = |s: &mut Session| (0..4).map(|n| zone(s, n).0).collect::<Vec<_>>();
    let implicit = ZoneState::IMPLICITLY_OPENED;
    assert_eq!(states(s), [ZoneState::CLOSED, implicit, implicit, implicit]);
    refused(write(s, block(4), 1, 0), Status::TOO_MANY_ACTIVE_ZONES);
    refused(manage(s, 4, ZoneAction::OPEN), Status::TOO_MANY_ACTIVE_ZONES);
    assert!(write(s, 1, 1, 0).is_success());
    assert_eq!(states(s), [implicit, ZoneState::CLOSED, implicit, implicit]);
    // Those that the host opened stay open.
    for n in [0, 2, 3] {
        assert!(manage(s, n, ZoneAction::OPEN).is_success());
    }
    refused(write(s, block(1) + 1, 1, 0), Status::TOO_MANY_OPEN_ZONES);
    refused(manage(s, 1, ZoneAction::OPEN), Status::TOO_MANY_OPEN_ZONES);
    refused(manage_all(s, ZoneAction::OPEN), Status::TOO_MANY_OPEN_ZONES);
    // An empty one needs no place to be finished.
    assert!(manage(s, 9, ZoneAction::FINISH).is_success());
    assert!(manage(s, 3, ZoneAction::FINISH).is_success());
    assert!(manage_all(s, ZoneAction::OPEN).is_success());
    assert_eq!(zone(s, 1).0, ZoneState::EXPLICITLY_OPENED);
    assert!(manage_all(s, ZoneAction::CLOSE).is_success());
    assert_eq!(states(s)[..3], [ZoneState::CLOSED; 3]);
    assert!(manage_all(s, ZoneAction::FINISH).is_success());
    assert_eq!(states(s), [ZoneState::FULL; 4]);
    assert_eq!(zone(s, 4).0, ZoneState::EMPTY);
    assert!(manage_all(s, ZoneAction::RESET).is_success());
    assert!(zones(s).iter().all(|zone| zone.zone_state() == ZoneState::EMPTY));
}

#[test]
fn reports_have_what_is_asked_for() {
    let s = &mut open(config());
    assert!(write(s, 0, 1, 0).is_success());
    assert!(manage(s, 5, ZoneAction::FINISH).is_success());
    let ask = |s: &mut Session, block, len: u32, filter, is_partial| {
        let entry = commands::zone_report(block, len, filter, is_partial);
        let (count, zones) = report(s, entry, len as usize);
        (count, zones.iter().map(|zone| zone.start.get() / SIZE).collect::<Vec<_>>())
    };
    assert_eq!(ask(s, 0, 64 + 3 * 64, 0, false), (16, vec![0, 1, 2]));
    assert_eq!(ask(s, 0, 64 + 3 * 64 + 60, 0, true), (3, vec![0, 1, 2]));
    assert_eq!(ask(s, 14 * SIZE + 9, 4096, 0, false), (2, vec![14, 15]));
    assert_eq!(ask(s, 0, 64, 0, false), (16, vec![]));
    assert_eq!(ask(s, 0, 4096, 2, true), (1, vec![0]));
    assert_eq!(ask(s, SIZE, 4096, 2, true), (0, vec![]));
    assert_eq!(ask(s, 0, 128, 1, false), (14, vec![1]));
    assert_eq!(ask(s, 0, 4096, 5, true), (1, vec![5]));
    for filter in [6, 7] {
        assert_eq!(ask(s, 0, 4096, filter, true).0, 0);
    }
    let invalid = Status::INVALID_FIELD;
    let mut buffer = [0; 4096];
    refused(send(s, IO, commands::zone_report(0, 60, 0, true), &mut buffer).status, invalid);
    refused(send(s, IO, commands::zone_report(0, 4096, 8, true), &mut buffer).status, invalid);
    let mut extended = commands::zone_report(0, 4096, 0, true);
    extended.cdw13.set(extended.cdw13.get() | 1);
    refused(send(s, IO, extended, &mut buffer).status, invalid);
    let beyond = commands::zone_report(ZONES * SIZE, 4096, 0, true);
    refused(send(s, IO, beyond, &mut buffer).status, Status::LBA_OUT_OF_RANGE);
}

/// Zones that are whole blocks of the flash cost no write amplification, however they are filled and reset.
#[test]
fn zones_cost_no_write_amplification() {
    let s = &mut open(config());
    let mut prng = Prng::new(7);
    let mut written = [0u64; ZONES as usize];
    let mut active = Vec::<usize>::new();
    for round in 0..6000u32 {
        if active.len() < 3 {
            let idle: Vec<usize> = (0..ZONES as usize).filter(|n| !active.contains(n)).collect();
            let next = idle[prng.below(idle.len() as u64) as usize];
            assert!(manage(s, next as u64, ZoneAction::RESET).is_success());
            written[next] = 0;
            active.push(next);
        }
        let at = prng.below(active.len() as u64) as usize;
        let n = active[at];
        let count = (1 + prng.below(8)).min(CAPACITY - written[n]);
        assert!(write(s, n as u64 * SIZE + written[n], count, round as u8).is_success());
        written[n] += count;
        if written[n] == CAPACITY {
            active.swap_remove(at);
        }
    }
    flush(s);
    let statistics = s.transport.driver.port.drive.statistics().flash;
    assert!(statistics.host_page_writes > 20_000);
    // Only where a plane has no erased block for a moment, a zone's pages go to blocks of others.
    let amplification = statistics.write_amplification();
    assert!(amplification < 1.001, "{amplification}");
}

/// Whatever was flushed is there after a loss of power, as are zones that were reset; zones have no gaps before their write pointers, and
/// go on where these are.
#[test]
fn a_loss_of_power_leaves_no_gaps() {
    for seed in 0..200 {
        let mut prng = Prng::new(seed);
        let mut config = config();
        if seed % 3 == 0 {
            config.flash.write_buffer_bytes = [0, 8 * BLOCK][seed as usize / 3 % 2];
        }
        if seed % 5 == 0 {
            (config.flash.page_bytes, config.flash.indirection_bytes) = (16_384, 4096);
            (config.flash.pages_per_block, config.flash.pages_per_program) = (6, 3);
        }
        config.flash.power_loss_protection = seed % 7 == 0;
        let has_cache = config.flash.write_buffer_bytes > 0 && seed % 7 != 0;
        let s = &mut open(config);
        // What a zone holds: the round in which each block was written.
        let mut model: Vec<Vec<u8>> = vec![Vec::new(); ZONES as usize];
        let mut durable = vec![0; ZONES as usize];
        for loss in 0..4u8 {
            for step in 0..prng.below(60) as u8 {
                let n = prng.below(6) as usize;
                let round = loss * 60 + step;
                match prng.below(12) {
                    0 => {
                        assert!(manage(s, n as u64, ZoneAction::RESET).is_success());
                        model[n].clear();
                        durable[n] = 0;
                    }
                    1 => {
                        flush(s);
                        durable = model.iter().map(Vec::len).collect();
                    }
                    kind => {
                        let left = CAPACITY as usize - model[n].len();
                        let count = (1 + prng.below(9) as usize).min(left);
                        if count == 0 {
                            continue;
                        }
                        let at = n as u64 * SIZE + model[n].len() as u64;
                        let mut data = content(at, count as u64, round);
                        let mut entry = read_write(NvmOpcode::WRITE, at, count as u32);
                        if kind == 2 {
                            entry.cdw12.set(entry.cdw12.get() | 1 << 30);
                        }
                        if send(s, IO, entry, &mut data).status.is_success() {
                            model[n].extend(vec![round; count]);
                            if kind == 2 || !has_cache {
                                durable[n] = model[n].len();
                            }
                        }
                    }
                }
            }
            cut(s);
            // Another loss changes nothing more.
            let found = zones(s);
            cut(s);
            assert_eq!(found.as_bytes(), zones(s).as_bytes(), "seed {seed}");
            let mut active = 0;
            for n in 0..ZONES as usize {
                let (state, written) = zone(s, n as u64);
                active += usize::from(state == ZoneState::CLOSED);
                let kept = match state {
                    ZoneState::EMPTY => 0,
                    ZoneState::CLOSED | ZoneState::FULL => written as usize,
                    other => panic!("zone {n} is {} after a loss of power", other.name()),
                };
                let kept = kept.min(model[n].len());
                assert!(kept >= durable[n], "seed {seed}: zone {n} lost what was flushed");
                model[n].truncate(kept);
                for (place, round) in model[n].iter().enumerate() {
                    let block = n as u64 * SIZE + place as u64;
                    assert_eq!(
                        read(s, block, 1),
                        content(block, 1, *round),
                        "seed {seed}: block {block}"
                    );
                }
                if state != ZoneState::FULL && kept < CAPACITY as usize {
                    let rest = read(s, n as u64 * SIZE + kept as u64, CAPACITY - kept as u64);
                    assert!(rest.iter().all(|byte| *byte == 0), "seed {seed}: zone {n} has more");
                }
                durable[n] = kept;
                if state == ZoneState::FULL {
                    assert!(manage(s, n as u64, ZoneAction::RESET).is_success());
                    model[n].clear();
                    durable[n] = 0;
                }
            }
            assert!(active <= ACTIVE as usize);
        }
    }
}

/// Whatever commands come, with whatever fields, the drive's books are right, and zones say of themselves what they may.
#[test]
fn hostile_commands_leave_zones_sound() {
    const OPCODES: [u8; 14] = [0, 1, 1, 1, 2, 5, 8, 9, 0xC, 0x19, 0x79, 0x79, 0x7A, 0x7D];
    for seed in 0..60 {
        let mut prng = Prng::new(seed);
        let mut config = config();
        if seed % 3 == 0 {
            (config.flash.page_bytes, config.flash.indirection_bytes) = (16_384, 4096);
            config.flash.pages_per_block = 6;
        }
        if seed % 4 == 0 {
            config.flash.placement = ssd::Placement::HotCold;
        }
        let s = &mut open(config);
        for _ in 0..400 {
            if prng.below(60) == 0 {
                cut(s);
            }
            let opcode = OPCODES[prng.below(OPCODES.len() as u64) as usize];
            let zone = prng.below(ZONES + 1);
            let mut entry =
                SubmissionEntry { opcode, nsid: 1.into(), ..SubmissionEntry::default() };
            // Often where the zone takes writes.
            let place = match prng.below(3) {
                0 => prng.below(SIZE),
                _ if zone < ZONES => zones(s)[zone as usize].write_pointer.get() % SIZE,
                _ => 0,
            };
            entry.cdw10.set((zone * SIZE + if opcode > 0x70 { place % 2 } else { place }) as u32);
            let count = 1 + prng.below(20) as u32;
            entry
                .cdw12
                .set((count - 1) | (prng.below(2) as u32) << 30 | (prng.below(2) as u32) << 25);
            if opcode == 0x79 {
                entry.cdw13.set(prng.below(6) as u32 | u32::from(prng.below(30) == 0) << 8);
            }
            if prng.below(10) == 0 {
                let random = prng.below(1 << 32) as u32;
                [&mut entry.cdw10, &mut entry.cdw11, &mut entry.cdw12, &mut entry.cdw13]
                    [prng.below(4) as usize]
                    .set(random);
            }
            let mut data = vec![seed as u8; 64 * BLOCK as usize];
            send(s, IO, entry, &mut data);
            let all = zones(s);
            let of = |states: &[ZoneState]| {
                all.iter().filter(|zone| states.contains(&zone.zone_state())).count()
            };
            let open = [ZoneState::IMPLICITLY_OPENED, ZoneState::EXPLICITLY_OPENED];
            assert!(of(&open) <= OPEN as usize);
            assert!(of(&open) + of(&[ZoneState::CLOSED]) <= ACTIVE as usize);
        }
        s.transport.driver.port.drive.check();
    }
}

/// A zone whose first page has to be in flash at once does not take the place of what is still held of the zone before it.
#[test]
fn durable_writes_do_not_mix_zones() {
    let mut config = config();
    let NamespaceKind::Zoned(zoned) = &mut config.namespaces[0].kind else { unreachable!() };
    (zoned.active_max, zoned.open_max) = (1, 1);
    config.flash.zone_streams = 1;
    let s = &mut open(config);
    let mut prng = Prng::new(11);
    for _ in 0..400 {
        let n = prng.below(ZONES);
        assert!(manage(s, n, ZoneAction::RESET).is_success());
        let mut at = 0;
        while at < CAPACITY {
            let count = (1 + prng.below(9)).min(CAPACITY - at);
            let mut data = content(n * SIZE + at, count, 0);
            let mut entry = read_write(NvmOpcode::WRITE, n * SIZE + at, count as u32);
            entry.cdw12.set(entry.cdw12.get() | u32::from(at == 0 || prng.below(4) == 0) << 30);
            assert!(send(s, IO, entry, &mut data).status.is_success());
            at += count;
        }
    }
    let amplification = s.transport.driver.port.drive.statistics().flash.write_amplification();
    assert!(amplification < 1.01, "{amplification}");
}

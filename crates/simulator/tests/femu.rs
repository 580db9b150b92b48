//! FEMU's dialect: its commands, as its hosts send them.

use std::sync::Arc;

use client::{Command, Data, DriveError, Lane, QueueId};
use controller::{
    Config, Controller, Dialect, NativeConfig, NativeLoadError, NativePrograms, NativeSource,
    Parts, ProgramLoaders, ShellProgram,
};
use nvme_spec::{FemuAdminOpcode, FemuOpcode, Status, SubmissionEntry};
use simtime::{Duration, Prng};
use simulator::Session;
use zerocopy::FromZeros;

const DOUBLE: &[u8] = include_bytes!("../../../examples/programs/double.bpf.o");
const BLOCK: u64 = 512;

/// A folder with one BPF object.
#[derive(Debug)]
struct Folder;

impl NativePrograms for Folder {
    fn load(
        &self,
        _: NativeSource<'_>,
        _: Option<&str>,
    ) -> Result<Arc<dyn ShellProgram>, NativeLoadError> {
        Err(NativeLoadError::Refused("no native programs here".to_owned()))
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, NativeLoadError> {
        match path {
            "/programs/double.o" => Ok(DOUBLE.to_vec()),
            _ => Err(NativeLoadError::Refused(format!("{path} is not there"))),
        }
    }
}

fn config() -> Config {
    let mut config = Config {
        dialect: Dialect::Femu,
        block_bytes: BLOCK as u32,
        memory_bytes: 1 << 20,
        own_memory_bytes: 1 << 20,
        native: NativeConfig { directory: "/programs".to_owned(), ..NativeConfig::default() },
        ..Config::default()
    };
    config.flash.capacity_bytes = 64 << 20;
    config
}

fn open(config: Config) -> Session {
    let programs = ProgramLoaders { native: Some(Arc::new(Folder)), wasm: None };
    let parts = Parts { programs, ..Parts::default() };
    let drive = Controller::with_parts(config, parts).expect("a sound configuration");
    simulator::open_drive(drive, 0, 64).expect("a sound drive")
}

/// A command with these dwords: 2, 3, and 10 to 15.
fn entry(opcode: u8, dwords: [u32; 8]) -> SubmissionEntry {
    let mut entry = SubmissionEntry::new_zeroed();
    (entry.opcode, entry.nsid) = (opcode, 1.into());
    let [cdw2, cdw3, cdw10, cdw11, cdw12, cdw13, cdw14, cdw15] = dwords.map(Into::into);
    (entry.cdw2, entry.cdw3) = (cdw2, cdw3);
    (entry.cdw10, entry.cdw11, entry.cdw12) = (cdw10, cdw11, cdw12);
    (entry.cdw13, entry.cdw14, entry.cdw15) = (cdw13, cdw14, cdw15);
    entry
}

/// Runs a command; its result and its data, or its status.
fn send(
    session: &mut Session,
    lane: Lane,
    entry: SubmissionEntry,
    data: Data,
) -> Result<(u64, Vec<u8>), Status> {
    let command = Command { name: "a command", lane, entry, data, is_execution: false };
    match session.perform(command) {
        Ok(done) => Ok((done.result, done.data)),
        Err(DriveError::Failed(failed)) => Err(failed.status),
        Err(other) => panic!("{other}"),
    }
}

fn io(session: &mut Session, opcode: FemuOpcode, dwords: [u32; 8]) -> Result<u64, Status> {
    send(session, Lane::Io, entry(opcode.0, dwords), Data::None).map(|(result, _)| result)
}

fn admin(
    session: &mut Session,
    opcode: FemuAdminOpcode,
    dwords: [u32; 8],
    data: Vec<u8>,
) -> Result<u64, Status> {
    let data = if data.is_empty() { Data::None } else { Data::ToDrive(data) };
    send(session, Lane::Admin, entry(opcode.0, dwords), data).map(|(result, _)| result)
}

fn allocate(session: &mut Session, bytes: u32) -> Result<u32, Status> {
    io(session, FemuOpcode::ALLOCATE, [0, 0, bytes, 0, 0, 0, 0, 0]).map(|id| id as u32)
}

fn write(session: &mut Session, id: u32, offset: u32, data: &[u8]) -> Result<u64, Status> {
    let dwords = [0, 0, offset, 0, data.len() as u32, 0, id, 0];
    let entry = entry(FemuOpcode::WRITE.0, dwords);
    send(session, Lane::Io, entry, Data::ToDrive(data.to_vec())).map(|(result, _)| result)
}

fn read(session: &mut Session, id: u32, offset: u32, len: u32) -> Result<Vec<u8>, Status> {
    let entry = entry(FemuOpcode::READ.0, [0, 0, offset, 0, len, 0, id, 0]);
    let (result, data) = send(session, Lane::Io, entry, Data::FromDrive(len as usize))?;
    assert_eq!(result, u64::from(len), "the result is the number of bytes");
    Ok(data)
}

/// Ranges as FEMU has them: allocations, with a length or 0 for all of it.
fn ranges(of: &[(u32, u32)]) -> Vec<u8> {
    let range = |(id, len): &(u32, u32)| {
        let words = [0, *len, *id, 0, 0, 0, 0, 0u32];
        words.into_iter().flat_map(u32::to_le_bytes)
    };
    of.iter().flat_map(range).collect()
}

fn load(session: &mut Session, index: u16, kind: u8, names: &[u8], ns: u32) -> Result<u64, Status> {
    let opcode = match names.len() {
        0 => FemuAdminOpcode::LOAD_PROGRAM,
        _ => FemuAdminOpcode::LOAD_PROGRAM_DATA,
    };
    let cdw10 = u32::from(index) | u32::from(kind) << 16;
    let len = names.len() as u32;
    admin(session, opcode, [0, ns, cdw10, len, 0, 0, len, 0], names.to_vec())
}

fn activate(session: &mut Session, index: u16, on: bool) -> Result<u64, Status> {
    let cdw10 = u32::from(index) | u32::from(on) << 16;
    admin(session, FemuAdminOpcode::PROGRAM_ACTIVATION, [0, 0, cdw10, 0, 0, 0, 0, 0], Vec::new())
}

fn unload(session: &mut Session, index: u16) -> Result<u64, Status> {
    let cdw10 = u32::from(index) | 1 << 24;
    admin(session, FemuAdminOpcode::LOAD_PROGRAM, [0, 0, cdw10, 0, 0, 0, 0, 0], Vec::new())
}

fn execute(session: &mut Session, index: u16, of: &[(u32, u32)], ns: u32) -> Result<u64, Status> {
    let dwords = [index.into(), of.len() as u32, 0, 0, 0, 0, 0, ns];
    let entry = entry(FemuOpcode::EXECUTE.0, dwords);
    send(session, Lane::Io, entry, Data::ToDrive(ranges(of))).map(|(result, _)| result)
}

#[test]
fn memory_is_allocated_by_identifier() {
    let mut session = open(config());
    let one = allocate(&mut session, 5000).unwrap();
    assert_eq!(one, 1, "identifiers begin with 1");
    let two = allocate(&mut session, 4096).unwrap();
    assert_eq!(write(&mut session, one, 100, b"hello").unwrap(), 5);
    assert_eq!(read(&mut session, one, 99, 7).unwrap(), b"\0hello\0");
    assert_eq!(read(&mut session, two, 0, 4096).unwrap(), [0; 4096]);
    for (id, offset, len) in [(one, 5000, 1), (one, 4999, 2), (one, u32::MAX, 1), (9, 0, 1)] {
        let refused = read(&mut session, id, offset, len).unwrap_err();
        assert!(refused.same_code(Status::INVALID_FIELD), "{id} {offset} {len}: {refused}");
    }
    assert!(read(&mut session, one, 0, 0).is_err());
    // A megabyte in all.
    let full = allocate(&mut session, 1 << 20).unwrap_err();
    assert!(full.same_code(Status::CAPACITY_EXCEEDED), "{full}");
    let free =
        |session: &mut Session, id| io(session, FemuOpcode::DEALLOCATE, [0, 0, id, 0, 0, 0, 0, 0]);
    free(&mut session, one).unwrap();
    free(&mut session, two).unwrap();
    assert!(free(&mut session, two).unwrap_err().same_code(Status::INVALID_FIELD));
    let all = allocate(&mut session, 1 << 20).unwrap();
    assert_eq!(read(&mut session, all, 0, 8192).unwrap(), [0; 8192], "it is zero again");
}

#[test]
fn a_phantom_copies_and_takes_its_time() {
    let mut session = open(config());
    let (to, from) = (allocate(&mut session, 4096).unwrap(), allocate(&mut session, 8192).unwrap());
    write(&mut session, from, 0, b"phantom").unwrap();
    load(&mut session, 1, 0, b"", 50_000).unwrap();
    let inactive = execute(&mut session, 1, &[(to, 0), (from, 0)], 0).unwrap_err();
    assert!(inactive.same_code(Status::PROGRAM_NOT_ACTIVATED), "{inactive}");
    activate(&mut session, 1, true).unwrap();
    let mut took = |ns| {
        let before = session.transport.driver.port.now();
        assert_eq!(execute(&mut session, 1, &[(to, 0), (from, 0)], ns).unwrap(), 4096);
        session.transport.driver.port.now().since(before)
    };
    let (own, given) = (took(0), took(350_000));
    assert_eq!(given - own, Duration::from_us(300), "the host's time counts, else the program's");
    assert_eq!(read(&mut session, to, 0, 8).unwrap(), b"phantom\0");
    // The same memory twice, as FEMU's test has it.
    assert_eq!(execute(&mut session, 1, &[(to, 0), (to, 0)], 0).unwrap(), 4096);
    assert_eq!(execute(&mut session, 1, &[(to, 100), (from, 0)], 0).unwrap(), 100);
    let long = execute(&mut session, 1, &[(to, 4097), (from, 0)], 0).unwrap_err();
    assert!(long.same_code(Status::INVALID_FIELD), "{long}");
    activate(&mut session, 1, false).unwrap();
    activate(&mut session, 1, false).unwrap();
    unload(&mut session, 1).unwrap();
    assert!(unload(&mut session, 1).is_err());
    assert!(load(&mut session, 0, 0, b"", 0).unwrap_err().same_code(Status::INVALID_FIELD));
}

#[test]
fn programs_are_named_and_run_on_blocks_that_were_copied() {
    let mut session = open(config());
    let numbers: Vec<u8> = (0..1024u32).flat_map(u32::to_le_bytes).collect();
    session.write_blocks(0, &numbers).unwrap();
    let (to, from) = (allocate(&mut session, 4096).unwrap(), allocate(&mut session, 4096).unwrap());
    let copy = |session: &mut Session, blocks: u32, offset| {
        let dwords = [0, 0, 0, 0, blocks - 1, from, offset, 0];
        io(session, FemuOpcode::COPY_BLOCKS, dwords)
    };
    assert_eq!(copy(&mut session, 8, 0).unwrap(), 4096);
    assert!(copy(&mut session, 8, 4).unwrap_err().same_code(Status::INVALID_FIELD));
    assert_eq!(read(&mut session, from, 0, 4096).unwrap(), numbers);
    load(&mut session, 7, 1, b"/programs/double.o\0other\0", 0).unwrap_err();
    for (names, kind) in [
        (&b"/programs/double.o"[..], 1u8),
        (b"/programs/double.o\0", 1),
        (b"\0f\0", 1),
        (b"/etc/passwd\0f\0", 1),
        (b"/programs/double.so\0f\0", 3),
        (b"x\0f\0", 2),
        (b"x\0f\0", 77),
        (&[b'x'; 5000], 1),
    ] {
        let refused = load(&mut session, 7, kind, names, 0).unwrap_err();
        assert!(refused.same_code(Status::INVALID_PROGRAM_DATA), "{names:?}: {refused}");
    }
    let names = b"/programs/double.o\0double_values\0";
    // In two pieces.
    let piece = |session: &mut Session, range: core::ops::Range<usize>| {
        let (offset, piece) = (range.start as u32, names[range].to_vec());
        let cdw10 = 7 | 1 << 16;
        let dwords = [0, 0, cdw10, names.len() as u32, 0, 0, piece.len() as u32, offset];
        admin(session, FemuAdminOpcode::LOAD_PROGRAM_DATA, dwords, piece)
    };
    piece(&mut session, 0..10).unwrap();
    assert!(piece(&mut session, 11..names.len()).is_err(), "pieces come in order");
    piece(&mut session, 0..10).unwrap();
    piece(&mut session, 10..names.len()).unwrap();
    activate(&mut session, 7, true).unwrap();
    // One that cannot be loaded leaves what was there, active.
    load(&mut session, 7, 1, b"/programs/double.o\0other\0", 0).unwrap_err();
    let doubled: Vec<u8> = (0..1024u32).flat_map(|n| (2 * n).to_le_bytes()).collect();
    assert_eq!(execute(&mut session, 7, &[(to, 0), (from, 0)], 0).unwrap(), 1024);
    assert_eq!(read(&mut session, to, 0, 4096).unwrap(), doubled);
    // By a range set; identifiers are looked up when it is used.
    let set = admin(
        &mut session,
        FemuAdminOpcode::MEMORY_RANGE_SET,
        [0, 0, 0, 2, 0, 0, 0, 0],
        ranges(&[(to, 0), (from, 0)]),
    )
    .unwrap();
    write(&mut session, to, 0, &[0; 4096]).unwrap();
    let by_set = [7 | (set as u32) << 16, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(io(&mut session, FemuOpcode::EXECUTE, by_set).unwrap(), 1024);
    assert_eq!(read(&mut session, to, 0, 4096).unwrap(), doubled);
    io(&mut session, FemuOpcode::DEALLOCATE, [0, 0, to, 0, 0, 0, 0, 0]).unwrap();
    assert!(io(&mut session, FemuOpcode::EXECUTE, by_set).is_err());
    let delete = [0, 0, 1 | (set as u32) << 16, 0, 0, 0, 0, 0];
    let mut delete = || admin(&mut session, FemuAdminOpcode::MEMORY_RANGE_SET, delete, Vec::new());
    delete().unwrap();
    assert!(delete().unwrap_err().same_code(Status::INVALID_MEMORY_RANGE_SET_ID));
}

#[test]
fn groups_are_job_groups() {
    let mut session = open(config());
    let group = io(&mut session, FemuOpcode::CREATE_GROUP, [0, 0, 7, 1000, 50, 0, 0, 0]).unwrap();
    let listed = session.groups().unwrap();
    let made = listed.iter().find(|listed| u64::from(listed.id) == group).unwrap();
    assert_eq!((made.options.priority, made.options.bandwidth_kbps), (7, 1000));
    let group = group as u32;
    io(&mut session, FemuOpcode::SET_QOS, [0, 0, 0, 0, 0, group, 0, 0]).unwrap();
    let changed = session.groups().unwrap();
    let changed = changed.iter().find(|listed| u32::from(listed.id) == group).unwrap();
    assert_eq!(changed.options.priority, 5, "0 is the default");
    io(&mut session, FemuOpcode::DELETE_GROUP, [0, 0, group, 0, 0, 0, 0, 0]).unwrap();
    for dwords in [[0, 0, group, 0, 0, 0, 0, 0], [0, 0, 70_000, 0, 0, 0, 0, 0]] {
        assert!(io(&mut session, FemuOpcode::DELETE_GROUP, dwords).is_err());
    }
    assert!(io(&mut session, FemuOpcode::CREATE_GROUP, [0, 0, 10, 0, 0, 0, 0, 0]).is_err());
}

#[test]
fn other_drives_know_none_of_it() {
    let mut session = open(Config { dialect: Dialect::Nvme, ..config() });
    for opcode in FemuOpcode::ALL {
        let refused = io(&mut session, *opcode, [1; 8]).unwrap_err();
        assert!(refused.same_code(Status::INVALID_OPCODE), "{opcode:?}: {refused}");
    }
    for opcode in FemuAdminOpcode::ALL {
        let refused = admin(&mut session, *opcode, [1; 8], Vec::new()).unwrap_err();
        assert!(refused.same_code(Status::INVALID_OPCODE), "{opcode:?}: {refused}");
    }
}

#[test]
fn whatever_hosts_send_nothing_is_left() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut random = Prng::new(seed);
    let mut session = open(config());
    session.write_blocks(0, &[7; 64 << 10]).unwrap();
    let (mut succeeded, mut under_way) = (0, 0);
    for round in 0..20_000 {
        // Small numbers mean something; others are anything.
        let mut dwords = [0u32; 8];
        for dword in &mut dwords {
            *dword = match random.below(8) {
                0..6 => random.below(6) as u32,
                6 => random.below(1 << 17) as u32,
                _ => random.next_u64() as u32,
            };
        }
        let is_admin = random.below(4) == 0;
        let opcode = match is_admin {
            true => {
                // Program types, selections.
                dwords[2] = random.below(5) as u32 | (random.below(4) as u32) << 16;
                dwords[2] |= u32::from(random.below(8) == 0) << 24;
                FemuAdminOpcode::ALL[random.below(4) as usize].0
            }
            false => FemuOpcode::ALL[random.below(9) as usize].0,
        };
        let mut entry = entry(opcode, dwords);
        if random.below(10) == 0 {
            entry.cdw4 = (random.below(300) as u32).into();
        }
        let words = (0..1024).flat_map(|_| (random.below(5) as u32).to_le_bytes());
        let mut data: Vec<u8> = words.collect();
        if random.below(3) == 0 {
            data[..33].copy_from_slice(b"/programs/double.o\0double_values\0");
        }
        let lane = if is_admin { Lane::Admin } else { Lane::Io };
        let data = if opcode & 1 == 1 { Data::ToDrive(data) } else { Data::FromDrive(4096) };
        let command = Command { name: "a command", lane, entry, data, is_execution: false };
        session.start(command).unwrap();
        under_way += 1;
        if random.below(3) > 0 {
            while under_way > random.below(6) {
                under_way -= 1;
                succeeded += u64::from(session.wait().unwrap().status.is_success());
            }
        }
        if random.below(500) == 0 {
            let abort = client::commands::abort(1, random.below(64) as u16);
            session.transport.driver.execute(QueueId(0), abort).unwrap();
        }
        if round % 5000 == 4999 {
            session.transport.driver.port.drive.check();
        }
    }
    for _ in 0..under_way {
        session.wait().unwrap();
    }
    assert!(succeeded > 1000, "{succeeded}");
    let statistics = session.transport.driver.port.drive.statistics();
    assert_eq!((statistics.commands_in_flight, statistics.flash_backlog), (0, 0));
    for id in 0..25_000 {
        let _ = io(&mut session, FemuOpcode::DEALLOCATE, [0, 0, id, 0, 0, 0, 0, 0]);
    }
    allocate(&mut session, 1 << 20).expect("all of it is free");
}

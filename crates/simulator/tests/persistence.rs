//! A drive with its flash in a file, switched off and on: what hosts made of it is there.

use std::path::Path;

use client::commands;
use client::{Completion, DmaMemory, QueueId};
use controller::{Config, Controller, NamespaceConfig, NamespaceKind, Parts, ZonedConfig};
use flash_file::FlashFile;
use nvme_spec::{
    ControllerList, NamespaceSpecification, SmartLog, SubmissionEntry, ZoneAction, ZoneState, lid,
};
use simtime::Duration;
use simulator::Session;
use ssd::{DaxPolicy, SyncPolicy};
use zerocopy::{FromBytes, IntoBytes};

const ADMIN: QueueId = QueueId(0);
const MIB: u64 = 1 << 20;

/// Blocks of 24 MiB, and device memory, on a flash of 64 MiB.
fn config() -> Config {
    let listed = [
        (1, NamespaceKind::Nvm { bytes: 24 * MIB, block_bytes: 4096 }),
        (2, NamespaceKind::Memory { bytes: MIB }),
        (3, NamespaceKind::Programs),
    ];
    let namespaces = listed.map(|(nsid, kind)| NamespaceConfig { nsid, kind }).to_vec();
    let mut config = Config { namespaces, ..Config::default() };
    config.flash.capacity_bytes = 64 * MIB;
    config
}

fn drive(path: &Path, config: Config) -> Controller {
    let store =
        FlashFile::open_store(path, &config.flash, SyncPolicy::Flush, DaxPolicy::Auto).unwrap();
    let parts = Parts { store: Some(Box::new(store)), ..Parts::default() };
    Controller::with_parts(config, parts).unwrap()
}

/// Switches it on, for a user of one of its namespaces.
fn switch_on(path: &Path, nsid: u32) -> Session {
    simulator::open_namespace(drive(path, config()), nsid).unwrap()
}

fn send(s: &mut Session, entry: SubmissionEntry, data: &[u8]) -> u64 {
    let ram = &mut s.transport.driver.port.ram;
    let buffer = ram.allocate(data.len().max(4096) as u64);
    ram.put(buffer.address, data);
    let prps = ram.prps(&buffer, data.len() as u64);
    let done = s.transport.driver.execute(ADMIN, commands::with_data(entry, prps)).unwrap();
    must(done)
}

fn must(done: Completion) -> u64 {
    assert!(done.status.is_success(), "{}", done.status);
    done.result
}

fn admin(s: &mut Session, entry: SubmissionEntry) {
    must(s.transport.driver.execute(ADMIN, entry).unwrap());
}

fn create(s: &mut Session, blocks: u64) -> u32 {
    let (nsze, ncap) = (blocks.into(), blocks.into());
    let new = NamespaceSpecification { nsze, ncap, flbas: 1, ..Default::default() };
    let mut data = vec![0; 4096];
    data[..new.as_bytes().len()].copy_from_slice(new.as_bytes());
    let nsid = send(s, commands::create_namespace(), &data) as u32;
    let list = ControllerList { count: 1.into(), ..Default::default() };
    send(s, commands::attach_namespace(nsid, true), list.as_bytes());
    nsid
}

fn smart(s: &mut Session) -> SmartLog {
    SmartLog::read_from_bytes(&s.log(lid::SMART, u32::MAX, 512).unwrap()).unwrap()
}

#[test]
fn namespaces_their_blocks_and_formats_outlive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flash");
    let mut s = switch_on(&path, 1);
    s.write_blocks(7, &[7; 4096]).unwrap();
    let made = create(&mut s, 100);
    let gone = create(&mut s, 10);
    admin(&mut s, commands::delete_namespace(gone));
    s.flush().unwrap();
    drop(s);

    let drive = drive(&path, config());
    let size = |nsid| {
        drive.namespaces().into_iter().find(|n| n.nsid == nsid).map(|n| match n.kind {
            NamespaceKind::Nvm { bytes, .. } | NamespaceKind::Memory { bytes } => bytes,
            NamespaceKind::Programs | NamespaceKind::Zoned(_) => 0,
        })
    };
    assert_eq!((size(1), size(made), size(gone)), (Some(24 * MIB), Some(100 * 4096), None));
    drop(drive);

    // In the one that was made, then formatted with other blocks: what was there does not come back.
    let mut s = switch_on(&path, made);
    s.write_blocks(99, &[9; 4096]).unwrap();
    s.flush().unwrap();
    drop(s);
    let mut s = switch_on(&path, made);
    assert_eq!(s.read_blocks(99, 1).unwrap(), [9; 4096]);
    admin(&mut s, commands::format_nvm(made, 0, 0));
    drop(s);
    let mut s = switch_on(&path, made);
    assert_eq!(s.block_bytes(), 512);
    assert_eq!(s.read_blocks(99 * 8, 8).unwrap(), [0; 4096]);
    drop(s);
    let mut s = switch_on(&path, 1);
    assert_eq!(s.read_blocks(7, 1).unwrap(), [7; 4096]);
}

#[test]
fn a_namespace_that_takes_the_place_of_another_does_not_see_its_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flash");
    let mut s = switch_on(&path, 1);
    let first = create(&mut s, 2000);
    drop(s);
    let mut s = switch_on(&path, first);
    for block in (0..2000).step_by(200) {
        s.write_blocks(block, &[b'!'; 200 * 4096]).unwrap();
    }
    s.flush().unwrap();
    admin(&mut s, commands::delete_namespace(first));
    let second = create(&mut s, 2000);
    assert_eq!(first, second);
    drop(s);
    let mut s = switch_on(&path, second);
    for block in (0..2000).step_by(200) {
        assert_eq!(s.read_blocks(block, 200).unwrap(), [0; 200 * 4096], "block {block}");
    }
    // A sanitize leaves nothing in the file either.
    s.write_blocks(0, &[b'?'; 4096]).unwrap();
    s.write_blocks(0, &[b'?'; 4096]).unwrap();
    s.flush().unwrap();
    admin(&mut s, commands::sanitize(2, 0));
    let simulation = &mut s.transport.driver.port;
    simulation.idle_until(simulation.now() + Duration::from_us(600_000_000));
    drop(s);
    let bytes = std::fs::read(&path).unwrap();
    assert!(!bytes.chunks(4096).any(|page| page == [b'?'; 4096] || page == [b'!'; 4096]));
}

#[test]
fn logs_count_over_the_life_of_a_drive() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flash");
    let mut s = switch_on(&path, 1);
    s.write_blocks(0, &vec![1; 1000 * 512]).unwrap();
    s.flush().unwrap();
    let before = smart(&mut s);
    assert_eq!((before.power_cycles.get(), before.unsafe_shutdowns.get()), (1, 0));
    s.transport.driver.port.shut_down();
    drop(s);
    let mut s = switch_on(&path, 1);
    let after = smart(&mut s);
    assert_eq!((after.power_cycles.get(), after.unsafe_shutdowns.get()), (2, 0));
    assert_eq!(after.data_units_written.get(), before.data_units_written.get());
    assert_eq!(after.host_writes.get(), before.host_writes.get());
    // Without a shutdown.
    drop(s);
    let mut s = switch_on(&path, 1);
    let after = smart(&mut s);
    assert_eq!((after.power_cycles.get(), after.unsafe_shutdowns.get()), (3, 1));
}

#[test]
fn what_a_file_remembers_is_not_believed() {
    let mut config = Config { memory_bytes: 4096, ..Config::default() };
    config.flash.capacity_bytes = 4 * MIB;
    is_not_believed(&config, |_| {});
    let mut config = zoned(2);
    config.flash.capacity_bytes = 8 * MIB;
    is_not_believed(&config, |s| {
        s.append(0, vec![1; 4096]).unwrap();
        s.manage_zone(Some(ZONE), ZoneAction::FINISH).unwrap();
        s.flush().unwrap();
    });
}

fn is_not_believed(config: &Config, use_it: impl FnOnce(&mut Session)) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flash");
    let saved = || {
        let store = FlashFile::open_store(&path, &config.flash, SyncPolicy::Never, DaxPolicy::Auto)
            .unwrap();
        (ssd::Store::saved(&store), store)
    };
    let mut s = simulator::open_namespace(drive(&path, config.clone()), 1).unwrap();
    use_it(&mut s);
    drop(s);
    let sound = saved().0.unwrap();
    // Another drive's state, cut or changed at any byte, with the checksum right.
    for at in 0..sound.len() {
        for (n, change) in [0x01, 0x80, 0xFF].into_iter().enumerate() {
            let (_, mut store) = saved();
            let mut state = sound.clone();
            if n == 2 {
                state.truncate(at);
            } else if let Some(byte) = state.get_mut(at) {
                *byte ^= change;
            }
            ssd::Store::save(&mut store, &state).unwrap();
            let parts = Parts { store: Some(Box::new(store)), ..Parts::default() };
            // Whatever it says, it is a drive or an error.
            if let Ok(drive) = Controller::with_parts(config.clone(), parts) {
                drive.check();
            }
        }
    }
}

/// Placement handles that a host listed are the namespace's after switching off and on; those of others are the drive's.
#[test]
fn placement_handles_outlive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("drive");
    let config = || {
        let mut config = Config { placement: true, ..config() };
        config.flash.hint_streams = 4;
        config.flash.blocks_per_plane = 8;
        config
    };
    let usage = |s: &mut Session| -> Vec<u8> {
        let mut entry = commands::get_log(lid::FDP_USAGE, 0, nvme_spec::CommandSet::NVM, 0, 40);
        entry.cdw11.set(entry.cdw11.get() | 1 << 16);
        let ram = &mut s.transport.driver.port.ram;
        let buffer = ram.allocate(4096);
        let entry = commands::with_data(entry, (buffer.address, 0));
        must(s.transport.driver.execute(ADMIN, entry).unwrap());
        let mut page = [0; 40];
        s.transport.driver.port.ram.get(buffer.address, &mut page);
        page.chunks(8).skip(1).map(|handle| handle[0]).collect()
    };
    let mut s = simulator::open_namespace(drive(&path, config()), 1).unwrap();
    assert_eq!(usage(&mut s), [2, 2, 2, 2], "the controller's");
    let (nsze, ncap) = (8.into(), 8.into());
    let mut new =
        NamespaceSpecification { nsze, ncap, flbas: 1, nphndls: 2.into(), ..Default::default() };
    new.placement_handles[0] = 3.into();
    let mut data = vec![0; 4096];
    data[..new.as_bytes().len()].copy_from_slice(new.as_bytes());
    send(&mut s, commands::create_namespace(), &data);
    assert_eq!(usage(&mut s), [1, 2, 2, 1]);
    drop(s);
    let mut s = simulator::open_namespace(drive(&path, config()), 1).unwrap();
    assert_eq!(usage(&mut s), [1, 2, 2, 1]);
    drop(s);
    // A while without placement; then again with it, and with fewer streams.
    let without = Config { placement: false, ..config() };
    drop(simulator::open_namespace(drive(&path, without), 1).unwrap());
    let mut s = simulator::open_namespace(drive(&path, config()), 1).unwrap();
    assert_eq!(usage(&mut s), [1, 2, 2, 1]);
    drop(s);
    let mut fewer = config();
    fewer.flash.hint_streams = 2;
    let store =
        FlashFile::open_store(&path, &fewer.flash, SyncPolicy::Flush, DaxPolicy::Auto).unwrap();
    let parts = Parts { store: Some(Box::new(store)), ..Parts::default() };
    let refused = Controller::with_parts(fewer, parts).unwrap_err().to_string();
    assert!(refused.contains("flash.streams"), "{refused}");
}

/// Eight zones of 1 MiB, of which 768 KiB can be written.
fn zoned(active_max: u32) -> Config {
    let zoned = ZonedConfig {
        zones: 8,
        zone_bytes: MIB,
        zone_capacity: 768 << 10,
        active_max,
        open_max: 2,
        block_bytes: 4096,
    };
    let namespaces = vec![NamespaceConfig { nsid: 1, kind: NamespaceKind::Zoned(zoned) }];
    let mut config = Config { namespaces, ..Config::default() };
    config.flash.capacity_bytes = 64 * MIB;
    config.flash.zone_streams = active_max;
    config
}

/// Blocks of a zone.
const ZONE: u64 = MIB / 4096;

fn zones_on(path: &Path) -> Session {
    simulator::open_namespace(drive(path, zoned(3)), 1).unwrap()
}

fn states(s: &mut Session) -> Vec<(ZoneState, Option<u64>)> {
    let zones = s.zones().unwrap();
    zones.iter().map(|z| (z.state, z.write_pointer.map(|at| at - z.start))).collect()
}

fn append(s: &mut Session, zone: u64, blocks: usize, byte: u8) -> u64 {
    s.append(zone * ZONE, vec![byte; blocks * 4096]).unwrap()
}

#[test]
fn zones_are_as_far_written_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flash");
    let mut s = zones_on(&path);
    assert_eq!(append(&mut s, 0, 11, 1), 0);
    append(&mut s, 1, 5, 2);
    s.manage_zone(Some(ZONE), ZoneAction::FINISH).unwrap();
    append(&mut s, 2, 16, 3);
    append(&mut s, 3, 192, 4);
    s.flush().unwrap();
    s.manage_zone(Some(2 * ZONE), ZoneAction::RESET).unwrap();
    // Not flushed.
    assert_eq!(append(&mut s, 0, 2, 5), 11);
    append(&mut s, 4, 40, 6);
    // As the file is when the process is killed.
    let killed = folder.path().join("killed");
    std::fs::copy(&path, &killed).unwrap();
    let mut after = zones_on(&killed);
    let all = states(&mut after);
    assert!(matches!(all[0], (ZoneState::CLOSED, Some(11..=13))), "{all:?}");
    assert_eq!(all[1], (ZoneState::FULL, None));
    assert_eq!(all[2], (ZoneState::EMPTY, Some(0)));
    assert_eq!(all[3], (ZoneState::FULL, None));
    assert!(all[4].1.unwrap() <= 40);
    assert_eq!(after.read_blocks(0, 11).unwrap(), [1; 11 * 4096]);
    assert_eq!(after.read_blocks(ZONE, 5).unwrap(), [2; 5 * 4096]);
    assert_eq!(after.read_blocks(2 * ZONE, 16).unwrap(), [0; 16 * 4096]);
    let place = append(&mut after, 0, 3, 7);
    assert_eq!(Some(place), all[0].1);
    assert_eq!(after.read_blocks(place, 3).unwrap(), [7; 3 * 4096]);
    // Switched off in order, everything is as it was; what was open is closed.
    s.transport.driver.port.shut_down();
    drop(s);
    let mut s = zones_on(&path);
    let all = states(&mut s);
    assert_eq!(all[0], (ZoneState::CLOSED, Some(13)));
    assert_eq!(
        all[1..4],
        [(ZoneState::FULL, None), (ZoneState::EMPTY, Some(0)), (ZoneState::FULL, None)]
    );
    assert_eq!(all[4], (ZoneState::CLOSED, Some(40)));
    assert_eq!(s.read_blocks(0, 13).unwrap(), [&[1; 11 * 4096][..], &[5; 2 * 4096]].concat());
    drop(s);
    // A drive that has fewer streams than the zones need says so.
    let mut fewer = zoned(2);
    fewer.flash.blocks_per_plane = ssd::Geometry::new(&zoned(3).flash).unwrap().blocks_per_plane;
    let store =
        FlashFile::open_store(&path, &fewer.flash, SyncPolicy::Flush, DaxPolicy::Auto).unwrap();
    let parts = Parts { store: Some(Box::new(store)), ..Parts::default() };
    let error = Controller::with_parts(fewer, parts).unwrap_err().to_string();
    assert!(error.contains("more active zones than the drive has streams for"), "{error}");
}

/// After a sanitize nothing that was known of zones counts any more; what was cut off at one start is gone at the next.
#[test]
fn what_zones_were_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flash");
    let mut s = zones_on(&path);
    append(&mut s, 1, 5, 2);
    s.manage_zone(Some(ZONE), ZoneAction::FINISH).unwrap();
    s.flush().unwrap();
    admin(&mut s, commands::sanitize(2, 0));
    let simulation = &mut s.transport.driver.port;
    simulation.idle_until(simulation.now() + Duration::from_us(600_000_000));
    assert_eq!(states(&mut s), [(ZoneState::EMPTY, Some(0)); 8]);
    append(&mut s, 1, 8, 3);
    s.flush().unwrap();
    let killed = folder.path().join("killed");
    std::fs::copy(&path, &killed).unwrap();
    let mut after = zones_on(&killed);
    assert_eq!(states(&mut after)[1], (ZoneState::CLOSED, Some(8)));
    assert_eq!(after.read_blocks(ZONE, 8).unwrap(), [3; 8 * 4096]);
}

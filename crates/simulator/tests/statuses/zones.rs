//! Zoned namespaces.

use client::commands::{self, read_write};
use controller::{NamespaceConfig, NamespaceKind, ZonedConfig};
use nvme_spec::{NvmOpcode, Status, SubmissionEntry, ZoneAction, ZoneOpcode};

use crate::{Row, Scene};

const SEND: &str = "Zone Management Send";
const RECEIVE: &str = "Zone Management Receive";
const APPEND: &str = "Zone Append";
const ALL: &str = "Zone Management Send, Zone Management Receive, Zone Append";
const WRITES: &str = "Write, Write Zeroes, Copy, Zone Append (of a zoned namespace)";

/// Blocks of a zone, and of those the ones that can be written.
const SIZE: u64 = 256;
const CAPACITY: u64 = 128;

/// A drive whose namespace 1 is zoned: of 8 zones 2 may be active, and 1 open.
fn with_zones(s: &mut Scene) {
    let zoned = ZonedConfig {
        zones: 8,
        zone_bytes: SIZE * 4096,
        zone_capacity: CAPACITY * 4096,
        active_max: 2,
        open_max: 1,
        block_bytes: 4096,
    };
    let mut config = crate::config();
    config.namespaces = vec![NamespaceConfig { nsid: 1, kind: NamespaceKind::Zoned(zoned) }];
    config.flash.zone_streams = 2;
    s.session = simulator::open(config, 0, 64).expect("a sound configuration");
}

fn write(s: &mut Scene, block: u64) -> Status {
    s.io(read_write(NvmOpcode::WRITE, block, 1), &[0; 4096])
}

fn manage(s: &mut Scene, zone: u64, action: ZoneAction) -> Status {
    s.io(commands::zone_send(zone * SIZE, action, false), &[])
}

fn expect(status: Status, expected: Status) {
    assert!(status.same_code(expected), "{status}, not {expected}");
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = command_rows();
    rows.extend(write_rows());
    rows
}

fn command_rows() -> Vec<Row> {
    vec![
        Row {
            command: ALL,
            condition: "the namespace is not zoned",
            status: Status::INVALID_OPCODE,
            prove: |s| {
                for opcode in ZoneOpcode::ALL {
                    let entry =
                        SubmissionEntry { opcode: opcode.0, nsid: 1.into(), ..Default::default() };
                    expect(s.io(entry, &[0; 4096]), Status::INVALID_OPCODE);
                }
                Status::INVALID_OPCODE
            },
        },
        Row {
            command: ALL,
            condition: "a block beyond the namespace",
            status: Status::LBA_OUT_OF_RANGE,
            prove: |s| {
                with_zones(s);
                expect(manage(s, 8, ZoneAction::OPEN), Status::LBA_OUT_OF_RANGE);
                expect(
                    s.io(commands::zone_report(8 * SIZE, 4096, 0, true), &[0; 4096]),
                    Status::LBA_OUT_OF_RANGE,
                );
                s.io(commands::zone_append(8 * SIZE, 1), &[0; 4096])
            },
        },
        Row {
            command: "Zone Management Send, Zone Append",
            condition: "a block that no zone begins with",
            status: Status::INVALID_FIELD,
            prove: |s| {
                with_zones(s);
                let open = commands::zone_send(1, ZoneAction::OPEN, false);
                expect(s.io(open, &[]), Status::INVALID_FIELD);
                s.io(commands::zone_append(1, 1), &[0; 4096])
            },
        },
        Row {
            command: SEND,
            condition: "an action that the drive does not have (extensions, random write areas)",
            status: Status::INVALID_FIELD,
            prove: |s| {
                with_zones(s);
                expect(manage(s, 0, ZoneAction(0x11)), Status::INVALID_FIELD);
                manage(s, 0, ZoneAction(0x10))
            },
        },
        Row {
            command: SEND,
            condition: "the zone's state does not allow it: Close of an empty or full zone, Open of a full one, Offline",
            status: Status::INVALID_ZONE_STATE_TRANSITION,
            prove: |s| {
                with_zones(s);
                let invalid = Status::INVALID_ZONE_STATE_TRANSITION;
                expect(manage(s, 0, ZoneAction::CLOSE), invalid);
                expect(manage(s, 0, ZoneAction::OFFLINE), invalid);
                let status = manage(s, 0, ZoneAction::FINISH);
                s.given(status);
                expect(manage(s, 0, ZoneAction::CLOSE), invalid);
                manage(s, 0, ZoneAction::OPEN)
            },
        },
        Row {
            command: RECEIVE,
            condition: "zones with extensions; a filter that there is not; less than 64 bytes, or more than a transfer has",
            status: Status::INVALID_FIELD,
            prove: |s| {
                with_zones(s);
                let mut extended = commands::zone_report(0, 4096, 0, true);
                extended.cdw13.set(1);
                for entry in [
                    extended,
                    commands::zone_report(0, 4096, 8, true),
                    commands::zone_report(0, (1 << 20) + 4, 0, true),
                ] {
                    expect(s.io(entry, &[0; 4096]), Status::INVALID_FIELD);
                }
                s.io(commands::zone_report(0, 60, 0, true), &[0; 4096])
            },
        },
        Row {
            command: "Zone Management Send, Zone Append",
            condition: "the namespace is write protected",
            status: Status::WRITE_PROTECTED,
            prove: |s| {
                with_zones(s);
                let protect = commands::set_feature(nvme_spec::fid::WRITE_PROTECTION, 1, 1, false);
                let status = s.admin(protect, &[]);
                s.given(status);
                expect(manage(s, 0, ZoneAction::RESET), Status::WRITE_PROTECTED);
                s.io(commands::zone_append(0, 1), &[0; 4096])
            },
        },
        Row {
            command: APPEND,
            condition: "a directive; more blocks than a transfer has",
            status: Status::INVALID_FIELD,
            prove: |s| {
                with_zones(s);
                let mut entry = commands::zone_append(0, 1);
                entry.cdw12.set(entry.cdw12.get() | 2 << 20);
                expect(s.io(entry, &[0; 4096]), Status::INVALID_FIELD);
                s.io(commands::zone_append(0, 257), &[0; 4096])
            },
        },
    ]
}

fn write_rows() -> Vec<Row> {
    vec![
        Row {
            command: "Write, Write Zeroes, Copy (of a zoned namespace)",
            condition: "another block than the one at the zone's write pointer",
            status: Status::ZONE_INVALID_WRITE,
            prove: |s| {
                with_zones(s);
                let invalid = Status::ZONE_INVALID_WRITE;
                expect(s.io(commands::write_zeroes(1, 1, true), &[]), invalid);
                let source = commands::copy_source(0, 1);
                let source = zerocopy::IntoBytes::as_bytes(&source);
                expect(s.io(commands::copy(SIZE + 1, 1, 0), source), invalid);
                write(s, 1)
            },
        },
        Row {
            command: WRITES,
            condition: "more blocks than the zone has room for",
            status: Status::ZONE_BOUNDARY_ERROR,
            prove: |s| {
                with_zones(s);
                let append = commands::zone_append(0, CAPACITY as u32 + 1);
                expect(s.io(append, &[0; 129 * 4096]), Status::ZONE_BOUNDARY_ERROR);
                s.io(commands::write_zeroes(0, CAPACITY as u32 + 1, false), &[])
            },
        },
        Row {
            command: WRITES,
            condition: "the zone is full",
            status: Status::ZONE_IS_FULL,
            prove: |s| {
                with_zones(s);
                let status = manage(s, 0, ZoneAction::FINISH);
                s.given(status);
                expect(s.io(commands::zone_append(0, 1), &[0; 4096]), Status::ZONE_IS_FULL);
                write(s, 0)
            },
        },
        Row {
            command: "Write, Write Zeroes, Copy, Zone Append (of a zoned namespace), Zone Management Send",
            condition: "the zone is empty, and as many zones are active as may be",
            status: Status::TOO_MANY_ACTIVE_ZONES,
            prove: |s| {
                with_zones(s);
                for zone in 0..2 {
                    let status = write(s, zone * SIZE);
                    s.given(status);
                }
                expect(manage(s, 2, ZoneAction::OPEN), Status::TOO_MANY_ACTIVE_ZONES);
                write(s, 2 * SIZE)
            },
        },
        Row {
            command: "Write, Write Zeroes, Copy, Zone Append (of a zoned namespace), Zone Management Send",
            condition: "the zone is not open, as many zones are open as may be, and the host opened them",
            status: Status::TOO_MANY_OPEN_ZONES,
            prove: |s| {
                with_zones(s);
                let status = manage(s, 0, ZoneAction::OPEN);
                s.given(status);
                expect(manage(s, 1, ZoneAction::OPEN), Status::TOO_MANY_OPEN_ZONES);
                write(s, SIZE)
            },
        },
    ]
}

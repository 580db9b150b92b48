//! Identify, logs, features, events, and what acts on the whole drive.

use client::commands;
use nvme_spec::namespace::{ALL_NSID, COMPUTE_NSID, MEMORY_NSID, NVM_NSID};
use nvme_spec::{CommandSet, HostBehavior, Status, cns, fid, lid};
use zerocopy::IntoBytes;

use crate::{ADMIN, IO, Row, Scene};

const IDENTIFY: &str = "Identify";
const GET_LOG: &str = "Get Log Page";
const SET: &str = "Set Features";
const GET: &str = "Get Features";
const MARK: &str = "Mark";
const FORMAT: &str = "Format NVM";
const SANITIZE: &str = "Sanitize";
const SELF_TEST: &str = "Device Self-test";

fn set(s: &mut Scene, id: u8, nsid: u32, value: u32) -> Status {
    s.run(ADMIN, commands::set_feature(id, nsid, value, false))
}

fn protect(s: &mut Scene) {
    let status = set(s, fid::WRITE_PROTECTION, NVM_NSID, 1);
    s.given(status);
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = data_structures();
    rows.extend(features());
    rows.extend(whole_drive());
    rows
}

fn data_structures() -> Vec<Row> {
    vec![
        Row {
            command: IDENTIFY,
            condition: "CNS unknown, or not of the namespace's command set",
            status: Status::INVALID_FIELD,
            prove: |s| {
                let memory = commands::identify(cns::CSI_NAMESPACE, MEMORY_NSID, CommandSet::NVM);
                let status = s.admin(memory, &[0; 4096]);
                assert!(status.same_code(Status::INVALID_FIELD), "{status}");
                s.admin(commands::identify(0x33, 1, CommandSet::NVM), &[0; 4096])
            },
        },
        Row {
            command: IDENTIFY,
            condition: "NSID 0h or above NN; list after FFFFFFFEh or later",
            status: Status::INVALID_NAMESPACE,
            prove: |s| {
                let list = commands::identify(cns::ACTIVE_NAMESPACES, ALL_NSID, CommandSet::NVM);
                let status = s.admin(list, &[0; 4096]);
                assert!(status.same_code(Status::INVALID_NAMESPACE), "{status}");
                s.admin(commands::identify(cns::NAMESPACE, 129, CommandSet::NVM), &[0; 4096])
            },
        },
        Row {
            command: GET_LOG,
            condition: "no such page",
            status: Status::INVALID_LOG_PAGE,
            prove: |s| s.admin(commands::get_log(0x77, 0, CommandSet::NVM, 0, 4), &[0; 4]),
        },
        Row {
            command: GET_LOG,
            condition: "offset past the page, not a multiple of four, or an index; length over the largest transfer; effects of an unknown command set",
            status: Status::INVALID_FIELD,
            prove: |s| {
                let mut index = commands::get_log(lid::SMART, 0, CommandSet::NVM, 0, 4);
                index.cdw14.set(1 << 23);
                for entry in [
                    commands::get_log(lid::SMART, 0, CommandSet::NVM, 2, 4),
                    commands::get_log(lid::SMART, 0, CommandSet::NVM, 0, (1 << 20) + 4),
                    commands::get_log(lid::EFFECTS, 0, CommandSet(9), 0, 4096),
                    index,
                ] {
                    let status = s.admin(entry, &[0; 4096]);
                    assert!(status.same_code(Status::INVALID_FIELD), "{entry:?}: {status}");
                }
                s.admin(commands::get_log(lid::SMART, 0, CommandSet::NVM, 516, 4), &[0; 4])
            },
        },
        Row {
            command: GET_LOG,
            condition: "NSID above NN; a page of programs not asked of a compute namespace",
            status: Status::INVALID_NAMESPACE,
            prove: |s| {
                let entry = commands::get_log(lid::RANGE_SETS, MEMORY_NSID, CommandSet::NVM, 0, 16);
                let status = s.admin(entry, &[0; 16]);
                assert!(status.same_code(Status::INVALID_NAMESPACE), "{status}");
                s.admin(commands::get_log(lid::SMART, 129, CommandSet::NVM, 0, 512), &[0; 512])
            },
        },
        Row {
            command: "Asynchronous Event Request",
            condition: "more are outstanding than AERL allows",
            status: Status::EVENT_LIMIT_EXCEEDED,
            prove: |s| {
                for _ in 0..4 {
                    s.begin(ADMIN, commands::async_event_request(), &[]);
                }
                s.run(ADMIN, commands::async_event_request())
            },
        },
    ]
}

fn features() -> Vec<Row> {
    vec![
        Row {
            command: SET,
            condition: "feature or value not supported",
            status: Status::INVALID_FIELD,
            prove: |s| {
                for (id, nsid, value) in [
                    (fid::POWER_MANAGEMENT, 0, 1),
                    (fid::TEMPERATURE_THRESHOLD, 0, 3 << 16),
                    (fid::VOLATILE_WRITE_CACHE, 0, 2),
                    (fid::NUMBER_OF_QUEUES, 0, 0xFFFF),
                    (fid::INTERRUPT_VECTOR, 0, 65),
                    (fid::ASYNC_EVENTS, 0, 1 << 11),
                    (fid::COMMAND_SET_PROFILE, 0, 512),
                    (fid::WRITE_PROTECTION, NVM_NSID, 2),
                    (fid::ERROR_RECOVERY, MEMORY_NSID, 0),
                ] {
                    let status = set(s, id, nsid, value);
                    assert!(status.same_code(Status::INVALID_FIELD), "{id:#x}: {status}");
                }
                set(s, 0x7D, 0, 0)
            },
        },
        Row {
            command: SET,
            condition: "host behavior that the drive does not have",
            status: Status::INVALID_FIELD,
            prove: |s| {
                let behavior = HostBehavior { cdfe: (1 << 5).into(), ..Default::default() };
                let entry = commands::set_feature(fid::HOST_BEHAVIOR, 0, 0, false);
                s.admin(entry, behavior.as_bytes())
            },
        },
        Row {
            command: SET,
            condition: "to be saved, but it cannot be",
            status: Status::FEATURE_NOT_SAVEABLE,
            prove: |s| s.run(ADMIN, commands::set_feature(fid::KEEP_ALIVE, 0, 0, true)),
        },
        Row {
            command: SET,
            condition: "of one namespace, but it is not namespace specific",
            status: Status::FEATURE_NOT_NAMESPACE_SPECIFIC,
            prove: |s| set(s, fid::ARBITRATION, NVM_NSID, 0),
        },
        Row {
            command: SET,
            condition: "NSID above NN, or 0h for a namespace specific feature",
            status: Status::INVALID_NAMESPACE,
            prove: |s| {
                let status = set(s, fid::ERROR_RECOVERY, 0, 0);
                assert!(status.same_code(Status::INVALID_NAMESPACE), "{status}");
                set(s, fid::ARBITRATION, 129, 0)
            },
        },
        Row {
            command: SET,
            condition: "number of queues after I/O queues were created",
            status: Status::COMMAND_SEQUENCE_ERROR,
            prove: |s| s.run(ADMIN, commands::set_queue_count(4)),
        },
        Row {
            command: SET,
            condition: "command set profile without command sets",
            status: Status::COMMAND_SET_COMBINATION_REJECTED,
            prove: |s| set(s, fid::COMMAND_SET_PROFILE, 0, 1),
        },
        Row {
            command: GET,
            condition: "feature, selector or sensor not supported; feature not of this namespace",
            status: Status::INVALID_FIELD,
            prove: |s| {
                for entry in [
                    commands::get_feature(fid::ARBITRATION, 0, 4, 0),
                    commands::get_feature(fid::TEMPERATURE_THRESHOLD, 0, 0, 1 << 16),
                    commands::get_feature(fid::WRITE_PROTECTION, COMPUTE_NSID, 0, 0),
                ] {
                    let status = s.run(ADMIN, entry);
                    assert!(status.same_code(Status::INVALID_FIELD), "{entry:?}: {status}");
                }
                s.run(ADMIN, commands::get_feature(0x7D, 0, 0, 0))
            },
        },
        Row {
            command: GET,
            condition: "NSID 0h or above NN of a namespace specific feature",
            status: Status::INVALID_NAMESPACE,
            prove: |s| s.run(ADMIN, commands::get_feature(fid::ERROR_RECOVERY, ALL_NSID, 0, 0)),
        },
    ]
}

fn whole_drive() -> Vec<Row> {
    vec![
        Row {
            command: MARK,
            condition: "the drive keeps no history of what is written",
            status: Status::COMMAND_SEQUENCE_ERROR,
            prove: |s| s.admin(commands::mark(8), b"here I am"),
        },
        Row {
            command: MARK,
            condition: "no text, more than 4096 bytes of it, control characters, or no UTF-8",
            status: Status::INVALID_FIELD,
            prove: |s| {
                s.session.transport.driver.port.drive.keep_history().unwrap();
                let marked = s.admin(commands::mark(4), b"here");
                s.given(marked);
                for entry in [commands::mark(0), commands::mark(4097)] {
                    let status = s.admin(entry, &[b'x'; 8192]);
                    assert!(status.same_code(Status::INVALID_FIELD), "{status}");
                }
                for text in [[0xFF; 4], [0; 4], *b"a\nbc"] {
                    let status = s.admin(commands::mark(1), &text);
                    assert!(status.same_code(Status::INVALID_FIELD), "{status}");
                }
                s.admin(commands::mark(1), &[0xFF; 4])
            },
        },
        Row {
            command: FORMAT,
            condition: "LBA format does not exist, or metadata or protection information asked for",
            status: Status::INVALID_FORMAT,
            prove: |s| {
                let mut metadata = commands::format_nvm(NVM_NSID, 0, 0);
                metadata.cdw10.set(1 << 4);
                let status = s.run(ADMIN, metadata);
                assert!(status.same_code(Status::INVALID_FORMAT), "{status}");
                s.run(ADMIN, commands::format_nvm(NVM_NSID, 2, 0))
            },
        },
        Row {
            command: FORMAT,
            condition: "secure erase setting unknown",
            status: Status::INVALID_FIELD,
            prove: |s| s.run(ADMIN, commands::format_nvm(NVM_NSID, 0, 3)),
        },
        Row {
            command: FORMAT,
            condition: "NSID above NN, or of a namespace of another kind",
            status: Status::INVALID_NAMESPACE,
            prove: |s| s.run(ADMIN, commands::format_nvm(MEMORY_NSID, 0, 0)),
        },
        Row {
            command: "Identify (descriptors), Get Log Page, Set Features, Get Features, Format NVM, Device Self-test",
            condition: "no namespace with the NSID is attached",
            status: Status::INVALID_FIELD,
            prove: |s| {
                let descriptors =
                    commands::identify(cns::NAMESPACE_DESCRIPTORS, 9, CommandSet::NVM);
                let log = commands::get_log(lid::SMART, 9, CommandSet::NVM, 0, 512);
                for entry in [
                    descriptors,
                    log,
                    commands::set_feature(fid::ARBITRATION, 9, 0, false),
                    commands::get_feature(fid::ERROR_RECOVERY, 9, 0, 0),
                    commands::self_test(9, 1),
                ] {
                    let status = s.admin(entry, &[0; 4096]);
                    assert!(status.same_code(Status::INVALID_FIELD), "{entry:?}: {status}");
                }
                s.run(ADMIN, commands::format_nvm(9, 0, 0))
            },
        },
        Row {
            command: FORMAT,
            condition: "the namespace is write protected",
            status: Status::WRITE_PROTECTED,
            prove: |s| {
                protect(s);
                s.run(ADMIN, commands::format_nvm(NVM_NSID, 0, 0))
            },
        },
        Row {
            command: "Format NVM, Sanitize",
            condition: "the namespace is being formatted",
            status: Status::FORMAT_IN_PROGRESS,
            prove: |s| {
                s.begin(ADMIN, commands::format_nvm(NVM_NSID, 1, 1), &[]);
                for entry in [commands::format_nvm(NVM_NSID, 0, 0), commands::sanitize(2, 0)] {
                    let status = s.run(ADMIN, entry);
                    assert!(status.same_code(Status::FORMAT_IN_PROGRESS), "{status}");
                }
                Status::FORMAT_IN_PROGRESS
            },
        },
        Row {
            command: SANITIZE,
            condition: "action unknown, or no deallocation or verification asked for",
            status: Status::INVALID_FIELD,
            prove: |s| {
                let mut keep = commands::sanitize(2, 0);
                keep.cdw10.set(keep.cdw10.get() | 1 << 9);
                let status = s.run(ADMIN, keep);
                assert!(status.same_code(Status::INVALID_FIELD), "{status}");
                s.run(ADMIN, commands::sanitize(7, 0))
            },
        },
        Row {
            command: SANITIZE,
            condition: "a namespace is write protected",
            status: Status::WRITE_PROTECTED,
            prove: |s| {
                protect(s);
                s.run(ADMIN, commands::sanitize(4, 0))
            },
        },
        Row {
            command: SELF_TEST,
            condition: "code unknown",
            status: Status::INVALID_FIELD,
            prove: |s| s.run(ADMIN, commands::self_test(0, 3)),
        },
        Row {
            command: SELF_TEST,
            condition: "NSID above NN",
            status: Status::INVALID_NAMESPACE,
            prove: |s| s.run(ADMIN, commands::self_test(129, 1)),
        },
        Row {
            command: SELF_TEST,
            condition: "another one runs",
            status: Status::SELF_TEST_IN_PROGRESS,
            prove: |s| {
                let status = s.run(ADMIN, commands::self_test(ALL_NSID, 2));
                s.given(status);
                s.run(ADMIN, commands::self_test(0, 1))
            },
        },
        Row {
            command: "Write, Write Zeroes, Dataset Management, Copy",
            condition: "the namespace is write protected",
            status: Status::WRITE_PROTECTED,
            prove: |s| {
                protect(s);
                for entry in [
                    commands::read_write(nvme_spec::NvmOpcode::WRITE, 0, 1),
                    commands::write_zeroes(0, 1, true),
                    commands::dataset_management(1, true),
                    commands::copy(0, 1, 0),
                ] {
                    let status = s.send(IO, entry, &[0; 4096]);
                    assert!(status.same_code(Status::WRITE_PROTECTED), "{entry:?}: {status}");
                }
                Status::WRITE_PROTECTED
            },
        },
    ]
}

//! Namespace Management and Namespace Attachment.

use client::commands;
use nvme_spec::namespace::{MEMORY_NSID, NVM_NSID};
use nvme_spec::{ControllerList, NamespaceSpecification, NvmOpcode, Status, SubmissionEntry};
use zerocopy::IntoBytes;

use crate::{ADMIN, BLOCKS, IO, Row, Scene};

const CREATE: &str = "Namespace Management (create)";
const DELETE: &str = "Namespace Management (delete)";
const ATTACHMENT: &str = "Namespace Attachment";

/// A specification of so many 4 KiB blocks.
fn specification(blocks: u64) -> NamespaceSpecification {
    let (nsze, ncap) = (blocks.into(), blocks.into());
    NamespaceSpecification { nsze, ncap, flbas: 1, ..Default::default() }
}

fn create(s: &mut Scene, specification: &NamespaceSpecification) -> Status {
    let mut data = vec![0; 4096];
    data[..specification.as_bytes().len()].copy_from_slice(specification.as_bytes());
    s.admin(commands::create_namespace(), &data)
}

/// All of the flash is free.
fn delete_all(s: &mut Scene) {
    let status = s.run(ADMIN, commands::delete_namespace(u32::MAX));
    s.given(status);
}

fn attachment(s: &mut Scene, entry: SubmissionEntry) -> Status {
    let mut list = ControllerList { count: 1.into(), ..Default::default() };
    list.ids[0] = 0.into();
    s.admin(entry, list.as_bytes())
}

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row {
            command: CREATE,
            condition: "placement handles that there are not, or twice the same",
            status: Status::INVALID_PLACEMENT_HANDLE_LIST,
            prove: |s| {
                let mut config = crate::config();
                config.placement = true;
                config.flash.hint_streams = 4;
                s.session = simulator::open(config, 0, 64).expect("a sound configuration");
                let mut listed = specification(2);
                listed.nphndls = 2.into();
                listed.placement_handles[1] = 4.into();
                let status = create(s, &listed);
                assert!(status.same_code(Status::INVALID_PLACEMENT_HANDLE_LIST), "{status}");
                listed.placement_handles[1] = 0.into();
                create(s, &listed)
            },
        },
        Row {
            command: CREATE,
            condition: "not enough flash is free",
            status: Status::NAMESPACE_INSUFFICIENT_CAPACITY,
            prove: |s| {
                let status = create(s, &specification(1));
                assert!(status.same_code(Status::NAMESPACE_INSUFFICIENT_CAPACITY), "{status}");
                delete_all(s);
                for blocks in [u64::MAX, u64::MAX / 4096] {
                    let status = create(s, &specification(blocks));
                    assert!(status.same_code(Status::NAMESPACE_INSUFFICIENT_CAPACITY), "{status}");
                }
                create(s, &specification(BLOCKS + 1))
            },
        },
        Row {
            command: CREATE,
            condition: "128 namespaces exist",
            status: Status::NAMESPACE_IDENTIFIER_UNAVAILABLE,
            prove: |s| {
                delete_all(s);
                for _ in 0..126 {
                    let status = create(s, &specification(1));
                    s.given(status);
                }
                create(s, &specification(1))
            },
        },
        Row {
            command: CREATE,
            condition: "capacity is not size",
            status: Status::THIN_PROVISIONING_NOT_SUPPORTED,
            prove: |s| {
                delete_all(s);
                create(s, &NamespaceSpecification { ncap: 1.into(), ..specification(2) })
            },
        },
        Row {
            command: CREATE,
            condition: "no such LBA format",
            status: Status::INVALID_FORMAT,
            prove: |s| {
                delete_all(s);
                for flbas in [2, 0x20] {
                    let status = create(s, &NamespaceSpecification { flbas, ..specification(2) });
                    assert!(status.same_code(Status::INVALID_FORMAT), "{status}");
                }
                create(s, &NamespaceSpecification { flbas: 15, ..specification(2) })
            },
        },
        Row {
            command: CREATE,
            condition: "size 0; protection information, sharing, placement handles, or a group or set of namespaces asked for",
            status: Status::INVALID_FIELD,
            prove: |s| {
                delete_all(s);
                for wrong in [
                    NamespaceSpecification { dps: 1, ..specification(2) },
                    NamespaceSpecification { nmic: 1, ..specification(2) },
                    NamespaceSpecification { anagrpid: 1.into(), ..specification(2) },
                    NamespaceSpecification { nphndls: 1.into(), ..specification(2) },
                    NamespaceSpecification { endgid: 2.into(), ..specification(2) },
                ] {
                    let status = create(s, &wrong);
                    assert!(status.same_code(Status::INVALID_FIELD), "{status}");
                }
                create(s, &specification(0))
            },
        },
        Row {
            command: CREATE,
            condition: "command set other than NVM",
            status: Status::COMMAND_SET_NOT_SUPPORTED,
            prove: |s| {
                let mut entry = commands::create_namespace();
                entry.cdw11.set(3 << 24);
                s.admin(entry, &[0; 4096])
            },
        },
        Row {
            command: "Namespace Management, Namespace Attachment",
            condition: "operation unknown; no namespace with the NSID",
            status: Status::INVALID_FIELD,
            prove: |s| {
                for mut entry in [commands::create_namespace(), commands::attach_namespace(1, true)]
                {
                    entry.cdw10.set(7);
                    let status = s.admin(entry, &[0; 4096]);
                    assert!(status.same_code(Status::INVALID_FIELD), "{status}");
                }
                let status = attachment(s, commands::attach_namespace(9, true));
                assert!(status.same_code(Status::INVALID_FIELD), "{status}");
                s.run(ADMIN, commands::delete_namespace(9))
            },
        },
        Row {
            command: "Namespace Management (delete), Namespace Attachment",
            condition: "a namespace of memory or programs; NSID 0h or above NN",
            status: Status::INVALID_NAMESPACE,
            prove: |s| {
                let status = attachment(s, commands::attach_namespace(MEMORY_NSID, false));
                assert!(status.same_code(Status::INVALID_NAMESPACE), "{status}");
                for nsid in [0, 129] {
                    let status = s.run(ADMIN, commands::delete_namespace(nsid));
                    assert!(status.same_code(Status::INVALID_NAMESPACE), "{status}");
                }
                s.run(ADMIN, commands::delete_namespace(MEMORY_NSID))
            },
        },
        Row {
            command: DELETE,
            condition: "the namespace is write protected",
            status: Status::WRITE_PROTECTED,
            prove: |s| {
                let protect =
                    commands::set_feature(nvme_spec::fid::WRITE_PROTECTION, NVM_NSID, 1, false);
                let status = s.run(ADMIN, protect);
                s.given(status);
                s.run(ADMIN, commands::delete_namespace(NVM_NSID))
            },
        },
        Row {
            command: "Namespace Management (delete), Namespace Attachment",
            condition: "the namespace is being formatted",
            status: Status::FORMAT_IN_PROGRESS,
            prove: |s| {
                s.begin(ADMIN, commands::format_nvm(NVM_NSID, 1, 1), &[]);
                let status = attachment(s, commands::attach_namespace(NVM_NSID, false));
                assert!(status.same_code(Status::FORMAT_IN_PROGRESS), "{status}");
                s.run(ADMIN, commands::delete_namespace(NVM_NSID))
            },
        },
        Row {
            command: ATTACHMENT,
            condition: "the list does not name controller 0 alone",
            status: Status::CONTROLLER_LIST_INVALID,
            prove: |s| {
                let mut list = ControllerList { count: 1.into(), ..Default::default() };
                list.ids[0] = 1.into();
                let detach = commands::attach_namespace(NVM_NSID, false);
                for count in [0, 2, u16::MAX] {
                    let list = ControllerList { count: count.into(), ..Default::default() };
                    let status = s.admin(detach, list.as_bytes());
                    assert!(status.same_code(Status::CONTROLLER_LIST_INVALID), "{status}");
                }
                s.admin(detach, list.as_bytes())
            },
        },
        Row {
            command: ATTACHMENT,
            condition: "it is attached already",
            status: Status::NAMESPACE_ALREADY_ATTACHED,
            prove: |s| attachment(s, commands::attach_namespace(NVM_NSID, true)),
        },
        Row {
            command: ATTACHMENT,
            condition: "it is not attached",
            status: Status::NAMESPACE_NOT_ATTACHED,
            prove: |s| {
                let status = attachment(s, commands::attach_namespace(NVM_NSID, false));
                s.given(status);
                let read = commands::read_write(NvmOpcode::READ, 0, 1);
                let status = s.io(read, &[0; 4096]);
                assert!(status.same_code(Status::INVALID_FIELD), "{status}");
                attachment(s, commands::attach_namespace(NVM_NSID, false))
            },
        },
        Row {
            command: "Read, Write, Copy, Memory Copy",
            condition: "the namespace is detached or deleted meanwhile",
            status: Status::INVALID_NAMESPACE,
            prove: |s| {
                let data = [7; 4096];
                let status = s.io(commands::read_write(NvmOpcode::WRITE, 0, 1), &data);
                s.given(status);
                let status = s.run(IO, commands::flush());
                s.given(status);
                let read = commands::read_write(NvmOpcode::READ, 0, 1);
                s.begin(IO, read, &data);
                let status = attachment(s, commands::attach_namespace(NVM_NSID, false));
                s.given(status);
                let status = s.next();
                assert!(status.same_code(Status::INVALID_NAMESPACE), "{status}");
                let status = attachment(s, commands::attach_namespace(NVM_NSID, true));
                s.given(status);
                s.begin(IO, read, &data);
                delete_all(s);
                s.next()
            },
        },
    ]
}

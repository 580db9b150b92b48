//! Errors that any command of a queue can run into.

use client::commands::{self, read_write, with_data, with_sgl};
use client::{DmaMemory, GroupOptions, Port};
use nvme_spec::namespace::NVM_NSID;
use nvme_spec::{Cc, NvmOpcode, SglDescriptor, Status, SubmissionEntry, cns, offset, sgl_type};

use zerocopy::IntoBytes;

use crate::{ADMIN, IO, Row, Scene};

const ADMIN_ANY: &str = "any admin command";
const IO_ANY: &str = "any I/O command";
const DATA: &str = "any command with data";
const SGL: &str = "any I/O command with an SGL";

fn read() -> SubmissionEntry {
    read_write(NvmOpcode::READ, 0, 3)
}

/// A read whose SGL begins with a descriptor, behind which some others lie in memory.
fn read_sgl(s: &mut Scene, first: fn(u64) -> SglDescriptor, rest: &[SglDescriptor]) -> Status {
    let list = s.session.transport.driver.port.ram.allocate(4096).address;
    s.session.transport.driver.port.ram.put(list, rest.as_bytes());
    s.run(IO, with_sgl(read(), first(list)))
}

/// Resets the drive to the NVM command set alone.
fn without_command_sets(s: &mut Scene) {
    s.session.transport.driver.disable();
    s.session.transport.driver.enable(Cc::new()).expect("it was enabled before");
    // The driver selects all command sets; this host does not.
    let port = &mut s.session.transport.driver.port;
    let cc = Cc::from_bits(port.register_read(offset::CC, 4) as u32).with_css(0);
    port.register_write(offset::CC, 4, 0);
    port.register_write(offset::CC, 4, cc.into_bits().into());
}

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row {
            command: ADMIN_ANY,
            condition: "opcode unknown",
            status: Status::INVALID_OPCODE,
            prove: |s| s.run(ADMIN, SubmissionEntry { opcode: 0xEE, ..Default::default() }),
        },
        Row {
            command: ADMIN_ANY,
            condition: "data pointer is an SGL",
            status: Status::INVALID_FIELD,
            prove: |s| {
                let identify = commands::identify(cns::CONTROLLER, 0, nvme_spec::CommandSet::NVM);
                let block = SglDescriptor::new(sgl_type::DATA_BLOCK, 0x10_0000, 4096);
                s.run(ADMIN, with_sgl(identify, block))
            },
        },
        Row {
            command: ADMIN_ANY,
            condition: "identifier in use by another command of the queue",
            status: Status::COMMAND_ID_CONFLICT,
            prove: |s| {
                let request = commands::async_event_request();
                s.session.transport.driver.enqueue_as_is(ADMIN, &request);
                s.session.transport.driver.enqueue_as_is(ADMIN, &request);
                s.session.transport.driver.ring(ADMIN);
                s.next()
            },
        },
        Row {
            command: IO_ANY,
            condition: "opcode unknown to the namespace's command set",
            status: Status::INVALID_OPCODE,
            prove: |s| s.run(IO, read_write(NvmOpcode(0x7F), 0, 1)),
        },
        Row {
            command: IO_ANY,
            condition: "NSID 0h or above NN",
            status: Status::INVALID_NAMESPACE,
            prove: |s| s.io(SubmissionEntry { nsid: 129.into(), ..read() }, &[0; 12288]),
        },
        Row {
            command: IO_ANY,
            condition: "no namespace with the NSID is attached",
            status: Status::INVALID_FIELD,
            prove: |s| s.io(SubmissionEntry { nsid: 9.into(), ..read() }, &[0; 12288]),
        },
        Row {
            command: IO_ANY,
            condition: "PSDT 2h or 3h",
            status: Status::INVALID_FIELD,
            prove: |s| {
                let status = s.io(SubmissionEntry { flags: 3 << 6, ..read() }, &[0; 12288]);
                assert!(status.same_code(Status::INVALID_FIELD), "{status}");
                s.io(SubmissionEntry { flags: 2 << 6, ..read() }, &[0; 12288])
            },
        },
        Row {
            command: IO_ANY,
            condition: "the other half of a fused pair is missing",
            status: Status::ABORTED_MISSING_FUSED,
            prove: |s| {
                let [first, _] = commands::fused(read_write(NvmOpcode::COMPARE, 0, 1), read());
                s.io(first, &[0; 4096])
            },
        },
        Row {
            command: IO_ANY,
            condition: "the first of a fused pair failed",
            status: Status::ABORTED_FAILED_FUSED,
            prove: |s| {
                let compare = read_write(NvmOpcode::COMPARE, 0, 1);
                let write = read_write(NvmOpcode::WRITE, 0, 1);
                for half in commands::fused(compare, write) {
                    let half = s.with_buffer(half, &[7; 4096]);
                    s.session.transport.driver.enqueue(IO, half);
                }
                s.session.transport.driver.ring(IO);
                assert!(s.next().same_code(Status::COMPARE_FAILURE));
                s.next()
            },
        },
        Row {
            command: IO_ANY,
            condition: "a pair other than compare and write of the same blocks",
            status: Status::INVALID_FIELD,
            prove: |s| {
                for half in commands::fused(read(), read_write(NvmOpcode::WRITE, 0, 3)) {
                    let half = s.with_buffer(half, &[7; 12288]);
                    s.session.transport.driver.enqueue(IO, half);
                }
                s.session.transport.driver.ring(IO);
                s.next()
            },
        },
        Row {
            command: IO_ANY,
            condition: "aborted by an Abort command",
            status: Status::ABORT_REQUESTED,
            prove: |s| {
                let cid = s.begin(IO, read_write(NvmOpcode::WRITE, 0, 1), &[1; 4096]);
                let status = s.run(ADMIN, commands::abort(IO.0, cid));
                s.given(status);
                s.next()
            },
        },
        Row {
            command: IO_ANY,
            condition: "its submission queue was deleted",
            status: Status::ABORTED_SQ_DELETION,
            prove: |s| {
                s.begin(IO, read_write(NvmOpcode::WRITE, 0, 1), &[1; 4096]);
                let status = s.run(ADMIN, commands::delete_submission_queue(IO.0));
                s.given(status);
                s.next()
            },
        },
        Row {
            command: IO_ANY,
            condition: "a sanitize operation runs",
            status: Status::SANITIZE_IN_PROGRESS,
            prove: |s| {
                let status = s.run(ADMIN, commands::sanitize(2, 0));
                s.given(status);
                s.io(read(), &[0; 12288])
            },
        },
        Row {
            command: IO_ANY,
            condition: "its namespace is being formatted",
            status: Status::FORMAT_IN_PROGRESS,
            prove: |s| {
                s.begin(ADMIN, commands::format_nvm(NVM_NSID, 1, 0), &[]);
                let read = s.with_buffer(read(), &[0; 12288]);
                s.session.transport.driver.submit(IO, read);
                s.next()
            },
        },
        Row {
            command: DATA,
            condition: "PRP entry 1 not at a multiple of four",
            status: Status::INVALID_PRP_OFFSET,
            prove: |s| s.run(IO, with_data(read(), (0x10_0002, 0x10_1000))),
        },
        Row {
            command: DATA,
            condition: "another PRP entry not at a page",
            status: Status::INVALID_PRP_OFFSET,
            prove: |s| {
                let two_pages = read_write(NvmOpcode::READ, 0, 2);
                s.run(IO, with_data(two_pages, (0x10_0000, 0x10_1008)))
            },
        },
        Row {
            command: DATA,
            condition: "data or a list is where the host has no memory",
            status: Status::DATA_TRANSFER_ERROR,
            prove: |s| s.run(IO, with_data(read(), (1 << 40, 1 << 41))),
        },
        Row {
            command: SGL,
            condition: "descriptor type or subtype not supported",
            status: Status::INVALID_SGL_TYPE,
            prove: |s| {
                let offset = |list| SglDescriptor {
                    identifier: 1,
                    ..SglDescriptor::new(sgl_type::DATA_BLOCK, list, 12288)
                };
                let status = read_sgl(s, offset, &[]);
                assert!(status.same_code(Status::INVALID_SGL_TYPE), "{status}");
                read_sgl(s, |list| SglDescriptor::new(4, list, 12288), &[])
            },
        },
        Row {
            command: SGL,
            condition: "segment not whole descriptors, or not at a multiple of eight",
            status: Status::INVALID_SGL_SEGMENT,
            prove: |s| {
                for first in [
                    |list| SglDescriptor::new(sgl_type::SEGMENT, list, 0),
                    |list| SglDescriptor::new(sgl_type::LAST_SEGMENT, list + 4, 32),
                ] {
                    let status = read_sgl(s, first, &[]);
                    assert!(status.same_code(Status::INVALID_SGL_SEGMENT), "{status}");
                }
                read_sgl(s, |list| SglDescriptor::new(sgl_type::SEGMENT, list, 17), &[])
            },
        },
        Row {
            command: SGL,
            condition: "a last segment leads on, or a segment that is not the last does not",
            status: Status::INVALID_SGL_SEGMENT,
            prove: |s| {
                let end = SglDescriptor::new(sgl_type::DATA_BLOCK, 0x10_0000, 8);
                let on = SglDescriptor::new(sgl_type::SEGMENT, 0x10_0000, 16);
                let last = |list| SglDescriptor::new(sgl_type::LAST_SEGMENT, list, 16);
                let status = read_sgl(s, last, &[on]);
                assert!(status.same_code(Status::INVALID_SGL_SEGMENT), "{status}");
                read_sgl(s, |list| SglDescriptor::new(sgl_type::SEGMENT, list, 16), &[end])
            },
        },
        Row {
            command: SGL,
            condition: "the list leads on before the end of a segment, never ends, or has more than 1024 pieces",
            status: Status::INVALID_SGL_COUNT,
            prove: |s| {
                let circle = |list| SglDescriptor::new(sgl_type::SEGMENT, list, 16);
                let list = s.session.transport.driver.port.ram.allocate(4096).address;
                s.session.transport.driver.port.ram.put(list, circle(list).as_bytes());
                let pieces = s.session.transport.driver.port.ram.allocate(64 << 10).address;
                let piece = |n: u64| SglDescriptor::new(sgl_type::DATA_BLOCK, pieces + 8 * n, 4);
                let many: Vec<_> = (0..3072).map(piece).collect();
                s.session.transport.driver.port.ram.put(pieces, many.as_bytes());
                let many = SglDescriptor::new(sgl_type::LAST_SEGMENT, pieces, 3072 * 16);
                for first in [circle(list), many] {
                    let status = s.run(IO, with_sgl(read(), first));
                    assert!(status.same_code(Status::INVALID_SGL_COUNT), "{status}");
                }
                let on = SglDescriptor::new(sgl_type::LAST_SEGMENT, 0x10_0000, 16);
                read_sgl(s, |list| SglDescriptor::new(sgl_type::SEGMENT, list, 32), &[on, on])
            },
        },
        Row {
            command: SGL,
            condition: "the list describes fewer bytes than the transfer has",
            status: Status::INVALID_SGL_LENGTH,
            prove: |s| {
                read_sgl(s, |list| SglDescriptor::new(sgl_type::DATA_BLOCK, list, 12287), &[])
            },
        },
        Row {
            command: "Load Program, Program Activation Management, Memory Range Set Management, Format NVM, Sanitize, Device Self-test",
            condition: "a sanitize operation runs",
            status: Status::SANITIZE_IN_PROGRESS,
            prove: |s| {
                let status = s.run(ADMIN, commands::sanitize(2, 0));
                s.given(status);
                for entry in [
                    commands::load_program(0, 1, 8, 0, 8),
                    commands::unload_program(0),
                    commands::activate_program(0, true),
                    commands::create_range_set(1),
                    commands::delete_range_set(1),
                    commands::create_group(&GroupOptions::default()),
                    commands::format_nvm(NVM_NSID, 0, 0),
                    commands::sanitize(4, 0),
                    commands::self_test(0, 1),
                ] {
                    let status = s.admin(entry, &[0; 32]);
                    assert!(status.same_code(Status::SANITIZE_IN_PROGRESS), "{entry:?}: {status}");
                }
                Status::SANITIZE_IN_PROGRESS
            },
        },
        Row {
            command: "Load Program, Program Activation Management, Memory Range Set Management, Job Group Management (csdrive)",
            condition: "CC.CSS is not 110b",
            status: Status::INVALID_OPCODE,
            prove: |s| {
                without_command_sets(s);
                for entry in [
                    commands::load_program(0, 1, 8, 0, 8),
                    commands::activate_program(0, true),
                    commands::create_range_set(1),
                    commands::create_group(&GroupOptions::default()),
                ] {
                    let status = s.admin(entry, &[0; 32]);
                    assert!(status.same_code(Status::INVALID_OPCODE), "{entry:?}: {status}");
                }
                Status::INVALID_OPCODE
            },
        },
        Row {
            command: "any command of the memory or compute namespace",
            condition: "CC.CSS is not 110b",
            status: Status::INVALID_NAMESPACE,
            prove: |s| {
                without_command_sets(s);
                s.session
                    .transport
                    .driver
                    .create_queue_pair(1, 16)
                    .expect("queues are there as ever");
                let opcode = nvme_spec::MemoryOpcode::READ;
                s.io(commands::memory(opcode, 0, 4), &[0; 4])
            },
        },
    ]
}

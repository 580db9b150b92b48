//! Queue management.

use client::commands;
use client::{CompletionQueueOptions, DmaMemory, Port, SubmissionQueueOptions};
use nvme_spec::{Cc, Status, SubmissionEntry, offset};

use crate::{ADMIN, Row, Scene};

const CREATE_CQ: &str = "Create I/O Completion Queue";
const CREATE_SQ: &str = "Create I/O Submission Queue";

fn cq(s: &mut Scene, id: u16, entries: u32, vector: u16) -> SubmissionEntry {
    let base = s.session.transport.driver.port.ram.allocate(4096).address;
    let options = CompletionQueueOptions { id, entries, vector: Some(vector) };
    commands::create_completion_queue(&options, base)
}

fn sq(s: &mut Scene, id: u16, entries: u32, completion_queue: u16) -> SubmissionEntry {
    let base = s.session.transport.driver.port.ram.allocate(4096).address;
    let options = SubmissionQueueOptions { id, entries, completion_queue, priority: 0 };
    commands::create_submission_queue(&options, base)
}

/// Sets CC.IOSQES and CC.IOCQES, which may change while the controller is enabled.
fn set_entry_sizes(s: &mut Scene, submission: u8, completion: u8) {
    let port = &mut s.session.transport.driver.port;
    let cc = Cc::from_bits(port.register_read(offset::CC, 4) as u32);
    let cc = cc.with_iosqes(submission).with_iocqes(completion);
    port.register_write(offset::CC, 4, cc.into_bits().into());
}

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row {
            command: CREATE_CQ,
            condition: "identifier 0, in use, or beyond the number of queues",
            status: Status::INVALID_QUEUE_IDENTIFIER,
            prove: |s| {
                for id in [0, 65] {
                    let create = cq(s, id, 16, 1);
                    let status = s.run(ADMIN, create);
                    assert!(status.same_code(Status::INVALID_QUEUE_IDENTIFIER), "{id}: {status}");
                }
                let create = cq(s, 1, 16, 1);
                s.run(ADMIN, create)
            },
        },
        Row {
            command: CREATE_CQ,
            condition: "one entry, or CC.IOCQES is not 4",
            status: Status::INVALID_QUEUE_SIZE,
            prove: |s| {
                let create = cq(s, 2, 1, 1);
                let status = s.run(ADMIN, create);
                assert!(status.same_code(Status::INVALID_QUEUE_SIZE), "{status}");
                set_entry_sizes(s, 6, 5);
                let create = cq(s, 2, 16, 1);
                s.run(ADMIN, create)
            },
        },
        Row {
            command: CREATE_CQ,
            condition: "not contiguous (CAP.CQR)",
            status: Status::INVALID_FIELD,
            prove: |s| {
                let mut create = cq(s, 2, 16, 1);
                create.cdw11.set(create.cdw11.get() & !1);
                s.run(ADMIN, create)
            },
        },
        Row {
            command: CREATE_CQ,
            condition: "not at a page, or beyond the end of the address space",
            status: Status::INVALID_PRP_OFFSET,
            prove: |s| {
                let mut create = cq(s, 2, 1024, 1);
                create.prp1.set(!0xFFF);
                let status = s.run(ADMIN, create);
                assert!(status.same_code(Status::INVALID_PRP_OFFSET), "{status}");
                let mut create = cq(s, 2, 16, 1);
                create.prp1.set(create.prp1.get() + 64);
                s.run(ADMIN, create)
            },
        },
        Row {
            command: CREATE_CQ,
            condition: "no such interrupt vector",
            status: Status::INVALID_INTERRUPT_VECTOR,
            prove: |s| {
                let create = cq(s, 2, 16, 65);
                s.run(ADMIN, create)
            },
        },
        Row {
            command: CREATE_SQ,
            condition: "identifier 0, in use, or beyond the number of queues",
            status: Status::INVALID_QUEUE_IDENTIFIER,
            prove: |s| {
                for id in [0, 65] {
                    let create = sq(s, id, 16, 1);
                    let status = s.run(ADMIN, create);
                    assert!(status.same_code(Status::INVALID_QUEUE_IDENTIFIER), "{id}: {status}");
                }
                let create = sq(s, 1, 16, 1);
                s.run(ADMIN, create)
            },
        },
        Row {
            command: CREATE_SQ,
            condition: "one entry, or CC.IOSQES is not 6",
            status: Status::INVALID_QUEUE_SIZE,
            prove: |s| {
                let create = sq(s, 2, 1, 1);
                let status = s.run(ADMIN, create);
                assert!(status.same_code(Status::INVALID_QUEUE_SIZE), "{status}");
                set_entry_sizes(s, 7, 4);
                let create = sq(s, 2, 16, 1);
                s.run(ADMIN, create)
            },
        },
        Row {
            command: CREATE_SQ,
            condition: "not contiguous (CAP.CQR)",
            status: Status::INVALID_FIELD,
            prove: |s| {
                let mut create = sq(s, 2, 16, 1);
                create.cdw11.set(create.cdw11.get() & !1);
                s.run(ADMIN, create)
            },
        },
        Row {
            command: CREATE_SQ,
            condition: "not at a page, or beyond the end of the address space",
            status: Status::INVALID_PRP_OFFSET,
            prove: |s| {
                let mut create = sq(s, 2, 1024, 1);
                create.prp1.set(!0xFFF);
                let status = s.run(ADMIN, create);
                assert!(status.same_code(Status::INVALID_PRP_OFFSET), "{status}");
                let mut create = sq(s, 2, 16, 1);
                create.prp1.set(create.prp1.get() + 64);
                s.run(ADMIN, create)
            },
        },
        Row {
            command: CREATE_SQ,
            condition: "no such completion queue, or the admin queue's",
            status: Status::INVALID_COMPLETION_QUEUE,
            prove: |s| {
                for cqid in [0, 65] {
                    let create = sq(s, 2, 16, cqid);
                    let status = s.run(ADMIN, create);
                    assert!(status.same_code(Status::INVALID_COMPLETION_QUEUE), "{status}");
                }
                let create = sq(s, 2, 16, 2);
                s.run(ADMIN, create)
            },
        },
        Row {
            command: "Delete I/O Completion Queue",
            condition: "a submission queue completes to it",
            status: Status::INVALID_QUEUE_DELETION,
            prove: |s| s.run(ADMIN, commands::delete_completion_queue(1)),
        },
        Row {
            command: "Delete I/O Completion Queue",
            condition: "no such queue, or the admin queue",
            status: Status::INVALID_QUEUE_IDENTIFIER,
            prove: |s| {
                let status = s.run(ADMIN, commands::delete_completion_queue(0));
                assert!(status.same_code(Status::INVALID_QUEUE_IDENTIFIER), "{status}");
                s.run(ADMIN, commands::delete_completion_queue(2))
            },
        },
        Row {
            command: "Delete I/O Submission Queue",
            condition: "no such queue, or the admin queue",
            status: Status::INVALID_QUEUE_IDENTIFIER,
            prove: |s| {
                let status = s.run(ADMIN, commands::delete_submission_queue(0));
                assert!(status.same_code(Status::INVALID_QUEUE_IDENTIFIER), "{status}");
                s.run(ADMIN, commands::delete_submission_queue(2))
            },
        },
        Row {
            command: "Doorbell Buffer Config",
            condition: "a buffer is missing, or not at a page",
            status: Status::INVALID_FIELD,
            prove: |s| {
                let status = s.run(ADMIN, commands::doorbell_buffers(0, 0x10_0000));
                assert!(status.same_code(Status::INVALID_FIELD), "{status}");
                s.run(ADMIN, commands::doorbell_buffers(0x10_0000, 0x10_0008))
            },
        },
        Row {
            command: "Doorbell Buffer Config",
            condition: "a buffer is where the host has no memory",
            status: Status::DATA_TRANSFER_ERROR,
            prove: |s| s.run(ADMIN, commands::doorbell_buffers(0x10_0000, 1 << 40)),
        },
    ]
}

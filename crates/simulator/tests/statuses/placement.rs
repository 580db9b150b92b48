//! Flexible Data Placement.

use client::commands::{self, read_write};
use nvme_spec::{NvmOpcode, Status, SubmissionEntry, fid};

use crate::{Row, Scene};

const RECEIVE: &str = "I/O Management Receive";
const SEND: &str = "I/O Management Send";

/// Of namespace 1: a management operation.
fn management(opcode: NvmOpcode, cdw10: u32) -> SubmissionEntry {
    let mut entry =
        SubmissionEntry { opcode: opcode.0, nsid: 1.into(), ..SubmissionEntry::default() };
    entry.cdw10.set(cdw10);
    entry
}

fn with_placement(s: &mut Scene) {
    let mut config = crate::config();
    config.placement = true;
    config.flash.hint_streams = 4;
    s.session = simulator::open(config, 0, 64).expect("a sound configuration");
}

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row {
            command: "I/O Management Receive, I/O Management Send",
            condition: "the drive has no data placement (drive.fdp)",
            status: Status::FDP_DISABLED,
            prove: |s| {
                let status = s.io(management(NvmOpcode::IO_MANAGEMENT_RECEIVE, 1), &[0; 4]);
                assert!(status.same_code(Status::FDP_DISABLED), "{status}");
                s.io(management(NvmOpcode::IO_MANAGEMENT_SEND, 1), &[0; 4])
            },
        },
        Row {
            command: RECEIVE,
            condition: "another management operation than the status of reclaim unit handles (1h)",
            status: Status::INVALID_FIELD,
            prove: |s| {
                with_placement(s);
                s.io(management(NvmOpcode::IO_MANAGEMENT_RECEIVE, 0), &[0; 4])
            },
        },
        Row {
            command: SEND,
            condition: "another management operation than their update (1h), more than 16 placement identifiers, or one that the namespace does not have",
            status: Status::INVALID_FIELD,
            prove: |s| {
                with_placement(s);
                for cdw10 in [0, 16 << 16 | 1] {
                    let status = s.io(management(NvmOpcode::IO_MANAGEMENT_SEND, cdw10), &[0; 64]);
                    assert!(status.same_code(Status::INVALID_FIELD), "{status}");
                }
                s.io(management(NvmOpcode::IO_MANAGEMENT_SEND, 1), &[4, 0, 0, 0])
            },
        },
        Row {
            command: "Write",
            condition: "a directive that the drive does not have; data placement, and drive.fdp is off",
            status: Status::INVALID_FIELD,
            prove: |s| {
                let mut write = read_write(NvmOpcode::WRITE, 0, 1);
                write.cdw12.set(write.cdw12.get() | 1 << 20);
                let status = s.io(write, &[0; 4096]);
                assert!(status.same_code(Status::INVALID_FIELD), "{status}");
                write.cdw12.set(write.cdw12.get() ^ 3 << 20);
                s.io(write, &[0; 4096])
            },
        },
        Row {
            command: "Set Features",
            condition: "data placement (1Dh): it is as the drive was made",
            status: Status::FEATURE_NOT_CHANGEABLE,
            prove: |s| {
                with_placement(s);
                s.admin(commands::set_feature(fid::PLACEMENT, 0, 1, false), &[0; 4])
            },
        },
    ]
}

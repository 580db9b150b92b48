//! The NVM command set.

use client::commands::copy_source;
use client::commands::{self, read_write};
use nvme_spec::command::{CopySourceBlocks, DatasetRange, copy_format};
use nvme_spec::namespace::{COMPUTE_NSID, NVM_NSID};
use nvme_spec::{HostBehavior, NvmOpcode, Status, fid};
use zerocopy::IntoBytes;

use ssd::faulty::Plan;

use crate::{ADMIN, BLOCKS, IO, Row, Scene};

const TRANSFERS: &str = "Read, Write, Compare, Verify, Write Zeroes";
const DATASET: &str = "Dataset Management";
const COPY: &str = "Copy";

fn transfers(first: u64, count: u32) -> [nvme_spec::SubmissionEntry; 5] {
    [
        read_write(NvmOpcode::READ, first, count),
        read_write(NvmOpcode::WRITE, first, count),
        read_write(NvmOpcode::COMPARE, first, count),
        read_write(NvmOpcode::VERIFY, first, count),
        commands::write_zeroes(first, count, false),
    ]
}

/// All of some commands return a status.
fn all(s: &mut Scene, entries: &[nvme_spec::SubmissionEntry], expected: Status) -> Status {
    for entry in entries {
        let status = s.io(*entry, &[0; 8192]);
        assert!(status.same_code(expected), "{entry:?}: {status}");
    }
    expected
}

fn enable_copy_formats(s: &mut Scene) {
    let behavior = HostBehavior { cdfe: 0b1_1100.into(), ..Default::default() };
    let entry = commands::set_feature(fid::HOST_BEHAVIOR, 0, 0, false);
    let status = s.admin(entry, behavior.as_bytes());
    s.given(status);
}

fn copy(s: &mut Scene, target: u64, sources: &[CopySourceBlocks], format: u8) -> Status {
    s.io(commands::copy(target, sources.len(), format), sources.as_bytes())
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = transfer_rows();
    rows.extend(copy_rows());
    rows
}

fn transfer_rows() -> Vec<Row> {
    vec![
        Row {
            command: TRANSFERS,
            condition: "blocks beyond the namespace",
            status: Status::LBA_OUT_OF_RANGE,
            prove: |s| {
                all(s, &transfers(BLOCKS, 1), Status::LBA_OUT_OF_RANGE);
                all(s, &transfers(u64::MAX, 2), Status::LBA_OUT_OF_RANGE);
                all(s, &transfers(BLOCKS - 1, 2), Status::LBA_OUT_OF_RANGE)
            },
        },
        Row {
            command: "Read, Write, Compare",
            condition: "more than the largest transfer (MDTS)",
            status: Status::INVALID_FIELD,
            prove: |s| all(s, &transfers(0, 257)[..3], Status::INVALID_FIELD),
        },
        Row {
            command: "Write, Copy",
            condition: "a directive",
            status: Status::INVALID_FIELD,
            prove: |s| {
                let mut write = read_write(NvmOpcode::WRITE, 0, 1);
                write.cdw12.set(write.cdw12.get() | 1 << 20);
                let mut copy = commands::copy(0, 1, 0);
                copy.cdw12.set(copy.cdw12.get() | 1 << 20);
                all(s, &[write, copy], Status::INVALID_FIELD)
            },
        },
        Row {
            command: "Read, Compare, Verify, Copy, Memory Copy",
            condition: "DULBE is set and blocks are deallocated or were never written",
            status: Status::UNWRITTEN_BLOCK,
            prove: |s| {
                let dulbe = commands::set_feature(fid::ERROR_RECOVERY, NVM_NSID, 1 << 16, false);
                let status = s.run(ADMIN, dulbe);
                s.given(status);
                let [read, _, compare, verify, _] = transfers(8, 2);
                all(s, &[read, compare, verify], Status::UNWRITTEN_BLOCK);
                let source = copy_source(8, 1);
                let memory = commands::memory_copy(0, 4096, 1, copy_format::BLOCKS);
                let status = s.io(memory, source.as_bytes());
                assert!(status.same_code(Status::UNWRITTEN_BLOCK), "{status}");
                copy(s, 100, &[source], 0)
            },
        },
        Row {
            command: "Compare",
            condition: "the blocks hold something else",
            status: Status::COMPARE_FAILURE,
            prove: |s| s.io(read_write(NvmOpcode::COMPARE, 0, 1), &[1; 4096]),
        },
        Row {
            command: DATASET,
            condition: "a range to deallocate is beyond the namespace",
            status: Status::LBA_OUT_OF_RANGE,
            prove: |s| {
                let range =
                    DatasetRange { nlb: 2.into(), slba: (BLOCKS - 1).into(), ..Default::default() };
                s.io(commands::dataset_management(1, true), range.as_bytes())
            },
        },
    ]
}

fn copy_rows() -> Vec<Row> {
    vec![
        Row {
            command: COPY,
            condition: "descriptor format unknown, or 2h to 4h without Host Behavior Support",
            status: Status::INVALID_FIELD,
            prove: |s| {
                for format in 2..16 {
                    let status = copy(s, 100, &[copy_source(0, 1)], format);
                    assert!(status.same_code(Status::INVALID_FIELD), "{format}: {status}");
                }
                Status::INVALID_FIELD
            },
        },
        Row {
            command: COPY,
            condition: "device memory that is not whole blocks, or no bytes",
            status: Status::INVALID_FIELD,
            prove: |s| {
                enable_copy_formats(s);
                let entry = commands::copy(0, 1, copy_format::MEMORY);
                s.io(entry, &crate::memory::memory_source(0, 4092))
            },
        },
        Row {
            command: "Memory Copy",
            condition: "the namespace it reads is being formatted",
            status: Status::FORMAT_IN_PROGRESS,
            prove: |s| {
                s.begin(ADMIN, commands::format_nvm(NVM_NSID, 1, 1), &[]);
                let memory = commands::memory_copy(0, 4096, 1, copy_format::BLOCKS);
                s.begin(IO, memory, copy_source(8, 1).as_bytes());
                s.next()
            },
        },
        Row {
            command: COPY,
            condition: "source or target beyond the namespace",
            status: Status::LBA_OUT_OF_RANGE,
            prove: |s| {
                let status = copy(s, 0, &[copy_source(BLOCKS, 1)], 0);
                assert!(status.same_code(Status::LBA_OUT_OF_RANGE), "{status}");
                copy(s, BLOCKS - 1, &[copy_source(0, 2)], 0)
            },
        },
        Row {
            command: COPY,
            condition: "more sources than MSRC, or more blocks than MCL",
            status: Status::COMMAND_SIZE_LIMIT_EXCEEDED,
            prove: |s| {
                let limit = Status::COMMAND_SIZE_LIMIT_EXCEEDED;
                let status = copy(s, 0, &[copy_source(0, 1); 129], 0);
                assert!(status.same_code(limit), "{status}");
                copy(s, 0, &[copy_source(0, 4096), copy_source(0, 1)], 0)
            },
        },
        Row {
            command: "Read, Compare, Verify, Copy, Memory Copy",
            condition: "flash cannot read a page, or holds another page's data in its place",
            status: Status::UNRECOVERED_READ_ERROR,
            prove: |s| {
                let unreadable = Status::UNRECOVERED_READ_ERROR;
                for plan in [
                    Plan { pages_rot: true, ..Plan::default() },
                    Plan { pages_swap: true, ..Plan::default() },
                ] {
                    s.break_flash(plan);
                    let status = s.io(read_write(NvmOpcode::WRITE, 0, 2), &[0; 8192]);
                    s.given(status);
                    let status = s.run(IO, commands::flush());
                    s.given(status);
                    let [read, _, compare, verify, _] = transfers(0, 2);
                    all(s, &[read, compare, verify], unreadable);
                    let status = copy(s, 9, &[copy_source(0, 1)], 0);
                    assert!(status.same_code(unreadable), "{status}");
                    let list = copy_source(0, 1);
                    let entry = commands::memory_copy(0, 4096, 1, copy_format::BLOCKS);
                    let status = s.io(entry, list.as_bytes());
                    assert!(status.same_code(unreadable), "{status}");
                }
                unreadable
            },
        },
        Row {
            command: "Write with FUA, Flush",
            condition: "flash cannot be programmed",
            status: Status::WRITE_FAULT,
            prove: |s| {
                s.break_flash(Plan { programs_fail: 6, ..Plan::default() });
                let status = s.io(read_write(NvmOpcode::WRITE, 0, 1), &[1; 4096]);
                s.given(status);
                let flushed = s.run(IO, commands::flush());
                assert!(flushed.same_code(Status::WRITE_FAULT), "{flushed}");
                let mut entry = read_write(NvmOpcode::WRITE, 7, 1);
                entry.cdw12.set(entry.cdw12.get() | 1 << 30);
                s.io(entry, &[2; 4096])
            },
        },
        Row {
            command: COPY,
            condition: "a source and the target share blocks",
            status: Status::OVERLAPPING_IO_RANGE,
            prove: |s| copy(s, 3, &[copy_source(0, 4)], 0),
        },
        Row {
            command: COPY,
            condition: "source namespace is not of the format's kind",
            status: Status::INCOMPATIBLE_NAMESPACE,
            prove: |s| {
                enable_copy_formats(s);
                let source = CopySourceBlocks { snsid: COMPUTE_NSID.into(), ..copy_source(0, 1) };
                copy(s, 9, &[source], copy_format::BLOCKS)
            },
        },
        Row {
            command: COPY,
            condition: "source namespace does not exist",
            status: Status::INVALID_NAMESPACE,
            prove: |s| {
                enable_copy_formats(s);
                let source = CopySourceBlocks { snsid: 9.into(), ..copy_source(0, 1) };
                copy(s, 9, &[source], copy_format::BLOCKS)
            },
        },
    ]
}

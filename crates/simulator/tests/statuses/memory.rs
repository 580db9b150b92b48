//! The Subsystem Local Memory command set.

use client::commands::copy_source;
use client::commands::{self, memory, memory_copy};
use nvme_spec::command::{CopySourceBlocks, CopySourceMemory, copy_format};
use nvme_spec::namespace::{COMPUTE_NSID, MEMORY_NSID};
use nvme_spec::{MemoryOpcode, Status};
use zerocopy::IntoBytes;

use crate::{BLOCKS, MEMORY, Row, Scene};

const ANY: &str = "Memory Read, Memory Write, Memory Fill";
const COPY: &str = "Memory Copy";

/// A source entry of format 4h.
pub(crate) fn memory_source(start: u64, len: u32) -> Vec<u8> {
    let source = CopySourceMemory {
        snsid: MEMORY_NSID.into(),
        saddr: start.into(),
        nbyte: len.into(),
        ..Default::default()
    };
    source.as_bytes().to_vec()
}

fn all(s: &mut Scene, start: u64, len: u32) -> Status {
    let mut last = Status::SUCCESS;
    for opcode in [MemoryOpcode::READ, MemoryOpcode::WRITE, MemoryOpcode::FILL] {
        let status = s.io(memory(opcode, start, len), &[0; 4096]);
        assert!(status.same_code(Status::INVALID_FIELD), "{opcode:?}: {status}");
        last = status;
    }
    last
}

fn copy_from(s: &mut Scene, target: u64, len: u64, source: &[u8], format: u8) -> Status {
    s.io(memory_copy(target, len, 1, format), source)
}

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row {
            command: ANY,
            condition: "bytes beyond device memory",
            status: Status::INVALID_FIELD,
            prove: |s| {
                all(s, u64::MAX - 3, 4);
                all(s, MEMORY - 4, 8)
            },
        },
        Row {
            command: ANY,
            condition: "start or length not a multiple of four",
            status: Status::INVALID_FIELD,
            prove: |s| {
                all(s, 2, 4);
                all(s, 0, 6)
            },
        },
        Row {
            command: "Memory Read, Memory Write",
            condition: "more than the largest transfer (MDTS)",
            status: Status::INVALID_FIELD,
            prove: |s| {
                let status = s.io(memory(MemoryOpcode::WRITE, 0, 2 << 20), &[]);
                assert!(status.same_code(Status::INVALID_FIELD), "{status}");
                s.io(memory(MemoryOpcode::READ, 0, 2 << 20), &[])
            },
        },
        Row {
            command: COPY,
            condition: "descriptor format is not 2h, 3h or 4h",
            status: Status::INVALID_FIELD,
            prove: |s| {
                for format in (0..16).filter(|f| !(2..5).contains(f)) {
                    let status = copy_from(s, 0, 4096, copy_source(0, 1).as_bytes(), format);
                    assert!(status.same_code(Status::INVALID_FIELD), "{format}: {status}");
                }
                Status::INVALID_FIELD
            },
        },
        Row {
            command: COPY,
            condition: "the sources are not LEN bytes together",
            status: Status::INVALID_FIELD,
            prove: |s| {
                let blocks = copy_source(0, 1);
                let status = copy_from(s, 0, 8192, blocks.as_bytes(), copy_format::BLOCKS);
                assert!(status.same_code(Status::INVALID_FIELD), "{status}");
                copy_from(s, 8192, 8, &memory_source(0, 4), copy_format::MEMORY)
            },
        },
        Row {
            command: COPY,
            condition: "source or target beyond device memory, or not a multiple of four",
            status: Status::INVALID_FIELD,
            prove: |s| {
                let memory = copy_format::MEMORY;
                for (target, source) in [
                    (MEMORY, memory_source(0, 8)),
                    (0, memory_source(MEMORY, 8)),
                    (0, memory_source(14, 8)),
                    (2, memory_source(16, 8)),
                ] {
                    let status = copy_from(s, target, 8, &source, memory);
                    assert!(status.same_code(Status::INVALID_FIELD), "{target}: {status}");
                }
                copy_from(s, 0, 6, &memory_source(16, 6), memory)
            },
        },
        Row {
            command: COPY,
            condition: "source blocks beyond the namespace",
            status: Status::LBA_OUT_OF_RANGE,
            prove: |s| {
                copy_from(s, 0, 4096, copy_source(BLOCKS, 1).as_bytes(), copy_format::BLOCKS)
            },
        },
        Row {
            command: COPY,
            condition: "a source and the target share bytes",
            status: Status::OVERLAPPING_IO_RANGE,
            prove: |s| copy_from(s, 4, 8, &memory_source(8, 8), copy_format::MEMORY),
        },
        Row {
            command: "Memory Copy, Memory Fill",
            condition: "more than 256 MiB",
            status: Status::COMMAND_SIZE_LIMIT_EXCEEDED,
            prove: |s| {
                // Device memory must be large enough for the target to be inside.
                let config = controller::Config { memory_bytes: 2 << 30, ..Default::default() };
                s.session = simulator::open(config, 0, 64).expect("sound");
                let too_much = (256 << 20) + 4096;
                let status = s.run(crate::IO, memory(MemoryOpcode::FILL, 0, too_much as u32));
                assert!(status.same_code(Status::COMMAND_SIZE_LIMIT_EXCEEDED), "{status}");
                copy_from(s, 0, too_much, copy_source(0, 1).as_bytes(), copy_format::BLOCKS)
            },
        },
        Row {
            command: COPY,
            condition: "source namespace is not of the format's kind",
            status: Status::INCOMPATIBLE_NAMESPACE,
            prove: |s| {
                let source = CopySourceBlocks { snsid: COMPUTE_NSID.into(), ..copy_source(0, 1) };
                copy_from(s, 0, 4096, source.as_bytes(), copy_format::BLOCKS)
            },
        },
        Row {
            command: COPY,
            condition: "source namespace does not exist",
            status: Status::INVALID_NAMESPACE,
            prove: |s| {
                let source = CopySourceBlocks { snsid: 77.into(), ..copy_source(0, 1) };
                copy_from(s, 0, 4096, source.as_bytes(), copy_format::BLOCKS)
            },
        },
        Row {
            command: "any memory command",
            condition: "opcode of the common set that memory has not (Flush)",
            status: Status::INVALID_OPCODE,
            prove: |s| s.run(crate::IO, memory(MemoryOpcode(0), 0, 4)),
        },
        Row {
            command: COPY,
            condition: "source entries where the host has no memory",
            status: Status::DATA_TRANSFER_ERROR,
            prove: |s| {
                let entry = memory_copy(0, 4096, 1, copy_format::BLOCKS);
                s.run(crate::IO, commands::with_data(entry, (1 << 40, 0)))
            },
        },
    ]
}

//! Program management and the Computational Programs command set.

use client::commands::memory_range;
use client::commands::{self, Execute};
use client::{GroupOptions, LoadOptions, RunTime};
use controller::ShellFaultKind;
use nvme_spec::command::program_type::{DECLARED, EBPF, NATIVE, NATIVE_FILE};
use nvme_spec::command::{CopySourceBlocks, MemoryRangeDescriptor};
use nvme_spec::namespace::NVM_NSID;
use nvme_spec::{Status, SubmissionEntry};
use zerocopy::IntoBytes;

use crate::{ADMIN, DOUBLE, IO, MEMORY, Row, Scene};

const LOAD: &str = "Load Program";
const UNLOAD: &str = "Load Program (unload)";
const ACTIVATION: &str = "Program Activation Management";
const RANGES: &str = "Memory Range Set Management";
const GROUPS: &str = "Job Group Management (csdrive)";
const EXECUTE: &str = "Execute Program";
const STREAM: &str = "Execute Program, streaming (csdrive)";

fn load(s: &mut Scene, index: u16, kind: u8, bytes: &[u8]) -> Status {
    let len = bytes.len() as u32;
    s.admin(commands::load_program(index, kind, len, 0, len), bytes)
}

/// A program in a slot, activated.
fn activated(s: &mut Scene, index: u16) {
    let status = load(s, index, EBPF, DOUBLE);
    s.given(status);
    let status = s.run(ADMIN, commands::activate_program(index, true));
    s.given(status);
}

/// A program in slot 0 that runs for a while on a range set; the set.
fn running(s: &mut Scene) -> u16 {
    activated(s, 0);
    let set = s.session.create_range_set(&[(0, 4096), (8192, 4096)]).expect("sound ranges");
    s.begin(IO, Execute { rsid: set, ..Default::default() }.entry(), &[]);
    set
}

fn create(s: &mut Scene, ranges: &[MemoryRangeDescriptor]) -> Status {
    s.admin(commands::create_range_set(ranges.len() as u8), ranges.as_bytes())
}

/// Executes the program of an object that clang wrote, on no ranges.
fn execute(s: &mut Scene, object: &[u8], ranges: &[MemoryRangeDescriptor]) -> Status {
    let status = load(s, 0, EBPF, object);
    s.given(status);
    let status = s.run(ADMIN, commands::activate_program(0, true));
    s.given(status);
    let (inline_ranges, data_len) = (ranges.len() as u32, 32 * ranges.len() as u32);
    s.io(Execute { inline_ranges, data_len, ..Default::default() }.entry(), ranges.as_bytes())
}

/// Executes [`MISBEHAVE`].
fn misbehave(s: &mut Scene, how: i64) -> Status {
    let status = load(s, 0, EBPF, MISBEHAVE);
    s.given(status);
    let status = s.run(ADMIN, commands::activate_program(0, true));
    s.given(status);
    s.run(IO, Execute { param1: how, ..Default::default() }.entry())
}

/// A range set of an output and a chunk of a block each.
fn two_ranges(s: &mut Scene) -> u16 {
    s.session.create_range_set(&[(0, 4096), (4096, 4096)]).expect("sound ranges")
}

/// A streaming execution of slot 0 with chunks of one block, and its data.
fn stream_of(rsid: u16, words: &[u32], extents: &[CopySourceBlocks]) -> (SubmissionEntry, Vec<u8>) {
    let mut data: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    data.extend(extents.as_bytes());
    let execute = Execute { rsid, data_len: data.len() as u32, ..Default::default() };
    (commands::streaming(execute.entry(), 1), data)
}

/// Executes it.
fn stream(
    s: &mut Scene,
    set: impl Fn(&mut Scene) -> u16,
    words: &[u32],
    extents: &[CopySourceBlocks],
) -> Status {
    if s.session.programs().expect("a list").is_empty() {
        activated(s, 0);
    }
    let set = set(s);
    let (entry, data) = stream_of(set, words, extents);
    s.io(entry, &data)
}

/// Executes a native program of a drive that takes some.
fn native(s: &mut Scene, execute: Execute) -> Status {
    let status = load(s, 0, NATIVE, b"\0object");
    s.given(status);
    let status = s.run(ADMIN, commands::activate_program(0, true));
    s.given(status);
    s.run(IO, execute.entry())
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = load_rows();
    rows.extend(activation_rows());
    rows.extend(range_rows());
    rows.extend(execute_rows());
    rows
}

fn load_rows() -> Vec<Row> {
    vec![
        Row {
            command: "Load Program, Program Activation Management, Memory Range Set Management",
            condition: "not the compute namespace",
            status: Status::INVALID_NAMESPACE,
            prove: |s| {
                let mut last = Status::SUCCESS;
                for entry in [
                    commands::load_program(0, EBPF, 8, 0, 8),
                    commands::activate_program(0, true),
                    commands::create_range_set(1),
                ] {
                    let entry = SubmissionEntry { nsid: NVM_NSID.into(), ..entry };
                    last = s.admin(entry, &[0; 32]);
                    assert!(last.same_code(Status::INVALID_NAMESPACE), "{entry:?}: {last}");
                }
                last
            },
        },
        Row {
            command: "Load Program, Program Activation Management, Execute Program",
            condition: "program index beyond the slots",
            status: Status::INVALID_PROGRAM_INDEX,
            prove: |s| {
                let expected = Status::INVALID_PROGRAM_INDEX;
                for index in [1024, u16::MAX] {
                    for status in [
                        load(s, index, EBPF, DOUBLE),
                        s.run(ADMIN, commands::unload_program(index)),
                        s.run(ADMIN, commands::activate_program(index, true)),
                        s.run(IO, Execute { program_index: index, ..Default::default() }.entry()),
                    ] {
                        assert!(status.same_code(expected), "{index}: {status}");
                    }
                }
                expected
            },
        },
        Row {
            command: LOAD,
            condition: "program type unknown, or native and the drive takes none (log page C0h says why)",
            status: Status::INVALID_PROGRAM_TYPE,
            prove: |s| {
                for kind in [NATIVE, NATIVE_FILE] {
                    let status = load(s, 0, kind, b"\0object");
                    assert!(status.same_code(Status::INVALID_PROGRAM_TYPE), "{status}");
                }
                load(s, 0, 0x77, DOUBLE)
            },
        },
        Row {
            command: "Load Program, Execute Program",
            condition: "the run time of a native program is to be counted in instructions, or come from a runtime server",
            status: Status::INVALID_PROGRAM_TYPE,
            prove: |s| {
                s.take_native(ShellFaultKind::Crash);
                let program = b"\0object";
                let entry = commands::load_program(1, NATIVE, 8, 0, 8);
                for run_time in [RunTime::Instructions, RunTime::Remote] {
                    let options = LoadOptions { run_time, ..LoadOptions::default() };
                    let status = s.admin(options.apply(entry), program);
                    assert!(status.same_code(Status::INVALID_PROGRAM_TYPE), "{status}");
                }
                native(s, Execute { run_time: RunTime::Instructions, ..Default::default() })
            },
        },
        Row {
            command: LOAD,
            condition: "no bytes, more than the largest transfer, identifier type or run-time model unknown",
            status: Status::INVALID_FIELD,
            prove: |s| {
                let mut typed = commands::load_program(0, EBPF, 8, 0, 8);
                typed.cdw10.set(typed.cdw10.get() | 2 << 25);
                let mut modelled = commands::load_program(0, EBPF, 8, 0, 8);
                modelled.cdw2.set(9);
                let large = commands::load_program(0, EBPF, 4 << 20, 0, 2 << 20);
                for entry in [typed, modelled, large] {
                    let status = s.admin(entry, &[0; 8]);
                    assert!(status.same_code(Status::INVALID_FIELD), "{entry:?}: {status}");
                }
                s.admin(commands::load_program(0, EBPF, 8, 0, 0), &[])
            },
        },
        Row {
            command: LOAD,
            condition: "the piece ends past the program",
            status: Status::PROGRAM_TOO_BIG,
            prove: |s| s.admin(commands::load_program(1, EBPF, 8, 4, 8), &[0; 8]),
        },
        Row {
            command: LOAD,
            condition: "all programs together over MAXPB",
            status: Status::MAXIMUM_PROGRAM_BYTES_EXCEEDED,
            prove: |s| s.admin(commands::load_program(1, EBPF, u32::MAX, 0, 8), &[0; 8]),
        },
        Row {
            command: LOAD,
            condition: "a piece out of order",
            status: Status::INVALID_PROGRAM_DATA,
            prove: |s| s.admin(commands::load_program(1, EBPF, 64, 8, 8), &[0; 8]),
        },
        Row {
            command: LOAD,
            condition: "the whole program is refused by loader or verifier (log page C0h says why)",
            status: Status::INVALID_PROGRAM_DATA,
            prove: |s| {
                let status = load(s, 1, DECLARED, b"seven b");
                assert!(status.same_code(Status::INVALID_PROGRAM_DATA), "{status}");
                load(s, 1, EBPF, b"not an object")
            },
        },
        Row {
            command: LOAD,
            condition: "the slot holds a program",
            status: Status::PROGRAM_IN_USE,
            prove: |s| {
                activated(s, 0);
                load(s, 0, EBPF, DOUBLE)
            },
        },
        Row {
            command: UNLOAD,
            condition: "the program is activated, or runs",
            status: Status::PROGRAM_IN_USE,
            prove: |s| {
                running(s);
                let status = s.run(ADMIN, commands::unload_program(0));
                assert!(status.same_code(Status::PROGRAM_IN_USE), "{status}");
                while s.session.transport.driver.next_completion().is_some() {}
                s.run(ADMIN, commands::unload_program(0))
            },
        },
        Row {
            command: "Load Program (unload), Program Activation Management, Execute Program",
            condition: "the slot is empty",
            status: Status::NO_PROGRAM,
            prove: |s| {
                for status in [
                    s.run(ADMIN, commands::unload_program(3)),
                    s.run(ADMIN, commands::activate_program(3, false)),
                    s.run(IO, Execute { program_index: 3, ..Default::default() }.entry()),
                ] {
                    assert!(status.same_code(Status::NO_PROGRAM), "{status}");
                }
                Status::NO_PROGRAM
            },
        },
    ]
}

fn activation_rows() -> Vec<Row> {
    vec![
        Row {
            command: ACTIVATION,
            condition: "selector unknown",
            status: Status::INVALID_FIELD,
            prove: |s| {
                let mut entry = commands::activate_program(0, true);
                entry.cdw10.set(2 << 16);
                s.run(ADMIN, entry)
            },
        },
        Row {
            command: ACTIVATION,
            condition: "activate before all pieces have arrived",
            status: Status::INVALID_PROGRAM_DATA,
            prove: |s| {
                let piece = commands::load_program(0, EBPF, DOUBLE.len() as u32, 0, 64);
                let status = s.admin(piece, &DOUBLE[..64]);
                s.given(status);
                s.run(ADMIN, commands::activate_program(0, true))
            },
        },
        Row {
            command: ACTIVATION,
            condition: "more programs active than MAXACT",
            status: Status::MAXIMUM_PROGRAMS_ACTIVATED,
            prove: |s| {
                for index in 0..256 {
                    let status = load(s, index, DECLARED, &[0; 8]);
                    s.given(status);
                    let status = s.run(ADMIN, commands::activate_program(index, true));
                    s.given(status);
                }
                let status = load(s, 256, DECLARED, &[0; 8]);
                s.given(status);
                s.run(ADMIN, commands::activate_program(256, true))
            },
        },
        Row {
            command: "Program Activation Management (deactivate), Execute Program",
            condition: "the program is not activated",
            status: Status::PROGRAM_NOT_ACTIVATED,
            prove: |s| {
                let status = load(s, 0, EBPF, DOUBLE);
                s.given(status);
                let status = s.run(IO, Execute::default().entry());
                assert!(status.same_code(Status::PROGRAM_NOT_ACTIVATED), "{status}");
                s.run(ADMIN, commands::activate_program(0, false))
            },
        },
        Row {
            command: "Program Activation Management (deactivate)",
            condition: "the program runs",
            status: Status::PROGRAM_IN_USE,
            prove: |s| {
                running(s);
                s.run(ADMIN, commands::activate_program(0, false))
            },
        },
    ]
}

fn range_rows() -> Vec<Row> {
    vec![
        Row {
            command: RANGES,
            condition: "selector unknown",
            status: Status::INVALID_FIELD,
            prove: |s| {
                let mut entry = commands::create_range_set(1);
                entry.cdw10.set(2);
                s.run(ADMIN, entry)
            },
        },
        Row {
            command: "Memory Range Set Management, Execute Program",
            condition: "more ranges than MAXMEMR; a set of none",
            status: Status::MAXIMUM_MEMORY_RANGES_EXCEEDED,
            prove: |s| {
                let expected = Status::MAXIMUM_MEMORY_RANGES_EXCEEDED;
                let many = Execute { inline_ranges: 129, data_len: 0, ..Default::default() };
                for status in
                    [create(s, &[]), create(s, &[memory_range(0, 0); 129]), s.io(many.entry(), &[])]
                {
                    assert!(status.same_code(expected), "{status}");
                }
                expected
            },
        },
        Row {
            command: "Memory Range Set Management, Execute Program",
            condition: "a range is not of the memory namespace",
            status: Status::INVALID_MEMORY_NAMESPACE,
            prove: |s| {
                let foreign = MemoryRangeDescriptor { nsid: NVM_NSID.into(), ..memory_range(0, 4) };
                let status = create(s, &[foreign]);
                assert!(status.same_code(Status::INVALID_MEMORY_NAMESPACE), "{status}");
                execute(s, DOUBLE, &[foreign])
            },
        },
        Row {
            command: "Memory Range Set Management, Execute Program",
            condition: "a range ends beyond device memory",
            status: Status::INVALID_MEMORY_RANGE_SET,
            prove: |s| {
                let status = create(s, &[memory_range(u64::MAX, 2)]);
                assert!(status.same_code(Status::INVALID_MEMORY_RANGE_SET), "{status}");
                execute(s, DOUBLE, &[memory_range(MEMORY - 1, 2)])
            },
        },
        Row {
            command: "Memory Range Set Management, Execute Program",
            condition: "two ranges of a set share bytes",
            status: Status::OVERLAPPING_MEMORY_RANGES,
            prove: |s| {
                let status = create(s, &[memory_range(0, 100), memory_range(99, 1)]);
                assert!(status.same_code(Status::OVERLAPPING_MEMORY_RANGES), "{status}");
                execute(s, DOUBLE, &[memory_range(0, 100), memory_range(99, 1)])
            },
        },
        Row {
            command: RANGES,
            condition: "more sets than MAXMEMRS",
            status: Status::MAXIMUM_MEMORY_RANGE_SETS_EXCEEDED,
            prove: |s| {
                for _ in 0..1024 {
                    s.session.create_range_set(&[(0, 4)]).expect("there are identifiers left");
                }
                create(s, &[memory_range(0, 4)])
            },
        },
        Row {
            command: "Memory Range Set Management (delete), Execute Program",
            condition: "no such set",
            status: Status::INVALID_MEMORY_RANGE_SET_ID,
            prove: |s| {
                activated(s, 0);
                let status = s.run(IO, Execute { rsid: 7, ..Default::default() }.entry());
                assert!(status.same_code(Status::INVALID_MEMORY_RANGE_SET_ID), "{status}");
                s.run(ADMIN, commands::delete_range_set(7))
            },
        },
        Row {
            command: "Memory Range Set Management (delete)",
            condition: "an execution uses the set",
            status: Status::MEMORY_RANGE_SET_IN_USE,
            prove: |s| {
                let set = running(s);
                s.run(ADMIN, commands::delete_range_set(set))
            },
        },
    ]
}

fn execute_rows() -> Vec<Row> {
    vec![
        Row {
            command: EXECUTE,
            condition: "a range set and inline ranges; data shorter than the ranges, or over the largest transfer; run-time model unknown",
            status: Status::INVALID_FIELD,
            prove: |s| {
                activated(s, 0);
                let command = Execute { inline_ranges: 2, data_len: 64, ..Default::default() };
                for command in [
                    Execute { data_len: 63, ..command },
                    Execute { data_len: 2 << 20, ..command },
                    Execute { rsid: 1, ..command },
                ] {
                    let status = s.io(command.entry(), &[0; 64]);
                    assert!(status.same_code(Status::INVALID_FIELD), "{command:?}: {status}");
                }
                let mut entry = command.entry();
                entry.cdw15.set(0xFFFF_FFF9);
                s.io(entry, &[0; 64])
            },
        },
        Row {
            command: EXECUTE,
            condition: "the program touched memory that it was not given",
            status: Status::PROGRAM_MEMORY_FAULT,
            prove: |s| execute(s, DOUBLE, &[]),
        },
        Row {
            command: EXECUTE,
            condition: "the program used up its instruction budget, or a native program its time",
            status: Status::PROGRAM_BUDGET_EXCEEDED,
            prove: |s| {
                let config = controller::Config {
                    memory_bytes: MEMORY,
                    instruction_budget: 100,
                    instruction_budget_per_byte: 0,
                    ..Default::default()
                };
                s.session = simulator::open(config, 0, 64).expect("sound");
                execute(s, DOUBLE, &[memory_range(0, 4096), memory_range(4096, 4096)])
            },
        },
        Row {
            command: EXECUTE,
            condition: "the program nested more calls than its stack has frames",
            status: Status::PROGRAM_CALL_DEPTH_EXCEEDED,
            prove: |s| misbehave(s, 0),
        },
        Row {
            command: GROUPS,
            condition: "weight of 0 or over 1000; priority over 9; only units that there are not; unknown select",
            status: Status::INVALID_FIELD,
            prove: |s| {
                let weighing = |weight| GroupOptions { weight, ..GroupOptions::default() };
                let priority = GroupOptions { priority: 10, ..GroupOptions::default() };
                let nowhere = GroupOptions { unit_mask: 1 << 63, ..GroupOptions::default() };
                let mut select = commands::create_group(&weighing(1));
                select.cdw10.set(3);
                for entry in [
                    select,
                    commands::create_group(&weighing(1001)),
                    commands::create_group(&priority),
                    commands::create_group(&nowhere),
                    commands::change_group(0, &nowhere),
                    commands::change_group(0, &weighing(0)),
                ] {
                    let status = s.admin(entry, &[]);
                    assert!(status.same_code(Status::INVALID_FIELD), "{status}");
                }
                s.admin(commands::create_group(&weighing(0)), &[])
            },
        },
        Row {
            command: "Job Group Management (csdrive), Execute Program",
            condition: "no such group; group 0 is always there, and cannot be deleted",
            status: Status::INVALID_JOB_GROUP,
            prove: |s| {
                activated(s, 0);
                for entry in [
                    commands::delete_group(0),
                    commands::delete_group(256),
                    commands::change_group(9, &GroupOptions::default()),
                ] {
                    let status = s.admin(entry, &[]);
                    assert!(status.same_code(Status::INVALID_JOB_GROUP), "{status}");
                }
                s.run(IO, Execute { group: 9, ..Default::default() }.entry())
            },
        },
        Row {
            command: GROUPS,
            condition: "a group to be deleted has jobs",
            status: Status::JOB_GROUP_IN_USE,
            prove: |s| {
                activated(s, 0);
                let group =
                    s.session.create_group(&GroupOptions::default()).expect("there is room");
                s.begin(IO, Execute { group, ..Default::default() }.entry(), &[]);
                s.admin(commands::delete_group(group.into()), &[])
            },
        },
        Row {
            command: GROUPS,
            condition: "255 groups are there",
            status: Status::MAXIMUM_JOB_GROUPS_EXCEEDED,
            prove: |s| {
                for _ in 0..255 {
                    s.session
                        .create_group(&GroupOptions::default())
                        .expect("there are identifiers left");
                }
                s.admin(commands::create_group(&GroupOptions::default()), &[])
            },
        },
        Row {
            command: EXECUTE,
            condition: "a helper refused its arguments",
            status: Status::PROGRAM_HELPER_FAULT,
            prove: |s| misbehave(s, 1),
        },
        Row {
            command: STREAM,
            condition: "no range set, or one that is not there",
            status: Status::INVALID_MEMORY_RANGE_SET_ID,
            prove: |s| stream(s, |_| 0, &[1, 0, 1, 0, 1], &[commands::copy_source(0, 1)]),
        },
        Row {
            command: STREAM,
            condition: "the ranges of the set cannot be divided among the chunks in flight, two or more for each",
            status: Status::INVALID_MEMORY_RANGE_SET,
            prove: |s| {
                let sources = [commands::copy_source(0, 1), commands::copy_source(1, 1)];
                stream(s, two_ranges, &[2, 0, 2, 0, 1, 1], &sources)
            },
        },
        Row {
            command: STREAM,
            condition: "numbers of the data buffer that contradict each other, no extents, a chunk larger than its range",
            status: Status::INVALID_FIELD,
            prove: |s| {
                let source = [commands::copy_source(0, 1)];
                for words in [
                    &[0, 0, 0, 0][..],
                    &[1, 2, 1, 0, 1],
                    &[1, 0, 1, 0, 2],
                    &[1, 0, 0, 0, 0],
                    &[1, 0],
                ] {
                    let status = stream(s, two_ranges, words, &source);
                    assert!(status.same_code(Status::INVALID_FIELD), "{words:?}: {status}");
                }
                stream(s, two_ranges, &[1, 0, 2, 0, 2], &source)
            },
        },
        Row {
            command: STREAM,
            condition: "no bytes in a chunk, or more than 256 MiB in flight; more than 16 384 extents",
            status: Status::COMMAND_SIZE_LIMIT_EXCEEDED,
            prove: |s| stream(s, two_ranges, &[1, 0, 20_000, 0, 20_000], &[]),
        },
        Row {
            command: STREAM,
            condition: "the program says that it produced more blocks than its output range or the extents have",
            status: Status::CAPACITY_EXCEEDED,
            prove: |s| {
                let sources = [commands::copy_source(0, 1), commands::copy_source(1, 1)];
                stream(s, two_ranges, &[1, 1, 1, 1, 1, 1], &sources)
            },
        },
        Row {
            command: STREAM,
            condition: "blocks are written twice, or read and written",
            status: Status::OVERLAPPING_IO_RANGE,
            prove: |s| {
                let extent = |first, count| commands::copy_source(first, count);
                for sources in [[extent(0, 4), extent(3, 2)], [extent(3, 2), extent(0, 4)]] {
                    let status = stream(s, two_ranges, &[1, 1, 1, 1, 1, 1], &sources);
                    assert!(status.same_code(Status::OVERLAPPING_IO_RANGE), "{status}");
                }
                stream(
                    s,
                    two_ranges,
                    &[1, 1, 1, 2, 1, 2],
                    &[extent(0, 1), extent(9, 3), extent(10, 1)],
                )
            },
        },
        Row {
            command: STREAM,
            condition: "8 streaming executions are under way",
            status: Status::INSUFFICIENT_PROGRAM_RESOURCES,
            prove: |s| {
                activated(s, 0);
                let set = two_ranges(s);
                let (entry, data) =
                    stream_of(set, &[1, 0, 1, 0, 1], &[commands::copy_source(0, 4)]);
                for _ in 0..9 {
                    s.begin(IO, entry, &data);
                }
                s.next()
            },
        },
        Row {
            command: EXECUTE,
            condition: "a native program ended by itself, by a signal, or with an exception",
            status: Status::PROGRAM_CRASHED,
            prove: |s| {
                s.take_native(ShellFaultKind::Crash);
                native(s, Execute::default())
            },
        },
        Row {
            command: EXECUTE,
            condition: "a native program made a system call that it may not make",
            status: Status::PROGRAM_SYSTEM_CALL_REFUSED,
            prove: |s| {
                s.take_native(ShellFaultKind::SystemCall);
                native(s, Execute::default())
            },
        },
        Row {
            command: "Memory Range Set Management, Execute Program",
            condition: "range descriptors where the host has no memory",
            status: Status::DATA_TRANSFER_ERROR,
            prove: |s| {
                activated(s, 0);
                let inline = Execute { inline_ranges: 1, data_len: 32, ..Default::default() };
                let status = s.run(IO, commands::with_data(inline.entry(), (1 << 40, 0)));
                assert!(status.same_code(Status::DATA_TRANSFER_ERROR), "{status}");
                s.run(ADMIN, commands::with_data(commands::create_range_set(1), (1 << 40, 0)))
            },
        },
    ]
}

/// A program that does what stops it: see `misbehave.bpf.c`.
const MISBEHAVE: &[u8] = include_bytes!("misbehave.bpf.o");

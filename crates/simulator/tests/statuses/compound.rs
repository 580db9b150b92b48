//! Compound executions.

use client::Compound;
use nvme_spec::namespace::NVM_NSID;
use nvme_spec::{Status, SubmissionEntry};

use crate::{ADMIN, DOUBLE, IO, Row, Scene};

const COMPOUND: &str = "Execute Program, compound (csdrive)";

/// Executes a program on some blocks, changed as an entry.
fn compound(
    s: &mut Scene,
    compound: &Compound,
    change: impl FnOnce(&mut SubmissionEntry),
) -> Status {
    s.session.load_program(0, DOUBLE).expect("a sound program");
    let mut entry = s.session.compound_command(compound).expect("sound blocks").entry;
    change(&mut entry);
    s.io(entry, &[0; 4096])
}

pub(crate) fn rows() -> Vec<Row> {
    let row = |condition, status, prove| Row { command: COMPOUND, condition, status, prove };
    vec![
        row("dword 13 names no NVM namespace", Status::INVALID_NAMESPACE, |s| {
            let one = Compound { count: 1, ..Compound::default() };
            let memory = compound(s, &one, |entry| entry.cdw13.set(2));
            assert!(memory.same_code(Status::INVALID_NAMESPACE), "{memory}");
            s.session.remove_program(0).expect("it is loaded");
            compound(s, &one, |entry| entry.cdw13.set(99))
        }),
        row("the namespace is being formatted", Status::FORMAT_IN_PROGRESS, |s| {
            let one = Compound { count: 1, ..Compound::default() };
            s.session.load_program(0, DOUBLE).expect("a sound program");
            let entry = s.session.compound_command(&one).expect("sound blocks").entry;
            s.begin(ADMIN, client::commands::format_nvm(NVM_NSID, 1, 0), &[]);
            let entry = s.with_buffer(entry, &[0; 4096]);
            s.session.transport.driver.submit(IO, entry);
            s.next()
        }),
        row(
            "blocks are unwritten, and error recovery says that this is an error",
            Status::UNWRITTEN_BLOCK,
            |s| {
                let on = client::commands::set_feature(
                    nvme_spec::fid::ERROR_RECOVERY,
                    NVM_NSID,
                    1 << 16,
                    false,
                );
                let status = s.run(ADMIN, on);
                s.given(status);
                compound(s, &Compound { first: 9, count: 1, ..Compound::default() }, |_| {})
            },
        ),
        row("beyond the end of the namespace", Status::LBA_OUT_OF_RANGE, |s| {
            let one = Compound { count: 1, ..Compound::default() };
            compound(s, &one, |entry| entry.cdw11.set(1))
        }),
        row("more than 32 MiB of input", Status::COMMAND_SIZE_LIMIT_EXCEEDED, |s| {
            let blocks = (32 << 20) / s.session.block_bytes() as u32;
            compound(s, &Compound { count: blocks, ..Compound::default() }, |entry| {
                entry.cdw12.set(blocks);
            })
        }),
        row("an output of more than one command transfers", Status::INVALID_FIELD, |s| {
            let output = s.session.geometry().transfer_bytes_max as u32 + 1;
            compound(s, &Compound { count: 1, ..Compound::default() }, |e| e.cdw3.set(output))
        }),
        row("the drive's own memory is given out", Status::CAPACITY_EXCEEDED, |s| {
            s.session.load_program(0, DOUBLE).expect("a sound program");
            let blocks = (16 << 20) / s.session.block_bytes() as u32;
            let large = Compound { count: blocks, ..Compound::default() };
            let entry = s.session.compound_command(&large).expect("sound blocks").entry;
            for _ in 0..5 {
                s.begin(IO, entry, &[]);
            }
            s.next()
        }),
        row("no program at this index", Status::NO_PROGRAM, |s| {
            let one = Compound { count: 1, ..Compound::default() };
            let entry = s.session.compound_command(&one).expect("sound blocks").entry;
            s.run(IO, entry)
        }),
    ]
}

//! `csdrive check`: the same exercises for a drive, whatever way leads to it.

use std::path::Path;

use anyhow::{Result, ensure};
use client::{Drive, DriveError, GroupOptions, Invocation, ProgramState, Streaming, Submit};
use nvme_spec::Status;
use serde_json::json;
use simtime::Prng;

use super::{SIMULATED, Target};
use crate::Outcome;
use crate::report::say;

/// `out[i] = 2 * in[i]`, of 32-bit numbers; its result is their count.
const DOUBLE: &[u8] = include_bytes!("../../../../examples/programs/double.bpf.o");

/// Where programs are put: at the end, out of the way of others.
const INDEX: u16 = 1023;

/// Device memory that is overwritten, from its beginning.
const AREA: u64 = 4 << 20;

/// Exercise a drive's programs, memory and executions; overwrites 4 MiB of device memory and program 1023
///
/// DEV may also be the word "simulated": a drive in this process, in virtual time.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
}

/// An exercise with its name.
type Exercise<T> = (&'static str, fn(&mut Drive<T>) -> Result<()>);

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let target = &arguments.target;
    let results = if target.is(Path::new(SIMULATED)) {
        exercise(&mut simulator::open(controller::Config::default(), 0, 256)?)
    } else {
        exercise(&mut target.open()?)
    };
    let passed = results.iter().all(|(_, result)| result.is_ok());
    if target.is_json() {
        let list: Vec<_> = results
            .iter()
            .map(|(name, result)| {
                let error = result.as_ref().err().map(|error| format!("{error:#}"));
                json!({ "name": name, "passed": error.is_none(), "error": error })
            })
            .collect();
        say!("{:#}", json!({ "format_version": 1, "passed": passed, "exercises": list }));
    } else {
        for (name, result) in &results {
            match result {
                Ok(()) => say!("ok      {name}"),
                Err(error) => say!("FAILED  {name}: {error:#}"),
            }
        }
    }
    Ok(if passed { Outcome::Success } else { Outcome::ErrorStatus })
}

/// Runs all exercises; each leaves the drive as it found it, but for the memory.
fn exercise<T: Submit>(drive: &mut Drive<T>) -> Vec<(&'static str, Result<()>)> {
    let all: [Exercise<T>; 9] = [
        ("memory is what was written", memory),
        ("programs are loaded, listed and unloaded", programs),
        ("executions with ranges of the command and of a set", executions),
        ("many executions at a time", many),
        ("blocks are processed chunk by chunk", chunks),
        ("groups are listed, and count their jobs", groups),
        ("blocks are copied to device memory and back", copies),
        ("wrong uses have their statuses", wrong_uses),
        ("a program that is stopped says why", stopped),
    ];
    all.map(|(name, run)| {
        let result = run(drive);
        // A failed exercise may leave its program behind.
        let _ = drive.remove_program(INDEX);
        (name, result)
    })
    .into()
}

fn random(seed: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    Prng::new(seed).fill(&mut bytes);
    bytes
}

fn memory<T: Submit>(drive: &mut Drive<T>) -> Result<()> {
    // Lengths about what a command carries, a page and a dword.
    for (seed, len) in [4, 4096, 4100, 65_536, (1 << 20) + 4, 3 << 20].into_iter().enumerate() {
        let data = random(seed as u64, len);
        drive.write_memory(8, &data)?;
        ensure!(drive.read_memory(8, len)? == data, "{len} bytes came back otherwise");
    }
    drive.fill_memory(4096, 8192)?;
    ensure!(
        drive.read_memory(4096, 8192)?.iter().all(|byte| *byte == 0),
        "what is filled is not zero"
    );
    ensure!(drive.read_memory(8 + 4096 + 8192 - 8, 3)?.len() == 3, "an odd length");
    Ok(())
}

fn programs<T: Submit>(drive: &mut Drive<T>) -> Result<()> {
    drive.download_program(INDEX, DOUBLE)?;
    let find = |drive: &mut Drive<T>| -> Result<_> {
        Ok(drive.programs()?.into_iter().find(|info| info.index == INDEX))
    };
    let loaded = find(drive)?;
    let is_loaded = loaded.is_some_and(|p| p.state == ProgramState::Downloaded && !p.is_active);
    ensure!(is_loaded, "loaded, and listed as {loaded:?}");
    drive.activate_program(INDEX, true)?;
    ensure!(find(drive)?.is_some_and(|program| program.is_active), "active, and not listed so");
    drive.activate_program(INDEX, false)?;
    drive.unload_program(INDEX)?;
    ensure!(find(drive)?.is_none(), "unloaded, and still listed");
    Ok(())
}

/// Numbers to be doubled at 1 MiB; they are doubled to 0.
fn prepare<T: Submit>(drive: &mut Drive<T>, count: u32) -> Result<Vec<u8>> {
    drive.load_program(INDEX, DOUBLE)?;
    let bytes =
        |factor: u32| (0..count).flat_map(|n| (factor * n).to_le_bytes()).collect::<Vec<u8>>();
    drive.write_memory(1 << 20, &bytes(1))?;
    drive.fill_memory(0, u64::from(count) * 4)?;
    Ok(bytes(2))
}

/// 64 blocks through four chunks in flight: `double` returns how many numbers there are in each, whatever they are.
fn chunks<T: Submit>(drive: &mut Drive<T>) -> Result<()> {
    const IN_FLIGHT: u64 = 4;
    drive.load_program(INDEX, DOUBLE)?;
    let chunk = 3 * drive.block_bytes();
    let ranges: Vec<(u64, u32)> =
        (0..2 * IN_FLIGHT).map(|n| (n * (16 << 10), chunk as u32)).collect();
    let range_set = drive.create_range_set(&ranges)?;
    let streaming = Streaming {
        invocation: Invocation { program: INDEX, range_set, ..Invocation::default() },
        chunk_blocks: 3,
        inputs: (0..IN_FLIGHT).map(|n| vec![(16 * n, 16)]).collect(),
        outputs: None,
        ..Streaming::default()
    };
    let result = drive.execute_stream(&streaming)?;
    let numbers = 64 * drive.block_bytes() / 4;
    ensure!(result == numbers, "{numbers} numbers, and {result} were seen");
    drive.delete_range_set(range_set)?;
    drive.remove_program(INDEX)?;
    Ok(())
}

fn executions<T: Submit>(drive: &mut Drive<T>) -> Result<()> {
    let doubled = prepare(drive, 1000)?;
    let ranges = vec![(0, 4000), (1 << 20, 4000)];
    let invocation = Invocation { program: INDEX, ranges: ranges.clone(), ..Default::default() };
    ensure!(drive.execute(&invocation)? == 1000, "another result");
    ensure!(drive.read_memory(0, 4000)? == doubled, "another output");
    drive.fill_memory(0, 4000)?;
    let set = drive.create_range_set(&ranges)?;
    let listed = drive.range_sets()?.into_iter().find(|listed| listed.id == set);
    ensure!(listed.is_some_and(|listed| listed.ranges == ranges), "the set is listed otherwise");
    let invocation = Invocation { program: INDEX, range_set: set, ..Default::default() };
    ensure!(drive.execute(&invocation)? == 1000, "another result with a set");
    ensure!(drive.read_memory(0, 4000)? == doubled, "another output with a set");
    drive.delete_range_set(set)?;
    Ok(())
}

fn many<T: Submit>(drive: &mut Drive<T>) -> Result<()> {
    const EACH: u32 = 256;
    let doubled = prepare(drive, EACH * 64)?;
    let (mut started, mut ended) = (0, 0);
    while ended < 2000 {
        while started < 2000 && started - ended < 64 {
            let at = u64::from(started as u32 % 64 * EACH * 4);
            let ranges = vec![(at, EACH * 4), ((1 << 20) + at, EACH * 4)];
            drive.start_execute(&Invocation { program: INDEX, ranges, ..Default::default() })?;
            started += 1;
        }
        let done = drive.wait()?;
        ensure!(drive.executed(done)? == u64::from(EACH), "another result");
        ended += 1;
    }
    ensure!(drive.read_memory(0, doubled.len() as u64)? == doubled, "another output");
    Ok(())
}

fn groups<T: Submit>(drive: &mut Drive<T>) -> Result<()> {
    prepare(drive, 1000)?;
    let options = GroupOptions {
        weight: 300,
        priority: 7,
        deadline_us: 1_000_000,
        bandwidth_kbps: 4_000_000,
        units_max: 3,
        unit_mask: 1,
    };
    let group = drive.create_group(&options)?;
    let ranges = vec![(0, 4000), (1 << 20, 4000)];
    let invocation = Invocation { program: INDEX, ranges, group, ..Default::default() };
    ensure!(drive.execute(&invocation)? == 1000, "another result in a group");
    let options = GroupOptions { weight: 500, ..options };
    drive.change_group(group, &options)?;
    let listed = drive.groups()?.into_iter().find(|listed| listed.id == group);
    ensure!(
        listed.is_some_and(|g| {
            g.options == options && g.jobs == 0 && g.finished == 1 && g.ran_ns > 0 && g.missed <= 1
        }),
        "after an execution it is {listed:?}"
    );
    drive.delete_group(group)?;
    ensure!(drive.groups()?.iter().all(|listed| listed.id != group), "deleted, and still listed");
    refused("deleted", drive.execute(&invocation), Status::INVALID_JOB_GROUP)?;
    Ok(())
}

fn copies<T: Submit>(drive: &mut Drive<T>) -> Result<()> {
    // What is there is left as it is.
    let count = (AREA / 4 / drive.block_bytes()).min(drive.geometry().blocks);
    let blocks = drive.read_blocks(0, count)?;
    drive.write_memory(0, &random(7, blocks.len() as u64))?;
    drive.copy_blocks(0, count, 0)?;
    ensure!(
        drive.read_memory(0, blocks.len() as u64)? == blocks,
        "memory is not what the blocks are"
    );
    // And back: they are what they were.
    let data = random(8, blocks.len() as u64);
    drive.write_memory(0, &data)?;
    drive.copy_memory_to_blocks(0, 0, count)?;
    let copied = drive.read_blocks(0, count);
    drive.write_blocks(0, &blocks)?;
    ensure!(copied? == data, "the blocks are not what memory is");
    Ok(())
}

/// Demands that something fails with a status.
fn refused<U>(what: &str, result: Result<U, DriveError>, expected: Status) -> Result<String> {
    match result {
        Err(DriveError::Failed(failed)) if failed.status.same_code(expected) => {
            Ok(failed.detail.unwrap_or_default())
        }
        Err(error) => anyhow::bail!("{what}: {error}, and not {expected}"),
        Ok(_) => anyhow::bail!("{what}: done, and not {expected}"),
    }
}

fn wrong_uses<T: Submit>(drive: &mut Drive<T>) -> Result<()> {
    let invocation = Invocation { program: INDEX, ..Default::default() };
    refused("no program", drive.execute(&invocation), Status::NO_PROGRAM)?;
    drive.download_program(INDEX, DOUBLE)?;
    refused("not active", drive.execute(&invocation), Status::PROGRAM_NOT_ACTIVATED)?;
    drive.activate_program(INDEX, true)?;
    refused("unload an active one", drive.unload_program(INDEX), Status::PROGRAM_IN_USE)?;
    let no_set = Invocation { range_set: 999, ..invocation };
    refused("no set", drive.execute(&no_set), Status::INVALID_MEMORY_RANGE_SET_ID)?;
    let beyond = drive.geometry().blocks;
    refused("blocks beyond the end", drive.read_blocks(beyond, 1), Status::LBA_OUT_OF_RANGE)?;
    let overlapping = drive.create_range_set(&[(0, 4096), (4092, 4096)]);
    refused("overlap", overlapping, Status::OVERLAPPING_MEMORY_RANGES)?;
    let detail = drive.download_program(INDEX - 1, b"no ELF file");
    let detail = refused("no program at all", detail, Status::INVALID_PROGRAM_DATA)?;
    ensure!(detail.contains("ELF"), "the drive says: {detail}");
    Ok(())
}

fn stopped<T: Submit>(drive: &mut Drive<T>) -> Result<()> {
    drive.load_program(INDEX, DOUBLE)?;
    // Its output is shorter than its input.
    let ranges = vec![(0, 4096), (1 << 20, 8192)];
    let result = drive.execute(&Invocation { program: INDEX, ranges, ..Default::default() });
    let detail = refused("beyond its range", result, Status::PROGRAM_MEMORY_FAULT)?;
    ensure!(!detail.is_empty(), "no detail");
    Ok(())
}

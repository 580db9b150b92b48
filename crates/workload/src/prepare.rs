//! Before and after a run: programs, job groups, range sets, device memory, contents of blocks.

use std::path::Path;

use client::{
    Drive, DriveResult, Geometry, LoadOptions, PeerMemory, ProgramImage, Streaming, Submit,
};

use crate::Error;
use crate::access::Places;
use crate::file::{Input, Output};
use crate::plan::{Arrival, Execution, Job, Plan, Program, Work};
use crate::trace::{self, Fit};

/// Ranges in device memory begin at multiples of it.
const ALIGNMENT: u64 = 4096;

/// A place for one execution.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Slot {
    /// In device memory.
    pub(crate) output: u64,
    pub(crate) input: u64,
    /// Of a streaming execution.
    pub(crate) range_set: u16,
}

/// What a job has on a drive.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) job: usize,
    pub(crate) drive: usize,
    pub(crate) program: Option<u16>,
    pub(crate) group: u8,
    /// For every operation in flight of each clone.
    pub(crate) slots: Vec<Vec<Slot>>,
    /// Of each clone.
    pub(crate) places: Vec<Places>,
    /// How operations of a trace come into the region, if they do.
    pub(crate) fit: Option<Fit>,
    /// Where the input is, if it comes from another drive: the drive and the namespace, and its bytes of device memory.
    pub(crate) peer: Option<PeerMemory>,
    /// Further ranges of the program, in device memory.
    pub(crate) ranges: Vec<(u64, u32)>,
    /// What the host sends as input.
    pub(crate) content: Vec<u8>,
    /// Where outputs go on the flash, one after the other and then from the beginning again: first byte, bytes of all, of each.
    pub(crate) outputs: (u64, u64, u64),
}

/// Prepares one drive for all jobs that use it; what was made is in `prepared`, also if something fails.
pub(crate) fn prepare<T: Submit>(
    plan: &Plan,
    number: usize,
    own: &[Option<PeerMemory>],
    drive: &mut Drive<T>,
    prepared: &mut Vec<Prepared>,
    tell: &mut dyn FnMut(String),
) -> Result<(), Error> {
    let mut memory = 0;
    let mut filled: Vec<(u64, u64)> = Vec::new();
    for (n, job) in plan.jobs.iter().enumerate().filter(|(_, job)| job.drives.contains(&number)) {
        let geometry = drive.geometry();
        let of_job = |reason: String| plan.failed(n, reason);
        let failed = |error: client::DriveError| of_job(error.to_string());
        let places = places(job, geometry).map_err(of_job)?;
        let region = (job.region.offset, places[0].bytes());
        let fit = job.region.wraps.then(|| Fit {
            first: region.0,
            region: region.1,
            block: geometry.block_bytes,
            chunk: chunk_of(job),
        });
        if let Arrival::Trace(entries) = &job.arrival {
            check_trace(job, entries, fit.as_ref(), geometry).map_err(of_job)?;
        }
        let one = Prepared {
            job: n,
            drive: number,
            program: None,
            group: 0,
            slots: vec![Vec::new(); job.clones as usize],
            places,
            fit,
            peer: None,
            ranges: Vec::new(),
            content: Vec::new(),
            outputs: (0, 0, 0),
        };
        prepared.push(one);
        let Some(one) = prepared.last_mut() else { continue };
        let content = job.region.content.as_deref().map(read).transpose().map_err(of_job)?;
        let is_sent = matches!(&job.work, Work::OnDrive(e) if e.input == Input::Host);
        match content {
            Some(content) if is_sent => one.content = content,
            Some(content) => {
                if content.len() as u64 > region.1 {
                    let reason = format!(
                        "file: it has {} bytes, the region {}: give a larger size",
                        content.len(),
                        region.1
                    );
                    return Err(of_job(reason));
                }
                tell(format!("drive {number}: writes {} bytes for {}", content.len(), job.name));
                drive.write_blocks(region.0 / geometry.block_bytes, &content).map_err(failed)?;
                drive.flush().map_err(failed)?;
            }
            None if job.region.is_filled && !filled.contains(&region) => {
                tell(format!("drive {number}: fills {} bytes for {}", region.1, job.name));
                fill(drive, region).map_err(failed)?;
                filled.push(region);
            }
            None => {}
        }
        if let Work::OnDrive(execution) = &job.work {
            place(job, execution, geometry, one, &mut memory).map_err(of_job)?;
            for path in &execution.ranges {
                let content = read(path).map_err(of_job)?;
                one.ranges.push((memory, content.len() as u32));
                if memory + content.len() as u64 > geometry.memory_bytes {
                    let reason = format!(
                        "ranges: {}: no device memory is left for it: choose a smaller iodepth or bs",
                        path.display()
                    );
                    return Err(of_job(reason));
                }
                drive.write_memory(memory, &content).map_err(failed)?;
                memory += (content.len() as u64).next_multiple_of(ALIGNMENT);
            }
            load(drive, execution, one).map_err(failed)?;
            if execution.input == Input::Peer {
                let chunk = job.region.sizes.first().map_or(0, |(bytes, _)| *bytes);
                let wanted = own.get(execution.from_drive).and_then(Option::as_ref);
                // Its number here, which need not be its number in the file.
                let reached = drive.peers().map_err(failed)?;
                let is_it = |peer: &&PeerMemory| {
                    wanted.is_some_and(|wanted| {
                        (peer.drive, &peer.serial) == (wanted.drive, &wanted.serial)
                    })
                };
                one.peer = reached.iter().find(is_it).filter(|peer| !peer.is_own).cloned();
                if one.peer.as_ref().is_none_or(|peer| peer.bytes < chunk) {
                    let reason = format!(
                        "from_drive: drive {number} reaches no memory of {chunk} bytes of drive {}; are both of one csdrive serve?",
                        execution.from_drive
                    );
                    return Err(of_job(reason));
                }
            }
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let content =
        std::fs::read(path).map_err(|error| format!("file: {}: {error}", path.display()))?;
    if content.is_empty() {
        return Err(format!("file: {} is empty", path.display()));
    }
    Ok(content)
}

/// The places of all clones.
fn places(job: &Job, geometry: Geometry) -> Result<Vec<Places>, String> {
    let Geometry { block_bytes, blocks, .. } = geometry;
    let reads_flash = match &job.work {
        Work::OnDrive(execution) => execution.input == Input::Flash,
        Work::Blocks | Work::OnHost { .. } => true,
    };
    // Chunks that do not come from the flash have no place on it.
    let block = if reads_flash { block_bytes } else { 1 };
    let one = || Places::new(&job.region, block_bytes * blocks, block);
    (0..job.clones).map(|_| one()).collect()
}

/// A trace's operations must be on the drive, in whole blocks, and fit the memory of a program.
fn check_trace(
    job: &Job,
    entries: &[trace::Entry],
    fit: Option<&Fit>,
    geometry: Geometry,
) -> Result<(), String> {
    let Geometry { block_bytes, blocks, .. } = geometry;
    let chunk = chunk_of(job);
    for (n, entry) in entries.iter().enumerate() {
        let trace::Entry { mut offset, mut bytes, is_read, .. } = *entry;
        if let Some(fit) = fit {
            (offset, bytes) = fit.place(entry);
        }
        let is_whole = offset.is_multiple_of(block_bytes) && bytes.is_multiple_of(block_bytes);
        let is_inside = offset.checked_add(bytes).is_some_and(|end| end <= block_bytes * blocks);
        let what = match (is_whole, is_inside) {
            (false, _) => {
                format!("no whole blocks of {block_bytes} bytes: trace_wrap = true makes it so")
            }
            (_, false) => format!(
                "not in the namespace of {} bytes: trace_wrap = true brings it there",
                block_bytes * blocks
            ),
            _ if chunk.is_some_and(|chunk| bytes != chunk) => {
                format!("no chunk of the program: bs = {}", chunk.unwrap_or(0))
            }
            _ if chunk.is_some() && !is_read => "a write, and programs read their input".to_owned(),
            _ => continue,
        };
        return Err(format!("trace: operation {}: {bytes} bytes at {offset} are {what}", n + 1));
    }
    Ok(())
}

/// Bytes of every chunk of a program.
fn chunk_of(job: &Job) -> Option<u64> {
    match &job.work {
        Work::OnDrive(_) => job.region.sizes.first().map(|(bytes, _)| *bytes),
        Work::Blocks | Work::OnHost { .. } => None,
    }
}

/// Writes every block of a region.
fn fill<T: Submit>(drive: &mut Drive<T>, (offset, bytes): (u64, u64)) -> DriveResult<()> {
    let Geometry { block_bytes, transfer_bytes_max, .. } = drive.geometry();
    let piece = transfer_bytes_max.min(1 << 20);
    for at in (0..bytes / block_bytes * block_bytes).step_by(piece as usize) {
        let len = piece.min(bytes - at) / block_bytes * block_bytes;
        drive.write_blocks(
            (offset + at) / block_bytes,
            &vec![crate::operation::FILLER; len as usize],
        )?;
    }
    drive.flush()
}

/// Chooses device memory, and flash for outputs.
fn place(
    job: &Job,
    execution: &Execution,
    geometry: Geometry,
    one: &mut Prepared,
    memory: &mut u64,
) -> Result<(), String> {
    let chunk = job.region.sizes.first().map_or(0, |(bytes, _)| *bytes);
    let (chunk, in_flight) = match execution.stream {
        Some(stream) => (stream.seen(), u64::from(stream.in_flight)),
        None => (chunk, 1),
    };
    let most = geometry.transfer_bytes_max;
    if execution.compound.is_some()
        && execution.output == Output::Host
        && execution.output_bytes > most
    {
        return Err(format!(
            "compound: an output of {} bytes comes with one command, which carries at most {most}: choose a smaller output_size or output_ratio, or [drive.set] drive.max_transfer",
            execution.output_bytes
        ));
    }
    if let Some(stream) = execution.stream {
        for (key, bytes) in [("chunk", stream.chunk), ("overlap", stream.seen() - stream.chunk)] {
            if !bytes.is_multiple_of(geometry.block_bytes) {
                let block = geometry.block_bytes;
                return Err(format!(
                    "stream.{key}: {bytes} bytes are no whole blocks of {block} bytes"
                ));
            }
        }
    }
    let (output, chunk) = (execution.output_bytes as u32, chunk as u32);
    let (_, each) = Streaming::ranges(0, in_flight, output, chunk);
    let depth = u64::from(job.depth.unwrap_or(1));
    if execution.compound.is_some() {
        // The drive has memory of its own for them.
        for clone in &mut one.slots {
            let slot = Slot { output: 0, input: 0, range_set: 0 };
            clone.extend((0..depth).map(|_| slot));
        }
        return Ok(());
    }
    // Before there is a place for each.
    let all = u128::from(each) * u128::from(depth) * one.slots.len() as u128;
    if u128::from(*memory) + all > u128::from(geometry.memory_bytes) {
        return Err(format!(
            "{depth} executions in flight, each with {each} bytes of device memory, do not fit into the {} there are: choose a smaller iodepth or bs, or [drive.set] memory.size",
            geometry.memory_bytes
        ));
    }
    for clone in &mut one.slots {
        for _ in 0..depth {
            let (ranges, end) = Streaming::ranges(*memory, in_flight, output, chunk);
            clone.push(Slot { output: ranges[0].0, input: ranges[1].0, range_set: 0 });
            *memory = end;
        }
    }
    if execution.output == Output::Flash && output > 0 {
        let (start, used) = (job.region.offset, one.places[0].bytes());
        let end = geometry.blocks * geometry.block_bytes;
        let first = (start + used).next_multiple_of(geometry.block_bytes);
        let bytes = job.region.sizes.first().map_or(0, |(bytes, _)| *bytes);
        let each = execution.flash_bytes(bytes, geometry.block_bytes);
        let room = end.saturating_sub(first).min(used.max(each)) / each.max(1) * each;
        if room == 0 {
            return Err(format!(
                "output: {each} bytes behind the region of the job, at {first}, are beyond the namespace ({end} bytes): choose a smaller size"
            ));
        }
        one.outputs = (first, room, each);
    }
    Ok(())
}

/// Loads the program, makes group and range sets.
fn load<T: Submit>(
    drive: &mut Drive<T>,
    execution: &Execution,
    one: &mut Prepared,
) -> DriveResult<()> {
    let taken = drive.programs()?;
    let index = (0..u16::MAX).find(|index| taken.iter().all(|info| info.index != *index));
    let index = index.unwrap_or(u16::MAX);
    match &execution.program {
        Program::Declared(time) => {
            let image = ProgramImage::Declared(time.as_ns().to_le_bytes());
            drive.download_program_with(index, image, LoadOptions::default())?;
            drive.activate_program(index, true)?;
        }
        Program::File(path) => drive.load_program_file(index, path)?,
    }
    one.program = Some(index);
    if let Some(options) = &execution.group {
        one.group = drive.create_group(options)?;
    }
    if execution.output == Output::Flash {
        drive.enable_copies_from_memory()?;
    }
    if let Some(stream) = execution.stream {
        let (output, chunk) = (execution.output_bytes as u32, stream.seen() as u32);
        for slot in one.slots.iter_mut().flatten() {
            let (ranges, _) =
                Streaming::ranges(slot.output, stream.in_flight.into(), output, chunk);
            slot.range_set = drive.create_range_set(&ranges)?;
        }
    }
    Ok(())
}

/// Takes away what [`prepare`] made on a drive.
pub(crate) fn take_away<T: Submit>(
    drive: &mut Drive<T>,
    prepared: &[&Prepared],
) -> DriveResult<()> {
    for one in prepared {
        for slot in one.slots.iter().flatten().filter(|slot| slot.range_set > 0) {
            drive.delete_range_set(slot.range_set)?;
        }
        if let Some(program) = one.program {
            drive.remove_program(program)?;
        }
        if one.group > 0 {
            drive.delete_group(one.group)?;
        }
    }
    Ok(())
}

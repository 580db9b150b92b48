//! Programs and memory range sets of this dialect, and their execution.
//!
//! A program is named, not sent: a path, a zero byte, the name of a function, a zero byte. The drive takes files of the folder
//! that its configuration names.

use std::sync::Arc;

use ebpf::Range;
use nvme_spec::command::{MemoryRangeDescriptor, RunTime, program_type};
use nvme_spec::{Nsid, Status};
use zerocopy::FromBytes;

use super::{FemuArrival, programs_nsid, state};
use crate::command::{ExecuteProgram, FemuAdminCommand, FemuLoad, LoadProgram};
use crate::data_pointer::{DataPointer, Segments};
use crate::event::Tag;
use crate::limits::{FUNCTION_BYTES_MAX, PROGRAM_SLOTS, RANGE_SETS_MAX, RANGES_PER_SET_MAX};
use crate::namespace::programs::LoadedProgram;
use crate::namespace::programs::execute::{Start, read_buffer, start_job};
use crate::namespace::programs::manage::check_type;
use crate::native::{NativeLoadError, NativePrograms};
use crate::own_memory::Allocation;
use crate::turn::Turn;
use crate::waiting::Arrival;

/// FEMU's program types.
const PHANTOM: u8 = 0;
const EBPF: u8 = 1;
const SHARED_LIBRARY: u8 = 3;

/// Longest path and function together, with their zero bytes.
const NAMES_BYTES_MAX: usize = 4096 + FUNCTION_BYTES_MAX + 2;

/// The namespace identifier of a range that is an allocation.
const ALLOCATION: u32 = 0;

/// How an execution ends in this dialect.
#[derive(Debug)]
pub(crate) struct FemuEnd {
    /// A phantom program copies its second range to its first.
    copies: Option<(Range, Range)>,
}

impl FemuEnd {
    /// Does what a phantom program does; the result, which has 32 bits in this dialect.
    pub(crate) fn end(self, result: u64) -> u64 {
        let Some((to, from)) = self.copies else {
            // A negative result keeps its low bits.
            let is_too_large = (result as i64) > i64::from(u32::MAX);
            return if is_too_large { u32::MAX.into() } else { result & u64::from(u32::MAX) };
        };
        let len = to.len.min(from.len);
        let copied = to.memory.copy_from(&from.memory, from.offset, to.offset, len);
        assert!(copied, "ranges are inside their memories");
        len.min(u32::MAX.into())
    }
}

/// Executes a management command.
pub(super) fn manage(
    turn: &mut Turn<'_>,
    tag: Tag,
    command: FemuAdminCommand,
    pointer: DataPointer,
) -> Result<(), Status> {
    let nsid = programs_nsid(turn)?;
    match command {
        FemuAdminCommand::CreateRangeSet { count } => {
            if count == 0 || count > RANGES_PER_SET_MAX {
                return Err(Status::MAXIMUM_MEMORY_RANGES_EXCEEDED.with_dnr());
            }
            let len = (usize::from(count) * size_of::<MemoryRangeDescriptor>()) as u64;
            let arrival = Arrival::Femu(FemuArrival::CreateRangeSet { count });
            return turn.fetch_data(tag, pointer, len, arrival);
        }
        FemuAdminCommand::DeleteRangeSet { rsid } => {
            let gone = state(turn).sets.remove(&rsid);
            gone.ok_or(Status::INVALID_MEMORY_RANGE_SET_ID.with_dnr())?;
        }
        FemuAdminCommand::Load(load) => return begin_load(turn, tag, nsid, load, pointer),
        FemuAdminCommand::Unload { program_index } => {
            let namespace = turn.subsystem.namespaces.programs_mut(nsid);
            namespace.expect("it was found").unload(program_index)?;
        }
        FemuAdminCommand::Activate { program_index, activate } => {
            let namespace = turn.subsystem.namespaces.programs_mut(nsid).expect("it was found");
            match namespace.activate(program_index, activate) {
                // One that is not active can be deactivated here.
                Err(status) if !activate && status.same_code(Status::PROGRAM_NOT_ACTIVATED) => {}
                done => done?,
            }
        }
    }
    turn.complete(tag, Status::SUCCESS, 0);
    Ok(())
}

/// The descriptors of a new range set have arrived; the result is its identifier.
pub(super) fn range_set_arrived(
    turn: &mut Turn<'_>,
    tag: Tag,
    segments: &Segments,
    count: u8,
) -> Result<(), Status> {
    let mut list = vec![0; usize::from(count) * size_of::<MemoryRangeDescriptor>()];
    segments.read(&*turn.host, &mut list)?;
    let state = state(turn);
    let free = (1..=RANGE_SETS_MAX).find(|id| !state.sets.contains_key(id));
    let id = free.ok_or(Status::MAXIMUM_MEMORY_RANGE_SETS_EXCEEDED)?;
    state.sets.insert(id, descriptors(&list));
    turn.complete(tag, Status::SUCCESS, id.into());
    Ok(())
}

fn descriptors(list: &[u8]) -> Vec<MemoryRangeDescriptor> {
    let entries = list.chunks_exact(size_of::<MemoryRangeDescriptor>());
    entries.map(|e| MemoryRangeDescriptor::read_from_bytes(e).expect("32 bytes each")).collect()
}

/// Begins to load a program. A phantom has no data.
fn begin_load(
    turn: &mut Turn<'_>,
    tag: Tag,
    nsid: Nsid,
    load: FemuLoad,
    pointer: DataPointer,
) -> Result<(), Status> {
    if load.program_index >= PROGRAM_SLOTS {
        return Err(Status::INVALID_PROGRAM_INDEX.with_dnr());
    }
    if load.program_type == PHANTOM && load.total == 0 {
        finish_load(turn, nsid, &load, &[])?;
        turn.complete(tag, Status::SUCCESS, 0);
        return Ok(());
    }
    let is_inside = u64::from(load.offset) + u64::from(load.len) <= u64::from(load.total);
    if load.len == 0 || !is_inside || load.total as usize > NAMES_BYTES_MAX {
        return refuse(
            turn,
            nsid,
            load.program_index,
            "a program of this dialect is a path of at most 4096 bytes, a zero byte, the name of a function, a zero byte",
        );
    }
    let arrival = Arrival::Femu(FemuArrival::Load(load));
    turn.fetch_data(tag, pointer, load.len.into(), arrival)
}

/// Says why something is refused: hosts of this dialect have no log to read, whoever runs the drive has.
fn refuse<T>(turn: &mut Turn<'_>, nsid: Nsid, index: u16, why: &str) -> Result<T, Status> {
    if let Some(namespace) = turn.subsystem.namespaces.programs_mut(nsid) {
        namespace.text.set_diagnostics(index, why);
    }
    let note = format!("program {index} is not loaded: {why}");
    if turn.subsystem.outbox.notes.last() != Some(&note) {
        turn.subsystem.outbox.notes.push(note);
    }
    Err(Status::INVALID_PROGRAM_DATA.with_dnr())
}

/// A piece of the names has arrived.
pub(super) fn load_arrived(
    turn: &mut Turn<'_>,
    tag: Tag,
    segments: &Segments,
    load: &FemuLoad,
) -> Result<(), Status> {
    let nsid = programs_nsid(turn)?;
    let mut piece = vec![0; load.len as usize];
    segments.read(&*turn.host, &mut piece)?;
    let loading = &mut state(turn).loading;
    let names = loading.entry(load.program_index).or_default();
    if load.offset == 0 {
        names.clear();
    }
    if names.len() != load.offset as usize {
        loading.remove(&load.program_index);
        return refuse(turn, nsid, load.program_index, "pieces come in order, from offset 0");
    }
    names.extend(piece);
    if names.len() == load.total as usize {
        let names = std::mem::take(names);
        state(turn).loading.remove(&load.program_index);
        finish_load(turn, nsid, load, &names)?;
    }
    turn.complete(tag, Status::SUCCESS, 0);
    Ok(())
}

/// The path and the function of a program.
fn parse_names(names: &[u8]) -> Option<(&str, &str)> {
    let (path, rest) = names.split_at(names.iter().position(|byte| *byte == 0)?);
    let function = &rest[1..];
    let function = &function[..function.iter().position(|byte| *byte == 0)?];
    let text = |bytes| std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty());
    Some((text(path)?, text(function)?))
}

/// What a load names: the type, the bytes and the function of a program.
fn content(
    native: Option<&dyn NativePrograms>,
    load: &FemuLoad,
    names: &[u8],
) -> Result<(u8, Vec<u8>, Option<String>), String> {
    let named = || parse_names(names).ok_or("the path or the function is missing");
    match load.program_type {
        PHANTOM => {
            let time = match load.run_time {
                RunTime::Declared(ns) => u64::from(ns),
                _ => 0,
            };
            Ok((program_type::DECLARED, time.to_le_bytes().to_vec(), None))
        }
        EBPF => {
            let (path, function) = named()?;
            let native = native.ok_or(
                "this drive names no compute.native_directory: it is the folder of the programs that \
                 hosts may name",
            )?;
            let bytes = native.read(path).map_err(|error| match error {
                NativeLoadError::Refused(why) | NativeLoadError::Host(why) => why,
            })?;
            Ok((program_type::EBPF, bytes, Some(function.to_owned())))
        }
        SHARED_LIBRARY => {
            let (path, function) = named()?;
            let bytes = [function.as_bytes(), b"\0", path.as_bytes()].concat();
            Ok((program_type::NATIVE_FILE, bytes, None))
        }
        other => Err(format!("there are programs of type 0, 1 and 3, and no {other}")),
    }
}

/// All pieces are here: a program is made of what they name. One that is there already is replaced, unless it runs.
fn finish_load(
    turn: &mut Turn<'_>,
    nsid: Nsid,
    load: &FemuLoad,
    names: &[u8],
) -> Result<(), Status> {
    let index = load.program_index;
    let (loaders, wasm) = (turn.subsystem.programs.clone(), turn.subsystem.config.wasm.clone());
    let (kind, bytes, function) = match content(loaders.native.as_deref(), load, names) {
        Ok(content) => content,
        Err(why) => return refuse(turn, nsid, index, &why),
    };
    let piece = LoadProgram {
        program_index: index,
        program_type: kind,
        identifier_type: 0,
        identifier: load.identifier,
        program_bytes: bytes.len() as u32,
        offset: 0,
        len: bytes.len() as u32,
        run_time: load.run_time,
        scale_tenths: load.scale_tenths,
    };
    if let Err(why) = check_type(turn, &piece) {
        return refuse(turn, nsid, index, &why);
    }
    let namespace = turn.subsystem.namespaces.programs_mut(nsid).expect("it was found");
    let before = namespace.take_unused(index)?;
    let loaded = namespace.load_piece(&piece, &bytes).map_err(|status| status.name().to_owned());
    if let Some(slot) = namespace.slots.get_mut(&index) {
        slot.function = function;
    }
    let finished =
        loaded.and_then(|_| namespace.finish_load(index, &loaders, &wasm).map_err(|(_, why)| why));
    let Err(why) = finished else { return Ok(()) };
    // What was there stays.
    namespace.slots.extend(before.map(|slot| (index, slot)));
    refuse(turn, nsid, index, &why)
}

/// Begins an execution.
pub(super) fn execute(
    turn: &mut Turn<'_>,
    tag: Tag,
    command: ExecuteProgram,
    pointer: DataPointer,
) -> Result<(), Status> {
    let nsid = programs_nsid(turn)?;
    if command.data_len > turn.subsystem.config.transfer_bytes_max {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    // From now on it is a command of the programs' namespace.
    if let Some(own) = turn.command(tag) {
        own.kind.nsid = nsid;
    }
    let arrival = Arrival::Femu(FemuArrival::Execute(command));
    turn.fetch_data(tag, pointer, command.data_len, arrival)
}

/// An execution's data has arrived: its job is queued.
pub(super) fn start(
    turn: &mut Turn<'_>,
    tag: Tag,
    segments: &Segments,
    command: ExecuteProgram,
) -> Result<(), Status> {
    let nsid = programs_nsid(turn)?;
    let (inline, data) = read_buffer(turn, segments, &command)?;
    let state = state(turn);
    let unknown = Status::INVALID_MEMORY_RANGE_SET_ID.with_dnr();
    let given = match command.rsid {
        0 => descriptors(&inline),
        id => state.sets.get(&id).ok_or(unknown)?.clone(),
    };
    let (mut ranges, mut memory) = (Vec::new(), Vec::new());
    for range in &given {
        let id = u32::try_from(range.start.get()).map_err(|_| Status::INVALID_FIELD.with_dnr())?;
        if range.nsid.get() != ALLOCATION {
            return Err(Status::INVALID_MEMORY_NAMESPACE.with_dnr());
        }
        let allocation = Arc::clone(state.allocation(id)?);
        ranges.push(range_of(&allocation, range.length.get())?);
        memory.push(allocation);
    }
    let namespace = turn.subsystem.namespaces.programs_mut(nsid).expect("it was found");
    let mut lease = namespace.lease(command.program_index)?;
    lease.memory = memory;
    let is_phantom = matches!(lease.program, LoadedProgram::Declared(_));
    let copies = match ranges.as_slice() {
        [to, from, ..] if is_phantom => Some((to.clone(), from.clone())),
        _ => None,
    };
    let femu = Some(FemuEnd { copies });
    start_job(turn, tag, nsid, Start { femu, ..Start::new(&command, ranges, data, lease) })
}

/// The beginning of an allocation, of this length; 0 = all of it.
fn range_of(allocation: &Allocation, len: u32) -> Result<Range, Status> {
    let all = allocation.extent.len;
    let len = if len == 0 { all.min(u32::MAX.into()) } else { len.into() };
    if len > all {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    let memory = Arc::clone(&allocation.memory);
    Ok(Range { memory, offset: allocation.extent.start, len, writable: true })
}

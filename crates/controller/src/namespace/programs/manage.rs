//! Admin commands of the Computational Programs command set: programs, memory range sets, job groups.

use std::num::NonZeroU16;

use compute::{Affinity, DEFAULT_PRIORITY, GroupError, GroupId, GroupSettings, PRIORITY_MAX};
use ebpf::Range;
use nvme_spec::command::{MemoryRangeDescriptor, program_type};
use nvme_spec::{Nsid, Status};
use simtime::{Bandwidth, Duration};
use zerocopy::FromBytes;

use super::{ProgramsArrival, ProgramsNamespace, RangeSet, ShellKind};
use crate::command::{GroupAction, GroupFields, LoadProgram, ProgramAction};
use crate::data_pointer::{DataPointer, Segments};
use crate::event::Tag;
use crate::limits::{GROUP_WEIGHT_MAX, PROGRAM_SLOTS, RANGES_PER_SET_MAX};
use crate::turn::Turn;
use crate::waiting::Arrival;

/// The namespace that a management command names: one of programs, and only with CC.CSS = 110b.
pub(crate) fn named<'a>(
    turn: &'a mut Turn<'_>,
    nsid: Nsid,
) -> Result<&'a mut ProgramsNamespace, Status> {
    if !turn.session.has_all_sets() {
        return Err(Status::INVALID_OPCODE.with_dnr());
    }
    let namespace = turn.subsystem.namespaces.programs_mut(nsid);
    namespace.ok_or(Status::INVALID_NAMESPACE.with_dnr())
}

/// Executes a management command.
pub(crate) fn manage(
    turn: &mut Turn<'_>,
    tag: Tag,
    nsid: Nsid,
    action: ProgramAction,
    pointer: DataPointer,
) -> Result<(), Status> {
    let namespace = named(turn, nsid)?;
    let mut result = 0;
    match action {
        ProgramAction::Load(load) => return begin_load(turn, tag, nsid, load, pointer),
        ProgramAction::Unload { program_index } => namespace.unload(program_index)?,
        ProgramAction::Activate { program_index, activate } => {
            namespace.activate(program_index, activate)?;
        }
        ProgramAction::CreateRangeSet { count } => {
            if count == 0 || count > RANGES_PER_SET_MAX {
                return Err(Status::MAXIMUM_MEMORY_RANGES_EXCEEDED.with_dnr());
            }
            let len = (usize::from(count) * size_of::<MemoryRangeDescriptor>()) as u64;
            let arrival = Arrival::Programs(ProgramsArrival::CreateRangeSet { count });
            return turn.fetch_data(tag, pointer, len, arrival);
        }
        ProgramAction::DeleteRangeSet { rsid } => namespace.delete_set(rsid)?,
        ProgramAction::Group(action) => result = manage_groups(turn, action)?,
    }
    turn.complete(tag, Status::SUCCESS, result);
    Ok(())
}

/// Job Group Management; returns dword 0. The groups are the drive's: every programs namespace names the same.
pub(crate) fn manage_groups(turn: &mut Turn<'_>, action: GroupAction) -> Result<u64, Status> {
    let engine = &mut turn.subsystem.engine;
    let checked = |fields: GroupFields| match (fields.weight, fields.priority) {
        (weight @ 1..=GROUP_WEIGHT_MAX, priority @ 0..=PRIORITY_MAX) => Ok(GroupSettings {
            weight,
            priority: if priority == 0 { DEFAULT_PRIORITY } else { priority },
            deadline: (fields.deadline_us > 0)
                .then(|| Duration::from_us(fields.deadline_us.into())),
            bandwidth: Bandwidth::from_bytes_per_s(u64::from(fields.bandwidth_kbps) * 1000),
            units_max: NonZeroU16::new(fields.units_max),
            affinity: Affinity::of_bits(fields.unit_mask),
        }),
        _ => Err(Status::INVALID_FIELD.with_dnr()),
    };
    let named = |group: u16| {
        let group = u8::try_from(group).map_err(|_| Status::INVALID_JOB_GROUP.with_dnr())?;
        Ok(GroupId(group))
    };
    let done = match action {
        GroupAction::Create(fields) => {
            engine.create_group(checked(fields)?).map(|group| group.0.into())
        }
        GroupAction::Delete { group } => engine.delete_group(named(group)?).map(|()| 0),
        GroupAction::Change(group, fields) => {
            engine.set_group(turn.now, named(group)?, checked(fields)?).map(|()| 0)
        }
    };
    match done {
        Ok(result) => Ok(result),
        Err(GroupError::Full) => Err(Status::MAXIMUM_JOB_GROUPS_EXCEEDED),
        Err(GroupError::NoUnit) => Err(Status::INVALID_FIELD.with_dnr()),
        Err(GroupError::Unknown) => Err(Status::INVALID_JOB_GROUP.with_dnr()),
        Err(GroupError::InUse) => Err(Status::JOB_GROUP_IN_USE),
    }
}

/// Starts a Load Program command.
fn begin_load(
    turn: &mut Turn<'_>,
    tag: Tag,
    nsid: Nsid,
    load: LoadProgram,
    pointer: DataPointer,
) -> Result<(), Status> {
    let len = u64::from(load.len);
    if load.program_index >= PROGRAM_SLOTS {
        return Err(Status::INVALID_PROGRAM_INDEX.with_dnr());
    }
    if let Err(text) = check_type(turn, &load) {
        named(turn, nsid)?.text.set_diagnostics(load.program_index, &text);
        return Err(Status::INVALID_PROGRAM_TYPE.with_dnr());
    }
    let bytes_max = turn.subsystem.config.transfer_bytes_max;
    if len == 0 || len > bytes_max || load.identifier_type > 1 {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    if u64::from(load.offset) + len > u64::from(load.program_bytes) {
        return Err(Status::PROGRAM_TOO_BIG.with_dnr());
    }
    turn.fetch_data(tag, pointer, len, Arrival::Programs(ProgramsArrival::Load(load)))
}

/// Whether the drive takes programs of this type, and with this run time. The error is text for the diagnostics log.
pub(crate) fn check_type(turn: &Turn<'_>, load: &LoadProgram) -> Result<(), String> {
    let native = &turn.subsystem.config.native;
    let (is_on, key) = match load.program_type {
        program_type::EBPF | program_type::DECLARED => return Ok(()),
        program_type::WASM => {
            return ShellKind::Wasm.check_run_time(load.run_time).map_err(str::to_owned);
        }
        program_type::NATIVE => (native.upload, "compute.native_upload = true"),
        program_type::NATIVE_FILE => {
            (!native.directory.is_empty(), "compute.native_directory = \"FOLDER\"")
        }
        other => return Err(format!("there are no programs of type {other:#x}")),
    };
    if !is_on {
        return Err(format!("this drive takes no such native programs: {key} lets it"));
    }
    ShellKind::Native.check_run_time(load.run_time).map_err(str::to_owned)
}

/// A piece of a program has arrived.
pub(super) fn program_arrived(
    turn: &mut Turn<'_>,
    tag: Tag,
    nsid: Nsid,
    segments: &Segments,
    load: &LoadProgram,
) -> Result<(), Status> {
    let mut bytes = vec![0; load.len as usize];
    segments.read(&*turn.host, &mut bytes)?;
    let namespace = named(turn, nsid)?;
    let whole = match namespace.load_piece(load, &bytes) {
        Ok(whole) => whole,
        Err(status) => {
            let (offset, index) = (load.offset, load.program_index);
            let text = format!(
                "piece at byte {offset} of program {index} refused: {}; pieces come in order, from offset 0, to an empty slot",
                status.name()
            );
            namespace.text.set_diagnostics(index, &text);
            return Err(status);
        }
    };
    if !whole {
        turn.complete(tag, Status::SUCCESS, 0);
        return Ok(());
    }
    let (loaders, wasm) = (turn.subsystem.programs.clone(), turn.subsystem.config.wasm.clone());
    let namespace = named(turn, nsid)?;
    let finished = namespace.finish_load(load.program_index, &loaders, &wasm);
    if let Err((status, text)) = finished {
        namespace.text.set_diagnostics(load.program_index, &text);
        return Err(status);
    }
    turn.complete(tag, Status::SUCCESS, 0);
    Ok(())
}

/// The descriptors of a new range set have arrived.
pub(super) fn range_set_arrived(
    turn: &mut Turn<'_>,
    tag: Tag,
    nsid: Nsid,
    segments: &Segments,
    count: u8,
) -> Result<(), Status> {
    let mut list = vec![0; usize::from(count) * size_of::<MemoryRangeDescriptor>()];
    segments.read(&*turn.host, &mut list)?;
    let set = resolve_ranges(turn, &list)?;
    let id = named(turn, nsid)?.add_set(set)?;
    turn.complete(tag, Status::SUCCESS, id.into());
    Ok(())
}

/// Turns range descriptors into ranges of device memory. Ranges are byte-granular and must
/// not overlap within a set.
pub(super) fn resolve_ranges(turn: &Turn<'_>, list: &[u8]) -> Result<RangeSet, Status> {
    let mut set = RangeSet::default();
    for entry in list.chunks_exact(size_of::<MemoryRangeDescriptor>()) {
        let entry = MemoryRangeDescriptor::read_from_bytes(entry).expect("32 bytes each");
        let nsid = Nsid(entry.nsid.get());
        let namespace = turn.subsystem.namespaces.memory(nsid);
        let namespace = namespace.ok_or(Status::INVALID_MEMORY_NAMESPACE.with_dnr())?;
        let extent = namespace.extent(entry.start.get(), entry.length.get().into());
        let extent = extent.map_err(|_| Status::INVALID_MEMORY_RANGE_SET.with_dnr())?;
        let (offset, len) = (extent.start, extent.len);
        let mut others = set.ranges.iter().zip(&set.nsids).filter(|(_, other)| **other == nsid);
        if others.any(|(r, _)| offset < r.offset + r.len && r.offset < extent.end()) {
            return Err(Status::OVERLAPPING_MEMORY_RANGES.with_dnr());
        }
        let memory = namespace.memory.clone();
        set.ranges.push(Range { memory, offset, len, writable: true });
        set.nsids.push(nsid);
    }
    if set.ranges.len() > usize::from(RANGES_PER_SET_MAX) {
        return Err(Status::MAXIMUM_MEMORY_RANGES_EXCEEDED.with_dnr());
    }
    Ok(set)
}

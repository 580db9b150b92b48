//! FEMU's dialect: its commands for computational storage, which CEMU's hosts send, too, done by the same parts of the drive as the
//! standard's. Programs and job groups are those of the first programs namespace; memory is the drive's own
//! ([`OwnMemory`](crate::own_memory::OwnMemory)), and is named by identifiers that the drive gives out (AFDM).

mod memory;
mod programs;

use std::collections::BTreeMap;
use std::sync::Arc;

use nvme_spec::command::MemoryRangeDescriptor;
use nvme_spec::{Nsid, Status, SubmissionEntry};

use crate::command::{ExecuteProgram, FemuAdminCommand, FemuCommand, FemuLoad};
use crate::data_pointer::{DataPointer, Segments};
use crate::event::Tag;
use crate::extent::Extent;
use crate::namespace::nvm::NvmNamespace;
use crate::namespace::programs::manage::manage_groups;
use crate::own_memory::Allocation;
use crate::turn::Turn;

pub(crate) use programs::FemuEnd;

/// What hosts of this dialect made.
#[derive(Debug)]
pub(crate) struct Femu {
    /// Allocated memory, by identifier.
    allocations: BTreeMap<u32, Arc<Allocation>>,
    next_allocation: u32,
    /// Memory range sets, as they were given: identifiers are looked up when a program is executed.
    sets: BTreeMap<u16, Vec<MemoryRangeDescriptor>>,
    /// Pieces of what programs are loaded from.
    loading: BTreeMap<u16, Vec<u8>>,
}

impl Default for Femu {
    fn default() -> Self {
        Self {
            allocations: BTreeMap::new(),
            next_allocation: 1,
            sets: BTreeMap::new(),
            loading: BTreeMap::new(),
        }
    }
}

impl Femu {
    fn allocation(&self, id: u32) -> Result<&Arc<Allocation>, Status> {
        self.allocations.get(&id).ok_or(Status::INVALID_FIELD.with_dnr())
    }
}

/// What a command does when the data it waits for has arrived.
#[derive(Debug)]
pub(crate) enum FemuArrival {
    Write { to: Arc<Allocation>, extent: Extent },
    Execute(ExecuteProgram),
    CreateRangeSet { count: u8 },
    Load(FemuLoad),
}

/// What hosts of this dialect made; only where the drive speaks it.
fn state<'a>(turn: &'a mut Turn<'_>) -> &'a mut Femu {
    turn.subsystem.femu.as_mut().expect("the drive speaks the dialect of its commands")
}

/// The namespace with the programs of this dialect.
fn programs_nsid(turn: &Turn<'_>) -> Result<Nsid, Status> {
    let first = turn.subsystem.namespaces.first_programs();
    first.ok_or(Status::INVALID_OPCODE.with_dnr())
}

/// Begins an I/O command, for a namespace that is open.
pub(crate) fn begin(
    turn: &mut Turn<'_>,
    tag: Tag,
    namespace: &NvmNamespace,
    entry: &SubmissionEntry,
) -> Result<(), Status> {
    turn.check_no_sanitize()?;
    let pointer = DataPointer::of(entry);
    let result = match FemuCommand::decode(entry)? {
        FemuCommand::Allocate { bytes } => memory::allocate(turn, bytes)?,
        FemuCommand::Deallocate { id } => {
            let gone = state(turn).allocations.remove(&id);
            gone.map(|_| 0).ok_or(Status::INVALID_FIELD.with_dnr())?
        }
        FemuCommand::Copy { first, count, id, offset } => {
            return memory::copy(turn, tag, namespace, (first, count), (id, offset));
        }
        FemuCommand::Read(part) => return memory::read(turn, tag, part, pointer),
        FemuCommand::Write(part) => return memory::write(turn, tag, part, pointer),
        FemuCommand::Execute(command) => return programs::execute(turn, tag, command, pointer),
        FemuCommand::Group(action) => manage_groups(turn, action)?,
    };
    turn.complete(tag, Status::SUCCESS, result);
    Ok(())
}

/// Begins an admin command.
pub(crate) fn begin_admin(
    turn: &mut Turn<'_>,
    tag: Tag,
    command: FemuAdminCommand,
    pointer: DataPointer,
) -> Result<(), Status> {
    turn.check_no_sanitize()?;
    programs::manage(turn, tag, command, pointer)
}

/// Goes on with a command whose data has arrived.
pub(crate) fn arrived(
    turn: &mut Turn<'_>,
    tag: Tag,
    segments: &Segments,
    arrival: FemuArrival,
) -> Result<(), Status> {
    match arrival {
        FemuArrival::Write { to, extent } => memory::written(turn, tag, segments, &to, extent),
        FemuArrival::Execute(command) => programs::start(turn, tag, segments, command),
        FemuArrival::CreateRangeSet { count } => {
            programs::range_set_arrived(turn, tag, segments, count)
        }
        FemuArrival::Load(load) => programs::load_arrived(turn, tag, segments, &load),
    }
}

//! The compute namespace: program slots, memory range sets, executions.
//!
//! A program or range set is in use while a lease on it exists; leases travel with the command and
//! with its work item, so a worker that still runs keeps them in use even after a reset.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use compute::{Finished, GroupError, GroupId, JobId, Work};
use ebpf::{FaultKind, Invocation, Program, Range};
use nvme_spec::command::{MemoryRangeDescriptor, program_type};
use nvme_spec::{Status, SubmissionEntry};
use simtime::{Duration, Instant};
use zerocopy::FromBytes;

use crate::command::{ExecuteProgram, GroupAction, LoadProgram, ProgramCommand};
use crate::config::RunTimeModel;
use crate::controller::Controller;
use crate::data_pointer::{DataPointer, Direction, Segments};
use crate::host_memory::HostMemory;
use crate::inflight::{Activity, Arrival, RunRecord, RunningJob, StopOnDrop, Tag};
use crate::limits::{
    ACTIVATIONS_MAX, GROUP_WEIGHT_MAX, PROGRAM_BYTES_MAX, PROGRAM_SLOTS, RANGE_SETS_MAX,
    RANGES_PER_SET_MAX,
};
use crate::namespace::MEMORY_NSID;
use crate::work::{WorkDone, WorkItem};

/// What a slot holds once all pieces of it have arrived.
#[derive(Clone, Debug)]
pub(crate) enum LoadedProgram {
    Ebpf(Program),
    /// Runs nothing and takes a declared time.
    Declared(Duration),
}

/// The right to use a program; while one exists the program is in use.
#[derive(Clone, Debug)]
pub(crate) struct ProgramLease {
    program: LoadedProgram,
    declared: Option<Duration>,
    #[expect(dead_code, reason = "counted, not read")]
    in_use: Arc<()>,
}

/// A program slot that is not empty.
#[derive(Debug)]
pub(crate) struct ProgramSlot {
    pub(crate) program_type: u8,
    pub(crate) identifier_type: u8,
    pub(crate) identifier: u64,
    pub(crate) active: bool,
    declared: Option<Duration>,
    total: u32,
    bytes: Vec<u8>,
    program: Option<LoadedProgram>,
    in_use: Arc<()>,
}

impl ProgramSlot {
    fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.in_use) > 1
    }
}

/// True if an execution or its worker uses a range set.
pub(crate) fn is_in_use(set: &Arc<Vec<Range>>) -> bool {
    Arc::strong_count(set) > 1
}

/// Programs and range sets.
#[derive(Debug, Default)]
pub(crate) struct ComputeNamespace {
    pub(crate) slots: BTreeMap<u16, ProgramSlot>,
    pub(crate) sets: BTreeMap<u16, Arc<Vec<Range>>>,
}

impl ComputeNamespace {
    /// Takes one piece of a program; true when it was the last.
    fn load_piece(&mut self, load: &LoadProgram, bytes: &[u8]) -> Result<bool, Status> {
        let others = self.slots.iter().filter(|(i, _)| **i != load.program_index);
        let used: u64 = others.map(|(_, s)| u64::from(s.total)).sum();
        if used + u64::from(load.program_bytes) > PROGRAM_BYTES_MAX {
            return Err(Status::MAXIMUM_PROGRAM_BYTES_EXCEEDED);
        }
        let unfinished = |slot: &ProgramSlot| slot.program.is_none();
        if load.offset == 0 && self.slots.get(&load.program_index).is_some_and(unfinished) {
            // The first piece begins a load anew, whatever became of the one before.
            self.slots.remove(&load.program_index);
        }
        let slot = self.slots.entry(load.program_index).or_insert_with(|| ProgramSlot {
            program_type: load.program_type,
            identifier_type: load.identifier_type,
            identifier: load.identifier,
            active: false,
            declared: declared(load.declared_ns),
            total: load.program_bytes,
            bytes: Vec::new(),
            program: None,
            in_use: Arc::new(()),
        });
        if slot.program.is_some() {
            return Err(Status::PROGRAM_IN_USE.with_dnr());
        }
        let continues = slot.total == load.program_bytes
            && slot.program_type == load.program_type
            && slot.bytes.len() == load.offset as usize;
        if !continues {
            // Pieces come in order; a piece out of order drops what came before it.
            self.slots.remove(&load.program_index);
            return Err(Status::INVALID_PROGRAM_DATA.with_dnr());
        }
        slot.bytes.extend(bytes);
        Ok(slot.bytes.len() == slot.total as usize)
    }

    /// All pieces are here: make a program of them. The error is text for the diagnostics log.
    fn finish_load(&mut self, index: u16) -> Result<(), String> {
        let Some(slot) = self.slots.get_mut(&index) else { return Ok(()) };
        let bytes = std::mem::take(&mut slot.bytes);
        let program = match slot.program_type {
            program_type::DECLARED => match <[u8; 8]>::try_from(bytes.as_slice()) {
                Ok(ns) => Ok(LoadedProgram::Declared(Duration::from_ns(u64::from_le_bytes(ns)))),
                Err(_) => Err(format!(
                    "a declared-time program is 8 bytes, its run time in ns; got {}",
                    bytes.len()
                )),
            },
            _ => Program::load(&bytes, None).map(LoadedProgram::Ebpf).map_err(|e| e.to_string()),
        };
        match program {
            Ok(program) => slot.program = Some(program),
            Err(text) => {
                self.slots.remove(&index);
                return Err(text);
            }
        }
        Ok(())
    }

    fn slot(&mut self, index: u16) -> Result<&mut ProgramSlot, Status> {
        if index >= PROGRAM_SLOTS {
            return Err(Status::INVALID_PROGRAM_INDEX.with_dnr());
        }
        self.slots.get_mut(&index).ok_or(Status::NO_PROGRAM.with_dnr())
    }

    /// True while an execution or a worker of one, also of one that a reset forgot, may touch
    /// device memory.
    pub(crate) fn is_running_programs(&self) -> bool {
        self.slots.values().any(ProgramSlot::is_in_use)
    }

    /// Empties a slot.
    pub(crate) fn unload(&mut self, index: u16) -> Result<(), Status> {
        let slot = self.slot(index)?;
        if slot.active || slot.is_in_use() {
            return Err(Status::PROGRAM_IN_USE);
        }
        self.slots.remove(&index);
        Ok(())
    }

    /// Activates or deactivates a program.
    pub(crate) fn activate(&mut self, index: u16, activate: bool) -> Result<(), Status> {
        let active = self.slots.values().filter(|s| s.active).count();
        let slot = self.slot(index)?;
        match (activate, slot.active) {
            (true, false) if slot.program.is_none() => Err(Status::INVALID_PROGRAM_DATA.with_dnr()),
            (true, false) if active >= usize::from(ACTIVATIONS_MAX) => {
                Err(Status::MAXIMUM_PROGRAMS_ACTIVATED)
            }
            (false, true) if slot.is_in_use() => Err(Status::PROGRAM_IN_USE),
            (false, false) => Err(Status::PROGRAM_NOT_ACTIVATED.with_dnr()),
            _ => {
                slot.active = activate;
                Ok(())
            }
        }
    }

    fn lease(&mut self, index: u16) -> Result<ProgramLease, Status> {
        let slot = self.slot(index)?;
        match &slot.program {
            Some(program) if slot.active => Ok(ProgramLease {
                program: program.clone(),
                declared: slot.declared,
                in_use: Arc::clone(&slot.in_use),
            }),
            _ => Err(Status::PROGRAM_NOT_ACTIVATED.with_dnr()),
        }
    }

    /// Keeps a range set under the lowest free identifier from 1; 0 means "no set".
    fn add_set(&mut self, ranges: Vec<Range>) -> Result<u16, Status> {
        let free = (1..=RANGE_SETS_MAX).find(|id| !self.sets.contains_key(id));
        let id = free.ok_or(Status::MAXIMUM_MEMORY_RANGE_SETS_EXCEEDED)?;
        self.sets.insert(id, Arc::new(ranges));
        Ok(id)
    }

    /// Deletes a range set.
    pub(crate) fn delete_set(&mut self, id: u16) -> Result<(), Status> {
        let unknown = Status::INVALID_MEMORY_RANGE_SET_ID.with_dnr();
        let set = self.sets.get(&id).ok_or(unknown)?;
        if is_in_use(set) {
            return Err(Status::MEMORY_RANGE_SET_IN_USE);
        }
        self.sets.remove(&id);
        Ok(())
    }
}

/// When a job's run time becomes known, and what it is if it is declared.
enum RunTime {
    Known(Duration),
    WhenRun(Option<Duration>),
}

/// A declared time of the wire: 0 = none.
fn declared(ns: u32) -> Option<Duration> {
    (ns != 0).then(|| Duration::from_ns(ns.into()))
}

impl Controller {
    /// Executes a command of the Computational Programs command set.
    pub(crate) fn programs(
        &mut self,
        now: Instant,
        host: &mut impl HostMemory,
        tag: Tag,
        entry: &SubmissionEntry,
    ) -> Result<(), Status> {
        let ProgramCommand::Execute(command) = ProgramCommand::decode(entry)?;
        if command.data_len > self.config.transfer_bytes_max {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        if !self.engine.has_group(GroupId(command.group)) {
            return Err(Status::INVALID_JOB_GROUP.with_dnr());
        }
        let lease = self.compute.lease(command.program_index)?;
        let set = match command.rsid {
            0 => None,
            id => {
                let set = self.compute.sets.get(&id);
                Some(Arc::clone(set.ok_or(Status::INVALID_MEMORY_RANGE_SET_ID.with_dnr())?))
            }
        };
        let (pointer, len) = (DataPointer::of(entry), command.data_len);
        let segments = Segments::resolve(host, pointer, len, Direction::FromHost)?;
        let arrival = Box::new(Arrival::Execute { command, lease, set });
        self.expect_data(now, tag, command.data_len, Activity::Arriving { segments, arrival });
        Ok(())
    }

    /// Executes a Job Group Management command; returns dword 0.
    pub(crate) fn manage_groups(&mut self, action: GroupAction) -> Result<u64, Status> {
        let checked = |weight: u16| match weight {
            1..=GROUP_WEIGHT_MAX => Ok(weight),
            _ => Err(Status::INVALID_FIELD.with_dnr()),
        };
        let named = |group: u16| {
            let group = u8::try_from(group).map_err(|_| Status::INVALID_JOB_GROUP.with_dnr())?;
            Ok(GroupId(group))
        };
        let done = match action {
            GroupAction::Create { weight } => {
                let group = self.engine.create_group(checked(weight)?);
                let group = group.ok_or(Status::MAXIMUM_JOB_GROUPS_EXCEEDED)?;
                return Ok(group.0.into());
            }
            GroupAction::Delete { group } => self.engine.delete_group(named(group)?),
            GroupAction::Change { group, weight } => {
                self.engine.set_group_weight(named(group)?, checked(weight)?)
            }
        };
        match done {
            Ok(()) => Ok(0),
            Err(GroupError::Unknown) => Err(Status::INVALID_JOB_GROUP.with_dnr()),
            Err(GroupError::InUse) => Err(Status::JOB_GROUP_IN_USE),
        }
    }

    /// Starts a Load Program command.
    pub(crate) fn load_program(
        &mut self,
        now: Instant,
        host: &impl HostMemory,
        tag: Tag,
        (load, pointer): (LoadProgram, DataPointer),
    ) -> Result<(), Status> {
        let len = u64::from(load.len);
        if load.program_index >= PROGRAM_SLOTS {
            return Err(Status::INVALID_PROGRAM_INDEX.with_dnr());
        }
        if !matches!(load.program_type, program_type::EBPF | program_type::DECLARED) {
            return Err(Status::INVALID_PROGRAM_TYPE.with_dnr());
        }
        if len == 0 || len > self.config.transfer_bytes_max || load.identifier_type > 1 {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        if u64::from(load.offset) + len > u64::from(load.program_bytes) {
            return Err(Status::PROGRAM_TOO_BIG.with_dnr());
        }
        let segments = Segments::resolve(host, pointer, len, Direction::FromHost)?;
        let arrival = Box::new(Arrival::LoadProgram(load));
        self.expect_data(now, tag, len, Activity::Arriving { segments, arrival });
        Ok(())
    }

    /// A piece of a program has arrived.
    pub(crate) fn program_arrived(
        &mut self,
        now: Instant,
        host: &impl HostMemory,
        tag: Tag,
        segments: &Segments,
        load: &LoadProgram,
    ) -> Result<(), Status> {
        let mut bytes = vec![0; load.len as usize];
        segments.read(host, &mut bytes)?;
        let piece = self.compute.load_piece(load, &bytes);
        let whole = piece.inspect_err(|status| {
            let (offset, index) = (load.offset, load.program_index);
            let text = format!("piece at byte {offset} of program {index} refused: {}; pieces come in order, from offset 0, to an empty slot", status.name());
            self.logs.set_diagnostics(index, &text);
        })?;
        if whole && let Err(text) = self.compute.finish_load(load.program_index) {
            self.logs.set_diagnostics(load.program_index, &text);
            return Err(Status::INVALID_PROGRAM_DATA.with_dnr());
        }
        self.complete(now, tag, Status::SUCCESS, 0);
        Ok(())
    }

    /// The descriptors of a new range set have arrived.
    pub(crate) fn range_set_arrived(
        &mut self,
        now: Instant,
        host: &impl HostMemory,
        tag: Tag,
        segments: &Segments,
        count: u8,
    ) -> Result<(), Status> {
        let mut list = vec![0; usize::from(count) * size_of::<MemoryRangeDescriptor>()];
        segments.read(host, &mut list)?;
        let ranges = self.resolve_ranges(&list)?;
        let id = self.compute.add_set(ranges)?;
        self.complete(now, tag, Status::SUCCESS, id.into());
        Ok(())
    }

    /// Turns range descriptors into ranges of device memory. Ranges are byte-granular and must
    /// not overlap within a set.
    fn resolve_ranges(&self, list: &[u8]) -> Result<Vec<Range>, Status> {
        let mut ranges: Vec<Range> = Vec::new();
        for entry in list.chunks_exact(size_of::<MemoryRangeDescriptor>()) {
            let entry = MemoryRangeDescriptor::read_from_bytes(entry).expect("32 bytes each");
            if entry.nsid.get() != MEMORY_NSID {
                return Err(Status::INVALID_MEMORY_NAMESPACE.with_dnr());
            }
            let (offset, len) = (entry.start.get(), u64::from(entry.length.get()));
            let end = offset.checked_add(len);
            let Some(end) = end.filter(|&end| end <= self.memory.len()) else {
                return Err(Status::INVALID_MEMORY_RANGE_SET.with_dnr());
            };
            if ranges.iter().any(|r| offset < r.offset + r.len && r.offset < end) {
                return Err(Status::OVERLAPPING_MEMORY_RANGES.with_dnr());
            }
            let memory = Arc::clone(&self.memory);
            ranges.push(Range { memory, offset, len, writable: true });
        }
        if ranges.len() > usize::from(RANGES_PER_SET_MAX) {
            return Err(Status::MAXIMUM_MEMORY_RANGES_EXCEEDED.with_dnr());
        }
        Ok(ranges)
    }

    /// An execution's data buffer has arrived: resolve the ranges, queue the job.
    pub(crate) fn execute_arrived(
        &mut self,
        now: Instant,
        host: &impl HostMemory,
        tag: Tag,
        segments: &Segments,
        (command, lease, set): (ExecuteProgram, ProgramLease, Option<Arc<Vec<Range>>>),
    ) -> Result<(), Status> {
        // It may have been deleted while the data came.
        let group = GroupId(command.group);
        if !self.engine.has_group(group) {
            return Err(Status::INVALID_JOB_GROUP.with_dnr());
        }
        let mut data = vec![0; command.data_len as usize];
        segments.read(host, &mut data)?;
        let descriptors = command.inline_ranges * size_of::<MemoryRangeDescriptor>();
        let inline = self.resolve_ranges(&data[..descriptors])?;
        data.drain(..descriptors);
        let ranges = match &set {
            Some(set) => set.to_vec(),
            None => inline,
        };
        let given = declared(command.declared_ns).or(lease.declared);
        let cost = match (&lease.program, self.config.run_time) {
            (LoadedProgram::Declared(time), _) => RunTime::Known(given.unwrap_or(*time)),
            (_, RunTimeModel::Declared) => {
                RunTime::WhenRun(Some(given.unwrap_or(self.config.declared_time)))
            }
            (_, RunTimeModel::Instructions) => RunTime::WhenRun(None),
        };
        let stop = Arc::new(AtomicBool::new(false));
        if let LoadedProgram::Ebpf(program) = &lease.program {
            let bytes: u64 = ranges.iter().map(|r| r.len).sum();
            let per_byte = self.config.instruction_budget_per_byte.saturating_mul(bytes);
            let invocation = Invocation {
                ranges,
                param1: command.param1 as i64,
                param2: command.param2 as i64,
                data,
                stop: Some(Arc::clone(&stop)),
                budget: self.config.instruction_budget.saturating_add(per_byte),
            };
            let (program, lease) = (program.clone(), lease.clone());
            self.outbox.work.push(WorkItem { job: tag.0, program, invocation, lease });
        }
        // A job whose program runs has no cost until it ran: it cannot end without its result.
        let (known, declared) = match cost {
            RunTime::Known(time) => (Some(time), None),
            RunTime::WhenRun(declared) => (None, declared),
        };
        self.engine.submit(now, JobId(tag.0), group, known);
        let job =
            RunningJob { _in_use: (lease, set), declared, outcome: None, stop: StopOnDrop(stop) };
        self.set_activity(tag, Activity::Running(Box::new(job)));
        Ok(())
    }

    /// A work item has run: its result waits for the job's modelled end.
    pub(crate) fn job_ran(&mut self, now: Instant, done: WorkDone) {
        let tag = Tag(done.job);
        let Some(command) = self.inflight.get_mut(tag) else { return };
        let Activity::Running(job) = &mut command.activity else { return };
        let counts = &done.outcome.counts;
        let bytes = counts.bytes_loaded + counts.bytes_stored;
        let work = Work { instructions: counts.instructions, bytes };
        if let Some(timeline) = &mut command.timeline {
            timeline.run = Some(RunRecord { work });
        }
        job.outcome = Some(done.outcome);
        let cost = job.declared.unwrap_or_else(|| self.config.cost.time_for(&work));
        self.engine.set_cost(now, JobId(tag.0), cost);
    }

    /// A job's modelled run time is over.
    pub(crate) fn job_finished(&mut self, finished: Finished) {
        let tag = Tag(finished.job.0);
        let Some(command) = self.inflight.get_mut(tag) else { return };
        let activity = std::mem::replace(&mut command.activity, Activity::Completing);
        let Activity::Running(job) = activity else {
            unreachable!("a job finished for a command that does not run")
        };
        command.late = finished.late;
        if let Some(timeline) = &mut command.timeline {
            timeline.job_ended(finished.at, finished.waited, finished.ran);
        }
        let Some(outcome) = job.outcome else {
            // A declared-time program: nothing ran.
            return self.complete(finished.at, tag, Status::SUCCESS, 0);
        };
        self.logs.append_trace(&outcome.trace);
        match outcome.result {
            Ok(result) => self.complete(finished.at, tag, Status::SUCCESS, result),
            Err(fault) => {
                self.logs.set_diagnostics(u16::MAX, &fault.to_string());
                let status = match fault.kind {
                    FaultKind::Memory(_) => Status::PROGRAM_MEMORY_FAULT,
                    FaultKind::Budget(_) => Status::PROGRAM_BUDGET_EXCEEDED,
                    FaultKind::CallDepth => Status::PROGRAM_CALL_DEPTH_EXCEEDED,
                    FaultKind::Helper { .. } => Status::PROGRAM_HELPER_FAULT,
                    // Nobody stops runs whose result is still wanted.
                    FaultKind::Host(_) | FaultKind::Stopped => Status::INTERNAL_ERROR,
                };
                self.complete(finished.at, tag, status.with_dnr(), 0);
            }
        }
    }
}

// The engine's classes and the cost model's are the same list; `Work` copies them by position.
const _: () = assert!(ebpf::isa::InstructionClass::ALL.len() == compute::WorkClass::ALL.len());

//! Execute Program: from the command to the job on the compute units, and to the result.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use compute::{Finished, GroupId, JobId, Work};
use ebpf::{FaultKind, Invocation};
use nvme_spec::command::MemoryRangeDescriptor;
use nvme_spec::{Nsid, Status, SubmissionEntry};
use records::JobRecord;
use simtime::Duration;

use super::manage::{program_arrived, range_set_arrived, resolve_ranges};
use super::{
    LoadedProgram, ProgramLease, ProgramsArrival, RangeSet, RunningJob, StopOnDrop, declared,
};
use crate::command::{ExecuteProgram, ProgramCommand};
use crate::config::RunTimeModel;
use crate::data_pointer::{DataPointer, Segments};
use crate::event::Tag;
use crate::turn::Turn;
use crate::waiting::{Arrival, Waiting};
use crate::work::{WorkDone, WorkItem};

/// When a job's run time becomes known, and what it is if it is declared.
enum RunTime {
    Known(Duration),
    WhenRun(Option<Duration>),
}

/// Begins a command of the Computational Programs command set.
pub(crate) fn begin(
    turn: &mut Turn<'_>,
    tag: Tag,
    nsid: Nsid,
    entry: &SubmissionEntry,
) -> Result<(), Status> {
    let ProgramCommand::Execute(command) = ProgramCommand::decode(entry)?;
    if command.data_len > turn.subsystem.config.transfer_bytes_max {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    if !turn.subsystem.engine.has_group(GroupId(command.group)) {
        return Err(Status::INVALID_JOB_GROUP.with_dnr());
    }
    let namespace = turn.subsystem.namespaces.programs(nsid);
    let namespace = namespace.ok_or(Status::INVALID_NAMESPACE.with_dnr())?;
    let lease = namespace.lease(command.program_index)?;
    let set = match command.rsid {
        0 => None,
        id => {
            let set = namespace.sets.get(&id);
            Some(Arc::clone(set.ok_or(Status::INVALID_MEMORY_RANGE_SET_ID.with_dnr())?))
        }
    };
    let arrival = Arrival::Programs(ProgramsArrival::Execute { command, lease, set });
    turn.fetch_data(tag, DataPointer::of(entry), command.data_len, arrival)
}

/// Goes on with a command whose data has arrived.
pub(crate) fn arrived(
    turn: &mut Turn<'_>,
    tag: Tag,
    nsid: Nsid,
    segments: &Segments,
    arrival: ProgramsArrival,
) -> Result<(), Status> {
    match arrival {
        ProgramsArrival::Load(load) => program_arrived(turn, tag, nsid, segments, &load),
        ProgramsArrival::CreateRangeSet { count } => {
            range_set_arrived(turn, tag, nsid, segments, count)
        }
        ProgramsArrival::Execute { command, lease, set } => {
            queue_job(turn, tag, segments, command, lease, set)
        }
    }
}

/// An execution's data buffer has arrived: resolve the ranges, queue the job.
fn queue_job(
    turn: &mut Turn<'_>,
    tag: Tag,
    segments: &Segments,
    command: ExecuteProgram,
    lease: ProgramLease,
    set: Option<Arc<RangeSet>>,
) -> Result<(), Status> {
    // It may have been deleted while the data came.
    let group = GroupId(command.group);
    if !turn.subsystem.engine.has_group(group) {
        return Err(Status::INVALID_JOB_GROUP.with_dnr());
    }
    let mut data = vec![0; command.data_len as usize];
    segments.read(&*turn.host, &mut data)?;
    let descriptors = command.inline_ranges * size_of::<MemoryRangeDescriptor>();
    let inline = resolve_ranges(turn, &data[..descriptors])?;
    data.drain(..descriptors);
    let ranges = match &set {
        Some(set) => set.ranges.clone(),
        None => inline.ranges,
    };
    let config = &turn.subsystem.config;
    let given = declared(command.declared_ns).or(lease.declared);
    let cost = match (&lease.program, config.run_time) {
        (LoadedProgram::Declared(time), _) => RunTime::Known(given.unwrap_or(*time)),
        (_, RunTimeModel::Declared) => {
            RunTime::WhenRun(Some(given.unwrap_or(config.declared_time)))
        }
        (_, RunTimeModel::Instructions) => RunTime::WhenRun(None),
    };
    let stop = Arc::new(AtomicBool::new(false));
    if let LoadedProgram::Ebpf(program) = &lease.program {
        let bytes: u64 = ranges.iter().map(|r| r.len).sum();
        let per_byte = config.instruction_budget_per_byte.saturating_mul(bytes);
        let invocation = Invocation {
            ranges,
            param1: command.param1 as i64,
            param2: command.param2 as i64,
            data,
            stop: Some(Arc::clone(&stop)),
            budget: config.instruction_budget.saturating_add(per_byte),
        };
        let (program, lease) = (program.clone(), lease.clone());
        turn.subsystem.outbox.work.push(WorkItem { job: tag.0, program, invocation, lease });
    }
    // A job whose program runs has no cost until it ran: it cannot end without its result.
    let (known, declared) = match cost {
        RunTime::Known(time) => (Some(time), None),
        RunTime::WhenRun(declared) => (None, declared),
    };
    turn.subsystem.engine.submit(turn.now, JobId(tag.0), group, known);
    let program = command.program_index;
    let (outcome, stop) = (None, StopOnDrop(stop));
    let job = RunningJob { _in_use: (lease, set), group, program, declared, outcome, stop };
    turn.wait(tag, Waiting::Job(Box::new(job)));
    Ok(())
}

/// A work item has run: its result waits for the job's modelled end.
pub(crate) fn job_ran(turn: &mut Turn<'_>, done: WorkDone) {
    let tag = Tag(done.job);
    let Some(command) = turn.session.inflight.get_mut(tag) else { return };
    let Waiting::Job(job) = &mut command.waiting else { return };
    let counts = &done.outcome.counts;
    let bytes = counts.bytes_loaded + counts.bytes_stored;
    let work = Work { instructions: counts.instructions, bytes };
    if let Some(timeline) = &mut command.timeline {
        timeline.work = work;
    }
    job.outcome = Some(done.outcome);
    let subsystem = &mut *turn.subsystem;
    let cost = job.declared.unwrap_or_else(|| subsystem.config.cost.time_for(&work));
    subsystem.engine.set_cost(turn.now, JobId(tag.0), cost);
}

/// A job's modelled run time is over.
pub(crate) fn job_finished(turn: &mut Turn<'_>, finished: Finished) {
    let tag = Tag(finished.job.0);
    let Some(command) = turn.session.inflight.get_mut(tag) else { return };
    let Waiting::Job(job) = command.take_waiting() else {
        unreachable!("a job finished for a command that does not run")
    };
    command.late = finished.late;
    if let Some(timeline) = &mut command.timeline {
        timeline.job_ended(finished.at, finished.waited, finished.ran);
    }
    let nsid = command.kind.nsid;
    if let Some(timeline) = &command.timeline {
        let Finished { at, waited, ran, .. } = finished;
        turn.subsystem.records.jobs.push(JobRecord {
            command: tag.0,
            submitted_ns: at.as_ns() - (waited + ran).as_ns(),
            ended_ns: at.as_ns(),
            waited_ns: waited.as_ns(),
            ran_ns: ran.as_ns(),
            instructions: timeline.work.instructions,
            bytes: timeline.work.bytes,
            group: job.group.0.into(),
            program: job.program.into(),
        });
    }
    let Some(outcome) = job.outcome else {
        // A declared-time program: nothing ran.
        return turn.complete_at(finished.at, tag, Status::SUCCESS, 0);
    };
    let namespace = turn.subsystem.namespaces.programs_mut(nsid);
    let text = &mut namespace.expect("a namespace outlives its commands").text;
    text.append_trace(&outcome.trace);
    match outcome.result {
        Ok(result) => turn.complete_at(finished.at, tag, Status::SUCCESS, result),
        Err(fault) => {
            text.set_diagnostics(u16::MAX, &fault.to_string());
            let status = match fault.kind {
                FaultKind::Memory(_) => Status::PROGRAM_MEMORY_FAULT,
                FaultKind::Budget(_) => Status::PROGRAM_BUDGET_EXCEEDED,
                FaultKind::CallDepth => Status::PROGRAM_CALL_DEPTH_EXCEEDED,
                FaultKind::Helper { .. } => Status::PROGRAM_HELPER_FAULT,
                // Nobody stops runs whose result is still wanted.
                FaultKind::Host(_) | FaultKind::Stopped => Status::INTERNAL_ERROR,
            };
            turn.complete_at(finished.at, tag, status.with_dnr(), 0);
        }
    }
}

// The engine's classes and the cost model's are the same list; `Work` copies them by position.
const _: () = assert!(ebpf::isa::InstructionClass::ALL.len() == compute::WorkClass::ALL.len());

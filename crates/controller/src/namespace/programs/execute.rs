//! Execute Program: from the command to the job on the compute units, and to the result.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use compute::{Cost, Finished, GroupId, JobId, Work};
use ebpf::{CpuTime, Invocation, Range};
use nvme_spec::command::{MemoryRangeDescriptor, RunTime};
use nvme_spec::{Nsid, Status, SubmissionEntry};
use records::JobRecord;
use simtime::Instant;

use super::early::EarlyInput;
use super::manage::{program_arrived, range_set_arrived, resolve_ranges};
use super::run_time::{CostSource, declared};
use super::{
    LoadedProgram, ProgramLease, ProgramsArrival, RangeSet, RunningJob, ShellKind, StopOnDrop,
    Worked, stream,
};
use crate::command::{CompoundProgram, ExecuteProgram, ProgramCommand, StreamProgram};
use crate::data_pointer::{DataPointer, Segments};
use crate::event::Tag;
use crate::femu::FemuEnd;
use crate::turn::Turn;
use crate::waiting::{Arrival, Waiting};
use crate::work::{NoAnswer, Task, WorkDone, WorkItem};

/// Begins a command of the Computational Programs command set.
pub(crate) fn begin(
    turn: &mut Turn<'_>,
    tag: Tag,
    nsid: Nsid,
    entry: &SubmissionEntry,
) -> Result<(), Status> {
    let decoded = ProgramCommand::decode(entry)?;
    let command = match decoded {
        ProgramCommand::Execute(command) => command,
        ProgramCommand::Stream(StreamProgram { execute, .. })
        | ProgramCommand::Compound(CompoundProgram { execute, .. }) => execute,
    };
    if command.data_len > turn.subsystem.config.transfer_bytes_max {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    if !turn.subsystem.engine.has_group(GroupId(command.group)) {
        return Err(Status::INVALID_JOB_GROUP.with_dnr());
    }
    let namespace = turn.subsystem.namespaces.programs_mut(nsid);
    let namespace = namespace.ok_or(Status::INVALID_NAMESPACE.with_dnr())?;
    if !matches!(decoded, ProgramCommand::Execute(_)) {
        // What the log says after it is about this command, whatever its status.
        namespace.text.diagnostics.clear();
    }
    let lease = namespace.lease(command.program_index)?;
    let set = match command.rsid {
        0 => None,
        id => {
            let set = namespace.sets.get(&id);
            Some(Arc::clone(set.ok_or(Status::INVALID_MEMORY_RANGE_SET_ID.with_dnr())?))
        }
    };
    let arrival = match decoded {
        ProgramCommand::Execute(command) => ProgramsArrival::Execute { command, lease, set },
        ProgramCommand::Stream(command) => {
            let set = set.ok_or(Status::INVALID_MEMORY_RANGE_SET_ID.with_dnr())?;
            ProgramsArrival::Stream { command, lease, set }
        }
        ProgramCommand::Compound(command) => {
            let pointer = DataPointer::of(entry);
            return stream::compound::begin(turn, tag, command, lease, set, pointer);
        }
    };
    turn.fetch_data(tag, DataPointer::of(entry), command.data_len, Arrival::Programs(arrival))
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
            queue_job(turn, tag, nsid, segments, command, lease, set)
        }
        ProgramsArrival::Stream { command, lease, set } => {
            stream::begin(turn, tag, segments, command, lease, set)
        }
    }
}

/// An execution's data buffer has arrived: resolve the ranges, queue the job.
fn queue_job(
    turn: &mut Turn<'_>,
    tag: Tag,
    nsid: Nsid,
    segments: &Segments,
    command: ExecuteProgram,
    lease: ProgramLease,
    set: Option<Arc<RangeSet>>,
) -> Result<(), Status> {
    let (descriptors, data) = read_buffer(turn, segments, &command)?;
    let inline = resolve_ranges(turn, &descriptors)?;
    let ranges = match &set {
        Some(set) => set.ranges.clone(),
        None => inline.ranges,
    };
    start_job(turn, tag, nsid, Start { set, ..Start::new(&command, ranges, data, lease) })
}

/// An execution's data buffer: range descriptors, and the data after them.
pub(crate) fn read_buffer(
    turn: &Turn<'_>,
    segments: &Segments,
    command: &ExecuteProgram,
) -> Result<(Vec<u8>, Vec<u8>), Status> {
    let mut buffer = vec![0; command.data_len as usize];
    segments.read(&*turn.host, &mut buffer)?;
    let bytes = command.inline_ranges * size_of::<MemoryRangeDescriptor>();
    let descriptors = buffer.drain(..bytes).collect();
    Ok((descriptors, buffer))
}

/// A job, ready to be queued.
pub(crate) struct Start {
    pub(crate) program_index: u16,
    pub(crate) param1: u64,
    pub(crate) param2: u64,
    pub(crate) group: GroupId,
    pub(crate) run_time: RunTime,
    pub(crate) ranges: Vec<Range>,
    /// Its data buffer.
    pub(crate) data: Vec<u8>,
    pub(crate) lease: ProgramLease,
    pub(crate) set: Option<Arc<RangeSet>>,
    /// So many pages of its input are yet to come.
    pub(crate) early_pages: Option<usize>,
    /// How it ends in FEMU's dialect.
    pub(crate) femu: Option<FemuEnd>,
}

impl Start {
    /// The job of a plain execution.
    pub(crate) fn new(
        command: &ExecuteProgram,
        ranges: Vec<Range>,
        data: Vec<u8>,
        lease: ProgramLease,
    ) -> Self {
        Self {
            program_index: command.program_index,
            param1: command.param1,
            param2: command.param2,
            group: GroupId(command.group),
            run_time: command.run_time,
            ranges,
            data,
            lease,
            set: None,
            early_pages: None,
            femu: None,
        }
    }
}

/// Has the program run, and queues the job for a unit.
pub(crate) fn start_job(
    turn: &mut Turn<'_>,
    tag: Tag,
    nsid: Nsid,
    start: Start,
) -> Result<(), Status> {
    let Start {
        program_index,
        param1,
        param2,
        group,
        run_time,
        ranges,
        data,
        lease,
        set,
        early_pages,
        femu,
    } = start;
    // It may have been deleted while data was on its way.
    if !turn.subsystem.engine.has_group(group) {
        return Err(Status::INVALID_JOB_GROUP.with_dnr());
    }
    let config = &turn.subsystem.config;
    let cost = match &lease.program {
        LoadedProgram::Ebpf { .. } => CostSource::choose(config, lease.run_time, run_time),
        LoadedProgram::Shell { kind, .. } => match kind.choose(config, lease.run_time, run_time) {
            Ok(cost) => cost,
            Err(why) => {
                let namespace = turn.subsystem.namespaces.programs_mut(nsid);
                let namespace = namespace.expect("a namespace outlives its commands");
                namespace.text.set_diagnostics(program_index, why);
                return Err(Status::INVALID_PROGRAM_TYPE.with_dnr());
            }
        },
        LoadedProgram::Declared(time) => {
            let said = declared(run_time).or(declared(lease.run_time.run_time));
            CostSource::Declared(said.unwrap_or(*time))
        }
    };
    let task = match &lease.program {
        LoadedProgram::Ebpf { program, object } => {
            let timing = cost.timing(config, object);
            Some(Task::Ebpf { program: program.clone(), timing })
        }
        LoadedProgram::Shell { kind, program } => Some(Task::Shell {
            program: Arc::clone(program),
            samples: cost.samples(config),
            is_measured: *kind == ShellKind::Native || matches!(cost, CostSource::Measured { .. }),
        }),
        LoadedProgram::Declared(_) => None,
    };
    let (job, stop) = (JobId(tag.0), Arc::new(AtomicBool::new(false)));
    let declared = cost.declared();
    // A job whose program runs has no cost until it ran: it cannot end without its result.
    let is_known = task.is_none() && early_pages.is_none();
    let known = if is_known { declared.map(Cost::from) } else { None };
    let item = task.map(|task| {
        let bytes: u64 = ranges.iter().map(|r| r.len).sum();
        let per_byte = config.instruction_budget_per_byte.saturating_mul(bytes);
        let invocation = Invocation {
            ranges,
            param1: param1 as i64,
            param2: param2 as i64,
            data,
            stop: Some(Arc::clone(&stop)),
            budget: config.instruction_budget.saturating_add(per_byte),
        };
        WorkItem { job: tag.0, task, invocation, lease: lease.clone() }
    });
    let engine = &mut turn.subsystem.engine;
    engine.submit(turn.now, job, group, known);
    let early = match (early_pages, item) {
        (Some(pages), item) => {
            engine.set_least_cost(turn.now, job, None);
            Some(Box::new(EarlyInput::new(pages, item)))
        }
        (None, None) => None,
        (None, Some(item)) => {
            if declared.is_some() {
                engine.set_least_cost(turn.now, job, declared);
            }
            turn.subsystem.outbox.work.push(item);
            None
        }
    };
    let job = RunningJob {
        _in_use: (lease, set),
        group,
        program: program_index,
        cost,
        work: Work::default(),
        cpu_time: CpuTime::default(),
        ran: None,
        worked: Worked::default(),
        early,
        femu,
        stop: StopOnDrop(stop),
    };
    turn.wait(tag, Waiting::Job(Box::new(job)));
    Ok(())
}

/// A work item has run: its result waits for the job's modelled end.
pub(crate) fn job_ran(turn: &mut Turn<'_>, done: WorkDone) {
    let tag = Tag(done.job);
    let Some(command) = turn.session.inflight.get_mut(tag) else { return };
    let Waiting::Job(job) = &mut command.waiting else { return };
    let counts = &done.ran.counts;
    let bytes = counts.bytes_loaded + counts.bytes_stored;
    job.work = Work { instructions: counts.instructions, bytes };
    let config = &turn.subsystem.config;
    let mut ran = done.ran;
    job.cpu_time = match done.cpu_time {
        Ok(time) => time,
        Err(NoAnswer { why, here }) => {
            let fallback = CostSource::fallback(config, job._in_use.0.run_time);
            let instead = match fallback {
                None => "the execution fails".to_owned(),
                Some(cost) => format!("the run time is {} instead", cost.model().name()),
            };
            let note = format!("{why}; {instead}");
            if fallback.is_none() {
                ran.result = Err((Status::INTERNAL_ERROR, note.clone()));
            }
            if turn.subsystem.outbox.notes.last() != Some(&note) {
                turn.subsystem.outbox.notes.push(note);
            }
            // One that fails ends when one would that does not.
            job.cost = fallback.unwrap_or(CostSource::Instructions);
            here
        }
    };
    job.ran = Some(ran);
    job.worked = Worked { until: Some(turn.now), took: done.took, worker: done.worker };
    let time = job.cost.cost(config, &job.work, &job.cpu_time);
    let cost = Cost {
        time: job.early.as_ref().map_or(time, |early| early.unit_time(time)),
        bytes,
        // A time that was declared or measured has its memory traffic in it.
        shares_memory: job.cost == CostSource::Instructions,
    };
    turn.subsystem.engine.set_cost(turn.now, JobId(tag.0), cost);
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
    if let Some(of) = command.recorded_as(tag) {
        let record = record_of(&job, of, &finished);
        turn.subsystem.records.jobs.push(record);
    }
    let RunningJob { ran, femu, .. } = *job;
    let end = |result| femu.map_or(result, |femu| femu.end(result));
    let Some(ran) = ran else {
        // A declared-time program: nothing ran.
        return turn.complete_at(finished.at, tag, Status::SUCCESS, end(0));
    };
    let namespace = turn.subsystem.namespaces.programs_mut(nsid);
    let text = &mut namespace.expect("a namespace outlives its commands").text;
    text.append_trace(&ran.output);
    match ran.result {
        Ok(result) => turn.complete_at(finished.at, tag, Status::SUCCESS, end(result)),
        Err((status, why)) => {
            text.set_diagnostics(u16::MAX, &why);
            turn.complete_at(finished.at, tag, status, 0);
        }
    }
}

/// What is reported of a finished job.
fn record_of(job: &RunningJob, tag: Tag, finished: &Finished) -> JobRecord {
    let Finished { at, waited, ran, .. } = *finished;
    let ns = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    JobRecord {
        command: tag.0,
        submitted_ns: at.as_ns() - (waited + ran).as_ns(),
        ended_ns: at.as_ns(),
        waited_ns: waited.as_ns(),
        ran_ns: ran.as_ns(),
        instructions: job.work.instructions,
        bytes: job.work.bytes,
        cpu_ns: ns(job.cpu_time.median),
        cpu_least_ns: ns(job.cpu_time.least),
        cpu_most_ns: ns(job.cpu_time.most),
        group: job.group.0.into(),
        program: job.program.into(),
        model: job.cost.model() as u32,
        samples: job.cpu_time.samples,
        result_ns: job.worked.until.map_or(0, Instant::as_ns),
        worker_ns: ns(job.worked.took),
        worker: job.worked.worker,
        reserved: 0,
    }
}

// The engine's classes and the cost model's are the same list; `Work` copies them by position.
const _: () = assert!(ebpf::isa::InstructionClass::ALL.len() == compute::WorkClass::ALL.len());

//! Runs a script on a drive and on the reference, and compares.
//!
//! Commands that touch different data are under way together; one that shares data with another, of
//! which one writes, waits for it. What an aborted or forgotten command left is looked up: each word
//! must be what it was or what it would have become.

use std::collections::BTreeMap;

use client::commands;
use client::{
    Completion, CompletionQueueOptions, DmaMemory, DriverError, Port, QueueId,
    SubmissionQueueOptions,
};
use controller::Config;
use nvme_spec::{
    AsyncEvent, Cc, CommandSet, MemoryOpcode, NvmOpcode, SUBSYSTEM_RESET, Status, event_type, fid,
    lid, offset,
};
use simulator::Host;

use crate::pointer::{self, Placed};
use crate::reference::{Effect, Expect, Plan, Reference, StateChange, check_fields};
use crate::script::{CAPACITY, Command, Extent, MEMORY, QUEUES, Shape, Step, TRANSFER_MAX};

const ADMIN: QueueId = QueueId(0);
/// Outstanding commands at most: more say nothing new.
const OUTSTANDING_MAX: usize = 40;

/// What went wrong.
pub(crate) type Failure = String;
type Outcome<T = ()> = Result<T, Failure>;

/// A command that is under way.
#[derive(Debug)]
struct Pending {
    plan: Plan,
    placed: Placed,
    /// An Abort said that it was aborted.
    is_aborted: bool,
    /// Its queue is being deleted.
    is_orphan: bool,
    /// An Asynchronous Event Request: it may wait for ever.
    is_event: bool,
    /// The write of a fused pair, or its compare: the other one.
    partner: Option<(QueueId, u16)>,
}

/// A drive, the reference, and what is between them.
pub(crate) struct Runner {
    host: Host,
    reference: Reference,
    pending: BTreeMap<(QueueId, u16), Pending>,
    /// Effects of commands that were cut short.
    doubts: Vec<Effect>,
    /// Completions with an error, and doorbells written wrongly.
    errors: u64,
    /// Commands whose completion nobody may have seen.
    forgotten: u64,
    /// Commands submitted.
    pub(crate) commands: u64,
    /// Completion queue of each I/O submission queue.
    completion_of: BTreeMap<QueueId, u16>,
    /// I/O completion queues with their entries.
    completions: BTreeMap<u16, u32>,
    is_shadowed: bool,
}

fn config(seed: u64) -> Config {
    let mut config = Config { memory_bytes: MEMORY, queue_pairs_max: QUEUES, ..Config::default() };
    config.flash.capacity_bytes = CAPACITY;
    (config.flash.channels, config.flash.dies_per_channel) = (2, 2);
    (config.flash.planes_per_die, config.flash.pages_per_block) = (1, 16);
    config.flash.page_bytes = [4096, 16 << 10][(seed / 3 % 2) as usize];
    config.flash.indirection_bytes = 4096;
    config.flash.pages_per_program = [1, 2][(seed / 6 % 2) as usize];
    config.flash.overprovisioning_permille = 300;
    config.flash.write_buffer_bytes = [0, 8 << 10, 64 << 10][(seed % 3) as usize];
    config.transfer_bytes_max = TRANSFER_MAX;
    config.compute.units = 2;
    config
}

fn fail<T>(what: impl Into<String>) -> Outcome<T> {
    Err(what.into())
}

/// Runs a script; the number of commands it submitted. `sabotage` changes the reference first: for
/// a reference that is right, not at all.
pub(crate) fn run(
    script: &[Step],
    seed: u64,
    sabotage: impl FnOnce(&mut Reference),
) -> Outcome<u64> {
    let config = config(seed);
    let has_write_cache = config.flash.write_buffer_bytes > 0;
    let host = simulator::host(config, 2, 64).map_err(|e| e.to_string())?;
    let mut runner = Runner {
        host,
        reference: Reference::new(has_write_cache),
        pending: BTreeMap::new(),
        doubts: Vec::new(),
        errors: 0,
        forgotten: 0,
        commands: 0,
        completion_of: BTreeMap::from([(QueueId(1), 1), (QueueId(2), 2)]),
        completions: BTreeMap::from([(1, 64), (2, 64)]),
        is_shadowed: false,
    };
    sabotage(&mut runner.reference);
    for (n, step) in script.iter().enumerate() {
        runner.step(step).map_err(|what| format!("step {n}: {what}"))?;
    }
    runner.finish().map_err(|what| format!("at the end: {what}"))?;
    Ok(runner.commands)
}

fn shares(mine: &[(Extent, bool)], theirs: &[(Extent, bool)], unit: u64) -> bool {
    let rounded = |(start, len): Extent| (start / unit, (start + len).div_ceil(unit));
    mine.iter().any(|(a, a_writes)| {
        theirs.iter().any(|(b, b_writes)| {
            let ((a, a_end), (b, b_end)) = (rounded(*a), rounded(*b));
            (*a_writes || *b_writes) && a < b_end && b < a_end
        })
    })
}

impl Runner {
    fn step(&mut self, step: &Step) -> Outcome {
        match step {
            Step::Submit { command: Command::AsyncEvent, .. } => self.request_event(),
            Step::Submit { queue, command, shape, seed } => {
                self.submit(*queue, command, shape, *seed)
            }
            Step::Fused { queue, blocks, different, seed } => {
                self.submit_pair(*queue, *blocks, (*different, *seed))
            }
            Step::Advance { events } => {
                for _ in 0..*events {
                    let now = self.host.port.drive.next_event();
                    if let Some(at) = now {
                        self.host.port.idle_until(at);
                    }
                }
                self.collect()
            }
            Step::Drain => self.drain(),
            Step::Abort { which } => self.abort(*which),
            Step::CreateQueue { id, completion, entries, vector, priority } => {
                self.create_queue((*id, *completion), *entries, (*vector, *priority))
            }
            Step::DeleteQueue { id } => self.delete_queue(QueueId(*id)),
            Step::WrongDoorbell { register, value } => {
                // Whatever the queue, no index is that large.
                let at = offset::DOORBELLS + 4 * u64::from(*register);
                self.host.port.register_write(at, 4, (*value).into());
                // With shadow doorbells the register of a queue that exists has no value.
                if self.is_shadowed {
                    self.forgotten += 1;
                } else {
                    self.errors += 1;
                }
                self.host.port.settle();
                self.collect()
            }
            Step::ShadowDoorbells => {
                self.drain()?;
                self.is_shadowed = true;
                self.host.enable_shadow_doorbells().map_err(|e| e.to_string())
            }
            Step::Reset { subsystem, weighted } => self.reset(*subsystem, *weighted),
        }
    }

    /// I/O submission queues there are.
    fn io_queue(&self, which: u8) -> Option<QueueId> {
        let queues: Vec<QueueId> = self.completion_of.keys().copied().collect();
        (!queues.is_empty()).then(|| queues[usize::from(which) % queues.len()])
    }

    /// True if a command may not be under way together with those that are, or would meet data in
    /// doubt.
    fn conflicts(&self, plan: &Plan) -> bool {
        if !self.doubts.is_empty() {
            return true;
        }
        self.pending.values().filter(|p| !p.is_event).any(|pending| {
            let other = &pending.plan;
            plan.is_exclusive
                || other.is_exclusive
                || shares(&plan.blocks, &other.blocks, 4096)
                || shares(&plan.memory, &other.memory, 1)
        })
    }

    fn submit(&mut self, queue: u8, command: &Command, shape: &Shape, seed: u64) -> Outcome {
        let mut plan = self.reference.plan(command, seed);
        let queue = if plan.is_admin { Some(ADMIN) } else { self.io_queue(queue) };
        let Some(queue) = queue else { return Ok(()) };
        let is_relaxed = self.relax(&mut plan);
        if self.pending.len() >= OUTSTANDING_MAX
            || !self.host.has_room(queue)
            || (!is_relaxed && self.conflicts(&plan))
        {
            self.drain()?;
            // What was outstanding changed what is to be expected.
            plan = self.reference.plan(command, seed);
        }
        if !self.host.has_room(queue) {
            return Ok(()); // requests for events fill the queue
        }
        let pending = self.place(plan, shape);
        let is_admin = pending.plan.is_admin;
        self.enqueue(queue, pending);
        self.host.ring(queue);
        if is_admin { self.drain_admin() } else { self.collect() }
    }

    /// Managing a program or set that an execution may be using: either is right then.
    fn relax(&self, plan: &mut Plan) -> bool {
        let used = |which: fn(&(u16, u16)) -> u16, id: u16| {
            let mut uses = self.pending.values().filter_map(|p| p.plan.uses.as_ref());
            uses.any(|uses| which(uses) == id)
        };
        let others = self.pending.values().any(|p| p.plan.is_exclusive && !p.is_event);
        let others = others || !self.doubts.is_empty();
        let status = match plan.effect.state {
            _ if others || plan.early.is_some() => return false,
            Some(StateChange::Activate(index, false)) if used(|u| u.0, index) => {
                Status::PROGRAM_IN_USE
            }
            Some(StateChange::DeleteSet(id)) if used(|u| u.1, id) => {
                Status::MEMORY_RANGE_SET_IN_USE
            }
            _ => return false,
        };
        plan.late.push(status);
        plan.may_succeed = true;
        true
    }

    fn place(&mut self, mut plan: Plan, shape: &Shape) -> Pending {
        let ram = &mut self.host.port.ram;
        let is_read = plan.receive > 0;
        let len = plan.receive.max(plan.send.len() as u64);
        let placed = pointer::place(ram, &mut plan.entry, shape, len, (plan.is_admin, is_read));
        if is_read {
            // Whatever the drive does not write is seen.
            let filler = vec![0xA5; len as usize];
            placed.put(ram, &filler);
        } else {
            placed.put(ram, &plan.send);
        }
        let (is_aborted, is_orphan, is_event, partner) = (false, false, false, None);
        Pending { plan, placed, is_aborted, is_orphan, is_event, partner }
    }

    fn enqueue(&mut self, queue: QueueId, pending: Pending) -> u16 {
        self.commands += 1;
        let cid = self.host.enqueue(queue, pending.plan.entry);
        let before = self.pending.insert((queue, cid), pending);
        assert!(before.is_none(), "the driver gave an identifier out twice");
        cid
    }

    fn request_event(&mut self) -> Outcome {
        let waiting = self.pending.values().filter(|p| p.is_event).count();
        if waiting >= 8 || !self.host.has_room(ADMIN) {
            return Ok(());
        }
        let plan = Plan::event(commands::async_event_request(), waiting >= 4);
        let mut pending = self.place(plan, &Shape::Prp { offset: 0, order: 0 });
        pending.is_event = true;
        self.enqueue(ADMIN, pending);
        self.host.ring(ADMIN);
        self.collect()
    }

    fn submit_pair(&mut self, queue: u8, blocks: Extent, how: (bool, u64)) -> Outcome {
        let Some(queue) = self.io_queue(queue) else { return Ok(()) };
        let (different, seed) = how;
        if !self.host.has_room(queue) || self.host.outstanding(queue) > 0 {
            self.drain()?;
        }
        let compare = self.reference.plan(&Command::Compare { blocks, different }, seed);
        let write = self.reference.plan(&Command::Write { blocks, fua: false }, seed ^ 1);
        let room = (self.host.outstanding(queue) as usize) + 2;
        if self.conflicts(&write) || self.conflicts(&compare) || room > 40 {
            return self.drain();
        }
        let (mut compare, mut write) = (compare, write);
        let [first, second] = commands::fused(compare.entry, write.entry);
        (compare.entry, write.entry) = (first, second);
        // An error of either ends both; the compare's comes first.
        let early = compare.early.or(write.early);
        (compare.early, write.early) = (early, early.map(|_| Status::ABORTED_FAILED_FUSED));
        write.late = compare.late.iter().map(|_| Status::ABORTED_FAILED_FUSED).collect();
        write.may_succeed = compare.may_succeed;
        let shape = Shape::Prp { offset: 0, order: seed };
        let pair = [self.place(compare, &shape), self.place(write, &shape)];
        let mut cids = Vec::new();
        for pending in pair {
            if !self.host.has_room(queue) {
                // A queue of two entries holds one command: half a pair.
                self.host.ring(queue);
                for cid in &cids {
                    let half: &mut Pending =
                        self.pending.get_mut(&(queue, *cid)).expect("just put");
                    half.plan.early = Some(Status::ABORTED_MISSING_FUSED);
                }
                pending.placed.release(&mut self.host.port.ram);
                return self.drain();
            }
            cids.push(self.enqueue(queue, pending));
        }
        // A completion queue that never has two places completes neither half as a pair.
        let completion = self.completion_of[&queue];
        if self.completions[&completion] == 2 {
            for cid in &cids {
                let half = self.pending.get_mut(&(queue, *cid)).expect("just put");
                half.plan.early = Some(Status::ABORTED_MISSING_FUSED);
            }
        }
        for (cid, partner) in [(cids[0], cids[1]), (cids[1], cids[0])] {
            let half = self.pending.get_mut(&(queue, cid)).expect("just put");
            half.partner = Some((queue, partner));
        }
        self.host.ring(queue);
        self.collect()
    }

    fn abort(&mut self, which: u8) -> Outcome {
        let keys: Vec<_> = self.pending.keys().copied().collect();
        if keys.is_empty() || !self.host.has_room(ADMIN) {
            return Ok(());
        }
        let (queue, cid) = keys[usize::from(which) % keys.len()];
        self.commands += 1;
        let done = self.execute(commands::abort(queue.0, cid))?;
        if !done.status.is_success() {
            return fail(format!("Abort: {}", done.status));
        }
        if done.result & 1 == 0 {
            // The write of a pair fails with its compare.
            let named = self.pending.get_mut(&(queue, cid));
            let Some(named) = named else {
                return fail("Abort says it aborted what had completed");
            };
            named.is_aborted = true;
            if let Some(partner) = named.partner
                && let Some(partner) = self.pending.get_mut(&partner)
            {
                partner.is_orphan = true;
            }
        }
        self.collect()
    }

    /// Runs an admin command whose status the caller judges; others may complete meanwhile.
    fn execute(&mut self, entry: nvme_spec::SubmissionEntry) -> Outcome<Completion> {
        let done = self.host.execute(ADMIN, entry).map_err(|e| e.to_string())?;
        if !done.status.is_success() {
            self.errors += 1;
        }
        Ok(done)
    }

    /// Takes the completions that are there.
    fn collect(&mut self) -> Outcome {
        while let Some(done) = self.host.ready_completion() {
            self.complete(done)?;
        }
        Ok(())
    }

    fn complete(&mut self, done: Completion) -> Outcome {
        let Some(pending) = self.pending.remove(&(done.queue, done.cid)) else {
            return fail(format!("completion of no command, or of one twice: {done:?}"));
        };
        if !done.status.is_success() {
            self.errors += 1;
        }
        let verdict = self.judge(&pending, done);
        let entry = pending.plan.entry;
        pending.placed.release(&mut self.host.port.ram);
        verdict.map_err(|what| format!("{what}\n  {entry:?}"))
    }

    fn judge(&mut self, pending: &Pending, done: Completion) -> Outcome {
        let Pending { plan, placed, is_aborted, is_orphan, .. } = pending;
        let status = done.status;
        let cut_short = (*is_aborted && status.same_code(Status::ABORT_REQUESTED))
            || (*is_orphan
                && (status.same_code(Status::ABORTED_SQ_DELETION)
                    || status.same_code(Status::ABORTED_FAILED_FUSED)));
        if cut_short {
            self.doubt(&plan.effect);
            return Ok(());
        }
        if *is_aborted {
            return fail(format!("aborted, but completed with {status}"));
        }
        if pending.is_event && status.is_success() {
            return check_event(done.result);
        }
        if plan.raced.is_some_and(|raced| raced.same_code(status)) {
            return Ok(());
        }
        let allowed: Vec<Status> = match (plan.early, placed.error) {
            (Some(early), _) => vec![early],
            (None, Some(error)) if plan.late.is_empty() => vec![error],
            // Which of two errors is found first depends on the length of the transfer.
            (None, Some(error)) => plan.late.iter().copied().chain([error]).collect(),
            (None, None) => plan.late.clone(),
        };
        let may_succeed = allowed.is_empty() || (plan.may_succeed && placed.error.is_none());
        if !status.is_success() {
            if !allowed.iter().any(|a| a.same_code(status)) {
                return fail(format!("got {status}, allowed {allowed:?} (success: {may_succeed})"));
            }
            let did_late = plan.late.iter().any(|late| late.same_code(status));
            if plan.acts_in_error && plan.early.is_none() && did_late {
                self.reference.apply(&plan.effect);
            }
            return Ok(());
        }
        if !may_succeed {
            return fail(format!("succeeded, expected one of {allowed:?}"));
        }
        if plan.result.is_some_and(|expected| expected != done.result) {
            return fail(format!("result {:#x}, expected {:#x?}", done.result, plan.result));
        }
        let got = placed.get(&self.host.port.ram);
        match &plan.expect {
            Expect::Nothing => {}
            Expect::Bytes(expected) => {
                let expected: Vec<_> = expected.iter().copied().enumerate().collect();
                let fields: Vec<_> = expected.into_iter().map(|(n, b)| (n, vec![b])).collect();
                check_fields(&got, &fields)?;
            }
            Expect::Fields(fields) => check_fields(&got, fields)?,
        }
        self.reference.apply(&plan.effect);
        self.race(plan.effect.state.as_ref());
        Ok(())
    }

    /// Executions still in their submission queues may find their program or set gone.
    fn race(&mut self, change: Option<&StateChange>) {
        for pending in self.pending.values_mut() {
            let Some((program, set)) = pending.plan.uses else { continue };
            match change {
                Some(StateChange::Activate(index, false)) if *index == program => {
                    pending.plan.raced = Some(Status::PROGRAM_NOT_ACTIVATED);
                }
                Some(StateChange::DeleteSet(id)) if *id == set => {
                    pending.plan.raced = Some(Status::INVALID_MEMORY_RANGE_SET_ID);
                }
                _ => {}
            }
        }
    }

    /// A command was cut short: what it did is to be found out when nothing is under way.
    fn doubt(&mut self, effect: &Effect) {
        self.reference.doubt(effect);
        if !effect.blocks.is_empty() || !effect.memory.is_empty() {
            self.doubts.push(effect.clone());
        }
    }

    /// Waits for all commands but requests for events; then clears doubts up.
    fn drain(&mut self) -> Outcome {
        self.wait_for(|pending| !pending.is_event)?;
        for effect in std::mem::take(&mut self.doubts) {
            self.clear_up(&effect)?;
        }
        Ok(())
    }

    /// Waits for admin commands; what they change must be known before the next step.
    fn drain_admin(&mut self) -> Outcome {
        self.wait_for(|pending| pending.plan.is_exclusive && !pending.is_event)?;
        if self.is_sanitizing() {
            while self.host.port.step() {}
            self.collect()?;
        }
        Ok(())
    }

    fn is_sanitizing(&mut self) -> bool {
        std::mem::take(&mut self.reference.was_sanitized)
    }

    fn wait_for(&mut self, which: impl Fn(&Pending) -> bool) -> Outcome {
        while self.pending.values().any(&which) {
            let Some(done) = self.host.next_completion() else {
                let left = self.pending.iter().filter(|(_, p)| which(p));
                let left: Vec<_> = left.map(|(key, p)| (key, p.plan.entry.opcode)).collect();
                return fail(format!("never completed (queue, identifier, opcode): {left:?}"));
            };
            self.complete(done)?;
        }
        Ok(())
    }

    /// Looks at what a command that was cut short left behind.
    fn clear_up(&mut self, effect: &Effect) -> Outcome {
        let recovery = self.reference.error_recovery();
        let nsid = nvme_spec::namespace::NVM_NSID;
        let without = |value| commands::set_feature(fid::ERROR_RECOVERY, nsid, value, false);
        if self.reference.is_dulbe() {
            self.execute(without(0))?;
        }
        for (start, new) in &effect.blocks {
            let got = self.read_blocks(*start, new.len() as u64)?;
            let old = &mut self.reference.blocks[*start as usize..*start as usize + new.len()];
            settle_words(old, &got, new).map_err(|what| format!("blocks at {start}: {what}"))?;
        }
        for (start, new) in &effect.memory {
            let got = self.read_memory(*start, new.len() as u64)?;
            let old = &mut self.reference.memory[*start as usize..*start as usize + new.len()];
            settle_words(old, &got, new).map_err(|what| format!("memory at {start}: {what}"))?;
        }
        if self.reference.is_dulbe() {
            self.execute(without(recovery))?;
        }
        Ok(())
    }

    /// Reads by the driver alone.
    fn fetch(
        &mut self,
        queue: QueueId,
        entry: nvme_spec::SubmissionEntry,
        len: u64,
    ) -> Outcome<Vec<u8>> {
        let ram = &mut self.host.port.ram;
        let buffer = ram.allocate(len);
        let prps = ram.prps(&buffer, len);
        let cid = self.host.submit(queue, commands::with_data(entry, prps));
        loop {
            let Some(done) = self.host.next_completion() else { return fail("a read got stuck") };
            if (done.queue, done.cid) != (queue, cid) {
                self.complete(done)?;
                continue;
            }
            let bytes = self.host.port.ram.view(buffer.address, len).to_vec();
            self.host.port.ram.release(buffer);
            if !done.status.is_success() {
                self.errors += 1;
                return fail(format!("a read that is always right: {}", done.status));
            }
            return Ok(bytes);
        }
    }

    /// A queue for the runner's own commands: made if there is none.
    fn own_queue(&mut self) -> Outcome<QueueId> {
        if let Some(queue) = self.io_queue(0) {
            return Ok(queue);
        }
        let Some(&completion) = self.completions.keys().next() else {
            self.create_pair(1)?;
            return Ok(QueueId(1));
        };
        let options = SubmissionQueueOptions {
            id: 1,
            entries: 64,
            completion_queue: completion,
            priority: 0,
        };
        let queue = self.host.create_submission_queue(options).map_err(|e| e.to_string())?;
        self.completion_of.insert(queue, completion);
        Ok(queue)
    }

    fn read_blocks(&mut self, start: u64, len: u64) -> Outcome<Vec<u8>> {
        let queue = self.own_queue()?;
        let block = self.reference.block_bytes;
        let (first, end) = (start / block, (start + len).div_ceil(block));
        let mut bytes = Vec::new();
        for at in (first..end).step_by((TRANSFER_MAX / block) as usize) {
            let count = (end - at).min(TRANSFER_MAX / block);
            let entry = commands::read_write(NvmOpcode::READ, at, count as u32);
            bytes.extend(self.fetch(queue, entry, count * block)?);
        }
        let skip = (start - first * block) as usize;
        Ok(bytes[skip..skip + len as usize].to_vec())
    }

    fn read_memory(&mut self, start: u64, len: u64) -> Outcome<Vec<u8>> {
        let queue = self.own_queue()?;
        let (from, to) = (start & !3, (start + len).next_multiple_of(4));
        let mut bytes = Vec::new();
        for at in (from..to).step_by(TRANSFER_MAX as usize) {
            let n = TRANSFER_MAX.min(to - at);
            bytes.extend(self.fetch(
                queue,
                commands::memory(MemoryOpcode::READ, at, n as u32),
                n,
            )?);
        }
        let skip = (start - from) as usize;
        Ok(bytes[skip..skip + len as usize].to_vec())
    }

    // Queues.

    fn create_pair(&mut self, id: u16) -> Outcome {
        let queue = self.host.create_queue_pair(id, 64).map_err(|e| e.to_string())?;
        self.completion_of.insert(queue, id);
        self.completions.insert(id, 64);
        Ok(())
    }

    fn create_queue(
        &mut self,
        (id, completion): (u16, u16),
        entries: u32,
        (vector, priority): (u16, u8),
    ) -> Outcome {
        let beyond = |id: u16| id == 0 || id > QUEUES;
        let expected = if beyond(completion) || self.completions.contains_key(&completion) {
            Err(Status::INVALID_QUEUE_IDENTIFIER)
        } else if entries < 2 {
            Err(Status::INVALID_QUEUE_SIZE)
        } else if vector > QUEUES {
            Err(Status::INVALID_INTERRUPT_VECTOR)
        } else {
            Ok(())
        };
        let options = CompletionQueueOptions { id: completion, entries, vector: Some(vector) };
        let created = self.host.create_completion_queue(options);
        if self.is_as_expected("Create CQ", created, expected)? {
            self.completions.insert(completion, entries);
        }
        let expected = if beyond(id) || self.completion_of.contains_key(&QueueId(id)) {
            Err(Status::INVALID_QUEUE_IDENTIFIER)
        } else if entries < 2 {
            Err(Status::INVALID_QUEUE_SIZE)
        } else if completion == 0 || !self.completions.contains_key(&completion) {
            Err(Status::INVALID_COMPLETION_QUEUE)
        } else {
            Ok(())
        };
        let options =
            SubmissionQueueOptions { id, entries, completion_queue: completion, priority };
        let created = self.host.create_submission_queue(options).map(drop);
        if self.is_as_expected("Create SQ", created, expected)? {
            self.completion_of.insert(QueueId(id), completion);
        }
        self.collect()
    }

    /// Deletes a submission queue, and its completion queue.
    fn delete_queue(&mut self, queue: QueueId) -> Outcome {
        let exists = self.completion_of.contains_key(&queue);
        for ((of, _), pending) in &mut self.pending {
            pending.is_orphan |= *of == queue;
        }
        let expected = if exists { Ok(()) } else { Err(Status::INVALID_QUEUE_IDENTIFIER) };
        let deleted = self.host.delete_submission_queue(queue);
        if !self.is_as_expected("Delete SQ", deleted, expected)? {
            return self.collect();
        }
        let completion = self.completion_of.remove(&queue).expect("it exists");
        // A coalesced interrupt may still be to come.
        self.host.poll(completion);
        self.collect()?;
        // A command that the drive had not taken is gone with its queue, and did nothing.
        for (key, pending) in std::mem::take(&mut self.pending) {
            if key.0 != queue {
                self.pending.insert(key, pending);
            } else if pending.plan.is_admin {
                return fail(format!("{key:?} cannot be of an I/O queue"));
            } else {
                pending.placed.release(&mut self.host.port.ram);
            }
        }
        let is_used = self.completion_of.values().any(|used| *used == completion);
        let expected = if is_used { Err(Status::INVALID_QUEUE_DELETION) } else { Ok(()) };
        let deleted = self.host.delete_completion_queue(completion);
        if self.is_as_expected("Delete CQ", deleted, expected)? {
            self.completions.remove(&completion);
        }
        self.collect()
    }

    /// Compares what became of a queue command; true if it succeeded.
    fn is_as_expected(
        &mut self,
        what: &str,
        got: Result<(), DriverError>,
        expected: Result<(), Status>,
    ) -> Outcome<bool> {
        self.commands += 1;
        match (got, expected) {
            (Ok(()), Ok(())) => Ok(true),
            (Err(DriverError::Refused { status, .. }), Err(expected))
                if status.same_code(expected) =>
            {
                self.errors += 1;
                Ok(false)
            }
            (got, expected) => fail(format!("{what}: got {got:?}, expected {expected:?}")),
        }
    }

    /// Resets the drive at whatever point it is, and starts over.
    fn reset(&mut self, subsystem: bool, weighted: bool) -> Outcome {
        self.collect()?;
        for (_, pending) in std::mem::take(&mut self.pending) {
            self.forgotten += 1;
            self.doubt(&pending.plan.effect);
            pending.placed.release(&mut self.host.port.ram);
        }
        if subsystem {
            self.host.port.register_write(offset::NSSR, 4, SUBSYSTEM_RESET.into());
            let csts = self.host.port.register_read(offset::CSTS, 4);
            if csts != 1 << 4 {
                return fail(format!("CSTS is {csts:#x} after a subsystem reset"));
            }
            self.host.port.register_write(offset::CSTS, 4, 1 << 4);
            self.host.forget_queues();
        } else {
            self.host.disable();
        }
        if self.host.port.register_read(offset::CSTS, 4) != 0 {
            return fail("CSTS is not 0 after a reset");
        }
        self.reference.reset();
        self.is_shadowed = false;
        self.completion_of.clear();
        self.completions.clear();
        self.host.enable(Cc::new().with_ams(weighted.into())).map_err(|e| e.to_string())?;
        self.host.request_queues(QUEUES).map_err(|e| e.to_string())?;
        self.create_pair(1)?;
        self.create_pair(2)?;
        self.drain()
    }

    /// Everything at the end: all data, all programs, all errors counted.
    fn finish(&mut self) -> Outcome {
        self.drain()?;
        let everything = Effect {
            blocks: vec![(0, self.reference.blocks.clone())],
            memory: vec![(0, self.reference.memory.clone())],
            ..Effect::default()
        };
        self.clear_up(&everything)?;
        for id in [lid::PROGRAM_LIST, lid::RANGE_SETS] {
            let log = Command::GetLog { lid: id, nsid: 3, offset: 0, len: 4096 };
            self.submit(0, &log, &Shape::Prp { offset: 0, order: 0 }, 0)?;
        }
        let entry = commands::get_log(lid::SMART, 0, CommandSet::NVM, 0, 512);
        let smart = self.fetch(ADMIN, entry, 512)?;
        let logged = u64::from_le_bytes(smart[176..184].try_into().expect("eight bytes"));
        let (least, most) = (self.errors, self.errors + self.forgotten);
        if !(least..=most).contains(&logged) {
            return fail(format!("{logged} errors logged, the host saw {least} to {most}"));
        }
        self.host.port.drive.check();
        Ok(())
    }
}

/// What an event says is something that exists.
fn check_event(result: u64) -> Outcome {
    let event = AsyncEvent::from_bits(result as u32);
    let known = [
        (event_type::ERROR, 0, lid::ERROR),
        (event_type::ERROR, 1, lid::ERROR),
        (event_type::SMART, 1, lid::SMART),
        (event_type::NOTICE, 0, lid::CHANGED_NAMESPACES),
        (event_type::COMMAND_SET, 1, lid::SANITIZE_STATUS),
    ];
    if known.contains(&(event.event_type(), event.information(), event.lid())) {
        return Ok(());
    }
    fail(format!("an event that does not exist: {event:?}"))
}

/// Each word is what it was, or what it would have become; from now on it is what was found.
fn settle_words(old: &mut [u8], got: &[u8], new: &[u8]) -> Outcome {
    for at in (0..old.len()).step_by(4) {
        let word = at..(at + 4).min(old.len());
        if got[word.clone()] != old[word.clone()] && got[word.clone()] != new[word.clone()] {
            let (got, old, new) = (&got[word.clone()], &old[word.clone()], &new[word]);
            return fail(format!("byte {at}: got {got:x?}, was {old:x?}, could become {new:x?}"));
        }
    }
    old.copy_from_slice(got);
    Ok(())
}

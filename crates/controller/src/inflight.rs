//! Commands between their submission queue and their completion.
//!
//! A command taken from a queue becomes a [`Token`] that must end exactly once: posted to its
//! completion queue, in which it already has a place, or abandoned by a reset. Dropping a token
//! that did neither is a bug and panics.
//!
//! What a command waits for is its namespace's: the table knows only [`Wait`].

use std::collections::BTreeMap;

use nvme_spec::{Cid, CqId, Nsid, SqId, Status};
use records::{Stage, Stages};
use simtime::{Duration, Instant};

use crate::event::Tag;

/// The obligation to complete one command.
#[must_use]
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) sqid: SqId,
    pub(crate) cqid: CqId,
    pub(crate) cid: Cid,
    /// False if another command in flight has the same identifier: this one only says so.
    pub(crate) owns_cid: bool,
    ended: bool,
}

impl Token {
    pub(crate) fn new(sqid: SqId, cqid: CqId, cid: Cid, owns_cid: bool) -> Self {
        Self { sqid, cqid, cid, owns_cid, ended: false }
    }

    /// The command is over: its completion was posted, or a reset forgot it.
    pub(crate) fn end(mut self) {
        self.ended = true;
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        if !self.ended && !std::thread::panicking() {
            panic!(
                "command {} of queue {} was neither completed nor abandoned",
                self.cid.0, self.sqid.0
            );
        }
    }
}

/// What a command will ask of the flash model and has not asked yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Reserved {
    /// Page requests.
    pub(crate) requests: u64,
    /// Bytes that the write buffer will be asked to hold.
    pub(crate) bytes: u64,
}

/// What a command in flight waits for. The default is its completion time alone.
pub(crate) trait Wait: Default {
    /// True if all that is left is to post the completion.
    fn is_over(&self) -> bool;
}

/// What a command is, besides its place in a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Kind {
    pub(crate) opcode: u8,
    pub(crate) nsid: Nsid,
}

/// A step of a command that consists of several: it is in flight, too, and completes for that command alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Step {
    /// The command.
    pub(crate) parent: Tag,
    /// Which of its slots.
    pub(crate) slot: u32,
}

/// A command in flight. It stays in its slot until it ends: what it waits for is the larger part of
/// it, and is never moved.
#[derive(Debug)]
pub(crate) struct InFlight<W> {
    /// Taken when the command ends.
    token: Option<Token>,
    pub(crate) kind: Kind,
    /// Of which command it is a step, if it is one.
    pub(crate) step: Option<Step>,
    pub(crate) waiting: W,
    /// It was ended early: what it ends with is not changed any more.
    pub(crate) is_ended: bool,
    pub(crate) status: Status,
    pub(crate) result: u64,
    /// What the SMART log will count if it succeeds.
    pub(crate) counts: HostData,
    /// How long after its modelled end its job ended.
    pub(crate) late: Duration,
    reserved: Reserved,
    /// Kept only while commands are recorded.
    pub(crate) timeline: Option<Box<Timeline>>,
}

/// Bytes of the NVM namespace that a command reads or writes for the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum HostData {
    #[default]
    None,
    Read(u32),
    Written(u32),
    /// Read inside the drive: data, but no read command of the host (Verify).
    Verified(u32),
}

impl HostData {
    /// How many bytes.
    pub(crate) fn bytes(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Read(bytes) | Self::Written(bytes) | Self::Verified(bytes) => bytes,
        }
    }
}

/// What is left of a command that ends: all that its completion needs.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) token: Token,
    pub(crate) kind: Kind,
    pub(crate) step: Option<Step>,
    pub(crate) status: Status,
    pub(crate) result: u64,
    pub(crate) counts: HostData,
    pub(crate) late: Duration,
    pub(crate) timeline: Option<Box<Timeline>>,
}

/// When a command passed what.
#[derive(Debug)]
pub(crate) struct Timeline {
    pub(crate) fetched: Instant,
    /// End of the last finished stage.
    mark: Instant,
    pub(crate) stages: Stages,
}

impl Timeline {
    pub(crate) fn new(fetched: Instant) -> Self {
        Self { fetched, mark: fetched, stages: Stages::default() }
    }

    /// The job waited and ran until `at`.
    pub(crate) fn job_ended(&mut self, at: Instant, waited: Duration, ran: Duration) {
        self.stages[Stage::Queue] += waited;
        self.stages[Stage::Compute] += ran;
        self.mark = at;
    }
}

impl<W: Wait> InFlight<W> {
    /// The obligation to complete it.
    pub(crate) fn token(&self) -> &Token {
        self.token.as_ref().expect("a command in flight has its token")
    }

    /// True if all that is left is to post the completion.
    pub(crate) fn is_completing(&self) -> bool {
        self.waiting.is_over()
    }

    /// The command that records of this one name, if it is recorded: a step is of the command that the host sent.
    #[inline]
    pub(crate) fn recorded_as(&self, own: Tag) -> Option<Tag> {
        self.timeline.as_ref().map(|_| self.step.map_or(own, |step| step.parent))
    }

    /// Takes what the command waited for: it waits no more.
    #[inline]
    pub(crate) fn take_waiting(&mut self) -> W {
        core::mem::take(&mut self.waiting)
    }

    /// The time from the end of the last stage to `at` was spent on one stage.
    #[inline]
    pub(crate) fn end_stage(&mut self, at: Instant, stage: Stage) {
        if let Some(timeline) = &mut self.timeline {
            timeline.stages[stage] += at.since(timeline.mark);
            timeline.mark = timeline.mark.max(at);
        }
    }
}

#[derive(Debug)]
struct Slot<W> {
    generation: u32,
    command: InFlight<W>,
}

/// All commands in flight.
#[derive(Debug)]
pub(crate) struct InFlightTable<W> {
    slots: Vec<Slot<W>>,
    free: Vec<u32>,
    /// How many are steps of others.
    steps: usize,
    /// Timelines of commands that have ended, for those to come: recording allocates nothing.
    #[expect(clippy::vec_box, reason = "the boxes are what is kept")]
    spare: Vec<Box<Timeline>>,
    /// Steps that were put into flight and whose records were not taken yet, with their commands.
    recorded_steps: Vec<(Tag, Tag)>,
    reserved: Reserved,
}

impl<W> Default for InFlightTable<W> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            steps: 0,
            spare: Vec::new(),
            recorded_steps: Vec::new(),
            reserved: Reserved::default(),
        }
    }
}

impl<W> Drop for InFlightTable<W> {
    /// A drive that is taken apart abandons its commands.
    fn drop(&mut self) {
        for token in self.slots.iter_mut().filter_map(|slot| slot.command.token.take()) {
            token.end();
        }
    }
}

impl<W: Wait> InFlightTable<W> {
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Those that hosts sent, without their steps.
    pub(crate) fn of_hosts(&self) -> usize {
        self.len() - self.steps
    }

    /// Puts a command into flight that waits for nothing yet.
    #[inline]
    pub(crate) fn insert(
        &mut self,
        token: Token,
        kind: Kind,
        timeline: Option<Box<Timeline>>,
    ) -> Tag {
        let token = Some(token);
        let Some(index) = self.free.pop() else {
            let (waiting, status, result) = (W::default(), Status::SUCCESS, 0);
            let (counts, late) = (HostData::None, Duration::ZERO);
            let reserved = Reserved::default();
            let command = InFlight {
                token,
                kind,
                step: None,
                waiting,
                is_ended: false,
                status,
                result,
                counts,
                late,
                reserved,
                timeline,
            };
            self.slots.push(Slot { generation: 0, command });
            return Tag(self.slots.len() as u64 - 1);
        };
        let Slot { generation, command } = &mut self.slots[index as usize];
        (command.token, command.kind, command.step) = (token, kind, None);
        (command.status, command.result, command.is_ended) = (Status::SUCCESS, 0, false);
        (command.counts, command.late, command.timeline) =
            (HostData::None, Duration::ZERO, timeline);
        Tag(u64::from(*generation) << 32 | u64::from(index))
    }

    /// Puts a step of a command into flight.
    ///
    /// # Panics
    /// If the command is not.
    pub(crate) fn insert_step(&mut self, step: Step, kind: Kind) -> Tag {
        let parent = self.get_mut(step.parent).expect("a command in flight has steps");
        let Token { sqid, cqid, cid, .. } = *parent.token();
        let mark = parent.timeline.as_ref().map(|timeline| timeline.mark);
        let timeline = mark.map(|mark| self.timeline(mark));
        let is_recorded = timeline.is_some();
        let tag = self.insert(Token::new(sqid, cqid, cid, false), kind, timeline);
        if is_recorded {
            self.recorded_steps.push((tag, step.parent));
        }
        self.get_mut(tag).expect("it is in flight now").step = Some(step);
        self.steps += 1;
        tag
    }

    /// A timeline that begins.
    #[inline]
    pub(crate) fn timeline(&mut self, fetched: Instant) -> Box<Timeline> {
        match self.spare.pop() {
            Some(mut timeline) => {
                *timeline = Timeline::new(fetched);
                timeline
            }
            None => Box::new(Timeline::new(fetched)),
        }
    }

    /// Takes back what is needed no more.
    #[inline]
    pub(crate) fn spare(&mut self, timeline: Box<Timeline>) {
        self.spare.push(timeline);
    }

    /// The commands of steps, by the steps' tags: of those in flight, and of those that were so since the last time.
    pub(crate) fn take_recorded_steps(&mut self) -> BTreeMap<u64, u64> {
        let steps = std::mem::take(&mut self.recorded_steps);
        let parents = steps.iter().map(|(step, parent)| (step.0, parent.0)).collect();
        self.recorded_steps =
            steps.into_iter().filter(|(tag, _)| self.get_mut(*tag).is_some()).collect();
        parents
    }

    /// The command a tag names; `None` if it ended already.
    #[inline]
    pub(crate) fn get_mut(&mut self, tag: Tag) -> Option<&mut InFlight<W>> {
        let slot = self.slots.get_mut(tag.0 as u32 as usize)?;
        (slot.generation == (tag.0 >> 32) as u32).then_some(&mut slot.command)
    }

    /// Notes what a command will ask of the flash model, in place of what was noted before.
    pub(crate) fn reserve(&mut self, tag: Tag, reserved: Reserved) {
        if let Some(command) = self.get_mut(tag) {
            let before = std::mem::replace(&mut command.reserved, reserved);
            self.reserved.requests = self.reserved.requests - before.requests + reserved.requests;
            self.reserved.bytes = self.reserved.bytes - before.bytes + reserved.bytes;
        }
    }

    /// What all commands in flight will ask of the flash model.
    pub(crate) fn reserved(&self) -> Reserved {
        self.reserved
    }

    /// True if a tag names a command that still waits for something.
    pub(crate) fn waits(&self, tag: Tag) -> bool {
        let slot = self.slots.get(tag.0 as u32 as usize);
        slot.is_some_and(|slot| {
            slot.generation == (tag.0 >> 32) as u32 && !slot.command.is_completing()
        })
    }

    /// Takes the command a tag names out of flight.
    #[inline]
    pub(crate) fn remove(&mut self, tag: Tag) -> Option<Ending> {
        let command = self.get_mut(tag)?;
        let token = command.token.take()?;
        let reserved = std::mem::take(&mut command.reserved);
        if !command.waiting.is_over() {
            command.waiting = W::default();
        }
        let InFlight { kind, step, status, result, counts, late, .. } = *command;
        let timeline = command.timeline.take();
        let index = tag.0 as u32;
        let generation = &mut self.slots[index as usize].generation;
        *generation = generation.wrapping_add(1);
        self.free.push(index);
        self.steps -= usize::from(step.is_some());
        self.reserved.requests -= reserved.requests;
        self.reserved.bytes -= reserved.bytes;
        Some(Ending { token, kind, step, status, result, counts, late, timeline })
    }

    /// Tags of the commands that satisfy a condition, by slot.
    pub(crate) fn tags(&self, condition: impl Fn(&InFlight<W>) -> bool) -> Vec<Tag> {
        let is_meant = |slot: &Slot<W>| slot.command.token.is_some() && condition(&slot.command);
        let slots = self.slots.iter().enumerate().filter(|(_, slot)| is_meant(slot));
        slots.map(|(i, slot)| Tag(u64::from(slot.generation) << 32 | i as u64)).collect()
    }
}

//! Commands between their submission queue and their completion.
//!
//! A command taken from a queue becomes a [`Token`] that must end exactly once: posted to its
//! completion queue, in which it already has a place, or abandoned by a reset. Dropping a token
//! that did neither is a bug and panics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use compute::Work;
use nvme_spec::Status;
use nvme_spec::command::copy_format;
use simtime::{Duration, Instant};

use crate::command::{CopyBlocks, ExecuteProgram, LoadProgram};
use crate::data_pointer::Segments;
use crate::limits::NVM_COPY_BYTES_MAX;
use crate::namespace::compute::ProgramLease;

/// The obligation to complete one command.
#[must_use]
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) sqid: u16,
    pub(crate) cqid: u16,
    pub(crate) cid: u16,
    /// False if another command in flight has the same identifier: this one only says so.
    pub(crate) owns_cid: bool,
    ended: bool,
}

impl Token {
    pub(crate) fn new(sqid: u16, cqid: u16, cid: u16, owns_cid: bool) -> Self {
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
                self.cid, self.sqid
            );
        }
    }
}

/// Where a command's time went. The parts follow each other and add up to the whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stages {
    /// Host link, either direction.
    pub transfer: Duration,
    /// Waiting for and reading flash.
    pub flash_read: Duration,
    /// Waiting for the write buffer or for flash to be programmed.
    pub flash_write: Duration,
    /// Link between flash and device memory, after the last flash page was read.
    pub copy: Duration,
    /// Waiting for a compute unit, context switches included.
    pub queue: Duration,
    /// Holding a compute unit.
    pub compute: Duration,
    /// Firmware time of the command itself.
    pub command: Duration,
}

/// What an execution did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RunRecord {
    /// Work by class.
    pub work: Work,
}

/// A finished command, for statistics and timelines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommandRecord {
    /// Submission queue.
    pub sqid: u16,
    /// Command identifier.
    pub cid: u16,
    /// Opcode.
    pub opcode: u8,
    /// Namespace.
    pub nsid: u32,
    /// Status.
    pub status: Status,
    /// When the controller took it from its queue.
    pub fetched: Instant,
    /// When its completion was posted.
    pub completed: Instant,
    /// Where the time between went.
    pub stages: Stages,
    /// Set for executions that ran.
    pub run: Option<RunRecord>,
}

/// Names a command in flight to the models; stale after the command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tag(pub(crate) u64);

/// What a command does when the data it waits for has arrived.
#[derive(Debug)]
pub(crate) enum Arrival {
    NvmWrite {
        start: u64,
        len: u64,
        fua: bool,
    },
    NvmCompare {
        start: u64,
        len: u64,
        write: Option<FusedWrite>,
    },
    Dataset {
        range_count: usize,
    },
    NvmCopy(CopyBlocks),
    /// Bytes of device memory that a Copy brought to the flash.
    MemoryToNvm {
        sources: Vec<SourceBytes>,
        start: u64,
        len: u64,
        fua: bool,
    },
    MemoryWrite {
        start: u64,
        len: u64,
    },
    MemoryCopy {
        target: u64,
        len: u64,
        count: usize,
        format: u8,
    },
    LoadProgram(LoadProgram),
    CreateRangeSet {
        count: u8,
    },
    Execute {
        command: ExecuteProgram,
        lease: ProgramLease,
        set: Option<Arc<Vec<ebpf::Range>>>,
    },
    SetTimestamp,
    SetHostBehavior,
}

/// What a command will ask of the flash model and has not asked yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Reserved {
    /// Page requests.
    pub(crate) requests: u64,
    /// Bytes that the write buffer will be asked to hold.
    pub(crate) bytes: u64,
}

impl Arrival {
    /// What the command will ask of flash pages of this size.
    pub(crate) fn reserved(&self, page_bits: u32) -> Reserved {
        // A range that does not begin with a page touches one more.
        let pages = |len: u64| (len >> page_bits) + 2;
        match self {
            Self::NvmWrite { len, .. } | Self::MemoryToNvm { len, .. } => {
                Reserved { requests: pages(*len), bytes: *len }
            }
            Self::NvmCompare { len, write, .. } => {
                let written = if write.is_some() { *len } else { 0 };
                Reserved { requests: pages(*len) + pages(written), bytes: written }
            }
            // What it copies is known when the list of sources is here.
            Self::NvmCopy(copy) => {
                let most = NVM_COPY_BYTES_MAX;
                let requests = 2 * (pages(most) + copy.source_count as u64 * 2);
                Reserved { requests, bytes: most }
            }
            Self::MemoryCopy { len, count, format, .. } if *format != copy_format::MEMORY => {
                Reserved { requests: pages(*len) + *count as u64 * 2, bytes: 0 }
            }
            _ => Reserved::default(),
        }
    }
}

/// The write of a fused pair, as its compare knows it.
#[derive(Debug)]
pub(crate) struct FusedWrite {
    pub(crate) tag: Tag,
    pub(crate) segments: Segments,
    pub(crate) fua: bool,
}

/// Pages being read to be compared with the host's data, or only verified.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) start: u64,
    pub(crate) pages_left: u32,
    /// What the host says the blocks hold; `None` = it says nothing.
    pub(crate) compare: Option<Segments>,
    pub(crate) write: Option<FusedWrite>,
    pub(crate) len: u64,
}

/// Where copied blocks go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CopyTarget {
    Memory(u64),
    Blocks { start: u64, len: u64, fua: bool },
}

/// What a command in flight waits for.
#[derive(Debug)]
pub(crate) enum Activity {
    /// Nothing but its completion time.
    Completing,
    /// Data on its way from the host, or between flash and device memory.
    Arriving { segments: Segments, arrival: Box<Arrival> },
    /// Pages on their way from flash to the host.
    Reading { start: u64, len: u64, segments: Segments, pages_left: u32, link_end: Instant },
    /// Pages on their way to the write buffer or to flash.
    Writing { pages_left: u32 },
    /// Pages on their way from flash to the controller.
    Checking(Box<Check>),
    /// Pages on their way from flash to device memory or to other blocks.
    Copying { target: CopyTarget, sources: Vec<SourceBytes>, pages_left: u32, link_end: Instant },
    /// The compare of the same fused pair.
    AwaitingCompare,
    /// A job on the compute units.
    Running(Box<RunningJob>),
    /// Something to tell the host.
    AwaitingEvent,
    /// The namespace being formatted.
    Formatting,
}

/// A job on the compute units.
#[derive(Debug)]
pub(crate) struct RunningJob {
    /// Keep the program and the range set in use.
    pub(crate) _in_use: (ProgramLease, Option<Arc<Vec<ebpf::Range>>>),
    /// Declared run time of a program that also runs.
    pub(crate) declared: Option<Duration>,
    /// What the program did, once it ran.
    pub(crate) outcome: Option<ebpf::Outcome>,
    /// Stops the program, wherever it runs, when nobody waits for it any more.
    #[expect(dead_code, reason = "acts when it is dropped")]
    pub(crate) stop: StopOnDrop,
}

/// Sets a program's stop flag at the end of its job.
#[derive(Debug)]
pub(crate) struct StopOnDrop(pub(crate) Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Bytes of the NVM or the memory namespace to copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SourceBytes {
    pub(crate) start: u64,
    pub(crate) len: u64,
}

/// A command in flight. It stays in its slot until it ends: what it waits for is the larger part of
/// it, and is never moved.
#[derive(Debug)]
pub(crate) struct InFlight {
    /// Taken when the command ends.
    token: Option<Token>,
    pub(crate) opcode: u8,
    pub(crate) nsid: u32,
    pub(crate) activity: Activity,
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

/// What is left of a command that ends: all that its completion needs.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) token: Token,
    pub(crate) opcode: u8,
    pub(crate) nsid: u32,
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
    pub(crate) run: Option<RunRecord>,
}

impl Timeline {
    pub(crate) fn new(fetched: Instant) -> Self {
        Self { fetched, mark: fetched, stages: Stages::default(), run: None }
    }

    /// The job waited and ran until `at`.
    pub(crate) fn job_ended(&mut self, at: Instant, waited: Duration, ran: Duration) {
        self.stages.queue += waited;
        self.stages.compute += ran;
        self.mark = at;
    }
}

impl InFlight {
    /// The obligation to complete it.
    pub(crate) fn token(&self) -> &Token {
        self.token.as_ref().expect("a command in flight has its token")
    }

    /// True if all that is left is to post the completion.
    pub(crate) fn is_completing(&self) -> bool {
        matches!(self.activity, Activity::Completing)
    }

    /// The write of the fused pair whose compare this is.
    pub(crate) fn fused_write(&self) -> Option<Tag> {
        let write = match &self.activity {
            Activity::Checking(check) => check.write.as_ref(),
            Activity::Arriving { arrival, .. } => match &**arrival {
                Arrival::NvmCompare { write, .. } => write.as_ref(),
                _ => None,
            },
            _ => None,
        };
        write.map(|write| write.tag)
    }

    /// The time from the end of the last stage to `at` was spent on one stage.
    #[inline]
    pub(crate) fn end_stage(&mut self, at: Instant, stage: fn(&mut Stages) -> &mut Duration) {
        if let Some(timeline) = &mut self.timeline {
            *stage(&mut timeline.stages) += at.since(timeline.mark);
            timeline.mark = timeline.mark.max(at);
        }
    }
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    command: InFlight,
}

/// All commands in flight.
#[derive(Debug, Default)]
pub(crate) struct InFlightTable {
    slots: Vec<Slot>,
    free: Vec<u32>,
    reserved: Reserved,
}

impl Drop for InFlightTable {
    /// A drive that is taken apart abandons its commands.
    fn drop(&mut self) {
        for token in self.slots.iter_mut().filter_map(|slot| slot.command.token.take()) {
            token.end();
        }
    }
}

impl InFlightTable {
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Puts a command into flight that waits for nothing yet.
    #[inline]
    pub(crate) fn insert(
        &mut self,
        token: Token,
        (opcode, nsid): (u8, u32),
        timeline: Option<Box<Timeline>>,
    ) -> Tag {
        let token = Some(token);
        let Some(index) = self.free.pop() else {
            let (activity, status, result) = (Activity::Completing, Status::SUCCESS, 0);
            let (counts, late) = (HostData::None, Duration::ZERO);
            let reserved = Reserved::default();
            let command = InFlight {
                token,
                opcode,
                nsid,
                activity,
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
        (command.token, command.opcode, command.nsid) = (token, opcode, nsid);
        (command.status, command.result) = (Status::SUCCESS, 0);
        (command.counts, command.late, command.timeline) =
            (HostData::None, Duration::ZERO, timeline);
        Tag(u64::from(*generation) << 32 | u64::from(index))
    }

    /// The command a tag names; `None` if it ended already.
    #[inline]
    pub(crate) fn get_mut(&mut self, tag: Tag) -> Option<&mut InFlight> {
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

    /// True if a tag names a command that has not ended.
    pub(crate) fn contains(&self, tag: Tag) -> bool {
        let slot = self.slots.get(tag.0 as u32 as usize);
        slot.is_some_and(|slot| slot.generation == (tag.0 >> 32) as u32)
    }

    /// Takes the command a tag names out of flight.
    #[inline]
    pub(crate) fn remove(&mut self, tag: Tag) -> Option<Ending> {
        let command = self.get_mut(tag)?;
        let token = command.token.take()?;
        let reserved = std::mem::take(&mut command.reserved);
        if !matches!(command.activity, Activity::Completing) {
            command.activity = Activity::Completing;
        }
        let InFlight { opcode, nsid, status, result, counts, late, .. } = *command;
        let timeline = command.timeline.take();
        let index = tag.0 as u32;
        let generation = &mut self.slots[index as usize].generation;
        *generation = generation.wrapping_add(1);
        self.free.push(index);
        self.reserved.requests -= reserved.requests;
        self.reserved.bytes -= reserved.bytes;
        Some(Ending { token, opcode, nsid, status, result, counts, late, timeline })
    }

    /// Tags of the commands that satisfy a condition, by slot.
    pub(crate) fn tags(&self, condition: impl Fn(&InFlight) -> bool) -> Vec<Tag> {
        let is_meant = |slot: &Slot| slot.command.token.is_some() && condition(&slot.command);
        let slots = self.slots.iter().enumerate().filter(|(_, slot)| is_meant(slot));
        slots.map(|(i, slot)| Tag(u64::from(slot.generation) << 32 | i as u64)).collect()
    }
}

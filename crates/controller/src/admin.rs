//! Admin commands: dispatch, and the commands that need no file of their own.

pub(crate) mod background;
mod features;
mod identify;
pub(crate) mod keep_alive;
pub(crate) mod log_pages;
mod queues;

pub use identify::PCI_VENDOR;

use nvme_spec::{AdminOpcode, Status, SubmissionEntry};
use simtime::Instant;

use crate::command::AdminCommand;
use crate::controller::Controller;
use crate::data_pointer::{DataPointer, Direction, Segments};
use crate::doorbell::DoorbellBuffers;
use crate::host_memory::HostMemory;
use crate::inflight::{Activity, Arrival, Tag};
use crate::limits::RANGES_PER_SET_MAX;
use crate::namespace::COMPUTE_NSID;
use crate::registers::CSS_ALL;

/// Dword 0 of a completed Abort: the command was not aborted (Base 2.1, section 5.1.1).
const NOT_ABORTED: u64 = 1;

impl Controller {
    /// Executes an admin command.
    pub(crate) fn admin(
        &mut self,
        now: Instant,
        host: &mut impl HostMemory,
        tag: Tag,
        entry: &SubmissionEntry,
    ) -> Result<(), Status> {
        let command = AdminCommand::decode(entry)?;
        self.open_to_admin(AdminOpcode(entry.opcode))?;
        let pointer = DataPointer::of(entry);
        let mut result = 0;
        match command {
            AdminCommand::Identify(identify) => {
                let page = self.identify(&identify)?;
                let later = now + identify.look_up_time();
                return self.return_page_at((now, later), host, tag, &page, pointer);
            }
            AdminCommand::GetLog(get) => {
                let page = self.log_page(&get)?;
                self.return_page(now, host, tag, &page, pointer)?;
                if !get.retain_event {
                    self.log_was_read(get.lid);
                }
                return Ok(());
            }
            AdminCommand::CreateCq { qid, entries, base, vector } => {
                self.create_completion_queue(qid, entries, base, vector)?;
            }
            AdminCommand::CreateSq(create) => self.create_submission_queue(create)?,
            AdminCommand::DeleteCq { qid } => self.delete_completion_queue(qid)?,
            AdminCommand::DeleteSq { qid } => self.delete_submission_queue(now, host, qid)?,
            AdminCommand::Abort { sqid, cid } => result = self.abort(now, host, tag, (sqid, cid)),
            AdminCommand::SetFeatures(set) => {
                return self.set_features(now, host, tag, (set, pointer));
            }
            AdminCommand::GetFeatures(get) => {
                return self.get_features(now, host, tag, (get, pointer));
            }
            AdminCommand::AsyncEventRequest => return self.request_event(tag),
            AdminCommand::KeepAlive => self.keep_alive.restart(now, &mut self.events),
            AdminCommand::DoorbellBuffers { shadow, event_index } => {
                let last = self.config.queue_pairs_max;
                let buffers = DoorbellBuffers::probe(host, shadow, event_index, last)?;
                self.doorbell_buffers = Some(buffers);
            }
            AdminCommand::Format(format) => return self.format(now, host, tag, &format),
            AdminCommand::Sanitize { action, cdw10 } => {
                return self.sanitize(now, host, tag, (action, cdw10));
            }
            AdminCommand::SelfTest { nsid, test } => self.self_test(now, nsid, test)?,
            program_command => {
                return self.manage_programs(now, host, tag, (program_command, pointer));
            }
        }
        self.complete(now, tag, Status::SUCCESS, result);
        Ok(())
    }

    /// Program, range set and job group management: for the compute namespace, and only with CC.CSS = 110b.
    fn manage_programs(
        &mut self,
        now: Instant,
        host: &mut impl HostMemory,
        tag: Tag,
        (command, pointer): (AdminCommand, DataPointer),
    ) -> Result<(), Status> {
        match command {
            AdminCommand::LoadProgram { nsid, load } => {
                self.check_compute(nsid)?;
                return self.load_program(now, host, tag, (load, pointer));
            }
            AdminCommand::UnloadProgram { nsid, program_index } => {
                self.check_compute(nsid)?;
                self.compute.unload(program_index)?;
            }
            AdminCommand::Activate { nsid, program_index, activate } => {
                self.check_compute(nsid)?;
                self.compute.activate(program_index, activate)?;
            }
            AdminCommand::CreateRangeSet { nsid, count } => {
                self.check_compute(nsid)?;
                if count == 0 || count > RANGES_PER_SET_MAX {
                    return Err(Status::MAXIMUM_MEMORY_RANGES_EXCEEDED.with_dnr());
                }
                let len = u64::from(count) * 32;
                let segments = Segments::resolve(host, pointer, len, Direction::FromHost)?;
                let arrival = Box::new(Arrival::CreateRangeSet { count });
                self.expect_data(now, tag, len, Activity::Arriving { segments, arrival });
                return Ok(());
            }
            AdminCommand::DeleteRangeSet { nsid, rsid } => {
                self.check_compute(nsid)?;
                self.compute.delete_set(rsid)?;
            }
            AdminCommand::JobGroup { nsid, action } => {
                self.check_compute(nsid)?;
                let result = self.manage_groups(action)?;
                self.complete(now, tag, Status::SUCCESS, result);
                return Ok(());
            }
            other => unreachable!("{other:?} has an arm of its own"),
        }
        self.complete(now, tag, Status::SUCCESS, 0);
        Ok(())
    }

    fn check_compute(&self, nsid: u32) -> Result<(), Status> {
        if self.registers.cc.css() != CSS_ALL {
            return Err(Status::INVALID_OPCODE.with_dnr());
        }
        if nsid != COMPUTE_NSID {
            return Err(Status::INVALID_NAMESPACE.with_dnr());
        }
        Ok(())
    }

    /// Aborts a command that waits for something; one that is about to complete, or that is still
    /// in its submission queue, goes on. Returns dword 0.
    fn abort(
        &mut self,
        now: Instant,
        host: &mut impl HostMemory,
        own: Tag,
        (sqid, cid): (u16, u16),
    ) -> u64 {
        let named = self.inflight.tags(|c| {
            let token = c.token();
            token.sqid == sqid && token.cid == cid && token.owns_cid
        });
        let Some(&tag) = named.first().filter(|&&tag| tag != own) else { return NOT_ABORTED };
        let Some(command) = self.inflight.get_mut(tag) else { return NOT_ABORTED };
        match command.activity {
            Activity::Completing => NOT_ABORTED,
            Activity::AwaitingEvent => {
                let ended = self.end_event_request(now, host, tag, Status::ABORT_REQUESTED);
                if ended { 0 } else { NOT_ABORTED }
            }
            _ => {
                self.end_early(now, host, tag, Status::ABORT_REQUESTED);
                0
            }
        }
    }

    /// Sends a data structure to the host.
    fn return_page(
        &mut self,
        now: Instant,
        host: &mut impl HostMemory,
        tag: Tag,
        page: &[u8],
        pointer: DataPointer,
    ) -> Result<(), Status> {
        self.return_page_at((now, now), host, tag, page, pointer)
    }

    /// The same for a data structure that the firmware has at a later time.
    fn return_page_at(
        &mut self,
        (now, later): (Instant, Instant),
        host: &mut impl HostMemory,
        tag: Tag,
        page: &[u8],
        pointer: DataPointer,
    ) -> Result<(), Status> {
        let len = page.len() as u64;
        let segments = Segments::resolve(host, pointer, len, Direction::ToHost)?;
        segments.write(host, page)?;
        if later > now {
            // Its transfer must not keep those of other commands waiting until then.
            self.complete(later, tag, Status::SUCCESS, 0);
        } else {
            self.complete_with_data(now, tag, len);
        }
        Ok(())
    }

    /// Goes on with a command whose data has arrived.
    pub(crate) fn act_on_data(
        &mut self,
        now: Instant,
        host: &mut impl HostMemory,
        tag: Tag,
        segments: Segments,
        arrival: Arrival,
    ) -> Result<(), Status> {
        match arrival {
            Arrival::NvmWrite { start, len, fua } => {
                self.nvm_write(now, host, tag, &segments, (start, len, fua))
            }
            Arrival::NvmCompare { start, len, write } => {
                self.check_blocks(now, tag, (start, len), Some(segments), write);
                Ok(())
            }
            Arrival::Dataset { range_count } => {
                self.dataset_arrived(now, host, tag, &segments, range_count)
            }
            Arrival::NvmCopy(copy) => self.copy_sources_arrived(now, host, tag, &segments, copy),
            Arrival::MemoryToNvm { sources, start, len, fua } => {
                self.memory_to_nvm(now, tag, &sources, (start, len, fua));
                Ok(())
            }
            Arrival::MemoryWrite { start, len } => {
                self.memory_write(now, host, tag, &segments, (start, len))
            }
            Arrival::MemoryCopy { target, len, count, format } => {
                self.memory_copy(now, host, tag, &segments, (target, len, count, format))
            }
            Arrival::LoadProgram(load) => self.program_arrived(now, host, tag, &segments, &load),
            Arrival::CreateRangeSet { count } => {
                self.range_set_arrived(now, host, tag, &segments, count)
            }
            Arrival::Execute { command, lease, set } => {
                self.execute_arrived(now, host, tag, &segments, (command, lease, set))
            }
            arrival @ (Arrival::SetTimestamp | Arrival::SetHostBehavior) => {
                self.feature_data_arrived(now, host, tag, (&segments, &arrival))
            }
        }
    }
}

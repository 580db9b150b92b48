//! Admin commands: dispatch, and what arriving host data leads to.

mod identify;
pub(crate) mod log_pages;
mod queues;

use nvme_spec::{Status, SubmissionEntry};
use simtime::Instant;

use crate::command::AdminCommand;
use crate::controller::Controller;
use crate::host_memory::HostMemory;
use crate::inflight::{Activity, Arrival, Tag};
use crate::limits::RANGES_PER_SET_MAX;
use crate::namespace::COMPUTE_NSID;
use crate::prp::Segments;
use crate::registers::CSS_ALL;

impl Controller {
    /// Executes an admin command.
    pub(crate) fn admin(
        &mut self,
        now: Instant,
        host: &mut impl HostMemory,
        tag: Tag,
        entry: &SubmissionEntry,
    ) -> Result<(), Status> {
        let prp = (entry.prp1.get(), entry.prp2.get());
        let mut result = 0;
        match AdminCommand::decode(entry)? {
            AdminCommand::Identify(identify) => {
                let page = self.identify(&identify)?;
                return self.return_page(now, host, tag, &page, prp);
            }
            AdminCommand::GetLog(get) => {
                let page = self.log_page(&get)?;
                return self.return_page(now, host, tag, &page, prp);
            }
            AdminCommand::CreateCq { qid, entries, base, vector } => {
                self.create_completion_queue(qid, entries, base, vector)?;
            }
            AdminCommand::CreateSq { qid, entries, base, cqid } => {
                self.create_submission_queue(qid, entries, base, cqid)?;
            }
            AdminCommand::DeleteCq { qid } => self.delete_completion_queue(qid)?,
            AdminCommand::DeleteSq { qid } => self.delete_submission_queue(now, host, qid)?,
            AdminCommand::SetFeatures { fid, save, value } => {
                result = self.set_feature(fid, save, value)?;
            }
            AdminCommand::GetFeatures { fid, select } => result = self.get_feature(fid, select)?,
            AdminCommand::LoadProgram { nsid, load } => {
                self.check_compute(nsid)?;
                return self.load_program(now, host, tag, load, prp);
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
                let segments = Segments::from_prp(host, prp.0, prp.1, len)?;
                let arrival = Box::new(Arrival::CreateRangeSet { count });
                self.expect_data(now, tag, len, Activity::Arriving { segments, arrival });
                return Ok(());
            }
            AdminCommand::DeleteRangeSet { nsid, rsid } => {
                self.check_compute(nsid)?;
                self.compute.delete_set(rsid)?;
            }
        }
        self.complete(now, tag, Status::SUCCESS, result);
        Ok(())
    }

    /// Program management commands name the compute namespace, and exist only with CC.CSS = 110b.
    fn check_compute(&self, nsid: u32) -> Result<(), Status> {
        if self.registers.cc.css() != CSS_ALL {
            return Err(Status::INVALID_OPCODE.with_dnr());
        }
        if nsid != COMPUTE_NSID {
            return Err(Status::INVALID_NAMESPACE.with_dnr());
        }
        Ok(())
    }

    /// Sends a data structure to the host.
    fn return_page(
        &mut self,
        now: Instant,
        host: &mut impl HostMemory,
        tag: Tag,
        page: &[u8],
        (prp1, prp2): (u64, u64),
    ) -> Result<(), Status> {
        let len = page.len() as u64;
        let segments = Segments::from_prp(host, prp1, prp2, len)?;
        segments.write(host, page)?;
        self.complete_with_data(now, tag, len);
        Ok(())
    }

    /// Goes on with a command whose host data has arrived.
    pub(crate) fn act_on_data(
        &mut self,
        now: Instant,
        host: &mut impl HostMemory,
        tag: Tag,
        segments: &Segments,
        arrival: Arrival,
    ) -> Result<(), Status> {
        match arrival {
            Arrival::NvmWrite { start, len, fua } => {
                self.nvm_write(now, host, tag, segments, (start, len, fua))
            }
            Arrival::MemoryWrite { start, len } => {
                self.memory_write(now, host, tag, segments, (start, len))
            }
            Arrival::MemoryCopy { target, len, count, format } => {
                self.memory_copy(now, host, tag, segments, (target, len, count, format))
            }
            Arrival::LoadProgram(load) => self.program_arrived(now, host, tag, segments, &load),
            Arrival::CreateRangeSet { count } => {
                self.range_set_arrived(now, host, tag, segments, count)
            }
            Arrival::Execute { command, lease, set } => {
                self.execute_arrived(now, host, tag, segments, (command, lease, set))
            }
        }
    }
}

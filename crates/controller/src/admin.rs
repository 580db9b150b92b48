//! Admin commands: dispatch, and the commands about queues and commands, which are the controller's own.

pub(crate) mod features;
mod firmware;
mod identify;
pub(crate) mod keep_alive;
pub(crate) mod log_pages;
pub(crate) mod namespaces;
pub(crate) mod operations;

pub use identify::PCI_VENDOR;

use nvme_spec::{AdminOpcode, Cid, CqId, SqId, Status, SubmissionEntry, fid, select};

use crate::command::{AdminCommand, FemuAdminCommand, GetFeatures, SetFeatures};
use crate::controller::Controller;
use crate::data_pointer::DataPointer;
use crate::doorbell::DoorbellBuffers;
use crate::event::Tag;
use crate::femu;
use crate::host_memory::HostMemory;
use crate::kept_history;
use crate::namespace::programs::manage::manage;
use crate::waiting::Waiting;

/// Dword 0 of a completed Abort: the command was not aborted (Base 2.1, section 5.1.1).
const NOT_ABORTED: u64 = 1;

impl Controller {
    /// Executes an admin command.
    pub(crate) fn admin(
        &mut self,
        host: &mut dyn HostMemory,
        tag: Tag,
        entry: &SubmissionEntry,
    ) -> Result<(), Status> {
        let pointer = DataPointer::of(entry);
        if self.subsystem.femu.is_some()
            && let Some(command) = FemuAdminCommand::decode(entry)
        {
            return femu::begin_admin(&mut self.turn(host), tag, command?, pointer);
        }
        let command = AdminCommand::decode(entry)?;
        let mut turn = self.turn(host);
        turn.check_admin_open(AdminOpcode(entry.opcode))?;
        let mut result = 0;
        match command {
            AdminCommand::Identify(command) => {
                let page = identify::page(&turn, &command)?;
                let time = identify::look_up_time(&turn, &command);
                if time.is_zero() {
                    return turn.return_page(tag, &page, pointer);
                }
                return turn.return_page_at(turn.now + time, tag, &page, pointer);
            }
            AdminCommand::GetLog(get) => {
                log_pages::prepare(&mut turn, &get);
                let page = log_pages::part(&turn, &get)?;
                turn.return_page(tag, &page, pointer)?;
                if !get.retain_event {
                    log_pages::was_read(&mut turn, get.lid);
                }
                return Ok(());
            }
            AdminCommand::Format(format) => return operations::format(&mut turn, tag, &format),
            AdminCommand::Sanitize { action, cdw10 } => {
                return operations::sanitize(&mut turn, tag, action, cdw10);
            }
            AdminCommand::SelfTest { nsid, test } => operations::self_test(&mut turn, nsid, test)?,
            AdminCommand::Programs { nsid, action } => {
                return manage(&mut turn, tag, nsid, action, pointer);
            }
            AdminCommand::Namespaces { nsid, action } => {
                return namespaces::begin(&mut turn, tag, nsid, action, pointer);
            }
            AdminCommand::Mark { len } => return kept_history::mark(&mut turn, tag, len, pointer),
            AdminCommand::KeepAlive => {
                turn.session.keep_alive.restart(turn.now, &mut turn.subsystem.events);
            }
            AdminCommand::SetFeatures(set) => return self.set_features(host, tag, set, pointer),
            AdminCommand::GetFeatures(get) => return self.get_features(host, tag, get, pointer),
            AdminCommand::DoorbellBuffers { shadow, event_index } => {
                let last = self.subsystem.config.queue_pairs_max;
                let buffers = DoorbellBuffers::probe(host, shadow, event_index, last)?;
                self.queues.doorbell_buffers = Some(buffers);
            }
            AdminCommand::CreateCq(create) => {
                let entry_bytes = 1 << self.session.registers.cc.iocqes();
                self.queues.create_completion(create, entry_bytes)?;
            }
            AdminCommand::CreateSq(create) => {
                let entry_bytes = 1 << self.session.registers.cc.iosqes();
                let class = self.class_of(create.priority);
                self.queues.create_submission(create, entry_bytes, class)?;
            }
            AdminCommand::DeleteCq { cqid } => self.queues.delete_completion(cqid)?,
            AdminCommand::DeleteSq { sqid } => self.delete_submission_queue(host, sqid)?,
            AdminCommand::Abort { sqid, cid } => result = self.abort(host, tag, sqid, cid),
            AdminCommand::AsyncEventRequest => return self.request_event(tag),
        }
        self.turn(host).complete(tag, Status::SUCCESS, result);
        Ok(())
    }

    fn set_features(
        &mut self,
        host: &mut dyn HostMemory,
        tag: Tag,
        command: SetFeatures,
        pointer: DataPointer,
    ) -> Result<(), Status> {
        let mut turn = self.turn(host);
        features::check_namespace(&turn, command.fid, command.nsid, true)?;
        if command.fid != fid::NUMBER_OF_QUEUES || command.save {
            return features::set(&mut turn, tag, command, pointer);
        }
        let count = self.queues.set_count(command.value)?;
        self.turn(host).complete(tag, Status::SUCCESS, count);
        Ok(())
    }

    fn get_features(
        &mut self,
        host: &mut dyn HostMemory,
        tag: Tag,
        command: GetFeatures,
        pointer: DataPointer,
    ) -> Result<(), Status> {
        let mut turn = self.turn(host);
        features::check_namespace(&turn, command.fid, command.nsid, false)?;
        let result = match command.fid {
            id if command.select == select::CAPABILITIES => features::capabilities(id).into(),
            fid::NUMBER_OF_QUEUES => self.queues.count(),
            _ => return features::get(&mut turn, tag, command, pointer),
        };
        self.turn(host).complete(tag, Status::SUCCESS, result);
        Ok(())
    }

    /// Deletes a submission queue; its commands in flight complete as aborted before the deletion
    /// does.
    fn delete_submission_queue(
        &mut self,
        host: &mut dyn HostMemory,
        sqid: SqId,
    ) -> Result<(), Status> {
        if sqid.is_admin() || self.queues.submission(sqid).is_none() {
            return Err(Status::INVALID_QUEUE_IDENTIFIER.with_dnr());
        }
        let tags = self.session.inflight.tags(|command| {
            // The write of a fused pair ends with its compare.
            command.token().sqid == sqid && !command.waiting.is_second_of_pair()
        });
        let mut turn = self.turn(host);
        for tag in tags {
            turn.end_early(tag, Status::ABORTED_SQ_DELETION);
        }
        turn.forget_abandoned();
        self.post_ready(host);
        self.queues.delete_submission(sqid);
        Ok(())
    }

    /// Aborts a command that waits for something; one that is about to complete, or that is still
    /// in its submission queue, goes on. Returns dword 0.
    fn abort(&mut self, host: &mut dyn HostMemory, own: Tag, sqid: SqId, cid: Cid) -> u64 {
        let named = self.session.inflight.tags(|command| {
            let token = command.token();
            token.sqid == sqid && token.cid == cid && token.owns_cid
        });
        let Some(&tag) = named.first().filter(|&&tag| tag != own) else { return NOT_ABORTED };
        let Some(command) = self.session.inflight.get_mut(tag) else { return NOT_ABORTED };
        match command.waiting {
            Waiting::Completion => return NOT_ABORTED,
            Waiting::Event => {
                // It gave its place back: without a new one it goes on.
                if !self.queues.reserve_completion(host, CqId::ADMIN) {
                    return NOT_ABORTED;
                }
                self.session.async_events.forget(tag);
            }
            _ => {}
        }
        let mut turn = self.turn(host);
        turn.end_early(tag, Status::ABORT_REQUESTED);
        // What it left is settled before the host knows that it has ended, and may read.
        turn.forget_abandoned();
        self.post_ready(host);
        0
    }

    /// Keeps an Asynchronous Event Request until there is something to tell.
    fn request_event(&mut self, tag: Tag) -> Result<(), Status> {
        self.session.async_events.request(tag)?;
        // A request may wait for ever: it must not hold a place that other completions need.
        self.queues.release_completion(CqId::ADMIN);
        self.session.fetch_due |= self.queues.arbiter.unblock();
        if let Some(command) = self.session.inflight.get_mut(tag) {
            command.waiting = Waiting::Event;
        }
        Ok(())
    }
}

//! I/O queue creation and deletion, and the features that govern them (Base 2.1, sections 5.2.1
//! to 5.2.4 and 5.1.25.1.7).

use nvme_spec::{CompletionEntry, Status, SubmissionEntry};
use simtime::Instant;

use crate::controller::Controller;
use crate::host_memory::HostMemory;
use crate::limits::QUEUE_ENTRIES_MAX;
use crate::queue::{CompletionQueue, SubmissionQueue};

/// Feature: number of queues.
const NUMBER_OF_QUEUES: u8 = 0x07;

impl Controller {
    fn check_queue(&self, qid: u16, entries: u32, taken: bool) -> Result<(), Status> {
        if qid == 0 || qid > self.config.queue_pairs_max || taken {
            return Err(Status::INVALID_QUEUE_IDENTIFIER.with_dnr());
        }
        if !(2..=QUEUE_ENTRIES_MAX).contains(&entries) {
            return Err(Status::INVALID_QUEUE_SIZE.with_dnr());
        }
        Ok(())
    }

    pub(crate) fn create_completion_queue(
        &mut self,
        qid: u16,
        entries: u32,
        base: u64,
        vector: Option<u16>,
    ) -> Result<(), Status> {
        let taken = self.completion.get(usize::from(qid)).is_some_and(Option::is_some);
        self.check_queue(qid, entries, taken)?;
        if 1usize << self.registers.cc.iocqes() != CompletionEntry::SIZE {
            return Err(Status::INVALID_QUEUE_SIZE.with_dnr());
        }
        // One vector for each possible queue pair, and one for the admin queue.
        if vector.is_some_and(|v| v > self.config.queue_pairs_max) {
            return Err(Status::INVALID_INTERRUPT_VECTOR.with_dnr());
        }
        self.completion[usize::from(qid)] = Some(CompletionQueue::new(base, entries, vector));
        Ok(())
    }

    pub(crate) fn create_submission_queue(
        &mut self,
        qid: u16,
        entries: u32,
        base: u64,
        cqid: u16,
    ) -> Result<(), Status> {
        let taken = self.submission.get(usize::from(qid)).is_some_and(Option::is_some);
        self.check_queue(qid, entries, taken)?;
        if 1usize << self.registers.cc.iosqes() != SubmissionEntry::SIZE {
            return Err(Status::INVALID_QUEUE_SIZE.with_dnr());
        }
        let completion = self.completion.get_mut(usize::from(cqid)).filter(|_| cqid != 0);
        let Some(Some(completion)) = completion else {
            return Err(Status::INVALID_COMPLETION_QUEUE.with_dnr());
        };
        completion.users += 1;
        self.submission[usize::from(qid)] = Some(SubmissionQueue::new(base, entries, cqid));
        Ok(())
    }

    pub(crate) fn delete_completion_queue(&mut self, qid: u16) -> Result<(), Status> {
        let slot = self.completion.get_mut(usize::from(qid)).filter(|_| qid != 0);
        match slot {
            Some(Some(queue)) if queue.users > 0 => Err(Status::INVALID_QUEUE_DELETION.with_dnr()),
            Some(slot @ Some(_)) => {
                *slot = None;
                Ok(())
            }
            _ => Err(Status::INVALID_QUEUE_IDENTIFIER.with_dnr()),
        }
    }

    /// Deletes a submission queue; its commands in flight complete as aborted before the deletion
    /// does.
    pub(crate) fn delete_submission_queue(
        &mut self,
        now: Instant,
        host: &mut impl HostMemory,
        qid: u16,
    ) -> Result<(), Status> {
        let slot = self.submission.get(usize::from(qid)).filter(|_| qid != 0);
        let Some(Some(queue)) = slot else {
            return Err(Status::INVALID_QUEUE_IDENTIFIER.with_dnr());
        };
        let cqid = usize::from(queue.cqid);
        for tag in self.inflight.tags(|c| c.token.sqid == qid) {
            if let Some(mut command) = self.abandon(tag) {
                command.status = Status::ABORTED_SQ_DELETION;
                self.end(now, host, command);
            }
        }
        self.submission[usize::from(qid)] = None;
        if let Some(completion) = &mut self.completion[cqid] {
            completion.users -= 1;
        }
        Ok(())
    }

    pub(crate) fn set_feature(&mut self, fid: u8, save: bool, value: u32) -> Result<u64, Status> {
        if fid != NUMBER_OF_QUEUES {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        if save {
            return Err(Status::FEATURE_NOT_SAVEABLE.with_dnr());
        }
        if value & 0xFFFF == 0xFFFF || value >> 16 == 0xFFFF {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        // The number may be set once after a reset, before any I/O queue exists.
        let exists = self.completion.iter().skip(1).any(Option::is_some);
        if exists || self.queues_granted {
            return Err(Status::COMMAND_SEQUENCE_ERROR.with_dnr());
        }
        self.queues_granted = true;
        self.get_feature(fid, 0)
    }

    /// Every selector gives the same: the number granted is always the number there is.
    pub(crate) fn get_feature(&self, fid: u8, select: u8) -> Result<u64, Status> {
        match (fid, select) {
            (NUMBER_OF_QUEUES, 0..=2) => {
                let pairs_z = u64::from(self.config.queue_pairs_max) - 1;
                Ok(pairs_z << 16 | pairs_z)
            }
            // Supported capabilities: changeable, neither saveable nor per namespace.
            (NUMBER_OF_QUEUES, 3) => Ok(1 << 2),
            _ => Err(Status::INVALID_FIELD.with_dnr()),
        }
    }
}

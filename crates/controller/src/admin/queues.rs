//! I/O queue creation and deletion, and their number (Base 2.1, sections 5.2.1 to 5.2.4 and
//! 5.1.25.1.7).

use nvme_spec::{CompletionEntry, Status, SubmissionEntry};
use simtime::Instant;

use crate::command::CreateSq;
use crate::controller::Controller;
use crate::host_memory::HostMemory;
use crate::limits::QUEUE_ENTRIES_MAX;
use crate::queue::{CompletionQueue, SubmissionQueue, is_addressable};

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
        if !is_addressable(base, entries, CompletionEntry::SIZE) {
            return Err(Status::INVALID_PRP_OFFSET.with_dnr());
        }
        if vector.is_some_and(|v| !self.interrupts.exists(v)) {
            return Err(Status::INVALID_INTERRUPT_VECTOR.with_dnr());
        }
        self.completion[usize::from(qid)] = Some(CompletionQueue::new(base, entries, vector));
        Ok(())
    }

    pub(crate) fn create_submission_queue(
        &mut self,
        CreateSq { qid, entries, base, cqid, priority }: CreateSq,
    ) -> Result<(), Status> {
        let taken = self.submission.get(usize::from(qid)).is_some_and(Option::is_some);
        self.check_queue(qid, entries, taken)?;
        if 1usize << self.registers.cc.iosqes() != SubmissionEntry::SIZE {
            return Err(Status::INVALID_QUEUE_SIZE.with_dnr());
        }
        if !is_addressable(base, entries, SubmissionEntry::SIZE) {
            return Err(Status::INVALID_PRP_OFFSET.with_dnr());
        }
        let completion = self.completion.get_mut(usize::from(cqid)).filter(|_| cqid != 0);
        let Some(Some(completion)) = completion else {
            return Err(Status::INVALID_COMPLETION_QUEUE.with_dnr());
        };
        completion.users += 1;
        let class = self.class_of(priority);
        self.submission[usize::from(qid)] = Some(SubmissionQueue::new(base, entries, cqid, class));
        self.queue_last = self.queue_last.max(qid);
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
        for tag in self.inflight.tags(|c| c.token().sqid == qid) {
            self.end_early(now, host, tag, Status::ABORTED_SQ_DELETION);
        }
        self.forget_abandoned(now);
        self.submission[usize::from(qid)] = None;
        self.arbiter.remove(qid);
        if let Some(completion) = &mut self.completion[cqid] {
            completion.users -= 1;
        }
        Ok(())
    }

    /// Number of queues: every host gets all there are, as long as it has not created any.
    pub(crate) fn set_queue_count(&mut self, value: u32) -> Result<u64, Status> {
        if value & 0xFFFF == 0xFFFF || value >> 16 == 0xFFFF {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        let exists = self.completion.iter().skip(1).any(Option::is_some);
        if exists {
            return Err(Status::COMMAND_SEQUENCE_ERROR.with_dnr());
        }
        Ok(self.queue_count())
    }

    /// Queues of either kind, zero-based, as the feature reports them.
    pub(crate) fn queue_count(&self) -> u64 {
        let pairs_z = u64::from(self.config.queue_pairs_max) - 1;
        pairs_z << 16 | pairs_z
    }
}

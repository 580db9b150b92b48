//! All queues of a controller: their creation, deletion and number (Base 2.1, sections 5.2.1 to 5.2.4 and
//! 5.1.25.1.7). Their doorbells: `doorbell.rs`.

use nvme_spec::{CompletionEntry, CqId, SqId, Status, SubmissionEntry};

use crate::arbiter::{Arbiter, Class};
use crate::command::{CreateCq, CreateSq};
use crate::doorbell::DoorbellBuffers;
use crate::limits::QUEUE_ENTRIES_MAX;
use crate::queue::{CompletionQueue, SubmissionQueue, is_addressable};

/// Queues, and who of them is next.
#[derive(Debug)]
pub(crate) struct Queues {
    pub(crate) submission: Vec<Option<SubmissionQueue>>,
    pub(crate) completion: Vec<Option<CompletionQueue>>,
    /// The highest identifier of an I/O submission queue since the last reset.
    pub(crate) last: SqId,
    pub(crate) arbiter: Arbiter,
    pub(crate) doorbell_buffers: Option<DoorbellBuffers>,
    /// Doorbells written since the last turn: what they say counts from the next one.
    pub(crate) rung: Vec<(u64, u32)>,
    /// There may be commands to take.
    pub(crate) may_fetch: bool,
    /// There may be places for completions of requests that wait without one.
    pub(crate) may_complete: bool,
}

impl Queues {
    /// Places for the admin queues and `pairs` pairs of I/O queues.
    pub(crate) fn new(pairs: u16) -> Self {
        let queues = usize::from(pairs) + 1;
        Self {
            submission: (0..queues).map(|_| None).collect(),
            completion: (0..queues).map(|_| None).collect(),
            last: SqId::ADMIN,
            arbiter: Arbiter::default(),
            doorbell_buffers: None,
            rung: Vec::new(),
            may_fetch: false,
            may_complete: false,
        }
    }

    /// A controller reset: no queue is left.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.pairs_max());
    }

    /// I/O queue pairs that a host may have.
    fn pairs_max(&self) -> u16 {
        (self.submission.len() - 1) as u16
    }

    #[inline]
    pub(crate) fn submission(&self, sqid: SqId) -> Option<&SubmissionQueue> {
        self.submission.get(usize::from(sqid.0))?.as_ref()
    }

    #[inline]
    pub(crate) fn submission_mut(&mut self, sqid: SqId) -> Option<&mut SubmissionQueue> {
        self.submission.get_mut(usize::from(sqid.0))?.as_mut()
    }

    #[inline]
    pub(crate) fn completion(&self, cqid: CqId) -> Option<&CompletionQueue> {
        self.completion.get(usize::from(cqid.0))?.as_ref()
    }

    #[inline]
    pub(crate) fn completion_mut(&mut self, cqid: CqId) -> Option<&mut CompletionQueue> {
        self.completion.get_mut(usize::from(cqid.0))?.as_mut()
    }

    /// Takes a promised place back.
    pub(crate) fn release_completion(&mut self, cqid: CqId) {
        if let Some(queue) = self.completion_mut(cqid) {
            queue.release();
        }
    }

    /// Makes the admin queues.
    pub(crate) fn create_admin(
        &mut self,
        submission: SubmissionQueue,
        mut completion: CompletionQueue,
    ) {
        completion.users = 1;
        self.submission[0] = Some(submission);
        self.completion[0] = Some(completion);
    }

    fn check(&self, qid: u16, entries: u32, is_taken: bool) -> Result<(), Status> {
        if qid == 0 || qid > self.pairs_max() || is_taken {
            return Err(Status::INVALID_QUEUE_IDENTIFIER.with_dnr());
        }
        if !(2..=QUEUE_ENTRIES_MAX).contains(&entries) {
            return Err(Status::INVALID_QUEUE_SIZE.with_dnr());
        }
        Ok(())
    }

    /// Create I/O Completion Queue.
    pub(crate) fn create_completion(
        &mut self,
        CreateCq { cqid, entries, base, vector }: CreateCq,
        entry_bytes: usize,
    ) -> Result<(), Status> {
        self.check(cqid.0, entries, self.completion(cqid).is_some())?;
        if entry_bytes != CompletionEntry::SIZE {
            return Err(Status::INVALID_QUEUE_SIZE.with_dnr());
        }
        if !is_addressable(base, entries, CompletionEntry::SIZE) {
            return Err(Status::INVALID_PRP_OFFSET.with_dnr());
        }
        if vector.is_some_and(|vector| vector > self.pairs_max()) {
            return Err(Status::INVALID_INTERRUPT_VECTOR.with_dnr());
        }
        self.completion[usize::from(cqid.0)] = Some(CompletionQueue::new(base, entries, vector));
        Ok(())
    }

    /// Create I/O Submission Queue.
    pub(crate) fn create_submission(
        &mut self,
        CreateSq { sqid, entries, base, cqid, .. }: CreateSq,
        entry_bytes: usize,
        class: Class,
    ) -> Result<(), Status> {
        self.check(sqid.0, entries, self.submission(sqid).is_some())?;
        if entry_bytes != SubmissionEntry::SIZE {
            return Err(Status::INVALID_QUEUE_SIZE.with_dnr());
        }
        if !is_addressable(base, entries, SubmissionEntry::SIZE) {
            return Err(Status::INVALID_PRP_OFFSET.with_dnr());
        }
        let completion = self.completion_mut(cqid).filter(|_| !cqid.is_admin());
        let completion = completion.ok_or(Status::INVALID_COMPLETION_QUEUE.with_dnr())?;
        completion.users += 1;
        let queue = SubmissionQueue::new(base, entries, cqid, class);
        self.submission[usize::from(sqid.0)] = Some(queue);
        self.last = self.last.max(sqid);
        Ok(())
    }

    /// Delete I/O Completion Queue.
    pub(crate) fn delete_completion(&mut self, cqid: CqId) -> Result<(), Status> {
        match self.completion(cqid).filter(|_| !cqid.is_admin()) {
            None => Err(Status::INVALID_QUEUE_IDENTIFIER.with_dnr()),
            Some(queue) if queue.users > 0 => Err(Status::INVALID_QUEUE_DELETION.with_dnr()),
            Some(_) => {
                self.completion[usize::from(cqid.0)] = None;
                Ok(())
            }
        }
    }

    /// Deletes a submission queue whose commands have ended.
    pub(crate) fn delete_submission(&mut self, sqid: SqId) {
        let queue = self.submission[usize::from(sqid.0)].take();
        self.arbiter.remove(sqid);
        if let Some(completion) = queue.and_then(|queue| self.completion_mut(queue.cqid)) {
            completion.users -= 1;
        }
    }

    /// Number of queues: every host gets all there are, as long as it has not created any. Returns
    /// what the feature reports.
    pub(crate) fn set_count(&self, value: u32) -> Result<u64, Status> {
        if value & 0xFFFF == 0xFFFF || value >> 16 == 0xFFFF {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        if self.completion.iter().skip(1).any(Option::is_some) {
            return Err(Status::COMMAND_SEQUENCE_ERROR.with_dnr());
        }
        Ok(self.count())
    }

    /// Queues of either kind, zero-based, as the feature reports them.
    pub(crate) fn count(&self) -> u64 {
        let pairs_z = u64::from(self.pairs_max()) - 1;
        pairs_z << 16 | pairs_z
    }
}

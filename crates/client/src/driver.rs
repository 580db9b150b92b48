//! An NVMe driver: enables a controller, owns queues, submits commands, collects completions.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use nvme_spec::{Aqa, Cc, CompletionEntry, Csts, PAGE_SIZE, Status, SubmissionEntry, offset};
use zerocopy::IntoBytes;

use crate::commands;
use crate::memory::{Buffer, DmaMemory};
use crate::port::Port;
use crate::queue::{CompletionQueueOptions, Completions, Submission, SubmissionQueueOptions};

/// A submission queue of the host; 0 is the admin queue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct QueueId(pub u16);

/// The admin queue.
const ADMIN: QueueId = QueueId(0);

/// Entries of the admin queues.
const ADMIN_ENTRIES: u32 = 64;

/// A finished command as the host sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Completion {
    /// Submission queue of the command.
    pub queue: QueueId,
    /// Its identifier.
    pub cid: u16,
    /// Its status.
    pub status: Status,
    /// Dwords 0 and 1.
    pub result: u64,
}

/// The host cannot go on.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message is the documentation")]
pub enum DriverError {
    #[error("the controller did not become ready (CSTS = {0:#x})")]
    NotReady(u64),
    #[error("{command}: {status}")]
    Refused { command: &'static str, status: Status },
    #[error("the drive went idle with commands outstanding")]
    Stuck,
}

/// Memory that takes the place of doorbell registers.
#[derive(Clone, Copy, Debug)]
struct ShadowDoorbells {
    shadow: Buffer,
    event_index: Buffer,
}

/// What came of waiting for a completion.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Next {
    Completed(Completion),
    /// The time was over.
    NotYet,
    /// Nothing that is under way will complete.
    Never,
}

/// A completion that was taken from its queue and not handed out yet.
#[derive(Clone, Copy, Debug)]
struct Ready {
    completion: Completion,
    /// Number of the submission queue, for one created later may have the same identifier.
    serial: u64,
}

/// A host with its queues.
#[derive(Debug)]
pub struct Driver<P> {
    /// The way to the controller, for anything not wrapped here.
    pub port: P,
    submission: Vec<Option<Submission>>,
    completion: Vec<Option<Completions>>,
    shadow: Option<ShadowDoorbells>,
    ready: VecDeque<Ready>,
    /// Submission queues created so far.
    serial: u64,
    vectors: Vec<u16>,
}

impl<P: Port> Driver<P> {
    /// Enables the controller with an admin queue and `queues` I/O queue pairs of `entries`
    /// entries.
    ///
    /// # Errors
    /// If the controller refuses.
    pub fn new(port: P, queues: u16, entries: u32) -> Result<Self, DriverError> {
        let mut driver = Self {
            port,
            submission: Vec::new(),
            completion: Vec::new(),
            shadow: None,
            ready: VecDeque::new(),
            serial: 0,
            vectors: Vec::new(),
        };
        driver.enable(Cc::new())?;
        driver.request_queues(queues.max(1))?;
        for id in 1..=queues {
            driver.create_queue_pair(id, entries)?;
        }
        Ok(driver)
    }

    /// Enables the controller as Base 2.1, section 3.5.1 has it, all command sets selected; `cc`
    /// says what else.
    ///
    /// # Errors
    /// If it does not become ready.
    pub fn enable(&mut self, cc: Cc) -> Result<(), DriverError> {
        self.serial += 1;
        let submission = Submission::new(
            self.take_queue(ADMIN_ENTRIES, SubmissionEntry::SIZE),
            ADMIN_ENTRIES,
            self.serial,
        );
        let buffer = self.take_queue(ADMIN_ENTRIES, CompletionEntry::SIZE);
        let completion = Completions::new(buffer, ADMIN_ENTRIES, Some(0));
        let size_z = (ADMIN_ENTRIES - 1) as u16;
        let aqa = Aqa::new().with_asqs_z(size_z).with_acqs_z(size_z);
        self.port.register_write(offset::AQA, 4, aqa.into_bits().into());
        self.port.register_write(offset::ASQ, 8, submission.buffer.address);
        self.port.register_write(offset::ACQ, 8, completion.buffer.address);
        let cc = cc.with_en(true).with_css(0b110).with_iosqes(6).with_iocqes(4);
        self.port.register_write(offset::CC, 4, cc.into_bits().into());
        let csts = self.port.register_read(offset::CSTS, 4);
        if !Csts::from_bits(csts as u32).rdy() {
            return Err(DriverError::NotReady(csts));
        }
        self.submission = vec![Some(submission)];
        self.completion = vec![Some(completion)];
        Ok(())
    }

    /// Controller reset: disables the controller and forgets all queues with their commands.
    pub fn disable(&mut self) {
        self.port.register_write(offset::CC, 4, 0);
        self.forget_queues();
    }

    /// The queues are gone, by a reset that was not asked for here.
    pub fn forget_queues(&mut self) {
        self.port.settle();
        for buffer in self.submission.drain(..).flatten().map(|queue| queue.buffer) {
            self.port.memory().release(buffer);
        }
        for buffer in self.completion.drain(..).flatten().map(|queue| queue.buffer) {
            self.port.memory().release(buffer);
        }
        if let Some(ShadowDoorbells { shadow, event_index }) = self.shadow.take() {
            self.port.memory().release(shadow);
            self.port.memory().release(event_index);
        }
        self.ready.clear();
        self.port.take_interrupts(&mut self.vectors);
        self.vectors.clear();
    }

    fn take_queue(&mut self, entries: u32, entry_size: usize) -> Buffer {
        let len = u64::from(entries) * entry_size as u64;
        let memory = self.port.memory();
        let buffer = memory.allocate(len);
        // Completion queues begin with all phase tags clear.
        memory.put(buffer.address, &vec![0; len as usize]);
        buffer
    }

    /// Asks for a number of queue pairs (Set Features, Number of Queues).
    ///
    /// # Errors
    /// If the controller refuses.
    pub fn request_queues(&mut self, pairs: u16) -> Result<(), DriverError> {
        self.admin("Set Features", commands::set_queue_count(pairs)).map(drop)
    }

    /// Runs an admin command that must succeed.
    fn admin(
        &mut self,
        command: &'static str,
        entry: SubmissionEntry,
    ) -> Result<Completion, DriverError> {
        let done = self.execute(ADMIN, entry)?;
        if done.status.is_success() {
            return Ok(done);
        }
        Err(DriverError::Refused { command, status: done.status })
    }

    /// Creates a completion and a submission queue of one number, with the vector of that number.
    ///
    /// # Errors
    /// If the controller refuses.
    pub fn create_queue_pair(&mut self, id: u16, entries: u32) -> Result<QueueId, DriverError> {
        self.create_completion_queue(CompletionQueueOptions { id, entries, vector: Some(id) })?;
        self.create_submission_queue(SubmissionQueueOptions {
            id,
            entries,
            completion_queue: id,
            priority: 0,
        })
    }

    /// Creates a completion queue.
    ///
    /// # Errors
    /// If the controller refuses.
    pub fn create_completion_queue(
        &mut self,
        options: CompletionQueueOptions,
    ) -> Result<(), DriverError> {
        let buffer = self.take_queue(options.entries, CompletionEntry::SIZE);
        self.clear_shadow(2 * u64::from(options.id) + 1);
        let entry = commands::create_completion_queue(&options, buffer.address);
        if let Err(error) = self.admin("Create I/O Completion Queue", entry) {
            self.port.memory().release(buffer);
            return Err(error);
        }
        let queue = Completions::new(buffer, options.entries, options.vector);
        place(&mut self.completion, options.id, queue);
        Ok(())
    }

    /// Creates a submission queue.
    ///
    /// # Errors
    /// If the controller refuses.
    pub fn create_submission_queue(
        &mut self,
        options: SubmissionQueueOptions,
    ) -> Result<QueueId, DriverError> {
        let buffer = self.take_queue(options.entries, SubmissionEntry::SIZE);
        self.clear_shadow(2 * u64::from(options.id));
        let entry = commands::create_submission_queue(&options, buffer.address);
        if let Err(error) = self.admin("Create I/O Submission Queue", entry) {
            self.port.memory().release(buffer);
            return Err(error);
        }
        self.serial += 1;
        let queue = Submission::new(buffer, options.entries, self.serial);
        place(&mut self.submission, options.id, queue);
        Ok(QueueId(options.id))
    }

    /// Deletes a submission queue. Completions of its commands that were not handed out yet still
    /// are.
    ///
    /// # Errors
    /// If the controller refuses.
    pub fn delete_submission_queue(&mut self, id: QueueId) -> Result<(), DriverError> {
        self.admin("Delete I/O Submission Queue", commands::delete_submission_queue(id.0))?;
        // What its commands ended with is known now, and is its own still.
        (0..self.completion.len() as u16).for_each(|id| self.collect_queue(id));
        if let Some(queue) = self.submission.get_mut(usize::from(id.0)).and_then(Option::take) {
            self.port.memory().release(queue.buffer);
        }
        Ok(())
    }

    /// Deletes a completion queue.
    ///
    /// # Errors
    /// If the controller refuses.
    pub fn delete_completion_queue(&mut self, id: u16) -> Result<(), DriverError> {
        self.admin("Delete I/O Completion Queue", commands::delete_completion_queue(id))?;
        if let Some(queue) = self.completion.get_mut(usize::from(id)).and_then(Option::take) {
            self.port.memory().release(queue.buffer);
        }
        Ok(())
    }

    /// Moves the doorbells of I/O queues into memory (Doorbell Buffer Config).
    ///
    /// # Errors
    /// If the controller refuses.
    pub fn enable_shadow_doorbells(&mut self) -> Result<(), DriverError> {
        let memory = self.port.memory();
        let [shadow, event_index] = [(); 2].map(|()| {
            let buffer = memory.allocate(PAGE_SIZE);
            memory.put(buffer.address, &[0; PAGE_SIZE as usize]);
            buffer
        });
        // What is in the queues already must be in the buffers too.
        for (number, queue) in self.submission.iter().enumerate() {
            if let Some(queue) = queue {
                memory.put(shadow.address + 8 * number as u64, &queue.tail.to_le_bytes());
            }
        }
        for (number, queue) in self.completion.iter().enumerate() {
            if let Some(queue) = queue {
                memory.put(shadow.address + 8 * number as u64 + 4, &queue.head.to_le_bytes());
            }
        }
        let entry = commands::doorbell_buffers(shadow.address, event_index.address);
        self.admin("Doorbell Buffer Config", entry)?;
        self.shadow = Some(ShadowDoorbells { shadow, event_index });
        Ok(())
    }

    /// A new queue begins at index 0, whatever a queue of its number left in the buffers. A queue
    /// that exists, or that cannot, is left alone: the drive will refuse to create it.
    fn clear_shadow(&mut self, doorbell: u64) {
        let is_there = match (doorbell / 2, doorbell % 2) {
            (id, 0) => self.submission.get(id as usize).is_some_and(Option::is_some),
            (id, _) => self.completion.get(id as usize).is_some_and(Option::is_some),
        };
        let slots = PAGE_SIZE / 4;
        if let Some(ShadowDoorbells { shadow, .. }) = self.shadow
            && !is_there
            && (2..slots).contains(&doorbell)
        {
            self.port.memory().put(shadow.address + 4 * doorbell, &[0; 4]);
        }
    }

    /// True if there is such a queue with room for a command.
    pub fn has_room(&self, queue: QueueId) -> bool {
        self.room(queue) > 0
    }

    /// Commands that a queue has room for; none if there is no such queue.
    pub fn room(&self, queue: QueueId) -> usize {
        let queue = self.submission.get(usize::from(queue.0)).and_then(Option::as_ref);
        queue.map_or(0, |queue| queue.free_cids.len())
    }

    /// True if there is such a submission queue.
    pub fn has_queue(&self, queue: QueueId) -> bool {
        self.submission.get(usize::from(queue.0)).is_some_and(Option::is_some)
    }

    /// Commands of a queue that have not completed.
    pub fn outstanding(&self, queue: QueueId) -> u32 {
        let queue = self.submission.get(usize::from(queue.0)).and_then(Option::as_ref);
        queue.map_or(0, |queue| queue.outstanding)
    }

    /// Puts a command into a queue and rings its doorbell. The command identifier is chosen here.
    ///
    /// # Panics
    /// If the queue is full.
    pub fn submit(&mut self, queue: QueueId, entry: SubmissionEntry) -> u16 {
        let cid = self.enqueue(queue, entry);
        self.ring(queue);
        cid
    }

    /// Puts a command into a queue without telling the drive.
    ///
    /// # Panics
    /// If the queue is full.
    pub fn enqueue(&mut self, queue: QueueId, mut entry: SubmissionEntry) -> u16 {
        let cid = self.queue(queue).free_cids.pop().expect("the queue has room");
        entry.cid.set(cid);
        self.enqueue_as_is(queue, &entry);
        cid
    }

    /// Puts an entry into a queue as it is, its identifier too, without telling the drive.
    ///
    /// # Panics
    /// If there is no such queue.
    pub fn enqueue_as_is(&mut self, queue: QueueId, entry: &SubmissionEntry) {
        let queue = self.queue(queue);
        let at = u64::from(queue.tail) * SubmissionEntry::SIZE as u64;
        let address = queue.buffer.address + at;
        queue.tail = if queue.tail + 1 == queue.entries { 0 } else { queue.tail + 1 };
        queue.outstanding += 1;
        self.port.memory().put(address, entry.as_bytes());
    }

    fn queue(&mut self, id: QueueId) -> &mut Submission {
        let queue = self.submission.get_mut(usize::from(id.0)).and_then(Option::as_mut);
        queue.expect("there is such a queue")
    }

    /// Rings a queue's doorbell and lets the drive take its commands.
    pub fn ring(&mut self, queue: QueueId) {
        let Submission { tail, rung, .. } = *self.queue(queue);
        self.queue(queue).rung = tail;
        self.tell(2 * u64::from(queue.0), rung, tail);
        self.port.settle();
        self.collect();
    }

    /// Tells the drive an index: by the shadow buffer, and by the register if there is none or the
    /// event index asks for it (Base 2.1, Annex B.5).
    fn tell(&mut self, doorbell: u64, old: u32, new: u32) {
        if let Some(ShadowDoorbells { shadow, event_index }) = self.shadow.filter(|_| doorbell > 1)
        {
            let memory = self.port.memory();
            memory.put(shadow.address + 4 * doorbell, &new.to_le_bytes());
            std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
            let mut event = [0; 4];
            memory.get(event_index.address + 4 * doorbell, &mut event);
            let event = u32::from_le_bytes(event) as u16;
            let passed = (new as u16).wrapping_sub(event).wrapping_sub(1);
            if passed >= (new as u16).wrapping_sub(old as u16) {
                return;
            }
        }
        self.port.register_write(offset::DOORBELLS + 4 * doorbell, 4, new.into());
    }

    /// The next completion of any queue, in the order of their interrupts; lets time pass until
    /// there is one. `None` if nothing will ever complete.
    pub fn next_completion(&mut self) -> Option<Completion> {
        loop {
            if let Some(completion) = self.ready_completion() {
                return Some(completion);
            }
            if !self.port.wait(None) {
                return None;
            }
        }
    }

    /// The next completion of one of certain commands, known by queue and identifier; others are kept. Waits for it
    /// about so long at most.
    pub(crate) fn next_completion_of(
        &mut self,
        is_one: impl Fn(QueueId, u16) -> bool,
        limit: Option<Duration>,
    ) -> Next {
        let began = limit.map(|limit| (Instant::now(), limit));
        let mut is_over = false;
        loop {
            self.collect();
            let found = |Ready { completion, .. }: &Ready| is_one(completion.queue, completion.cid);
            if let Some(at) = self.ready.iter().position(found) {
                let ready = self.ready.remove(at).expect("it was found there");
                return Next::Completed(self.hand_out(ready));
            }
            if is_over {
                return Next::NotYet;
            }
            let left = began.map(|(began, limit)| limit.saturating_sub(began.elapsed()));
            // Also without time to wait: whether the controller is there is seen by that.
            if !self.port.wait(left) {
                return Next::Never;
            }
            is_over = left == Some(Duration::ZERO);
        }
    }

    /// Takes a completion that is already there, without letting time pass.
    #[inline]
    pub fn ready_completion(&mut self) -> Option<Completion> {
        if self.ready.is_empty() {
            self.collect();
        }
        let ready = self.ready.pop_front()?;
        Some(self.hand_out(ready))
    }

    /// The caller learns of a completion: only now may its identifier name another command.
    fn hand_out(&mut self, Ready { completion, serial }: Ready) -> Completion {
        let slot = self.submission.get_mut(usize::from(completion.queue.0));
        if let Some(queue) = slot.and_then(Option::as_mut).filter(|queue| queue.serial == serial) {
            queue.free_cids.push(completion.cid);
            queue.outstanding -= 1;
        }
        completion
    }

    /// Submits a command and waits for its completion; others that complete meanwhile are kept.
    ///
    /// # Errors
    /// If the drive goes idle without completing it.
    pub fn execute(
        &mut self,
        queue: QueueId,
        entry: SubmissionEntry,
    ) -> Result<Completion, DriverError> {
        let cid = self.submit(queue, entry);
        let serial = self.queue(queue).serial;
        let is_it = |ready: &Ready| ready.serial == serial && ready.completion.cid == cid;
        loop {
            if let Some(at) = self.ready.iter().position(is_it) {
                let ready = self.ready.remove(at).ok_or(DriverError::Stuck)?;
                return Ok(self.hand_out(ready));
            }
            if !self.port.wait(None) {
                return Err(DriverError::Stuck);
            }
            self.collect();
        }
    }

    /// Takes completions from the queues whose interrupts were raised.
    #[inline]
    fn collect(&mut self) {
        let mut vectors = std::mem::take(&mut self.vectors);
        self.port.take_interrupts(&mut vectors);
        for vector in vectors.drain(..) {
            // By default a queue has the vector of its number.
            let has_it = |queue: &Option<Completions>| {
                queue.as_ref().is_some_and(|queue| queue.vector == Some(vector))
            };
            if self.completion.get(usize::from(vector)).is_some_and(has_it) {
                self.collect_queue(vector);
            }
            for id in 0..self.completion.len() as u16 {
                if id != vector && has_it(&self.completion[usize::from(id)]) {
                    self.collect_queue(id);
                }
            }
        }
        self.vectors = vectors;
    }

    /// Takes completions from a queue without an interrupt.
    pub fn poll(&mut self, completion_queue: u16) {
        self.port.settle();
        self.collect_queue(completion_queue);
    }

    #[inline]
    fn collect_queue(&mut self, id: u16) {
        let Some(Some(queue)) = self.completion.get_mut(usize::from(id)) else { return };
        while let Some(entry) = queue.take(self.port.memory()) {
            self.port.answered();
            let sqid = entry.sqid.get();
            let completion = Completion {
                queue: QueueId(sqid),
                cid: entry.cid.get(),
                status: entry.status(),
                result: entry.result.get(),
            };
            let submission = self.submission.get(usize::from(sqid)).and_then(Option::as_ref);
            // Numbers begin at 1: 0 is no queue that there is.
            let serial = submission.map_or(0, |queue| queue.serial);
            self.ready.push_back(Ready { completion, serial });
        }
        let (old, new) = (queue.rung, queue.head);
        if old != new {
            queue.rung = new;
            self.tell(2 * u64::from(id) + 1, old, new);
        }
    }
}

/// Puts a queue at its number.
fn place<T>(queues: &mut Vec<Option<T>>, id: u16, queue: T) {
    let at = usize::from(id);
    if queues.len() <= at {
        queues.resize_with(at + 1, || None);
    }
    queues[at] = Some(queue);
}

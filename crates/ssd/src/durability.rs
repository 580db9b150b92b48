//! What waits until the store is durable: durable writes and flushes whose pages are in flash.
//!
//! One sync of the store is under way at a time. What comes meanwhile waits for the next one, all of it for the same: many
//! small flushes cost few syncs.

use simtime::{Duration, Instant};

use crate::drive::Ssd;
use crate::request::{Done, Medium, RequestId};
use crate::store::{Backend, MediaError, SyncWork};

/// A request, and when it would have ended in a store that is durable by itself.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    id: RequestId,
    medium: Medium,
    since: Instant,
}

/// Requests that wait for syncs.
#[derive(Debug, Default)]
pub(crate) struct Durability {
    /// A sync is under way, for these.
    running: Option<Vec<Waiting>>,
    next: Vec<Waiting>,
    /// What the caller has to do for the one under way.
    work: Option<SyncWork>,
}

impl Ssd {
    /// A request that has nothing to wait for but that the store is durable.
    pub(crate) fn complete_durable(&mut self, now: Instant, id: RequestId, medium: Medium) {
        self.durability.next.push(Waiting { id, medium, since: now });
        if self.durability.running.is_none() {
            self.begin_sync(now);
        }
    }

    /// The store may want to be made durable though nobody waits for it.
    pub(crate) fn sync_if_wanted(&mut self, now: Instant) {
        let is_wanted = self.store.as_ref().is_some_and(|store| store.wants_sync());
        if is_wanted && self.durability.running.is_none() {
            self.begin_sync(now);
        }
    }

    fn begin_sync(&mut self, now: Instant) {
        let waiting = std::mem::take(&mut self.durability.next);
        match self.store.as_mut().and_then(|store| store.begin_sync()) {
            Some(work) => {
                self.durability.work = Some(work);
                self.durability.running = Some(waiting);
            }
            None => self.end_all(now, waiting, Ok(())),
        }
    }

    fn end_all(&mut self, now: Instant, waiting: Vec<Waiting>, result: Result<(), MediaError>) {
        for Waiting { id, medium, since } in waiting {
            self.backlog -= 1;
            let result = result.map(|()| medium);
            self.ready.push(Done { late: now.since(since), ..Done::new(id, now, result) });
        }
    }

    /// What is to be done to make the store durable, once. What it came to goes to [`Self::synced`].
    pub fn take_sync(&mut self) -> Option<SyncWork> {
        self.durability.work.take()
    }

    /// True until the result of every [`Self::take_sync`] is there.
    pub fn is_syncing(&self) -> bool {
        self.durability.running.is_some()
    }

    /// The result of [`SyncWork::run`].
    pub fn synced(&mut self, now: Instant, result: Result<(), String>) {
        self.catch_up(now);
        let Some(waiting) = self.durability.running.take() else { return };
        let ended = match &mut self.store {
            Some(store) => store.end_sync(result),
            None => Ok(None),
        };
        match ended {
            Ok(Some(work)) => {
                self.durability.work = Some(work);
                self.durability.running = Some(waiting);
            }
            Ok(None) => self.end_all(now, waiting, Ok(())),
            Err(error) => {
                self.statistics.media_errors += 1;
                self.end_all(now, waiting, Err(error));
            }
        }
        if !self.is_syncing() && !self.durability.next.is_empty() {
            self.begin_sync(now);
        }
    }

    /// Whoever saves something with a sync that has ended has done so.
    pub fn note_durable(&mut self) {
        if let Some(store) = self.store.as_mut().filter(|_| self.durability.running.is_none()) {
            store.note_durable();
        }
    }

    /// The power went: nobody waits any more.
    pub(crate) fn forget_syncs(&mut self) {
        self.durability = Durability::default();
    }

    /// Keeps what the drive is to find when it is switched on again; `false` if the store could not.
    pub fn save(&mut self, state: &[u8]) -> bool {
        self.store.as_mut().is_none_or(|store| store.save(state).is_ok())
    }

    /// What was kept before the drive was there.
    pub fn saved(&self) -> Option<Vec<u8>> {
        self.store.as_ref().and_then(|store| store.saved())
    }

    /// Makes everything durable before it goes on; false if the store cannot.
    pub fn sync_now(&mut self) -> bool {
        let is_durable = self.store.as_mut().is_none_or(|store| store.sync_now().is_ok());
        self.statistics.media_errors += u64::from(!is_durable);
        is_durable
    }

    /// Gives up the bytes of pages that hold nothing any more, as far as they can still be found.
    pub fn scrub(&mut self) {
        if let Some(store) = &mut self.store {
            let mut is_empty = true;
            self.blocks.for_each_valid(|_, _| is_empty = false);
            if is_empty {
                store.scrub();
            }
        }
    }

    /// What the pages lie in.
    pub fn backend(&self) -> Backend {
        self.store.as_ref().map_or(Backend::Memory, |store| store.backend())
    }

    /// True if the store remembers what the drive wants it to.
    pub fn is_persistent(&self) -> bool {
        self.backend() != Backend::Memory
    }

    /// What the store has to say to the drive's user, once.
    pub fn take_note(&mut self) -> Option<String> {
        self.store.as_mut().and_then(|store| store.take_note())
    }
}

impl Done {
    /// A request that did not wait for more than the model.
    #[inline]
    pub(crate) fn new(id: RequestId, at: Instant, result: Result<Medium, MediaError>) -> Self {
        Self { id, at, result, page: None, late: Duration::ZERO }
    }
}

//! The write buffer: how pages come into it, when they go to flash, and who is told.
//!
//! A write puts its bytes into a slot of the cache. It is acknowledged when its version has a page of the buffer. A version
//! goes to flash when more than half of the buffer is held, when it was not written for a while, when a flush wants it, or,
//! if somebody waits for it, at once.

use std::collections::BTreeSet;

use records::DieOperation;
use simtime::Instant;

use crate::address::{Lpn, Ppa};
use crate::array::{Origin, Transaction};
use crate::batch::Gathering;
use crate::cache::{Flight, Slot, Standing, State, Version, Waiters};
use crate::drive::{Claim, Ssd};
use crate::mapping::Location;
use crate::request::{Hint, Medium, RequestId, Span};
use crate::store::{Discarded, MediaError, NotProgrammed, Oob};

/// Of a flush, among the writes that wait for room: it waits for those before it.
const NO_SLOT: u32 = u32::MAX;

/// Program operations of a version that may fail before those who wait for it are told.
const PROGRAM_TRIES: u32 = 3;

impl Ssd {
    /// Takes a write.
    pub(crate) fn buffer(
        &mut self,
        now: Instant,
        id: RequestId,
        span: Span,
        durable: bool,
        bytes: Option<&[u8]>,
        hint: Hint,
    ) {
        // What the buffer keeps whatever happens is as durable as what is in flash.
        let durable = durable && !self.config.power_loss_protection || self.room.is_none();
        let number = match self.map.get(span.lpn) {
            Some(Location::Cache(slot)) => slot,
            other => {
                let flash = match other {
                    Some(Location::Flash(ppa)) => Some(ppa),
                    _ => None,
                };
                let slot = self.cache.insert(now, span.lpn, flash);
                self.map.set(span.lpn, Location::Cache(slot));
                slot
            }
        };
        if self.store.is_some() {
            self.cache.put(number, span, bytes);
        } else {
            self.cache.mark(number, span);
        }
        self.versions += 1;
        let (version, open) = (self.versions, self.epochs.open());
        let stays = self.is_of_zone(hint.stream);
        if hint.begins_unit {
            self.destage_stream(now, hint.stream);
        }
        let slot = self.cache.slot_mut(number);
        slot.hint = Hint { begins_unit: hint.begins_unit || slot.hint.begins_unit, ..hint };
        if let Some(dirty) = &mut slot.dirty {
            dirty.has_ended_writes |= stays;
            self.statistics.coalesced_writes += 1;
            dirty.number = version;
            let is_wanted = dirty.epoch < open;
            let is_behind = slot.flight.is_some();
            if durable {
                dirty.waiters.push(id);
            } else if dirty.standing == Standing::Waiting {
                let claim = dirty.claim;
                self.claims.push_back(Claim { id: Some(id), slot: number, claim });
            } else {
                dirty.has_ended_writes = true;
                self.complete(now, id, Ok(Medium::Memory));
            }
            match self.cache.slot(number).state {
                State::Held => {
                    self.cache.unhold(number);
                    self.settle(now, number, durable || is_wanted);
                }
                State::Failed => self.settle(now, number, durable || is_wanted),
                _ => {}
            }
            if durable && is_behind {
                self.hurry(now);
            }
            return self.avoid_standstill(now);
        }
        let is_behind = slot.flight.is_some();
        let mut waiters = Waiters::default();
        let standing = match &mut self.room {
            _ if durable => {
                waiters.push(id);
                Standing::Exempt
            }
            Some(room) if *room > 0 => {
                *room -= 1;
                Standing::Admitted
            }
            _ => Standing::Waiting,
        };
        let epoch = self.epochs.began();
        let has_ended_writes = standing == Standing::Admitted || stays;
        let dirty =
            Version { number: version, epoch, claim: version, standing, has_ended_writes, waiters };
        self.cache.slot_mut(number).dirty = Some(dirty);
        match standing {
            Standing::Admitted => self.complete(now, id, Ok(Medium::Memory)),
            Standing::Waiting => {
                self.claims.push_back(Claim { id: Some(id), slot: number, claim: version });
            }
            Standing::Exempt => {}
        }
        if is_behind {
            self.cache.slot_mut(number).state = State::Behind;
            if durable {
                // The version before it may be among what is gathered.
                self.hurry(now);
            }
        } else {
            self.settle(now, number, durable);
        }
        self.avoid_standstill(now);
    }

    /// What has been gathered waits no longer for more.
    fn hurry(&mut self, now: Instant) {
        for frontier in &mut self.frontiers {
            if let Some(gathering) = &mut frontier.gathering {
                gathering.due = now;
            }
        }
    }

    /// Writes wait for room in the buffer, and nothing is on its way to flash that would make some; or pages wait for flash, and
    /// nothing is collected.
    fn avoid_standstill(&mut self, now: Instant) {
        if self.frontiers.iter().any(|frontier| !frontier.placing.is_empty()) {
            self.collect_again(now);
        }
        if !self.claims.is_empty() && self.batches_in_flight == 0 {
            self.hurry(now);
        }
    }

    /// A version that nothing is under way for: it goes to flash at once, or is held.
    fn settle(&mut self, now: Instant, number: u32, at_once: bool) {
        if at_once {
            return self.destage(now, number);
        }
        self.cache.hold(now, number);
        while self.cache.held() > self.held_max {
            self.destage_oldest(now);
        }
    }

    /// The page that has waited longest goes to flash.
    pub(crate) fn destage_oldest(&mut self, now: Instant) {
        if let Some(number) = self.cache.oldest_held() {
            self.cache.unhold(number);
            self.destage(now, number);
        }
    }

    /// What is held of a stream goes to flash: it belongs before what comes now.
    fn destage_stream(&mut self, now: Instant, stream: u8) {
        let is_held =
            |(_, slot): &(u32, &mut Slot)| slot.state == State::Held && slot.hint.stream == stream;
        let mut held: Vec<(u64, u32)> = self
            .cache
            .slots_mut()
            .filter(is_held)
            .map(|(number, slot)| (slot.dirty.as_ref().map_or(0, |dirty| dirty.number), number))
            .collect();
        held.sort_unstable();
        for (_, number) in held {
            self.cache.unhold(number);
            self.destage(now, number);
        }
    }

    /// Closes the epoch: `id` is done once all writes submitted so far are in flash, or safe in the buffer.
    pub(crate) fn flush_buffer(&mut self, now: Instant, id: RequestId) {
        if self.config.power_loss_protection && self.room.is_some() {
            // Writes that wait for room are safe when they have it.
            self.claims.push_back(Claim { id: Some(id), slot: NO_SLOT, claim: 0 });
            return self.admit(now);
        }
        self.flush_all(now, id);
    }

    /// The same, whatever keeps the buffer.
    pub(crate) fn flush_all(&mut self, now: Instant, id: RequestId) {
        self.epochs.flush(id);
        while self.cache.held() > 0 {
            self.destage_oldest(now);
        }
        self.hurry(now);
        for number in std::mem::take(&mut self.failed) {
            if self.cache.slot(number).state == State::Failed {
                self.destage(now, number);
            }
        }
        self.retire(now);
    }

    /// A slot's newest version goes to flash, once all of its bytes are there.
    fn destage(&mut self, now: Instant, number: u32) {
        let whole = self.cache.whole;
        let slot = self.cache.slot_mut(number);
        if slot.sectors != whole && !slot.is_poisoned {
            if let Some(ppa) = slot.flash {
                slot.state = State::Filling;
                let lpn = slot.lpn;
                self.statistics.modify_reads += 1;
                return self.enqueue(now, DieOperation::Read, Origin::Fill(number), ppa, lpn);
            }
            self.cache.fill(number, None);
        }
        self.place(now, number);
    }

    /// The bytes that a slot lacked have been read.
    pub(crate) fn filled(&mut self, now: Instant, number: u32) {
        let slot = self.cache.slot(number);
        if slot.is_dead {
            return self.cache.remove(number);
        }
        let (lpn, flash) = (slot.lpn, slot.flash);
        let read = self.check_read(lpn);
        let read = read.and_then(|()| flash.map_or(Ok(()), |ppa| self.correct(now, ppa)));
        match read {
            // Collection may have moved the page meanwhile.
            Ok(()) => {
                let flash = self.cache.slot(number).flash;
                let (cache, mut is_filled) = (&mut self.cache, false);
                if let (Some(store), Some(ppa)) = (&self.store, flash) {
                    let shown = store.read(ppa, &mut |page| cache.fill(number, Some(page.bytes)));
                    is_filled = shown.is_ok();
                }
                if !is_filled {
                    self.cache.fill(number, None);
                }
            }
            Err(_) => {
                let whole = self.cache.whole;
                let slot = self.cache.slot_mut(number);
                slot.is_poisoned = slot.sectors != whole;
            }
        }
        self.place(now, number);
    }

    /// A slot's newest version gets a page of flash, or waits for one.
    fn place(&mut self, now: Instant, number: u32) {
        self.cache.slot_mut(number).state = State::Placing;
        let stream = self.stream_of(number);
        // Who waits longer goes first, but for those that are waited for.
        if self.frontiers[stream].placing.is_empty() && self.gather_for(now, number, stream) {
            return self.launch(now, number, stream);
        }
        let dirty = self.cache.slot(number).dirty.as_ref();
        let is_urgent = dirty.is_some_and(|dirty| !dirty.waiters.is_empty()) && self.room.is_some();
        let placing = &mut self.frontiers[stream].placing;
        if is_urgent {
            placing.push_front(number);
        } else {
            placing.push_back(number);
        }
    }

    /// Slots that wait for a page of flash get one, as long as there are any.
    pub(crate) fn place_waiting(&mut self, now: Instant) {
        for stream in 0..self.frontiers.len() {
            while let Some(&number) = self.frontiers[stream].placing.front() {
                if self.cache.slot(number).is_dead {
                    self.frontiers[stream].placing.pop_front();
                    self.cache.remove(number);
                    continue;
                }
                if !self.gather_for(now, number, stream) {
                    break;
                }
                self.frontiers[stream].placing.pop_front();
                self.launch(now, number, stream);
            }
        }
    }

    /// As [`Self::gather`], for a page that may begin a unit.
    fn gather_for(&mut self, now: Instant, number: u32, stream: usize) -> bool {
        if std::mem::take(&mut self.cache.slot_mut(number).hint.begins_unit) {
            self.end_unit(now, stream);
        }
        self.gather(now, stream)
    }

    /// Sees to it that a stream has a batch that a page can be added to; false if the flash has no room.
    fn gather(&mut self, now: Instant, stream: usize) -> bool {
        if self.frontiers[stream].gathering.is_none() {
            let Some(ppa) = self.allocate(now, stream) else { return false };
            let due = now + self.config.write_buffer_delay;
            let batch = self.batches.open();
            self.frontiers[stream].gathering =
                Some(Gathering { batch, ppa, due, is_urgent: false });
        }
        true
    }

    /// A version goes to flash as it is; what is written from now on is the next.
    fn launch(&mut self, now: Instant, number: u32, stream: usize) {
        let open = self.epochs.open();
        let gathering = self.frontiers[stream].gathering.as_mut();
        let gathering = gathering.expect("a page goes where there is room for it");
        let slot = self.cache.slot_mut(number);
        let dirty = slot.dirty.as_ref();
        let is_waited_for = dirty.is_some_and(|dirty| !dirty.waiters.is_empty());
        if is_waited_for || dirty.is_some_and(|dirty| dirty.epoch < open) {
            gathering.due = now;
        }
        gathering.is_urgent |= is_waited_for && self.room.is_some();
        slot.take_off();
        if self.batches.push(gathering.batch, number) == self.geometry.pages_per_program {
            self.program(now, stream);
        }
    }

    /// What has been gathered of a stream goes to flash, full or not.
    pub(crate) fn program(&mut self, now: Instant, stream: usize) {
        let gathering = self.frontiers[stream].gathering.take();
        let Some(Gathering { batch, ppa, is_urgent, .. }) = gathering else { return };
        self.batches_in_flight += 1;
        let slots = self.batches.pages(batch);
        let lpn = self.cache.slot(slots[0]).lpn;
        let pages = self.geometry.pages_per_program;
        self.statistics.flash_programs += u64::from(pages);
        self.statistics.padding_programs += u64::from(pages - slots.len() as u32);
        let (operation, origin) = (DieOperation::Program, Origin::Destage(batch));
        let plane = self.blocks.plane_of(ppa);
        let transaction = Transaction { operation, plane, origin, ppa, lpn, tries: 0 };
        if is_urgent {
            self.array.enqueue_urgent(now, transaction);
        } else {
            self.array.enqueue(now, transaction);
        }
    }

    /// A batch is in flash.
    pub(crate) fn batch_destaged(&mut self, now: Instant, batch: u32, first: Ppa) {
        self.batches_in_flight -= 1;
        let slots = self.batches.take(batch);
        for page in 0..self.geometry.pages_per_program {
            let ppa = self.geometry.page_after(first, page);
            match slots.get(page as usize) {
                Some(&number) => self.destaged(now, number, ppa),
                None => self.padded(now, ppa),
            }
        }
        self.batches.close(batch, slots);
        self.relieve(now);
        self.avoid_standstill(now);
    }

    /// A page was programmed that there was nothing for.
    pub(crate) fn padded(&mut self, now: Instant, ppa: Ppa) {
        if self.blocks.programmed(now, ppa, Lpn(0), false) {
            self.block_closed(now, ppa);
        }
    }

    /// A version is in flash: the map leads to it, and who waited is told.
    fn destaged(&mut self, now: Instant, number: u32, ppa: Ppa) {
        let slot = self.cache.slot_mut(number);
        let (lpn, is_dead) = (slot.lpn, slot.is_dead);
        let flight = slot.flight.take().expect("what was programmed was on its way");
        let Flight { version, page, checksum, is_poisoned, .. } = flight;
        let mut result = Ok(());
        if is_dead {
            self.cache.recycle(page);
        } else if let (Some(store), Some(page)) = (&mut self.store, page) {
            let checksum = checksum.unwrap_or_else(|| crc32c::crc32c(&page));
            let written = if is_poisoned { !checksum } else { checksum };
            let oob = Oob { lpn, version: version.number, checksum: written };
            result = store.program(ppa, page, oob).map_err(|NotProgrammed { error, page }| {
                self.cache.slot_mut(number).take_back(page, Some(checksum));
                error
            });
        }
        if self.blocks.programmed(now, ppa, lpn, !is_dead && result.is_ok()) {
            self.block_closed(now, ppa);
        }
        self.return_room(&version);
        if is_dead {
            self.end_version(now, version, Ok(Medium::Memory));
            self.cache.remove(number);
        } else if let Err(error) = result {
            self.program_failed(now, number, version, error);
        } else {
            self.landed(now, number, ppa);
            self.end_version(now, version, Ok(Medium::Flash));
        }
    }

    /// The newest version of a page in flash is at `ppa`.
    fn landed(&mut self, now: Instant, number: u32, ppa: Ppa) {
        let slot = self.cache.slot_mut(number);
        slot.failures = 0;
        let old = slot.flash.replace(ppa);
        let (lpn, dirty) = (slot.lpn, slot.dirty.as_ref());
        let next = dirty.map(|dirty| (!dirty.waiters.is_empty(), dirty.epoch));
        if let Some(old) = old {
            self.invalidate(now, old, Discarded::Superseded);
        }
        match next {
            None => {
                self.map.set(lpn, Location::Flash(ppa));
                self.cache.remove(number);
            }
            Some((is_waited_for, epoch)) => {
                let is_wanted = is_waited_for || epoch < self.epochs.open();
                self.settle(now, number, is_wanted);
            }
        }
    }

    /// A version could not be programmed. It stays in the cache and is tried again elsewhere; after some tries it waits for the
    /// next flush, or until the page is written again.
    fn program_failed(&mut self, now: Instant, number: u32, version: Version, error: MediaError) {
        self.statistics.media_errors += 1;
        let slot = self.cache.slot_mut(number);
        slot.failures += 1;
        let is_last = slot.failures >= PROGRAM_TRIES;
        if is_last {
            slot.failures = 0;
        }
        let Version { number: order, epoch, claim, mut waiters, .. } = version;
        let mut kept = epoch;
        if is_last {
            for id in std::mem::take(&mut waiters).drain() {
                self.complete(now, id, Err(error));
            }
            kept = self.epochs.failed(epoch);
        }
        let slot = self.cache.slot_mut(number);
        if let Some(newer) = &mut slot.dirty {
            // What was written meanwhile takes its place, and those who wait with it.
            waiters.drain().for_each(|id| newer.waiters.push(id));
            newer.has_ended_writes = true;
            let ended = newer.epoch.max(kept);
            newer.epoch = newer.epoch.min(kept);
            self.epochs.ended(ended);
        } else {
            let epoch = kept;
            let standing = Standing::Exempt;
            let has_ended_writes = true; // or reported as failed: it is not lost in any case
            slot.dirty =
                Some(Version { number: order, epoch, claim, standing, has_ended_writes, waiters });
        }
        // A flush that waits for it has it tried again.
        if is_last && kept == self.epochs.open() {
            self.cache.slot_mut(number).state = State::Failed;
            self.failed.push(number);
        } else {
            self.settle(now, number, true);
        }
    }

    /// A version does not need its page of the buffer any more.
    fn return_room(&mut self, version: &Version) {
        if version.standing == Standing::Admitted
            && let Some(room) = &mut self.room
        {
            *room += 1;
        }
    }

    /// Versions have ended: what waited for room, for them or for flash goes on.
    pub(crate) fn relieve(&mut self, now: Instant) {
        self.admit(now);
        self.retire(now);
        self.place_waiting(now);
    }

    /// Nothing is left to do for a version.
    fn end_version(&mut self, now: Instant, version: Version, result: Result<Medium, MediaError>) {
        self.epochs.ended(version.epoch);
        for id in version.waiters.drain() {
            match result {
                // What was deallocated meanwhile is so durably.
                Ok(medium) => self.complete_durable(now, id, medium),
                Err(error) => self.complete(now, id, Err(error)),
            }
        }
    }

    /// A page was deallocated: its bytes are not wanted any more. The map does not lead to its slot.
    pub(crate) fn drop_slot(&mut self, now: Instant, number: u32) {
        let slot = self.cache.slot_mut(number);
        let (state, flash, dirty) = (slot.state, slot.flash.take(), slot.dirty.take());
        slot.is_dead = true;
        if let Some(ppa) = flash {
            self.invalidate(now, ppa, Discarded::Deallocated);
        }
        if let Some(dirty) = dirty {
            self.return_room(&dirty);
            self.end_version(now, dirty, Ok(Medium::Memory));
        }
        match state {
            State::Held => {
                self.cache.unhold(number);
                self.cache.remove(number);
            }
            State::Failed => self.cache.remove(number),
            // Whatever is under way for it finds that it is dead.
            State::Filling | State::Placing | State::Behind | State::Flying => {}
            State::Free => unreachable!("the map led to a slot that is not in use"),
        }
    }

    /// Forgets writes that nobody waits for any more.
    pub(crate) fn forget_writes(&mut self, now: Instant, keep: impl Fn(RequestId) -> bool) {
        let (mut wanted, mut ended) = (BTreeSet::new(), BTreeSet::new());
        for claim in &mut self.claims {
            if claim.id.take_if(|id| !keep(*id)).is_some() {
                self.backlog -= 1;
                ended.insert(claim.claim);
            }
            if claim.id.is_some() {
                wanted.insert(claim.claim);
            }
        }
        let mut undone = Vec::new();
        for (number, slot) in self.cache.slots_mut() {
            if let Some(flight) = &mut slot.flight {
                self.backlog -= flight.version.waiters.retain(&keep);
            }
            if let Some(dirty) = &mut slot.dirty {
                let gone = dirty.waiters.retain(&keep);
                self.backlog -= gone;
                let is_wanted = dirty.has_ended_writes
                    || !dirty.waiters.is_empty()
                    || wanted.contains(&dirty.claim);
                if !is_wanted {
                    undone.push(number);
                } else if gone > 0 || ended.contains(&dirty.claim) {
                    // The host may read what the ended write left: it stays, whatever becomes of the others.
                    dirty.has_ended_writes = true;
                }
            }
        }
        for number in undone {
            self.undo(now, number);
        }
        self.relieve(now);
    }

    /// A version that has no room in the buffer is as if it had not been written: the page is what it was before.
    fn undo(&mut self, now: Instant, number: u32) {
        let slot = self.cache.slot_mut(number);
        let dirty = slot.dirty.take().expect("what is undone was written");
        let (lpn, flash, state) = (slot.lpn, slot.flash, slot.state);
        slot.drop_newest();
        if let Some(flight) = &slot.flight {
            (slot.sectors, slot.is_poisoned) = (flight.sectors, flight.is_poisoned);
            slot.state = State::Flying;
        } else {
            match flash {
                Some(ppa) => drop(self.map.set(lpn, Location::Flash(ppa))),
                None => self.map.remove(lpn, 1, |_, _| {}),
            }
            let slot = self.cache.slot_mut(number);
            (slot.is_dead, slot.flash) = (true, None);
        }
        self.end_version(now, dirty, Ok(Medium::Memory));
        if state == State::Held {
            self.cache.unhold(number);
            self.cache.remove(number);
        }
    }

    /// Writes that wait for room get it in their order.
    fn admit(&mut self, now: Instant) {
        while let Some(&Claim { id, slot, claim }) = self.claims.front() {
            if slot != NO_SLOT
                && let Some(version) = self.cache.slot_mut(slot).claimant(claim)
                && version.standing == Standing::Waiting
            {
                match &mut self.room {
                    Some(room) if *room > 0 => *room -= 1,
                    _ => return,
                }
                (version.standing, version.has_ended_writes) = (Standing::Admitted, true);
            }
            self.claims.pop_front();
            if let Some(id) = id {
                self.complete(now, id, Ok(Medium::Memory));
            }
        }
    }

    /// Flushes whose writes are all in flash are done.
    fn retire(&mut self, now: Instant) {
        while let Some((id, has_failed)) = self.epochs.take_flushed() {
            if has_failed {
                self.complete(now, id, Err(MediaError::ProgramFailed));
            } else {
                self.complete_durable(now, id, Medium::Flash);
            }
        }
    }
}

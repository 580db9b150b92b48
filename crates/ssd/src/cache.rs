//! The drive's memory for pages: the newest bytes of every page that is not in flash yet.
//!
//! A page that was written has a slot from then until its newest version is programmed. At most one version of a page is on
//! its way to flash at a time; what is written meanwhile is the next version. Versions that wait are held in the order of
//! their last write. Slots know which sectors of a page they have, so that parts of pages need no read before they meet.

use std::sync::Arc;

use simtime::Instant;

use crate::address::{Lpn, Ppa};
use crate::config::{Geometry, SECTOR_BYTES};
use crate::request::{Hint, RequestId, Span};
use crate::store::Page;

const NONE: u32 = u32::MAX;

/// Pages kept for reuse.
const POOL_MAX: usize = 1024;

/// Memory of pages that nothing else needs. Two futures of a drive share no such page.
#[derive(Debug, Default)]
struct Pool(Vec<Page>);

impl Clone for Pool {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// What a version has to do with the room in the write buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// It waits for room; its writes are not acknowledged.
    Waiting,
    /// It has a page of the buffer.
    Admitted,
    /// Its writes are acknowledged when it is in flash: it needs none.
    Exempt,
}

/// Requests that end when a version is in flash; mostly none or one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiters {
    first: Option<RequestId>,
    #[expect(clippy::box_collection, reason = "mostly there is none: slots stay small")]
    rest: Option<Box<Vec<RequestId>>>,
}

impl Waiters {
    pub(crate) fn push(&mut self, id: RequestId) {
        if self.first.is_none() {
            self.first = Some(id);
        } else {
            self.rest.get_or_insert_default().push(id);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn drain(self) -> impl Iterator<Item = RequestId> {
        self.first.into_iter().chain(self.rest.into_iter().flat_map(|rest| *rest))
    }

    /// Keeps some; returns how many went.
    pub(crate) fn retain(&mut self, keep: impl Fn(RequestId) -> bool) -> u64 {
        let mut gone = 0;
        for id in std::mem::take(self).drain() {
            if keep(id) { self.push(id) } else { gone += 1 }
        }
        gone
    }
}

/// A version of a page that is not in flash.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    /// Its place among all versions of all pages.
    pub(crate) number: u64,
    /// The epoch of its oldest write.
    pub(crate) epoch: u64,
    /// Names it to those who wait for room.
    pub(crate) claim: u64,
    pub(crate) standing: Standing,
    /// A write that is part of it has ended, acknowledged or forgotten: the version is not undone.
    pub(crate) has_ended_writes: bool,
    pub(crate) waiters: Waiters,
}

/// A version on its way to flash.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub(crate) version: Version,
    pub(crate) page: Option<Page>,
    pub(crate) checksum: Option<u32>,
    /// Which sectors of the page are there.
    pub(crate) sectors: u128,
    /// The others cannot be read.
    pub(crate) is_poisoned: bool,
}

/// Where a slot's newest version stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// The slot is not in use.
    Free,
    /// It waits in the list of held slots.
    Held,
    /// The bytes that it lacks are being read from flash.
    Filling,
    /// It waits for a page of flash.
    Placing,
    /// The version before it is on its way to flash.
    Behind,
    /// It is on its way to flash itself.
    Flying,
    /// It could not be programmed, again and again.
    Failed,
}

#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) lpn: Lpn,
    pub(crate) state: State,
    /// What the host said of where its newest version should go.
    pub(crate) hint: Hint,
    /// Where an older version is in flash.
    pub(crate) flash: Option<Ppa>,
    /// Bytes of the newest version, unless that is on its way to flash; `None` if the drive models times alone.
    page: Option<Page>,
    /// CRC-32C of them, if they were written as one.
    checksum: Option<u32>,
    /// Which sectors of them are there; the rest is in flash.
    pub(crate) sectors: u128,
    /// The newest version, unless it is on its way to flash.
    pub(crate) dirty: Option<Version>,
    pub(crate) flight: Option<Flight>,
    /// The page was deallocated while something of it was under way.
    pub(crate) is_dead: bool,
    /// The bytes that it lacks cannot be read.
    pub(crate) is_poisoned: bool,
    /// Program operations of it that failed in a row.
    pub(crate) failures: u32,
    last_write: Instant,
    previous: u32,
    next: u32,
}

impl Slot {
    /// The newest bytes.
    #[inline]
    pub(crate) fn newest(&self) -> Option<&[u8]> {
        let flying = self.flight.as_ref().and_then(|flight| flight.page.as_deref());
        self.page.as_deref().or(flying)
    }

    /// The newest version goes to flash.
    #[inline]
    pub(crate) fn take_off(&mut self) {
        let version = self.dirty.take().expect("what goes to flash is not there yet");
        let (page, checksum) = (self.page.take(), self.checksum.take());
        let (sectors, is_poisoned) = (self.sectors, self.is_poisoned);
        self.flight = Some(Flight { version, page, checksum, sectors, is_poisoned });
        self.state = State::Flying;
    }

    /// A page that could not be programmed is the newest one again, unless there is a newer one.
    pub(crate) fn take_back(&mut self, page: Page, checksum: Option<u32>) {
        if self.page.is_none() {
            (self.page, self.checksum) = (Some(page), checksum);
        }
    }

    /// The newest version is as if it had not been written.
    pub(crate) fn drop_newest(&mut self) {
        (self.page, self.checksum) = (None, None);
    }

    /// The version that has a claim to room, if it is not in flash yet.
    pub(crate) fn claimant(&mut self, claim: u64) -> Option<&mut Version> {
        let flying = self.flight.as_mut().map(|flight| &mut flight.version);
        self.dirty.as_mut().into_iter().chain(flying).find(|version| version.claim == claim)
    }
}

/// All slots.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    page_bytes: usize,
    /// Every sector of a page.
    pub(crate) whole: u128,
    slots: Vec<Slot>,
    free: Vec<u32>,
    first_held: u32,
    last_held: u32,
    held: u64,
    /// When the first held slot was written last.
    oldest_write: Instant,
    pool: Pool,
}

impl Cache {
    pub(crate) fn new(geometry: &Geometry) -> Self {
        let sectors = geometry.page_bytes / SECTOR_BYTES;
        Self {
            page_bytes: geometry.page_bytes as usize,
            whole: u128::MAX >> (u128::BITS - sectors),
            slots: Vec::new(),
            free: Vec::new(),
            first_held: NONE,
            last_held: NONE,
            held: 0,
            oldest_write: Instant::NEVER,
            pool: Pool::default(),
        }
    }

    /// Slots in use.
    pub(crate) fn len(&self) -> u64 {
        (self.slots.len() - self.free.len()) as u64
    }

    #[inline]
    pub(crate) fn slot(&self, number: u32) -> &Slot {
        &self.slots[number as usize]
    }

    #[inline]
    pub(crate) fn slot_mut(&mut self, number: u32) -> &mut Slot {
        &mut self.slots[number as usize]
    }

    /// Slots in use, with their numbers.
    pub(crate) fn slots_mut(&mut self) -> impl Iterator<Item = (u32, &mut Slot)> {
        (0..).zip(&mut self.slots).filter(|(_, slot)| slot.state != State::Free)
    }

    /// A slot for a page that had none.
    #[inline]
    pub(crate) fn insert(&mut self, now: Instant, lpn: Lpn, flash: Option<Ppa>) -> u32 {
        let slot = Slot {
            lpn,
            state: State::Behind,
            hint: Hint::default(),
            flash,
            page: None,
            checksum: None,
            sectors: 0,
            dirty: None,
            flight: None,
            is_dead: false,
            is_poisoned: false,
            failures: 0,
            last_write: now,
            previous: NONE,
            next: NONE,
        };
        if let Some(number) = self.free.pop() {
            self.slots[number as usize] = slot;
            return number;
        }
        self.slots.push(slot);
        self.slots.len() as u32 - 1
    }

    /// Gives a slot back.
    #[inline]
    pub(crate) fn remove(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        assert!(
            slot.dirty.is_none() && slot.flight.is_none(),
            "a page that is not in flash is lost"
        );
        slot.state = State::Free;
        let page = slot.page.take();
        self.recycle(page);
        self.free.push(number);
    }

    /// Keeps a page's memory for the next one, if nothing else needs it.
    #[inline]
    pub(crate) fn recycle(&mut self, page: Option<Page>) {
        if let Some(mut page) = page
            && self.pool.0.len() < POOL_MAX
            && Arc::get_mut(&mut page).is_some()
        {
            self.pool.0.push(page);
        }
    }

    /// Writes sectors of a slot; zeroes if there are no bytes.
    pub(crate) fn put(&mut self, number: u32, span: Span, bytes: Option<&[u8]>) {
        self.mark(number, span);
        let slot = &mut self.slots[number as usize];
        let is_whole = span.len as usize == self.page_bytes;
        let page = match &mut slot.page {
            Some(page) => page,
            None => {
                let page = self.pool.0.pop();
                let mut page = page.unwrap_or_else(|| Page::from(vec![0; self.page_bytes]));
                // The version on its way to flash keeps its bytes.
                let flying = slot.flight.as_ref().and_then(|flight| flight.page.as_deref());
                if let Some(flying) = flying.filter(|_| !is_whole) {
                    Arc::make_mut(&mut page).copy_from_slice(flying);
                }
                slot.page.insert(page)
            }
        };
        // Another future of the drive may have the same page.
        let into = &mut Arc::make_mut(page)[span.offset as usize..][..span.len as usize];
        match bytes {
            Some(bytes) => into.copy_from_slice(bytes),
            None => into.fill(0),
        }
        slot.checksum = is_whole.then(|| crc32c::crc32c(into));
    }

    /// Says that sectors of a slot were written: all of it, for a drive that keeps no bytes.
    #[inline]
    pub(crate) fn mark(&mut self, number: u32, span: Span) {
        let slot = &mut self.slots[number as usize];
        slot.sectors |= span.sectors();
        if slot.sectors == self.whole {
            slot.is_poisoned = false;
        }
    }

    /// Completes a slot with the bytes that it lacks; zeroes if there are none in flash.
    pub(crate) fn fill(&mut self, number: u32, base: Option<&[u8]>) {
        let slot = &mut self.slots[number as usize];
        if let Some(page) = slot.page.as_mut().filter(|_| slot.sectors != self.whole) {
            slot.checksum = None;
            let page = Arc::make_mut(page);
            let len = SECTOR_BYTES as usize;
            for sector in 0..page.len() / len {
                if slot.sectors >> sector & 1 == 0 {
                    let range = sector * len..(sector + 1) * len;
                    match base {
                        Some(base) => page[range.clone()].copy_from_slice(&base[range]),
                        None => page[range].fill(0),
                    }
                }
            }
        }
        slot.sectors = self.whole;
    }

    /// Puts a slot at the end of the held ones.
    #[inline]
    pub(crate) fn hold(&mut self, now: Instant, number: u32) {
        let previous = std::mem::replace(&mut self.last_held, number);
        match previous {
            NONE => (self.first_held, self.oldest_write) = (number, now),
            previous => self.slots[previous as usize].next = number,
        }
        let slot = &mut self.slots[number as usize];
        (slot.previous, slot.next) = (previous, NONE);
        (slot.state, slot.last_write) = (State::Held, now);
        self.held += 1;
    }

    /// Takes a slot out of the held ones.
    #[inline]
    pub(crate) fn unhold(&mut self, number: u32) {
        let Slot { previous, next, .. } = self.slots[number as usize];
        match previous {
            NONE => {
                self.first_held = next;
                let slot = self.slots.get(next as usize);
                self.oldest_write = slot.map_or(Instant::NEVER, |slot| slot.last_write);
            }
            previous => self.slots[previous as usize].next = next,
        }
        match next {
            NONE => self.last_held = previous,
            next => self.slots[next as usize].previous = previous,
        }
        self.held -= 1;
    }

    /// Held slots.
    #[inline]
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    /// The held slot that was not written for the longest time.
    #[inline]
    pub(crate) fn oldest_held(&self) -> Option<u32> {
        (self.first_held != NONE).then_some(self.first_held)
    }

    /// Since when that was not written; [`Instant::NEVER`] if no slot is held.
    #[inline]
    pub(crate) fn oldest_write(&self) -> Instant {
        self.oldest_write
    }
}

//! Where host writes go: a frontier for each stream, so that what is thought to be of like age shares blocks.

use std::collections::VecDeque;

use simtime::Instant;

use crate::address::Ppa;
use crate::batch::Gathering;
use crate::blocks::Stream;
use crate::config::Placement;
use crate::drive::Ssd;
use crate::plane_set::PlaneSet;

/// The write frontier of a stream of the host's.
#[derive(Clone, Debug)]
pub(crate) struct Frontier {
    /// Planes that may have a page for it. A plane leaves when it turns out to have none, and comes back when one of its blocks
    /// was erased.
    pub(crate) available: PlaneSet,
    next_plane: u32,
    /// Slots that wait for a page of flash.
    pub(crate) placing: VecDeque<u32>,
    /// The batch that the next slot goes to.
    pub(crate) gathering: Option<Gathering>,
}

impl Frontier {
    pub(crate) fn new(planes: u32) -> Self {
        Self {
            available: PlaneSet::full(planes),
            next_plane: 0,
            placing: VecDeque::new(),
            gathering: None,
        }
    }
}

/// How long pages stay as they are: of the blocks that short-lived pages went to, the last that were collected.
///
/// Lifetimes are counted in pages that the host wrote (Wang et al., "Separating Data via Block Invalidation Time Inference for Write
/// Amplification Reduction in Log-Structured Storage", FAST 2022).
#[derive(Clone, Debug)]
pub(crate) struct Lifetimes {
    sum: u64,
    count: u64,
    mean: u64,
}

impl Default for Lifetimes {
    /// Until something is known all pages that are written again are.
    fn default() -> Self {
        Self { sum: 0, count: 0, mean: u64::MAX }
    }
}

/// Streams of [`Placement::HotCold`].
const COLD: usize = 0;
pub(crate) const HOT: usize = 1;

/// Collected blocks whose mean is one of [`Lifetimes`].
const LIFETIMES: u64 = 16;

impl Lifetimes {
    /// A block of short-lived pages was collected, so many pages after it was opened.
    pub(crate) fn collected(&mut self, age: u64) {
        self.sum += age;
        self.count += 1;
        if self.count == LIFETIMES {
            self.mean = self.sum / LIFETIMES;
            (self.sum, self.count) = (0, 0);
        }
    }

    /// True if a page that lived so long will soon be written again.
    fn is_short(&self, age: u64) -> bool {
        age < self.mean
    }
}

impl Ssd {
    /// The stream that a slot's newest version goes to.
    pub(crate) fn stream_of(&self, number: u32) -> usize {
        let slot = self.cache.slot(number);
        match self.config.placement {
            Placement::Hints => slot.hint.stream.into(),
            // What the host says of zones it knows.
            Placement::HotCold if self.is_of_zone(slot.hint.stream) => slot.hint.stream.into(),
            Placement::HotCold => {
                let old = slot.flash.map(|ppa| self.versions - self.blocks.opened_at(ppa));
                if old.is_some_and(|age| self.lifetimes.is_short(age)) { HOT } else { COLD }
            }
        }
    }

    /// True if what is written to a stream is written in sequence, and erased as a whole.
    #[inline]
    pub(crate) fn is_of_zone(&self, stream: u8) -> bool {
        u32::from(stream) >= self.config.first_zone_stream()
    }

    /// Pages for a program operation of a stream, of the next plane that has them: the first.
    pub(crate) fn allocate(&mut self, now: Instant, stream: usize) -> Option<Ppa> {
        loop {
            let frontier = &mut self.frontiers[stream];
            let plane = frontier.available.next_from(frontier.next_plane)?;
            frontier.next_plane = if plane + 1 == self.geometry.planes { 0 } else { plane + 1 };
            if let Some(ppa) = self.blocks.allocate(plane, Stream::host(stream), self.versions) {
                // A plane's free blocks change when one is opened.
                if self.geometry.page_of(ppa) == 0 {
                    self.start_collection(now, plane);
                }
                return Some(ppa);
            }
            frontier.available.remove(plane);
            let is_last = frontier.available.is_empty();
            self.start_collection(now, plane);
            self.statistics.stalls += u64::from(is_last);
        }
    }

    /// Bytes that the reclaim unit of a hint has room for, until the next one begins (NVMe's Flexible Data Placement). What waits in the
    /// write buffer has no place yet.
    pub fn unit_left(&self, hint: u8) -> u64 {
        let room = self.blocks.open_room(Stream::host(hint.into()));
        room.unwrap_or_else(|| self.geometry.unit_pages()) * u64::from(self.geometry.page_bytes)
    }

    /// What is written next with a hint goes to another reclaim unit; what waits in the write buffer does, too. What the last had room
    /// for is given up: bytes; collection gets it back. 0 if it was full, or has not begun.
    pub fn begin_unit(&mut self, now: Instant, hint: u8) -> u64 {
        self.catch_up(now);
        let stream = usize::from(hint);
        let pages = if stream < self.frontiers.len() { self.end_unit(now, stream) } else { 0 };
        pages * u64::from(self.geometry.page_bytes)
    }

    /// The open blocks of a stream are given up: how many pages they had room for.
    pub(crate) fn end_unit(&mut self, now: Instant, stream: usize) -> u64 {
        let Some(room) = self.blocks.open_room(Stream::host(stream)) else { return 0 };
        if self.frontiers[stream].gathering.is_some() {
            self.program(now, stream);
        }
        for plane in self.blocks.close_open(now, Stream::host(stream)) {
            self.start_collection(now, plane);
        }
        room
    }

    /// True if a plane has no room for some stream.
    pub(crate) fn is_short_of_room(&self, plane: u32) -> bool {
        self.frontiers.iter().any(|frontier| !frontier.available.contains(plane))
    }

    /// A plane has a block for each stream again.
    pub(crate) fn has_room_again(&mut self, plane: u32) {
        self.frontiers.iter_mut().for_each(|frontier| frontier.available.insert(plane));
    }

    /// When the first batch that is not full is programmed all the same.
    #[inline]
    pub(crate) fn gathered_due(&self) -> Instant {
        // A page alone is a full program.
        if self.geometry.pages_per_program == 1 {
            return Instant::NEVER;
        }
        let due = |frontier: &Frontier| frontier.gathering.map(|gathering| gathering.due);
        self.frontiers.iter().filter_map(due).min().unwrap_or(Instant::NEVER)
    }

    /// Batches that are due go to flash, full or not.
    pub(crate) fn program_due(&mut self, now: Instant) {
        for stream in 0..self.frontiers.len() {
            if self.frontiers[stream].gathering.is_some_and(|gathering| gathering.due <= now) {
                self.program(now, stream);
            }
        }
    }
}

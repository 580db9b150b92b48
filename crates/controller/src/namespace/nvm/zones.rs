//! The zones of a namespace (Zoned Namespace Command Set 1.2, section 2.1): what state each is in, how far it was written, and how many may
//! be open and active. There is no flash here, and there are no commands.
//!
//! A zone that is active, open or closed, has a stream of the flash of its own: what is written to it shares blocks with nothing else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use nvme_spec::{Status, ZoneAction, ZoneState};

use crate::config::ZonedConfig;

/// Where zones lie: how large they are, and how many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ZoneLayout {
    /// From the beginning of a zone to the next: bytes, as a power of two.
    size_bits: u32,
    /// Bytes of a zone that can be written, from its beginning.
    pub(crate) capacity: u64,
    pub(crate) count: u32,
}

impl ZoneLayout {
    pub(crate) fn new(zoned: &ZonedConfig) -> Self {
        Self {
            size_bits: zoned.zone_bytes.trailing_zeros(),
            capacity: zoned.zone_capacity,
            count: zoned.zones,
        }
    }

    /// From the beginning of a zone to the next.
    pub(crate) fn size(&self) -> u64 {
        1 << self.size_bits
    }

    /// From the first zone to the end of the last.
    pub(crate) fn bytes(&self) -> u64 {
        u64::from(self.count) << self.size_bits
    }

    /// Bytes that can be written.
    pub(crate) fn written_max(&self) -> u64 {
        u64::from(self.count) * self.capacity
    }

    /// The zone of a byte, and its place in the zone.
    #[inline]
    pub(crate) fn find(&self, byte: u64) -> (u32, u64) {
        ((byte >> self.size_bits) as u32, byte & (self.size() - 1))
    }

    /// The first byte of a zone.
    pub(crate) fn start(&self, zone: u32) -> u64 {
        u64::from(zone) << self.size_bits
    }

    /// Of the pages that can be written, the number of a page of the namespace; `None` if it is behind the capacity of its zone.
    #[inline]
    pub(crate) fn page(&self, page: u64, page_bits: u32) -> Option<u64> {
        let (zone, place) = self.find(page << page_bits);
        let byte = u64::from(zone) * self.capacity + place;
        (place < self.capacity).then_some(byte >> page_bits)
    }
}

/// A zone.
#[derive(Clone, Copy, Debug)]
struct Zone {
    state: ZoneState,
    /// Bytes up to the write pointer.
    written: u64,
    /// While it is active.
    stream: u8,
    /// It is full because the drive could not keep it active.
    is_finished_by_drive: bool,
}

impl Zone {
    const EMPTY: Self =
        Self { state: ZoneState::EMPTY, written: 0, stream: 0, is_finished_by_drive: false };

    fn is_open(&self) -> bool {
        matches!(self.state, ZoneState::IMPLICITLY_OPENED | ZoneState::EXPLICITLY_OPENED)
    }

    fn is_active(&self) -> bool {
        self.is_open() || self.state == ZoneState::CLOSED
    }
}

/// What a report says of a zone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reported {
    pub(crate) zone: u32,
    pub(crate) state: ZoneState,
    /// Bytes up to the write pointer; `None` if it takes no writes.
    pub(crate) written: Option<u64>,
    pub(crate) is_finished_by_drive: bool,
}

/// Where a write goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Claim {
    /// Its first byte in the namespace.
    pub(crate) start: u64,
    pub(crate) stream: u8,
    /// Its first page is the first of blocks that hold nothing of other zones.
    pub(crate) begins_unit: bool,
}

/// A write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ZoneWrite {
    /// Its first byte in the namespace; of an append, the first of the zone.
    pub(crate) start: u64,
    pub(crate) len: u64,
    /// It goes where the write pointer is.
    pub(crate) is_append: bool,
}

/// A zone that is full though it is not written to its end: its pages in flash do not tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct KnownZone {
    pub(crate) zone: u32,
    pub(crate) written: u64,
    pub(crate) is_finished_by_drive: bool,
}

/// All zones of a namespace.
#[derive(Clone, Debug)]
pub(crate) struct Zones {
    pub(crate) layout: ZoneLayout,
    pub(crate) active_max: u32,
    pub(crate) open_max: u32,
    zones: Vec<Zone>,
    /// Opened by a write, the one that was opened first in front: they are closed to make room for others.
    implicit: VecDeque<u32>,
    open: u32,
    active_zones: BTreeSet<u32>,
    /// Streams that no zone has, the one that was given back first in front.
    free_streams: VecDeque<u8>,
    /// Zones consist of whole reclaim units: none shares blocks with another.
    has_whole_units: bool,
    /// What the drive remembers of zones, by number.
    kept: BTreeMap<u32, KnownZone>,
}

impl Zones {
    /// Empty zones, whose streams begin with this one.
    pub(crate) fn new(zoned: &ZonedConfig, first_stream: u8, unit_bytes: u64) -> Self {
        let layout = ZoneLayout::new(zoned);
        Self {
            layout,
            active_max: zoned.active_max,
            open_max: zoned.open_max,
            zones: vec![Zone::EMPTY; layout.count as usize],
            implicit: VecDeque::new(),
            open: 0,
            active_zones: BTreeSet::new(),
            free_streams: (first_stream..).take(zoned.active_max as usize).collect(),
            has_whole_units: layout.capacity.is_multiple_of(unit_bytes),
            kept: BTreeMap::new(),
        }
    }

    /// What they are, as a configuration has it.
    pub(crate) fn config(&self, block_bytes: u32) -> ZonedConfig {
        ZonedConfig {
            zones: self.layout.count,
            zone_bytes: self.layout.size(),
            zone_capacity: self.layout.capacity,
            active_max: self.active_max,
            open_max: self.open_max,
            block_bytes,
        }
    }

    /// The zone that begins with a byte; `None` if none does.
    pub(crate) fn beginning_with(&self, byte: u64) -> Option<u32> {
        let (zone, place) = self.layout.find(byte);
        (place == 0 && zone < self.layout.count).then_some(zone)
    }

    /// Zones from one on, as a report has them.
    pub(crate) fn reported(&self, from: u32) -> impl Iterator<Item = Reported> + '_ {
        (from..).zip(&self.zones[from as usize..]).map(|(number, zone)| Reported {
            zone: number,
            state: zone.state,
            written: (zone.state != ZoneState::FULL).then_some(zone.written),
            is_finished_by_drive: zone.is_finished_by_drive,
        })
    }

    /// Takes a write in: the write pointer moves behind it.
    pub(crate) fn claim(&mut self, write: ZoneWrite) -> Result<Claim, Status> {
        let (number, place) = self.layout.find(write.start);
        let zone = self.zones[number as usize];
        if write.is_append && place != 0 {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        if zone.state == ZoneState::FULL {
            return Err(Status::ZONE_IS_FULL.with_dnr());
        }
        if !write.is_append && place != zone.written {
            return Err(Status::ZONE_INVALID_WRITE.with_dnr());
        }
        if write.len > self.layout.capacity - zone.written {
            return Err(Status::ZONE_BOUNDARY_ERROR.with_dnr());
        }
        if !zone.is_open() {
            self.open(number, ZoneState::IMPLICITLY_OPENED)?;
        }
        let begins_unit = self.has_whole_units && zone.written == 0;
        let zone = &mut self.zones[number as usize];
        zone.written += write.len;
        let (stream, end) = (zone.stream, zone.written);
        if end == self.layout.capacity {
            self.leave(number, ZoneState::FULL);
        }
        Ok(Claim { start: self.layout.start(number) + end - write.len, stream, begins_unit })
    }

    /// Opens a zone that is not.
    fn open(&mut self, number: u32, state: ZoneState) -> Result<(), Status> {
        let is_active = self.zones[number as usize].is_active();
        if !is_active && self.has_all_active() {
            return Err(Status::TOO_MANY_ACTIVE_ZONES);
        }
        if self.open == self.open_max {
            let oldest = *self.implicit.front().ok_or(Status::TOO_MANY_OPEN_ZONES)?;
            self.close(oldest);
        }
        if !is_active {
            let free = self.free_streams.pop_front();
            let stream = free.expect("there are as many streams as active zones");
            self.zones[number as usize].stream = stream;
            self.active_zones.insert(number);
        }
        self.open += 1;
        self.zones[number as usize].state = state;
        if state == ZoneState::IMPLICITLY_OPENED {
            self.implicit.push_back(number);
        }
        Ok(())
    }

    fn has_all_active(&self) -> bool {
        self.active_zones.len() == self.active_max as usize
    }

    fn forget_implicit(&mut self, number: u32) {
        self.implicit.retain(|other| *other != number);
    }

    /// Closes an open zone.
    fn close(&mut self, number: u32) {
        self.forget_implicit(number);
        self.open -= 1;
        self.zones[number as usize].state = ZoneState::CLOSED;
    }

    /// A zone is full, or empty, from now on: others may have its place.
    fn leave(&mut self, number: u32, state: ZoneState) {
        let zone = self.zones[number as usize];
        if zone.is_open() {
            self.close(number);
        }
        if zone.is_active() {
            self.active_zones.remove(&number);
            self.free_streams.push_back(zone.stream);
        }
        let written = if state == ZoneState::EMPTY { 0 } else { zone.written };
        self.zones[number as usize] = Zone { state, written, ..Zone::EMPTY };
    }

    /// Does what a host asks for, with one zone.
    pub(crate) fn manage(&mut self, number: u32, action: ZoneAction) -> Result<Managed, Status> {
        use ZoneState as S;
        let state = self.zones[number as usize].state;
        let mut managed = Managed::default();
        match (action, state) {
            (ZoneAction::OPEN, S::EXPLICITLY_OPENED)
            | (ZoneAction::CLOSE, S::CLOSED)
            | (ZoneAction::FINISH, S::FULL)
            | (ZoneAction::RESET, S::EMPTY) => {}
            (ZoneAction::OPEN, S::IMPLICITLY_OPENED) => {
                self.forget_implicit(number);
                self.zones[number as usize].state = S::EXPLICITLY_OPENED;
            }
            (ZoneAction::OPEN, S::EMPTY | S::CLOSED) => {
                self.open(number, S::EXPLICITLY_OPENED)?;
            }
            (ZoneAction::CLOSE, S::IMPLICITLY_OPENED | S::EXPLICITLY_OPENED) => self.close(number),
            (
                ZoneAction::FINISH,
                S::EMPTY | S::IMPLICITLY_OPENED | S::EXPLICITLY_OPENED | S::CLOSED,
            ) => {
                self.leave(number, S::FULL);
                managed.stays = true;
            }
            (
                ZoneAction::RESET,
                S::IMPLICITLY_OPENED | S::EXPLICITLY_OPENED | S::CLOSED | S::FULL,
            ) => {
                self.leave(number, S::EMPTY);
                (managed.is_emptied, managed.stays) = (true, true);
            }
            _ => return Err(Status::INVALID_ZONE_STATE_TRANSITION.with_dnr()),
        }
        Ok(managed)
    }

    /// Zones that an action on all of them is for.
    pub(crate) fn selected(&self, action: ZoneAction) -> Result<Vec<u32>, Status> {
        let is_meant = |zone: &Zone| match action {
            ZoneAction::OPEN => zone.state == ZoneState::CLOSED,
            ZoneAction::CLOSE => zone.is_open(),
            ZoneAction::FINISH => zone.is_active(),
            ZoneAction::RESET => zone.state != ZoneState::EMPTY,
            _ => false,
        };
        let all = (0..).zip(&self.zones).filter(|(_, zone)| is_meant(zone));
        let all: Vec<u32> = all.map(|(number, _)| number).collect();
        // All of them or none (section 3.4.3.1.3).
        let room = self.open_max - self.open + self.implicit.len() as u32;
        if action == ZoneAction::OPEN && all.len() as u32 > room {
            return Err(Status::TOO_MANY_OPEN_ZONES);
        }
        Ok(all)
    }

    /// All zones are empty, whatever they were, and the drive remembers nothing of them.
    pub(crate) fn clear(&mut self) {
        self.kept.clear();
        for number in 0..self.layout.count {
            if self.zones[number as usize].state != ZoneState::EMPTY {
                self.leave(number, ZoneState::EMPTY);
            }
        }
    }

    /// What is remembered of zones.
    pub(crate) fn kept(&self) -> impl ExactSizeIterator<Item = KnownZone> + '_ {
        self.kept.values().copied()
    }

    /// What was remembered before the drive was switched on.
    pub(crate) fn set_kept(&mut self, kept: &[KnownZone]) {
        self.kept = kept.iter().map(|zone| (zone.zone, *zone)).collect();
    }

    /// A zone is remembered if it is not as its pages tell: if it ends early.
    pub(crate) fn keep(&mut self, number: u32) {
        let Zone { state, written, is_finished_by_drive, .. } = self.zones[number as usize];
        if state == ZoneState::FULL && written < self.layout.capacity {
            self.kept.insert(number, KnownZone { zone: number, written, is_finished_by_drive });
        } else {
            self.kept.remove(&number);
        }
    }

    /// The power was lost, or the drive is switched on. `found` bytes of a zone have their data: what comes after them was not flushed, and
    /// goes. Zones, each with the byte from which on it is to be emptied.
    pub(crate) fn recover(&mut self, mut found: impl FnMut(u32) -> u64) -> Vec<(u32, u64)> {
        let known = std::mem::take(&mut self.kept);
        self.clear();
        let mut cut = Vec::new();
        for number in 0..self.layout.count {
            let kept = known.get(&number);
            // What was written before a zone was finished was not flushed with it.
            let written = kept.map_or(u64::MAX, |kept| kept.written).min(found(number));
            if written < self.layout.capacity {
                cut.push((number, written));
            }
            self.put_back(number, written, kept);
            self.keep(number);
        }
        cut
    }

    /// A zone that was written. If there are too many that are not full, it is full all the same.
    fn put_back(&mut self, number: u32, written: u64, kept: Option<&KnownZone>) {
        let is_full = kept.is_some() || written == self.layout.capacity;
        if written == 0 && !is_full {
            return;
        }
        let is_finished_now = !is_full && self.has_all_active();
        let was_finished = kept.is_some_and(|kept| kept.is_finished_by_drive);
        let is_finished_by_drive = is_finished_now || was_finished;
        let mut zone = Zone { written, is_finished_by_drive, ..Zone::EMPTY };
        if is_full || is_finished_now {
            zone.state = ZoneState::FULL;
        } else {
            let free = self.free_streams.pop_front();
            zone.stream = free.expect("there are as many streams as active zones");
            zone.state = ZoneState::CLOSED;
            self.active_zones.insert(number);
        }
        self.zones[number as usize] = zone;
    }
}

/// What an action did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Managed {
    /// The zone's data goes.
    pub(crate) is_emptied: bool,
    /// The drive remembers it.
    pub(crate) stays: bool,
}

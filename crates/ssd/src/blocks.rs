//! Blocks: which are free, open or closed; what each page was written with; how many pages are valid.

use std::collections::VecDeque;

use simtime::Instant;

use crate::address::{BlockId, Lpn, Ppa};
use crate::config::{Config, Geometry, Isolation, Placement, WearLeveling};
use crate::frontier::HOT;
use crate::reliability::BlockAge;
use crate::store::UsedBlock;
use crate::victims::VictimPolicy;

/// Who a page is written for: each has a write frontier of its own, so that data of like age ends up together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stream(u8);

/// All streams: first the host's, then garbage collection's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streams {
    host: u8,
    /// Those of the host's that are not of zones.
    hinted: u8,
    collection: u8,
    placement: Placement,
    isolation: Isolation,
}

impl Stream {
    /// Of a block that a store had: nobody knows any more whose it was.
    const UNKNOWN: Self = Self(u8::MAX);

    /// A stream of the host's, by number.
    pub(crate) fn host(number: usize) -> Self {
        Self(number as u8)
    }
}

impl Streams {
    fn new(config: &Config) -> Self {
        Self {
            host: config.streams() as u8,
            hinted: config.first_zone_stream() as u8,
            collection: config.collection_streams() as u8,
            placement: config.placement,
            isolation: config.isolation,
        }
    }

    fn is_collection(self, stream: Stream) -> bool {
        stream.0 >= self.host
    }

    fn is_of_zone(self, stream: Stream) -> bool {
        (self.hinted..self.host).contains(&stream.0)
    }

    /// Where collection moves pages to that were written for a stream.
    fn moved_from(self, stream: Stream) -> Stream {
        let to = match (self.placement, self.isolation) {
            // What was thought to be hot and is not any more, and all the rest.
            (Placement::HotCold, _) => u8::from(stream == Stream::host(HOT)),
            (Placement::Hints, Isolation::Initial) => 0,
            (Placement::Hints, Isolation::Persistent) => {
                let moved = if stream.0 < self.host { stream.0 } else { stream.0 - self.host };
                moved % self.hinted
            }
        };
        Stream(self.host + to)
    }

    /// Where the data of blocks goes that lag behind in their erases.
    fn of_laggards(self) -> Stream {
        Stream(self.host + self.collection - 1)
    }

    /// Collection's first.
    fn all(self) -> impl Iterator<Item = Stream> {
        let collection = self.host..self.host + self.collection;
        collection.chain(0..self.host).map(Stream)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Free,
    /// Some pages are not handed out, or not programmed yet.
    Open,
    /// Collection may take it.
    Closed,
    /// Being collected or erased.
    Victim,
    /// It failed: it is not used any more.
    Bad,
}

/// Logical pages by page of a block, in as many bytes as the drive needs.
#[derive(Clone, Debug)]
enum Owners {
    /// The block was never used.
    None,
    Narrow(Box<[u32]>),
    Wide(Box<[u64]>),
}

impl Owners {
    fn new(geometry: &Geometry) -> Self {
        let count = geometry.pages_per_block as usize;
        if geometry.logical_pages <= u64::from(u32::MAX) {
            Self::Narrow(vec![0; count].into())
        } else {
            Self::Wide(vec![0; count].into())
        }
    }

    #[inline]
    fn get(&self, page: u32) -> Lpn {
        match self {
            Self::None => unreachable!("a page that was written is in a block that was used"),
            Self::Narrow(lpns) => Lpn(lpns[page as usize].into()),
            Self::Wide(lpns) => Lpn(lpns[page as usize]),
        }
    }

    #[inline]
    fn set(&mut self, page: u32, lpn: Lpn) {
        match self {
            Self::None => unreachable!("a page is written in a block that was opened"),
            Self::Narrow(lpns) => lpns[page as usize] = lpn.0 as u32,
            Self::Wide(lpns) => lpns[page as usize] = lpn.0,
        }
    }
}

#[derive(Clone, Debug)]
struct Block {
    state: State,
    /// Pages handed out, from 0.
    allocated: u32,
    /// Pages whose program operation is over, from 0.
    programmed: u32,
    /// Programmed pages that hold current data.
    valid: u32,
    erases: u32,
    /// Who its pages are written for, and when the first of them was, in pages that the host wrote before.
    stream: Stream,
    /// The stream goes on in other blocks, though this one has room.
    is_given_up: bool,
    opened_at: u64,
    /// When its first page was written, and reads of its pages since then.
    written_at: Option<Instant>,
    reads: u32,
    /// Reverse map: the logical page that each page was written with.
    owners: Owners,
    /// One bit for each valid page: collection scans it instead of asking the map about every page.
    is_valid: Box<[u64]>,
}

impl Block {
    fn new() -> Self {
        Self {
            state: State::Free,
            allocated: 0,
            programmed: 0,
            valid: 0,
            erases: 0,
            stream: Stream(0),
            is_given_up: false,
            opened_at: 0,
            written_at: None,
            reads: 0,
            owners: Owners::None,
            is_valid: Box::default(),
        }
    }

    /// Makes room for what is known of its pages.
    fn prepare(&mut self, geometry: &Geometry) {
        if matches!(self.owners, Owners::None) {
            self.owners = Owners::new(geometry);
            self.is_valid = vec![0; geometry.pages_per_block.div_ceil(64) as usize].into();
        }
    }
}

#[derive(Debug)]
struct Plane {
    /// Blocks that were ever used; those after them are fresh.
    blocks: Vec<Block>,
    /// The open block of each stream.
    open: Box<[Option<u32>]>,
    erased: VecDeque<u32>,
    /// Erases of its blocks together, and of the one that was erased most.
    erases: u64,
    erases_max: u32,
    victims: Box<dyn VictimPolicy>,
    /// Closed blocks of zones that hold nothing any more: they are erased without a need.
    emptied: Vec<u32>,
    /// Closed blocks whose pages are hard to read: they are written anew when there is room.
    refresh: Vec<u32>,
    /// Blocks that became bad.
    bad: u32,
}

/// Every block of the drive. Blocks that were never used take no memory.
#[derive(Debug)]
pub(crate) struct Blocks {
    geometry: Geometry,
    streams: Streams,
    wear_leveling: WearLeveling,
    wear_gap: u32,
    planes: Vec<Plane>,
}

impl Plane {
    /// The erased block with the lowest rank, of several the one that was erased first.
    fn take_erased(&mut self, rank: impl Fn(u32) -> u32) -> Option<u32> {
        let rank_of = |(_, index): &(usize, &u32)| rank(self.blocks[**index as usize].erases);
        let (place, _) = self.erased.iter().enumerate().min_by_key(rank_of)?;
        self.erased.remove(place)
    }

    /// A block was erased, and holds nothing.
    fn count_erase(&mut self, index: u32) {
        let block = &mut self.blocks[index as usize];
        (block.allocated, block.programmed) = (0, 0);
        block.erases += 1;
        self.erases += 1;
        self.erases_max = self.erases_max.max(block.erases);
    }

    /// Takes a closed block for collection, against the policy's order.
    fn take_closed(&mut self, index: u32) {
        self.blocks[index as usize].state = State::Victim;
        self.victims.remove(index);
    }

    /// A block takes no more pages: collection may take it.
    fn close(&mut self, index: u32, streams: Streams, now: Instant) {
        let block = &mut self.blocks[index as usize];
        block.state = State::Closed;
        self.victims.closed(index, block.valid, now);
        if block.valid == 0 && streams.is_of_zone(block.stream) {
            self.emptied.push(index);
        }
    }

    /// The closed block that was erased least, if it lags far behind the one that was erased most.
    fn laggard(&self, gap: u32) -> Option<u32> {
        let closed = |(_, block): &(u32, &Block)| block.state == State::Closed;
        let (index, least) =
            (0..).zip(&self.blocks).filter(closed).min_by_key(|(_, block)| block.erases)?;
        (self.erases_max - least.erases > gap).then_some(index)
    }
}

impl Clone for Blocks {
    fn clone(&self) -> Self {
        let plane = |plane: &Plane| Plane {
            blocks: plane.blocks.clone(),
            open: plane.open.clone(),
            erased: plane.erased.clone(),
            erases: plane.erases,
            erases_max: plane.erases_max,
            victims: plane.victims.fork(),
            emptied: plane.emptied.clone(),
            refresh: plane.refresh.clone(),
            bad: plane.bad,
        };
        Self {
            geometry: self.geometry,
            streams: self.streams,
            wear_leveling: self.wear_leveling,
            wear_gap: self.wear_gap,
            planes: self.planes.iter().map(plane).collect(),
        }
    }
}

impl Blocks {
    pub(crate) fn new(config: &Config, geometry: Geometry) -> Self {
        let streams = Streams::new(config);
        let plane = |_| Plane {
            blocks: Vec::new(),
            open: vec![None; streams.all().count()].into(),
            erased: VecDeque::new(),
            erases: 0,
            erases_max: 0,
            victims: config.victim_policy.build(geometry.pages_per_block),
            emptied: Vec::new(),
            refresh: Vec::new(),
            bad: 0,
        };
        Self {
            geometry,
            streams,
            wear_leveling: config.wear_leveling,
            wear_gap: config.wear_gap,
            planes: (0..geometry.planes).map(plane).collect(),
        }
    }

    #[inline]
    pub(crate) fn plane_of(&self, ppa: Ppa) -> u32 {
        self.geometry.plane_of(self.geometry.block_of(ppa))
    }

    #[inline]
    fn block(&self, block: BlockId) -> &Block {
        let plane = &self.planes[self.geometry.plane_of(block) as usize];
        &plane.blocks[self.geometry.index_of(block) as usize]
    }

    /// Free blocks of a plane. Which of them were bad from the beginning makes no difference.
    pub(crate) fn free(&self, plane: u32) -> u32 {
        let plane = &self.planes[plane as usize];
        plane.erased.len() as u32 + self.geometry.good_blocks_per_plane()
            - plane.blocks.len() as u32
    }

    /// The next pages of a stream in a plane, as many as one operation programs: the first of them. `None` if the plane has no block
    /// that the stream may open.
    pub(crate) fn allocate(&mut self, plane: u32, stream: Stream, versions: u64) -> Option<Ppa> {
        let mut slot = usize::from(stream.0);
        let index = match self.planes[plane as usize].open[slot] {
            Some(index) => index,
            None => match self.open_block(plane, stream, versions) {
                Some(index) => index,
                None => {
                    slot = self.another_open(plane, stream)?;
                    self.planes[plane as usize].open[slot]?
                }
            },
        };
        let state = &mut self.planes[plane as usize];
        let block = &mut state.blocks[index as usize];
        let page = block.allocated;
        block.allocated += self.geometry.pages_per_program;
        if block.allocated == self.geometry.pages_per_block {
            state.open[slot] = None;
        }
        Some(self.geometry.page(self.geometry.block(plane, index), page))
    }

    /// Where collection goes on without a free block: in an open block of another stream, its own before the host's. Host writes leave it
    /// a block; only losses of power, which waste the pages that are being written, can use that up.
    fn another_open(&self, plane: u32, stream: Stream) -> Option<usize> {
        let open = &self.planes[plane as usize].open;
        let mut all = self.streams.all().map(|stream| usize::from(stream.0));
        let is_any = |slot: &usize| open[*slot].is_some();
        if self.streams.is_collection(stream) { all.find(is_any) } else { None }
    }

    fn open_block(&mut self, plane: u32, stream: Stream, versions: u64) -> Option<u32> {
        let reserve =
            if self.streams.is_collection(stream) { 0 } else { self.geometry.gc_reserve_blocks };
        if self.free(plane) <= reserve {
            return None;
        }
        let (geometry, good) = (&self.geometry, self.geometry.good_blocks_per_plane());
        let state = &mut self.planes[plane as usize];
        let erased = match self.wear_leveling {
            WearLeveling::None => state.erased.pop_front(),
            // A block that was never used is the least worn one.
            _ if stream != self.streams.of_laggards() && (state.blocks.len() as u32) < good => None,
            WearLeveling::Static if stream == self.streams.of_laggards() => {
                state.take_erased(|erases| u32::MAX - erases)
            }
            _ => state.take_erased(|erases| erases),
        };
        let index = erased.unwrap_or_else(|| {
            state.blocks.push(Block::new());
            state.blocks.len() as u32 - 1
        });
        let block = &mut state.blocks[index as usize];
        assert_eq!(block.state, State::Free, "opened a block in use");
        block.state = State::Open;
        (block.stream, block.opened_at) = (stream, versions);
        block.is_given_up = false;
        block.prepare(geometry);
        state.open[stream.0 as usize] = Some(index);
        Some(index)
    }

    /// Where collection moves the pages of a block to.
    pub(crate) fn moved_from(&self, ppa: Ppa, is_laggard: bool) -> Stream {
        if is_laggard {
            return self.streams.of_laggards();
        }
        self.streams.moved_from(self.block(self.geometry.block_of(ppa)).stream)
    }

    /// A stream of collection's.
    pub(crate) fn first_of_collection(&self) -> Stream {
        Stream(self.streams.host)
    }

    /// How many pages the host had written when the block of a page was opened.
    #[inline]
    pub(crate) fn opened_at(&self, ppa: Ppa) -> u64 {
        self.block(self.geometry.block_of(ppa)).opened_at
    }

    /// The same of a block; `None` if it was not opened for a stream.
    pub(crate) fn opened_for(&self, id: BlockId, stream: Stream) -> Option<u64> {
        let block = self.block(id);
        (block.stream == stream).then_some(block.opened_at)
    }

    /// The logical page that a programmed page was written with.
    #[inline]
    pub(crate) fn owner(&self, ppa: Ppa) -> Lpn {
        self.block(self.geometry.block_of(ppa)).owners.get(self.geometry.page_of(ppa))
    }

    /// True while a page holds its logical page's current data.
    #[inline]
    pub(crate) fn is_valid(&self, ppa: Ppa) -> bool {
        let page = self.geometry.page_of(ppa);
        let bits = self.block(self.geometry.block_of(ppa)).is_valid.get(page as usize / 64);
        bits.is_some_and(|bits| bits >> (page % 64) & 1 != 0)
    }

    /// The next valid page of a block at or after one.
    pub(crate) fn next_valid(&self, block: BlockId, from: u32) -> Option<u32> {
        let bits = &self.block(block).is_valid;
        let mut word = from as usize / 64;
        let mut rest = bits.get(word)? & u64::MAX << (from % 64);
        while rest == 0 {
            word += 1;
            rest = *bits.get(word)?;
        }
        Some(word as u32 * 64 + rest.trailing_zeros())
    }

    /// A program operation is over. Pages of a block are programmed in order. True if that closed the block.
    pub(crate) fn programmed(&mut self, now: Instant, ppa: Ppa, lpn: Lpn, is_valid: bool) -> bool {
        let (id, page) = (self.geometry.block_of(ppa), self.geometry.page_of(ppa));
        let index = self.geometry.index_of(id);
        let plane = &mut self.planes[self.geometry.plane_of(id) as usize];
        let block = &mut plane.blocks[index as usize];
        assert_eq!(block.programmed, page, "pages of a block are programmed in order");
        block.programmed += 1;
        if page == 0 {
            (block.written_at, block.reads) = (Some(now), 0);
        }
        block.owners.set(page, lpn);
        if is_valid {
            block.is_valid[page as usize / 64] |= 1 << (page % 64);
            block.valid += 1;
        }
        // All that was handed out, and nothing more will be.
        let is_last = block.programmed == block.allocated;
        let is_closed = is_last && !plane.open.contains(&Some(index));
        if is_closed {
            plane.close(index, self.streams, now);
        }
        is_closed
    }

    /// Pages that the open blocks of a stream have room for, and the planes that have none will have: all of a block if the others
    /// have just begun, nothing if they are nearly full. `None` if none is open.
    pub(crate) fn open_room(&self, stream: Stream) -> Option<u64> {
        let full = u64::from(self.geometry.pages_per_block);
        let open = self.planes.iter().filter_map(|plane| {
            let index = plane.open[usize::from(stream.0)]?;
            Some(u64::from(plane.blocks[index as usize].allocated))
        });
        let (count, used) = open.fold((0, 0), |(count, used), one| (count + 1, used + one));
        let others = if 2 * used < count * full { self.planes.len() as u64 - count } else { 0 };
        (count > 0).then(|| (count + others) * full - used)
    }

    /// A stream goes on in other blocks: what is left of its open ones is given up. Planes in which that closed a block.
    pub(crate) fn close_open(&mut self, now: Instant, stream: Stream) -> Vec<u32> {
        let mut closed = Vec::new();
        for (number, plane) in (0..).zip(&mut self.planes) {
            let Some(index) = plane.open[usize::from(stream.0)].take() else { continue };
            let block = &mut plane.blocks[index as usize];
            block.is_given_up = true;
            if block.programmed == block.allocated {
                plane.close(index, self.streams, now);
                closed.push(number);
            }
        }
        closed
    }

    /// Forgets a page whose data was written elsewhere, or is not wanted any more.
    #[inline]
    pub(crate) fn invalidate(&mut self, now: Instant, ppa: Ppa) {
        let (id, page) = (self.geometry.block_of(ppa), self.geometry.page_of(ppa));
        let index = self.geometry.index_of(id);
        let plane = &mut self.planes[self.geometry.plane_of(id) as usize];
        let block = &mut plane.blocks[index as usize];
        let (word, bit) = (page as usize / 64, 1 << (page % 64));
        assert!(block.is_valid[word] & bit != 0, "invalidated a page that held no current data");
        block.is_valid[word] ^= bit;
        block.valid -= 1;
        if block.state == State::Closed {
            plane.victims.invalidated(index, block.valid, now);
            if block.valid == 0 && self.streams.is_of_zone(block.stream) {
                plane.emptied.push(index);
            }
        }
    }

    /// What the error rate of a block's pages depends on.
    pub(crate) fn age(&self, id: BlockId) -> BlockAge {
        let plane = &self.planes[self.geometry.plane_of(id) as usize];
        let block = plane.blocks.get(self.geometry.index_of(id) as usize);
        // What is read as if the drive had been filled may be in blocks that were never used.
        block.map_or(BlockAge::NEW, |block| BlockAge {
            erases: block.erases,
            written_at: block.written_at,
            reads: block.reads,
        })
    }

    /// What was written so far was there before the drive was.
    pub(crate) fn written_before(&mut self) {
        let blocks = self.planes.iter_mut().flat_map(|plane| &mut plane.blocks);
        blocks.for_each(|block| block.written_at = None);
    }

    /// The same, of a block of which a page was read once more.
    pub(crate) fn read(&mut self, id: BlockId) -> BlockAge {
        let index = self.geometry.index_of(id) as usize;
        let plane = &mut self.planes[self.geometry.plane_of(id) as usize];
        if let Some(block) = plane.blocks.get_mut(index) {
            block.reads = block.reads.saturating_add(1);
        }
        self.age(id)
    }

    /// A closed block is to be written anew. False if it is not closed, or that was known.
    pub(crate) fn want_refresh(&mut self, id: BlockId) -> bool {
        let index = self.geometry.index_of(id);
        let plane = &mut self.planes[self.geometry.plane_of(id) as usize];
        let state = plane.blocks.get(index as usize).map(|block| block.state);
        let is_new = state == Some(State::Closed) && !plane.refresh.contains(&index);
        if is_new {
            plane.refresh.push(index);
        }
        is_new
    }

    /// True if a plane has blocks that are to be written anew.
    #[inline]
    pub(crate) fn has_refresh(&self, plane: u32) -> bool {
        !self.planes[plane as usize].refresh.is_empty()
    }

    /// Takes one of them for collection.
    pub(crate) fn take_refresh(&mut self, plane: u32) -> Option<BlockId> {
        let state = &mut self.planes[plane as usize];
        while let Some(index) = state.refresh.pop() {
            if state.blocks[index as usize].state == State::Closed {
                state.take_closed(index);
                return Some(self.geometry.block(plane, index));
            }
        }
        None
    }

    /// True if a plane has blocks of zones that hold nothing any more.
    #[inline]
    pub(crate) fn has_emptied(&self, plane: u32) -> bool {
        !self.planes[plane as usize].emptied.is_empty()
    }

    /// Takes one of them for collection.
    pub(crate) fn take_emptied(&mut self, plane: u32) -> Option<BlockId> {
        let state = &mut self.planes[plane as usize];
        while let Some(index) = state.emptied.pop() {
            let block = &state.blocks[index as usize];
            // Collection may have taken it meanwhile, for other reasons.
            if block.state == State::Closed && block.valid == 0 {
                state.take_closed(index);
                return Some(self.geometry.block(plane, index));
            }
        }
        None
    }

    /// Takes a closed block with at least `invalid_min` pages to gain for collection.
    pub(crate) fn take_victim(
        &mut self,
        now: Instant,
        plane: u32,
        invalid_min: u32,
    ) -> Option<BlockId> {
        let most = self.geometry.pages_per_block - invalid_min.max(1);
        let state = &mut self.planes[plane as usize];
        let index = state.victims.pick(most, now)?;
        let block = &mut state.blocks[index as usize];
        assert_eq!(block.state, State::Closed, "the policy took a block that was not closed");
        block.state = State::Victim;
        Some(self.geometry.block(plane, index))
    }

    /// Takes the block for collection that lags too far behind in its erases, if wear is levelled so.
    pub(crate) fn take_laggard(&mut self, plane: u32) -> Option<BlockId> {
        if self.wear_leveling != WearLeveling::Static {
            return None;
        }
        let state = &mut self.planes[plane as usize];
        let index = state.laggard(self.wear_gap)?;
        state.take_closed(index);
        Some(self.geometry.block(plane, index))
    }

    /// A victim that could not be emptied is closed again.
    pub(crate) fn give_back(&mut self, now: Instant, id: BlockId) {
        let index = self.geometry.index_of(id);
        let plane = &mut self.planes[self.geometry.plane_of(id) as usize];
        let block = &mut plane.blocks[index as usize];
        assert_eq!(block.state, State::Victim, "gave back a block that was not being collected");
        block.state = State::Closed;
        plane.victims.closed(index, block.valid, now);
    }

    /// A block that was erased is bad, if its plane can do without it; false if it is used on because there is no other.
    pub(crate) fn retire(&mut self, id: BlockId) -> bool {
        let (index, good) = (self.geometry.index_of(id), self.geometry.good_blocks_per_plane());
        let plane = &mut self.planes[self.geometry.plane_of(id) as usize];
        let block = &mut plane.blocks[index as usize];
        if good - plane.bad <= self.geometry.blocks_least {
            return false;
        }
        assert_eq!(block.state, State::Victim, "a block that was not erased became bad");
        block.state = State::Bad;
        plane.bad += 1;
        plane.count_erase(index);
        true
    }

    /// Blocks of a plane that can become bad: when the drive was new, and now, of the plane that has fewest.
    pub(crate) fn spare(&self) -> (u32, u32) {
        let new = self.geometry.good_blocks_per_plane() - self.geometry.blocks_least;
        let most = self.planes.iter().map(|plane| plane.bad).max();
        (new, new - most.unwrap_or_default())
    }

    /// Returns an erased block to its plane.
    pub(crate) fn erased(&mut self, id: BlockId) {
        let index = self.geometry.index_of(id);
        let plane = &mut self.planes[self.geometry.plane_of(id) as usize];
        let block = &mut plane.blocks[index as usize];
        assert_eq!(block.valid, 0, "erased a block with valid pages");
        assert_eq!(block.state, State::Victim, "erased a block that was not being collected");
        block.state = State::Free;
        plane.count_erase(index);
        plane.erased.push_back(index);
    }

    /// Erases of all blocks together, and of the one that was erased most.
    pub(crate) fn erases(&self) -> (u64, u32) {
        self.planes
            .iter()
            .fold((0, 0), |(sum, most), plane| (sum + plane.erases, most.max(plane.erases_max)))
    }

    /// Valid pages of the whole drive.
    pub(crate) fn valid_pages(&self) -> u64 {
        let blocks = self.planes.iter().flat_map(|plane| &plane.blocks);
        blocks.map(|block| u64::from(block.valid)).sum()
    }

    /// Every programmed page that was valid, with the logical page that it was written with.
    pub(crate) fn for_each_valid(&self, mut visit: impl FnMut(Ppa, Lpn)) {
        for (number, plane) in self.planes.iter().enumerate() {
            for (index, block) in plane.blocks.iter().enumerate() {
                let id = self.geometry.block(number as u32, index as u32);
                let mut from = 0;
                while let Some(page) = self.next_valid(id, from) {
                    visit(self.geometry.page(id, page), block.owners.get(page));
                    from = page + 1;
                }
            }
        }
    }

    /// Every block that was ever used.
    pub(crate) fn used(&self) -> impl Iterator<Item = UsedBlock> + '_ {
        let (planes, geometry) = ((0..).zip(&self.planes), &self.geometry);
        planes.flat_map(move |(plane, state)| {
            let blocks = (0..).zip(&state.blocks);
            blocks.map(move |(index, block)| {
                let Block { erases, programmed, .. } = *block;
                UsedBlock { block: geometry.block(plane, index), erases, programmed }
            })
        })
    }

    /// A block that a store had before the drive was there; those of a plane come in ascending order. [`Self::found`] and
    /// [`Self::recovered`] follow.
    pub(crate) fn was_used(&mut self, used: UsedBlock) {
        let index = self.geometry.index_of(used.block);
        let plane = &mut self.planes[self.geometry.plane_of(used.block) as usize];
        assert!(plane.blocks.len() <= index as usize, "blocks of a plane come in order");
        // Blocks before it that no store knows are as good as erased.
        while plane.blocks.len() < index as usize {
            plane.erased.push_back(plane.blocks.len() as u32);
            plane.blocks.push(Block::new());
        }
        // Programs are whole: the last pages of one may have held nothing, or not have reached the store.
        let programmed = used.programmed.next_multiple_of(self.geometry.pages_per_program);
        let stream = Stream::UNKNOWN;
        let mut block = Block { erases: used.erases, programmed, stream, ..Block::new() };
        if used.programmed > 0 {
            block.state = State::Closed;
            block.prepare(&self.geometry);
        } else {
            plane.erased.push_back(index);
        }
        plane.erases += u64::from(block.erases);
        plane.erases_max = plane.erases_max.max(block.erases);
        plane.blocks.push(block);
    }

    /// The drive lost its power: nobody knows any more which pages are valid, and pages that were handed out but not
    /// programmed are free again. `torn` pages were being programmed.
    pub(crate) fn power_lost(&mut self, config: &Config, torn: &[Ppa]) {
        for plane in &mut self.planes {
            plane.victims = config.victim_policy.build(self.geometry.pages_per_block);
            plane.open.fill(None);
            plane.emptied.clear();
            plane.refresh.clear();
            for block in &mut plane.blocks {
                block.is_valid.fill(0);
                block.valid = 0;
            }
        }
        for &ppa in torn {
            let id = self.geometry.block_of(ppa);
            let plane = &mut self.planes[self.geometry.plane_of(id) as usize];
            let block = &mut plane.blocks[self.geometry.index_of(id) as usize];
            assert_eq!(
                block.programmed,
                self.geometry.page_of(ppa),
                "pages are programmed in order"
            );
            block.owners.set(block.programmed, Lpn(0));
            block.programmed += 1;
        }
    }

    /// After a loss of power: a page holds current data.
    pub(crate) fn found(&mut self, ppa: Ppa, lpn: Lpn) {
        let (id, page) = (self.geometry.block_of(ppa), self.geometry.page_of(ppa));
        let plane = &mut self.planes[self.geometry.plane_of(id) as usize];
        let block = &mut plane.blocks[self.geometry.index_of(id) as usize];
        assert!(page < block.programmed, "a page was found that was never programmed");
        block.owners.set(page, lpn);
        block.is_valid[page as usize / 64] |= 1 << (page % 64);
        block.valid += 1;
    }

    /// After a loss of power: a page that was found is not the newest of its logical page.
    pub(crate) fn outdated(&mut self, ppa: Ppa) {
        let (id, page) = (self.geometry.block_of(ppa), self.geometry.page_of(ppa));
        let plane = &mut self.planes[self.geometry.plane_of(id) as usize];
        let block = &mut plane.blocks[self.geometry.index_of(id) as usize];
        block.is_valid[page as usize / 64] &= !(1 << (page % 64));
        block.valid -= 1;
    }

    /// After a loss of power, once all valid pages are found: of the blocks that are partly programmed, collection goes on
    /// with the one that has most room, the host with the next; if it has several streams, each with its own alone. What else was programmed
    /// is closed.
    pub(crate) fn recovered(&mut self, now: Instant) {
        let full = self.geometry.pages_per_block;
        for plane in &mut self.planes {
            let mut partial: Vec<u32> = (0..)
                .zip(&plane.blocks)
                .filter(|(_, block)| (1..full).contains(&block.programmed))
                .map(|(index, _)| index)
                .collect();
            partial.sort_by_key(|index| plane.blocks[*index as usize].programmed);
            for stream in self.streams.all() {
                let is_any = self.streams.is_collection(stream) || self.streams.host == 1;
                let is_its = |index: &u32| {
                    let block = &plane.blocks[*index as usize];
                    is_any || block.stream == stream && !block.is_given_up
                };
                if let Some(place) = partial.iter().position(is_its) {
                    let index = partial.remove(place);
                    plane.open[usize::from(stream.0)] = Some(index);
                    plane.blocks[index as usize].stream = stream;
                }
            }
            for (index, block) in (0..).zip(&mut plane.blocks) {
                if block.state == State::Bad {
                    continue;
                }
                block.allocated = block.programmed;
                if block.programmed == 0 {
                    if block.state != State::Free {
                        block.state = State::Free;
                        plane.erased.push_back(index);
                    }
                } else if plane.open.contains(&Some(index)) {
                    block.state = State::Open;
                } else {
                    block.state = State::Closed;
                    plane.victims.closed(index, block.valid, now);
                }
            }
        }
    }
}

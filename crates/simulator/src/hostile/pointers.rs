//! Data pointers in hostile memory, against a second implementation of the rules.
//!
//! The reference here is written from the specification's text, a byte at a time and without any
//! thought of speed: it shares nothing with the drive's own walk.

use controller::Controller;
use nvme_spec::{
    Aqa, Cc, CompletionEntry, NvmOpcode, SglDescriptor, Status, SubmissionEntry, offset,
};
use simtime::Instant;
use zerocopy::{FromBytes, IntoBytes};

use super::{Memory, Script, config};

const PAGE: u64 = 4096;
/// Pages for lists and data, after the queues.
const PAGES: u64 = 24;
/// First of them.
const DATA: u64 = Memory::BASE + 6 * PAGE;

/// Bytes of a transfer by their place in host memory; `None` is a bit bucket.
type Places = Vec<Option<u64>>;

/// What a data pointer means.
struct Meaning {
    places: Result<Places, Status>,
    /// Bytes of lists that had to be read to know.
    lists: Vec<(u64, u64)>,
}

fn long(memory: &Memory, address: u64) -> Result<u64, Status> {
    let place = memory.place(address, 8).ok_or(Status::DATA_TRANSFER_ERROR)?;
    Ok(u64::from_le_bytes(memory.bytes[place].try_into().expect("eight bytes")))
}

/// PRP entries (Base 2.1, section 4.3.1).
fn prp_meaning(memory: &Memory, prp1: u64, prp2: u64, len: u64) -> Meaning {
    let mut lists = Vec::new();
    let places = (|| {
        if !prp1.is_multiple_of(4) {
            return Err(Status::INVALID_PRP_OFFSET);
        }
        let mut pages = vec![prp1];
        let first = PAGE - prp1 % PAGE;
        let more = len.saturating_sub(first).div_ceil(PAGE);
        if more == 1 {
            pages.push(prp2);
        } else if more > 1 {
            if !prp2.is_multiple_of(8) {
                return Err(Status::INVALID_PRP_OFFSET);
            }
            // Errors are found in the order of the entries.
            let (mut at, mut left) = (prp2, more);
            while left > 0 {
                // The drive may read at once what it needs of a list page.
                let room = (PAGE - at % PAGE) / 8;
                lists.push((at, 8 * left.min(room)));
                let entry = long(memory, at)?;
                if !entry.is_multiple_of(PAGE) {
                    return Err(Status::INVALID_PRP_OFFSET);
                }
                if (at + 8).is_multiple_of(PAGE) && left > 1 {
                    at = entry;
                    continue;
                }
                pages.push(entry);
                (at, left) = (at + 8, left - 1);
            }
        }
        if more == 1 && !prp2.is_multiple_of(PAGE) {
            return Err(Status::INVALID_PRP_OFFSET);
        }
        let byte = |n: u64| match n.checked_sub(first) {
            None => prp1 + n,
            Some(n) => pages[1 + (n / PAGE) as usize].wrapping_add(n % PAGE),
        };
        Ok((0..len).map(|n| Some(byte(n))).collect())
    })();
    Meaning { places, lists }
}

/// Descriptors that the drive reads at a time: with the last it needs, it reads so many more.
const PIECE: u64 = 64;

/// What is known of an SGL so far.
struct SglWalk {
    len: u64,
    is_read: bool,
    places: Places,
    /// Descriptors seen, and pieces of memory and buckets described.
    seen: usize,
    pieces: usize,
}

impl SglWalk {
    /// Takes one descriptor; the part of the list it leads to: address, descriptors, may it lead on.
    fn take(&mut self, descriptor: &SglDescriptor) -> Result<Option<(u64, u64, bool)>, Status> {
        use controller::limits::{SGL_DESCRIPTORS_MAX, SGL_PIECES_MAX};
        // The drive's own limits: what it reads, and what it keeps.
        if self.seen == SGL_DESCRIPTORS_MAX || self.pieces > SGL_PIECES_MAX {
            return Err(Status::INVALID_SGL_COUNT);
        }
        self.seen += 1;
        let (kind, subtype) = (descriptor.identifier >> 4, descriptor.identifier & 15);
        if kind > 3 || subtype != 0 {
            return Err(Status::INVALID_SGL_TYPE);
        }
        let length = u64::from(descriptor.length.get());
        let address = descriptor.address.get();
        let room = (self.len - self.places.len() as u64).min(length);
        match kind {
            0 if room > 0 => {
                // What goes on where the last piece ended is one piece with it.
                let end = self.places.last().copied().flatten().and_then(|at| at.checked_add(1));
                self.pieces += usize::from(end != Some(address));
                self.places.extend((0..room).map(|n| Some(address.wrapping_add(n))));
            }
            1 if room > 0 && self.is_read => {
                self.pieces += 1;
                self.places.extend((0..room).map(|_| None));
            }
            0 | 1 => {}
            _ if length > 0 && length.is_multiple_of(16) && address.is_multiple_of(8) => {
                return Ok(Some((address, length / 16, kind == 2)));
            }
            _ => return Err(Status::INVALID_SGL_SEGMENT),
        }
        Ok(None)
    }

    fn is_complete(&self) -> bool {
        self.places.len() as u64 == self.len
    }

    fn walk(
        &mut self,
        memory: &Memory,
        first: &SglDescriptor,
        lists: &mut Vec<(u64, u64)>,
    ) -> Result<(), Status> {
        let mut next = self.take(first)?;
        while let Some((address, count, may_lead)) = next.filter(|_| !self.is_complete()) {
            next = None;
            for n in 0..count {
                let at = address.checked_add(16 * n).ok_or(Status::DATA_TRANSFER_ERROR)?;
                if n.is_multiple_of(PIECE) {
                    let len = 16 * PIECE.min(count - n);
                    let piece = memory.place(at, len as usize);
                    lists.extend(piece.is_some().then_some((at, len)));
                    piece.ok_or(Status::DATA_TRANSFER_ERROR)?;
                }
                let place = memory.place(at, 16).expect("its piece is there");
                let descriptor = SglDescriptor::read_from_bytes(&memory.bytes[place]);
                next = self.take(&descriptor.expect("16 bytes"))?;
                if next.is_some() && !may_lead {
                    return Err(Status::INVALID_SGL_SEGMENT);
                }
                if next.is_some() && n + 1 < count {
                    return Err(Status::INVALID_SGL_COUNT);
                }
                if self.is_complete() {
                    return Ok(());
                }
            }
            if next.is_none() && may_lead {
                return Err(Status::INVALID_SGL_SEGMENT);
            }
        }
        if self.is_complete() { Ok(()) } else { Err(Status::INVALID_SGL_LENGTH) }
    }
}

/// An SGL (Base 2.1, section 4.3.2).
fn sgl_meaning(memory: &Memory, first: SglDescriptor, len: u64, is_read: bool) -> Meaning {
    let mut lists = Vec::new();
    let mut walk = SglWalk { len, is_read, places: Vec::new(), seen: 0, pieces: 0 };
    let done = walk.walk(memory, &first, &mut lists);
    Meaning { places: done.map(|()| walk.places), lists }
}

/// A drive with one I/O queue whose block `n` is known to hold [`content`].
struct Scene {
    drive: Controller,
    memory: Memory,
    now: Instant,
    tail: u32,
    phase: bool,
}

fn content(byte: u64) -> u8 {
    (byte.wrapping_mul(0x9E37_79B9) >> 13) as u8
}

impl Scene {
    const ENTRIES: u32 = 16;

    fn new() -> Self {
        let mut config = config();
        config.block_bytes = 512;
        let drive = Controller::new(config).expect("the configuration is sound");
        let memory = Memory::new(((6 + PAGES) * PAGE) as usize);
        let mut scene = Self { drive, memory, now: Instant::ZERO, tail: 0, phase: true };
        let aqa = Aqa::new().with_asqs_z(15).with_acqs_z(15);
        scene.drive.register_write(offset::AQA, 4, aqa.into_bits().into());
        scene.drive.register_write(offset::ASQ, 8, Memory::BASE);
        scene.drive.register_write(offset::ACQ, 8, Memory::BASE + PAGE);
        let cc = Cc::new().with_en(true).with_css(0b110).with_iosqes(6).with_iocqes(4);
        scene.drive.register_write(offset::CC, 4, cc.into_bits().into());
        use client::{CompletionQueueOptions, SubmissionQueueOptions, commands};
        let entries = Self::ENTRIES;
        let completion = CompletionQueueOptions { id: 1, entries, vector: None };
        let submission =
            SubmissionQueueOptions { id: 1, entries, completion_queue: 1, priority: 0 };
        let (cq, sq) = (Memory::BASE + 3 * PAGE, Memory::BASE + 2 * PAGE);
        for (n, entry) in [
            commands::create_completion_queue(&completion, cq),
            commands::create_submission_queue(&submission, sq),
        ]
        .into_iter()
        .enumerate()
        {
            scene.put(Memory::BASE + 64 * n as u64, entry.as_bytes());
            scene.drive.register_write(offset::DOORBELLS, 4, n as u64 + 1);
            scene.run();
        }
        scene
    }

    fn put(&mut self, address: u64, bytes: &[u8]) {
        let place = self.memory.place(address, bytes.len()).expect("scenes write their own pages");
        self.memory.bytes[place].copy_from_slice(bytes);
    }

    fn run(&mut self) {
        self.drive.advance(self.now, &mut self.memory);
        while let Some(at) = self.drive.next_event() {
            self.now = self.now.max(at);
            self.drive.advance(self.now, &mut self.memory);
        }
        self.drive.outbox().interrupts.clear();
    }

    /// Runs one command; its status.
    fn execute(&mut self, entry: &SubmissionEntry) -> Status {
        let at = self.tail;
        self.put(Memory::BASE + 2 * PAGE + 64 * u64::from(at), entry.as_bytes());
        self.tail = (self.tail + 1) % Self::ENTRIES;
        self.memory.forget_accesses();
        self.drive.register_write(offset::DOORBELLS + 8, 4, self.tail.into());
        self.run();
        let place = self.memory.place(Memory::BASE + 3 * PAGE + 16 * u64::from(at), 16);
        let done = CompletionEntry::read_from_bytes(&self.memory.bytes[place.expect("the queue")]);
        let done = done.expect("16 bytes");
        assert_eq!(done.phase(), self.phase, "the command did not complete");
        self.phase ^= self.tail == 0;
        self.drive.register_write(offset::DOORBELLS + 12, 4, self.tail.into());
        done.status()
    }
}

/// Any data pointers. The script is a sequence of transfers; each first writes some list memory.
pub fn data_pointers(bytes: &[u8]) {
    let mut script = Script(bytes);
    let mut scene = Scene::new();
    while !script.is_over() {
        for _ in 0..script.below(24) {
            let page = DATA + PAGE * u64::from(script.below(4));
            // Ends of pages are where lists go on.
            let slot = [u64::from(script.byte()), 511 - u64::from(script.below(8))];
            let at = page + 8 * slot[usize::from(script.byte() & 1)];
            let bytes = match script.below(8) {
                0 => script.take(),
                // A page, or the place of a list.
                1..=4 => pointer(&mut script).to_le_bytes(),
                // The second half of an SGL descriptor: a length, and a kind.
                _ => {
                    let length = u32::from(script.byte()) << script.below(6);
                    let kind = u64::from(script.below(6)) << 60;
                    (u64::from(length) | kind).to_le_bytes()
                }
            };
            scene.put(at, &bytes);
        }
        transfer(&mut script, &mut scene);
    }
}

/// An address that means something more often than not.
fn pointer(script: &mut Script<'_>) -> u64 {
    let page = DATA + PAGE * u64::from(script.below(PAGES as u8));
    match script.below(8) {
        0 => script.long(),
        1 => page + u64::from(script.byte()) * 16,
        2 => page + PAGE - 8 * (1 + u64::from(script.below(4))),
        3 => page + 4 * u64::from(script.byte()),
        4 => page + u64::from(script.byte()),
        _ => page,
    }
}

fn transfer(script: &mut Script<'_>, scene: &mut Scene) {
    let is_read = script.byte() & 1 == 0;
    let is_sgl = script.byte() & 1 == 0;
    let blocks = 1 + u32::from(script.below(32));
    let first_block = u64::from(script.byte());
    let (start, len) = (512 * first_block, u64::from(blocks) * 512);
    let opcode = if is_read { NvmOpcode::READ } else { NvmOpcode::WRITE };
    let entry = client::commands::read_write(opcode, first_block, blocks);
    let (low, high) = (pointer(script), pointer(script));
    let mut entry = client::commands::with_data(entry, (low, high));
    if is_sgl {
        let length = u64::from(script.word() & 0x7FFF);
        let kind = u64::from(script.below(6)) << 60;
        entry.prp2.set(length | kind);
        entry.flags |= 1 << 6;
    }
    // Before a read the blocks hold known bytes; before a write host memory does not matter.
    if is_read {
        let data: Vec<u8> = (start..start + len).map(content).collect();
        write_known(scene, first_block, blocks, &data);
    }
    let before = scene.memory.bytes.clone();
    let meaning = if is_sgl {
        sgl_meaning(&scene.memory, entry.sgl(), len, is_read)
    } else {
        prp_meaning(&scene.memory, low, high, len)
    };
    if meaning.lists.iter().any(|&(start, _)| start < DATA) {
        return; // the queues change while the command runs
    }
    let status = scene.execute(&entry);
    check_accesses(scene, &meaning, is_read);
    match &meaning.places {
        Err(expected) => {
            assert!(status.same_code(*expected), "{entry:?}: got {status}, expected {expected}");
        }
        Ok(places) => {
            let is_there = |place: &Option<u64>| {
                place.is_none_or(|address| scene.memory.place(address, 1).is_some())
            };
            if !places.iter().all(is_there) {
                assert!(status.same_code(Status::DATA_TRANSFER_ERROR), "{entry:?}: {status}");
                return;
            }
            assert!(status.is_success(), "{entry:?}: {status}");
            if is_read {
                // The last write to a place wins.
                let mut expected = vec![None; scene.memory.bytes.len()];
                for (n, place) in (start..).zip(places) {
                    if let Some(at) = place.and_then(|address| scene.memory.place(address, 1)) {
                        expected[at.start] = Some(content(n));
                    }
                }
                let after_queues = (DATA - Memory::BASE) as usize..;
                let found = scene.memory.bytes[after_queues.clone()].iter();
                for (at, (found, expected)) in found.zip(&expected[after_queues]).enumerate() {
                    let is_right = expected.is_none_or(|expected| expected == *found);
                    assert!(is_right, "byte {at} after the queues, {entry:?}");
                }
            } else {
                let expected: Vec<u8> = places
                    .iter()
                    .map(|place| {
                        before[(place.expect("writes have no buckets") - Memory::BASE) as usize]
                    })
                    .collect();
                check_known(scene, first_block, blocks, &expected, places);
            }
        }
    }
}

/// No byte is touched but of the queues, the lists and the data.
fn check_accesses(scene: &Scene, meaning: &Meaning, is_read: bool) {
    let memory = &scene.memory;
    let index = |address: u64| memory.place(address, 1).map(|place| place.start);
    let mut queues = vec![false; memory.bytes.len()];
    queues[..(DATA - Memory::BASE) as usize].fill(true);
    let (mut readable, mut writable) = (queues.clone(), queues);
    for &(start, len) in &meaning.lists {
        let bytes = (0..len).filter_map(|n| index(start.wrapping_add(n)));
        bytes.for_each(|at| readable[at] = true);
    }
    let data = if is_read { &mut writable } else { &mut readable };
    for place in meaning.places.iter().flatten().flatten() {
        index(*place).into_iter().for_each(|at| data[at] = true);
    }
    let check = |accesses: &[(u64, u64)], allowed: &[bool], what: &str| {
        for &(address, len) in accesses {
            let place = memory.place(address, len as usize).expect("it was there");
            let is_allowed = allowed[place].iter().all(|allowed| *allowed);
            assert!(is_allowed, "the drive {what} {len} bytes at {address:#x}");
        }
    };
    check(&memory.reads.borrow(), &readable, "read");
    check(&memory.writes, &writable, "wrote");
}

/// A buffer that no script knows: behind the pages of the script.
const SCRATCH_PAGES: u64 = 5;

/// Writes blocks by a sound data pointer.
fn write_known(scene: &mut Scene, first_block: u64, blocks: u32, data: &[u8]) {
    let saved = scene.memory.bytes.len();
    let scratch = Memory::BASE + saved as u64;
    scene.memory.bytes.resize(saved + (SCRATCH_PAGES * PAGE) as usize, 0);
    scene.put(scratch, data);
    let entry = client::commands::read_write(NvmOpcode::WRITE, first_block, blocks);
    let block = SglDescriptor::new(0, scratch, data.len() as u32);
    let status = scene.execute(&client::commands::with_sgl(entry, block));
    assert!(status.is_success(), "{status}");
    scene.memory.bytes.truncate(saved);
}

/// Reads blocks by a sound data pointer and compares them.
fn check_known(scene: &mut Scene, first_block: u64, blocks: u32, expected: &[u8], places: &Places) {
    let saved = scene.memory.bytes.len();
    let scratch = Memory::BASE + saved as u64;
    scene.memory.bytes.resize(saved + (SCRATCH_PAGES * PAGE) as usize, 0);
    let entry = client::commands::read_write(NvmOpcode::READ, first_block, blocks);
    let block = SglDescriptor::new(0, scratch, expected.len() as u32);
    let status = scene.execute(&client::commands::with_sgl(entry, block));
    assert!(status.is_success(), "{status}");
    for (n, place) in places.iter().enumerate() {
        // What lies in the queues changed while the command ran.
        if place.is_some_and(|address| address >= DATA) {
            assert_eq!(scene.memory.bytes[saved + n], expected[n], "byte {n} was written wrong");
        }
    }
    scene.memory.bytes.truncate(saved);
}

//! Scripts: what a host does, step by step, and how random ones are made. A step means something on
//! any drive in any state, so that steps can be taken out of a script that fails.

use simtime::Prng;

/// Bytes of the drive's NVM namespace.
pub(crate) const CAPACITY: u64 = 1 << 20;
/// Bytes of its device memory.
pub(crate) const MEMORY: u64 = 64 << 10;
/// Bytes of its largest transfer.
pub(crate) const TRANSFER_MAX: u64 = 32 << 10;
/// I/O queue pairs.
pub(crate) const QUEUES: u16 = 4;

/// How a data pointer is made of a buffer.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// PRP entries: pages in any order, the first from an offset on.
    Prp { offset: u16, order: u64 },
    /// SGL: pieces of these lengths (repeated), segments of these numbers of descriptors; one piece
    /// of a read in so many is a bit bucket.
    Sgl { pieces: Vec<u16>, segments: Vec<u8>, buckets: u8 },
    /// PRP entry 1 at an odd place.
    PrpMisaligned,
    /// Where the host has no memory.
    Nowhere,
    /// An SGL that is too short.
    SglShort,
    /// An SGL descriptor of an unknown type.
    SglUnknown,
}

/// One range of blocks or bytes: start and length, of whatever unit.
pub(crate) type Extent = (u64, u64);

/// A program to download.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Image {
    /// Doubles the numbers of range 1 into range 0.
    Double,
    /// Runs nothing for a while.
    Declared,
    /// Bytes that are no program.
    Garbage,
}

/// A command with its parameters.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    Flush { all: bool },
    Read { blocks: Extent },
    Write { blocks: Extent, fua: bool },
    Compare { blocks: Extent, different: bool },
    Verify { blocks: Extent },
    WriteZeroes { blocks: Extent, deallocate: bool },
    Deallocate { ranges: Vec<Extent> },
    Copy { target: u64, sources: Vec<Extent>, format: u8 },
    MemoryRead { bytes: Extent },
    MemoryWrite { bytes: Extent },
    MemoryFill { bytes: Extent },
    MemoryCopy { target: u64, sources: Vec<Extent>, format: u8, len_off: u8 },
    Execute { index: u16, set: Option<u16>, ranges: Vec<Extent> },
    LoadPiece { index: u16, image: Image, offset: u32, len: u32 },
    Unload { index: u16 },
    Activate { index: u16, on: bool },
    CreateSet { ranges: Vec<Extent> },
    DeleteSet { id: u16 },
    SetFeature { id: u8, value: u32, save: bool },
    GetFeature { id: u8, select: u8 },
    EnableCopyFormats { formats: u16 },
    Identify { cns: u8, nsid: u32 },
    GetLog { lid: u8, nsid: u32, offset: u64, len: u64 },
    SelfTest { code: u8 },
    Format { format: u8, erase: u8 },
    Sanitize { action: u8 },
    AsyncEvent,
    KeepAlive,
    UnknownOpcode { opcode: u8 },
    UnknownNamespace { opcode: u8 },
}

/// What a host does.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Submits a command; `queue` chooses among the I/O queues there are.
    Submit { queue: u8, command: Command, shape: Shape, seed: u64 },
    /// Submits compare and write as a pair.
    Fused { queue: u8, blocks: Extent, different: bool, seed: u64 },
    /// Lets some events happen.
    Advance { events: u8 },
    /// Waits for everything.
    Drain,
    /// Aborts one of the outstanding commands.
    Abort { which: u8 },
    /// Creates a queue, or tries to.
    CreateQueue { id: u16, completion: u16, entries: u32, vector: u16, priority: u8 },
    /// Deletes a submission queue with whatever is in flight, and its completion queue.
    DeleteQueue { id: u16 },
    /// Rings a doorbell that is not there, or with a value that its queue cannot have.
    WrongDoorbell { register: u16, value: u32 },
    /// Moves doorbells into memory.
    ShadowDoorbells,
    /// Resets the controller, or the whole subsystem.
    Reset { subsystem: bool, weighted: bool },
}

fn chance(prng: &mut Prng, one_in: u64) -> bool {
    prng.below(one_in) == 0
}

/// A small number, mostly.
fn small(prng: &mut Prng, bound: u64) -> u64 {
    let bound = match prng.below(4) {
        0 => bound,
        1 => bound.div_ceil(4),
        _ => bound.div_ceil(16),
    };
    prng.below(bound.max(1))
}

/// Blocks, now and then beyond the namespace or the largest transfer. Block numbers are those of
/// 4 KiB blocks half of the time, else of 512-byte blocks.
fn blocks(prng: &mut Prng) -> Extent {
    let count = if chance(prng, 2) { CAPACITY / 4096 } else { CAPACITY / 512 };
    let first = match prng.below(40) {
        0 => u64::MAX - prng.below(4),
        1 => count - 2 + prng.below(4),
        _ => prng.below(count),
    };
    let most = if chance(prng, 30) { 100 } else { 8 };
    (first, 1 + small(prng, most))
}

/// Bytes of device memory, mostly in whole words.
fn bytes(prng: &mut Prng, whole: bool) -> Extent {
    let start = match prng.below(40) {
        0 => u64::MAX - 7,
        1 => MEMORY - 8 + 4 * prng.below(4),
        _ => prng.below(MEMORY / 4) * 4,
    };
    let len = small(prng, 1024) * 4;
    let odd = u64::from(!whole || chance(prng, 30)) * prng.below(4);
    (start.wrapping_add(odd), len + odd)
}

fn several(prng: &mut Prng, most: u64, mut one: impl FnMut(&mut Prng) -> Extent) -> Vec<Extent> {
    let count = 1 + prng.below(most);
    (0..count).map(|_| one(prng)).collect()
}

fn shape(prng: &mut Prng) -> Shape {
    match prng.below(40) {
        0 => Shape::PrpMisaligned,
        1 => Shape::Nowhere,
        2 => Shape::SglShort,
        3 => Shape::SglUnknown,
        4..20 => {
            let pieces = (0..1 + prng.below(5)).map(|_| 40 + prng.below(3000) as u16).collect();
            let segments = (0..prng.below(4)).map(|_| 1 + prng.below(5) as u8).collect();
            Shape::Sgl { pieces, segments, buckets: prng.below(4) as u8 }
        }
        _ => {
            let offset = if chance(prng, 2) { 0 } else { prng.below(1024) as u16 * 4 };
            Shape::Prp { offset, order: prng.next_u64() }
        }
    }
}

fn nvm(prng: &mut Prng) -> Command {
    match prng.below(14) {
        0 => Command::Flush { all: chance(prng, 2) },
        1..4 => Command::Read { blocks: blocks(prng) },
        4..7 => Command::Write { blocks: blocks(prng), fua: chance(prng, 4) },
        7 => Command::Compare { blocks: blocks(prng), different: chance(prng, 2) },
        8 => Command::Verify { blocks: blocks(prng) },
        9 => Command::WriteZeroes { blocks: blocks(prng), deallocate: chance(prng, 2) },
        10 => Command::Deallocate { ranges: several(prng, 3, blocks) },
        _ => {
            let format = prng.below(6) as u8;
            let sources = match format {
                4 => several(prng, 3, |prng| (prng.below(MEMORY / 4) * 4, 512 * prng.below(9))),
                _ => several(prng, 3, blocks),
            };
            Command::Copy { target: blocks(prng).0, sources, format }
        }
    }
}

fn memory(prng: &mut Prng) -> Command {
    match prng.below(8) {
        0..2 => Command::MemoryRead { bytes: bytes(prng, true) },
        2..4 => Command::MemoryWrite { bytes: bytes(prng, true) },
        4 => Command::MemoryFill { bytes: bytes(prng, true) },
        _ => {
            let format = 1 + prng.below(5) as u8;
            let sources = match format {
                4 => several(prng, 3, |prng| bytes(prng, true)),
                _ => several(prng, 2, blocks),
            };
            let len_off = if chance(prng, 20) { 4 } else { 0 };
            Command::MemoryCopy { target: bytes(prng, true).0, sources, format, len_off }
        }
    }
}

/// Few program indices, so that they meet; one beyond the slots.
fn index(prng: &mut Prng) -> u16 {
    if chance(prng, 40) { 1024 + prng.below(9) as u16 } else { prng.below(4) as u16 }
}

fn programs(prng: &mut Prng) -> Command {
    match prng.below(12) {
        0..3 => {
            let image = [Image::Double, Image::Double, Image::Declared, Image::Garbage];
            let image = image[prng.below(4) as usize];
            // Mostly whole programs, sometimes pieces.
            let (offset, len) = match prng.below(4) {
                0 => (prng.below(3) as u32 * 500, 500),
                _ => (0, u32::MAX),
            };
            Command::LoadPiece { index: index(prng), image, offset, len }
        }
        3 => Command::Unload { index: index(prng) },
        4..6 => Command::Activate { index: index(prng), on: !chance(prng, 4) },
        6 => Command::CreateSet { ranges: several(prng, 4, |prng| bytes(prng, false)) },
        7 => Command::DeleteSet { id: prng.below(6) as u16 },
        _ => {
            let set = chance(prng, 2).then(|| prng.below(5) as u16);
            let ranges = several(prng, 3, |prng| bytes(prng, false));
            Command::Execute { index: index(prng), set, ranges }
        }
    }
}

fn admin(prng: &mut Prng) -> Command {
    use nvme_spec::{fid, lid};
    match prng.below(24) {
        0..5 => {
            let id = fid::ALL[prng.below(fid::ALL.len() as u64) as usize];
            // Values that change what follows, and values that are refused.
            let value = match id {
                fid::VOLATILE_WRITE_CACHE | fid::WRITE_PROTECTION => prng.below(3) as u32,
                fid::COPY_FORMATS => [0, 0b1_1100, 1 << 4, 1 << 5][prng.below(4) as usize],
                fid::ERROR_RECOVERY => (prng.below(2) << 16) as u32 | 5,
                fid::INTERRUPT_COALESCING => 0x0103,
                fid::INTERRUPT_VECTOR => prng.below(8) as u32 | (prng.below(2) << 16) as u32,
                fid::NUMBER_OF_QUEUES | fid::KEEP_ALIVE => 0,
                fid::TEMPERATURE_THRESHOLD => 300 + prng.below(60) as u32,
                _ => prng.below(4) as u32,
            };
            Command::SetFeature { id, value, save: chance(prng, 5) }
        }
        5..8 => Command::GetFeature {
            id: fid::ALL[prng.below(fid::ALL.len() as u64) as usize],
            select: prng.below(5) as u8,
        },
        8..10 => Command::EnableCopyFormats { formats: (prng.below(16) << 1) as u16 },
        10..13 => Command::Identify { cns: prng.below(0x20) as u8, nsid: prng.below(5) as u32 },
        13..18 => Command::GetLog {
            lid: match prng.below(5) {
                0 => prng.next_u64() as u8,
                _ => lid::ALL[prng.below(lid::ALL.len() as u64) as usize],
            },
            nsid: [0, 1, 3, 3, 9, u32::MAX][prng.below(6) as usize],
            offset: small(prng, 200) * 4,
            len: 4 + small(prng, 1000) * 4,
        },
        18 => Command::SelfTest { code: [1, 2, 15, 3][prng.below(4) as usize] },
        19 => Command::AsyncEvent,
        20 => Command::KeepAlive,
        21 => Command::UnknownOpcode { opcode: 0xC2 + prng.below(62) as u8 },
        22 => Command::UnknownNamespace { opcode: prng.below(32) as u8 },
        _ => match prng.below(8) {
            0 => Command::Sanitize { action: prng.below(6) as u8 },
            _ => Command::Format { format: prng.below(3) as u8, erase: prng.below(4) as u8 },
        },
    }
}

fn step(prng: &mut Prng) -> Step {
    match prng.below(100) {
        0..76 => {
            let command = match prng.below(10) {
                0..5 => nvm(prng),
                5..7 => memory(prng),
                7..9 => programs(prng),
                _ => admin(prng),
            };
            let (queue, seed) = (prng.next_u64() as u8, prng.next_u64());
            Step::Submit { queue, command, shape: shape(prng), seed }
        }
        76..79 => {
            let (queue, seed) = (prng.next_u64() as u8, prng.next_u64());
            Step::Fused { queue, blocks: blocks(prng), different: chance(prng, 3), seed }
        }
        79..86 => Step::Advance { events: 1 + prng.below(20) as u8 },
        86..89 => Step::Drain,
        89..94 => Step::Abort { which: prng.next_u64() as u8 },
        94..96 => Step::CreateQueue {
            id: prng.below(6) as u16,
            completion: prng.below(6) as u16,
            entries: [1, 2, 3, 8, 64, 500][prng.below(6) as usize],
            vector: prng.below(6) as u16,
            priority: prng.below(4) as u8,
        },
        96 => Step::DeleteQueue { id: prng.below(6) as u16 },
        97 => Step::WrongDoorbell { register: prng.below(40) as u16, value: 0x1_0000 },
        98 if chance(prng, 3) => Step::ShadowDoorbells,
        98 => Step::Drain,
        _ if chance(prng, 2) => {
            Step::Reset { subsystem: chance(prng, 3), weighted: chance(prng, 2) }
        }
        _ => Step::Drain,
    }
}

/// A random script.
pub(crate) fn random(seed: u64, steps: usize) -> Vec<Step> {
    let mut prng = Prng::new(seed);
    (0..steps).map(|_| step(&mut prng)).collect()
}

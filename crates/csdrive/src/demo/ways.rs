//! The two ways of answering Q6: on the drive and on the host.

use anyhow::{Context, Result};
use client::commands::{self, Execute, copy_source, memory_range, with_data};
use client::{Buffer, Completion, DmaMemory, QueueId, RunTime};
use nvme_spec::command::{CopySourceBlocks, MemoryRangeDescriptor};
use nvme_spec::{MemoryOpcode, NvmOpcode, Status};
use simtime::{Duration, Instant};
use simulator::{Host, Session};
use zerocopy::IntoBytes;

use super::host::HostCores;
use super::progress;
use super::watch::Watch;
use crate::lineitem::{self, COLUMNS};

/// Rows that one execution looks at. A multiple of 4096, so that every column's slice of a full
/// chunk begins and ends at a block.
pub(super) const CHUNK_ROWS: u64 = 65_536;
pub(super) const PAGE: u64 = 4096;
const IO: QueueId = QueueId(1);
/// Reads the host keeps in flight.
const HOST_DEPTH: usize = 32;

/// The columns Q6 needs, in the order of the program's ranges 1 to 4.
pub(super) const NEEDED: [&str; 4] = ["l_shipdate", "l_discount", "l_quantity", "l_extendedprice"];

/// Q6's predicate: shipped in 1994 (days since 1970-01-01), discount 0.05 to 0.07, quantity
/// below 24. The device program has the same numbers.
const YEAR_1994: std::ops::Range<i32> = 8766..9131;

/// Where the table lies on the NVM namespace.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) rows: u64,
    /// First block of each needed column, and its width.
    pub(super) columns: [(u64, u64); 4],
    pub(super) block: u64,
}

/// Rows of one chunk.
#[derive(Clone, Copy)]
pub(super) struct Chunk {
    pub(super) first: u64,
    pub(super) rows: u64,
}

impl Stored {
    pub(super) fn chunks(&self) -> impl Iterator<Item = Chunk> + use<> {
        let rows = self.rows;
        (0..rows)
            .step_by(CHUNK_ROWS as usize)
            .map(move |first| Chunk { first, rows: CHUNK_ROWS.min(rows - first) })
    }

    /// First block and number of blocks of a column's slice, and its length in bytes.
    pub(super) fn slice(&self, column: usize, chunk: Chunk) -> (u64, u64, u64) {
        let (first_block, width) = self.columns[column];
        let start = chunk.first * width;
        let len = chunk.rows * width;
        (first_block + start / self.block, len.div_ceil(self.block), len)
    }
}

/// Bytes of device memory that one chunk needs: its output and its four slices.
pub(super) fn slot_bytes() -> u64 {
    let widths: u64 = NEEDED.iter().map(|name| COLUMNS[lineitem::column(name)].width as u64).sum();
    PAGE + CHUNK_ROWS * widths
}

/// What a chunk's place on the device waits for.
#[derive(Clone, Copy)]
enum Step {
    Copy(Chunk),
    Execute(Chunk),
    /// Rows come to the host; those from this byte on are still to come.
    Return(Chunk, u64),
}

/// A chunk's place: device memory for its data, host memory for its command lists.
struct Slot {
    memory: u64,
    list: Buffer,
    /// Host memory for rows that the drive returns.
    rows: Option<Buffer>,
}

/// How the drive answers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OnDevice {
    /// Run time of a whole chunk, if it is declared; a shorter one takes less.
    pub(super) chunk_time: Option<Duration>,
    /// Bytes of a whole chunk that go to the host, besides the answer.
    pub(super) returned: u64,
}

/// Answers on the drive: each slot copies a chunk's slices from flash to device memory, executes
/// the program on them, and goes on with the next chunk. There are twice as many slots as compute
/// units, so that copying and computing overlap.
pub(super) fn on_device(
    session: &mut Session,
    stored: &Stored,
    how: OnDevice,
    watch: &mut Watch,
    quiet: bool,
) -> Result<i64> {
    let bar = progress("Q6 on the drive", stored.rows, quiet);
    let slots = 2 * session.transport.driver.port.drive.config().compute.units as usize;
    let room = session.transport.driver.port.drive.config().memory_bytes / slot_bytes();
    let host = &mut session.transport.driver;
    let slots: Vec<Slot> = (0..slots.min(room as usize).min(512))
        .map(|n| Slot {
            memory: n as u64 * slot_bytes(),
            list: host.port.ram.allocate(PAGE),
            rows: (how.returned > 0).then(|| host.port.ram.allocate(how.returned)),
        })
        .collect();
    let mut chunks = stored.chunks();
    let mut waiting: Vec<Option<(usize, Step)>> = vec![None; 1024];
    for (n, slot) in slots.iter().enumerate() {
        if let Some(chunk) = chunks.next() {
            let cid = start_copy(host, stored, slot, chunk);
            waiting[usize::from(cid)] = Some((n, Step::Copy(chunk)));
        }
    }
    let mut revenue = 0i64;
    while let Some(done) = host.next_completion() {
        watch.look(&host.port);
        check(&done)?;
        let (n, step) = waiting[usize::from(done.cid)].take().context("an unknown completion")?;
        let slot = &slots[n];
        let next = match step {
            Step::Copy(chunk) => {
                bar.inc(chunk.rows);
                Some((start_execute(host, stored, slot, chunk, how), Step::Execute(chunk)))
            }
            Step::Execute(chunk) | Step::Return(chunk, _) => {
                let (first, result) = match step {
                    Step::Return(_, first) => (first, 0),
                    _ => (0, done.result as i64),
                };
                revenue += result;
                let returning = start_return(host, slot, first, returned(how, chunk));
                let next = returning.map(|(cid, end)| (cid, Step::Return(chunk, end)));
                next.or_else(|| {
                    chunks
                        .next()
                        .map(|chunk| (start_copy(host, stored, slot, chunk), Step::Copy(chunk)))
                })
            }
        };
        if let Some((cid, step)) = next {
            waiting[usize::from(cid)] = Some((n, step));
        }
    }
    bar.finish_and_clear();
    Ok(revenue)
}

/// Where a chunk's slices lie in its slot: behind a page for the output, each in whole blocks.
fn slices(stored: &Stored, slot: &Slot, chunk: Chunk) -> [(u64, u64, u64, u64); 4] {
    let mut at = slot.memory + PAGE;
    std::array::from_fn(|column| {
        let (block, count, len) = stored.slice(column, chunk);
        let start = at;
        at += count * stored.block;
        (block, count, start, len)
    })
}

fn start_copy(host: &mut Host, stored: &Stored, slot: &Slot, chunk: Chunk) -> u16 {
    let slices = slices(stored, slot, chunk);
    let list: [CopySourceBlocks; 4] = slices.map(|(block, count, _, _)| copy_source(block, count));
    host.port.ram.put(slot.list.address, list.as_bytes());
    let len = slices.iter().map(|(_, count, _, _)| count * stored.block).sum();
    let entry = commands::memory_copy(slot.memory + PAGE, len, list.len(), 2);
    host.submit(IO, with_data(entry, (slot.list.address, 0)))
}

/// Bytes of a chunk that go to the host: whole dwords.
fn returned(how: OnDevice, chunk: Chunk) -> u64 {
    (how.returned * chunk.rows / CHUNK_ROWS).next_multiple_of(4).max(4)
}

/// Sends the next of a chunk's bytes to the host, if there are some; up to which byte.
fn start_return(host: &mut Host, slot: &Slot, first: u64, end: u64) -> Option<(u16, u64)> {
    let rows = slot.rows.as_ref().filter(|_| first < end)?;
    let len = (end - first).min(host.port.drive.config().transfer_bytes_max);
    let entry = commands::memory(MemoryOpcode::READ, slot.memory + first, len as u32);
    let prps = host.port.ram.prps(rows, len);
    Some((host.submit(IO, with_data(entry, prps)), first + len))
}

fn start_execute(
    host: &mut Host,
    stored: &Stored,
    slot: &Slot,
    chunk: Chunk,
    how: OnDevice,
) -> u16 {
    let slices = slices(stored, slot, chunk);
    let mut ranges = vec![memory_range(slot.memory, 8)];
    ranges.extend(slices.map(|(_, _, start, len)| memory_range(start, len as u32)));
    let bytes = ranges.as_slice().as_bytes();
    host.port.ram.put(slot.list.address, bytes);
    let command = Execute {
        inline_ranges: ranges.len() as u32,
        data_len: (ranges.len() * size_of::<MemoryRangeDescriptor>()) as u32,
        param1: chunk.rows as i64,
        run_time: match how.chunk_time {
            None => RunTime::default(),
            Some(time) => RunTime::Declared((time.as_ns() * chunk.rows / CHUNK_ROWS).max(1) as u32),
        },
        ..Default::default()
    };
    host.submit(IO, with_data(command.entry(), (slot.list.address, 0)))
}

fn check(done: &Completion) -> Result<()> {
    anyhow::ensure!(done.status.same_code(Status::SUCCESS), "a command failed: {}", done.status);
    Ok(())
}

/// A piece of a column that the host reads: where its bytes go in the chunk's memory.
struct Read {
    buffer: Buffer,
    chunk: usize,
    column: usize,
    at: usize,
    len: usize,
}

/// What the host came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostAnswer {
    /// In ten-thousandths of a dollar.
    pub(super) revenue: i64,
    /// When its last core had looked at its last chunk.
    pub(super) ended: Instant,
}

/// Answers on the host: reads the four columns over the link. A chunk that is there is looked at by the core that is free first.
pub(super) fn on_host(
    session: &mut Session,
    stored: &Stored,
    cores: &mut HostCores,
    watch: &mut Watch,
    quiet: bool,
) -> Result<HostAnswer> {
    let bar = progress("Q6 on the host", stored.rows, quiet);
    let max = session.transport.driver.port.drive.config().transfer_bytes_max;
    let host = &mut session.transport.driver;
    let keeps_data = host.port.drive.config().flash.keep_data;
    let mut buffers: Vec<Buffer> = (0..HOST_DEPTH).map(|_| host.port.ram.allocate(max)).collect();
    let mut revenue = 0;
    // A few chunks at a time, so that the host's memory does not grow with the table.
    let chunks: Vec<Chunk> = stored.chunks().collect();
    let mut reading: Vec<Option<Read>> = (0..1024).map(|_| None).collect();
    for group in chunks.chunks(64) {
        let mut missing: Vec<u64> =
            group.iter().map(|chunk| reads_of(stored, *chunk, max)).collect();
        let mut data: Vec<[Vec<u8>; 4]> = group
            .iter()
            .map(|&chunk| match keeps_data {
                true => std::array::from_fn(|c| vec![0; stored.slice(c, chunk).2 as usize]),
                false => Default::default(),
            })
            .collect();
        let mut pieces = pieces(stored, group, max).into_iter();
        loop {
            while let Some(buffer) = buffers.pop() {
                let Some((chunk, column, block, count, at, len)) = pieces.next() else {
                    buffers.push(buffer);
                    break;
                };
                let prps = host.port.ram.prps(&buffer, count * stored.block);
                let entry = commands::read_write(NvmOpcode::READ, block, count as u32);
                let cid = host.submit(IO, with_data(entry, prps));
                reading[usize::from(cid)] = Some(Read { buffer, chunk, column, at, len });
            }
            if host.outstanding(IO) == 0 {
                break;
            }
            let done = host.next_completion().context("the drive went idle")?;
            watch.look(&host.port);
            check(&done)?;
            let read = reading[usize::from(done.cid)].take().context("an unknown completion")?;
            if keeps_data {
                let bytes = host.port.ram.view(read.buffer.address, read.len as u64);
                data[read.chunk][read.column][read.at..read.at + read.len].copy_from_slice(bytes);
            }
            buffers.push(read.buffer);
            missing[read.chunk] -= 1;
            if missing[read.chunk] == 0 {
                cores.look_at(host.port.now(), group[read.chunk].rows);
            }
        }
        for (chunk, columns) in group.iter().zip(&data) {
            revenue += q6(columns);
            bar.inc(chunk.rows);
        }
    }
    bar.finish_and_clear();
    Ok(HostAnswer { revenue, ended: cores.free_at().max(session.transport.driver.port.now()) })
}

/// Reads that a chunk needs.
fn reads_of(stored: &Stored, chunk: Chunk, max: u64) -> u64 {
    let step = max / stored.block;
    (0..NEEDED.len()).map(|column| stored.slice(column, chunk).1.div_ceil(step)).sum()
}

/// (chunk, column, first block, blocks, place in the slice, bytes) of every read of some chunks.
type Piece = (usize, usize, u64, u64, usize, usize);

fn pieces(stored: &Stored, group: &[Chunk], max: u64) -> Vec<Piece> {
    let step = max / stored.block;
    let mut pieces = Vec::new();
    for (n, &chunk) in group.iter().enumerate() {
        for column in 0..NEEDED.len() {
            let (first, count, len) = stored.slice(column, chunk);
            for block in (0..count).step_by(step as usize) {
                let blocks = step.min(count - block);
                let at = block * stored.block;
                let bytes = (blocks * stored.block).min(len - at);
                pieces.push((n, column, first + block, blocks, at as usize, bytes as usize));
            }
        }
    }
    pieces
}

/// Q6 on the host, on the same bytes.
fn q6(columns: &[Vec<u8>; 4]) -> i64 {
    let [shipdate, discount, quantity, price] = columns;
    let (shipdate, _) = shipdate.as_chunks::<4>();
    let wide = |bytes: &'_ [u8], row: usize| {
        let (values, _) = bytes.as_chunks::<8>();
        i64::from_le_bytes(values[row])
    };
    let mut revenue = 0;
    for (row, date) in shipdate.iter().enumerate() {
        let discount = wide(discount, row);
        if YEAR_1994.contains(&i32::from_le_bytes(*date))
            && (5..=7).contains(&discount)
            && wide(quantity, row) < 24
        {
            revenue += wide(price, row) * discount;
        }
    }
    revenue
}

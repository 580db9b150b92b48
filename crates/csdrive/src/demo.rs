//! `csdrive demo`: TPC-H Q6 on the drive and on the host, the same question asked both ways.

use anyhow::{Context, Result};
use client::commands::{self, Execute, with_data};
use client::commands::{copy_source, memory_range};
use client::{Buffer, Completion, DmaMemory, QueueId};
use indicatif::{ProgressBar, ProgressStyle};
use nvme_spec::command::{CopySourceBlocks, MemoryRangeDescriptor};
use nvme_spec::{NvmOpcode, Status};
use serde_json::{Value, json};
use simulator::{Host, Session};
use zerocopy::IntoBytes;

use crate::lineitem::{self, COLUMNS, Table};
use crate::report::say;
use crate::{Outcome, report, usage};

/// The device program, built from `examples/programs/tpch_q6.bpf.c`.
static Q6: &[u8] = include_bytes!("../../../examples/programs/tpch_q6.bpf.o");

/// Rows that one execution looks at. A multiple of 4096, so that every column's slice of a full
/// chunk begins and ends at a block.
const CHUNK_ROWS: u64 = 65_536;
const PAGE: u64 = 4096;
const IO: QueueId = QueueId(1);
/// Reads the host keeps in flight.
const HOST_DEPTH: usize = 32;

/// The columns Q6 needs, in the order of the program's ranges 1 to 4.
const NEEDED: [&str; 4] = ["l_shipdate", "l_discount", "l_quantity", "l_extendedprice"];

/// Q6's predicate: shipped in 1994 (days since 1970-01-01), discount 0.05 to 0.07, quantity
/// below 24. The device program has the same numbers.
const YEAR_1994: std::ops::Range<i32> = 8766..9131;

/// Run TPC-H Q6 on the drive and on the host, and compare time and bytes
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Scale factor: 1 is a table of 6 million rows
    #[arg(long, default_value_t = 0.1, allow_hyphen_values = true)]
    scale: f64,
    #[command(flatten)]
    sources: config::Sources,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Where the table lies on the NVM namespace.
struct Stored {
    rows: u64,
    /// First block of each needed column, and its width.
    columns: [(u64, u64); 4],
    block: u64,
}

/// Rows of one chunk.
#[derive(Clone, Copy)]
struct Chunk {
    first: u64,
    rows: u64,
}

impl Stored {
    fn chunks(&self) -> impl Iterator<Item = Chunk> + use<> {
        let rows = self.rows;
        (0..rows)
            .step_by(CHUNK_ROWS as usize)
            .map(move |first| Chunk { first, rows: CHUNK_ROWS.min(rows - first) })
    }

    /// First block and number of blocks of a column's slice, and its length in bytes.
    fn slice(&self, column: usize, chunk: Chunk) -> (u64, u64, u64) {
        let (first_block, width) = self.columns[column];
        let start = chunk.first * width;
        let len = chunk.rows * width;
        (first_block + start / self.block, len.div_ceil(self.block), len)
    }
}

/// What one way of answering took.
struct Measured {
    /// Revenue in ten-thousandths of a dollar.
    revenue: i64,
    time_ns: u64,
    host_link_bytes: u64,
    flash_bytes: u64,
    internal_bytes: u64,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    usage(check_scale(arguments.scale))?;
    let loaded = usage(arguments.sources.load().map_err(Into::into))?;
    report::notes(&loaded.warnings);
    let config = usage(loaded.for_one_of_each().map_err(Into::into))?;
    usage(fits(arguments.scale, &config))?;
    let units = config.compute.units as usize;
    let mut session = usage(simulator::open(config, 0, 1024).map_err(Into::into))?;
    let table = generate(arguments.scale, arguments.json);
    let stored = store(&mut session, &table, arguments.json)?;
    drop(table);
    session.load_program(0, Q6)?;
    while session.transport.driver.port.step() {}
    let device = measure(&mut session, |s| on_device(s, &stored, 2 * units, arguments.json))?;
    while session.transport.driver.port.step() {}
    let host = measure(&mut session, |s| on_host(s, &stored, arguments.json))?;
    if arguments.json {
        let trace_hash = session.transport.driver.port.drive.statistics().trace_hash;
        say!("{:#}", to_json(&stored, &device, &host, trace_hash));
    } else {
        print(arguments, &session, &stored, &device, &host);
    }
    Ok(if device.revenue == host.revenue { Outcome::Success } else { Outcome::ErrorStatus })
}

fn check_scale(scale: f64) -> Result<()> {
    if !(0.0005..=100.0).contains(&scale) {
        anyhow::bail!("--scale {scale}: choose 0.0005 to 100");
    }
    Ok(())
}

/// Checks that the table fits the drive before generating it.
fn fits(scale: f64, config: &controller::Config) -> Result<()> {
    if !config.flash.keep_data {
        anyhow::bail!("flash.keep_data = false: the demo needs its data; set it to true");
    }
    if !config.namespaces.is_empty() {
        anyhow::bail!(
            "the demo is for a drive with one namespace of each kind; leave [[namespace]] out"
        );
    }
    let width: u64 = COLUMNS.iter().map(|c| c.width as u64).sum();
    let bytes = lineitem::expected_rows(scale) * width * 101 / 100;
    if bytes > config.flash.capacity_bytes {
        let (need, have) = (report::bytes(bytes), report::bytes(config.flash.capacity_bytes));
        let gigabytes = bytes.div_ceil(1 << 30);
        anyhow::bail!(
            "the table needs {need}, the drive has {have}; use --set drive.capacity={gigabytes}GiB or a smaller --scale"
        );
    }
    let slot = slot_bytes();
    if config.memory_bytes < slot {
        let have = report::bytes(config.memory_bytes);
        anyhow::bail!("memory.size = {have}: the demo needs at least {}", report::bytes(slot));
    }
    Ok(())
}

fn progress(message: &'static str, len: u64, hidden: bool) -> ProgressBar {
    if hidden {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg:<28} {wide_bar} {percent:>3}%");
    ProgressBar::new(len)
        .with_message(message)
        .with_style(style.unwrap_or(ProgressStyle::default_bar()))
}

fn generate(scale: f64, quiet: bool) -> Table {
    let bar = progress("generating TPC-H lineitem", lineitem::expected_rows(scale), quiet);
    let table = lineitem::generate(scale, |rows| bar.set_position(rows));
    bar.finish_and_clear();
    table
}

/// Writes every column to the NVM namespace.
fn store(session: &mut Session, table: &Table, quiet: bool) -> Result<Stored> {
    let total = table.columns.iter().map(|c| c.len() as u64).sum();
    let bar = progress("storing it on the drive", total, quiet);
    let block = session.block_bytes();
    let mut next = 0;
    let mut first_blocks = Vec::new();
    for column in &table.columns {
        first_blocks.push(next);
        let mut at = next;
        for piece in column.chunks(16 << 20) {
            at += session.write_blocks(at, piece)?;
            bar.inc(piece.len() as u64);
        }
        // Columns begin at page boundaries, whatever the block size.
        next = (at * block).next_multiple_of(PAGE) / block;
    }
    session.flush()?;
    bar.finish_and_clear();
    let columns = NEEDED.map(|name| {
        let n = lineitem::column(name);
        (first_blocks[n], COLUMNS[n].width as u64)
    });
    Ok(Stored { rows: table.rows, columns, block })
}

fn measure(
    session: &mut Session,
    answer: impl FnOnce(&mut Session) -> Result<i64>,
) -> Result<Measured> {
    let (start, before) =
        (session.transport.driver.port.now(), session.transport.driver.port.drive.statistics());
    let revenue = answer(session)?;
    let (end, after) =
        (session.transport.driver.port.now(), session.transport.driver.port.drive.statistics());
    Ok(Measured {
        revenue,
        time_ns: end.since(start).as_ns(),
        host_link_bytes: after.bytes_host_link() - before.bytes_host_link(),
        flash_bytes: after.bytes_flash() - before.bytes_flash(),
        internal_bytes: after.bytes_internal - before.bytes_internal,
    })
}

/// Bytes of device memory that one chunk needs: its output and its four slices.
fn slot_bytes() -> u64 {
    let widths: u64 = NEEDED.iter().map(|name| COLUMNS[lineitem::column(name)].width as u64).sum();
    PAGE + CHUNK_ROWS * widths
}

/// What a chunk's place on the device waits for.
#[derive(Clone, Copy)]
enum Step {
    Copy(Chunk),
    Execute,
}

/// A chunk's place: device memory for its data, host memory for its command lists.
struct Slot {
    memory: u64,
    list: Buffer,
}

/// Answers on the drive: each slot copies a chunk's slices from flash to device memory, executes
/// the program on them, and goes on with the next chunk. There are twice as many slots as compute
/// units, so that copying and computing overlap.
fn on_device(session: &mut Session, stored: &Stored, slots: usize, quiet: bool) -> Result<i64> {
    let bar = progress("Q6 on the drive", stored.rows, quiet);
    let room = session.transport.driver.port.drive.config().memory_bytes / slot_bytes();
    let host = &mut session.transport.driver;
    let slots: Vec<Slot> = (0..slots.min(room as usize).min(512))
        .map(|n| Slot { memory: n as u64 * slot_bytes(), list: host.port.ram.allocate(PAGE) })
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
        check(&done)?;
        let (n, step) = waiting[usize::from(done.cid)].take().context("an unknown completion")?;
        let slot = &slots[n];
        let next = match step {
            Step::Copy(chunk) => {
                bar.inc(chunk.rows);
                Some((start_execute(host, stored, slot, chunk), Step::Execute))
            }
            Step::Execute => {
                revenue += done.result as i64;
                chunks
                    .next()
                    .map(|chunk| (start_copy(host, stored, slot, chunk), Step::Copy(chunk)))
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

fn start_execute(host: &mut Host, stored: &Stored, slot: &Slot, chunk: Chunk) -> u16 {
    let slices = slices(stored, slot, chunk);
    let mut ranges = vec![memory_range(slot.memory, 8)];
    ranges.extend(slices.map(|(_, _, start, len)| memory_range(start, len as u32)));
    let bytes = ranges.as_slice().as_bytes();
    host.port.ram.put(slot.list.address, bytes);
    let command = Execute {
        inline_ranges: ranges.len() as u32,
        data_len: (ranges.len() * size_of::<MemoryRangeDescriptor>()) as u32,
        param1: chunk.rows as i64,
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

/// Answers on the host: reads the four columns over the link, then computes. Only the reading
/// takes virtual time: the host's computing is not modelled, which favours the host.
fn on_host(session: &mut Session, stored: &Stored, quiet: bool) -> Result<i64> {
    let bar = progress("Q6 on the host", stored.rows, quiet);
    let max = session.transport.driver.port.drive.config().transfer_bytes_max;
    let host = &mut session.transport.driver;
    let mut buffers: Vec<Buffer> = (0..HOST_DEPTH).map(|_| host.port.ram.allocate(max)).collect();
    let mut revenue = 0;
    // A few chunks at a time, so that the host's memory does not grow with the table.
    let chunks: Vec<Chunk> = stored.chunks().collect();
    let mut reading: Vec<Option<Read>> = (0..1024).map(|_| None).collect();
    for group in chunks.chunks(64) {
        let mut data: Vec<[Vec<u8>; 4]> = group
            .iter()
            .map(|&chunk| std::array::from_fn(|c| vec![0; stored.slice(c, chunk).2 as usize]))
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
            check(&done)?;
            let read = reading[usize::from(done.cid)].take().context("an unknown completion")?;
            let bytes = host.port.ram.view(read.buffer.address, read.len as u64);
            data[read.chunk][read.column][read.at..read.at + read.len].copy_from_slice(bytes);
            buffers.push(read.buffer);
        }
        for (chunk, columns) in group.iter().zip(&data) {
            revenue += q6(columns);
            bar.inc(chunk.rows);
        }
    }
    bar.finish_and_clear();
    Ok(revenue)
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

/// Dollars: the answer is in ten-thousandths.
fn dollars(revenue: i64) -> f64 {
    revenue as f64 / 10_000.0
}

fn to_json(stored: &Stored, device: &Measured, host: &Measured, trace_hash: u64) -> Value {
    let side = |m: &Measured| {
        json!({
            "time_ns": m.time_ns, "host_link_bytes": m.host_link_bytes,
            "flash_bytes": m.flash_bytes, "internal_bytes": m.internal_bytes,
        })
    };
    json!({
        "format_version": 1,
        "answer": { "device": dollars(device.revenue), "host": dollars(host.revenue) },
        "rows": stored.rows,
        "trace_hash": format!("{trace_hash:016x}"),
        "device": side(device),
        "host": side(host),
    })
}

fn print(
    arguments: &Arguments,
    session: &Session,
    stored: &Stored,
    device: &Measured,
    host: &Measured,
) {
    let config = session.transport.driver.port.drive.config();
    say!(
        "TPC-H Q6, scale {}: {} rows in fixed-width columns on a {} drive with {} compute units\n",
        arguments.scale,
        report::grouped(stored.rows),
        report::bytes(config.flash.capacity_bytes),
        config.compute.units,
    );
    say!("  {:<22} {:>18} {:>18}", "", "on the drive", "on the host");
    let money = |m: &Measured| {
        let (whole, part) = (m.revenue / 10_000, m.revenue % 10_000);
        format!("${}.{part:04}", report::grouped(whole as u64))
    };
    let row = |name: &str, text: &dyn Fn(&Measured) -> String| {
        say!("  {name:<22} {:>18} {:>18}", text(device), text(host));
    };
    row("revenue", &money);
    row("time (virtual)", &|m| report::time(m.time_ns));
    row("over the host link", &|m| report::bytes(m.host_link_bytes));
    row("read from flash", &|m| report::bytes(m.flash_bytes));
    row("moved inside the drive", &|m| report::bytes(m.internal_bytes));
    let bars = |title: &str, value: &dyn Fn(&Measured) -> u64, text: &dyn Fn(u64) -> String| {
        say!("\n  {title}");
        let max = value(device).max(value(host)) as f64;
        for (name, m) in [("drive", device), ("host", host)] {
            say!("    {name:<6} {:<40} {}", report::bar(value(m) as f64, max), text(value(m)));
        }
    };
    bars("time", &|m| m.time_ns, &report::time);
    bars("bytes over the host link", &|m| m.host_link_bytes, &report::bytes);
    let same = if device.revenue == host.revenue { "the same" } else { "DIFFERENT" };
    let ratio = host.host_link_bytes as f64 / device.host_link_bytes.max(1) as f64;
    say!(
        "\nBoth answers are {same}. The drive sent {ratio:.0} times fewer bytes over the link.\n\
         (The host's computing is not modelled: its time is reading alone.)"
    );
}

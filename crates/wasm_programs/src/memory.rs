//! The linear memory of a run: how far it may grow, and where the arguments and ranges of the job are in it.
#![expect(unsafe_code, reason = "ranges are mapped into linear memory; see the SAFETY comments")]

use std::io;

use ebpf::{Invocation, PAGE, Range};
use rustix::mm::{MapFlags, ProtFlags, mmap};
use wasmtime::{AsContext, AsContextMut, Memory, ResourceLimiter};

use crate::metering::WASM_PAGE;

/// Addresses that a program can name.
const ADDRESSES: u64 = 4 << 30;

/// Pages of a range of so many bytes are there before the program runs.
const POPULATED_MAX: u64 = 64 << 20;

/// Entries that the tables of a run may have together.
pub(crate) const TABLE_ENTRIES_MAX: usize = 1 << 20;

/// How large memory and tables of a run may be. Its own memory a program makes larger without Wasmtime.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    /// Entries of tables that there are.
    table_entries: usize,
}

impl ResourceLimiter for Limits {
    fn memory_growing(
        &mut self,
        _: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired as u64 <= ADDRESSES)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let entries = self.table_entries + (desired - current);
        let fits = entries <= TABLE_ENTRIES_MAX;
        if fits {
            self.table_entries = entries;
        }
        Ok(fits)
    }
}

/// Why a job's ranges are not in a program's memory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error(
        "its ranges and its memory have {0} bytes together, and addresses of 32 bits reach 4GiB: give it smaller pieces (csdrive run --stream)"
    )]
    TooLarge(u64),
    #[error("memory for its ranges: {0}")]
    Host(#[from] io::Error),
}

/// A range of which the program has a copy: it does not begin and end with pages.
#[derive(Debug)]
struct Copy {
    range: Range,
    /// Where it is in linear memory.
    at: u64,
    before: Vec<u8>,
}

/// The arguments of a run, in its linear memory.
#[derive(Debug)]
pub(crate) struct Placed {
    /// Address of the argument struct.
    pub(crate) arguments: u32,
    copies: Vec<Copy>,
}

/// Bytes of the packed argument struct, with addresses of 32 bits.
const ARGUMENTS_BYTES: u64 = 40;

/// Adds memory behind that of the program, with argument struct, arrays, data buffer and ranges in it.
pub(crate) fn place(
    store: &mut impl AsContextMut,
    memory: &Memory,
    invocation: &Invocation,
) -> Result<Placed, PlaceError> {
    let Invocation { ranges, data, .. } = invocation;
    let base = memory.data_size(store.as_context()) as u64;
    let lengths_at = base + ARGUMENTS_BYTES;
    let addresses_at = lengths_at + 8 * ranges.len() as u64;
    let data_at = (addresses_at + 4 * ranges.len() as u64).next_multiple_of(16);
    let mut end = data_at + data.len() as u64;
    let mut places = Vec::with_capacity(ranges.len());
    for range in ranges {
        // A range keeps its alignment, and no two have a page in common.
        let at = end.next_multiple_of(PAGE) + range.offset % PAGE;
        places.push(at);
        end = at + range.len;
    }
    let pages = (end - base).div_ceil(WASM_PAGE);
    if base + pages * WASM_PAGE > ADDRESSES {
        return Err(PlaceError::TooLarge(end));
    }
    let grown = memory.grow(store.as_context_mut(), pages);
    grown.map_err(|error| io::Error::other(error.to_string()))?;
    let mut copies = Vec::new();
    for (range, &at) in ranges.iter().zip(&places) {
        let Range { memory: from, offset, len, .. } = range;
        if offset.is_multiple_of(PAGE) && len.is_multiple_of(PAGE) {
            map(store, memory, range, at)?;
            continue;
        }
        let mut before = vec![0; *len as usize];
        if !from.read(*offset, &mut before) {
            return Err(io::Error::other("a range is not within its memory").into());
        }
        memory.data_mut(store.as_context_mut())[at as usize..][..before.len()]
            .copy_from_slice(&before);
        copies.push(Copy { range: range.clone(), at, before });
    }
    let mut bytes = Vec::with_capacity((end - base) as usize);
    bytes.extend((ranges.len() as u32).to_le_bytes());
    bytes.extend((addresses_at as u32).to_le_bytes());
    bytes.extend((lengths_at as u32).to_le_bytes());
    bytes.extend(invocation.param1.to_le_bytes());
    bytes.extend(invocation.param2.to_le_bytes());
    bytes.extend(if data.is_empty() { 0 } else { data_at as u32 }.to_le_bytes());
    bytes.extend((data.len() as u64).to_le_bytes());
    bytes.extend(ranges.iter().flat_map(|range| range.len.to_le_bytes()));
    bytes.extend(places.iter().flat_map(|at| (*at as u32).to_le_bytes()));
    bytes.resize((data_at - base) as usize, 0);
    bytes.extend(data);
    memory.data_mut(store.as_context_mut())[base as usize..][..bytes.len()].copy_from_slice(&bytes);
    Ok(Placed { arguments: base as u32, copies })
}

/// Maps the pages of a range to this place in linear memory.
fn map(
    store: &mut impl AsContextMut,
    memory: &Memory,
    range: &Range,
    at: u64,
) -> Result<(), io::Error> {
    let len = range.len as usize;
    if len == 0 {
        return Ok(());
    }
    let end = range.offset.checked_add(range.len);
    if end.is_none_or(|end| end > range.memory.len()) {
        return Err(io::Error::other("a range is not within its memory"));
    }
    let prot = ProtFlags::READ | if range.writable { ProtFlags::WRITE } else { ProtFlags::empty() };
    // A drive has no page faults; a large range may have holes that the program does not touch.
    let populate = if range.len <= POPULATED_MAX { MapFlags::POPULATE } else { MapFlags::empty() };
    let (flags, file) = (MapFlags::SHARED | MapFlags::FIXED | populate, range.memory.file());
    // SAFETY: the place is within the memory, which does not move.
    let to = unsafe { memory.data_ptr(store.as_context()).add(at as usize) };
    // SAFETY: whole pages of linear memory (`place` took care of it) are replaced by others that can be read, and written unless a
    // write is to fault; they go with the whole when the memory does. No reference to linear memory is alive.
    unsafe { mmap(to.cast(), len, prot, flags, file, range.offset) }?;
    Ok(())
}

impl Placed {
    /// Writes back what the program changed in ranges of which it had copies.
    pub(crate) fn copy_back(&self, store: &impl AsContext<Data: Sized>, memory: &Memory) {
        for Copy { range, at, before } in self.copies.iter().filter(|copy| copy.range.writable) {
            let bytes = &memory.data(store.as_context())[*at as usize..][..before.len()];
            let changed = |n: usize| bytes[n] != before[n];
            let mut n = 0;
            while let Some(from) = (n..bytes.len()).find(|n| changed(*n)) {
                let to = (from..bytes.len()).find(|n| !changed(*n)).unwrap_or(bytes.len());
                let is_inside = range.memory.write(range.offset + from as u64, &bytes[from..to]);
                debug_assert!(is_inside, "it was read before");
                n = to;
            }
        }
    }
}

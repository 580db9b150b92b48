//! Streaming executions.

use std::ffi::c_int;

use client::Streaming;

use crate::error::Failure;
use crate::types::{Execution, bytes, invocation, places};
use crate::{csdrive, with};

/// Runs begin on the first pages of their chunks.
const EARLY: u32 = 1;
/// Programs get a `struct csdrive_chunk`, and see the blocks behind their chunks.
const OVERLAP: u32 = 2;

/// See the header.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the header documents them")]
pub struct Stream {
    pub first: u64,
    pub count: u64,
    pub chunk_blocks: u32,
    pub in_flight: u32,
    pub flags: u32,
    pub overlap_blocks: u32,
    pub cut_bytes: u32,
    pub reserved: u32,
}

/// See the header.
///
/// # Safety
/// The drive is open, the execution sound, and `result` is null or a place for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_execute_stream(
    drive: *const csdrive,
    execution: *const Execution,
    first: u64,
    count: u64,
    chunk_blocks: u32,
    in_flight: u32,
    result: *mut u64,
) -> c_int {
    let (flags, overlap_blocks, cut_bytes, reserved) = (0, 0, 0, 0);
    let stream = Stream {
        first,
        count,
        chunk_blocks,
        in_flight,
        flags,
        overlap_blocks,
        cut_bytes,
        reserved,
    };
    // SAFETY: as above.
    unsafe { csdrive_stream_execute(drive, execution, &raw const stream, result) }
}

/// See the header.
///
/// # Safety
/// The drive is open, the execution sound, the stream null or one, and `result` is null or a place for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_stream_execute(
    drive: *const csdrive,
    execution: *const Execution,
    stream: *const Stream,
    result: *mut u64,
) -> c_int {
    // SAFETY: as above.
    unsafe {
        with(drive, |drive| {
            let [stream] = bytes(stream, 1, "stream")? else { unreachable!("one was asked for") };
            let Stream { first, count, chunk_blocks, in_flight, flags, .. } = *stream;
            if first.checked_add(count).is_none() || !(1..=64).contains(&in_flight) {
                return Err(Failure::Chunks { count, in_flight });
            }
            let is_sound = flags & !(EARLY | OVERLAP) == 0
                && stream.reserved == 0
                && (flags & OVERLAP != 0 || stream.overlap_blocks == 0)
                && u64::from(stream.cut_bytes) < drive.block_bytes();
            if !is_sound {
                return Err(Failure::Stream);
            }
            let streaming = Streaming {
                early: flags & EARLY != 0,
                overlap: (flags & OVERLAP != 0).then_some(stream.overlap_blocks),
                cut: stream.cut_bytes,
                ..Streaming::divided(
                    invocation(execution)?,
                    (first, count),
                    chunk_blocks,
                    in_flight.into(),
                )
            };
            let given = drive.execute_stream(&streaming)?;
            places(result, usize::from(!result.is_null()), "result")?.fill(given);
            Ok(())
        })
    }
}

//! What C hands over: structures of the header, and pointers with a caller's promise.

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use client::{Invocation, RunTime};

use crate::error::{Failure, status_number};

/// `csdrive_geometry`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the header documents them")]
pub struct Geometry {
    pub block_bytes: u64,
    pub blocks: u64,
    pub memory_bytes: u64,
    pub transfer_bytes_max: u64,
}

/// `csdrive_range`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the header documents them")]
pub struct Range {
    pub start: u64,
    pub length: u32,
    pub reserved: u32,
}

/// `csdrive_execution`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the header documents them")]
pub struct Execution {
    pub program: u16,
    pub range_set: u16,
    pub range_count: u16,
    pub group: u8,
    pub run_time: u8,
    pub ranges: *const Range,
    pub param1: i64,
    pub param2: i64,
    pub data: *const c_void,
    pub data_length: usize,
    pub run_time_ns: u32,
    pub reserved: u32,
}

/// `csdrive_done`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the header documents them")]
pub struct Done {
    pub ticket: u64,
    pub result: u64,
    pub status: c_int,
    pub reserved: c_int,
}

impl Done {
    pub(crate) fn of(ended: &client::Done) -> Self {
        Self {
            ticket: ended.ticket.0,
            result: ended.result,
            status: match ended.kernel_error {
                Some(number) => -number,
                None => status_number(ended.status),
            },
            reserved: 0,
        }
    }
}

/// Bytes that a caller promises.
///
/// # Safety
/// If the length is not 0, as many bytes are there and do not change meanwhile.
pub(crate) unsafe fn bytes<'a, T>(
    at: *const T,
    count: usize,
    what: &'static str,
) -> Result<&'a [T], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    if at.is_null() {
        return Err(Failure::Null(what));
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(at, count) })
}

/// Something that a caller wants filled in.
///
/// # Safety
/// If it is not null, as many are there, and nobody else uses them meanwhile.
pub(crate) unsafe fn places<'a, T>(
    at: *mut T,
    count: usize,
    what: &'static str,
) -> Result<&'a mut [T], Failure> {
    if count == 0 {
        return Ok(&mut []);
    }
    if at.is_null() {
        return Err(Failure::Null(what));
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts_mut(at, count) })
}

/// Text that a caller promises.
///
/// # Safety
/// If it is not null, it ends with a zero.
pub(crate) unsafe fn path<'a>(
    text: *const c_char,
    what: &'static str,
) -> Result<&'a Path, Failure> {
    if text.is_null() {
        return Err(Failure::Null(what));
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(text) };
    Ok(Path::new(OsStr::from_bytes(text.to_bytes())))
}

/// Ranges as Rust has them.
pub(crate) fn pairs(ranges: &[Range]) -> Vec<(u64, u32)> {
    ranges.iter().map(|range| (range.start, range.length)).collect()
}

/// An execution as Rust has it.
///
/// # Safety
/// If it is not null, it is one, and what it points to is there.
pub(crate) unsafe fn invocation(execution: *const Execution) -> Result<Invocation, Failure> {
    // SAFETY: as above.
    unsafe {
        let of = &bytes(execution, 1, "execution")?[0];
        let ranges = bytes(of.ranges, of.range_count.into(), "execution.ranges")?;
        let data = bytes(of.data.cast::<u8>(), of.data_length, "execution.data")?;
        Ok(Invocation {
            program: of.program,
            range_set: of.range_set,
            ranges: pairs(ranges),
            param1: of.param1,
            param2: of.param2,
            data: data.to_vec(),
            group: of.group,
            run_time: RunTime::of_model(of.run_time, of.run_time_ns)
                .ok_or(Failure::RunTime(of.run_time))?,
        })
    }
}

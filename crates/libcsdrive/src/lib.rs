//! The C library: `include/libcsdrive.h` says what each function does.
//!
//! Everything is passed on to `client::Drive`. What comes from C is checked for null; the rest of a pointer's promise
//! is the caller's. No panic gets out.
#![expect(unsafe_code, reason = "the interface is C's; see the SAFETY comments")]
#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "all of a function's rest on the one promise of its caller"
)]

mod error;
mod streams;
mod types;

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use client::{Drive, DriveError, GroupOptions, TransportError};
use client_linux::OpenOptions;

use error::{Failure, guarded};
pub use streams::{Stream, csdrive_execute_stream, csdrive_stream_execute};
pub use types::{Done, Execution, Geometry, Range};
use types::{bytes, invocation, pairs, path, places};

/// A drive that is open.
#[derive(Debug)]
#[expect(non_camel_case_types, reason = "C's name")]
pub struct csdrive(Mutex<Drive>);

/// Does something with a drive.
///
/// # Safety
/// If the drive is not null, `csdrive_open` gave it and it is not closed.
unsafe fn with(
    drive: *const csdrive,
    act: impl FnOnce(&mut Drive) -> Result<(), Failure>,
) -> c_int {
    guarded(|| {
        if drive.is_null() {
            return Err(Failure::Null("drive"));
        }
        // SAFETY: the caller's promise.
        let drive = unsafe { &*drive };
        // A panic was reported already, and a drive has no state that one could spoil for good.
        act(&mut drive.0.lock().unwrap_or_else(PoisonError::into_inner))
    })
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn csdrive_error() -> *const c_char {
    error::last()
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn csdrive_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// See the header.
///
/// # Safety
/// `name` is a string, `drive` a place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_open(name: *const c_char, drive: *mut *mut csdrive) -> c_int {
    // SAFETY: as above.
    unsafe { csdrive_open_with(name, 0, drive) }
}

/// `CSDRIVE_POLLED`.
const POLLED: c_uint = 1;

/// See the header.
///
/// # Safety
/// `name` is a string, `drive` a place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_open_with(
    name: *const c_char,
    flags: c_uint,
    drive: *mut *mut csdrive,
) -> c_int {
    guarded(|| {
        // SAFETY: as above.
        let (name, place) = unsafe { (path(name, "path")?, places(drive, 1, "drive")?) };
        place[0] = std::ptr::null_mut();
        if flags & !POLLED != 0 {
            return Err(Failure::Flags(flags));
        }
        let options = OpenOptions { is_polled: flags & POLLED != 0, ..OpenOptions::default() };
        let opened = client_linux::open_with(name, options)?;
        place[0] = Box::into_raw(Box::new(csdrive(Mutex::new(opened))));
        Ok(())
    })
}

/// See the header.
///
/// # Safety
/// `csdrive_open` gave the drive, and nobody uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_close(drive: *mut csdrive) {
    guarded(|| {
        if !drive.is_null() {
            // SAFETY: as above.
            drop(unsafe { Box::from_raw(drive) });
        }
        Ok(())
    });
}

/// See the header.
///
/// # Safety
/// The drive is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_use_namespace(drive: *const csdrive, nsid: u32) -> c_int {
    // SAFETY: as above.
    unsafe { with(drive, |drive| Ok(drive.use_namespace(nsid)?)) }
}

/// See the header.
///
/// # Safety
/// The drive is open, `geometry` a place for one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_get_geometry(drive: *const csdrive, to: *mut Geometry) -> c_int {
    // SAFETY: as above.
    unsafe {
        with(drive, |drive| {
            let of = drive.geometry();
            places(to, 1, "geometry")?[0] = Geometry {
                block_bytes: of.block_bytes,
                blocks: of.blocks,
                memory_bytes: of.memory_bytes,
                transfer_bytes_max: of.transfer_bytes_max,
            };
            Ok(())
        })
    }
}

/// See the header.
///
/// # Safety
/// The drive is open, the object `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_load(
    drive: *const csdrive,
    index: u16,
    object: *const c_void,
    length: usize,
) -> c_int {
    // SAFETY: as above.
    unsafe {
        with(drive, |drive| Ok(drive.load_program(index, bytes(object.cast(), length, "object")?)?))
    }
}

/// See the header.
///
/// # Safety
/// The drive is open, the name a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_load_file(
    drive: *const csdrive,
    index: u16,
    name: *const c_char,
) -> c_int {
    // SAFETY: as above.
    unsafe { with(drive, |drive| Ok(drive.load_program_file(index, path(name, "path")?)?)) }
}

/// See the header.
///
/// # Safety
/// The drive is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_activate(
    drive: *const csdrive,
    index: u16,
    active: c_int,
) -> c_int {
    // SAFETY: as above.
    unsafe { with(drive, |drive| Ok(drive.activate_program(index, active != 0)?)) }
}

/// See the header.
///
/// # Safety
/// The drive is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_unload(drive: *const csdrive, index: u16) -> c_int {
    // SAFETY: as above.
    unsafe { with(drive, |drive| Ok(drive.remove_program(index)?)) }
}

/// See the header.
///
/// # Safety
/// The drive is open, the buffer `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_memory_read(
    drive: *const csdrive,
    start: u64,
    buffer: *mut c_void,
    length: usize,
) -> c_int {
    // SAFETY: as above.
    unsafe {
        with(drive, |drive| {
            let place = places(buffer.cast::<u8>(), length, "buffer")?;
            place.copy_from_slice(&drive.read_memory(start, length as u64)?);
            Ok(())
        })
    }
}

/// See the header.
///
/// # Safety
/// The drive is open, the buffer `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_memory_write(
    drive: *const csdrive,
    start: u64,
    buffer: *const c_void,
    length: usize,
) -> c_int {
    // SAFETY: as above.
    unsafe {
        with(drive, |drive| Ok(drive.write_memory(start, bytes(buffer.cast(), length, "buffer")?)?))
    }
}

/// See the header.
///
/// # Safety
/// The drive is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_memory_fill(
    drive: *const csdrive,
    start: u64,
    length: u64,
) -> c_int {
    // SAFETY: as above.
    unsafe { with(drive, |drive| Ok(drive.fill_memory(start, length)?)) }
}

/// See the header.
///
/// # Safety
/// The drive is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_memory_copy(
    drive: *const csdrive,
    from: u64,
    length: u64,
    to: u64,
) -> c_int {
    // SAFETY: as above.
    unsafe { with(drive, |drive| Ok(drive.copy_memory(from, length, to)?)) }
}

/// See the header.
///
/// # Safety
/// The drive is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_memory_copy_from(
    drive: *const csdrive,
    peer: u32,
    nsid: u32,
    from: u64,
    length: u64,
    to: u64,
) -> c_int {
    // SAFETY: as above.
    unsafe { with(drive, |drive| Ok(drive.copy_from_peer((peer, nsid), from, length, to)?)) }
}

/// Bytes of so many blocks.
fn block_bytes(drive: &Drive, count: u64) -> Result<usize, Failure> {
    let len = drive.block_bytes().checked_mul(count).and_then(|len| usize::try_from(len).ok());
    len.ok_or_else(|| DriveError::TooMuch(format!("{count} blocks")).into())
}

/// See the header.
///
/// # Safety
/// The drive is open, the buffer holds the blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_read_blocks(
    drive: *const csdrive,
    first: u64,
    count: u64,
    buffer: *mut c_void,
) -> c_int {
    // SAFETY: as above.
    unsafe {
        with(drive, |drive| {
            let place = places(buffer.cast::<u8>(), block_bytes(drive, count)?, "buffer")?;
            place.copy_from_slice(&drive.read_blocks(first, count)?);
            Ok(())
        })
    }
}

/// See the header.
///
/// # Safety
/// The drive is open, the buffer holds the blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_write_blocks(
    drive: *const csdrive,
    first: u64,
    count: u64,
    buffer: *const c_void,
) -> c_int {
    // SAFETY: as above.
    unsafe {
        with(drive, |drive| {
            let data = bytes(buffer.cast(), block_bytes(drive, count)?, "buffer")?;
            drive.write_blocks(first, data)?;
            Ok(())
        })
    }
}

/// See the header.
///
/// # Safety
/// The drive is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_copy_blocks(
    drive: *const csdrive,
    first: u64,
    count: u64,
    start: u64,
) -> c_int {
    // SAFETY: as above.
    unsafe { with(drive, |drive| Ok(drive.copy_blocks(first, count, start)?)) }
}

/// See the header.
///
/// # Safety
/// The drive is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_copy_to_blocks(
    drive: *const csdrive,
    start: u64,
    first: u64,
    count: u64,
) -> c_int {
    // SAFETY: as above.
    unsafe { with(drive, |drive| Ok(drive.copy_memory_to_blocks(start, first, count)?)) }
}

/// See the header.
///
/// # Safety
/// The drive is open, there are `count` ranges, and `id` is a place for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_ranges_create(
    drive: *const csdrive,
    ranges: *const Range,
    count: usize,
    id: *mut u16,
) -> c_int {
    // SAFETY: as above.
    unsafe {
        with(drive, |drive| {
            let place = places(id, 1, "id")?;
            place[0] = drive.create_range_set(&pairs(bytes(ranges, count, "ranges")?))?;
            Ok(())
        })
    }
}

/// See the header.
///
/// # Safety
/// The drive is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_ranges_delete(drive: *const csdrive, id: u16) -> c_int {
    // SAFETY: as above.
    unsafe { with(drive, |drive| Ok(drive.delete_range_set(id)?)) }
}

/// See the header.
///
/// # Safety
/// The drive is open, `id` a place for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_group_create(
    drive: *const csdrive,
    weight: u16,
    id: *mut u8,
) -> c_int {
    // SAFETY: as above.
    unsafe {
        with(drive, |drive| {
            let place = places(id, 1, "id")?;
            place[0] = drive.create_group(&GroupOptions { weight, ..GroupOptions::default() })?;
            Ok(())
        })
    }
}

/// See the header.
///
/// # Safety
/// The drive is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_group_change(drive: *const csdrive, id: u8, weight: u16) -> c_int {
    // SAFETY: as above.
    unsafe {
        with(drive, |drive| {
            let options = GroupOptions { weight, ..group_options(drive, id)? };
            Ok(drive.change_group(id, &options)?)
        })
    }
}

/// See the header.
///
/// # Safety
/// The drive is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_group_configure(
    drive: *const csdrive,
    id: u8,
    weight: u16,
    priority: u8,
    deadline_us: u32,
) -> c_int {
    let claims = GroupOptions { weight, priority, deadline_us, ..GroupOptions::default() };
    // SAFETY: as above.
    unsafe {
        with(drive, |drive| {
            let limits = group_options(drive, id)?;
            let options = GroupOptions {
                bandwidth_kbps: limits.bandwidth_kbps,
                units_max: limits.units_max,
                unit_mask: limits.unit_mask,
                ..claims
            };
            Ok(drive.change_group(id, &options)?)
        })
    }
}

/// See the header.
///
/// # Safety
/// The drive is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_group_limit(
    drive: *const csdrive,
    id: u8,
    bandwidth_kbps: u32,
    units_max: u16,
    unit_mask: u64,
) -> c_int {
    // SAFETY: as above.
    unsafe {
        with(drive, |drive| {
            let claims = group_options(drive, id)?;
            let options = GroupOptions { bandwidth_kbps, units_max, unit_mask, ..claims };
            Ok(drive.change_group(id, &options)?)
        })
    }
}

/// What a group has now; the drive refuses a group that there is not.
fn group_options(drive: &mut Drive, id: u8) -> Result<GroupOptions, Failure> {
    let groups = drive.groups()?;
    let found = groups.iter().find(|group| group.id == id);
    Ok(found.map(|group| group.options).unwrap_or_default())
}

/// See the header.
///
/// # Safety
/// The drive is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_group_delete(drive: *const csdrive, id: u8) -> c_int {
    // SAFETY: as above.
    unsafe { with(drive, |drive| Ok(drive.delete_group(id)?)) }
}

/// See the header.
///
/// # Safety
/// The drive is open, the execution sound, and `result` is null or a place for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_execute(
    drive: *const csdrive,
    execution: *const Execution,
    result: *mut u64,
) -> c_int {
    // SAFETY: as above.
    unsafe {
        with(drive, |drive| {
            let given = drive.execute(&invocation(execution)?)?;
            // Who does not want the result gives no place for it.
            places(result, usize::from(!result.is_null()), "result")?.fill(given);
            Ok(())
        })
    }
}

/// See the header.
///
/// # Safety
/// The drive is open, the execution sound, and `ticket` is null or a place for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_submit(
    drive: *const csdrive,
    execution: *const Execution,
    ticket: *mut u64,
) -> c_int {
    // SAFETY: as above.
    unsafe {
        with(drive, |drive| {
            let given = drive.start_execute(&invocation(execution)?)?;
            places(ticket, usize::from(!ticket.is_null()), "ticket")?.fill(given.0);
            Ok(())
        })
    }
}

/// See the header.
///
/// # Safety
/// The drive is open, `done` has `count` places.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_wait(
    drive: *const csdrive,
    done: *mut Done,
    count: usize,
) -> c_int {
    // SAFETY: as above.
    unsafe {
        with(drive, |drive| {
            for place in places(done, count, "done")? {
                *place = Done::of(&drive.wait()?);
            }
            Ok(())
        })
    }
}

/// See the header.
///
/// # Safety
/// The drive is open, `done` has `count` places, and `ended` is a place for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn csdrive_poll(
    drive: *const csdrive,
    done: *mut Done,
    count: usize,
    timeout_ms: c_uint,
    ended: *mut usize,
) -> c_int {
    // SAFETY: as above.
    unsafe {
        with(drive, |drive| {
            let ended = &mut places(ended, 1, "ended")?[0];
            *ended = 0;
            let mut limit = Duration::from_millis(timeout_ms.into());
            for place in places(done, count, "done")? {
                match drive.wait_at_most(limit) {
                    Ok(Some(one)) => *place = Done::of(&one),
                    Ok(None) => break,
                    // All that were under way have ended.
                    Err(DriveError::Transport(TransportError::Idle)) if *ended > 0 => break,
                    Err(error) => return Err(error.into()),
                }
                *ended += 1;
                limit = Duration::ZERO;
            }
            Ok(())
        })
    }
}

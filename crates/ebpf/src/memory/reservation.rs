//! A stretch of the host's address space in which nothing is accessible until it is mapped.
#![expect(unsafe_code, reason = "memory mapping; see the SAFETY comments")]

use std::io;
use std::os::fd::BorrowedFd;

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};

use super::PAGE;

/// Bytes on both sides of the reserved stretch that no program can access.
const MARGIN: u64 = 4 << 20;

/// Where the runtime's own area begins, before the reserved stretch: compiled code has one base
/// address for both. What is between is more than an instruction's offset (16 bits, signed) and widest
/// access (8 bytes) together can reach.
pub(crate) const RUNTIME_AREA: i64 = -(3 << 20);
/// Most bytes of that area.
pub(crate) const RUNTIME_AREA_MAX: usize = 2 << 20;
const _: () = assert!(RUNTIME_AREA + (RUNTIME_AREA_MAX as i64) < -(1 << 16));
const _: () = assert!(-RUNTIME_AREA < MARGIN as i64);

/// Reserved address space. Offsets are from its first byte; each must be within its size.
#[derive(Debug)]
pub(super) struct Reservation {
    base: *mut u8,
    size: u64,
    /// Bytes mapped of the runtime's area.
    runtime: usize,
}

// SAFETY: the reservation is address space of the process, not of a thread.
unsafe impl Send for Reservation {}

impl Reservation {
    pub(super) fn new(size: u64) -> io::Result<Self> {
        if rustix::param::page_size() as u64 != PAGE {
            let page = rustix::param::page_size();
            return Err(io::Error::other(format!("host pages of {page} bytes; {PAGE} are needed")));
        }
        let whole = usize::try_from(size + 2 * MARGIN).map_err(io::Error::other)?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new mapping at a place the kernel chooses disturbs no other.
        let start = unsafe {
            rustix::mm::mmap_anonymous(std::ptr::null_mut(), whole, ProtFlags::empty(), flags)
        };
        let start = start.map_err(|e| {
            io::Error::other(format!(
                "cannot reserve {whole} bytes of address space ({e}); is there a limit (ulimit -v)?"
            ))
        })?;
        Ok(Self { base: start.cast::<u8>().wrapping_add(MARGIN as usize), size, runtime: 0 })
    }

    /// Bytes reserved.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Host address of the first byte.
    pub(super) fn base(&self) -> *mut u8 {
        self.base
    }

    /// Host addresses in which any fault is one of this reservation's programs.
    pub(super) fn extent(&self) -> std::ops::Range<u64> {
        let base = self.base as u64;
        base - MARGIN..base + self.size + MARGIN
    }

    /// The runtime's area, of at least some size; what was in it stays as long as it need not grow.
    pub(super) fn runtime_area(&mut self, len: usize) -> io::Result<*mut u8> {
        let at = self.base.wrapping_offset(RUNTIME_AREA as isize);
        if len > self.runtime {
            if len > RUNTIME_AREA_MAX {
                return Err(io::Error::other(format!("{len} bytes for the runtime of a program")));
            }
            let whole = len.next_multiple_of(PAGE as usize);
            let prot = ProtFlags::READ | ProtFlags::WRITE;
            let flags = MapFlags::PRIVATE | MapFlags::FIXED;
            // SAFETY: within the lower margin of this reservation.
            unsafe { rustix::mm::mmap_anonymous(at.cast(), whole, prot, flags) }?;
            self.runtime = whole;
        }
        Ok(at)
    }

    fn place(&self, offset: u64, len: u64) -> (*mut core::ffi::c_void, usize) {
        assert!(
            offset.is_multiple_of(PAGE) && len > 0 && offset + len <= self.size,
            "{len} bytes at {offset:#x} are not whole pages of the reservation"
        );
        (self.base.wrapping_add(offset as usize).cast(), len as usize)
    }

    /// Zeroes, readable and writable, of this reservation alone.
    pub(super) fn map_private(&mut self, offset: u64, len: u64) -> io::Result<()> {
        let (at, len) = self.place(offset, len);
        let (prot, flags) =
            (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::FIXED);
        // SAFETY: `place` checked that what is replaced belongs to this reservation; nobody borrows
        // its bytes.
        unsafe { rustix::mm::mmap_anonymous(at, len, prot, flags) }?;
        Ok(())
    }

    /// Pages of a file.
    pub(super) fn map_file(
        &mut self,
        offset: u64,
        len: u64,
        (file, position): (BorrowedFd<'_>, u64),
        writable: bool,
    ) -> io::Result<()> {
        let (at, len) = self.place(offset, len);
        let mut prot = ProtFlags::READ;
        prot.set(ProtFlags::WRITE, writable);
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        // SAFETY: as in `map_private`.
        unsafe { rustix::mm::mmap(at, len, prot, flags, file, position) }?;
        Ok(())
    }

    /// Ends writing to mapped pages.
    pub(super) fn protect(&mut self, offset: u64, len: u64) -> io::Result<()> {
        let (at, len) = self.place(offset, len);
        // SAFETY: nobody borrows the bytes of the reservation.
        unsafe { rustix::mm::mprotect(at, len, MprotectFlags::READ) }?;
        Ok(())
    }

    /// Has pages that are mapped backed by memory now rather than at their first access; where the kernel cannot
    /// (before Linux 5.14), nothing happens.
    pub(super) fn populate(&self, at: u64, len: u64, writable: bool) {
        let advice = if writable {
            rustix::mm::Advice::LinuxPopulateWrite
        } else {
            rustix::mm::Advice::LinuxPopulateRead
        };
        let (place, len) = self.place(at, len);
        // SAFETY: the pages are of this reservation, and populating them changes no bytes.
        let _ = unsafe { rustix::mm::madvise(place, len, advice) };
    }

    /// Makes pages inaccessible again and forgets their contents.
    pub(super) fn unmap(&mut self, offset: u64, len: u64) -> io::Result<()> {
        let (at, len) = self.place(offset, len);
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        // SAFETY: as in `map_private`.
        unsafe { rustix::mm::mmap_anonymous(at, len, ProtFlags::empty(), flags) }?;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let start = self.base.wrapping_sub(MARGIN as usize).cast();
        let whole = (self.size + 2 * MARGIN) as usize;
        // SAFETY: the whole reservation is unmapped, and nothing outlives it that points into it.
        let unmapped = unsafe { rustix::mm::munmap(start, whole) };
        assert!(unmapped.is_ok(), "a mapping of our own cannot be unmapped: {unmapped:?}");
    }
}

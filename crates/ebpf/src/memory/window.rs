//! The address space of one run.
//!
//! A program's addresses are offsets in its *window*, an otherwise empty address space in which
//! each segment (arguments, stack, globals, data buffer, memory ranges) stands alone between
//! unmapped guard areas. Address 0 is never mapped.
//!
//! The window is reserved host address space and segments are mapped into it, so compiled code
//! reaches a byte at `window base + address`. The table of [`Bounds`] says the same exactly to the
//! byte: the interpreter and the helpers look there, and so does compiled code when a range ends
//! within a page, where page protection alone would be too coarse.
//!
//! A range keeps its alignment: its window address is congruent to its device-memory offset modulo
//! [`PAGE`]. Private segments are whole pages, filled up with zeroes.
#![expect(unsafe_code, reason = "raw memory of programs; see the SAFETY comments")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU32, AtomicU64};

use super::reservation::Reservation;
use super::{PAGE, SharedMemory};
use crate::fault::{Access, MemoryFault};

/// Address granule: no two segments share one.
pub(crate) const GRANULE_BITS: u32 = 16;
const GRANULE: u64 = 1 << GRANULE_BITS;

/// Unmapped addresses between two segments, and below the first: an index that is off by less
/// faults.
pub const GUARD: u64 = 16 << 20;

/// Size of the usual window: addresses of 32 bits.
const SIZE_BITS: u32 = 32;
/// Size of the largest window; the page tables of x86-64 and aarch64 hold many of these.
const SIZE_BITS_MAX: u32 = 42;

/// What [`Window::new`] is content with where the host allows less than a whole window.
const SMALL: u64 = 256 << 20;

/// What a segment of a window holds, for messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SegmentKind {
    /// The argument struct and its two arrays.
    Arguments,
    /// The call frames.
    Stack,
    /// The data buffer of the execute command (a copy).
    DataBuffer,
    /// The n-th data section of the program.
    Section(u16),
    /// The n-th memory range.
    Range(u16),
}

/// Where a segment's bytes come from; held so that they stay valid while they are mapped.
#[derive(Debug, Clone)]
enum Source {
    Private,
    Image(Arc<[u8]>),
    Shared(Arc<SharedMemory>, u64),
}

impl Source {
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Private, Self::Private) => true,
            (Self::Image(a), Self::Image(b)) => Arc::ptr_eq(a, b),
            (Self::Shared(a, at), Self::Shared(b, bt)) => Arc::ptr_eq(a, b) && at == bt,
            _ => false,
        }
    }
}

#[derive(Debug)]
struct Segment {
    base: u64,
    len: u64,
    writable: bool,
    kind: SegmentKind,
    source: Source,
}

impl Segment {
    /// The pages it takes: first and number of bytes.
    fn pages(&self) -> (u64, u64) {
        let first = self.base / PAGE * PAGE;
        (first, (self.base + self.len).next_multiple_of(PAGE) - first)
    }
}

/// The segment that a granule of addresses belongs to. Compiled code reads this.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Bounds {
    /// Address of the segment's first byte.
    pub(crate) first: u64,
    /// Its length; 0 where there is no segment.
    pub(crate) readable: u64,
    /// Its length if it may be written, else 0.
    pub(crate) writable: u64,
    _unused: u64,
}

/// Private bytes that are zeroed in place rather than mapped afresh.
const ZERO_IN_PLACE_MAX: u64 = 64 << 10;

/// The address space of one run.
#[derive(Debug)]
pub struct Window {
    reservation: Reservation,
    /// True if all addresses of the window are reserved.
    is_whole: bool,
    mask: u64,
    segments: Vec<Segment>,
    /// Segments of the run before, still mapped; a segment that comes back is not mapped again.
    stale: Vec<Segment>,
    /// By granule + 1: an offset leads at most one granule outside the window on either side.
    bounds: Vec<Bounds>,
    next: u64,
}

impl Window {
    /// An empty window of 4 GiB.
    ///
    /// # Errors
    /// If the host machine has no room for it.
    pub fn new() -> io::Result<Self> {
        Self::reserve(SIZE_BITS, SMALL)
    }

    /// An empty window large enough for segments of these lengths, whose order does not matter.
    ///
    /// # Errors
    /// If the host machine has no room for it.
    pub fn for_lengths(lengths: impl Iterator<Item = u64>) -> io::Result<Self> {
        let total = Self::room_for(lengths);
        Self::reserve(Self::bits_for(total)?, total)
    }

    /// Addresses that segments of these lengths take at most.
    fn room_for(lengths: impl Iterator<Item = u64>) -> u64 {
        let overhead = GUARD + 2 * GRANULE;
        lengths.fold(GUARD, |sum, len| sum.saturating_add(len.saturating_add(overhead)))
    }

    fn bits_for(total: u64) -> io::Result<u32> {
        (SIZE_BITS..=SIZE_BITS_MAX).find(|bits| total <= 1 << bits).ok_or_else(|| {
            io::Error::other(format!(
                "{total} bytes of memory for one run; at most {} fit",
                1u64 << SIZE_BITS_MAX
            ))
        })
    }

    /// A window of a size. Where the host allows less address space (`ulimit -v`), only what `needed`
    /// says is reserved: addresses beyond are in the window, but nothing can be mapped there, and
    /// compiled code has to compare addresses with bounds.
    fn reserve(bits: u32, needed: u64) -> io::Result<Self> {
        let whole = Reservation::new(1 << bits);
        let is_whole = whole.is_ok();
        Ok(Self {
            reservation: whole.or_else(|_| Reservation::new(needed.next_multiple_of(GRANULE)))?,
            is_whole,
            mask: (1 << bits) - 1,
            segments: Vec::with_capacity(8),
            stale: Vec::new(),
            bounds: vec![Bounds::default(); (1 << (bits - GRANULE_BITS)) + 2],
            next: GUARD,
        })
    }

    /// Empties the window for another run, if it is large enough for segments of these lengths.
    pub(crate) fn reuse(&mut self, lengths: impl Iterator<Item = u64>) -> bool {
        let total = Self::room_for(lengths);
        let fits = Self::bits_for(total).is_ok_and(|bits| (1 << bits) - 1 == self.mask)
            && total <= self.reservation.size();
        if fits {
            for n in 0..self.segments.len() {
                self.set_bounds(n, Bounds::default());
            }
            // What has no bytes is not mapped.
            self.stale.extend(self.segments.drain(..).filter(|s| s.len > 0));
            self.next = GUARD;
            true
        } else {
            false
        }
    }

    /// Unmaps what a run before left and this one did not ask for. Every run begins with this.
    pub(crate) fn seal(&mut self) -> io::Result<()> {
        while let Some(segment) = self.stale.pop() {
            let (first, len) = segment.pages();
            self.reservation.unmap(first, len)?;
        }
        Ok(())
    }

    /// Host address of window address 0.
    pub(crate) fn base(&self) -> *mut u8 {
        self.reservation.base()
    }

    /// Words of memory for the runtime, before the window and out of the program's reach.
    pub(crate) fn runtime_area(&mut self, words: usize) -> io::Result<*mut u64> {
        self.reservation.runtime_area(words * 8).map(<*mut u8>::cast)
    }

    /// Host addresses in which any fault is this window's.
    pub(crate) fn extent(&self) -> std::ops::Range<u64> {
        self.reservation.extent()
    }

    /// The address bits that count: addresses are taken modulo the window's size.
    pub(crate) fn mask(&self) -> u64 {
        self.mask
    }

    /// Bounds by granule of addresses, granule 0 first; one more exists on both sides.
    pub(crate) fn bounds(&self) -> *const Bounds {
        self.bounds[1..].as_ptr()
    }

    /// True if page protection alone keeps the program within its segments exactly.
    pub(crate) fn is_whole_pages(&self) -> bool {
        let whole = |s: &Segment| s.base.is_multiple_of(PAGE) && s.len.is_multiple_of(PAGE);
        self.is_whole && self.mask == (1 << SIZE_BITS) - 1 && self.segments.iter().all(whole)
    }

    /// True if bytes that may be written are in the window at more than one address.
    pub(crate) fn has_aliases(&self) -> bool {
        let shared = |s: &Segment| match &s.source {
            Source::Shared(memory, at) => Some((Arc::as_ptr(memory), *at, at + s.len, s.writable)),
            _ => None,
        };
        let mut places: Vec<_> = self.segments.iter().filter_map(shared).collect();
        places.sort_unstable();
        // Sorted by where they begin: what overlaps anything overlaps what reaches furthest so far.
        let mut furthest: Option<(*const SharedMemory, u64, bool)> = None;
        places.iter().any(|&(memory, begin, end, writable)| {
            let overlaps =
                furthest.is_some_and(|(m, e, w)| m == memory && begin < e && (w || writable));
            furthest = match furthest {
                Some((m, e, w)) if m == memory => Some((m, e.max(end), w || writable)),
                _ => Some((memory, end, writable)),
            };
            overlaps
        })
    }

    /// The first free granule.
    pub fn next_free(&self) -> u64 {
        self.next
    }

    /// The first granule of the first segment.
    pub(crate) const FIRST: u64 = GUARD;

    /// The address that the next segment with the given alignment remainder will get.
    pub fn next_address(next: u64, remainder: u64) -> u64 {
        next + remainder % PAGE
    }

    /// The first granule that the next segment may take, the guard left in between.
    pub fn after(base: u64, len: u64) -> u64 {
        (base + len).next_multiple_of(GRANULE) + GUARD
    }

    /// Maps private bytes, readable and writable, filled up with zeroes to whole pages behind them.
    ///
    /// # Errors
    /// If the host machine cannot map them.
    pub fn map_private(&mut self, kind: SegmentKind, bytes: &[u8]) -> io::Result<u64> {
        self.map_private_at(kind, bytes, 0)
    }

    /// The same with the zeroes before the bytes, so that what reaches past their end faults; the
    /// address is a multiple of eight.
    ///
    /// # Errors
    /// If the host machine cannot map them.
    pub fn map_private_at_end(&mut self, kind: SegmentKind, bytes: &[u8]) -> io::Result<u64> {
        self.map_private_at(kind, bytes, Self::end_offset(bytes.len() as u64))
    }

    /// Where bytes begin that end with their segment, from its first byte.
    pub(crate) fn end_offset(len: u64) -> u64 {
        Self::private_len(len) - len.next_multiple_of(8)
    }

    fn private_len(len: u64) -> u64 {
        len.max(1).next_multiple_of(PAGE)
    }

    fn map_private_at(&mut self, kind: SegmentKind, bytes: &[u8], at: u64) -> io::Result<u64> {
        let len = Self::private_len(bytes.len() as u64);
        let base = self.next;
        let segment = Segment { base, len, writable: true, kind, source: Source::Private };
        if self.take_stale(&segment)? && len <= ZERO_IN_PLACE_MAX {
            // SAFETY: the segment is mapped, writable and nobody borrows it.
            unsafe { std::ptr::write_bytes(self.host(base), 0, len as usize) };
        } else {
            self.reservation.map_private(base, len)?;
        }
        let place = self.host(base + at);
        // SAFETY: `len` bytes are mapped at `base`, at least as many as are copied from `at` on.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
        Ok(self.push(segment) + at)
    }

    /// Maps a copy of bytes of the program image, read-only, filled up with zeroes to whole pages.
    ///
    /// # Errors
    /// If the host machine cannot map them.
    pub(crate) fn map_image(&mut self, kind: SegmentKind, bytes: &Arc<[u8]>) -> io::Result<u64> {
        let len = Self::private_len(bytes.len() as u64);
        let (base, source) = (self.next, Source::Image(Arc::clone(bytes)));
        let segment = Segment { base, len, writable: false, kind, source };
        // What is still mapped could not be changed.
        if !self.take_stale(&segment)? {
            self.reservation.map_private(base, len)?;
            // SAFETY: `len` bytes were mapped, at least as many as are copied.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.host(base), bytes.len()) };
            self.reservation.protect(base, len)?;
        }
        Ok(self.push(segment))
    }

    /// Maps `len` bytes of shared memory.
    ///
    /// # Errors
    /// If they are not all inside it, or the host machine cannot map them.
    pub fn map_shared(
        &mut self,
        kind: SegmentKind,
        memory: &Arc<SharedMemory>,
        offset: u64,
        len: u64,
        writable: bool,
    ) -> io::Result<u64> {
        if offset.checked_add(len).is_none_or(|end| end > memory.len()) {
            let size = memory.len();
            let text = format!("{len} bytes at {offset} are not within the memory's {size}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let base = Self::next_address(self.next, offset);
        let source = Source::Shared(Arc::clone(memory), offset);
        let segment = Segment { base, len, writable, kind, source };
        if !self.take_stale(&segment)? && len > 0 {
            let (first, pages) = segment.pages();
            let position = offset / PAGE * PAGE;
            self.reservation.map_file(first, pages, (memory.file(), position), writable)?;
        }
        Ok(self.push(segment))
    }

    /// Has the pages of all ranges backed by memory now, so that no run pays for that, unless they are more than so many bytes.
    pub(crate) fn populate(&self, most: u64) {
        let ranges =
            self.segments.iter().filter(|s| matches!(s.source, Source::Shared(..)) && s.len > 0);
        if ranges.clone().map(|segment| segment.pages().1).sum::<u64>() > most {
            return;
        }
        for segment in ranges {
            let (first, len) = segment.pages();
            self.reservation.populate(first, len, segment.writable);
        }
    }

    /// True if the segment is still mapped from the run before. What else is in its place is
    /// unmapped.
    fn take_stale(&mut self, new: &Segment) -> io::Result<bool> {
        let end = Self::after(new.base, new.len);
        if end > self.reservation.size() {
            return Err(io::Error::other("the window is full"));
        }
        let mut found = false;
        let mut n = 0;
        while let Some(old) = self.stale.get(n) {
            let same = (old.base, old.len, old.writable) == (new.base, new.len, new.writable)
                && old.source.same(&new.source);
            let (first, len) = old.pages();
            if same {
                found = true;
            } else if first < end && new.base / PAGE * PAGE < first + len {
                self.reservation.unmap(first, len.max(PAGE))?;
            } else {
                n += 1;
                continue;
            }
            self.stale.swap_remove(n);
        }
        Ok(found)
    }

    fn push(&mut self, segment: Segment) -> u64 {
        let base = segment.base;
        self.next = Self::after(base, segment.len);
        let bounds = Bounds {
            first: base,
            readable: segment.len,
            writable: if segment.writable { segment.len } else { 0 },
            _unused: 0,
        };
        self.segments.push(segment);
        self.set_bounds(self.segments.len() - 1, bounds);
        base
    }

    fn set_bounds(&mut self, segment: usize, bounds: Bounds) {
        let Segment { base, len, .. } = self.segments[segment];
        let first = (base >> GRANULE_BITS) as usize + 1;
        let last = ((base + len.max(1) - 1) >> GRANULE_BITS) as usize + 1;
        self.bounds[first..=last].fill(bounds);
    }

    fn host(&self, address: u64) -> *mut u8 {
        self.reservation.base().wrapping_add(address as usize)
    }

    /// The address an instruction with this register value and offset reaches.
    #[inline(always)]
    pub(crate) fn effective(&self, register: u64, offset: i32) -> u64 {
        (register & self.mask).wrapping_add(offset as i64 as u64)
    }

    /// The host address of `len` bytes at an effective address, if they may be accessed.
    #[inline(always)]
    fn pointer(&self, address: u64, len: u64, write: bool) -> Option<*mut u8> {
        // An address below 0 has the granule before the first.
        let granule = ((address as i64) >> GRANULE_BITS).wrapping_add(1) as usize;
        let bounds = self.bounds.get(granule)?;
        let size = if write { bounds.writable } else { bounds.readable };
        // Wraps to a huge value for addresses just below the segment.
        let offset = address.wrapping_sub(bounds.first);
        if offset.checked_add(len)? > size {
            return None;
        }
        Some(self.host(address))
    }

    /// Loads a little-endian value of `N` bytes.
    #[inline(always)]
    pub fn load<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        let from = self.pointer(address, N as u64, false)?;
        // SAFETY: `pointer` checked that N bytes are readable; a byte array needs no alignment.
        Some(unsafe { from.cast::<[u8; N]>().read() })
    }

    /// Stores `N` bytes.
    #[inline(always)]
    pub fn store<const N: usize>(&mut self, address: u64, value: [u8; N]) -> Option<()> {
        let into = self.pointer(address, N as u64, true)?;
        // SAFETY: `pointer` checked that N bytes are writable; a byte array needs no alignment.
        unsafe { into.cast::<[u8; N]>().write(value) };
        Some(())
    }

    /// Replaces `N` (4 or 8) bytes by a function of them and returns the old value, atomically
    /// with respect to other jobs if the address is a multiple of `N`.
    pub fn atomic_update<const N: usize>(
        &mut self,
        address: u64,
        update: impl Fn(u64) -> u64,
    ) -> Option<u64> {
        let pointer = self.pointer(address, N as u64, true)?;
        if N == 4 && pointer.cast::<AtomicU32>().is_aligned() {
            // SAFETY: four writable bytes, aligned; they live as long as the window.
            let place = unsafe { AtomicU32::from_ptr(pointer.cast()) };
            let old = place.fetch_update(SeqCst, SeqCst, |old| Some(update(old.into()) as u32));
            return old.ok().map(u64::from);
        }
        if N == 8 && pointer.cast::<AtomicU64>().is_aligned() {
            // SAFETY: eight writable bytes, aligned; they live as long as the window.
            let place = unsafe { AtomicU64::from_ptr(pointer.cast()) };
            return place.fetch_update(SeqCst, SeqCst, |old| Some(update(old))).ok();
        }
        let mut old = [0; 8];
        old[..N].copy_from_slice(&self.load::<N>(address)?);
        let old = u64::from_le_bytes(old);
        let new = update(old).to_le_bytes();
        let mut bytes = [0; N];
        bytes.copy_from_slice(&new[..N]);
        self.store(address, bytes)?;
        Some(old)
    }

    /// Copies bytes out.
    ///
    /// # Errors
    /// If they are not all in one readable segment.
    pub fn read(&self, address: u64, into: &mut [u8]) -> Result<(), MemoryFault> {
        let len = into.len() as u64;
        let from = self.checked(address, len, Access::Read)?;
        // SAFETY: `checked` verified the source; `into` is a Rust allocation of its own.
        unsafe { std::ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) };
        Ok(())
    }

    /// Copies bytes between two places, which may overlap.
    ///
    /// # Errors
    /// If either place is not all in one segment with the needed access.
    pub fn copy(&mut self, to: u64, from: u64, len: u64) -> Result<(), MemoryFault> {
        let source = self.checked(from, len, Access::Read)?;
        let target = self.checked(to, len, Access::Write)?;
        // SAFETY: both places were checked; `copy` allows overlap.
        unsafe { std::ptr::copy(source, target, len as usize) };
        Ok(())
    }

    /// Sets bytes.
    ///
    /// # Errors
    /// If they are not all in one writable segment.
    pub fn fill(&mut self, address: u64, byte: u8, len: u64) -> Result<(), MemoryFault> {
        let target = self.checked(address, len, Access::Write)?;
        // SAFETY: `checked` verified that `len` bytes are writable.
        unsafe { std::ptr::write_bytes(target, byte, len as usize) };
        Ok(())
    }

    /// Checks an access and describes it if it is refused.
    ///
    /// # Errors
    /// If the bytes are not all in one segment with the needed access.
    pub fn check(&self, address: u64, len: u64, access: Access) -> Result<(), MemoryFault> {
        self.checked(address, len, access).map(drop)
    }

    /// Addresses that helpers are given are taken modulo the window's size, too.
    fn checked(&self, address: u64, len: u64, access: Access) -> Result<*mut u8, MemoryFault> {
        if len == 0 {
            // Touching nothing is allowed anywhere, as C's memory functions have it.
            return Ok(std::ptr::dangling_mut());
        }
        let address = self.effective(address, 0);
        self.pointer(address, len, access == Access::Write)
            .ok_or_else(|| self.fault(address, len, access))
    }

    /// Describes a refused access: the nearest segment, and how far off the access is.
    pub fn fault(&self, address: u64, len: u64, access: Access) -> MemoryFault {
        let distance = |s: &Segment| {
            if address < s.base { s.base - address } else { address.saturating_sub(s.base + s.len) }
        };
        let near = self.segments.iter().min_by_key(|s| distance(s));
        let near = near.map(|s| (s.kind, s.base, s.len, s.writable));
        MemoryFault { address, len, access, near }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_bounds_are_exact_on_every_side() {
        let memory = Arc::new(SharedMemory::new(1 << 20).unwrap());
        let mut window = Window::new().unwrap();
        let a = window.map_private(SegmentKind::Stack, &[1; 16]).unwrap();
        let end = window.map_private_at_end(SegmentKind::Arguments, &[2; 13]).unwrap();
        let r = window.map_shared(SegmentKind::Range(0), &memory, 5000, 100_000, true).unwrap();
        let ro = window.map_image(SegmentKind::Section(0), &Arc::from([9u8; 3])).unwrap();
        assert_eq!(r % PAGE, 5000 % PAGE);
        assert_eq!(window.load::<8>(a + 8), Some([1; 8]));
        assert_eq!(window.load::<8>(a + 16), Some([0; 8]), "filled up with zeroes");
        assert_eq!(window.load::<8>(a + PAGE - 8), Some([0; 8]));
        assert_eq!(window.load::<8>(a + PAGE - 7), None);
        assert_eq!(window.load::<1>(a.wrapping_sub(1)), None);
        assert_eq!(window.load::<8>(end + 8), Some([2, 2, 2, 2, 2, 0, 0, 0]));
        assert_eq!((window.load::<1>(end + 16), end % 8), (None, 0));
        assert_eq!(window.load::<1>(0), None);
        assert_eq!(window.load::<1>(u64::MAX), None);
        assert_eq!(window.load::<8>(u64::MAX - 3), None);
        assert!(window.store(r + 99_992, [5u8; 8]).is_some());
        assert!(window.store(r + 99_993, [5u8; 8]).is_none());
        assert!(window.store(r - 1, [5u8; 1]).is_none());
        assert_eq!(window.load::<2>(ro + 1), Some([9; 2]));
        assert!(window.store(ro, [0u8; 1]).is_none());
        let mut last = [0; 9];
        assert!(memory.read(5000 + 99_991, &mut last));
        assert_eq!(last, [0, 5, 5, 5, 5, 5, 5, 5, 5]);
        assert!(window.map_shared(SegmentKind::Range(1), &memory, 1 << 20, 1, true).is_err());
    }

    #[test]
    fn window_fault_names_the_nearest_segment() {
        let memory = Arc::new(SharedMemory::new(64).unwrap());
        let mut window = Window::new().unwrap();
        let a = window.map_shared(SegmentKind::Range(3), &memory, 0, 64, true).unwrap();
        let text = window.fault(a + 64, 4, Access::Read).to_string();
        assert!(text.contains("just past the end of range 3 (64 bytes)"), "{text}");
        let text = window.fault(a - 8, 8, Access::Write).to_string();
        assert!(text.contains("8 bytes before range 3"), "{text}");
        let text = window.fault(a + (1 << 30), 8, Access::Write).to_string();
        assert!(text.contains("not in anything the program was given"), "{text}");
        let text = window.fault(8, 1, Access::Read).to_string();
        assert!(text.contains("a null pointer"), "{text}");
    }

    #[test]
    fn another_run_finds_nothing_of_the_run_before() {
        let memory = Arc::new(SharedMemory::new(1 << 20).unwrap());
        let mut window = Window::new().unwrap();
        let kind = SegmentKind::Range(0);
        let private = window.map_private(kind, &[7; 5000]).unwrap();
        let a = window.map_shared(kind, &memory, 0, 8192, true).unwrap();
        let b = window.map_shared(kind, &memory, 4096, 4096, true).unwrap();
        window.seal().unwrap();
        assert!(window.reuse([5000, 8192].into_iter()));
        assert_eq!(window.map_private(kind, &[8; 5]).unwrap(), private);
        assert_eq!(window.load::<8>(private), Some([8, 8, 8, 8, 8, 0, 0, 0]));
        assert_eq!(window.load::<1>(private + 4096), None);
        assert_eq!(window.map_shared(kind, &memory, 0, 8192, false).unwrap(), a);
        window.seal().unwrap();
        assert_eq!(window.load::<1>(b), None);
        assert!(window.store(a, [1]).is_none(), "read-only now");
        assert_eq!(window.segments.len(), 2);
        assert!(window.reuse([8192].into_iter()));
        let again = window.map_private(kind, &[]).unwrap();
        assert_eq!(window.load::<8>(again), Some([0; 8]), "zeroed in place");
        let huge = [5 << 30].into_iter();
        assert!(!window.reuse(huge.clone()), "does not fit");
        assert_eq!(Window::for_lengths(huge).unwrap().mask, (1 << 33) - 1);
        assert!(Window::for_lengths([u64::MAX].into_iter()).is_err());
    }
}

//! Memory a program may touch: device memory shared between jobs, and the window of one run.
//!
//! A program's addresses are offsets in its *window*, an otherwise empty address space in which
//! each segment (arguments, stack, globals, data buffer, memory ranges) stands alone between
//! unmapped guard areas. Address 0 is never mapped. Bounds are exact to the byte.
//!
//! A range keeps its alignment: its window address is congruent to its device-memory offset modulo
//! [`PAGE`], so that an engine may later map device memory into the window page by page.
#![expect(unsafe_code, reason = "raw bytes shared between jobs; see the SAFETY comments")]

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU32, AtomicU64};

use memmap2::{MmapOptions, MmapRaw, UncheckedAdvice};

use crate::fault::{Access, MemoryFault};

/// Host page size that a window's alignment is kept for.
pub const PAGE: u64 = 4096;

/// Address granule: no two segments share one.
const GRANULE_BITS: u32 = 16;
const GRANULE: u64 = 1 << GRANULE_BITS;

/// Unmapped addresses between two segments, and below the first: an index that is off by less
/// faults.
pub const GUARD: u64 = 16 << 20;

/// Bytes that the drive and several jobs may read and write at the same time.
///
/// Contents are copied in and out, never borrowed. Pages take host memory when first written.
///
/// Known limit: the copies are plain ones. Two threads that touch the same bytes at once race in the
/// sense of Rust's memory model, though all they can observe on the machines we support is torn
/// data. The virtual-time shell runs one program at a time, on the drive's own thread; a shell with
/// worker threads must make these copies atomic word by word first.
#[derive(Debug)]
pub struct SharedMemory {
    map: MmapRaw,
    len: u64,
}

impl SharedMemory {
    /// Zeroed memory of `len` bytes.
    ///
    /// # Errors
    /// If the host cannot reserve that much address space.
    pub fn new(len: u64) -> std::io::Result<Self> {
        let size = usize::try_from(len.max(1)).map_err(std::io::Error::other)?;
        let map = MmapOptions::new().len(size).no_reserve_swap().map_anon()?;
        Ok(Self { map: map.into(), len })
    }

    /// Size in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True if it holds no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies bytes out. False (and nothing copied) if the bytes are not all inside.
    #[must_use]
    pub fn read(&self, offset: u64, into: &mut [u8]) -> bool {
        let Some(from) = self.pointer(offset, into.len() as u64) else { return false };
        // SAFETY: `pointer` checked the range; `into` is a distinct Rust allocation, so the two do
        // not overlap. Concurrent writers may tear the bytes, which the contract allows.
        unsafe { std::ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) };
        true
    }

    /// Copies bytes in. False (and nothing copied) if the bytes are not all inside.
    #[must_use]
    pub fn write(&self, offset: u64, from: &[u8]) -> bool {
        let Some(into) = self.pointer(offset, from.len() as u64) else { return false };
        // SAFETY: as in `read`, with the directions exchanged.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), into, from.len()) };
        true
    }

    /// Sets bytes. False (and nothing set) if the bytes are not all inside.
    #[must_use]
    pub fn fill(&self, offset: u64, len: u64, byte: u8) -> bool {
        let Some(into) = self.pointer(offset, len) else { return false };
        // SAFETY: `pointer` checked the range.
        unsafe { std::ptr::write_bytes(into, byte, len as usize) };
        true
    }

    /// Zeroes everything and gives its pages back to the host machine.
    pub fn clear(&self) {
        // SAFETY: the mapping is private and anonymous, so the advice turns its pages into zeroes;
        // nothing borrows them, and concurrent readers may see either.
        let advised = unsafe { self.map.unchecked_advise(UncheckedAdvice::DontNeed) };
        if advised.is_err() {
            assert!(self.fill(0, self.len, 0), "all of it is inside");
        }
    }

    /// Copies bytes within this memory; the two places may overlap. False if either is not inside.
    #[must_use]
    pub fn copy_within(&self, from: u64, to: u64, len: u64) -> bool {
        let (Some(from), Some(to)) = (self.pointer(from, len), self.pointer(to, len)) else {
            return false;
        };
        // SAFETY: `pointer` checked both ranges; `copy` allows overlap.
        unsafe { std::ptr::copy(from, to, len as usize) };
        true
    }

    /// The address of `len` bytes at `offset` if all of them are inside.
    fn pointer(&self, offset: u64, len: u64) -> Option<*mut u8> {
        if offset.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: the offset is within the mapping, or one past its end when `len` is 0.
        Some(unsafe { self.map.as_mut_ptr().add(offset as usize) })
    }
}

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

/// Where a segment's bytes live; held so that the segment's pointer stays valid.
#[derive(Debug)]
enum Owner {
    Private(#[expect(dead_code, reason = "keeps the bytes alive")] Vec<u8>),
    Image(#[expect(dead_code, reason = "keeps the bytes alive")] Arc<[u8]>),
    Shared(#[expect(dead_code, reason = "keeps the bytes alive")] Arc<SharedMemory>),
}

#[derive(Debug)]
struct Segment {
    base: u64,
    len: u64,
    pointer: *mut u8,
    writable: bool,
    kind: SegmentKind,
    _owner: Owner,
}

/// The address space of one run.
#[derive(Debug)]
pub struct Window {
    segments: Vec<Segment>,
    /// Segment number + 1 by address granule; 0 = unmapped.
    granules: Vec<u16>,
    next: u64,
}

// SAFETY: the pointers lead into memory the segments own (private) or share by contract
// (`SharedMemory`); nothing is tied to the thread that built the window.
unsafe impl Send for Window {}

impl Default for Window {
    fn default() -> Self {
        Self::new()
    }
}

impl Window {
    /// An empty window.
    pub fn new() -> Self {
        Self { segments: Vec::with_capacity(8), granules: Vec::new(), next: GUARD }
    }

    /// The first free granule.
    pub fn next_free(&self) -> u64 {
        self.next
    }

    /// The address that the next segment with the given alignment remainder will get.
    pub fn next_address(next: u64, remainder: u64) -> u64 {
        next + remainder % PAGE
    }

    /// The first granule that the next segment may take, the guard left in between.
    pub fn after(base: u64, len: u64) -> u64 {
        (base + len).next_multiple_of(GRANULE) + GUARD
    }

    /// Maps private bytes, readable and writable.
    pub fn map_private(&mut self, kind: SegmentKind, mut bytes: Vec<u8>) -> u64 {
        let (pointer, len) = (bytes.as_mut_ptr(), bytes.len() as u64);
        self.map(kind, pointer, len, 0, true, Owner::Private(bytes))
    }

    /// Maps read-only bytes of the program image.
    pub fn map_image(&mut self, kind: SegmentKind, bytes: Arc<[u8]>) -> u64 {
        let (pointer, len) = (bytes.as_ptr().cast_mut(), bytes.len() as u64);
        self.map(kind, pointer, len, 0, false, Owner::Image(bytes))
    }

    /// Maps `len` bytes of shared memory; `None` if they are not all inside it.
    pub fn map_shared(
        &mut self,
        kind: SegmentKind,
        memory: &Arc<SharedMemory>,
        offset: u64,
        len: u64,
        writable: bool,
    ) -> Option<u64> {
        let pointer = memory.pointer(offset, len)?;
        let owner = Owner::Shared(Arc::clone(memory));
        Some(self.map(kind, pointer, len, offset % PAGE, writable, owner))
    }

    fn map(
        &mut self,
        kind: SegmentKind,
        pointer: *mut u8,
        len: u64,
        remainder: u64,
        writable: bool,
        owner: Owner,
    ) -> u64 {
        let base = Self::next_address(self.next, remainder);
        self.segments.push(Segment { base, len, pointer, writable, kind, _owner: owner });
        let number = u16::try_from(self.segments.len()).expect("segments are bounded by NUMR");
        let first = (base >> GRANULE_BITS) as usize;
        let last = ((base + len.max(1) - 1) >> GRANULE_BITS) as usize;
        self.granules.resize(last + 1, 0);
        self.granules[first..=last].fill(number);
        self.next = Self::after(base, len);
        base
    }

    /// The host address of `len` bytes at window address `address`, if they may be accessed.
    #[inline(always)]
    fn pointer(&self, address: u64, len: u64, write: bool) -> Option<*mut u8> {
        let number = *self.granules.get((address >> GRANULE_BITS) as usize)?;
        let segment = self.segments.get(usize::from(number).wrapping_sub(1))?;
        let offset = address.wrapping_sub(segment.base);
        // `offset` wraps to a huge value for addresses just below the segment.
        if offset > segment.len || len > segment.len - offset || (write && !segment.writable) {
            return None;
        }
        // SAFETY: `offset + len <= segment.len`, the length of the memory behind `pointer`.
        Some(unsafe { segment.pointer.add(offset as usize) })
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

    fn checked(&self, address: u64, len: u64, access: Access) -> Result<*mut u8, MemoryFault> {
        if len == 0 {
            // Touching nothing is allowed anywhere, as C's memory functions have it.
            return Ok(std::ptr::dangling_mut());
        }
        self.pointer(address, len, access == Access::Write)
            .ok_or_else(|| self.fault(address, len, access))
    }

    /// Describes a refused access: the nearest segment, and how far off the access is.
    pub fn fault(&self, address: u64, len: u64, access: Access) -> MemoryFault {
        let distance = |s: &Segment| {
            if address < s.base { s.base - address } else { address - s.base.min(address) }
        };
        let near = self
            .segments
            .iter()
            .min_by_key(|s| {
                let past = address.saturating_sub(s.base + s.len);
                if address < s.base { distance(s) } else { past }
            })
            .map(|s| (s.kind, s.base, s.len, s.writable));
        MemoryFault { address, len, access, near }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_memory_bounds_are_exact() {
        let memory = SharedMemory::new(100).unwrap();
        assert!(memory.write(90, &[7; 10]));
        assert!(!memory.write(91, &[7; 10]));
        assert!(!memory.read(u64::MAX, &mut [0; 2]));
        assert!(memory.read(100, &mut []));
        assert!(!memory.read(101, &mut []));
        assert!(memory.copy_within(90, 88, 10) && memory.fill(99, 1, 3));
        let mut tail = [0; 12];
        assert!(memory.read(88, &mut tail));
        assert_eq!(tail, [7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 3]);
        memory.clear();
        assert!(memory.read(88, &mut tail));
        assert_eq!(tail, [0; 12]);
    }

    #[test]
    fn window_bounds_are_exact_on_every_side() {
        let memory = Arc::new(SharedMemory::new(1 << 20).unwrap());
        let mut window = Window::new();
        let a = window.map_private(SegmentKind::Arguments, vec![1; 16]);
        let r = window.map_shared(SegmentKind::Range(0), &memory, 5000, 100_000, true).unwrap();
        let ro = window.map_image(SegmentKind::Section(0), Arc::from([9u8; 3]));
        assert_eq!(r % PAGE, 5000 % PAGE);
        assert_eq!(window.load::<8>(a + 8), Some([1; 8]));
        assert_eq!(window.load::<8>(a + 9), None);
        assert_eq!(window.load::<1>(a.wrapping_sub(1)), None);
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
    }

    #[test]
    fn window_fault_names_the_nearest_segment() {
        let mut window = Window::new();
        let a = window.map_private(SegmentKind::Range(3), vec![0; 64]);
        let text = window.fault(a + 64, 4, Access::Read).to_string();
        assert!(text.contains("just past the end of range 3 (64 bytes)"), "{text}");
        let text = window.fault(a - 8, 8, Access::Write).to_string();
        assert!(text.contains("8 bytes before range 3"), "{text}");
        let text = window.fault(a + (1 << 40), 8, Access::Write).to_string();
        assert!(text.contains("not in anything the program was given"), "{text}");
        let text = window.fault(8, 1, Access::Read).to_string();
        assert!(text.contains("a null pointer"), "{text}");
    }
}

//! Page data by physical page, with what is written beside it.

use std::sync::Arc;

use crate::address::{BlockId, Lpn, Ppa};
use crate::config::Geometry;

/// The bytes of a page. They are shared, not copied: between the write buffer and the store, and between futures of one
/// drive.
pub type Page = Arc<[u8]>;

/// What is written beside a page's bytes (its out-of-band record): enough to rebuild the map, and to know bytes that are
/// not what was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Oob {
    /// The logical page.
    pub lpn: Lpn,
    /// Numbers all versions of all pages in the order in which they were written.
    pub version: u64,
    /// CRC-32C of the bytes.
    pub checksum: u32,
}

impl Oob {
    /// The record of a page with these bytes.
    pub fn new(lpn: Lpn, version: u64, bytes: &[u8]) -> Self {
        Self { lpn, version, checksum: crc32c::crc32c(bytes) }
    }
}

/// Why flash could not do what it was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MediaError {
    /// What is stored is not what was programmed.
    #[error("the page cannot be read: its bytes do not match their checksum")]
    Uncorrectable,
    /// A page holds another logical page's data.
    #[error("the page holds the data of logical page {}", found.0)]
    Misplaced {
        /// The page whose data was found.
        found: Lpn,
    },
    /// A program operation failed.
    #[error("the page could not be programmed")]
    ProgramFailed,
    /// It is stored, but what keeps the store could not make it durable.
    #[error("what was written could not be made durable")]
    NotDurable,
}

/// A page that could not be programmed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotProgrammed {
    /// Why.
    pub error: MediaError,
    /// Its bytes.
    pub page: Page,
}

/// A page as it is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoredPage<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// What was written beside them.
    pub oob: Oob,
    /// The bytes were compared with the checksum before, and cannot have changed since.
    pub is_checked: bool,
}

/// When what keeps a drive's pages is made durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SyncPolicy {
    /// When the host flushes, or writes with Force Unit Access: what was flushed survives the end of the machine.
    #[default]
    Flush,
    /// The operating system decides. What was flushed survives the end of the process, not that of the machine.
    Never,
}

/// Whether a file in persistent memory is mapped (direct access, DAX).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DaxPolicy {
    /// If its file system can.
    #[default]
    Auto,
    /// It is read and written as any other.
    Never,
    /// It is, or is no store.
    Always,
}

/// What a store lies in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backend {
    /// The memory of the process: it is gone with it.
    Memory,
    /// A file.
    File,
    /// A file in persistent memory, mapped; its file system must sync it.
    Dax,
    /// A file in persistent memory, mapped; what is stored is durable.
    DaxSync,
}

/// Why a page is not wanted any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Discarded {
    /// A newer version of it is in the store.
    Superseded,
    /// The logical page holds nothing any more.
    Deallocated,
}

/// A block that has pages, in a store that was there before the drive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UsedBlock {
    /// The block.
    pub block: BlockId,
    /// How often it was erased.
    pub erases: u32,
    /// Pages from the first to the last that was programmed; some between may hold nothing.
    pub programmed: u32,
}

/// What makes a store durable: for another thread than the drive's, as it takes as long as a machine's disk does.
pub struct SyncWork(Box<dyn FnOnce() -> Result<(), String> + Send>);

impl SyncWork {
    /// Work that ends with the reason if it fails.
    pub fn new(work: impl FnOnce() -> Result<(), String> + Send + 'static) -> Self {
        Self(Box::new(work))
    }

    /// Does it; [`Ssd::synced`](crate::Ssd::synced) takes what it came to.
    ///
    /// # Errors
    /// Why nothing is durable, for the drive's user.
    pub fn run(self) -> Result<(), String> {
        (self.0)()
    }
}

impl core::fmt::Debug for SyncWork {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SyncWork(..)")
    }
}

/// Where a drive keeps the bytes of its pages. The model says when: a page arrives when its program operation ends, and
/// stays until its block is erased.
///
/// What a store holds is there after the end of the process if the store lies outside of it. It is there after the end of the
/// machine if it was programmed before a [`Self::begin_sync`] whose work was done.
pub trait Store: core::fmt::Debug + Send {
    /// Shows a page's bytes and record.
    ///
    /// # Errors
    /// If it holds none that can be read.
    fn read(&self, ppa: Ppa, show: &mut dyn FnMut(StoredPage<'_>)) -> Result<(), MediaError>;

    /// A page's record alone.
    fn record(&self, ppa: Ppa) -> Option<Oob> {
        let mut record = None;
        self.read(ppa, &mut |page| record = Some(page.oob)).ok()?;
        record
    }

    /// True if a page of a logical page was programmed after another one of it: of a later version, or the same moved.
    fn is_newer(&self, ppa: Ppa, other: Ppa) -> bool {
        let version = |ppa| self.record(ppa).map(|oob| oob.version);
        version(ppa) > version(other)
    }

    /// The bytes of a page match their checksum. A store whose pages cannot change by themselves may note it, for later reads.
    fn checked(&mut self, _ppa: Ppa) {}

    /// Keeps a page. Pages of a block come in order; a page is not written twice without an erase between.
    ///
    /// # Errors
    /// If it cannot be kept: then the bytes come back. The page counts as written all the same.
    fn program(&mut self, ppa: Ppa, page: Page, oob: Oob) -> Result<(), NotProgrammed>;

    /// Moves a page with its record as it is, also one that cannot be read.
    ///
    /// # Errors
    /// If it cannot be kept there: it stays where it is.
    fn relocate(&mut self, from: Ppa, to: Ppa) -> Result<(), MediaError>;

    /// A recovery must not find a page any more, and its bytes may be forgotten. Returns them if nothing else needs them.
    fn discard(&mut self, ppa: Ppa, why: Discarded) -> Option<Page>;

    /// Forgets all pages of a block.
    fn erase(&mut self, block: BlockId);

    /// The power went while a page was being programmed: part of its bytes is there, and all of its record.
    fn tear(&mut self, ppa: Ppa, page: &[u8], oob: Oob) {
        let mut torn = page.to_vec();
        let whole = torn.len() / 2;
        torn[whole..].fill(0xFF);
        // A failure leaves less of the page: as torn as it can be.
        let _ = self.program(ppa, Page::from(torn), oob);
    }

    /// Shows the record of every page of a block that a recovery may find, and whether the page's bytes match it.
    fn scan(&self, geometry: &Geometry, used: UsedBlock, visit: &mut dyn FnMut(Ppa, Oob, bool)) {
        for page in 0..used.programmed {
            let ppa = geometry.page(used.block, page);
            // What holds nothing shows nothing.
            let _ = self.read(ppa, &mut |page| {
                let is_sound = crc32c::crc32c(page.bytes) == page.oob.checksum;
                visit(ppa, page.oob, is_sound);
            });
        }
    }

    /// Blocks that have pages, or were erased, before the drive is there; those of a plane in ascending order.
    fn used_blocks(&self) -> Vec<UsedBlock> {
        Vec::new()
    }

    /// The highest version that it ever held.
    fn newest_version(&self) -> u64 {
        0
    }

    /// Begins to make durable what it was told so far; `None` if nothing is to be done. The next one begins when this one ended.
    fn begin_sync(&mut self) -> Option<SyncWork> {
        None
    }

    /// The work of [`Self::begin_sync`] was done. More of it may be needed before what was told then is durable.
    ///
    /// # Errors
    /// If it is not durable.
    fn end_sync(&mut self, _result: Result<(), String>) -> Result<Option<SyncWork>, MediaError> {
        Ok(None)
    }

    /// A sync has ended, and what was to be saved with it is: the store may note for a recovery what is durable, so that it does
    /// not take damage of it for something that was never durable.
    fn note_durable(&mut self) {}

    /// True if it would be good to make it durable soon, though no host asked for it.
    fn wants_sync(&self) -> bool {
        false
    }

    /// Makes everything durable that it was told so far, before it goes on.
    ///
    /// # Errors
    /// If it is not durable.
    fn sync_now(&mut self) -> Result<(), MediaError> {
        Ok(())
    }

    /// The drive lost its power: no sync is waited for any more, and a recovery follows, which must not find what was discarded.
    fn power_lost(&mut self) {}

    /// No page holds anything that is wanted: what can still be found of their bytes is given up.
    fn scrub(&mut self) {}

    /// What it lies in; all but memory is there when the drive is switched on again.
    fn backend(&self) -> Backend {
        Backend::Memory
    }

    /// Keeps what the drive wants to find when it is switched on again, in place of what it kept before.
    ///
    /// # Errors
    /// If it cannot be kept: what was kept before is still there.
    fn save(&mut self, _state: &[u8]) -> Result<(), MediaError> {
        Ok(())
    }

    /// What was kept.
    fn saved(&self) -> Option<Vec<u8>> {
        None
    }

    /// What the drive's user should know, once.
    fn take_note(&mut self) -> Option<String> {
        None
    }

    /// A store with the same contents, for another future of the same drive; `None` if there can be only one.
    fn fork(&self) -> Option<Box<dyn Store>>;
}

#[derive(Clone, Debug)]
struct Stored {
    page: Page,
    oob: Oob,
    is_checked: bool,
}

/// Pages of a block that are held; `None` until the first one comes.
type BlockPages = Option<Box<[Option<Stored>]>>;

/// A store in host memory. It holds what is current: what is discarded costs nothing. Its pages do not change: that their bytes
/// match their checksum is looked at once.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    geometry: Geometry,
    /// By plane and block.
    planes: Vec<Vec<BlockPages>>,
    /// Pages held.
    pages: u64,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(geometry: &Geometry) -> Self {
        let planes = (0..geometry.planes).map(|_| Vec::new()).collect();
        Self { geometry: *geometry, planes, pages: 0 }
    }

    /// Bytes of page data held.
    pub fn used_bytes(&self) -> u64 {
        self.pages * u64::from(self.geometry.page_bytes)
    }

    fn slot(&self, ppa: Ppa) -> Option<&Stored> {
        let block = self.geometry.block_of(ppa);
        let blocks = &self.planes[self.geometry.plane_of(block) as usize];
        let pages = blocks.get(self.geometry.index_of(block) as usize)?.as_ref()?;
        pages[self.geometry.page_of(ppa) as usize].as_ref()
    }

    fn slot_mut(&mut self, ppa: Ppa) -> &mut Option<Stored> {
        let block = self.geometry.block_of(ppa);
        let index = self.geometry.index_of(block) as usize;
        let blocks = &mut self.planes[self.geometry.plane_of(block) as usize];
        if blocks.len() <= index {
            blocks.resize_with(index + 1, || None);
        }
        let count = self.geometry.pages_per_block as usize;
        let pages = blocks[index].get_or_insert_with(|| (0..count).map(|_| None).collect());
        &mut pages[self.geometry.page_of(ppa) as usize]
    }

    fn take(&mut self, ppa: Ppa) -> Option<Stored> {
        let taken = self.slot_mut(ppa).take();
        self.pages -= u64::from(taken.is_some());
        taken
    }
}

impl Store for MemoryStore {
    #[inline]
    fn read(&self, ppa: Ppa, show: &mut dyn FnMut(StoredPage<'_>)) -> Result<(), MediaError> {
        let Stored { page, oob, is_checked } = self.slot(ppa).ok_or(MediaError::Uncorrectable)?;
        show(StoredPage { bytes: page, oob: *oob, is_checked: *is_checked });
        Ok(())
    }

    fn record(&self, ppa: Ppa) -> Option<Oob> {
        self.slot(ppa).map(|stored| stored.oob)
    }

    fn checked(&mut self, ppa: Ppa) {
        if let Some(stored) = self.slot_mut(ppa) {
            stored.is_checked = true;
        }
    }

    fn program(&mut self, ppa: Ppa, page: Page, oob: Oob) -> Result<(), NotProgrammed> {
        let old = self.slot_mut(ppa).replace(Stored { page, oob, is_checked: false });
        assert!(old.is_none(), "a page was programmed twice");
        self.pages += 1;
        Ok(())
    }

    fn relocate(&mut self, from: Ppa, to: Ppa) -> Result<(), MediaError> {
        // What cannot be read stays so: there is nothing to move then.
        if let Some(stored) = self.take(from) {
            *self.slot_mut(to) = Some(stored);
            self.pages += 1;
        }
        Ok(())
    }

    fn discard(&mut self, ppa: Ppa, _why: Discarded) -> Option<Page> {
        self.take(ppa).map(|stored| stored.page)
    }

    fn erase(&mut self, block: BlockId) {
        let index = self.geometry.index_of(block) as usize;
        let blocks = &mut self.planes[self.geometry.plane_of(block) as usize];
        if let Some(Some(pages)) = blocks.get_mut(index) {
            for page in pages.iter_mut() {
                self.pages -= u64::from(page.take().is_some());
            }
        }
    }

    fn fork(&self) -> Option<Box<dyn Store>> {
        Some(Box::new(self.clone()))
    }
}

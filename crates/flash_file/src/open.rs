//! Making, opening and checking files. A file is changed only after all of it that must be sound was found sound.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{OFlags, SeekFrom};
use ssd::{DaxPolicy, Geometry, SyncPolicy, UsedBlock};
use zerocopy::{FromZeros, IntoBytes};

use crate::disk::{Disk, FileDisk, choose_disk};
use crate::layout::{
    BlockEntry, HEADER_PLACES, Header, Layout, MAGIC, PageRecord, STATE_PLACES, State, VERSIONS,
};
use crate::store::{Block, FileStore, number};

/// Why a file cannot be a drive's flash.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum OpenError {
    #[error("{}: {cause}", path.display())]
    Io { path: PathBuf, cause: io::Error },
    #[error("{}: it is {what}, not a file; name a file, or a place where one can be made", path.display())]
    NotAFile { path: PathBuf, what: &'static str },
    #[error("{}: another drive uses it; stop that one first, or give each drive a file of its own", path.display())]
    InUse { path: PathBuf },
    #[error("{}: it is not a drive's flash (it does not begin with CSDFLASH), and is left as it is; name another file", path.display())]
    Foreign { path: PathBuf },
    #[error("{}: it has version {version} of the format; this csdrive knows versions {VERSIONS:?}", path.display())]
    Version { path: PathBuf, version: u32 },
    #[error("{}: it was made for {key} = {found}, and the configuration comes to {wanted}; set {key} to {found}, or name another file", path.display())]
    Geometry { path: PathBuf, key: &'static str, found: u64, wanted: u64 },
    #[error("{}: it has {found} bytes of {wanted}: its end is missing; restore it from a copy", path.display())]
    Truncated { path: PathBuf, found: u64, wanted: u64 },
    #[error("{}: {damage}; nothing was changed. Restore it from a copy, or give up what is damaged: csdrive storage repair {}", path.display(), path.display())]
    Damaged { path: PathBuf, damage: Damage },
    #[error("{}: storage.dax = always, and its file system does not map persistent memory; mount one with -o dax (ext4, XFS) on an NVDIMM of a machine with x86-64, or set storage.dax to auto", path.display())]
    NoDax { path: PathBuf },
    #[error("{}: a file of {bytes} bytes cannot be made here: {cause}; choose a smaller drive.capacity, or another file system", path.display())]
    TooLarge { path: PathBuf, bytes: u64, cause: io::Error },
}

/// What is not sound in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Damage {
    /// Neither of the two headers.
    pub header: bool,
    /// Neither of the two states.
    pub state: bool,
    /// The drive's own state.
    pub own_state: bool,
    /// Entries of the block table.
    pub blocks: u64,
    /// Records of pages: which logical pages they were is unknown.
    pub records: u64,
}

impl Damage {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl core::fmt::Display for Damage {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let counted = |count: u64, what: &str| (count > 0).then(|| format!("{count} {what}"));
        let parts = [
            self.header.then(|| "both headers".to_owned()),
            self.state.then(|| "both states".to_owned()),
            self.own_state.then(|| "the list of namespaces".to_owned()),
            counted(self.blocks, "entries of the block table"),
            counted(self.records, "page records"),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        write!(f, "damaged: {}", parts.join(", "))
    }
}

/// What is in a file.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Blocks that have pages.
    pub blocks_used: u64,
    /// All blocks.
    pub blocks: u64,
    /// Pages that a drive finds, some of them perhaps more than once.
    pub pages: u64,
    /// Pages whose bytes do not match their checksum; `None` if they were not read.
    pub pages_unreadable: Option<u64>,
    /// Erases of all blocks, and of the one that was erased most.
    pub erases: u64,
    /// See `erases`.
    pub erases_max: u32,
    /// Bytes of the file, and those that it takes on its disk.
    pub file_bytes: u64,
    /// See `file_bytes`.
    pub disk_bytes: u64,
}

/// A file that is a drive's flash, locked: no other process has it.
#[derive(Debug)]
pub struct FlashFile {
    path: PathBuf,
    file: Arc<File>,
    header: Header,
    /// One of its two headers is damaged.
    has_bad_header: bool,
}

impl FlashFile {
    /// Opens a file, or makes it if there is none, for the flash of this configuration.
    ///
    /// # Errors
    /// If it cannot be a drive's flash; it is left as it is.
    pub fn open(path: &Path, geometry: &Geometry) -> Result<Self, OpenError> {
        if !path.try_exists().map_err(|cause| io_error(path, cause))? {
            create(path, geometry)?;
        }
        Self::open_existing(path)?.check_geometry(geometry)
    }

    /// The store in a file for the flash of this configuration; the file is made if there is none.
    ///
    /// # Errors
    /// If there cannot be one; the file is left as it is.
    pub fn open_store(
        path: &Path,
        config: &ssd::Config,
        sync: SyncPolicy,
        dax: DaxPolicy,
    ) -> Result<FileStore, OpenError> {
        let refused = |error: ssd::ConfigError| io_error(path, io::Error::other(error.to_string()));
        Self::open(path, &Geometry::new(config).map_err(refused)?)?.store(sync, dax)
    }

    /// Opens a file that is there, whatever flash it is.
    ///
    /// # Errors
    /// If it is not a drive's flash.
    pub fn open_existing(path: &Path) -> Result<Self, OpenError> {
        let io = |cause| io_error(path, cause);
        let kind = std::fs::metadata(path).map_err(io)?.file_type();
        let what = match () {
            () if kind.is_dir() => Some("a folder"),
            () if kind.is_fifo() => Some("a pipe"),
            () if kind.is_socket() => Some("a socket"),
            () if kind.is_char_device() => Some("a device"),
            () if kind.is_block_device() => Some("a block device"),
            () => None,
        };
        if let Some(what) = what {
            return Err(OpenError::NotAFile { path: path.into(), what });
        }
        // It may have become a pipe since.
        let flags = OFlags::NONBLOCK.bits() as i32;
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
        let file = file.map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: path.into() }),
            Err(TryLockError::Error(cause)) => return Err(io(cause)),
        }
        let disk = FileDisk(Arc::new(file));
        let (header, has_bad_header) = read_header(path, &disk)?;
        let found = disk.bytes().map_err(io)?;
        let opened = Self { path: path.into(), file: disk.0, header, has_bad_header };
        let wanted = Layout::new(&opened.geometry()?).file_bytes();
        if found < wanted {
            return Err(OpenError::Truncated { path: path.into(), found, wanted });
        }
        Ok(opened)
    }

    fn check_geometry(self, geometry: &Geometry) -> Result<Self, OpenError> {
        let wanted = Header::new(geometry);
        for ((key, found), (_, wanted)) in self.header.fields().into_iter().zip(wanted.fields()) {
            if found != wanted {
                let path = self.path;
                return Err(OpenError::Geometry { path, key, found, wanted });
            }
        }
        Ok(self)
    }

    /// The flash that the file was made for: what makes its geometry; the rest is as by default.
    pub fn config(&self) -> ssd::Config {
        self.header.config()
    }

    fn geometry(&self) -> Result<Geometry, OpenError> {
        // A sound header was made from a geometry; one that was made up may describe none.
        let refused = |error: ssd::ConfigError| {
            let cause = io::Error::new(io::ErrorKind::InvalidData, error.to_string());
            io_error(&self.path, cause)
        };
        Geometry::new(&self.header.config()).map_err(refused)
    }

    /// What the drive kept besides its pages, without a change of the file; `None` if there is nothing, or nothing sound.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn saved(&self) -> Result<Option<Vec<u8>>, OpenError> {
        let io = |cause| io_error(&self.path, cause);
        let disk = FileDisk(Arc::clone(&self.file));
        let Some((state, _)) = read_state(&disk).map_err(io)? else { return Ok(None) };
        let mut own = vec![0; state.own_bytes.get() as usize];
        disk.read(Layout::own(state.own_place.get()), &mut own).map_err(io)?;
        Ok(Some(own).filter(|own| !own.is_empty()))
    }

    /// What a drive keeps its pages in.
    ///
    /// # Errors
    /// If the file is damaged, or is to be mapped and cannot be.
    pub fn store(self, sync: SyncPolicy, dax: DaxPolicy) -> Result<FileStore, OpenError> {
        let (geometry, path) = (self.geometry()?, self.path.clone());
        let name = path.display().to_string();
        let disk = choose_disk(self.file, dax).map_err(|cause| io_error(&path, cause))?;
        let disk = disk.ok_or_else(|| OpenError::NoDax { path: path.clone() })?;
        let mut store =
            open_disk(disk, geometry, sync, &name, false).map_err(|failed| failed.at(&path))?;
        if self.has_bad_header {
            let header = self.header;
            let again =
                HEADER_PLACES.iter().try_for_each(|at| store.disk.write(*at, header.as_bytes()));
            again.map_err(|cause| io_error(&path, cause))?;
            let note = format!("{name}: one of its two headers was damaged; it was written again");
            store.notes.get_mut().push(note);
        }
        Ok(store)
    }

    /// Gives up what is damaged, so that the rest can be used; says what it was.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn repair(self) -> Result<Damage, OpenError> {
        let (geometry, path) = (self.geometry()?, self.path.clone());
        let disk = Box::new(FileDisk(self.file));
        let name = path.display().to_string();
        let before = examine(&*disk, &geometry).map_err(|cause| io_error(&path, cause))?;
        let damage = before.damage;
        let mut store = open_disk(disk, geometry, SyncPolicy::Flush, &name, true)
            .map_err(|failed| failed.at(&path))?;
        if damage.own_state {
            ssd::Store::save(&mut store, &[])
                .map_err(|_| io_error(&path, io::Error::other("cannot be written")))?;
        }
        Ok(damage)
    }

    /// What is in the file, and what of it is damaged. With `reads_pages` all bytes are compared with their checksums.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn examine(
        &self,
        reads_pages: bool,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<(Summary, Damage), OpenError> {
        let io = |cause| io_error(&self.path, cause);
        let geometry = self.geometry()?;
        let disk = FileDisk(Arc::clone(&self.file));
        let found = examine(&disk, &geometry).map_err(io)?;
        let layout = Layout::new(&geometry);
        let metadata = self.file.metadata().map_err(io)?;
        let mut summary = Summary {
            blocks: layout.blocks,
            blocks_used: found.used.iter().filter(|used| used.programmed > 0).count() as u64,
            pages: found.live,
            erases: found.used.iter().map(|used| u64::from(used.erases)).sum(),
            erases_max: found.used.iter().map(|used| used.erases).max().unwrap_or(0),
            file_bytes: metadata.len(),
            disk_bytes: std::os::unix::fs::MetadataExt::blocks(&metadata) * 512,
            pages_unreadable: None,
        };
        if reads_pages {
            let mut bytes = vec![0; geometry.page_bytes as usize];
            let mut unreadable = 0;
            for (n, used) in found.used.iter().enumerate() {
                for (page, record) in live_records(&disk, &geometry, &layout, *used).map_err(io)? {
                    let block = number(&geometry, used.block);
                    let is_sound = disk.read(layout.page(block, page), &mut bytes).is_ok()
                        && crc32c::crc32c(&bytes) == record.oob().checksum;
                    unreadable += u64::from(!is_sound);
                }
                progress(n as u64 + 1, found.used.len() as u64);
            }
            summary.pages_unreadable = Some(unreadable);
        }
        Ok((summary, found.damage))
    }
}

fn io_error(path: &Path, cause: io::Error) -> OpenError {
    OpenError::Io { path: path.into(), cause }
}

/// The name of a file that is being made.
fn unfinished_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    path.with_file_name(name)
}

/// Gives a file that is complete its name. What has the name already stays; that is an error unless it is as good.
fn name_for_good(unfinished: &Path, path: &Path, is_as_good: bool) -> io::Result<()> {
    let flags = rustix::fs::RenameFlags::NOREPLACE;
    let here = rustix::fs::CWD;
    match rustix::fs::renameat_with(here, unfinished, here, path, flags) {
        Ok(()) => {}
        Err(rustix::io::Errno::EXIST) if is_as_good => std::fs::remove_file(unfinished)?,
        Err(rustix::io::Errno::EXIST) => return Err(io::ErrorKind::AlreadyExists.into()),
        // The file system does not know it.
        Err(_) => std::fs::rename(unfinished, path)?,
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    // A folder that cannot be made durable by itself is by its file system.
    let _ = File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all());
    Ok(())
}

/// Makes a file under another name and gives it its own when it is complete.
fn create(path: &Path, geometry: &Geometry) -> Result<(), OpenError> {
    let io = |cause| io_error(path, cause);
    let unfinished = unfinished_name(path);
    let made = (|| {
        let options = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished);
        let file = options.map_err(io)?;
        let bytes = Layout::new(geometry).file_bytes();
        file.set_len(bytes).map_err(|cause| OpenError::TooLarge {
            path: path.into(),
            bytes,
            cause,
        })?;
        format_disk(&mut FileDisk(Arc::new(file.try_clone().map_err(io)?)), geometry)
            .map_err(io)?;
        file.sync_all().map_err(io)?;
        name_for_good(&unfinished, path, true).map_err(io)?;
        Ok(())
    })();
    if made.is_err() {
        let _ = std::fs::remove_file(&unfinished);
    }
    made
}

/// Writes what an empty file has.
pub(crate) fn format_disk(disk: &mut dyn Disk, geometry: &Geometry) -> io::Result<()> {
    let state = State { number: 1.into(), ..State::new_zeroed() }.seal();
    disk.write(STATE_PLACES[0], state.as_bytes())?;
    let header = Header::new(geometry);
    HEADER_PLACES.iter().try_for_each(|at| disk.write(*at, header.as_bytes()))
}

/// The sound header of a file, and whether the other one is damaged.
fn read_header(path: &Path, disk: &FileDisk) -> Result<(Header, bool), OpenError> {
    let io = |cause| io_error(path, cause);
    let len = disk.bytes().map_err(io)?;
    let mut headers = [Header::new_zeroed(); 2];
    for (at, header) in HEADER_PLACES.iter().zip(&mut headers) {
        if len >= at + size_of::<Header>() as u64 {
            disk.read(*at, header.as_mut_bytes()).map_err(io)?;
        }
    }
    let is_ours = |header: &&Header| header.magic == MAGIC;
    if headers.iter().filter(is_ours).count() == 0 {
        return Err(OpenError::Foreign { path: path.into() });
    }
    let is_known = |header: &Header| VERSIONS.contains(&header.version.get());
    if let Some(other) = headers.iter().filter(is_ours).find(|header| !is_known(header)) {
        // A number that was not written as a version is damage.
        if other.version.get() > 0
            && other.version.get() < 1 << 16
            && !headers.iter().filter(is_ours).any(is_known)
        {
            return Err(OpenError::Version { path: path.into(), version: other.version.get() });
        }
    }
    let is_sound = |header: &Header| is_ours(&header) && header.is_sound() && is_known(header);
    let Some(&sound) = headers.iter().find(|header| is_sound(header)) else {
        let damage = Damage { header: true, ..Damage::default() };
        return Err(OpenError::Damaged { path: path.into(), damage });
    };
    Ok((sound, !headers.iter().all(is_sound)))
}

/// Entries of the block table that are read at once.
const TABLE_PIECE: u64 = 1 << 16;

/// What is found in a file without changing it.
struct Examined {
    state: (State, usize),
    damage: Damage,
    /// In the order of planes, and of blocks within them.
    used: Vec<UsedBlock>,
    /// Blocks whose entries of the table are damaged, or not finished: the entries that should be there.
    entries: Vec<(u64, BlockEntry)>,
    /// Pages whose records are damaged, or not finished.
    unknown: Vec<ssd::Ppa>,
    /// How many of them are not finished: nobody was told that they are there.
    unfinished: u64,
    /// Pages that were written after the last sync: their bytes may be missing.
    unsure: Vec<ssd::Ppa>,
    live: u64,
    newest_version: u64,
    sequence: u64,
}

fn read_state(disk: &dyn Disk) -> io::Result<Option<(State, usize)>> {
    let mut newest: Option<(State, usize)> = None;
    for (place, at) in STATE_PLACES.iter().enumerate() {
        let mut state = State::new_zeroed();
        disk.read(*at, state.as_mut_bytes())?;
        if !state.is_sound() {
            continue;
        }
        // A machine that ended may have kept the state and not what it leads to.
        let mut own = vec![0; state.own_bytes.get() as usize];
        disk.read(Layout::own(state.own_place.get()), &mut own)?;
        let has_own = crc32c::crc32c(&own) == state.own_checksum.get();
        if has_own && newest.is_none_or(|(other, _)| other.number.get() < state.number.get()) {
            newest = Some((state, place));
        }
    }
    Ok(newest)
}

/// The records of a block that are sound and not dead, by page.
pub(crate) fn live_records(
    disk: &dyn Disk,
    geometry: &Geometry,
    layout: &Layout,
    used: UsedBlock,
) -> io::Result<Vec<(u64, PageRecord)>> {
    let block = number(geometry, used.block);
    let mut records = vec![PageRecord::new_zeroed(); used.programmed as usize];
    disk.read(layout.block(block), records.as_mut_bytes())?;
    let is_live = |(page, record): &(u64, PageRecord)| {
        !record.is_dead() && record.is_sound(layout.place(block, *page))
    };
    Ok((0..).zip(records).filter(is_live).collect())
}

fn examine(disk: &dyn Disk, geometry: &Geometry) -> io::Result<Examined> {
    let layout = Layout::new(geometry);
    let state = read_state(disk)?;
    let fresh = State { number: 1.into(), ..State::new_zeroed() }.seal();
    let mut found = Examined {
        state: state.unwrap_or((fresh, 0)),
        damage: Damage { state: state.is_none(), ..Damage::default() },
        used: Vec::new(),
        entries: Vec::new(),
        unknown: Vec::new(),
        unfinished: 0,
        unsure: Vec::new(),
        live: 0,
        newest_version: 0,
        sequence: 0,
    };
    found.damage.own_state = found.damage.state;
    let durable = found.state.0.durable.get();
    found.sequence = durable;
    let mut records = vec![PageRecord::new_zeroed(); geometry.pages_per_block as usize];
    let planes = u64::from(geometry.planes);
    let mut table = vec![BlockEntry::new_zeroed(); TABLE_PIECE.min(layout.blocks) as usize];
    for first in (0..layout.blocks).step_by(TABLE_PIECE as usize) {
        let count = TABLE_PIECE.min(layout.blocks - first) as usize;
        disk.read(layout.entry(first), table[..count].as_mut_bytes())?;
        for (block, entry) in (first..).zip(&table[..count]) {
            if entry.is_unused() {
                continue;
            }
            let id = geometry.block((block % planes) as u32, (block / planes) as u32);
            let finished = if entry.is_sound() { None } else { entry.finished() };
            found.entries.extend(finished.map(|entry| (block, entry)));
            let entry = finished.as_ref().unwrap_or(entry);
            let is_damaged = !entry.is_sound();
            let erases = if is_damaged { 0 } else { entry.erases.get() };
            let mut programmed = 0;
            if is_damaged || entry.state.get() == BlockEntry::USED {
                disk.read(layout.block(block), records.as_mut_bytes())?;
                for (page, record) in (0..).zip(&records) {
                    if record.is_empty() {
                        continue;
                    }
                    programmed = page as u32 + 1;
                    let ppa = geometry.page(id, page as u32);
                    if !record.is_sound(layout.place(block, page)) {
                        let is_unfinished = record.is_unfinished(durable);
                        found.damage.records += u64::from(!is_unfinished);
                        found.unfinished += u64::from(is_unfinished);
                        found.unknown.push(ppa);
                        continue;
                    }
                    found.newest_version = found.newest_version.max(record.version.get());
                    found.sequence = found.sequence.max(record.sequence.get());
                    if !record.is_dead() {
                        found.live += 1;
                        if record.sequence.get() > durable && record.is_readable() {
                            found.unsure.push(ppa);
                        }
                    }
                }
            }
            if is_damaged {
                found.damage.blocks += 1;
                let state = if programmed > 0 { BlockEntry::USED } else { BlockEntry::ERASED };
                found.entries.push((block, BlockEntry::new(state, erases)));
            }
            found.used.push(UsedBlock { block: id, erases, programmed });
        }
    }
    let place = |used: &UsedBlock| (geometry.plane_of(used.block), geometry.index_of(used.block));
    found.used.sort_unstable_by_key(place);
    Ok(found)
}

/// Why a disk cannot be a store.
pub(crate) enum NotAStore {
    Io(io::Error),
    Damaged(Damage),
}

impl NotAStore {
    fn at(self, path: &Path) -> OpenError {
        match self {
            Self::Io(cause) => io_error(path, cause),
            Self::Damaged(damage) => OpenError::Damaged { path: path.into(), damage },
        }
    }
}

impl From<io::Error> for NotAStore {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A store over a disk that was a store before, or is formatted. With `repairs`, what is damaged is given up.
pub(crate) fn open_disk(
    disk: Box<dyn Disk>,
    geometry: Geometry,
    sync: SyncPolicy,
    name: &str,
    repairs: bool,
) -> Result<FileStore, NotAStore> {
    let mut found = examine(&*disk, &geometry)?;
    // What the table says can be found out without it, if nothing else is lost.
    let lost = Damage { blocks: 0, ..found.damage };
    if !lost.is_none() && !repairs {
        return Err(NotAStore::Damaged(found.damage));
    }
    // A header may speak of more blocks than this machine has memory for.
    let room = Vec::<Block>::new().try_reserve_exact(Layout::new(&geometry).blocks as usize);
    room.map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    let mut store = FileStore::assemble(disk, geometry, sync, name.to_owned(), found.state);
    for used in &found.used {
        let (erases, is_used) = (used.erases, used.programmed > 0);
        let known = Block { erases, is_used, ..Block::default() };
        store.blocks[number(&geometry, used.block) as usize] = known;
    }
    for (block, entry) in &found.entries {
        store.disk.write(store.layout.entry(*block), entry.as_bytes())?;
    }
    if found.damage.blocks > 0 {
        let blocks = found.damage.blocks;
        store.notes.get_mut().push(format!("{name}: {blocks} entries of the block table were damaged; they were made again from the pages, and their erases count from 0"));
    }
    for &ppa in &found.unknown {
        store.mark_unknown(ppa)?;
    }
    // Pages that a machine did not keep to the end when it ended: they were never flushed.
    let mut torn = found.unfinished;
    for &ppa in &found.unsure {
        let mut is_sound = false;
        let shown = ssd::Store::read(&store, ppa, &mut |page| {
            is_sound = crc32c::crc32c(page.bytes) == page.oob.checksum;
        });
        if shown.is_err() || !is_sound {
            torn += 1;
            store.mark_dead(ppa)?;
        }
    }
    if torn > 0 {
        store.notes.get_mut().push(format!("{name}: this machine ended before {torn} pages were written; none of them had been flushed"));
    }
    store.newest_version = found.newest_version;
    store.sequence = found.sequence;
    if !found.unsure.is_empty() || repairs {
        if sync == SyncPolicy::Flush {
            store.disk.sync().run().map_err(io::Error::other)?;
        }
        store.found_durable(found.sequence)?;
    }
    store.used = std::mem::take(&mut found.used);
    Ok(store)
}

impl FileStore {
    /// A store over a disk of any kind, formatted if it is `new`; for tests.
    ///
    /// # Errors
    /// If it is damaged, or fails.
    pub fn over(
        mut disk: Box<dyn Disk>,
        geometry: &Geometry,
        sync: SyncPolicy,
        new: bool,
    ) -> Result<Self, String> {
        if new {
            format_disk(&mut *disk, geometry).map_err(|error| error.to_string())?;
        }
        open_disk(disk, *geometry, sync, "disk", false).map_err(|failed| match failed {
            NotAStore::Io(error) => error.to_string(),
            NotAStore::Damaged(damage) => damage.to_string(),
        })
    }

    /// Bytes that a disk for this geometry has.
    pub fn disk_bytes(geometry: &Geometry) -> u64 {
        Layout::new(geometry).file_bytes()
    }

    /// A page of which nobody knows what it was: it is one that is not wanted.
    fn mark_unknown(&mut self, ppa: ssd::Ppa) -> io::Result<()> {
        let (block, page) = self.place_of(ppa);
        let place = self.layout.place(block, page);
        let nothing = ssd::Oob { lpn: ssd::Lpn(0), version: 0, checksum: 0 };
        let record = PageRecord::new(nothing, 0, place, true);
        self.disk.write(self.layout.record(block, page), record.as_bytes())?;
        self.mark_dead(ppa)
    }
}

/// Copies a drive's file, holes as holes; where the file system can, both share their blocks until one is written.
///
/// # Errors
/// If there is no such file, it is in use, or the copy cannot be made. Nothing is left of a copy that failed.
pub fn clone_file(
    from: &Path,
    to: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<(), OpenError> {
    let source = FlashFile::open_existing(from)?;
    let io = |cause| io_error(to, cause);
    if to.try_exists().map_err(io)? {
        return Err(io(io::ErrorKind::AlreadyExists.into()));
    }
    let unfinished = unfinished_name(to);
    let target = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .map_err(io)?;
    let copied = (|| {
        if rustix::fs::ioctl_ficlone(&target, &*source.file).is_ok() {
            return target.sync_all();
        }
        let len = source.file.metadata()?.len();
        target.set_len(len)?;
        let mut disk = FileDisk(Arc::new(target.try_clone()?));
        let source = FileDisk(Arc::clone(&source.file));
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        loop {
            let begin = match rustix::fs::seek(&*source.0, SeekFrom::Data(at)) {
                Ok(begin) => begin,
                // Nothing but a hole follows.
                Err(rustix::io::Errno::NXIO) => break,
                Err(error) => return Err(error.into()),
            };
            let end = rustix::fs::seek(&*source.0, SeekFrom::Hole(begin))?;
            at = begin;
            while at < end {
                let piece = &mut buffer[..(end - at).min(1 << 20) as usize];
                source.read(at, piece)?;
                disk.write(at, piece)?;
                at += piece.len() as u64;
                progress(at, len);
            }
        }
        target.sync_all()
    })();
    // Only a whole copy has its name.
    copied.and_then(|()| name_for_good(&unfinished, to, false)).map_err(|cause| {
        let _ = std::fs::remove_file(&unfinished);
        io_error(to, cause)
    })
}

//! What a drive remembers besides the pages of its flash, as its store keeps it: NVM namespaces, and what its logs count over its life.
//!
//! It is written when a namespace comes, goes or changes, when the drive is shut down or switched on, and now and then with a flush. A
//! drive whose store keeps nothing has none.

use nvme_spec::{Nsid, Status};
use simtime::{Duration, Instant};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::attachments::Attachments;
use crate::config::{ConfigError, NamespaceConfig, NamespaceKind, ZonedConfig};
use crate::limits::{NAMESPACE_RUNS_MAX, NAMESPACES_MAX, ZONES_MAX};
use crate::logs::LifeCounters;
use crate::namespace::nvm::zones::{KnownZone, ZoneLayout, Zones};
use crate::namespace::nvm::{LBA_FORMATS, NvmNamespace};
use crate::namespace::space::Run;
use crate::placement::Handles;
use crate::subsystem::Subsystem;

/// Version 2 has the placement handles of each namespace behind all of them; it is written by drives with data placement, and by those
/// that had it.
const VERSION: u32 = 1;
const VERSION_WITH_HANDLES: u32 = 2;
/// Version 3 has the zones of each namespace behind the handles; it is written by drives with zoned namespaces.
const VERSION_WITH_ZONES: u32 = 3;

/// What is counted is kept with a flush if it was not for so long.
const COUNTERS_EVERY: Duration = Duration::from_us(1_000_000);

/// Beside the number of placement handles: the host listed them.
const OF_HOST: u8 = 1 << 7;

/// Bits of [`SavedNamespace::flags`].
const ATTACHED: u16 = 1;
const PROTECTED: u16 = 2;

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Head {
    version: U32,
    /// The drive was shut down, and not used since.
    is_shut_down: U16,
    namespace_count: U16,
    /// Namespaces created so far, at run time.
    created: U32,
    counters: LifeCounters,
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct SavedNamespace {
    nsid: U32,
    identity: U32,
    block_bytes: U32,
    flags: U16,
    run_count: U16,
    block_count: U64,
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct SavedRun {
    page: U64,
    lpn: U64,
    count: U64,
}

/// The zones of a namespace; those of them follow that are full though they are not written to their end.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct SavedZones {
    zone_bytes: U64,
    zone_capacity: U64,
    zones: U32,
    active_max: U32,
    open_max: U32,
    kept: U32,
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct SavedZone {
    /// With [`FINISHED_BY_DRIVE`].
    zone: U32,
    written: U64,
}

/// Beside the number of a zone: the drive finished it.
const FINISHED_BY_DRIVE: u32 = 1 << 31;

/// Zones as they were.
#[derive(Clone, Debug)]
pub(crate) struct KnownZones {
    pub(crate) zoned: ZonedConfig,
    pub(crate) kept: Vec<KnownZone>,
}

/// An NVM namespace as it was.
#[derive(Clone, Debug)]
pub(crate) struct KnownNamespace {
    pub(crate) nsid: Nsid,
    pub(crate) identity: u32,
    pub(crate) block_bytes: u32,
    pub(crate) block_count: u64,
    pub(crate) is_attached: bool,
    pub(crate) is_protected: bool,
    pub(crate) runs: Vec<Run>,
    /// Those that it has when the drive has data placement.
    pub(crate) handles: Option<Handles>,
    pub(crate) zoned: Option<KnownZones>,
}

/// What a drive remembers.
#[derive(Clone, Debug)]
pub(crate) struct SavedState {
    pub(crate) is_shut_down: bool,
    pub(crate) created: u32,
    pub(crate) counters: LifeCounters,
    pub(crate) namespaces: Vec<KnownNamespace>,
}

impl SavedState {
    /// Reads what was kept. It comes from a file: nothing is believed.
    pub(crate) fn decode(bytes: &[u8], pages: u64, page_bytes: u64) -> Result<Self, ConfigError> {
        Self::read(bytes, pages, page_bytes).map_err(|reason| ConfigError::Saved { reason })
    }

    fn read(bytes: &[u8], pages: u64, page_bytes: u64) -> Result<Self, &'static str> {
        const SHORT: &str = "it ends too early";
        let (head, mut rest) = Head::read_from_prefix(bytes).map_err(|_| SHORT)?;
        if !(VERSION..=VERSION_WITH_ZONES).contains(&head.version.get()) {
            return Err("it was written by another version of csdrive");
        }
        let mut namespaces: Vec<KnownNamespace> = Vec::new();
        for _ in 0..head.namespace_count.get() {
            let saved;
            (saved, rest) = SavedNamespace::read_from_prefix(rest).map_err(|_| SHORT)?;
            let mut runs = Vec::new();
            let mut next_page = 0;
            if usize::from(saved.run_count.get()) > NAMESPACE_RUNS_MAX {
                return Err("a namespace has too many pieces");
            }
            for _ in 0..saved.run_count.get() {
                let run;
                (run, rest) = SavedRun::read_from_prefix(rest).map_err(|_| SHORT)?;
                let SavedRun { page, lpn, count } = run;
                let end = lpn.get().checked_add(count.get());
                if page.get() != next_page || count.get() == 0 || end.is_none_or(|end| end > pages)
                {
                    return Err("a piece of a namespace is beyond the flash");
                }
                next_page += count.get();
                runs.push(Run::new(page.get(), lpn.get(), count.get()));
            }
            let (nsid, block_bytes) = (saved.nsid.get(), saved.block_bytes.get());
            let is_known = namespaces.iter().any(|other| other.nsid.0 == nsid);
            if !(1..=NAMESPACES_MAX).contains(&nsid) || is_known {
                return Err("a namespace has an identifier that it cannot have");
            }
            if !LBA_FORMATS.contains(&block_bytes) {
                return Err("a namespace has a size of blocks that it cannot have");
            }
            namespaces.push(KnownNamespace {
                nsid: Nsid(nsid),
                identity: saved.identity.get(),
                block_bytes,
                block_count: saved.block_count.get(),
                is_attached: saved.flags.get() & ATTACHED != 0,
                is_protected: saved.flags.get() & PROTECTED != 0,
                runs,
                handles: None,
                zoned: None,
            });
        }
        for namespace in &mut namespaces {
            if head.version.get() == VERSION {
                break;
            }
            let (count, handles) = rest.split_first().ok_or(SHORT)?;
            let (is_of_host, count) = (count & OF_HOST != 0, count & !OF_HOST);
            let (handles, after) = handles.split_at_checked(count.into()).ok_or(SHORT)?;
            let list: Vec<u16> = handles.iter().map(|handle| u16::from(*handle)).collect();
            if count > 0 {
                let known = Handles::of_list(&list, ssd::STREAMS_MAX, is_of_host);
                namespace.handles =
                    Some(known.ok_or("a namespace has placement handles that it cannot have")?);
            }
            rest = after;
        }
        for namespace in &mut namespaces {
            if head.version.get() < VERSION_WITH_ZONES {
                break;
            }
            (namespace.zoned, rest) = read_zones(rest, namespace.block_bytes)?;
        }
        if !rest.is_empty() {
            return Err("it is longer than it says");
        }
        for namespace in &namespaces {
            namespace.check_size(page_bytes)?;
        }
        Ok(Self {
            is_shut_down: head.is_shut_down.get() != 0,
            // What is created at run time has a number of its own.
            created: head.created.get().min(u32::MAX / 2),
            counters: head.counters,
            namespaces,
        })
    }
}

impl KnownNamespace {
    /// It has as many pages as its blocks need.
    fn check_size(&self, page_bytes: u64) -> Result<(), &'static str> {
        let pages: u64 = self.runs.iter().map(|run| run.count).sum();
        let bytes = self.block_count.checked_mul(self.block_bytes.into());
        let is_right = match &self.zoned {
            None => bytes.is_some_and(|bytes| (1..=pages * page_bytes).contains(&bytes)),
            Some(KnownZones { zoned, .. }) => {
                let layout = ZoneLayout::new(zoned);
                let is_whole = zoned.zone_capacity.is_multiple_of(page_bytes);
                is_whole
                    && u64::from(self.block_bytes) == page_bytes
                    && bytes == Some(layout.bytes())
                    && layout.written_max() == pages * page_bytes
            }
        };
        if is_right { Ok(()) } else { Err("a namespace has a size that it cannot have") }
    }

    /// What it is, as a configuration lists it.
    fn kind(&self) -> NamespaceKind {
        match &self.zoned {
            Some(known) => NamespaceKind::Zoned(known.zoned),
            None => NamespaceKind::Nvm {
                bytes: self.block_count * u64::from(self.block_bytes),
                block_bytes: self.block_bytes,
            },
        }
    }
}

/// Zones of a namespace, if it has any, and what follows them.
fn read_zones(bytes: &[u8], block_bytes: u32) -> Result<(Option<KnownZones>, &[u8]), &'static str> {
    const SHORT: &str = "it ends too early";
    const WRONG: &str = "a namespace has zones that it cannot have";
    let (is_zoned, rest) = bytes.split_first().ok_or(SHORT)?;
    if *is_zoned == 0 {
        return Ok((None, rest));
    }
    let (saved, mut rest) = SavedZones::read_from_prefix(rest).map_err(|_| SHORT)?;
    let zoned = ZonedConfig {
        zones: saved.zones.get(),
        zone_bytes: saved.zone_bytes.get(),
        zone_capacity: saved.zone_capacity.get(),
        active_max: saved.active_max.get(),
        open_max: saved.open_max.get(),
        block_bytes,
    };
    let is_right = (1..=ZONES_MAX).contains(&zoned.zones)
        && zoned.zone_bytes.is_power_of_two()
        && zoned.zone_bytes <= 1 << 40
        && (1..=zoned.zone_bytes).contains(&zoned.zone_capacity)
        && (1..=ssd::ZONE_STREAMS_MAX).contains(&zoned.active_max)
        && (1..=zoned.active_max).contains(&zoned.open_max)
        && saved.kept.get() <= zoned.zones;
    if !is_right {
        return Err(WRONG);
    }
    let mut kept = Vec::new();
    for _ in 0..saved.kept.get() {
        let zone;
        (zone, rest) = SavedZone::read_from_prefix(rest).map_err(|_| SHORT)?;
        let is_finished_by_drive = zone.zone.get() & FINISHED_BY_DRIVE != 0;
        let number = zone.zone.get() & !FINISHED_BY_DRIVE;
        let is_whole = zone.written.get().is_multiple_of(block_bytes.into());
        if number >= zoned.zones || zone.written.get() > zoned.zone_capacity || !is_whole {
            return Err(WRONG);
        }
        kept.push(KnownZone { zone: number, written: zone.written.get(), is_finished_by_drive });
    }
    Ok((Some(KnownZones { zoned, kept }), rest))
}

/// The NVM namespaces of a drive that remembers this, as a configuration lists them, for whoever looks at a store without a drive.
///
/// # Errors
/// If it cannot be what a drive with so much flash remembers.
pub fn remembered_namespaces(
    state: &[u8],
    flash: &ssd::Config,
) -> Result<Vec<NamespaceConfig>, ConfigError> {
    let geometry = ssd::Geometry::new(flash)?;
    let saved = SavedState::decode(state, geometry.logical_pages, geometry.page_bytes.into())?;
    let listed = saved.namespaces.iter();
    Ok(listed
        .map(|namespace| NamespaceConfig { nsid: namespace.nsid.0, kind: namespace.kind() })
        .collect())
}

/// When what is remembered was written last, and whether as that of a drive that is shut down.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Saving {
    at: Instant,
    is_shut_down: bool,
}

impl Subsystem {
    /// Has the store remember what the drive is now.
    pub(crate) fn save(&mut self, now: Instant, attached: &Attachments) {
        self.write_saved(now, attached, false);
    }

    /// The same, for who has to know whether it can be kept.
    ///
    /// # Errors
    /// If it cannot.
    pub(crate) fn try_save(&mut self, now: Instant, attached: &Attachments) -> Result<(), Status> {
        let is_kept = self.write_saved(now, attached, false);
        if is_kept { Ok(()) } else { Err(Status::INTERNAL_ERROR) }
    }

    /// The same, durably, before the host is told that something has changed.
    ///
    /// # Errors
    /// If it cannot be kept.
    pub(crate) fn save_durably(
        &mut self,
        now: Instant,
        attached: &Attachments,
    ) -> Result<(), Status> {
        self.try_save(now, attached)?;
        self.make_durable()
    }

    /// The drive is shut down: whatever comes, nothing was lost.
    pub(crate) fn save_shut_down(&mut self, now: Instant, attached: &Attachments) {
        self.write_saved(now, attached, true);
    }

    /// The host uses the drive, or something was flushed: what is remembered is brought up to date, if it is worth it.
    pub(crate) fn save_if_old(&mut self, now: Instant, attached: &Attachments) {
        if self.saving.is_shut_down || now.since(self.saving.at) >= COUNTERS_EVERY {
            self.save(now, attached);
        }
    }

    /// False if the store could not keep it.
    fn write_saved(&mut self, now: Instant, attached: &Attachments, is_shut_down: bool) -> bool {
        if !self.is_persistent {
            return true;
        }
        let (mut bytes, mut count) = (Vec::new(), 0u16);
        for namespace in self.namespaces.nvm_all() {
            let runs = namespace.placement.runs();
            let is_attached = attached.contains(namespace.nsid);
            let flags =
                u16::from(is_attached) * ATTACHED + u16::from(namespace.is_protected) * PROTECTED;
            let saved = SavedNamespace {
                nsid: namespace.nsid.0.into(),
                identity: namespace.identity.into(),
                block_bytes: namespace.block_bytes.into(),
                flags: flags.into(),
                run_count: (runs.len() as u16).into(),
                block_count: namespace.block_count.into(),
            };
            count += 1;
            bytes.extend_from_slice(saved.as_bytes());
            for run in runs {
                let Run { page, lpn, count } = *run;
                let saved = SavedRun { page: page.into(), lpn: lpn.into(), count: count.into() };
                bytes.extend_from_slice(saved.as_bytes());
            }
        }
        // Hosts rely on them, also if the drive has no placement for a while.
        let known = |nvm: &NvmNamespace| match self.config.placement {
            true => Some(nvm.handles),
            false => nvm.remembered_handles,
        };
        let has_lists = self.namespaces.nvm_all().any(|nvm| known(nvm).is_some());
        let has_zones = self.namespaces.nvm_all().any(|nvm| nvm.layout.is_some());
        for handles in self.namespaces.nvm_all().map(known).filter(|_| has_lists || has_zones) {
            let list = handles.as_ref().map_or(&[][..], Handles::list);
            let is_of_host = handles.is_some_and(|handles| handles.is_of_host);
            bytes.push(list.len() as u8 | if is_of_host { OF_HOST } else { 0 });
            bytes.extend_from_slice(list);
        }
        for namespace in self.namespaces.nvm_all().filter(|_| has_zones) {
            bytes.push(u8::from(namespace.layout.is_some()));
            if namespace.layout.is_some() {
                write_zones(self.namespaces.zones(namespace.nsid), &mut bytes);
            }
        }
        let version = match (has_zones, has_lists) {
            (true, _) => VERSION_WITH_ZONES,
            (false, true) => VERSION_WITH_HANDLES,
            (false, false) => VERSION,
        };
        let head = Head {
            version: version.into(),
            is_shut_down: u16::from(is_shut_down).into(),
            namespace_count: count.into(),
            created: self.namespaces.created().into(),
            counters: self.logs.life(now),
        };
        let state = [head.as_bytes(), &bytes].concat();
        let is_kept = self.ssd.save(&state);
        if is_kept {
            self.saving = Saving { at: now, is_shut_down };
        }
        is_kept
    }
}

fn write_zones(zones: &Zones, bytes: &mut Vec<u8>) {
    let kept = zones.kept();
    let saved = SavedZones {
        zone_bytes: zones.layout.size().into(),
        zone_capacity: zones.layout.capacity.into(),
        zones: zones.layout.count.into(),
        active_max: zones.active_max.into(),
        open_max: zones.open_max.into(),
        kept: (kept.len() as u32).into(),
    };
    bytes.extend_from_slice(saved.as_bytes());
    for KnownZone { zone, written, is_finished_by_drive } in kept {
        let by = if is_finished_by_drive { FINISHED_BY_DRIVE } else { 0 };
        let saved = SavedZone { zone: (zone | by).into(), written: written.into() };
        bytes.extend_from_slice(saved.as_bytes());
    }
}

impl Default for LifeCounters {
    fn default() -> Self {
        Self::new_zeroed()
    }
}

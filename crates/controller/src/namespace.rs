//! The namespaces of the subsystem: a table by identifier, and the flash space that they share.

pub(crate) mod memory;
pub(crate) mod nvm;
pub(crate) mod programs;
pub(crate) mod space;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use ebpf::SharedMemory;
use nvme_spec::{CommandSet, Nsid, Status};
use ssd::Geometry;

use crate::config::{Config, ConfigError, NamespaceConfig, NamespaceKind, ZonedConfig};
use crate::features::Saved;
use crate::namespace::memory::MemoryNamespace;
use crate::namespace::nvm::NvmNamespace;
use crate::namespace::nvm::zones::{ZoneLayout, Zones};
use crate::namespace::programs::ProgramsNamespace;
use crate::namespace::space::{PageSpace, Placement};
use crate::placement::Handles;
use crate::saved_state::{KnownNamespace, SavedState};

pub use nvme_spec::namespace::{COMPUTE_NSID, MEMORY_NSID, NVM_NSID};

pub(crate) use crate::limits::NAMESPACES_MAX;

/// A namespace.
#[derive(Debug)]
pub(crate) enum Namespace {
    /// Blocks on the flash.
    Nvm(NvmNamespace),
    /// Device memory.
    Memory(MemoryNamespace),
    /// Programs, and the ranges they work on.
    Programs(Box<ProgramsNamespace>),
}

impl Namespace {
    /// Its I/O command set.
    #[inline]
    pub(crate) fn set(&self) -> CommandSet {
        match self {
            Self::Nvm(namespace) if namespace.layout.is_some() => CommandSet::ZONED,
            Self::Nvm(_) => CommandSet::NVM,
            Self::Memory(_) => CommandSet::MEMORY,
            Self::Programs(_) => CommandSet::PROGRAMS,
        }
    }

    /// The number that tells it apart for ever.
    pub(crate) fn identity(&self) -> u32 {
        match self {
            Self::Nvm(namespace) => namespace.identity,
            Self::Memory(namespace) => namespace.nsid.0,
            Self::Programs(namespace) => namespace.nsid.0,
        }
    }
}

/// Checks that an identifier can be that of a namespace at all.
#[inline]
pub(crate) fn check_nsid(nsid: Nsid) -> Result<(), Status> {
    if nsid == Nsid::NONE || nsid.0 > NAMESPACES_MAX {
        return Err(Status::INVALID_NAMESPACE.with_dnr());
    }
    Ok(())
}

/// All namespaces, attached or not.
#[derive(Debug)]
pub(crate) struct Namespaces {
    /// By identifier; places without a namespace are empty.
    table: Vec<Option<Namespace>>,
    /// Zones of those that are zoned.
    zones: BTreeMap<Nsid, Zones>,
    pub(crate) space: PageSpace,
    page_bits: u32,
    /// Streams of the flash, and whether hosts choose of them.
    streams: u32,
    has_placement: bool,
    /// The first stream of zones that no namespace has, and how many there are.
    zone_streams: Range<u32>,
    /// Bytes that the streams of the flash fill together.
    unit_bytes: u64,
    /// The flash takes no more writes.
    pub(crate) is_worn_out: bool,
    /// Namespaces that were created so far, at run time.
    created: u32,
}

impl Namespaces {
    /// The namespaces that a configuration lists.
    ///
    /// NVM namespaces that the store remembers count in place of the listed ones.
    pub(crate) fn new(
        config: &Config,
        geometry: &Geometry,
        saved: Option<&SavedState>,
    ) -> Result<Self, ConfigError> {
        let mut all = Self {
            table: (0..=NAMESPACES_MAX).map(|_| None).collect(),
            zones: BTreeMap::new(),
            space: PageSpace::new(geometry.logical_pages),
            page_bits: geometry.page_bytes.trailing_zeros(),
            streams: config.flash.hint_streams,
            has_placement: config.placement,
            zone_streams: config.flash.first_zone_stream()..config.flash.streams(),
            unit_bytes: geometry.unit_bytes(),
            is_worn_out: false,
            created: saved.map_or(0, |saved| saved.created),
        };
        for known in saved.into_iter().flat_map(|saved| &saved.namespaces) {
            all.put_back(known)?;
        }
        for listed in config.namespace_list() {
            let nsid = Nsid(listed.nsid);
            if saved.is_some()
                && matches!(listed.kind, NamespaceKind::Nvm { .. } | NamespaceKind::Zoned(_))
            {
                continue;
            }
            if all.table[listed.nsid as usize].is_some() {
                return Err(ConfigError::NamespaceTaken { nsid: listed.nsid });
            }
            let namespace = match listed.kind {
                NamespaceKind::Nvm { bytes, block_bytes } => {
                    let namespace = all.place_nvm(nsid, nsid.0, bytes, block_bytes);
                    Namespace::Nvm(namespace.ok_or(ConfigError::FlashSpace {
                        nsid: listed.nsid,
                        bytes,
                        free: all.free_bytes(),
                    })?)
                }
                NamespaceKind::Zoned(zoned) => Namespace::Nvm(
                    all.place_zoned(nsid, &zoned).ok_or(ConfigError::FlashSpace {
                        nsid: listed.nsid,
                        bytes: ZoneLayout::new(&zoned).written_max(),
                        free: all.free_bytes(),
                    })?,
                ),
                NamespaceKind::Memory { bytes } => Namespace::Memory(
                    MemoryNamespace::new(nsid, bytes, &config.memory_backing)
                        .map_err(|cause| ConfigError::Memory { bytes, cause })?,
                ),
                NamespaceKind::Programs => {
                    Namespace::Programs(Box::new(ProgramsNamespace::new(nsid)))
                }
            };
            all.table[listed.nsid as usize] = Some(namespace);
        }
        Ok(all)
    }

    /// A namespace as it was when the drive was used last.
    fn put_back(&mut self, known: &KnownNamespace) -> Result<(), ConfigError> {
        for run in &known.runs {
            if !self.space.take_at(run.lpn, run.count) {
                let reason = "two namespaces have the same page";
                return Err(ConfigError::Saved { reason });
            }
        }
        let handles = match (self.has_placement, known.handles) {
            (true, Some(handles))
                if handles.list().iter().any(|h| u32::from(*h) >= self.streams) =>
            {
                let reason = "a namespace has placement handles that the drive does not have: give flash.streams as it was when the namespace was made";
                return Err(ConfigError::Saved { reason });
            }
            (true, Some(handles)) => handles,
            _ => self.given_handles(known.nsid),
        };
        let layout = match &known.zoned {
            None => None,
            Some(known_zones) => {
                let reason = "a namespace has more active zones than the drive has streams for: give the list of namespaces as it was when the file was made";
                let zones = self.make_zones(known.nsid, &known_zones.zoned);
                zones.ok_or(ConfigError::Saved { reason })?.set_kept(&known_zones.kept);
                Some(ZoneLayout::new(&known_zones.zoned))
            }
        };
        let pages: u64 = known.runs.iter().map(|run| run.count).sum();
        self.table[known.nsid.0 as usize] = Some(Namespace::Nvm(NvmNamespace {
            nsid: known.nsid,
            identity: known.identity,
            capacity: pages << self.page_bits,
            block_count: known.block_count,
            block_bytes: known.block_bytes,
            page_bits: self.page_bits,
            placement: Placement::new(&known.runs),
            layout,
            handles,
            remembered_handles: known.handles,
            error_recovery: Saved::default(),
            is_protected: known.is_protected,
            is_worn_out: self.is_worn_out,
            is_formatting: false,
        }));
        Ok(())
    }

    /// The placement handles of a namespace of the configuration.
    fn given_handles(&self, nsid: Nsid) -> Handles {
        match self.has_placement {
            true => Handles::all(self.streams),
            false => Handles::one(nsid, self.streams),
        }
    }

    /// Namespaces that were created so far, at run time.
    pub(crate) fn created(&self) -> u32 {
        self.created
    }

    fn place_nvm(
        &mut self,
        nsid: Nsid,
        identity: u32,
        bytes: u64,
        block_bytes: u32,
    ) -> Option<NvmNamespace> {
        let pages = bytes.div_ceil(1 << self.page_bits);
        let placement = self.space.allocate(pages)?;
        Some(NvmNamespace {
            nsid,
            identity,
            capacity: pages << self.page_bits,
            block_count: bytes / u64::from(block_bytes),
            block_bytes,
            page_bits: self.page_bits,
            placement,
            layout: None,
            handles: self.given_handles(nsid),
            remembered_handles: None,
            error_recovery: Saved::default(),
            is_protected: false,
            is_worn_out: self.is_worn_out,
            is_formatting: false,
        })
    }

    /// A zoned namespace. It has flash for what can be written.
    fn place_zoned(&mut self, nsid: Nsid, zoned: &ZonedConfig) -> Option<NvmNamespace> {
        let layout = ZoneLayout::new(zoned);
        let block_bytes = zoned.block_bytes;
        let mut namespace = self.place_nvm(nsid, nsid.0, layout.written_max(), block_bytes)?;
        self.make_zones(nsid, zoned)?;
        namespace.layout = Some(layout);
        namespace.block_count = layout.bytes() / u64::from(block_bytes);
        Some(namespace)
    }

    /// Zones with streams of their own; `None` if there are not enough streams.
    fn make_zones(&mut self, nsid: Nsid, zoned: &ZonedConfig) -> Option<&mut Zones> {
        let first = self.zone_streams.start;
        let end =
            first.checked_add(zoned.active_max).filter(|end| *end <= self.zone_streams.end)?;
        self.zone_streams.start = end;
        let zones = Zones::new(zoned, first as u8, self.unit_bytes);
        Some(self.zones.entry(nsid).or_insert(zones))
    }

    /// The zones of a zoned namespace.
    pub(crate) fn zones(&self, nsid: Nsid) -> &Zones {
        self.zones.get(&nsid).expect("a zoned namespace has zones")
    }

    /// The same, to change them.
    #[inline]
    pub(crate) fn zones_mut(&mut self, nsid: Nsid) -> &mut Zones {
        self.zones.get_mut(&nsid).expect("a zoned namespace has zones")
    }

    /// The zones of a namespace, if it is zoned.
    pub(crate) fn zones_of(&mut self, nsid: Nsid) -> Option<&mut Zones> {
        self.zones.get_mut(&nsid)
    }

    /// True if a namespace is zoned.
    pub(crate) fn has_zones(&self) -> bool {
        !self.zones.is_empty()
    }

    /// Zones of all zoned namespaces.
    pub(crate) fn zones_all_mut(&mut self) -> impl Iterator<Item = &mut Zones> {
        self.zones.values_mut()
    }

    /// The flash takes no more writes.
    pub(crate) fn wear_out(&mut self) {
        self.is_worn_out = true;
        self.nvm_all_mut().for_each(|namespace| namespace.is_worn_out = true);
    }

    /// The namespaces that there are, by identifier, as a configuration lists them.
    pub(crate) fn list(&self) -> Vec<NamespaceConfig> {
        let of = |(nsid, namespace): (Nsid, &Namespace)| {
            let kind = match namespace {
                Namespace::Nvm(nvm) if nvm.layout.is_some() => {
                    NamespaceKind::Zoned(self.zones(nsid).config(nvm.block_bytes))
                }
                Namespace::Nvm(nvm) => NamespaceKind::Nvm {
                    bytes: nvm.block_count * u64::from(nvm.block_bytes),
                    block_bytes: nvm.block_bytes,
                },
                Namespace::Memory(memory) => NamespaceKind::Memory { bytes: memory.memory.len() },
                Namespace::Programs(_) => NamespaceKind::Programs,
            };
            NamespaceConfig { nsid: nsid.0, kind }
        };
        self.iter().map(of).collect()
    }

    /// Bytes of flash that no namespace has.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.space.free_pages() << self.page_bits
    }

    /// Creates an NVM namespace at run time, with the lowest free identifier.
    pub(crate) fn create_nvm(
        &mut self,
        bytes: u64,
        block_bytes: u32,
        handles: Option<Handles>,
    ) -> Result<Nsid, Status> {
        let free = (1..=NAMESPACES_MAX).find(|&nsid| self.table[nsid as usize].is_none());
        let nsid = Nsid(free.ok_or(Status::NAMESPACE_IDENTIFIER_UNAVAILABLE)?);
        let identity = NAMESPACES_MAX + 1 + self.created;
        let namespace = self.place_nvm(nsid, identity, bytes, block_bytes);
        let mut namespace = namespace.ok_or(Status::NAMESPACE_INSUFFICIENT_CAPACITY)?;
        // Without a list the host has one, which the drive chooses.
        namespace.handles = handles.unwrap_or_else(|| Handles::one(nsid, self.streams));
        self.table[nsid.0 as usize] = Some(Namespace::Nvm(namespace));
        self.created += 1;
        Ok(nsid)
    }

    /// Deletes an NVM namespace whose pages hold nothing any more.
    pub(crate) fn delete_nvm(&mut self, nsid: Nsid) {
        if let Some(Namespace::Nvm(namespace)) = self.table[nsid.0 as usize].take() {
            self.space.release(&namespace.placement);
            self.zones.remove(&nsid);
        }
    }

    /// The namespace of an identifier, if there is one.
    #[inline]
    pub(crate) fn get(&self, nsid: Nsid) -> Option<&Namespace> {
        self.table.get(nsid.0 as usize)?.as_ref()
    }

    /// Every namespace, by identifier.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Nsid, &Namespace)> {
        let numbered = self.table.iter().enumerate();
        numbered.filter_map(|(nsid, namespace)| Some((Nsid(nsid as u32), namespace.as_ref()?)))
    }

    /// Device memory of every memory namespace, by identifier.
    pub(crate) fn memories(&self) -> Vec<(Nsid, Arc<SharedMemory>)> {
        let of = |(nsid, namespace): (Nsid, &Namespace)| match namespace {
            Namespace::Memory(namespace) => Some((nsid, Arc::clone(&namespace.memory))),
            _ => None,
        };
        self.iter().filter_map(of).collect()
    }

    /// Identifiers of all namespaces.
    pub(crate) fn ids(&self) -> impl Iterator<Item = Nsid> + '_ {
        self.iter().map(|(nsid, _)| nsid)
    }

    /// Every NVM namespace, by identifier.
    pub(crate) fn nvm_all(&self) -> impl Iterator<Item = &NvmNamespace> {
        self.iter().filter_map(|(_, namespace)| match namespace {
            Namespace::Nvm(namespace) => Some(namespace),
            _ => None,
        })
    }

    /// The same, to change them.
    pub(crate) fn nvm_all_mut(&mut self) -> impl Iterator<Item = &mut NvmNamespace> {
        self.table.iter_mut().flatten().filter_map(|namespace| match namespace {
            Namespace::Nvm(namespace) => Some(namespace),
            _ => None,
        })
    }

    #[inline]
    pub(crate) fn nvm(&self, nsid: Nsid) -> Option<&NvmNamespace> {
        match self.get(nsid) {
            Some(Namespace::Nvm(namespace)) => Some(namespace),
            _ => None,
        }
    }

    pub(crate) fn nvm_mut(&mut self, nsid: Nsid) -> Option<&mut NvmNamespace> {
        match self.table.get_mut(nsid.0 as usize)? {
            Some(Namespace::Nvm(namespace)) => Some(namespace),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn memory(&self, nsid: Nsid) -> Option<&MemoryNamespace> {
        match self.get(nsid) {
            Some(Namespace::Memory(namespace)) => Some(namespace),
            _ => None,
        }
    }

    pub(crate) fn programs_mut(&mut self, nsid: Nsid) -> Option<&mut ProgramsNamespace> {
        match self.table.get_mut(nsid.0 as usize)? {
            Some(Namespace::Programs(namespace)) => Some(namespace),
            _ => None,
        }
    }

    /// The first programs namespace.
    pub(crate) fn first_programs(&self) -> Option<Nsid> {
        let programs = |(nsid, namespace): (Nsid, &Namespace)| match namespace {
            Namespace::Programs(_) => Some(nsid),
            _ => None,
        };
        self.iter().find_map(programs)
    }

    /// True while an execution or a worker of one, also of one that a reset forgot, may touch device memory.
    pub(crate) fn is_running_programs(&self) -> bool {
        self.iter().any(|(_, namespace)| match namespace {
            Namespace::Programs(namespace) => namespace.is_running_programs(),
            _ => false,
        })
    }

    /// A format of these namespaces begins or ends.
    pub(crate) fn set_formatting(&mut self, nsids: &[Nsid], is_formatting: bool) {
        for &nsid in nsids {
            if let Some(namespace) = self.nvm_mut(nsid) {
                namespace.is_formatting = is_formatting;
            }
        }
    }

    /// Empties device memory, and forgets text that holds what programs saw.
    pub(crate) fn clear_memory(&mut self) {
        for namespace in self.table.iter_mut().flatten() {
            match namespace {
                Namespace::Nvm(_) => {}
                Namespace::Memory(namespace) => namespace.memory.clear(),
                Namespace::Programs(namespace) => namespace.text.clear(),
            }
        }
    }

    /// A controller reset: features of namespaces go back to their saved values.
    pub(crate) fn reset(&mut self) {
        self.nvm_all_mut().for_each(|namespace| namespace.error_recovery.reset());
    }

    /// The power went: what is volatile is lost.
    pub(crate) fn power_lost(&mut self) {
        for namespace in self.table.iter_mut().flatten() {
            match namespace {
                Namespace::Nvm(namespace) => namespace.is_formatting = false,
                Namespace::Memory(namespace) => namespace.memory.clear(),
                Namespace::Programs(namespace) => {
                    **namespace = ProgramsNamespace::new(namespace.nsid);
                }
            }
        }
    }
}

/// Namespaces of each kind, by identifier.
pub(crate) fn by_set(namespaces: &Namespaces) -> BTreeMap<CommandSet, Vec<Nsid>> {
    let mut kinds = BTreeMap::<_, Vec<_>>::new();
    for (nsid, namespace) in namespaces.iter() {
        kinds.entry(namespace.set()).or_default().push(nsid);
    }
    kinds
}

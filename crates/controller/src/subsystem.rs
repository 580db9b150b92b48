//! The NVM subsystem: namespaces, and what they share - the models, the clock's events, the logs.

use fabric::Link;
use nvme_spec::{Nsid, Status};
use records::Records;
use simtime::{EventQueue, Instant};
use ssd::Ssd;

use crate::attachments::Attachments;
use crate::background::Background;
use crate::config::{Config, ConfigError, Dialect};
use crate::event::Event;
use crate::femu::Femu;
use crate::kept_history::KeptHistory;
use crate::logs::Logs;
use crate::namespace::Namespaces;
use crate::own_memory::OwnMemory;
use crate::parts::{NewPolicy, ProgramLoaders};
use crate::peers::Peers;
use crate::placement::PlacementEvents;
use crate::saved_state::{SavedState, Saving};
use crate::work::Outbox;

/// Everything that is not one controller's.
#[derive(Debug)]
pub(crate) struct Subsystem {
    pub(crate) config: Config,
    pub(crate) namespaces: Namespaces,
    pub(crate) ssd: Ssd,
    pub(crate) engine: compute::Engine,
    /// Makes schedulers that are not the configuration's.
    policy: Option<NewPolicy>,
    pub(crate) programs: ProgramLoaders,
    /// Link between flash and device memory.
    pub(crate) internal: Link,
    /// Other drives that it reaches, and its number among them.
    pub(crate) peers: Option<(Peers, u32)>,
    /// Device memory that no host sees as a namespace.
    pub(crate) own_memory: OwnMemory,
    /// What hosts of FEMU's dialect made, if the drive speaks it.
    pub(crate) femu: Option<Femu>,
    pub(crate) background: Background,
    pub(crate) logs: Logs,
    /// What of data placement hosts asked to be told.
    pub(crate) placement_events: PlacementEvents,
    /// Failures of blocks that were seen to, and whether the host was told that few spare ones are left.
    pub(crate) failures_seen: u64,
    pub(crate) is_spare_low: bool,
    /// What hosts wrote, if it is kept.
    pub(crate) history: Option<KeptHistory>,
    /// The store remembers what the drive is.
    pub(crate) is_persistent: bool,
    pub(crate) saving: Saving,
    pub(crate) events: EventQueue<Event>,
    pub(crate) outbox: Outbox,
    /// Commands and jobs that were recorded and not taken; the models have theirs.
    pub(crate) records: Records,
    /// Bytes on their way through the controller, kept to save allocations.
    pub(crate) scratch: Vec<u8>,
    /// Bytes of a flash page, as a power of two.
    pub(crate) page_bits: u32,
}

impl Subsystem {
    pub(crate) fn new(
        config: Config,
        mut ssd: Ssd,
        policy: Option<NewPolicy>,
        programs: ProgramLoaders,
    ) -> Result<(Self, Attachments), ConfigError> {
        let ssd_is_persistent = ssd.is_persistent();
        let (pages, page_bytes) = (ssd.geometry().logical_pages, ssd.geometry().page_bytes);
        let saved = match ssd.saved() {
            Some(bytes) => Some(SavedState::decode(&bytes, pages, page_bytes.into())?),
            None => None,
        };
        let namespaces = Namespaces::new(&config, ssd.geometry(), saved.as_ref())?;
        // A flash that is filled from the beginning is so for its namespaces: those to come are empty.
        for (lpn, count) in namespaces.space.free_runs() {
            ssd.deallocate(ssd.now(), lpn, count);
        }
        let is_attached = |nsid: &Nsid| match &saved {
            Some(saved) => saved.namespaces.iter().all(|n| n.nsid != *nsid || n.is_attached),
            // What the configuration lists is attached.
            None => true,
        };
        let attached: Attachments = namespaces.ids().filter(is_attached).collect();
        let mut subsystem = Self {
            namespaces,
            page_bits: ssd.geometry().page_bytes.trailing_zeros(),
            ssd,
            engine: new_engine(&config.compute, policy),
            policy,
            programs,
            internal: Link::new(config.internal_link),
            peers: None,
            own_memory: OwnMemory::new(config.own_memory_bytes),
            femu: new_femu(&config),
            background: Background::default(),
            logs: saved.as_ref().map_or_else(Logs::default, |saved| {
                Logs::switched_on(&saved.counters, saved.is_shut_down)
            }),
            placement_events: PlacementEvents::default(),
            history: None,
            failures_seen: 0,
            is_spare_low: false,
            is_persistent: ssd_is_persistent,
            saving: Saving::default(),
            events: EventQueue::new(),
            outbox: Outbox::default(),
            records: Records::default(),
            scratch: Vec::new(),
            config,
        };
        subsystem.recover_zones();
        // From now on an end without a shutdown is one.
        subsystem.save(subsystem.ssd.now(), &attached);
        Ok((subsystem, attached))
    }

    /// Has what was deallocated so far stay so, whatever happens: before others get these pages, or the host is told that they are
    /// empty for good. It may take as long as a sync of the machine's disk; few commands of an administrator need it.
    ///
    /// # Errors
    /// If what keeps the flash cannot.
    pub(crate) fn make_durable(&mut self) -> Result<(), Status> {
        if self.ssd.sync_now() { Ok(()) } else { Err(Status::INTERNAL_ERROR) }
    }

    /// True if the drive acknowledges writes before they are safe, if the host lets it.
    pub(crate) fn has_write_cache(&self) -> bool {
        self.config.flash.write_buffer_bytes > 0 && !self.config.flash.power_loss_protection
    }

    /// The power went, and is there again: what is volatile is lost. The flash is cut by the caller.
    pub(crate) fn power_lost(&mut self, now: Instant, is_recording: bool) {
        self.outbox = Outbox::default();
        // Nothing is due any more: what reminds of something must know it.
        self.events = EventQueue::new();
        self.internal.forget(now);
        self.engine = new_engine(&self.config.compute, self.policy);
        self.engine.set_recording(is_recording);
        self.namespaces.power_lost();
        self.own_memory = OwnMemory::new(self.config.own_memory_bytes);
        self.femu = new_femu(&self.config);
    }
}

fn new_femu(config: &Config) -> Option<Femu> {
    (config.dialect == Dialect::Femu).then(Femu::default)
}

fn new_engine(config: &compute::Config, policy: Option<NewPolicy>) -> compute::Engine {
    match policy {
        Some(new) => compute::Engine::with_policy(config, &|| new(config)),
        None => compute::Engine::new(config),
    }
}

//! What belongs to one controller, apart from its queues: what the host set, what it asked for, how it is told.
//!
//! The NVM subsystem is shared by all controllers; there is one today.

use std::collections::BTreeSet;
use std::sync::Arc;

use fabric::Port;
use nvme_spec::Nsid;
use simtime::Instant;

use crate::admin::keep_alive::KeepAlive;
use crate::async_event::{AsyncEvents, Notice};
use crate::attachments::Attachments;
use crate::config::Config;
use crate::event::Tag;
use crate::features::Features;
use crate::inflight::InFlightTable;
use crate::interrupt::Interrupts;
use crate::registers::{CSS_ALL, Registers};
use crate::statistics::Lateness;
use crate::waiting::Waiting;

/// One controller's state.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) registers: Registers,
    pub(crate) features: Features,
    pub(crate) inflight: InFlightTable<Waiting>,
    /// Namespaces that are attached to it. It outlives resets.
    pub(crate) attached: Attachments,
    /// Namespaces whose Identify data changed since the host read the list.
    pub(crate) changed_namespaces: BTreeSet<Nsid>,
    pub(crate) async_events: AsyncEvents,
    pub(crate) keep_alive: KeepAlive,
    pub(crate) interrupts: Interrupts,
    /// Where it is connected.
    pub(crate) port: Arc<Port>,
    /// How late completions were.
    pub(crate) lateness: Lateness,
    /// Commands that end now, before anything else happens.
    pub(crate) ready: Vec<Tag>,
    /// Doorbells, freed places or notices may let commands be taken or ended.
    pub(crate) fetch_due: bool,
    /// A command ended early: what it asked of the flash may still wait there.
    pub(crate) has_abandoned: bool,
    /// The temperature was beyond a threshold when it was last looked at.
    was_temperature_told: bool,
}

impl Session {
    pub(crate) fn new(config: &Config, attached: Attachments, port: Arc<Port>) -> Self {
        Self {
            registers: Registers::default(),
            features: Features::default(),
            inflight: InFlightTable::default(),
            attached,
            changed_namespaces: BTreeSet::new(),
            async_events: AsyncEvents::default(),
            keep_alive: KeepAlive::default(),
            // One vector for each possible queue pair, and one for the admin queue.
            interrupts: Interrupts::new(usize::from(config.queue_pairs_max) + 1),
            port,
            lateness: Lateness::default(),
            ready: Vec::new(),
            fetch_due: false,
            has_abandoned: false,
            was_temperature_told: false,
        }
    }

    /// A controller reset; commands in flight were abandoned before.
    pub(crate) fn reset(&mut self, now: Instant) {
        self.port.forget(now);
        self.interrupts.reset();
        self.async_events.reset();
        self.features.reset(now);
        self.keep_alive.stop();
        self.ready.clear();
        self.fetch_due = false;
        self.has_abandoned = false;
        self.was_temperature_told = false;
        self.changed_namespaces.clear();
        self.registers.reset();
    }

    /// The power went: no event of ours is to come.
    pub(crate) fn power_lost(&mut self, config: &Config) {
        self.interrupts = Interrupts::new(usize::from(config.queue_pairs_max) + 1);
        self.keep_alive = KeepAlive::default();
    }

    /// True if the host enabled all command sets (CC.CSS).
    pub(crate) fn has_all_sets(&self) -> bool {
        self.registers.cc.css() == CSS_ALL
    }

    /// True if writes may be acknowledged before they are in flash.
    #[inline]
    pub(crate) fn has_write_cache(&self) -> bool {
        self.features.current.write_cache
    }

    /// True if the host asked for notices of a kind (Asynchronous Event Configuration), or always
    /// gets them.
    fn wants(&self, notice: Notice) -> bool {
        let config = self.features.current.async_events;
        match notice {
            Notice::SpareThreshold => config.smart() & 1 << 0 != 0,
            Notice::TemperatureThreshold => config.smart() & 1 << 1 != 0,
            Notice::Reliability => config.smart() & (1 << 2 | 1 << 3) != 0,
            Notice::NamespaceAttribute => config.namespace_attributes(),
            _ => true,
        }
    }

    /// Something happened that a host may have asked to be told.
    pub(crate) fn notify(&mut self, notice: Notice) {
        if self.wants(notice) && self.async_events.add(notice) {
            self.fetch_due = true;
        }
    }

    /// Identify data of a namespace is not what the host may have read, or the namespace came or went.
    pub(crate) fn namespace_changed(&mut self, nsid: Nsid) {
        self.changed_namespaces.insert(nsid);
        self.notify(Notice::NamespaceAttribute);
    }

    /// Tells the host, once, that the temperature is beyond a threshold: because a threshold moved,
    /// for the temperature does not, or because the host now wants to know.
    pub(crate) fn check_temperature(&mut self) {
        let is_told =
            self.wants(Notice::TemperatureThreshold) && self.features.is_temperature_critical();
        if is_told && !self.was_temperature_told {
            self.notify(Notice::TemperatureThreshold);
        }
        self.was_temperature_told = is_told;
    }
}

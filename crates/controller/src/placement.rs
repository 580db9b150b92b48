//! Flexible Data Placement (Base 2.1, section 8.1.10): hosts say which writes belong together, by placement identifiers.
//!
//! There is one reclaim group. A reclaim unit handle is a stream of the flash (`ssd`), and its reclaim unit a block of each plane. A namespace has
//! placement handles, each for a reclaim unit handle; as there is one group, a placement identifier is a placement handle.

mod commands;
mod logs;

pub(crate) use commands::{flushed, list_arrived, receive, send};
pub(crate) use logs::{configurations, events, events_feature, statistics, usage};

use std::collections::VecDeque;

use nvme_spec::{FdpEvent, Nsid, Timestamp, fdp_event};
use ssd::STREAMS_MAX;
use zerocopy::IntoBytes;

/// The placement handles of a namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Handles {
    count: u8,
    /// The reclaim unit handle of each.
    of: [u8; STREAMS_MAX as usize],
    /// The host listed them when it created the namespace.
    pub(crate) is_of_host: bool,
}

impl Handles {
    /// One, which the drive chooses: namespaces take turns.
    pub(crate) fn one(nsid: Nsid, streams: u32) -> Self {
        let mut of = [0; STREAMS_MAX as usize];
        of[0] = ((nsid.0 - 1) % streams) as u8;
        Self { count: 1, of, is_of_host: false }
    }

    /// All that there are.
    pub(crate) fn all(streams: u32) -> Self {
        let of = core::array::from_fn(|handle| handle as u8);
        Self { count: streams as u8, of, is_of_host: false }
    }

    /// A list of the host's, or of a file: each is one of so many, and no other of the list is the same.
    pub(crate) fn of_list(list: &[u16], streams: u32, is_of_host: bool) -> Option<Self> {
        let is_right = |(n, handle): (usize, &u16)| {
            u32::from(*handle) < streams && !list[..n].contains(handle)
        };
        if list.is_empty()
            || list.len() > STREAMS_MAX as usize
            || !list.iter().enumerate().all(is_right)
        {
            return None;
        }
        let mut of = [0; STREAMS_MAX as usize];
        of.iter_mut().zip(list).for_each(|(to, handle)| *to = *handle as u8);
        Some(Self { count: list.len() as u8, of, is_of_host })
    }

    /// The reclaim unit handles, by placement handle.
    pub(crate) fn list(&self) -> &[u8] {
        &self.of[..usize::from(self.count)]
    }

    /// The stream of writes that name no placement identifier.
    #[inline]
    pub(crate) fn default_stream(&self) -> u8 {
        self.of[0]
    }

    /// The stream of a placement identifier.
    #[inline]
    pub(crate) fn stream(&self, identifier: u16) -> Option<u8> {
        self.list().get(usize::from(identifier)).copied()
    }
}

/// Events that are kept: the oldest give way.
const EVENTS_MAX: usize = 64;

/// Events of data placement.
#[derive(Debug, Default)]
pub(crate) struct PlacementEvents {
    /// The types that hosts asked for, as bits, by reclaim unit handle: others are not kept.
    enabled: [u8; STREAMS_MAX as usize],
    log: VecDeque<FdpEvent>,
}

/// The bit of a type.
fn bit(kind: u8) -> u8 {
    let place = fdp_event::ALL.iter().position(|known| *known == kind);
    place.map_or(0, |place| 1 << place)
}

impl PlacementEvents {
    /// Which types are reported of a reclaim unit handle.
    pub(crate) fn is_enabled(&self, handle: u8, kind: u8) -> bool {
        self.enabled[usize::from(handle)] & bit(kind) != 0
    }

    pub(crate) fn set(&mut self, handle: u8, kinds: &[u8], enable: bool) {
        let bits = kinds.iter().fold(0, |bits, kind| bits | bit(*kind));
        let enabled = &mut self.enabled[usize::from(handle)];
        *enabled = if enable { *enabled | bits } else { *enabled & !bits };
    }

    /// Something happened to a reclaim unit handle; it is kept if a host asked for it.
    pub(crate) fn happened(
        &mut self,
        (nsid, identifier): (Nsid, u16),
        handle: u8,
        kind: u8,
        timestamp: &Timestamp,
    ) {
        if !self.is_enabled(handle, kind) {
            return;
        }
        let mut event = FdpEvent { kind, flags: 0b111, handle, ..FdpEvent::default() };
        event.identifier.set(identifier);
        event.nsid.set(nsid.0);
        event.timestamp.copy_from_slice(timestamp.as_bytes());
        if self.log.len() == EVENTS_MAX {
            self.log.pop_front();
        }
        self.log.push_back(event);
    }
}

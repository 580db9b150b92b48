//! Drives that reach each other's device memory without their host.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ebpf::SharedMemory;
use fabric::{LinkConfig, Port, Switch};
use nvme_spec::Nsid;

use crate::namespace::Namespaces;

/// Drives of one process behind a switch. Whoever has it in its [`Parts`](crate::Parts) belongs to them; they are numbered from 0 on,
/// in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    switch: Switch,
    drives: Arc<Mutex<Vec<Peer>>>,
}

/// A drive as others see it.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) serial: String,
    pub(crate) port: Arc<Port>,
    pub(crate) memories: Vec<(Nsid, Arc<SharedMemory>)>,
}

/// A drive's place among others, or alone.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) port: Arc<Port>,
    /// The others, and the number of this one.
    pub(crate) among: Option<(Peers, u32)>,
}

impl Peers {
    /// Drives behind a switch.
    pub fn new(switch: Switch) -> Self {
        Self { switch, drives: Arc::default() }
    }

    fn drives(&self) -> MutexGuard<'_, Vec<Peer>> {
        // A list is never half changed.
        self.drives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A drive of these.
    pub(crate) fn get(&self, number: u32) -> Option<Peer> {
        self.drives().get(number as usize).cloned()
    }

    /// All drives, in order.
    pub(crate) fn all(&self) -> Vec<Peer> {
        self.drives().clone()
    }
}

impl Place {
    /// A new drive takes its place.
    pub(crate) fn take(
        peers: Option<Peers>,
        serial: &str,
        link: LinkConfig,
        namespaces: &Namespaces,
    ) -> Self {
        let Some(peers) = peers else {
            return Self { port: Arc::new(Port::new(link)), among: None };
        };
        let port = Arc::new(Port::of(&peers.switch, link));
        let memories = namespaces.memories();
        let mut drives = peers.drives();
        let number = drives.len() as u32;
        drives.push(Peer { serial: serial.to_owned(), port: Arc::clone(&port), memories });
        drop(drives);
        Self { port, among: Some((peers, number)) }
    }
}

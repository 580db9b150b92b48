//! What a command in flight waits for: one arm for each kind of namespace, and those of the controller itself.

use nvme_spec::Nsid;

use crate::command::NamespaceAction;
use crate::data_pointer::Segments;
use crate::event::Tag;
use crate::femu::FemuArrival;
use crate::inflight::{Reserved, Wait};
use crate::namespace::memory::waiting::{MemoryArrival, MemoryWait};
use crate::namespace::nvm::waiting::{NvmArrival, NvmWait};
use crate::namespace::programs::stream::Stream;
use crate::namespace::programs::{ProgramsArrival, RunningJob};

/// What a command waits for.
#[derive(Debug, Default)]
pub(crate) enum Waiting {
    /// Nothing but its completion time.
    #[default]
    Completion,
    /// Data on its way from the host, or between flash and device memory.
    Data {
        segments: Segments,
        arrival: Box<Arrival>,
    },
    Nvm(NvmWait),
    Memory(MemoryWait),
    /// A job on the compute units.
    Job(Box<RunningJob>),
    /// Chunks of a streaming execution.
    Stream(Box<Stream>),
    /// Something to tell the host.
    Event,
    /// Namespaces being formatted.
    Format,
}

/// What a command does when the data it waits for has arrived: its owner knows.
#[derive(Debug)]
pub(crate) enum Arrival {
    Nvm(NvmArrival),
    Memory(MemoryArrival),
    Programs(ProgramsArrival),
    Femu(FemuArrival),
    Admin(AdminArrival),
}

/// Data of admin commands that are the controller's or the subsystem's.
#[derive(Debug)]
pub(crate) enum AdminArrival {
    Timestamp,
    HostBehavior,
    /// The specification of a new namespace, or a list of controllers.
    Namespaces(NamespaceAction),
    /// Types of events of data placement, of a placement handle.
    PlacementEvents {
        handle: u16,
        count: usize,
        enable: bool,
    },
    /// How far the host has come.
    Mark {
        len: u64,
    },
}

impl Wait for Waiting {
    #[inline]
    fn is_over(&self) -> bool {
        matches!(self, Self::Completion)
    }
}

impl Waiting {
    /// The write of the fused pair whose compare this is.
    pub(crate) fn fused_write(&self) -> Option<Tag> {
        let write = match self {
            Self::Nvm(NvmWait::Checking(check)) => check.write.as_ref(),
            Self::Data { arrival, .. } => match &**arrival {
                Arrival::Nvm(NvmArrival::Compare { write, .. }) => write.as_ref(),
                _ => None,
            },
            _ => None,
        };
        write.map(|write| write.tag)
    }

    /// True for the write of a fused pair whose compare is not done.
    pub(crate) fn is_second_of_pair(&self) -> bool {
        matches!(self, Self::Nvm(NvmWait::AwaitingCompare))
    }

    /// True if blocks of one of these namespaces are being copied.
    pub(crate) fn copies_from(&self, nsids: &[Nsid]) -> bool {
        match self {
            Self::Nvm(NvmWait::Copying { sources, .. })
            | Self::Memory(MemoryWait::Copying { sources, .. }) => {
                sources.iter().any(|source| nsids.contains(&source.nsid))
            }
            Self::Stream(stream) => stream.uses(nsids),
            _ => false,
        }
    }
}

impl From<NvmWait> for Waiting {
    #[inline]
    fn from(wait: NvmWait) -> Self {
        Self::Nvm(wait)
    }
}

impl Arrival {
    /// What the command will ask of flash pages of this size.
    pub(crate) fn reserved(&self, page_bits: u32) -> Reserved {
        match self {
            Self::Nvm(arrival) => arrival.reserved(page_bits),
            Self::Memory(arrival) => arrival.reserved(page_bits),
            Self::Programs(_) | Self::Femu(_) | Self::Admin(_) => Reserved::default(),
        }
    }

    /// True if the flash is asked for more than reads only later: what is noted stays until then.
    pub(crate) fn reads_first(&self) -> bool {
        matches!(self, Self::Nvm(arrival) if arrival.reads_first())
    }
}

//! The three namespaces: what their commands do.

use nvme_spec::{CommandSet, Status};

use crate::controller::Controller;
use crate::data_pointer::Segments;
use crate::host_memory::HostMemory;

pub(crate) mod compute;
pub(crate) mod memory;
pub(crate) mod nvm;

pub use nvme_spec::namespace::{COMPUTE_NSID, MEMORY_NSID, NVM_NSID};

/// Every namespace with its command set, ascending.
pub(crate) const NAMESPACES: [(u32, CommandSet); 3] = [
    (NVM_NSID, CommandSet::NVM),
    (MEMORY_NSID, CommandSet::MEMORY),
    (COMPUTE_NSID, CommandSet::PROGRAMS),
];

impl Controller {
    /// Reads all of a command's data before any of it is kept: a command that fails leaves nothing.
    pub(crate) fn keep_data(
        &mut self,
        host: &impl HostMemory,
        segments: &Segments,
        len: u64,
        keep: impl FnOnce(&mut Self, &[u8]),
    ) -> Result<(), Status> {
        let mut data = std::mem::take(&mut self.scratch);
        data.resize(len as usize, 0);
        let read = segments.read(host, &mut data);
        if read.is_ok() {
            keep(self, &data);
        }
        self.scratch = data;
        read
    }
}

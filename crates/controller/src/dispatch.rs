//! From a command to its owner: the namespace that begins it, that goes on when its data has arrived, and when the flash has
//! finished a page of it. A new kind of namespace has its arms here.

use nvme_spec::{Nsid, NvmOpcode, Status, SubmissionEntry};
use ssd::Done;

use crate::admin::{features, namespaces};
use crate::command::check_flags;
use crate::event::Tag;
use crate::femu;
use crate::kept_history;
use crate::namespace::Namespace;
use crate::namespace::memory::commands::page_done as memory_page_done;
use crate::namespace::nvm::commands::{Pair, flush};
use crate::namespace::nvm::{NvmNamespace, media_status, page_done as nvm_page_done};
use crate::namespace::programs::execute;
use crate::turn::Turn;
use crate::waiting::{AdminArrival, Arrival, Waiting};

/// The first vendor specific opcode.
const VENDOR: u8 = 0x80;

impl Turn<'_> {
    /// Begins an I/O command: its namespace does.
    #[inline]
    pub(crate) fn begin_io(&mut self, tag: Tag, entry: &SubmissionEntry) -> Result<(), Status> {
        let nsid = Nsid(entry.nsid.get());
        // Flush of all namespaces (Base 2.1, section 7.2; VWC bits 2:1).
        if nsid == Nsid::ALL && entry.opcode == NvmOpcode::FLUSH.0 {
            for namespace in self.subsystem.namespaces.nvm_all() {
                self.check_open(namespace)?;
            }
            self.check_no_sanitize()?;
            flush(self, tag, Nsid::ALL);
            return Ok(());
        }
        if let Some(namespace) = self.attached_nvm(nsid) {
            self.check_open(namespace)?;
            let namespace = namespace.clone();
            let is_femu = self.subsystem.femu.is_some() && namespace.layout.is_none();
            if entry.opcode >= VENDOR && is_femu {
                return femu::begin(self, tag, &namespace, entry);
            }
            return namespace.begin(self, tag, entry);
        }
        self.check_no_sanitize()?;
        let namespace = self.active(nsid)?;
        if !self.session.has_all_sets() {
            return Err(Status::INVALID_NAMESPACE.with_dnr());
        }
        match namespace {
            Namespace::Memory(namespace) => namespace.clone().begin(self, tag, entry),
            _ => execute::begin(self, tag, nsid, entry),
        }
    }

    /// The NVM namespace of an identifier, if it is attached.
    #[inline]
    pub(crate) fn attached_nvm(&self, nsid: Nsid) -> Option<&NvmNamespace> {
        let namespace = self.subsystem.namespaces.nvm(nsid)?;
        self.session.attached.contains(nsid).then_some(namespace)
    }

    /// Begins a pair whose opcodes and namespace were checked.
    pub(crate) fn begin_pair(&mut self, pair: Pair<'_>) -> Result<(), Status> {
        let (_, first) = pair.compare;
        check_flags(first, false)?;
        check_flags(pair.write.1, false)?;
        let namespace = self.attached_nvm(Nsid(first.nsid.get()));
        let namespace = namespace.expect("it was checked").clone();
        self.check_open(&namespace)?;
        namespace.compare_and_write(self, pair)
    }

    /// The data of a command has arrived: whoever asked for it goes on.
    #[inline]
    pub(crate) fn data_arrived(&mut self, tag: Tag) {
        let Some((segments, arrival)) = self.take_arrived(tag) else { return };
        let Some(command) = self.command(tag) else { return };
        let nsid = command.kind.nsid;
        let namespaces = &self.subsystem.namespaces;
        let outlives = "a namespace outlives its commands";
        let done = match arrival {
            Arrival::Nvm(arrival) => {
                let namespace = namespaces.nvm(nsid).expect(outlives).clone();
                namespace.arrived(self, tag, segments, arrival)
            }
            Arrival::Memory(arrival) => {
                let namespace = namespaces.memory(nsid).expect(outlives).clone();
                namespace.arrived(self, tag, &segments, arrival)
            }
            Arrival::Programs(arrival) => execute::arrived(self, tag, nsid, &segments, arrival),
            Arrival::Femu(arrival) => femu::arrived(self, tag, &segments, arrival),
            Arrival::Admin(AdminArrival::Timestamp) => {
                features::timestamp_arrived(self, tag, &segments)
            }
            Arrival::Admin(AdminArrival::HostBehavior) => {
                features::host_behavior_arrived(self, tag, &segments)
            }
            Arrival::Admin(AdminArrival::Namespaces(action)) => {
                namespaces::arrived(self, tag, nsid, &segments, action)
            }
            Arrival::Admin(AdminArrival::PlacementEvents { handle, count, enable }) => {
                features::placement_events_arrived(
                    self,
                    tag,
                    (nsid, handle),
                    &segments,
                    (count, enable),
                )
            }
            Arrival::Admin(AdminArrival::Mark { len }) => {
                kept_history::mark_arrived(self, tag, &segments, len)
            }
        };
        if let Err(status) = done {
            self.complete(tag, status, 0);
        }
    }

    /// The flash model finished a page, or a flush, of a command; false if the command ended.
    #[inline]
    pub(crate) fn page_done(&mut self, tag: Tag, page: &Done) -> bool {
        let Some(command) = self.session.inflight.get_mut(tag) else { return false };
        // The first error is the command's; none of its data is handed out.
        if let Err(error) = page.result
            && command.status.is_success()
        {
            command.status = media_status(error);
        }
        command.late = command.late.max(page.late);
        match &command.waiting {
            Waiting::Nvm(_) => nvm_page_done(self, tag, page),
            Waiting::Memory(_) => memory_page_done(self, tag, page),
            other => unreachable!("flash finished a page for a command that is {other:?}"),
        }
        true
    }
}

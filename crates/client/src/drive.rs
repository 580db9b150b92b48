//! A drive as its user sees it: programs, device memory, blocks.

mod compound;
mod counters;
mod groups;
mod peers;
mod programs;
mod single;
mod streaming;
mod transfer;
mod zones;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use nvme_spec::{
    CommandSet, IDENTIFY_SIZE, IdentifyController, IdentifyNamespaceMemory, IdentifyNamespaceNvm,
    PAGE_SIZE, Status, SubmissionEntry, cns,
};
use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use crate::commands;
use crate::namespaces::{NamespaceIds, addressed};
use crate::transport::{Command, Data, Done, Lane, Submit, Ticket, TransportError};

pub use crate::commands::GroupOptions;
pub use compound::Compound;
pub use counters::BusyParts;
pub use groups::GroupInfo;
pub use peers::PeerMemory;
pub use programs::{Invocation, ProgramImage, ProgramInfo, ProgramState, RangeSetInfo};
pub use single::MEMORY_COMMAND_BYTES_MAX;
pub use streaming::Streaming;
pub use zones::Zone;

/// A command the drive completed with an error status.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{command}: {status}{}{}", .detail.as_ref().map_or(String::new(), |d| format!(": {d}")), remedy(.command, *.status))]
pub struct CommandFailed {
    /// The command's name.
    pub command: &'static str,
    /// Its status.
    pub status: Status,
    /// What the drive's diagnostics log says, for program commands.
    pub detail: Option<String>,
}

/// How a Mark command is called.
const MARK: &str = "Mark";

/// What to do about a status, where that is known.
fn remedy(command: &str, status: Status) -> &'static str {
    if command == programs::LOAD && status.same_code(Status::PROGRAM_IN_USE) {
        return "; there is a program at this index: unload it, or choose another index";
    }
    if command == MARK {
        return match status {
            _ if status.same_code(Status::COMMAND_SEQUENCE_ERROR) => {
                "; the drive keeps no history: csdrive serve --history FILE has it keep one"
            }
            _ if status.same_code(Status::INVALID_FIELD) => {
                "; give 1 to 4096 bytes of UTF-8, in one line"
            }
            _ => "",
        };
    }
    let known = [
        (Status::ABORTED_SQ_DELETION, "; the drive was reset meanwhile: try again"),
        (Status::NO_PROGRAM, "; `csdrive program list` shows what is loaded"),
        (Status::PROGRAM_NOT_ACTIVATED, "; activate the program first"),
        (Status::PROGRAM_IN_USE, "; deactivate it, and wait for executions to end"),
        (Status::MEMORY_RANGE_SET_IN_USE, "; wait for executions to end"),
        (Status::INVALID_MEMORY_RANGE_SET_ID, "; `csdrive ranges list` shows which there are"),
        (Status::INVALID_JOB_GROUP, "; `csdrive group list` shows which there are"),
        (Status::JOB_GROUP_IN_USE, "; wait for its executions to end"),
        (Status::MAXIMUM_JOB_GROUPS_EXCEEDED, "; delete another group"),
        (Status::MAXIMUM_PROGRAMS_ACTIVATED, "; deactivate another program"),
        (Status::MAXIMUM_PROGRAM_BYTES_EXCEEDED, "; unload another program"),
        (Status::LBA_OUT_OF_RANGE, "; the namespace has fewer blocks"),
    ];
    known.iter().find(|(other, _)| status.same_code(*other)).map_or("", |(_, text)| text)
}

/// Something that did not work out.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum DriveError {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error(transparent)]
    Failed(#[from] CommandFailed),
    #[error(transparent)]
    Program(#[from] bpf_clang::Error),
    #[error("{what}: {value} is not a multiple of {multiple}")]
    Unaligned { what: &'static str, value: u64, multiple: u64 },
    #[error("device memory {start:#x} to {end:#x}: the drive has {memory_bytes} bytes of it")]
    BeyondMemory { start: u64, end: u64, memory_bytes: u64 },
    #[error("{0} has no bytes")]
    Empty(&'static str),
    #[error("blocks {first} and {count} more: the drive has {blocks}")]
    BeyondBlocks { first: u64, count: u64, blocks: u64 },
    #[error(
        "namespace {0}: the drive has none with this identifier; `nvme list-ns` shows which there are"
    )]
    NoNamespace(u32),
    #[error("the drive has no zoned namespace; `[[namespace]]` with kind = \"zoned\" makes one")]
    NoZones,
    #[error(
        "{0} ranges of a streaming execution: its ranges are those of its range set; leave its own empty"
    )]
    RangesOfStream(usize),
    #[error("{0} is beyond what a command can say")]
    TooMuch(String),
}

impl From<crate::DriverError> for DriveError {
    fn from(error: crate::DriverError) -> Self {
        TransportError::from(error).into()
    }
}

/// What drive functions return.
pub type DriveResult<T> = Result<T, DriveError>;

/// What a drive is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    /// Bytes of a logical block.
    pub block_bytes: u64,
    /// Blocks of the NVM namespace.
    pub blocks: u64,
    /// Bytes of device memory.
    pub memory_bytes: u64,
    /// Most bytes of data of a command.
    pub transfer_bytes_max: u64,
    /// Most blocks that a Copy command writes.
    pub copy_blocks_max: u64,
    /// The namespaces that this is about.
    pub namespaces: NamespaceIds,
}

/// A drive, by whatever way.
#[derive(Debug)]
pub struct Drive<T = Box<dyn Submit + Send>> {
    /// The way to it.
    pub transport: T,
    geometry: Geometry,
    /// Completions of commands that were started, and not asked for yet.
    ready: VecDeque<Done>,
}

impl<T: Submit> Drive<T> {
    /// A drive behind a transport that is open: it is asked what it is like. `path` names it in errors; it works with the
    /// namespace `named`, or with the first of each kind.
    ///
    /// # Errors
    /// If it is not a computational drive, or has no such namespace.
    pub fn identify_all(transport: T, path: &str, named: Option<u32>) -> DriveResult<Self> {
        let mut drive = Self::new(transport, UNKNOWN);
        drive.geometry.namespaces = drive.first_namespaces(path)?;
        match named {
            Some(nsid) => drive.use_namespace(nsid)?,
            None => drive.geometry = drive.identify_geometry(path)?,
        }
        Ok(drive)
    }

    /// From now on works with another namespace of its kind: blocks, memory or programs. Before, it is the first of each.
    ///
    /// # Errors
    /// If the drive has no such namespace.
    pub fn use_namespace(&mut self, nsid: u32) -> DriveResult<()> {
        let mut namespaces = self.geometry.namespaces;
        let mut is_known = false;
        for (sets, place) in [
            (&[CommandSet::NVM, CommandSet::ZONED][..], &mut namespaces.nvm),
            (&[CommandSet::MEMORY], &mut namespaces.memory),
            (&[CommandSet::PROGRAMS], &mut namespaces.programs),
        ] {
            for set in sets.iter().filter(|_| nsid > 0) {
                if self.namespace_after(nsid - 1, *set)? == Some(nsid) {
                    *place = nsid;
                    is_known = true;
                }
            }
        }
        if !is_known {
            return Err(DriveError::NoNamespace(nsid));
        }
        let before = std::mem::replace(&mut self.geometry.namespaces, namespaces);
        match self.identify_geometry(&format!("namespace {nsid}")) {
            Ok(geometry) => {
                self.geometry = geometry;
                Ok(())
            }
            Err(error) => {
                self.geometry.namespaces = before;
                Err(error)
            }
        }
    }

    /// The first namespace of a command set above an identifier.
    fn namespace_after(&mut self, nsid: u32, set: CommandSet) -> DriveResult<Option<u32>> {
        // Not the descriptors (CNS 03h): this drive takes its time for them.
        match self.identify(cns::CSI_ACTIVE_NAMESPACES, nsid, set) {
            Ok(list) => {
                let (first, _) = U32::read_from_prefix(&list).expect("a page is enough");
                Ok((first.get() != 0).then_some(first.get()))
            }
            Err(DriveError::Failed(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The first namespace of each kind.
    fn first_namespaces(&mut self, path: &str) -> DriveResult<NamespaceIds> {
        let mut first = |sets: &[CommandSet]| -> DriveResult<u32> {
            for set in sets {
                if let Some(nsid) = self.namespace_after(0, *set)? {
                    return Ok(nsid);
                }
            }
            let reason = format!(
                "it has no namespace of command set {}: not a computational storage drive",
                sets[0].0
            );
            Err(TransportError::NoDrive { path: path.to_owned(), reason }.into())
        };
        // Blocks in zones are blocks, if there are no others.
        let nvm = first(&[CommandSet::NVM, CommandSet::ZONED])?;
        let (memory, programs) = (first(&[CommandSet::MEMORY])?, first(&[CommandSet::PROGRAMS])?);
        Ok(NamespaceIds { nvm, memory, programs })
    }

    /// Asks a drive what its namespaces are like.
    fn identify_geometry(&mut self, path: &str) -> DriveResult<Geometry> {
        let namespaces = self.geometry.namespaces;
        let page = self.identify(cns::CONTROLLER, 0, CommandSet::NVM)?;
        let (controller, _) =
            IdentifyController::read_from_prefix(&page).expect("a page is enough");
        // 2^MDTS pages; 0 = no limit.
        let mdts = match controller.mdts {
            0 => u64::MAX,
            power => PAGE_SIZE.checked_shl(power.into()).unwrap_or(u64::MAX),
        };
        let page = self.identify(cns::NAMESPACE, namespaces.nvm, CommandSet::NVM)?;
        let (nvm, _) = IdentifyNamespaceNvm::read_from_prefix(&page).expect("a page is enough");
        let format = nvm.lbaf[usize::from(nvm.flbas & 0xF)];
        if !(9..=16).contains(&format.lbads) {
            let reason = format!("blocks of 2^{} bytes are none", format.lbads);
            return Err(TransportError::NoDrive { path: path.to_owned(), reason }.into());
        }
        let page = self.identify(cns::CSI_NAMESPACE, namespaces.memory, CommandSet::MEMORY)?;
        let (memory, _) =
            IdentifyNamespaceMemory::read_from_prefix(&page).expect("a page is enough");
        Ok(Geometry {
            block_bytes: 1 << format.lbads,
            blocks: nvm.nsze.get(),
            memory_bytes: memory.nsze_bytes.get(),
            transfer_bytes_max: mdts.min(self.transport.data_bytes_max()),
            copy_blocks_max: u64::from(nvm.mcl.get()).min(nvm.mssrl.get().into()).max(1),
            namespaces,
        })
    }
}

/// Makes an error of a command that failed.
fn succeeded(command: &'static str, done: Done) -> DriveResult<Done> {
    if let Some(number) = done.kernel_error {
        let cause = std::io::Error::from_raw_os_error(number);
        return Err(TransportError::Kernel { command, cause }.into());
    }
    if done.status.is_success() {
        return Ok(done);
    }
    Err(CommandFailed { command, status: done.status, detail: None }.into())
}

/// Of a drive that was not asked yet.
const UNKNOWN: Geometry = Geometry {
    block_bytes: 4096,
    blocks: 0,
    memory_bytes: 0,
    transfer_bytes_max: PAGE_SIZE,
    copy_blocks_max: 1,
    namespaces: NamespaceIds::UNLISTED,
};

impl<T: Submit> Drive<T> {
    /// A drive that is known to be like this.
    pub fn new(transport: T, geometry: Geometry) -> Self {
        Self { transport, geometry, ready: VecDeque::new() }
    }

    /// What the drive is like.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Bytes of a logical block.
    pub fn block_bytes(&self) -> u64 {
        self.geometry.block_bytes
    }

    /// Starts a command; waits for others while there is no room for it.
    ///
    /// # Errors
    /// If the drive is gone.
    pub fn start(&mut self, command: Command) -> DriveResult<Ticket> {
        while self.transport.room(command.lane) == 0 {
            let done = self.transport.wait()?;
            self.ready.push_back(done);
        }
        Ok(self.transport.submit(command)?)
    }

    /// The next completion of a command that was started.
    ///
    /// # Errors
    /// If there is none, or the drive is gone.
    pub fn wait(&mut self) -> DriveResult<Done> {
        match self.ready.pop_front() {
            Some(done) => Ok(done),
            None => Ok(self.transport.wait()?),
        }
    }

    /// The next completion of a command that was started, if there is one in about so long.
    ///
    /// # Errors
    /// If no command is under way, or the drive is gone.
    pub fn wait_at_most(&mut self, limit: Duration) -> DriveResult<Option<Done>> {
        match self.ready.pop_front() {
            Some(done) => Ok(Some(done)),
            None => Ok(self.transport.wait_at_most(Some(limit))?),
        }
    }

    /// Waits for one command about so long at most, and keeps what else completes.
    ///
    /// # Errors
    /// If the drive is gone, or there is no such command.
    pub fn wait_for_at_most(
        &mut self,
        ticket: Ticket,
        limit: Duration,
    ) -> DriveResult<Option<Done>> {
        let began = Instant::now();
        loop {
            let found = self.ready.iter().position(|done| done.ticket == ticket);
            if let Some(done) = found.and_then(|at| self.ready.remove(at)) {
                return Ok(Some(done));
            }
            let left = limit.saturating_sub(began.elapsed());
            match self.transport.wait_at_most(Some(left))? {
                Some(done) => self.ready.push_back(done),
                None => return Ok(None),
            }
        }
    }

    /// Waits for one command, and keeps what else completes.
    ///
    /// # Errors
    /// If the drive is gone, or there is no such command.
    pub fn wait_for(&mut self, ticket: Ticket) -> DriveResult<Done> {
        if let Some(at) = self.ready.iter().position(|done| done.ticket == ticket)
            && let Some(done) = self.ready.remove(at)
        {
            return Ok(done);
        }
        loop {
            let done = self.transport.wait()?;
            if done.ticket == ticket {
                return Ok(done);
            }
            self.ready.push_back(done);
        }
    }

    /// A command of the NVM namespace in use.
    fn of_blocks(&self, entry: SubmissionEntry) -> SubmissionEntry {
        addressed(entry, self.geometry.namespaces.nvm)
    }

    /// A command of the memory namespace in use.
    fn of_memory(&self, entry: SubmissionEntry) -> SubmissionEntry {
        addressed(entry, self.geometry.namespaces.memory)
    }

    /// A command of the programs namespace in use.
    fn of_programs(&self, entry: SubmissionEntry) -> SubmissionEntry {
        addressed(entry, self.geometry.namespaces.programs)
    }

    /// Runs a command as [`Self::perform`] does.
    fn run(
        &mut self,
        name: &'static str,
        lane: Lane,
        entry: SubmissionEntry,
        data: Data,
    ) -> DriveResult<Done> {
        self.perform(Command { name, lane, entry, data, is_execution: false })
    }

    /// Runs a command and makes an error of an error status.
    ///
    /// # Errors
    /// If the drive refuses it, or is gone.
    pub fn perform(&mut self, command: Command) -> DriveResult<Done> {
        let name = command.name;
        let ticket = self.start(command)?;
        succeeded(name, self.wait_for(ticket)?)
    }

    /// Runs a command with data from the drive.
    fn receive(
        &mut self,
        name: &'static str,
        lane: Lane,
        entry: SubmissionEntry,
        len: u64,
    ) -> DriveResult<Vec<u8>> {
        Ok(self.run(name, lane, entry, Data::FromDrive(len as usize))?.data)
    }

    /// Puts a mark into the history that the drive keeps of what is written to it: at most 4096 bytes. Whoever looks for crashes
    /// (`csdrive crashtest`) is told what was said before each.
    ///
    /// # Errors
    /// If the drive keeps none, or is gone.
    pub fn mark(&mut self, text: &str) -> DriveResult<()> {
        let mut bytes = text.as_bytes().to_vec();
        let entry = commands::mark(bytes.len());
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        self.run(MARK, Lane::Admin, entry, Data::ToDrive(bytes)).map(drop)
    }

    /// Reads the beginning of a log page; the length is a multiple of four.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn log(&mut self, id: u8, nsid: u32, len: u64) -> DriveResult<Vec<u8>> {
        self.log_at(id, nsid, 0, len)
    }

    /// Reads a part of a log page; offset and length are multiples of four.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn log_at(&mut self, id: u8, nsid: u32, offset: u64, len: u64) -> DriveResult<Vec<u8>> {
        let mut text = Vec::new();
        while (text.len() as u64) < len {
            let at = text.len() as u64;
            let part = (len - at).min(self.geometry.transfer_bytes_max);
            let entry = commands::get_log(id, nsid, CommandSet::NVM, offset + at, part);
            text.extend(self.receive("Get Log Page", Lane::Admin, entry, part)?);
        }
        Ok(text)
    }

    /// Reads an Identify data structure.
    ///
    /// # Errors
    /// If the drive refuses.
    pub fn identify(&mut self, cns: u8, nsid: u32, csi: CommandSet) -> DriveResult<Vec<u8>> {
        let entry = commands::identify(cns, nsid, csi);
        self.receive("Identify", Lane::Admin, entry, IDENTIFY_SIZE as u64)
    }
}

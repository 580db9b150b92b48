//! The one seam between what a host wants and how its commands get to a drive.

use std::time::Duration;

use nvme_spec::{Status, SubmissionEntry};

/// How long a program may run before the drive counts as gone.
pub const EXECUTE_PATIENCE: Duration = Duration::from_secs(600);

/// Which kind of queue a command goes to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Lane {
    /// The admin queue.
    Admin,
    /// An I/O queue.
    Io,
}

/// Data of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Data {
    /// It has none.
    None,
    /// Bytes for the drive.
    ToDrive(Vec<u8>),
    /// So many bytes from the drive.
    FromDrive(usize),
}

impl Data {
    /// How many bytes they are, whichever way they go.
    pub fn byte_count(&self) -> usize {
        match self {
            Self::None => 0,
            Self::ToDrive(bytes) => bytes.len(),
            Self::FromDrive(len) => *len,
        }
    }

    /// How many bytes come from the drive.
    pub fn received(&self) -> usize {
        if let Self::FromDrive(len) = self { *len } else { 0 }
    }
}

/// A command with its data. The transport fills in identifier and data pointer.
#[derive(Clone, Debug)]
pub struct Command {
    /// Its name in errors.
    pub name: &'static str,
    /// Where it goes.
    pub lane: Lane,
    /// The submission queue entry, without a data pointer.
    pub entry: SubmissionEntry,
    /// Its data.
    pub data: Data,
    /// It executes a program, which may take longer than other commands.
    pub is_execution: bool,
}

/// Names a command that is under way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// A command that has completed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Done {
    /// Of the command.
    pub ticket: Ticket,
    /// Its status; of no account if the kernel failed it.
    pub status: Status,
    /// The system's error number, if the kernel failed it and the drive did not answer.
    pub kernel_error: Option<i32>,
    /// Dwords 0 and 1 of its completion.
    pub result: u64,
    /// What came from the drive.
    pub data: Vec<u8>,
}

/// A way to a drive: in this process, by a socket, through the Linux kernel.
///
/// Commands are given to it and come back complete, in any order. It owns their data meanwhile, so that whatever
/// becomes of the caller, a drive never writes to memory that is used for something else.
pub trait Submit: std::fmt::Debug {
    /// Gives a command to the drive, or keeps it until the next [`Self::wait`], so that many go together.
    ///
    /// # Errors
    /// If there is no room for it ([`Self::room`]) or no way any more.
    fn submit(&mut self, command: Command) -> Result<Ticket, TransportError>;

    /// Waits for the next command to complete, about so long at most (a simulated drive has no such limit). `None` if
    /// none has.
    ///
    /// # Errors
    /// If none is under way, or the drive is gone.
    fn wait_at_most(&mut self, limit: Option<Duration>) -> Result<Option<Done>, TransportError>;

    /// Waits for the next command to complete.
    ///
    /// # Errors
    /// If none is under way, or the drive is gone.
    fn wait(&mut self) -> Result<Done, TransportError> {
        loop {
            if let Some(done) = self.wait_at_most(None)? {
                return Ok(done);
            }
        }
    }

    /// Commands of this kind that can be submitted now.
    fn room(&self, lane: Lane) -> usize;

    /// Bytes of data that a command can carry this way, whatever the drive takes.
    fn data_bytes_max(&self) -> u64;
}

impl<T: Submit + ?Sized> Submit for Box<T> {
    fn submit(&mut self, command: Command) -> Result<Ticket, TransportError> {
        (**self).submit(command)
    }

    fn wait_at_most(&mut self, limit: Option<Duration>) -> Result<Option<Done>, TransportError> {
        (**self).wait_at_most(limit)
    }

    fn room(&self, lane: Lane) -> usize {
        (**self).room(lane)
    }

    fn data_bytes_max(&self) -> u64 {
        (**self).data_bytes_max()
    }
}

/// Commands cannot get to the drive, or not back.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum TransportError {
    #[error("{path}: {cause}{}", remedy(.cause))]
    Open { path: String, cause: std::io::Error },
    #[error("{path} is no drive: {reason}")]
    NoDrive { path: String, reason: String },
    #[error("{command}: the kernel did not take it: {cause}{}", remedy(.cause))]
    Kernel { command: &'static str, cause: std::io::Error },
    #[error("{path}: {cause}; is it a socket of csdrive serve, and no other client connected?")]
    Socket { path: String, cause: Box<dyn std::error::Error + Send + Sync> },
    #[error(transparent)]
    Driver(#[from] crate::DriverError),
    #[error("the drive is gone, or does not answer; commands under way are lost")]
    Gone,
    #[error("no command is under way")]
    Idle,
    #[error("all {0} places for commands are taken: wait for one to complete")]
    Full(usize),
    #[error(
        "{0}: the kernel's driver has no queues for polling; load it with nvme.poll_queues=1, or do not poll"
    )]
    NoPolling(String),
    #[error("there is no namespace {0} on this drive")]
    NoNamespace(u32),
}

/// What to do about an error of the system.
fn remedy(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            "; NVMe passthrough needs root (CAP_SYS_ADMIN, and the device node for reading and writing)"
        }
        std::io::ErrorKind::NotFound => {
            "; drives are /dev/nvme0, ..., or the socket of csdrive serve"
        }
        std::io::ErrorKind::ConnectionRefused => "; nobody serves there: start csdrive serve",
        _ => "",
    }
}

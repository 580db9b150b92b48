//! What goes wrong: numbers for C, and words.

use std::cell::RefCell;
use std::ffi::{c_char, c_int};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use client::{DriveError, TransportError};
use nvme_spec::Status;

/// What a function of the library can fail by.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A pointer that must not be null.
    Null(&'static str),
    /// Flags that mean nothing.
    Flags(u32),
    /// A number that names no run-time model.
    RunTime(u8),
    /// Blocks or chunks that cannot be.
    Chunks {
        count: u64,
        in_flight: u32,
    },
    Stream,
    Drive(DriveError),
}

impl From<DriveError> for Failure {
    fn from(error: DriveError) -> Self {
        Self::Drive(error)
    }
}

impl Failure {
    fn number(&self) -> c_int {
        let of_system = |cause: &io::Error| -cause.raw_os_error().unwrap_or(libc::EIO);
        match self {
            Self::Null(_)
            | Self::Flags(_)
            | Self::RunTime(_)
            | Self::Chunks { .. }
            | Self::Stream => -libc::EINVAL,
            Self::Drive(DriveError::Program(error)) => match error {
                bpf_clang::Error::NoClang { .. } => -libc::ENOPKG,
                bpf_clang::Error::Rejected { .. } => -libc::EINVAL,
                bpf_clang::Error::Io { cause, .. } => of_system(cause),
            },
            Self::Drive(DriveError::Failed(failed)) => status_number(failed.status),
            Self::Drive(
                DriveError::Unaligned { .. }
                | DriveError::BeyondMemory { .. }
                | DriveError::BeyondBlocks { .. }
                | DriveError::Empty(_)
                | DriveError::RangesOfStream(_),
            ) => -libc::EINVAL,
            Self::Drive(DriveError::TooMuch(_)) => -libc::E2BIG,
            Self::Drive(DriveError::NoNamespace(_) | DriveError::NoZones) => -libc::ENODEV,
            Self::Drive(DriveError::Transport(error)) => match error {
                TransportError::Open { cause, .. } | TransportError::Kernel { cause, .. } => {
                    of_system(cause)
                }
                TransportError::NoDrive { .. } | TransportError::NoNamespace(_) => -libc::ENODEV,
                TransportError::NoPolling(_) => -libc::EOPNOTSUPP,
                TransportError::Full(_) => -libc::EAGAIN,
                TransportError::Idle => -libc::ECHILD,
                TransportError::Socket { .. } => -libc::ECONNREFUSED,
                TransportError::Driver(_) | TransportError::Gone => -libc::EIO,
            },
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Null(what) => format!("{what} is NULL"),
            Self::Flags(flags) => format!("flags {flags:#x}: there is CSDRIVE_POLLED (1)"),
            Self::RunTime(value) => {
                format!("execution.run_time {value}: give one of CSDRIVE_RUN_TIME_... (0 to 4)")
            }
            Self::Chunks { count, in_flight } => {
                format!(
                    "{count} blocks with in_flight = {in_flight}: give blocks that there are, and 1 to 64"
                )
            }
            Self::Stream => "flags are CSDRIVE_STREAM_EARLY and CSDRIVE_STREAM_OVERLAP, overlap_blocks need the latter, cut_bytes are less than a block, and reserved is 0".to_owned(),
            Self::Drive(error) => error.to_string(),
        }
    }
}

/// An NVMe status as C gets it: type and code.
pub(crate) fn status_number(status: Status) -> c_int {
    c_int::from(status.bits() & 0x7FF)
}

/// Bytes of the words about a failure; what is longer is cut.
const TEXT_BYTES: usize = 4096;

thread_local! {
    // Without a destructor, so that it is still there when the process or thread ends (atexit, C++'s static objects).
    static LAST: RefCell<[u8; TEXT_BYTES]> = const { RefCell::new([0; TEXT_BYTES]) };
}

/// The last failure of this thread, in words.
pub(crate) fn last() -> *const c_char {
    LAST.with_borrow(|text| text.as_ptr().cast())
}

fn note(text: &str) {
    let end = text.floor_char_boundary(TEXT_BYTES - 1);
    LAST.with_borrow_mut(|last| {
        // Zeroes cannot be in it: they would end it.
        for (place, byte) in last.iter_mut().zip(text[..end].bytes()) {
            *place = if byte == 0 { b' ' } else { byte };
        }
        last[end] = 0;
    });
}

/// Runs a function of the library: its number, after its words are noted.
pub(crate) fn guarded(act: impl FnOnce() -> Result<(), Failure>) -> c_int {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(Ok(())) => 0,
        Ok(Err(failure)) => {
            note(&failure.text());
            failure.number()
        }
        Err(_) => {
            note("a bug in libcsdrive: please report what it printed");
            -libc::EIO
        }
    }
}

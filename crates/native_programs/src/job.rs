//! The file that a run is given: what to do, and a page for what became of it.
//!
//! ```text
//! page 0       report     written by the run; nobody trusts it
//! page 1       header     parameters, limits; then the ranges
//! page 3 ...   data       the data buffer
//! ```

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of each page.
pub(crate) const PAGE: u64 = ebpf::PAGE;
/// Where the header is.
pub(crate) const HEADER_AT: u64 = PAGE;
/// Where the ranges are.
pub(crate) const RANGES_AT: u64 = HEADER_AT + size_of::<Header>() as u64;
/// Where the data buffer is.
pub(crate) const DATA_AT: u64 = 3 * PAGE;
/// Most ranges of a run.
pub(crate) const RANGES_MAX: usize = controller::limits::RANGES_PER_SET_MAX as usize;
/// Longest text of a report.
pub(crate) const TEXT_BYTES: usize = 512;

const _: () = assert!(RANGES_AT + (RANGES_MAX * size_of::<RangeEntry>()) as u64 <= DATA_AT);
const _: () = assert!(size_of::<Report>() as u64 <= PAGE);

/// What to run.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(crate) struct Header {
    pub(crate) ranges: u64,
    pub(crate) param1: i64,
    pub(crate) param2: i64,
    pub(crate) data_len: u64,
    /// Memory besides that of the ranges.
    pub(crate) memory_bytes: u64,
    /// The run is killed after so long.
    pub(crate) time_limit_ns: u64,
    /// 1 = it may have threads.
    pub(crate) threads: u64,
}

impl Header {
    pub(crate) fn may_have_threads(&self) -> bool {
        self.threads == 1
    }
}

/// A range: bytes of one of the files that come with the job.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(crate) struct RangeEntry {
    pub(crate) offset: u64,
    pub(crate) len: u64,
    /// Which file.
    pub(crate) file: u32,
    /// 1 if it may be written.
    pub(crate) writable: u32,
}

/// How far a run has come.
pub(crate) mod stage {
    /// The run is not made ready yet; `text` is what failed.
    pub(crate) const PREPARING: u32 = 0;
    /// The object is being loaded; `text` is why it cannot be.
    pub(crate) const LOADING: u32 = 1;
    /// The function has been called.
    pub(crate) const CALLED: u32 = 2;
    /// The function has returned.
    pub(crate) const RETURNED: u32 = 3;
}

/// What became of a run, as far as the run itself says.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(crate) struct Report {
    /// One of [`stage`].
    pub(crate) stage: u32,
    /// 1 if a system call was refused.
    pub(crate) is_refused: u32,
    pub(crate) result: u64,
    pub(crate) cpu_ns: u64,
    /// The system call that was refused.
    pub(crate) system_call: i64,
    /// Where the object is.
    pub(crate) base: u64,
    /// Of a signal: the address that was touched, the instruction, and the stack pointer.
    pub(crate) address: u64,
    pub(crate) instruction: u64,
    pub(crate) stack: u64,
    pub(crate) text_len: u64,
    pub(crate) text: [u8; TEXT_BYTES],
}

impl Report {
    /// The text, whatever was written there, as a terminal may show it.
    pub(crate) fn text(&self) -> String {
        let len = usize::try_from(self.text_len).unwrap_or(usize::MAX).min(TEXT_BYTES);
        String::from_utf8_lossy(&self.text[..len]).escape_debug().to_string()
    }
}

/// How the process of a run ended, as the worker saw it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// With this exit code.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// The worker killed it: its time was over.
    TimeOver,
    /// The worker killed it: it was told to.
    Cancelled,
    /// It was not started: an error number.
    NotStarted(i32),
}

/// Bytes of an [`Ended`] on its way.
pub(crate) const ENDED_BYTES: usize = 8;

impl Ended {
    pub(crate) fn to_bytes(self) -> [u8; ENDED_BYTES] {
        let (kind, value) = match self {
            Self::Exited(code) => (0, code),
            Self::Signalled(signal) => (1, signal),
            Self::TimeOver => (2, 0),
            Self::Cancelled => (3, 0),
            Self::NotStarted(error) => (4, error),
        };
        let mut bytes = [0; ENDED_BYTES];
        bytes[..4].copy_from_slice(&i32::to_le_bytes(kind));
        bytes[4..].copy_from_slice(&i32::to_le_bytes(value));
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, value) = bytes.split_at_checked(4)?;
        let number = |b: &[u8]| b.try_into().map(i32::from_le_bytes).ok();
        let value = number(value)?;
        Some(match number(kind)? {
            0 => Self::Exited(value),
            1 => Self::Signalled(value),
            2 => Self::TimeOver,
            3 => Self::Cancelled,
            4 => Self::NotStarted(value),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_cross_the_socket() {
        for ended in [
            Ended::Exited(-3),
            Ended::Signalled(11),
            Ended::TimeOver,
            Ended::Cancelled,
            Ended::NotStarted(12),
        ] {
            assert_eq!(Ended::from_bytes(&ended.to_bytes()), Some(ended));
        }
        assert_eq!(Ended::from_bytes(&[9; ENDED_BYTES]), None);
        assert_eq!(Ended::from_bytes(&[0; 7]), None);
    }
}

//! Counters of the drive, and the hash that tells two runs apart.

use nvme_spec::{Cid, SqId, Status, SubmissionEntry};
use simtime::{Duration, Instant};
use zerocopy::IntoBytes;

/// Counters since the drive was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Counters of the flash model.
    pub flash: ssd::Statistics,
    /// The time that units ran jobs, all units together, without context switches.
    pub units_busy: Duration,
    /// Bytes of a flash page.
    pub page_bytes: u64,
    /// Data bytes sent over the link to the host.
    pub bytes_to_host: u64,
    /// Data bytes received over the link from the host.
    pub bytes_from_host: u64,
    /// Bytes moved over the internal link into or within device memory.
    pub bytes_internal: u64,
    /// Commands completed.
    pub commands: u64,
    /// Commands taken and not completed yet, Asynchronous Event Requests among them.
    pub commands_in_flight: u64,
    /// Page requests that the flash model has not finished.
    pub flash_backlog: u64,
    /// Bytes of writes that the drive's memory holds.
    pub buffered_bytes: u64,
    /// Hash over every command taken and completed, with the time of each.
    pub trace_hash: u64,
}

impl Statistics {
    /// Data bytes sent over the host link, both directions together.
    pub fn bytes_host_link(&self) -> u64 {
        self.bytes_to_host + self.bytes_from_host
    }

    /// Bytes read from and programmed to flash, garbage collection included.
    pub fn bytes_flash(&self) -> u64 {
        let f = &self.flash;
        let pages = f.flash_reads + f.modify_reads + f.flash_programs + f.gc_reads + f.gc_programs;
        pages * self.page_bytes
    }
}

/// How well completions kept their modelled times.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lateness {
    /// Completions.
    pub completions: u64,
    /// Of these, those that left more than [`Self::TOLERANCE`] after their modelled time.
    pub late: u64,
    /// Sum of the delays of the late ones.
    pub late_sum: Duration,
    /// The longest delay.
    pub late_max: Duration,
}

impl Lateness {
    /// A completion that leaves no more than this after its modelled time is not late: an interrupt takes that long.
    pub const TOLERANCE: Duration = Duration::from_us(3);

    #[inline]
    pub(crate) fn count(&mut self, delay: Duration) {
        self.completions += 1;
        if delay > Self::TOLERANCE {
            self.late += 1;
            self.late_sum += delay;
            self.late_max = self.late_max.max(delay);
        }
    }

    /// Mean delay of the late ones.
    pub fn late_mean(&self) -> Duration {
        Duration::from_ns(self.late_sum.as_ns().checked_div(self.late).unwrap_or(0))
    }
}

/// A running hash of what the host could observe. Two runs with the same hash took and completed
/// the same commands with the same results at the same times.
#[derive(Debug)]
pub(crate) struct TraceHash(u64);

impl Default for TraceHash {
    fn default() -> Self {
        Self(0x243F_6A88_85A3_08D3)
    }
}

impl TraceHash {
    pub(crate) fn value(&self) -> u64 {
        self.0
    }

    #[inline]
    fn mix(&mut self, a: u64, b: u64) {
        // Multiply and fold, as wyhash does: every bit of the state depends on every earlier word.
        let product = u128::from(self.0 ^ a) * u128::from(b ^ 0x9E37_79B9_7F4A_7C15);
        self.0 = (product as u64) ^ (product >> 64) as u64 ^ b.rotate_left(23);
    }

    #[inline]
    pub(crate) fn fetched(&mut self, now: Instant, sqid: SqId, entry: &SubmissionEntry) {
        self.mix(now.as_ns(), u64::from(sqid.0));
        let (pairs, _) = entry.as_bytes().as_chunks::<16>();
        for pair in pairs {
            let pair = u128::from_le_bytes(*pair);
            self.mix(pair as u64, (pair >> 64) as u64);
        }
    }

    #[inline]
    pub(crate) fn completed(
        &mut self,
        now: Instant,
        sqid: SqId,
        cid: Cid,
        status: Status,
        result: u64,
    ) {
        let what = u64::from(sqid.0) << 32 | u64::from(cid.0) << 16 | u64::from(status.bits());
        self.mix(now.as_ns(), what);
        self.mix(result, self.0);
    }
}

//! What a drive counted between two times.

use records::CounterRecord;
use schemars::JsonSchema;
use serde::Serialize;

/// What a drive did in some time.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct DriveReport {
    /// Its serial number.
    pub serial: String,
    /// Share of the time of all units in which they ran programs.
    pub units_busy: f64,
    /// Share of the time of all channels in which they moved pages.
    pub channels_busy: f64,
    /// Share of the time of all dies in which they read, programmed or erased.
    pub dies_busy: f64,
    /// Share of the time in which data left the drive, for the host or other drives.
    pub link_out_busy: f64,
    /// Share of the time in which data came to the drive.
    pub link_in_busy: f64,
    /// Bytes by where they went.
    pub bytes: Bytes,
    /// Bytes programmed per byte that the host wrote.
    pub write_amplification: f64,
    /// Blocks of flash that were erased.
    pub erases: u64,
    /// Commands completed.
    pub commands: u64,
    /// Completions that were later than the model says; none in virtual time.
    pub late: Late,
}

/// A part of a drive, and the share of the time in which it was busy.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Busy {
    /// Its name for users.
    pub part: &'static str,
    /// From 0 to 1.
    pub share: f64,
}

impl DriveReport {
    /// What a drive did between two readings of its counters; the earlier of a drive that is new has zeroes only.
    pub fn between(serial: String, before: &CounterRecord, after: &CounterRecord) -> Self {
        let since = |of: fn(&CounterRecord) -> u64| of(after).saturating_sub(of(before));
        let ns = since(|c| c.now_ns).max(1) as f64;
        let share = |busy: u64, of: u32| busy as f64 / ns / f64::from(of.max(1));
        let page_bytes = u64::from(after.page_bytes);
        let reads = since(|c| c.flash_reads)
            .saturating_add(since(|c| c.modify_reads))
            .saturating_add(since(|c| c.gc_reads));
        let programs = since(|c| c.flash_programs).saturating_add(since(|c| c.gc_programs));
        let bytes = Bytes {
            to_host: since(|c| c.bytes_to_host),
            from_host: since(|c| c.bytes_from_host),
            internal: since(|c| c.bytes_internal),
            from_peers: since(|c| c.bytes_from_peers),
            to_peers: since(|c| c.bytes_to_peers),
            flash_read: reads.saturating_mul(page_bytes),
            flash_programmed: programs.saturating_mul(page_bytes),
        };
        let late = since(|c| c.late);
        Self {
            serial,
            units_busy: share(since(|c| c.units_busy_ns), after.units),
            channels_busy: share(since(|c| c.channels_busy_ns), after.channels),
            dies_busy: share(since(|c| c.dies_busy_ns), after.dies),
            link_out_busy: since(|c| c.link_out_busy_ns) as f64 / ns,
            link_in_busy: since(|c| c.link_in_busy_ns) as f64 / ns,
            bytes,
            write_amplification: match since(|c| c.host_bytes_written) {
                0 => 1.0,
                written => bytes.flash_programmed as f64 / written as f64,
            },
            erases: since(|c| c.erases),
            commands: since(|c| c.commands),
            late: Late {
                commands: late,
                tolerance_ns: after.late_tolerance_ns,
                mean_ns: since(|c| c.late_sum_ns) as f64 / late.max(1) as f64,
                max_ns: after.late_max_ns,
            },
        }
    }

    /// Names of the parts of [`Self::busy`].
    pub const PARTS: [&str; 5] =
        ["compute units", "channels", "dies", "link to the host", "link from the host"];

    /// How busy each part was.
    pub fn busy(&self) -> [Busy; 5] {
        let shares = [
            self.units_busy,
            self.channels_busy,
            self.dies_busy,
            self.link_out_busy,
            self.link_in_busy,
        ];
        std::array::from_fn(|n| Busy { part: Self::PARTS[n], share: shares[n] })
    }

    /// The part that was busiest: what would have to be faster first.
    pub fn bottleneck(&self) -> Busy {
        let first = self.busy()[0];
        self.busy()
            .into_iter()
            .fold(first, |most, one| if one.share > most.share { one } else { most })
    }
}

/// Completions that a drive in real time could not make at their times.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, JsonSchema)]
pub struct Late {
    /// How many.
    pub commands: u64,
    /// Those that were no later than this are not counted.
    pub tolerance_ns: u64,
    /// The mean of their delays.
    pub mean_ns: f64,
    /// The longest delay since the drive was made.
    pub max_ns: u64,
}

/// Bytes by where they went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, JsonSchema)]
pub struct Bytes {
    /// Over the link to the host.
    pub to_host: u64,
    /// Over the link from the host.
    pub from_host: u64,
    /// Into and within device memory.
    pub internal: u64,
    /// From the device memory of other drives, not over the link of the host.
    pub from_peers: u64,
    /// From this drive's device memory to others.
    pub to_peers: u64,
    /// Read from flash, garbage collection included.
    pub flash_read: u64,
    /// Programmed to flash, garbage collection included.
    pub flash_programmed: u64,
}

//! Bit errors: how many a page has, and how often it is read until they are corrected.
//!
//! The raw bit error rate of a page is that of Kim, Choi and Min, "Design Tradeoffs for SSD Reliability" (FAST 2019): of a block that was
//! erased `c` times, whose data is `t` days old, and whose pages were read `r` times each since they were written,
//!
//! ```text
//! RBER = e + a c^k + b c^m t^n + g c^p r^q
//! ```
//!
//! for wear, retention and read disturb. The decoder corrects a page up to an error rate. Where there are more, the page is read again with
//! other voltages, each of which corrects so many times as much; each such read takes the array and the channel as the first did
//! (Park et al., "Reducing Solid-State Drive Read Latency by Optimizing Read-Retry", ASPLOS 2021, section 2). A page that needs more
//! reads than are tried cannot be corrected.
//!
//! Collection's own reads do not fail: what it moves is as it was. And here is what becomes of erases that fail, by chance.

use simtime::Instant;

use crate::address::{BlockId, Ppa};
use crate::array::{Origin, Transaction};
use crate::drive::Ssd;
use crate::request::Spare;
use crate::store::MediaError;

/// The coefficients of the error rate.
#[derive(Clone, Copy, Debug)]
pub struct BitErrors {
    /// e, a, k, b, m, n, g, p, q.
    coefficients: [f64; 9],
}

impl BitErrors {
    /// TLC flash of 72 layers: the coefficients that Kim, Choi and Min fit to measurements. That `t` is in days and `r` a mean over the pages of a
    /// block is how we read them: a page erased 1000 times has 3.9e-3 after 90 days, and 6.0e-3 after a year.
    pub const TLC_72_LAYERS: Self =
        Self { coefficients: [1.48e-3, 3.90e-10, 2.05, 6.28e-5, 0.14, 0.54, 3.73e-9, 0.33, 1.71] };

    /// Other flash; `None` if a coefficient is negative or no number.
    pub fn new(coefficients: [f64; 9]) -> Option<Self> {
        let is_right = |value: &f64| value.is_finite() && *value >= 0.0;
        coefficients.iter().all(is_right).then_some(Self { coefficients })
    }

    /// e, a, k, b, m, n, g, p, q.
    pub fn coefficients(&self) -> [f64; 9] {
        self.coefficients
    }

    /// The raw bit error rate.
    pub fn rate(&self, erases: u32, days: f64, reads: f64) -> f64 {
        let [e, a, k, b, m, n, g, p, q] = self.coefficients;
        let c = f64::from(erases);
        e + a * c.powf(k) + b * c.powf(m) * days.powf(n) + g * c.powf(p) * reads.powf(q)
    }
}

impl PartialEq for BitErrors {
    fn eq(&self, other: &Self) -> bool {
        self.coefficients.map(f64::to_bits) == other.coefficients.map(f64::to_bits)
    }
}

impl Eq for BitErrors {}

/// What is known of a block that its error rate depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockAge {
    pub(crate) erases: u32,
    /// When its first page was written; `None` if that was before the drive was there.
    pub(crate) written_at: Option<Instant>,
    /// Reads of all of its pages since then.
    pub(crate) reads: u32,
}

impl BlockAge {
    /// Of a block that was never used.
    pub(crate) const NEW: Self = Self { erases: 0, written_at: None, reads: 0 };
}

const NS_PER_DAY: f64 = 86_400e9;

impl Ssd {
    /// A page has left the flash. True if it is read again.
    pub(crate) fn reads_again(&mut self, now: Instant, transaction: &Transaction) -> bool {
        let Some(errors) = self.config.bit_errors else { return false };
        let block = self.geometry.block_of(transaction.ppa);
        let age = self.blocks.read(block);
        let needed = self.retries_of(errors, age, now);
        if u32::from(transaction.tries) >= needed.min(self.config.retries_max) {
            if needed > 0 && matches!(transaction.origin, Origin::Host(_)) {
                self.refresh_if_wanted(now, block, (needed, errors, age));
            }
            return false;
        }
        self.statistics.read_retries += 1;
        let again = Transaction { tries: transaction.tries + 1, ..*transaction };
        self.array.enqueue_first(now, again);
        true
    }

    /// An error if all tries of a page were not enough.
    pub(crate) fn correct(&mut self, now: Instant, ppa: Ppa) -> Result<(), MediaError> {
        let Some(errors) = self.config.bit_errors else { return Ok(()) };
        let age = self.blocks.age(self.geometry.block_of(ppa));
        if self.retries_of(errors, age, now) <= self.config.retries_max {
            return Ok(());
        }
        self.statistics.media_errors += 1;
        Err(MediaError::Uncorrectable)
    }

    /// How often a page of a block is read again.
    fn retries_of(&self, errors: BitErrors, age: BlockAge, now: Instant) -> u32 {
        let since_start = now.as_ns() as f64 / NS_PER_DAY;
        let days = match age.written_at {
            None => f64::from(self.config.data_age_days) + since_start,
            Some(at) => now.since(at).as_ns() as f64 / NS_PER_DAY,
        };
        let erases = age.erases.saturating_add(self.config.worn_erases);
        let reads = f64::from(age.reads) / f64::from(self.geometry.pages_per_block);
        let rate = errors.rate(erases, days, reads);
        let limit = f64::from(self.config.ecc_limit_ppm) / 1e6;
        if rate <= limit {
            return 0;
        }
        let gain = f64::from(self.config.retry_gain_permille) / 1000.0;
        // A rounding error is no retry more.
        ((rate / limit).ln() / gain.ln() - 1e-9).ceil() as u32
    }

    /// A block was erased, or was not: it is free, or bad.
    pub(crate) fn free_or_bad(&mut self, block: BlockId) {
        let ppm = self.config.erase_failures_ppm.into();
        let fails = ppm > 0 && self.chance.below(1_000_000) < ppm;
        if fails && self.blocks.retire(block) {
            self.statistics.bad_blocks += 1;
            return;
        }
        // There is no other: the drive needs it until it has nothing to write any more.
        self.is_worn_out |= fails;
        self.blocks.erased(block);
    }

    /// Goes up whenever [`Self::spare`] is another.
    #[inline]
    pub fn block_failures(&self) -> u64 {
        self.statistics.bad_blocks + u64::from(self.is_worn_out)
    }

    /// Blocks that can become bad.
    pub fn spare(&self) -> Spare {
        let (blocks, left) = self.blocks.spare();
        Spare { blocks, left, is_worn_out: self.is_worn_out }
    }

    /// A block whose pages are read so often is written anew, if that helps.
    fn refresh_if_wanted(
        &mut self,
        now: Instant,
        block: BlockId,
        (needed, errors, age): (u32, BitErrors, BlockAge),
    ) {
        let from = self.config.refresh_retries;
        if from == 0 || needed < from {
            return;
        }
        // What cannot be read does not become readable.
        if needed > self.config.retries_max {
            return;
        }
        let fresh = BlockAge { written_at: Some(now), reads: 0, ..age };
        if self.retries_of(errors, fresh, now) < from && self.blocks.want_refresh(block) {
            self.start_collection(now, self.geometry.plane_of(block));
        }
    }
}

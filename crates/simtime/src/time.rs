//! Instants, durations, and the rates that turn bytes and cycles into durations.

use core::fmt;
use core::ops::{Add, AddAssign, Mul, Sub};

const NS_PER_S: u128 = 1_000_000_000;

/// A point in virtual time, in nanoseconds since the simulation began.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Instant(u64);

/// A span of virtual time in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Duration(u64);

impl Instant {
    /// The beginning of virtual time.
    pub const ZERO: Self = Self(0);

    /// Later than everything that happens.
    pub const NEVER: Self = Self(u64::MAX);

    /// From nanoseconds since the beginning.
    pub const fn from_ns(ns: u64) -> Self {
        Self(ns)
    }

    /// This instant, or nothing if it is [`Self::NEVER`].
    pub fn unless_never(self) -> Option<Self> {
        (self != Self::NEVER).then_some(self)
    }

    /// Nanoseconds since the beginning.
    pub const fn as_ns(self) -> u64 {
        self.0
    }

    /// Time since an earlier instant; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration(self.0.saturating_sub(earlier.0))
    }
}

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// From nanoseconds.
    pub const fn from_ns(ns: u64) -> Self {
        Self(ns)
    }

    /// From microseconds.
    pub const fn from_us(us: u64) -> Self {
        Self(us * 1_000)
    }

    /// Nanoseconds.
    pub const fn as_ns(self) -> u64 {
        self.0
    }

    /// True if no time passes.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl Add for Duration {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Duration {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Mul<u64> for Duration {
    type Output = Self;
    fn mul(self, times: u64) -> Self {
        Self(self.0.saturating_mul(times))
    }
}

impl Sub for Duration {
    type Output = Self;
    /// Saturates at zero.
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ns @ 0..1_000 => write!(f, "{ns} ns"),
            ns @ 1_000..1_000_000 => write!(f, "{}.{:01} us", ns / 1_000, ns % 1_000 / 100),
            ns @ 1_000_000..1_000_000_000 => {
                write!(f, "{}.{:02} ms", ns / 1_000_000, ns % 1_000_000 / 10_000)
            }
            ns => write!(f, "{}.{:03} s", ns / 1_000_000_000, ns % 1_000_000_000 / 1_000_000),
        }
    }
}

/// Bytes per second; 0 means infinitely fast.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Bandwidth(u64);

impl Bandwidth {
    /// From bytes per second; 0 = infinitely fast.
    pub const fn from_bytes_per_s(rate: u64) -> Self {
        Self(rate)
    }

    /// Bytes per second; 0 = infinitely fast.
    pub const fn bytes_per_s(self) -> u64 {
        self.0
    }

    /// Time to move `bytes`, rounded up to a nanosecond.
    pub fn time_for(self, bytes: u64) -> Duration {
        if self.0 == 0 {
            return Duration::ZERO;
        }
        // 64-bit arithmetic covers transfers below 18 GB; it is on the path of every page.
        let ns = match bytes.checked_mul(NS_PER_S as u64) {
            Some(scaled) => scaled.div_ceil(self.0),
            None => u64::try_from((u128::from(bytes) * NS_PER_S).div_ceil(u128::from(self.0)))
                .unwrap_or(u64::MAX),
        };
        Duration(ns)
    }
}

/// Cycles per second, never zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Frequency(u64);

impl Frequency {
    /// From hertz; `None` for 0, at which nothing would ever finish.
    pub const fn from_hz(hz: u64) -> Option<Self> {
        if hz == 0 { None } else { Some(Self(hz)) }
    }

    /// Hertz.
    pub const fn hz(self) -> u64 {
        self.0
    }

    /// Time for a number of thousandths of cycles, rounded up to a nanosecond.
    pub fn time_for_millicycles(self, millicycles: u128) -> Duration {
        let ns = (millicycles * NS_PER_S).div_ceil(u128::from(self.0) * 1_000);
        Duration(u64::try_from(ns).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bandwidth_time_rounds_up() {
        let link = Bandwidth::from_bytes_per_s(3_500_000_000);
        assert_eq!(link.time_for(0), Duration::ZERO);
        assert_eq!(link.time_for(1).as_ns(), 1);
        assert_eq!(link.time_for(4096).as_ns(), 1171); // 4096 / 3.5 = 1170.29
        assert_eq!(Bandwidth::from_bytes_per_s(0).time_for(1 << 40), Duration::ZERO);
        assert_eq!(Bandwidth::from_bytes_per_s(1).time_for(u64::MAX).as_ns(), u64::MAX);
        assert_eq!(
            Bandwidth::from_bytes_per_s(1 << 30).time_for(1 << 40).as_ns(),
            1024 * 1_000_000_000
        );
    }

    #[test]
    fn frequency_time_counts_thousandths_of_cycles() {
        let clock = Frequency::from_hz(2_000_000_000).unwrap();
        assert_eq!(clock.time_for_millicycles(2_000).as_ns(), 1);
        assert_eq!(clock.time_for_millicycles(2_001).as_ns(), 2);
        assert!(Frequency::from_hz(0).is_none());
    }

    #[test]
    fn durations_print_with_a_unit() {
        let text: Vec<String> =
            [7, 4_171, 40_000_000, 2_000_000_000].map(|n| Duration::from_ns(n).to_string()).into();
        assert_eq!(text, ["7 ns", "4.1 us", "40.00 ms", "2.000 s"]);
    }
}

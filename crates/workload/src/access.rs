//! Which bytes an operation of a job uses.

use rand::TryRng;
use rand_distr::{Distribution, Exp1, Zipf};
use simtime::{Duration, Prng};

use crate::plan::{Order, Region};

/// One operation's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) is_read: bool,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// Random numbers in the form that `rand_distr` takes.
struct Numbers<'a>(&'a mut Prng);

impl TryRng for Numbers<'_> {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok((self.0.next_u64() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(self.0.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.0.fill(bytes);
        Ok(())
    }
}

/// The time to the next of events that come at random, so many a second on average.
pub(crate) fn exponential(random: &mut Prng, per_second: f64) -> Duration {
    let time: f64 = Exp1.sample(&mut Numbers(random));
    Duration::from_ns((time / per_second * 1e9).round().min(1e18) as u64)
}

/// Chooses the places of one job's operations.
#[derive(Debug)]
pub(crate) struct Places {
    start: u64,
    /// Of the region.
    bytes: u64,
    /// Places are multiples of it.
    step: u64,
    order: Order,
    zipf: Option<Zipf<f64>>,
    read_percent: u32,
    sizes: Vec<(u64, u32)>,
    /// Where the next one in order begins.
    next: u64,
}

impl Places {
    /// For a region of a namespace with so many bytes.
    ///
    /// # Errors
    /// If the region does not fit, or sizes are no whole blocks.
    pub(crate) fn new(region: &Region, namespace: u64, block: u64) -> Result<Self, String> {
        let start = region.offset;
        let largest = region.sizes.iter().map(|(bytes, _)| *bytes).max().unwrap_or(block);
        if !start.is_multiple_of(block) {
            return Err(format!("offset = {start}: choose a multiple of a block ({block} bytes)"));
        }
        if let Some((bytes, _)) =
            region.sizes.iter().find(|(bytes, _)| !bytes.is_multiple_of(block))
        {
            return Err(format!("bs = {bytes}: choose a multiple of a block ({block} bytes)"));
        }
        let bytes = region.bytes.unwrap_or(namespace.saturating_sub(start));
        if start.checked_add(bytes).is_none_or(|end| end > namespace) || bytes < largest {
            return Err(format!(
                "bytes {start} to {} of a namespace of {namespace}: choose a smaller offset or size",
                start.saturating_add(bytes.max(largest))
            ));
        }
        // Places of one size do not overlap in part; of several, they are multiples of the smallest.
        let step = region.sizes.iter().map(|(bytes, _)| *bytes).min().unwrap_or(block);
        let zipf = match region.order {
            // Its numbers begin with 1.
            Order::Zipf(theta) => {
                Some(Zipf::new((bytes / step) as f64, theta).map_err(|error| error.to_string())?)
            }
            _ => None,
        };
        let (order, sizes) = (region.order.clone(), region.sizes.clone());
        let read_percent = region.read_percent;
        Ok(Self { start, bytes, step, order, zipf, read_percent, sizes, next: 0 })
    }

    /// Bytes of the region.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The place of the next operation.
    pub(crate) fn next(&mut self, random: &mut Prng) -> Place {
        let is_read = match self.read_percent {
            0 => false,
            100 => true,
            percent => random.below(100) < u64::from(percent),
        };
        let bytes = self.size(random);
        let count = (self.bytes - bytes) / self.step + 1;
        let offset = match &self.order {
            Order::Sequential => {
                if self.next + bytes > self.bytes {
                    self.next = 0;
                }
                let at = self.next;
                self.next += bytes;
                return Place { is_read, offset: self.start + at, bytes };
            }
            Order::Random => random.below(count),
            Order::Zipf(_) => {
                let rank = self.zipf.map_or(1.0, |zipf| zipf.sample(&mut Numbers(random))) as u64;
                scattered(rank.saturating_sub(1), self.bytes / self.step) % count
            }
            Order::Zoned(zones) => {
                let (mut chosen, mut first) = (random.below(100), 0);
                let all = self.bytes / self.step;
                let mut place = 0;
                for (accesses, size) in zones {
                    let end = first + u64::from(*size);
                    if chosen < u64::from(*accesses) {
                        let (from, to) =
                            (all * first / 100, (all * end / 100).max(all * first / 100 + 1));
                        place = from + random.below(to - from);
                        break;
                    }
                    (chosen, first) = (chosen - u64::from(*accesses), end);
                }
                place % count
            }
        };
        Place { is_read, offset: self.start + offset * self.step, bytes }
    }

    fn size(&self, random: &mut Prng) -> u64 {
        if let [(bytes, _)] = self.sizes.as_slice() {
            return *bytes;
        }
        let mut chosen = random.below(100);
        for (bytes, percent) in &self.sizes {
            match chosen.checked_sub(u64::from(*percent)) {
                None => return *bytes,
                Some(rest) => chosen = rest,
            }
        }
        self.step
    }
}

/// Popular places are not neighbours: another place for each number below `count`, none twice.
fn scattered(number: u64, count: u64) -> u64 {
    // Multiplying by an odd number and folding the upper half onto the lower can both be undone, so no two numbers meet. Numbers
    // that fall outside go round again.
    let mask = count.next_power_of_two() - 1;
    let half = (mask.count_ones() / 2).max(1);
    let mut place = number;
    loop {
        for _ in 0..2 {
            place = place.wrapping_mul(0x9E37_79B9_7F4A_7C15) & mask;
            place ^= place >> half;
        }
        if place < count {
            return place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(order: Order) -> Region {
        Region {
            offset: 8192,
            bytes: Some(100 * 4096),
            order,
            read_percent: 100,
            sizes: vec![(4096, 100)],
            is_filled: false,
            wraps: false,
            content: None,
        }
    }

    fn counts(order: Order, draws: u64) -> Vec<u64> {
        let mut places = Places::new(&region(order), 1 << 30, 4096).unwrap();
        let mut random = Prng::new(1);
        let mut counts = vec![0; 100];
        for _ in 0..draws {
            let place = places.next(&mut random);
            assert!(place.offset >= 8192 && place.offset.is_multiple_of(4096));
            counts[((place.offset - 8192) / 4096) as usize] += 1;
        }
        counts
    }

    #[test]
    fn in_order_and_at_random_use_every_place() {
        assert_eq!(counts(Order::Sequential, 300), vec![3; 100]);
        let random = counts(Order::Random, 100_000);
        assert!(random.iter().all(|n| (800..1200).contains(n)), "{random:?}");
    }

    #[test]
    fn zipf_uses_places_as_their_rank_says() {
        let mut counts = counts(Order::Zipf(1.0), 1_000_000);
        counts.sort_unstable_by(|a, b| b.cmp(a));
        // The first of 100 has 1 / H(100) of all; H(100) = 5.187.
        let expected = |rank: f64| 1e6 / 5.187_377_5 / rank;
        for rank in [1, 2, 10, 50] {
            let (is, wanted) = (counts[rank - 1] as f64, expected(rank as f64));
            assert!((is / wanted - 1.0).abs() < 0.05, "{rank}: {is}, not {wanted}");
        }
    }

    #[test]
    fn zones_have_their_shares() {
        let counts = counts(Order::Zoned(vec![(80, 20), (20, 80)]), 100_000);
        let hot: u64 = counts[..20].iter().sum();
        assert!((79_000..81_000).contains(&hot), "{hot}");
    }

    #[test]
    fn scattered_places_are_all_different() {
        for count in [1, 2, 3, 100, 1000, 4096, 5000] {
            let mut seen = vec![false; count as usize];
            for n in 0..count {
                assert!(
                    !std::mem::replace(&mut seen[scattered(n, count) as usize], true),
                    "{count}"
                );
            }
        }
    }

    #[test]
    fn times_between_random_events_have_their_mean() {
        let mut random = Prng::new(3);
        let sum: u64 = (0..100_000).map(|_| exponential(&mut random, 1e6).as_ns()).sum();
        let mean = sum as f64 / 1e5;
        assert!((980.0..1020.0).contains(&mean), "{mean}");
    }
}

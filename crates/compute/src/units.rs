//! Sets and times of units, whose steps do not grow with the units there are, or with their logarithm.

use simtime::Instant;

use crate::policy::UnitId;

/// A set of units: a bit for each.
#[derive(Debug)]
pub(crate) struct UnitSet {
    words: Vec<u64>,
    len: usize,
}

impl UnitSet {
    /// All of so many.
    pub(crate) fn all(units: u32) -> Self {
        let mut set = Self { words: vec![0; units.div_ceil(64) as usize], len: 0 };
        (0..units).for_each(|unit| set.insert(UnitId(unit)));
        set
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn contains(&self, unit: UnitId) -> bool {
        self.words[unit.0 as usize / 64] >> (unit.0 % 64) & 1 == 1
    }

    pub(crate) fn insert(&mut self, unit: UnitId) {
        self.len += usize::from(!self.contains(unit));
        self.words[unit.0 as usize / 64] |= 1 << (unit.0 % 64);
    }

    pub(crate) fn remove(&mut self, unit: UnitId) {
        self.len -= usize::from(self.contains(unit));
        self.words[unit.0 as usize / 64] &= !(1 << (unit.0 % 64));
    }

    /// The first unit of the set that is `from` or comes after it.
    pub(crate) fn first_from(&self, from: UnitId) -> Option<UnitId> {
        if self.is_empty() {
            return None;
        }
        let (mut word, mut mask) = (from.0 as usize / 64, u64::MAX << (from.0 % 64));
        while let Some(bits) = self.words.get(word) {
            if bits & mask != 0 {
                return Some(UnitId(word as u32 * 64 + (bits & mask).trailing_zeros()));
            }
            (word, mask) = (word + 1, u64::MAX);
        }
        None
    }

    /// Its units, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = UnitId> + '_ {
        let next = |unit: &UnitId| self.first_from(UnitId(unit.0 + 1));
        core::iter::successors(self.first_from(UnitId(0)), next)
    }
}

/// A time for each of some units, and which is the first: a tournament (Knuth, The Art of Computer Programming 3, 5.4.1), in which
/// of two equal times that of the lower unit wins.
#[derive(Debug)]
pub(crate) struct UnitTimes {
    /// [`Instant::NEVER`] of those that have none; as many as the next power of two.
    times: Vec<Instant>,
    /// Who won each match: the last at 1, and those below match `n` at `2 n` and `2 n + 1`. The units themselves would follow.
    winners: Vec<u32>,
}

impl UnitTimes {
    pub(crate) fn new(units: u32) -> Self {
        let leaves = units.next_power_of_two();
        let mut times = Self {
            times: vec![Instant::NEVER; leaves as usize],
            winners: vec![0; leaves as usize],
        };
        (0..leaves).for_each(|unit| times.play(unit));
        times
    }

    /// The first time, and whose it is.
    #[inline]
    pub(crate) fn first(&self) -> Option<(Instant, UnitId)> {
        // One unit has no matches.
        let unit = self.winners.get(1).copied().unwrap_or(0);
        Some((self.times[unit as usize].unless_never()?, UnitId(unit)))
    }

    pub(crate) fn get(&self, unit: UnitId) -> Option<Instant> {
        self.times[unit.0 as usize].unless_never()
    }

    #[inline]
    pub(crate) fn set(&mut self, unit: UnitId, time: Option<Instant>) {
        let time = time.unwrap_or(Instant::NEVER);
        if self.times[unit.0 as usize] != time {
            self.times[unit.0 as usize] = time;
            self.play(unit.0);
        }
    }

    /// Plays the matches of a unit again.
    fn play(&mut self, unit: u32) {
        let leaves = self.times.len();
        let mut place = leaves + unit as usize;
        while place > 1 {
            let (left, right) = (self.who(place & !1, leaves), self.who(place | 1, leaves));
            let is_right = self.times[right as usize] < self.times[left as usize];
            place /= 2;
            self.winners[place] = if is_right { right } else { left };
        }
    }

    fn who(&self, place: usize, leaves: usize) -> u32 {
        if place >= leaves { (place - leaves) as u32 } else { self.winners[place] }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use simtime::Prng;

    use super::*;

    #[test]
    fn sets_and_times_are_as_those_of_the_library() {
        for units in [1, 2, 3, 63, 64, 65, 300] {
            let mut random = Prng::new(u64::from(units));
            let (mut set, mut times) = (UnitSet::all(units), UnitTimes::new(units));
            let mut other_set: BTreeSet<UnitId> = (0..units).map(UnitId).collect();
            let mut other: BTreeSet<(Instant, UnitId)> = BTreeSet::new();
            for _ in 0..2000 {
                let unit = UnitId(random.below(units.into()) as u32);
                let time = Instant::from_ns(random.below(20));
                let time = (random.below(3) > 0).then_some(time);
                if let Some(before) = times.get(unit) {
                    assert!(other.remove(&(before, unit)));
                }
                other.extend(time.map(|time| (time, unit)));
                times.set(unit, time);
                assert_eq!(times.first(), other.first().copied());
                if random.below(2) == 0 {
                    set.insert(unit);
                    other_set.insert(unit);
                } else {
                    set.remove(unit);
                    other_set.remove(&unit);
                }
                let from = UnitId(random.below(u64::from(units) + 1) as u32);
                assert_eq!(set.first_from(from), other_set.range(from..).next().copied());
                assert!(set.iter().eq(other_set.iter().copied()));
                assert_eq!(set.contains(unit), other_set.contains(&unit));
            }
        }
    }
}

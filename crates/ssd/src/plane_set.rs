//! A set of planes with a quick way round it.

/// A set of planes.
#[derive(Clone, Debug)]
pub(crate) struct PlaneSet {
    words: Vec<u64>,
    planes: u32,
    len: u32,
}

impl PlaneSet {
    pub(crate) fn full(planes: u32) -> Self {
        let mut set = Self { words: vec![0; (planes as usize).div_ceil(64)], planes, len: 0 };
        (0..planes).for_each(|plane| set.insert(plane));
        set
    }

    pub(crate) fn contains(&self, plane: u32) -> bool {
        self.words[plane as usize / 64] >> (plane % 64) & 1 != 0
    }

    pub(crate) fn insert(&mut self, plane: u32) {
        self.len += u32::from(!self.contains(plane));
        self.words[plane as usize / 64] |= 1 << (plane % 64);
    }

    pub(crate) fn remove(&mut self, plane: u32) {
        self.len -= u32::from(self.contains(plane));
        self.words[plane as usize / 64] &= !(1 << (plane % 64));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len == self.planes
    }

    /// The first plane of the set at or after `plane`, going round.
    pub(crate) fn next_from(&self, plane: u32) -> Option<u32> {
        let (start, count) = (plane as usize / 64, self.words.len());
        let masked = self.words[start] & u64::MAX << (plane % 64);
        let rest = (1..=count).map(|n| ((start + n) % count, self.words[(start + n) % count]));
        let mut words = [(start, masked)].into_iter().chain(rest);
        let (word, bits) = words.find(|(_, bits)| *bits != 0)?;
        Some(word as u32 * 64 + bits.trailing_zeros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_goes_round_and_skips_what_was_removed() {
        for planes in [1, 63, 64, 65, 200] {
            let mut set = PlaneSet::full(planes);
            assert!(set.is_full());
            (0..planes).filter(|p| p % 3 != 2).for_each(|p| set.remove(p));
            for from in 0..planes {
                let expected = (from..planes).chain(0..from).find(|p| p % 3 == 2);
                assert_eq!(set.next_from(from), expected, "from {from} of {planes}");
            }
            (0..planes).for_each(|p| set.remove(p));
            assert!(set.is_empty() && set.next_from(0).is_none());
        }
    }
}

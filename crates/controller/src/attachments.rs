//! Namespaces that are attached to a controller.

use nvme_spec::Nsid;

use crate::limits::NAMESPACES_MAX;

const WORDS: usize = NAMESPACES_MAX as usize / 64 + 1;

/// A set of namespace identifiers: one bit each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attachments([u64; WORDS]);

impl Attachments {
    fn place(nsid: Nsid) -> Option<(usize, u64)> {
        (nsid.0 <= NAMESPACES_MAX).then(|| (nsid.0 as usize / 64, 1 << (nsid.0 % 64)))
    }

    /// True if a namespace is attached.
    #[inline]
    pub(crate) fn contains(&self, nsid: Nsid) -> bool {
        Self::place(nsid).is_some_and(|(word, bit)| self.0[word] & bit != 0)
    }

    /// Attaches a namespace; false if it was.
    pub(crate) fn insert(&mut self, nsid: Nsid) -> bool {
        let is_new = !self.contains(nsid);
        if let Some((word, bit)) = Self::place(nsid) {
            self.0[word] |= bit;
        }
        is_new
    }

    /// Detaches a namespace; false if it was not attached.
    pub(crate) fn remove(&mut self, nsid: Nsid) -> bool {
        let was_there = self.contains(nsid);
        if let Some((word, bit)) = Self::place(nsid) {
            self.0[word] &= !bit;
        }
        was_there
    }

    /// How many attached namespaces have a lower identifier.
    pub(crate) fn count_below(&self, nsid: Nsid) -> usize {
        (0..nsid.0.min(NAMESPACES_MAX + 1)).filter(|&id| self.contains(Nsid(id))).count()
    }
}

impl FromIterator<Nsid> for Attachments {
    fn from_iter<T: IntoIterator<Item = Nsid>>(nsids: T) -> Self {
        let mut all = Self::default();
        nsids.into_iter().for_each(|nsid| {
            all.insert(nsid);
        });
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_attached_once_and_detached_once() {
        let mut all = Attachments::from_iter([Nsid(1), Nsid(64), Nsid(NAMESPACES_MAX)]);
        assert!(!all.insert(Nsid(64)) && all.insert(Nsid(63)));
        assert_eq!((all.count_below(Nsid(64)), all.count_below(Nsid::ALL)), (2, 4));
        assert!(all.remove(Nsid(1)) && !all.remove(Nsid(1)));
        for nsid in [Nsid::NONE, Nsid(1), Nsid(NAMESPACES_MAX + 1), Nsid::ALL] {
            assert!(!all.contains(nsid), "{nsid}");
        }
    }
}

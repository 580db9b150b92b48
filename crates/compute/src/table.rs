//! What is known of each job, by its name.

use core::hash::{BuildHasherDefault, Hasher};

use crate::policy::JobId;

/// Multiplies by a number without pattern (Knuth, The Art of Computer Programming 3, 6.4) and folds: names count up.
#[derive(Default)]
struct Multiply(u64);

impl Hasher for Multiply {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, value: u64) {
        let product = u128::from(self.0 ^ value) * 0x9E37_79B9_7F4A_7C15;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

#[expect(
    clippy::disallowed_types,
    reason = "its order is never seen: there is no way to iterate, and the hash is fixed"
)]
type Map<T> = std::collections::HashMap<JobId, T, BuildHasherDefault<Multiply>>;

/// A table whose steps cost the same however many jobs there are.
pub(crate) struct JobTable<T>(Map<T>);

impl<T> Default for JobTable<T> {
    fn default() -> Self {
        Self(Map::default())
    }
}

impl<T> core::fmt::Debug for JobTable<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "JobTable({} jobs)", self.0.len())
    }
}

impl<T> JobTable<T> {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// What was there before.
    pub(crate) fn insert(&mut self, job: JobId, value: T) -> Option<T> {
        self.0.insert(job, value)
    }

    pub(crate) fn get(&self, job: JobId) -> Option<&T> {
        self.0.get(&job)
    }

    pub(crate) fn get_mut(&mut self, job: JobId) -> Option<&mut T> {
        self.0.get_mut(&job)
    }

    pub(crate) fn remove(&mut self, job: JobId) -> Option<T> {
        self.0.remove(&job)
    }
}

//! What is known of each job, by its name.

use core::hash::{BuildHasherDefault, Hasher};

use crate::policy::JobId;

/// Names count up, and jobs that came together leave together: the places of 64 names that follow each other lie side by side, in
/// one cache line or the next. Which 64 go where is decided by the product with a number without pattern (Knuth, The Art of
/// Computer Programming 3, 6.4), so that no other order of names makes places crowded.
#[derive(Default)]
struct Neighbours(u64);

impl Hasher for Neighbours {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, value: u64) {
        let product = u128::from((self.0 ^ value) >> 6) * 0x9E37_79B9_7F4A_7C15;
        let first = (product >> 64) as u64 ^ product as u64;
        // The table compares the uppermost seven bits before it compares names: those of neighbours differ.
        self.0 = first.wrapping_add(value & 63) ^ value << 57;
    }
}

#[expect(
    clippy::disallowed_types,
    reason = "its order is never seen: there is no way to iterate, and the hash is fixed"
)]
type Places = std::collections::HashMap<JobId, u32, BuildHasherDefault<Neighbours>>;

/// A table whose steps cost the same however many jobs there are. Jobs that come one after the other lie side by side: those
/// that wait longest are in no cache, but the processor sees which comes next.
pub(crate) struct JobTable<T> {
    places: Places,
    slots: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for JobTable<T> {
    fn default() -> Self {
        Self { places: Places::default(), slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> core::fmt::Debug for JobTable<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "JobTable({} jobs)", self.len())
    }
}

impl<T> JobTable<T> {
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// What was there before.
    pub(crate) fn insert(&mut self, job: JobId, value: T) -> Option<T> {
        if let Some(&place) = self.places.get(&job) {
            return self.slots[place as usize].replace(value);
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("fewer than 4 Gi jobs at a time")
        });
        self.slots[place as usize] = Some(value);
        self.places.insert(job, place);
        None
    }

    pub(crate) fn get(&self, job: JobId) -> Option<&T> {
        self.slots[*self.places.get(&job)? as usize].as_ref()
    }

    pub(crate) fn get_mut(&mut self, job: JobId) -> Option<&mut T> {
        self.slots[*self.places.get(&job)? as usize].as_mut()
    }

    pub(crate) fn remove(&mut self, job: JobId) -> Option<T> {
        let place = self.places.remove(&job)?;
        self.free.push(place);
        self.slots[place as usize].take()
    }
}

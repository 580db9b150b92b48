//! A store that fails as it is told: for tests of what is above it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::address::{BlockId, Ppa};
use crate::config::Geometry;
use crate::store::{
    Discarded, MediaError, MemoryStore, NotProgrammed, Oob, Page, Store, StoredPage,
};

/// What goes wrong from now on.
#[derive(Debug, Default)]
pub struct Plan {
    /// So many program operations fail.
    pub programs_fail: u32,
    /// So many moves of garbage collection fail.
    pub moves_fail: u32,
    /// A bit of every page that is programmed turns.
    pub pages_rot: bool,
    /// Every page that is programmed says that it is the next one.
    pub pages_swap: bool,
}

/// A store that does as it is told.
#[derive(Debug)]
pub struct FaultyStore {
    memory: MemoryStore,
    plan: Arc<Mutex<Plan>>,
}

impl FaultyStore {
    /// An empty store.
    pub fn new(geometry: &Geometry, plan: Arc<Mutex<Plan>>) -> Self {
        Self { memory: MemoryStore::new(geometry), plan }
    }
}

impl Store for FaultyStore {
    fn read(&self, ppa: Ppa, show: &mut dyn FnMut(StoredPage<'_>)) -> Result<(), MediaError> {
        self.memory.read(ppa, show)
    }

    fn program(&mut self, ppa: Ppa, page: Page, mut oob: Oob) -> Result<(), NotProgrammed> {
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        if plan.programs_fail > 0 {
            plan.programs_fail -= 1;
            return Err(NotProgrammed { error: MediaError::ProgramFailed, page });
        }
        let mut bytes = page.to_vec();
        bytes[77] ^= u8::from(plan.pages_rot);
        if plan.pages_swap {
            oob.lpn.0 += 1;
        }
        self.memory.program(ppa, Page::from(bytes), oob)
    }

    fn relocate(&mut self, from: Ppa, to: Ppa) -> Result<(), MediaError> {
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        if plan.moves_fail > 0 {
            plan.moves_fail -= 1;
            return Err(MediaError::ProgramFailed);
        }
        self.memory.relocate(from, to)
    }

    fn discard(&mut self, ppa: Ppa, why: Discarded) -> Option<Page> {
        self.memory.discard(ppa, why)
    }

    fn erase(&mut self, block: BlockId) {
        self.memory.erase(block);
    }

    fn fork(&self) -> Option<Box<dyn Store>> {
        None
    }
}

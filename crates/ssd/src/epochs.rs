//! What flushes wait for: writes are counted by the number of flushes that came before them.

use std::collections::VecDeque;

use crate::request::RequestId;

#[derive(Clone, Copy, Debug, Default)]
struct Epoch {
    /// Versions of pages that are not in flash.
    outstanding: u64,
    /// One of them could not be programmed.
    has_failed: bool,
    /// The flush that closed it.
    flush: Option<RequestId>,
}

/// Epochs that are not over; the last is open.
#[derive(Clone, Debug)]
pub(crate) struct Epochs {
    epochs: VecDeque<Epoch>,
    first: u64,
}

impl Default for Epochs {
    fn default() -> Self {
        Self { epochs: VecDeque::from([Epoch::default()]), first: 0 }
    }
}

impl Epochs {
    /// The number of the open epoch.
    #[inline]
    pub(crate) fn open(&self) -> u64 {
        self.first + self.epochs.len() as u64 - 1
    }

    fn epoch(&mut self, number: u64) -> &mut Epoch {
        &mut self.epochs[(number - self.first) as usize]
    }

    /// A page has a version that is not in flash.
    #[inline]
    pub(crate) fn began(&mut self) -> u64 {
        let open = self.open();
        self.epoch(open).outstanding += 1;
        open
    }

    /// It is in flash, or not wanted any more.
    #[inline]
    pub(crate) fn ended(&mut self, number: u64) {
        self.epoch(number).outstanding -= 1;
    }

    /// A version could not be programmed: a flush that waits for it is told, and the next one waits for it. The epoch in which
    /// it counts from now on.
    pub(crate) fn failed(&mut self, number: u64) -> u64 {
        let epoch = self.epoch(number);
        if epoch.flush.is_none() {
            return number;
        }
        epoch.has_failed = true;
        epoch.outstanding -= 1;
        self.epoch(number + 1).outstanding += 1;
        number + 1
    }

    /// Closes the open epoch.
    pub(crate) fn flush(&mut self, id: RequestId) {
        let open = self.open();
        self.epoch(open).flush = Some(id);
        self.epochs.push_back(Epoch::default());
    }

    /// Takes a flush that has nothing to wait for any more, and whether a write that it waited for failed.
    #[inline]
    pub(crate) fn take_flushed(&mut self) -> Option<(RequestId, bool)> {
        let Epoch { outstanding, has_failed, flush } = *self.epochs.front()?;
        let id = flush.filter(|_| outstanding == 0)?;
        self.epochs.pop_front();
        self.first += 1;
        Some((id, has_failed))
    }
}

//! Events for things that are due at a time that a host can move again and again.

use simtime::Instant;

/// What is known of the events under way for one such thing. The due time is kept where it is used;
/// an event that comes too early looks again. So a time that moves leaves no trail of events.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reminder {
    /// The earliest event under way.
    event_at: Option<Instant>,
}

impl Reminder {
    /// True if the caller must see to an event at `due`: none under way comes by then.
    #[must_use]
    pub(crate) fn set(&mut self, due: Instant) -> bool {
        let is_needed = self.event_at.is_none_or(|earlier| earlier > due);
        if is_needed {
            self.event_at = Some(due);
        }
        is_needed
    }

    /// An event happens.
    pub(crate) fn happened(&mut self, now: Instant) {
        self.event_at = self.event_at.filter(|at| *at > now);
    }
}

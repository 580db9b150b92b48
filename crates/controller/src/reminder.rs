//! Events for things that are due at a time that a host can move again and again.

use simtime::Instant;

/// What is known of the events under way for one such thing. The due time is kept where it is used;
/// an event that comes too early looks again. So a time that moves leaves no trail of events.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reminder {
    /// When the events under way happen, the earliest last.
    events: Vec<Instant>,
}

impl Reminder {
    /// True if the caller must see to an event at `due`: none under way comes by then.
    #[must_use]
    pub(crate) fn set(&mut self, due: Instant) -> bool {
        let is_needed = self.events.last().is_none_or(|earliest| *earliest > due);
        if is_needed {
            self.events.push(due);
        }
        is_needed
    }

    /// An event happens.
    pub(crate) fn happened(&mut self, now: Instant) {
        while self.events.last().is_some_and(|at| *at <= now) {
            self.events.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_due_time_has_an_event_and_none_has_two() {
        let at = Instant::from_ns;
        let mut reminder = Reminder::default();
        assert!(reminder.set(at(100)) && !reminder.set(at(100)) && !reminder.set(at(200)));
        for short in 1..50 {
            assert!(reminder.set(at(short)));
            reminder.happened(at(short));
            assert!(!reminder.set(at(100)), "the event of the long one is still to come");
        }
        reminder.happened(at(100));
        assert!(reminder.set(at(200)));
    }
}

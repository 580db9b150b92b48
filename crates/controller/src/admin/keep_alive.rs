//! Keep Alive (Base 2.1, section 3.9): a host that asked for the timer and falls silent loses the
//! controller.

use simtime::{Duration, EventQueue, Instant};

use crate::event::Event;
use crate::reminder::Reminder;

/// Granularity of the timer in 100 ms units (Identify, KAS).
pub(crate) const GRANULARITY: u16 = 10;

/// Milliseconds of one unit of [`GRANULARITY`].
const UNIT_MS: u32 = 100;

/// The timer.
#[derive(Debug, Default)]
pub(crate) struct KeepAlive {
    timeout: Option<Duration>,
    deadline: Instant,
    reminder: Reminder,
}

impl KeepAlive {
    /// The time-out the drive grants for the one a host asks for: whole granules.
    pub(crate) fn granted_ms(asked_ms: u32) -> u32 {
        let granule = u32::from(GRANULARITY) * UNIT_MS;
        asked_ms.div_ceil(granule).saturating_mul(granule)
    }

    /// Sets the time-out; 0 stops the timer.
    pub(crate) fn set(&mut self, now: Instant, events: &mut EventQueue<Event>, timeout_ms: u32) {
        let timeout = Duration::from_us(1_000) * u64::from(timeout_ms);
        self.timeout = (timeout_ms > 0).then_some(timeout);
        self.restart(now, events);
    }

    /// The host gave a sign of life.
    pub(crate) fn restart(&mut self, now: Instant, events: &mut EventQueue<Event>) {
        let Some(timeout) = self.timeout else { return };
        self.deadline = now + timeout;
        self.wait(events);
    }

    fn wait(&mut self, events: &mut EventQueue<Event>) {
        if self.reminder.set(self.deadline) {
            events.push(self.deadline, Event::KeepAlive);
        }
    }

    /// A reset stops the timer.
    pub(crate) fn stop(&mut self) {
        self.timeout = None;
    }

    /// The time-out may be over; true if it is, without a sign of life since.
    pub(crate) fn expired(&mut self, now: Instant, events: &mut EventQueue<Event>) -> bool {
        self.reminder.happened(now);
        if self.timeout.is_none() {
            return false;
        }
        let is_over = self.deadline <= now;
        if is_over {
            self.stop();
        } else {
            self.wait(events);
        }
        is_over
    }
}

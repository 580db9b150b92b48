//! Keep Alive (Base 2.1, section 3.9): a host that asked for the timer and falls silent loses the
//! controller.

use nvme_spec::Status;
use simtime::{Duration, EventQueue, Instant};

use crate::controller::{Controller, Event};

/// Granularity of the timer in 100 ms units (Identify, KAS).
pub(crate) const GRANULARITY: u16 = 10;

/// Milliseconds of one unit of [`GRANULARITY`].
const UNIT_MS: u32 = 100;

/// The timer.
#[derive(Debug, Default)]
pub(crate) struct KeepAlive {
    timeout: Option<Duration>,
    /// Tells the current wait from earlier ones.
    number: u32,
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
        self.number = self.number.wrapping_add(1);
        if let Some(timeout) = self.timeout {
            events.push(now + timeout, Event::KeepAlive(self.number));
        }
    }

    /// A reset stops the timer.
    pub(crate) fn stop(&mut self) {
        self.timeout = None;
        self.number = self.number.wrapping_add(1);
    }
}

impl Controller {
    /// The time-out is over: without a sign of life since, the controller stops.
    pub(crate) fn keep_alive_expired(&mut self, number: u32) {
        if self.keep_alive.number == number && self.keep_alive.timeout.is_some() {
            self.logs.log_fatal(Status::KEEP_ALIVE_EXPIRED);
            self.registers.csts.set_cfs(true);
        }
    }
}

//! What the drive has counted while a question is answered, for pictures over time.

use records::CounterRecord;
use simtime::{Duration, Instant};
use simulator::Simulation;

/// Takes a drive's counters now and then.
#[derive(Debug)]
pub(super) struct Watch {
    counters: Vec<CounterRecord>,
    next: Instant,
}

/// As often as that.
const EVERY: Duration = Duration::from_us(20);

impl Watch {
    /// From now on.
    pub(super) fn new(port: &Simulation) -> Self {
        let mut watch = Self { counters: Vec::new(), next: port.now() };
        watch.look(port);
        watch
    }

    /// Never.
    pub(super) fn off() -> Self {
        Self { counters: Vec::new(), next: Instant::NEVER }
    }

    /// Something happened.
    #[inline]
    pub(super) fn look(&mut self, port: &Simulation) {
        if port.now() >= self.next {
            self.counters.push(CounterRecord::from(&port.drive.counters()));
            self.next = port.now() + EVERY;
        }
    }

    /// All that was taken, and what is counted at the end.
    pub(super) fn end(mut self, port: &Simulation) -> Vec<CounterRecord> {
        self.counters.push(CounterRecord::from(&port.drive.counters()));
        self.counters
    }
}

//! The drive, host memory and the clock.

use controller::{Config, ConfigError, Controller};
use simtime::Instant;

use crate::memory::HostRam;

/// A drive in virtual time.
#[derive(Debug)]
pub struct Simulation {
    /// The drive.
    pub drive: Controller,
    /// Host memory.
    pub ram: HostRam,
    now: Instant,
    interrupts: Vec<u16>,
}

impl Simulation {
    /// A drive fresh from the factory at time zero.
    ///
    /// # Errors
    /// If the configuration cannot be built.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Ok(Self {
            drive: Controller::new(config)?,
            ram: HostRam::default(),
            now: Instant::ZERO,
            interrupts: Vec::new(),
        })
    }

    /// The virtual time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Lets the drive do what is due now, programs included.
    pub fn settle(&mut self) {
        loop {
            self.drive.advance(self.now, &mut self.ram);
            let outbox = self.drive.outbox();
            self.interrupts.append(&mut outbox.interrupts);
            let work = std::mem::take(&mut outbox.work);
            if work.is_empty() {
                return;
            }
            for item in work {
                let done = item.run();
                self.drive.work_done(self.now, done);
            }
        }
    }

    /// Jumps from event to event until the drive raises an interrupt or has run a program; false
    /// if it goes idle before.
    pub fn step(&mut self) -> bool {
        loop {
            let Some(at) = self.drive.next_event() else { return false };
            self.now = self.now.max(at);
            self.drive.advance(self.now, &mut self.ram);
            if !self.drive.outbox().is_empty() {
                self.settle();
                return true;
            }
        }
    }

    /// Takes the interrupts raised since the last call.
    pub fn take_interrupts(&mut self, into: &mut Vec<u16>) {
        into.append(&mut self.interrupts);
    }
}

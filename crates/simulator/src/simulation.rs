//! The drive, host memory and the clock.

use client::Port;
use controller::{Config, ConfigError, Controller, Worker};
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
    worker: Worker,
}

impl Simulation {
    /// A drive fresh from the factory at time zero.
    ///
    /// # Errors
    /// If the configuration cannot be built.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        let worker = Worker::new(config.engine);
        Ok(Self {
            drive: Controller::new(config)?,
            ram: HostRam::default(),
            now: Instant::ZERO,
            worker,
        })
    }

    /// The virtual time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Does what the drive asks for in its outbox.
    fn serve(&mut self) {
        while !self.drive.outbox().work.is_empty() {
            for item in std::mem::take(&mut self.drive.outbox().work) {
                let done = item.run(&mut self.worker);
                self.drive.work_done(self.now, done);
            }
            self.drive.advance(self.now, &mut self.ram);
        }
    }

    /// Jumps from event to event until the drive raises an interrupt or has run a program; false
    /// if it goes idle before.
    pub fn step(&mut self) -> bool {
        let mut next = self.drive.next_event();
        while let Some(at) = next {
            self.now = self.now.max(at);
            next = self.drive.advance(self.now, &mut self.ram);
            if !self.drive.outbox().is_empty() {
                self.serve();
                return true;
            }
        }
        false
    }

    /// Lets time pass although nothing may happen in it.
    pub fn idle_until(&mut self, then: Instant) {
        self.now = self.now.max(then);
        self.settle();
    }
}

impl Port for Simulation {
    type Memory = HostRam;

    #[inline]
    fn register_read(&mut self, at: u64, size: usize) -> u64 {
        self.drive.register_read(at, size)
    }

    #[inline]
    fn register_write(&mut self, at: u64, size: usize, value: u64) {
        self.drive.register_write(at, size, value);
    }

    #[inline]
    fn memory(&mut self) -> &mut HostRam {
        &mut self.ram
    }

    /// Lets the drive do what is due now, programs included, until it could sleep.
    fn settle(&mut self) {
        loop {
            self.drive.advance(self.now, &mut self.ram);
            self.serve();
            if !self.drive.arm_doorbells(&mut self.ram) {
                return;
            }
        }
    }

    fn wait(&mut self, _: Option<std::time::Duration>) -> bool {
        self.step()
    }

    #[inline]
    fn take_interrupts(&mut self, vectors: &mut Vec<u16>) {
        vectors.append(&mut self.drive.outbox().interrupts);
    }
}

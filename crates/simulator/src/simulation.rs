//! The drive, host memory and the clock.

use client::Port;
use controller::{Config, ConfigError, Controller, Observer, RemoteRuntime, Worker};
use nvme_spec::{Cc, Csts, offset, shutdown};
use simtime::Instant;
use ssd::Recovery;

use crate::memory::HostRam;

/// What came of letting a drive go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// It raised an interrupt or ran a program.
    Output,
    /// The limit came first, or it has nothing to do.
    None,
}

/// A drive in virtual time.
#[derive(Debug)]
pub struct Simulation {
    /// The drive.
    pub drive: Controller,
    /// Host memory.
    pub ram: HostRam,
    now: Instant,
    worker: Worker,
    remote: Option<Box<dyn RemoteRuntime>>,
    /// What the drive's user should know, once each.
    pub notes: Vec<String>,
}

impl Simulation {
    /// A drive fresh from the factory at time zero.
    ///
    /// # Errors
    /// If the configuration cannot be built.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Controller::new(config).map(Self::of)
    }

    /// A simulation of a drive, at its time.
    pub fn of(drive: Controller) -> Self {
        let worker = Worker::new(drive.config().engine);
        Self {
            ram: HostRam::default(),
            now: drive.now(),
            drive,
            worker,
            remote: None,
            notes: Vec::new(),
        }
    }

    /// Programs whose run time is to come from a runtime server are asked of this one.
    pub fn set_remote(&mut self, remote: Box<dyn RemoteRuntime>) {
        self.remote = Some(remote);
    }

    /// From now on somebody looks at what programs do, instruction by instruction, or nobody any more.
    pub fn observe(&mut self, observer: Option<Box<dyn Observer>>) {
        drop(self.worker.observe(observer));
    }

    /// The virtual time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Does what the drive asks for in its outbox.
    fn serve(&mut self) {
        while !self.drive.outbox().work.is_empty() || !self.drive.outbox().syncs.is_empty() {
            // Virtual time stands still meanwhile.
            for sync in std::mem::take(&mut self.drive.outbox().syncs) {
                self.drive.sync_done(sync.run());
            }
            for item in std::mem::take(&mut self.drive.outbox().work) {
                let remote =
                    self.remote.as_mut().map(|remote| &mut **remote as &mut dyn RemoteRuntime);
                let done = item.run_with(&mut self.worker, remote);
                self.drive.work_done(done);
            }
            self.drive.advance(self.now, &mut self.ram);
        }
        for note in std::mem::take(&mut self.drive.outbox().notes) {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }

    /// Jumps from event to event until the drive raises an interrupt or has run a program; false
    /// if it goes idle before.
    pub fn step(&mut self) -> bool {
        let is_busy = match self.drive.advance_to_output(&mut self.ram) {
            Some(at) => {
                self.now = self.now.max(at);
                self.serve();
                true
            }
            None => false,
        };
        self.now = self.now.max(self.drive.now());
        is_busy
    }

    /// As [`Self::step`], as long as nothing happens later than at `limit`.
    pub(crate) fn step_until(&mut self, limit: Instant) -> Progress {
        while let Some(at) = self.drive.next_event().filter(|at| *at <= limit) {
            self.now = self.now.max(at);
            self.drive.advance(self.now, &mut self.ram);
            if !self.drive.outbox().is_empty() {
                self.serve();
                return Progress::Output;
            }
        }
        Progress::None
    }

    /// The power goes, and comes back at once. The host's queues are gone, and the drive is not enabled.
    pub fn power_cut(&mut self) -> Recovery {
        self.drive.power_cut(self.now, &mut self.ram)
    }

    /// Shuts the drive down as a host does before it switches it off: what is in the write buffer goes to flash. Commands under way
    /// end without a completion.
    pub fn shut_down(&mut self) {
        let cc = Cc::from_bits(self.drive.register_read(offset::CC, 4) as u32);
        let notified = cc.with_shn(shutdown::NORMAL).into_bits();
        self.drive.register_write(offset::CC, 4, notified.into());
        let is_over = |drive: &Controller| {
            let csts = Csts::from_bits(drive.register_read(offset::CSTS, 4) as u32);
            csts.shst() == shutdown::COMPLETE
        };
        self.drive.advance(self.now, &mut self.ram);
        self.serve();
        while !is_over(&self.drive)
            && let Some(at) = self.drive.next_event()
        {
            self.now = self.now.max(at);
            self.drive.advance(self.now, &mut self.ram);
            self.serve();
        }
    }

    /// Lets time pass although nothing may happen in it.
    pub fn idle_until(&mut self, then: Instant) {
        self.now = self.now.max(then);
        self.settle();
    }
}

impl Drop for Simulation {
    /// A drive that keeps its flash in a file is shut down when its user is done with it.
    fn drop(&mut self) {
        let is_kept = !self.drive.config().storage.file.is_empty();
        if is_kept && !std::thread::panicking() {
            self.shut_down();
        }
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

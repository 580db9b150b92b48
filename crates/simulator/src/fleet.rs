//! Several drives on one clock.

use std::collections::{BTreeSet, VecDeque};

use client::Completion;
use simtime::Instant;

use crate::Host;
use crate::simulation::Progress;

/// A drive of a [`Fleet`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DriveNumber(pub usize);

/// Several drives, each with a host's driver of its own, on one clock.
///
/// Completions come in the order of their times, whichever drive they are of; of those at the same time, the drive with the
/// lower number is first. A drive that has nothing to do costs the others nothing, and a step costs the logarithm of the
/// drives that have.
#[derive(Debug, Default)]
pub struct Fleet {
    hosts: Vec<Host>,
    /// When each drive that is busy goes on. A drive is in it once.
    due: BTreeSet<(Instant, usize)>,
    /// The time under which a drive stands in `due`.
    listed: Vec<Option<Instant>>,
    ready: VecDeque<(DriveNumber, Completion)>,
    now: Instant,
}

impl Fleet {
    /// Adds a drive. The fleet's time is at least that of the drive, which was enabled before.
    pub fn add(&mut self, host: Host) -> DriveNumber {
        self.now = self.now.max(host.port.now());
        let number = self.hosts.len();
        self.hosts.push(host);
        self.listed.push(None);
        self.list(number);
        DriveNumber(number)
    }

    /// The time that all drives have reached.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The host of a drive, to look at.
    ///
    /// # Panics
    /// If the fleet has no such drive.
    pub fn host(&self, drive: DriveNumber) -> &Host {
        &self.hosts[drive.0]
    }

    /// Lets the host of a drive do something at this time: submit commands, ring doorbells. It must not wait for anything: its
    /// drive would run ahead of the others.
    ///
    /// # Panics
    /// If the fleet has no such drive.
    pub fn with<T>(&mut self, drive: DriveNumber, act: impl FnOnce(&mut Host) -> T) -> T {
        let host = &mut self.hosts[drive.0];
        if host.port.now() < self.now {
            host.port.idle_until(self.now);
        }
        let given = act(host);
        self.list(drive.0);
        given
    }

    /// The next completion of any drive, and of which. `None` if nothing is under way.
    pub fn next_completion(&mut self) -> Option<(DriveNumber, Completion)> {
        while self.ready.is_empty() {
            let (_, number) = self.due.pop_first()?;
            self.listed[number] = None;
            // Until the next of the others goes on, this one may go on alone.
            let limit = self.due.first().map_or(Instant::NEVER, |(at, _)| *at);
            let host = &mut self.hosts[number];
            if host.port.step_until(limit) == Progress::Output {
                self.now = self.now.max(host.port.now());
                while let Some(completion) = host.ready_completion() {
                    self.ready.push_back((DriveNumber(number), completion));
                }
            }
            self.list(number);
        }
        self.ready.pop_front()
    }

    /// Notes when a drive goes on.
    fn list(&mut self, number: usize) {
        let next = self.hosts[number].port.drive.next_event();
        let before = std::mem::replace(&mut self.listed[number], next);
        if before == next {
            return;
        }
        if let Some(at) = before {
            self.due.remove(&(at, number));
        }
        if let Some(at) = next {
            self.due.insert((at, number));
        }
    }
}

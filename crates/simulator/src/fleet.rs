//! Several drives on one clock.

use std::collections::{BTreeSet, VecDeque};

use client::Completion;
use simtime::Instant;

use crate::simulation::Progress;
use crate::{Host, Session};

/// A drive of a [`Fleet`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DriveNumber(pub usize);

/// Something with a host's driver of a simulated drive.
pub trait AsHost {
    /// The driver.
    fn as_host(&self) -> &Host;

    /// The driver.
    fn as_host_mut(&mut self) -> &mut Host;
}

impl AsHost for Host {
    fn as_host(&self) -> &Host {
        self
    }

    fn as_host_mut(&mut self) -> &mut Host {
        self
    }
}

impl AsHost for Session {
    fn as_host(&self) -> &Host {
        &self.transport.driver
    }

    fn as_host_mut(&mut self) -> &mut Host {
        &mut self.transport.driver
    }
}

/// Several drives, each with a host's driver of its own, on one clock.
///
/// Completions come in the order of their times, whichever drive they are of; of those at the same time, the drive with the
/// lower number is first. A drive that has nothing to do costs the others nothing, and a step costs the logarithm of the
/// drives that have.
#[derive(Debug)]
pub struct Fleet<H = Host> {
    hosts: Vec<H>,
    /// When each drive that is busy goes on. A drive is in it once.
    due: BTreeSet<(Instant, usize)>,
    /// The time under which a drive stands in `due`.
    listed: Vec<Option<Instant>>,
    /// Drives whose hosts may have completions. They stay with their drivers until they are asked for: until then their
    /// identifiers name no other command.
    ready: VecDeque<usize>,
    /// Whether each drive is in `ready`.
    is_ready: Vec<bool>,
    now: Instant,
}

impl<H> Default for Fleet<H> {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            due: BTreeSet::new(),
            listed: Vec::new(),
            ready: VecDeque::new(),
            is_ready: Vec::new(),
            now: Instant::ZERO,
        }
    }
}

impl<H: AsHost> Fleet<H> {
    /// Adds a drive. The fleet's time is at least that of the drive, which was enabled before.
    pub fn add(&mut self, host: H) -> DriveNumber {
        self.now = self.now.max(host.as_host().port.now());
        let number = self.hosts.len();
        self.hosts.push(host);
        self.listed.push(None);
        self.is_ready.push(false);
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
    pub fn host(&self, drive: DriveNumber) -> &H {
        &self.hosts[drive.0]
    }

    /// Lets the host of a drive do something at this time: submit commands, ring doorbells. It must not wait for anything: its
    /// drive would run ahead of the others.
    ///
    /// # Panics
    /// If the fleet has no such drive.
    pub fn with<T>(&mut self, drive: DriveNumber, act: impl FnOnce(&mut H) -> T) -> T {
        let host = &mut self.hosts[drive.0];
        let port = &mut host.as_host_mut().port;
        if port.now() < self.now {
            port.idle_until(self.now);
        }
        let given = act(host);
        // What completed meanwhile waits for no other event.
        self.look_later(drive.0);
        self.list(drive.0);
        given
    }

    /// The next completion of any drive, and of which. `None` if nothing is under way.
    pub fn next_completion(&mut self) -> Option<(DriveNumber, Completion)> {
        self.next_before(Instant::NEVER)
    }

    /// The next completion of any drive, if there is one no later than at `limit`. Otherwise it is `limit` then, for all drives.
    pub fn next_completion_until(&mut self, limit: Instant) -> Option<(DriveNumber, Completion)> {
        let next = self.next_before(limit);
        if next.is_none() {
            self.now = self.now.max(limit);
        }
        next
    }

    fn next_before(&mut self, limit: Instant) -> Option<(DriveNumber, Completion)> {
        loop {
            while let Some(&number) = self.ready.front() {
                if let Some(completion) = self.hosts[number].as_host_mut().ready_completion() {
                    return Some((DriveNumber(number), completion));
                }
                self.ready.pop_front();
                self.is_ready[number] = false;
                self.list(number);
            }
            self.due.first().filter(|(at, _)| *at <= limit)?;
            let (_, number) = self.due.pop_first()?;
            self.listed[number] = None;
            // Until the next of the others goes on, this one may go on alone.
            let others = self.due.first().map_or(Instant::NEVER, |(at, _)| *at);
            let host = self.hosts[number].as_host_mut();
            if host.port.step_until(others.min(limit)) == Progress::Output {
                self.now = self.now.max(host.port.now());
                self.look_later(number);
            }
            self.list(number);
        }
    }

    /// The hosts, in the order of their numbers, for what does not need one clock.
    pub fn into_hosts(self) -> Vec<H> {
        self.hosts
    }

    /// Notes that a drive's host may have completions.
    fn look_later(&mut self, number: usize) {
        if !std::mem::replace(&mut self.is_ready[number], true) {
            self.ready.push_back(number);
        }
    }

    /// Notes when a drive goes on.
    fn list(&mut self, number: usize) {
        let next = self.hosts[number].as_host().port.drive.next_event();
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

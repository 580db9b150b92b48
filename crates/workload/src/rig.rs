//! Drives and the clock that a workload runs against.

use std::fmt;
use std::time::Instant as Moment;

use client::{Command, Done, Drive, DriveResult, GroupInfo, Submit, Ticket};
use nvme_spec::DriveCounters;
use records::{CounterRecord, JobRecord, Records};
use simtime::{Duration, Instant};
use simulator::{DriveNumber, Fleet, Session};

/// What a job group counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GroupCounts {
    /// The group.
    pub id: u8,
    /// Jobs that ended after their deadline.
    pub missed: u64,
    /// Time that its limits kept its jobs from the scheduler, in nanoseconds.
    pub throttled_ns: u64,
}

impl GroupCounts {
    /// What it counted after an earlier look.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            id: self.id,
            missed: self.missed - earlier.missed,
            throttled_ns: self.throttled_ns - earlier.throttled_ns,
        }
    }
}

/// Drives on one clock.
pub trait Rig {
    /// The way to a drive.
    type Transport: Submit;

    /// "virtual" or "real".
    const CLOCK: &'static str;

    /// How many there are.
    fn count(&self) -> usize;

    /// A drive, before [`Self::begin`] and after [`Self::end`].
    fn drive(&mut self, number: usize) -> &mut Drive<Self::Transport>;

    /// From now on all drives have one clock.
    fn begin(&mut self);

    /// Nothing is under way any more.
    fn end(&mut self);

    /// The time.
    fn now(&self) -> Instant;

    /// Lets a drive be looked at, to build commands for it.
    ///
    /// # Errors
    /// Those of what is done.
    fn look_at<T>(
        &self,
        drive: usize,
        look: impl FnOnce(&Drive<Self::Transport>) -> DriveResult<T>,
    ) -> DriveResult<T>;

    /// Commands that a drive's queue has room for.
    fn room(&self, drive: usize) -> usize;

    /// Sends a command for which there is room.
    ///
    /// # Errors
    /// If the drive is gone.
    fn submit(&mut self, drive: usize, command: Command) -> DriveResult<Ticket>;

    /// The next completion, if there is one no later than at `until`; otherwise it is `until` then, unless that is never.
    ///
    /// # Errors
    /// If the drive is gone.
    fn next(&mut self, until: Instant) -> DriveResult<Option<(usize, Done)>>;

    /// What a drive has counted until now, if it tells.
    ///
    /// # Errors
    /// If the drive is gone.
    fn counters(&mut self, drive: usize) -> DriveResult<Option<DriveCounters>>;

    /// What the job groups of a drive have counted until now.
    ///
    /// # Errors
    /// If the drive is gone.
    fn groups(&mut self, drive: usize) -> DriveResult<Vec<GroupCounts>>;

    /// What a drive is called.
    fn name(&self, drive: usize) -> String;

    /// What became of jobs since the last time, if the drive tells.
    fn take_jobs(&mut self, drive: usize) -> Vec<JobRecord>;
}

/// Simulated drives, in virtual time.
#[derive(Debug, Default)]
pub struct Simulated {
    count: usize,
    /// Before and after a run.
    sessions: Vec<Session>,
    /// In a run.
    fleet: Fleet<Session>,
    /// Records that were taken and not handed on.
    records: Records,
    /// Of each drive, jobs that were taken and not asked for.
    jobs: Vec<Vec<JobRecord>>,
    sampling: Option<Sampling>,
}

/// Takes what drives record in a run: with the number of the drive, in the order in which it happens.
pub type RecordSink = Box<dyn FnMut(usize, &Records)>;

/// Has counters recorded, and all records handed on.
struct Sampling {
    sink: RecordSink,
    began: Instant,
    next: Instant,
    completions: u32,
}

impl fmt::Debug for Sampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sampling").field("next", &self.next).finish_non_exhaustive()
    }
}

/// Counters are recorded as often as this at the beginning of a run; later at each so many of its time so far, so that a long run has
/// few.
const SAMPLE: Duration = Duration::from_us(20);
const SAMPLES: u64 = 1000;
/// Records are handed on after so many completions.
const COMPLETIONS: u32 = 1024;

impl Simulated {
    /// Drives that were opened for it.
    pub fn new(sessions: Vec<Session>) -> Self {
        let count = sessions.len();
        Self { count, sessions, jobs: vec![Vec::new(); count], ..Self::default() }
    }

    /// From the beginning to the end of a run, records of all kinds go there.
    #[must_use]
    pub fn record_to(self, sink: RecordSink) -> Self {
        let (began, next) = (Instant::ZERO, Instant::ZERO);
        Self { sampling: Some(Sampling { sink, began, next, completions: 0 }), ..self }
    }

    /// The hash of everything that happened in each drive.
    pub fn trace_hashes(&self) -> Vec<u64> {
        let hash = |session: &Session| session.transport.driver.port.drive.statistics().trace_hash;
        (0..self.count).map(|drive| hash(self.session(drive))).collect()
    }

    /// The configuration of each drive.
    pub fn configs(&self) -> impl Iterator<Item = &controller::Config> {
        (0..self.count).map(|drive| self.session(drive).transport.driver.port.drive.config())
    }

    /// Takes a drive's records, and hands them on.
    fn take(&mut self, drive: usize) {
        self.records.clear();
        let records = &mut self.records;
        self.fleet.with(DriveNumber(drive), |session| {
            session.transport.driver.port.drive.take_records_into(records);
        });
        if let Some(sampling) = &mut self.sampling {
            (sampling.sink)(drive, &self.records);
        }
        self.jobs[drive].append(&mut self.records.jobs);
    }

    /// Records what all drives have counted.
    fn sample(&mut self) {
        for drive in 0..self.count {
            let counters = self
                .fleet
                .with(DriveNumber(drive), |session| session.transport.driver.port.drive.counters());
            let counters = vec![CounterRecord::from(&counters)];
            if let Some(sampling) = &mut self.sampling {
                (sampling.sink)(drive, &Records { counters, ..Records::default() });
            }
        }
    }

    /// A command has completed, or time has passed: records what is due.
    fn look(&mut self) {
        let now = self.fleet.now();
        let Some(sampling) = &mut self.sampling else { return };
        sampling.completions += 1;
        let is_due = now >= sampling.next;
        if is_due {
            let since = now.since(sampling.began).as_ns() / SAMPLES;
            sampling.next = now + SAMPLE.max(Duration::from_ns(since));
        }
        let is_full = sampling.completions >= COMPLETIONS;
        if is_full {
            sampling.completions = 0;
            (0..self.count).for_each(|drive| self.take(drive));
        }
        if is_due {
            self.sample();
        }
    }

    fn session(&self, drive: usize) -> &Session {
        match self.sessions.get(drive) {
            Some(session) => session,
            None => self.fleet.host(DriveNumber(drive)),
        }
    }
}

impl Rig for Simulated {
    type Transport = client::Direct<simulator::Simulation>;

    const CLOCK: &'static str = "virtual";

    fn count(&self) -> usize {
        self.count
    }

    fn drive(&mut self, number: usize) -> &mut Session {
        &mut self.sessions[number]
    }

    fn begin(&mut self) {
        for mut session in self.sessions.drain(..) {
            session.transport.driver.port.drive.set_recording(true);
            self.fleet.add(session);
        }
        let now = self.fleet.now();
        if let Some(sampling) = &mut self.sampling {
            (sampling.began, sampling.next) = (now, now + SAMPLE);
        }
        self.sample();
    }

    fn end(&mut self) {
        (0..self.count).for_each(|drive| self.take(drive));
        self.sample();
        self.sessions = std::mem::take(&mut self.fleet).into_hosts();
    }

    fn now(&self) -> Instant {
        self.fleet.now()
    }

    fn look_at<T>(
        &self,
        drive: usize,
        look: impl FnOnce(&Session) -> DriveResult<T>,
    ) -> DriveResult<T> {
        look(self.session(drive))
    }

    fn room(&self, drive: usize) -> usize {
        self.session(drive).transport.room(client::Lane::Io)
    }

    fn submit(&mut self, drive: usize, command: Command) -> DriveResult<Ticket> {
        self.fleet.with(DriveNumber(drive), |session| Ok(session.transport.submit(command)?))
    }

    fn next(&mut self, until: Instant) -> DriveResult<Option<(usize, Done)>> {
        loop {
            let next = if until == Instant::NEVER {
                self.fleet.next_completion()
            } else {
                self.fleet.next_completion_until(until)
            };
            self.look();
            let Some((number, completion)) = next else { return Ok(None) };
            let done = self.fleet.with(number, |session| session.transport.completed(completion));
            if let Some(done) = done {
                return Ok(Some((number.0, done)));
            }
        }
    }

    fn counters(&mut self, drive: usize) -> DriveResult<Option<DriveCounters>> {
        // No command for it: that would be a part of the run.
        let of = |session: &mut Session| session.transport.driver.port.drive.counters();
        Ok(Some(self.fleet.with(DriveNumber(drive), of)))
    }

    fn groups(&mut self, drive: usize) -> DriveResult<Vec<GroupCounts>> {
        let of = |session: &mut Session| {
            let groups = session.transport.driver.port.drive.groups();
            let counts = groups.map(|group| GroupCounts {
                id: group.group.0,
                missed: group.missed,
                throttled_ns: group.throttled.as_ns(),
            });
            counts.collect()
        };
        Ok(self.fleet.with(DriveNumber(drive), of))
    }

    fn name(&self, drive: usize) -> String {
        self.session(drive).transport.driver.port.drive.config().serial.clone()
    }

    fn take_jobs(&mut self, drive: usize) -> Vec<JobRecord> {
        self.take(drive);
        std::mem::take(&mut self.jobs[drive])
    }
}

/// Drives that are there, in real time.
#[derive(Debug)]
pub struct Real {
    drives: Vec<Drive>,
    /// How each is called.
    names: Vec<String>,
    /// Commands of each that have not completed.
    under_way: Vec<usize>,
    /// The drive that was served last.
    last: usize,
    began: Moment,
}

/// Waits of several drives in turn are no longer than that.
const TURN: std::time::Duration = std::time::Duration::from_micros(50);
/// One wait is no longer than that.
const WAIT: std::time::Duration = std::time::Duration::from_millis(100);

impl Real {
    /// Drives that were opened for it, and how they are called.
    pub fn new(drives: Vec<(String, Drive)>) -> Self {
        let (names, drives): (Vec<_>, Vec<_>) = drives.into_iter().unzip();
        let under_way = vec![0; drives.len()];
        Self { drives, names, under_way, last: 0, began: Moment::now() }
    }

    /// The next completion of a drive, if there is one in about so long.
    fn take(
        &mut self,
        number: usize,
        limit: std::time::Duration,
    ) -> DriveResult<Option<(usize, Done)>> {
        let Some(done) = self.drives[number].wait_at_most(limit)? else { return Ok(None) };
        self.under_way[number] -= 1;
        self.last = number;
        Ok(Some((number, done)))
    }

    fn left(&self, until: Instant) -> std::time::Duration {
        let left = until.since(self.now()).as_ns();
        std::time::Duration::from_nanos(left).min(WAIT)
    }
}

impl Rig for Real {
    type Transport = Box<dyn Submit + Send>;

    const CLOCK: &'static str = "real";

    fn count(&self) -> usize {
        self.drives.len()
    }

    fn drive(&mut self, number: usize) -> &mut Drive {
        &mut self.drives[number]
    }

    fn begin(&mut self) {
        self.began = Moment::now();
    }

    fn end(&mut self) {}

    fn now(&self) -> Instant {
        Instant::ZERO + Duration::from_ns(self.began.elapsed().as_nanos() as u64)
    }

    fn look_at<T>(
        &self,
        drive: usize,
        look: impl FnOnce(&Drive) -> DriveResult<T>,
    ) -> DriveResult<T> {
        look(&self.drives[drive])
    }

    fn room(&self, drive: usize) -> usize {
        self.drives[drive].transport.room(client::Lane::Io)
    }

    fn submit(&mut self, drive: usize, command: Command) -> DriveResult<Ticket> {
        let ticket = self.drives[drive].transport.submit(command)?;
        self.under_way[drive] += 1;
        Ok(ticket)
    }

    fn next(&mut self, until: Instant) -> DriveResult<Option<(usize, Done)>> {
        if self.under_way.iter().all(|count| *count == 0) {
            if until == Instant::NEVER {
                return Ok(None);
            }
            while until > self.now() {
                std::thread::sleep(self.left(until));
            }
            return Ok(None);
        }
        loop {
            let count = self.drives.len();
            // Whoever was served last comes last: each gets the same service.
            let in_turn = (1..=count).map(|turn| (self.last + turn) % count);
            let busy: Vec<usize> = in_turn.filter(|number| self.under_way[*number] > 0).collect();
            let mut limit = self.left(until);
            // All are looked at before one of several is waited for.
            if busy.len() > 1 {
                limit = limit.min(TURN);
                for &number in &busy {
                    if let Some(done) = self.take(number, std::time::Duration::ZERO)? {
                        return Ok(Some(done));
                    }
                }
            }
            self.last = busy[0];
            if let Some(done) = self.take(busy[0], limit)? {
                return Ok(Some(done));
            }
            if until <= self.now() {
                return Ok(None);
            }
        }
    }

    fn counters(&mut self, drive: usize) -> DriveResult<Option<DriveCounters>> {
        // What else completes meanwhile stays with the drive.
        self.drives[drive].counters()
    }

    fn groups(&mut self, drive: usize) -> DriveResult<Vec<GroupCounts>> {
        let groups = self.drives[drive].groups()?;
        let counts = |group: GroupInfo| GroupCounts {
            id: group.id,
            missed: group.missed,
            throttled_ns: group.throttled_ns,
        };
        Ok(groups.into_iter().map(counts).collect())
    }

    fn name(&self, drive: usize) -> String {
        self.names[drive].clone()
    }

    fn take_jobs(&mut self, _: usize) -> Vec<JobRecord> {
        Vec::new()
    }
}

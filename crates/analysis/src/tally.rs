//! Adds up records, piece by piece.

use std::collections::BTreeMap;

use nvme_spec::{CommandSet, Status};
use records::{CommandRecord, CounterRecord, LinkPath, Records, Stage};

use crate::command_kind::CommandKind;
use crate::drive::DriveReport;
use crate::latency::LatencyReport;
use crate::summary::{CommandSummary, DriveSummary, GroupSummary, LinkSummary, QueueSummary};

/// What the records of one drive add up to. Every latency is kept (some 100 bytes a command), so that percentiles are exact.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    commands: BTreeMap<CommandKind, Commands>,
    /// By queue, from when to when each command was in flight.
    queues: BTreeMap<u16, Vec<(u64, u64)>>,
    groups: BTreeMap<u32, Jobs>,
    units: BTreeMap<u32, u64>,
    channels: BTreeMap<u32, u64>,
    dies: BTreeMap<u32, u64>,
    links: BTreeMap<u8, Crossings>,
    first: Option<CounterRecord>,
    last: Option<CounterRecord>,
    /// From when to when there are records.
    span: Option<(u64, u64)>,
    /// How long the records are for, if it is known.
    elapsed_ns: Option<u64>,
    /// The time that counts: what was busy before or after is not.
    window: Option<(u64, u64)>,
    lost: u64,
}

#[derive(Clone, Debug, Default)]
struct Commands {
    failed: u64,
    bytes: u64,
    /// How late those were that were late.
    late: Vec<u64>,
    /// Latency and stages.
    all: Vec<(u64, [u64; Stage::ALL.len()])>,
}

#[derive(Clone, Debug, Default)]
struct Jobs {
    waited: Vec<u64>,
    ran: Vec<u64>,
    instructions: u64,
}

#[derive(Clone, Debug, Default)]
struct Crossings {
    bytes: u64,
    took: Vec<u64>,
}

impl Tally {
    /// Adds records. Their times are believed: whoever reads a file that may be anybody's gets numbers that may be anybody's.
    pub fn add(&mut self, records: &Records) {
        for record in &records.commands {
            self.add_command(record);
        }
        for record in &records.jobs {
            self.saw(record.submitted_ns, record.ended_ns);
            let jobs = self.groups.entry(record.group).or_default();
            jobs.waited.push(record.waited_ns);
            jobs.ran.push(record.ran_ns);
            let executed = record.instructions.iter().fold(0, |sum: u64, n| sum.saturating_add(*n));
            jobs.instructions = jobs.instructions.saturating_add(executed);
        }
        for record in &records.units {
            self.saw(record.start_ns, record.end_ns);
            let held = self.clip(record.start_ns, record.end_ns);
            add(&mut self.units, record.unit, held);
        }
        for record in &records.dies {
            self.saw(record.start_ns, record.end_ns);
            let taken = self.clip(record.start_ns, record.end_ns);
            add(&mut self.dies, record.die, taken);
            let crossed = self.clip(record.transfer_start_ns, record.transfer_end_ns);
            add(&mut self.channels, record.channel, crossed);
        }
        for record in &records.links {
            self.saw(record.asked_ns, record.arrived_ns);
            let link = self.links.entry(record.path).or_default();
            link.bytes = link.bytes.saturating_add(record.bytes);
            link.took.push(record.arrived_ns.saturating_sub(record.asked_ns));
        }
        for record in &records.counters {
            self.first.get_or_insert(*record);
            self.last = Some(*record);
        }
    }

    /// Notes that records are missing.
    pub fn lose(&mut self, count: u64) {
        self.lost += count;
    }

    /// The records are those from one time to another; parts that were busy longer count for that time.
    pub fn window(&mut self, start_ns: u64, end_ns: u64) {
        self.window = Some((start_ns, end_ns));
        self.lasts(end_ns.saturating_sub(start_ns));
    }

    /// The records are those of so much time, whatever theirs are.
    pub fn lasts(&mut self, ns: u64) {
        self.elapsed_ns = Some(ns);
    }

    /// What the drive had counted before the first of its records.
    pub fn since(&mut self, counters: CounterRecord) {
        self.first = Some(counters);
        self.last.get_or_insert(counters);
    }

    /// The last counters that came.
    pub fn counters(&self) -> Option<&CounterRecord> {
        self.last.as_ref()
    }

    /// The part of a span that is in the time that counts.
    fn clip(&self, start: u64, end: u64) -> u64 {
        let (first, last) = self.window.unwrap_or((0, u64::MAX));
        end.min(last).saturating_sub(start.max(first))
    }

    fn saw(&mut self, start: u64, end: u64) {
        let (first, last) = self.span.unwrap_or((u64::MAX, 0));
        self.span = Some((first.min(start), last.max(end)));
    }

    fn add_command(&mut self, record: &CommandRecord) {
        self.saw(record.fetched_ns, record.completed_ns);
        let commands = self.commands.entry(CommandKind::of(record)).or_default();
        commands.failed += u64::from(Status::from_bits(record.status) != Status::SUCCESS);
        commands.bytes = commands.bytes.saturating_add(record.bytes.into());
        if record.late_ns > 0 {
            commands.late.push(record.late_ns);
        }
        let took = record.completed_ns.saturating_sub(record.fetched_ns);
        commands.all.push((took, record.stages_ns));
        let queue = self.queues.entry(record.sqid).or_default();
        queue.push((record.fetched_ns, record.completed_ns));
    }

    /// The time of the records: what is known of it, or that between the counters, or from the first record to the last.
    pub fn elapsed_ns(&self) -> u64 {
        match (self.elapsed_ns, &self.first, &self.last) {
            (Some(elapsed_ns), _, _) => elapsed_ns,
            (None, Some(first), Some(last)) if last.now_ns > first.now_ns => {
                last.now_ns - first.now_ns
            }
            _ => self.span.map_or(0, |(first, last)| last.saturating_sub(first)),
        }
    }

    /// What it all comes to.
    pub fn summary(self, serial: &str) -> DriveSummary {
        let elapsed_ns = self.elapsed_ns();
        let seconds = elapsed_ns.max(1) as f64 / 1e9;
        let tolerance = self.last.map_or(0, |counters| counters.late_tolerance_ns);
        let mut commands: Vec<CommandSummary> = self
            .commands
            .into_iter()
            .map(|(name, commands)| commands.summary(name, seconds, tolerance))
            .collect();
        let time = |c: &CommandSummary| c.lat_ns.mean * c.lat_ns.count as f64;
        commands.sort_by(|a, b| time(b).total_cmp(&time(a)));
        let queues = self.queues.into_iter().map(|(sqid, flights)| {
            let sum: u128 =
                flights.iter().map(|(from, to)| u128::from(to.saturating_sub(*from))).sum();
            QueueSummary {
                sqid,
                commands: flights.len() as u64,
                depth_mean: sum as f64 / elapsed_ns.max(1) as f64,
                depth_max: most_at_a_time(&flights),
            }
        });
        let held = |jobs: &Jobs| jobs.ran.iter().map(|ns| *ns as f64).sum::<f64>();
        let held_by_all: f64 = self.groups.values().map(held).sum();
        let groups = self.groups.into_iter().map(|(group, jobs)| GroupSummary {
            group,
            jobs: jobs.ran.len() as u64,
            service: held(&jobs) / held_by_all.max(1.0),
            waited_ns: LatencyReport::of(jobs.waited),
            ran_ns: LatencyReport::of(jobs.ran),
            instructions: jobs.instructions,
        });
        let links = self.links.into_iter().map(|(path, crossings)| LinkSummary {
            path: LinkPath::from_value(path).map_or("unknown", LinkPath::name),
            transfers: crossings.took.len() as u64,
            bytes: crossings.bytes,
            lat_ns: LatencyReport::of(crossings.took),
        });
        let drive = match (&self.first, &self.last) {
            (Some(first), Some(last)) if last.now_ns > first.now_ns => {
                Some(DriveReport::between(serial.to_owned(), first, last))
            }
            _ => None,
        };
        let last = self.last.unwrap_or_default();
        let busy = |of: &BTreeMap<u32, u64>, there: u32| shares(of, there, elapsed_ns);
        DriveSummary {
            serial: serial.to_owned(),
            elapsed_ns,
            commands,
            queues: queues.collect(),
            groups: groups.collect(),
            units_busy: busy(&self.units, last.units),
            channels_busy: busy(&self.channels, last.channels),
            dies_busy: busy(&self.dies, last.dies),
            links: links.collect(),
            drive,
            lost: self.lost,
        }
    }
}

impl Commands {
    fn summary(mut self, kind: CommandKind, seconds: f64, tolerance: u64) -> CommandSummary {
        self.all.sort_unstable_by_key(|(took, _)| *took);
        let mean = |of: &[(u64, [u64; Stage::ALL.len()])]| {
            let mut sums = [0.0; Stage::ALL.len()];
            for (_, stages) in of {
                for (sum, ns) in sums.iter_mut().zip(stages) {
                    *sum += *ns as f64 / of.len() as f64;
                }
            }
            sums
        };
        let count = self.all.len();
        let lat_ns = LatencyReport::of(self.all.iter().map(|(took, _)| *took).collect());
        let p99 = lat_ns.at(99.0);
        let slowest = self.all.partition_point(|(took, _)| *took < p99);
        CommandSummary {
            name: kind.name(),
            is_admin: kind.is_admin,
            csi: CommandSet(kind.csi),
            opcode: kind.opcode,
            count: count as u64,
            failed: self.failed,
            bytes: self.bytes,
            iops: count as f64 / seconds,
            bw_bytes: (self.bytes as f64 / seconds).round() as u64,
            lat_ns,
            stages_ns: mean(&self.all),
            slowest_stages_ns: mean(&self.all[slowest..]),
            late: self.late.iter().filter(|ns| **ns > tolerance).count() as u64,
        }
    }
}

fn add(sums: &mut BTreeMap<u32, u64>, number: u32, ns: u64) {
    let sum = sums.entry(number).or_default();
    *sum = sum.saturating_add(ns);
}

/// More parts than a drive can have: numbers of a file that says otherwise are none.
const PARTS_MAX: u32 = 1 << 16;

/// The share of the time of each of so many parts, or of those that are known.
fn shares(sums: &BTreeMap<u32, u64>, there: u32, elapsed_ns: u64) -> Vec<f64> {
    let known = sums.keys().next_back().map_or(0, |last| last.saturating_add(1));
    let share = |n| sums.get(&n).copied().unwrap_or_default() as f64 / elapsed_ns.max(1) as f64;
    (0..known.max(there).min(PARTS_MAX)).map(share).collect()
}

/// How many of some spans overlap at most. One that begins when another ends does not overlap it.
fn most_at_a_time(spans: &[(u64, u64)]) -> u64 {
    let mut starts: Vec<u64> = spans.iter().map(|span| span.0).collect();
    let mut ends: Vec<u64> = spans.iter().map(|span| span.1).collect();
    starts.sort_unstable();
    ends.sort_unstable();
    let (mut most, mut ended) = (0, 0);
    for (begun, start) in starts.iter().enumerate() {
        while ends.get(ended).is_some_and(|end| end <= start) {
            ended += 1;
        }
        most = most.max((begun + 1).saturating_sub(ended));
    }
    most as u64
}

#[cfg(test)]
mod tests {
    use records::{DieRecord, JobRecord, UnitRecord};

    use super::*;

    #[test]
    fn overlap_is_counted() {
        assert_eq!(most_at_a_time(&[]), 0);
        assert_eq!(most_at_a_time(&[(0, 10), (10, 20), (5, 15), (6, 7)]), 3);
        assert_eq!(most_at_a_time(&[(0, 10), (10, 20)]), 1);
    }

    #[test]
    fn shares_groups_and_queues_add_up() {
        let mut tally = Tally::default();
        let read = |sqid, fetched_ns, completed_ns| CommandRecord {
            sqid,
            opcode: 2,
            bytes: 4096,
            fetched_ns,
            completed_ns,
            ..Default::default()
        };
        let job = |group, ran_ns| JobRecord { group, ran_ns, ended_ns: 100, ..Default::default() };
        tally.add(&Records {
            commands: vec![read(1, 0, 500), read(1, 0, 1000), read(2, 0, 1000), read(0, 0, 10)],
            jobs: vec![job(0, 100), job(3, 300)],
            units: vec![UnitRecord { unit: 1, start_ns: 100, end_ns: 350, ..Default::default() }],
            dies: vec![DieRecord {
                die: 2,
                channel: 1,
                start_ns: 0,
                end_ns: 800,
                transfer_start_ns: 700,
                transfer_end_ns: 800,
                ..Default::default()
            }],
            ..Default::default()
        });
        let summary = tally.summary("S");
        assert_eq!(summary.elapsed_ns, 1000);
        assert_eq!(summary.units_busy, [0.0, 0.25]);
        assert_eq!(
            (&summary.dies_busy[..], &summary.channels_busy[..]),
            (&[0.0, 0.0, 0.8][..], &[0.0, 0.1][..])
        );
        let depths: Vec<_> =
            summary.queues.iter().map(|q| (q.sqid, q.depth_mean, q.depth_max)).collect();
        assert_eq!(depths, [(0, 0.01, 1), (1, 1.5, 2), (2, 1.0, 1)]);
        let service: Vec<_> = summary.groups.iter().map(|g| (g.group, g.service)).collect();
        assert_eq!(service, [(0, 0.25), (3, 0.75)]);
        let read = &summary.commands[0];
        assert_eq!((&*read.name, read.count, read.bw_bytes), ("Read", 3, 12_288_000_000));
        assert_eq!(summary.fio().read.total_ios, 3);
        assert_eq!(summary.fio().write.total_ios, 0);
    }
}

//! `csdrive run --jobs`: many executions of one program on one drive, in virtual time, and how long each waited and ran.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use client::{DriveError, GroupOptions, Invocation, QueueId};
use config::{parse_duration, parse_integer};
use controller::limits::GROUP_WEIGHT_MAX;
use records::{CommandRecord, JobRecord, Records};
use serde_json::{Value, json};
use simtime::{Duration, Instant};
use simulator::Session;

use crate::input::{bandwidth_kbps, deadline_us, unit_mask};
use crate::report;

/// Jobs of one run: all may be in flight at once, and a queue holds one less than it has entries.
const JOBS_MAX: u32 = 65_535;

/// The queue that executions are submitted to.
const JOBS_QUEUE: QueueId = QueueId(1);

/// Many executions instead of one.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Execute the program so many times; all work on the same ranges
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(JOBS_MAX)))]
    pub(crate) jobs: Option<u32>,
    /// Time from one execution to the next, for example 50us; 0us = all at once
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "0us", requires = "jobs")]
    every: u64,
    /// Groups that the jobs are in, in turn: a,b or with options a:weight=300,b:priority=9:deadline=500us
    #[arg(long, value_name = "NAME[:OPTION=VALUE]...", value_parser = group, value_delimiter = ',', requires = "jobs")]
    group: Vec<Group>,
    /// One line for each job with its param1, and param2 if there is one; after the last line the first comes again
    #[arg(long, value_name = "FILE", requires = "jobs", conflicts_with_all = ["param1", "param2"])]
    pub(crate) param_from: Option<PathBuf>,
    /// Write one line for each job: group, times, status, result
    #[arg(long, value_name = "FILE", requires = "jobs")]
    pub(crate) csv: Option<PathBuf>,
}

/// A group of jobs.
#[derive(Clone, Debug)]
struct Group {
    name: String,
    options: GroupOptions,
}

/// Reads `NAME[:OPTION=VALUE]...`.
fn group(text: &str) -> Result<Group, String> {
    let mut parts = text.split(':');
    let name = parts.next().unwrap_or_default().trim().to_owned();
    if name.is_empty() {
        return Err("a group needs a name, for example a:weight=300".to_owned());
    }
    let mut options = GroupOptions::default();
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let number = |least: u64, most: u64| match value.parse::<u64>() {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            _ => Err(format!("{key} = {value}: write a number from {least} to {most}")),
        };
        match key {
            "weight" => options.weight = number(1, GROUP_WEIGHT_MAX.into())? as u16,
            "priority" => options.priority = number(1, compute::PRIORITY_MAX.into())? as u8,
            "deadline" => {
                options.deadline_us =
                    deadline_us(value).map_err(|e| format!("deadline = {value}: {e}"))?;
            }
            "bandwidth" => {
                options.bandwidth_kbps =
                    bandwidth_kbps(value).map_err(|e| format!("bandwidth = {value}: {e}"))?;
            }
            "units-max" => options.units_max = number(0, 4095)? as u16,
            "unit-mask" => {
                options.unit_mask =
                    unit_mask(value).map_err(|e| format!("unit-mask = {value}: {e}"))?;
            }
            _ => {
                return Err(format!(
                    "{key}: unknown; a group has weight, priority, deadline, bandwidth, units-max, unit-mask"
                ));
            }
        }
    }
    Ok(Group { name, options })
}

/// What all jobs are, checked before a drive is built.
pub(crate) struct Jobs {
    count: u32,
    every: Duration,
    groups: Vec<Group>,
    parameters: Vec<(i64, i64)>,
}

impl Options {
    /// Reads and checks everything; `None` if one execution is asked for.
    pub(crate) fn prepare(&self, parameters: (i64, i64)) -> Result<Option<Jobs>> {
        let Some(count) = self.jobs else { return Ok(None) };
        let parameters = match &self.param_from {
            Some(path) => {
                read_parameters(path).with_context(|| format!("--param-from {}", path.display()))?
            }
            None => vec![parameters],
        };
        let every = Duration::from_ns(self.every);
        Ok(Some(Jobs { count, every, groups: self.group.clone(), parameters }))
    }
}

fn read_parameters(path: &Path) -> Result<Vec<(i64, i64)>> {
    let text = std::fs::read_to_string(path)?;
    let mut parameters = Vec::new();
    for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let mut words = line.split_whitespace();
        let mut next = || match words.next() {
            Some(word) => parse_integer(word)
                .map_err(|reason| anyhow::anyhow!("line {}: {word}: {reason}", n + 1)),
            None => Ok(0),
        };
        parameters.push((next()?, next()?));
        if let Some(more) = words.next() {
            bail!("line {}: {more}: a line has param1 and param2", n + 1);
        }
    }
    if parameters.is_empty() {
        bail!("the file is empty; write one line for each job");
    }
    Ok(parameters)
}

/// A job that has ended.
struct Job {
    number: usize,
    /// Index in the list of groups.
    group: usize,
    command: CommandRecord,
    /// `None` if the drive refused it before it waited for a unit.
    job: Option<JobRecord>,
    result: Result<u64, String>,
}

/// All jobs, in the order in which they were submitted.
pub(crate) struct Ended {
    names: Vec<String>,
    jobs: Vec<Job>,
    /// What the drive counted for each group.
    counted: Vec<Counted>,
    units: u32,
    /// From the first submission to the last completion.
    pub(crate) makespan: Duration,
}

/// What the drive counts for a group.
#[derive(Clone, Copy, Default)]
struct Counted {
    missed: u64,
    throttled_ns: u64,
}

/// Entries of the queue that the jobs need.
pub(crate) fn queue_entries(jobs: Option<&Jobs>) -> u32 {
    jobs.map_or(64, |jobs| (jobs.count + 1).clamp(64, 65_536))
}

/// Executes all jobs; their records are added to `records`.
pub(crate) fn run(
    session: &mut Session,
    jobs: &Jobs,
    invocation: &Invocation,
    records: &mut Records,
) -> Result<Ended, DriveError> {
    let groups = jobs.groups.iter().map(|group| session.create_group(&group.options));
    let groups: Vec<u8> = groups.collect::<Result<_, _>>()?;
    // What made the groups is not part of the run.
    session.transport.driver.port.drive.take_records();
    let start = session.transport.driver.port.now();
    let mut numbers = BTreeMap::new();
    for n in 0..jobs.count {
        wait_until(session, start + Duration::from_ns(jobs.every.as_ns() * u64::from(n)));
        let (param1, param2) = jobs.parameters[n as usize % jobs.parameters.len()];
        let group = groups.get(n as usize % groups.len().max(1)).copied().unwrap_or(0);
        let invocation = Invocation { param1, param2, group, ..invocation.clone() };
        numbers.insert(session.start_execute(&invocation)?, n as usize);
        session.transport.driver.ring(JOBS_QUEUE);
    }
    let mut done = Vec::new();
    for _ in 0..jobs.count {
        done.push(session.wait()?);
    }
    let makespan = session.transport.driver.port.now().since(start);
    let mut run = session.transport.driver.port.drive.take_records();
    let of_command: BTreeMap<u64, &JobRecord> =
        run.jobs.iter().map(|job| (job.command, job)).collect();
    // Completions and records are in the same order.
    let commands = run.commands.iter().filter(|command| command.sqid == JOBS_QUEUE.0);
    let mut list: Vec<Job> = done
        .into_iter()
        .zip(commands)
        .map(|(done, command)| {
            let number = numbers[&done.ticket];
            let job = of_command.get(&command.id).map(|job| **job);
            let result = match done.status.is_success() {
                true => Ok(done.result),
                false => Err(done.status.name().to_owned()),
            };
            Job { number, group: number % jobs.groups.len().max(1), command: *command, job, result }
        })
        .collect();
    list.sort_by_key(|job| job.number);
    records.append(&mut run);
    let infos = session.groups()?;
    let counted = |id: &u8| {
        let info = infos.iter().find(|info| info.id == *id);
        info.map_or(Counted::default(), |info| Counted {
            missed: info.missed,
            throttled_ns: info.throttled_ns,
        })
    };
    let (names, counted) = match jobs.groups.len() {
        0 => (vec!["-".to_owned()], vec![counted(&0)]),
        _ => (
            jobs.groups.iter().map(|group| group.name.clone()).collect(),
            groups.iter().map(counted).collect(),
        ),
    };
    let units = session.transport.driver.port.drive.config().compute.units;
    Ok(Ended { names, jobs: list, counted, units, makespan })
}

/// Lets the drive work until then, event by event: nothing is late.
fn wait_until(session: &mut Session, then: Instant) {
    let port = &mut session.transport.driver.port;
    while let Some(at) = port.drive.next_event().filter(|at| *at < then) {
        port.idle_until(at);
    }
    port.idle_until(then);
}

/// Times of some jobs, in nanoseconds.
struct Times(Vec<u64>);

impl Times {
    fn of(jobs: &[&Job], time: impl Fn(&Job) -> u64) -> Self {
        let mut times: Vec<u64> = jobs.iter().map(|job| time(job)).collect();
        times.sort_unstable();
        Self(times)
    }

    fn mean(&self) -> u64 {
        self.0.iter().sum::<u64>() / (self.0.len() as u64).max(1)
    }

    fn percentile(&self, permille: usize) -> u64 {
        report::percentile(&self.0, permille)
    }

    fn to_json(&self) -> Value {
        json!({
            "mean": self.mean(), "p50": self.percentile(500), "p95": self.percentile(950),
            "p99": self.percentile(990), "p99_9": self.percentile(999), "max": self.percentile(1000),
        })
    }
}

impl Job {
    fn waited(&self) -> u64 {
        self.job.map_or(0, |job| job.waited_ns)
    }

    fn ran(&self) -> u64 {
        self.job.map_or(0, |job| job.ran_ns)
    }

    /// From when the drive took the command to its completion.
    fn turnaround(&self) -> u64 {
        self.command.completed_ns - self.command.fetched_ns
    }
}

/// Jobs of a line of the table.
struct Row<'a> {
    name: &'a str,
    jobs: Vec<&'a Job>,
    counted: Counted,
}

impl Row<'_> {
    /// What the programs loaded and stored.
    fn bytes(&self) -> u64 {
        self.jobs.iter().filter_map(|job| job.job).map(|job| job.bytes).sum()
    }

    /// The same for each second from the first submission to the last completion.
    fn bytes_per_s(&self) -> u64 {
        let first = self.jobs.iter().map(|job| job.command.fetched_ns).min().unwrap_or(0);
        let last = self.jobs.iter().map(|job| job.command.completed_ns).max().unwrap_or(0);
        let bytes = u128::from(self.bytes()) * 1_000_000_000;
        (bytes / u128::from(last - first).max(1)) as u64
    }
}

impl Ended {
    /// The first failure, and how many there were.
    pub(crate) fn failure(&self) -> Option<(u16, String)> {
        let failed: Vec<&Job> = self.jobs.iter().filter(|job| job.result.is_err()).collect();
        let first = failed.first()?;
        let name = first.result.as_ref().err()?;
        let count = failed.len();
        let text =
            format!("job {}: {name} ({count} of {} jobs failed)", first.number, self.jobs.len());
        Some((first.command.status, text))
    }

    /// The result of the first job.
    pub(crate) fn result(&self) -> Option<u64> {
        self.jobs.first()?.result.as_ref().ok().copied()
    }

    /// Share of the units' time from the first submission to the last completion that jobs had.
    fn utilisation(&self) -> f64 {
        let ran: u64 = self.jobs.iter().map(Job::ran).sum();
        let all = self.makespan.as_ns() * u64::from(self.units);
        ran as f64 / all.max(1) as f64
    }

    /// Every group, and one more for all jobs if there are several.
    fn rows(&self) -> Vec<Row<'_>> {
        let of = |n| self.jobs.iter().filter(|job| job.group == n).collect();
        let groups = self.names.iter().zip(&self.counted).enumerate();
        let mut rows: Vec<Row<'_>> = groups
            .map(|(n, (name, counted))| Row { name, jobs: of(n), counted: *counted })
            .collect();
        if rows.len() > 1 {
            let counted = self.counted.iter().fold(Counted::default(), |sum, of| Counted {
                missed: sum.missed + of.missed,
                throttled_ns: sum.throttled_ns + of.throttled_ns,
            });
            rows.push(Row { name: "all", jobs: self.jobs.iter().collect(), counted });
        }
        rows
    }

    pub(crate) fn to_json(&self) -> Value {
        let groups: Vec<Value> = self
            .rows()
            .into_iter()
            .map(|row| {
                json!({
                    "name": row.name, "jobs": row.jobs.len(), "missed": row.counted.missed,
                    "throttled_ns": row.counted.throttled_ns,
                    "bytes": row.bytes(), "bytes_per_s": row.bytes_per_s(),
                    "waited_ns": Times::of(&row.jobs, Job::waited).to_json(),
                    "ran_ns": Times::of(&row.jobs, Job::ran).to_json(),
                    "turnaround_ns": Times::of(&row.jobs, Job::turnaround).to_json(),
                })
            })
            .collect();
        let jobs: Vec<Value> = self
            .jobs
            .iter()
            .map(|job| {
                json!({
                    "group": self.names[job.group], "fetched_ns": job.command.fetched_ns,
                    "waited_ns": job.waited(), "ran_ns": job.ran(), "turnaround_ns": job.turnaround(),
                    "result": job.result.as_ref().ok().map(|r| *r as i64),
                    "status": job.result.as_ref().err(),
                })
            })
            .collect();
        json!({
            "makespan_ns": self.makespan.as_ns(), "units": self.units,
            "unit_utilisation": self.utilisation(), "groups": groups, "jobs": jobs,
        })
    }

    /// One line for each job.
    pub(crate) fn to_csv(&self) -> String {
        let mut text =
            "job,group,fetched_ns,waited_ns,ran_ns,turnaround_ns,status,result\n".to_owned();
        for job in &self.jobs {
            let (status, result) = match &job.result {
                Ok(result) => ("Successful Completion", (*result as i64).to_string()),
                Err(name) => (name.as_str(), String::new()),
            };
            let _ = writeln!(
                text,
                "{},{},{},{},{},{},{status},{result}",
                job.number,
                self.names[job.group],
                job.command.fetched_ns,
                job.waited(),
                job.ran(),
                job.turnaround()
            );
        }
        text
    }

    /// For people.
    pub(crate) fn render(&self) -> String {
        let mut text = format!(
            "{} jobs on {} units in {}: units busy {:.1} %\n\n{:<12} {:>7} {:>12} {:>12} {:>12} {:>12} {:>12} {:>12} {:>7} {:>14}",
            report::grouped(self.jobs.len() as u64),
            self.units,
            report::time(self.makespan.as_ns()),
            100.0 * self.utilisation(),
            "group",
            "jobs",
            "wait, mean",
            "run, mean",
            "turnaround",
            "p50",
            "p99",
            "max",
            "missed",
            "memory"
        );
        for row in self.rows() {
            let Row { name, jobs, counted: Counted { missed, .. } } = &row;
            let (waited, ran) = (Times::of(jobs, Job::waited), Times::of(jobs, Job::ran));
            let turnaround = Times::of(jobs, Job::turnaround);
            let _ = write!(
                text,
                "\n{name:<12} {:>7} {:>12} {:>12} {:>12} {:>12} {:>12} {:>12} {missed:>7} {:>9.1} MB/s",
                jobs.len(),
                report::time(waited.mean()),
                report::time(ran.mean()),
                report::time(turnaround.mean()),
                report::time(turnaround.percentile(500)),
                report::time(turnaround.percentile(990)),
                report::time(turnaround.percentile(1000)),
                row.bytes_per_s() as f64 / 1e6,
            );
        }
        text
    }
}

//! The file as it is written: its keys and their types. Which of them fit together is checked in `check.rs`.
//!
//! Keys that mean what a key of fio's job files means have its name.

use std::fmt;

use config::{parse_bandwidth, parse_duration, parse_size};
use serde::Deserialize;
use serde::de::{Deserializer, Visitor};

use crate::Error;
use crate::trace::Format;

/// A time in nanoseconds, written with a unit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Time(pub(crate) u64);

/// A number of bytes, written with a unit or without.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Size(pub(crate) u64);

/// Bytes per second, written with a unit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Rate(pub(crate) u64);

/// Reads a value with a unit.
fn with_unit<'de, D: Deserializer<'de>>(
    deserializer: D,
    what: &'static str,
    parse: fn(&str) -> Result<u64, String>,
) -> Result<u64, D::Error> {
    struct Text(&'static str, fn(&str) -> Result<u64, String>);
    impl Visitor<'_> for Text {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<u64, E> {
            (self.1)(text).map_err(E::custom)
        }

        fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<u64, E> {
            (self.1)(&number.to_string()).map_err(E::custom)
        }
    }
    deserializer.deserialize_any(Text(what, parse))
}

macro_rules! with_unit {
    ($name:ident, $what:literal, $parse:expr) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                with_unit(deserializer, $what, $parse).map($name)
            }
        }
    };
}

with_unit!(Time, "a time with a unit, as \"50us\"", parse_duration);
with_unit!(Size, "a size, as \"4KiB\"", parse_size);
with_unit!(Rate, "a bandwidth, as \"2GB/s\"", parse_bandwidth);

/// A whole file.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// Of all random numbers.
    #[serde(default = "one")]
    pub(crate) seed: u64,
    /// Time that is measured, after `ramp_time`.
    pub(crate) runtime: Option<Time>,
    /// Time that passes before anything is measured.
    #[serde(default)]
    pub(crate) ramp_time: Time,
    /// What must hold.
    #[serde(default)]
    pub(crate) assert: Vec<String>,
    #[serde(default)]
    pub(crate) host: HostEntry,
    #[serde(default)]
    pub(crate) fabric: FabricEntry,
    #[serde(default)]
    pub(crate) drive: Vec<DriveEntry>,
    #[serde(default)]
    pub(crate) job: Vec<JobEntry>,
}

fn one() -> u64 {
    1
}

/// The host, which all jobs share.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HostEntry {
    /// Time of its software before the commands of each step of an operation.
    pub(crate) command_time: Time,
    /// Processors for jobs with `on = "host"`.
    pub(crate) cores: u32,
    /// Memory that keeps what jobs with `on = "host"` have read, the least recently used forgotten first.
    pub(crate) memory: Size,
}

impl Default for HostEntry {
    fn default() -> Self {
        Self { command_time: Time(0), cores: 1, memory: Size(0) }
    }
}

/// The switch between the drives and their host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FabricEntry {
    /// All drives share it; none = no limit.
    pub(crate) bandwidth: Option<Rate>,
    pub(crate) latency: Time,
}

/// Equal drives.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriveEntry {
    /// How many.
    #[serde(default = "one")]
    pub count: u64,
    /// Their configuration file; relative to the workload file.
    pub config: Option<std::path::PathBuf>,
    /// Keys of their configuration, in tables or with dots.
    #[serde(default)]
    pub set: toml::Table,
    /// FEMU device properties.
    #[serde(default)]
    pub femu: Vec<String>,
}

impl Default for DriveEntry {
    fn default() -> Self {
        Self { count: 1, config: None, set: toml::Table::new(), femu: Vec::new() }
    }
}

impl DriveEntry {
    /// The keys that it sets, as `KEY=VALUE`.
    pub fn assignments(&self) -> Vec<String> {
        fn add(prefix: &str, table: &toml::Table, all: &mut Vec<String>) {
            for (name, value) in table {
                let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                match value {
                    toml::Value::Table(table) => add(&key, table, all),
                    toml::Value::String(text) => all.push(format!("{key}={text}")),
                    value => all.push(format!("{key}={value}")),
                }
            }
        }
        let mut all = Vec::new();
        add("", &self.set, &mut all);
        all
    }
}

/// How an open loop's operations arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RateProcess {
    /// With equal times between them.
    #[default]
    Linear,
    /// With exponentially distributed times.
    Poisson,
}

/// Where a job's data is processed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    #[default]
    Drive,
    Host,
}

/// Where the input of an execution is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Input {
    /// On the flash; copied to device memory.
    #[default]
    Flash,
    /// In host memory; written to device memory.
    Host,
    /// In device memory.
    Memory,
    /// In the device memory of another drive; copied from there.
    Peer,
}

/// Where the output of an execution goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Output {
    /// It stays in device memory.
    #[default]
    None,
    /// Read by the host.
    Host,
    /// Copied to the flash, behind the job's region.
    Flash,
}

/// The job group of a job's executions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroupEntry {
    pub(crate) weight: Option<u16>,
    pub(crate) priority: Option<u8>,
    pub(crate) deadline: Option<Time>,
    pub(crate) bandwidth: Option<Rate>,
    pub(crate) units_max: Option<u16>,
    pub(crate) unit_mask: Option<u64>,
}

/// A streaming execution.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StreamEntry {
    pub(crate) chunk: Size,
    #[serde(default = "four")]
    pub(crate) in_flight: u32,
    #[serde(default)]
    pub(crate) early: bool,
    pub(crate) overlap: Option<Size>,
}

/// A compound execution.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(untagged, expecting = "write true, false or { early = true }")]
pub(crate) enum CompoundEntry {
    /// It is one, or not.
    Is(bool),
    /// It is one, and runs may begin on the first pages of their input.
    With(CompoundOptions),
}

/// How a compound execution is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CompoundOptions {
    pub(crate) early: bool,
}

fn four() -> u32 {
    4
}

/// A job: one thing that is done again and again.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct JobEntry {
    pub(crate) name: Option<String>,
    pub(crate) tenant: Option<String>,
    pub(crate) numjobs: Option<u32>,
    pub(crate) drives: Option<Vec<usize>>,
    pub(crate) assert: Vec<String>,
    // How long.
    pub(crate) startdelay: Time,
    pub(crate) runtime: Option<Time>,
    pub(crate) io_size: Option<Size>,
    pub(crate) number_ios: Option<u64>,
    // When.
    pub(crate) iodepth: Option<u32>,
    pub(crate) thinktime: Option<Time>,
    pub(crate) rate_iops: Option<f64>,
    pub(crate) rate_process: Option<RateProcess>,
    pub(crate) trace: Option<std::path::PathBuf>,
    pub(crate) trace_format: Option<Format>,
    pub(crate) trace_speed: Option<f64>,
    pub(crate) trace_wrap: bool,
    // Where.
    pub(crate) rw: Option<String>,
    pub(crate) rwmixread: Option<u32>,
    pub(crate) bs: Option<Size>,
    pub(crate) bssplit: Option<String>,
    pub(crate) offset: Size,
    pub(crate) size: Option<Size>,
    pub(crate) random_distribution: Option<String>,
    pub(crate) fill: bool,
    pub(crate) file: Option<std::path::PathBuf>,
    // What is executed.
    pub(crate) program: Option<String>,
    pub(crate) on: Option<Side>,
    pub(crate) time: Option<Time>,
    pub(crate) bandwidth: Option<Rate>,
    pub(crate) host_bandwidth: Option<Rate>,
    pub(crate) input: Option<Input>,
    pub(crate) from_drive: Option<usize>,
    pub(crate) output: Option<Output>,
    pub(crate) output_ratio: Option<f64>,
    pub(crate) output_size: Option<Size>,
    pub(crate) param1: Option<i64>,
    pub(crate) param2: Option<i64>,
    pub(crate) data: Option<String>,
    pub(crate) ranges: Vec<std::path::PathBuf>,
    pub(crate) group: Option<GroupEntry>,
    pub(crate) stream: Option<StreamEntry>,
    pub(crate) compound: Option<CompoundEntry>,
}

/// The text of a file, to say where in it a mistake is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
}

impl Text<'_> {
    /// The line of a place, from 1 on.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.text.get(..at).map_or(1, |before| before.matches('\n').count() + 1)
    }

    /// The key that a place is about: what stands before `=` on its line.
    fn key(&self, at: usize) -> Option<&str> {
        let line = self.text.lines().nth(self.line(at) - 1)?;
        let key = line.split_once('=')?.0.trim();
        (!key.is_empty()).then_some(key)
    }

    /// Where the table of a job begins in the text; its beginning if that is not to be seen.
    pub(crate) fn job_at(&self, number: usize) -> usize {
        let is_job = |line: &&str| line.replace(' ', "").starts_with("[[job]]");
        let job = self.text.lines().filter(is_job).nth(number);
        job.map_or(0, |line| line.as_ptr() as usize - self.text.as_ptr() as usize)
    }

    /// The line of a key of a table that begins at `from`, or of the table.
    pub(crate) fn line_of(&self, from: usize, key: &str) -> usize {
        let rest = self.text.get(from..).unwrap_or_default();
        let table = rest.split("\n[[").next().unwrap_or(rest);
        self.line(from) + table.lines().position(|line| sets(line, key)).unwrap_or(0)
    }

    /// The first line that sets a key, in whatever table.
    pub(crate) fn find(&self, key: &str) -> Option<usize> {
        self.text.lines().position(|line| sets(line, key)).map(|n| n + 1)
    }

    /// The same; if there is none, the first line.
    pub(crate) fn line_anywhere(&self, key: &str) -> usize {
        self.find(key).unwrap_or(1)
    }

    /// A mistake at a place that the parser names.
    fn mistake(&self, error: &toml::de::Error) -> Error {
        let reason = in_words(error.message());
        match error.span() {
            Some(span) => {
                let line = self.line(span.start);
                // A key that there is not is in the reason already.
                let key =
                    self.key(span.start).filter(|key| !reason.contains(&format!("\"{key}\"")));
                let reason = key.map_or(reason.clone(), |key| format!("{key}: {reason}"));
                self.at(line, reason)
            }
            None => Error::Mistake { file: self.name.to_owned(), line: None, reason },
        }
    }

    pub(crate) fn at(&self, line: usize, reason: impl Into<String>) -> Error {
        Error::Mistake { file: self.name.to_owned(), line: Some(line), reason: reason.into() }
    }

    /// Reads the file; `set` has assignments of its keys: `seed=2`, `host.cores=4`, `drive.count=2`, `job.NAME.bs=8KiB`,
    /// `job.*.iodepth=4`.
    pub(crate) fn read(&self, set: &[String]) -> Result<File, Error> {
        let file: File = toml::from_str(self.text).map_err(|error| self.mistake(&error))?;
        if set.is_empty() {
            return Ok(file);
        }
        let mut table: toml::Table =
            toml::from_str(self.text).map_err(|error| self.mistake(&error))?;
        for assignment in set {
            assign(&mut table, assignment)?;
        }
        table.try_into().map_err(|error: toml::de::Error| Error::Set {
            assignment: set.join(" "),
            reason: in_words(error.message()),
        })
    }
}

/// What the parser says, in the words of files instead of programs.
fn in_words(message: &str) -> String {
    let message = message.replace('\n', " ").replace('`', "\"");
    let types = [
        ("expected u32", "expected a whole number"),
        ("expected u64", "expected a whole number"),
        ("expected u16", "expected a whole number"),
        ("expected u8", "expected a whole number"),
        ("expected usize", "expected a whole number"),
        ("expected i64", "expected a whole number"),
        ("expected f64", "expected a number"),
        ("expected struct GroupEntry", "write it as { weight = 300 }"),
        ("expected struct StreamEntry", "write it as { chunk = \"1MiB\", in_flight = 4 }"),
        ("expected struct HostEntry", "write it as a table, [host]"),
        ("expected struct FabricEntry", "write it as a table, [fabric]"),
        ("invalid type: map, expected a sequence", "it is a list: write [[drive]] or [[job]]"),
        ("expected a sequence", "expected a list, as [0, 1]"),
        ("unknown field", "unknown key"),
        ("unknown variant", "unknown"),
    ];
    types.iter().fold(message, |text, (from, to)| text.replace(from, to))
}

/// True if a line sets a key.
fn sets(line: &str, key: &str) -> bool {
    line.trim_start().strip_prefix(key).is_some_and(|rest| {
        let rest = rest.trim_start();
        rest.starts_with('=') || rest.starts_with('.')
    })
}

/// Most parts of a key that is set.
const KEY_PARTS_MAX: usize = 8;

/// Sets one key.
fn assign(table: &mut toml::Table, assignment: &str) -> Result<(), Error> {
    let wrong = |reason: String| Error::Set { assignment: assignment.to_owned(), reason };
    let (key, text) = assignment
        .split_once('=')
        .ok_or_else(|| wrong("write it as KEY=VALUE, as in job.reader.iodepth=4".to_owned()))?;
    let value = match format!("x = {text}").parse::<toml::Table>() {
        Ok(mut parsed) => parsed.remove("x").unwrap_or(toml::Value::String(text.to_owned())),
        Err(_) => toml::Value::String(text.to_owned()),
    };
    let path: Vec<&str> = key.trim().split('.').collect();
    if path.len() > KEY_PARTS_MAX {
        return Err(Error::Set {
            assignment: key.chars().take(40).collect(),
            reason: format!("a key has at most {KEY_PARTS_MAX} parts"),
        });
    }
    let (tables, path): (Vec<&mut toml::Table>, &[&str]) = match path.as_slice() {
        ["drive", rest @ ..] if !rest.is_empty() => {
            let one = || toml::Value::Array(vec![toml::Value::Table(toml::Table::new())]);
            let all = table.entry("drive").or_insert_with(one).as_array_mut();
            let all = all.ok_or_else(|| wrong("write drives as [[drive]]".to_owned()))?;
            (all.iter_mut().filter_map(toml::Value::as_table_mut).collect(), rest)
        }
        ["job", name, rest @ ..] if !rest.is_empty() => {
            let all = table.get_mut("job").and_then(toml::Value::as_array_mut);
            let named = all.into_iter().flatten().filter_map(toml::Value::as_table_mut);
            let chosen: Vec<_> = named
                .enumerate()
                .filter(|(n, job)| *name == "*" || name_of(job, *n) == *name)
                .map(|(_, job)| job)
                .collect();
            if chosen.is_empty() {
                return Err(wrong(format!("no job has the name {name}")));
            }
            (chosen, rest)
        }
        path => (vec![table], path),
    };
    let Some((last, above)) = path.split_last() else { return Ok(()) };
    for mut table in tables {
        for name in above {
            let entry = table
                .entry((*name).to_owned())
                .or_insert_with(|| toml::Value::Table(toml::Table::new()));
            table = entry.as_table_mut().ok_or_else(|| wrong(format!("{name} is no table")))?;
        }
        table.insert((*last).to_owned(), value.clone());
    }
    Ok(())
}

/// The name of a job, or what it is called without one.
fn name_of(job: &toml::Table, number: usize) -> String {
    match job.get("name").and_then(toml::Value::as_str) {
        Some(name) => name.to_owned(),
        None => unnamed(number),
    }
}

/// What a job without a name is called.
pub(crate) fn unnamed(number: usize) -> String {
    format!("job{}", number + 1)
}

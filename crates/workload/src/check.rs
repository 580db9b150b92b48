//! What the keys of a file mean together, and whether they can be meant.

use std::path::{Path, PathBuf};

use client::GroupOptions;
use controller::limits::{COMPOUND_BYTES_MAX, GROUP_WEIGHT_MAX};
use simtime::Duration;

use crate::assertion::Assertion;
use crate::file::{
    CompoundEntry, DriveEntry, FabricEntry, File, GroupEntry, Input, JobEntry, Output, Side, Text,
    unnamed,
};
use crate::plan::{
    Arrival, Compound, Execution, Host, Job, Limit, Order, Plan, Program, Region, Stream, Work,
};
use crate::{Error, trace};

/// Most operations in flight of one job on one drive.
const DEPTH_MAX: u32 = 1024;
/// Most drives of a file.
const DRIVES_MAX: u64 = 1024;
/// Most jobs at a time that one entry stands for.
const CLONES_MAX: u32 = 1024;
/// Most operations in flight of all jobs on all drives.
const IN_FLIGHT_MAX: u64 = 1 << 20;
/// Most processors of the host.
const CORES_MAX: u32 = 65_536;
/// Most bytes of a range of a program: its length has 32 bits, and device memory is moved by dwords.
const RANGE_BYTES_MAX: u64 = u32::MAX as u64 & !3;
/// The most urgent group.
const PRIORITY_MAX: u64 = 9;
/// Most bytes of an operation.
const OPERATION_BYTES_MAX: u64 = 1 << 40;

impl Plan {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// If it cannot be read, or has a mistake; the error names line, key and remedy.
    pub fn read(path: &Path, set: &[String]) -> Result<Self, Error> {
        let read = || match path == Path::new("-") {
            true => std::io::read_to_string(std::io::stdin()),
            false => std::fs::read_to_string(path),
        };
        let text = read().map_err(|cause| Error::Read { path: path.to_owned(), cause })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&path.display().to_string(), &text, folder, set)
    }

    /// Checks the text of a file whose paths are relative to a folder.
    ///
    /// # Errors
    /// If it has a mistake.
    pub fn parse(name: &str, text: &str, folder: &Path, set: &[String]) -> Result<Self, Error> {
        let text = Text { name, text };
        let file = text.read(set)?;
        let in_folder = |path: &PathBuf| folder.join(path);
        let mut drives: Vec<DriveEntry> = file.drive.clone();
        drives.iter_mut().for_each(|drive| drive.config = drive.config.as_ref().map(in_folder));
        if drives.is_empty() {
            drives.push(DriveEntry::default());
        }
        let count = drives.iter().fold(0u64, |sum, drive| sum.saturating_add(drive.count));
        if count == 0 || count > DRIVES_MAX {
            let line = text.line_anywhere("count");
            return Err(text.at(line, format!("{count} drives: choose 1 to {DRIVES_MAX}")));
        }
        if file.job.is_empty() {
            let reason = "no job: write one, as [[job]] with rw = \"randread\", bs = \"4KiB\"";
            return Err(text.at(1, reason));
        }
        let mut jobs: Vec<Job> = Vec::new();
        let mut assertions = Vec::new();
        for (number, entry) in file.job.iter().enumerate() {
            let checker = Checker { text, at: text.job_at(number), entry, file: &file, folder };
            let job = checker.job(number, count as usize)?;
            if jobs.iter().any(|other| other.name == job.name) {
                return Err(checker.wrong("name", format!("{}: there are two of it", job.name)));
            }
            for assertion in &entry.assert {
                let parsed = Assertion::parse(assertion, Some(&job.name));
                assertions.push(parsed.map_err(|reason| checker.wrong("assert", reason))?);
            }
            jobs.push(job);
        }
        let at_a_time = |job: &Job| {
            job.drives.len() as u64 * u64::from(job.clones) * u64::from(job.depth.unwrap_or(1))
        };
        let all: u64 = jobs.iter().map(at_a_time).sum();
        if all > IN_FLIGHT_MAX {
            let reason = format!(
                "{all} operations in flight, of all jobs on all drives: at most {IN_FLIGHT_MAX} are possible; choose a smaller iodepth or numjobs"
            );
            return Err(text.at(text.line_anywhere("iodepth"), reason));
        }
        let line = text.line_of(0, "assert");
        for assertion in &file.assert {
            let parsed = Assertion::parse(assertion, None);
            assertions.push(parsed.map_err(|reason| text.at(line, format!("assert: {reason}")))?);
        }
        let is_known = |name: &str| jobs.iter().any(|job| job.name == name);
        if let Some(unknown) = assertions.iter().find_map(|a| a.unknown_job(is_known)) {
            return Err(text.at(line, format!("assert: no job has the name {unknown}")));
        }
        if jobs.iter().all(|job| job.limit == Limit::Others) {
            let reason = "nothing ends: give runtime = \"100ms\", or a job io_size or number_ios";
            return Err(text.at(1, reason));
        }
        let host = Host {
            command_time: Duration::from_ns(file.host.command_time.0),
            cores: file.host.cores,
            memory: file.host.memory.0,
        };
        if !(1..=CORES_MAX).contains(&host.cores) {
            let reason = format!("cores = {}: choose 1 to {CORES_MAX}", host.cores);
            return Err(text.at(text.line_anywhere("cores"), reason));
        }
        let ramp = Duration::from_ns(file.ramp_time.0);
        let FabricEntry { bandwidth, latency } = file.fabric;
        let has_switch = bandwidth.is_some() || latency.0 > 0;
        let switch = has_switch.then(|| (bandwidth.unwrap_or_default().0, latency.0));
        let inputs = inputs(&file, &drives, &jobs, folder);
        let (file, seed) = (name.to_owned(), file.seed);
        let text = text.text.to_owned();
        Ok(Self { file, text, seed, drives, ramp, host, switch, jobs, assertions, inputs })
    }
}

/// Files that a workload names, each once.
fn inputs(file: &File, drives: &[DriveEntry], jobs: &[Job], folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = drives.iter().filter_map(|drive| drive.config.clone()).collect();
    all.extend(file.job.iter().filter_map(|entry| Some(folder.join(entry.trace.as_ref()?))));
    for job in jobs {
        all.extend(job.region.content.clone());
        if let Work::OnDrive(execution) = &job.work {
            all.extend(execution.ranges.iter().cloned());
            if let Program::File(path) = &execution.program {
                all.push(path.clone());
            }
        }
    }
    all.sort();
    all.dedup();
    all
}

/// What checks a job.
#[derive(Clone, Copy)]
struct Checker<'a> {
    text: Text<'a>,
    /// Where its table begins.
    at: usize,
    entry: &'a JobEntry,
    file: &'a File,
    folder: &'a Path,
}

impl Checker<'_> {
    /// A mistake in a key of the job.
    fn wrong(&self, key: &str, reason: impl std::fmt::Display) -> Error {
        self.text.at(self.text.line_of(self.at, key), format!("{key}: {reason}"))
    }

    fn job(&self, number: usize, drive_count: usize) -> Result<Job, Error> {
        let entry = self.entry;
        let name = entry.name.clone().unwrap_or_else(|| unnamed(number));
        let is_plain = |c: char| c.is_alphanumeric() || "-_ ".contains(c);
        if name.is_empty() || !name.chars().all(is_plain) {
            return Err(self.wrong("name", "choose letters, digits, - and _"));
        }
        if name == "drive" || name == "*" {
            return Err(self.wrong("name", format!("{name} means something else: choose another")));
        }
        let clones = entry.numjobs.unwrap_or(1);
        if !(1..=CLONES_MAX).contains(&clones) {
            return Err(self.wrong("numjobs", format!("{clones}: choose 1 to {CLONES_MAX}")));
        }
        let drives = entry.drives.clone().unwrap_or_else(|| (0..drive_count).collect());
        if let Some(drive) = drives.iter().find(|drive| **drive >= drive_count) {
            let reason = format!("{drive}: there are {drive_count}, numbered from 0 on");
            return Err(self.wrong("drives", reason));
        }
        if let Some(drive) = (1..drives.len()).find(|n| drives[..*n].contains(&drives[*n])) {
            return Err(self.wrong(
                "drives",
                format!("{} twice: numjobs runs a job several times", drives[drive]),
            ));
        }
        if drives.is_empty() {
            return Err(self.wrong("drives", "none: leave the key out for all"));
        }
        let (region, work) = (self.region()?, self.work(drive_count)?);
        if let Work::OnDrive(execution) = &work
            && execution.input == Input::Peer
            && drives.contains(&execution.from_drive)
        {
            let reason = "that is a drive of the job itself: name other drives with drives = [1]";
            return Err(self.wrong("from_drive", reason));
        }
        let (arrival, depth) = self.arrival(&work)?;
        let limit = self.limit(&arrival)?;
        let start = Duration::from_ns(entry.startdelay.0);
        let tenant = entry.tenant.clone();
        let line = self.text.line(self.at);
        let has_own_time = entry.runtime.is_some();
        Ok(Job {
            line,
            name,
            tenant,
            clones,
            drives,
            start,
            limit,
            has_own_time,
            arrival,
            depth,
            region,
            work,
        })
    }

    fn limit(&self, arrival: &Arrival) -> Result<Limit, Error> {
        let JobEntry { runtime, io_size, number_ios, .. } = *self.entry;
        let given = [runtime.is_some(), io_size.is_some(), number_ios.is_some()];
        if given.iter().filter(|given| **given).count() > 1 {
            return Err(self.wrong("runtime", "give one of runtime, io_size and number_ios"));
        }
        let zero = |key| self.wrong(key, "0: nothing would be done");
        Ok(match (runtime, io_size, number_ios) {
            (Some(time), ..) if time.0 == 0 => return Err(zero("runtime")),
            (_, Some(size), _) if size.0 == 0 => return Err(zero("io_size")),
            (.., Some(0)) => return Err(zero("number_ios")),
            (Some(time), ..) => Limit::Time(Duration::from_ns(time.0)),
            (_, Some(size), _) => Limit::Bytes(size.0),
            (.., Some(count)) => Limit::Operations(count),
            _ => match self.file.runtime {
                Some(time) => Limit::Time(Duration::from_ns(time.0)),
                None if matches!(arrival, Arrival::Trace(_)) => Limit::Trace,
                None => Limit::Others,
            },
        })
    }

    fn arrival(&self, work: &Work) -> Result<(Arrival, Option<u32>), Error> {
        let JobEntry { iodepth, thinktime, rate_iops, rate_process, trace, .. } = self.entry;
        if iodepth.is_some_and(|depth| !(1..=DEPTH_MAX).contains(&depth)) {
            return Err(self.wrong("iodepth", format!("choose 1 to {DEPTH_MAX}")));
        }
        if let Some(path) = trace {
            let is_program = matches!(work, Work::OnDrive(_));
            let said = [
                ("rate_iops", rate_iops.is_some()),
                ("rate_process", rate_process.is_some()),
                ("thinktime", thinktime.is_some()),
                ("bs", self.entry.bs.is_some() && !is_program),
                ("bssplit", self.entry.bssplit.is_some()),
                ("rwmixread", self.entry.rwmixread.is_some()),
                ("random_distribution", self.entry.random_distribution.is_some()),
            ];
            if let Some((key, _)) = said.iter().find(|(_, is_given)| *is_given) {
                return Err(
                    self.wrong(key, "the trace says when, where and how much: leave it out")
                );
            }
            let speed = self.entry.trace_speed.unwrap_or(1.0);
            if !(1e-6..=1e6).contains(&speed) {
                return Err(
                    self.wrong("trace_speed", format!("{speed}: choose 0.000001 to 1000000"))
                );
            }
            let path = self.folder.join(path);
            let format = self.entry.trace_format.unwrap_or_default();
            let entries = trace::read(&path, format, speed)
                .map_err(|reason| self.wrong("trace", format!("{}: {reason}", path.display())))?;
            return Ok((Arrival::Trace(entries), self.open_depth(work, *iodepth)));
        }
        let of_traces = [
            ("trace_format", self.entry.trace_format.is_some()),
            ("trace_speed", self.entry.trace_speed.is_some()),
            ("trace_wrap", self.entry.trace_wrap),
        ];
        if let Some((key, _)) = of_traces.iter().find(|(_, is_given)| *is_given) {
            return Err(self.wrong(key, "it says how a trace is meant: give trace, too"));
        }
        if let Some(per_second) = *rate_iops {
            if !(per_second > 0.0 && per_second <= 1e9) {
                let reason = format!("{per_second}: choose more than 0, at most 1000000000");
                return Err(self.wrong("rate_iops", reason));
            }
            if thinktime.is_some() {
                return Err(self.wrong("thinktime", "with rate_iops, the rate says when"));
            }
            let process = rate_process.unwrap_or_default();
            return Ok((Arrival::Open { per_second, process }, self.open_depth(work, *iodepth)));
        }
        if rate_process.is_some() {
            return Err(
                self.wrong("rate_process", "it says how rate_iops is meant: give that, too")
            );
        }
        let think = Duration::from_ns(thinktime.unwrap_or_default().0);
        Ok((Arrival::Closed { think }, Some(iodepth.unwrap_or(1))))
    }

    /// Executions need device memory, each its own: so many are in flight at most.
    fn open_depth(&self, work: &Work, given: Option<u32>) -> Option<u32> {
        match work {
            Work::OnDrive(_) => Some(given.unwrap_or(16)),
            Work::Blocks | Work::OnHost { .. } => given,
        }
    }

    fn region(&self) -> Result<Region, Error> {
        let entry = self.entry;
        let is_program = entry.program.is_some() || entry.on == Some(Side::Host);
        let default = if is_program || entry.trace.is_some() { "read" } else { "" };
        let rw = entry.rw.as_deref().unwrap_or(default);
        let (is_random, read_percent) = match rw {
            "read" => (false, 100),
            "write" => (false, 0),
            "randread" => (true, 100),
            "randwrite" => (true, 0),
            "rw" | "readwrite" => (false, entry.rwmixread.unwrap_or(50)),
            "randrw" => (true, entry.rwmixread.unwrap_or(50)),
            "" => {
                let reason = "a job needs rw = \"randread\" (or read, write, randwrite, rw, randrw), or a program";
                return Err(self.text.at(self.text.line(self.at), reason));
            }
            other => {
                let reason =
                    format!("{other}: choose read, write, randread, randwrite, rw or randrw");
                return Err(self.wrong("rw", reason));
            }
        };
        if is_program && read_percent != 100 {
            return Err(self.wrong("rw", "a program's chunks are read: choose read or randread"));
        }
        if read_percent > 100 {
            return Err(self.wrong("rwmixread", format!("{read_percent}: choose 0 to 100")));
        }
        if entry.rwmixread.is_some() && !matches!(rw, "rw" | "readwrite" | "randrw") {
            return Err(self.wrong("rwmixread", format!("of no account with rw = \"{rw}\"")));
        }
        let sizes = self.sizes(is_program)?;
        let order = match (entry.random_distribution.as_deref(), is_random) {
            (None, true) => Order::Random,
            (None, false) => Order::Sequential,
            (Some(_), false) => {
                return Err(self.wrong("random_distribution", format!("rw = \"{rw}\" is in order")));
            }
            (Some(text), true) => {
                distribution(text).map_err(|reason| self.wrong("random_distribution", reason))?
            }
        };
        let largest = sizes.iter().map(|(bytes, _)| *bytes).max().unwrap_or(0);
        if entry.size.is_some_and(|size| size.0 < largest) {
            return Err(self.wrong("size", format!("smaller than an operation ({largest} bytes)")));
        }
        if let (Some(_), true) = (&entry.file, entry.fill) {
            return Err(self.wrong("fill", "the file fills it: leave one out"));
        }
        let content = entry.file.as_ref().map(|path| self.folder.join(path));
        Ok(Region {
            offset: entry.offset.0,
            bytes: entry.size.map(|size| size.0),
            order,
            read_percent,
            sizes,
            is_filled: entry.fill,
            wraps: entry.trace_wrap,
            content,
        })
    }

    fn sizes(&self, is_program: bool) -> Result<Vec<(u64, u32)>, Error> {
        let entry = self.entry;
        let sizes = match (&entry.bssplit, entry.bs) {
            (Some(_), Some(_)) => return Err(self.wrong("bs", "give one of bs and bssplit")),
            (Some(_), None) if is_program => {
                return Err(self.wrong("bssplit", "a program has chunks of one size: give bs"));
            }
            (Some(text), None) => split(text).map_err(|reason| self.wrong("bssplit", reason))?,
            (None, Some(size)) => vec![(size.0, 100)],
            (None, None) => vec![(if is_program { 1 << 20 } else { 4096 }, 100)],
        };
        let key = if entry.bssplit.is_some() { "bssplit" } else { "bs" };
        match sizes.iter().find(|(bytes, _)| *bytes == 0 || *bytes > OPERATION_BYTES_MAX) {
            Some((bytes, _)) => Err(self.wrong(key, format!("{bytes} bytes: choose 1 to 1TiB"))),
            None => Ok(sizes),
        }
    }

    fn work(&self, drive_count: usize) -> Result<Work, Error> {
        let entry = self.entry;
        let bytes = entry.bs.map_or(1 << 20, |size| size.0);
        let only = |is_given: bool, key: &str, needs: &str| match is_given {
            true => Err(self.wrong(key, format!("of no account without {needs}"))),
            false => Ok(()),
        };
        // What the key says of the drive may stay: where a job's data is processed is a thing to vary.
        if entry.on == Some(Side::Host) {
            let rate = entry.host_bandwidth.filter(|rate| rate.0 > 0);
            let reason =
                "\"host\": say how fast one of its processors is: host_bandwidth = \"1GB/s\"";
            let rate = rate.ok_or_else(|| self.wrong("on", reason))?;
            return Ok(Work::OnHost { bytes_per_s: rate.0 });
        }
        let program = "a program";
        let Some(name) = &entry.program else {
            only(entry.bandwidth.is_some(), "bandwidth", program)?;
            only(entry.host_bandwidth.is_some(), "host_bandwidth", "on = \"host\"")?;
            only(entry.time.is_some(), "time", program)?;
            only(entry.input.is_some(), "input", program)?;
            only(entry.from_drive.is_some(), "from_drive", program)?;
            only(entry.output.is_some(), "output", program)?;
            only(entry.output_size.is_some(), "output_size", program)?;
            only(entry.output_ratio.is_some(), "output_ratio", program)?;
            only(entry.data.is_some(), "data", program)?;
            only(entry.param1.is_some(), "param1", program)?;
            only(entry.param2.is_some(), "param2", program)?;
            only(!entry.ranges.is_empty(), "ranges", program)?;
            only(entry.group.is_some(), "group", program)?;
            only(entry.stream.is_some(), "stream", program)?;
            only(entry.compound.is_some(), "compound", program)?;
            return Ok(Work::Blocks);
        };
        let program = match (name.as_str(), entry.time, entry.bandwidth) {
            ("declared", Some(time), None) => Program::Declared(Duration::from_ns(time.0)),
            ("declared", None, Some(rate)) if rate.0 > 0 => {
                let of = match entry.stream {
                    Some(stream) => stream.chunk.0,
                    None => bytes,
                };
                let ns = (u128::from(of) * 1_000_000_000).div_ceil(u128::from(rate.0));
                Program::Declared(Duration::from_ns(ns.min(u128::from(u64::MAX >> 8)) as u64))
            }
            ("declared", ..) => {
                let reason =
                    "declared: say how long it runs, by time = \"50us\" or bandwidth = \"1GB/s\"";
                return Err(self.wrong("program", reason));
            }
            (_, Some(_), _) => return Err(self.wrong("time", "only for program = \"declared\"")),
            (_, _, Some(_)) => {
                return Err(self.wrong("bandwidth", "only for program = \"declared\""));
            }
            (path, None, None) => Program::File(self.folder.join(path)),
        };
        // Of a streaming execution, each chunk has an output.
        let chunk = entry.stream.map_or(bytes, |stream| stream.chunk.0);
        let output_bytes = self.output_bytes(chunk)?;
        if chunk > RANGE_BYTES_MAX {
            let key = if entry.stream.is_some() { "stream" } else { "bs" };
            let reason =
                format!("{chunk} bytes at once: a program takes at most {RANGE_BYTES_MAX}");
            return Err(self.wrong(key, reason));
        }
        if output_bytes.is_some_and(|bytes| bytes > RANGE_BYTES_MAX) {
            let key = if entry.output_size.is_some() { "output_size" } else { "output_ratio" };
            return Err(self.wrong(key, format!("an output has at most {RANGE_BYTES_MAX} bytes")));
        }
        let input = entry.input.unwrap_or_default();
        let output = entry.output.unwrap_or(match output_bytes.is_some() {
            true => Output::Host,
            false => Output::None,
        });
        let stream = self.stream(bytes, input, output)?;
        let compound = self.compound(bytes, input, output)?;
        let places = [
            ("fill", entry.fill),
            ("file", entry.file.is_some() && input != Input::Host),
            ("rw", entry.rw.is_some()),
            ("random_distribution", entry.random_distribution.is_some()),
            ("size", entry.size.is_some() && input == Input::Memory),
            ("offset", entry.offset.0 > 0 && input == Input::Memory),
        ];
        if input != Input::Flash
            && input != Input::Peer
            && let Some((key, _)) = places.iter().find(|(_, is_given)| *is_given)
        {
            return Err(self.wrong(key, "the input does not come from blocks: leave it out"));
        }
        let from_drive = match (input, entry.from_drive) {
            (Input::Peer, Some(number)) if number < drive_count => number,
            (Input::Peer, Some(number)) => {
                let reason = format!("{number}: there are {drive_count}, numbered from 0 on");
                return Err(self.wrong("from_drive", reason));
            }
            (Input::Peer, None) => {
                return Err(self.wrong("input", "peer: say from which, as from_drive = 0"));
            }
            (_, Some(_)) => {
                return Err(self.wrong("from_drive", "of no account without input = \"peer\""));
            }
            (_, None) => 0,
        };
        let data = entry.data.as_ref().map_or_else(Vec::new, |text| text.clone().into_bytes());
        Ok(Work::OnDrive(Box::new(Execution {
            program,
            input,
            from_drive,
            output,
            output_bytes: output_bytes.unwrap_or(match output {
                Output::None => 4096.min(bytes),
                Output::Host | Output::Flash => bytes,
            }),
            params: (entry.param1.unwrap_or(0), entry.param2.unwrap_or(0)),
            data,
            ranges: entry.ranges.iter().map(|path| self.folder.join(path)).collect(),
            group: entry.group.map(|group| self.group(group)).transpose()?,
            stream,
            compound,
        })))
    }

    fn output_bytes(&self, bytes: u64) -> Result<Option<u64>, Error> {
        match (self.entry.output_ratio, self.entry.output_size) {
            (Some(_), Some(_)) => {
                Err(self.wrong("output_ratio", "give one of output_ratio and output_size"))
            }
            (Some(ratio), None) if (0.0..=16.0).contains(&ratio) => {
                // Device memory is moved in units of four bytes.
                Ok(Some((bytes as f64 * ratio) as u64 & !3))
            }
            (Some(ratio), None) => {
                Err(self.wrong("output_ratio", format!("{ratio}: choose 0 to 16")))
            }
            (None, Some(size)) => Ok(Some(size.0)),
            (None, None) => Ok(None),
        }
    }

    fn stream(&self, bytes: u64, input: Input, output: Output) -> Result<Option<Stream>, Error> {
        let Some(stream) = self.entry.stream else { return Ok(None) };
        let (chunk, in_flight) = (stream.chunk.0, stream.in_flight);
        if chunk == 0 || chunk > bytes || !bytes.is_multiple_of(chunk) {
            let reason = format!("chunk of {chunk} bytes: bs ({bytes}) must be a multiple of it");
            return Err(self.wrong("stream", reason));
        }
        if !(1..=64).contains(&in_flight) {
            return Err(self.wrong("stream", format!("in_flight = {in_flight}: choose 1 to 64")));
        }
        if !self.entry.ranges.is_empty() {
            return Err(self.wrong("ranges", "each chunk of a streaming execution has two ranges"));
        }
        if input != Input::Flash {
            return Err(self.wrong("input", "a streaming execution reads from the flash"));
        }
        if output == Output::Host {
            let reason = "the outputs of the chunks of a streaming execution stay on the drive: choose flash or none";
            return Err(self.wrong("output", reason));
        }
        let overlap = stream.overlap.map(|overlap| overlap.0);
        if chunk.saturating_add(overlap.unwrap_or(0)) > client::MEMORY_COMMAND_BYTES_MAX {
            let reason = format!(
                "a chunk with its overlap: choose at most {} bytes",
                client::MEMORY_COMMAND_BYTES_MAX
            );
            return Err(self.wrong("stream", reason));
        }
        Ok(Some(Stream { chunk, in_flight, early: stream.early, overlap }))
    }

    fn compound(
        &self,
        bytes: u64,
        input: Input,
        output: Output,
    ) -> Result<Option<Compound>, Error> {
        let entry = self.entry;
        let early = match entry.compound {
            None | Some(CompoundEntry::Is(false)) => return Ok(None),
            Some(CompoundEntry::Is(true)) => false,
            Some(CompoundEntry::With(options)) => options.early,
        };
        if entry.stream.is_some() {
            return Err(self.wrong("compound", "give one of stream and compound"));
        }
        if bytes > COMPOUND_BYTES_MAX {
            let reason = format!("bs = {bytes}: one command copies at most {COMPOUND_BYTES_MAX}");
            return Err(self.wrong("compound", reason));
        }
        if input != Input::Flash {
            return Err(self.wrong("input", "a compound execution reads from the flash"));
        }
        if output == Output::Flash {
            let reason = "the output of a compound execution goes to the host: choose host or none";
            return Err(self.wrong("output", reason));
        }
        for (is_given, key) in [
            (entry.data.is_some(), "data"),
            (entry.param2.is_some(), "param2"),
            (!entry.ranges.is_empty(), "ranges"),
        ] {
            if is_given {
                return Err(
                    self.wrong(key, "a compound execution has no room for it: leave it out")
                );
            }
        }
        Ok(Some(Compound { early }))
    }

    fn group(&self, entry: GroupEntry) -> Result<GroupOptions, Error> {
        let default = GroupOptions::default();
        let short = |key: &str, value: u64| {
            u32::try_from(value).map_err(|_| self.wrong("group", format!("{key}: too much")))
        };
        let within = |key: &str, value: u64, least: u64, most: u64| match value {
            value if (least..=most).contains(&value) => Ok(value),
            value => Err(self.wrong("group", format!("{key} = {value}: choose {least} to {most}"))),
        };
        let weight = entry.weight.unwrap_or(default.weight);
        within("weight", weight.into(), 1, GROUP_WEIGHT_MAX.into())?;
        let priority = entry.priority.unwrap_or(default.priority);
        within("priority", priority.into(), 1, PRIORITY_MAX)?;
        let units_max = entry.units_max.unwrap_or(default.units_max);
        within("units_max", units_max.into(), 0, 4095)?;
        Ok(GroupOptions {
            weight,
            priority,
            deadline_us: match entry.deadline {
                Some(time) => short("deadline", time.0.div_ceil(1000))?,
                None => default.deadline_us,
            },
            bandwidth_kbps: match entry.bandwidth {
                Some(rate) => short("bandwidth", rate.0 / 1000)?,
                None => default.bandwidth_kbps,
            },
            units_max,
            unit_mask: entry.unit_mask.unwrap_or(default.unit_mask),
        })
    }
}

/// Reads `random`, `zipf:1.2`, `zoned:80/20:20/80`.
fn distribution(text: &str) -> Result<Order, String> {
    let (name, rest) = text.split_once(':').unwrap_or((text, ""));
    match name {
        "random" if rest.is_empty() => Ok(Order::Random),
        "zipf" => match rest.parse::<f64>() {
            Ok(theta) if theta > 0.0 && theta <= 10.0 => Ok(Order::Zipf(theta)),
            _ => Err(format!("{text}: write it as zipf:1.2, above 0, at most 10")),
        },
        "zoned" => {
            let wrong = || {
                format!(
                    "{text}: write it as zoned:80/20:20/80, percents of accesses and of the region, each 100 together"
                )
            };
            let zone = |part: &str| -> Option<(u32, u32)> {
                let (accesses, size) = part.split_once('/')?;
                let size: u32 = size.parse().ok().filter(|size| *size > 0)?;
                Some((accesses.parse().ok()?, size))
            };
            let zones: Vec<_> =
                rest.split(':').map(zone).collect::<Option<_>>().ok_or_else(wrong)?;
            let sum = |of: fn(&(u32, u32)) -> u32| zones.iter().map(|z| u64::from(of(z))).sum();
            let (accesses, sizes): (u64, u64) = (sum(|z| z.0), sum(|z| z.1));
            if (accesses, sizes) == (100, 100) { Ok(Order::Zoned(zones)) } else { Err(wrong()) }
        }
        _ => Err(format!("{text}: choose random, zipf:1.2 or zoned:80/20:20/80")),
    }
}

/// Reads `4KiB/60:64KiB/40`.
fn split(text: &str) -> Result<Vec<(u64, u32)>, String> {
    let wrong = || format!("{text}: write it as 4KiB/60:64KiB/40, percents that are 100 together");
    let part = |part: &str| -> Option<(u64, u32)> {
        let (size, percent) = part.split_once('/')?;
        Some((config::parse_size(size).ok()?, percent.parse().ok()?))
    };
    let sizes: Vec<_> = text.split(':').map(part).collect::<Option<_>>().ok_or_else(wrong)?;
    let sum: u64 = sizes.iter().map(|(_, percent)| u64::from(*percent)).sum();
    if sum == 100 { Ok(sizes) } else { Err(wrong()) }
}

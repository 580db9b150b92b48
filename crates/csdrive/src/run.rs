//! `csdrive run`: one program, its inputs, one drive, virtual time.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use client::{CommandFailed, DriveError, Invocation, LoadOptions, RunTime};
use controller::{Config, Controller, Parts, Statistics};
use ebpf::Engine;
use nvme_spec::Status;
use records::{CommandRecord, Records, Stages};
use serde_json::{Value, json};
use simulator::Session;
use workload::{Ran, RunRecorder, recorded_drive};

use crate::input::{
    Parameters, check_standard_input, is_standard, parse_run_time, read_at_most, write_all,
};
use crate::jobs::{self, Jobs};
use crate::observe::record::{self, RecordOption};
use crate::observe::trace;
use crate::report::{say, tell};
use crate::run_times::{self, Compared, RunTimeReport};
use crate::stream::{Chunks, Room};
use crate::{
    Outcome, compile, debug, program_loaders::program_loaders, report, runtime_server, storage,
    usage,
};
use config::parse_size;

/// Ranges of device memory begin at multiples of this: copies move whole blocks.
const ALIGNMENT: u64 = 4096;
/// Input files of one run: range 0 is the output, and a range set has at most 128 ranges.
const INPUTS_MAX: usize = controller::limits::RANGES_PER_SET_MAX as usize - 1;

/// Run one program on an emulated drive, in virtual time
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// BPF object, C source (.c) if clang is installed, WebAssembly module, or shared object (native, needs --set compute.native_upload=true); - = from
    /// standard input
    program: PathBuf,
    /// Entry function, if the object has several
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// Input file: range 1, 2, ... of the program; repeatable; - = standard input
    #[arg(long, value_name = "FILE")]
    input: Vec<PathBuf>,
    /// Receives range 0 after the run; - = standard output (the report then goes to standard error)
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Size of range 0; default: the sum of the inputs
    #[arg(long, value_name = "SIZE", value_parser = parse_size, allow_hyphen_values = true)]
    output_size: Option<u64>,
    #[command(flatten)]
    parameters: Parameters,
    /// Where the run time comes from: instructions, measured, remote, declared, or a time to declare, as 50us; several, separated by
    /// commas, are compared
    #[arg(long, value_name = "HOW,...", value_delimiter = ',', value_parser = parse_run_time)]
    run_time: Vec<RunTime>,
    #[command(flatten)]
    many: jobs::Options,
    /// Process the input chunk by chunk: it may be larger than device memory. Results are added up
    #[arg(long)]
    stream: bool,
    #[command(flatten)]
    chunks: Chunks,
    #[command(flatten)]
    sources: config::Sources,
    /// What runs the program; sets compute.engine
    #[arg(long, value_name = "ENGINE", value_parser = engines())]
    engine: Option<Engine>,
    /// Write a timeline of the run for Perfetto
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    #[command(flatten)]
    debug: debug::Options,
    #[command(flatten)]
    record: RecordOption,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Parses the name of an engine.
pub(crate) fn engines() -> impl TypedValueParser<Value = Engine> {
    PossibleValuesParser::new(Engine::NAMES.map(|(name, _)| name))
        .map(|name| name.parse().expect("only names are let through"))
}

/// Where things lie in device memory and on the NVM namespace.
struct Layout {
    /// (start, length) of each range, the output first.
    ranges: Vec<(u64, u32)>,
    /// First block of each input.
    blocks: Vec<u64>,
}

/// What a run found out.
struct Report {
    status: Status,
    result: Option<u64>,
    /// Executed ones; those of native programs are not counted.
    instructions: Option<u64>,
    /// Parts of the job, setup excluded.
    stages: Stages,
    total_ns: u64,
    setup_ns: u64,
    bytes: Bytes,
    trace_hash: u64,
    error: Option<String>,
    program_output: String,
    /// Where the time of the program came from.
    run_time: Option<RunTimeReport>,
    /// What became of each job, if there are several.
    jobs: Option<jobs::Ended>,
    /// Where the program's time went.
    profile: Option<debug::Found>,
}

#[derive(Default)]
struct Bytes {
    host_link: u64,
    flash: u64,
    internal: u64,
}

impl Bytes {
    fn between(before: &Statistics, after: &Statistics) -> Self {
        Self {
            host_link: after.bytes_host_link() - before.bytes_host_link(),
            flash: after.bytes_flash() - before.bytes_flash(),
            internal: after.bytes_internal - before.bytes_internal,
        }
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    usage(arguments.check_standard_streams())?;
    let loaded = usage(arguments.sources.load().map_err(Into::into))?;
    report::notes(&loaded.warnings);
    let mut config = usage(loaded.for_one_of_each().map_err(Into::into))?;
    config.engine = arguments.engine.unwrap_or(config.engine);
    let prepared = usage(prepare(arguments, &config))?;
    // Without a server to ask there is one of this process's own.
    let mut _own = None;
    if arguments.run_time.contains(&RunTime::Remote) && config.runtime_server.address.is_empty() {
        let server = runtime_server::Own::new()?;
        config.runtime_server.address = server.address.to_string();
        _own = Some(server);
    }
    if arguments.run_time.len() > 1 {
        return compare(arguments, &config, &prepared);
    }
    let run_time = arguments.run_time.first().copied().unwrap_or_default();
    let recorder = arguments.record.start()?;
    let (report, files) = execute(arguments, config, &prepared, run_time)?;
    if let Some(recorder) = recorder {
        files.record(recorder, arguments, report.to_json())?;
    }
    if arguments.json {
        say!("{:#}", report.to_json());
    } else if arguments.writes_to_standard_output() {
        tell!("{}", report.render(&arguments.program));
    } else {
        say!("{}", report.render(&arguments.program));
    }
    if let Some(error) = &report.error {
        tell!("csdrive: {}: {error}", report.status.name());
    }
    // After the report: a file that cannot be written does not take the result with it.
    usage(files.write(arguments))?;
    Ok(if report.status.is_success() { Outcome::Success } else { Outcome::ErrorStatus })
}

/// Runs the program on a fresh drive for each of several models.
fn compare(arguments: &Arguments, config: &Config, prepared: &Prepared) -> Result<Outcome> {
    let mut compared = Vec::new();
    for &said in &arguments.run_time {
        let (report, _) = execute(arguments, config.clone(), prepared, said)?;
        if let Some(error) = &report.error {
            tell!("csdrive: {}: {error}", report.status.name());
        }
        let Report { status, result, total_ns, run_time, .. } = report;
        compared.push(Compared { said, status, result, total_ns, run_time });
    }
    if arguments.json {
        say!("{:#}", run_times::to_json(&compared));
    } else {
        say!("{}", run_times::render(&compared));
    }
    let is_success = compared.iter().all(|run| run.status.is_success());
    Ok(if is_success { Outcome::Success } else { Outcome::ErrorStatus })
}

/// Everything the run needs, checked before a drive is built.
struct Prepared {
    program: compile::Program,
    inputs: Vec<Vec<u8>>,
    data: Vec<u8>,
    layout: Layout,
    jobs: Option<Jobs>,
}

impl Arguments {
    fn output_files(&self) -> impl Iterator<Item = &PathBuf> {
        let own = [&self.output, &self.trace, &self.many.csv].into_iter().flatten();
        own.chain(self.debug.output_files())
    }

    /// True if standard output takes something else than the report.
    fn writes_to_standard_output(&self) -> bool {
        self.output_files().any(|path| is_standard(path))
    }

    /// Standard input gives one thing, and standard output takes one.
    fn check_standard_streams(&self) -> Result<()> {
        let inputs = self.input.iter().chain([&self.program]).chain(&self.sources.config);
        check_standard_input(inputs.map(|path| &**path).chain(self.parameters.data_file()))?;
        let outputs = self.output_files();
        let outputs = outputs.filter(|path| is_standard(path)).count() + usize::from(self.json);
        if outputs > 1 {
            anyhow::bail!(
                "standard output takes one of --json, --output -, --trace -, --csv -, --folded -, --coverage - and --trace-program -; put the others into files"
            );
        }
        Ok(())
    }
}

fn prepare(arguments: &Arguments, config: &Config) -> Result<Prepared> {
    if config.freeze.is_on {
        anyhow::bail!(
            "compute.freeze = true: freezing stops the clock of a guest, and there is none here, only virtual time; use csdrive vm --freeze"
        );
    }
    if arguments.run_time.len() > 1
        && (arguments.many.jobs.is_some()
            || arguments.record.folder().is_some()
            || arguments.debug.is_given()
            || arguments.output_files().next().is_some())
    {
        anyhow::bail!(
            "--run-time with several models compares them, and leaves no files and no jobs: drop --output, --trace, --record, --jobs, --profile and their like, or give one"
        );
    }
    if !arguments.stream && (arguments.chunks.is_given() || arguments.chunks.early) {
        anyhow::bail!("--chunk, --in-flight, --overlap and --early: only with --stream");
    }
    if arguments.stream
        && (arguments.input.len() != 1
            || arguments.output.is_some()
            || arguments.many.jobs.is_some())
    {
        anyhow::bail!(
            "--stream processes one --input and adds up what the program returns: drop --output and --jobs, and give one input"
        );
    }
    if !config.flash.keep_data {
        anyhow::bail!(
            "flash.keep_data = false: a program needs its input's contents; set it to true"
        );
    }
    let named = [("--output", &arguments.output), ("--trace", &arguments.trace)];
    for (option, path) in named.into_iter().chain([("--csv", &arguments.many.csv)]) {
        if let Some(path) = path {
            let checked = crate::input::check_output(path);
            checked.with_context(|| format!("{option} {}", path.display()))?;
        }
    }
    arguments.debug.check(arguments.json)?;
    let program = compile::program(&arguments.program, arguments.function.as_deref())?;
    if matches!(program, compile::Program::Native(..)) && !config.native.upload {
        anyhow::bail!(
            "{}: an object for this machine, not for BPF; a shared object can run as a native program, with --set compute.native_upload=true",
            arguments.program.display()
        );
    }
    arguments.debug.check_program(&program, &arguments.run_time)?;
    if arguments.input.len() > INPUTS_MAX {
        anyhow::bail!(
            "{} inputs; at most {INPUTS_MAX} are possible: join some files",
            arguments.input.len()
        );
    }
    let read = |path: &PathBuf| {
        let most = match arguments.stream {
            true => config.flash.capacity_bytes,
            false => config.memory_bytes,
        };
        read_at_most(path, most).with_context(|| format!("--input {}", path.display()))
    };
    // Sizes first: a file that cannot fit is not read.
    let files = arguments.input.iter().filter(|path| !is_standard(path));
    let sizes = files.map(|path| {
        std::fs::metadata(path)
            .map(|m| m.len())
            .with_context(|| format!("--input {}", path.display()))
    });
    let sizes: Vec<u64> = sizes.collect::<Result<_>>()?;
    place(&sizes, arguments, config)?;
    let inputs: Vec<Vec<u8>> = arguments.input.iter().map(read).collect::<Result<_>>()?;
    // Files that report no size (pipes) are placed by what was read.
    let sizes: Vec<u64> = inputs.iter().map(|i| i.len() as u64).collect();
    if arguments.stream && sizes == [0] {
        anyhow::bail!("--stream: the input has no bytes, and so no chunks");
    }
    let layout = place(&sizes, arguments, config)?;
    let data = arguments.parameters.data(config.transfer_bytes_max)?;
    if data.len() as u64 > config.transfer_bytes_max {
        let max = report::bytes(config.transfer_bytes_max);
        anyhow::bail!(
            "--data: {} bytes; one command carries at most {max}: pass it as an --input",
            data.len()
        );
    }
    let Parameters { param1, param2, .. } = arguments.parameters;
    let jobs = arguments.many.prepare((param1, param2))?;
    Ok(Prepared { program, inputs, data, layout, jobs })
}

/// Lays out device memory and blocks; tells what to change if it does not fit.
fn place(sizes: &[u64], arguments: &Arguments, config: &Config) -> Result<Layout> {
    let ranges = match arguments.stream {
        true => {
            let room = Room { start: 0, end: config.memory_bytes };
            arguments.chunks.ranges(arguments.output_size, config.block_bytes.into(), room)?
        }
        false => place_ranges(sizes, arguments.output_size, config)?,
    };
    let block = u64::from(config.block_bytes);
    let mut first = 0;
    let mut blocks = Vec::new();
    for len in sizes {
        blocks.push(first);
        first += len.div_ceil(block);
    }
    if first * block > config.flash.capacity_bytes {
        let (need, have) =
            (report::bytes(first * block), report::bytes(config.flash.capacity_bytes));
        let gigabytes = (first * block).div_ceil(1 << 30);
        anyhow::bail!(
            "the inputs need {need} of flash, the drive has {have}; use --set drive.capacity={gigabytes}GiB"
        );
    }
    Ok(Layout { ranges, blocks })
}

/// A range for the output, and one for each input.
fn place_ranges(
    sizes: &[u64],
    output_size: Option<u64>,
    config: &Config,
) -> Result<Vec<(u64, u32)>> {
    let sum: u64 = sizes.iter().sum();
    let output = output_size.unwrap_or(sum);
    let mut next = 0u64;
    let mut ranges = Vec::new();
    for (n, &len) in [output].iter().chain(sizes).enumerate() {
        let what = if n == 0 { "the output".to_owned() } else { format!("input {n}") };
        let short = u32::try_from(len).ok().with_context(|| {
            format!("{what} has {len} bytes; a memory range has at most 4294967295: split it")
        })?;
        ranges.push((next, short));
        next = next.saturating_add(len).next_multiple_of(ALIGNMENT);
    }
    if next > config.memory_bytes {
        let (need, have) = (report::bytes(next), report::bytes(config.memory_bytes));
        let megabytes = next.div_ceil(1 << 20);
        anyhow::bail!(
            "inputs and output need {need} of device memory, the drive has {have}; \
             use --set memory.size={megabytes}MiB, or a smaller --output-size"
        );
    }
    Ok(ranges)
}

/// What a run leaves in files.
#[derive(Default)]
struct Files {
    output: Option<Vec<u8>>,
    /// Serial number and records of the drive.
    drives: Vec<(String, Records)>,
    about: Option<recording::Drive>,
    csv: Option<String>,
}

impl Files {
    /// Ends a recording of the run.
    fn record(&self, recorder: RunRecorder, arguments: &Arguments, result: Value) -> Result<()> {
        for (number, (_, records)) in self.drives.iter().enumerate() {
            recorder.put(number, records);
        }
        let mut inputs = vec![arguments.program.clone()];
        inputs.extend(arguments.input.iter().chain(&arguments.sources.config).cloned());
        inputs.extend(arguments.parameters.data_file().map(Path::to_owned));
        inputs.extend(arguments.many.param_from.clone());
        let drives = self.about.iter().cloned().collect();
        record::finish(recorder, Ran { drives, inputs, result, ..Ran::default() })
    }

    fn write(self, arguments: &Arguments) -> Result<()> {
        if let (Some(path), Some(bytes)) = (&arguments.output, &self.output) {
            write_all(path, bytes).with_context(|| format!("--output {}", path.display()))?;
        }
        if let (Some(path), Some(csv)) = (&arguments.many.csv, &self.csv) {
            write_all(path, csv.as_bytes()).with_context(|| format!("--csv {}", path.display()))?;
        }
        if let Some(path) = &arguments.trace {
            trace::write(&self.drives, path)
                .with_context(|| format!("--trace {}", path.display()))?;
        }
        Ok(())
    }
}

fn execute(
    arguments: &Arguments,
    config: Config,
    prepared: &Prepared,
    run_time: RunTime,
) -> Result<(Report, Files)> {
    let entries = jobs::queue_entries(prepared.jobs.as_ref());
    let remote = usage(runtime_server::connections(&config))?;
    let (programs, store) = (usage(program_loaders(&config))?, usage(storage::store(&config))?);
    let parts = Parts { programs, store, ..Parts::default() };
    let drive = usage(Controller::with_parts(config, parts).map_err(Into::into))?;
    let mut session = usage(simulator::open_drive(drive, 0, entries).map_err(Into::into))?;
    if let Some(remote) = remote {
        session.transport.driver.port.set_remote(remote.make());
    }
    let debugging = arguments.debug.is_given().then(|| arguments.debug.start()).transpose();
    let debugging = usage(debugging)?;
    if let Some(debugging) = &debugging {
        session.transport.driver.port.observe(Some(debugging.observer()));
    }
    session.transport.driver.port.drive.set_recording(true);
    let mut records = Records::default();
    collect(&mut session, &mut records);
    let set = match set_up(&mut session, prepared) {
        Ok(set) => set,
        Err(DriveError::Failed(failed)) => {
            return Ok((Report::refused(&session, &failed), Files::default()));
        }
        Err(other) => return Err(other.into()),
    };
    let setup = collect(&mut session, &mut records);
    let before = session.transport.driver.port.drive.statistics();
    let start = session.transport.driver.port.now();
    let invocation = Invocation { run_time, ..invocation(arguments, prepared, set) };
    let streamed = arguments.stream.then(|| {
        let (first, block) = (prepared.layout.blocks[0], session.block_bytes());
        let bytes = prepared.inputs[0].len() as u64;
        arguments.chunks.streaming(&invocation, (first, bytes), block)
    });
    let done = match &streamed {
        Some(streaming) => session.execute_stream(streaming).map(|result| (Some(result), None)),
        None => copy_inputs(&mut session, prepared).and_then(|()| match &prepared.jobs {
            None => session.execute(&invocation).map(|result| (Some(result), None)),
            Some(jobs) => {
                collect(&mut session, &mut records);
                let ended = jobs::run(&mut session, jobs, &invocation, &mut records)?;
                Ok((ended.result(), Some(ended)))
            }
        }),
    };
    let output = match (&done, &arguments.output) {
        (Ok(_), Some(_)) => {
            let (start, len) = prepared.layout.ranges[0];
            Some(session.read_memory(start, len.into())?)
        }
        _ => None,
    };
    let total_ns = session.transport.driver.port.now().since(start).as_ns();
    let after = session.transport.driver.port.drive.statistics();
    collect(&mut session, &mut records);
    let mut report = Report {
        status: Status::SUCCESS,
        result: None,
        instructions: prepared
            .program
            .is_counted()
            .then(|| records.jobs.iter().flat_map(|job| job.instructions).sum()),
        stages: sum_stages(&records.commands[setup..]),
        total_ns,
        setup_ns: start.as_ns(),
        bytes: Bytes::between(&before, &after),
        trace_hash: after.trace_hash,
        error: None,
        program_output: String::from_utf8_lossy(&session.program_trace()?).into_owned(),
        // Chunks of a stream have one each.
        run_time: RunTimeReport::of(&records.jobs).filter(|_| streamed.is_none()),
        jobs: None,
        profile: None,
    };
    match done {
        Ok((result, jobs)) => {
            report.result = result;
            if let Some((status, text)) = jobs.as_ref().and_then(jobs::Ended::failure) {
                (report.status, report.error) = (Status::from_bits(status), Some(text));
            }
            report.jobs = jobs;
        }
        Err(DriveError::Failed(failed)) => {
            report.status = failed.status;
            report.error = Some(failed.detail.unwrap_or_else(|| failed.command.to_owned()));
        }
        Err(other) => return Err(other.into()),
    }
    if let Some(debugging) = &debugging {
        let cost = &session.transport.driver.port.drive.config().cost;
        report.profile = usage(arguments.debug.finish(debugging, cost))?;
    }
    report::notes(&session.transport.driver.port.notes);
    let csv = report.jobs.as_ref().map(jobs::Ended::to_csv);
    let config = session.transport.driver.port.drive.config();
    let about = Some(recorded_drive(config, after.trace_hash));
    let drives = vec![(config.serial.clone(), records)];
    Ok((report, Files { output, drives, about, csv }))
}

/// Puts everything where it belongs: the program into a slot, the inputs into flash, the ranges
/// into a set. Then lets the drive come to rest.
fn set_up(session: &mut Session, prepared: &Prepared) -> Result<u16, DriveError> {
    session.download_program_with(0, prepared.program.image(), LoadOptions::default())?;
    session.activate_program(0, true)?;
    for (input, &first) in prepared.inputs.iter().zip(&prepared.layout.blocks) {
        session.write_blocks(first, input)?;
    }
    session.flush()?;
    while session.transport.driver.port.step() {}
    session.create_range_set(&prepared.layout.ranges)
}

/// Copies the inputs to device memory.
fn copy_inputs(session: &mut Session, prepared: &Prepared) -> Result<(), DriveError> {
    let Layout { ranges, blocks } = &prepared.layout;
    for (&first, &(start, len)) in blocks.iter().zip(&ranges[1..]) {
        let count = u64::from(len).div_ceil(session.block_bytes());
        session.copy_blocks(first, count, start)?;
    }
    Ok(())
}

fn invocation(arguments: &Arguments, prepared: &Prepared, set: u16) -> Invocation {
    Invocation {
        range_set: set,
        param1: arguments.parameters.param1,
        param2: arguments.parameters.param2,
        data: prepared.data.clone(),
        ..Default::default()
    }
}

/// Takes new records; returns the number of commands there are now.
fn collect(session: &mut Session, records: &mut Records) -> usize {
    let drive = &mut session.transport.driver.port.drive;
    records.append(&mut drive.take_records());
    records.counters.push((&drive.counters()).into());
    records.commands.len()
}

/// The job's commands ran one after the other: their parts add up to the whole.
fn sum_stages(records: &[CommandRecord]) -> Stages {
    let mut sum = Stages::default();
    records.iter().for_each(|record| sum += record.stages());
    sum
}

impl Report {
    /// The drive refused the setup: nothing ran.
    fn refused(session: &Session, failed: &CommandFailed) -> Self {
        Self {
            status: failed.status,
            result: None,
            instructions: Some(0),
            stages: Stages::default(),
            total_ns: 0,
            setup_ns: session.transport.driver.port.now().as_ns(),
            bytes: Bytes::default(),
            trace_hash: session.transport.driver.port.drive.statistics().trace_hash,
            error: Some(failed.detail.clone().unwrap_or_else(|| failed.command.to_owned())),
            program_output: String::new(),
            run_time: None,
            jobs: None,
            profile: None,
        }
    }

    /// The parts of the total, in the order in which they happen.
    fn parts(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.stages.iter().map(|(stage, time)| (stage.name(), time.as_ns()))
    }

    fn to_json(&self) -> Value {
        let mut time = serde_json::Map::new();
        time.insert("total".into(), json!(self.total_ns));
        time.extend(self.parts().map(|(name, ns)| (name.to_owned(), json!(ns))));
        time.insert("setup".into(), json!(self.setup_ns));
        let mut document = json!({
            "format_version": 1,
            "status": {
                "sct": self.status.sct(), "sc": self.status.sc(), "name": self.status.name(),
            },
            "result": self.result.map(|r| r as i64),
            "instructions": self.instructions,
            "time_ns": time,
            "bytes": {
                "host_link": self.bytes.host_link,
                "flash": self.bytes.flash,
                "internal": self.bytes.internal,
            },
            "trace_hash": format!("{:016x}", self.trace_hash),
            "error": self.error,
            "program_output": self.program_output,
        });
        match (&self.jobs, &self.run_time) {
            (Some(jobs), _) => document["jobs"] = jobs.to_json(),
            (None, Some(run_time)) => document["run_time"] = run_time.to_json(),
            (None, None) => {}
        }
        if let Some(profile) = &self.profile {
            document["profile"] = profile.json.clone();
        }
        document
    }

    /// For people.
    fn render(&self, program: &Path) -> String {
        let mut lines = Vec::new();
        let mut line = |text: String| lines.push(text);
        line(format!("program       {}", program.display()));
        line(format!("status        {}", self.status));
        if let Some(result) = self.result {
            line(format!("result        {} (0x{result:x})", result as i64));
        }
        let instructions = self.instructions.map(report::grouped);
        line(format!("instructions  {}", instructions.as_deref().unwrap_or("not counted")));
        let run_time = self.run_time.as_ref().map(RunTimeReport::render).unwrap_or_default();
        if self.jobs.is_none() && !run_time.is_empty() {
            line(format!("run time      from {run_time}; it differs from run to run"));
        }
        if !self.program_output.is_empty() {
            line(format!(
                "printed       {}",
                report::printable(self.program_output.trim_end()).replace('\n', "\n              ")
            ));
        }
        match &self.jobs {
            Some(jobs) => line(format!("\n{}", jobs.render())),
            None => {
                line(format!(
                    "\nwhere time went                {:>12}",
                    report::time(self.total_ns)
                ));
                for (name, ns) in self.parts() {
                    let bar = report::bar(ns as f64, self.total_ns as f64);
                    line(format!("  {name:<12} {:>12}  {bar}", report::time(ns)));
                }
            }
        }
        if let Some(text) = self.profile.as_ref().and_then(|profile| profile.text.as_ref()) {
            line(format!("\n{text}"));
        }
        line("\nwhere bytes went".to_owned());
        let Bytes { host_link, flash, internal } = self.bytes;
        let most = host_link.max(flash).max(internal) as f64;
        for (name, n) in [("flash", flash), ("internal", internal), ("host link", host_link)] {
            line(format!("  {name:<12} {:>12}  {}", report::bytes(n), report::bar(n as f64, most)));
        }
        line(format!("\n(setup, not counted above: {})", report::time(self.setup_ns)));
        lines.join("\n")
    }
}

//! csdrive: an emulated computational storage drive. See README.md.
//!
//! Exit codes: 0 = done; 1 = the drive completed with an error status (the result document is
//! printed all the same); 2 = wrong use: arguments, files, configuration.
#![forbid(unsafe_code)]

mod bench;
mod calibrate;
mod compile;
mod cores;
mod crashtest;
mod debug;
mod demo;
mod device;
mod input;
mod jobs;
mod lineitem;
mod log;
mod manual;
mod observe;
mod precondition;
mod profiles;
mod program_loaders;
mod program_tests;
mod report;
mod run;
mod run_times;
mod runtime_server;
mod schema;
mod serve;
mod storage;
mod stream;
mod sweep;
mod vm;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use serde_json::json;

use config::{ENTRY_KEYS, KEYS};
use report::{say, tell};

/// An emulated computational storage drive
#[derive(Debug, Parser)]
#[command(name = "csdrive", version, arg_required_else_help = true)]
struct Cli {
    /// Log a served drive on standard error: its client, failed commands; -vv: every command
    #[arg(short, long, global = true, action = clap::ArgAction::Count, display_order = 1000)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Arguments),
    Run(run::Arguments),
    Test(program_tests::Arguments),
    Serve(serve::Arguments),
    Vm(vm::Arguments),
    /// Programs of a drive: load, list, activate, deactivate, unload
    #[command(subcommand)]
    Program(device::program::Command),
    /// Memory range sets of a drive: create, list, delete
    #[command(subcommand)]
    Ranges(device::ranges::Command),
    /// Blocks of a drive: read, write, flush, how many there are
    #[command(subcommand)]
    Blocks(device::blocks::Command),
    /// Zones of a drive: report, open, close, finish, reset, append
    #[command(subcommand)]
    Zones(device::zones::Command),
    /// Device memory of a drive: read, write, fill, copy
    #[command(subcommand)]
    Memory(device::memory::Command),
    /// Job groups of a drive, which share its compute units as compute.policy says: create, list, change, delete
    #[command(subcommand)]
    Group(device::group::Command),
    Exec(device::exec::Arguments),
    Mark(device::mark::Arguments),
    Stat(observe::stat::Arguments),
    Top(observe::top::Arguments),
    Record(observe::record::Arguments),
    Trace(observe::trace::Arguments),
    Report(observe::page::Arguments),
    Export(observe::export::Arguments),
    Compare(observe::compare::Arguments),
    Replay(observe::replay::Arguments),
    Schema(schema::Arguments),
    Check(device::check::Arguments),
    RuntimeServer(runtime_server::Arguments),
    Calibrate(calibrate::Arguments),
    Workload(workload::Arguments),
    Sweep(sweep::Arguments),
    /// A drive as a file system: device memory, programs, storage
    #[command(subcommand)]
    Fs(device::fs::Command),
    /// Files that drives keep their flash in (storage.file): look, check, copy, to and from raw images
    #[command(subcommand)]
    Storage(storage::Command),
    Precondition(precondition::Arguments),
    Crashtest(crashtest::Arguments),
    /// Keys, values and checks of the drive's configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Measure csdrive itself
    #[command(subcommand)]
    Bench(BenchCommand),
    Completion(manual::Completion),
    Man(manual::Man),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Every key with its default and meaning
    Keys {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// The cost table of each core that compute.core names, and where its numbers come from
    Cores {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Settings of known drives and emulators by one name (profile = NAME), and where they come from
    Profiles {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// The effective configuration as a file that loads back to the same
    Show {
        #[command(flatten)]
        sources: config::Sources,
        /// Print one JSON document, values in base units
        #[arg(long)]
        json: bool,
    },
    /// Check a configuration: a file, keys, FEMU properties, or all together
    Check {
        /// TOML, or CEMU's JSON; `-` is standard input; none with --set or --femu alone
        file: Option<PathBuf>,
        /// One key, as it would be given to a command; repeatable
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// FEMU device properties, as they would be given to a command; repeatable
        #[arg(long, value_name = "K=V,...")]
        femu: Vec<String>,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Runs the data path benchmark's commands without measuring, for profilers
    #[command(hide = true)]
    DataPath {
        /// Batches of commands
        #[arg(long)]
        batches: u32,
    },
    /// The drive behind its socket: latency and commands per second of a user-space driver
    Device(bench::device::Arguments),
    /// Program engines against native code and a peer: nanoseconds per element of each kernel
    Engine(bench::engine::Arguments),
    /// The drive in a guest, beside QEMU's own NVMe device
    Guest(bench::guest::Arguments),
    /// A way to a drive: executions, copies, transfers
    Transport(bench::transport::Arguments),
    /// What an operation of the models costs as there is more of everything
    Scale(bench::scale::Arguments),
    /// A file processed chunk by chunk in virtual time, beside what CEMU measured
    Streaming(bench::streaming::Arguments),
    /// Five kernels over files on the flash, chunk by chunk, with the parameters of CEMU's benchmark program
    Suite(bench::suite::Arguments),
    /// What records cost a served drive, and how many a second a reader takes
    Records(bench::records::Arguments),
    /// What each scheduler makes of the same jobs, in virtual time
    Schedulers(bench::schedulers::Arguments),
    /// Simulated commands per second of host time, on one core
    Simulation {
        /// Commands of each measurement
        #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
        commands: u64,
        /// Measure only what has this in its name
        #[arg(long, value_name = "NAME")]
        only: Option<String>,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
}

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Success,
    ErrorStatus,
    /// Exit with this: a guest's command did.
    Status(u8),
}

/// Marks an error as wrong use.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
struct Usage(anyhow::Error);

/// An error here is wrong use.
fn usage<T>(result: Result<T>) -> Result<T> {
    result.map_err(|e| Usage(e).into())
}

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == native_programs::WORKER_ARGUMENT) {
        return native_programs::worker_main();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    if let Err(error) = log::start(cli.verbose) {
        tell!("csdrive: {error:#}");
        return ExitCode::from(2);
    }
    let done = match &cli.command {
        Command::Demo(arguments) => demo::run(arguments),
        Command::Run(arguments) => run::run(arguments),
        Command::Test(arguments) => program_tests::run(arguments),
        Command::Serve(arguments) => serve::run(arguments),
        Command::Vm(arguments) => vm::run(arguments),
        Command::Program(command) => device::program::run(command),
        Command::Ranges(command) => device::ranges::run(command),
        Command::Blocks(command) => device::blocks::run(command),
        Command::Zones(command) => device::zones::run(command),
        Command::Memory(command) => device::memory::run(command),
        Command::Group(command) => device::group::run(command),
        Command::Exec(arguments) => device::exec::run(arguments),
        Command::Mark(arguments) => device::mark::run(arguments),
        Command::Stat(arguments) => observe::stat::run(arguments),
        Command::Record(arguments) => observe::record::run(arguments),
        Command::Top(arguments) => observe::top::run(arguments),
        Command::Trace(arguments) => observe::trace::run(arguments),
        Command::Report(arguments) => observe::page::run(arguments),
        Command::Export(arguments) => observe::export::run(arguments),
        Command::Compare(arguments) => observe::compare::run(arguments),
        Command::Schema(arguments) => schema::run(arguments),
        Command::Replay(arguments) => observe::replay::run(arguments),
        Command::Check(arguments) => device::check::run(arguments),
        Command::Calibrate(arguments) => calibrate::run(arguments),
        Command::Workload(arguments) => workload::run(arguments),
        Command::Sweep(arguments) => sweep::run(arguments),
        Command::RuntimeServer(arguments) => runtime_server::run(arguments),
        Command::Precondition(arguments) => precondition::run(arguments),
        Command::Crashtest(arguments) => crashtest::run(arguments),
        Command::Storage(command) => storage::run(command),
        Command::Fs(command) => device::fs::run(command),
        Command::Config(command) => usage(configure(command)),
        Command::Completion(arguments) => usage(manual::completion(arguments, Cli::command())),
        Command::Man(arguments) => usage(manual::man(arguments, Cli::command())),
        Command::Bench(BenchCommand::DataPath { batches }) => bench::data_path::Load::new()
            .map(|mut load| load.run(*batches))
            .map(|()| Outcome::Success),
        Command::Bench(BenchCommand::Device(arguments)) => bench::device::run(arguments),
        Command::Bench(BenchCommand::Engine(arguments)) => bench::engine::run(arguments),
        Command::Bench(BenchCommand::Guest(arguments)) => bench::guest::run(arguments),
        Command::Bench(BenchCommand::Transport(arguments)) => bench::transport::run(arguments),
        Command::Bench(BenchCommand::Records(arguments)) => bench::records::run(arguments),
        Command::Bench(BenchCommand::Scale(arguments)) => bench::scale::run(arguments),
        Command::Bench(BenchCommand::Streaming(arguments)) => bench::streaming::run(arguments),
        Command::Bench(BenchCommand::Suite(arguments)) => bench::suite::run(arguments),
        Command::Bench(BenchCommand::Schedulers(arguments)) => bench::schedulers::run(arguments),
        Command::Bench(BenchCommand::Simulation { commands, only, json }) => {
            bench(*commands, only.as_deref(), *json)
        }
    };
    match done {
        Ok(Outcome::Success) => ExitCode::SUCCESS,
        Ok(Outcome::ErrorStatus) => ExitCode::from(1),
        Ok(Outcome::Status(status)) => ExitCode::from(status),
        Err(error) => {
            // Also of what fails only when a drive is built.
            tell!("csdrive: {}", config::reworded(&format!("{error:#}"), ""));
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

/// Wrong arguments in one line; help and version as clap prints them.
fn refuse(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            say!("{}", text.trim_end());
            return ExitCode::SUCCESS;
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => tell!("{}", text.trim_end()),
        _ => {
            let paragraphs: Vec<String> = text
                .split("\n\n")
                .map(|p| p.split_whitespace().collect::<Vec<_>>().join(" "))
                .filter(|p| !p.starts_with("Usage:") && !p.starts_with("For more"))
                .collect();
            let line = paragraphs.join("; ");
            tell!("csdrive: {}; see --help", line.trim_start_matches("error: "));
        }
    }
    ExitCode::from(2)
}

fn configure(command: &ConfigCommand) -> Result<Outcome> {
    let default = controller::Config::default();
    match command {
        ConfigCommand::Keys { json: true } => {
            let keys: Vec<_> = KEYS
                .iter()
                .map(|k| {
                    json!({ "key": k.name, "values": k.values, "doc": k.doc,
                            "default": k.get(&default).to_string() })
                })
                .chain(ENTRY_KEYS.iter().map(|(name, doc, values)| {
                    json!({ "key": name, "values": values, "doc": doc, "list": true })
                }))
                .collect();
            say!("{:#}", json!({ "format_version": 1, "keys": keys }));
        }
        ConfigCommand::Keys { json: false } => {
            let mut section = "";
            for key in KEYS {
                let of = key.name.split_once('.').map_or("", |(of, _)| of);
                if of != section {
                    say!("{}[{of}]", if section.is_empty() { "" } else { "\n" });
                    section = of;
                }
                let value = key.get(&default).to_string();
                say!("  {:<36} {:<14} {} ({})", key.name, value, key.doc, key.values);
            }
            say!("\n[[namespace]], once for each; without any, the drive has one of each kind");
            for (name, doc, values) in ENTRY_KEYS {
                say!("  {:<36} {:<14} {} ({})", name, "", doc, values);
            }
        }
        ConfigCommand::Cores { json } => cores::print(*json),
        ConfigCommand::Profiles { json } => profiles::print(*json),
        ConfigCommand::Show { sources, json } => {
            let loaded = sources.load()?;
            report::notes(&loaded.warnings);
            if *json {
                let value = |k: &config::Key| (k.name.to_owned(), k.get(&loaded.config).to_json());
                let keys: serde_json::Map<_, _> = KEYS.iter().map(value).collect();
                let namespaces = config::namespaces_to_json(&loaded.config);
                let document =
                    json!({ "format_version": 1, "config": keys, "namespaces": namespaces });
                say!("{document:#}");
            } else {
                say!("{}", config::to_toml(&loaded.config).trim_end());
            }
        }
        ConfigCommand::Check { file: None, set, femu, .. } if set.is_empty() && femu.is_empty() => {
            anyhow::bail!("nothing to check: give a FILE, --set KEY=VALUE or --femu K=V,...");
        }
        ConfigCommand::Check { file, set, femu, json } => {
            let sources =
                config::Sources { config: file.clone(), set: set.clone(), femu: femu.clone() };
            let loaded = sources.load().inspect_err(|error| {
                if *json {
                    let error = error.to_string();
                    say!("{:#}", json!({ "format_version": 1, "valid": false, "error": error }));
                }
            })?;
            let geometry = ssd::Geometry::new(&loaded.config.flash)?;
            let effective = geometry.effective_overprovisioning();
            if *json {
                say!(
                    "{:#}",
                    json!({ "format_version": 1, "valid": true, "notes": loaded.warnings,
                            "effective_overprovisioning": effective })
                );
            } else {
                loaded.warnings.iter().for_each(|w| say!("note: {w}"));
                match file {
                    Some(file) => say!("{}: valid", file.display()),
                    None => say!("valid"),
                }
                say!(
                    "flash: {} blocks of {} pages in each of {} planes; effective over-provisioning {:.1} %",
                    geometry.blocks_per_plane,
                    geometry.pages_per_block / geometry.pages_per_read,
                    geometry.planes,
                    100.0 * effective
                );
            }
        }
    }
    Ok(Outcome::Success)
}

fn bench(commands: u64, only: Option<&str>, as_json: bool) -> Result<Outcome> {
    let results = bench::simulation::run(commands, only, |what| tell!("measuring {what}"))?;
    if as_json {
        say!("{results:#}");
    } else if let Some(results) = results.as_object() {
        let shown = |key: &&String| !matches!(key.as_str(), "format_version" | "medians");
        for (key, value) in results.iter().filter(|(key, _)| shown(key)) {
            let text = match (value.as_u64(), value.as_f64()) {
                (Some(n), _) => report::grouped(n),
                (None, Some(n)) => format!("{n:.1}"),
                (None, None) => value.to_string(),
            };
            say!("  {key:<36} {text:>14}");
        }
    }
    Ok(Outcome::Success)
}

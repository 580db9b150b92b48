//! `csdrive program`: the programs of a drive.

use std::path::PathBuf;

use anyhow::Result;
use client::{LoadOptions, ProgramInfo, ProgramState, RunTime};
use serde_json::{Value, json};

use super::Target;
use crate::input::parse_run_time;
use crate::report::say;
use crate::{Outcome, compile, usage};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Load a program, and activate it
    Load {
        /// BPF object, C source (.c) if clang is installed, WebAssembly module, or shared object (native)
        program: PathBuf,
        /// PROGRAM is the name of a shared object in the drive's compute.native_directory
        #[arg(long)]
        in_drive: bool,
        /// Program index
        #[arg(short, long, value_name = "N", default_value_t = 0)]
        index: u16,
        /// Entry function, if the object has several
        #[arg(long, value_name = "NAME")]
        function: Option<String>,
        /// Where the run time of its executions comes from: instructions, measured, remote, declared, or a time to declare, as 50us
        #[arg(long, value_name = "HOW", value_parser = parse_run_time)]
        run_time: Option<RunTime>,
        /// Measured times are multiplied by this, in tenths: 3 or 2.5
        #[arg(long, value_name = "FACTOR", value_parser = parse_scale)]
        scale: Option<u16>,
        /// Do not activate it
        #[arg(long)]
        inactive: bool,
        #[command(flatten)]
        target: Target,
    },
    /// What is loaded
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Let a program be executed
    Activate(At),
    /// Let a program be executed no more
    Deactivate(At),
    /// Remove a program; it is deactivated first
    Unload(At),
}

#[derive(Debug, clap::Args)]
pub(crate) struct At {
    /// Program index
    #[arg(short, long, value_name = "N")]
    index: u16,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(command: &Command) -> Result<Outcome> {
    match command {
        Command::Load { program, in_drive, index, function, run_time, scale, inactive, target } => {
            let options = LoadOptions {
                run_time: run_time.unwrap_or_default(),
                scale_tenths: scale.unwrap_or_default(),
            };
            let loaded = if *in_drive {
                let function = function.clone().unwrap_or_default();
                compile::Program::InDrive(program.display().to_string(), function)
            } else {
                usage(compile::program(program, function.as_deref()))?
            };
            target.perform(
                |drive| {
                    drive.download_program_with(*index, loaded.image(), options)?;
                    if *inactive { Ok(()) } else { drive.activate_program(*index, true) }
                },
                |()| json!({ "index": index, "bytes": loaded.len(), "active": !inactive }),
                |()| {
                    let active = if *inactive { "loaded" } else { "loaded and activated" };
                    match loaded {
                        compile::Program::InDrive(..) => say!("program {index}: {active}"),
                        _ => say!("program {index}: {} bytes {active}", loaded.len()),
                    }
                },
            )
        }
        Command::List { target } => target.perform(
            |drive| drive.programs(),
            |list| json!({ "programs": list.iter().map(document).collect::<Vec<_>>() }),
            |list| {
                say!("{:>6}  {:<14} {:<8} type", "index", "from", "active");
                for info in list {
                    let active = if info.is_active { "yes" } else { "no" };
                    say!("{:>6}  {:<14} {active:<8} {}", info.index, from(info), kind(info));
                }
            },
        ),
        Command::Activate(At { index, target }) => target.perform(
            |drive| drive.activate_program(*index, true),
            |()| json!({ "index": index, "active": true }),
            |()| say!("program {index}: active"),
        ),
        Command::Deactivate(At { index, target }) => target.perform(
            |drive| drive.activate_program(*index, false),
            |()| json!({ "index": index, "active": false }),
            |()| say!("program {index}: not active"),
        ),
        Command::Unload(At { index, target }) => target.perform(
            |drive| drive.remove_program(*index),
            |()| json!({ "index": index, "loaded": false }),
            |()| say!("program {index}: unloaded"),
        ),
    }
}

fn from(info: &ProgramInfo) -> &'static str {
    match info.state {
        ProgramState::Downloaded => "host",
        ProgramState::DeviceDefined => "device",
    }
}

fn kind(info: &ProgramInfo) -> String {
    match info.kind {
        1 => "eBPF".to_owned(),
        0xC0 => "declared time".to_owned(),
        0xC1 | 0xC2 => "native".to_owned(),
        0xC3 => "WebAssembly".to_owned(),
        other => format!("{other:#x}"),
    }
}

fn document(info: &ProgramInfo) -> Value {
    json!({ "index": info.index, "from": from(info), "active": info.is_active, "type": info.kind })
}

/// A factor in tenths.
fn parse_scale(text: &str) -> Result<u16, String> {
    let tenths = text.parse::<f64>().map(|factor| factor * 10.0).unwrap_or_default();
    if (1.0..=65_535.0).contains(&tenths) && tenths.fract() == 0.0 {
        return Ok(tenths as u16);
    }
    Err("not a factor from 0.1 to 6553.5 in steps of 0.1".to_owned())
}

//! `csdrive program`: the programs of a drive.

use std::path::PathBuf;

use anyhow::Result;
use client::{ProgramInfo, ProgramState};
use serde_json::{Value, json};

use super::Target;
use crate::report::say;
use crate::{Outcome, compile, usage};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Load a program, and activate it
    Load {
        /// BPF object, or C source (.c) if clang is installed
        program: PathBuf,
        /// Program index
        #[arg(short, long, value_name = "N", default_value_t = 0)]
        index: u16,
        /// Entry function, if the object has several
        #[arg(long, value_name = "NAME")]
        function: Option<String>,
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
        Command::Load { program, index, function, inactive, target } => {
            let object = usage(compile::program(program, function.as_deref()))?;
            target.perform(
                |drive| match inactive {
                    true => drive.download_program(*index, &object),
                    false => drive.load_program(*index, &object),
                },
                |()| json!({ "index": index, "bytes": object.len(), "active": !inactive }),
                |()| {
                    let active = if *inactive { "loaded" } else { "loaded and activated" };
                    say!("program {index}: {} bytes {active}", object.len());
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
        other => format!("{other:#x}"),
    }
}

fn document(info: &ProgramInfo) -> Value {
    json!({ "index": info.index, "from": from(info), "active": info.is_active, "type": info.kind })
}

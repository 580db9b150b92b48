//! `csdrive replay`: runs again what was recorded, and compares.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow};
use recording::{Input, Provenance, Recording};
use serde_json::json;

use super::compare::same_trace;
use super::record;
use crate::input::is_standard;
use crate::report::{printable, say, tell};
use crate::{Outcome, usage};

/// Run again what was recorded with --record, and compare: the same must happen
///
/// The exit code is 1 if something else happens. The files that the run read must be as they were.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The recorded run: its folder, or the record.json in it
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Where the files are that the run read [default: the folder in which it was made]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Keep the new run here, as --record does
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let before = usage(Recording::open(&arguments.run).map_err(Into::into))?;
    let before = before.provenance();
    let folder = arguments.folder.as_ref().unwrap_or(&before.folder);
    usage(check(before, folder))?;
    let scratch = tempfile::tempdir().context("a folder for the new run")?;
    let new = match &arguments.record {
        // It is given to a command that begins elsewhere.
        Some(path) => std::path::absolute(path).with_context(|| path.display().to_string())?,
        None => scratch.path().join("run"),
    };
    // A run that was there before is not to be taken for the new one.
    if std::fs::read_dir(&new).is_ok_and(|mut entries| entries.next().is_some()) {
        return usage(Err(anyhow!(
            "--record {}: the folder is not empty: name a new one",
            new.display()
        )));
    }
    let line = printable(&before.command.join(" "));
    tell!("csdrive: runs again: {line}");
    let program = std::env::current_exe().context("this program")?;
    let mut command = Command::new(program);
    command.args(&before.command[1..]).arg("--record").arg(&new);
    // What it says is of interest only if it leaves no run.
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
    let done = command.output().context("this program")?;
    let again = Recording::open(&new).map_err(|_| {
        let said = String::from_utf8_lossy(&done.stderr);
        anyhow!("{line} ended with {} and left no run: {}", done.status, printable(said.trim()))
    });
    let again = again?;
    let again = again.provenance();
    let is_same = same_trace(before, again) == Some(true);
    let hashes = |run: &Provenance| -> Vec<String> {
        run.drives.iter().filter_map(|drive| drive.trace_hash.clone()).collect()
    };
    if arguments.json {
        say!(
            "{:#}",
            json!({ "format_version": 1, "command": before.command, "same": is_same,
                    "trace_hashes": [hashes(before), hashes(again)],
                    "csdrive": [before.csdrive, again.csdrive] })
        );
    } else if is_same {
        say!("{line}: the same happened: {}", hashes(again).join(" "));
    }
    if !is_same {
        tell!(
            "csdrive: something else happened: {} then, {} now{}; --record DIR keeps the new run, csdrive compare shows the difference",
            printable(&hashes(before).join(" ")),
            hashes(again).join(" "),
            match before.csdrive == again.csdrive {
                true => String::new(),
                false => format!(" (csdrive {} then, {} now)", before.csdrive, again.csdrive),
            }
        );
        return Ok(Outcome::ErrorStatus);
    }
    Ok(Outcome::Success)
}

/// Commands whose runs can be repeated. A document that names another is none of ours, and is not to run anything.
const COMMANDS: [&str; 3] = ["workload", "run", "demo"];

/// Parts of arguments with which a command would do more than simulate: they are for whoever gives the command, and not for a document that
/// may be somebody else's.
const NOT_REPEATED: [&str; 5] = ["--device", "runtime_server", "arm_server", "native", "freeze"];

/// Checks that a run can be repeated.
fn check(run: &Provenance, folder: &Path) -> Result<()> {
    let is_known = run.command.iter().skip(1).find(|argument| !argument.starts_with('-'));
    if run.clock != "virtual" || !is_known.is_some_and(|name| COMMANDS.contains(&name.as_str())) {
        return Err(anyhow!(
            "it was not made by --record of csdrive workload, run or demo: what a live drive did depends on its users"
        ));
    }
    for (n, argument) in run.command.iter().enumerate() {
        let name = argument.split('=').next().unwrap_or_default();
        let is_nothing = name == "--output"
            && (argument == "--output=-"
                || run.command.get(n + 1).is_some_and(|value| value == "-"));
        let is_output = record::OUTPUTS.contains(&name) || name == "--output" && !is_nothing;
        if is_output || NOT_REPEATED.iter().any(|part| argument.contains(part)) {
            return Err(anyhow!(
                "{}: a run is repeated only if it neither writes files nor reaches beyond the simulation: give the command yourself, if you know who made the record: {}",
                printable(argument),
                printable(&run.command.join(" "))
            ));
        }
        let is_measured = argument.contains("measured") || argument.contains("remote");
        let after = n.checked_sub(1).and_then(|before| run.command.get(before));
        if is_measured
            && (argument.contains("run_time")
                || name == "--run-time"
                || after.is_some_and(|a| a == "--run-time"))
        {
            return Err(anyhow!(
                "{argument}: its times were measured on a machine, and are others each time"
            ));
        }
    }
    if !folder.is_dir() {
        return Err(anyhow!(
            "{}: the folder in which the run was made is not there: say with --folder where its files are",
            folder.display()
        ));
    }
    for input in &run.inputs {
        if is_standard(&input.path) || input.sha256.is_empty() {
            return Err(anyhow!(
                "it read {}, which was no file and is gone: record a run that reads a file",
                if is_standard(&input.path) {
                    "standard input".to_owned()
                } else {
                    input.path.display().to_string()
                }
            ));
        }
        let path = folder.join(&input.path);
        let now =
            Input::of(&path).with_context(|| "the run needs it; name its folder with --folder")?;
        if now.sha256 != input.sha256 {
            return Err(anyhow!(
                "{}: it was changed since the run: then {} bytes with SHA-256 {}, now {} with {}",
                path.display(),
                input.bytes,
                input.sha256,
                now.bytes,
                now.sha256
            ));
        }
    }
    Ok(())
}

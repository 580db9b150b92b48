//! Recorded runs: `--record` of commands that simulate, and `csdrive record` of live drives.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::workload::{Ran, RunRecorder};
use anyhow::{Context, Result, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use recording::Drive;
use ring::Reader;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::live_clock::LiveClock;
use super::seen::{POLL, open, seconds, serial_of};
use crate::report::{grouped, tell};
use crate::{Outcome, usage};

/// Whether a run is recorded.
#[derive(Debug, clap::Args)]
pub(crate) struct RecordOption {
    /// Record the run in a new folder: all commands, jobs and flash operations as Parquet files, and what is needed to run it again. See
    /// csdrive stat, report, trace, compare, replay
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
}

impl RecordOption {
    /// Begins to record, if that is asked for.
    pub(crate) fn start(&self) -> Result<Option<RunRecorder>> {
        let Some(folder) = self.record.as_deref() else { return Ok(None) };
        usage(check_names())?;
        usage(RunRecorder::start(folder).map(Some).map_err(Into::into))
    }

    /// The folder.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.record.as_deref()
    }
}

/// Options that name files to write: a run that is repeated does not write them again. (`--output` is a part of the run: the host reads
/// device memory for it.)
pub(super) const OUTPUTS: [&str; 6] =
    ["--record", "--csv", "--fio", "--plot", "--trace", "--report"];

/// Ends the recording of a run in virtual time.
pub(crate) fn finish(recorder: RunRecorder, ran: Ran) -> Result<()> {
    let command = command_line(std::env::args_os());
    usage(recorder.finish(Ran { command, clock: "virtual", ..ran }).map_err(Into::into))
}

/// A command line without options that name files to write, and without the path of the program.
fn command_line(arguments: impl Iterator<Item = OsString>) -> Vec<String> {
    let mut kept = vec!["csdrive".to_owned()];
    let mut arguments = arguments.skip(1).map(|text| text.to_string_lossy().into_owned());
    while let Some(argument) = arguments.next() {
        let name = argument.split('=').next().unwrap_or_default();
        let has_value = argument.contains('=');
        if OUTPUTS.contains(&name) || name == "--output" {
            if !has_value {
                arguments.next();
            }
            if name == "--output" {
                kept.push("--output=-".to_owned());
            }
        } else if name != "--json" {
            // Standard output takes one thing.
            kept.push(argument);
        }
    }
    kept
}

/// Checks that what is recorded can be written down: JSON is Unicode.
fn check_names() -> Result<()> {
    let folder = std::env::current_dir().context("this folder")?;
    let is_text = |name: &OsStr| name.to_str().is_some();
    let strange = std::env::args_os().find(|argument| !is_text(argument));
    match strange.or_else(|| (!is_text(folder.as_os_str())).then(|| folder.into())) {
        None => Ok(()),
        Some(name) => Err(anyhow!(
            "{}: not Unicode, and a run's record.json is: give it another name",
            name.to_string_lossy()
        )),
    }
}

/// Record what live drives do in a new folder, until Ctrl-C, or for some time
///
/// The drives are served with --records. See csdrive stat, report, trace and compare for what to do with it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The drives' serial numbers (drive.serial)
    #[arg(value_name = "SERIAL", default_value = "CSDRIVE0001")]
    drives: Vec<PathBuf>,
    /// The folder, which is made
    #[arg(long, value_name = "DIR", required = true)]
    to: PathBuf,
    /// How long [default: until Ctrl-C, or until the drives are gone]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    seconds: Option<f64>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let mut readers = Vec::new();
    for drive in &arguments.drives {
        readers.push(open(drive)?);
    }
    let recorder = usage(RunRecorder::start(&arguments.to).map_err(Into::into))?;
    let is_over = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&is_over)).context("signals")?;
    }
    let mut clocks: Vec<LiveClock> = readers.iter().map(LiveClock::new).collect();
    let limit = arguments.seconds.map(Duration::from_secs_f64);
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {elapsed} {msg}")?);
    let (mut count, mut lost) = (0, 0);
    loop {
        let are_gone = readers.iter().all(Reader::is_closed);
        for (number, reader) in readers.iter_mut().enumerate() {
            let batch = reader.read();
            count += batch.records.commands.len() as u64;
            lost += batch.lost.iter().sum::<u64>();
            if let Some(first) = clocks[number].saw(&batch.records) {
                recorder.put(number, &first);
            }
            recorder.put(number, &batch.records);
        }
        bar.set_message(format!("{} commands, Ctrl-C ends", grouped(count)));
        let is_late = limit.is_some_and(|limit| recorder.elapsed() >= limit);
        if is_late || are_gone || is_over.load(Ordering::Relaxed) {
            break;
        }
        std::thread::sleep(POLL);
    }
    bar.finish_and_clear();
    for (number, clock) in clocks.into_iter().enumerate() {
        recorder.put(number, &clock.end());
    }
    let drive = |path: &PathBuf| Drive { serial: serial_of(path), ..Drive::default() };
    let drives = arguments.drives.iter().map(drive).collect();
    let command = command_line(std::env::args_os());
    let ran = Ran { command, clock: "real", drives, lost, ..Ran::default() };
    usage(recorder.finish(ran).map_err(Into::into))?;
    if lost > 0 {
        tell!(
            "csdrive: note: {} records came faster than they were read, and are missing",
            grouped(lost)
        );
    }
    tell!("csdrive: {} commands in {}", grouped(count), arguments.to.display());
    Ok(Outcome::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_not_repeated() {
        let line =
            "/x/csdrive workload a.toml --record run --set seed=2 --csv=b.csv --json --plot p.svg";
        let kept = command_line(line.split(' ').map(OsString::from));
        assert_eq!(kept.join(" "), "csdrive workload a.toml --set seed=2");
        let kept = command_line("x run a.o --output o.bin".split(' ').map(OsString::from));
        assert_eq!(kept.join(" "), "csdrive run a.o --output=-");
    }
}

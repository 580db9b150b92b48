//! `csdrive run` for whoever debugs a program or asks where its time goes: each instruction is looked at. The program is interpreted
//! meanwhile; results, counts and modelled time are those of any run.

mod listing;
mod profile;
mod stepping;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use client::RunTime;
use compute::CostTable;
use ebpf::{Observer, Outcome, Program, Step, StopRun};
use serde_json::Value;

use crate::compile::Program as Loadable;
use crate::input::{check_output, is_standard, write_all};
use crate::report;
use listing::Listing;
pub(crate) use profile::{Coverage, Profile};
use stepping::Stepping;

/// What is to be found out about the program.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Say which source lines of the program take its time
    #[arg(long)]
    profile: bool,
    /// Write the program's time by stacks of functions, for flame graphs (inferno, speedscope); - = standard output
    #[arg(long, value_name = "FILE")]
    folded: Option<PathBuf>,
    /// Write which source lines of the program ran how often (lcov's format); - = standard output
    #[arg(long, value_name = "FILE")]
    coverage: Option<PathBuf>,
    /// Write every instruction that ran: source line, registers, memory touched; - = standard output
    #[arg(long, value_name = "FILE")]
    trace_program: Option<PathBuf>,
    /// Stop at each source line and wait for a command; h = what there is
    #[arg(long)]
    step: bool,
}

impl Options {
    /// True if any of it is.
    pub(crate) fn is_given(&self) -> bool {
        self.profile || self.step || self.files().any(|(_, path)| path.is_some())
    }

    fn files(&self) -> impl Iterator<Item = (&'static str, &Option<PathBuf>)> {
        [
            ("--folded", &self.folded),
            ("--coverage", &self.coverage),
            ("--trace-program", &self.trace_program),
        ]
        .into_iter()
    }

    /// Files that are written.
    pub(crate) fn output_files(&self) -> impl Iterator<Item = &PathBuf> {
        self.files().filter_map(|(_, path)| path.as_ref())
    }

    /// Whether the files can be written.
    pub(crate) fn check(&self, is_json: bool) -> Result<()> {
        for (option, path) in self.files() {
            if let Some(path) = path {
                check_output(path).with_context(|| format!("{option} {}", path.display()))?;
            }
        }
        anyhow::ensure!(
            !self.step || !(is_json || self.output_files().any(|path| is_standard(path))),
            "--step speaks on standard output: drop --json, and put other output into files"
        );
        Ok(())
    }

    /// Whether this program can be looked at, with its run time from there.
    pub(crate) fn check_program(&self, program: &Loadable, run_time: &[RunTime]) -> Result<()> {
        const OPTIONS: &str = "--profile, --folded, --coverage, --trace-program, --step";
        if !self.is_given() {
            return Ok(());
        }
        anyhow::ensure!(
            matches!(program, Loadable::Bpf(_)),
            "{OPTIONS}: only eBPF programs are looked at, and C source"
        );
        let is_measured = |said: &RunTime| matches!(said, RunTime::Measured | RunTime::Remote);
        anyhow::ensure!(
            !run_time.iter().any(is_measured),
            "{OPTIONS}: a program that is looked at takes much longer here; drop --run-time"
        );
        Ok(())
    }

    /// Begins to look.
    pub(crate) fn start(&self) -> Result<Debugging> {
        let profiled = self.profile || self.folded.is_some() || self.coverage.is_some();
        let profile = profiled.then(|| Shared::new(Profile::default()));
        let listing = match &self.trace_program {
            Some(path) => Some(Shared::new(Listing::new(path)?)),
            None => None,
        };
        Ok(Debugging { profile, listing, is_stepped: self.step })
    }

    /// Writes what was found out, and gives what the report has of it.
    pub(crate) fn finish(&self, found: &Debugging, cost: &CostTable) -> Result<Option<Found>> {
        if let Some(listing) = &found.listing {
            let path = self.trace_program.as_deref().unwrap_or_else(|| "-".as_ref());
            let finished = listing.lock().finish();
            finished.with_context(|| format!("--trace-program {}", path.display()))?;
        }
        let Some(profile) = &found.profile else { return Ok(None) };
        let profile = profile.lock();
        if let Some(path) = &self.folded {
            let written = write_all(path, profile.folded(cost).as_bytes());
            written.with_context(|| format!("--folded {}", path.display()))?;
        }
        if let Some(path) = &self.coverage {
            Coverage::of(&profile).write(path)?;
        }
        let found =
            Found { json: profile.to_json(cost), text: self.profile.then(|| profile.render(cost)) };
        Ok(Some(found))
    }
}

/// What the report has of a profile.
pub(crate) struct Found {
    pub(crate) json: Value,
    pub(crate) text: Option<String>,
}

/// Those who look at a run.
pub(crate) struct Debugging {
    profile: Option<Shared<Profile>>,
    listing: Option<Shared<Listing>>,
    is_stepped: bool,
}

impl Debugging {
    /// All of them, for the worker that runs programs.
    pub(crate) fn observer(&self) -> Box<dyn Observer> {
        let mut all: Vec<Box<dyn Observer>> = Vec::new();
        all.extend(self.profile.clone().map(|shared| Box::new(shared) as Box<dyn Observer>));
        all.extend(self.listing.clone().map(|shared| Box::new(shared) as Box<dyn Observer>));
        if self.is_stepped {
            all.push(Box::new(Stepping::default()));
        }
        Box::new(Several(all))
    }
}

#[derive(Debug)]
struct Several(Vec<Box<dyn Observer>>);

impl Observer for Several {
    fn begins(&mut self, program: &Program) {
        self.0.iter_mut().for_each(|one| one.begins(program));
    }

    fn step(&mut self, step: &Step<'_>) -> Result<(), StopRun> {
        self.0.iter_mut().try_for_each(|one| one.step(step))
    }

    fn ends(&mut self, outcome: &Outcome) {
        self.0.iter_mut().for_each(|one| one.ends(outcome));
    }
}

/// An observer that is asked, after the run, what it saw.
#[derive(Debug)]
pub(crate) struct Shared<T>(Arc<Mutex<T>>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Shared<T> {
    pub(crate) fn new(observer: T) -> Self {
        Self(Arc::new(Mutex::new(observer)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Observer> Observer for Shared<T> {
    fn begins(&mut self, program: &Program) {
        self.lock().begins(program);
    }

    fn step(&mut self, step: &Step<'_>) -> Result<(), StopRun> {
        self.lock().step(step)
    }

    fn ends(&mut self, outcome: &Outcome) {
        self.lock().ends(outcome);
    }
}

/// Where an instruction is: `file.c:12`, or the function and the instruction's number.
fn place(program: &Program, slot: u32) -> String {
    let location = program.location(slot);
    match location.source {
        Some((path, line)) => format!("{}:{line}", file_name(path)),
        None => format!("{}+{}", location.function, location.instruction),
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Source files, as far as they can be read.
#[derive(Debug, Default)]
struct Sources(std::collections::BTreeMap<String, Vec<String>>);

impl Sources {
    /// A line's text, without blanks around it; empty if nobody has it.
    fn line(&mut self, path: &str, line: u32) -> &str {
        let lines = self.0.entry(path.to_owned()).or_insert_with(|| {
            let text = std::fs::read(path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            text.lines().map(|line| report::printable(line.trim())).collect()
        });
        let line = (line as usize).checked_sub(1).and_then(|line| lines.get(line));
        line.map_or("", String::as_str)
    }
}

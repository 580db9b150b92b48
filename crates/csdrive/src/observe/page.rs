//! `csdrive report`: one run or several as a page.

use std::path::{Path, PathBuf};

use analysis::{Page, RunOnPage};
use anyhow::{Context, Result, anyhow};

use super::seen::{Seen, Source};
use crate::input::{is_standard, write_all};
use crate::report::tell;
use crate::{Outcome, usage};

/// A page for a browser, one file: latencies, where time went, throughput, utilisation; several runs are compared
///
/// RUN is a recorded run (--record), or the serial number of a live drive, which is looked at for a while.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Recorded runs (their folders), or a live drive's serial number
    #[arg(value_name = "RUN|SERIAL", required = true)]
    runs: Vec<PathBuf>,
    /// The page to write; - = standard output
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    output: PathBuf,
    /// What is written on top
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// How long a live drive is looked at
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = super::seen::seconds)]
    seconds: f64,
}

/// Runs on one page.
const RUNS_MAX: usize = 16;

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    if arguments.runs.len() > RUNS_MAX {
        return usage(Err(anyhow!("{} runs: a page has at most {RUNS_MAX}", arguments.runs.len())));
    }
    let mut runs = Vec::new();
    for path in &arguments.runs {
        let source = Source { source: path.clone(), seconds: arguments.seconds };
        let name = name_of(path, &arguments.runs);
        runs.push(source.see()?.on_page(name)?);
    }
    let title = arguments.title.clone().unwrap_or_else(|| {
        runs.iter().map(|run| run.name.as_str()).collect::<Vec<_>>().join(" and ")
    });
    usage(write(&title, &runs, &arguments.output))?;
    if !is_standard(&arguments.output) {
        tell!("csdrive: {}", arguments.output.display());
    }
    Ok(Outcome::Success)
}

/// How a run is called: by its folder, or, if others are called so, by its path.
fn name_of(path: &Path, all: &[PathBuf]) -> String {
    let folder = |path: &Path| match path.file_name().is_some_and(|name| name == "record.json") {
        true => path.parent().unwrap_or(path).to_owned(),
        false => path.to_owned(),
    };
    let mine = folder(path);
    let last = |path: &Path| path.file_name().map(std::ffi::OsStr::to_owned);
    let is_shared = all.iter().filter(|other| last(&folder(other)) == last(&mine)).count() > 1;
    let name = last(&mine).filter(|_| !is_shared);
    name.unwrap_or_else(|| mine.into_os_string()).to_string_lossy().into_owned()
}

/// Writes the page of a recorded run.
pub(crate) fn write_of(folder: &Path, title: &str, output: &Path) -> Result<()> {
    let run = Seen::recorded(folder)?.on_page(title.to_owned())?;
    write(title, &[run], output)
}

fn write(title: &str, runs: &[RunOnPage], output: &Path) -> Result<()> {
    let page = Page { title, runs }.html().map_err(anyhow::Error::msg)?;
    write_all(output, page.as_bytes()).with_context(|| output.display().to_string())
}

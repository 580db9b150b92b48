//! `csdrive test`: tests of programs, written in C with `csdrive_test.h`, each a run on the engine alone.

use std::path::PathBuf;

use anyhow::{Context, Result};
use client::ProgramImage;
use ebpf::{Engine, Invocation, Program, Worker};
use serde_json::json;

use crate::debug::{Coverage, Profile, Shared};
use crate::input::{check_output, is_standard};
use crate::report::{say, tell};
use crate::run::engines;
use crate::{Outcome, report, usage};

/// How functions begin that are tests (`CSD_TEST`).
const PREFIX: &str = "csd_test_";

/// Run tests of a program, written in C with csdrive_test.h
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// C source, or an object of one, with CSD_TEST(name) { ... }
    program: PathBuf,
    /// Run only tests whose names contain this
    #[arg(value_name = "NAME")]
    filter: Option<String>,
    /// What runs them; default: compute.engine
    #[arg(long, value_name = "ENGINE", value_parser = engines())]
    engine: Option<Engine>,
    /// Write which source lines ran how often (lcov's format); - = standard output
    #[arg(long, value_name = "FILE")]
    coverage: Option<PathBuf>,
    #[command(flatten)]
    sources: config::Sources,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What became of a test.
struct Ended {
    name: String,
    /// Why it failed; `None` if it passed.
    failure: Option<String>,
    printed: String,
    instructions: u64,
    ns: u64,
}

impl Ended {
    /// The first line of its report.
    fn headline(&self) -> String {
        let Self { name, failure, instructions, ns, .. } = self;
        let word = if failure.is_none() { "ok" } else { "FAILED" };
        let (count, time) = (report::grouped(*instructions), report::time(*ns));
        format!("test {name} ... {word} ({count} instructions, {time} on the drive)")
    }

    fn details(&self) -> Option<String> {
        let failure = self.failure.as_ref()?;
        let printed = report::printable(self.printed.trim_end()).replace('\n', "\n  ");
        Some(match printed.is_empty() {
            true => format!("  {failure}"),
            false => format!("  {printed}\n  {failure}"),
        })
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let Arguments { program, filter, coverage, json, .. } = arguments;
    if let Some(path) = coverage {
        let checked = check_output(path).with_context(|| format!("--coverage {}", path.display()));
        usage(checked)?;
        if *json && is_standard(path) {
            return usage(Err(anyhow::anyhow!(
                "standard output takes one of --json and --coverage -; put the other into a file"
            )));
        }
    }
    let loaded = usage(arguments.sources.load().map_err(Into::into))?;
    report::notes(&loaded.warnings);
    let config = usage(loaded.for_one_of_each().map_err(Into::into))?;
    let object = usage(bpf_clang::program_bytes(program).map_err(Into::into))?;
    if matches!(ProgramImage::of(&object), ProgramImage::Wasm { .. }) {
        return usage(Err(anyhow::anyhow!(
            "{}: a WebAssembly module; tests are C source with #include <csdrive_test.h>",
            program.display()
        )));
    }
    let named = |error| anyhow::anyhow!("{}: {error}", program.display());
    let functions = usage(ebpf::functions(&object).map_err(named))?;
    let tests: Vec<&str> = functions.iter().filter_map(|name| name.strip_prefix(PREFIX)).collect();
    if tests.is_empty() {
        return usage(Err(anyhow::anyhow!(
            "{}: no tests; write some with #include <csdrive_test.h> and CSD_TEST(name) {{ ... }}",
            program.display()
        )));
    }
    let wanted = |name: &&&str| filter.as_ref().is_none_or(|filter| name.contains(&**filter));
    let chosen: Vec<&str> = tests.iter().filter(wanted).copied().collect();
    if chosen.is_empty() {
        let all = tests.join(", ");
        return usage(Err(anyhow::anyhow!("no test has that in its name; there are: {all}")));
    }
    let mut covered = Coverage::default();
    let mut all = Vec::new();
    for name in &chosen {
        let ended = one(&object, name, arguments, &config, &mut covered);
        if !json && !coverage.as_deref().is_some_and(is_standard) {
            say!("{}", ended.headline());
            ended.details().iter().for_each(|text| say!("{text}"));
        } else if let Some(text) = ended.details() {
            tell!("{}\n{text}", ended.headline());
        }
        all.push(ended);
    }
    let failed = all.iter().filter(|ended| ended.failure.is_some()).count();
    let left_out = tests.len() - chosen.len();
    if let Some(path) = coverage {
        usage(covered.write(path))?;
    }
    if *json {
        let tests = all.iter().map(|ended| {
            json!({
                "name": ended.name, "passed": ended.failure.is_none(), "failure": ended.failure,
                "printed": ended.printed, "instructions": ended.instructions, "ns": ended.ns,
            })
        });
        let tests: Vec<_> = tests.collect();
        say!(
            "{:#}",
            json!({"format_version": 1, "failed": failed, "left_out": left_out, "tests": tests})
        );
    } else if !coverage.as_deref().is_some_and(is_standard) {
        let others = if left_out > 0 { format!(", {left_out} left out") } else { String::new() };
        say!("\n{} passed, {failed} failed{others}", all.len() - failed);
    }
    Ok(if failed == 0 { Outcome::Success } else { Outcome::ErrorStatus })
}

/// Runs a test.
fn one(
    object: &[u8],
    name: &str,
    arguments: &Arguments,
    config: &controller::Config,
    covered: &mut Coverage,
) -> Ended {
    let ended = |failure, printed, instructions, ns| Ended {
        name: name.to_owned(),
        failure,
        printed,
        instructions,
        ns,
    };
    let program = match Program::load(object, Some(&format!("{PREFIX}{name}"))) {
        Ok(program) => program,
        Err(error) => return ended(Some(format!("not loaded: {error}")), String::new(), 0, 0),
    };
    let mut worker = Worker::new(arguments.engine.unwrap_or(config.engine));
    let profile = arguments.coverage.is_some().then(|| Shared::new(Profile::default()));
    worker.observe(profile.clone().map(|shared| Box::new(shared) as _));
    let invocation = Invocation { budget: config.instruction_budget, ..Default::default() };
    let outcome = program.execute(&mut worker, &invocation);
    if let Some(profile) = profile {
        covered.add(&profile.lock());
    }
    let failure = match outcome.result {
        Ok(0) => None,
        Ok(failed) => Some(format!("{failed} checks failed")),
        Err(fault) => Some(fault.to_string()),
    };
    let work = compute::Work {
        instructions: outcome.counts.instructions,
        bytes: outcome.counts.bytes_loaded + outcome.counts.bytes_stored,
    };
    let printed = String::from_utf8_lossy(&outcome.trace).into_owned();
    ended(failure, printed, outcome.counts.total(), config.cost.time_for(&work).as_ns())
}

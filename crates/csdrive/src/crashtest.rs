//! `csdrive crashtest`: every state that a loss of power may leave, and a checker that looks at each.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ::crashtest::{
    Checker as _, CommandChecker, Crash, Failure, Kind, Options, Report, SearchError, State,
    Verdict, Workload,
};
use anyhow::{Context, Result, anyhow, ensure};
use history::Range;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::report::{bytes, grouped, printable, say, shell_quoted, tell, time};
use crate::{Outcome, usage};

/// Find states after a loss of power that software cannot stand
///
/// The workload is the history of a drive that was served with --history. For each moment at which power may go, states are made that
/// NVMe allows then: what was flushed is there, of everything else any part. The check is run on each: a command of the shell that finds the state in
/// the file $CSDRIVE_IMAGE, and in $CSDRIVE_MARKS a line for each mark that was made before (csdrive mark). It succeeds if all is well.
/// The exit code is 1 if a state fails; the first is made as small as it can be.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The history: csdrive serve --history FILE or csdrive vm --history FILE made it
    #[arg(long, value_name = "FILE")]
    workload: PathBuf,
    /// What looks at a state, for example 'e2fsck -fn $CSDRIVE_IMAGE'
    #[arg(long, value_name = "CMD", required_unless_present_any = ["save", "image"])]
    check: Option<String>,
    /// Power goes only after this mark was made the first time, for example after a file system is there
    #[arg(long, value_name = "MARK")]
    after: Option<String>,
    /// Power goes no later than when this mark was made the first time
    #[arg(long, value_name = "MARK")]
    until: Option<String>,
    /// The namespace of blocks [default: the first]
    #[arg(long, value_name = "NSID")]
    nsid: Option<u32>,
    /// What a loss of power does not tear, for example 512 or 16KiB [default: what the drive promises]
    #[arg(long, value_name = "SIZE", value_parser = config::parse_size)]
    atomic: Option<u64>,
    /// Different states to check at most; moments of which there are more are searched in part
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    states: u64,
    /// Of what is chosen at random
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Stop after so many moments at which a state fails
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    failures: u32,
    /// Checks at a time: a check that uses a place that others use, too, needs 1 [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// How long a check may take
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = config::parse_duration)]
    timeout: u64,
    /// Look at one state alone, as a failure names it
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Write the state of --state, or of the first failure, into a new file
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Instead of a check: is this, what a drive left after the whole history and a loss of power, one of the states?
    #[arg(long, value_name = "FILE", conflicts_with_all = ["check", "state", "save", "after", "until"])]
    image: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let workload = usage(read(arguments))?;
    if let Some(image) = &arguments.image {
        return look_at_image(arguments, &workload, image);
    }
    let jobs = arguments.jobs.map_or_else(processors, usize::from);
    let limit = Duration::from_nanos(arguments.timeout);
    let command = arguments.check.as_deref().unwrap_or("true");
    let stop = Arc::new(AtomicBool::new(false));
    for number in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(number, Arc::clone(&stop))?;
    }
    let checker = CommandChecker::new(command, jobs, limit, Arc::clone(&stop));
    let mut checker = usage(checker.map_err(Into::into))?;
    if let Some(name) = &arguments.state {
        return look_at(arguments, &workload, &mut checker, name);
    }
    usage(match arguments.check {
        Some(_) => Ok(()),
        None => Err(anyhow!("--save without --check: give --state, as a failure names it")),
    })?;
    if let Some(path) = arguments.save.as_ref().filter(|path| path.exists()) {
        let text = format!("--save {}: it is there already: choose a new file", path.display());
        return usage(Err(anyhow!(text)));
    }
    let report = search(arguments, &workload, &mut checker)?;
    if arguments.json {
        say!("{:#}", document(&workload, &report));
    } else {
        print(arguments, &workload, &report);
    }
    match (&arguments.save, report.failures.first()) {
        (Some(path), Some(failure)) => save(&workload, &failure.crash.state, path)?,
        (Some(path), None) => {
            tell!("csdrive: note: no state failed: {} is not written", path.display());
        }
        (None, _) => {}
    }
    Ok(if report.failures.is_empty() { Outcome::Success } else { Outcome::ErrorStatus })
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The workload of a history.
fn read(arguments: &Arguments) -> Result<Workload> {
    let path = &arguments.workload;
    let of = || format!("--workload {}", path.display());
    let history = history::read(path).with_context(of)?;
    if history.left_out > 0 {
        tell!(
            "csdrive: note: the last {} bytes of {} are half an event: the drive was stopped there",
            history.left_out,
            path.display()
        );
    }
    let mut workload =
        Workload::new(&history.events, arguments.nsid, arguments.atomic).with_context(of)?;
    if workload.ends_with_power_loss && arguments.image.is_none() {
        tell!("csdrive: note: the drive lost power itself: what came after that is left out");
    }
    if workload.left_out > 0 {
        tell!(
            "csdrive: note: namespace {} was made anew, by deleting and creating it or by a format to other blocks: {} writes of before are left out",
            workload.nsid(),
            workload.left_out
        );
    }
    if let Some(mark) = &arguments.after {
        workload.begin_after(mark).with_context(|| format!("--after {mark}"))?;
    }
    if let Some(mark) = &arguments.until {
        workload.end_with(mark).with_context(|| format!("--until {mark}"))?;
    }
    Ok(workload)
}

fn search(
    arguments: &Arguments,
    workload: &Workload,
    checker: &mut CommandChecker,
) -> Result<Report> {
    let style =
        ProgressStyle::with_template("{bar:40} {pos}/{len} states, {per_sec}, {eta} {msg}")?;
    let bar = ProgressBar::new(0).with_style(style);
    let options = Options {
        states: arguments.states,
        seed: arguments.seed,
        failures: arguments.failures as usize,
    };
    let found = ::crashtest::search(workload, checker, options, &mut |progress| {
        bar.set_length(progress.states_max);
        bar.set_position(progress.states);
        if progress.failures > 0 {
            bar.set_message(format!("{} failed", progress.failures));
        }
    });
    bar.finish_and_clear();
    match found {
        Err(error @ SearchError::Whole(_)) => usage(Err(error.into())),
        found => Ok(found?),
    }
}

/// Checks or saves one state.
fn look_at(
    arguments: &Arguments,
    workload: &Workload,
    checker: &mut CommandChecker,
    name: &str,
) -> Result<Outcome> {
    if let Some(path) = &arguments.save {
        save(workload, name, path)?;
    }
    let check = |state: &State<'_>| checker.check(std::slice::from_ref(state));
    let (verdicts, crash) =
        usage(::crashtest::with_state(workload, name, check).map_err(Into::into))?;
    let verdict = verdicts?.pop().unwrap_or(Verdict::Holds);
    let why = match verdict {
        Verdict::Holds => None,
        Verdict::Fails(why) => Some(why),
    };
    let holds = why.is_none();
    if arguments.json {
        let mut document = json!({ "format_version": 1, "holds": holds });
        document["state"] = crash_document(&crash);
        document["why"] = why.into();
        say!("{document:#}");
    } else {
        print_crash(&crash);
        match (why, &arguments.check) {
            (Some(why), _) => say!("  the check: {}", printable(&why)),
            (None, Some(_)) => say!("  the check succeeds"),
            (None, None) => {}
        }
    }
    Ok(if holds { Outcome::Success } else { Outcome::ErrorStatus })
}

fn save(workload: &Workload, name: &str, path: &Path) -> Result<()> {
    let (saved, _) = usage(
        ::crashtest::with_state(workload, name, |state| state.save(path)).map_err(Into::into),
    )?;
    usage(saved.with_context(|| format!("--save {}", path.display())))
}

/// Compares what a drive left with what it may leave.
fn look_at_image(arguments: &Arguments, workload: &Workload, path: &Path) -> Result<Outcome> {
    let of = || format!("--image {}", path.display());
    let open = || -> Result<std::fs::File> {
        let file = std::fs::File::open(path)?;
        let len = std::io::Seek::seek(&mut &file, std::io::SeekFrom::End(0))?;
        ensure!(
            len >= workload.bytes(),
            "it has {len} bytes, and namespace {} has {}: give all of them",
            workload.nsid(),
            workload.bytes()
        );
        Ok(file)
    };
    let file = usage(open().with_context(of))?;
    let left = workload.check_left(|start, bytes| file.read_exact_at(bytes, start));
    let illegal = usage(left.with_context(of))?.err();
    if arguments.json {
        let wrong = illegal
            .as_ref()
            .map(|wrong| json!({ "start": wrong.start, "bytes": wrong.len, "why": wrong.why }));
        say!("{:#}", json!({ "format_version": 1, "holds": illegal.is_none(), "illegal": wrong }));
    } else {
        match &illegal {
            None => say!("{}: a loss of power may leave this", path.display()),
            Some(wrong) => say!("{}: no loss of power may leave this: {wrong}", path.display()),
        }
    }
    Ok(if illegal.is_none() { Outcome::Success } else { Outcome::ErrorStatus })
}

fn document(workload: &Workload, report: &Report) -> Value {
    let failure = |failure: &Failure| {
        let mut document = crash_document(&failure.crash);
        document["why"] = failure.why.clone().into();
        document
    };
    json!({
        "format_version": 1,
        "workload": {
            "nsid": workload.nsid(),
            "bytes": workload.bytes(),
            "atomic_bytes": workload.atomic_bytes(),
            "writes": workload.write_count(),
            "flushes": workload.flush_count(),
            "marks": workload.marks().len(),
        },
        "moments": report.cuts,
        "moments_complete": report.complete,
        "moments_of_two_orders": report.two_orders,
        "states": report.states,
        "failures": report.failures.iter().map(failure).collect::<Vec<_>>(),
    })
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Write => "write",
        Kind::WriteZeroes => "write zeroes",
        Kind::Deallocate => "deallocate",
    }
}

fn crash_document(crash: &Crash) -> Value {
    let ranges = |ranges: &[Range]| -> Vec<Value> {
        ranges.iter().map(|range| json!({ "start": range.start, "bytes": range.len })).collect()
    };
    let pending = crash.pending.iter().map(|one| {
        json!({
            "number": one.number,
            "kind": kind(one.kind),
            "at_ns": one.at_ns,
            "acknowledged": one.is_acknowledged,
            "kept": ranges(&one.kept),
            "lost": ranges(&one.lost),
        })
    });
    json!({
        "state": crash.state,
        "begun": crash.begun,
        "marks": crash.marks,
        "last_mark": crash.last_mark,
        "flushes_under_way": crash.flushes_under_way,
        "pending": pending.collect::<Vec<_>>(),
    })
}

fn print(arguments: &Arguments, workload: &Workload, report: &Report) {
    say!(
        "{} writes, {} flushes, {} marks; power goes at {} moments, of which {} were searched completely; {} states checked",
        grouped(workload.write_count() as u64),
        grouped(workload.flush_count() as u64),
        grouped(workload.marks().len() as u64),
        grouped(report.cuts),
        grouped(report.complete),
        grouped(report.states)
    );
    if report.two_orders > 0 {
        say!(
            "at {} moments writes of the same blocks were under way together: NVMe promises no order of them, and that in which they began was tried",
            grouped(report.two_orders)
        );
    }
    if report.failures.is_empty() {
        say!("no state fails");
        return;
    }
    for failure in &report.failures {
        print_crash(&failure.crash);
        say!("  the check: {}", printable(&failure.why));
        say!("  again: {} --state {} --check ...", same(arguments), failure.crash.state);
    }
}

/// The command line that means the same states.
fn same(arguments: &Arguments) -> String {
    let path = arguments.workload.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    let path = if path.chars().all(is_plain) { path } else { shell_quoted(&path) };
    let nsid = arguments.nsid.map_or(String::new(), |nsid| format!(" --nsid {nsid}"));
    let atomic = arguments.atomic.map_or(String::new(), |bytes| format!(" --atomic {bytes}B"));
    format!("csdrive crashtest --workload {path}{nsid}{atomic}")
}

/// Changes that are shown of a state at most, all that lost something first.
const SHOWN: usize = 12;

fn print_crash(crash: &Crash) {
    let Crash { begun, marks, last_mark, pending, flushes_under_way, .. } = crash;
    let said = match last_mark {
        None => "nothing marked".to_owned(),
        Some(mark) => format!("mark {marks} was \"{}\"", printable(mark)),
    };
    say!("state {}: power goes after write {begun}; {said}", crash.state);
    let lost = pending.iter().filter(|one| !one.lost.is_empty()).count();
    say!(
        "  not durable: {} writes, of which {lost} lost something; {flushes_under_way} flushes under way",
        pending.len()
    );
    // What came just before and after what was lost says most.
    let first = pending.iter().position(|one| !one.lost.is_empty()).unwrap_or(0);
    let from = first.saturating_sub(2);
    for one in pending.iter().skip(from).take(SHOWN) {
        let told = if one.is_acknowledged { "acknowledged" } else { "under way" };
        let parts = |what: &str, ranges: &[Range]| match ranges {
            [] => String::new(),
            [first, rest @ ..] => {
                let more = match rest.len() {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                format!("{what} {} at {}{more}", bytes(first.len), first.start)
            }
        };
        let parts = [parts("kept", &one.kept), parts("LOST", &one.lost)];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        say!(
            "    {:>6} {:<12} at {:>10}, {told}: {}",
            one.number,
            kind(one.kind),
            time(one.at_ns),
            parts.join(", ")
        );
    }
    let hidden = pending.len() - pending.len().saturating_sub(from).min(SHOWN);
    if hidden > 0 {
        say!("    and {hidden} more (--json has all)");
    }
}

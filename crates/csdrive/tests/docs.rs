//! The commands in README and docs, pasted as they stand, in the order in which they stand, on a fresh drive.
//!
//! A block of commands says in its first line where they are run:
//!
//! - `sh`: on this machine, all of a page in one shell, in a folder that looks like the repository's root;
//! - `sh guest`: in one guest a page, with the repository as `/share` and `double.bpf.o` where it begins;
//! - `sh ci`: by `.ci/run` itself, which has the same lines (they build, or take long).
//!
//! Other blocks name another language. What cannot be run here is reported as ignored, with the reason.

#[path = "harness/lib.rs"]
mod harness;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use harness::{csdrive, root};
use libtest_mimic::{Arguments, Failed, Trial};

/// Pages with commands.
const PAGES: [&str; 23] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "examples/README.md",
    "crates/ebpf/README.md",
    "docs/configuration.md",
    "docs/conformance.md",
    "docs/crashes.md",
    "docs/debugging.md",
    "docs/experiments.md",
    "docs/femu.md",
    "docs/guest.md",
    "docs/host.md",
    "docs/json.md",
    "docs/observing.md",
    "docs/placement.md",
    "docs/zones.md",
    "docs/program-abi.md",
    "docs/python.md",
    "docs/storage.md",
    "docs/timing.md",
    "docs/validation.md",
    "docs/workloads.md",
];

/// Languages of blocks that are no commands.
const OTHERS: [&str; 7] = ["c", "python", "rust", "text", "toml", "json", "ini"];

/// Where a block is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Here,
    Guest,
    Ci,
}

/// A page's blocks of commands, in order; what is wrong with it, if so.
fn blocks(page: &str) -> Result<Vec<(Place, String)>, String> {
    let text = fs::read_to_string(root().join(page)).map_err(|error| format!("{page}: {error}"))?;
    let (mut blocks, mut open): (_, Option<(Option<Place>, String)>) = (Vec::new(), None);
    for (number, line) in (1..).zip(text.lines()) {
        let fence = line.trim_start().strip_prefix("```");
        open = match (open, fence) {
            (None, None) => None,
            (None, Some(language)) => match language.trim() {
                "sh" => Some((Some(Place::Here), String::new())),
                "sh guest" => Some((Some(Place::Guest), String::new())),
                "sh ci" => Some((Some(Place::Ci), String::new())),
                other if OTHERS.contains(&other) => Some((None, String::new())),
                other => return Err(format!("{page}:{number}: a block of what? {other:?}")),
            },
            (Some((place, commands)), None) => {
                Some((place, format!("{commands}{}\n", line.trim())))
            }
            (Some((place, commands)), Some(_)) => {
                blocks.extend(place.map(|place| (place, commands)));
                None
            }
        };
    }
    Ok(blocks)
}

fn of(page: &str, place: Place) -> Result<String, Failed> {
    let blocks = blocks(page)?.into_iter().filter(|(of, _)| *of == place);
    Ok(blocks.map(|(_, commands)| commands).collect())
}

fn expect(output: &Output) -> Result<(), Failed> {
    if output.status.success() {
        return Ok(());
    }
    let [out, errors] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    Err(format!("{}\n{out}\n{errors}", output.status).into())
}

/// Runs what a page does on this machine. Commands are shown as they run, so that a failure names its line.
fn here(page: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let link = |from: &Path, to: &str| std::os::unix::fs::symlink(from, folder.path().join(to));
    for name in ["crates", "docs", "examples", "experiments"] {
        link(&root().canonicalize()?.join(name), name)?;
    }
    fs::create_dir_all(folder.path().join("target/release"))?;
    link(Path::new(env!("CARGO_BIN_EXE_csdrive")), "target/release/csdrive")?;
    // The README says how csdrive comes to be on the path; other pages take it from there.
    let path = "export PATH=\"$PWD/target/release:$PATH\"";
    let script = format!("set -exo pipefail\n{path}\n{}", of(page, Place::Here)?);
    // Not into pipes: what a page that fails leaves running would hold them, and this would wait for ever.
    let [out, err] = ["stdout", "stderr"].map(|name| folder.path().join(format!(".{name}")));
    let mut shell = Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(fs::File::create(&out)?)
        .stderr(fs::File::create(&err)?)
        .process_group(0)
        .spawn()?;
    let status = shell.wait()?;
    let group = format!("-{}", shell.id());
    // There may be nobody left.
    let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
    expect(&Output { status, stdout: fs::read(&out)?, stderr: fs::read(&err)? })
}

fn guest(page: &str) -> Result<(), Failed> {
    let script = format!("set -exo pipefail\n{}", of(page, Place::Guest)?);
    let root = root().canonicalize()?.display().to_string();
    let object = format!("{root}/examples/programs/double.bpf.o");
    let vm = ["vm", "run", "--timeout", "600", "--share", &root, "--file", &object, "--"];
    let output = Command::new(env!("CARGO_BIN_EXE_csdrive"))
        .args(vm)
        .args(["bash", "-c", &script])
        .stdin(Stdio::null())
        .output()?;
    expect(&output)
}

/// Every line that `.ci/run` is said to run is in it, those of a block in their order.
fn ci(page: &str) -> Result<(), Failed> {
    let run = fs::read_to_string(root().join(".ci/run"))?;
    for (_, commands) in blocks(page)?.into_iter().filter(|(place, _)| *place == Place::Ci) {
        let mut rest: Vec<&str> = run.lines().map(str::trim).collect();
        for line in commands.lines() {
            let command = line.split("  #").next().unwrap_or_default().trim();
            let found = rest.iter().position(|there| *there == command);
            let at = found.ok_or_else(|| format!(".ci/run does not run (here): {command}"))?;
            rest.drain(..=at);
        }
    }
    Ok(())
}

/// Why a page's commands cannot be run here, if so.
///
/// # Panics
/// If there is no guest for another reason than that its parts cannot be fetched.
fn obstacle(page: &str, place: Place) -> Option<String> {
    let is_missing = |program: &str| Command::new(program).arg("--version").output().is_err();
    match place {
        Place::Here
            if ["README.md", "docs/debugging.md"].contains(&page) && is_missing("clang") =>
        {
            Some("no clang".to_owned())
        }
        Place::Guest => {
            let ran = csdrive(&["vm", "run", "--timeout", "600", "--", "true"]);
            if ran.code == 0 {
                return None;
            }
            let last = ran.stderr.lines().last().unwrap_or_default().to_owned();
            let is_excuse = ["apt-", "mirror", "Debian"].iter().any(|word| last.contains(word));
            assert!(is_excuse, "{}", ran.stderr);
            Some(last)
        }
        _ => None,
    }
}

fn main() {
    let mut arguments = Arguments::from_args();
    // Guests take what processors there are.
    arguments.test_threads = Some(1);
    let mut trials = Vec::new();
    for page in PAGES {
        let blocks = match blocks(page) {
            Ok(blocks) => blocks,
            Err(why) => {
                trials.push(Trial::test(page, move || Err(why.into())));
                continue;
            }
        };
        type Test = fn(&str) -> Result<(), Failed>;
        let places: [(&str, Place, Test); 3] =
            [("here", Place::Here, here), ("guest", Place::Guest, guest), ("ci", Place::Ci, ci)];
        for (name, place, test) in places {
            if !blocks.iter().any(|(of, _)| *of == place) {
                continue;
            }
            let name = format!("{page}/{name}");
            let why = if arguments.list { None } else { obstacle(page, place) };
            trials.push(match why {
                None => Trial::test(name, move || test(page)),
                Some(why) => Trial::test(format!("{name} (SKIPPED: {why})"), || Ok(()))
                    .with_ignored_flag(true),
            });
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

//! `csdrive sweep`: a command of csdrive for every combination of some settings, on all processors.
//!
//! Each point is a process of its own, so that one cannot disturb another, and its document is a line of the results file as soon as
//! it is there: a sweep that was interrupted, however it was, goes on where it stopped.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use analysis::{Chart, Line, svg};
use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::report::{self, say};
use crate::{Outcome, usage};

/// Run a command for every combination of settings, on all processors; it goes on where it was interrupted
///
/// csdrive sweep FILE.toml --vary job.reader.iodepth=1,2,4 --vary compute.units=1,2 --results depth.jsonl
///
/// csdrive sweep --vary compute.units=1,2,4 --vary compute.policy=fifo,priority --results units.jsonl -- run PROGRAM --input FILE
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A workload file, in place of a command
    #[arg(value_name = "FILE.toml", conflicts_with = "command")]
    file: Option<PathBuf>,
    /// A key and its values; repeatable: every combination is a point
    #[arg(long, value_name = "KEY=VALUE,...", required = true, value_parser = parse_axis)]
    vary: Vec<Axis>,
    /// A line for each point, as soon as it is there; points that are in it already are not run again
    #[arg(long, value_name = "FILE")]
    results: PathBuf,
    /// Write a table of all numbers of all points
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// What is shown of each point, by its place in the document, as jobs.reader.read.lat_ns.p99; default: result and time of run,
    /// operations per second, bandwidth and p99 of a workload's jobs
    #[arg(long, value_name = "PLACE,...", value_delimiter = ',')]
    show: Vec<String>,
    /// Draw what is shown, over the values of the first --vary
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Points at a time; default: one for each processor
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1024))]
    jobs: Option<u64>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// The command: one that takes --set and --json
    #[arg(last = true, required_unless_present = "file", value_name = "COMMAND")]
    command: Vec<String>,
}

/// A key, and what it is set to.
#[derive(Clone, Debug)]
struct Axis {
    key: String,
    values: Vec<String>,
}

fn parse_axis(text: &str) -> Result<Axis, String> {
    let wrong = || "write it as KEY=VALUE,VALUE, as in compute.units=1,2,4".to_owned();
    let (key, values) = text.split_once('=').ok_or_else(wrong)?;
    let values: Vec<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
    if key.is_empty() || values.iter().any(String::is_empty) {
        return Err(wrong());
    }
    Ok(Axis { key: key.trim().to_owned(), values })
}

/// Settings of a point: key and value, in the order of the axes.
type Settings = Vec<(String, String)>;

/// Most points of a sweep.
const POINTS_MAX: usize = 1_000_000;

/// Every combination, the last axis changing fastest.
fn points(axes: &[Axis]) -> Result<Vec<Settings>> {
    let count = axes.iter().try_fold(1usize, |all, axis| all.checked_mul(axis.values.len()));
    let count = count.filter(|count| *count <= POINTS_MAX);
    let count = count.with_context(|| format!("more than {POINTS_MAX} points: vary less"))?;
    for (n, axis) in axes.iter().enumerate() {
        let is_twice = axes[..n].iter().any(|other| other.key == axis.key);
        ensure!(!is_twice, "--vary {}: given twice; join the values", axis.key);
    }
    let point = |mut n: usize| {
        let mut settings: Settings = axes
            .iter()
            .rev()
            .map(|axis| {
                let value = axis.values[n % axis.values.len()].clone();
                n /= axis.values.len();
                (axis.key.clone(), value)
            })
            .collect();
        settings.reverse();
        settings
    };
    Ok((0..count).map(point).collect())
}

/// What came of points, by their settings as text.
type Done = BTreeMap<String, Value>;

/// The results file.
struct Results {
    file: File,
    done: Done,
}

impl Results {
    /// Opens the file, or makes it, and reads what other runs of the same command left there.
    fn open(path: &Path, command: &[String], inputs: &str) -> Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .with_context(|| format!("--results {}", path.display()))?;
        let mut text = String::new();
        file.read_to_string(&mut text).with_context(|| format!("--results {}", path.display()))?;
        // A line without an end was being written when the process was killed.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            file.set_len(whole as u64)?;
            file.seek(SeekFrom::End(0))?;
        }
        let mut done = Done::new();
        for (n, line) in text[..whole].lines().enumerate() {
            let place = || format!("--results {}, line {}", path.display(), n + 1);
            let line: Value = serde_json::from_str(line).with_context(place)?;
            ensure!(
                line["command"] == json!(command),
                "{}: of another command: {}; choose another file",
                place(),
                line["command"]
            );
            ensure!(
                line["inputs"] == inputs,
                "{}: a file that the command reads has changed since; choose another file for the results",
                place()
            );
            done.insert(key_of(&line["settings"]), line);
        }
        Ok(Self { file, done })
    }

    fn add(&mut self, line: Value) -> Result<()> {
        writeln!(self.file, "{line}").context("--results")?;
        self.done.insert(key_of(&line["settings"]), line);
        Ok(())
    }
}

fn key_of(settings: &Value) -> String {
    settings.to_string()
}

fn document_of(settings: &Settings) -> Value {
    let fields = settings.iter().map(|(key, value)| (key.clone(), json!(value)));
    Value::Object(fields.collect::<Map<_, _>>())
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let points = usage(points(&arguments.vary))?;
    let command = match &arguments.file {
        Some(file) => vec!["workload".to_owned(), file.display().to_string()],
        None => arguments.command.clone(),
    };
    usage(check_command(&command))?;
    let inputs = inputs(&command);
    let results = usage(Results::open(&arguments.results, &command, &inputs))?;
    let left: Vec<&Settings> = points
        .iter()
        .filter(|settings| !results.done.contains_key(&key_of(&document_of(settings))))
        .collect();
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} points, {eta} left")?;
    let bar = ProgressBar::new(points.len() as u64).with_style(style);
    bar.set_position((points.len() - left.len()) as u64);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = arguments.jobs.map_or(processors, |jobs| jobs as usize);
    let results = Mutex::new(results);
    let (next, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || -> Result<()> {
        while !is_over.load(Ordering::Relaxed)
            && let Some(settings) = left.get(next.fetch_add(1, Ordering::Relaxed))
        {
            let line = point(&command, &inputs, settings)
                .and_then(|line| results.lock().expect("nobody panics").add(line));
            // One that cannot be run at all: neither can the others.
            if line.is_err() {
                is_over.store(true, Ordering::Relaxed);
            }
            line?;
            bar.inc(1);
        }
        Ok(())
    };
    let worked: Result<()> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs.min(left.len())).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("nobody panics"))
    });
    bar.finish_and_clear();
    usage(worked)?;
    let Results { done, .. } = results.into_inner().expect("nobody panics");
    // In the order of the grid, whatever the order in which they ended.
    let lines: Vec<&Value> =
        points.iter().map(|settings| &done[&key_of(&document_of(settings))]).collect();
    if let Some(path) = &arguments.csv {
        let written = std::fs::write(path, table(&lines));
        usage(written.with_context(|| format!("--csv {}", path.display())))?;
    }
    if arguments.json {
        let points: Vec<Value> = lines
            .iter()
            .map(|line| {
                json!({ "settings": line["settings"], "exit": line["exit"], "document": line["document"] })
            })
            .collect();
        say!("{:#}", json!({ "format_version": 1, "points": points }));
    }
    let show = match lines.first() {
        Some(line) if arguments.show.is_empty() => shown(&line["document"]),
        _ => arguments.show.clone(),
    };
    if !arguments.json {
        print(&arguments.vary, &show, &lines);
    }
    if let Some(path) = &arguments.plot {
        let drawn = draw(&arguments.vary, &show, &lines, path);
        usage(drawn.with_context(|| format!("--plot {}", path.display())))?;
    }
    let is_success = lines.iter().all(|line| line["exit"] == 0);
    Ok(if is_success { Outcome::Success } else { Outcome::ErrorStatus })
}

/// What identifies the contents of all files that a command names, and of those that a workload file names.
fn inputs(command: &[String]) -> String {
    let mut hash = Sha256::new();
    let mut add = |path: &Path| -> Option<String> {
        let bytes = path.is_file().then(|| std::fs::read(path).ok())??;
        hash.update(path.as_os_str().as_encoded_bytes());
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(&bytes);
        String::from_utf8(bytes).ok()
    };
    for word in command {
        let path = Path::new(word);
        let Some(text) = add(path) else { continue };
        if command.first().is_some_and(|first| first == "workload")
            && let Ok(table) = text.parse::<toml::Table>()
        {
            let folder = path.parent().unwrap_or(Path::new(""));
            let mut named = Vec::new();
            texts(&toml::Value::Table(table), &mut named);
            named.iter().for_each(|name| drop(add(&folder.join(name))));
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All texts in a value.
fn texts(value: &toml::Value, all: &mut Vec<String>) {
    match value {
        toml::Value::String(text) => all.push(text.clone()),
        toml::Value::Array(list) => list.iter().for_each(|value| texts(value, all)),
        toml::Value::Table(table) => table.values().for_each(|value| texts(value, all)),
        _ => {}
    }
}

/// Commands that have settings, and print a document.
fn check_command(command: &[String]) -> Result<()> {
    let words: Vec<&str> = command.iter().take(2).map(String::as_str).collect();
    ensure!(
        matches!(words.as_slice(), ["run" | "demo" | "workload", ..] | ["bench", "streaming"]),
        "{}: a sweep is over run, demo, workload or bench streaming",
        words.join(" ")
    );
    let is_ours = |word: &&String| {
        *word == "--json" || ["--output", "--trace", "--csv", "--plot"].contains(&word.as_str())
    };
    if let Some(word) = command.iter().find(is_ours) {
        bail!(
            "{word}: leave it out: each point's document goes to the results file, and there is no place for other files"
        );
    }
    Ok(())
}

/// Runs a point; its line of the results file.
fn point(command: &[String], inputs: &str, settings: &Settings) -> Result<Value> {
    let mut process = Command::new("/proc/self/exe");
    process.args(command).arg("--json").stdin(Stdio::null());
    for (key, value) in settings {
        process.arg("--set").arg(format!("{key}={value}"));
    }
    let output = process.output().context("csdrive itself")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    let said = errors.trim().strip_prefix("csdrive: ").unwrap_or(errors.trim()).to_owned();
    let document: Option<Value> = serde_json::from_slice(&output.stdout).ok();
    let at = || {
        settings.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
    };
    match (output.status.code(), document) {
        (Some(exit @ (0 | 1)), Some(document)) => Ok(json!({
            "command": command, "inputs": inputs, "settings": document_of(settings), "exit": exit, "document": document,
        })),
        (Some(_), _) => bail!("{}: {said}", at()),
        (None, _) => bail!("{}: csdrive was ended ({})", at(), output.status),
    }
}

/// What is shown of a document, unless it is said.
fn shown(document: &Value) -> Vec<String> {
    let Some(jobs) = document["jobs"].as_array() else {
        return vec!["result".to_owned(), "time_ns.total".to_owned()];
    };
    let mut places = Vec::new();
    for job in jobs {
        let name = job["jobname"].as_str().unwrap_or_default();
        let is_used = |kind: &&str| job[*kind]["total_ios"].as_u64() > Some(0);
        for kind in ["read", "write", "execute"].into_iter().filter(is_used) {
            let of = |what| format!("jobs.{name}.{kind}.{what}");
            places.extend(["iops", "bw_bytes", "lat_ns.p99"].map(of));
        }
    }
    places
}

/// The value at a place of a document. Elements of lists have numbers and, where they have names, those; percentiles are also p50, p99.
fn find<'a>(document: &'a Value, place: &str) -> Option<&'a Value> {
    let (name, rest) = place.split_once('.').unwrap_or((place, ""));
    let percentile = || {
        let percent: f64 = place.strip_prefix('p')?.parse().ok()?;
        document.get("percentile")?.get(format!("{percent:.6}"))
    };
    let found = match document {
        Value::Array(list) => {
            let is_named = |value: &&Value| {
                let names = ["jobname", "name", "tenant", "serial"];
                names.iter().any(|key| value[*key].as_str() == Some(name))
            };
            let number = || name.parse::<usize>().ok();
            list.iter().find(is_named).or_else(|| list.get(number()?))
        }
        value => value.get(name),
    };
    match found {
        None => percentile(),
        Some(value) if rest.is_empty() => Some(value),
        Some(value) => find(value, rest),
    }
}

/// What is at a place of a document, as text.
fn at(document: &Value, place: &str) -> String {
    match find(document, place) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

/// A chart for each thing that is shown; a line for each combination of the values of all axes but the first.
fn draw(axes: &[Axis], show: &[String], lines: &[&Value], path: &Path) -> Result<()> {
    let charts = show.iter().map(|place| chart(axes, place, lines)).collect::<Result<Vec<_>>>()?;
    let text = svg(&charts).map_err(anyhow::Error::msg)?;
    Ok(std::fs::write(path, text)?)
}

fn chart<'a>(axes: &'a [Axis], place: &'a str, lines: &[&Value]) -> Result<Chart<'a>> {
    let (first, others) = axes.split_first().context("nothing varies")?;
    let (scale, unit) = match place {
        place if place.contains("_ns") => (1e3, "us"),
        place if place.contains("bw_bytes") || place.contains("bytes_per_s") => (1e6, "MB/s"),
        place if place.contains("bytes") => (1e6, "MB"),
        _ => (1.0, ""),
    };
    let mut drawn: Vec<Line> = Vec::new();
    for line in lines {
        let settings = &line["settings"];
        let of = |axis: &Axis| format!("{} {}", short(&axis.key), at_key(settings, &axis.key));
        let name = others.iter().map(of).collect::<Vec<_>>().join(", ");
        let value = at_key(settings, &first.key);
        let x = first.values.iter().position(|other| *other == value).unwrap_or(0) as f64;
        let Some(y) = find(&line["document"], place).and_then(Value::as_f64) else { continue };
        let y = y / scale;
        match drawn.iter_mut().find(|line| line.name == name) {
            Some(line) => line.points.push((x, y)),
            None => drawn.push(Line { name, points: vec![(x, y)] }),
        }
    }
    ensure!(!drawn.is_empty(), "{place}: no point has a number there; name it with --show");
    let values = || drawn.iter().flat_map(|line| &line.points).map(|(_, y)| *y);
    let (low, high) = (values().fold(f64::MAX, f64::min), values().fold(0.0, f64::max));
    Ok(Chart {
        title: place,
        x: &first.key,
        y: unit,
        is_log: low > 0.0 && high > 30.0 * low,
        lines: drawn,
        ticks: first.values.clone(),
    })
}

/// The last two parts of a key.
fn short(key: &str) -> &str {
    key.rmatch_indices('.').nth(1).map_or(key, |(at, _)| &key[at + 1..])
}

/// For people.
fn print(axes: &[Axis], show: &[String], lines: &[&Value]) {
    let heads = axes.iter().map(|axis| axis.key.clone()).chain(show.iter().cloned());
    let row = |line: &&Value| -> Vec<String> {
        let settings = axes.iter().map(|axis| at_key(&line["settings"], &axis.key));
        settings.chain(show.iter().map(|place| at(&line["document"], place))).collect()
    };
    let table: Vec<Vec<String>> =
        std::iter::once(heads.collect()).chain(lines.iter().map(row)).collect();
    report::table(&table, 0);
}

/// A setting, whose key has dots.
fn at_key(settings: &Value, key: &str) -> String {
    settings[key].as_str().unwrap_or("-").to_owned()
}

/// All numbers and texts of all documents, a column for each place at which some document has one.
fn table(lines: &[&Value]) -> String {
    let rows: Vec<BTreeMap<String, String>> = lines
        .iter()
        .map(|line| {
            let mut cells = BTreeMap::new();
            flatten(&line["document"], "", &mut cells);
            cells
        })
        .collect();
    let mut columns: Vec<&String> = rows.iter().flat_map(BTreeMap::keys).collect();
    columns.sort_unstable();
    columns.dedup();
    let keys: Vec<&String> = lines
        .first()
        .and_then(|line| line["settings"].as_object())
        .into_iter()
        .flat_map(Map::keys)
        .collect();
    let mut text = keys
        .iter()
        .chain(&columns)
        .map(|head| report::csv_cell(head))
        .collect::<Vec<_>>()
        .join(",");
    text.push('\n');
    for (line, row) in lines.iter().zip(&rows) {
        let settings = keys.iter().map(|key| report::csv_cell(&at_key(&line["settings"], key)));
        let cells = columns
            .iter()
            .map(|column| row.get(*column).map_or_else(String::new, |cell| report::csv_cell(cell)));
        let _ = writeln!(text, "{}", settings.chain(cells).collect::<Vec<_>>().join(","));
    }
    text
}

/// Numbers and texts of a document by their places.
fn flatten(value: &Value, place: &str, cells: &mut BTreeMap<String, String>) {
    let below =
        |name: &str| if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                flatten(value, &below(name), cells);
            }
        }
        Value::Array(list) => {
            for (n, value) in list.iter().enumerate() {
                flatten(value, &below(&n.to_string()), cells);
            }
        }
        Value::Null => {}
        Value::String(text) => drop(cells.insert(place.to_owned(), text.clone())),
        value => drop(cells.insert(place.to_owned(), value.to_string())),
    }
}

//! `csdrive compare`: what became slower or faster from one run to another, and where.

use std::path::PathBuf;

use analysis::{Change, Comparison};
use anyhow::Result;
use recording::Provenance;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::seen::Seen;
use crate::Outcome;
use crate::report::{printable, say, table, time};

/// What changed from one recorded run to another: which commands, and in which stage; and what was different in what was run
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The first recorded run
    #[arg(value_name = "A")]
    before: PathBuf,
    /// The second
    #[arg(value_name = "B")]
    after: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// The document.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Document {
    /// 1.
    format_version: u32,
    /// True if the same happened in all drives of both.
    same_trace: Option<bool>,
    /// What was run differently.
    differences: Vec<Difference>,
    /// Drive by drive.
    drives: Vec<OfDrive>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Difference {
    what: String,
    before: String,
    after: String,
}

#[derive(Debug, Serialize, JsonSchema)]
struct OfDrive {
    serial: String,
    elapsed_ns: [u64; 2],
    #[serde(flatten)]
    comparison: Comparison,
    explanations: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let (a, b) = (Seen::recorded(&arguments.before)?, Seen::recorded(&arguments.after)?);
    let (differences, same_trace) = match (a.provenance(), b.provenance()) {
        (Some(a), Some(b)) => (differences(a, b), same_trace(a, b)),
        _ => (Vec::new(), None),
    };
    let pairs = a.drives()?.into_iter().zip(b.drives()?);
    let drives = pairs.map(|((before, _), (after, _))| {
        let comparison = Comparison::of(&before, &after);
        OfDrive {
            serial: before.serial.clone(),
            elapsed_ns: [before.elapsed_ns, after.elapsed_ns],
            explanations: comparison.commands.iter().map(Change::explanation).collect(),
            comparison,
        }
    });
    let document =
        Document { format_version: 1, same_trace, differences, drives: drives.collect() };
    if arguments.json {
        say!("{}", serde_json::to_string_pretty(&document)?);
    } else {
        print(&document);
    }
    Ok(Outcome::Success)
}

/// Whether the same happened; nothing if a run does not tell.
pub(super) fn same_trace(a: &Provenance, b: &Provenance) -> Option<bool> {
    let hashes = |run: &Provenance| -> Option<Vec<String>> {
        let all = run.drives.iter().map(|drive| drive.trace_hash.clone());
        all.collect::<Option<Vec<_>>>().filter(|all| !all.is_empty())
    };
    Some(hashes(a)? == hashes(b)?)
}

/// What was run differently, but for what must differ.
fn differences(a: &Provenance, b: &Provenance) -> Vec<Difference> {
    let mut all = Vec::new();
    let mut look = |what: &str, before: String, after: String| {
        if before != after {
            all.push(Difference { what: what.to_owned(), before, after });
        }
    };
    look("command", a.command.join(" "), b.command.join(" "));
    look("csdrive", a.csdrive.clone(), b.csdrive.clone());
    look("seed", a.seed.to_string(), b.seed.to_string());
    look("clock", a.clock.clone(), b.clock.clone());
    look("drives", a.drives.len().to_string(), b.drives.len().to_string());
    for (n, (before, after)) in a.drives.iter().zip(&b.drives).enumerate() {
        let mut keys: Vec<&String> = before.config.keys().chain(after.config.keys()).collect();
        keys.sort();
        keys.dedup();
        let value = |of: &serde_json::Map<String, Value>, key: &String| {
            of.get(key).map_or_else(
                || "-".to_owned(),
                |value| match value {
                    Value::String(text) => text.clone(),
                    value => value.to_string(),
                },
            )
        };
        for key in keys {
            let what = if a.drives.len() > 1 { format!("drive {n}: {key}") } else { key.clone() };
            look(&what, value(&before.config, key), value(&after.config, key));
        }
    }
    for before in &a.inputs {
        if let Some(after) = b.inputs.iter().find(|after| after.path == before.path) {
            look(&before.path.display().to_string(), before.sha256.clone(), after.sha256.clone());
        }
    }
    look("machine", a.host.processor.clone(), b.host.processor.clone());
    all
}

fn print(document: &Document) {
    if document.same_trace == Some(true) {
        say!("The same happened in both, at the same times.");
    }
    if !document.differences.is_empty() {
        let mut rows = vec![["what", "A", "B"].map(str::to_owned).to_vec()];
        for Difference { what, before, after } in &document.differences {
            rows.push(vec![what.clone(), before.clone(), after.clone()]);
        }
        table(&rows, 3);
        say!("");
    }
    for drive in &document.drives {
        let [before, after] = drive.elapsed_ns;
        say!("{}: {} -> {}", printable(&drive.serial), time(before), time(after));
        let mut rows = vec![
            ["command", "count", "", "mean", "", "p50", "", "p99", ""].map(str::to_owned).to_vec(),
        ];
        for change in &drive.comparison.commands {
            let mut row = vec![change.name.clone()];
            row.extend(change.count.map(|n| n.to_string()));
            row.extend(change.mean_ns.map(|ns| time(ns as u64)));
            row.extend(change.p50_ns.map(time));
            row.extend(change.p99_ns.map(time));
            rows.push(row);
        }
        table(&rows, 1);
        say!("");
        drive.explanations.iter().for_each(|text| say!("{text}"));
        for (names, run) in
            [(&drive.comparison.only_before, "A"), (&drive.comparison.only_after, "B")]
        {
            if !names.is_empty() {
                say!("Only in {run}: {}", names.join(", "));
            }
        }
    }
}

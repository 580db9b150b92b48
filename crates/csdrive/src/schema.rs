//! `csdrive schema`: JSON Schemas of documents, made of the types that the documents are made of.

use anyhow::Result;
use schemars::{Schema, schema_for};

use crate::Outcome;
use crate::observe::{compare, stat};
use crate::report::say;

/// Print the JSON Schema of a document: what a program can rely on
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// workload, stat, compare: what these commands print with --json; record: the record.json of a recorded run
    #[arg(value_name = "DOCUMENT", value_parser = ["workload", "stat", "compare", "record"])]
    document: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let schema: Schema = match &*arguments.document {
        "workload" => schema_for!(workload::Report),
        "stat" => schema_for!(stat::Document),
        "compare" => schema_for!(compare::Document),
        _ => schema_for!(recording::Provenance),
    };
    say!("{}", serde_json::to_string_pretty(&schema)?);
    Ok(Outcome::Success)
}

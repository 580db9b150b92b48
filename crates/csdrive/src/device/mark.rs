//! `csdrive mark`: the host says how far it has come.

use anyhow::Result;
use serde_json::json;

use super::Target;
use crate::Outcome;
use crate::report::say;

/// Put a mark into the history that a drive keeps (csdrive serve --history): the checker of csdrive crashtest sees what was said before
/// the crash
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// What to say, for example "order 17 is acknowledged": at most 4096 bytes
    #[arg(value_name = "TEXT")]
    text: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let text = &arguments.text;
    arguments.target.perform(
        |drive| drive.mark(text),
        |()| json!({ "marked": text }),
        |()| say!("marked: {text}"),
    )
}

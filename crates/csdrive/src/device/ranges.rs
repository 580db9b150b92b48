//! `csdrive ranges`: the memory range sets of a drive.

use anyhow::Result;
use serde_json::json;

use super::Target;
use crate::Outcome;
use crate::input::parse_range;
use crate::report::say;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Create a set, and print its identifier
    Create {
        /// A range, as START:LENGTH in bytes of device memory; repeatable, in the program's order
        #[arg(short, long, value_name = "START:LENGTH", required = true, value_parser = parse_range)]
        range: Vec<(u64, u32)>,
        #[command(flatten)]
        target: Target,
    },
    /// Which sets there are
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Delete a set
    Delete {
        /// Its identifier
        #[arg(short, long, value_name = "N")]
        id: u16,
        #[command(flatten)]
        target: Target,
    },
}

pub(crate) fn run(command: &Command) -> Result<Outcome> {
    match command {
        Command::Create { range, target } => target.perform(
            |drive| drive.create_range_set(range),
            |id| json!({ "id": id }),
            |id| say!("{id}"),
        ),
        Command::List { target } => target.perform(
            |drive| drive.range_sets(),
            |sets| {
                let range =
                    |&(start, length): &(u64, u32)| json!({ "start": start, "length": length });
                let set = |set: &client::RangeSetInfo| {
                    let ranges: Vec<_> = set.ranges.iter().map(range).collect();
                    json!({ "id": set.id, "in_use": set.is_in_use, "ranges": ranges })
                };
                json!({ "sets": sets.iter().map(set).collect::<Vec<_>>() })
            },
            |sets| {
                say!("{:>6}  {:<7} ranges", "id", "in use");
                for set in sets {
                    let in_use = if set.is_in_use { "yes" } else { "no" };
                    let ranges: Vec<_> =
                        set.ranges.iter().map(|(start, len)| format!("{start:#x}:{len}")).collect();
                    say!("{:>6}  {in_use:<7} {}", set.id, ranges.join(" "));
                }
            },
        ),
        Command::Delete { id, target } => target.perform(
            |drive| drive.delete_range_set(*id),
            |()| json!({ "id": id, "deleted": true }),
            |()| say!("range set {id}: deleted"),
        ),
    }
}

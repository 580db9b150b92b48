//! `csdrive group`: the job groups of a drive.

use anyhow::Result;
use client::GroupInfo;
use controller::limits::GROUP_WEIGHT_MAX;
use serde_json::json;

use super::Target;
use crate::Outcome;
use crate::report::say;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Create a group, and print its identifier
    Create {
        /// Its share of unit time is this, divided by the weights of all groups that have jobs (1 to 1000)
        #[arg(short, long, value_name = "N", default_value_t = compute::DEFAULT_WEIGHT, value_parser = weight())]
        weight: u16,
        #[command(flatten)]
        target: Target,
    },
    /// Which groups there are, and how much unit time their jobs had
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Give a group another weight
    Change {
        /// Its identifier; 0 = the jobs of no group
        #[arg(short, long, value_name = "N")]
        id: u8,
        /// The weight, 1 to 1000
        #[arg(short, long, value_name = "N", value_parser = weight())]
        weight: u16,
        #[command(flatten)]
        target: Target,
    },
    /// Delete a group that has no jobs
    Delete {
        /// Its identifier
        #[arg(short, long, value_name = "N")]
        id: u8,
        #[command(flatten)]
        target: Target,
    },
}

fn weight() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..=GROUP_WEIGHT_MAX.into())
}

pub(crate) fn run(command: &Command) -> Result<Outcome> {
    match command {
        Command::Create { weight, target } => target.perform(
            |drive| drive.create_group(*weight),
            |id| json!({ "id": id, "weight": weight }),
            |id| say!("{id}"),
        ),
        Command::List { target } => target.perform(
            |drive| drive.groups(),
            |groups| {
                let document = |group: &GroupInfo| {
                    json!({
                        "id": group.id, "weight": group.weight, "jobs": group.jobs,
                        "finished": group.finished, "ran_ns": group.ran_ns,
                    })
                };
                json!({ "groups": groups.iter().map(document).collect::<Vec<_>>() })
            },
            |groups| {
                say!(
                    "{:>6}  {:>6}  {:>8}  {:>12}  {:>16}",
                    "id",
                    "weight",
                    "jobs",
                    "finished",
                    "unit time, ns"
                );
                for group in groups {
                    let GroupInfo { id, weight, jobs, finished, ran_ns } = group;
                    say!("{id:>6}  {weight:>6}  {jobs:>8}  {finished:>12}  {ran_ns:>16}");
                }
            },
        ),
        Command::Change { id, weight, target } => target.perform(
            |drive| drive.change_group(*id, *weight),
            |()| json!({ "id": id, "weight": weight }),
            |()| say!("group {id}: weight {weight}"),
        ),
        Command::Delete { id, target } => target.perform(
            |drive| drive.delete_group(*id),
            |()| json!({ "id": id, "deleted": true }),
            |()| say!("group {id}: deleted"),
        ),
    }
}

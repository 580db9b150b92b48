//! `csdrive group`: the job groups of a drive.

use anyhow::Result;
use client::{GroupInfo, GroupOptions};
use compute::PRIORITY_MAX;
use controller::limits::GROUP_WEIGHT_MAX;
use serde_json::{Value, json};

use super::Target;
use crate::Outcome;
use crate::input::deadline_us;
use crate::report::say;

/// What the jobs of a group may claim.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Its share of unit time is this, divided by the weights of all groups that have jobs (1 to 1000)
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=GROUP_WEIGHT_MAX.into()))]
    weight: Option<u16>,
    /// 1 to 9, the most urgent; counts with compute.policy = priority, and for slices with compute.slice_by_priority
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=PRIORITY_MAX.into()))]
    priority: Option<u8>,
    /// Jobs are to be finished so long after they were submitted, for example 500us; 0us = no deadline. Counts with
    /// compute.policy = earliest-deadline
    #[arg(short, long, value_name = "TIME", value_parser = deadline_us)]
    deadline: Option<u32>,
}

impl Options {
    /// These options, and those of another where nothing is said.
    fn or(&self, other: GroupOptions) -> GroupOptions {
        GroupOptions {
            weight: self.weight.unwrap_or(other.weight),
            priority: self.priority.unwrap_or(other.priority),
            deadline_us: self.deadline.unwrap_or(other.deadline_us),
        }
    }
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Create a group, and print its identifier
    Create {
        #[command(flatten)]
        options: Options,
        #[command(flatten)]
        target: Target,
    },
    /// Which groups there are, how much unit time their jobs had, and how many finished after their deadline
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Give a group another weight, priority or deadline; what is not said stays
    Change {
        /// Its identifier; 0 = the jobs of no group
        #[arg(short, long, value_name = "N")]
        id: u8,
        #[command(flatten)]
        options: Options,
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

fn document(id: u8, options: &GroupOptions) -> Value {
    let GroupOptions { weight, priority, deadline_us } = options;
    json!({ "id": id, "weight": weight, "priority": priority, "deadline_us": deadline_us })
}

pub(crate) fn run(command: &Command) -> Result<Outcome> {
    match command {
        Command::Create { options, target } => {
            let options = options.or(GroupOptions::default());
            target.perform(
                |drive| drive.create_group(&options),
                |id| document(*id, &options),
                |id| say!("{id}"),
            )
        }
        Command::List { target } => target.perform(
            |drive| drive.groups(),
            |groups| {
                let document = |group: &GroupInfo| {
                    let mut document = document(group.id, &group.options);
                    document["jobs"] = group.jobs.into();
                    document["finished"] = group.finished.into();
                    document["missed"] = group.missed.into();
                    document["ran_ns"] = group.ran_ns.into();
                    document
                };
                json!({ "groups": groups.iter().map(document).collect::<Vec<_>>() })
            },
            |groups| {
                say!(
                    "{:>6}  {:>6}  {:>8}  {:>12}  {:>8}  {:>12}  {:>12}  {:>16}",
                    "id",
                    "weight",
                    "priority",
                    "deadline, us",
                    "jobs",
                    "finished",
                    "missed",
                    "unit time, ns"
                );
                for group in groups {
                    let GroupInfo { id, options, jobs, finished, ran_ns, missed } = group;
                    let GroupOptions { weight, priority, deadline_us } = options;
                    let deadline = match deadline_us {
                        0 => "-".to_owned(),
                        us => us.to_string(),
                    };
                    say!(
                        "{id:>6}  {weight:>6}  {priority:>8}  {deadline:>12}  {jobs:>8}  {finished:>12}  {missed:>12}  {ran_ns:>16}"
                    );
                }
            },
        ),
        Command::Change { id, options, target } => target.perform(
            |drive| {
                let now = drive.groups()?.into_iter().find(|group| group.id == *id);
                // The drive refuses a group that there is not.
                let options = options.or(now.map(|group| group.options).unwrap_or_default());
                drive.change_group(*id, &options).map(|()| options)
            },
            |options| document(*id, options),
            |GroupOptions { weight, priority, deadline_us }| {
                say!("group {id}: weight {weight}, priority {priority}, deadline {deadline_us} us");
            },
        ),
        Command::Delete { id, target } => target.perform(
            |drive| drive.delete_group(*id),
            |()| json!({ "id": id, "deleted": true }),
            |()| say!("group {id}: deleted"),
        ),
    }
}

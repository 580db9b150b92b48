//! `csdrive group`: the job groups of a drive.

use anyhow::Result;
use client::{GroupInfo, GroupOptions};
use compute::PRIORITY_MAX;
use controller::limits::GROUP_WEIGHT_MAX;
use serde_json::{Value, json};

use super::Target;
use crate::Outcome;
use crate::input::{bandwidth_kbps, deadline_us, unit_mask};
use crate::report::{say, time};

/// What the jobs of a group may claim, and what limits them.
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
    /// What its jobs load and store is limited to this, for example 100MB/s; unlimited = no limit
    #[arg(short, long, value_name = "RATE", value_parser = bandwidth_kbps)]
    bandwidth: Option<u32>,
    /// Most of its jobs on units at a time; 0 = no limit
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=4095))]
    units_max: Option<u16>,
    /// Units that its jobs may use, a bit for each of the first 64, for example 0x3; 0 = any
    #[arg(long, value_name = "BITS", value_parser = unit_mask)]
    unit_mask: Option<u64>,
}

impl Options {
    /// These options, and those of another where nothing is said.
    fn or(&self, other: GroupOptions) -> GroupOptions {
        GroupOptions {
            weight: self.weight.unwrap_or(other.weight),
            priority: self.priority.unwrap_or(other.priority),
            deadline_us: self.deadline.unwrap_or(other.deadline_us),
            bandwidth_kbps: self.bandwidth.unwrap_or(other.bandwidth_kbps),
            units_max: self.units_max.unwrap_or(other.units_max),
            unit_mask: self.unit_mask.unwrap_or(other.unit_mask),
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
    /// Which groups there are, how much unit time their jobs had, their deadlines, and how long limits held them back
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Give a group another weight, priority, deadline or other limits; what is not said stays
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
    json!({
        "id": id,
        "weight": options.weight,
        "priority": options.priority,
        "deadline_us": options.deadline_us,
        "bandwidth_kbps": options.bandwidth_kbps,
        "units_max": options.units_max,
        "unit_mask": options.unit_mask,
    })
}

/// The limits of a group, for people; empty if there are none.
fn limits(options: &GroupOptions) -> String {
    let GroupOptions { bandwidth_kbps, units_max, unit_mask, .. } = options;
    let of = |is_set: bool, text: String| is_set.then_some(text);
    let limits = [
        of(*bandwidth_kbps > 0, format!("{bandwidth_kbps} kB/s")),
        of(*units_max > 0, format!("{units_max} units")),
        of(*unit_mask > 0, format!("units of {unit_mask:#x}")),
    ];
    limits.into_iter().flatten().collect::<Vec<_>>().join(", ")
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
                    document["met"] = group.met.into();
                    document["throttled_ns"] = group.throttled_ns.into();
                    document
                };
                json!({ "groups": groups.iter().map(document).collect::<Vec<_>>() })
            },
            |groups| {
                say!(
                    "{:>4} {:>6} {:>8} {:>10} {:>6} {:>10} {:>8} {:>8} {:>12} {:>12}  limits",
                    "id",
                    "weight",
                    "priority",
                    "deadline",
                    "jobs",
                    "finished",
                    "met",
                    "missed",
                    "unit time",
                    "throttled"
                );
                for group in groups {
                    let GroupInfo { id, options, jobs, finished, met, missed, .. } = group;
                    let GroupOptions { weight, priority, deadline_us, .. } = options;
                    let deadline = match deadline_us {
                        0 => "-".to_owned(),
                        us => time(u64::from(*us) * 1000),
                    };
                    say!(
                        "{id:>4} {weight:>6} {priority:>8} {deadline:>10} {jobs:>6} {finished:>10} {met:>8} {missed:>8} {:>12} {:>12}  {}",
                        time(group.ran_ns),
                        time(group.throttled_ns),
                        limits(options)
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
            |options| {
                let GroupOptions { weight, priority, deadline_us, .. } = options;
                let limits = match limits(options) {
                    text if text.is_empty() => "no limits".to_owned(),
                    text => format!("limits: {text}"),
                };
                say!(
                    "group {id}: weight {weight}, priority {priority}, deadline {deadline_us} us, {limits}"
                );
            },
        ),
        Command::Delete { id, target } => target.perform(
            |drive| drive.delete_group(*id),
            |()| json!({ "id": id, "deleted": true }),
            |()| say!("group {id}: deleted"),
        ),
    }
}

//! What became slower or faster from one run to another, and in which part of which commands.

use std::collections::BTreeMap;

use records::Stage;
use schemars::JsonSchema;
use serde::Serialize;

use crate::summary::{CommandSummary, DriveSummary, as_stages};

/// Two runs side by side.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Comparison {
    /// Commands that both have, those whose time in all changed most first.
    pub commands: Vec<Change>,
    /// Commands that only the first has.
    pub only_before: Vec<String>,
    /// Commands that only the second has.
    pub only_after: Vec<String>,
}

/// How commands of one name changed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Change {
    /// The command.
    pub name: String,
    /// How many there were.
    pub count: [u64; 2],
    /// Commands per second.
    pub iops: [f64; 2],
    /// Mean latency.
    pub mean_ns: [f64; 2],
    /// Median latency.
    pub p50_ns: [u64; 2],
    /// 99th percentile.
    pub p99_ns: [u64; 2],
    /// By how much the mean of each stage grew.
    #[serde(serialize_with = "as_stages")]
    #[schemars(with = "BTreeMap<String, f64>")]
    pub stages_ns: [f64; Stage::ALL.len()],
    /// The same for the slowest: those from the 99th percentile on.
    #[serde(serialize_with = "as_stages")]
    #[schemars(with = "BTreeMap<String, f64>")]
    pub slowest_stages_ns: [f64; Stage::ALL.len()],
}

impl Comparison {
    /// Compares two runs of a drive, or of two drives.
    pub fn of(before: &DriveSummary, after: &DriveSummary) -> Self {
        let same = |a: &CommandSummary, b: &CommandSummary| {
            (a.is_admin, a.csi, a.opcode) == (b.is_admin, b.csi, b.opcode)
        };
        let found = |one: &CommandSummary, of: &DriveSummary| {
            of.commands.iter().any(|other| same(one, other))
        };
        let missing = |of: &DriveSummary, from: &DriveSummary| {
            let all = of.commands.iter().filter(|one| !found(one, from));
            all.map(|one| one.name.clone()).collect()
        };
        let pairs = before.commands.iter().filter_map(|a| {
            let b = after.commands.iter().find(|b| same(a, b))?;
            Some(Change::between(a, b))
        });
        let mut commands: Vec<Change> = pairs.collect();
        let weight = |change: &Change| {
            change.growth_ns().abs() * change.count[0].max(change.count[1]) as f64
        };
        commands.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
        Self { commands, only_before: missing(before, after), only_after: missing(after, before) }
    }
}

impl Change {
    fn between(a: &CommandSummary, b: &CommandSummary) -> Self {
        let both = |of: fn(&CommandSummary) -> f64| [of(a), of(b)];
        let grown = |of: fn(&CommandSummary) -> &[f64; Stage::ALL.len()]| {
            let mut sums = *of(b);
            sums.iter_mut().zip(of(a)).for_each(|(sum, before)| *sum -= before);
            sums
        };
        Self {
            name: a.name.clone(),
            count: [a.count, b.count],
            iops: both(|c| c.iops),
            mean_ns: both(|c| c.lat_ns.mean),
            p50_ns: [a.lat_ns.at(50.0), b.lat_ns.at(50.0)],
            p99_ns: [a.lat_ns.at(99.0), b.lat_ns.at(99.0)],
            stages_ns: grown(|c| &c.stages_ns),
            slowest_stages_ns: grown(|c| &c.slowest_stages_ns),
        }
    }

    /// By how much the mean grew.
    pub fn growth_ns(&self) -> f64 {
        self.mean_ns[1] - self.mean_ns[0]
    }

    /// The stages that changed, those that changed most first. What is less than a hundredth of the mean is no change, unless nothing
    /// changed more.
    pub fn causes(&self) -> Vec<(Stage, f64)> {
        let least = self.mean_ns[0].max(self.mean_ns[1]) / 100.0;
        let all = Stage::ALL.into_iter().map(|stage| (stage, self.stages_ns[stage as usize]));
        let mut causes: Vec<_> = all.filter(|(_, ns)| *ns != 0.0).collect();
        causes.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
        let large = causes.iter().filter(|(_, ns)| ns.abs() > least).count();
        causes.truncate(large.max(1));
        causes
    }

    /// What changed, in a sentence.
    pub fn explanation(&self) -> String {
        let time = |ns: f64| simtime::Duration::from_ns(ns.abs().round() as u64).to_string();
        let [before, after] = self.mean_ns;
        let percent = 100.0 * self.growth_ns() / before.max(1.0);
        if percent.abs() < 1.0 {
            return format!("{}: as before, {} on average", self.name, time(after));
        }
        let causes: Vec<String> = self
            .causes()
            .into_iter()
            .map(|(stage, ns)| {
                let sign = if ns > 0.0 { "+" } else { "-" };
                format!("{} {sign}{}", stage.title(), time(ns))
            })
            .collect();
        let word = if percent > 0.0 { "slower" } else { "faster" };
        format!(
            "{}: {} -> {} on average, {:.0} % {word}: {}",
            self.name,
            time(before),
            time(after),
            percent.abs(),
            causes.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use records::{CommandRecord, Records};

    use super::*;
    use crate::Tally;

    fn run(opcode: u8, flash: u64, transfer: u64) -> DriveSummary {
        let commands = (0..100).map(|n| {
            let mut record =
                CommandRecord { sqid: 1, opcode, fetched_ns: n * 1000, ..Default::default() };
            record.completed_ns = record.fetched_ns + flash + transfer;
            record.stages_ns[Stage::FlashRead as usize] = flash;
            record.stages_ns[Stage::Transfer as usize] = transfer;
            record
        });
        let mut tally = Tally::default();
        tally.add(&Records { commands: commands.collect(), ..Default::default() });
        tally.summary("S")
    }

    #[test]
    fn the_stage_that_grew_is_named() {
        let comparison = Comparison::of(&run(2, 70_000, 1000), &run(2, 100_000, 900));
        let change = &comparison.commands[0];
        assert_eq!(change.causes(), [(Stage::FlashRead, 30_000.0)]);
        let text = change.explanation();
        assert_eq!(
            text,
            "Read: 71.0 us -> 100.9 us on average, 42 % slower: reading flash +30.0 us"
        );
        let same = Comparison::of(&run(2, 70_000, 1000), &run(2, 70_000, 1001));
        assert!(same.commands[0].explanation().contains("as before"));
    }

    #[test]
    fn commands_of_one_run_only_are_listed() {
        let comparison = Comparison::of(&run(2, 1, 1), &run(1, 1, 1));
        assert!(comparison.commands.is_empty());
        assert_eq!(
            (&comparison.only_before[0][..], &comparison.only_after[0][..]),
            ("Read", "Write")
        );
    }
}

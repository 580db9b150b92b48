//! What must hold of the results, as `p99 < 2ms`.

use config::{parse_bandwidth, parse_duration};

use crate::report::{Latency, Measured, Report};

/// A condition on a number of the report.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Assertion {
    /// As it was written.
    text: String,
    /// A job, or all drives.
    job: Option<String>,
    metric: Metric,
    relation: Relation,
    /// In the unit of the metric: nanoseconds, bytes per second, a number.
    value: f64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Read,
    Write,
    Execute,
    /// The only one that the job has.
    Only,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Metric {
    Latency(Kind, Time),
    Iops(Kind),
    Bandwidth(Kind),
    Count(Kind),
    Missed,
    ResultSum,
    WriteAmplification,
    UnitsBusy,
    ChannelsBusy,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Time {
    Percentile(f64),
    Min,
    Mean,
    Max,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Relation {
    Less,
    AtMost,
    More,
    AtLeast,
    Equal,
}

const RELATIONS: [(&str, Relation); 5] = [
    ("<=", Relation::AtMost),
    (">=", Relation::AtLeast),
    ("==", Relation::Equal),
    ("<", Relation::Less),
    (">", Relation::More),
];

/// What an assertion may name.
const METRICS: &str = "p99 (any percentile), min, mean, max, iops, bw, count, each after read., write. or execute. if there are several; missed, result_sum; drive.write_amplification, drive.units_busy, drive.channels_busy";

impl Assertion {
    /// Reads an assertion about a job, or one that names a job or `drive` first.
    pub(crate) fn parse(text: &str, job: Option<&str>) -> Result<Self, String> {
        let found = RELATIONS.iter().find_map(|(sign, relation)| {
            text.split_once(sign).map(|(left, right)| (left.trim(), *relation, right.trim()))
        });
        let (left, relation, right) =
            found.ok_or_else(|| format!("{text}: write it as p99 < 2ms"))?;
        let (job, name) = match job {
            Some(job) => (Some(job.to_owned()), left),
            None => match left.split_once('.') {
                Some(("drive", name)) => (None, name),
                Some((job, name)) => (Some(job.to_owned()), name),
                None => return Err(format!("{text}: say of which job, as reader.{left}")),
            },
        };
        let metric = if job.is_none() { drive_metric(name) } else { job_metric(name) };
        let metric = metric.ok_or_else(|| format!("{name}: unknown; there are {METRICS}"))?;
        let value = match metric {
            Metric::Latency(..) => parse_duration(right).map(|ns| ns as f64),
            Metric::Bandwidth(_) => parse_bandwidth(right).map(|rate| rate as f64),
            _ => right.parse::<f64>().map_err(|_| "write a number".to_owned()),
        };
        let value = value.map_err(|reason| format!("{text}: {right}: {reason}"))?;
        Ok(Self { text: text.to_owned(), job, metric, relation, value })
    }

    /// The job that it names, if there is none of the name.
    pub(crate) fn unknown_job(&self, is_known: impl Fn(&str) -> bool) -> Option<&str> {
        self.job.as_deref().filter(|name| !is_known(name))
    }

    /// What is asserted, the value of the report, and whether it holds. Of several drives, the largest value counts.
    pub(crate) fn judge(&self, report: &Report) -> crate::report::Judged {
        let value = match &self.job {
            Some(name) => {
                let job = report.jobs.iter().find(|job| job.jobname == *name);
                job.and_then(|job| {
                    let of = |kind: Kind| -> Option<&Measured> {
                        match kind {
                            Kind::Read => Some(&job.read),
                            Kind::Write => Some(&job.write),
                            Kind::Execute => Some(&job.execute),
                            Kind::Only => {
                                let all = [&job.read, &job.write, &job.execute];
                                let mut used = all.into_iter().filter(|m| m.total_ios > 0);
                                let first = used.next().unwrap_or(&job.read);
                                used.next().is_none().then_some(first)
                            }
                        }
                    };
                    match self.metric {
                        // Of nothing, no time is the least.
                        Metric::Latency(kind, time) => of(kind)
                            .filter(|measured| measured.total_ios > 0)
                            .map(|measured| time.of(&measured.lat_ns)),
                        Metric::Iops(kind) => of(kind).map(|m| m.iops),
                        Metric::Bandwidth(kind) => of(kind).map(|m| m.bw_bytes as f64),
                        Metric::Count(kind) => of(kind).map(|m| m.total_ios as f64),
                        Metric::Missed => Some(job.missed as f64),
                        Metric::ResultSum => Some(job.result_sum as f64),
                        _ => None,
                    }
                })
            }
            None => {
                let of = |drive: &analysis::DriveReport| match self.metric {
                    Metric::WriteAmplification => drive.write_amplification,
                    Metric::UnitsBusy => drive.units_busy,
                    _ => drive.channels_busy,
                };
                report.drives.iter().map(of).reduce(f64::max)
            }
        };
        let holds = value.is_some_and(|value| self.relation.holds(value, self.value));
        let job = self.job.clone();
        crate::report::Judged { text: self.text.clone(), job, value, holds }
    }
}

impl Relation {
    fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::More => left > right,
            Self::AtLeast => left >= right,
            Self::Equal => left == right,
        }
    }
}

impl Time {
    fn of(self, latency: &Latency) -> f64 {
        match self {
            Self::Percentile(percent) => latency.at(percent),
            Self::Min => latency.min as f64,
            Self::Mean => latency.mean,
            Self::Max => latency.max as f64,
        }
    }
}

fn drive_metric(name: &str) -> Option<Metric> {
    match name {
        "write_amplification" => Some(Metric::WriteAmplification),
        "units_busy" => Some(Metric::UnitsBusy),
        "channels_busy" => Some(Metric::ChannelsBusy),
        _ => None,
    }
}

fn job_metric(name: &str) -> Option<Metric> {
    let kinds = [("read.", Kind::Read), ("write.", Kind::Write), ("execute.", Kind::Execute)];
    let named = kinds.iter().find_map(|(prefix, kind)| Some((*kind, name.strip_prefix(prefix)?)));
    let (kind, name) = named.unwrap_or((Kind::Only, name));
    let percentile = |text: &str| -> Option<f64> {
        text.parse().ok().filter(|percent| (0.0..=100.0).contains(percent))
    };
    Some(match name {
        "min" => Metric::Latency(kind, Time::Min),
        "mean" => Metric::Latency(kind, Time::Mean),
        "max" => Metric::Latency(kind, Time::Max),
        "iops" => Metric::Iops(kind),
        "bw" => Metric::Bandwidth(kind),
        "count" => Metric::Count(kind),
        "missed" => Metric::Missed,
        "result_sum" => Metric::ResultSum,
        _ => Metric::Latency(kind, Time::Percentile(percentile(name.strip_prefix('p')?)?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asserted() {
        let parsed = Assertion::parse("victim.read.p99.9 <= 2ms", None).unwrap();
        assert_eq!(parsed.job.as_deref(), Some("victim"));
        assert_eq!(parsed.metric, Metric::Latency(Kind::Read, Time::Percentile(99.9)));
        assert_eq!((parsed.relation, parsed.value), (Relation::AtMost, 2e6));
        let parsed = Assertion::parse("bw > 1GB/s", Some("a")).unwrap();
        assert_eq!((parsed.metric, parsed.value), (Metric::Bandwidth(Kind::Only), 1e9));
        let parsed = Assertion::parse("drive.write_amplification<1.5", None).unwrap();
        assert_eq!((parsed.job, parsed.value), (None, 1.5));
    }

    #[test]
    fn what_is_no_assertion() {
        for (text, says) in [
            ("p99", "p99 < 2ms"),
            ("p99 < 2", "2:"),
            ("banana < 2ms", "banana: unknown"),
            ("p101 < 2ms", "p101: unknown"),
            ("iops > many", "a number"),
        ] {
            let reason = Assertion::parse(text, Some("a")).unwrap_err();
            assert!(reason.contains(says), "{text}: {reason}");
        }
        assert!(Assertion::parse("p99 < 2ms", None).unwrap_err().contains("of which job"));
    }
}

//! `csdrive run --run-time`: where the time of a run comes from, and the same program under several models.

use client::RunTime;
use compute::RunTimeModel;
use nvme_spec::Status;
use records::JobRecord;
use serde_json::{Value, json};

use crate::report;

/// Where the run time of a job came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunTimeReport {
    model: RunTimeModel,
    job: JobRecord,
}

impl RunTimeReport {
    /// Of the job that was recorded last.
    pub(crate) fn of(jobs: &[JobRecord]) -> Option<Self> {
        let job = *jobs.last()?;
        let (_, model) = RunTimeModel::NAMES.get(job.model as usize)?;
        Some(Self { model: *model, job })
    }

    /// The same on every machine, idle or loaded.
    fn is_deterministic(&self) -> bool {
        !matches!(self.model, RunTimeModel::Measured | RunTimeModel::Remote)
    }

    pub(crate) fn to_json(self) -> Value {
        let mut document = json!({
            "model": self.model.name(),
            "ns": self.job.ran_ns,
            "deterministic": self.is_deterministic(),
        });
        if self.job.samples > 0 {
            document["processor_time"] = json!({
                "samples": self.job.samples,
                "median_ns": self.job.cpu_ns,
                "least_ns": self.job.cpu_least_ns,
                "most_ns": self.job.cpu_most_ns,
            });
        }
        document
    }

    /// For people; empty if nothing is to be said.
    pub(crate) fn render(&self) -> String {
        if self.job.samples == 0 {
            return String::new();
        }
        let [median, least, most] =
            [self.job.cpu_ns, self.job.cpu_least_ns, self.job.cpu_most_ns].map(report::time);
        let whose = match self.model {
            RunTimeModel::Remote => "the runtime server's",
            _ => "this machine's",
        };
        let samples = match self.job.samples {
            1 => String::new(),
            samples => format!(" ({samples} samples, {least} to {most})"),
        };
        format!("{median} of {whose} processor time{samples}")
    }
}

/// One run of several.
pub(crate) struct Compared {
    pub(crate) said: RunTime,
    pub(crate) status: Status,
    pub(crate) result: Option<u64>,
    pub(crate) total_ns: u64,
    pub(crate) run_time: Option<RunTimeReport>,
}

impl Compared {
    fn model(&self) -> &'static str {
        match self.said {
            RunTime::Unsaid => "default",
            RunTime::Declared(_) => RunTimeModel::Declared.name(),
            RunTime::Instructions => RunTimeModel::Instructions.name(),
            RunTime::Measured => RunTimeModel::Measured.name(),
            RunTime::Remote => RunTimeModel::Remote.name(),
        }
    }
}

pub(crate) fn to_json(compared: &[Compared]) -> Value {
    let runs = compared.iter().map(|run| {
        json!({
            "status": run.status.name(),
            "result": run.result.map(|result| result as i64),
            "total_ns": run.total_ns,
            "run_time": run.run_time.map(RunTimeReport::to_json),
        })
    });
    json!({ "format_version": 1, "runs": runs.collect::<Vec<_>>() })
}

pub(crate) fn render(compared: &[Compared]) -> String {
    let mut text = format!(
        "{:<14} {:>12} {:>12}  {:<24} same everywhere",
        "run time from", "compute", "total", "result"
    );
    for run in compared {
        let result = match run.result {
            Some(result) => (result as i64).to_string(),
            None => run.status.name().to_owned(),
        };
        let (compute, same) = match &run.run_time {
            Some(time) => (
                report::time(time.job.ran_ns),
                if time.is_deterministic() {
                    "yes".to_owned()
                } else {
                    format!("no: {}", time.render())
                },
            ),
            None => (String::new(), String::new()),
        };
        text.push_str(&format!(
            "\n{:<14} {compute:>12} {:>12}  {result:<24} {same}",
            run.model(),
            report::time(run.total_ns)
        ));
    }
    text
}

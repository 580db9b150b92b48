//! The report as fio writes it (`fio --output-format=json`), for what reads fio's documents.

use serde_json::{Map, Value, json};

use crate::measure::Latencies;
use crate::plan::{Job, Order, Plan, Work};
use crate::report::{JobReport, Measured, Report, SeriesReport};

/// Upper bounds of fio's classes of latency, in each unit; in milliseconds there is one more for all that is longer.
const NS: [u64; 10] = [2, 4, 10, 20, 50, 100, 250, 500, 750, 1000];
const MS_LONGEST: u64 = 2000;

impl Report {
    /// fio's document of this report. Executions count as reads or writes of their chunks, as their `rw` says.
    pub fn to_fio(&self, plan: &Plan) -> Value {
        let jobs = plan.jobs.iter().zip(&self.jobs).map(|(job, report)| of_job(job, report));
        json!({
            "fio version": format!("csdrive-{}", env!("CARGO_PKG_VERSION")),
            "timestamp": 0,
            "timestamp_ms": 0,
            "time": "",
            "global options": {},
            "jobs": jobs.collect::<Vec<_>>(),
            "disk_util": [],
        })
    }
}

fn of_job(job: &Job, report: &JobReport) -> Value {
    let JobReport { jobname, elapsed_ns, read, write, execute, series, .. } = report;
    // Both directions of a mixed job are in the document; executions are one of them.
    let (read, write) = match job.work {
        Work::Blocks => (read, write),
        _ if job.region.read_percent > 0 => (execute, write),
        _ => (read, execute),
    };
    let mut all = Latencies::default();
    for measured in [read, write] {
        all.merge(measured.lat_ns.all());
    }
    let (ns, us, ms) = classes(&all);
    json!({
        "jobname": jobname,
        "groupid": 0,
        "error": 0,
        "eta": 0,
        "elapsed": elapsed_ns / 1_000_000_000,
        "job options": options(job),
        "read": direction(read, *elapsed_ns, series),
        "write": direction(write, *elapsed_ns, series),
        "job_runtime": elapsed_ns / 1_000_000,
        "usr_cpu": 0.0,
        "sys_cpu": 0.0,
        "ctx": 0,
        "latency_ns": ns,
        "latency_us": us,
        "latency_ms": ms,
        "latency_depth": job.depth.unwrap_or(1),
    })
}

/// The options of a job by fio's names, as texts.
fn options(job: &Job) -> Value {
    let region = &job.region;
    let mixed = match region.read_percent {
        100 => "read",
        0 => "write",
        _ => "rw",
    };
    let rw = match region.order {
        Order::Sequential => mixed.to_owned(),
        _ => format!("rand{mixed}"),
    };
    let sizes: Vec<u64> = region.sizes.iter().map(|(bytes, _)| *bytes).collect();
    let bs = match (sizes.iter().min(), sizes.iter().max()) {
        (Some(least), Some(most)) if least < most => format!("{least}-{most}"),
        (Some(size), _) => size.to_string(),
        _ => String::new(),
    };
    json!({
        "name": job.name,
        "rw": rw,
        "rwmixread": region.read_percent.to_string(),
        "bs": bs,
        "iodepth": job.depth.unwrap_or(1).to_string(),
        "numjobs": job.clones.to_string(),
    })
}

fn direction(measured: &Measured, elapsed_ns: u64, series: &SeriesReport) -> Value {
    let Measured { total_ios, io_bytes, iops, bw_bytes, slat_ns, clat_ns, lat_ns } = measured;
    let (least, most, mean, stddev, samples) = rates(series);
    // The series is of both directions: its shape is that of each.
    let share = match mean {
        mean if mean > 0.0 => iops / mean,
        _ => 0.0,
    };
    json!({
        "io_bytes": io_bytes,
        "io_kbytes": io_bytes / 1024,
        "bw_bytes": bw_bytes,
        "bw": bw_bytes / 1024,
        "iops": iops,
        "runtime": elapsed_ns / 1_000_000,
        "total_ios": total_ios,
        "short_ios": 0,
        "drop_ios": 0,
        "slat_ns": slat_ns,
        "clat_ns": clat_ns,
        "lat_ns": lat_ns,
        "iops_min": (least * share) as u64,
        "iops_max": (most * share) as u64,
        "iops_mean": mean * share,
        "iops_stddev": stddev * share,
        "iops_samples": samples,
    })
}

/// Operations per second, piece by piece: least, most, mean, standard deviation, pieces. The last piece is not a whole one.
fn rates(series: &SeriesReport) -> (f64, f64, f64, f64, usize) {
    let whole = series.ios.len().saturating_sub(1).max(1).min(series.ios.len());
    let seconds = series.width_ns as f64 / 1e9;
    let rates: Vec<f64> = series.ios[..whole].iter().map(|ios| *ios as f64 / seconds).collect();
    if rates.is_empty() {
        return (0.0, 0.0, 0.0, 0.0, 0);
    }
    let count = rates.len() as f64;
    let mean = rates.iter().sum::<f64>() / count;
    let squares: f64 = rates.iter().map(|rate| (rate - mean).powi(2)).sum();
    let (least, most) = rates.iter().fold((f64::MAX, 0.0f64), |(a, b), r| (a.min(*r), b.max(*r)));
    (least, most, mean, (squares / count).sqrt(), rates.len())
}

/// The share of operations, in percent, in each of fio's classes: up to 2, 4, 10, ... nanoseconds, microseconds, milliseconds.
fn classes(all: &Latencies) -> (Value, Value, Value) {
    let count = all.count().max(1) as f64;
    let mut below = 0;
    let mut class = |upper_ns: u64| {
        let now = all.up_to(upper_ns);
        let share = 100.0 * (now - below) as f64 / count;
        below = now;
        Value::from((share * 1e6).round() / 1e6)
    };
    let mut unit = |ns: u64| -> Map<String, Value> {
        NS.iter().map(|bound| (bound.to_string(), class(bound * ns))).collect()
    };
    let (ns, us, mut ms) = (unit(1), unit(1_000), unit(1_000_000));
    ms.insert(MS_LONGEST.to_string(), class(MS_LONGEST * 1_000_000));
    ms.insert(format!(">={MS_LONGEST}"), class(u64::MAX));
    (ns.into(), us.into(), ms.into())
}

//! One run or several as a page for a browser: one file, which loads nothing.

use std::fmt::Write;

use nvme_spec::CommandSet;
use records::Stage;

use crate::chart::{Chart, Line, colour, svg};
use crate::compare::Comparison;
use crate::drive::DriveReport;
use crate::series::Series;
use crate::summary::{CommandSummary, DriveSummary};

/// A page of one run or several.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    /// What is written on top.
    pub title: &'a str,
    /// The runs, in the order in which they are compared.
    pub runs: &'a [RunOnPage],
}

/// A run.
#[derive(Clone, Debug)]
pub struct RunOnPage {
    /// How it is called.
    pub name: String,
    /// What is to be known of it: names and values.
    pub facts: Vec<(String, String)>,
    /// What its drives did, and over time.
    pub drives: Vec<(DriveSummary, Series)>,
}

/// Commands of one name are not shown if they took less than this share of the time of all.
const LEAST_SHARE: f64 = 0.001;

/// A line of a chart: its colour says which run, if there are several.
type Named = (String, Vec<(f64, f64)>);

impl Page<'_> {
    /// The page.
    ///
    /// # Errors
    /// If a chart cannot be drawn.
    pub fn html(&self) -> Result<String, String> {
        let mut page = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{}</h1>\n",
            escape(self.title),
            escape(self.title)
        );
        self.facts(&mut page);
        if self.runs.len() > 1 {
            self.comparison(&mut page);
        }
        self.latencies(&mut page)?;
        self.stages(&mut page);
        self.over_time(&mut page)?;
        self.utilisation(&mut page)?;
        self.written(&mut page)?;
        self.queues(&mut page);
        page.push_str("</body>\n</html>\n");
        Ok(page)
    }

    fn drives(&self) -> impl Iterator<Item = (String, &DriveSummary, &Series)> {
        self.runs.iter().flat_map(|run| {
            run.drives.iter().map(|(summary, series)| {
                let name = match (self.runs.len(), run.drives.len()) {
                    (1, _) => summary.serial.clone(),
                    (_, 1) => run.name.clone(),
                    _ => format!("{} {}", run.name, summary.serial),
                };
                (name, summary, series)
            })
        })
    }

    fn facts(&self, page: &mut String) {
        let mut table = Table::new(&["run", "", ""]);
        for run in self.runs {
            for (n, (name, value)) in run.facts.iter().enumerate() {
                let first = if n == 0 { run.name.clone() } else { String::new() };
                table.row([first, name.clone(), value.clone()]);
            }
        }
        table.write(page, "facts");
        let mut sentences = String::new();
        for (name, summary, _) in self.drives() {
            if let Some(drive) = &summary.drive {
                let busiest = drive.bottleneck();
                let _ = write!(
                    sentences,
                    "<p><b>{}</b>: busiest: {}, {:.1} % of the time; ",
                    escape(&name),
                    busiest.part,
                    100.0 * busiest.share
                );
                let others = drive.busy().into_iter().filter(|busy| busy.part != busiest.part);
                let others: Vec<String> = others
                    .map(|busy| format!("{} {:.1} %", busy.part, 100.0 * busy.share))
                    .collect();
                let _ = writeln!(sentences, "{}.</p>", others.join(", "));
                if drive.late.commands > 0 {
                    let _ = writeln!(
                        sentences,
                        "<p class=\"warning\">{} of {} completions were late: this machine could not keep the modelled times.</p>",
                        drive.late.commands, drive.commands
                    );
                }
            }
            if summary.lost > 0 {
                let _ = writeln!(
                    sentences,
                    "<p class=\"warning\">{} records are missing: the reader was too slow.</p>",
                    summary.lost
                );
            }
        }
        page.push_str(&sentences);
    }

    fn comparison(&self, page: &mut String) {
        let Some(first) = self.runs.first() else { return };
        heading(
            page,
            "comparison",
            "Comparison",
            "The first run is compared with each of the others: which commands changed, and in which stage.",
        );
        for other in &self.runs[1..] {
            for ((before, _), (after, _)) in first.drives.iter().zip(&other.drives) {
                let comparison = Comparison::of(before, after);
                let _ = writeln!(
                    page,
                    "<h3>{} &rarr; {}</h3>\n<ul>",
                    escape(&first.name),
                    escape(&other.name)
                );
                for change in &comparison.commands {
                    let _ = writeln!(page, "<li>{}</li>", escape(&change.explanation()));
                }
                for (names, only) in
                    [(&comparison.only_before, &first.name), (&comparison.only_after, &other.name)]
                {
                    if !names.is_empty() {
                        let _ = writeln!(
                            page,
                            "<li>Only in {}: {}</li>",
                            escape(only),
                            escape(&names.join(", "))
                        );
                    }
                }
                page.push_str("</ul>\n");
            }
        }
    }

    fn latencies(&self, page: &mut String) -> Result<(), String> {
        heading(
            page,
            "latency",
            "Latency",
            "From when the drive took a command to its completion. Each step to the right is a tenth of what is left.",
        );
        // Each step to the right is a tenth of what is left: 50, 90, 99, 99.9 percent.
        let percents = [0.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.99];
        let mut lines: Vec<Named> = Vec::new();
        let mut table = Table::new(&[
            "drive",
            "command",
            "count",
            "failed",
            "per second",
            "bandwidth",
            "mean",
            "p50",
            "p95",
            "p99",
            "p99.9",
            "max",
        ]);
        for (name, summary, _) in self.drives() {
            for commands in shown(summary) {
                let points = percents.iter().enumerate().map(|(n, percent)| {
                    (n as f64, commands.lat_ns.at(*percent).max(1) as f64 / 1e3)
                });
                lines.push((format!("{name} {}", commands.name), points.collect()));
                let lat = &commands.lat_ns;
                let mut row = vec![
                    name.clone(),
                    commands.name.clone(),
                    commands.count.to_string(),
                    commands.failed.to_string(),
                    format!("{:.0}", commands.iops),
                    rate(commands.bw_bytes as f64),
                    time(lat.mean),
                ];
                row.extend([50.0, 95.0, 99.0, 99.9].map(|percent| time(lat.at(percent) as f64)));
                row.push(time(lat.max as f64));
                table.row(row);
            }
        }
        let ticks = percents.map(|percent| format!("{percent}")).to_vec();
        picture(
            page,
            &[Chart {
                title: "Latency",
                x: "percentile",
                y: "us",
                lines: lines_of(lines),
                ticks,
                is_log: true,
            }],
        )?;
        table.write(page, "numbers");
        Ok(())
    }

    fn stages(&self, page: &mut String) {
        heading(
            page,
            "stages",
            "Where the time went",
            "The mean of each stage of a command; below it, of the slowest hundredth (from p99 on).",
        );
        for (n, stage) in Stage::ALL.into_iter().enumerate() {
            let _ = write!(
                page,
                "<span class=\"key\"><i style=\"background:{}\"></i>{}</span> ",
                colour(n),
                stage.title()
            );
        }
        page.push_str("\n<table class=\"bars\">\n");
        for (name, summary, _) in self.drives() {
            let all: Vec<&CommandSummary> = shown(summary).collect();
            let longest =
                all.iter().map(|c| c.slowest_stages_ns.iter().sum::<f64>()).fold(1.0, f64::max);
            for commands in all {
                for (what, stages) in
                    [("mean", &commands.stages_ns), ("slowest", &commands.slowest_stages_ns)]
                {
                    let sum: f64 = stages.iter().sum();
                    let _ = write!(
                        page,
                        "<tr><td>{} {}</td><td>{what}</td><td class=\"bar\">",
                        escape(&name),
                        escape(&commands.name)
                    );
                    for (stage, ns) in Stage::ALL.iter().zip(stages).filter(|(_, ns)| **ns > 0.0) {
                        let _ = write!(
                            page,
                            "<i style=\"width:{:.2}%;background:{}\" title=\"{}: {}\"></i>",
                            100.0 * ns / longest,
                            colour(*stage as usize),
                            stage.title(),
                            time(*ns)
                        );
                    }
                    let _ = writeln!(page, "</td><td>{}</td></tr>", time(sum));
                }
            }
        }
        page.push_str("</table>\n");
    }

    fn over_time(&self, page: &mut String) -> Result<(), String> {
        heading(page, "throughput", "Over time", "Commands of I/O queues by when they completed.");
        let (mut rates, mut bytes, mut slow) = (Vec::new(), Vec::new(), Vec::new());
        for (name, _, series) in self.drives() {
            let points = series.points();
            let of = |value: &dyn Fn(&crate::SeriesPoint) -> Option<f64>| -> Vec<(f64, f64)> {
                points
                    .iter()
                    .filter_map(|point| Some((point.at_ns as f64 / 1e6, value(point)?)))
                    .collect()
            };
            rates.push((name.clone(), of(&|point| Some(point.iops))));
            bytes.push((name.clone(), of(&|point| Some(point.bytes_per_s / 1e6))));
            slow.push((name, of(&|point| point.p99_ns.map(|ns| ns as f64 / 1e3))));
        }
        let chart = |title, y, lines| Chart {
            title,
            x: "ms",
            y,
            lines: lines_of(lines),
            ticks: Vec::new(),
            is_log: false,
        };
        picture(
            page,
            &[
                chart("Commands", "per second", rates),
                chart("Bytes of blocks", "MB/s", bytes),
                chart("99th percentile", "us", slow),
            ],
        )
    }

    fn utilisation(&self, page: &mut String) -> Result<(), String> {
        heading(
            page,
            "utilisation",
            "Utilisation",
            "Share of the time in which each part was busy, all of its kind together.",
        );
        let mut table = Table::new(&[
            "drive",
            "compute units",
            "channels",
            "dies",
            "link to the host",
            "link from the host",
            "to the host",
            "from the host",
            "within the drive",
        ]);
        for (name, summary, series) in self.drives() {
            let over_time = series.drive();
            let parts = DriveReport::PARTS.iter().enumerate();
            let lines = parts.map(|(n, part)| {
                let points = over_time
                    .iter()
                    .map(|(at, report)| (*at as f64 / 1e6, 100.0 * report.busy()[n].share));
                ((*part).to_owned(), points.collect())
            });
            let lines: Vec<Named> = lines.collect();
            let of_parts = |shares: &[f64]| -> Vec<(f64, f64)> {
                shares.iter().enumerate().map(|(n, share)| (n as f64, 100.0 * share)).collect()
            };
            let each = vec![
                ("unit".to_owned(), of_parts(&summary.units_busy)),
                ("channel".to_owned(), of_parts(&summary.channels_busy)),
                ("die".to_owned(), of_parts(&summary.dies_busy)),
            ];
            let _ = writeln!(page, "<h3>{}</h3>", escape(&name));
            let chart = |title, x, lines| Chart {
                title,
                x,
                y: "%",
                lines: lines_of(lines),
                ticks: Vec::new(),
                is_log: false,
            };
            picture(page, &[chart("Over time", "ms", lines), chart("Each one", "number", each)])?;
            if let Some(drive) = &summary.drive {
                let mut row = vec![name];
                row.extend(drive.busy().map(|busy| format!("{:.1} %", 100.0 * busy.share)));
                row.extend(
                    [drive.bytes.to_host, drive.bytes.from_host, drive.bytes.internal].map(size),
                );
                table.row(row);
            }
        }
        table.write(page, "numbers");
        Ok(())
    }

    fn written(&self, page: &mut String) -> Result<(), String> {
        if !self.drives().any(|(_, summary, _)| {
            summary.drive.as_ref().is_some_and(|drive| drive.bytes.flash_programmed > 0)
        }) {
            return Ok(());
        }
        heading(
            page,
            "amplification",
            "Write amplification",
            "Bytes programmed to flash for each byte that the host wrote.",
        );
        let mut lines = Vec::new();
        let mut table =
            Table::new(&["drive", "write amplification", "programmed", "erased blocks"]);
        for (name, summary, series) in self.drives() {
            let points =
                series.drive().into_iter().filter(|(_, report)| report.bytes.flash_programmed > 0);
            lines.push((
                name.clone(),
                points.map(|(at, report)| (at as f64 / 1e6, report.write_amplification)).collect(),
            ));
            if let Some(drive) = &summary.drive {
                table.row([
                    name,
                    format!("{:.3}", drive.write_amplification),
                    size(drive.bytes.flash_programmed),
                    drive.erases.to_string(),
                ]);
            }
        }
        picture(
            page,
            &[Chart {
                title: "Write amplification",
                x: "ms",
                y: "bytes per byte",
                lines: lines_of(lines),
                ticks: Vec::new(),
                is_log: false,
            }],
        )?;
        table.write(page, "numbers");
        Ok(())
    }

    fn queues(&self, page: &mut String) {
        heading(page, "queues", "Queues and job groups", "");
        let mut table = Table::new(&["drive", "queue", "commands", "mean depth", "most at a time"]);
        let mut groups = Table::new(&[
            "drive",
            "group",
            "jobs",
            "share of units",
            "waited, mean",
            "waited, p99",
            "ran, mean",
            "instructions",
        ]);
        for (name, summary, _) in self.drives() {
            for queue in &summary.queues {
                let of = if queue.sqid == 0 { "admin".to_owned() } else { queue.sqid.to_string() };
                table.row([
                    name.clone(),
                    of,
                    queue.commands.to_string(),
                    format!("{:.2}", queue.depth_mean),
                    queue.depth_max.to_string(),
                ]);
            }
            for group in &summary.groups {
                let of = if group.group == 0 { "none".to_owned() } else { group.group.to_string() };
                groups.row([
                    name.clone(),
                    of,
                    group.jobs.to_string(),
                    format!("{:.1} %", 100.0 * group.service),
                    time(group.waited_ns.mean),
                    time(group.waited_ns.at(99.0) as f64),
                    time(group.ran_ns.mean),
                    group.instructions.to_string(),
                ]);
            }
        }
        table.write(page, "numbers");
        groups.write(page, "numbers");
    }
}

/// Commands that are worth a line.
fn shown(summary: &DriveSummary) -> impl Iterator<Item = &CommandSummary> {
    let weight = |c: &CommandSummary| c.lat_ns.mean * c.count as f64;
    let all: f64 = summary.commands.iter().map(weight).sum();
    // Asynchronous events wait for something to happen: that is no latency.
    let is_meant = move |c: &&CommandSummary| {
        weight(c) >= all * LEAST_SHARE
            && !(c.is_admin && c.csi == CommandSet::NVM && c.opcode == 0x0C)
    };
    summary.commands.iter().filter(is_meant)
}

fn heading(page: &mut String, id: &str, title: &str, text: &str) {
    let _ = writeln!(page, "<h2 id=\"{id}\">{title}</h2>\n<p>{text}</p>");
}

fn lines_of(named: Vec<Named>) -> Vec<Line> {
    named.into_iter().map(|(name, points)| Line { name, points }).collect()
}

/// Charts, as many beside each other as there is room for.
fn picture(page: &mut String, charts: &[Chart<'_>]) -> Result<(), String> {
    page.push_str("<figure>\n");
    for chart in charts {
        let text = svg(std::slice::from_ref(chart))?;
        let start = text.find("<svg").unwrap_or_default();
        page.push_str(&text[start..]);
        page.push('\n');
    }
    page.push_str("</figure>\n");
    Ok(())
}

/// A table.
struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(|text| (*text).to_owned()).collect(), rows: Vec::new() }
    }

    fn row(&mut self, cells: impl Into<Vec<String>>) {
        self.rows.push(cells.into());
    }

    fn write(&self, page: &mut String, class: &str) {
        if self.rows.is_empty() {
            return;
        }
        let _ = write!(page, "<table class=\"{class}\">\n<tr>");
        for text in &self.head {
            let _ = write!(page, "<th>{}</th>", escape(text));
        }
        page.push_str("</tr>\n");
        for row in &self.rows {
            page.push_str("<tr>");
            for text in row {
                let _ = write!(page, "<td>{}</td>", escape(text));
            }
            page.push_str("</tr>\n");
        }
        page.push_str("</table>\n");
    }
}

/// Text as a page may have it.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

fn time(ns: f64) -> String {
    simtime::Duration::from_ns(ns.max(0.0).round() as u64).to_string()
}

fn rate(bytes_per_s: f64) -> String {
    match bytes_per_s {
        0.0 => "-".to_owned(),
        rate if rate < 1e6 => format!("{:.1} kB/s", rate / 1e3),
        rate if rate < 1e9 => format!("{:.1} MB/s", rate / 1e6),
        rate => format!("{:.2} GB/s", rate / 1e9),
    }
}

fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        size if size < 1e3 => format!("{size} B"),
        size if size < 1e6 => format!("{:.1} kB", size / 1e3),
        size if size < 1e9 => format!("{:.1} MB", size / 1e6),
        size => format!("{:.2} GB", size / 1e9),
    }
}

const STYLE: &str = "
body{font:15px/1.45 system-ui,sans-serif;color:#222;max-width:1180px;margin:24px auto;padding:0 16px}
h1{font-size:24px}h2{font-size:19px;margin:34px 0 4px;border-bottom:1px solid #ccc}h3{font-size:16px;margin:16px 0 4px}
p{margin:4px 0 10px;color:#444}.warning{color:#a33}
table{border-collapse:collapse;margin:10px 0}td,th{padding:3px 10px;border-bottom:1px solid #e4e4e4;text-align:left;vertical-align:top}
table.numbers td:nth-child(n+3){text-align:right;font-variant-numeric:tabular-nums}table.numbers th:nth-child(n+3){text-align:right}
table.facts td:nth-child(2){color:#666}
table.bars{width:100%}table.bars td{white-space:nowrap;padding:2px 8px;border:0}td.bar{width:70%}
td.bar i{display:inline-block;height:15px;min-width:1px;vertical-align:middle}
.key{margin-right:14px;white-space:nowrap}.key i{display:inline-block;width:12px;height:12px;margin-right:5px;vertical-align:-1px}
figure{margin:8px 0;display:flex;flex-wrap:wrap;gap:8px}figure svg{max-width:100%;height:auto}
@media print{body{max-width:none}}
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tally;

    #[test]
    fn what_is_written_on_a_page_is_text() {
        let run = RunOnPage {
            name: "<script>alert(1)</script>".to_owned(),
            facts: vec![("a & b".to_owned(), "\"c\"".to_owned())],
            drives: vec![(Tally::default().summary("<b>"), Series::new(0, 10, 4))],
        };
        let page = Page { title: "<i>", runs: &[run.clone(), run] }.html().unwrap();
        assert!(
            !page.contains("<script") && !page.contains("<b>&lt;") && page.contains("a &amp; b")
        );
        assert!(!page.contains("http://www.w3.org/1999/xlink") && !page.contains("src="));
    }
}

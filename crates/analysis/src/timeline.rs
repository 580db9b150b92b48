//! What drives did, in the Trace Event Format that Perfetto (ui.perfetto.dev, the trace processor) and chrome://tracing open.
//!
//! Each drive has a process for commands, jobs on units, worker threads, flash dies, channels and links. What overlaps in a queue, on a
//! link or behind a command has rows of its own, so that every slice is a whole one. Arrows lead from a command to its jobs and its
//! operations of flash. Times are those of the drive.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::{self, Write};

use nvme_spec::{CommandSet, Status};
use records::{CommandRecord, CounterRecord, DieOperation, LinkPath, NO_COMMAND, Records};
use serde_json::{Map, Value, json};

use crate::drive::DriveReport;

/// What is shown of drives: their serial numbers and records.
#[derive(Clone, Debug)]
pub struct Timeline<'a> {
    /// By number.
    pub drives: &'a [(String, Records)],
}

/// Processes of a drive, in the order in which they are shown.
const PROCESSES: [&str; 6] =
    ["NVMe commands", "compute units", "worker threads", "flash dies", "flash channels", "links"];
const COMMANDS: u64 = 1;
const UNITS: u64 = 2;
const WORKERS: u64 = 3;
const DIES: u64 = 4;
const CHANNELS: u64 = 5;
const LINKS: u64 = 6;

impl Timeline<'_> {
    /// Writes it.
    ///
    /// # Errors
    /// Those of the output.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut events = Events { out, count: 0, flows: 0 };
        events.out.write_all(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n")?;
        for (number, (serial, records)) in self.drives.iter().enumerate() {
            let name = if self.drives.len() > 1 { format!("{serial}: ") } else { String::new() };
            OfDrive { base: 10 * number as u64, name, records }.write(&mut events)?;
        }
        events.out.write_all(b"\n]}\n")?;
        events.out.flush()
    }
}

struct Events<'a> {
    out: &'a mut dyn Write,
    count: u64,
    flows: u64,
}

impl Events<'_> {
    fn put(&mut self, event: &Value) -> io::Result<()> {
        if self.count > 0 {
            self.out.write_all(b",\n")?;
        }
        self.count += 1;
        serde_json::to_writer(&mut *self.out, event).map_err(io::Error::from)
    }
}

/// A slice: where, what, from when to when, and what is told of it.
struct Slice {
    row: Row,
    name: String,
    start: u64,
    end: u64,
    arguments: Value,
    /// The command that it is part of.
    command: u64,
}

/// A row of a process: what it is, its number, and which of the rows that it needs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Row {
    process: u64,
    number: u64,
    name: String,
}

struct OfDrive<'a> {
    base: u64,
    name: String,
    records: &'a Records,
}

/// Rows that one number of a process may need at most.
const LANES: u64 = 1 << 20;

impl OfDrive<'_> {
    fn write(&self, events: &mut Events<'_>) -> io::Result<()> {
        for (process, name) in (1..).zip(PROCESSES) {
            let (pid, name) = (self.base + process, format!("{}{name}", self.name));
            events.put(
                &json!({"ph": "M", "pid": pid, "name": "process_name", "args": {"name": name}}),
            )?;
            events.put(&json!({"ph": "M", "pid": pid, "name": "process_sort_index", "args": {"sort_index": pid}}))?;
        }
        let slices = self.in_rows();
        let mut named = BTreeMap::new();
        // Where each command is, for what leads to or from it.
        let mut commands = BTreeMap::new();
        for (slice, tid) in &slices {
            let Row { process, name, .. } = &slice.row;
            let pid = self.base + process;
            if named.insert((pid, *tid), ()).is_none() {
                let about = json!({"ph": "M", "pid": pid, "tid": tid, "name": "thread_name", "args": {"name": name}});
                events.put(&about)?;
                events.put(&json!({"ph": "M", "pid": pid, "tid": tid, "name": "thread_sort_index", "args": {"sort_index": tid}}))?;
            }
            if *process == COMMANDS {
                commands.insert(slice.command, (pid, *tid, slice.start));
            }
            events.put(&json!({"ph": "X", "pid": pid, "tid": tid, "name": slice.name, "ts": micros(slice.start),
                               "dur": micros(slice.end.saturating_sub(slice.start)), "args": slice.arguments}))?;
        }
        for (slice, tid) in &slices {
            let is_part = matches!(slice.row.process, UNITS | DIES);
            let Some((pid, command, start)) = commands.get(&slice.command).filter(|_| is_part)
            else {
                continue;
            };
            events.flows += 1;
            let id = events.flows;
            let flow = |ph: &str, pid: u64, tid: u64, at: u64| {
                json!({"ph": ph, "cat": "command", "name": "command", "id": id, "pid": pid, "tid": tid,
                       "ts": micros(at), "bp": "e"})
            };
            events.put(&flow("s", *pid, *command, *start))?;
            events.put(&flow("f", self.base + slice.row.process, *tid, slice.start.max(*start)))?;
        }
        self.write_counters(events)
    }

    /// All slices, each with its row's number: of several that overlap, each has a row of its own.
    fn in_rows(&self) -> Vec<(Slice, u64)> {
        let mut slices: Vec<Slice> = self.commands().collect();
        slices.extend(self.jobs());
        slices.extend(self.workers());
        slices.extend(self.flash());
        slices.extend(self.links());
        slices.sort_by(|a, b| (&a.row, a.start, a.end).cmp(&(&b.row, b.start, b.end)));
        let mut lanes = Lanes::default();
        let mut last: Option<Row> = None;
        let placed = slices.into_iter().map(|mut slice| {
            if last.as_ref() != Some(&slice.row) {
                lanes = Lanes::default();
                last = Some(slice.row.clone());
            }
            let lane = lanes.take(slice.start, slice.end);
            if lane > 0 {
                slice.row.name = format!("{}, {}", slice.row.name, lane + 1);
            }
            let tid = slice.row.number * LANES + lane + 1;
            (slice, tid)
        });
        placed.collect()
    }

    fn commands(&self) -> impl Iterator<Item = Slice> + '_ {
        self.records.commands.iter().map(|record| {
            let mut told = Map::new();
            told.insert("command".to_owned(), record.id.into());
            told.insert("cid".to_owned(), record.cid.into());
            told.insert("nsid".to_owned(), record.nsid.into());
            told.insert("bytes".to_owned(), record.bytes.into());
            told.insert("status".to_owned(), Status::from_bits(record.status).name().into());
            told.insert("late_ns".to_owned(), record.late_ns.into());
            for (stage, time) in record.stages().iter() {
                told.insert(format!("{}_ns", stage.name()), time.as_ns().into());
            }
            Slice {
                row: row(COMMANDS, record.sqid, format!("queue {}", record.sqid)),
                name: name_of(record).to_owned(),
                start: record.fetched_ns,
                end: record.completed_ns,
                arguments: told.into(),
                command: record.id,
            }
        })
    }

    fn jobs(&self) -> impl Iterator<Item = Slice> + '_ {
        // A command may have several jobs (streaming); what a stay belongs to is told by the command.
        let mut of: BTreeMap<u64, (u32, u32)> = BTreeMap::new();
        for job in &self.records.jobs {
            of.insert(job.command, (job.program, job.group));
        }
        self.records.units.iter().map(move |record| {
            let mut told = json!({"command": record.job});
            if let Some((program, group)) = of.get(&record.job) {
                told["program"] = (*program).into();
                told["group"] = (*group).into();
            }
            Slice {
                row: row(UNITS, record.unit, format!("unit {}", record.unit)),
                name: "job".to_owned(),
                start: record.start_ns,
                end: record.end_ns,
                arguments: told,
                command: record.job,
            }
        })
    }

    fn workers(&self) -> impl Iterator<Item = Slice> + '_ {
        self.records.jobs.iter().filter(|job| job.worker_ns > 0).map(|job| Slice {
            row: row(WORKERS, job.worker, format!("worker {}", job.worker)),
            name: format!("program {}", job.program),
            // Its result came when it was over, or a little later.
            start: job.result_ns.saturating_sub(job.worker_ns),
            end: job.result_ns,
            arguments: json!({"command": job.command, "group": job.group}),
            command: job.command,
        })
    }

    fn flash(&self) -> impl Iterator<Item = Slice> + '_ {
        self.records.dies.iter().flat_map(|record| {
            let operation = DieOperation::from_value(record.operation);
            let name = match (operation, record.is_collection) {
                (Some(DieOperation::Read), 1) => "collection read",
                (Some(DieOperation::Program), 1) => "collection program",
                (operation, _) => operation.map_or("unknown", DieOperation::name),
            };
            let mut told = json!({"planes": record.planes, "channel": record.channel});
            if record.is_resumed != 0 {
                told["resumed"] = true.into();
            }
            if record.command != NO_COMMAND {
                told["command"] = record.command.into();
            }
            let slice = |process, number, kind: &str, start, end| Slice {
                row: row(process, number, format!("{kind} {number}")),
                name: name.to_owned(),
                start,
                end,
                arguments: told.clone(),
                command: record.command,
            };
            let die = slice(DIES, record.die, "die", record.start_ns, record.end_ns);
            let (start, end) = (record.transfer_start_ns, record.transfer_end_ns);
            let channel =
                (start < end).then(|| slice(CHANNELS, record.channel, "channel", start, end));
            [Some(die), channel].into_iter().flatten()
        })
    }

    fn links(&self) -> impl Iterator<Item = Slice> + '_ {
        self.records.links.iter().map(|record| {
            let path = LinkPath::from_value(record.path).map_or("unknown", LinkPath::name);
            Slice {
                row: row(LINKS, record.path, path.replace('_', " ")),
                name: format!("{} B", record.bytes),
                start: record.asked_ns,
                end: record.arrived_ns,
                arguments: json!({"command": record.command, "bytes": record.bytes}),
                command: record.command,
            }
        })
    }

    fn write_counters(&self, events: &mut Events<'_>) -> io::Result<()> {
        let Records { commands, units, dies, counters, .. } = self.records;
        let spans: [Counted; 3] = [
            (
                COMMANDS,
                "commands in flight",
                commands.iter().map(|r| (r.fetched_ns, r.completed_ns)).collect(),
            ),
            (UNITS, "units busy", units.iter().map(|r| (r.start_ns, r.end_ns)).collect()),
            (DIES, "dies busy", dies.iter().map(|r| (r.start_ns, r.end_ns)).collect()),
        ];
        let mut put = |process: u64, name: &str, at: u64, value: Value| {
            events.put(&json!({"ph": "C", "pid": self.base + process, "name": name, "ts": micros(at), "args": {"value": value}}))
        };
        for (process, name, spans) in spans {
            for (at, count) in counts(spans) {
                put(process, name, at, count.into())?;
            }
        }
        for pair in counters.windows(2) {
            let [before, after]: &[CounterRecord; 2] = pair.try_into().expect("windows of two");
            let report = DriveReport::between(String::new(), before, after);
            let percent = |share: f64| (1000.0 * share).round() / 10.0;
            put(LINKS, "link to the host, %", before.now_ns, percent(report.link_out_busy).into())?;
            put(
                LINKS,
                "link from the host, %",
                before.now_ns,
                percent(report.link_in_busy).into(),
            )?;
            put(CHANNELS, "channels, %", before.now_ns, percent(report.channels_busy).into())?;
        }
        Ok(())
    }
}

fn row(process: u64, number: impl Into<u64>, name: String) -> Row {
    Row { process, number: number.into(), name }
}

/// Of which process, its name, and from when to when each of what is counted lasts.
type Counted = (u64, &'static str, Vec<(u64, u64)>);

/// Rows for slices that overlap. They come in the order of their starts.
#[derive(Default)]
struct Lanes {
    /// By when each is free again.
    busy: BinaryHeap<Reverse<(u64, u64)>>,
    free: BinaryHeap<Reverse<u64>>,
    count: u64,
}

impl Lanes {
    fn take(&mut self, start: u64, end: u64) -> u64 {
        while let Some(Reverse((until, lane))) = self.busy.peek().copied()
            && until <= start
        {
            self.busy.pop();
            self.free.push(Reverse(lane));
        }
        let lane = self.free.pop().map(|Reverse(lane)| lane).unwrap_or_else(|| {
            self.count += 1;
            self.count - 1
        });
        // A slice of no time has its row for itself, too.
        self.busy.push(Reverse((end.max(start.saturating_add(1)), lane)));
        lane
    }
}

/// How many last at a time, whenever that changes.
fn counts(spans: Vec<(u64, u64)>) -> BTreeMap<u64, i64> {
    let mut changes = BTreeMap::<u64, i64>::new();
    for (start, end) in spans {
        *changes.entry(start).or_default() += 1;
        *changes.entry(end).or_default() -= 1;
    }
    let mut count = 0;
    for change in changes.values_mut() {
        count += *change;
        *change = count;
    }
    changes
}

/// The format counts microseconds; fractions are allowed.
fn micros(at: u64) -> f64 {
    at as f64 / 1000.0
}

fn name_of(record: &CommandRecord) -> &'static str {
    let set = CommandSet(record.csi);
    nvme_spec::command_name(record.sqid, set, record.opcode).unwrap_or("unknown command")
}

#[cfg(test)]
mod tests {
    use records::{DieRecord, LinkRecord, UnitRecord};

    use super::*;

    fn events(drives: &[(String, Records)]) -> Vec<Value> {
        let mut text = Vec::new();
        Timeline { drives }.write(&mut text).unwrap();
        let document: Value = serde_json::from_slice(&text).unwrap();
        document["traceEvents"].as_array().unwrap().clone()
    }

    #[test]
    fn slices_of_a_row_do_not_overlap_and_arrows_lead_to_flash() {
        let command = |id, fetched_ns, completed_ns| CommandRecord {
            id,
            sqid: 1,
            opcode: 2,
            fetched_ns,
            completed_ns,
            ..Default::default()
        };
        let records = Records {
            commands: vec![command(5, 0, 100), command(6, 50, 200), command(7, 100, 150)],
            units: vec![UnitRecord { job: 6, start_ns: 60, end_ns: 90, ..Default::default() }],
            dies: vec![
                DieRecord {
                    command: 5,
                    start_ns: 10,
                    end_ns: 70,
                    transfer_start_ns: 60,
                    transfer_end_ns: 70,
                    ..Default::default()
                },
                DieRecord {
                    command: NO_COMMAND,
                    start_ns: 10,
                    end_ns: 70,
                    die: 1,
                    operation: 2,
                    is_collection: 1,
                    ..Default::default()
                },
            ],
            links: vec![LinkRecord {
                command: 5,
                asked_ns: 70,
                arrived_ns: 80,
                bytes: 4096,
                ..Default::default()
            }],
            ..Default::default()
        };
        let events = events(&[("A".to_owned(), records)]);
        let slices: Vec<&Value> = events.iter().filter(|event| event["ph"] == "X").collect();
        assert_eq!(slices.len(), 3 + 1 + 2 + 1 + 1);
        for a in &slices {
            for b in slices
                .iter()
                .filter(|b| (&b["pid"], &b["tid"]) == (&a["pid"], &a["tid"]) && *b != a)
            {
                let span = |s: &Value| {
                    (
                        s["ts"].as_f64().unwrap(),
                        s["ts"].as_f64().unwrap() + s["dur"].as_f64().unwrap(),
                    )
                };
                assert!(span(a).1 <= span(b).0 || span(b).1 <= span(a).0, "{a} {b}");
            }
        }
        let arrows = events.iter().filter(|event| event["ph"] == "s" || event["ph"] == "f").count();
        assert_eq!(arrows, 2 * 2);
        let names: Vec<&str> = events
            .iter()
            .filter(|e| e["name"] == "thread_name")
            .filter_map(|e| e["args"]["name"].as_str())
            .collect();
        assert!(
            names.contains(&"queue 1")
                && names.contains(&"queue 1, 2")
                && !names.contains(&"queue 1, 3")
        );
    }

    #[test]
    fn drives_have_processes_of_their_own() {
        let records = Records { commands: vec![CommandRecord::default()], ..Default::default() };
        let events = events(&[("A".to_owned(), records.clone()), ("B".to_owned(), records)]);
        let names: Vec<&str> = events
            .iter()
            .filter(|e| e["name"] == "process_name")
            .filter_map(|e| e["args"]["name"].as_str())
            .collect();
        assert!(names.contains(&"A: NVMe commands") && names.contains(&"B: NVMe commands"));
    }
}
